"""What an operator can set of this room; the wiring fills it from the service's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from demarcation.breaker import BreakerSettings
from demarcation.decide import DecisionSettings


@dataclass(frozen=True)
class SelfCheckSettings:
    """Parameters of self-checks.

    Parameters
    ----------
    default_deadline_s, longest_deadline_s
        Time a verdict gets unless a caller says otherwise, and the most a caller may give. [s]
    default_wait_s
        How long a POST waits for the verdict unless a caller says otherwise. [s]
    reserve_s, reserve_each_s
        Kept of the deadline for deciding and storing: the first, or so much for each check under way where that is
        more; at most half of the deadline. [s] Chosen here: a verdict takes about 12 ms of one processor to reach,
        to store and to send, so that a burst costs evidence of slow sources, never the answer's time.
    snapshot_budget_s
        Time that storing the snapshot as a report gets. [s]
    per_line_per_hour
        Self-checks of one line in an hour; then 429. [1]
    provisioned_apns
        APNs that are right for any line; none: only an upstream can tell. Lower-case.
    lowest_app_versions
        Lowest supported app version by operating system, `""` for any; empty: not checked.
    sweep_grace
        How long after its deadline a check counts as left behind by a dead process.
    """

    default_deadline_s: float = 5.0
    longest_deadline_s: float = 20.0
    default_wait_s: float = 5.0
    reserve_s: float = 1.0
    reserve_each_s: float = 0.015
    snapshot_budget_s: float = 2.0
    per_line_per_hour: int = 60
    provisioned_apns: tuple[str, ...] = ()
    lowest_app_versions: Mapping[str, str] = field(default_factory=dict)
    sweep_grace: timedelta = timedelta(seconds=5)
    decision: DecisionSettings = field(default_factory=DecisionSettings)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
