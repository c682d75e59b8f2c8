"""A load of keep-alive connections that each send the next body as soon as the last one was answered.

Raw sockets on one event loop: a full HTTP client costs several times what the servers measured here cost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """What a load saw."""

    seconds: float = 0.0
    answered: int = 0
    refused: int = 0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests answered 2xx per second. [1/s]"""
        return self.answered / self.seconds

    def percentile(self, share: float) -> float:
        """Latency below which `share` of the answers came. [ms]"""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def post(path: str, body: bytes, content_type: str, token: str = "") -> bytes:
    """A request as it goes over the socket."""
    credentials = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{credentials}"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection; answers need a Content-Length."""

    def __init__(self, requests: Iterator[bytes], outcome: Outcome, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._outcome = outcome
        self._done = done
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = (
            int(head[at + 15 : (head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else end)])
            if at > 0
            else 0
        )
        if len(self._buffer) < end + 4 + length:
            return
        self._buffer = self._buffer[end + 4 + length :]
        if head[9:10] == b"2":
            self._outcome.answered += 1
            self._outcome.latencies_ms.append((time.perf_counter() - self._sent_at) * 1000)
        else:
            self._outcome.refused += 1
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server closed the connection"))


async def drive(port: int, requests: list[bytes], connections: int) -> Outcome:
    """Send every request once over `connections` connections; the time runs from first to last byte."""
    outcome = Outcome()
    shared = iter(requests)
    loop = asyncio.get_running_loop()
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    started = time.perf_counter()
    await asyncio.gather(
        *(
            loop.create_connection(lambda end=end: _Connection(shared, outcome, end), "127.0.0.1", port)
            for end in ends
        )
    )
    await asyncio.gather(*ends)
    outcome.seconds = time.perf_counter() - started
    return outcome
