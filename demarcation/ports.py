"""What this room needs of others, as small protocols that the wiring fills. All of them block; all may raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from cem.platform.security import Principal
from demarcation.peers import PeerCounts
from demarcation.verdict import VerdictFact


@dataclass(frozen=True, slots=True)
class LineSample:
    """One sample of a line, from any vantage point; values by indicator name, units in the names."""

    vantage: str
    service: str
    observed_at: datetime
    received_at: datetime
    values: Mapping[str, float]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OpenOrderRef:
    """An open work order that covers a fault's place."""

    order_id: str
    number: str
    cause: str
    domain: str
    scope: Mapping[str, str]
    opened_at: datetime
    affected: int


class CoveringOrder(Protocol):
    """What is read of an open order; the work-order room's own value has these."""

    @property
    def order_id(self) -> str:
        """Identifier."""
        ...

    @property
    def number(self) -> str:
        """Number for people."""
        ...

    @property
    def cause(self) -> str:
        """Cause of the taxonomy."""
        ...

    @property
    def domain(self) -> str:
        """Side."""
        ...

    @property
    def scope(self) -> Mapping[str, str]:
        """Dimension values it covers."""
        ...

    @property
    def opened_at(self) -> datetime:
        """When it was opened, aware UTC."""
        ...

    @property
    def affected(self) -> int:
        """Customers it counts. [1]"""
        ...


class LineHistory(Protocol):
    """What other vantage points measured of one line."""

    def recent(self, subscriber_id: str, since: datetime, until: datetime) -> Sequence[LineSample]:
        """Samples with `since <= observed_at <= until`, newest first, at most a few hundred."""
        ...


class PeerSource(Protocol):
    """How other lines fare on the segments of this one."""

    def peers(
        self, subscriber_id: str, dimensions: Mapping[str, str], service: str, at: datetime
    ) -> Sequence[PeerCounts]:
        """Distinct users by segment in windows closed before `at`, the line itself left out."""
        ...


class OpenOrdersPort(Protocol):
    """Open work orders, as mass-fault evidence."""

    def covering(self, dims: Mapping[str, str], service: str, at: datetime) -> Sequence[CoveringOrder]:
        """Open orders whose scope holds a fault with these dimensions at this time."""
        ...


class SnapshotStore(Protocol):
    """Keeps a self-check's snapshot as a report, like any other."""

    async def store(self, snapshot: Mapping[str, Any], subscriber_id: str, origin: str) -> None:
        """`origin` is the caller's kind. Returns once it is durable; raises where it is not."""
        ...


class AuditPort(Protocol):
    """Where a look-up is written down before its answer goes out."""

    def record(self, principal: Principal | None, action: str, subject: str) -> None:
        """Write one entry; returns once it is on disk."""
        ...

    def record_in(self, session: Session, principal: Principal | None, action: str, subject: str) -> None:
        """Write one entry in a transaction that is under way, with which it becomes durable."""
        ...


class VerdictHook(Protocol):
    """Hears of every verdict, inside the transaction that stores it."""

    def __call__(self, session: Session, fact: VerdictFact) -> None:
        """Must not commit."""
        ...


class ComplaintHook(Protocol):
    """Hears of a fault handed over with one tap; answers the case's id. Inside the transaction; idempotent."""

    def __call__(self, session: Session, fact: VerdictFact, by: str) -> str:
        """`by` is `customer` or `agent`. Must not commit."""
        ...


class NumberIdentity(Protocol):
    """From a number in clear to its keyed hash."""

    def __call__(self, number: str) -> str:
        """The subscriber_id. Raises InvalidInput."""
        ...
