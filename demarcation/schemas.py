"""Answers of this room on the wire, as models for documentation; a test holds every answer against them.

Answers are written from stored documents without passing through these models, so that what was decided is shown byte
for byte.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DomainName = Literal["terminal", "network", "platform", "no_fault", "undetermined"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextAnswer(_Model):
    """One sentence in both languages."""

    zh: str
    en: str


class ReasonAnswer(_Model):
    """One rule's part in the verdict."""

    rule: str = Field(description="Stable id of the rule.")
    cause: str = Field(description="Cause it speaks for or against.")
    says: TextAnswer
    log10: float = Field(description="Likelihood ratio as weighed, log10; negative speaks against the cause.")
    facts: dict[str, Any] = Field(description="The evidence it read, by key; units are in the key's name.")


class SuspectAnswer(_Model):
    """A cause and how likely it is present."""

    cause: str
    domain: DomainName
    probability: float = Field(description="0–1, by expert priors.")


class MissingAnswer(_Model):
    """A source whose evidence did not arrive."""

    source: str
    reason: str
    budget_ms: int = Field(description="Time it was given. [ms]")


class NextStepAnswer(_Model):
    """A fact that is not known and would settle most."""

    key: str
    label: TextAnswer
    source: str = Field(
        description="Where it would come from: terminal, line, peers, account, alarms, orders."
    )
    gain: float = Field(description="How far it could move the leading causes. [log10]")


class WhereAnswer(_Model):
    """Path of the setting to change."""

    android: TextAnswer
    ios: TextAnswer


class SuggestionAnswer(_Model):
    """What to tell whom about one cause."""

    cause: str
    owner: str
    urgency: str
    meaning: TextAnswer
    customer: TextAnswer
    agent: TextAnswer
    engineer: list[TextAnswer]
    where: WhereAnswer | None = None


class CoveringOrderAnswer(_Model):
    """An open work order that covers the place."""

    order_id: str
    number: str
    cause: str
    domain: str
    scope: dict[str, str]
    opened_at: datetime
    affected: int


class BriefAnswer(_Model):
    """Side and cause."""

    domain: str
    cause: str


class ChangeAnswer(_Model):
    """What a re-check found about the fault of the check before."""

    change: Literal["gone", "still", "another", "unclear", "none_before"]
    fault_gone: bool | None = Field(description="Null where it cannot be told.")
    says: TextAnswer
    before: BriefAnswer
    after: BriefAnswer


class VerdictAnswer(_Model):
    """A verdict."""

    id: str
    version: int = Field(description="Rises when later evidence changed it; earlier versions stay readable.")
    self_check_id: str
    decided_at: datetime
    fault_at: datetime
    service: str
    took_ms: int = Field(description="From acceptance to the decision. [ms]")
    dimensions: dict[str, str]
    change: ChangeAnswer | None
    domain: DomainName
    cause: str = Field(description="Of the taxonomy; empty for `undetermined`.")
    confidence: float = Field(
        description="Probability, 0–1, that the named side has a fault (for `no_fault`: that nothing is wrong; for "
        "`undetermined`: of the likeliest side, too low to name it)."
    )
    cause_confidence: float = Field(description="Probability, 0–1, that this very cause is present.")
    calibration: str = Field(description="What stands behind the probabilities.")
    summary: TextAnswer
    symptoms: list[str]
    probabilities: dict[str, float] = Field(
        description="By side, and `unknown`. Two sides can both be at fault, so they need not add up to 1."
    )
    suspects: list[SuspectAnswer]
    secondary: list[SuspectAnswer] = Field(description="Further causes that are present too, most likely.")
    evidence_for: list[ReasonAnswer]
    evidence_against: list[ReasonAnswer]
    noted: list[ReasonAnswer] = Field(description="Facts that are there but cannot explain the symptom.")
    missing: list[MissingAnswer]
    would_settle: list[NextStepAnswer]
    suggestions: list[SuggestionAnswer]
    covered_by: list[CoveringOrderAnswer]


class ComplaintAnswer(_Model):
    """A fault handed over."""

    at: datetime
    case_id: str | None


class LinksAnswer(_Model):
    """Where to go on."""

    self: str
    events: str
    re_check: str
    complaint: str


class SelfCheckAnswer(_Model):
    """A self-check; `verdict` is null while it runs."""

    id: str
    state: Literal["accepted", "done"]
    service: str
    symptom: str
    locale: str = Field(description="As asked for, BCP 47; texts come in both languages in any case.")
    re_check_of: str | None
    accepted_at: datetime
    deadline_at: datetime
    finished_at: datetime | None
    verdict: VerdictAnswer | None
    complaint: ComplaintAnswer | None
    links: LinksAnswer


class VerdictListItem(_Model):
    """A verdict of a list."""

    id: str
    self_check_id: str
    subscriber_id: str
    version: int
    domain: DomainName
    cause: str
    confidence: float
    service: str
    province: str
    city: str
    fault_at: datetime
    decided_at: datetime
    took_ms: int
    handed_over: bool


class VerdictPage(_Model):
    """Verdicts, the latest first."""

    items: list[VerdictListItem]
    next_cursor: str | None


class VersionAnswer(_Model):
    """One version of a verdict."""

    version: int
    decided_at: datetime
    reason: str


class VerdictDetail(VerdictAnswer):
    """A verdict with its line and its versions."""

    subscriber_id: str
    handed_over: bool
    versions: list[VersionAnswer]
