"""The rounds of a drill-down: take the scope that explains most, make it as wide as its cause, leave it out, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kqi.drilldown_baseline import Baseline
from kqi.drilldown_cuboids import Dims, Leaves, weighted_counts
from kqi.drilldown_scan import (
    RATE_BINS,
    Candidates,
    State,
    failure_score,
    false_discovery_bound,
    poisson_score,
    scan,
)
from kqi.drilldown_settings import DrilldownSettings
from kqi.drilldown_table import FloatArray, IntArray
from kqi.drilldown_widths import narrower, scope_rows, wider

SHORTLIST = 60
"""Candidates fitted closely in each round. [1] Chosen here: the coarse score ranks the right one far above it."""
NESTED_SHARE = 0.4
"""A wider scope found later takes in a narrower one whose failing share is at most 1/this of its own. [1]"""


Scope = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Case:
    """A case under way: what does not change from round to round, and small questions about it."""

    leaves: Leaves
    baseline: Baseline
    settings: DrilldownSettings
    start: State
    rate_class: IntArray
    class_rates: FloatArray
    penalties: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        present = [max(self.leaves.grouping((d,)).size, 1) for d in range(len(self.leaves.names))]
        self.penalties = np.log(np.array(present, dtype=np.float64)) + 1.0

    def rows(self, dims: Dims, leaf: int) -> IntArray:
        """Leaves of the scope that `leaf` lies in."""
        return scope_rows(self.leaves, dims, leaf)

    def scope(self, dims: Dims, leaf: int) -> Scope:
        """The scope in words."""
        codes = self.leaves.codes
        return tuple((self.leaves.names[d], self.leaves.values[d][int(codes[d, leaf])]) for d in dims)

    def values(self, state: State, scopes: Sequence[tuple[Dims, int]]) -> tuple[FloatArray, FloatArray]:
        """Score of each scope less what its length costs, and its failing share. [nats], [1]"""
        shape = (len(scopes), len(self.class_rates))
        total, bad, expected = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for i, (dims, leaf) in enumerate(scopes):
            rows = self.rows(dims, leaf)
            for table, source in ((total, state.total), (bad, state.bad), (expected, state.expected)):
                table[i] = weighted_counts(self.rate_class[rows], source[rows], shape[1])
        rate = np.where(
            total > 0, np.clip(expected / np.maximum(total, 1e-12), 1e-9, 1 - 1e-6), self.class_rates
        )
        added, share = failure_score(total, bad, rate)
        scaled = poisson_score(bad.sum(axis=1), np.maximum(expected.sum(axis=1), 1e-9))
        cost = np.array([self.penalties[list(dims)].sum() for dims, _ in scopes])
        return np.maximum(added, scaled) - cost, share


@dataclass(frozen=True, slots=True)
class Named:
    """A scope as the rounds keep it: its dimensions and a leaf of it, and the leaves that it explained."""

    dims: Dims
    leaf: int
    rows: IntArray
    share: float
    score: float
    p_value: float
    same_as: tuple[Scope, ...]


def make_case(leaves: Leaves, baseline: Baseline, settings: DrilldownSettings) -> Case:
    """A case at a baseline, with everything still to explain."""
    expected = leaves.total * baseline.rate
    start = State(leaves.total, leaves.bad, expected, baseline.evidence)
    centres = np.concatenate([RATE_BINS[:1], RATE_BINS])
    return Case(leaves, baseline, settings, start, np.digitize(baseline.rate, RATE_BINS), centres)


def run_rounds(case: Case) -> tuple[list[Named], list[Named], int]:
    """Take the best, leave its sessions out, repeat."""
    settings, state = case.settings, case.start
    named: list[Named] = []
    others: list[Named] = []
    tests = 0
    excess_of_all = max(float((case.start.bad - case.start.expected).sum()), 1e-9)
    while len(named) < settings.max_findings:
        found = scan(case.leaves, case.baseline, state, settings)
        tests = tests or found.tests
        bound = false_discovery_bound(found.p_value, found.tests, settings.false_discovery)
        stands_out = found.p_value <= bound if bound > 0 else np.zeros(len(found), dtype=bool)
        ranked = _ranked(case, state, found, stands_out if stands_out.any() else found.score > 0)
        if not named:
            others = ranked
        if not stands_out.any():
            break
        best = _fitted(case, state, ranked[0], found)
        rows = best.rows
        excess = float((state.bad[rows] - state.expected[rows]).sum())
        if named and excess < settings.min_share * max(excess_of_all, excess):
            break
        named = [n for n in named if not _takes_in(case, best, n)] + [best]
        state = state.without(rows)
    if len(named) > 1:
        named = _again(case, named)
    return named, others, tests


def _again(case: Case, named: list[Named]) -> list[Named]:
    """Looks at each cause once more with all the others explained.

    The first scope taken may be too wide, because it held parts of causes that were found after it.
    """
    for i in range(len(named)):
        others = named[:i] + named[i + 1 :]
        state = case.start
        for n in others:
            state = state.without(case.rows(n.dims, n.leaf))
        found = scan(case.leaves, case.baseline, state, case.settings)
        bound = false_discovery_bound(found.p_value, found.tests, case.settings.false_discovery)
        if not bound > 0:
            continue
        ranked = _ranked(case, state, found, found.p_value <= bound)
        named[i] = _fitted(case, state, ranked[0], found)
    return list({(n.dims, case.scope(n.dims, n.leaf)): n for n in named}.values())


def _ranked(case: Case, state: State, found: Candidates, chosen: npt.NDArray[np.bool_]) -> list[Named]:
    """The shortlist by value, each set of sessions once under its shortest name."""
    indices = np.flatnonzero(chosen)
    if not len(indices):
        return []
    cost = np.array([case.penalties[list(dims)].sum() for dims in found.cuboids])
    coarse = found.score[indices] - cost[found.cuboid[indices]]
    indices = indices[np.argsort(-coarse, kind="stable")[:SHORTLIST]]
    scopes = [(found.dims(i), int(found.leaf[i])) for i in indices.tolist()]
    value, share = case.values(state, scopes)
    result: list[Named] = []
    for j in np.argsort(-value, kind="stable"):
        dims, leaf = scopes[j]
        rows = case.rows(dims, leaf)
        rows = rows[state.total[rows] > 0]
        twin = next((k for k, n in enumerate(result) if np.array_equal(n.rows, rows)), None)
        if twin is None:
            p_value = float(found.p_value[indices[j]])
            result.append(Named(dims, leaf, rows, float(share[j]), float(value[j]), p_value, ()))
        else:
            first = result[twin]
            same = (*first.same_as, case.scope(dims, leaf))
            result[twin] = Named(first.dims, first.leaf, rows, first.share, first.score, first.p_value, same)
    return result


def _fitted(case: Case, state: State, best: Named, found: Candidates) -> Named:
    """The scope made wider or narrower, as its siblings and children tell."""
    dims, leaf = best.dims, best.leaf
    for _ in range(2 * case.settings.max_dimensions):
        moved = wider(case.leaves, case.baseline, state, dims, leaf)
        if moved is None:
            moved = narrower(case.leaves, case.baseline, state, dims, leaf, case.settings, case.penalties)
            if moved is None:
                break
            dims, leaf = moved
            if wider(case.leaves, case.baseline, state, dims, leaf) is not None:
                break
        else:
            dims, leaf = moved
    if dims == best.dims and leaf == best.leaf:
        return best
    value, share = case.values(state, [(dims, leaf)])
    rows = case.rows(dims, leaf)
    rows = rows[state.total[rows] > 0]
    match = [
        i
        for i in range(len(found))
        if found.dims(i) == dims and case.scope(dims, int(found.leaf[i])) == case.scope(dims, leaf)
    ]
    p_value = float(found.p_value[match[0]]) if match else best.p_value
    return Named(dims, leaf, rows, float(share[0]), float(value[0]), p_value, ())


def _takes_in(case: Case, wide: Named, narrow: Named) -> bool:
    """Whether a scope found later makes an earlier one needless: it holds it, and its rest fails much alike."""
    holds = set(case.scope(wide.dims, wide.leaf)) < set(case.scope(narrow.dims, narrow.leaf))
    return holds and wide.share >= NESTED_SHARE * narrow.share
