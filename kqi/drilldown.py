"""Which scopes explain that more goes badly than normal: ranked, with their share of the excess.

Given counts by dimension values now and before, `drill` names scopes of up to three dimension values. It takes the
scope that explains most (`drilldown_scan`, against `drilldown_baseline`), widens it to its parent where the siblings
fail alike, narrows it to a child where only some children fail, leaves its sessions out, and repeats, as long as
something stands out under the false-discovery bound. It compares bad sessions with all sessions of a scope, so a
busy scope is no suspect for being busy. It does not say why a scope fails, and knows nothing of topology.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cem.platform.errors import InvalidInput
from kqi.drilldown_baseline import Baseline, fit_baseline
from kqi.drilldown_cuboids import Dims, Leaves, make_leaves
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
from kqi.drilldown_table import FloatArray, IntArray, Table, check_same_dimensions, read_csv
from kqi.drilldown_widths import narrower, scope_rows, wider

SHORTLIST = 60
"""Candidates fitted closely in each round. [1] Chosen here: the coarse score ranks the right one far above it."""
NESTED_SHARE = 0.4
"""A wider scope found later takes in a narrower one whose failing share is at most 1/this of its own. [1]"""

Scope = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """A scope and its figures.

    Parameters
    ----------
    scope
        (dimension, value) pairs in the order of the table's dimensions; () is everything.
    total, bad, expected
        Sessions now, bad ones, and how many were to be expected, over the whole scope. [1]
    excess
        Bad sessions beyond the expected ones that no scope named before it explains. [1]
    share
        `excess` by the excess of everything, 0–1. [1]
    score
        Log likelihood ratio. [nats]
    p_value
        Chance of this in health. [1]
    same_as
        Scopes that hold exactly the same sessions.
    """

    scope: Scope
    total: float
    bad: float
    expected: float
    excess: float
    share: float
    score: float
    p_value: float
    same_as: tuple[Scope, ...] = ()


@dataclass(frozen=True, slots=True)
class Drilldown:
    """What `drill` found.

    Parameters
    ----------
    findings
        Causes named, the one that explains most first.
    alternatives
        Scopes that were scored best beside them, best first. Not causes: shown so that a person may disagree.
    total, bad, expected
        Sums over the table of now. [1]
    level
        Today's level of everything against the past, in `expected` already. [1]
    candidates
        How many scopes were large enough to be looked at. [1]
    periods
        Number of past periods. [1]
    """

    findings: tuple[Finding, ...]
    alternatives: tuple[Finding, ...]
    total: float
    bad: float
    expected: float
    level: float
    candidates: int
    periods: int


@dataclass(slots=True)
class _Case:
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
                table[i] = np.bincount(self.rate_class[rows], source[rows], shape[1])
        rate = np.where(total > 0, np.clip(expected / np.maximum(total, 1e-12), 1e-9, 1 - 1e-6), self.class_rates)
        added, share = failure_score(total, bad, rate)
        scaled = poisson_score(bad.sum(axis=1), np.maximum(expected.sum(axis=1), 1e-9))
        cost = np.array([self.penalties[list(dims)].sum() for dims, _ in scopes])
        return np.maximum(added, scaled) - cost, share


def explain(now: Table, expected: Table, settings: DrilldownSettings | None = None) -> list[Finding]:
    """The causes that `drill` names, the one that explains most first."""
    return list(drill(now, expected, settings).findings)


def drill(now: Table, before: Table, settings: DrilldownSettings | None = None) -> Drilldown:
    """Names the scopes that explain why now is worse than before.

    Parameters
    ----------
    now
        The window in question; its periods are ignored.
    before
        The same dimensions in past periods of the same kind, e.g. the same quarter hour of the last four weeks.
    settings
        Bounds; the defaults where None.

    Raises
    ------
    InvalidInput
        The dimensions differ, or there is nothing before to compare with.
    """
    settings = settings or DrilldownSettings()
    check_same_dimensions(now, before)
    if not before.total.sum() > 0:
        raise InvalidInput("the table of before holds no sessions; there is nothing to compare with")
    leaves = make_leaves(now, before)
    baseline = fit_baseline(leaves, settings)
    rate_class = np.digitize(baseline.rate, RATE_BINS)
    centres = np.concatenate([RATE_BINS[:1], RATE_BINS])
    expected = leaves.total * baseline.rate
    start = State(leaves.total, leaves.bad, expected, baseline.evidence)
    case = _Case(leaves, baseline, settings, start, rate_class, centres)
    findings, alternatives, candidates = _rounds(case)
    return Drilldown(
        findings=tuple(findings),
        alternatives=tuple(alternatives),
        total=float(leaves.total.sum()),
        bad=float(leaves.bad.sum()),
        expected=float(expected.sum()),
        level=baseline.level,
        candidates=candidates,
        periods=baseline.periods,
    )


@dataclass(frozen=True, slots=True)
class _Named:
    dims: Dims
    leaf: int
    rows: IntArray
    share: float
    score: float
    p_value: float
    same_as: tuple[Scope, ...]


def _rounds(case: _Case) -> tuple[list[Finding], list[Finding], int]:
    """Take the best, leave its sessions out, repeat."""
    settings, state = case.settings, case.start
    named: list[_Named] = []
    others: list[_Named] = []
    tests = 0
    excess_of_all = max(float((case.start.bad - case.start.expected).sum()), 1e-9)
    while len(named) < settings.max_findings:
        found = scan(case.leaves, case.baseline, state, settings)
        tests = tests or found.tests
        bound = false_discovery_bound(found.p_value, found.tests, settings.false_discovery)
        stands_out = found.p_value <= bound if bound > 0 else np.zeros(len(found), dtype=bool)
        ranked = _ranked(case, state, found, stands_out if stands_out.any() else found.p_value < 0.5)
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
    findings = _findings(case, named, excess_of_all)
    taken = {f.scope for f in findings} | {s for f in findings for s in f.same_as}
    left = [n for n in others if case.scope(n.dims, n.leaf) not in taken]
    rest = [f for n in left[: settings.top] for f in _findings(case, [n], excess_of_all)]
    return findings, rest, tests


def _ranked(
    case: _Case, state: State, found: Candidates, chosen: npt.NDArray[np.bool_]
) -> list[_Named]:
    """The shortlist by value, each set of sessions once under its shortest name."""
    indices = np.flatnonzero(chosen)
    if not len(indices):
        return []
    cost = np.array([case.penalties[list(dims)].sum() for dims in found.cuboids])
    coarse = found.score[indices] - cost[found.cuboid[indices]]
    indices = indices[np.argsort(-coarse, kind="stable")[:SHORTLIST]]
    scopes = [(found.dims(i), int(found.leaf[i])) for i in indices]
    value, share = case.values(state, scopes)
    result: list[_Named] = []
    for j in np.argsort(-value, kind="stable"):
        dims, leaf = scopes[j]
        rows = case.rows(dims, leaf)
        rows = rows[state.total[rows] > 0]
        twin = next((k for k, n in enumerate(result) if np.array_equal(n.rows, rows)), None)
        if twin is None:
            p_value = float(found.p_value[indices[j]])
            result.append(_Named(dims, leaf, rows, float(share[j]), float(value[j]), p_value, ()))
        else:
            first = result[twin]
            same = (*first.same_as, case.scope(dims, leaf))
            result[twin] = _Named(
                first.dims, first.leaf, rows, first.share, first.score, first.p_value, same
            )
    return result


def _fitted(case: _Case, state: State, best: _Named, found: Candidates) -> _Named:
    """The scope made wider or narrower, as its siblings and children tell."""
    dims, leaf = best.dims, best.leaf
    for _ in range(2 * case.settings.max_dimensions):
        moved = wider(case.leaves, case.baseline, state, dims, leaf)
        if moved is None:
            moved = narrower(
                case.leaves, case.baseline, state, dims, leaf, case.settings, case.penalties
            )
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
    return _Named(dims, leaf, rows, float(share[0]), float(value[0]), p_value, ())


def _takes_in(case: _Case, wide: _Named, narrow: _Named) -> bool:
    """Whether a scope found later makes an earlier one needless: it holds it, and its rest fails much alike."""
    holds = set(case.scope(wide.dims, wide.leaf)) < set(case.scope(narrow.dims, narrow.leaf))
    return holds and wide.share >= NESTED_SHARE * narrow.share


def _findings(case: _Case, named: list[_Named], excess_of_all: float) -> list[Finding]:
    """Figures of the named scopes over all their sessions; each session's excess belongs to the first that holds it."""
    free = np.ones(len(case.leaves), dtype=bool)
    own: list[tuple[_Named, IntArray, float]] = []
    for n in named:
        rows = case.rows(n.dims, n.leaf)
        mine = rows[free[rows]]
        own.append((n, rows, float((case.start.bad[mine] - case.start.expected[mine]).sum())))
        free[rows] = False
    whole = max(excess_of_all, sum(excess for _, _, excess in own))
    result = [
        Finding(
            scope=case.scope(n.dims, n.leaf),
            total=float(case.start.total[rows].sum()),
            bad=float(case.start.bad[rows].sum()),
            expected=float(case.start.expected[rows].sum()),
            excess=excess,
            share=float(np.clip(excess / whole, 0.0, 1.0)),
            score=n.score,
            p_value=n.p_value,
            same_as=n.same_as,
        )
        for n, rows, excess in own
    ]
    return sorted(result, key=lambda f: -f.excess)


def drilldown_files(
    now: str | Path,
    before: str | Path,
    *,
    total: str,
    bad: str,
    periods_column: str | None = None,
    dimensions: Sequence[str] | None = None,
    top: int = 5,
) -> dict[str, Any]:
    """Ranked scopes that explain why the table NOW is worse than BEFORE, ready for JSON.

    Parameters
    ----------
    now, before
        CSV files with a header; every column that is not named here is a dimension.
    total, bad
        Columns with sessions and bad sessions.
    periods_column
        Column of BEFORE that tells its past periods apart; in NOW it may be missing and is ignored.
    dimensions
        Columns to use as dimensions; None for all that are left.
    top
        Alternatives reported beside the causes. [1]

    Raises
    ------
    InvalidInput
        A file cannot be read, a column is missing or stands in one file only (named), a count is no number.
    """
    began = time.perf_counter()
    past = read_csv(before, total=total, bad=bad, periods_column=periods_column, dimensions=dimensions)
    here = read_csv(
        now, total=total, bad=bad, periods_column=periods_column, dimensions=dimensions, periods_needed=False
    )
    check_same_dimensions(here, past, Path(now).name, Path(before).name)
    read = time.perf_counter()
    result = drill(here, past, DrilldownSettings(top=top))
    done = time.perf_counter()
    return {
        "scopes": [_as_json(i, f) for i, f in enumerate(result.findings, 1)],
        "alternatives": [_as_json(i, f) for i, f in enumerate(result.alternatives, 1)],
        "now": {
            "rows": len(here),
            "total": result.total,
            "bad": result.bad,
            "expected": round(result.expected, 3),
            "excess": round(result.bad - result.expected, 3),
            "clipped_rows": here.clipped_rows,
        },
        "before": {"rows": len(past), "periods": result.periods, "clipped_rows": past.clipped_rows},
        "dimensions": list(here.columns),
        "level": round(result.level, 4),
        "candidates": result.candidates,
        "read_ms": round((read - began) * 1e3, 1),
        "cost_ms": round((done - read) * 1e3, 1),
    }


def _as_json(rank: int, finding: Finding) -> dict[str, Any]:
    """A finding as a JSON object."""
    return {
        "rank": rank,
        "scope": dict(finding.scope),
        "share": round(finding.share, 4),
        "total": finding.total,
        "bad": finding.bad,
        "expected": round(finding.expected, 3),
        "excess": round(finding.excess, 3),
        "rate": round(finding.bad / finding.total, 6) if finding.total else None,
        "normal_rate": round(finding.expected / finding.total, 6) if finding.total else None,
        "ratio": round(finding.bad / finding.expected, 3) if finding.expected > 0 else None,
        "score": round(finding.score, 3),
        "p_value": float(f"{finding.p_value:.3g}"),
        "same_as": [dict(scope) for scope in finding.same_as],
    }
