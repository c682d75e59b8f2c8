"""Blocking work off the event loop, each kind in its own pool, so that a hung source exhausts only itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from cem.platform.errors import DeadlineExceeded, Unavailable

P = ParamSpec("P")
T = TypeVar("T")


async def run_blocking(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run short blocking work (one transaction, one page) in the shared worker threads."""
    return await anyio.to_thread.run_sync(lambda: fn(*args, **kwargs))


class Bulkhead:
    """A small thread pool of its own for one source.

    Parameters
    ----------
    name
        Names the threads.
    size
        Threads. [1]
    waiting
        Calls that may wait for a thread; a further one is refused at once. [1]
    """

    def __init__(self, name: str, size: int, waiting: int = 1_000) -> None:
        self.name = name
        self._size = size
        self._limit = size + waiting
        self._pool = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)
        self._pending = 0

    @property
    def pending(self) -> int:
        """Calls under way or waiting. [1]"""
        return self._pending

    async def run(self, fn: Callable[..., T], *args: Any, timeout_s: float) -> T:
        """Run `fn` in the pool; give up waiting after `timeout_s`.

        The thread itself goes on until its own time-out: a thread cannot be ended from outside. A call that
        has not begun by then never begins.

        Raises
        ------
        DeadlineExceeded
            `timeout_s` passed.
        Unavailable
            Pool and waiting room are full.
        """
        if self._pending >= self._limit:
            raise Unavailable(
                f"{self.name} has {self._pending} calls waiting; come back later.", retry_after_s=1
            )
        self._pending += 1
        future = self._pool.submit(fn, *args)
        future.add_done_callback(lambda _: self._leave())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
        except TimeoutError as error:
            future.cancel()
            raise DeadlineExceeded(f"{self.name} did not answer within {timeout_s:.3f} s.") from error

    def _leave(self) -> None:
        self._pending -= 1

    def close(self) -> None:
        """Begin nothing more; calls under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)
