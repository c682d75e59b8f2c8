"""The writer between requests and the store: order, repeats, refusals, closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pytest

from cem.platform import group_commit
from cem.platform.clock import SystemClock
from cem.platform.errors import FactStoreError, Unavailable
from cem.platform.group_commit import Entry, GroupCommit, Outcome, Receipt
from cem.platform.item_keys import item_key

TABLES = ("events", "facts")


class RecordingStore:
    """Remembers inserts; refuses where `refuses(table, body)` says so; waits while `gate` is closed."""

    cluster = ""

    def __init__(self, refuses: Callable[[str, bytes], bool] = lambda table, body: False) -> None:
        self.inserts: list[tuple[str, list[bytes]]] = []
        self.refuses = refuses
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def insert(self, table: str, body: bytes, fmt: str) -> None:
        self.entered.set()
        assert self.gate.wait(20)
        if self.refuses(table, body):
            raise FactStoreError("The KQI store refused: code 1.")
        self.inserts.append((table, body.split(b"\n")))

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a commit does not call {name}")


class RecordingKeys:
    """Keys in a set; what the writer asks is remembered."""

    def __init__(self) -> None:
        self.stored: set[str] = set()
        self.settled = 0

    def among(self, keys: Sequence[str]) -> AbstractSet[str]:
        return self.stored.intersection(keys)

    def add(self, keys: Sequence[str]) -> None:
        self.stored.update(keys)

    def settle(self, *, idle: bool) -> None:
        self.settled += 1


def entry(name: str, *, checked: bool = True, tables: Sequence[str] = TABLES) -> Entry:
    return Entry(name, [(table, f'{{"{table}":"{name}"}}'.encode()) for table in tables], checked)


def commits(store: RecordingStore, keys: RecordingKeys | None = None, **options: Any) -> GroupCommit:
    return GroupCommit(store, SystemClock(), name="test", tables=TABLES, keys=keys, **options)


def names(receipt: Receipt) -> str:
    return "".join(outcome.value[0] for outcome in receipt.outcomes)


def test_tables_are_written_in_order_and_repeats_are_named() -> None:
    store, keys = RecordingStore(), RecordingKeys()
    writer = commits(store, keys)
    first = writer.submit_blocking([entry("1"), entry("2"), entry("1")])
    second = writer.submit_blocking([entry("2"), entry("3")])
    writer.close()
    assert (names(first), first.accepted, first.duplicate) == ("aad", 2, 1)
    assert names(second) == "da"
    assert store.inserts == [
        ("events", [b'{"events":"1"}', b'{"events":"2"}']),
        ("facts", [b'{"facts":"1"}', b'{"facts":"2"}']),
        ("events", [b'{"events":"3"}']),
        ("facts", [b'{"facts":"3"}']),
    ]


def test_entries_that_are_not_checked_are_written_again() -> None:
    store, keys = RecordingStore(), RecordingKeys()
    writer = commits(store, keys)
    event = entry("1", checked=False, tables=("events",))
    assert names(writer.submit_blocking([event, event])) == "ad"
    assert names(writer.submit_blocking([event])) == "a"
    writer.close()
    assert keys.stored == set()
    assert [table for table, _ in store.inserts] == ["events", "events"]


def test_requests_that_wait_together_share_one_insert() -> None:
    store = RecordingStore()
    writer = commits(store, RecordingKeys())

    async def scene() -> list[Receipt]:
        store.gate.clear()
        opening = asyncio.create_task(writer.submit([entry("0")]))
        await asyncio.to_thread(store.entered.wait, 20)
        waiting = [asyncio.create_task(writer.submit([entry(str(n % 5))])) for n in range(1, 21)]
        await asyncio.sleep(0)
        store.gate.set()
        return await asyncio.gather(opening, *waiting)

    receipts = asyncio.run(scene())
    writer.close()
    assert sum(receipt.accepted for receipt in receipts) == 5
    assert sum(receipt.duplicate for receipt in receipts) == 16
    assert [len(rows) for table, rows in store.inserts if table == "facts"] == [1, 4]


def test_a_store_that_is_away_accepts_nothing_and_the_next_try_goes_well() -> None:
    away = [True]
    store = RecordingStore(lambda table, body: away[0] and table == "facts")
    keys = RecordingKeys()
    writer = commits(store, keys)
    with pytest.raises(Unavailable) as error:
        writer.submit_blocking([entry("1")])
    assert error.value.status == 503
    assert error.value.retry_after_s == 1
    assert keys.stored == set()
    away[0] = False
    assert names(writer.submit_blocking([entry("1")])) == "a"
    writer.close()


def test_an_error_that_nobody_foresaw_is_answered_and_the_writer_lives() -> None:
    store, keys = RecordingStore(), RecordingKeys()
    writer = commits(store, keys)
    with pytest.raises(Unavailable):
        writer.submit_blocking([Entry("1", [("no such table", b"{}")])])
    assert names(writer.submit_blocking([entry("2")])) == "a"
    writer.close()


def test_a_request_that_the_store_never_takes_does_not_take_its_neighbours_along() -> None:
    store = RecordingStore(lambda table, body: b"poison" in body)
    writer = commits(store, RecordingKeys())

    async def scene() -> list[Receipt | BaseException]:
        store.gate.clear()
        opening = asyncio.create_task(writer.submit([entry("0")]))
        await asyncio.to_thread(store.entered.wait, 20)
        waiting = [asyncio.create_task(writer.submit([entry(name)])) for name in ("1", "poison", "2")]
        await asyncio.sleep(0)
        store.gate.set()
        return await asyncio.gather(opening, *waiting, return_exceptions=True)

    first, one, bad, two = asyncio.run(scene())
    writer.close()
    assert isinstance(bad, Unavailable)
    assert [names(receipt) for receipt in (first, one, two) if isinstance(receipt, Receipt)] == [
        "a",
        "a",
        "a",
    ]


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    store = RecordingStore()
    writer = commits(store, RecordingKeys(), max_waiting=3)

    async def scene() -> list[Receipt | BaseException]:
        store.gate.clear()
        opening = asyncio.create_task(writer.submit([entry("0")]))
        await asyncio.to_thread(store.entered.wait, 20)
        waiting = [asyncio.create_task(writer.submit([entry(f"{n}a"), entry(f"{n}b")])) for n in range(2)]
        await asyncio.sleep(0)
        store.gate.set()
        return await asyncio.gather(opening, *waiting, return_exceptions=True)

    _, taken, refused = asyncio.run(scene())
    writer.close()
    assert isinstance(taken, Receipt)
    assert isinstance(refused, Unavailable)
    assert refused.retry_after_s == 1


def test_closing_writes_what_waits_and_takes_nothing_more() -> None:
    store = RecordingStore()
    writer = commits(store, RecordingKeys(), gather_ms=10_000)
    results: list[Receipt] = []
    sender = threading.Thread(target=lambda: results.append(writer.submit_blocking([entry("1")])))
    sender.start()
    while not writer._queue and not store.inserts:  # the sender's hand-over has no other sign
        sender.join(0.001)
    writer.close()
    sender.join(20)
    assert [names(receipt) for receipt in results] == ["a"]
    with pytest.raises(Unavailable):
        writer.submit_blocking([entry("2")])
    writer.close()


def test_a_caller_that_goes_away_does_not_stop_the_commit() -> None:
    store = RecordingStore()
    writer = commits(store, RecordingKeys())

    async def scene() -> Receipt:
        store.gate.clear()
        gone = asyncio.create_task(writer.submit([entry("1")]))
        await asyncio.to_thread(store.entered.wait, 20)
        gone.cancel()
        store.gate.set()
        return await writer.submit([entry("1")])

    assert names(asyncio.run(scene())) == "d"
    writer.close()


def test_a_long_commit_is_cut_into_inserts_the_store_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "INSERT_BYTES", 40)
    store = RecordingStore()
    writer = commits(store, RecordingKeys())
    receipt = writer.submit_blocking([entry(str(n)) for n in range(7)])
    writer.close()
    assert receipt.accepted == 7
    facts = [rows for table, rows in store.inserts if table == "facts"]
    assert len(facts) > 1
    assert [row for rows in facts for row in rows] == [f'{{"facts":"{n}"}}'.encode() for n in range(7)]
    assert [table for table, _ in store.inserts] == ["events"] * len(facts) + ["facts"] * len(facts)


def test_nothing_is_nothing() -> None:
    writer = commits(RecordingStore())
    assert writer.submit_blocking([]) == asyncio.run(writer.submit([])) == Receipt((), 0.0)
    assert Outcome.ACCEPTED == "accepted"


def test_keys_tell_apart_what_texts_put_together_would_not() -> None:
    keys = {
        item_key(*triple) for triple in (("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("", "ab", "c"))
    }
    assert len(keys) == 4
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)
    # BLAKE2b-128 of "1 1 abc" by coreutils: printf '1 1 abc' | b2sum -l 128
    assert item_key("a", "b", "c") == "9e21ee62f7cabe805b81af9f01303339"
