"""When a login has to wait: hand-calculated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cem.access.throttle import Attempts, ThrottleRule, count_attempt, take_back, wait_s

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULE = ThrottleRule(
    free_failures=3,
    first_wait=timedelta(seconds=30),
    longest_wait=timedelta(seconds=100),
    forgotten_after=timedelta(minutes=30),
)


def _failures(count: int, at: datetime = NOON) -> Attempts:
    attempts = None
    for _ in range(count):
        attempts = count_attempt(attempts, at, RULE)
    assert attempts is not None
    return attempts


def test_the_first_attempts_are_free() -> None:
    assert wait_s(None, NOON) is None
    assert wait_s(_failures(2), NOON) is None


def test_the_wait_doubles_up_to_a_bound() -> None:
    assert [wait_s(_failures(count), NOON) for count in (3, 4, 5, 6, 500)] == [30, 60, 100, 100, 100]


def test_a_wait_is_over_when_it_is_over() -> None:
    attempts = _failures(3)
    assert wait_s(attempts, NOON + timedelta(seconds=29, milliseconds=1)) == 1
    assert wait_s(attempts, NOON + timedelta(seconds=30)) is None


def test_old_failures_are_forgotten() -> None:
    later = NOON + timedelta(minutes=30)
    assert count_attempt(_failures(9), later, RULE) == Attempts(1, later)
    assert count_attempt(_failures(9), later - timedelta(seconds=1), RULE).failures == 10


def test_a_right_attempt_takes_itself_and_its_block_back() -> None:
    assert take_back(_failures(3), RULE) == Attempts(2, NOON)
    assert take_back(_failures(1), RULE).failures == 0
    assert take_back(_failures(5), RULE).blocked_until is not None
