"""The strongest witness: how other lines on the same segments fare, as evidence that a segment is broken.

For each segment (a cell, a gateway, a node, a source, an app version …) the users seen in closed windows, less
the line itself, are weighed as a Bayes factor between two beta-binomial models:

- *broken*: the share of bad users is Beta(2, 2): anything but the extremes, mean one half (Beta(50·p, 2) where the
  baseline p is above 4 %, so that broken is always expected to be worse than usual);
- *healthy*: the share is Beta(50·p, 50·(1−p)) with p the segment's own baseline: a share near p, as sure as 50
  earlier users make it.

With p = 2 % that gives, in log10: 3 bad of 10 → +1.5, 10 of 40 → +2.4, 1 of 20 → −1.0, 0 of 20 → −1.8. The two
priors were found by search over these four figures (project's demarcation notes); Beta(2, 2) against 50 users is
the only pair of whole numbers that reproduces all four to the digit given.

Pure: counts in, factors out. Which windows and which users are counted is the store's part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

BROKEN_ALPHA, BROKEN_BETA = 2.0, 2.0
"""Prior of the bad share in a broken segment."""

BASELINE_USERS = 50.0
"""How many users' worth of certainty a baseline has. [1]"""

BASELINE_RATIO = 0.02
"""Bad share of a segment without a history. [1] The project's demarcation notes, method step 2."""

BASELINE_LOW, BASELINE_HIGH = 0.002, 0.4
"""A baseline outside is not believed: below, one bad user would shout; above, the history itself is broken."""

ANOMALOUS_LOG10 = 1.0
"""A segment counts as anomalous from here: ten times likelier broken than healthy. Chosen here."""

HEALTHY_LOG10 = -0.8
"""And as healthy from here. Chosen here: 0 bad of about 8 users."""

SHARED_DIMENSIONS = ("cell", "area", "gateway", "city", "province", "node", "source")
"""Segments that other subscribers share and that can break; phone model and app version are looked at apart."""

PARENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cell": ("area", "city", "province", "gateway"),
        "area": ("city", "province"),
        "city": ("province",),
    }
)
"""Where the users of a segment are all users of another one."""


@dataclass(frozen=True, slots=True)
class PeerCounts:
    """Distinct users of one segment in the windows looked at, and in its baseline. [1]"""

    dimension: str
    value: str
    users: int
    bad_users: int
    baseline_users: int = 0
    baseline_bad_users: int = 0

    def without_self(self, *, bad: bool) -> PeerCounts:
        """The same counts less one line, where the store counted it in."""
        return replace(
            self, users=max(0, self.users - 1), bad_users=max(0, self.bad_users - (1 if bad else 0))
        )


@dataclass(frozen=True, slots=True)
class PeerFactor:
    """What the peers of one segment say: `log10` is what counts, `raw_log10` is before explaining away."""

    dimension: str
    value: str
    users: int
    bad_users: int
    baseline_ratio: float
    raw_log10: float
    log10: float
    explained_by: str = ""


def baseline_ratio(counts: PeerCounts) -> float:
    """The segment's own bad share, shrunk to 2 % by `BASELINE_USERS` users. [1]"""
    ratio = (counts.baseline_bad_users + BASELINE_RATIO * BASELINE_USERS) / (
        counts.baseline_users + BASELINE_USERS
    )
    return min(max(ratio, BASELINE_LOW), BASELINE_HIGH)


def log10_bayes_factor(bad: int, users: int, baseline: float = BASELINE_RATIO) -> float:
    """log10 of how much likelier `bad` of `users` is in a broken segment than in a healthy one.

    Parameters
    ----------
    bad, users
        Distinct peers with bad experience, and all of them; 0 ≤ bad ≤ users. [1]
    baseline
        Bad share of the healthy segment, in (0, 1). [1]

    Returns
    -------
    0 with no users; the binomial coefficient cancels. [log10]

    Raises
    ------
    ValueError
        Counts or baseline out of range.

    References
    ----------
    Beta-binomial marginal likelihoods: Gelman et al., Bayesian Data Analysis, 3rd ed. (2013), §2.4 and §7.4.
    """
    if not 0 <= bad <= users or not 0 < baseline < 1:
        raise ValueError("bad must lie in 0…users and baseline in (0, 1)")
    healthy_alpha = BASELINE_USERS * baseline
    healthy_beta = BASELINE_USERS - healthy_alpha
    broken_alpha = max(BROKEN_ALPHA, healthy_alpha)  # so that one more bad peer never speaks for health
    broken = _log_beta(broken_alpha + bad, BROKEN_BETA + users - bad) - _log_beta(broken_alpha, BROKEN_BETA)
    healthy = _log_beta(healthy_alpha + bad, healthy_beta + users - bad) - _log_beta(
        healthy_alpha, healthy_beta
    )
    if bad <= baseline * users:  # no worse than its own baseline is never a sign of a fault
        return min(0.0, (broken - healthy) / math.log(10))
    return (broken - healthy) / math.log(10)


def weigh_peers(counts: Sequence[PeerCounts]) -> tuple[PeerFactor, ...]:
    """Factor of every segment, with what a better segment explains taken off.

    1. A child whose parent fails *outside* the child too is explained by the parent; a parent that is healthy
       outside its failing child is explained by the child (parent and child consistent).
    2. Across hierarchies (a bad source makes every cell look bad) the anomalous segment with the highest bad
       share is blamed; another one keeps of its own factor only the part by which its share approaches that
       one, measured from its baseline. Chosen here: a mixture of healthy and broken users dilutes in
       proportion.
    """
    factors = [
        PeerFactor(one.dimension, one.value, one.users, one.bad_users, baseline, value, value)
        for one in sorted(counts, key=lambda one: (one.dimension, one.value))
        if 0 <= one.bad_users <= one.users
        for baseline in (baseline_ratio(one),)
        for value in (round(log10_bayes_factor(one.bad_users, one.users, baseline), 6),)
    ]
    return _explain_across(_explain_hierarchy(factors))


def _explain_hierarchy(factors: list[PeerFactor]) -> list[PeerFactor]:
    by_dimension = {factor.dimension: factor for factor in factors}
    for child_name, parent_names in PARENTS.items():
        for parent_name in parent_names:
            child, parent = by_dimension.get(child_name), by_dimension.get(parent_name)
            if child is None or parent is None or child.raw_log10 < ANOMALOUS_LOG10:
                continue
            if parent.users < child.users or parent.bad_users < child.bad_users:
                continue  # not nested after all (counted at another moment)
            outside = log10_bayes_factor(
                parent.bad_users - child.bad_users, parent.users - child.users, parent.baseline_ratio
            )
            if outside >= ANOMALOUS_LOG10:
                by_dimension[child_name] = replace(
                    child, log10=min(child.log10, 0.0), explained_by=parent_name
                )
            elif parent.log10 > 0:
                by_dimension[parent_name] = replace(
                    parent, log10=min(parent.log10, outside), explained_by=child_name
                )
    return [by_dimension[factor.dimension] for factor in factors]


def _explain_across(factors: Iterable[PeerFactor]) -> tuple[PeerFactor, ...]:
    ordered = list(factors)
    anomalous = [factor for factor in ordered if factor.log10 >= ANOMALOUS_LOG10]
    if not anomalous:
        return tuple(ordered)
    best = max(anomalous, key=lambda factor: (_share(factor), factor.users, factor.dimension))
    kept = []
    for factor in ordered:
        if factor.dimension == best.dimension or factor.log10 <= 0:
            kept.append(factor)
            continue
        room = max(_share(best) - factor.baseline_ratio, 1e-9)
        part = min(max((_share(factor) - factor.baseline_ratio) / room, 0.0), 1.0)
        kept.append(
            factor
            if part >= 0.9  # nearly as bad: both stay suspects
            else replace(
                factor,
                log10=round(factor.log10 * part * part, 6),
                explained_by=factor.explained_by or best.dimension,
            )
        )
    return tuple(kept)


def shared_health(factors: Sequence[PeerFactor]) -> tuple[bool | None, bool | None]:
    """Whether the shared segments are (healthy, anomalous); None where too few peers tell.

    Healthy needs at least one segment that says so and none above the middle; anomalous needs one.
    """
    shared = [factor for factor in factors if factor.dimension in SHARED_DIMENSIONS and factor.users > 0]
    if not shared:
        return None, None
    anomalous = any(factor.raw_log10 >= ANOMALOUS_LOG10 for factor in shared)
    telling = [factor for factor in shared if abs(factor.raw_log10) >= -HEALTHY_LOG10]
    if not telling:
        return None, (True if anomalous else None)
    healthy = not anomalous and all(factor.raw_log10 < 0 for factor in telling)
    return healthy, anomalous


def _share(factor: PeerFactor) -> float:
    """Posterior mean of the bad share in a broken segment. [1]"""
    return (factor.bad_users + BROKEN_ALPHA / 2) / (factor.users + BROKEN_ALPHA)


def _log_beta(alpha: float, beta: float) -> float:
    return math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
