"""The stages of one running check: written a little later and together, and all again with its verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from demarcation.repository import StoredEvent

Batch = Sequence[tuple[str, Sequence[StoredEvent]]]
"""Stages of several checks, by check."""

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


class StageWriter:
    """Writes what the running checks have to say together: one transaction for all that came meanwhile.

    Two hundred checks at once would otherwise hold up their own verdicts with a thousand small transactions.

    Parameters
    ----------
    store
        Writes one batch; what it raises is raised where the batch's parts were handed over.
    """

    def __init__(self, store: Callable[[Batch], Awaitable[None]]) -> None:
        self._store = store
        self._waiting: list[tuple[str, Sequence[StoredEvent], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, check_id: str, events: Sequence[StoredEvent]) -> None:
        """Return when these are stored. A caller that stops waiting does not take them back."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((check_id, events, stored))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="self-check-stages")
        await stored

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                parts, self._waiting = self._waiting, []
                failure = await self._try([(check_id, events) for check_id, events, _ in parts])
                for _, _, stored in parts:
                    if stored.done():  # its caller went away
                        continue
                    if failure is None:
                        stored.set_result(None)
                    else:
                        stored.set_exception(failure)
        finally:
            self._waiting, self._writing = [], None

    async def _try(self, batch: Batch) -> Exception | None:
        try:
            await self._store(batch)
        except Exception as error:  # handed to every caller of the batch
            return error
        return None
