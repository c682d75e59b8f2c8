"""A self-check service on a real store, its routes in a real application, and sources that a test scripts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI, Request
from sqlalchemy.orm import Session

from cem.platform.aio import Bulkhead
from cem.platform.clock import SystemClock
from cem.platform.db import Database
from cem.platform.errors import InvalidInput, Unauthenticated
from cem.platform.security import (
    KIND_PERMISSIONS,
    Guard,
    Principal,
    PrincipalKind,
    Role,
    permissions_of,
)
from cem.platform.web import install_problem_details
from demarcation.endpoints import build_router
from demarcation.gather import Source
from demarcation.peers import PeerCounts
from demarcation.ports import LineSample, OpenOrderRef
from demarcation.rules import load_shipped_rules
from demarcation.service import SelfCheckService
from demarcation.settings import SelfCheckSettings
from demarcation.sources import LineSource, OrdersSource, PeersSource
from demarcation.sweeper import SelfCheckSweeper
from demarcation.taxonomy import load_taxonomy
from demarcation.verdict import VerdictFact
from demarcation.verdict_reading import VerdictReading

OWN = "s_" + "a" * 32
OTHER = "s_" + "b" * 32
NUMBERS = {"+8613800000001": OWN, "+8613800000002": OTHER}


def principal_of(name: str) -> Principal:
    """`device`, `device-b` (another line), `agent`, `engineer`, `system`."""
    if name.startswith("device"):
        line = OTHER if name == "device-b" else OWN
        permissions = KIND_PERMISSIONS[PrincipalKind.DEVICE]
        return Principal(
            PrincipalKind.DEVICE, f"token of {name}", subscriber_id=line, permissions=permissions
        )
    if name == "system":
        return Principal(PrincipalKind.SYSTEM, "sys", permissions=KIND_PERMISSIONS[PrincipalKind.SYSTEM])
    role = Role(name)
    return Principal(PrincipalKind.STAFF, name, frozenset({role}), None, permissions_of({role}))


def identity(number: str) -> str:
    found = NUMBERS.get(number)
    if found is None:
        raise InvalidInput("Not a telephone number.")
    return found


@dataclass
class Heard:
    """What other rooms would make of verdicts and complaints; fails where a test says so."""

    verdicts: list[VerdictFact] = field(default_factory=list)
    complaints: list[tuple[VerdictFact, str]] = field(default_factory=list)
    audited: list[tuple[str, str, str]] = field(default_factory=list)
    fails: bool = False

    def on_verdict(self, session: Session, fact: VerdictFact) -> None:
        if self.fails:
            raise RuntimeError("the room is broken")
        self.verdicts.append(fact)

    def on_complaint(self, session: Session, fact: VerdictFact, by: str) -> str:
        self.complaints.append((fact, by))
        return f"case_{len(self.complaints)}"

    def record(self, principal: Principal | None, action: str, subject: str) -> None:
        self.audited.append(("" if principal is None else principal.id, action, subject))

    def record_in(self, session: Session, principal: Principal | None, action: str, subject: str) -> None:
        self.record(principal, action, subject)


@dataclass
class Snapshots:
    """Where snapshots are kept; breaks where a test says so."""

    kept: list[tuple[Mapping[str, Any], str, str]] = field(default_factory=list)
    fails: bool = False

    async def store(self, snapshot: Mapping[str, Any], subscriber_id: str, origin: str) -> None:
        if self.fails:
            raise RuntimeError("disk full")
        self.kept.append((snapshot, subscriber_id, origin))


@dataclass
class Scripted:
    """Line, peers and orders in one; `release` lets hung ones go at the test's end."""

    samples: Sequence[LineSample] = ()
    counts: Sequence[PeerCounts] = ()
    orders: Sequence[OpenOrderRef] = ()
    hung: bool = False
    release: threading.Event = field(default_factory=threading.Event)

    def _maybe_hang(self) -> None:
        if self.hung:
            self.release.wait(60)

    def recent(self, subscriber_id: str, since: datetime, until: datetime) -> Sequence[LineSample]:
        self._maybe_hang()
        return self.samples

    def peers(
        self, subscriber_id: str, dimensions: Mapping[str, str], service: str, at: datetime
    ) -> Sequence[PeerCounts]:
        self._maybe_hang()
        return self.counts

    def covering(self, dims: Mapping[str, str], service: str, at: datetime) -> Sequence[OpenOrderRef]:
        self._maybe_hang()
        return self.orders


@dataclass
class Room:
    """Everything a test needs."""

    database: Database
    service: SelfCheckService
    reading: VerdictReading
    heard: Heard
    snapshots: Snapshots
    scripted: Scripted
    settings: SelfCheckSettings
    pools: list[Bulkhead]
    clock: SystemClock

    def app(self) -> FastAPI:
        def authenticate(request: Request) -> Principal:
            name = request.headers.get("x-test-caller")
            if name is None:
                raise Unauthenticated("say who you are")
            return principal_of(name)

        app = FastAPI()
        install_problem_details(app)
        app.include_router(build_router(self.service, self.reading, Guard(authenticate)))
        return app

    def client(self, caller: str = "device") -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app()),
            base_url="http://cem.test",
            headers={"x-test-caller": caller},
        )

    def sweeper(self, later: timedelta) -> SelfCheckSweeper:
        return SelfCheckSweeper(
            self.database,
            SystemClock(later),
            self.settings,
            self.service.rules,
            self.service.taxonomy,
            on_verdict=self.heard.on_verdict,
        )

    def close(self) -> None:
        self.scripted.release.set()
        self.service.close()
        for pool in self.pools:
            pool.close()


def open_room(
    database: Database,
    settings: SelfCheckSettings | None = None,
    *,
    scripted: Scripted | None = None,
    further: Sequence[Source] = (),
    budget_s: float = 2.0,
) -> Room:
    """A room; the three sources inside the house are always there."""
    settings = settings or SelfCheckSettings(provisioned_apns=("cmnet",))
    scripted = scripted or Scripted()
    heard, snapshots, clock = Heard(), Snapshots(), SystemClock()
    pools = [Bulkhead(f"test-{name}", 4) for name in ("line", "peers", "orders")]
    sources: list[Source] = [
        LineSource(scripted, pools[0], budget_s),
        PeersSource(scripted, pools[1], budget_s),
        OrdersSource(scripted, pools[2], budget_s),
        *further,
    ]
    service = SelfCheckService(
        database,
        clock,
        settings,
        load_shipped_rules(),
        load_taxonomy(),
        sources=sources,
        identity=identity,
        audit=heard,
        snapshots=snapshots,
        on_verdict=heard.on_verdict,
        on_complaint=heard.on_complaint,
    )
    reading = VerdictReading(database, clock, heard)
    return Room(database, service, reading, heard, snapshots, scripted, settings, pools, clock)
