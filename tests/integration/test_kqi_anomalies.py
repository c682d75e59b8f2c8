"""Anomalies from stored cubes: found, stored once, judged again when data changes, silence told apart."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cem.platform.errors import InvalidInput
from cem.platform.facts import FactStore
from kqi.anomaly_job import AGAIN_AFTER, AnomalyJob
from kqi.anomaly_reading import AnomalyQuestion, AnomalyStore, StoredAnomaly
from kqi.cubes import CubeJob
from tests.conftest import FakeClock
from tests.integration.kqi_support import ENGINES, WINDOW, Facts, opened, sample_row, standing_clock
from tests.integration.test_kqi_sessions import Dying, Killed

QUARTER = timedelta(minutes=15)
WEEK = timedelta(weeks=1)
CITIES = {"c1": "杭州", "c2": "杭州", "c3": "杭州", "c4": "宁波", "c5": "宁波", "c6": "宁波"}


@pytest.fixture(params=ENGINES)
def facts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Facts]:
    with opened(request.param, tmp_path) as store:
        yield Facts(store)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Facts]:
    with opened("chdb", tmp_path) as store:
        yield Facts(store)


@pytest.fixture
def clock() -> FakeClock:
    clock = standing_clock()
    clock.at = WINDOW + QUARTER + timedelta(minutes=3)
    return clock


def traffic(
    facts: Facts,
    at: timedelta,
    clock: FakeClock,
    rates: dict[str, float],
    *,
    without: frozenset[str] = frozenset(),
) -> None:
    """Forty sessions a cell in the window that begins `at` from `WINDOW`; its cube is built."""
    dice = random.Random(f"{at} {rates}")
    rows: list[dict[str, Any]] = []
    for cell, city in CITIES.items():
        if cell in without:
            continue
        for number in range(40):
            failed = float(dice.random() < rates.get(cell, 0.05))
            rows.append(
                sample_row(
                    f"s_{cell}_{number}",
                    at.total_seconds() + number,
                    {"failed": failed, "start_delay_ms": 4_000.0 + dice.randrange(-900, 900)},
                    received_at=facts.received_at,
                    province="浙江",
                    city=city,
                    cell=cell,
                    name=f"{at} {cell} {number}",
                )
            )
    facts.insert("samples", *rows)
    CubeJob(facts.store, clock, busy_share=1, least_rest_s=0).build(WINDOW + at)


def history(facts: Facts, clock: FakeClock, weeks: int = 4) -> None:
    for week in range(1, weeks + 1):
        for back in range(3):
            traffic(facts, -week * WEEK - back * QUARTER, clock, {})
    for back in (1, 2):
        traffic(facts, -back * QUARTER, clock, {})


def job(store: FactStore, clock: FakeClock) -> AnomalyJob:
    return AnomalyJob(store, clock, busy_share=1, least_rest_s=0)


def found(store: FactStore, **asked: Any) -> list[StoredAnomaly]:
    question = AnomalyQuestion(asked.pop("start", WINDOW), asked.pop("end", WINDOW + QUARTER), **asked)
    return AnomalyStore(store).answer(question)[0]


def places(rows: list[StoredAnomaly]) -> set[tuple[str, str, str]]:
    return {(row.indicator, row.level, "/".join(row.dimensions.values())) for row in rows}


def test_a_broken_cell_is_found_with_its_parents_and_nothing_else(facts: Facts, clock: FakeClock) -> None:
    history(facts, clock)
    traffic(facts, timedelta(0), clock, {"c3": 0.7})
    assert job(facts.store, clock).tick() == 1
    rows = found(facts.store, indicators=("failed",))
    assert ("failed", "cell", "浙江/杭州/c3") in places(rows)
    assert {row.level for row in rows} <= {"cell", "city", "province", "all", "city_source"}
    assert not {name for name in places(rows) if "宁波" in name[2] or "c1" in name[2]}
    (cell,) = [row for row in rows if row.level == "cell"]
    assert (cell.samples, cell.users, cell.basis) == (40, 40, "weeks")
    assert 0.01 < cell.expected < 0.12
    assert cell.observed > 0.5
    assert cell.score > 5
    assert cell.p <= cell.q <= 0.05
    assert not found(facts.store, indicators=("start_delay_ms",))


def test_judged_once_and_again_when_its_cube_changes(embedded: Facts, clock: FakeClock) -> None:
    history(embedded, clock, weeks=2)
    traffic(embedded, timedelta(0), clock, {})
    running = job(embedded.store, clock)
    while running.tick():
        pass
    assert not found(embedded.store, indicators=("failed",), level="cell")
    runs = embedded.store.rows("SELECT count() AS n FROM anomaly_runs")
    assert running.tick() == 0
    clock.advance(AGAIN_AFTER)
    assert running.tick() == 0
    embedded.received_at = clock.now()
    late = [
        sample_row(f"l_{n}", 60 + n, {"failed": 1.0}, received_at=clock.now(), name=f"late {n}", province="浙江",
                   city="宁波", cell="c6")
        for n in range(60)
    ]  # fmt: skip
    embedded.insert("samples", *late)
    CubeJob(embedded.store, clock, busy_share=1, least_rest_s=0).build(WINDOW)
    assert running.tick() == 1
    assert ("failed", "cell", "浙江/宁波/c6") in places(found(embedded.store))
    assert embedded.store.rows("SELECT count() AS n FROM anomaly_runs")[0]["n"] == runs[0]["n"] + 1
    assert running.tick() == 0


def test_silence_is_a_gap_of_the_feed(embedded: Facts, clock: FakeClock) -> None:
    history(embedded, clock)
    traffic(embedded, timedelta(0), clock, {}, without=frozenset({"c4", "c5", "c6"}))
    job(embedded.store, clock).tick()
    gaps = found(embedded.store, kind="feed")
    assert [(row.level, row.dimensions, row.indicator) for row in gaps] == [
        ("city", {"province": "浙江", "city": "宁波"}, "")
    ]
    assert gaps[0].expected == 120
    assert not [row for row in found(embedded.store, kind="value") if "宁波" in row.dimensions.values()]


def test_a_window_without_any_cube_is_a_gap_at_the_top(embedded: Facts, clock: FakeClock) -> None:
    history(embedded, clock)
    assert job(embedded.store, clock).tick() == 1
    rows = found(embedded.store)
    assert [(row.kind, row.level, row.service, row.vantage) for row in rows] == [
        ("feed", "all", "video", "device")
    ]


@pytest.mark.parametrize("at", range(2))
def test_killed_at_any_write_nothing_counts_or_all(embedded: Facts, clock: FakeClock, at: int) -> None:
    history(embedded, clock, weeks=2)
    traffic(embedded, timedelta(0), clock, {"c3": 0.8})
    with pytest.raises(Killed):
        job(Dying(embedded.store, at), clock).tick()
    assert found(embedded.store) == []
    clock.advance(timedelta(seconds=30))
    assert job(embedded.store, clock).tick() == 1
    once = found(embedded.store)
    assert ("failed", "cell", "浙江/杭州/c3") in places(once)
    build = AnomalyStore(embedded.store).builds(WINDOW, WINDOW + QUARTER)[WINDOW]
    job(embedded.store, clock).judge(WINDOW, build, clock.now() + timedelta(seconds=1))
    assert found(embedded.store) == once


def test_pages_follow_each_other(embedded: Facts, clock: FakeClock) -> None:
    history(embedded, clock, weeks=2)
    traffic(embedded, timedelta(0), clock, {"c3": 0.8, "c5": 0.9})
    job(embedded.store, clock).tick()
    whole, seen, offset = found(embedded.store), [], 0
    assert len(whole) > 2
    while offset is not None:
        question = AnomalyQuestion(WINDOW, WINDOW + QUARTER, limit=2, offset=offset)
        page, offset = AnomalyStore(embedded.store).answer(question)  # type: ignore[assignment]
        seen += page
    assert seen == whole


@pytest.mark.parametrize(
    "asked",
    [
        {"end": WINDOW},
        {"end": WINDOW + timedelta(days=32)},
        {"level": "street"},
        {"kind": "odd"},
        {"limit": 0},
        {"limit": 1_001},
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(embedded: Facts, asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        found(embedded.store, **asked)
