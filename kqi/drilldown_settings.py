"""What the drill-down may be told: sizes of candidates, the false-discovery bound, how much there is to name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DrilldownSettings:
    """Bounds of the drill-down.

    Parameters
    ----------
    max_dimensions
        Longest scope, 1–3. [1]
    min_total, min_bad
        Fewest sessions and bad sessions of a candidate. [1] 20 and 5: fewer say little about a rate.
    min_ratio
        Least ratio of bad sessions to expected ones. [1] Chosen here: a fifth more than normal is what a
        crew could still find.
    min_share
        Least share of the whole excess that a further cause explains; the first one need not. [1]
        Chosen here: below half a percent it is not why the figures are bad now.
    false_discovery
        Bound of the false-discovery rate over all candidates of a case. [1] Also the bound of the chance that a
        healthy case names anything, as far as the noise is as estimated.
    max_findings
        Most causes named. [1]
    top
        Alternatives reported beside the causes. [1]
    unknown_dispersion
        Squared coefficient of variation of a healthy rate from period to period where fewer than three periods
        tell. [1] Chosen here: 14 %.
    least_dispersion
        Least of it whatever the periods say. [1] Chosen here: 7 %; few periods may agree by chance.
    """

    max_dimensions: int = 3
    min_total: float = 20
    min_bad: float = 5
    min_ratio: float = 1.2
    min_share: float = 0.005
    false_discovery: float = 0.01
    max_findings: int = 10
    top: int = 5
    unknown_dispersion: float = 0.02
    least_dispersion: float = 0.005

    def __post_init__(self) -> None:
        if not 1 <= self.max_dimensions <= 3:
            raise ValueError("max_dimensions is 1, 2 or 3")
        if not 0 < self.false_discovery < 1:
            raise ValueError("false_discovery lies between 0 and 1")
