"""One indicator of one group over time, beside the band in which it would lie on a normal day.

The band is the group's own: same time of week, level and spread (`kqi.baseline`), without the shrinkage that anomalies
are judged with, since a series knows no siblings. It is there where the group has a past of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from cem.platform.errors import InvalidInput
from cem.platform.facts import FactStore
from cem.platform.windows import WINDOW
from kqi.baseline import Basis, Observed, State, expect, needed
from kqi.catalogue import CATALOGUE, Indicator
from kqi.cube_reading import CubeFigures, CubeQuestion, CubeReader, Step, check_question, states_source
from kqi.observing import kind_of, observe, parts_of
from kqi.tiers import HOUR

BAND_ROWS = 192
"""Most rows of a page that get a band. [1] Chosen here: two days of quarter hours; each reads some 50 windows."""
BAND_WIDTH = 2.0
"""Standard deviations to each side. [1] Chosen here: a normal day leaves it in one window of twenty."""
_PAST = timedelta(weeks=4, hours=9)
_LENGTH = {Step.WINDOW: WINDOW, Step.HOUR: HOUR}


@dataclass(frozen=True, slots=True)
class SeriesQuestion:
    """What is asked. `limit` and `offset` count rows of time."""

    indicator: str
    start: datetime
    end: datetime
    step: Step = Step.WINDOW
    service: str | None = None
    vantage: str | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    limit: int = BAND_ROWS
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Band:
    """Where a value would lie; in the indicator's unit."""

    expected: float
    low: float
    high: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class SeriesPage:
    """Rows by time, those without any sample left out; a band where there is one."""

    rows: tuple[tuple[CubeFigures, Band | None], ...]
    next_offset: int | None
    answered_from: str
    tiers: tuple[str, ...]


class SeriesReader:
    """Reads series."""

    def __init__(self, store: FactStore) -> None:
        self._store = store
        self._cubes = CubeReader(store)

    def answer(self, asked: SeriesQuestion, *, timeout_s: float = 5) -> SeriesPage:
        """Answer a question. Raises InvalidInput, FactStoreError."""
        if asked.step is Step.ALL:
            raise InvalidInput("A series has steps of 15m, 1h or 1d.")
        question = CubeQuestion(
            (asked.indicator,),
            asked.start,
            asked.end,
            asked.service,
            asked.vantage,
            (),
            asked.filters,
            asked.step,
            asked.limit,
            asked.offset,
        )
        page = self._cubes.answer(question, timeout_s=timeout_s)
        entry = CATALOGUE.get(asked.indicator)
        bands: dict[datetime, Band] = {}
        normal = asked.step in _LENGTH and page.answered_from != "samples"
        if entry is not None and normal and 0 < len(page.rows) <= BAND_ROWS:
            bands = self._bands(entry, question, page.rows, timeout_s)
        rows = tuple((row, bands.get(row.start)) for row in page.rows)
        return SeriesPage(rows, page.next_offset, page.answered_from, page.tiers)

    def _bands(
        self, entry: Indicator, question: CubeQuestion, rows: tuple[CubeFigures, ...], timeout_s: float
    ) -> dict[datetime, Band]:
        length = _LENGTH[question.step]
        per_day = int(timedelta(days=1) / length)
        targets = {int(row.start.timestamp()) // int(length.total_seconds()): row for row in rows}
        wanted = {at for target in targets for at in needed(target, per_day)} | set(targets)
        first, last = min(wanted), max(wanted)
        span = replace(question, start=_time(first, length), end=_time(last + 1, length), limit=1, offset=0)
        if span.end - span.start > _PAST + BAND_ROWS * length:
            return {}
        if question.step is Step.WINDOW and span.end - span.start > timedelta(days=31):
            return {}
        state = self._state(entry, check_question(span), per_day, length, sorted(wanted), timeout_s)
        made = {}
        for at, row in targets.items():
            expected = expect(state, at, ("",), kind_of(entry))
            if np.isnan(expected.value[0]) or at not in state.windows:
                continue
            low, high = expected.band(state.windows[at].spread, state.windows[at].count, BAND_WIDTH)
            made[row.start] = Band(float(expected.value[0]), float(low[0]), float(high[0]), expected.basis[0])
        return made

    def _state(
        self,
        entry: Indicator,
        span: CubeQuestion,
        per_day: int,
        length: timedelta,
        wanted: list[int],
        timeout_s: float,
    ) -> State:
        source, params, _, _ = states_source(self._store, span, timeout_s=timeout_s)
        began = "window" if length == WINDOW else "toDateTime64(toStartOfHour(window), 0, 'UTC')"
        rows = self._store.rows(
            f"SELECT {began} AS began, indicator, sum(n) AS size, sum(total) AS sums, sum(squares) AS sq"  # noqa: S608 - ours
            f" FROM {source} WHERE {began} IN {{wanted:Array(DateTime64(0, 'UTC'))}} GROUP BY began, indicator",
            {**params, "wanted": [_time(at, length) for at in wanted]},
            timeout_s=timeout_s,
        )
        found: dict[int, dict[str, tuple[float, float, float]]] = {}
        for row in rows:
            at = int(row["began"].timestamp()) // int(length.total_seconds())
            found.setdefault(at, {})[row["indicator"]] = (row["size"], row["sums"], row["sq"])
        windows: dict[int, Observed] = {}
        for at, sums in found.items():
            if entry.id not in sums:
                continue
            size, total, squares = (np.array([float(figure)]) for figure in sums[entry.id])
            parts = {name: np.array([sums.get(name, (0.0, 0.0, 0.0))[1]]) for name in parts_of(entry.id)}
            windows[at] = observe(entry, ("",), size, total, squares, parts)
        return State(per_day, windows)


def _time(index: int, length: timedelta) -> datetime:
    return datetime.fromtimestamp(index * int(length.total_seconds()), tz=UTC)
