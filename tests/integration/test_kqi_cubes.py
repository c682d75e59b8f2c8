"""Cubes built from stored samples and read back, on both engines."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cem.platform.errors import InvalidInput
from cem.platform.facts import FactStore
from kqi.cube_reading import CubePage, CubeQuestion, CubeReader, Step
from kqi.cubes import BUILDS_PER_TICK, CubeJob
from tests.conftest import FakeClock
from tests.integration.kqi_support import ENGINES, WINDOW, Facts, opened, sample_row, standing_clock
from tests.integration.test_kqi_sessions import Dying, Killed

QUARTER = timedelta(minutes=15)
VIDEO = ("stall_ratio", "stall_ms", "start_delay_ms", "failed", "bad", "rsrp_dbm")


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
    return standing_clock()


def job(store: FactStore, clock: FakeClock) -> CubeJob:
    return CubeJob(store, clock, busy_share=1, least_rest_s=0)


def ask(store: FactStore, *indicators: str, windows: int = 1, **question: Any) -> CubePage:
    return CubeReader(store).answer(CubeQuestion(indicators, WINDOW, WINDOW + windows * QUARTER, **question))


def viewing(stall_ms: float, play_ms: float, **more: float) -> dict[str, float]:
    return {"stall_ms": stall_ms, "play_ms": play_ms, "stall_ratio": stall_ms / (stall_ms + play_ms), **more}


def test_figures_worked_out_by_hand(facts: Facts, clock: FakeClock) -> None:
    facts.sample("s_1", 1, viewing(1_000, 9_000, start_delay_ms=1_000, failed=0), city="杭州")
    facts.sample("s_1", 2, viewing(0, 90_000, start_delay_ms=3_000, failed=0), city="杭州")
    facts.sample("s_2", 3, viewing(0, 100_000, start_delay_ms=8_000, failed=0), city="杭州")
    facts.sample("s_3", 4, viewing(0, 50_000, start_delay_ms=2_000, failed=0), city="宁波")
    assert job(facts.store, clock).tick() == 1
    page = ask(facts.store, "stall_ratio", "start_delay_ms", "bad", group_by=("city",), service="video")
    assert page.answered_from == "city"
    found = {(row.group["city"], row.indicator): row for row in page.rows}
    ratio = found["杭州", "stall_ratio"]
    assert ratio.count == 3
    assert ratio.mean == pytest.approx(1_000 / 200_000)  # of sums; the mean of ratios would be 0.0333
    assert ratio.users == 2
    assert (ratio.bad, ratio.bad_users) == (1, 1)  # 10 % stalled is beyond 5 %
    delay = found["杭州", "start_delay_ms"]
    assert delay.mean == pytest.approx(4_000)
    assert (delay.least, delay.most) == (1_000, 8_000)
    assert delay.standard_deviation == pytest.approx((26e6 / 3) ** 0.5)  # deviations -3, -1, +4 thousand
    assert delay.p50 == pytest.approx(3_000, rel=0.01)
    bad = found["杭州", "bad"]
    assert (bad.count, bad.total, bad.bad_share, bad.bad_users) == (3, 2, pytest.approx(2 / 3), 2)
    assert found["宁波", "bad"].bad_share == 0


def figures(page: CubePage) -> list[tuple[Any, ...]]:
    """Everything that must agree, floats to what their order of adding may change."""
    return [
        (
            row.start,
            tuple(row.group.items()),
            row.indicator,
            row.count,
            round(row.total, 6),
            row.mean if row.mean is None else round(row.mean, 9),
            round(row.standard_deviation or 0, 6),
            row.least,
            row.most,
            row.p50,
            row.p90,
            row.p95,
            row.bad,
            row.users,
            row.bad_users,
        )
        for row in page.rows
    ]


def many(seed: int, count: int, facts: Facts) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        rows.append(
            sample_row(
                f"s_{dice.randrange(60)}",
                dice.randrange(0, 2_700),
                viewing(
                    dice.choice([0, 0, 0, 2_500.0]),
                    dice.randrange(1_000, 60_000),
                    start_delay_ms=dice.randrange(300, 9_000),
                    failed=float(dice.random() < 0.05),
                    rsrp_dbm=float(dice.randrange(-125, -70)),
                ),
                name=str(number),
                received_at=facts.received_at,
                province="浙江",
                city=dice.choice(["杭州", "宁波", ""]),
                cell=f"c{dice.randrange(5)}",
                source=dice.choice(["live", "vod"]),
                node=dice.choice(["n1", "n2"]),
                model=dice.choice(["a", "b"]),
                app_version=dice.choice(["1", "2"]),
            )
        )
    return rows


QUESTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"group_by": ("city",)},
    {"group_by": ("city", "source")},
    {"group_by": ("node",), "filters": {"source": "live"}},
    {"group_by": ("cell",)},
    {"group_by": ("model",)},
    {"group_by": ("app_version",)},
    {"step": Step.ALL, "group_by": ("city",)},
    {"step": Step.HOUR},
)


def all_figures(store: FactStore) -> list[list[tuple[Any, ...]]]:
    return [figures(ask(store, *VIDEO, windows=3, **question)) for question in QUESTIONS]


def test_any_split_repetition_and_lateness_of_the_data_gives_the_same_cubes(
    embedded: Facts, clock: FakeClock, tmp_path: Path
) -> None:
    rows = many(7, 300, embedded)
    embedded.insert("samples", *rows)
    job(embedded.store, clock).tick()
    at_once = all_figures(embedded.store)
    embedded.store.execute("TRUNCATE TABLE samples")
    embedded.store.execute("TRUNCATE TABLE cubes")
    embedded.store.execute("TRUNCATE TABLE cube_builds")
    embedded.store.execute("TRUNCATE TABLE job_marks")

    dice = random.Random(11)
    dice.shuffle(rows)
    running = job(embedded.store, clock)
    for start in range(0, len(rows), 60):
        part = [row | {"received_at": clock.now()} for row in rows[start : start + 60]]
        repeated = [row | {"received_at": clock.now()} for row in rows[max(0, start - 20) : start]]
        embedded.insert("samples", *part, *repeated)
        running.tick()
        clock.advance(timedelta(minutes=40))  # later than any window's close
    assert all_figures(embedded.store) == at_once


def test_cubes_and_samples_give_the_same_answers(embedded: Facts, clock: FakeClock) -> None:
    embedded.insert("samples", *many(3, 200, embedded))
    job(embedded.store, clock).tick()
    for cut_question in QUESTIONS:
        from_cubes = ask(embedded.store, *VIDEO, windows=3, **cut_question)
        asked = dict(cut_question)
        asked["filters"] = {**asked.get("filters", {}), "rat": ""}  # no cut keeps it: only samples can answer
        from_samples = ask(embedded.store, *VIDEO, windows=3, **asked)
        assert (from_cubes.answered_from != "samples", from_samples.answered_from) == (True, "samples")
        assert figures(from_cubes) == figures(from_samples)


def test_a_later_version_of_a_sample_replaces_it_in_its_cube(facts: Facts, clock: FakeClock) -> None:
    running = job(facts.store, clock)
    facts.sample("s_1", 1, viewing(0, 1_000), name="a", version=1)
    running.tick()
    facts.sample("s_1", 1, viewing(0, 7_000), name="a", version=2)
    assert running.tick() == 1
    facts.sample("s_1", 1, viewing(0, 1_000), name="a", version=1)  # an old one again
    assert running.tick() == 0
    (row,) = ask(facts.store, "play_ms").rows
    assert (row.count, row.total) == (1, 7_000)


def test_a_withdrawn_sample_leaves_its_cube(facts: Facts, clock: FakeClock) -> None:
    running = job(facts.store, clock)
    facts.sample("s_1", 1, viewing(0, 1_000), name="a")
    running.tick()
    facts.sample("s_1", 1, {}, name="a", version=2)
    running.tick()
    assert ask(facts.store, "play_ms").rows == ()


def test_nothing_new_builds_nothing(facts: Facts, clock: FakeClock) -> None:
    facts.sample("s_1", 1, viewing(0, 1_000))
    running = job(facts.store, clock)
    assert running.tick() == 1
    assert running.tick() == 0
    assert job(facts.store, clock).tick() == 0
    clock.advance(timedelta(hours=1))
    assert running.tick() == 0


def test_a_history_is_built_in_portions_newest_first_and_nothing_is_forgotten(
    embedded: Facts, clock: FakeClock
) -> None:
    count = BUILDS_PER_TICK + 3
    for number in range(count):
        embedded.sample("s_1", -900 * number, viewing(0, 1_000), name=str(number))
    first = job(embedded.store, clock)
    assert first.tick() == BUILDS_PER_TICK
    built = {row["window"] for row in embedded.store.rows("SELECT window FROM cube_builds")}
    assert built == {WINDOW - number * QUARTER for number in range(BUILDS_PER_TICK)}
    assert job(embedded.store, clock).tick() == 3  # another process goes on: the mark did not move
    assert embedded.store.rows("SELECT uniqExact(window) AS n FROM cube_builds") == [{"n": count}]


@pytest.mark.parametrize("at", range(4))
def test_killed_at_any_write_readers_see_the_old_or_the_new_cube_whole(
    embedded: Facts, clock: FakeClock, at: int
) -> None:
    embedded.sample("s_1", 1, viewing(0, 1_000), name="a")
    job(embedded.store, clock).tick()
    embedded.sample("s_2", 2, viewing(0, 500), name="b")
    try:
        job(Dying(embedded.store, at), clock).tick()
    except Killed:
        assert at < 4  # rows, switch, mark, clean
    (row,) = ask(embedded.store, "play_ms").rows
    assert (row.count, row.total) in {(1, 1_000), (2, 1_500)}
    job(embedded.store, clock).tick()
    (row,) = ask(embedded.store, "play_ms").rows
    assert (row.count, row.total) == (2, 1_500)


def test_two_builders_at_once_do_not_double(embedded: Facts, clock: FakeClock) -> None:
    embedded.sample("s_1", 1, viewing(0, 1_000))
    one, other = job(embedded.store, clock), job(embedded.store, clock)
    one.build(WINDOW)
    other.build(WINDOW)
    (row,) = ask(embedded.store, "play_ms").rows
    assert row.count == 1


def test_superseded_builds_are_deleted(embedded: Facts, clock: FakeClock) -> None:
    running = job(embedded.store, clock)
    for number in range(3):
        embedded.received_at = clock.now()
        embedded.sample("s_1", number, viewing(0, 1_000))
        running.tick()
        clock.advance(timedelta(minutes=3))
    assert embedded.store.rows("SELECT uniqExact(build) AS n FROM cubes") == [{"n": 1}]
    assert ask(embedded.store, "play_ms").rows[0].count == 3


def test_pages_follow_each_other_without_gap_or_repetition(embedded: Facts, clock: FakeClock) -> None:
    for number in range(7):
        embedded.sample("s_1", number, viewing(0, 1_000), cell=f"c{number}")
    job(embedded.store, clock).tick()
    seen: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = ask(embedded.store, "play_ms", "stall_ms", group_by=("cell",), limit=3, offset=offset)
        seen += [row.group["cell"] for row in page.rows if row.indicator == "play_ms"]
        offset = page.next_offset
    assert seen == [f"c{number}" for number in range(7)]


@pytest.mark.parametrize(
    "question",
    [
        pytest.param({"group_by": ("password",)}, id="no dimension"),
        pytest.param({"filters": {"1=1 OR city": "x"}}, id="no column"),
        pytest.param({"windows": 0}, id="empty"),
        pytest.param({"windows": 96 * 32}, id="too long"),
        pytest.param({"windows": 97, "group_by": ("rat",)}, id="too long for samples"),
        pytest.param({"limit": 0}, id="no page"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(embedded: Facts, question: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        ask(embedded.store, "play_ms", **question)
