"""The operational store's own promises, on both dialects."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from cem.platform.db import Database, insert_ignore, new_id
from cem.platform.leases import JobLease, lease, release
from tests.conftest import FakeClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _row(name: str) -> dict[str, object]:
    return {"name": name, "holder": "a", "expires_at": NOON}


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def write_and_raise() -> None:
        with database.write() as session:
            session.add(JobLease(**_row("x")))
            session.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_raise()
    with database.read() as session:
        assert session.scalars(select(JobLease)).all() == []


def test_times_come_back_aware_and_equal(database: Database) -> None:
    with database.write() as session:
        session.add(JobLease(**_row("x")))
    with database.read() as session:
        assert session.scalars(select(JobLease.expires_at)).one() == NOON


def test_insert_ignore_counts_only_what_went_in(database: Database) -> None:
    with database.write() as session:
        assert insert_ignore(session, JobLease.__table__, [_row("x"), _row("y")]) == 2
        assert insert_ignore(session, JobLease.__table__, [_row("y"), _row("z")]) == 1
        assert insert_ignore(session, JobLease.__table__, []) == 0


def test_a_lease_has_one_holder_until_it_ends(database: Database, clock: FakeClock) -> None:
    ttl = timedelta(seconds=30)
    assert lease(database, "close", "a", ttl, clock)
    assert not lease(database, "close", "b", ttl, clock)
    assert lease(database, "close", "a", ttl, clock)
    clock.advance(timedelta(seconds=31))
    assert lease(database, "close", "b", ttl, clock)
    assert not lease(database, "close", "a", ttl, clock)
    release(database, "close", "b", clock)
    assert lease(database, "close", "a", ttl, clock)


def test_of_many_at_once_one_gets_the_lease(database: Database, clock: FakeClock) -> None:
    got: list[str] = []

    def take(holder: str) -> None:
        if lease(database, "close", holder, timedelta(seconds=30), clock):
            got.append(holder)

    threads = [threading.Thread(target=take, args=(f"w{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_writers_wait_for_each_other(database: Database) -> None:
    """Read-modify-write from many threads: every increment counts."""
    with database.write() as session:
        session.execute(text("CREATE TABLE counters (n INTEGER)"))
        session.execute(text("INSERT INTO counters VALUES (0)"))

    def add() -> None:
        for _ in range(10):
            with database.write() as session:
                lock = "" if database.dialect == "sqlite" else " FOR UPDATE"
                n = session.execute(text(f"SELECT n FROM counters{lock}")).scalar_one()
                session.execute(text("UPDATE counters SET n = :n"), {"n": n + 1})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.execute(text("SELECT n FROM counters")).scalar_one() == 40


def test_a_commit_is_synced(database: Database) -> None:
    with database.read() as session:
        if database.dialect == "sqlite":
            assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
            assert session.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL
        else:
            assert session.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


def test_ids_sort_by_time_and_differ() -> None:
    ids = [new_id("case") for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(value) == len("case_") + 26 for value in ids)
    assert [value[5:15] for value in ids] == sorted(value[5:15] for value in ids)
