"""Stores a verdict: its row, a version that is never changed, the last stages, and what others make of it, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from cem.platform.db import new_id
from demarcation import repository
from demarcation.models import CheckState, SelfCheck, VerdictRow, VerdictVersion
from demarcation.ports import VerdictHook
from demarcation.repository import StoredEvent
from demarcation.verdict import Verdict, VerdictFact

_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True)
class Conclusion:
    """A verdict about to be stored, with what it was reached from; `change` is a re-check's finding."""

    verdict: Verdict
    bundle: Mapping[str, Any]
    ruleset_sha256: str
    decided_at: datetime
    took_ms: int
    reason: str
    change: Mapping[str, Any] | None = None


def store_conclusion(
    session: Session,
    check: SelfCheck,
    conclusion: Conclusion,
    events: Sequence[StoredEvent],
    hook: VerdictHook | None,
) -> dict[str, Any]:
    """Store it inside the caller's transaction; answers the verdict's document.

    A check that has a verdict already (a sweeper was quicker, or a slow process came back) gets a further version:
    what was said before stays.
    """
    row = repository.verdict_row(session, check.id)
    fresh = row is None
    verdict = conclusion.verdict
    if row is None:
        row = VerdictRow(
            id=new_id("vdt"),
            self_check_id=check.id,
            subscriber_id=check.subscriber_id,
            version=0,
            service=check.service,
            province=str(check.dimensions.get("province", "")),
            city=str(check.dimensions.get("city", "")),
            fault_at=check.fault_at,
            handed_over=check.complained_at is not None,
            domain="",
            cause="",
            confidence=0.0,
            decided_at=conclusion.decided_at,
            took_ms=0,
        )
    row.version += 1
    row.domain, row.cause = verdict.domain.value, verdict.cause
    row.confidence = verdict.confidence
    row.decided_at, row.took_ms = conclusion.decided_at, conclusion.took_ms
    if fresh:
        session.add(row)
        session.flush()
    document = {
        "id": row.id,
        "version": row.version,
        "self_check_id": check.id,
        "decided_at": conclusion.decided_at,
        "fault_at": check.fault_at,
        "service": check.service,
        "took_ms": conclusion.took_ms,
        "dimensions": {name: value for name, value in check.dimensions.items() if value},
        "change": conclusion.change,
        **verdict.document(),
    }
    session.add(
        VerdictVersion(
            verdict_id=row.id,
            version=row.version,
            decided_at=conclusion.decided_at,
            reason=conclusion.reason,
            ruleset_sha256=conclusion.ruleset_sha256,
            document=_encode(document).decode(),
            bundle=_encode(conclusion.bundle).decode(),
        )
    )
    if check.state != CheckState.DONE:
        check.state, check.finished_at = CheckState.DONE, conclusion.decided_at
    plain: dict[str, Any] = msgspec.json.decode(_encode(document))
    if not fresh:
        last = repository.last_sequence(session, check.id)
        events = [
            StoredEvent(last + 1 + place, event.kind, event.at, event.body)
            for place, event in enumerate(events)
            if event.kind == "verdict"
        ]
    filled = [
        StoredEvent(event.sequence, event.kind, event.at, plain if event.kind == "verdict" else event.body)
        for event in events
    ]
    repository.insert_events(session, check.id, filled)
    session.flush()
    if hook is not None:
        hook(session, fact_of(row, check))
    return plain


def fact_of(row: VerdictRow, check: SelfCheck) -> VerdictFact:
    """What other rooms hear of a verdict."""
    return VerdictFact(
        verdict_id=row.id,
        self_check_id=check.id,
        version=row.version,
        subscriber_id=row.subscriber_id,
        domain=row.domain,
        cause=row.cause,
        confidence=row.confidence,
        fault_at=row.fault_at,
        service=row.service,
        dimensions=dict(check.dimensions),
        handed_over=row.handed_over,
        re_check_of=check.parent_id,
    )
