"""What to expect of an indicator on a slice of the cube in one window, and how far it may stray. Pure.

1. Season: the median of the same time of week in up to four weeks; with fewer than two weeks, the median of the same
   time of day in the last seven days; a slice without either takes its parent's; else the catalogue's threshold.
2. Shrinkage: a season that rests on little moves towards its parent's, by James and Stein's weights.
3. Level: the last windows against their own seasons, in exponentially falling weights, moved towards the parent's.
4. Variance: what healthy windows strayed beyond sampling, plus the uncertainty of the expectation itself; the judge
   adds the sampling variance of the window judged.

A window that is missing has no value; it is never zero. State is the windows themselves, bounded in number, so that a
run in two halves is the run in one.

References
----------
W. James and C. Stein, Proc. 4th Berkeley Symposium (1961) 1:361; C. N. Morris, JASA 78:47 (1983): shrinkage with an
estimated variance between groups. G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 3:3 (2004): variances moderated by a
common one. D. C. Montgomery, Introduction to Statistical Quality Control, 7th ed., clause 9.2: EWMA.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WEEKS = 4
"""Weeks of a season. [1] DEMARCATION.md: a median of four outlives one bad week."""
DAYS = 7
"""Days of the season of a store younger than two weeks. [1] Chosen here: a week of days."""
LEAST_PAST = 2
"""Fewest past values that make a season. [1] Chosen here: one value has no spread."""
RECENT = 8
"""Windows that tell the level. [1] Chosen here: two hours; weights beyond sum to 6 %."""
ALPHA = 0.3
"""Weight of the newest window in the level. [1] Montgomery, clause 9.2: 0.05–0.3; the upper end, because hours move."""
LEVEL_SPAN = 1.3
"""How far a level may move from the season, and no further: a long fault does not become normal. [1] Chosen here, as
in the drill-down."""
LEVEL_PRIOR = 400.0
"""Weight of the parent's level, in samples. [1] Chosen here: at a rate of 5 % some 20 bad samples."""
SPREAD_PRIOR = 8.0
"""Weight of the common spread beside a slice's own, in windows. [1] Chosen here: two months of one hour of the week."""
PARENT_SPREAD = 0.5
"""Deviation between a slice and its parent, as a share of the value, where no sibling tells. [1] Chosen here."""
OUTLIER = 4.0
"""Residuals beyond so many robust deviations count as that many: a past incident is not normal. [1] Chosen here."""

BUSY = 10**-0.5
"""Relative deviation of one past window below which a season is a median. [1] That of ten events; chosen here, as in
the drill-down: the median of rarer ones is biased, and their season is the mean by samples."""
LEAST_STRAY = 0.01
"""Relative variance that is taken for none where strays are weighed. [1] Chosen here: a tenth of the value."""
LEAST_SIBLINGS = 3
"""Fewest slices below one parent that tell how far siblings lie apart. [1]"""

MEDIAN_VARIANCE = np.array([np.inf, 1.0, 0.5, 0.4487, 0.2982, 0.2868, 0.2147, 0.2104])
"""Variance of the median of k normal values, in variances of one, by k. [1] Order statistics of the normal
distribution (H. L. Harter and N. Balakrishnan, CRC Handbook of Tables, 1996); a test checks them by simulation."""


class Basis(StrEnum):
    """What an expectation rests on, best first."""

    WEEKS = "weeks"
    DAYS = "days"
    PARENT = "parent"
    CATALOGUE = "catalogue"
    NONE = "none"


class Kind(StrEnum):
    """How an indicator's value varies."""

    SHARE = "share"
    """0…1; sampling variance from the share itself; a level multiplies."""
    RATIO = "ratio"
    """Not negative; a level multiplies."""
    SHIFT = "shift"
    """Of any sign, as decibels; a level is added."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One window of one indicator, by slice, shape (n,).

    Parameters
    ----------
    keys
        Slices, each once.
    count
        Samples. [1]
    value
        By the catalogue's formula; NaN is no value.
    spread
        Variance of one sample within the slice, so that `spread / count` is the sampling variance; 0 where the value is
        a count of everything and does not sample.
    """

    keys: tuple[str, ...]
    count: FloatArray
    value: FloatArray
    spread: FloatArray
    design: float = 1.0
    """For shares: variance of one sample ÷ that of a yes or no of the same share. Below 1 where samples are shares of
    many events themselves. [1]"""


@dataclass(frozen=True, slots=True)
class State:
    """The windows that later expectations need: {index of the window: what was seen}. Indices count windows."""

    per_day: int = 96
    windows: Mapping[int, Observed] = field(default_factory=dict)

    @property
    def per_week(self) -> int:
        """Windows of a week. [1]"""
        return 7 * self.per_day


@dataclass(frozen=True, slots=True)
class Expected:
    """What to expect of slices in one window, shape (n,); NaN where `basis` is NONE.

    Parameters
    ----------
    keys
        As asked.
    value
        Season × level (or + level), in the indicator's unit.
    season, season_variance
        Before the level; what children shrink to.
    level
        Factor, or for `Kind.SHIFT` addend.
    extra
        Variance of a healthy window around `value` beyond sampling, the expectation's uncertainty included.
    freedom
        Degrees of freedom of that variance, for the tails. [1]
    basis
        What each rests on.
    past_count
        Median of the samples at the same time before, absent slices of windows that are there counted 0. [1]
    """

    keys: tuple[str, ...]
    value: FloatArray
    season: FloatArray
    season_variance: FloatArray
    level: FloatArray
    extra: FloatArray
    freedom: FloatArray
    basis: tuple[Basis, ...]
    past_count: FloatArray

    def band(self, spread: FloatArray, count: FloatArray, width: float) -> tuple[FloatArray, FloatArray]:
        """`value` less and plus `width` standard deviations of a window with that many samples."""
        with np.errstate(divide="ignore", invalid="ignore"):
            deviation = np.sqrt(self.extra + np.where(count > 0, spread / count, 0.0))
        return self.value - width * deviation, self.value + width * deviation


def needed(index: int, per_day: int, *, days_of_recent: bool = False) -> list[int]:
    """Windows before `index` that its expectation may use, in order; some 50 of them.

    Parameters
    ----------
    days_of_recent
        Take in the days before each recent window: only a store younger than two weeks needs them.
    """
    recent = [index - back for back in range(RECENT + 1)]
    found = set(recent[1:])
    for at in recent:
        found |= {at - 7 * per_day * week for week in range(1, WEEKS + 1)}
        if days_of_recent or at == index:
            found |= {at - per_day * day for day in range(1, DAYS + 1)}
    return sorted(found)


def absorb(state: State, index: int, observed: Observed) -> State:
    """The state with one more window (or another version of one), and without those that no later one needs."""
    windows = {**state.windows, index: observed}
    oldest = max(windows) - state.per_week * WEEKS - RECENT
    return replace(state, windows={at: one for at, one in windows.items() if at >= oldest})


def expect(
    state: State,
    index: int,
    keys: Sequence[str],
    kind: Kind,
    *,
    parent: Callable[[str], str] | None = None,
    above: Expected | None = None,
    threshold: float | None = None,
) -> Expected:
    """Expect a window from those before it; what the state holds of `index` itself or later is not looked at.

    Parameters
    ----------
    keys
        Slices to expect.
    kind
        How the value varies.
    parent, above
        A slice's parent and the parents' expectations; None at the top.
    threshold
        The catalogue's poor end, for slices without any past; None where there is none.
    """
    past = _Past(state, index, keys, kind)
    size = len(keys)
    own_season = past.season(index)
    up = _parents(keys, parent, above)
    level, trust = _level(past, index, kind, up.level)
    noise, stray = _moderate(own_season, kind, up, *_strays(past, index, kind, level))
    season, season_variance, own = _shrink(own_season, kind, up, noise, stray)
    freedom = np.maximum(stray.windows, 0.0) + SPREAD_PRIOR
    extra = stray.at(season, kind)
    with np.errstate(invalid="ignore"):
        value = season + level if kind is Kind.SHIFT else season * level
        scale = 1.0 if kind is Kind.SHIFT else level**2
        wobble = ALPHA / (2 - ALPHA) * trust**2 * (1 + own_season.factor) * (noise + extra)
        total = extra + scale * season_variance + np.nan_to_num(wobble, posinf=0.0)
    basis = np.where(
        own,
        np.where(own_season.by_day, Basis.DAYS, Basis.WEEKS),
        np.where(np.isnan(season), Basis.NONE, Basis.PARENT),
    )
    if threshold is not None:
        bare = np.isnan(season)
        value, total = np.where(bare, threshold, value), np.where(bare, 0.0, total)
        basis = np.where(bare, Basis.CATALOGUE, basis)
    if kind is Kind.SHARE:
        value = np.clip(value, 1e-6, 1 - 1e-6)
    return Expected(
        keys=tuple(keys),
        value=value,
        season=season,
        season_variance=season_variance,
        level=level,
        extra=total,
        freedom=freedom if size else np.zeros(0),
        basis=tuple(Basis(str(one)) for one in basis),
        past_count=own_season.count,
    )


class _Past:
    """Windows before one, as arrays over its slices."""

    def __init__(self, state: State, index: int, keys: Sequence[str], kind: Kind) -> None:
        self._state = state
        self._kind = kind
        self._index = index
        self._size = len(keys)
        self._keys = tuple(keys)
        self._place = {key: number for number, key in enumerate(keys)}
        self._kept: dict[int, tuple[FloatArray, FloatArray, FloatArray] | None] = {}
        self._seasons: dict[int, _Season] = {}

    def window(self, at: int) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Count, value and sampling variance; None for a window that is missing."""
        if at not in self._kept:
            seen = self._state.windows.get(at) if at < self._index else None
            self._kept[at] = None if seen is None else self._spread_out(seen)
        return self._kept[at]

    def _spread_out(self, seen: Observed) -> tuple[FloatArray, FloatArray, FloatArray]:
        count, value = np.zeros(self._size), np.full(self._size, np.nan)
        sampling = np.full(self._size, np.nan)
        if seen.keys == self._keys:
            with np.errstate(divide="ignore", invalid="ignore"):
                return seen.count, seen.value, seen.spread / seen.count
        pairs = [
            (there, here) for there, key in enumerate(seen.keys) if (here := self._place.get(key)) is not None
        ]
        if pairs:
            theirs = np.array([pair[0] for pair in pairs], dtype=np.int64)
            ours = np.array([pair[1] for pair in pairs], dtype=np.int64)
            count[ours], value[ours] = seen.count[theirs], seen.value[theirs]
            with np.errstate(divide="ignore", invalid="ignore"):
                sampling[ours] = seen.spread[theirs] / seen.count[theirs]
        return count, value, sampling

    def _before(self, at: int) -> tuple[list[int], list[int]]:
        weeks = [at - self._state.per_week * week for week in range(1, WEEKS + 1)]
        days = [at - self._state.per_day * day for day in range(1, DAYS + 1)]
        return weeks, days

    def season(self, at: int) -> _Season:
        """What the same time before shows, slices with too few weeks by days."""
        if at not in self._seasons:
            weeks, days = self._before(at)
            by_week, by_day = self._stack(weeks), self._stack(days)
            few = by_week.values < LEAST_PAST
            self._seasons[at] = _Season(
                value=np.where(few, by_day.value, by_week.value),
                count=np.where(few, by_day.count, by_week.count),
                sampling=np.where(few, by_day.sampling, by_week.sampling),
                factor=np.where(few, by_day.factor, by_week.factor),
                values=np.where(few, by_day.values, by_week.values),
                by_day=few,
            )
        return self._seasons[at]

    def _stack(self, at: Sequence[int]) -> _Season:
        seen = [one for one in map(self.window, at) if one is not None]
        if not seen:
            nothing, zero = np.full(self._size, np.nan), np.zeros(self._size)
            return _Season(nothing, zero, nothing, nothing, zero.astype(np.int64), zero.astype(bool))
        count, value, sampling = (np.stack(part) for part in zip(*seen, strict=True))
        there = ~np.isnan(value)
        weight = np.where(there, count, 0.0)
        values = there.sum(axis=0)
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # slices without any value stay NaN
            median = np.nanmedian(value, axis=0)
            total = weight.sum(axis=0)
            mean = np.nansum(weight * value, axis=0) / total
            noise = np.nansum(weight * sampling, axis=0) / total
            busy = (
                np.sqrt(noise) < BUSY * np.abs(mean)
                if self._kind is not Kind.SHIFT
                else np.full(self._size, True)
            )
            alike = np.nansum(weight**2, axis=0) / total**2
        return _Season(
            value=np.where(busy, median, mean),
            count=np.median(count, axis=0),
            sampling=noise,
            factor=np.where(busy, MEDIAN_VARIANCE[np.minimum(values, len(MEDIAN_VARIANCE) - 1)], alike),
            values=values,
            by_day=np.zeros(self._size, dtype=bool),
        )


@dataclass(frozen=True, slots=True)
class _Season:
    """The same time before, by slice.

    Parameters
    ----------
    value, count
        Typical value, and median of the samples.
    sampling
        Sampling variance of one of those windows.
    factor
        Variance of `value` in that of one window. [1]
    values
        Windows that had a value. [1]
    by_day
        Whether it rests on days.
    """

    value: FloatArray
    count: FloatArray
    sampling: FloatArray
    factor: FloatArray
    values: IntArray
    by_day: npt.NDArray[np.bool_]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Enough windows to be a season."""
        return np.asarray((self.values >= LEAST_PAST) & ~np.isnan(self.value))


@dataclass(frozen=True, slots=True)
class _Stray:
    """How far healthy windows stray beyond sampling: variance, relative to the value's square but for `SHIFT`, and the
    number of windows that tell it."""

    variance: FloatArray
    windows: FloatArray

    def at(self, value: FloatArray, kind: Kind) -> FloatArray:
        """As a variance around a value."""
        return self.variance if kind is Kind.SHIFT else self.variance * value**2


@dataclass(frozen=True, slots=True)
class _Up:
    """Parents, by slice; NaN where there is none."""

    season: FloatArray
    variance: FloatArray
    level: FloatArray
    family: IntArray


def _parents(keys: Sequence[str], parent: Callable[[str], str] | None, above: Expected | None) -> _Up:
    season, variance, level = (np.full(len(keys), np.nan) for _ in range(3))
    family = np.full(len(keys), -1, dtype=np.int64)
    if parent is not None and above is not None:
        place = {key: number for number, key in enumerate(above.keys)}
        family = np.array([place.get(parent(key), -1) for key in keys], dtype=np.int64)
        has = family >= 0
        season[has], variance[has] = above.season[family[has]], above.season_variance[family[has]]
        level[has] = above.level[family[has]]
    return _Up(season, variance, level, family)


def _level(past: _Past, index: int, kind: Kind, parents: FloatArray) -> tuple[FloatArray, FloatArray]:
    """EWMA of what the last windows showed ÷ EWMA of their seasons (for `SHIFT`: of the difference), in samples, and
    moved towards the parent's with `LEVEL_PRIOR`; kept within `LEVEL_SPAN`. And how much of it is its own."""
    neutral = 0.0 if kind is Kind.SHIFT else 1.0
    seen, seasonal, weight = (np.zeros(len(parents)) for _ in range(3))
    for back in range(1, RECENT + 1):
        window = past.window(index - back)
        if window is None:
            continue
        before = past.season(index - back)
        season = before.value
        count, value, _ = window
        both = (count > 0) & ~np.isnan(value) & before.known
        share = np.where(both, ALPHA * (1 - ALPHA) ** (back - 1) * count, 0.0)
        seen += share * np.where(both, value, 0.0)
        seasonal += share * np.where(both, season, 0.0)
        weight += share
    prior = LEVEL_PRIOR * ALPHA
    trust = weight / (weight + prior)
    top = np.where(np.isnan(parents), neutral, parents)
    if kind is Kind.SHIFT:
        return np.asarray((seen - seasonal + prior * top) / (weight + prior)), trust
    mean = np.divide(seasonal, weight, out=np.ones_like(weight), where=weight > 0)
    mean = np.where(mean > 0, mean, 1.0)
    level = (seen + prior * mean * top) / (np.where(weight > 0, seasonal, 0.0) + prior * mean)
    return np.clip(level, 1 / LEVEL_SPAN, LEVEL_SPAN), trust


def _strays(
    past: _Past, index: int, kind: Kind, level: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The last windows against season and level: variance beyond sampling, sampling, size and number of windows.

    Each residual in the variance of one window, of which the season's own uncertainty adds `factor`.
    """
    rows: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    for back in range(1, RECENT + 1):
        window = past.window(index - back)
        if window is None:
            continue
        season = past.season(index - back)
        _, value, sampling = window
        expected = season.value + level if kind is Kind.SHIFT else season.value * level
        with np.errstate(invalid="ignore"):
            square = (value - expected) ** 2 / (1 + season.factor)
            noise = (sampling + season.factor * season.sampling) / (1 + season.factor)
        usable = season.known & ~np.isnan(square) & ~np.isnan(noise)
        rows.append(tuple(np.where(usable, part, np.nan) for part in (square, noise, expected)))  # type: ignore[arg-type]
    if not rows:
        nothing = np.zeros(len(level))
        return nothing, nothing, nothing, nothing
    square, noise, expected = (np.stack(part) for part in zip(*rows, strict=True))
    windows = (~np.isnan(square)).sum(axis=0).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        robust = np.nanmedian(square, axis=0) / 0.4549  # median of chi-square, 1 degree
        mean_noise = np.nanmean(noise, axis=0)
        capped = np.minimum(square, OUTLIER**2 * np.maximum(robust, mean_noise))
        stray = np.nanmean(capped - noise, axis=0) * np.where(
            windows > 1, windows / np.maximum(windows - 1, 1), 1
        )
        size = np.ones(len(level)) if kind is Kind.SHIFT else np.nanmean(expected, axis=0) ** 2
    told = windows > 0
    parts = (np.where(told, part, 0.0) for part in (stray, mean_noise, size))
    return (*parts, windows)


def _moderate(
    season: _Season,
    kind: Kind,
    up: _Up,
    stray: FloatArray,
    noise: FloatArray,
    size: FloatArray,
    windows: FloatArray,
) -> tuple[FloatArray, _Stray]:
    """Sampling variance to reckon with, and each slice's own stray beside the slices' common one.

    A slice whose sampling hides the stray tells little of it, and counts little. Sampling of a share that rests on
    little is reckoned at the parent's share: its own would be small just where it came out low by chance.
    """
    told = (windows > 0) & (size > 0)
    weight = np.where(told, windows / np.maximum(noise + LEAST_STRAY * size, 1e-100) ** 2, 0.0)
    bottom = float((weight * size**2).sum())
    common = max(float((weight * stray * size).sum()) / bottom, 0.0) if bottom > 0 else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(told, stray / size, 0.0)
        hidden = np.where(told, (noise / size) / max(common, LEAST_STRAY), 0.0)
    telling = np.where(told, windows / (1 + hidden) ** 2, 0.0)
    variance = np.maximum((telling * own + SPREAD_PRIOR * common) / (telling + SPREAD_PRIOR), 0.0)
    sampling = season.sampling
    if kind is Kind.SHARE:
        with np.errstate(divide="ignore", invalid="ignore"):
            at_parent = up.season * (1 - up.season) / season.count
        sampling = np.where(
            np.isnan(at_parent) | ~np.isfinite(at_parent), sampling, np.fmax(sampling, at_parent)
        )
    return sampling, _Stray(variance, telling)


def _shrink(
    season: _Season, kind: Kind, up: _Up, noise: FloatArray, stray: _Stray
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Move seasons towards their parents': by variance ÷ (variance + variance between siblings).

    Returns season, its variance, and where a slice's own past counts.
    """
    own = season.known
    has_parent = ~np.isnan(up.season)
    both = own & has_parent
    value = np.where(own, season.value, np.nan)
    centre = np.where(has_parent, up.season, value)
    with np.errstate(invalid="ignore"):
        variance = np.where(
            own, season.factor * (noise + stray.at(np.fmax(np.abs(value), np.abs(centre)), kind)), np.nan
        )
    between = np.full(len(value), np.nan)
    for family in np.unique(up.family[both]):
        mine = both & (up.family == family)
        if mine.sum() >= LEAST_SIBLINGS:
            apart = (value[mine] - up.season[mine]) ** 2 - variance[mine]
            between[up.family == family] = max(0.0, float(np.mean(apart)))
    fallback = float(np.nanmedian(between)) if not np.isnan(between).all() else np.nan
    between = np.where(np.isnan(between), fallback, between)
    between = np.where(np.isnan(between), (PARENT_SPREAD * up.season) ** 2, between)
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = np.where(variance + between > 0, variance / (variance + between), 0.0)
        shrunk = (1 - moved) * value + moved * up.season
        shrunk_variance = (1 - moved) * variance + moved**2 * np.nan_to_num(up.variance)
    result = np.where(both, shrunk, np.where(own, value, up.season))
    spread = np.where(both, shrunk_variance, np.where(own, variance, up.variance + between))
    return result, spread, own
