"""Peers counted from stored samples and cubes: by hand, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kqi.cubes import CubeJob
from kqi.peers import PeerCounts, PeerReader
from tests.conftest import FakeClock
from tests.integration.kqi_support import ENGINES, WINDOW, Facts, opened, standing_clock

GOOD = {"stall_ms": 0.0, "play_ms": 60_000.0, "stall_ratio": 0.0, "failed": 0.0}
BAD = {"stall_ms": 30_000.0, "play_ms": 30_000.0, "stall_ratio": 0.5, "failed": 0.0}
AT = WINDOW + timedelta(minutes=10)


@pytest.fixture(params=ENGINES)
def facts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Facts]:
    with opened(request.param, tmp_path) as store:
        yield Facts(store)


@pytest.fixture
def clock() -> FakeClock:
    return standing_clock()


def counts(
    facts: Facts, service: str = "video", line: str = "me", **dims: str
) -> dict[str, tuple[int, int, int, int]]:
    found = PeerReader(facts.store, standing_clock()).peers(dims, service, AT, line)
    return {
        one.dimension: (one.users, one.bad_users, one.baseline_users, one.baseline_bad_users) for one in found
    }


def test_distinct_users_of_each_segment_without_the_line_itself(facts: Facts) -> None:
    facts.sample("me", 10, BAD, cell="c1", node="n1")
    facts.sample("a", 11, BAD, cell="c1", node="n1")
    facts.sample("a", 12, GOOD, cell="c1", node="n2")  # still one user, and a bad one
    facts.sample("b", 13, GOOD, cell="c1", node="n2")
    facts.sample("c", -1_000, BAD, cell="c2", node="n1")  # an earlier window, still recent
    facts.sample("d", 14, BAD, cell="c2", node="n2")
    assert counts(facts, cell="c1", node="n1", model="", gateway="unseen") == {
        "cell": (2, 1, 0, 0),
        "node": (2, 2, 0, 0),
        "gateway": (0, 0, 0, 0),
    }


def test_only_what_was_known_by_then_and_tells_counts(facts: Facts) -> None:
    facts.sample("a", 11, GOOD, cell="c1")
    facts.sample("b", 601, BAD, cell="c1")  # observed after the moment
    facts.received_at = AT + timedelta(seconds=1)
    facts.sample("c", 12, BAD, cell="c1")  # received after it
    facts.received_at = WINDOW
    facts.sample("d", 13, {"rsrp_dbm": -120}, cell="c1")  # no experience told: neither good nor bad
    facts.sample(
        "e", 14, BAD, cell="c1", service="web"
    )  # another service; video's indicators do not decide there
    facts.sample("", 15, BAD, cell="c1", name="nobody")  # nobody's
    facts.sample("f", -2_000, BAD, cell="c1")  # before the recent windows
    assert counts(facts, cell="c1") == {"cell": (1, 0, 0, 0)}


def test_the_baseline_comes_from_cubes_of_older_windows_without_the_line_itself(
    facts: Facts, clock: FakeClock
) -> None:
    old = -3_600
    facts.sample("me", old, BAD, cell="c1", province="p", city="x")
    facts.sample("me", old - 900, GOOD, cell="c1", province="p", city="x")
    for line in ("a", "b", "c"):
        facts.sample(line, old, GOOD, cell="c1", province="p", city="x")
        facts.sample(line, old - 900, GOOD, cell="c1", province="p", city="y")
    facts.sample("d", old, BAD, cell="c1", province="p", city="x")
    facts.sample("a", old + 1, BAD, cell="c2", province="p", city="y")
    facts.sample("z", -100_000, BAD, cell="c1", province="p", city="x")  # more than a day ago
    job = CubeJob(facts.store, clock, busy_share=1, least_rest_s=0)
    while job.tick():
        pass
    assert counts(facts, cell="c1", province="p", city="x") == {
        "cell": (0, 0, 7, 1),  # a, b, c twice and d once
        "city": (0, 0, 4, 1),
        "province": (0, 0, 7, 2),  # in the later window a is bad too, in another city
    }


def test_any_service_counts_where_none_is_named(facts: Facts) -> None:
    facts.sample("a", 11, BAD, cell="c1")
    facts.sample("b", 12, {"first_byte_ms": 9_000}, cell="c1", service="web")
    assert counts(facts, service="", cell="c1") == {"cell": (2, 2, 0, 0)}


def test_nothing_is_asked_where_no_segment_is_known(facts: Facts) -> None:
    assert PeerReader(facts.store, standing_clock()).peers({"cell": "", "rat": "NR"}, "video", AT, "me") == []


def test_values_are_bound_not_pasted(facts: Facts) -> None:
    facts.sample("a", 11, BAD, cell="c' OR 1=1 --")
    assert PeerReader(facts.store, standing_clock()).peers({"cell": "c' OR 1=1 --"}, "video", AT, "me") == [
        PeerCounts("cell", "c' OR 1=1 --", 1, 1, 0, 0)
    ]


def test_a_baseline_is_kept_for_a_minute(facts: Facts, clock: FakeClock) -> None:
    reader = PeerReader(facts.store, clock)
    job = CubeJob(facts.store, clock, busy_share=1, least_rest_s=0)

    def baseline() -> int:
        (found,) = reader.peers({"cell": "c1"}, "video", AT, "me")
        return found.baseline_users

    facts.sample("a", -3_600, GOOD, cell="c1")
    job.tick()
    assert baseline() == 1
    facts.sample("b", -3_600, GOOD, cell="c1")
    job.tick()
    clock.advance(timedelta(seconds=59))
    assert baseline() == 1
    clock.advance(timedelta(seconds=2))
    assert baseline() == 2
