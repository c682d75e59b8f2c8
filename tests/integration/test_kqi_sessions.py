"""Sessions worked out of stored facts, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cem.platform.errors import FactStoreError
from cem.platform.facts import FactStore
from kqi.session_job import SessionJob
from tests.conftest import FakeClock
from tests.integration.kqi_support import ENGINES, WINDOW, Facts, opened, standing_clock

PLAYED = ("requested 0", "first_frame 2", "stall_started 32", "stall_ended 35", "ended 65")
"""2 s start, 30 s played, 3 s stalled, 30 s played."""


@pytest.fixture(params=ENGINES)
def facts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Facts]:
    with opened(request.param, tmp_path) as store:
        yield Facts(store)


@pytest.fixture
def clock() -> FakeClock:
    return standing_clock()


def job(store: FactStore, clock: FakeClock) -> SessionJob:
    return SessionJob(store, clock, busy_share=1, least_rest_s=0)


def written(store: FactStore) -> list[dict[str, Any]]:
    return store.rows(
        "SELECT window, service, subscriber_id, session_id, city, cell, node, model, values, labels, version"
        " FROM samples FINAL WHERE vantage = 'device' AND notEmpty(values) ORDER BY subscriber_id, session_id, window"
    )


def test_a_session_becomes_a_sample_with_its_figures(facts: Facts, clock: FakeClock) -> None:
    facts.events("v1", "s_1", *PLAYED, city="杭州", node="edge-1")
    assert job(facts.store, clock).tick() == 1
    (sample,) = written(facts.store)
    assert sample["window"] == WINDOW
    assert (sample["service"], sample["subscriber_id"], sample["session_id"]) == ("video", "s_1", "v1")
    assert (sample["city"], sample["node"]) == ("杭州", "edge-1")
    assert sample["values"] == {
        "start_delay_ms": 2_000,
        "play_ms": 60_000,
        "stall_ms": 3_000,
        "stall_count": 1,
        "stall_ratio": pytest.approx(3 / 63),
        "stall_frequency_per_min": 1,
        "stall_duration_ms": 3_000,
        # 1 + 4 · 0.97032 (2 s of waiting) · 0.586381 (one stall of 3 s in a minute), see test_experience_curves
        "experience_score": pytest.approx(3.27592, abs=1e-4),
        "failed": 0,
        "joined_pipe": 0,
        "joined_cloud": 0,
    }


def test_events_that_come_in_any_portions_give_what_they_give_at_once(facts: Facts, clock: FakeClock) -> None:
    running = job(facts.store, clock)
    for told in reversed(PLAYED):
        facts.received_at = clock.now()
        facts.events("v1", "s_1", told)
        running.tick()
        clock.advance(timedelta(seconds=1))
    facts.events("v2", "s_1", *PLAYED)
    running.tick()
    first, second = written(facts.store)
    assert first["values"] == second["values"]


def test_running_again_writes_nothing_and_a_new_process_too(facts: Facts, clock: FakeClock) -> None:
    facts.events("v1", "s_1", *PLAYED)
    running = job(facts.store, clock)
    assert running.tick() == 1
    before = facts.store.rows("SELECT count() AS n FROM samples")
    clock.advance(timedelta(seconds=5))
    assert running.tick() == 0
    assert (
        job(facts.store, clock).tick() == 1
    )  # it does not know that it was done; it finds nothing to change
    assert facts.store.rows("SELECT count() AS n FROM samples") == before


def test_a_session_over_a_border_gives_a_sample_in_each_window(facts: Facts, clock: FakeClock) -> None:
    facts.events(
        "v1", "s_1", "requested 890", "first_frame 892", "stall_started 897", "stall_ended 904", "ended 910"
    )
    job(facts.store, clock).tick()
    first, second = written(facts.store)
    assert (first["window"], second["window"]) == (WINDOW, WINDOW + timedelta(minutes=15))
    assert (first["values"]["stall_ms"], second["values"]["stall_ms"]) == (3_000, 4_000)
    assert (first["values"]["stall_count"], second["values"]["stall_count"]) == (1, 0)


def test_the_session_takes_place_and_phone_from_its_own_report_else_the_nearest(
    facts: Facts, clock: FakeClock
) -> None:
    facts.events("own", "s_1", *PLAYED)
    facts.events("near", "s_2", *PLAYED)
    facts.events("none", "s_3", *PLAYED)
    facts.report("s_1", 300, city="宁波", cell="far in time, same session", session="own", model="M1")
    facts.report("s_1", 10, city="温州", cell="other session", session="x")
    facts.report("s_2", -600, city="before", cell="c-before")
    facts.report("s_2", 100, city="after", cell="c-after")
    facts.report("s_3", -2_000, city="too long ago", cell="c")
    job(facts.store, clock).tick()
    found = {row["session_id"]: (row["city"], row["cell"], row["model"]) for row in written(facts.store)}
    assert found == {
        "own": ("宁波", "far in time, same session", "M1"),
        "near": ("after", "c-after", ""),
        "none": ("", "", ""),
    }


def test_pipe_and_cloud_join_by_session_or_by_line_and_window_even_when_they_come_later(
    facts: Facts, clock: FakeClock
) -> None:
    facts.events("v1", "s_1", *PLAYED)
    facts.events("v2", "s_2", *PLAYED)
    running = job(facts.store, clock)
    running.tick()
    assert [row["values"]["joined_cloud"] for row in written(facts.store)] == [0, 0]
    clock.advance(timedelta(minutes=1))
    facts.received_at = clock.now()
    facts.sample("", 40, {"first_byte_ms": 90}, vantage="cloud", session="v1", node="edge-1")
    facts.sample("s_1", 700, {"rtt_ms": 30}, vantage="pipe", cell="cell-1")
    facts.sample("s_2", 950, {"rtt_ms": 30}, vantage="pipe", cell="another window")
    running.tick()
    first, second = written(facts.store)
    assert (first["values"]["joined_pipe"], first["values"]["joined_cloud"]) == (1, 1)
    assert (first["node"], first["cell"]) == ("edge-1", "cell-1")
    assert (second["values"]["joined_pipe"], second["cell"]) == (0, "")


def test_a_cloud_sample_that_names_only_the_session_wakes_it(facts: Facts, clock: FakeClock) -> None:
    facts.events("v1", "s_1", *PLAYED)
    running = job(facts.store, clock)
    running.tick()
    clock.advance(timedelta(minutes=4))
    facts.received_at = clock.now()
    facts.sample("", 40, {"first_byte_ms": 90}, vantage="cloud", session="v1", node="edge-1")
    assert running.tick() == 1
    assert written(facts.store)[0]["node"] == "edge-1"


def test_reports_with_values_of_their_own_become_samples_once(facts: Facts, clock: FakeClock) -> None:
    facts.report("s_1", 5, {"rsrp_dbm": -101, "sinr_db": 4}, service="", cell="c1")
    facts.report("s_1", 6, {"play_ms": 1_000}, report_id="totals only")
    facts.report("s_1", 7, {"first_byte_ms": 90, "failed": 1, "play_ms": 5}, service="web")
    running = job(facts.store, clock)
    running.tick()
    running.tick()
    job(facts.store, clock).tick()
    rows = facts.store.rows(
        "SELECT service, values, count() OVER () AS n FROM samples WHERE labels['kind'] = 'report' ORDER BY service"
    )
    assert rows == [
        {"service": "", "values": {"rsrp_dbm": -101, "sinr_db": 4}, "n": 2},
        {"service": "web", "values": {"first_byte_ms": 90, "failed": 1, "play_ms": 5}, "n": 2},
    ]


def test_totals_alone_make_a_session(facts: Facts, clock: FakeClock) -> None:
    facts.report("s_1", 300, {"play_ms": 200_000, "stall_ms": 5_000, "stall_count": 2}, session="t")
    facts.report("s_1", 1_000, {"play_ms": 800_000, "stall_ms": 5_000, "stall_count": 2}, session="t")
    job(facts.store, clock).tick()
    found = [(row["values"]["play_ms"], row["values"]["stall_ms"]) for row in written(facts.store)]
    assert found == [(200_000, 5_000), (600_000, 0)]


def test_a_window_that_a_session_leaves_is_withdrawn(facts: Facts, clock: FakeClock) -> None:
    facts.report("s_1", 1_000, {"play_ms": 50_000}, session="v1")
    running = job(facts.store, clock)
    running.tick()
    assert [row["window"] for row in written(facts.store)] == [WINDOW + timedelta(minutes=15)]
    clock.advance(timedelta(seconds=30))
    facts.received_at = clock.now()
    facts.events("v1", "s_1", *PLAYED)  # events say when it was; totals then count no more
    running.tick()
    assert [row["window"] for row in written(facts.store)] == [WINDOW]


class Killed(BaseException):
    """Stands for the process's death."""


class Dying:
    """A store whose process dies at its n-th change."""

    def __init__(self, store: FactStore, at: int) -> None:
        self.cluster = store.cluster
        self._store = store
        self._left = at

    def insert(self, *args: Any, **options: Any) -> None:
        self._step()
        self._store.insert(*args, **options)

    def execute(self, *args: Any, **options: Any) -> None:
        self._step()
        self._store.execute(*args, **options)

    def query(self, *args: Any, **options: Any) -> Any:
        return self._store.query(*args, **options)

    def rows(self, *args: Any, **options: Any) -> Any:
        return self._store.rows(*args, **options)

    def close(self) -> None:
        self._store.close()

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


@pytest.mark.parametrize("at", range(4))
def test_killed_at_any_write_it_does_all_of_it_the_next_time(facts: Facts, clock: FakeClock, at: int) -> None:
    facts.events("v1", "s_1", *PLAYED)
    facts.report("s_1", 5, {"rsrp_dbm": -101}, session="v1", city="杭州")
    try:
        job(Dying(facts.store, at), clock).tick()
    except Killed:
        pass
    else:
        assert at == 3  # three writes: report samples, session samples, the mark
    job(facts.store, clock).tick()
    assert sorted((row["labels"]["kind"], row["city"]) for row in written(facts.store)) == [
        ("report", "杭州"),
        ("session", "杭州"),
    ]


def test_a_store_that_fails_costs_the_tick_and_nothing_else(facts: Facts, clock: FakeClock) -> None:
    facts.events("v1", "s_1", *PLAYED)

    class Refusing(Dying):
        def _step(self) -> None:
            raise FactStoreError("refused")

    with pytest.raises(FactStoreError):
        job(Refusing(facts.store, 0), clock).tick()
    assert job(facts.store, clock).tick() == 1
