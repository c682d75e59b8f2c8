"""When a login attempt has to wait, decided from the failures so far. Pure: no clock, no store.

Every attempt is counted as a failure before its password is looked at and taken back when it fits. So a
hundred guesses sent at once are a hundred failures, not one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True)
class ThrottleRule:
    """How many failures are free and how the wait grows. Chosen here."""

    free_failures: int
    first_wait: timedelta = timedelta(seconds=30)
    longest_wait: timedelta = timedelta(minutes=15)
    forgotten_after: timedelta = timedelta(minutes=30)


PER_USER = ThrottleRule(free_failures=5)
"""Five typing errors; then 30 s, doubling to 15 min: at most some 100 guesses a day at one user."""

PER_ADDRESS = ThrottleRule(free_failures=100)
"""A contact centre of 2,000 seats may share one address: 5 % of them may mistype in one morning half-hour."""


@dataclass(frozen=True)
class Attempts:
    """Failures of one user name or address."""

    failures: int
    last_at: datetime
    blocked_until: datetime | None = None


def wait_s(attempts: Attempts | None, now: datetime) -> int | None:
    """Whole seconds to wait before the next attempt; None where it may go ahead. [s]"""
    if attempts is None or attempts.blocked_until is None or attempts.blocked_until <= now:
        return None
    return max(1, math.ceil((attempts.blocked_until - now).total_seconds()))


def count_attempt(attempts: Attempts | None, now: datetime, rule: ThrottleRule) -> Attempts:
    """The state after one more attempt, which blocks the next one from the last free failure on."""
    forgotten = attempts is None or now - attempts.last_at >= rule.forgotten_after
    failures = 1 if attempts is None or forgotten else attempts.failures + 1
    over = failures - rule.free_failures
    if over < 0:
        return Attempts(failures, now)
    wait = min(rule.longest_wait, rule.first_wait * 2 ** min(over, 20))
    return Attempts(failures, now, now + wait)


def take_back(attempts: Attempts, rule: ThrottleRule) -> Attempts:
    """The state once the last attempt turned out right: it does not count, nor does a block it caused."""
    failures = max(0, attempts.failures - 1)
    if failures < rule.free_failures:
        return replace(attempts, failures=failures, blocked_until=None)
    return replace(attempts, failures=failures)
