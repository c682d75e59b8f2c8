"""All SQL of this room. Nothing here commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cem.platform.db import insert_ignore
from demarcation.models import (
    CheckState,
    RuleSetRow,
    SelfCheck,
    SelfCheckEvent,
    VerdictRow,
    VerdictVersion,
)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One stage of a self-check."""

    sequence: int
    kind: str
    at: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """A verdict with its current version's document (canonical JSON)."""

    row: VerdictRow
    document: str


@dataclass(frozen=True, slots=True)
class VerdictFilter:
    """What to list; None takes all. `before` is (decided_at, id) to go on below."""

    subscriber_id: str | None = None
    domain: str | None = None
    cause: str | None = None
    city: str | None = None
    since: datetime | None = None
    before: tuple[datetime, str] | None = None


def insert_check(session: Session, values: Mapping[str, Any]) -> bool:
    """Insert a check; False where the caller's idempotency key is there already."""
    return insert_ignore(session, SelfCheck.__table__, [values]) == 1  # type: ignore[arg-type]


def check_by_key(session: Session, caller: str, key: str) -> SelfCheck | None:
    """The check that a caller made with this key."""
    return session.scalars(
        select(SelfCheck).where(SelfCheck.caller == caller, SelfCheck.idempotency_key == key)
    ).one_or_none()


def get_check(session: Session, check_id: str) -> SelfCheck | None:
    """A check by id."""
    return session.get(SelfCheck, check_id)


def lock_check(session: Session, check_id: str) -> SelfCheck:
    """A check that is there, locked until the transaction ends (SQLite's writer has everything locked)."""
    return session.scalars(select(SelfCheck).where(SelfCheck.id == check_id).with_for_update()).one()


def checks_since(session: Session, subscriber_id: str, since: datetime) -> tuple[int, datetime | None]:
    """How many checks a line made since then, and when the first of them was."""
    count, first = session.execute(
        select(func.count(), func.min(SelfCheck.accepted_at)).where(
            SelfCheck.subscriber_id == subscriber_id, SelfCheck.accepted_at > since
        )
    ).one()
    return int(count), first


def latest_check(session: Session, subscriber_id: str) -> SelfCheck | None:
    """The latest check of a line."""
    return session.scalars(
        select(SelfCheck)
        .where(SelfCheck.subscriber_id == subscriber_id)
        .order_by(SelfCheck.accepted_at.desc())
        .limit(1)
    ).one_or_none()


def left_behind(session: Session, deadline_before: datetime, limit: int) -> Sequence[SelfCheck]:
    """Checks that should have had their verdict by then and have none, the oldest first."""
    return session.scalars(
        select(SelfCheck)
        .where(SelfCheck.state == CheckState.ACCEPTED, SelfCheck.deadline_at < deadline_before)
        .order_by(SelfCheck.deadline_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()


def insert_events(session: Session, check_id: str, events: Sequence[StoredEvent]) -> None:
    """Add stages; those that are there already stay as they are."""
    insert_ignore(
        session,
        SelfCheckEvent.__table__,  # type: ignore[arg-type]
        [
            {
                "self_check_id": check_id,
                "sequence": event.sequence,
                "kind": event.kind,
                "at": event.at,
                "body": dict(event.body),
            }
            for event in events
        ],
    )


def events_after(session: Session, check_id: str, after: int) -> list[StoredEvent]:
    """Stages beyond a sequence, in order."""
    rows = session.scalars(
        select(SelfCheckEvent)
        .where(SelfCheckEvent.self_check_id == check_id, SelfCheckEvent.sequence > after)
        .order_by(SelfCheckEvent.sequence)
    )
    return [StoredEvent(row.sequence, row.kind, row.at, dict(row.body)) for row in rows]


def last_sequence(session: Session, check_id: str) -> int:
    """The highest sequence of a check's stages; -1 where it has none."""
    found = session.scalar(
        select(func.max(SelfCheckEvent.sequence)).where(SelfCheckEvent.self_check_id == check_id)
    )
    return -1 if found is None else int(found)


def verdict_of_check(session: Session, check_id: str) -> StoredVerdict | None:
    """A check's verdict in its current version."""
    return _stored(session, VerdictRow.self_check_id == check_id)


def get_verdict(session: Session, verdict_id: str) -> StoredVerdict | None:
    """A verdict in its current version."""
    return _stored(session, VerdictRow.id == verdict_id)


def verdict_row(session: Session, check_id: str) -> VerdictRow | None:
    """A check's verdict without its document."""
    return session.scalars(select(VerdictRow).where(VerdictRow.self_check_id == check_id)).one_or_none()


def _stored(session: Session, condition: Any) -> StoredVerdict | None:
    found = session.execute(
        select(VerdictRow, VerdictVersion.document)
        .join(
            VerdictVersion,
            (VerdictVersion.verdict_id == VerdictRow.id) & (VerdictVersion.version == VerdictRow.version),
        )
        .where(condition)
    ).one_or_none()
    return None if found is None else StoredVerdict(found[0], found[1])


def versions_of(session: Session, verdict_id: str) -> list[VerdictVersion]:
    """Every version of a verdict, in order."""
    return list(
        session.scalars(
            select(VerdictVersion)
            .where(VerdictVersion.verdict_id == verdict_id)
            .order_by(VerdictVersion.version)
        )
    )


def list_verdicts(session: Session, wanted: VerdictFilter, limit: int) -> list[VerdictRow]:
    """Verdicts, the latest first."""
    statement = select(VerdictRow)
    for column, value in (
        (VerdictRow.subscriber_id, wanted.subscriber_id),
        (VerdictRow.domain, wanted.domain),
        (VerdictRow.cause, wanted.cause),
        (VerdictRow.city, wanted.city),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.since is not None:
        statement = statement.where(VerdictRow.decided_at >= wanted.since)
    if wanted.before is not None:
        at, verdict_id = wanted.before
        statement = statement.where(
            (VerdictRow.decided_at < at) | ((VerdictRow.decided_at == at) & (VerdictRow.id < verdict_id))
        )
    statement = statement.order_by(VerdictRow.decided_at.desc(), VerdictRow.id.desc()).limit(limit)
    return list(session.scalars(statement))


@dataclass(frozen=True, slots=True)
class HourOfVerdicts:
    """What the console shows of the last hour."""

    checks: int
    by_domain: Mapping[str, int]
    took_ms: Sequence[int]


def recent_activity(session: Session, now: datetime) -> HourOfVerdicts:
    """Checks and verdicts of the last hour; at most a thousand durations, the latest. [ms]"""
    since = now - timedelta(hours=1)
    checks = session.scalar(select(func.count()).select_from(SelfCheck).where(SelfCheck.accepted_at >= since))
    domains = session.execute(
        select(VerdictRow.domain, func.count())
        .where(VerdictRow.decided_at >= since)
        .group_by(VerdictRow.domain)
        .order_by(VerdictRow.domain)
    ).all()
    took = session.scalars(
        select(VerdictRow.took_ms)
        .where(VerdictRow.decided_at >= since)
        .order_by(VerdictRow.decided_at.desc())
        .limit(1_000)
    ).all()
    return HourOfVerdicts(int(checks or 0), {domain: int(count) for domain, count in domains}, list(took))


def keep_ruleset(session: Session, sha256: str, version: str, text: str, now: datetime) -> None:
    """Keep a rule set's text, once."""
    insert_ignore(
        session,
        RuleSetRow.__table__,  # type: ignore[arg-type]
        [{"sha256": sha256, "version": version, "text": text, "first_used_at": now}],
    )


def get_ruleset(session: Session, sha256: str) -> RuleSetRow | None:
    """A rule set by its hash."""
    return session.get(RuleSetRow, sha256)
