"""Small values that let one room's port be filled by another room's service. No decisions, no SQL of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from cem.access.audit import AuditLog
from cem.customers.ports import LatestActivity
from cem.customers.service import CustomersService
from cem.platform.aio import Bulkhead
from cem.platform.clock import Clock
from cem.platform.security import Principal
from demarcation.deadline import Deadline
from demarcation.gather import Found
from demarcation.peers import PeerCounts
from demarcation.ports import LineSample
from demarcation.question import Question
from demarcation.vantage import evidence_from_upstream
from demarcation.verdict_reading import VerdictReading
from kqi.service import KqiService
from sdk_ingest.service import IngestService

ACTIVITY_LOOK_BACK = timedelta(days=2)
"""How far back an agent's look-up asks for a line's last report. Chosen here: what the late policy keeps joinable."""

ACCOUNT_FIELDS: Mapping[str, str] = {
    "account.apns": "/provisioned_apn",
    "account.status": "/account_status",
    "account.throttled": "/throttled",
    "account.service_allowed": "/service_allowed",
}
"""Evidence key → attribute of a line, as provisioned with `PUT /v1/customers`."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line's samples of the pipe and cloud vantage points and of its own sessions, for demarcation."""

    kqi: KqiService

    def recent(self, subscriber_id: str, since: datetime, until: datetime) -> Sequence[LineSample]:
        """Newest first."""
        return [
            LineSample(
                vantage=item.vantage,
                service=item.service,
                observed_at=item.observed_at,
                received_at=item.received_at,
                values=item.values,
                labels=item.labels,
            )
            for item in self.kqi.recent_samples(subscriber_id, since, until)
        ]


@dataclass(frozen=True, slots=True)
class Peers:
    """How other lines fare, for demarcation."""

    kqi: KqiService

    def peers(
        self, subscriber_id: str, dimensions: Mapping[str, str], service: str, at: datetime
    ) -> Sequence[PeerCounts]:
        """Distinct users by segment, the line itself left out."""
        return [
            PeerCounts(
                item.dimension,
                item.value,
                item.users,
                item.bad_users,
                item.baseline_users,
                item.baseline_bad_users,
            )
            for item in self.kqi.peers(dimensions, service, at, subscriber_id)
        ]


@dataclass(frozen=True, slots=True)
class AccountSource:
    """What the operator provisioned of the line, as evidence."""

    customers: CustomersService
    pool: Bulkhead
    clock: Clock
    budget_s: float = 1.0
    name: str = "account"

    async def ask(self, question: Question, deadline: Deadline) -> Found:
        """The line's attributes."""
        if not question.subscriber_id:
            return Found()
        attributes = await self.pool.run(
            self.customers.attributes_of, question.subscriber_id, timeout_s=deadline.remaining()
        )
        answer = dict(attributes)
        apn = answer.get("provisioned_apn")
        if isinstance(apn, str):
            answer["provisioned_apn"] = [item.strip() for item in apn.lower().split(",") if item.strip()]
        return Found(
            evidence=evidence_from_upstream(
                self.name, answer, ACCOUNT_FIELDS, received_at=self.clock.now(), at=question.at
            )
        )


@dataclass(frozen=True, slots=True)
class SnapshotReports:
    """Keeps a self-check's snapshot as the report that it is."""

    ingest: IngestService

    async def store(self, snapshot: Mapping[str, Any], subscriber_id: str, origin: str) -> None:
        """Returns once it is durable."""
        await self.ingest.store_snapshot(
            self.ingest.snapshot(snapshot), subscriber_id=subscriber_id, origin=origin
        )


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit log, as demarcation calls it."""

    log: AuditLog

    def record(self, principal: Principal | None, action: str, subject: str) -> None:
        """Returns once the entry is on disk."""
        self.log.record(principal, action, subject)

    def record_in(self, session: Session, principal: Principal | None, action: str, subject: str) -> None:
        """The entry becomes durable with the transaction."""
        self.log.record_in(session, principal, action, subject)


@dataclass(frozen=True, slots=True)
class Activity:
    """What a line did last, for an agent's look-up."""

    reading: VerdictReading
    kqi: KqiService
    clock: Clock

    def latest(self, subscriber_id: str) -> LatestActivity:
        """Latest self-check, verdict and report."""
        reports = self.kqi.recent_reports(subscriber_id, self.clock.now() - ACTIVITY_LOOK_BACK)
        check = self.reading.latest_of_line(subscriber_id)
        return LatestActivity(
            self_check_id=check.self_check_id,
            verdict_id=check.verdict_id,
            self_checked_at=check.self_checked_at,
            reported_at=reports[0].observed_at if reports else None,
        )


@dataclass(frozen=True, slots=True)
class LaterActivity:
    """The activity of lines, whose sources are opened only when somebody asks (`cem user` never does)."""

    open: Callable[[], Activity]

    def latest(self, subscriber_id: str) -> LatestActivity:
        """As `Activity.latest`."""
        return self.open().latest(subscriber_id)
