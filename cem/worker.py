"""Runs the background jobs: each in its own thread, one unit of work at a time, again after a pause.

A job is killed with its process at any line; each is written so that running it again is right. One that
fails is logged, counted and tried again with a growing pause; it never takes another one down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from cem.platform.aio import Bulkhead
from cem.platform.clock import Clock
from cem.platform.observe import JOB_FAILURES, JOB_LAST_SUCCESS, JOB_SECONDS, get_logger

_log = get_logger("cem.worker")

LONGEST_PAUSE_S = 60.0
"""Between tries of a failing job. Chosen here: an operator sees recovery within a minute."""

LONGEST_UNIT_S = 3_600.0
"""A unit that takes longer is reported as hung. Chosen here: no unit handles more than one window."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something done again and again.

    Parameters
    ----------
    name
        Label in metrics and logs.
    tick
        One unit of work; returns how much it did. Zero: nothing to do until `interval_s` has passed.
    interval_s
        Pause when there is nothing to do. [s]
    """

    name: str
    tick: Callable[[], int]
    interval_s: float


class Worker:
    """Runs jobs until it is told to stop; then lets the units under way finish."""

    def __init__(self, jobs: Sequence[Job], clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begin no further unit."""
        self._stop.set()

    async def run(self) -> None:
        """Run every job until `stop`."""
        async with asyncio.TaskGroup() as group:
            for job in self._jobs:
                group.create_task(self._repeat(job), name=f"job-{job.name}")

    async def _repeat(self, job: Job) -> None:
        pool = Bulkhead(f"job-{job.name}", 1)
        pause = job.interval_s
        while not self._stop.is_set():
            started = perf_counter()
            try:
                done = await pool.run(job.tick, timeout_s=LONGEST_UNIT_S)
            except Exception as error:  # a job loop's edge: logged, counted, tried again
                JOB_FAILURES.labels(job.name).inc()
                pause = min(LONGEST_PAUSE_S, pause * 2)
                _log.error("job failed", job=job.name, again_in_s=pause, exc_info=error)
            else:
                JOB_SECONDS.labels(job.name).observe(perf_counter() - started)
                JOB_LAST_SUCCESS.labels(job.name).set(self._clock.now().timestamp())
                pause = 0.0 if done else job.interval_s
            await self._wait(pause or min(0.05, job.interval_s))
            pause = max(pause, job.interval_s)
        pool.close()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
