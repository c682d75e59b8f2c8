"""Merges quarter hours to hours and hours to days.

An hour or day that has ended is merged whole from the finer tier's states, under a new build number; one row in
`tier_builds` makes it the one that counts, and says which finer builds it holds. It is merged again when those
change. States merge exactly (sums, counts, sketches, distinct users: `kqi.cuts`), so the order and the number of
merges do not matter, and a process killed at any line leaves readers with what they had.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import msgspec
from prometheus_client import Counter, Gauge

from cem.platform.clock import Clock
from cem.platform.facts import FactStore
from cem.platform.observe import REGISTRY, get_logger
from kqi.cuts import ALWAYS, DIMENSIONS, DISTINCT, SKETCH
from kqi.pace import Pace
from kqi.tiers import CERTAIN_DAYS, DAILY, HOURLY, QUARTER, Tier, stale_sql

MERGES_PER_TICK = 6
"""Hours or days merged in one unit of work. [1] Chosen here: a unit stays below some seconds."""
BUSY_SHARE = 0.1
"""Most of the time that merging may take of one processor. [1] Chosen here: it is never urgent, because readers
take the finer tier meanwhile."""
LEAST_REST_S = 20.0
"""[s] Chosen here."""
GRACE = timedelta(minutes=10)
"""How long after its end an hour or day is first merged. Chosen here: most late data has come by then."""
CLEAN_EVERY = timedelta(minutes=10)
"""How often rows of builds that no longer count are deleted. Chosen here."""

MERGES = Counter("cem_kqi_tier_builds_total", "Hours and days merged.", ["tier"], registry=REGISTRY)
WAITING = Gauge("cem_kqi_tier_waiting", "Hours and days that wait to be merged.", ["tier"], registry=REGISTRY)

_log = get_logger(__name__)

ROLL_SQL = (
    "sum(n) AS n, sum(total) AS total, sum(squares) AS squares, min(least) AS least, max(most) AS most,"
    f" {SKETCH.replace('(', 'MergeState(', 1)}(sketch) AS sketch,"
    f" {DISTINCT.replace('(', 'MergeState(', 1)}(users) AS users,"
    " sum(bad) AS bad,"
    f" {DISTINCT.replace('(', 'MergeState(', 1)}(bad_users) AS bad_users"
)
"""Mergeable states → mergeable states of a longer time."""


class RollupJob:
    """Keeps hours and days in step with quarter hours.

    Parameters
    ----------
    store, clock
        Where tiers are, and what tells the time.
    busy_share, least_rest_s
        See `kqi.pace.Pace`. [1] [s]
    """

    def __init__(
        self,
        store: FactStore,
        clock: Clock,
        *,
        busy_share: float = BUSY_SHARE,
        least_rest_s: float = LEAST_REST_S,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pace = Pace(clock, busy_share, least_rest_s)
        self._clean_at: datetime | None = None

    def tick(self) -> int:
        """Merge the newest stale hours, then days; returns how many. Safe to kill, repeat and run twice at once."""
        if self._pace.resting():
            return 0
        began_s = self._clock.monotonic()
        done = 0
        more = False
        for tier, finer in ((HOURLY, QUARTER), (DAILY, HOURLY)):
            stale = self._stale(tier, finer)
            room = MERGES_PER_TICK - done
            for window, fingerprint in stale[:room]:
                self._merge(tier, finer, window, fingerprint)
            done += min(len(stale), room)
            left = max(0, len(stale) - room)
            more = more or left > 0
            WAITING.labels(tier.name).set(left)
            if more:
                break  # a day is merged once its hours are
        now = self._clock.now()
        if done and (self._clean_at is None or now >= self._clean_at):
            self._clean()
            self._clean_at = now + CLEAN_EVERY
        self._pace.worked(began_s, more=more)
        return done

    def _stale(self, tier: Tier, finer: Tier) -> list[tuple[datetime, int]]:
        now = self._clock.now()
        length = tier.length
        assert length is not None
        ended_s = int((now - GRACE).timestamp()) // int(length.total_seconds()) * int(length.total_seconds())
        oldest = now - timedelta(days=CERTAIN_DAYS[finer.name])
        where = (
            "window >= toStartOfDay({oldest:DateTime64(0, 'UTC')}) AND window < {ended:DateTime64(0, 'UTC')}"
        )
        rows = self._store.rows(
            stale_sql(tier, where) + " ORDER BY coarse DESC",
            {"oldest": oldest.replace(microsecond=0), "ended": datetime.fromtimestamp(ended_s, now.tzinfo)},
        )
        return [(row["coarse"], row["fingerprint"]) for row in rows]

    def _merge(self, tier: Tier, finer: Tier, window: datetime, fingerprint: int) -> None:
        """Merge one hour or day.

        Were a finer build to change between the fingerprint and the merge, the row would name builds that it does
        not hold: it then counts as stale, and is merged again.
        """
        assert tier.length is not None
        build = self._number(tier, window)
        keys = ", ".join(("cut", *ALWAYS, "indicator", *DIMENSIONS))
        builds = "cube_builds WHERE" if finer is QUARTER else f"tier_builds WHERE tier = '{finer.name}' AND"
        bounds = "window >= {window:DateTime64(0, 'UTC')} AND window < {end:DateTime64(0, 'UTC')}"
        self._store.execute(
            f"INSERT INTO {tier.tables[0]} (window, build, {keys}, n, total, squares, least, most, sketch, users,"  # noqa: S608 - ours
            " bad, bad_users) SELECT {window:DateTime64(0, 'UTC')}, {build:UInt64},"
            f" {keys}, {ROLL_SQL} FROM {finer.tables[0]} WHERE {bounds} AND (window, build) IN"
            f" (SELECT window, max(build) FROM {builds} {bounds} GROUP BY window) GROUP BY {keys}",
            {"window": window, "end": window + tier.length, "build": build},
        )
        row = {
            "tier": tier.name,
            "window": window.isoformat(),
            "build": build,
            "built_at": self._clock.now().isoformat(timespec="milliseconds"),
            "fingerprint": fingerprint,
        }
        self._store.insert("tier_builds", msgspec.json.encode(row), "JSONEachRow")
        MERGES.labels(tier.name).inc()
        _log.debug("tier merged", tier=tier.name, window=window.isoformat())

    def _number(self, tier: Tier, window: datetime) -> int:
        """A build's number: later than the one that counts, and no other process's."""
        rows = self._store.rows(
            "SELECT max(build) AS build FROM tier_builds WHERE tier = {tier:String}"
            " AND window = {window:DateTime64(0, 'UTC')}",
            {"tier": tier.name, "window": window},
        )
        now_ms = int(self._clock.now().timestamp() * 1000)
        before_ms = (rows[0]["build"] >> 20) if rows else 0
        return (max(now_ms, before_ms + 1) << 20) + secrets.randbelow(1 << 20)

    def _clean(self) -> None:
        """Delete rows of builds that were superseded; a build under way has a higher number and stays."""
        for tier in (HOURLY, DAILY):
            table = tier.tables[0]
            stale = (
                f"SELECT DISTINCT c.window, c.build FROM {table} AS c INNER JOIN (SELECT window, max(build) AS counts"  # noqa: S608 - ours
                f" FROM tier_builds WHERE tier = '{tier.name}' GROUP BY window) AS b ON c.window = b.window"
                " WHERE c.build < b.counts"
            )
            if self._store.rows(f"SELECT 1 FROM ({stale}) LIMIT 1"):  # noqa: S608 - ours
                self._store.execute(f"DELETE FROM {table} WHERE (window, build) IN ({stale})")  # noqa: S608 - ours
