"""A feed's record: what is missing, and the one word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kqi.feeds.health import Delivery, FeedState, feed_health, sequence_lost

START = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def quarter(
    number: int, *, items: int = 100, refused: dict[str, int] | None = None, failure: str = ""
) -> Delivery:
    begin = START + number * QUARTER
    return Delivery(
        begin + QUARTER + timedelta(minutes=5), begin, begin + QUARTER, items, refused or {}, failure
    )


def after(number: int, minutes: float = 6) -> datetime:
    """Some minutes after the end of a quarter."""
    return START + (number + 1) * QUARTER + timedelta(minutes=minutes)


def test_a_feed_that_keeps_its_word() -> None:
    found = feed_health("ran", [quarter(n) for n in range(4)], after(3))
    assert (found.state, found.stale, found.missing_count, found.items) == (FeedState.OK, False, 0, 400)
    assert found.last_data_at == START + 4 * QUARTER
    assert found.lag == timedelta(minutes=6)
    assert found.last_received_at == START + 4 * QUARTER + timedelta(minutes=5)


def test_order_does_not_matter() -> None:
    known = [quarter(n) for n in (0, 1, 3, 6)]
    assert feed_health("ran", known, after(6)) == feed_health("ran", reversed(known), after(6))


def test_missing_periods_are_named() -> None:
    found = feed_health("ran", [quarter(n) for n in (0, 1, 3, 6)], after(6))
    assert found.missing == (START + 2 * QUARTER, START + 4 * QUARTER, START + 5 * QUARTER)
    assert found.missing_count == 3


def test_many_missing_periods_are_counted() -> None:
    found = feed_health("ran", [quarter(0), quarter(1001)], after(1001))
    assert (len(found.missing), found.missing_count) == (96, 1000)


@pytest.mark.parametrize(("minutes", "state"), [(6, FeedState.OK), (40, FeedState.OK), (41, FeedState.QUIET)])
def test_a_feed_falls_quiet(minutes: float, state: FeedState) -> None:
    # promised: two periods of 15 minutes and 10 minutes on the way
    assert feed_health("ran", [quarter(0)], after(0, minutes)).state is state


def test_nothing_ever_came() -> None:
    found = feed_health("ran", [], START)
    assert (found.state, found.lag, found.last_data_at, found.last_received_at) == (
        FeedState.QUIET,
        None,
        None,
        None,
    )


def test_most_refused_is_broken() -> None:
    known = [quarter(0), quarter(1, items=4, refused={"bad_time": 60, "suspect": 2})]
    found = feed_health("ran", known, after(1))
    assert (found.state, found.stale) == (FeedState.BROKEN, True)
    assert "`bad_time`" in found.reason
    assert found.refused == {"bad_time": 60, "suspect": 2}


def test_a_few_refused_are_no_fault() -> None:
    assert feed_health("ran", [quarter(0, items=100, refused={"suspect": 9})], after(0)).state is FeedState.OK
    assert feed_health("ran", [quarter(0, items=2, refused={"suspect": 3})], after(0)).state is FeedState.OK


def test_all_refused_is_broken_and_what_broke_off_too() -> None:
    nothing = Delivery(after(0), None, None, 0, {"bad_time": 1})
    assert feed_health("ran", [nothing], after(0)).state is FeedState.BROKEN
    assert feed_health("ran", [quarter(0, failure="cut off")], after(0)).state is FeedState.BROKEN
    assert feed_health("ran", [quarter(0, failure="cut off"), quarter(1)], after(1)).state is FeedState.OK


@pytest.mark.parametrize(
    ("numbers", "lost"), [([], 0), ([5], 0), ([1, 2, 3], 0), ([3, 1, 1, 2], 0), ([1, 4], 2), ([10, 7], 2)]
)
def test_sequences(numbers: list[int], lost: int) -> None:
    assert sequence_lost(numbers) == lost


def test_sequences_of_several_senders_add_up() -> None:
    assert feed_health("player", [quarter(0)], after(0), sequences=[[1, 3], [5, 8]]).sequence_lost == 3
