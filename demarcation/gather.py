"""Evidence from every source at once, each within its own budget, behind its own breaker.

A source that hangs, fails or lies costs its evidence and nothing else: what did not arrive in time is listed as
missing. `gather` ends when all have answered or the deadline has passed, whichever comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from prometheus_client import Counter, Histogram

from cem.platform.errors import CemError, DeadlineExceeded, Unavailable
from cem.platform.observe import REGISTRY, get_logger
from demarcation.breaker import Breaker, BreakerSettings, abandoned, ask, failed, succeeded
from demarcation.deadline import Deadline
from demarcation.evidence import Evidence
from demarcation.peers import PeerCounts
from demarcation.question import Question
from demarcation.verdict import MissingSource

_log = get_logger("demarcation.gather")

SOURCE_SECONDS = Histogram(
    "cem_evidence_source_seconds",
    "Time a source of evidence took to answer.",
    ["source"],
    registry=REGISTRY,
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20),
)
SOURCE_MISSING = Counter(
    "cem_evidence_source_missing_total",
    "Times a source's evidence was missing.",
    ["source", "reason"],
    registry=REGISTRY,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What one source answered."""

    evidence: tuple[Evidence, ...] = ()
    peers: tuple[PeerCounts, ...] = ()
    orders: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Arrival:
    """One source's outcome: what it found, or why that is missing; `took_ms` is its time. [ms]"""

    source: str
    found: Found | None
    missing: MissingSource | None
    took_ms: int


class Source(Protocol):
    """Where evidence comes from; `name` is shown when it is missing, `budget_s` is the time it gets. [s]"""

    @property
    def name(self) -> str:
        """Shown when it is missing."""
        ...

    @property
    def budget_s(self) -> float:
        """Time it gets. [s]"""
        ...

    async def ask(self, question: Question, deadline: Deadline) -> Found:
        """Answer within the deadline. May raise anything; may hang."""
        ...


@dataclass
class GuardedSource:
    """A source behind its breaker."""

    source: Source
    settings: BreakerSettings = field(default_factory=BreakerSettings)
    breaker: Breaker = field(default_factory=Breaker)

    async def arrive(self, question: Question, deadline: Deadline) -> Arrival:
        """Ask the source; never raises but for cancellation."""
        mine = deadline.child(self.source.budget_s)
        started = perf_counter()
        may, self.breaker = ask(self.breaker, deadline.monotonic())
        if not may:
            return self._missing("resting after failures", started)
        given_s = mine.remaining()
        try:
            found = await asyncio.wait_for(self.source.ask(question, mine), given_s)
        except asyncio.CancelledError:
            self.breaker = abandoned(self.breaker)
            raise
        except (TimeoutError, DeadlineExceeded):
            # A caller in a hurry is no proof against the source: only its full budget is.
            if given_s >= self.source.budget_s * 0.9:
                self.breaker = failed(self.breaker, deadline.monotonic(), self.settings)
            else:
                self.breaker = abandoned(self.breaker)
            return self._missing("no answer in time", started)
        except Unavailable as error:
            self.breaker = failed(self.breaker, deadline.monotonic(), self.settings)
            return self._missing(f"not available: {error.detail}"[:200], started)
        except Exception as error:  # the edge of a source: whatever it does costs only its evidence
            self.breaker = failed(self.breaker, deadline.monotonic(), self.settings)
            detail = error.detail if isinstance(error, CemError) else type(error).__name__
            _log.warning("source failed", source=self.source.name, error=detail)
            return self._missing(f"failed: {detail}"[:200], started)
        self.breaker = succeeded(self.breaker)
        took_s = perf_counter() - started
        SOURCE_SECONDS.labels(self.source.name).observe(took_s)
        return Arrival(self.source.name, found, None, round(took_s * 1000))

    def _missing(self, reason: str, started: float) -> Arrival:
        SOURCE_MISSING.labels(self.source.name, reason.partition(":")[0]).inc()
        budget_ms = round(self.source.budget_s * 1000)
        took_ms = round((perf_counter() - started) * 1000)
        return Arrival(
            self.source.name, None, MissingSource(self.source.name, reason, budget_ms), max(took_ms, 0)
        )


async def gather(
    sources: Sequence[GuardedSource], question: Question, deadline: Deadline
) -> AsyncIterator[Arrival]:
    """Outcomes as they come in; every source gives exactly one, the late ones as missing at the deadline."""
    tasks = {
        asyncio.create_task(guarded.arrive(question, deadline), name=f"source-{guarded.source.name}"): guarded
        for guarded in sources
    }
    waiting = set(tasks)
    try:
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=deadline.remaining(), return_when=asyncio.FIRST_COMPLETED
            )
            for task in sorted(done, key=lambda one: one.get_name()):
                yield task.result()
            if not done:
                break
        for task in sorted(waiting, key=lambda one: one.get_name()):
            source = tasks[task].source
            missing = MissingSource(source.name, "no answer in time", round(source.budget_s * 1000))
            SOURCE_MISSING.labels(source.name, "no answer in time").inc()
            yield Arrival(source.name, None, missing, round(source.budget_s * 1000))
    finally:
        for task in waiting:
            task.cancel()
