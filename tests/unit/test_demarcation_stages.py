"""Stages of many checks are written together, and a failure reaches every check that it concerns."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from demarcation.repository import StoredEvent
from demarcation.stages import Batch, StageWriter

EVENT = StoredEvent(1, "evidence", datetime(2026, 3, 1, tzinfo=UTC), {})


class Store:
    """Takes batches one at a time, each only when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may = asyncio.Semaphore(0)
        self.failures: list[Exception] = []

    async def __call__(self, batch: Batch) -> None:
        self.batches.append([check_id for check_id, _ in batch])
        await self.may.acquire()
        if self.failures:
            raise self.failures.pop()


async def _begun(tasks: list[asyncio.Task[None]]) -> None:
    for _ in range(len(tasks) + 2):
        await asyncio.sleep(0)


def test_what_comes_during_a_write_goes_into_the_next_one() -> None:
    async def scene() -> list[list[str]]:
        store = Store()
        writer = StageWriter(store)
        tasks = [asyncio.create_task(writer.write("a", [EVENT]))]
        await _begun(tasks)
        tasks += [asyncio.create_task(writer.write(name, [EVENT])) for name in "bcd"]
        await _begun(tasks)
        tasks[2].cancel()
        store.may.release()
        store.may.release()
        await asyncio.gather(*tasks[:2], tasks[3])
        last = asyncio.create_task(writer.write("e", [EVENT]))
        store.may.release()
        await last
        return store.batches

    assert asyncio.run(scene()) == [["a"], ["b", "c", "d"], ["e"]]


def test_a_failure_is_told_to_its_own_batch_only() -> None:
    async def scene() -> None:
        store = Store()
        store.failures.append(OSError("away"))
        writer = StageWriter(store)
        first = asyncio.create_task(writer.write("a", [EVENT]))
        await _begun([first])
        second = asyncio.create_task(writer.write("b", [EVENT]))
        await _begun([second])
        store.may.release()
        store.may.release()
        with pytest.raises(OSError, match="away"):
            await first
        await second
        assert store.batches == [["a"], ["b"]]

    asyncio.run(scene())
