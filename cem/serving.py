"""Runs the web application: says where to look once it listens, drains when told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from cem.platform.settings import Settings


class AnnouncedServer(uvicorn.Server):
    """A server that says when it listens, and where: with port 0 only the socket knows.

    Parameters
    ----------
    on_listening
        Called once with the base URL, from the event loop; must not block.
    """

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[str], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGINT and SIGTERM, and return: what was opened before serving is closed by its owner.

        The inherited way raises the signal again afterwards, which would end the process before that.
        """
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: Any = None) -> None:
        """Open the sockets, then announce the address."""
        await super().startup(sockets)
        if self.started and self.servers:
            address = self.servers[0].sockets[0].getsockname()
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            if address[0] in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
                host = "localhost"
            self._on_listening(f"http://{host}:{address[1]}")


def serve(app: Any, settings: Settings, on_listening: Callable[[str], None]) -> bool:
    """Serve until SIGTERM or SIGINT; requests under way get `drain_s`. True if it had started."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=max(1, int(settings.drain_s)),
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=65_536,
    )
    server = AnnouncedServer(config, on_listening)
    server.run()
    return server.started
