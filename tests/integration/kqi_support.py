"""Facts as the ingest rooms write them, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from cem.platform.facts import FactStore, open_facts
from cem.platform.facts_migrate import migrate
from cem.platform.item_keys import item_key
from cem.platform.windows import window_start
from tests.clickhouse_server import serving
from tests.conftest import FakeClock

WINDOW = datetime(2050, 3, 1, 12, 0, tzinfo=UTC)
"""A quarter hour that the store's TTL, which goes by the machine's clock, leaves alone."""


def standing_clock() -> FakeClock:
    """A clock that stands in the middle of `WINDOW`."""
    return FakeClock(WINDOW + timedelta(minutes=7, seconds=30))


ENGINES = ("chdb", "clickhouse")


@contextmanager
def opened(engine: str, folder: Path) -> Iterator[FactStore]:
    """A migrated store on either engine."""
    if engine == "chdb":
        store = open_facts(f"chdb:///{folder}/kqi")
        migrate(store, WINDOW)
        try:
            yield store
        finally:
            store.close()
        return
    with serving(folder / "kqi") as server:
        store = open_facts(f"clickhouse://default@127.0.0.1:{server.port}/cem")
        migrate(store, WINDOW)
        try:
            yield store
        finally:
            store.close()


class Facts:
    """Writes reports, events and samples."""

    def __init__(self, store: FactStore) -> None:
        self.store = store
        self.received_at = WINDOW + timedelta(minutes=7)

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        self.store.insert(table, b"\n".join(msgspec.json.encode(row) for row in rows), "JSONEachRow")

    def events(self, session: str, line: str, *told: str, **labels: str) -> None:
        """Each of `told` is `kind seconds [name=value …]`, seconds from `WINDOW`."""
        rows = []
        for text in told:
            kind, seconds, *pairs = text.split()
            at = WINDOW + timedelta(seconds=float(seconds))
            rows.append(
                {
                    "window": window_start(at),
                    "session_id": session,
                    "subscriber_id": line,
                    "item_key": item_key(line, "player_event", f"{session} {kind} {seconds}"),
                    "observed_at": at,
                    "received_at": self.received_at,
                    "sequence": 0,
                    "origin": "sdk",
                    "event": kind,
                    "values": {
                        name: float(value) for name, _, value in (pair.partition("=") for pair in pairs)
                    },
                    "labels": labels,
                }
            )
        self.insert("player_events", *rows)

    def report(
        self,
        line: str,
        at_s: float,
        values: dict[str, float] | None = None,
        *,
        session: str = "",
        service: str = "video",
        report_id: str = "",
        **dimensions: str,
    ) -> None:
        at = WINDOW + timedelta(seconds=at_s)
        name = report_id or f"{session} {at_s}"
        self.insert(
            "reports",
            {
                "window": window_start(at),
                "subscriber_id": line,
                "item_key": item_key(line, "report", name),
                "report_id": name,
                "observed_at": at,
                "received_at": self.received_at,
                "origin": "device",
                "session_id": session,
                "service": service,
                "values": values or {},
                "body": "{}",
                **dimensions,
            },
        )

    def sample(
        self,
        line: str,
        at_s: float,
        values: dict[str, float],
        *,
        vantage: str = "device",
        service: str = "video",
        session: str = "",
        name: str = "",
        version: int = 1,
        **dimensions: str,
    ) -> None:
        self.insert(
            "samples",
            sample_row(
                line,
                at_s,
                values,
                vantage=vantage,
                service=service,
                session=session,
                name=name,
                version=version,
                received_at=self.received_at,
                **dimensions,
            ),
        )


def sample_row(
    line: str,
    at_s: float,
    values: dict[str, float],
    *,
    received_at: datetime,
    vantage: str = "device",
    service: str = "video",
    session: str = "",
    name: str = "",
    version: int = 1,
    **dimensions: str,
) -> dict[str, Any]:
    at = WINDOW + timedelta(seconds=at_s)
    return {
        "window": window_start(at),
        "vantage": vantage,
        "service": service,
        "subscriber_id": line,
        "item_key": item_key(line, "sample", name or f"{vantage} {at_s}"),
        "version": version,
        "observed_at": at,
        "received_at": received_at,
        "session_id": session,
        "origin": "test",
        "values": values,
        **dimensions,
    }
