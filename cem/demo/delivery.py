"""Sending over real HTTP: batches from a feed, self-checks from devices, and how to behave when told to wait.

The only module of the demo that opens connections. A refused or broken sending is tried again with the same ids,
after the pause the service asked for; what cannot be sent after some tries is counted and left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import httpx
import msgspec
import zstandard

from cem.demo.chance import seeded
from cem.demo.wire import Document

NDJSON = "application/x-ndjson"
TRIES = 6
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 20.0
PROVISIONED_AT_ONCE = 1000
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class DemoKeys:
    """The two API keys that the demo is given: one of a feed, one of the operator's own back end."""

    feed: str
    system: str

    def __repr__(self) -> str:
        return "DemoKeys(…)"


@dataclass(slots=True)
class Counts:
    """What was sent and what became of it."""

    reports: int = 0
    samples: int = 0
    duplicates: int = 0
    rejected: int = 0
    self_checks: int = 0
    complaints: int = 0
    re_checks: int = 0
    waits: int = 0
    errors: int = 0

    def line(self) -> dict[str, int]:
        """Give the counts for one log line."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class _Stop(Protocol):
    def is_set(self) -> bool: ...
    async def wait(self) -> Any: ...


class Stopped(Exception):  # noqa: N818 - not an error: the demo is asked to end
    """The demo is to end while something waits to be sent."""


class Delivery:
    """Sends to one service until told to stop."""

    def __init__(self, client: httpx.AsyncClient, keys: DemoKeys, stop: _Stop, counts: Counts) -> None:
        self._client = client
        self._keys = keys
        self._stop = stop
        self._counts = counts
        self._rng = seeded("pauses")

    async def ready(self) -> None:
        """Wait until the service says that it is ready. Raises Stopped."""
        while True:
            try:
                if (await self._client.get("/readyz")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            await self.pause(FIRST_PAUSE_S)

    async def pause(self, seconds: float) -> None:
        """Sleep, or raise Stopped as soon as the demo is to end."""
        if self._stop.is_set():
            raise Stopped
        if seconds <= 0:
            return
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise Stopped

    async def reports(self, documents: Sequence[Document]) -> int:
        """Send reports of many lines as the feed; how many of them the service did not have."""
        accepted = await self._items("/v1/reports", documents)
        self._counts.reports += accepted
        return accepted

    async def samples(self, vantage: str, documents: Sequence[Document]) -> None:
        """Send samples of a vantage point (`pipe`, `cloud`, `iot`) as the feed."""
        self._counts.samples += await self._items(f"/v1/samples/{vantage}", documents)

    async def _items(self, path: str, documents: Sequence[Document]) -> int:
        if not documents:
            return 0
        body = zstandard.ZstdCompressor(level=3).compress(b"\n".join(map(msgspec.json.encode, documents)))
        headers = {"Content-Type": NDJSON, "Content-Encoding": "zstd"}
        answer = await self._send("POST", path, self._keys.feed, content=body, headers=headers)
        if answer is None:
            return 0
        self._counts.duplicates += _count(answer, "duplicate")
        self._counts.rejected += _count(answer, "rejected")
        return _count(answer, "accepted")

    async def provision(self, lines: Sequence[Document]) -> None:
        """Tell what is provisioned on lines, as the operator's back end does."""
        for start in range(0, len(lines), PROVISIONED_AT_ONCE):
            body = {"customers": lines[start : start + PROVISIONED_AT_ONCE]}
            await self._send("PUT", "/v1/customers", self._keys.system, json=body)

    async def device_token(self, number: str, install_id: str) -> str | None:
        """Mint a device's token as the operator's back end does; None where it could not be had."""
        body = {"number": number, "install_id": install_id}
        answer = await self._send("POST", "/v1/device-tokens", self._keys.system, json=body)
        return None if answer is None else str(answer["token"])

    async def self_check(self, token: str, snapshot: Document, wait_ms: int) -> Document | None:
        """Tap the button: the self-check as the service answers it, or None where it could not be had."""
        answer = await self._send(
            "POST", "/v1/self-checks", token, params={"wait_ms": wait_ms}, json=snapshot
        )
        self._counts.self_checks += answer is not None
        return answer

    async def re_check(
        self, token: str, self_check_id: str, snapshot: Document, wait_ms: int
    ) -> Document | None:
        """Check again after following the advice."""
        path = f"/v1/self-checks/{self_check_id}/re-check"
        answer = await self._send("POST", path, token, params={"wait_ms": wait_ms}, json=snapshot)
        self._counts.re_checks += answer is not None
        return answer

    async def complain(self, token: str, self_check_id: str) -> None:
        """Hand the fault over with one tap."""
        answer = await self._send("POST", f"/v1/self-checks/{self_check_id}/complaint", token, json={})
        self._counts.complaints += answer is not None

    async def _send(self, method: str, path: str, credential: str, **request: Any) -> Document | None:
        """Send until it is taken: the answer's JSON, or None where it is refused for good. Raises Stopped."""
        headers = {**request.pop("headers", {}), "Authorization": f"Bearer {credential}"}
        pause = FIRST_PAUSE_S
        for _ in range(TRIES):
            await self.pause(0)
            asked: float | None = None
            try:
                response = await self._client.request(method, path, headers=headers, **request)
            except httpx.TransportError:
                pass
            else:
                if response.is_success:
                    return dict(response.json()) if response.content else {}
                if response.status_code not in RETRIED:
                    break
                asked = _retry_after_s(response)
            self._counts.waits += 1
            await self.pause(asked if asked is not None else pause * self._rng.uniform(0.7, 1.3))
            pause = min(LONGEST_PAUSE_S, pause * 2)
        self._counts.errors += 1
        return None


def _count(answer: Document, name: str) -> int:
    """How many items an answer counts under a name; a list of items counts by its length."""
    found = answer.get(name, 0)
    return len(found) if isinstance(found, list) else int(found)


def _retry_after_s(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return min(LONGEST_PAUSE_S, float(value)) if value.isdigit() else None
