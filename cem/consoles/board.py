"""The overview as one value: every part read on its own, so that a part that cannot be read costs only itself.

What is read is kept for a moment and shared by everybody who looks, so that many open pages cost the stores no
more than one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from cem.consoles.charts import STALL_SCALE, START_DELAY_SCALE, HeatMap, Point, Scale, Square, heat_map
from cem.consoles.ports import Activity, ConsoleView, Experience, Feed, OrderPage, VerdictRow
from cem.platform.aio import run_blocking
from cem.platform.clock import Clock
from cem.platform.errors import CemError
from cem.platform.observe import get_logger

_log = get_logger("cem.consoles")
T = TypeVar("T")

EXPERIENCE_HOURS = 4
VERDICTS_SHOWN = 12
ORDERS_SHOWN = 10
KEPT_S = 2.0
"""How long a reading is shared: shorter than the pages' own rhythm, so that nobody sees the same twice. [s]"""
QUIET_AFTER = timedelta(minutes=5)
"""A feed silent for longer is called quiet; chosen here, a third of a window."""
DOMAINS = ("terminal", "network", "platform", "no_fault", "undetermined")


@dataclass(frozen=True, slots=True)
class Board:
    """Everything the overview shows at one moment. None: that part could not be read."""

    at: datetime
    activity: Activity | None
    verdicts: Sequence[VerdictRow] | None
    orders: OrderPage | None
    experience: Sequence[Experience] | None
    feeds: Sequence[Feed] | None


class BoardReader:
    """Reads the overview's parts in threads, side by side, at most once in `KEPT_S`."""

    def __init__(self, view: ConsoleView, clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kept: tuple[float, Board] | None = None

    async def read(self) -> Board:
        """Give the overview as it is, or was a moment ago."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._kept is not None and now - self._kept[0] < KEPT_S:
                return self._kept[1]
            board = await self._read()
            self._kept = (self._clock.monotonic(), board)
            return board

    async def _read(self) -> Board:
        view = self._view
        activity, verdicts, orders, experience, feeds = await asyncio.gather(
            _part("activity", view.activity),
            _part("verdicts", lambda: view.recent_verdicts(VERDICTS_SHOWN)),
            _part("orders", lambda: view.orders(active=True, limit=ORDERS_SHOWN)),
            _part("experience", lambda: view.experience_by_city(EXPERIENCE_HOURS)),
            _part("feeds", view.feeds),
        )
        return Board(self._clock.now(), activity, verdicts, orders, experience, feeds)


async def _part(name: str, read: Callable[[], T]) -> T | None:
    try:
        return await run_blocking(read)
    except CemError as error:
        _log.warning("a part of the overview cannot be read", part=name, error=type(error).__name__)
        return None


@dataclass(frozen=True, slots=True)
class Panel:
    """One heat map of the overview. `key` names its texts; `unit` follows a value in words."""

    key: str
    chart: HeatMap
    scale: Scale
    unit: str

    @property
    def worst(self) -> Square | None:
        """Give the square to point out."""
        return self.chart.worst()


def panels(experience: Sequence[Experience]) -> tuple[Panel, Panel]:
    """Lay out start delay [s] and stall ratio [%] by city and quarter hour."""
    delay = [
        Point(
            row.city,
            row.window_start,
            None if row.start_delay_ms is None else row.start_delay_ms / 1000,
            row.sessions,
        )
        for row in experience
    ]
    stall = [
        Point(
            row.city,
            row.window_start,
            None if row.stall_ratio is None else row.stall_ratio * 100,
            row.sessions,
        )
        for row in experience
    ]
    return (
        Panel("start_delay", heat_map(delay, START_DELAY_SCALE), START_DELAY_SCALE, " s"),
        Panel("stall_ratio", heat_map(stall, STALL_SCALE), STALL_SCALE, " %"),
    )


def feed_state(feed: Feed, now: datetime) -> str:
    """Say how a feed is: `good`, `quiet` or `never`."""
    if feed.last_at is None:
        return "never"
    return "good" if now - feed.last_at <= QUIET_AFTER else "quiet"
