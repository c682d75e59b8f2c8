"""What a check after the customer acted proves: is the fault of the check before gone? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from demarcation.casefile import CaseFile
from demarcation.conditions import Ternary
from demarcation.evidence import EvidenceSet
from demarcation.rules import RuleSet, evaluate
from demarcation.taxonomy import FAULT_DOMAINS, Domain
from demarcation.verdict import Verdict

DISPROVED_BY = -1.0
"""A rule at least so strong, known not to hold, disproves its cause. [log10] Chosen here."""


class Change(StrEnum):
    """What became of the fault."""

    GONE = "gone"
    STILL = "still"
    ANOTHER = "another"
    UNCLEAR = "unclear"
    NONE_BEFORE = "none_before"


_SAYS = {
    Change.GONE: ("原先的问题已解决", "The problem found before is gone"),
    Change.STILL: ("原先的问题仍然存在", "The problem found before is still there"),
    Change.ANOTHER: (
        "原先的问题已解决，但发现了另一个问题",
        "The problem found before is gone; another one was found",
    ),
    Change.UNCLEAR: (
        "尚不能确认原先的问题是否解决",
        "Whether the problem found before is gone cannot be told",
    ),
    Change.NONE_BEFORE: ("上次检测未发现故障", "The check before found no fault"),
}


def compare(before: Mapping[str, Any], case: CaseFile, after: Verdict, rules: RuleSet) -> dict[str, Any]:
    """The change between the verdict before (its document) and the one after, as a document.

    `fault_gone` is null where it cannot be told.
    """
    cause, domain = str(before.get("cause", "")), str(before.get("domain", ""))
    named = {after.cause, *(one.cause for one in after.secondary)}
    if domain not in {one.value for one in FAULT_DOMAINS}:
        change = Change.NONE_BEFORE if domain == Domain.NO_FAULT else Change.UNCLEAR
        if after.domain is Domain.NO_FAULT:
            change = Change.GONE if domain == Domain.UNDETERMINED else Change.NONE_BEFORE
        elif after.domain in FAULT_DOMAINS:
            change = Change.ANOTHER
    elif cause in named:
        change = Change.STILL
    elif after.domain is Domain.NO_FAULT:
        change = Change.GONE
    elif after.domain in FAULT_DOMAINS:
        change = Change.ANOTHER if _disproved(cause, case, rules) else Change.UNCLEAR
    else:
        change = Change.GONE if _disproved(cause, case, rules) else Change.UNCLEAR
    gone = {Change.GONE: True, Change.ANOTHER: True, Change.STILL: False}.get(change)
    zh, en = _SAYS[change]
    return {
        "change": change.value,
        "fault_gone": gone,
        "says": {"zh": zh, "en": en},
        "before": {"domain": domain, "cause": cause},
        "after": {"domain": after.domain.value, "cause": after.cause},
    }


def _disproved(cause: str, case: CaseFile, rules: RuleSet) -> bool:
    """Whether a strong rule of the cause is known not to hold and none of its rules fires."""
    states = [
        state
        for state in evaluate(rules, EvidenceSet(case.evidence), frozenset(), case.service)
        if state.rule.cause == cause and ":" not in state.rule.id and state.weight > 0
    ]
    if any(state.state is Ternary.FIRED for state in states):
        return False
    return any(state.state is Ternary.NOT_FIRED and state.strength <= DISPROVED_BY for state in states)
