"""How healthy a feed is: what came last, how late, what is missing, what was refused, and one word for it.

Pure, over what is known of its deliveries (files, requests). Silence of a feed is its own state: evidence from a
feed that is not `ok` is stale, not normal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

BROKEN_SHARE = 0.5
"""A feed of whose items more are refused is broken. [1] Chosen here: a mapping or a clock is wrong, not a cell."""
FEWEST_ITEMS = 20
"""Fewer items of late say nothing about a share. [1] Chosen here."""
QUIET_PERIODS = 2
"""A feed that owes more periods than this is quiet. [1] Chosen here: one may be on its way."""
MAX_MISSING = 96
"""Missing periods that are named; further ones only count. [1] A day of quarter hours."""


class FeedState(StrEnum):
    """One word."""

    OK = "ok"
    QUIET = "quiet"
    """Nothing new although it was due, or nothing ever."""
    BROKEN = "broken"
    """Something comes, but most of it cannot be used."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a feed promises.

    Parameters
    ----------
    period
        How much event time one delivery covers: the granularity period, or a feed's own rhythm.
    delay
        How long after a period's end it may come.
    """

    period: timedelta = timedelta(minutes=15)
    delay: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One file or request.

    Parameters
    ----------
    received_at
        When it came.
    begin, end
        Event time that it covers, half-open; None where nothing of it was taken.
    items
        Taken, known ones included. [1]
    refused
        How many by reason. [1]
    failure
        Why it could not be read to its end; '' where it could.
    """

    received_at: datetime
    begin: datetime | None
    end: datetime | None
    items: int
    refused: Mapping[str, int] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """A feed's record.

    Parameters
    ----------
    feed, state, reason
        Which feed, the word, and why, in a sentence.
    last_received_at, last_data_at
        When something came last; the end of the latest event time. None where nothing ever did.
    lag
        From the latest event time to now. None where there is none.
    missing
        Starts of periods without data between the first and the last that have some, oldest first, at most
        `MAX_MISSING`; `missing_count` has all. [1]
    sequence_lost
        Numbers that a sender's sequence skipped. [1]
    items, refused
        Of all deliveries looked at. [1]
    """

    feed: str
    state: FeedState
    reason: str
    last_received_at: datetime | None
    last_data_at: datetime | None
    lag: timedelta | None
    missing: Sequence[datetime]
    missing_count: int
    sequence_lost: int
    items: int
    refused: Mapping[str, int]

    @property
    def stale(self) -> bool:
        """Whether evidence from it must not pass for normal."""
        return self.state is not FeedState.OK


def feed_health(
    feed: str,
    deliveries: Iterable[Delivery],
    now: datetime,
    *,
    expected: Expected | None = None,
    sequences: Iterable[Sequence[int]] = (),
) -> FeedHealth:
    """A feed's record from its deliveries, in any order.

    Parameters
    ----------
    feed
        Its name.
    deliveries
        Those of the span that is looked at; the newest `FEWEST_ITEMS` items and more decide about `broken`.
    now
        The present.
    expected
        What it promises.
    sequences
        Numbers of each sender's sequence, in any order (CMCD `sn` by session, mode and target).
    """
    expected = expected or Expected()
    known = sorted(deliveries, key=lambda one: one.received_at)
    refused: Counter[str] = Counter()
    for one in known:
        refused.update(one.refused)
    with_data = [(one.begin, one.end) for one in known if one.begin is not None and one.end is not None]
    last_data_at = max((end for _, end in with_data), default=None)
    missing, missing_count = _missing(with_data, expected.period)
    state, reason = _judged(known, last_data_at, now, expected)
    return FeedHealth(
        feed=feed,
        state=state,
        reason=reason,
        last_received_at=known[-1].received_at if known else None,
        last_data_at=last_data_at,
        lag=None if last_data_at is None else now - last_data_at,
        missing=missing,
        missing_count=missing_count,
        sequence_lost=sum(sequence_lost(numbers) for numbers in sequences),
        items=sum(one.items for one in known),
        refused=dict(refused),
    )


def sequence_lost(numbers: Sequence[int]) -> int:
    """How many numbers between the least and the largest never came; repeats and order do not matter. [1]

    Numbers before the first that was heard are not known to be lost.
    """
    heard = set(numbers)
    return max(heard) - min(heard) + 1 - len(heard) if heard else 0


def _judged(
    known: Sequence[Delivery], last_data_at: datetime | None, now: datetime, expected: Expected
) -> tuple[FeedState, str]:
    if not known:
        return FeedState.QUIET, "Nothing ever came."
    items = bad = 0
    for one in reversed(known):
        items += one.items
        bad += sum(one.refused.values())
        if items + bad >= FEWEST_ITEMS:
            break
    owed = expected.period * QUIET_PERIODS + expected.delay
    silent = now - known[-1].received_at > owed
    if known[-1].failure and not silent:
        return FeedState.BROKEN, f"The last delivery could not be read to its end: {known[-1].failure}"
    if (
        bad
        and (items == 0 or (items + bad >= FEWEST_ITEMS and bad > BROKEN_SHARE * (items + bad)))
        and not silent
    ):
        worst = Counter(_latest_refusals(known)).most_common(1)[0][0]
        return FeedState.BROKEN, f"{bad} of the last {items + bad} items were refused, mostly as `{worst}`."
    if last_data_at is None:
        return FeedState.QUIET, "What came held no data."
    if now - last_data_at > owed:
        minutes = int((now - last_data_at).total_seconds() // 60)
        return FeedState.QUIET, f"The latest data is {minutes} minutes old."
    return FeedState.OK, "Data comes as promised."


def _latest_refusals(known: Sequence[Delivery]) -> Mapping[str, int]:
    return next(one.refused for one in reversed(known) if one.refused)


def _missing(
    spans: Sequence[tuple[datetime, datetime]], period: timedelta
) -> tuple[tuple[datetime, ...], int]:
    """Whole periods between spans that no span touches, counted from the end of the span before."""
    named: list[datetime] = []
    count = 0
    reached: datetime | None = None
    for begin, end in sorted(spans):
        if reached is not None and begin > reached:
            gaps = (begin - reached) // period
            named.extend(reached + period * index for index in range(min(gaps, MAX_MISSING - len(named))))
            count += gaps
        reached = end if reached is None else max(reached, end)
    return tuple(named), count
