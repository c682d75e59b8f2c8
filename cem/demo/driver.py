"""The demo province at work: one hour of history as fast as the service takes it, then live traffic.

The only stateful part of the demo. It knows the service by its address and two keys, as any other caller does.
What counts most comes first: the last windows with the self-checks of their customers, then live traffic, and the
older rest beside it. Generating runs in a worker thread, a minute of history at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx

from cem.demo.delivery import Counts, Delivery, DemoKeys, Stopped
from cem.demo.faults import Fault, schedule
from cem.demo.traffic import SLOT, Batch, SelfCheck, slot_of, slot_traffic, slots
from cem.demo.wire import Document, provisioned
from cem.demo.world import World, build_world
from cem.platform.aio import run_blocking
from cem.platform.clock import Clock
from cem.platform.observe import get_logger
from cem.platform.windows import WINDOW, window_start

_log = get_logger("cem.demo")

T = TypeVar("T")
MINUTE = timedelta(minutes=1)
PIECE = timedelta(minutes=5)  # of history between one lot of customers and the next; chosen here
WAITING_CHECKS = 40  # live customers who wait at most; chosen here, so that none waits for minutes
LATER_CHECKS = 20  # customers trying the advice at once; chosen here, to bound what waits


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """How much of a province there is.

    Parameters
    ----------
    history
        How far back the first sending goes.
    history_rate, live_rate
        Viewings that end per second, then and now. [1/s]
    parallel
        Sendings of history, and customers, at once. [1]
    checks_since
        How far back windows reach whose customers tapped: an older fault would count in the window that now runs.
    checks_per_piece
        Most self-checks of five minutes of history. [1]
    check_pause_s
        Pause between two self-checks of each of the `parallel` customers, while few wait. [s]
    wait_ms
        How long a customer's phone waits for the verdict. [ms]
    """

    seed: int = 20260101
    history: timedelta = timedelta(hours=1)
    history_rate: float = 4.0
    live_rate: float = 16.0
    parallel: int = 3
    checks_since: timedelta = timedelta(minutes=43)
    checks_per_piece: int = 24
    check_pause_s: float = 2.5
    wait_ms: int = 5000
    summary_every: timedelta = timedelta(minutes=1)


async def run_demo(
    base_url: str,
    keys: DemoKeys,
    settings: DemoSettings,
    clock: Clock,
    stop: asyncio.Event,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Counts:
    """Run the province against a service until `stop` is set or the task is cancelled.

    Parameters
    ----------
    base_url
        Where the service answers, such as `http://127.0.0.1:8080`.
    transport
        Another way to reach the service than a socket; none outside tests.

    Returns
    -------
    What was sent and what became of it.
    """
    counts = Counts()
    limits = httpx.Limits(max_connections=settings.parallel + 4)
    timeout = httpx.Timeout(30.0)
    async with httpx.AsyncClient(
        base_url=base_url, limits=limits, timeout=timeout, transport=transport
    ) as client:
        province = _Province(Delivery(client, keys, stop, counts), settings, clock, counts)
        try:
            await province.run()
        except* Stopped:
            _log.info("demo province stopped", **counts.line())
    return counts


@dataclass(frozen=True, slots=True)
class _Again:
    """A second check that a customer makes after following the advice."""

    token: str
    self_check_id: str
    snapshot: Document


class _Province:
    def __init__(self, delivery: Delivery, settings: DemoSettings, clock: Clock, counts: Counts) -> None:
        self._delivery = delivery
        self._settings = settings
        self._clock = clock
        self._counts = counts
        self._world: World
        self._checks: asyncio.Queue[SelfCheck] = asyncio.Queue()
        self._tapped: dict[str, datetime] = {}
        self._trying = 0

    async def run(self) -> None:
        self._world = await run_blocking(build_world, self._settings.seed)
        await self._delivery.ready()
        await self._delivery.provision([provisioned(line) for line in self._world.subscribers])
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.parallel):
                group.create_task(self._customers(group))
            group.create_task(self._summaries())
            began = slot_of(self._clock.now())
            since = began - self._settings.history
            recent = max(since, self._first_window(began))
            reached = await self._recent(recent)
            group.create_task(self._live(reached))
            await self._facts(since, recent, parallel=1)
            took_s = round((self._clock.now() - began).total_seconds(), 1)
            _log.info("demo history sent", seconds=took_s, **self._counts.line())

    def _first_window(self, now: datetime) -> datetime:
        """The first window whose customers' checks still count in it."""
        oldest = window_start(now - self._settings.checks_since)
        return oldest if oldest >= now - self._settings.checks_since else oldest + WINDOW

    # -- history ---------------------------------------------------------------------------------------------

    async def _recent(self, at: datetime) -> datetime:
        """Send everything from `at` on, catching up with the time it takes; give the slot that now runs.

        Customers of a piece tap once the facts of the next one are there: by then the service has worked out what
        their neighbours saw.
        """
        waiting: list[SelfCheck] = []
        while True:
            until = min(at + PIECE, slot_of(self._clock.now()))
            if until <= at:
                self._queue(waiting)
                return at
            found = await self._facts(at, until, parallel=self._settings.parallel)
            self._queue(waiting)
            waiting, at = found, until

    async def _facts(self, since: datetime, until: datetime, *, parallel: int) -> list[SelfCheck]:
        """Send the facts of a stretch of the past, some minutes at a time; give its self-checks."""
        checks: list[SelfCheck] = []
        for spans in _chunks(list(_spans(since, until, MINUTE)), parallel):
            for found in await _all(self._minute(*span) for span in spans):
                checks += found
        return checks

    async def _minute(self, since: datetime, until: datetime) -> list[SelfCheck]:
        batch = await run_blocking(self._generate, since, until, self._settings.history_rate)
        await self._send(batch)
        return batch.checks

    def _generate(self, since: datetime, until: datetime, rate: float) -> Batch:
        faults = schedule(self._world, since - MINUTE, until + MINUTE)
        batch = Batch()
        for slot in slots(since, until):
            batch.add(slot_traffic(self._world, faults, slot, round(rate * SLOT.total_seconds())))
        return batch

    async def _send(self, batch: Batch) -> None:
        """Send a stretch's items; where the service has every report of it already, it has the rest too.

        So a province that is started again fills what it missed and doubles nothing, although its feed has a new
        key: samples are told apart by who sent them, reports by whose they are.
        """
        if batch.reports and await self._delivery.reports(batch.reports) == 0:
            return
        await self._delivery.samples("cloud", batch.cloud)
        await self._delivery.samples("pipe", batch.pipe)
        await self._delivery.samples("iot", batch.iot)

    def _queue(self, checks: Iterable[SelfCheck]) -> None:
        """Let customers of the past tap: some of each piece, chosen without regard to what hit them."""
        wanted = sorted(checks, key=lambda check: (check.id, check.at))
        chosen = [check for check in wanted if self._fresh(check)][: self._settings.checks_per_piece]
        for check in sorted(chosen, key=lambda check: check.at):
            self._checks.put_nowait(check)

    # -- live ------------------------------------------------------------------------------------------------

    async def _live(self, slot: datetime) -> None:
        """Send each slot's items when their moment has come, once a second; skip what a long pause has missed."""
        while True:
            batch = await run_blocking(self._generate, slot, slot + SLOT, self._settings.live_rate)
            for check in batch.checks:
                if self._checks.qsize() < WAITING_CHECKS and self._fresh(check):
                    self._checks.put_nowait(check)
            for second in range(int(SLOT.total_seconds())):
                until = slot + timedelta(seconds=second + 1)
                await self._sleep_until(until)
                await self._send(_part(batch, slot + timedelta(seconds=second), until))
            slot += SLOT
            if self._clock.now() - slot > MINUTE:
                slot = slot_of(self._clock.now())

    async def _customers(self, group: asyncio.TaskGroup) -> None:
        while True:
            check = await self._checks.get()
            await self._sleep_until(check.at)
            again = await self._customer(check)
            if again is not None and self._trying < LATER_CHECKS:
                self._trying += 1
                group.create_task(self._try_later(again))
            if self._checks.qsize() < WAITING_CHECKS:
                await self._delivery.pause(self._settings.check_pause_s)

    async def _try_later(self, again: _Again) -> None:
        try:
            await self._sleep_until(_observed_at(again.snapshot))
            await self._delivery.re_check(
                again.token, again.self_check_id, again.snapshot, self._settings.wait_ms
            )
        finally:
            self._trying -= 1

    async def _summaries(self) -> None:
        while True:
            await self._delivery.pause(self._settings.summary_every.total_seconds())
            _log.info("demo province", faults=len(self._faults_now()), **self._counts.line())

    def _faults_now(self) -> Sequence[Fault]:
        now = self._clock.now()
        return schedule(self._world, now, now + timedelta(seconds=1))

    # -- one customer ----------------------------------------------------------------------------------------

    async def _customer(self, check: SelfCheck) -> _Again | None:
        """One customer: tap, read, hand over or leave it; give what they try next where they follow the advice."""
        token = await self._delivery.device_token(check.number, check.install_id)
        if token is None:
            return None
        answer = await self._delivery.self_check(token, check.snapshot, self._settings.wait_ms)
        if answer is None:
            return None
        self_check_id = str(answer.get("id", check.id))
        if check.complains:
            await self._delivery.complain(token, self_check_id)
        return None if check.corrected is None else _Again(token, self_check_id, check.corrected)

    def _fresh(self, check: SelfCheck) -> bool:
        if check.id in self._tapped:
            return False
        forget = self._clock.now() - timedelta(hours=1)
        self._tapped = {id_: at for id_, at in self._tapped.items() if at > forget} | {check.id: check.at}
        return True

    async def _sleep_until(self, at: datetime) -> None:
        await self._delivery.pause((at - self._clock.now()).total_seconds())


def _observed_at(document: Document) -> datetime:
    return datetime.fromisoformat(document["observed_at"])


def _part(batch: Batch, since: datetime, until: datetime) -> Batch:
    """Give the items of a batch that were observed in `[since, until)`."""

    def within(documents: Sequence[Document]) -> list[Document]:
        return [document for document in documents if since <= _observed_at(document) < until]

    return Batch(within(batch.reports), within(batch.pipe), within(batch.cloud), within(batch.iot))


def _spans(since: datetime, until: datetime, step: timedelta) -> Iterable[tuple[datetime, datetime]]:
    while since < until:
        yield since, min(until, since + step)
        since += step


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def _all(calls: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Await all of them together; the first to fail ends the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call) for call in calls]
    return [task.result() for task in tasks]
