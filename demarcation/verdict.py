"""What a self-check concludes: values only, and the plain document they are stored and shown as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from demarcation.taxonomy import Cause, Domain, Text

ENGINE_VERSION = "1"
"""Changes whenever the same evidence, rules and settings could lead to another verdict."""

CALIBRATION = "expert priors, uncalibrated"
"""What stands behind the confidence until a model trained on adjudicated cases replaces it."""


@dataclass(frozen=True, slots=True)
class VerdictFact:
    """What other rooms hear of a verdict. `dimensions` are those of the fault, '' where unknown."""

    verdict_id: str
    self_check_id: str
    version: int
    subscriber_id: str
    domain: str
    cause: str
    confidence: float
    fault_at: datetime
    service: str
    dimensions: Mapping[str, str]
    handed_over: bool = False
    re_check_of: str | None = None
    urgency: str = "normal"


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule's part in a verdict: what it says, how much it weighs, and the facts it read.

    `log10` is its likelihood ratio for `cause` as weighed (negative: against). `facts` are (key, value) pairs.
    """

    rule: str
    cause: str
    says: Text
    log10: float
    facts: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class MissingSource:
    """A source whose evidence did not arrive: why, and how long it was given. [ms]"""

    source: str
    reason: str
    budget_ms: int


@dataclass(frozen=True, slots=True)
class NextStep:
    """A fact not known that would settle most: `gain` is how much it could move the leading causes. [log10]"""

    key: str
    label: Text
    source: str
    gain: float


@dataclass(frozen=True, slots=True)
class Suspect:
    """A cause with its probability of being present. [1, 0–1]"""

    cause: str
    domain: Domain
    probability: float


@dataclass(frozen=True)
class Verdict:
    """The conclusion. Probabilities lie in 0–1 and are `CALIBRATION`.

    `confidence` is the probability that the named side has a fault (of nothing being wrong, for `no_fault`; of the
    likeliest side, for `undetermined`, which is then too low to name it). `sides` need not add up to 1: two sides
    can both be at fault.
    """

    domain: Domain
    cause: str
    confidence: float
    cause_confidence: float
    sides: Mapping[str, float]
    suspects: tuple[Suspect, ...]
    secondary: tuple[Suspect, ...]
    symptoms: tuple[str, ...]
    reasons_for: tuple[Reason, ...]
    reasons_against: tuple[Reason, ...]
    noted: tuple[Reason, ...]
    missing: tuple[MissingSource, ...]
    would_settle: tuple[NextStep, ...]
    summary: Text
    advice: tuple[Mapping[str, Any], ...] = field(default=())
    covered_by: tuple[Mapping[str, Any], ...] = field(default=())

    def document(self) -> dict[str, Any]:
        """JSON values; the same verdict always gives the same document."""
        return {
            "domain": self.domain.value,
            "cause": self.cause,
            "confidence": self.confidence,
            "cause_confidence": self.cause_confidence,
            "calibration": CALIBRATION,
            "summary": _text(self.summary),
            "symptoms": list(self.symptoms),
            "probabilities": dict(self.sides),
            "suspects": [_suspect(one) for one in self.suspects],
            "secondary": [_suspect(one) for one in self.secondary],
            "evidence_for": [_reason(one) for one in self.reasons_for],
            "evidence_against": [_reason(one) for one in self.reasons_against],
            "noted": [_reason(one) for one in self.noted],
            "missing": [
                {"source": one.source, "reason": one.reason, "budget_ms": one.budget_ms}
                for one in self.missing
            ],
            "would_settle": [
                {"key": one.key, "label": _text(one.label), "source": one.source, "gain": one.gain}
                for one in self.would_settle
            ],
            "suggestions": [dict(one) for one in self.advice],
            "covered_by": [dict(one) for one in self.covered_by],
        }


def advice_of(cause: Cause) -> dict[str, Any]:
    """What to tell the customer, the agent and the engineer about a cause."""
    advice: dict[str, Any] = {
        "cause": cause.id,
        "owner": cause.owner,
        "urgency": cause.urgency.value,
        "meaning": _text(cause.meaning),
        "customer": _text(cause.customer),
        "agent": _text(cause.agent),
        "engineer": [_text(step) for step in cause.engineer],
    }
    if cause.android and cause.ios:
        advice["where"] = {"android": _text(cause.android), "ios": _text(cause.ios)}
    return advice


def _text(text: Text) -> dict[str, str]:
    return {"zh": text.zh, "en": text.en}


def _suspect(one: Suspect) -> dict[str, Any]:
    return {"cause": one.cause, "domain": one.domain.value, "probability": one.probability}


def _reason(one: Reason) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "cause": one.cause,
        "says": _text(one.says),
        "log10": one.log10,
        "facts": dict(one.facts),
    }
