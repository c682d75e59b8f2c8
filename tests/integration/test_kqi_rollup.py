"""Hours and days: merged from finer states, exact against the samples, and read by the step asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cem.platform.facts import FactStore
from cem.platform.facts_migrate import FOLDER
from kqi.cube_reading import CubePage, CubeQuestion, CubeReader, Step
from kqi.cubes import CubeJob
from kqi.rollup import RollupJob
from kqi.tiers import DAY, TIERS
from tests.conftest import FakeClock
from tests.integration.kqi_support import ENGINES, WINDOW, Facts, opened, standing_clock
from tests.integration.test_kqi_cubes import QUESTIONS, VIDEO, figures, many
from tests.integration.test_kqi_sessions import Dying, Killed

MIDNIGHT = WINDOW.replace(hour=0)


@pytest.fixture(params=ENGINES)
def facts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Facts]:
    with opened(request.param, tmp_path) as store:
        yield Facts(store)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Facts]:
    with opened("chdb", tmp_path) as store:
        yield Facts(store)


def cubes(store: FactStore, clock: FakeClock) -> None:
    job = CubeJob(store, clock, busy_share=1, least_rest_s=0)
    while job.tick():
        clock.advance(timedelta(seconds=5))


def rollup(store: FactStore, clock: FakeClock) -> int:
    job, done = RollupJob(store, clock, busy_share=1, least_rest_s=0), 0
    while one := job.tick():
        clock.advance(timedelta(seconds=5))
        done += one
    return done


def ask(store: FactStore, step: Step, **question: Any) -> CubePage:
    start, end = question.pop("start", MIDNIGHT), question.pop("end", MIDNIGHT + DAY)
    return CubeReader(store).answer(CubeQuestion(VIDEO, start, end, step=step, **question))


def spread(facts: Facts, count: int = 300, seed: int = 5) -> None:
    """Samples over some hours of one day."""
    rows = many(seed, count, facts)
    for number, row in enumerate(rows):
        later = timedelta(minutes=15 * (number % 13))
        row["window"] += later
        row["observed_at"] += later
    facts.insert("samples", *rows)


def test_hours_and_days_agree_with_the_samples(facts: Facts) -> None:
    clock = standing_clock()
    spread(facts)
    clock.at = MIDNIGHT + DAY + timedelta(hours=1)
    cubes(facts.store, clock)
    before = {
        step: [ask(facts.store, step, **q) for q in QUESTIONS if "step" not in q]
        for step in (Step.HOUR, Step.ALL)
    }
    assert all("quarter_hour" in page.tiers for pages in before.values() for page in pages)
    assert rollup(facts.store, clock) == 4 + 1  # 13 quarter hours from 12:00 touch four hours
    for step, tier in ((Step.HOUR, "hour"), (Step.ALL, "day")):
        asked = [q for q in QUESTIONS if "step" not in q]
        for question, fine in zip(asked, before[step], strict=True):
            merged = ask(facts.store, step, **question)
            assert merged.tiers == (tier,)
            assert figures(merged) == figures(fine)
            filters = {**question.get("filters", {}), "rat": ""}  # no cut keeps it: only samples can answer
            sampled = ask(facts.store, step, **{**question, "filters": filters})
            assert sampled.answered_from == "samples"
            assert figures(merged) == figures(sampled)
    by_day = ask(facts.store, Step.DAY)
    assert (by_day.tiers, {row.start for row in by_day.rows}) == (("day",), {MIDNIGHT})
    assert figures(by_day) == figures(ask(facts.store, Step.ALL))
    assert rollup(facts.store, clock) == 0


def test_late_data_is_in_the_answer_before_and_after_it_is_merged(embedded: Facts) -> None:
    clock = standing_clock()
    spread(embedded)
    clock.at = MIDNIGHT + DAY + timedelta(hours=1)
    cubes(embedded.store, clock)
    rollup(embedded.store, clock)
    (old,) = [row for row in ask(embedded.store, Step.DAY).rows if row.indicator == "stall_ms"]
    embedded.received_at = clock.now()
    embedded.sample("s_late", 1, {"stall_ms": 1_000.0, "play_ms": 1_000.0}, name="late")
    cubes(embedded.store, clock)
    at_once = ask(embedded.store, Step.DAY)
    (new,) = [row for row in at_once.rows if row.indicator == "stall_ms"]
    assert (new.count, new.total) == (old.count + 1, old.total + 1_000)
    assert set(at_once.tiers) == {"hour", "quarter_hour"}
    assert rollup(embedded.store, clock) == 2  # its hour and its day
    merged = ask(embedded.store, Step.DAY)
    assert merged.tiers == ("day",)
    assert figures(merged) == figures(at_once)


def test_what_has_not_ended_is_not_merged_and_partial_stretches_are_exact(embedded: Facts) -> None:
    clock = standing_clock()
    spread(embedded)
    clock.at = MIDNIGHT + timedelta(hours=14, minutes=11)
    cubes(embedded.store, clock)
    assert rollup(embedded.store, clock) == 2  # 12 and 13 h; the day and 14 h go on
    inner = {"start": WINDOW + timedelta(minutes=15), "end": WINDOW + timedelta(hours=2, minutes=30)}
    page = ask(embedded.store, Step.ALL, **inner)
    assert page.tiers == ("quarter_hour", "hour")
    sampled = ask(embedded.store, Step.ALL, **inner, filters={"rat": ""})
    assert figures(page) == figures(sampled)


@pytest.mark.parametrize("at", range(4))
def test_killed_at_any_write_readers_see_the_same(embedded: Facts, at: int) -> None:
    clock = standing_clock()
    spread(embedded, 60)
    clock.at = MIDNIGHT + DAY + timedelta(hours=1)
    cubes(embedded.store, clock)
    before = figures(ask(embedded.store, Step.DAY))
    with pytest.raises(Killed):
        RollupJob(Dying(embedded.store, at), clock, busy_share=1, least_rest_s=0).tick()
    assert figures(ask(embedded.store, Step.DAY)) == before
    rollup(embedded.store, clock)
    assert figures(ask(embedded.store, Step.DAY)) == before
    assert ask(embedded.store, Step.DAY).tiers == ("day",)


def test_superseded_merges_are_deleted(embedded: Facts) -> None:
    clock = standing_clock()
    clock.at = MIDNIGHT + DAY + timedelta(hours=1)
    job = RollupJob(embedded.store, clock, busy_share=1, least_rest_s=0)
    for number in range(3):
        embedded.received_at = clock.now()
        embedded.sample("s_1", number, {"rsrp_dbm": -90.0})
        cubes(embedded.store, clock)
        assert job.tick() == 2
        clock.advance(timedelta(minutes=11))
    for table in ("cube_hours", "cube_days"):
        assert embedded.store.rows(f"SELECT uniqExact(build) AS n FROM {table}") == [{"n": 1}]


def test_the_tables_keep_what_the_tiers_say(embedded: Facts) -> None:
    rows = embedded.store.rows(
        "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE '%TTL%'"
    )
    kept = {}
    for row in rows:
        (days,) = re.findall(r"TTL toDateTime\(\w+\) \+ toIntervalDay\((\d+)\)", row["engine_full"])
        kept[row["name"]] = int(days)
    assert {table: tier.kept_days for tier in TIERS for table in tier.tables}.items() <= kept.items()
    assert set(kept) - {table for tier in TIERS for table in tier.tables} <= {"item_keys", *_others()}


def _others() -> set[str]:
    """Tables that migrations of other rooms keep for their own reasons."""
    text = "".join(path.read_text() for path in FOLDER.glob("*.sql") if int(path.name[:4]) > 3)
    return set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", text))
