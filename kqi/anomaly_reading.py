"""SQL of anomalies: what a detector reads of the cubes, what it leaves, and what readers get.

A slice is read where it has enough samples now or had so in one of the weeks before; no more than `MOST_SLICES` of a
level, the largest first, so that a judgement's memory is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cem.platform.errors import InvalidInput
from cem.platform.facts import FactStore
from kqi.anomaly import DETECTOR_VERSION, LEAST_SAMPLES, Anomaly, FeedGap
from kqi.baseline import FloatArray
from kqi.cuts import DISTINCT, cut_for
from kqi.slices import LEVELS, SEPARATOR, Level

MOST_SLICES = 20_000
"""Slices of one level and indicator that are judged. [1] Chosen here: a province has some 10,000 busy cells."""
MOST_DAYS = 31
"""Days that one question for anomalies may span. [d]"""
MAX_PAGE = 1_000
READ_TIMEOUT_S = 60.0
DIMENSIONS = ("province", "city", "area", "cell", "gateway", "source", "node", "model", "os", "app_version")

_BUILDS = (
    "(window, build) IN (SELECT window, max(build) FROM cube_builds WHERE window IN"
    " {windows:Array(DateTime64(0, 'UTC'))} GROUP BY window)"
)


@dataclass(frozen=True, slots=True)
class Cells:
    """Sums by window and slice, each of shape (windows, slices); 0 samples where there is nothing."""

    windows: tuple[datetime, ...]
    keys: tuple[str, ...]
    count: Mapping[str, FloatArray]
    total: Mapping[str, FloatArray]
    squares: Mapping[str, FloatArray]
    users: Mapping[str, FloatArray]
    """Distinct lines of the window judged, shape (slices,)."""


@dataclass(frozen=True, slots=True)
class StoredAnomaly:
    """A row that counts; `kind` is `value` or `feed`."""

    window: datetime
    kind: str
    indicator: str
    level: str
    service: str
    vantage: str
    dimensions: Mapping[str, str]
    observed: float
    expected: float
    deviation: float
    score: float
    p: float
    q: float
    samples: int
    users: int
    basis: str


@dataclass(frozen=True, slots=True)
class AnomalyQuestion:
    """What is asked; `start` included, `end` not."""

    start: datetime
    end: datetime
    indicators: tuple[str, ...] = ()
    kind: str | None = None
    level: str | None = None
    service: str | None = None
    limit: int = 100
    offset: int = 0


class AnomalyStore:
    """Reads and writes."""

    def __init__(self, store: FactStore) -> None:
        self._store = store

    def builds(self, start: datetime, end: datetime) -> dict[datetime, int]:
        """The cube builds that count, by window; `end` excluded."""
        rows = self._store.rows(
            "SELECT window, max(build) AS counts FROM cube_builds WHERE window >= {start:DateTime64(0, 'UTC')}"
            " AND window < {end:DateTime64(0, 'UTC')} GROUP BY window",
            {"start": start, "end": end},
        )
        return {row["window"]: row["counts"] for row in rows}

    def judged(self, start: datetime, end: datetime) -> dict[datetime, tuple[int, datetime, str]]:
        """What was judged: the build, when, and by which detector."""
        rows = self._store.rows(
            "SELECT window, build, judged_at, detector FROM anomaly_runs FINAL"
            " WHERE window >= {start:DateTime64(0, 'UTC')} AND window < {end:DateTime64(0, 'UTC')}",
            {"start": start, "end": end},
        )
        return {row["window"]: (row["build"], row["judged_at"], row["detector"]) for row in rows}

    def present(self, windows: Sequence[datetime]) -> set[datetime]:
        """Which of the windows have a cube."""
        rows = self._store.rows(
            "SELECT DISTINCT window FROM cube_builds WHERE window IN {windows:Array(DateTime64(0, 'UTC'))}",
            {"windows": list(windows)},
        )
        return {row["window"] for row in rows}

    def indicators(self, windows: Sequence[datetime]) -> dict[str, int]:
        """Indicators of the windows' cubes, and the most slices that one has in any cut."""
        rows = self._store.rows(
            "SELECT indicator, toUInt64(max(slices)) AS slices FROM (SELECT indicator, cut, window, count() AS slices"  # noqa: S608 - ours
            f" FROM cubes WHERE window IN {{windows:Array(DateTime64(0, 'UTC'))}} AND {_BUILDS}"
            " GROUP BY indicator, cut, window) GROUP BY indicator",
            {"windows": list(windows)},
            timeout_s=READ_TIMEOUT_S,
        )
        return {row["indicator"]: row["slices"] for row in rows}

    def cells(
        self,
        level: Level,
        judged: Sequence[str],
        needs: Sequence[str],
        window: datetime,
        seasons: Sequence[datetime],
        windows: Sequence[datetime],
    ) -> Cells:
        """Sums of one level.

        Parameters
        ----------
        judged, needs
            Indicators that decide which slices are read; all that are read (with the parts of ratios).
        window, seasons, windows
            The window judged; those whose traffic makes a slice worth reading; all that are read, `window` included.
        """
        cut = cut_for(level.dimensions)
        assert cut is not None
        keys = ", ".join(("service", "vantage", *level.dimensions))
        known = f" AND {level.dimensions[-1]} != ''" if level.dimensions else ""
        distinct = DISTINCT.replace("(", "Merge(", 1)
        base = f"cut = {{cut:String}}{known}"
        params: dict[str, Any] = {
            "cut": cut.name,
            "judged": list(judged),
            "needs": list(needs),
            "window": window,
            "busy": [window, *seasons],
            "windows": list(windows),
            "least": LEAST_SAMPLES,
        }
        worth = (
            f"SELECT {keys} FROM (SELECT window AS w, indicator, {keys}, sum(n) AS size, {distinct}(users) AS lines"  # noqa: S608 - ours
            f" FROM cubes WHERE {base} AND window IN {{busy:Array(DateTime64(0, 'UTC'))}}"
            f" AND {_BUILDS} AND indicator IN {{judged:Array(String)}} GROUP BY w, indicator, {keys}"
            " HAVING size >= {least:UInt64} OR lines = 0)"
            f" GROUP BY {keys} ORDER BY max(size) DESC, {keys} LIMIT {MOST_SLICES}"
        )
        matching = f"({keys}) IN ({worth})"
        table = self._store.query(
            f"SELECT window, indicator, {keys}, toFloat64(sum(n)) AS size, sum(total) AS sums, sum(squares) AS sq"  # noqa: S608 - ours
            f" FROM cubes WHERE {base} AND window IN {{windows:Array(DateTime64(0, 'UTC'))}}"
            f" AND {_BUILDS} AND indicator IN {{needs:Array(String)}} AND {matching}"
            f" GROUP BY window, indicator, {keys}",
            params,
            timeout_s=READ_TIMEOUT_S,
        )
        users = self._store.query(
            f"SELECT indicator, {keys}, toFloat64({distinct}(users)) AS lines FROM cubes"  # noqa: S608 - ours
            f" WHERE {base} AND window = {{window:DateTime64(0, 'UTC')}}"
            f" AND {_BUILDS} AND indicator IN {{judged:Array(String)}} GROUP BY indicator, {keys}",
            params,
            timeout_s=READ_TIMEOUT_S,
        )
        return _cells(level, table, users, needs, windows)

    def write(
        self,
        window: datetime,
        build: int,
        at: datetime,
        found: Sequence[Anomaly],
        gaps: Sequence[FeedGap],
        *,
        tested: int,
        beyond: int,
    ) -> None:
        """Store what a run found, then let it count."""
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        same = {
            "window": window.isoformat(),
            "build": build,
            "judged_at": at.isoformat(timespec="milliseconds"),
        }
        rows: list[dict[str, Any]] = []
        for one in found:
            rows.append(
                {
                    **same,
                    "kind": "value",
                    "indicator": one.indicator,
                    "level": one.slice.level,
                    "service": one.slice.service,
                    "vantage": one.slice.vantage,
                    **one.slice.values,
                    "observed": one.observed,
                    "expected": one.expected,
                    "deviation": one.deviation,
                    "score": one.score,
                    "p": one.p,
                    "q": one.q,
                    "samples": one.samples,
                    "users": one.users,
                    "basis": one.basis,
                }
            )
        for gap in gaps:
            rows.extend(
                {
                    **same,
                    "kind": "feed",
                    "indicator": name,
                    "level": gap.slice.level,
                    "service": gap.slice.service,
                    "vantage": gap.slice.vantage,
                    **gap.slice.values,
                    "observed": 0.0,
                    "expected": gap.expected_samples,
                }
                for name in gap.indicators or ("",)
            )
        if rows:
            self._store.insert(
                "anomalies", b"\n".join(msgspec.json.encode(row) for row in rows), "JSONEachRow"
            )
        run = {**same, "detector": DETECTOR_VERSION, "tested": tested, "found": beyond}
        self._store.insert("anomaly_runs", msgspec.json.encode(run), "JSONEachRow")

    def answer(
        self, asked: AnomalyQuestion, *, timeout_s: float = 10
    ) -> tuple[list[StoredAnomaly], int | None]:
        """A page by window (newest first), then surest, and the offset of the next one.

        Raises
        ------
        InvalidInput
            An unknown level or kind, an empty or too long range, a page too long.
        """
        if asked.end <= asked.start:
            raise InvalidInput("The range is empty: `to` must be later than `from`.")
        if asked.end - asked.start > timedelta(days=MOST_DAYS):
            raise InvalidInput(f"The range is longer than {MOST_DAYS} days.")
        if asked.level is not None and asked.level not in LEVELS:
            raise InvalidInput(f"Not a level; there are {', '.join(LEVELS)}.")
        if asked.kind not in {None, "value", "feed"}:
            raise InvalidInput("A kind is value or feed.")
        if not 0 < asked.limit <= MAX_PAGE or asked.offset < 0:
            raise InvalidInput(f"A page has 1 to {MAX_PAGE} rows.")
        bounds = "window >= {start:DateTime64(3, 'UTC')} AND window < {end:DateTime64(3, 'UTC')}"
        texts, params = [bounds], {"start": asked.start, "end": asked.end}
        one_of: dict[str, Any] = {"kind": asked.kind, "level": asked.level, "service": asked.service}
        extra = {f"is_{name}": value for name, value in one_of.items() if value is not None}
        texts += [f"{name[3:]} = {{{name}:String}}" for name in extra]
        if asked.indicators:
            texts.append("indicator IN {indicators:Array(String)}")
            extra["indicators"] = list(asked.indicators)
        rows = self._store.rows(
            "SELECT window, kind, indicator, level, service, vantage,"  # noqa: S608 - ours
            f" {', '.join(DIMENSIONS)}, observed, expected, deviation, score, p, q, samples, users, basis"
            f" FROM anomalies FINAL WHERE {' AND '.join(texts)} AND (window, build, judged_at) IN"
            f" (SELECT window, build, judged_at FROM anomaly_runs FINAL WHERE {bounds})"
            " ORDER BY window DESC, kind DESC, q, score DESC, indicator, level, service, vantage,"
            f" {', '.join(DIMENSIONS)}"
            f" LIMIT {asked.limit + 1} OFFSET {asked.offset}",
            {**params, **extra},
            timeout_s=timeout_s,
        )
        page = [
            StoredAnomaly(
                **{name: row[name] for name in row if name not in DIMENSIONS},
                dimensions={name: row[name] for name in LEVELS[row["level"]].dimensions},
            )
            for row in rows[: asked.limit]
        ]
        return page, asked.offset + asked.limit if len(rows) > asked.limit else None


def _cells(
    level: Level, table: pa.Table, users: pa.Table, needs: Sequence[str], windows: Sequence[datetime]
) -> Cells:
    encoded = _keys(level, table).dictionary_encode()
    keys: tuple[str, ...] = tuple(encoded.dictionary.to_pylist())
    column = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    places = {at: number for number, at in enumerate(windows)}
    seconds = table["window"].combine_chunks().cast(pa.int64()).to_numpy(zero_copy_only=False)
    order = np.array([int(at.timestamp()) for at in windows], dtype=np.int64)
    row = np.searchsorted(order, seconds)
    assert len(places) == len(order)
    shape = (len(windows), len(keys))
    names = np.asarray(table["indicator"].to_pylist(), dtype=object)
    figures = {
        name: table[name].combine_chunks().to_numpy(zero_copy_only=False) for name in ("size", "sums", "sq")
    }
    made: dict[str, dict[str, FloatArray]] = {"size": {}, "sums": {}, "sq": {}}
    for name in needs:
        mine = np.flatnonzero(names == name)
        for figure, values in figures.items():
            grid = np.zeros(shape)
            grid[row[mine], column[mine]] = values[mine]
            made[figure][name] = grid
    lines = {name: np.zeros(len(keys)) for name in needs}
    place = {key: number for number, key in enumerate(keys)}
    for key, name, count in zip(
        _keys(level, users).to_pylist(),
        users["indicator"].to_pylist(),
        users["lines"].to_pylist(),
        strict=True,
    ):
        if key in place:
            lines[name][place[key]] = count
    return Cells(tuple(windows), keys, made["size"], made["sums"], made["sq"], lines)


def _keys(level: Level, table: pa.Table) -> pa.Array:
    columns = [
        table[name].combine_chunks().cast(pa.string()) for name in ("service", "vantage", *level.dimensions)
    ]
    joined: pa.Array = pc.binary_join_element_wise(*columns, SEPARATOR)
    return joined
