"""A synchronous client that calls an ASGI application in its own event loop, without a socket."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import httpx
from fastapi import FastAPI


class WebClient:
    """Calls one application. Leave it (or use `with`) to end its loop."""

    def __init__(self, app: FastAPI, base_url: str = "http://cem.test", address: str = "192.0.2.7") -> None:
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app, client=(address, 40000))
        self._client = httpx.AsyncClient(transport=transport, base_url=base_url)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **arguments))

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("GET", path, **arguments)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("POST", path, **arguments)

    def put(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("PUT", path, **arguments)

    def patch(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("PATCH", path, **arguments)

    def delete(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("DELETE", path, **arguments)

    def at_once(self, *calls: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        """Send several requests concurrently."""

        async def send() -> list[httpx.Response]:
            return list(await asyncio.gather(*(self._client.request(m, p, **kw) for m, p, kw in calls)))

        return self._runner.run(send())

    def __enter__(self) -> WebClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()
