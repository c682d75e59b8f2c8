"""Short writes of many requests, several to one transaction where the store has a single writer.

On SQLite every transaction waits for the disk, and the next one waits for it: two hundred requests at once would
queue for two hundred syncs. Here they share: what waits when a transaction begins goes into it, each write in a
savepoint of its own, and all are answered after the commit. PostgreSQL shares syncs by itself, so there each write
has its own transaction and a few run side by side.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from cem.platform.aio import Bulkhead
from cem.platform.db import Database
from cem.platform.errors import DeadlineExceeded, Unavailable

T = TypeVar("T")

MOST_TOGETHER = 64
"""Writes of one transaction. [1] Chosen here: a sync costs as much as some tens of such writes, so more gain little."""


class SharedWrites:
    """Runs `fn(session)` in a transaction that others may share; returns when it is committed.

    Parameters
    ----------
    database
        Where.
    name
        Names the threads.
    threads
        Transactions side by side on PostgreSQL. [1]
    waiting
        Writes that may wait; a further one is refused. [1]
    """

    def __init__(self, database: Database, name: str, *, threads: int = 8, waiting: int = 5_000) -> None:
        self._database = database
        self._name = name
        self._limit = waiting
        self._alone = Bulkhead(name, threads, waiting) if database.dialect != "sqlite" else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._queue: deque[tuple[Callable[[Session], Any], Future[Any]]] = deque()
        self._lock = Lock()
        self._draining = False

    async def run(self, fn: Callable[[Session], T], *, timeout_s: float) -> T:
        """Run one write.

        Raises
        ------
        DeadlineExceeded
            `timeout_s` passed. A write that has not begun by then never begins.
        Unavailable
            Too many wait.
        """
        context = copy_context()  # the audit log wants the request's id

        def write(session: Session) -> T:
            return context.run(fn, session)

        if self._alone is not None:
            return await self._alone.run(self._apart, write, timeout_s=timeout_s)
        done: Future[T] = Future()
        with self._lock:
            if len(self._queue) >= self._limit:
                raise Unavailable(
                    f"{self._name}: {self._limit} writes wait; come back later.", retry_after_s=1
                )
            self._queue.append((write, done))
            if not self._draining:
                self._draining = True
                self._thread.submit(self._drain)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(done), timeout_s)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self._name} did not answer within {timeout_s:.3f} s.") from error

    def close(self) -> None:
        """Finish what waits, begin nothing more."""
        self._thread.shutdown(wait=True)
        if self._alone is not None:
            self._alone.close()

    def _apart(self, fn: Callable[[Session], T]) -> T:
        with self._database.write() as session:
            return fn(session)

    def _drain(self) -> None:
        while True:
            with self._lock:
                group = [self._queue.popleft() for _ in range(min(MOST_TOGETHER, len(self._queue)))]
                if not group:
                    self._draining = False
                    return
            self._together([(fn, done) for fn, done in group if done.set_running_or_notify_cancel()])

    def _together(self, group: list[tuple[Callable[[Session], Any], Future[Any]]]) -> None:
        results: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with self._database.engine.connect() as connection, connection.begin():
                for fn, done in group:
                    try:
                        with Session(
                            connection, join_transaction_mode="create_savepoint", expire_on_commit=False
                        ) as session:
                            result = fn(session)
                            session.commit()
                        results.append((done, result, None))
                    except Exception as error:  # one write's failure is its own
                        results.append((done, None, error))
        except Exception as error:  # the transaction's failure is everybody's
            for _, done in group:
                done.set_exception(error)
            return
        for done, result, failure in results:
            if failure is None:
                done.set_result(result)
            else:
                done.set_exception(failure)
