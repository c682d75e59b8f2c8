"""Stored verdicts for staff and other systems: lists, one with its versions, the bundle that replays it. Audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from cem.platform.aio import run_blocking
from cem.platform.clock import Clock
from cem.platform.db import Database
from cem.platform.errors import InvalidInput, NotFound
from cem.platform.security import Principal
from demarcation import repository
from demarcation.models import VerdictRow
from demarcation.ports import AuditPort
from demarcation.repository import HourOfVerdicts, VerdictFilter


@dataclass(frozen=True, slots=True)
class LatestOfLine:
    """What a line checked last; None where it never did."""

    self_check_id: str | None = None
    verdict_id: str | None = None
    self_checked_at: datetime | None = None


class VerdictReading:
    """What the routes, the console and the customer look-up read. Methods without `async` block shortly."""

    def __init__(self, database: Database, clock: Clock, audit: AuditPort) -> None:
        self._database = database
        self._clock = clock
        self._audit = audit

    async def page(
        self, principal: Principal, wanted: VerdictFilter, *, cursor: str | None, limit: int
    ) -> tuple[Sequence[VerdictRow], str | None]:
        """Verdicts, the latest first, and the cursor to go on with. Raises InvalidInput on an unknown cursor."""
        return await run_blocking(self._page, principal, wanted, cursor, limit)

    async def get(self, principal: Principal, verdict_id: str) -> dict[str, Any]:
        """A verdict's document with its earlier versions. Raises NotFound."""
        return await run_blocking(self._get, principal, verdict_id)

    async def bundle(self, principal: Principal, verdict_id: str, version: int | None) -> bytes:
        """The stored bundle of a version (the current one by default), byte for byte. Raises NotFound."""
        return await run_blocking(self._bundle, principal, verdict_id, version)

    async def ruleset(self, sha256: str) -> str:
        """The text of a rule set that verdicts were reached by. Raises NotFound."""

        def read() -> str | None:
            with self._database.read() as session:
                found = repository.get_ruleset(session, sha256)
                return None if found is None else found.text

        text = await run_blocking(read)
        if text is None:
            raise NotFound(f"There is no rule set {sha256}.")
        return text

    def recent(self, limit: int) -> Sequence[VerdictRow]:
        """The latest verdicts of all lines."""
        with self._database.read() as session:
            found = repository.list_verdicts(session, VerdictFilter(), limit)
            session.expunge_all()
            return found

    def activity(self) -> HourOfVerdicts:
        """Checks and verdicts of the last hour."""
        with self._database.read() as session:
            return repository.recent_activity(session, self._clock.now())

    def latest_of_line(self, subscriber_id: str) -> LatestOfLine:
        """What a line checked last."""
        with self._database.read() as session:
            check = repository.latest_check(session, subscriber_id)
            if check is None:
                return LatestOfLine()
            verdict = repository.verdict_of_check(session, check.id)
            return LatestOfLine(check.id, None if verdict is None else verdict.row.id, check.accepted_at)

    def _page(
        self, principal: Principal, wanted: VerdictFilter, cursor: str | None, limit: int
    ) -> tuple[Sequence[VerdictRow], str | None]:
        if wanted.subscriber_id is not None:
            self._audit.record(principal, "verdicts.list", wanted.subscriber_id)
        with self._database.read() as session:
            if cursor is not None:
                at = repository.get_verdict(session, cursor)
                if at is None:
                    raise InvalidInput("This cursor is none of ours.", pointer="/cursor")
                wanted = replace(wanted, before=(at.row.decided_at, at.row.id))
            found = repository.list_verdicts(session, wanted, limit + 1)
            session.expunge_all()
        more = found[limit - 1].id if len(found) > limit else None
        return found[:limit], more

    def _get(self, principal: Principal, verdict_id: str) -> dict[str, Any]:
        with self._database.read() as session:
            stored = repository.get_verdict(session, verdict_id)
            if stored is None:
                raise NotFound(f"There is no verdict {verdict_id}.")
            document: dict[str, Any] = msgspec.json.decode(stored.document)
            document["subscriber_id"] = stored.row.subscriber_id
            document["handed_over"] = stored.row.handed_over
            document["versions"] = [
                {"version": one.version, "decided_at": one.decided_at, "reason": one.reason}
                for one in repository.versions_of(session, verdict_id)
            ]
        self._audit.record(principal, "verdicts.read", verdict_id)
        return document

    def _bundle(self, principal: Principal, verdict_id: str, version: int | None) -> bytes:
        with self._database.read() as session:
            versions = repository.versions_of(session, verdict_id)
            chosen = versions[-1:] if version is None else [v for v in versions if v.version == version]
            if not chosen:
                what = f"verdict {verdict_id}" if version is None else f"version {version} of {verdict_id}"
                raise NotFound(f"There is no {what}.")
            body = chosen[0].bundle.encode()
        self._audit.record(principal, "verdicts.bundle", verdict_id)
        return body


def verdict_row_document(row: VerdictRow) -> Mapping[str, Any]:
    """A verdict of a list, as JSON values."""
    return {
        "id": row.id,
        "self_check_id": row.self_check_id,
        "subscriber_id": row.subscriber_id,
        "version": row.version,
        "domain": row.domain,
        "cause": row.cause,
        "confidence": row.confidence,
        "service": row.service,
        "province": row.province,
        "city": row.city,
        "fault_at": row.fault_at,
        "decided_at": row.decided_at,
        "took_ms": row.took_ms,
        "handed_over": row.handed_over,
    }
