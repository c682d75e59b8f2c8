"""Which window to close next: a pure plan from how far closing has come and what is waiting.

Windows close in event order, each once, and none is left out. Windows that nobody felt a fault in are closed
many at a time, so that catching up after days costs little.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cem.platform.windows import WINDOW, window_start

MAX_EMPTY_WINDOWS = 2_000
"""Empty windows closed in one transaction: three weeks. Chosen here to keep it under about 50 ms. [1]"""


class Work(StrEnum):
    """What there is to do."""

    NOTHING = "nothing"
    AMEND = "amend"
    CLOSE = "close"
    CLOSE_EMPTY = "close_empty"


@dataclass(frozen=True, slots=True)
class Plan:
    """Work on the windows from `first` to `last`, both included; one and the same except for empty ones."""

    work: Work
    first: datetime
    last: datetime


def last_closable(now: datetime, watermark: timedelta) -> datetime:
    """Start of the latest window whose end lies `watermark` or more in the past."""
    return window_start(now - watermark) - WINDOW


def next_work(
    last_closed: datetime | None, earliest_case: datetime | None, now: datetime, watermark: timedelta
) -> Plan:
    """What to do next.

    Parameters
    ----------
    last_closed
        Start of the latest closed window; None before the first.
    earliest_case
        Window of the earliest case that nothing was decided on yet; None if there is none.
    now
        Wall time.
    watermark
        See `PolicySettings`.
    """
    limit = last_closable(now, watermark)
    if last_closed is not None and earliest_case is not None and earliest_case <= last_closed:
        return Plan(Work.AMEND, last_closed, last_closed)
    if last_closed is not None:
        following = last_closed + WINDOW
    else:
        following = limit if earliest_case is None else min(limit, earliest_case)
    if following > limit:
        return Plan(Work.NOTHING, following, following)
    if earliest_case == following:
        return Plan(Work.CLOSE, following, following)
    last = limit if earliest_case is None else min(limit, earliest_case - WINDOW)
    return Plan(Work.CLOSE_EMPTY, following, min(last, following + (MAX_EMPTY_WINDOWS - 1) * WINDOW))
