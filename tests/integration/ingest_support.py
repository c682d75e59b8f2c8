"""A collector on a real store: what the ingest tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI, Request

from cem.platform.errors import Unauthenticated
from cem.platform.facts import FactStore
from cem.platform.keys import Key
from cem.platform.security import (
    KIND_PERMISSIONS,
    Guard,
    NumberHasher,
    Principal,
    PrincipalKind,
    presented_credential,
)
from cem.platform.web import install_problem_details
from sdk_ingest.endpoints import build_router
from sdk_ingest.lane import ReportsLane
from sdk_ingest.parsing import IngestLimits
from sdk_ingest.service import IngestService
from sdk_ingest.writer import open_writer
from tests.web_client import WebClient

NUMBER = "+8613812345678"
OTHER_NUMBER = "+8613987654321"
HASHER = NumberHasher(Key(b"k" * 32))
LINE = HASHER(NUMBER)
OTHER_LINE = HASHER(OTHER_NUMBER)


def _principal(kind: PrincipalKind, name: str, line: str | None = None) -> Principal:
    return Principal(kind, name, subscriber_id=line, permissions=KIND_PERMISSIONS[kind])


CALLERS = {
    "device": _principal(PrincipalKind.DEVICE, "d-1", LINE),
    "other-device": _principal(PrincipalKind.DEVICE, "d-2", OTHER_LINE),
    "feed": _principal(PrincipalKind.FEED, "probe-feed"),
    "powerless": Principal(PrincipalKind.FEED, "powerless"),
}


def _authenticate(request: Request) -> Principal:
    presented = presented_credential(request)
    if presented is None or presented.credential not in CALLERS:
        raise Unauthenticated("unknown")
    return CALLERS[presented.credential]


class StoreClock:
    """Near the machine's clock, because the store's own (TTL) cannot be set; moved by a test."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC).replace(microsecond=345_000)
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.elapsed_s

    def advance(self, duration: timedelta) -> None:
        self.at += duration
        self.elapsed_s += duration.total_seconds()


@contextmanager
def collector(
    store: FactStore,
    clock: StoreClock,
    *,
    exclusive: bool = True,
    limits: IngestLimits | None = None,
    lane: bool = False,
) -> Iterator[WebClient]:
    """One process's worth of the ingest room behind its routes."""
    writer = open_writer(store, clock, exclusive=exclusive, gather_ms=1)
    service = IngestService(writer, clock, HASHER, limits)
    app = FastAPI()
    install_problem_details(app)
    guard = Guard(_authenticate)
    app.include_router(build_router(service, guard))
    if lane:
        app.add_middleware(ReportsLane, service=service, guard=guard)
    with WebClient(app) as client:
        yield client
    service.close()


def bearer(caller: str, **headers: str) -> dict[str, str]:
    """Headers of a caller."""
    return {"authorization": f"Bearer {caller}", **{k.replace("_", "-"): v for k, v in headers.items()}}


def report(
    clock: StoreClock, name: str, age: timedelta = timedelta(minutes=1), **members: Any
) -> dict[str, Any]:
    """A report of a given age."""
    return {"id": name, "observed_at": (clock.now() - age).isoformat(), **members}
