"""Time is passed in. This module holds the two clocks a process may have."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What rooms read time from."""

    def now(self) -> datetime:
        """Wall time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Time that never runs backwards, from an arbitrary origin. [s]"""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock, shifted by a fixed offset.

    Parameters
    ----------
    offset
        Added to wall time. Zero in production; a rehearsal of a window's closing sets it
        (setting `clock_offset_s`).
    """

    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Wall time, aware, UTC, plus the offset."""
        return datetime.now(UTC) + self.offset

    def monotonic(self) -> float:
        """The machine's monotonic time. [s]"""
        return time.monotonic()
