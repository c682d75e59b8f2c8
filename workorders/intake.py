"""What this room hears of verdicts: which of them leave a fault with the operator, as a pure decision.

A verdict of the network or the platform, on a cause that can be shared, makes a case. What lies in the terminal
or in the account is the customer's to mend, and an undetermined verdict names nobody: these make a case only
when somebody hands the fault over. A re-check that finds no fault closes the case it checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from demarcation.verdict import VerdictFact
from workorders.grouping import Grouping, group_of
from workorders.scope import width_of

OPERATOR_DOMAINS = frozenset({"network", "platform"})
"""Domains whose faults the operator mends unasked."""

KEPT_DIMENSIONS = (
    "province",
    "city",
    "area",
    "cell",
    "rat",
    "slice",
    "gateway",
    "source",
    "node",
    "model",
    "os",
    "app_version",
    "device_type",
)
"""Dimensions that a case keeps. Others are dropped."""


LONGEST_VALUE = 80
"""Characters of a dimension's value that a case keeps: the width of its columns. [1]"""


class Origin(StrEnum):
    """What made a case."""

    VERDICT = "verdict"
    COMPLAINT = "complaint"


class HandedOverBy(StrEnum):
    """Who handed a fault over."""

    CUSTOMER = "customer"
    AGENT = "agent"


def dimensions_of(fact: VerdictFact) -> dict[str, str]:
    """The known dimensions of a verdict's fault, as far as every store can keep them."""
    known = {name: _storable(fact.dimensions.get(name, "")) for name in KEPT_DIMENSIONS}
    return {name: value for name, value in known.items() if value}


def _storable(value: str) -> str:
    """A dimension's value without what PostgreSQL cannot hold, cut to `LONGEST_VALUE`."""
    return value.replace("\0", "")[:LONGEST_VALUE]


def grouping_of(fact: VerdictFact) -> Grouping:
    """Where a case of this verdict belongs."""
    return group_of(
        fact.cause,
        fact.domain,
        dimensions_of(fact),
        service=fact.service,
        subscriber_id=fact.subscriber_id,
    )


def leaves_fault_with_operator(fact: VerdictFact) -> bool:
    """Whether the verdict alone makes a case."""
    return fact.domain in OPERATOR_DOMAINS and not grouping_of(fact).individual


def verdict_values(fact: VerdictFact) -> dict[str, Any]:
    """What a case takes from its verdict, by column."""
    grouping = grouping_of(fact)
    dimensions: Mapping[str, str] = dimensions_of(fact)
    return {
        "verdict_id": fact.verdict_id,
        "verdict_version": fact.version,
        "domain": fact.domain,
        "cause": fact.cause,
        "segment": grouping.segment,
        "owner": grouping.owner,
        "individual": grouping.individual,
        "service": fact.service,
        "province": dimensions.get("province", ""),
        "city": dimensions.get("city", ""),
        "dimensions": dict(dimensions),
        "scope": grouping.scope.as_dict(),
        "scope_width": width_of(grouping.segment, grouping.scope),
        "group_key": grouping.key(),
        "confidence": fact.confidence,
        "fault_at": fact.fault_at,
    }
