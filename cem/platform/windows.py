"""The quarter hour: half-open windows `[start, start + 15 min)` of event time, aligned in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

WINDOW = timedelta(minutes=15)
"""Length of a window: the granularity period of 3GPP measurement files (TS 32.435, `PT900S`)."""

_WINDOW_S = int(WINDOW.total_seconds())


def window_start(at: datetime) -> datetime:
    """Start of the window that holds an instant.

    Raises
    ------
    ValueError
        If `at` is naive: event time without a zone has no window.
    """
    if at.tzinfo is None:
        raise ValueError("a window needs an aware time")
    seconds = int(at.timestamp() // 1)
    return datetime.fromtimestamp(seconds - seconds % _WINDOW_S, UTC)


def window_bounds(start: datetime) -> tuple[datetime, datetime]:
    """The window's start and its excluded end.

    Raises
    ------
    ValueError
        If `start` is not the start of a window.
    """
    if window_start(start) != start:
        raise ValueError(f"{start.isoformat()} does not start a quarter hour")
    return start, start + WINDOW


def windows_between(first: datetime, last: datetime) -> Iterator[datetime]:
    """Every window's start from the one that holds `first` to the one that holds `last`, in order."""
    start, end = window_start(first), window_start(last)
    while start <= end:
        yield start
        start += WINDOW
