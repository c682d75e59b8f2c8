"""The scan: every scope of up to three dimension values is a candidate, scored against what was to be expected.

Scores are log likelihood ratios of "this scope fails more than expected" against "as expected" (expectation-based
scan statistics: Neill 2009, Int. J. Forecasting 25:498, after Kulldorff 1997, Commun. Stat. Theory Methods 26:1481).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from kqi.drilldown_baseline import Baseline
from kqi.drilldown_cuboids import Dims, Grouping, Leaves, number, weighted_counts
from kqi.drilldown_settings import DrilldownSettings
from kqi.drilldown_table import FloatArray, IntArray

LOW_RATE = 0.2
"""Up to this expected rate counts are gamma-Poisson, above it binomial with the same dispersion. [1] Chosen here:
the binomial variance is a fifth smaller there."""
FAR_FROM_ALL = 3.0
"""Scores up to this are given the p-value 1. [nats] A tail of 1 % or more never stands out among many scopes."""
RATE_BINS = np.geomspace(1e-5, 0.7, 15)
"""Borders of the classes of expected rates in which a scope is fitted. [1] Chosen here: a factor of two each."""


@dataclass(frozen=True, slots=True)
class State:
    """What is left to explain: leaf quantities with explained leaves at zero, shape (leaves,). [1]"""

    total: FloatArray
    bad: FloatArray
    expected: FloatArray
    evidence: FloatArray

    def without(self, rows: IntArray) -> State:
        """The state with these leaves explained."""
        arrays = [self.total.copy(), self.bad.copy(), self.expected.copy(), self.evidence.copy()]
        for array in arrays:
            array[rows] = 0.0
        return State(*arrays)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Scopes that passed the sizes, as columns of one length.

    Parameters
    ----------
    cuboid
        Index into `cuboids`.
    leaf
        A leaf of the scope; its codes in the cuboid's dimensions are the scope.
    total, bad, expected
        Sums over the scope. [1]
    score
        Binomial log likelihood ratio. [nats]
    p_value
        Chance of so many bad sessions, or more, in health. [1]
    tests
        How many scopes were large enough to be looked at. [1]
    """

    cuboids: list[Dims]
    cuboid: IntArray
    leaf: IntArray
    total: FloatArray
    bad: FloatArray
    expected: FloatArray
    score: FloatArray
    p_value: FloatArray
    tests: int

    def __len__(self) -> int:
        return len(self.leaf)

    def dims(self, i: int) -> Dims:
        """Dimensions of candidate i."""
        return self.cuboids[int(self.cuboid[i])]


def binomial_score(bad: FloatArray, expected: FloatArray, total: FloatArray) -> FloatArray:
    """C·ln(C/B) + (N−C)·ln((N−C)/(N−B)) where C > B, else 0; near C·ln(C/B)+B−C for small rates. [nats]

    Parameters
    ----------
    bad, expected, total
        C, B and N, 0 < B < N, 0 ≤ C ≤ N.

    References
    ----------
    Neill 2009, §2 (expectation-based Poisson, as a rate goes to 0); Kulldorff 1997, §3 (Bernoulli).
    """
    score = special.xlogy(bad, bad / expected) + special.xlogy(
        total - bad, (total - bad) / (total - expected)
    )
    return np.asarray(np.where(bad > expected, np.maximum(score, 0.0), 0.0), dtype=np.float64)


def poisson_score(bad: FloatArray, expected: FloatArray) -> FloatArray:
    """C·ln(C/B) + B − C where C > B, else 0. [nats] (Neill 2009, §2.)"""
    score = special.xlogy(bad, bad / expected) + expected - bad
    return np.asarray(np.where(bad > expected, score, 0.0), dtype=np.float64)


def tail(bad: FloatArray, expected: FloatArray, total: FloatArray, variation: FloatArray) -> FloatArray:
    """Chance of at least `bad` in health. [1]

    Gamma-Poisson: Var C = B + ωB², P(C ≥ c) = I_{ωB/(1+ωB)}(c, 1/ω) (Johnson, Kemp & Kotz 2005, §5.6). For rates
    above LOW_RATE the signed root of the binomial likelihood ratio over the same inflation of the variance.

    Parameters
    ----------
    bad, expected, total
        C, B and N.
    variation
        ω: squared coefficient of variation of the rate, > 0.
    """
    spread = variation * expected
    gamma_poisson = special.betainc(np.maximum(bad, 1e-9), 1.0 / variation, spread / (1.0 + spread))
    rate = expected / total
    inflation = 1.0 + spread / (1.0 - rate)
    root = np.sqrt(2.0 * binomial_score(bad, expected, total) / inflation)
    return np.asarray(np.where(rate <= LOW_RATE, gamma_poisson, special.ndtr(-root)), dtype=np.float64)


def false_discovery_bound(p_values: FloatArray, tests: int, level: float) -> float:
    """Largest p-value that may be called a discovery among `tests`. [1]

    References
    ----------
    Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57(1):289, procedure (1).
    """
    ordered = np.sort(p_values)
    allowed = ordered <= level * np.arange(1, len(ordered) + 1) / max(tests, 1)
    return float(ordered[np.flatnonzero(allowed)[-1]]) if allowed.any() else 0.0


def scan(leaves: Leaves, baseline: Baseline, state: State, settings: DrilldownSettings) -> Candidates:
    """All candidates of a state: sums, scores, p-values."""
    cuboids = leaves.cuboids(settings.max_dimensions)
    able: dict[Dims, npt.NDArray[np.bool_]] = {}
    parts: list[tuple[int, IntArray, FloatArray, FloatArray, FloatArray, FloatArray]] = []
    tests = 0
    room = int(min(state.total.sum() / settings.min_total, len(leaves)))
    for index, dims in enumerate(cuboids):
        rows: IntArray | None = None
        if len(dims) == 3:
            # A triple is large enough only where each of its pairs is; a pair not scanned equals one of its values.
            inside = [able[pair] for pair in (dims[:2], (dims[0], dims[2]), dims[1:]) if pair in able]
            rows = np.flatnonzero(np.logical_and.reduce(inside)) if inside else np.arange(len(leaves))
            tests += room
            if not len(rows):
                continue
            rows, grouping = _enough_bad(leaves, dims, rows, state.bad, settings.min_bad)
            if not len(rows):
                continue
        else:
            grouping = leaves.grouping(dims)
        total, bad = grouping.sums(_of(state.total, rows)), grouping.sums(_of(state.bad, rows))
        large = total >= settings.min_total
        if len(dims) < 3:
            tests += int(large.sum())
        fit = large & (bad >= settings.min_bad)
        if len(dims) == 2 and settings.max_dimensions > 2:
            able[dims] = fit[grouping.group]
        if not fit.any():
            continue
        expected = grouping.sums(_of(state.expected, rows))
        fit &= bad >= settings.min_ratio * expected
        chosen = np.flatnonzero(fit)
        if not len(chosen):
            continue
        first = np.zeros(grouping.size, dtype=np.int64)
        first[grouping.group] = np.arange(len(leaves)) if rows is None else rows
        evidence = grouping.sums(_of(state.evidence, rows))
        parts.append((index, first[chosen], total[chosen], bad[chosen], expected[chosen], evidence[chosen]))
    return _assemble(leaves, cuboids, parts, baseline, tests)


def _enough_bad(
    leaves: Leaves, dims: Dims, rows: IntArray, bad: FloatArray, least: float
) -> tuple[IntArray, Grouping]:
    """The rows whose group of this triple has enough bad sessions, and their groups: mostly a small part."""
    if 2 * len(rows) > len(leaves):
        known = leaves.grouping(dims)
        group, size = known.group[rows], known.size
    else:
        above, width = leaves.grouping(dims[:2]), len(leaves.values[dims[2]])
        keys = above.group[rows].astype(np.int64) * width + leaves.codes[dims[2]][rows]
        made = number(keys, above.size * width)
        group, size = made.group, made.size
    enough = weighted_counts(group, bad[rows], size) >= least
    inside = enough[group]
    renumbered = np.cumsum(enough, dtype=np.int32) - np.int32(1)
    return rows[inside], Grouping(renumbered[group[inside]], int(enough.sum()))


def _of(values: FloatArray, rows: IntArray | None) -> FloatArray:
    return values if rows is None else values[rows]


def _assemble(
    leaves: Leaves,
    cuboids: list[Dims],
    parts: list[tuple[int, IntArray, FloatArray, FloatArray, FloatArray, FloatArray]],
    baseline: Baseline,
    tests: int,
) -> Candidates:
    if not parts:
        none, empty = np.empty(0, dtype=np.int64), np.empty(0)
        return Candidates(cuboids, none, none, empty, empty, empty, empty, empty, tests)
    cuboid = np.concatenate([np.full(len(part[1]), part[0]) for part in parts])
    leaf = np.concatenate([p[1] for p in parts])
    total, bad, expected = (np.concatenate([p[i] for p in parts]) for i in (2, 3, 4))
    expected = np.clip(expected, 1e-9, total * (1 - 1e-3))
    score = binomial_score(bad, expected, total)
    p_value = np.ones(len(score))
    close = score > FAR_FROM_ALL
    open_of_values = {
        d: 1.0 / (single.sums(baseline.evidence) + baseline.prior[1])[single.group]
        for d in {d for dims in cuboids for d in dims}
        for single in (leaves.grouping((d,)),)
    }
    pieces, at = [np.empty(0)], 0
    for part in parts:
        near = close[at : at + len(part[1])]
        at += len(part[1])
        pieces.append(_variation(baseline, open_of_values, cuboids[part[0]], part[1][near], part[5][near]))
    p_value[close] = tail(bad[close], expected[close], total[close], np.concatenate(pieces))
    return Candidates(
        cuboids=cuboids,
        cuboid=cuboid,
        leaf=leaf,
        total=total,
        bad=bad,
        expected=expected,
        score=score,
        p_value=p_value,
        tests=max(tests, 1),
    )


def _variation(
    baseline: Baseline,
    open_of_values: dict[int, FloatArray],
    dims: Dims,
    leaf: IntArray,
    evidence: FloatArray,
) -> FloatArray:
    """Squared coefficient of variation of the bad sessions to expect: healthy straying, and what the past leaves open.

    The expected rate is a product of factors, each known to 1/(its bad sessions in the past + the weight of its
    prior): those of the scope's single values (`open_of_values`, by dimension and leaf), and the scope's own.
    """
    found = baseline.variation(dims) * (1 + 1 / baseline.periods) + 1.0 / (
        evidence + baseline.prior[len(dims)]
    )
    if len(dims) > 1:
        for d in dims:
            found = found + open_of_values[d][leaf]
    return np.asarray(found, dtype=np.float64)


def failure_score(total: FloatArray, bad: FloatArray, rate: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Score of "a share a of all sessions fails, whatever else does" by classes of expected rates, and a.

    A session is bad with probability r + a(1−r). The score is max over a of
    Σ c·ln(1 + a(1−r)/r) + (N−C)·ln(1−a), concave in a; the root of its derivative is found by bisection.

    Parameters
    ----------
    total, bad, rate
        Shape (scopes, classes); rate in (0, 1). [1]

    Returns
    -------
    Scores ≥ 0 [nats] and shares in 0–1 [1], shape (scopes,).
    """
    odds = (1 - rate) / rate
    good = (total - bad).sum(axis=1)
    low, high = np.zeros(len(total)), np.full(len(total), 1 - 1e-6)
    for _ in range(40):
        a = (low + high) / 2
        slope = (bad * odds / (1 + a[:, None] * odds)).sum(axis=1) - good / (1 - a)
        low, high = np.where(slope > 0, a, low), np.where(slope > 0, high, a)
    a = (low + high) / 2
    score = (bad * np.log1p(a[:, None] * odds)).sum(axis=1) + good * np.log1p(-a)
    return np.maximum(score, 0.0), a
