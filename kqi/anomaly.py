"""What stands out of its baseline in one window, with a bound on false discoveries; and feeds that fell silent. Pure.

Every slice and indicator with enough samples is tested once; Benjamini and Hochberg's procedure over all tests of the
window bounds the expected share of false ones among those reported. Slices overlap (a cell is in its city): their
tests depend positively, under which the bound holds.

What was not measured is not tested: a slice that used to send and sends nothing is a gap of its feed.

References
----------
Y. Benjamini and Y. Hochberg, J. R. Stat. Soc. B 57:289 (1995); Y. Benjamini and D. Yekutieli, Ann. Stat. 29:1165
(2001) for dependent tests. H. H. Panjer, ASTIN Bulletin 12:22 (1981): binomial, Poisson and negative binomial as one
family, chosen by mean and variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, gammainc, ndtri, stdtr

from kqi.baseline import Basis, Expected, FloatArray, Kind, Observed
from kqi.slices import LEVELS, Level, Slice, parent_key, slice_of

DETECTOR_VERSION = "2026.1"
"""Changes with anything that changes a result."""
FALSE_DISCOVERIES = 0.05
"""Most of the reported that may be false, in expectation. [1] Chosen here: one of twenty."""
LEAST_SAMPLES = 20
LEAST_USERS = 3
"""[1] DEMARCATION.md, candidates. Counters that name no lines (`users` 0) are bound by neither: one sample of theirs
counts everything."""
LEAST_EXPECTED = 20.0
"""Median of past samples from which on silence is a gap. [1] Chosen here: by chance alone, e^-20."""
MOST_REPORTED = 1_000
"""Anomalies of a window that are kept, the surest first. [1] Chosen here: more is an outage of all, said by its
parents."""
YES_OR_NO = 0.5
"""Design from which on a share is one of yes and no, and its tail that of a count. [1] Chosen here."""
SMALLEST_P = 1e-300


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A slice whose indicator is worse than expected.

    Parameters
    ----------
    observed, expected, deviation
        In the indicator's unit; `deviation` is the standard deviation of what chance would show.
    score
        Deviations beyond what is expected, positive is worse. [1]
    p, q
        Chance of as much or more; the false-discovery bound at which it would just be reported. [1]
    samples, users
        Of this window; users 0 where samples name no lines. [1]
    """

    window: datetime
    indicator: str
    slice: Slice
    observed: float
    expected: float
    deviation: float
    score: float
    p: float
    q: float
    samples: int
    users: int
    basis: Basis


@dataclass(frozen=True, slots=True)
class FeedGap:
    """A slice that sent nothing where it used to.

    `indicators` are those that are missing; empty where everything is. `expected_samples` is the largest of the
    missing indicators' medians before. [1]
    """

    window: datetime
    slice: Slice
    indicators: tuple[str, ...]
    expected_samples: float


@dataclass(frozen=True, slots=True)
class Judged:
    """One indicator on the slices of one level, tested; shape (n,)."""

    indicator: str
    level: Level
    keys: tuple[str, ...]
    observed: FloatArray
    expected: FloatArray
    deviation: FloatArray
    score: FloatArray
    p: FloatArray
    samples: FloatArray
    users: FloatArray
    basis: tuple[Basis, ...]


def judge(
    indicator: str,
    level: Level,
    observed: Observed,
    users: FloatArray,
    expected: Expected,
    kind: Kind,
    *,
    worse_is_higher: bool,
    both_ways: bool = False,
) -> Judged:
    """Test every slice that has enough samples and users, a value and an expectation.

    Parameters
    ----------
    observed, users, expected
        Of the same keys, in the same order.
    worse_is_higher
        The indicator's direction.
    both_ways
        Better counts too.
    """
    if observed.keys != expected.keys:
        raise ValueError("observed and expected are of the same slices")
    counters = users == 0
    enough = (observed.count >= LEAST_SAMPLES) & (users >= LEAST_USERS) | counters & (observed.count > 0)
    basis = np.array([one.value for one in expected.basis], dtype=object)
    usable = enough & ~np.isnan(observed.value) & ~np.isnan(expected.value) & (basis != Basis.NONE.value)
    sign = 1.0 if worse_is_higher else -1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        at_expected = expected.value * (1 - expected.value) * observed.design
        single = at_expected if kind is Kind.SHARE else observed.spread
        variance = single / observed.count + expected.extra
        deviation = np.sqrt(variance)
        score = sign * (observed.value - expected.value) / deviation
    usable &= variance > 0
    chosen = np.flatnonzero(usable)
    picked = score[chosen]
    freedom = _freedom(expected, variance)[chosen]
    p = stdtr(freedom, -picked)
    if kind is Kind.SHARE and observed.design >= YES_OR_NO and len(chosen):
        count = observed.count[chosen]
        share = expected.value[chosen] if worse_is_higher else 1 - expected.value[chosen]
        seen = observed.value[chosen] if worse_is_higher else 1 - observed.value[chosen]
        mean, spread = count * share, count**2 * variance[chosen]
        exact = at_least(count * seen, mean, spread)
        exact = stdtr(freedom, ndtri(np.clip(exact, SMALLEST_P, 1.0)))  # the variance itself is an estimate
        p = np.where(counters[chosen], p, np.where(picked > 0, exact, np.maximum(p, 0.5)))
    if both_ways:
        p = np.minimum(1.0, 2 * np.minimum(p, stdtr(freedom, picked)))
    return Judged(
        indicator=indicator,
        level=level,
        keys=tuple(observed.keys[place] for place in chosen),
        observed=observed.value[chosen],
        expected=expected.value[chosen],
        deviation=deviation[chosen],
        score=picked,
        p=np.clip(np.nan_to_num(p, nan=1.0), SMALLEST_P, 1.0),
        samples=observed.count[chosen],
        users=users[chosen],
        basis=tuple(expected.basis[place] for place in chosen),
    )


def _freedom(expected: Expected, variance: FloatArray) -> FloatArray:
    """Degrees of freedom of a variance of which only the part beyond sampling is estimated.

    F. E. Satterthwaite, Biometrics Bulletin 2:110 (1946).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = expected.freedom * (variance / expected.extra) ** 2
    return np.where(np.isfinite(freedom), np.minimum(freedom, 1e6), 1e6)


def at_least(seen: FloatArray, mean: FloatArray, variance: FloatArray) -> FloatArray:
    """P(Y ≥ seen) of a count with that mean and variance: Panjer's family, so that a few bad of a few are judged as
    few. [1]

    Variance above the mean: negative binomial; equal: Poisson; below: binomial. Real arguments interpolate.
    """
    seen, mean, variance = np.broadcast_arrays(seen, mean, variance)
    result = np.ones(seen.shape)
    some = seen > 0
    wide = some & (variance > mean * (1 + 1e-9))
    narrow = some & (variance < mean * (1 - 1e-9))
    even = some & ~wide & ~narrow
    if wide.any():
        y, m, v = seen[wide], mean[wide], variance[wide]
        shape = m**2 / (v - m)
        result[wide] = betainc(y, shape, m / (m + shape))
    if narrow.any():
        y, m, v = seen[narrow], mean[narrow], variance[narrow]
        chance = 1 - v / m
        trials = m / chance
        beyond = y > trials
        result[narrow] = np.where(beyond, 0.0, betainc(y, np.maximum(trials - y + 1, 1.0), chance))
    if even.any():
        result[even] = gammainc(seen[even], mean[even])
    return np.clip(result, 0.0, 1.0)


def false_discovery(p: FloatArray) -> FloatArray:
    """q of every p: the bound at which it would just be reported. Benjamini and Hochberg, step up. [1]"""
    if not len(p):
        return np.zeros(0)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q


def anomalies(
    window: datetime, tests: Sequence[Judged], *, bound: float = FALSE_DISCOVERIES
) -> tuple[list[Anomaly], int]:
    """What stands out of all tests of one window, the surest first, at most `MOST_REPORTED`; and how many there are."""
    if not tests:
        return [], 0
    p = np.concatenate([one.p for one in tests])
    q = false_discovery(p)
    score = np.concatenate([one.score for one in tests])
    source = np.repeat(np.arange(len(tests)), [len(one.p) for one in tests])
    start = np.cumsum([0, *(len(one.p) for one in tests)])
    beyond = np.flatnonzero(q <= bound)
    ranked = beyond[np.lexsort((-np.abs(score[beyond]), p[beyond]))]
    found = []
    for place in ranked[:MOST_REPORTED]:
        one = tests[source[place]]
        here = place - start[source[place]]
        found.append(
            Anomaly(
                window=window,
                indicator=one.indicator,
                slice=slice_of(one.level, one.keys[here]),
                observed=float(one.observed[here]),
                expected=float(one.expected[here]),
                deviation=float(one.deviation[here]),
                score=float(one.score[here]),
                p=float(p[place]),
                q=float(q[place]),
                samples=int(one.samples[here]),
                users=int(one.users[here]),
                basis=one.basis[here],
            )
        )
    return found, len(beyond)


def silent(keys: tuple[str, ...], count: FloatArray, past_count: FloatArray) -> dict[str, float]:
    """Slices that sent nothing where the median before is `LEAST_EXPECTED` or more: key → that median. [1]"""
    quiet: npt.NDArray[np.bool_] = (count == 0) & (past_count >= LEAST_EXPECTED)
    return {keys[int(place)]: float(past_count[place]) for place in np.flatnonzero(quiet)}


def feed_gaps(
    window: datetime,
    quiet: Mapping[tuple[str, str], Mapping[str, float]],
    sending: Mapping[str, Iterable[str]],
    parent: Callable[[Level, str], str] = parent_key,
) -> list[FeedGap]:
    """Gaps by slice; a slice is left out where its parent lacks the same.

    Parameters
    ----------
    quiet
        (level, indicator) → silent slices and their medians before.
    sending
        Level → keys of slices that sent anything of anything.
    """
    missing: dict[str, dict[str, dict[str, float]]] = {}
    for (name, indicator), slices in quiet.items():
        for key, median in slices.items():
            missing.setdefault(name, {}).setdefault(key, {})[indicator] = median
    alive = {name: set(keys) for name, keys in sending.items()}
    gaps = []
    for level in LEVELS.values():
        for key, medians in sorted(missing.get(level.name, {}).items()):
            lacking = set(medians)
            if level.parent is not None:
                lacking -= set(missing.get(level.parent, {}).get(parent(level, key), ()))
            if not lacking:
                continue
            whole = key not in alive.get(level.name, set())
            gaps.append(
                FeedGap(
                    window,
                    slice_of(level, key),
                    () if whole else tuple(sorted(lacking)),
                    max(medians[name] for name in lacking),
                )
            )
    return gaps
