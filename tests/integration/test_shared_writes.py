"""Writes that share a transaction: each fails alone, all are on disk before any is answered."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from cem.platform.db import Database
from cem.platform.errors import Conflict, DeadlineExceeded
from cem.platform.leases import JobLease
from cem.platform.shared_writes import SharedWrites

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _add(session: Session, name: str) -> str:
    session.add(JobLease(name=name, holder="a", expires_at=AT))
    session.flush()
    return name


def _names(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(JobLease.name)))


async def _all(writes: SharedWrites, count: int) -> list[object]:
    def one(number: int) -> object:
        def write(session: Session) -> str:
            _add(session, f"n{number}")
            if number % 5 == 0:
                raise Conflict("not this one")
            return f"n{number}"

        return writes.run(write, timeout_s=30)

    return await asyncio.gather(*(one(n) for n in range(count)), return_exceptions=True)  # type: ignore[call-overload, no-any-return]


def test_each_write_fails_alone(database: Database) -> None:
    writes = SharedWrites(database, "test-writes")
    results = asyncio.run(_all(writes, 100))
    writes.close()
    assert [type(result) for result in results] == [Conflict if n % 5 == 0 else str for n in range(100)]
    assert _names(database) == {f"n{n}" for n in range(100) if n % 5}


def test_on_sqlite_many_share_a_commit(database: Database) -> None:
    commits: list[object] = []
    event.listen(database.engine, "commit", commits.append)
    writes = SharedWrites(database, "test-writes")
    asyncio.run(_all(writes, 100))
    writes.close()
    if database.dialect == "sqlite":
        assert len(commits) < 50
    else:
        assert len(commits) == 80


def test_a_commit_that_fails_fails_every_write_in_it(database: Database) -> None:
    def refuse(_: object) -> None:
        raise OSError("disk full")

    event.listen(database.engine, "commit", refuse)
    writes = SharedWrites(database, "test-writes")
    results = asyncio.run(_all(writes, 8))
    writes.close()
    event.remove(database.engine, "commit", refuse)
    assert not any(isinstance(result, str) for result in results)
    assert _names(database) == set()


def test_a_write_that_waited_too_long_never_begins(database: Database) -> None:
    writes = SharedWrites(database, "test-writes", threads=1)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        began, go = asyncio.Event(), asyncio.Event()

        def hold(session: Session) -> None:
            loop.call_soon_threadsafe(began.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(30)

        holding = asyncio.create_task(writes.run(hold, timeout_s=30))
        await began.wait()
        with pytest.raises(DeadlineExceeded):
            await writes.run(lambda session: _add(session, "late"), timeout_s=0.05)
        go.set()
        await holding
        await writes.run(lambda session: _add(session, "after"), timeout_s=30)

    asyncio.run(scene())
    writes.close()
    assert _names(database) == {"after"}
