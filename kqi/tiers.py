"""Tiers of the KQI store: how long each is kept and why, and which of them answer a stretch of time.

A coarser tier is merged from the states of the finer one (`kqi.rollup`). A stretch that is not merged yet, or whose
finer states changed since, is answered from the finer tier: an answer never waits for the roll-up and never lags it.
Hours and days are those of UTC; local days are asked for as hours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from cem.platform.facts import FactStore
from cem.platform.windows import WINDOW

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Tier:
    """One grain of time.

    Parameters
    ----------
    name
        As in `tier_builds`.
    tables
        Where it is kept; the first holds the figures.
    length
        Of one row's time; None for raw facts.
    kept_days
        The TTL of its tables. [d]
    reason
        Why that long.
    """

    name: str
    tables: tuple[str, ...]
    length: timedelta | None
    kept_days: int
    reason: str


RAW = Tier(
    "raw",
    ("samples", "reports", "player_events"),
    None,
    30,
    "A complaint is looked into within its month, and late data is refused after 48 h; personal data stays no longer.",
)
QUARTER = Tier(
    "quarter_hour",
    ("cubes", "cube_builds"),
    WINDOW,
    90,
    "A baseline takes four weeks; three months hold it, and the weeks before a change of the network beside it.",
)
HOURLY = Tier(
    "hour",
    ("cube_hours", "anomalies", "anomaly_runs"),
    HOUR,
    400,
    "A year and a month: this month beside the same month of last year, busy hour by busy hour.",
)
DAILY = Tier(
    "day",
    ("cube_days", "tier_builds"),
    DAY,
    1826,
    "Five years: the life of an access network's equipment, for its planning.",
)
TIERS = (RAW, QUARTER, HOURLY, DAILY)
"""From the finest to the coarsest. Lengths of keeping are chosen here; the migrations' TTLs say the same."""

CERTAIN_DAYS = MappingProxyType({QUARTER.name: QUARTER.kept_days - 2, HOURLY.name: HOURLY.kept_days - 2})
"""Within this age a tier is whole; past it the TTL may have taken parts, and nothing is merged from it. [d]"""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time, end excluded, that one tier answers."""

    tier: Tier
    start: datetime
    end: datetime


def segments(
    start: datetime,
    end: datetime,
    coarsest: Tier,
    stale_hours: Iterable[datetime],
    stale_days: Iterable[datetime],
) -> list[Segment]:
    """Cut a stretch of time into the coarsest tiers that hold its parts exactly. Pure.

    Parameters
    ----------
    start, end
        Quarter hours, end excluded.
    coarsest
        `QUARTER`, `HOURLY` or `DAILY`: the coarsest that the asked step allows.
    stale_hours, stale_days
        Those whose merged states are missing or not those of the finer tier.
    """
    if coarsest is QUARTER:
        return [Segment(QUARTER, start, end)]
    old_hours, old_days = set(stale_hours), set(stale_days)
    found: list[Segment] = []
    at = start
    while at < end:
        tier, until = QUARTER, min(end, at + WINDOW)
        if coarsest is DAILY and at == _floor(at, DAY) and at + DAY <= end and at not in old_days:
            tier, until = DAILY, at + DAY
        elif at == _floor(at, HOUR) and at + HOUR <= end and at not in old_hours:
            tier, until = HOURLY, at + HOUR
        if found and found[-1].tier is tier:
            found[-1] = Segment(tier, found[-1].start, until)
        else:
            found.append(Segment(tier, at, until))
        at = until
    return found


def _floor(at: datetime, length: timedelta) -> datetime:
    seconds = int(at.timestamp())
    return datetime.fromtimestamp(seconds - seconds % int(length.total_seconds()), at.tzinfo)


def fingerprints_sql(tier: Tier, where: str) -> str:
    """SQL: for every hour or day the fingerprint of the finer tier's builds that count now.

    `where` bounds `window` of the finer tier. Gives `coarse` and `fingerprint`; order-free.
    """
    floor = "toStartOfHour(window)" if tier is HOURLY else "toStartOfDay(window)"
    finer = "cube_builds WHERE" if tier is HOURLY else "tier_builds WHERE tier = 'hour' AND"
    return (
        f"SELECT toDateTime64({floor}, 0, 'UTC') AS coarse, groupBitXor(cityHash64(window, counts)) AS fingerprint"  # noqa: S608 - ours
        f" FROM (SELECT window, max(build) AS counts FROM {finer} {where} GROUP BY window) GROUP BY coarse"
    )


def stale_sql(tier: Tier, where: str) -> str:
    """SQL: `coarse` and the finer tier's `fingerprint` of hours or days not merged, or not from these builds."""
    return (
        f"SELECT f.coarse AS coarse, f.fingerprint AS fingerprint FROM ({fingerprints_sql(tier, where)}) AS f"  # noqa: S608 - ours
        " LEFT JOIN (SELECT window, argMax(fingerprint, build) AS fingerprint, 1 AS merged FROM tier_builds"
        f" WHERE tier = '{tier.name}' GROUP BY window) AS m ON f.coarse = m.window"
        " WHERE m.merged = 0 OR f.fingerprint != m.fingerprint"
    )


def plan(
    store: FactStore, start: datetime, end: datetime, coarsest: Tier, *, timeout_s: float
) -> list[Segment]:
    """Which tiers answer a stretch of time now. Raises FactStoreError."""
    if coarsest is QUARTER or end - start < HOUR:
        return [Segment(QUARTER, start, end)]
    params: dict[str, Any] = {"start": _floor(start, DAY), "end": end}

    def stale(tier: Tier, finer: Tier) -> set[datetime]:
        where = (
            "window >= {start:DateTime64(0, 'UTC')} AND window < {end:DateTime64(0, 'UTC')}"
            f" AND window >= now() - INTERVAL {CERTAIN_DAYS[finer.name]} DAY"
        )
        return {row["coarse"] for row in store.rows(stale_sql(tier, where), params, timeout_s=timeout_s)}

    hours = stale(HOURLY, QUARTER)
    days = set()
    if coarsest is DAILY:
        days = stale(DAILY, HOURLY) | {_floor(hour, DAY) for hour in hours}
    return segments(start, end, coarsest, hours, days)
