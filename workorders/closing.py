"""Closing windows: cases become work orders, exactly once, whatever crashes, repeats or arrives late.

Each tick is one transaction. It decides on at most a batch of cases; the transaction that decides on the last
undecided case of a window also writes the window down as closed. A process that dies anywhere leaves whole
batches behind, and the next one goes on with what is still undecided: a decision reads only what is stored.

Several workers may tick at once: one transaction closes at a time (an advisory lock on PostgreSQL, the write
lock on SQLite), it plans anew under the lock, and unique keys stand behind that.

Cases that come into a closed window are swept by the next tick, however they raced with its closing: what is
undecided in a closed window is late by definition, and amends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from time import perf_counter

from sqlalchemy.orm import Session

from cem.platform.clock import Clock
from cem.platform.db import Database, new_id
from cem.platform.observe import get_logger
from cem.platform.windows import WINDOW, windows_between
from workorders import closing_repository as repository
from workorders.grouping import Grouping, scope_key, swallows
from workorders.lifecycle import EventKind, OrderState
from workorders.models import Case, OrderCase, OrderEvent, WorkOrder
from workorders.observation import (
    ORDERS_OPEN,
    ORDERS_OPENED,
    WINDOW_CLOSE_LAG_SECONDS,
    WINDOW_CLOSE_SECONDS,
)
from workorders.policy import (
    Action,
    CaseFacts,
    CaseState,
    CloseReason,
    Decision,
    GroupCount,
    PolicySettings,
    Reason,
    ResolvedOrder,
    decide,
)
from workorders.schedule import Plan, Work, next_work
from workorders.scope import Owner, Scope, Segment, possible_scopes

BATCH_CASES = 300
"""Cases decided on in one transaction. Chosen here: cases that join an order cost about 0.3 ms each, opening one
about 4 ms, so the write lock is held some 0.1 s as a rule and under about a second at worst. [1]"""

SYSTEM = "system:window-closer"
"""Actor in an order's history where no person acted."""

_log = get_logger("workorders.closing")


def _uninterrupted(_point: str) -> None:
    return


@dataclass
class _Batch:
    """What one transaction knows while it decides."""

    at: datetime
    as_of: datetime
    amending: bool
    active: dict[str, WorkOrder]
    resolved: dict[str, ResolvedOrder]
    wider: list[WorkOrder]
    counts: dict[str, GroupCount]
    opened: list[WorkOrder] = field(default_factory=list)
    requeue: set[str] = field(default_factory=set)


class WindowCloser:
    """Closes quarter-hour windows in event order.

    Parameters
    ----------
    batch_cases
        Cases decided on in one transaction. [1]
    checkpoint
        Called with the name of every step; a test raises there to play a crash.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: PolicySettings,
        *,
        batch_cases: int = BATCH_CASES,
        checkpoint: Callable[[str], None] = _uninterrupted,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._batch_cases = batch_cases
        self._checkpoint = checkpoint

    def tick(self) -> int:
        """Do one transaction's worth of closing; returns cases decided on plus windows closed."""
        started = perf_counter()
        now = self._clock.now()
        with self._database.read() as session:
            plan = self._plan(session, now)
            ORDERS_OPEN.set(repository.count_active(session))
        self._observe_lag(plan, now)
        if plan.work is Work.NOTHING:
            return 0
        self._checkpoint("planned")
        with self._database.write() as session:
            if not repository.lock_closing(session):
                return 0
            self._checkpoint("locked")
            plan = self._plan(session, now)
            done, opened = self._do(session, plan, now)
            self._checkpoint("before commit")
        self._checkpoint("committed")
        for domain, count in opened.items():
            ORDERS_OPENED.labels(domain).inc(count)
        WINDOW_CLOSE_SECONDS.labels(plan.work.value).observe(perf_counter() - started)
        _log.info(
            "windows",
            work=plan.work.value,
            first=plan.first.isoformat(),
            last=plan.last.isoformat(),
            done=done,
            orders_opened=opened.total(),
        )
        return done

    def _plan(self, session: Session, now: datetime) -> Plan:
        return next_work(
            repository.last_closed(session),
            repository.earliest_unjudged(session),
            now,
            self._settings.watermark,
        )

    def _observe_lag(self, plan: Plan, now: datetime) -> None:
        due = plan.first + WINDOW + self._settings.watermark
        behind = (now - due).total_seconds() if plan.work in {Work.CLOSE, Work.CLOSE_EMPTY} else 0.0
        WINDOW_CLOSE_LAG_SECONDS.set(max(0.0, behind))

    def _do(self, session: Session, plan: Plan, now: datetime) -> tuple[int, Counter[str]]:
        if plan.work is Work.NOTHING:
            return 0, Counter()
        if plan.work is Work.CLOSE_EMPTY:
            starts = list(windows_between(plan.first, plan.last))
            repository.close_empty_windows(session, starts, now)
            self._expire(session, plan.last, now)
            return len(starts), Counter()
        return self._decide_batch(session, plan, now)

    def _expire(self, session: Session, closed: datetime, now: datetime) -> None:
        repository.expire_waiting(session, closed - self._settings.hold_for, now, self._batch_cases)

    def _decide_batch(self, session: Session, plan: Plan, now: datetime) -> tuple[int, Counter[str]]:
        """Decide on a batch of the windows up to the plan's; close its window if that was the last."""
        as_of = plan.last
        cases = repository.unjudged(session, as_of, self._batch_cases)
        batch = self._read(session, cases, as_of, now, amending=plan.work is Work.AMEND)
        self._checkpoint("read")
        late: Counter[datetime] = Counter(case.window_start for case in cases if _late(case, batch))
        by_group = groupby(cases, key=lambda case: (case.window_start, case.scope_width, case.group_key))
        with session.no_autoflush:  # one flush for all groups; who reads what was just written flushes first
            for _, group in by_group:
                self._decide_group(session, list(group), batch)
        session.flush()
        repository.requeue_waiting(session, batch.requeue, as_of - self._settings.hold_for, as_of)
        self._checkpoint("decided")
        closed = 0
        if plan.work is Work.CLOSE and not repository.any_unjudged(session, as_of):
            closed = repository.close_windows(session, [as_of], now)
            self._expire(session, as_of, now)
        self._checkpoint("closed")
        touched = {case.window_start for case in cases} | {as_of} | {o.window_start for o in batch.opened}
        for start in sorted(touched):
            repository.count_window(session, start)
            if late[start]:
                repository.note_amendments(session, start, late[start], now)
        return len(cases) + closed, Counter(order.domain for order in batch.opened)

    def _read(
        self, session: Session, cases: Sequence[Case], as_of: datetime, now: datetime, *, amending: bool
    ) -> _Batch:
        keys = {case.group_key for case in cases}
        active = repository.active_by_key(session, keys)
        orphans = [case for case in cases if case.group_key not in active]
        orphan_keys = {case.group_key for case in orphans}
        wider_keys = {
            scope_key(scope)
            for case in orphans
            if not case.individual
            for scope in (
                *Scope.of(case.scope).parents(),
                *possible_scopes(case.dimensions, service=case.service),
            )
        }
        return _Batch(
            at=now,
            as_of=as_of,
            amending=amending,
            active=active,
            resolved=repository.latest_resolved(session, orphan_keys, min(c.felt_at for c in orphans))
            if orphans
            else {},
            wider=list(repository.active_by_scope(session, wider_keys)),
            counts=repository.waiting_counts(session, orphan_keys, as_of - self._settings.hold_for, as_of),
        )

    def _decide_group(self, session: Session, cases: Sequence[Case], batch: _Batch) -> None:
        """Decide on the cases of one key and window, and do it."""
        first = cases[0]
        grouping = _grouping(first)
        parent = _parent(grouping, cases, batch) if first.group_key not in batch.active else None
        destined: dict[str, list[tuple[Case, Reason]]] = {}
        for case in cases:
            order = batch.active.get(case.group_key)
            decision = decide(
                CaseFacts(CaseState(case.state), case.individual, case.felt_at, _late(case, batch)),
                open_order=order.id if order else None,
                resolved=batch.resolved.get(case.group_key),
                parent=parent,
                group=batch.counts.get(case.group_key, GroupCount(0, handed_over=False)),
                min_subscribers=self._settings.min_subscribers,
            )
            target = self._target(session, case, grouping, decision, batch)
            if target is not None:
                destined.setdefault(target, []).append((case, decision.reason))
            case.judged_at = batch.at
            case.judged_reason = decision.reason
        for order_id, members in destined.items():
            self._attach(session, session.get_one(WorkOrder, order_id), members, batch)

    def _target(
        self, session: Session, case: Case, grouping: Grouping, decision: Decision, batch: _Batch
    ) -> str | None:
        """Id of the order that the decision sends the case to; opens it where that is the decision."""
        if decision.action is not Action.OPEN:
            return decision.order_id
        order = self._open(session, case, grouping, batch)
        batch.active[case.group_key] = order
        batch.requeue.add(case.group_key)
        self._checkpoint("order opened")
        return order.id

    def _open(self, session: Session, case: Case, grouping: Grouping, batch: _Batch) -> WorkOrder:
        day = case.window_start.strftime("%Y%m%d")
        number = repository.reserve_numbers(session, day, 1)
        order = repository.insert_order(
            session,
            {
                "id": new_id("wo"),
                "number": f"WO-{day}-{number:04d}",
                "group_key": case.group_key,
                "scope_key": scope_key(grouping.scope),
                "cause": case.cause,
                "domain": case.domain,
                "segment": case.segment,
                "owner": case.owner,
                "individual": case.individual,
                "scope": case.scope,
                "state": OrderState.OPEN,
                "active": True,
                "version": 1,
                "case_count": 0,
                "affected": 0,
                "window_start": case.window_start,
                "first_fault_at": case.fault_at,
                "last_fault_at": case.fault_at,
                "opened_at": batch.at,
                "updated_at": batch.at,
                "reopened_count": 0,
            },
        )
        if order is None:
            # Somebody reopened the key's order after this transaction looked: the index refused a second
            # one, and the case joins the one that there is. The number stays unused.
            return repository.active_by_key(session, {case.group_key})[case.group_key]
        batch.opened.append(order)
        return order

    def _attach(
        self, session: Session, order: WorkOrder, members: Sequence[tuple[Case, Reason]], batch: _Batch
    ) -> None:
        cases = [case for case, _ in members]
        just_opened = order.case_count == 0
        subscribers = {case.subscriber_id for case in cases}
        links: dict[str, OrderCase] = {}
        new = subscribers
        if not just_opened:
            session.flush()
            links = repository.known_links(session, order.id, {case.id for case in cases})
            new = subscribers - repository.known_subscribers(session, order.id, subscribers)
        for case, reason in members:
            link = links.get(case.id)
            if link is not None:
                link.left_at = None
            else:
                session.add(
                    OrderCase(
                        order_id=order.id,
                        case_id=case.id,
                        subscriber_id=case.subscriber_id,
                        reason=reason,
                        window_start=case.window_start,
                        attached_at=batch.at,
                    )
                )
                order.case_count += 1
            case.state = CaseState.ATTACHED
            if not order.active:
                case.state = CaseState.CLOSED
                case.closed_at = batch.at
                case.close_reason = CloseReason.ORDER_RESOLVED
        order.affected += len(new)
        order.first_fault_at = min(order.first_fault_at, *(case.fault_at for case in cases))
        order.last_fault_at = max(order.last_fault_at, *(case.fault_at for case in cases))
        order.updated_at = batch.at
        reasons = Counter(reason.value for _, reason in members)
        _record(
            session,
            order,
            EventKind.OPENED if just_opened else EventKind.CASES_ATTACHED,
            batch.at,
            to_state=OrderState.OPEN if just_opened else None,
            reason=members[0][1],
            data={"cases": len(cases), "new_subscribers": len(new), "reasons": dict(sorted(reasons.items()))},
        )
        self._checkpoint("attached")


def _late(case: Case, batch: _Batch) -> bool:
    """Whether the case came into a window that was closed already (and is not merely counted again)."""
    return case.judged_reason is None and (batch.amending or case.window_start < batch.as_of)


def _grouping(of: Case | WorkOrder) -> Grouping:
    return Grouping(of.cause, Segment(of.segment), Scope.of(of.scope), Owner(of.owner), of.individual)


def _parent(child: Grouping, cases: Sequence[Case], batch: _Batch) -> str | None:
    """The open order that explains the child's cases; of several the nearest, then the oldest."""
    faults = [{**case.dimensions, "service": case.service} for case in cases]
    found = [order for order in (*batch.wider, *batch.opened) if swallows(_grouping(order), child, faults)]
    return min(found, key=lambda order: (-len(order.scope), order.id)).id if found else None


def _record(
    session: Session,
    order: WorkOrder,
    kind: EventKind,
    at: datetime,
    *,
    reason: str | None = None,
    to_state: OrderState | None = None,
    data: dict[str, object] | None = None,
) -> None:
    session.add(
        OrderEvent(
            id=new_id("oe"),
            order_id=order.id,
            at=at,
            kind=kind,
            reason=reason,
            from_state=None,
            to_state=to_state,
            actor=SYSTEM,
            actor_name=SYSTEM,
            data=data or {},
        )
    )
