"""How other lines fare on the segments that a line uses: distinct users, and how many of them fared badly.

Counts only; what they prove is demarcation's business. The recent part comes from samples (the open window
included, as far as it was received before the moment asked about), the baseline from cubes of older windows. The
line itself is left out of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

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

    def __init__(self, store: FactStore) -> None:
        self._store = store

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
            Longest time of each of the two reads. [s]
        """
        segments = [(name, dims[name]) for name in SEGMENTS if dims.get(name)]
        if not segments:
            return []
        params: dict[str, Any] = {f"value_{name}": value for name, value in segments}
        params |= {"service": service, "line": exclude_subscriber, "at": at}
        names = [name for name, _ in segments]
        recent = self._recent(names, params, at, timeout_s)
        baseline = self._baseline(names, params, at, timeout_s)
        own = self._own(names, params, at, timeout_s) if exclude_subscriber else {}
        counts = []
        for name, value in segments:
            users, bad = recent[name]
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
        counts = ", ".join(
            f"uniqExactIf(subscriber_id, {_is(name)}) AS users_{name},"
            f" uniqExactIf(subscriber_id, {_is(name)} AND bad = 1) AS bad_{name}"
            for name in names
        )
        row = self._store.rows(
            f"SELECT {counts} FROM (SELECT subscriber_id, {', '.join(names)}, {bad_sql()} AS bad FROM samples FINAL"  # noqa: S608 - ours
            " WHERE window >= {start:DateTime64(0, 'UTC')} AND window <= {at:DateTime64(3, 'UTC')}"
            " AND received_at <= {at:DateTime64(3, 'UTC')} AND observed_at <= {at:DateTime64(3, 'UTC')}"
            " AND subscriber_id NOT IN ('', {line:String}) AND ({service:String} IN ('', service))"
            f" AND ({' OR '.join(_is(name) for name in names)})) WHERE isNotNull(bad)",
            {**params, "start": _recent_start(at)},
            timeout_s=timeout_s,
        )[0]
        return {name: (row[f"users_{name}"], row[f"bad_{name}"]) for name in names}

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
        counts = ", ".join(
            f"uniqExactIf(window, {_is(name)}) AS users_{name},"
            f" uniqExactIf(window, {_is(name)} AND bad = 1) AS bad_{name}"
            for name in names
        )
        row = self._store.rows(
            f"SELECT {counts} FROM (SELECT window, {', '.join(names)}, {bad_sql()} AS bad FROM samples FINAL"  # noqa: S608 - ours
            " WHERE window >= {start:DateTime64(0, 'UTC')} AND window < {end:DateTime64(0, 'UTC')}"
            " AND subscriber_id = {line:String} AND ({service:String} IN ('', service))) WHERE isNotNull(bad)",
            {**params, "start": _recent_start(at) - BASELINE, "end": _recent_start(at)},
            timeout_s=timeout_s,
        )[0]
        return {name: (row[f"users_{name}"], row[f"bad_{name}"]) for name in names}


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
