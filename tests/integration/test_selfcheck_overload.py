"""Everything hung: two hundred self-checks at once, every one answered inside its budget."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from time import monotonic
from typing import Any

import httpx

from cem.platform.clock import SystemClock
from cem.platform.db import Database
from demarcation.settings import SelfCheckSettings
from demarcation.upstreams import Upstream, UpstreamSource
from migrations.tables import whole_metadata
from tests.integration.selfcheck_support import Scripted, open_room
from tests.unit.demarcation_cases import snapshot

CHECKS = 200
DEADLINE_MS = 20_000
"""The outermost one. Sources have 1 s of it; the rest is room for a machine that does other things too."""


def test_two_hundred_checks_with_every_source_hung_are_all_answered(tmp_path: Path) -> None:
    """The line's store, peers, open orders and two systems over HTTP accept and never answer.

    Each check is answered with a verdict within the budget that it was given: what a customer is promised, not a
    measure of this machine.
    """
    database = Database(f"sqlite:///{tmp_path / 'cem.sqlite3'}")
    whole_metadata().create_all(database.engine)

    async def prepared() -> list[tuple[int, float, dict[str, Any]]]:
        # It listens, so the kernel takes the connections; nobody ever reads them.
        server = socket.create_server(("127.0.0.1", 0), backlog=CHECKS * 4)
        port = server.getsockname()[1]
        client = httpx.AsyncClient(limits=httpx.Limits(max_connections=CHECKS * 2))
        upstreams = [
            UpstreamSource(
                Upstream(name, f"http://127.0.0.1:{port}/", {"account.status": "/s"}, 1.0),
                client,
                SystemClock(),
            )
            for name in ("billing", "alarms")
        ]
        settings = SelfCheckSettings(per_line_per_hour=CHECKS)
        room = open_room(database, settings, scripted=Scripted(hung=True), further=upstreams, budget_s=1.0)
        try:
            async with room.client() as device:
                return await asyncio.gather(*(one(device, number) for number in range(CHECKS)))
        finally:
            await room.service.drain(10)
            room.close()
            await client.aclose()
            server.close()

    async def one(client: httpx.AsyncClient, number: int) -> tuple[int, float, dict[str, Any]]:
        shot = snapshot({"airplane_mode": True}, symptom="no_service", id=f"tap-{number}")
        body = {"snapshot": shot, "deadline_ms": DEADLINE_MS}
        started = monotonic()
        answer = await client.post("/v1/self-checks", params={"wait_ms": DEADLINE_MS}, json=body)
        return answer.status_code, monotonic() - started, answer.json()

    answers = asyncio.run(prepared())
    database.close()
    assert [status for status, _, _ in answers] == [200] * CHECKS
    assert max(took for _, took, _ in answers) * 1000 <= DEADLINE_MS
    for _, _, check in answers:
        assert check["verdict"]["cause"] == "airplane_mode"
        missing = {one["source"] for one in check["verdict"]["missing"]}
        assert missing == {"line", "peers", "orders", "billing", "alarms"}
