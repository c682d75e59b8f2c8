"""Tables of this room: self-checks, their stages, verdicts with every version, and the rule sets behind them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cem.platform.db import Base


class CheckState(StrEnum):
    """How far a self-check is."""

    ACCEPTED = "accepted"
    DONE = "done"


class SelfCheck(Base):
    """One tap on "check my service". `snapshot` is the report form without the number."""

    __tablename__ = "self_checks"
    __table_args__ = (
        UniqueConstraint("caller", "idempotency_key"),
        Index("ix_self_checks_line", "subscriber_id", "accepted_at"),
        Index("ix_self_checks_open", "state", "deadline_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(String(40))
    caller: Mapped[str] = mapped_column(String(120))
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    body_sha256: Mapped[str] = mapped_column(String(64))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("self_checks.id"))
    state: Mapped[str] = mapped_column(String(16))
    service: Mapped[str] = mapped_column(String(32))
    stated: Mapped[str] = mapped_column(String(32))
    locale: Mapped[str] = mapped_column(String(16))
    dimensions: Mapped[dict[str, Any]]
    snapshot: Mapped[dict[str, Any]]
    fault_at: Mapped[datetime]
    accepted_at: Mapped[datetime]
    deadline_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    complained_at: Mapped[datetime | None]
    case_id: Mapped[str | None] = mapped_column(String(40))


class SelfCheckEvent(Base):
    """One stage of a self-check, in order; what the event stream shows."""

    __tablename__ = "self_check_events"

    self_check_id: Mapped[str] = mapped_column(ForeignKey("self_checks.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    body: Mapped[dict[str, Any]]


class VerdictRow(Base):
    """The current verdict of a self-check, in columns to list by; its documents are in its versions."""

    __tablename__ = "verdicts"
    __table_args__ = (
        Index("ix_verdicts_line", "subscriber_id", "decided_at"),
        Index("ix_verdicts_decided_at", "decided_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    self_check_id: Mapped[str] = mapped_column(ForeignKey("self_checks.id"), unique=True)
    subscriber_id: Mapped[str] = mapped_column(String(40))
    version: Mapped[int]
    domain: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(String(64))
    confidence: Mapped[float]
    service: Mapped[str] = mapped_column(String(32))
    province: Mapped[str] = mapped_column(String(128))
    city: Mapped[str] = mapped_column(String(128))
    fault_at: Mapped[datetime]
    decided_at: Mapped[datetime]
    took_ms: Mapped[int]
    handed_over: Mapped[bool]


class VerdictVersion(Base):
    """A verdict as it was reached once, with all that replays it. Never changed."""

    __tablename__ = "verdict_versions"

    verdict_id: Mapped[str] = mapped_column(ForeignKey("verdicts.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    decided_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(String(32))
    ruleset_sha256: Mapped[str] = mapped_column(String(64))
    document: Mapped[str] = mapped_column(Text)
    bundle: Mapped[str] = mapped_column(Text)


class RuleSetRow(Base):
    """The text of every rule set that a verdict was reached by, so that old verdicts stay replayable."""

    __tablename__ = "demarcation_rulesets"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(64))
    first_used_at: Mapped[datetime]
    text: Mapped[str] = mapped_column(Text)
