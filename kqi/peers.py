"""How other lines fare on the segments that a line uses: distinct users, and how many of them fared badly.

Counts only; what they prove is demarcation's business. The recent part comes from samples (the open window
included, as far as it was received before the moment asked about), the baseline from cubes of older windows. The
line itself is left out of both.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cem.platform.clock import Clock
from cem.platform.facts import FactStore
from cem.platform.windows import WINDOW, window_start
from kqi.catalogue import BAD
from kqi.cuts import CUTS, DISTINCT, bad_sql, cut_for

SEGMENTS = ("cell", "area", "gateway", "city", "province", "node", "source", "app_version", "model")
"""Dimensions whose values are shared segments."""
RECENT_WINDOWS = 2
"""Closed windows that count as recent, beside the open one. [1] Chosen here: half an hour back."""
BASELINE = timedelta(hours=24)
"""How far back the baseline goes. Chosen here: a day holds every hour once."""

OWN_SHARE_MATTERS_BELOW = 20 * int(BASELINE / WINDOW)
"""Users of a baseline, summed over its windows, from which on the line's own share is at most 5 % and stays in. [1]
Chosen here: it saves a read for every large segment."""
KEPT_S = 60.0
"""How long a baseline is kept. [s] Chosen here: late data reach it within a minute."""
KEPT_SEGMENTS = 50_000


@dataclass(frozen=True, slots=True)
class PeerCounts:
    """Distinct users on one segment, without the line itself. [1]

    `baseline_users` and `baseline_bad_users` are sums over the baseline's windows of the users of each: a user
    seen in ten windows counts ten times, badly in those where it fared badly.
    """

    dimension: str
    value: str
    users: int
    bad_users: int
    baseline_users: int
    baseline_bad_users: int


class PeerReader:
    """Counts peers."""

    def __init__(self, store: FactStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str, str, datetime], tuple[float, tuple[int, int]]] = {}

    def peers(
        self,
        dims: Mapping[str, str],
        service: str,
        at: datetime,
        exclude_subscriber: str,
        *,
        timeout_s: float = 5,
    ) -> list[PeerCounts]:
        """Counts for every segment of `dims` that has a value, as known at `at`.

        Parameters
        ----------
        dims
            The line's dimensions; those that are no segment are ignored.
        service
            Only samples of this service count; '' for any.
        at
            Nothing received or observed after it counts. Aware.
        exclude_subscriber
            The line itself; '' for none.
        timeout_s
            Longest time of each of the reads. [s]
        """
        segments = [(name, dims[name]) for name in SEGMENTS if dims.get(name)]
        if not segments:
            return []
        params: dict[str, Any] = {f"value_{name}": value for name, value in segments}
        params |= {"service": service, "line": exclude_subscriber, "at": at}
        names = [name for name, _ in segments]
        recent = self._recent(names, params, at, timeout_s)
        baseline = self._kept_baseline(segments, service, params, at, timeout_s)
        small = [name for name, (users, _) in baseline.items() if 0 < users < OWN_SHARE_MATTERS_BELOW]
        own = self._own(small, params, at, timeout_s) if exclude_subscriber and small else {}
        counts = []
        for name, value in segments:
            users, bad = recent.get(name, (0, 0))
            of_baseline, bad_of_baseline = baseline.get(name, (0, 0))
            mine, my_bad = own.get(name, (0, 0))
            left = max(0, of_baseline - mine)
            counts.append(
                PeerCounts(name, value, users, bad, left, min(left, max(0, bad_of_baseline - my_bad)))
            )
        return counts

    def _recent(
        self, names: Sequence[str], params: Mapping[str, Any], at: datetime, timeout_s: float
    ) -> dict[str, tuple[int, int]]:
        rows = self._store.rows(
            "SELECT segment, uniqExact(subscriber_id) AS users, uniqExactIf(subscriber_id, bad = 1) AS bad_users FROM"  # noqa: S608 - ours
            f" (SELECT subscriber_id, {bad_sql()} AS bad, {_segments(names)} AS segments FROM samples FINAL"
            " WHERE window >= {start:DateTime64(0, 'UTC')} AND window <= {at:DateTime64(3, 'UTC')}"
            " AND received_at <= {at:DateTime64(3, 'UTC')} AND observed_at <= {at:DateTime64(3, 'UTC')}"
            " AND subscriber_id NOT IN ('', {line:String}) AND ({service:String} IN ('', service)))"
            " ARRAY JOIN segments AS segment WHERE isNotNull(bad) GROUP BY segment",
            {**params, "start": _recent_start(at)},
            timeout_s=timeout_s,
        )
        return {row["segment"]: (row["users"], row["bad_users"]) for row in rows}

    def _kept_baseline(
        self,
        segments: Sequence[tuple[str, str]],
        service: str,
        params: Mapping[str, Any],
        at: datetime,
        timeout_s: float,
    ) -> dict[str, tuple[int, int]]:
        """Baselines, each read again after `KEPT_S`: many lines share a segment, and a day's past hardly moves."""
        now_s = self._clock.monotonic()
        keys = {name: (service, name, value, _recent_start(at)) for name, value in segments}
        with self._lock:
            known = {
                name: kept[1]
                for name, key in keys.items()
                if (kept := self._kept.get(key)) is not None and now_s - kept[0] < KEPT_S
            }
        missing = [name for name in keys if name not in known]
        if missing:
            read = self._baseline(missing, params, at, timeout_s)
            found = {name: read.get(name, (0, 0)) for name in missing}
            with self._lock:
                if len(self._kept) > KEPT_SEGMENTS:
                    self._kept.clear()
                self._kept |= {keys[name]: (now_s, counts) for name, counts in found.items()}
            known |= found
        return known

    def _baseline(
        self, names: Sequence[str], params: Mapping[str, Any], at: datetime, timeout_s: float
    ) -> dict[str, tuple[int, int]]:
        cuts = {name: cut_for((name,)) for name in names}
        merge = DISTINCT.replace("(", "Merge(", 1)
        params = {**params, "start": _recent_start(at) - BASELINE, "end": _recent_start(at), "cuts": [
            cut.name for cut in CUTS if cut in cuts.values()
        ]}  # fmt: skip
        sums: dict[str, tuple[int, int]] = {}
        # City and province are answered by one cut, whose rows can be told to one of them only: two reads.
        for group in _without_shared_cuts(names):
            arms = ", ".join(
                f"cut = '{cut.name}' AND {_is(name)}, '{name}'" for name in group if (cut := cuts[name])
            )
            rows = self._store.rows(
                "SELECT segment, sum(users) AS users, sum(bad_users) AS bad_users FROM"  # noqa: S608 - ours
                f" (SELECT window, multiIf({arms}, '') AS segment,"
                f" {merge}(users) AS users, {merge}(bad_users) AS bad_users FROM cubes"
                " WHERE (window, build) IN (SELECT window, max(build) FROM cube_builds"
                " WHERE window >= {start:DateTime64(0, 'UTC')} AND window < {end:DateTime64(0, 'UTC')}"
                " GROUP BY window) AND window >= {start:DateTime64(0, 'UTC')}"
                " AND window < {end:DateTime64(0, 'UTC')} AND cut IN {cuts:Array(String)}"
                f" AND indicator = '{BAD}' AND ({{service:String}} IN ('', service)) AND segment != ''"
                " GROUP BY window, segment) GROUP BY segment",
                params,
                timeout_s=timeout_s,
            )
            sums |= {row["segment"]: (row["users"], row["bad_users"]) for row in rows}
        return sums

    def _own(
        self, names: Sequence[str], params: Mapping[str, Any], at: datetime, timeout_s: float
    ) -> dict[str, tuple[int, int]]:
        """The line's own share of the baseline: windows it was seen in, and fared badly in."""
        rows = self._store.rows(
            "SELECT segment, uniqExact(window) AS users, uniqExactIf(window, bad = 1) AS bad_users FROM"  # noqa: S608 - ours
            f" (SELECT window, {bad_sql()} AS bad, {_segments(names)} AS segments FROM samples FINAL"
            " WHERE window >= {start:DateTime64(0, 'UTC')} AND window < {end:DateTime64(0, 'UTC')}"
            " AND subscriber_id = {line:String} AND ({service:String} IN ('', service)))"
            " ARRAY JOIN segments AS segment WHERE isNotNull(bad) GROUP BY segment",
            {**params, "start": _recent_start(at) - BASELINE, "end": _recent_start(at)},
            timeout_s=timeout_s,
        )
        return {row["segment"]: (row["users"], row["bad_users"]) for row in rows}


def _segments(names: Sequence[str]) -> str:
    """SQL: names of the segments that a sample lies on."""
    arms = ", ".join(f"if({_is(name)}, '{name}', '')" for name in names)
    return f"arrayFilter(segment -> segment != '', [{arms}])"


def _is(name: str) -> str:
    return f"{name} = {{value_{name}:String}}"


def _recent_start(at: datetime) -> datetime:
    return window_start(at) - RECENT_WINDOWS * WINDOW


def _without_shared_cuts(names: Sequence[str]) -> list[list[str]]:
    groups: list[list[str]] = []
    for name in names:
        cut = cut_for((name,))
        home = next((group for group in groups if all(cut_for((other,)) != cut for other in group)), None)
        if home is None:
            groups.append([name])
        else:
            home.append(name)
    return groups
