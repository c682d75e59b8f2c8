"""The stages of one running check: written a little later and together, and all again with its verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from demarcation.repository import StoredEvent

FLUSH_S = 0.25
"""Stages are written at most so often while a check runs. [s] Chosen here: a page shows them as they come."""


class Stages:
    """Collects stages. `write` stores some of them and raises nothing; what it could not store comes again."""

    def __init__(self, write: Callable[[Sequence[StoredEvent]], Awaitable[None]]) -> None:
        self._write = write
        self._events: list[StoredEvent] = []
        self._written = 0
        self._flush: asyncio.Task[None] | None = None

    def add(self, kind: str, at: datetime, body: Mapping[str, Any]) -> None:
        """One more stage. Sequence 0 is the acceptance."""
        self._events.append(StoredEvent(len(self._events) + 1, kind, at, body))
        if self._flush is None:
            self._flush = asyncio.create_task(self._later())

    async def _later(self) -> None:
        while self._written < len(self._events):
            await asyncio.sleep(FLUSH_S)
            fresh = self._events[self._written :]
            await self._write(fresh)
            self._written += len(fresh)
        self._flush = None

    async def finish(self, at: datetime) -> list[StoredEvent]:
        """Every stage, the verdict's last (its body is filled when it is stored)."""
        if self._flush is not None:
            self._flush.cancel()
        return [*self._events, StoredEvent(len(self._events) + 1, "verdict", at, {})]
