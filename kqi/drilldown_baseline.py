"""What was normal: the rate of bad sessions to expect on every leaf, and how far healthy rates stray from it.

The rate is shrunk up the hierarchy: overall, then one factor for every value of a dimension, then one for every pair
of values, then the leaf's own. Each factor is (bad + k) / (expected + k), where k comes from how much the groups of
that level differ at all (empirical Bayes), so a leaf with little history takes the rate of what it belongs to, and
a value never seen takes the rate of the rest. Busy groups with three past periods or more take the median of their
periods instead of the sum, and periods in which a group stood out are left out below it: a past incident is not
normal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from kqi.drilldown_cuboids import Dims, Grouping, Leaves, weighted_counts
from kqi.drilldown_settings import DrilldownSettings
from kqi.drilldown_table import FloatArray

BUSY = 10.0
"""Expected bad sessions of a period from which on its ratio counts in a median. [1] Chosen here: below it the
median of counts is biased by more than some percent."""
MEDIAN_PERIODS = 3
"""Fewest periods for medians and for a dispersion of their own. [1]"""
TABLE_CELLS = 4 << 20
"""Largest table of groups by periods. [cells] Above it periods are pooled: bounded memory."""
PAST_INCIDENT_RATIO, PAST_INCIDENT_SCORE = 1.5, 12.0
"""A past period of a group is an incident above both. [1] Chosen here: half more than normal, at e^-12."""
LEVEL_SPAN = 1.3
"""How far the level of everything may move, or as far as it did in the past. [1] Chosen here."""
LEVEL_GROUP, LEVEL_GROUPS = 20.0, 3
"""Expected bad sessions of a group, and number of such groups, from which on a dimension tells the level. [1]"""
LEVEL_QUANTILE = 0.25
"""Which of the dimensions' levels counts. [1] Chosen here: a fault raises most, the least alone is often noise."""
RATE_BOUNDS = (1e-7, 1 - 1e-3)
"""Rates are kept inside, so that every score is finite. [1]"""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What to expect now.

    Parameters
    ----------
    rate
        Expected share of bad sessions, shape (leaves,), today's level included, in RATE_BOUNDS. [1]
    evidence
        Bad sessions that the past showed, shape (leaves,). [1]
    prior
        Weight of the level above, in bad sessions, by length of the scope. [1]
    dispersion
        Squared coefficient of variation of a healthy group's rate, by cuboid of one or two dimensions. [1]
    leaf_dispersion
        The same for single leaves. [1]
    level
        Today's level of everything against the past. [1]
    periods
        Number of past periods. [1]
    past_rate
        `rate` without today's level. [1]
    level_bounds
        Least and greatest level that counts as one. [1]
    """

    rate: FloatArray
    evidence: FloatArray
    prior: tuple[float, ...]
    dispersion: dict[Dims, float]
    leaf_dispersion: float
    level: float
    periods: int
    past_rate: FloatArray
    level_bounds: tuple[float, float]

    def at_level_of(self, leaves: Leaves, unexplained: npt.NDArray[np.bool_]) -> Baseline:
        """The same with the level that the unexplained leaves show."""
        level = _level(leaves, self.past_rate, self.level_bounds, unexplained)
        return replace(self, rate=np.clip(self.past_rate * level, *RATE_BOUNDS), level=level)

    def variation(self, dims: Dims) -> float:
        """Squared coefficient of variation of a rate of this cuboid. [1]"""
        if len(dims) <= 2:
            return self.dispersion.get(dims, self.leaf_dispersion)
        return max(self.leaf_dispersion, *(self.dispersion.get(pair, 0.0) for pair in combinations(dims, 2)))


@dataclass(slots=True)
class _Fit:
    """The fit under way."""

    leaves: Leaves
    settings: DrilldownSettings
    rate: FloatArray
    kept: npt.NDArray[np.bool_]
    total: FloatArray
    bad: FloatArray
    tables: dict[Dims, tuple[FloatArray, FloatArray]] = field(default_factory=dict)
    """Bad and expected sessions by group and period, of each cuboid as its factors were set."""

    def pool(self) -> None:
        """Sums the kept rows of the past by leaf."""
        leaf, size = self.leaves.row_leaf[self.kept], len(self.leaves)
        self.total = weighted_counts(leaf, self.leaves.row_total[self.kept], size)
        self.bad = weighted_counts(leaf, self.leaves.row_bad[self.kept], size)

    def scale(self, factor: FloatArray) -> None:
        """Multiplies the rates by a factor per leaf."""
        self.rate = np.clip(self.rate * factor, *RATE_BOUNDS)


def fit_baseline(leaves: Leaves, settings: DrilldownSettings) -> Baseline:
    """Fits the past and sets the level of today.

    Parameters
    ----------
    leaves
        Both tables; the past must hold sessions.
    settings
        Bounds of the dispersion.
    """
    size = len(leaves)
    overall = (leaves.row_bad.sum() + 0.5) / (leaves.row_total.sum() + 1.0)
    fit = _Fit(
        leaves,
        settings,
        np.full(size, np.clip(overall, *RATE_BOUNDS)),
        np.ones(len(leaves.row_leaf), dtype=bool),
        np.zeros(size),
        np.zeros(size),
    )
    fit.pool()
    cuboids = leaves.cuboids(2)
    singles = [dims for dims in cuboids if len(dims) == 1]
    pairs = [dims for dims in cuboids if len(dims) == 2]
    priors: dict[int, list[float]] = {0: [1e3], 1: [], 2: []}
    priors[1] = [_step(fit, dims, None, mask=False) for dims in singles]
    for dims, weight in zip(singles, priors[1], strict=True):
        _step(fit, dims, weight, mask=True)
    priors[2] = [_step(fit, dims, None, mask=True) for dims in pairs]
    fit.pool()
    expected = fit.total * fit.rate
    k = _prior(fit.bad, expected)
    fit.scale((fit.bad + k) / (expected + k))
    dispersion, leaf_dispersion, levels = _dispersion(fit, cuboids)
    bounds = min([1 / LEVEL_SPAN, *levels]), max([LEVEL_SPAN, *levels])
    level = _level(leaves, fit.rate, bounds, np.ones(size, dtype=bool))
    return Baseline(
        rate=np.clip(fit.rate * level, *RATE_BOUNDS),
        past_rate=fit.rate,
        level_bounds=(float(bounds[0]), float(bounds[1])),
        evidence=fit.bad,
        prior=(1e3, *(float(np.median(priors[n])) if priors[n] else 1.0 for n in (1, 2)), k),
        dispersion=dispersion,
        leaf_dispersion=leaf_dispersion,
        level=level,
        periods=leaves.periods,
    )


def _prior(bad: FloatArray, expected: FloatArray) -> float:
    """Weight of the level above, from how much groups differ from it (method of moments), in 0.5–200. [1]

    A gamma prior with mean 1 and weight k has variance 1/k; the groups show Σ((C−M)²−M) / ΣM² of it
    (Clayton & Kaldor 1987, Biometrics 43:671, in the form for one pass).
    """
    squares = float((expected**2).sum())
    between = float(((bad - expected) ** 2 - expected).sum()) / squares if squares else 0.0
    return float(np.clip(1.0 / between if between > 0 else 200.0, 0.5, 200.0))


def _step(fit: _Fit, dims: Dims, weight: float | None, *, mask: bool) -> float:
    """One factor per group of a cuboid; returns the weight of the level above, found from the groups if not given."""
    grouping = fit.leaves.grouping(dims)
    bad, expected = grouping.sums(fit.bad), grouping.sums(fit.total * fit.rate)
    k = _prior(bad, expected) if weight is None else weight
    factor = (bad + k) / (expected + k)
    table = _period_table(fit, grouping)
    if table is not None:
        keys, seen, normal = table
        busy = np.flatnonzero((normal >= BUSY).sum(axis=1) >= MEDIAN_PERIODS)
        if len(busy):
            ratio = np.where(normal[busy] >= BUSY, seen[busy] / np.maximum(normal[busy], 1e-12), np.nan)
            factor[busy] = np.maximum(np.nanmedian(ratio, axis=1), 1e-6)
        if mask:
            incident = _incidents(seen, normal * factor[:, None], fit.settings.least_dispersion)
            if incident.any():
                fit.kept &= ~incident.ravel()[keys]
            fit.tables[dims] = seen, normal * factor[:, None]
    fit.scale(factor[grouping.group])
    return k


def _period_table(
    fit: _Fit, grouping: Grouping
) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray] | None:
    """Cell of each past row, and bad and expected sessions by group and period; None where it cannot tell."""
    leaves, periods = fit.leaves, fit.leaves.periods
    if periods < MEDIAN_PERIODS or grouping.size * periods > TABLE_CELLS:
        return None
    keys = grouping.group[leaves.row_leaf].astype(np.int64) * periods + leaves.row_period
    cells, shape = grouping.size * periods, (grouping.size, periods)
    seen = weighted_counts(keys, leaves.row_bad, cells).reshape(shape)
    expected = weighted_counts(keys, leaves.row_total * fit.rate[leaves.row_leaf], cells)
    return keys, seen, expected.reshape(shape)


def _incidents(seen: FloatArray, normal: FloatArray, least: float) -> npt.NDArray[np.bool_]:
    """Which groups stood out in which periods; never more than a third of a group's periods."""
    safe = np.maximum(normal, 1e-9)
    spread = max(_moments(seen, safe, safe > 0.5), least)
    score = np.where(seen > safe, seen * np.log(np.maximum(seen, 1e-9) / safe) + safe - seen, 0.0)
    found = (seen > PAST_INCIDENT_RATIO * safe) & (score / (1 + spread * safe) > PAST_INCIDENT_SCORE)
    often = found.sum(axis=1) > seen.shape[1] / 3
    found[often] = False
    return found


def _moments(seen: FloatArray, normal: FloatArray, used: npt.NDArray[np.bool_]) -> float:
    """Σ((C−M)²·P/(P−1)−M) / ΣM² over the used cells and its standard error on top, the hundredth that strays most
    left out. [1]

    The standard error (that of Σ(C−M)², with normal tails) is added because a dispersion taken too small names scopes
    in health: what few periods cannot tell is held to be noise.
    """
    c, m = seen[used], normal[used]
    if not len(c):
        return 0.0
    strays = (c - m) ** 2 / m
    inside = strays <= np.quantile(strays, 0.99)
    c, m = c[inside], m[inside]
    periods = seen.shape[1]
    squares = max(float((m**2).sum()), 1e-12)
    found = max(float((((c - m) ** 2) * periods / (periods - 1) - m).sum()) / squares, 0.0)
    error = np.sqrt(2 * periods / (periods - 1) * ((m + found * m**2) ** 2).sum()) / squares
    return min(found + float(error), 1.0)


def _dispersion(fit: _Fit, cuboids: list[Dims]) -> tuple[dict[Dims, float], float, FloatArray]:
    """Dispersion by cuboid and of leaves, and the level of each period."""
    leaves, settings = fit.leaves, fit.settings
    if leaves.periods < MEDIAN_PERIODS:
        flat = dict.fromkeys(cuboids, settings.unknown_dispersion)
        return flat, settings.unknown_dispersion, np.empty(0)
    normal_row = leaves.row_total * fit.rate[leaves.row_leaf]
    seen_p = weighted_counts(leaves.row_period, leaves.row_bad * fit.kept, leaves.periods)
    normal_p = weighted_counts(leaves.row_period, normal_row * fit.kept, leaves.periods)
    levels = np.where(normal_p > LEVEL_GROUP, seen_p / np.maximum(normal_p, 1e-9), 1.0)
    result: dict[Dims, float] = {}
    dropped_leaf, dropped_period = leaves.row_leaf[~fit.kept], leaves.row_period[~fit.kept]
    fit.tables[()] = seen_p[None, :], normal_p[None, :]
    for dims in cuboids:
        grouping = leaves.grouping(dims)
        table = fit.tables.get(dims)
        if table is None:
            continue
        seen, normal = table[0], table[1] * levels
        out = np.zeros(seen.size, dtype=bool)
        out[grouping.group[dropped_leaf].astype(np.int64) * leaves.periods + dropped_period] = True
        result[dims] = _moments(seen, normal, (normal > 1e-6) & ~out.reshape(seen.shape))
    by_length = {n: [v for d, v in result.items() if len(d) == n] for n in (0, 1, 2)}
    floors = {
        n: max(settings.least_dispersion, float(np.median(v)) / 2 if v else 0.0) for n, v in by_length.items()
    }
    c, m = leaves.row_bad[fit.kept], (normal_row * levels[leaves.row_period])[fit.kept]
    own = float((((c - m) ** 2) - m).sum() / max(float((m**2).sum()), 1e-12)) if len(c) else 0.0
    leaf = max(own, floors[2], settings.least_dispersion)
    for d in sorted(result, key=len):  # a pair strays with each of its values
        result[d] = max(result[d], floors[len(d)], *(result.get((x,), 0.0) for x in d if len(d) > 1))
    return result, min(leaf, 1.0), levels


def _level(
    leaves: Leaves, rate: FloatArray, bounds: tuple[float, float], unexplained: npt.NDArray[np.bool_]
) -> float:
    """Today's level of everything: what most of every dimension's values share. [1]

    The lower quartile over dimensions of the weighted median ratio of bad to expected sessions: a fault raises
    all values of the dimensions that it does not belong to, but only its own value of those that it does. It is held
    to LEVEL_SPAN or what past periods have shown, so a fault of everything stays a fault.
    """
    expected = leaves.total * rate * unexplained
    bad = leaves.bad * unexplained
    found: list[float] = []
    for dims in leaves.cuboids(1)[1:]:
        grouping = leaves.grouping(dims)
        normal = grouping.sums(expected)
        usual = normal >= LEVEL_GROUP
        if usual.sum() < LEVEL_GROUPS:
            continue
        ratio = grouping.sums(bad)[usual] / normal[usual]
        order = np.argsort(ratio)
        weight = np.cumsum(normal[usual][order])
        found.append(float(ratio[order][np.searchsorted(weight, weight[-1] / 2)]))
    if not found:
        return 1.0
    return float(np.clip(np.quantile(found, LEVEL_QUANTILE), *bounds))
