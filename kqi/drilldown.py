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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cem.platform.errors import InvalidInput
from kqi.drilldown_baseline import fit_baseline
from kqi.drilldown_cuboids import make_leaves
from kqi.drilldown_rounds import Case, Named, Scope, make_case, run_rounds
from kqi.drilldown_settings import DrilldownSettings
from kqi.drilldown_table import IntArray, Table, check_same_dimensions, read_csv

LEVEL_MOVED = 0.05
"""Change of the level, once the causes are left out, from which on everything is looked at again. [1] Chosen here."""


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
    case = make_case(leaves, baseline, settings)
    named, others, candidates = run_rounds(case)
    if named:
        unexplained = np.ones(len(leaves), dtype=bool)
        unexplained[np.concatenate([n.rows for n in named])] = False
        calm = baseline.at_level_of(leaves, unexplained)
        if abs(calm.level / baseline.level - 1) > LEVEL_MOVED:
            baseline, case = calm, make_case(leaves, calm, settings)
            named, others, candidates = run_rounds(case)
    findings, alternatives = _told(case, named, others)
    expected = case.start.expected
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


def _told(case: Case, named: list[Named], others: list[Named]) -> tuple[list[Finding], list[Finding]]:
    """The causes with their figures, and the best of the others."""
    excess_of_all = max(float((case.start.bad - case.start.expected).sum()), 1e-9)
    findings = _findings(case, named, excess_of_all)
    taken = {f.scope for f in findings} | {s for f in findings for s in f.same_as}
    left = [n for n in others if case.scope(n.dims, n.leaf) not in taken]
    rest = [f for n in left[: case.settings.top] for f in _findings(case, [n], excess_of_all)]
    return findings, rest


def _findings(case: Case, named: list[Named], excess_of_all: float) -> list[Finding]:
    """Figures of the named scopes over all their sessions; each session's excess belongs to the first that holds it."""
    free = np.ones(len(case.leaves), dtype=bool)
    own: list[tuple[Named, IntArray, float]] = []
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
