"""Self-checks from acceptance to verdict: whose line, how often, by when; evidence, decision, storing, telling.

A check is accepted when its row is on disk. Then a task gathers evidence until the deadline less a reserve, decides,
and stores verdict, stages and whatever other rooms make of it in one transaction. Callers wait for it, come back for
it, or follow its stages. A process that dies leaves the row; `sweeper` finishes it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any, TypeVar

import msgspec
from prometheus_client import Counter, Histogram
from sqlalchemy.orm import Session

from cem.platform.aio import Bulkhead
from cem.platform.clock import Clock
from cem.platform.db import Database, new_id
from cem.platform.errors import (
    Conflict,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from cem.platform.observe import REGISTRY, get_logger
from cem.platform.security import Principal, PrincipalKind
from cem.platform.shared_writes import SharedWrites
from demarcation import repository
from demarcation.acceptance import caller_of, initial_case, line_of
from demarcation.casefile import CaseFile
from demarcation.deadline import Deadline
from demarcation.decide import decide
from demarcation.gather import GuardedSource, Source, gather
from demarcation.models import CheckState, SelfCheck
from demarcation.ports import AuditPort, ComplaintHook, NumberIdentity, SnapshotStore, VerdictHook
from demarcation.question import Question
from demarcation.recheck import compare
from demarcation.replay import make_bundle
from demarcation.repository import StoredEvent
from demarcation.requests import CheckRequest, snapshot_id
from demarcation.rules import RuleSet
from demarcation.settings import SelfCheckSettings
from demarcation.snapshot import dimensions_of, fault_time_of
from demarcation.stages import Batch, Stages, StageWriter
from demarcation.taxonomy import Taxonomy
from demarcation.verdict import MissingSource, Verdict
from demarcation.verdict_store import Conclusion, fact_of, store_conclusion

T = TypeVar("T")
_log = get_logger("demarcation")

VERDICTS = Counter("cem_verdicts_total", "Verdicts reached.", ["domain", "cause"], registry=REGISTRY)
VERDICT_SECONDS = Histogram(
    "cem_verdict_seconds",
    "Time from accepting a self-check to its verdict on disk.",
    registry=REGISTRY,
    buckets=(0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20),
)
SNAPSHOTS_LOST = Counter(
    "cem_self_check_snapshots_lost_total", "Snapshots that could not be kept as a report.", registry=REGISTRY
)

STORE_TIMEOUT_S = 15.0
"""Longest wait for the operational store. [s] Chosen here: what is left of the outermost deadline of 20 s is for
everything else."""


@dataclass(frozen=True)
class CheckView:
    """A self-check as its caller sees it; `verdict` is its document, None while it runs."""

    check: SelfCheck
    verdict: Mapping[str, Any] | None


class SelfCheckService:
    """What the routes call.

    Parameters
    ----------
    sources
        Where evidence comes from, beyond the snapshot itself.
    identity
        Number → subscriber_id.
    snapshots
        Keeps the snapshot as a report; None: it is not kept.
    on_verdict, on_complaint
        What other rooms make of them, in the same transaction.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: SelfCheckSettings,
        rules: RuleSet,
        taxonomy: Taxonomy,
        *,
        sources: Sequence[Source] = (),
        identity: NumberIdentity,
        audit: AuditPort,
        snapshots: SnapshotStore | None = None,
        on_verdict: VerdictHook | None = None,
        on_complaint: ComplaintHook | None = None,
    ) -> None:
        self.settings = settings
        self.rules = rules
        self.taxonomy = taxonomy
        self._database = database
        self._clock = clock
        self._sources = [GuardedSource(source, settings.breaker) for source in sources]
        self._identity = identity
        self._audit = audit
        self._snapshots = snapshots
        self._on_verdict = on_verdict
        self._on_complaint = on_complaint
        self._writes = SharedWrites(database, "self-check-writes")
        self._stage_writer = StageWriter(lambda batch: self._write(self._store_events, batch))
        self._reads = Bulkhead("self-check-reads", 4, waiting=5_000)
        self._running: dict[str, asyncio.Task[CheckView | None]] = {}
        self._kept: set[asyncio.Task[None]] = set()
        self._ruleset_kept = False

    async def start(
        self,
        principal: Principal,
        request: CheckRequest,
        *,
        idempotency_key: str | None = None,
        parent_id: str | None = None,
    ) -> str:
        """Accept a check and set it going; answers its id. The same key again answers the same check.

        Raises
        ------
        Forbidden
            A device asked for a line that is not its own.
        InvalidInput
            Nobody was named, or the number is none.
        Conflict
            The key was used with another body.
        TooManyRequests
            The line reached its limit.
        NotFound
            There is no such check to repeat, or none that this caller may see.
        """
        asked = (
            self.settings.default_deadline_s if request.deadline_ms is None else request.deadline_ms / 1000
        )
        started = perf_counter()
        deadline = Deadline.after(min(asked, self.settings.longest_deadline_s), self._clock.monotonic)
        subscriber_id = line_of(principal, request, self._identity)
        if parent_id is not None:
            parent = await self._visible(principal, parent_id)
            if parent.subscriber_id != subscriber_id:
                raise NotFound(f"There is no self-check {parent_id}.")
        key = idempotency_key or snapshot_id(request.snapshot)
        now = self._clock.now()
        values = {
            "id": new_id("chk"),
            "subscriber_id": subscriber_id,
            "caller": caller_of(principal),
            "idempotency_key": None if key is None else f"{parent_id or 'new'}:{key}",
            "body_sha256": request.sha256,
            "parent_id": parent_id,
            "state": CheckState.ACCEPTED,
            "service": request.service,
            "stated": request.symptom,
            "locale": request.locale,
            "dimensions": dimensions_of(request.snapshot),
            "snapshot": dict(request.snapshot),
            "fault_at": fault_time_of(request.snapshot, now),
            "accepted_at": now,
            "deadline_at": now + timedelta(seconds=deadline.remaining()),
        }
        check, fresh = await self._write(self._insert, values, principal)
        if fresh:
            self._ruleset_kept = True
            task = asyncio.create_task(
                self._run(check, principal, deadline, started), name=f"self-check-{check.id}"
            )
            self._running[check.id] = task
            task.add_done_callback(lambda _: self._running.pop(check.id, None))
        return check.id

    def _insert(
        self, session: Session, values: Mapping[str, Any], principal: Principal
    ) -> tuple[SelfCheck, bool]:
        if principal.kind is not PrincipalKind.DEVICE:
            self._audit.record_in(session, principal, "self_checks.run", str(values["subscriber_id"]))
        now: datetime = values["accepted_at"]
        line = str(values["subscriber_id"])
        count, first = repository.checks_since(session, line, now - timedelta(hours=1))
        within = count < self.settings.per_line_per_hour or first is None
        if within and repository.insert_check(session, values):
            accepted = StoredEvent(0, "accepted", now, {"id": values["id"]})
            repository.insert_events(session, values["id"], [accepted])
            if not self._ruleset_kept:
                rules = self.rules
                repository.keep_ruleset(session, rules.sha256, rules.version, rules.text, now)
            return SelfCheck(**values), True
        key = values["idempotency_key"]
        known = None if key is None else repository.check_by_key(session, values["caller"], key)
        if known is None:
            assert first is not None, "only a key or the limit can refuse an insert"
            wait_s = (first + timedelta(hours=1) - now).total_seconds()
            raise TooManyRequests(
                f"This line made {count} self-checks within an hour, which is the most.",
                retry_after_s=max(1, math.ceil(wait_s)),
            )
        if known.body_sha256 != values["body_sha256"]:
            raise Conflict(
                "This idempotency key (or snapshot id) came before with another body; use a new one."
            )
        return known, False

    # running

    async def _run(
        self, check: SelfCheck, principal: Principal, deadline: Deadline, started: float
    ) -> CheckView | None:
        keeping = asyncio.create_task(self._keep_snapshot(check, principal, deadline))
        stages = Stages(lambda events: self._write_stages(check.id, events))
        try:
            case = initial_case(check, self.settings)
            first = self._decide(replace(case, missing=self._pending()))
            stages.add("provisional", self._clock.now(), _brief(first))
            case = await self._gather(case, check, deadline, stages)
            verdict = self._decide(case)
            took_ms = round((perf_counter() - started) * 1000)
            view, domain, cause = await self._conclude(check, case, verdict, took_ms, stages)
        except Exception as error:  # the task's edge: nobody awaits it; the sweeper finishes what is left
            _log.error("self-check failed", self_check=check.id, exc_info=error)
            return None
        else:
            VERDICTS.labels(domain, cause).inc()
            VERDICT_SECONDS.observe(perf_counter() - started)
            return view
        finally:
            self._kept.add(keeping)
            keeping.add_done_callback(self._kept.discard)

    def _pending(self) -> tuple[MissingSource, ...]:
        return tuple(
            MissingSource(one.source.name, "not yet", round(one.source.budget_s * 1000))
            for one in self._sources
        )

    def _decide(self, case: CaseFile) -> Verdict:
        return decide(case, self.rules, self.taxonomy, self.settings.decision)

    async def _gather(self, case: CaseFile, check: SelfCheck, deadline: Deadline, stages: Stages) -> CaseFile:
        given = self.settings
        reserve_s = max(given.reserve_s, given.reserve_each_s * len(self._running))
        reserve_s = min(reserve_s, deadline.remaining() / 2)
        question = Question(check.subscriber_id, check.dimensions, check.service, check.fault_at)
        evidence, peers = list(case.evidence), list(case.peers)
        orders: list[Mapping[str, Any]] = []
        missing: list[MissingSource] = []
        async for arrival in gather(self._sources, question, deadline.shield(reserve_s)):
            if arrival.found is not None:
                evidence += arrival.found.evidence
                peers += arrival.found.peers
                orders += arrival.found.orders
            if arrival.missing is not None:
                missing.append(arrival.missing)
            body = {
                "source": arrival.source,
                "took_ms": arrival.took_ms,
                "facts": 0
                if arrival.found is None
                else len(arrival.found.evidence) + len(arrival.found.peers),
                "missing": None if arrival.missing is None else arrival.missing.reason,
            }
            stages.add("evidence", self._clock.now(), body)
        return replace(
            case,
            evidence=tuple(sorted(evidence, key=lambda fact: (fact.key, fact.origin))),
            peers=tuple(sorted(peers, key=lambda one: (one.dimension, one.value))),
            orders=tuple(orders),
            missing=tuple(sorted(missing, key=lambda one: one.source)),
        )

    async def _conclude(
        self, check: SelfCheck, case: CaseFile, verdict: Verdict, took_ms: int, stages: Stages
    ) -> tuple[CheckView, str, str]:
        now = self._clock.now()
        bundle = make_bundle(case, self.rules, self.taxonomy, self.settings.decision)
        change = None
        if check.parent_id is not None:
            before = await self._read(self._verdict_document, check.parent_id)
            change = None if before is None else compare(before, case, verdict, self.rules)
        conclusion = Conclusion(verdict, bundle, self.rules.sha256, now, took_ms, "decided", change)
        events = await stages.finish(now)
        return await self._write(self._store, check.id, conclusion, events)

    def _store(
        self, session: Session, check_id: str, conclusion: Conclusion, events: Sequence[StoredEvent]
    ) -> tuple[CheckView, str, str]:
        check = repository.lock_check(session, check_id)
        document = store_conclusion(session, check, conclusion, events, self._on_verdict)
        session.flush()
        shown = msgspec.json.decode(msgspec.json.encode(document))
        return CheckView(check, shown), document["domain"], document["cause"]

    def _store_events(self, session: Session, batch: Batch) -> None:
        """Write stages while checks run."""
        for check_id, events in batch:
            repository.insert_events(session, check_id, events)

    async def _keep_snapshot(self, check: SelfCheck, principal: Principal, deadline: Deadline) -> None:
        if self._snapshots is None:
            return
        budget_s = deadline.child(self.settings.snapshot_budget_s).remaining()
        body = {**check.snapshot, "id": snapshot_id(check.snapshot) or check.id}
        try:
            await asyncio.wait_for(
                self._snapshots.store(body, check.subscriber_id, principal.kind.value), budget_s
            )
        except Exception as error:  # keeping the snapshot is a favour: its failure costs the verdict nothing
            SNAPSHOTS_LOST.inc()
            _log.warning("snapshot not kept", self_check=check.id, error=type(error).__name__)

    # asking

    async def wait(self, check_id: str, seconds: float) -> CheckView | None:
        """Wait until a check is done, at most so long, if it runs in this process; the check with its verdict. [s]

        None where it is not done by then, runs elsewhere, or has ended before: `view` tells.
        """
        task = self._running.get(check_id)
        if task is None or seconds <= 0:
            return None
        done, _ = await asyncio.wait({task}, timeout=seconds)
        return task.result() if done else None

    async def view(self, principal: Principal, check_id: str) -> CheckView:
        """A check with its verdict. Raises NotFound for one that this caller may not see."""
        view = await self._read(self._view, check_id)
        if view is None or not principal.covers(view.check.subscriber_id):
            raise NotFound(f"There is no self-check {check_id}.")
        return view

    async def events(self, check_id: str, after: int) -> list[StoredEvent]:
        """Stages beyond a sequence."""
        return await self._read(self._events, check_id, after)

    async def complain(self, principal: Principal, check_id: str) -> CheckView:
        """Hand the fault over; the second time changes nothing.

        Raises
        ------
        NotFound
            No such check for this caller.
        Conflict
            It has no verdict yet.
        Unavailable
            No room takes complaints.
        """
        await self._visible(principal, check_id)
        by = "customer" if principal.kind is PrincipalKind.DEVICE else "agent"
        await self._write(self._hand_over, check_id, by)
        return await self.view(principal, check_id)

    def _hand_over(self, session: Session, check_id: str, by: str) -> None:
        if self._on_complaint is None:
            raise Unavailable("Nobody takes complaints here.")
        check = repository.lock_check(session, check_id)
        stored = repository.verdict_of_check(session, check_id)
        if stored is None:
            raise Conflict("This self-check has no verdict yet; wait for it.", retry_after_s=1)
        if check.complained_at is not None:
            return
        check.complained_at = self._clock.now()
        stored.row.handed_over = True
        session.flush()
        check.case_id = self._on_complaint(session, fact_of(stored.row, check), by)

    async def _visible(self, principal: Principal, check_id: str) -> SelfCheck:
        check = await self._read(self._get, check_id)
        if check is None or not principal.covers(check.subscriber_id):
            raise NotFound(f"There is no self-check {check_id}.")
        return check

    def _view(self, check_id: str) -> CheckView | None:
        with self._database.read() as session:
            check = repository.get_check(session, check_id)
            if check is None:
                return None
            stored = (
                repository.verdict_of_check(session, check_id) if check.state == CheckState.DONE else None
            )
            session.expunge_all()
        return CheckView(check, None if stored is None else msgspec.json.decode(stored.document))

    def _get(self, check_id: str) -> SelfCheck | None:
        with self._database.read() as session:
            found = repository.get_check(session, check_id)
            session.expunge_all()
            return found

    def _events(self, check_id: str, after: int) -> list[StoredEvent]:
        with self._database.read() as session:
            return repository.events_after(session, check_id, after)

    def _verdict_document(self, check_id: str) -> dict[str, Any] | None:
        with self._database.read() as session:
            stored = repository.verdict_of_check(session, check_id)
            return None if stored is None else msgspec.json.decode(stored.document)

    async def _read(self, fn: Callable[..., T], *args: Any) -> T:
        return await self._reads.run(fn, *args, timeout_s=STORE_TIMEOUT_S)

    async def _write(self, fn: Callable[..., T], *args: Any) -> T:
        """Run `fn(session, *args)` in a transaction that other checks' writes may share."""
        return await self._writes.run(lambda session: fn(session, *args), timeout_s=STORE_TIMEOUT_S)

    async def drain(self, seconds: float) -> None:
        """Let running checks end, at most so long; the sweeper of another process finishes the rest. [s]"""
        running: set[asyncio.Task[Any]] = {*self._running.values(), *self._kept}
        if running:
            await asyncio.wait(running, timeout=seconds)

    def close(self) -> None:
        """Begin nothing more in the store."""
        self._writes.close()
        self._reads.close()

    async def _write_stages(self, check_id: str, events: Sequence[StoredEvent]) -> None:
        """Write stages while a check runs; a failure is left to the final write."""
        try:
            await self._stage_writer.write(check_id, events)
        except Exception as error:  # stages are for watching; the verdict's transaction writes them again
            _log.warning("stages not written yet", self_check=check_id, error=type(error).__name__)


def _brief(verdict: Verdict) -> dict[str, Any]:
    return {
        "domain": verdict.domain.value,
        "cause": verdict.cause,
        "confidence": verdict.confidence,
        "summary": {"zh": verdict.summary.zh, "en": verdict.summary.en},
    }
