"""Whether a scope is as wide as its cause: its parent where the siblings fail alike, a child where only some fail.

Both ask each part (sibling or child) the same question: are its bad sessions more likely as half of the scope's
failure, or as health? Half, because parts may fail less than the scope as a whole and still fail; the expectation is
the smaller of the two that the scope's failure gives: as a share of all sessions (a) or as a multiple of the normal
rate (q).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from kqi.drilldown_baseline import Baseline
from kqi.drilldown_cuboids import Dims, Leaves, weighted_counts
from kqi.drilldown_scan import State, binomial_score
from kqi.drilldown_settings import DrilldownSettings
from kqi.drilldown_table import FloatArray, IntArray

HALF = 0.5
"""Part of the scope's failure from which on a part fails too. [1]"""
EVIDENCE = 3.0
"""Log likelihood ratio that settles a part, and the siblings together. [nats] Chosen here: e³ = 20 to 1."""
HEALTHY_SIBLINGS = 0.1
"""Most of the siblings' weight that may be clearly healthy where a parent is named. [1] Chosen here."""
HEALTHY_CHILDREN = 0.15
"""Least of a scope's weight that must be clearly healthy before it is split. [1] Chosen here."""
ALIKE = 1e-3
"""The parts' rates count as alike above this p-value of the test of homogeneity. [1] Chosen here."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A scope cut along one dimension; arrays by value code, shape (values,). [1]"""

    total: FloatArray
    bad: FloatArray
    expected: FloatArray

    def evidence(self, share: float, ratio: float, variation: float) -> tuple[FloatArray, FloatArray]:
        """Log likelihood ratio of failing against healthy, and weight (excess to expect), by part."""
        added = HALF * share * (self.total - self.expected)
        scaled = HALF * (ratio - 1) * self.expected
        failing = self.expected + np.minimum(added, scaled)
        normal = np.maximum(self.expected, 1e-9)
        ratio_log = np.log(np.maximum(failing, 1e-9) / normal)
        return (self.bad * ratio_log - (failing - normal)) / (1 + variation * failing), 2 * np.minimum(
            added, scaled
        )

    def homogeneity(self, variation: float) -> float:
        """p-value of "all parts fail by one share or by one ratio" (Pearson's X², parts under 5 left out)."""
        best = 0.0
        excess = self.bad.sum() - self.expected.sum()
        spare = self.total.sum() - self.expected.sum()
        for failing in (
            self.expected + excess / max(spare, 1e-9) * (self.total - self.expected),
            self.expected * self.bad.sum() / max(self.expected.sum(), 1e-9),
        ):
            used = failing >= 5
            if used.sum() < 2:
                return 1.0
            mean = failing[used]
            spread = mean * np.clip(1 - mean / self.total[used], 0.05, 1) + variation * mean**2
            distance = float(((self.bad[used] - mean) ** 2 / spread).sum())
            best = max(best, float(special.chdtrc(int(used.sum()) - 1, distance)))
        return best


def wider(leaves: Leaves, baseline: Baseline, state: State, dims: Dims, leaf: int) -> tuple[Dims, int] | None:
    """The parent whose siblings of the scope fail alike; None where there is none.

    A parent is named where its other children together speak for the scope's failure, hardly any of them is
    clearly healthy, and the children's rates are either homogeneous or no child is clearly healthy at all. One
    failing child never makes a parent.
    """
    best: tuple[float, Dims] | None = None
    for d in dims:
        parent = tuple(x for x in dims if x != d)
        parts = cut(leaves, state, parent, leaf, d)
        own = int(leaves.codes[d, leaf])
        share, ratio = _failure(parts.total[own], parts.bad[own], parts.expected[own])
        variation = baseline.variation(dims)
        evidence, weight = parts.evidence(share, ratio, variation)
        sibling = parts.total > 0
        sibling[own] = False
        weights = float(weight[sibling].sum())
        if not weights > 0 or evidence[sibling].sum() < EVIDENCE:
            continue
        healthy = sibling & (evidence < -EVIDENCE)
        if weight[healthy].sum() > HEALTHY_SIBLINGS * weights:
            continue
        if healthy.any() and parts.homogeneity(variation) < ALIKE:
            continue
        if _lies_elsewhere(leaves, baseline, state, parent, leaf, d):
            continue
        if best is None or evidence[sibling].sum() > best[0]:
            best = float(evidence[sibling].sum()), parent
    return None if best is None else (best[1], leaf)


def _lies_elsewhere(
    leaves: Leaves, baseline: Baseline, state: State, parent: Dims, leaf: int, along: int
) -> bool:
    """Whether the siblings' failure is that of a part of them by another dimension: a cause of its own then."""
    rows = scope_rows(leaves, parent, leaf)
    rest = rows[leaves.codes[along, rows] != leaves.codes[along, leaf]]
    for d in range(len(leaves.names)):
        if d in parent or d == along:
            continue
        parts = _parts(leaves, state, rest, d)
        share, ratio = _failure(parts.total.sum(), parts.bad.sum(), parts.expected.sum())
        evidence, weight = parts.evidence(share, ratio, baseline.variation(tuple(sorted((*parent, d)))[:3]))
        if weight[evidence < -EVIDENCE].sum() >= HEALTHY_CHILDREN * weight.sum():
            return True
    return False


def narrower(
    leaves: Leaves,
    baseline: Baseline,
    state: State,
    dims: Dims,
    leaf: int,
    settings: DrilldownSettings,
    penalties: FloatArray,
) -> tuple[Dims, int] | None:
    """The worst child where some children fail and the others are clearly healthy; None where all fail much alike.

    The children that are not healthy, each at the cost of a scope of its own, must explain more than the scope.
    """
    if len(dims) >= settings.max_dimensions:
        return None
    best: tuple[float, Dims, int] | None = None
    rows = scope_rows(leaves, dims, leaf)
    for d in range(len(leaves.names)):
        if d in dims:
            continue
        child: Dims = tuple(sorted((*dims, d)))
        parts = cut(leaves, state, dims, leaf, d)
        share, ratio = _failure(parts.total.sum(), parts.bad.sum(), parts.expected.sum())
        evidence, weight = parts.evidence(share, ratio, baseline.variation(child))
        healthy = (parts.total > 0) & (evidence < -EVIDENCE)
        if weight[healthy].sum() < HEALTHY_CHILDREN * weight.sum():
            continue
        able = (parts.total >= settings.min_total) & (parts.bad >= settings.min_bad) & ~healthy
        able &= parts.bad > parts.expected
        if not able.any() or able.sum() > max(1, (able.sum() + healthy.sum()) // 2):
            continue
        score = binomial_score(parts.bad[able], parts.expected[able], parts.total[able])
        normal = np.array([parts.expected.sum()])
        whole = float(binomial_score(np.array([parts.bad.sum()]), normal, np.array([parts.total.sum()]))[0])
        gain = (
            float((score - EVIDENCE).sum()) - float(able.sum()) * float(penalties[list(child)].sum()) - whole
        )
        if gain > 0 and (best is None or gain > best[0]):
            value = int(np.flatnonzero(able)[np.argmax(score)])
            inside = rows[(leaves.codes[d, rows] == value) & (state.total[rows] > 0)]
            best = gain, child, int(inside[0])
    return None if best is None else best[1:]


def cut(leaves: Leaves, state: State, dims: Dims, leaf: int, along: int) -> Parts:
    """The scope of `dims` that `leaf` lies in, cut along another dimension."""
    return _parts(leaves, state, scope_rows(leaves, dims, leaf), along)


def _parts(leaves: Leaves, state: State, rows: IntArray, along: int) -> Parts:
    codes, size = leaves.codes[along, rows], len(leaves.values[along])
    total = weighted_counts(codes, state.total[rows], size)
    return Parts(
        total,
        weighted_counts(codes, state.bad[rows], size),
        np.clip(
            weighted_counts(codes, state.expected[rows], size), 1e-9, np.maximum(total * (1 - 1e-3), 2e-9)
        ),
    )


def scope_rows(leaves: Leaves, dims: Dims, leaf: int) -> IntArray:
    """Leaves of the scope that `leaf` lies in."""
    inside: npt.NDArray[np.bool_] = np.ones(len(leaves), dtype=bool)
    for d in dims:
        inside &= leaves.codes[d] == leaves.codes[d, leaf]
    return np.flatnonzero(inside)


def _failure(total: float, bad: float, expected: float) -> tuple[float, float]:
    """Share of sessions that fail beyond the normal ones, and ratio to the normal ones. [1]"""
    share = (bad - expected) / max(total - expected, 1e-9)
    return float(np.clip(share, 0.0, 1.0)), float(max(bad / max(expected, 1e-9), 1.0))
