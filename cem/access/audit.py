"""The audit log: who looked up, changed or was refused what. Committed before the answer goes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cem.access.models import AuditEntry
from cem.access.records import AuditRecord
from cem.platform.clock import Clock
from cem.platform.db import Database, new_id
from cem.platform.observe import REQUEST_ID
from cem.platform.security import Principal

_LIKE_A_NUMBER = re.compile(r"\+?[0-9][0-9 ().-]{5,18}[0-9]")
_LONG_DIGITS = re.compile(r"\+?[0-9]{7,}")
_REMOVED = "[number removed]"


@dataclass(frozen=True)
class AuditFilter:
    """Which entries to read; None does not filter. `since` is inclusive, `until` exclusive."""

    principal_id: str | None = None
    action: str | None = None
    subject: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def current_request_id() -> str | None:
    """The request id that the application bound for logging, if any."""
    return REQUEST_ID.get()


class AuditLog:
    """Writes and reads the log. Entries are never changed or removed here."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def record(
        self,
        principal: Principal | None,
        action: str,
        subject: str,
        outcome: str = "ok",
        request_id: str | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        """Write one entry in a transaction of its own; returns once it is on disk.

        Parameters
        ----------
        principal
            Who did it; None for a caller whom nobody vouches for (a failed login).
        action
            A verb with its room, such as `customers.lookup`.
        subject
            Id of what it was done to: a subscriber_id, an order, a user. Never a number.
        request_id
            None takes the one bound for logging.
        reason
            Words of the caller; digits that could be a number are removed.

        Raises
        ------
        ValueError
            where `subject` looks like a telephone number.
        """
        with self._database.write() as session:
            self.record_in(
                session, principal, action, subject, outcome=outcome, request_id=request_id, reason=reason
            )

    def record_in(
        self,
        session: Session,
        principal: Principal | None,
        action: str,
        subject: str,
        *,
        outcome: str = "ok",
        request_id: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Write one entry inside the caller's transaction: both happen or neither."""
        if _LIKE_A_NUMBER.fullmatch(subject):
            raise ValueError("the subject of an audit entry is an id, never a number")
        session.add(
            AuditEntry(
                id=new_id("aud"),
                at=self._clock.now(),
                principal_kind="anonymous" if principal is None else principal.kind.value,
                principal_id="" if principal is None else principal.id,
                principal_name="" if principal is None else principal.display[:120],
                action=action,
                subject=subject,
                outcome=outcome,
                request_id=(request_id or current_request_id() or "")[:64] or None,
                reason=None if reason is None else _without_numbers(reason)[:500],
            )
        )
        session.flush()

    def page(
        self, wanted: AuditFilter, *, limit: int, before: str | None = None
    ) -> tuple[Sequence[AuditRecord], str | None]:
        """Newest entries first, older than the entry `before`; with the cursor of the next page, if any."""
        query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit + 1)
        for column, value in (
            (AuditEntry.principal_id, wanted.principal_id),
            (AuditEntry.action, wanted.action),
            (AuditEntry.subject, wanted.subject),
            (AuditEntry.outcome, wanted.outcome),
        ):
            if value is not None:
                query = query.where(column == value)
        if wanted.since is not None:
            query = query.where(AuditEntry.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(AuditEntry.at < wanted.until)
        if before is not None:
            query = query.where(AuditEntry.id < before)
        with self._database.read() as session:
            found = [AuditRecord.of(row) for row in session.scalars(query)]
        entries = found[:limit]
        return entries, entries[-1].id if len(found) > limit else None


def _without_numbers(text: str) -> str:
    return _LONG_DIGITS.sub(_REMOVED, _LIKE_A_NUMBER.sub(_REMOVED, text))
