"""Many requests, one insert: the writer that stands between ingest routes and the KQI store.

Requests hand over entries (rows already encoded) and wait. One thread takes everything that waits, drops what
it has seen before, writes one insert per table and only then answers: an answer of "accepted" is given after
the rows are on disk. What an entry means, and how it is named, is the room's business.

    keys = StoredKeys(store, clock, kind="reports", exclusive=True)
    commits = GroupCommit(store, clock, name="reports", tables=("player_events", "reports"), keys=keys)
    receipt = await commits.submit([Entry(key, (("reports", row_as_json),))])
    receipt.outcomes[0] is Outcome.ACCEPTED

Why nothing is lost or doubled, whatever crashes when:

- `tables` are written in their order; the last one is the one whose rows say "this entry is stored" (it is
  what `keys` knows). A crash before it leaves rows of earlier tables that no count starts from; nobody was
  answered, the client sends again, the same rows come again and collapse by their key.
- A crash after it leaves the entry stored but not answered: sent again, it is a duplicate.
- A failed or timed-out insert rejects every request that waited for it (503). Rows that did arrive are found
  when the request comes again.
- Two processes that take the same entry at the same instant both write it; both rows have one key and
  collapse where they are read (`FINAL`).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram

from cem.platform.clock import Clock
from cem.platform.errors import CemError, Unavailable
from cem.platform.facts import FactStore
from cem.platform.item_keys import KnownKeys
from cem.platform.observe import REGISTRY, get_logger

COMMIT_SECONDS = Histogram(
    "cem_ingest_commit_seconds",
    "From handing over to on disk, per request.",
    ["lane"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)
COMMIT_ENTRIES = Histogram(
    "cem_ingest_commit_entries",
    "Entries of one group commit.",
    ["lane"],
    buckets=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000),
    registry=REGISTRY,
)
WAITING_ENTRIES = Gauge(
    "cem_ingest_queue_items", "Items that wait for a commit.", ["lane"], registry=REGISTRY
)
ENTRIES = Counter(
    "cem_ingest_entries_total", "Entries answered, by outcome.", ["lane", "outcome"], registry=REGISTRY
)
FAILURES = Counter(
    "cem_ingest_failed_commits_total", "Commits that the store refused.", ["lane"], registry=REGISTRY
)

INSERT_BYTES = 16 * 1024 * 1024
"""Longest body of one insert. [B] Chosen here: a quarter of what the store takes, some 20,000 reports."""

SLOW_FAILURE_S = 2.0
"""A refusal that takes longer is the store's own trouble, not one bad row. [s] Chosen here: a good commit takes
a hundredth of it."""

SLOW_STORE_SHARE = 0.5
LONGEST_GATHER_S = 0.05
"""While commits are slow, the next one gathers for this share of the last one's time, up to so long: a commit's
cost is mostly fixed, so fewer and larger ones let a busy store keep up. [1], [s] Chosen here."""

_log = get_logger(__name__)


class Outcome(StrEnum):
    """What became of an entry."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to store, whole or not at all.

    Parameters
    ----------
    key
        Its identity: of two entries with one key the first counts. 32 hexadecimal digits where `checked`.
    rows
        Table and row, a row being one JSON object in UTF-8 without a line end.
    checked
        Whether the store is asked if the key is known. Without it only repeats inside one commit are
        dropped, and the tables must collapse the others.
    """

    key: str
    rows: Sequence[tuple[str, bytes]]
    checked: bool = True


@dataclass(frozen=True, slots=True)
class Receipt:
    """Answer to a batch: on disk.

    Parameters
    ----------
    outcomes
        One per entry, in their order.
    commit_ms
        From handing over to on disk. [ms]
    """

    outcomes: tuple[Outcome, ...]
    commit_ms: float

    @property
    def accepted(self) -> int:
        """Entries that were new. [1]"""
        return self.outcomes.count(Outcome.ACCEPTED)

    @property
    def duplicate(self) -> int:
        """Entries that were there already. [1]"""
        return self.outcomes.count(Outcome.DUPLICATE)


Batch = Sequence[Entry]


@dataclass(slots=True)
class _Waiting:
    """A request's batch, and where its answer goes."""

    batch: Batch
    since_s: float
    answer: asyncio.Future[Receipt] | Future[Receipt]
    loop: asyncio.AbstractEventLoop | None
    result: Receipt | CemError | None = field(default=None)


class GroupCommit:
    """One writer thread and its queue.

    Parameters
    ----------
    store, clock
        Where rows go, and what measures.
    name
        Names the thread and the metrics' lane.
    tables
        Every table that entries may name, in the order of writing.
    keys
        What is stored already; None where entries are never checked.
    gather_ms
        How long a commit waits for more requests while the store is quick. [ms]
    max_waiting
        Entries that may wait; a further request gets 503. One request alone may exceed it. [1]
    commit_entries
        A commit of so many entries is not made larger. [1]
    """

    def __init__(
        self,
        store: FactStore,
        clock: Clock,
        *,
        name: str,
        tables: Sequence[str],
        keys: KnownKeys | None = None,
        gather_ms: float = 5.0,
        max_waiting: int = 200_000,
        commit_entries: int = 20_000,
    ) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._tables = tuple(tables)
        self._keys = keys
        self._gather_s = gather_ms / 1000
        self._last_commit_s = 0.0
        self._max_waiting = max_waiting
        self._commit_entries = commit_entries
        self._queue: deque[_Waiting] = deque()
        self._entries = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._seconds = COMMIT_SECONDS.labels(name)
        self._sizes = COMMIT_ENTRIES.labels(name)
        self._accepted = ENTRIES.labels(name, Outcome.ACCEPTED)
        self._duplicate = ENTRIES.labels(name, Outcome.DUPLICATE)
        WAITING_ENTRIES.labels(name).set_function(lambda: float(self._entries))

    async def submit(self, batch: Batch) -> Receipt:
        """Store a batch; return when it is on disk.

        A caller that stops waiting does not stop the commit.

        Raises
        ------
        Unavailable
            The queue is full, the writer is closing, or the store refused; nothing was accepted.
        """
        if not batch:
            return Receipt((), 0.0)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Receipt] = loop.create_future()
        self._put(_Waiting(batch, self._clock.monotonic(), answer, loop))
        return await answer

    def submit_blocking(self, batch: Batch) -> Receipt:
        """`submit` for callers in a thread of their own. Raises as `submit`."""
        if not batch:
            return Receipt((), 0.0)
        answer: Future[Receipt] = Future()
        self._put(_Waiting(batch, self._clock.monotonic(), answer, None))
        return answer.result()

    def close(self, timeout_s: float = 20.0) -> None:
        """Take nothing more, write what waits, end the thread. Safe to call twice. [s]"""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _put(self, waiting: _Waiting) -> None:
        with self._changed:
            if self._closing:
                raise Unavailable("The service is stopping; send it again.", retry_after_s=5)
            if self._entries and self._entries + len(waiting.batch) > self._max_waiting:
                raise Unavailable(
                    f"{self._entries} items wait to be stored; send it again later.", retry_after_s=1
                )
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"commit-{self._name}", daemon=True)
                self._thread.start()
            self._queue.append(waiting)
            self._entries += len(waiting.batch)
            if len(self._queue) == 1 or self._entries >= self._commit_entries:
                self._changed.notify_all()

    def _run(self) -> None:
        while (group := self._gather()) is not None:
            if group:
                began_s = self._clock.monotonic()
                self._commit(group)
                self._last_commit_s = self._clock.monotonic() - began_s
                _deliver(group)
            if self._keys is not None:
                self._settle(self._keys, idle=not group)
        if self._keys is not None:
            self._settle(self._keys, idle=True)

    def _settle(self, keys: KnownKeys, *, idle: bool) -> None:
        """Give the key table its share of time; its failure is tried again and costs no answer."""
        try:
            keys.settle(idle=idle)
        except Exception:  # the job loop's edge: the thread must live
            _log.warning("keys not written yet", lane=self._name, exc_info=True)

    def _gather(self) -> list[_Waiting] | None:
        """What waits; empty after a second of nothing; None when closed and empty."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._queue) or self._closing, timeout=1.0):
                return []
            if not self._queue:
                return None
            if not self._closing and self._entries < self._commit_entries:
                slow_s = min(self._last_commit_s * SLOW_STORE_SHARE, LONGEST_GATHER_S)
                self._changed.wait_for(
                    lambda: self._closing or self._entries >= self._commit_entries,
                    timeout=max(self._gather_s, slow_s),
                )
            group = [self._queue.popleft()]
            size = len(group[0].batch)
            while self._queue and size + len(self._queue[0].batch) <= self._commit_entries:
                group.append(self._queue.popleft())
                size += len(group[-1].batch)
            self._entries -= size
            return group

    def _commit(self, group: Sequence[_Waiting]) -> None:
        """Fill every `result` of the group."""
        began_s = self._clock.monotonic()
        try:
            self._write(group)
            return
        except CemError as error:
            failure = error
            FAILURES.labels(self._name).inc()
            _log.warning("commit refused", lane=self._name, requests=len(group), error=error.detail)
        except Exception as error:  # the job loop's edge: a request must be answered, the thread must live
            failure = Unavailable("The items could not be stored.", retry_after_s=1)
            FAILURES.labels(self._name).inc()
            _log.error("commit failed", lane=self._name, requests=len(group), exc_info=error)
        # A request whose rows the store will never take must not take its neighbours with it: each alone,
        # until a second one fails too (then it is the store). A store that hangs is not asked again.
        refused = 2 if self._clock.monotonic() - began_s > SLOW_FAILURE_S else 0
        for waiting in group:
            if len(group) > 1 and refused < 2:
                try:
                    self._write((waiting,))
                    continue
                except Exception:
                    refused += 1
                    _log.warning("request refused alone", lane=self._name, exc_info=True)
            waiting.result = Unavailable(
                f"Nothing of this request was accepted: {failure.detail}",
                retry_after_s=failure.retry_after_s or 1,
            )

    def _write(self, group: Sequence[_Waiting]) -> None:
        seen: set[str] = set()
        firsts: list[Entry] = []
        for waiting in group:
            for entry in waiting.batch:
                if entry.key not in seen:
                    seen.add(entry.key)
                    firsts.append(entry)
        checked = [entry.key for entry in firsts if entry.checked]
        known = self._keys.among(checked) if self._keys is not None and checked else frozenset[str]()
        fresh = [entry for entry in firsts if entry.key not in known]
        if fresh:
            self._insert(fresh)
            if self._keys is not None:
                self._keys.add([entry.key for entry in fresh if entry.checked])
        self._sizes.observe(len(seen))
        left = {entry.key for entry in fresh}
        now_s = self._clock.monotonic()
        for waiting in group:
            outcomes = []
            for entry in waiting.batch:
                if entry.key in left:
                    left.remove(entry.key)
                    outcomes.append(Outcome.ACCEPTED)
                else:
                    outcomes.append(Outcome.DUPLICATE)
            receipt = Receipt(tuple(outcomes), 1000 * (now_s - waiting.since_s))
            waiting.result = receipt
            self._seconds.observe(now_s - waiting.since_s)
            self._accepted.inc(receipt.accepted)
            self._duplicate.inc(receipt.duplicate)

    def _insert(self, entries: Sequence[Entry]) -> None:
        rows: dict[str, list[bytes]] = {table: [] for table in self._tables}
        for entry in entries:
            for table, row in entry.rows:
                rows[table].append(row)
        for table in self._tables:
            for body in _bodies(rows[table]):
                self._store.insert(table, body, "JSONEachRow")


def _bodies(rows: Sequence[bytes]) -> Iterator[bytes]:
    """Rows joined into bodies of at most `INSERT_BYTES` (or one row)."""
    part: list[bytes] = []
    size = 0
    for row in rows:
        if part and size + len(row) >= INSERT_BYTES:
            yield b"\n".join(part)
            part, size = [], 0
        part.append(row)
        size += len(row) + 1
    if part:
        yield b"\n".join(part)


def _deliver(group: Iterable[_Waiting]) -> None:
    """Answer every request; one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for waiting in group:
        if waiting.loop is None:
            _answer([waiting])
        else:
            by_loop.setdefault(waiting.loop, []).append(waiting)
    for loop, theirs in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_answer, theirs)


def _answer(group: Iterable[_Waiting]) -> None:
    for waiting in group:
        if waiting.answer.done():  # the caller went away
            continue
        if isinstance(waiting.result, Receipt):
            waiting.answer.set_result(waiting.result)
        else:
            assert waiting.result is not None
            waiting.answer.set_exception(waiting.result)
