"""Judges closed windows: reads their cubes and those that their baselines need, and stores what stands out.

A window is judged once it has closed, and again when its cube was built again since. What is stored counts from the
moment its run's row is there; killed at any line, the job does the same again. A closed window without any cube is
judged too: then its feeds are silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from prometheus_client import Counter

from cem.platform.clock import Clock
from cem.platform.facts import FactStore
from cem.platform.observe import REGISTRY, get_logger
from cem.platform.windows import WINDOW, window_start
from kqi.anomaly import DETECTOR_VERSION, Judged, anomalies, feed_gaps, judge, silent
from kqi.anomaly_reading import AnomalyStore, Cells
from kqi.baseline import (
    DAYS,
    LEAST_PAST,
    WEEKS,
    Basis,
    Expected,
    State,
    expect,
    needed,
)
from kqi.catalogue import CATALOGUE, Aggregation, Direction, Indicator
from kqi.observing import kind_of, observe, parts_of
from kqi.pace import Pace
from kqi.slices import LEVELS, Level, parent_key

WATERMARK = timedelta(seconds=150)
"""After a window's end, until it is judged. As elsewhere: most of its data has come by then."""
HORIZON = timedelta(hours=24)
"""How far back a window is judged, or again. Chosen here: later data changes cubes, and no order of today."""
AGAIN_AFTER = timedelta(minutes=5)
"""Least time between two judgements of one window: late data trickles. Chosen here."""
BUSY_SHARE = 0.15
"""Most of the time that judging may take of one processor. [1] Chosen here."""
LEAST_REST_S = 5.0
"""[s] Chosen here."""
CHUNK_SLICES = 20_000
"""Slices that are read at a time, summed over indicators. [1] Chosen here: some 50 windows of them fit in 100 MB."""
PER_DAY = int(timedelta(days=1) / WINDOW)

JUDGED = Counter("cem_kqi_windows_judged_total", "Windows judged.", registry=REGISTRY)
FOUND = Counter("cem_kqi_anomalies_total", "Anomalies and feed gaps stored.", ["kind"], registry=REGISTRY)

_log = get_logger(__name__)


class AnomalyJob:
    """Judges windows.

    Parameters
    ----------
    store, clock
        Where cubes and anomalies are, and what tells the time.
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
        self._store = AnomalyStore(store)
        self._clock = clock
        self._pace = Pace(clock, busy_share, least_rest_s)

    def tick(self) -> int:
        """Judge the newest closed window that waits; returns 1, or 0. Safe to kill, repeat and run twice at once."""
        if self._pace.resting():
            return 0
        began_s = self._clock.monotonic()
        now = self._clock.now()
        waiting = self._waiting(now)
        for window, build in waiting[:1]:
            self.judge(window, build, now)
        self._pace.worked(began_s, more=len(waiting) > 1)
        return min(1, len(waiting))

    def judge(self, window: datetime, build: int, at: datetime) -> int:
        """Judge one window and let it count; `build` 0 where it has no cube. Returns how much stands out."""
        index = _index(window)
        wanted = [_start(one) for one in needed(index, PER_DAY)]
        if (
            len(self._store.present([window - week * 7 * PER_DAY * WINDOW for week in _from_one(WEEKS)]))
            < LEAST_PAST
        ):
            wanted = [_start(one) for one in needed(index, PER_DAY, days_of_recent=True)]
        windows = sorted({*self._store.present(wanted), window})
        past = {window - week * 7 * PER_DAY * WINDOW for week in _from_one(WEEKS)}
        past |= {window - day * PER_DAY * WINDOW for day in _from_one(DAYS)}
        seasons = sorted(past & set(windows))
        sizes = self._store.indicators([window, *seasons])
        tests: list[Judged] = []
        quiet: dict[tuple[str, str], dict[str, float]] = {}
        sending: dict[str, set[str]] = {}
        for names in _chunks([name for name in sizes if _watched(name)], sizes):
            needs = sorted({part for name in names for part in parts_of(name)})
            above: dict[tuple[str, str], Expected] = {}
            for level in LEVELS.values():
                cells = self._store.cells(level, names, needs, window, seasons, windows)
                here = cells.windows.index(window)
                alive = np.max([cells.count[name][here] for name in names], axis=0, initial=0)
                sending.setdefault(level.name, set()).update(
                    key for key, count in zip(cells.keys, alive, strict=True) if count > 0
                )
                for name in names:
                    made, expected = _judge_one(CATALOGUE[name], level, cells, index, above)
                    above[level.name, name] = expected
                    tests.append(made)
                    seasoned = np.array(
                        [one in {Basis.WEEKS, Basis.DAYS} for one in expected.basis], dtype=bool
                    )
                    before = np.where(seasoned, expected.past_count, 0.0)
                    gone = silent(cells.keys, cells.count[name][here], before)
                    if gone:
                        quiet[level.name, name] = gone
        found, beyond = anomalies(window, tests)
        gaps = feed_gaps(window, quiet, sending)
        tested = sum(len(one.p) for one in tests)
        self._store.write(window, build, at, found, gaps, tested=tested, beyond=beyond)
        JUDGED.inc()
        FOUND.labels("value").inc(len(found))
        FOUND.labels("feed").inc(len(gaps))
        _log.info("window judged", window=window.isoformat(), tested=tested, found=beyond, gaps=len(gaps))
        return len(found) + len(gaps)

    def _waiting(self, now: datetime) -> list[tuple[datetime, int]]:
        """Windows to judge, the newest never judged first, then those whose cube changed."""
        end = window_start(now - WATERMARK)
        start = end - HORIZON
        builds = self._store.builds(start - HORIZON, end)
        if not builds:
            return []
        judged = self._store.judged(start, end)
        first = max(start, min(builds))
        fresh, again = [], []
        window = end - WINDOW
        while window >= first:
            build = builds.get(window, 0)
            before = judged.get(window)
            if before is None:
                fresh.append((window, build))
            elif (before[0] != build or before[2] != DETECTOR_VERSION) and now - before[1] >= AGAIN_AFTER:
                again.append((window, build))
            window -= WINDOW
        return fresh + again


def _watched(name: str) -> bool:
    """In the catalogue, with a better and a worse, and no part of others."""
    entry = CATALOGUE.get(name)
    return (
        entry is not None
        and entry.direction is not Direction.NEUTRAL
        and entry.aggregation is not Aggregation.SUM
    )


def _chunks(names: Sequence[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    """Indicators that are read together: as many as `CHUNK_SLICES` holds, at least one."""
    chunk: list[str] = []
    size = 0
    for name in sorted(names):
        if chunk and size + sizes[name] > CHUNK_SLICES:
            yield chunk
            chunk, size = [], 0
        chunk.append(name)
        size += sizes[name]
    if chunk:
        yield chunk


def _judge_one(
    entry: Indicator, level: Level, cells: Cells, index: int, above: dict[tuple[str, str], Expected]
) -> tuple[Judged, Expected]:
    name = entry.id
    windows = {}
    for row, at in enumerate(cells.windows):
        parts = {part: cells.total[part][row] for part in parts_of(name)}
        windows[_index(at)] = observe(
            entry, cells.keys, cells.count[name][row], cells.total[name][row], cells.squares[name][row], parts
        )
    parent = level.parent
    expected = expect(
        State(PER_DAY, windows),
        index,
        cells.keys,
        kind_of(entry),
        parent=None if parent is None else lambda key: parent_key(level, key),
        above=None if parent is None else above[parent, name],
        threshold=entry.poor,
    )
    made = judge(
        name,
        level,
        windows[index],
        cells.users[name],
        expected,
        kind_of(entry),
        worse_is_higher=entry.direction is Direction.LOWER,
    )
    return made, expected


def _from_one(last: int) -> range:
    return range(1, last + 1)


def _index(window: datetime) -> int:
    return int(window.timestamp()) // int(WINDOW.total_seconds())


def _start(index: int) -> datetime:
    return window_start(datetime.fromtimestamp(index * WINDOW.total_seconds(), tz=UTC))
