"""A circuit breaker as a pure state machine: state and event in, state out. No clock, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class BreakerState(StrEnum):
    """Closed lets all through, open none, half open one try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When to stop asking and when to ask again.

    Parameters
    ----------
    failures
        Failures in a row that open it. [1] Chosen here: more than bad luck, few enough to spare 195 of 200 checks
        the wait for a dead source.
    open_s
        Time without a try. [s] Doubles with every failed try up to `longest_open_s`.
    """

    failures: int = 5
    open_s: float = 5.0
    longest_open_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """State of one source. Times are monotonic. [s]"""

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    openings: int = 0
    open_until: float = 0.0


def ask(breaker: Breaker, now: float) -> tuple[bool, Breaker]:
    """Whether a call may go, and the state after asking: an open breaker whose time is over lets one through."""
    if breaker.state is BreakerState.CLOSED:
        return True, breaker
    if breaker.state is BreakerState.OPEN and now >= breaker.open_until:
        return True, replace(breaker, state=BreakerState.HALF_OPEN)
    return False, breaker


def succeeded(breaker: Breaker) -> Breaker:  # noqa: ARG001 - a success forgets whatever was
    """After a call that answered."""
    return Breaker()


def failed(breaker: Breaker, now: float, settings: BreakerSettings) -> Breaker:
    """After a call that failed or did not answer in time."""
    count = breaker.failures + 1
    if breaker.state is BreakerState.CLOSED and count < settings.failures:
        return replace(breaker, failures=count)
    if breaker.state is BreakerState.OPEN:  # a call from before it opened
        return breaker
    pause = min(settings.longest_open_s, settings.open_s * 2**breaker.openings)
    return Breaker(BreakerState.OPEN, 0, breaker.openings + 1, now + pause)


def abandoned(breaker: Breaker) -> Breaker:
    """After a try that was given up by its caller before its budget was over: it proves nothing either way."""
    if breaker.state is BreakerState.HALF_OPEN:
        return replace(breaker, state=BreakerState.OPEN)
    return breaker
