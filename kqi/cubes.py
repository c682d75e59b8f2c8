"""Keeps the quarter-hour cubes in step with the samples.

A window is dirty when its samples are not those that its cube was built from. A dirty window is built whole, from
deduplicated samples, under a new build number; one row in `cube_builds` then makes it the one that counts. So a
sample counts once however often it came, late data counts as timely data does, and a process killed at any line
leaves the cube as it was.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from prometheus_client import Counter, Gauge

from cem.platform.clock import Clock
from cem.platform.facts import FactStore
from cem.platform.observe import REGISTRY, get_logger
from kqi.cuts import ALWAYS, DIMENSIONS, STATES_SQL, cut_name_sql, grouping_sets_sql, observations_sql
from kqi.marks import JobMarks
from kqi.pace import Pace

HORIZON = timedelta(hours=72)
"""How far back a changed window is looked for: the age at which samples are refused (48 h) and a day's margin."""
BUILDS_PER_TICK = 6
"""Windows built in one unit of work. [1] Chosen here: a unit stays below a few seconds, and the newest windows
come first, so that a history being loaded does not hold up the present."""
BUSY_SHARE = 0.15
"""Most of the time that rebuilding may take of one processor. [1] Chosen here."""
LEAST_REST_S = 3.0
"""[s] Chosen here: a console that shows the present quarter hour is at most some seconds behind."""
CLEAN_EVERY = timedelta(minutes=2)
"""How often rows of builds that no longer count are deleted. Chosen here."""

BUILDS = Counter("cem_kqi_cube_builds_total", "Windows built.", registry=REGISTRY)
DIRTY = Gauge("cem_kqi_cube_windows_waiting", "Windows that still wait to be built.", registry=REGISTRY)

_log = get_logger(__name__)
_JOB = "cubes"


@dataclass(frozen=True, slots=True)
class _Change:
    window: datetime
    samples: int
    fingerprint: int


class CubeJob:
    """Rebuilds dirty windows.

    Parameters
    ----------
    store, clock
        Where samples and cubes are, and what tells the time.
    busy_share
        Most of the time that rebuilding may take; 1 for no limit. [1]
    least_rest_s
        Rest between two rebuilds. [s]
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
        self._marks = JobMarks(store)
        self._pace = Pace(clock, busy_share, least_rest_s)
        self._clean_at: datetime | None = None

    def tick(self) -> int:
        """Build the newest dirty windows; returns how many. Safe to kill, to repeat and to run twice at once."""
        if self._pace.resting():
            return 0
        began_s = self._clock.monotonic()
        began = self._clock.now()
        dirty = self._dirty(began)
        for change in dirty[:BUILDS_PER_TICK]:
            self.build(change.window)
        left = len(dirty[BUILDS_PER_TICK:])
        DIRTY.set(left)
        if not left:
            self._marks.write(_JOB, began)
        if dirty and (self._clean_at is None or began >= self._clean_at):
            self._clean()
            self._clean_at = began + CLEAN_EVERY
        self._pace.worked(began_s, more=left > 0)
        return min(len(dirty), BUILDS_PER_TICK)

    def build(self, window: datetime) -> int:
        """Build one window from its samples and let it count. Returns the build's number."""
        change = next(iter(self._fingerprints([window])), _Change(window, 0, 0))
        build = self._number(window)
        dimensions = ", ".join((*ALWAYS, "indicator", *DIMENSIONS))
        observations = observations_sql("window = {window:DateTime64(0, 'UTC')}")
        self._store.execute(
            f"INSERT INTO cubes (window, build, cut, {dimensions}, n, total, squares, least, most, sketch, users,"  # noqa: S608 - ours
            f" bad, bad_users) SELECT {{window:DateTime64(0, 'UTC')}}, {{build:UInt64}}, {cut_name_sql()} AS cut,"
            f" {dimensions}, {STATES_SQL}"
            f" FROM ({observations}) GROUP BY {grouping_sets_sql()}",
            {"window": window, "build": build},
        )
        row = {
            "window": window.isoformat(),
            "build": build,
            "built_at": self._clock.now().isoformat(timespec="milliseconds"),
            "samples": change.samples,
            "fingerprint": change.fingerprint,
        }
        self._store.insert("cube_builds", msgspec.json.encode(row), "JSONEachRow")
        BUILDS.inc()
        _log.debug("cube built", window=window.isoformat(), samples=change.samples)
        return build

    def _dirty(self, now: datetime) -> list[_Change]:
        oldest = now - HORIZON
        changed = self._store.rows(
            "SELECT DISTINCT window FROM samples WHERE received_at >= {since:DateTime64(3, 'UTC')}"
            " AND window >= {oldest:DateTime64(3, 'UTC')}",
            {"since": self._marks.read(_JOB, oldest), "oldest": oldest},
        )
        if not changed:
            return []
        windows = [row["window"] for row in changed]
        built = {
            row["window"]: (row["samples"], row["fingerprint"])
            for row in self._store.rows(
                "SELECT window, samples, fingerprint FROM cube_builds FINAL"
                " WHERE window IN {windows:Array(DateTime64(0, 'UTC'))}",
                {"windows": windows},
            )
        }
        dirty = [
            change
            for change in self._fingerprints(windows)
            if built.get(change.window) != (change.samples, change.fingerprint)
        ]
        return sorted(dirty, key=lambda change: change.window, reverse=True)

    def _fingerprints(self, windows: Sequence[datetime]) -> list[_Change]:
        """What the windows hold: the same for the same samples, in whatever order and however often they came."""
        rows = self._store.rows(
            "SELECT window, count() AS samples, sum(cityHash64(vantage, service, subscriber_id, item_key,"
            " toString(values), province, city, area, cell, gateway, source, node, model, os, app_version,"
            " device_type)) AS fingerprint"
            " FROM samples FINAL WHERE window IN {windows:Array(DateTime64(0, 'UTC'))} GROUP BY window",
            {"windows": list(windows)},
            timeout_s=60,
        )
        return [_Change(row["window"], row["samples"], row["fingerprint"]) for row in rows]

    def _number(self, window: datetime) -> int:
        """A build's number: later than the one that counts, and no other process's."""
        rows = self._store.rows(
            "SELECT max(build) AS build FROM cube_builds WHERE window = {window:DateTime64(0, 'UTC')}",
            {"window": window},
        )
        now_ms = int(self._clock.now().timestamp() * 1000)
        before_ms = (rows[0]["build"] >> 20) if rows else 0
        return (max(now_ms, before_ms + 1) << 20) + secrets.randbelow(1 << 20)

    def _clean(self) -> None:
        """Delete rows of builds that were superseded; a build under way has a higher number and stays."""
        self._store.execute(
            "DELETE FROM cubes WHERE (window, build) IN (SELECT DISTINCT c.window, c.build FROM cubes AS c"
            " INNER JOIN (SELECT window, max(build) AS counts FROM cube_builds GROUP BY window) AS b"
            " ON c.window = b.window WHERE c.build < b.counts)"
        )
