"""All SQL of cases and orders outside closing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, and_, case, exists, func, select, update
from sqlalchemy.orm import Session

from cem.platform.db import insert_ignore
from workorders.lifecycle import ACTIVE, EventKind
from workorders.models import Case, OrderCase, OrderEvent, WorkOrder
from workorders.policy import CaseState, CloseReason


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders to list. Empty fields leave nothing out."""

    states: tuple[str, ...] = ()
    cause: str | None = None
    domain: str | None = None
    city: str | None = None
    owner: str | None = None
    since: datetime | None = None
    """Opened at or after."""


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases to list. Empty fields leave nothing out."""

    states: tuple[str, ...] = ()
    cause: str | None = None
    domain: str | None = None
    city: str | None = None
    order_id: str | None = None
    subscriber_id: str | None = None
    since: datetime | None = None
    """Fault at or after."""


def insert_case(session: Session, row: Mapping[str, Any]) -> bool:
    """A new case; False if its verdict or its self-check has one."""
    table = Case.__table__
    assert isinstance(table, Table)
    return bool(insert_ignore(session, table, [row]))


def case_of_self_check(session: Session, self_check_id: str) -> Case | None:
    """The case of a self-check, locked until the transaction ends."""
    return session.scalar(
        select(Case)
        .where(Case.self_check_id == self_check_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


def case_of_verdict(session: Session, verdict_id: str) -> Case | None:
    """The case of a verdict, locked until the transaction ends."""
    return session.scalar(
        select(Case)
        .where(Case.verdict_id == verdict_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


def current_order(session: Session, case_id: str) -> tuple[OrderCase, WorkOrder] | None:
    """The order a case is in, with its stay there."""
    row = session.execute(
        select(OrderCase, WorkOrder)
        .join(WorkOrder, WorkOrder.id == OrderCase.order_id)
        .where(OrderCase.case_id == case_id, OrderCase.left_at.is_(None))
    ).first()
    return None if row is None else (row[0], row[1])


def close_case(session: Session, case_id: str, reason: CloseReason, at: datetime) -> bool:
    """Close a case that is not closed; True if it was this call that did."""
    closed = session.execute(
        update(Case)
        .where(Case.id == case_id, Case.state.in_((CaseState.WAITING, CaseState.ATTACHED)))
        .values(
            state=CaseState.CLOSED,
            closed_at=at,
            close_reason=reason,
            judged_at=func.coalesce(Case.judged_at, at),
        )
        .returning(Case.id)
    )
    return closed.first() is not None


def open_cases_before(session: Session, subscriber_id: str, service: str, before: datetime) -> Sequence[str]:
    """Ids of a line's unfinished cases of a service whose fault lies at or before `before`."""
    return session.scalars(
        select(Case.id)
        .where(
            Case.subscriber_id == subscriber_id,
            Case.service == service,
            Case.fault_at <= before,
            Case.state.in_((CaseState.WAITING, CaseState.ATTACHED)),
        )
        .order_by(Case.id)
    ).all()


def list_cases(
    session: Session, wanted: CaseFilter, before: str | None, limit: int
) -> Sequence[tuple[Case, str | None, str | None]]:
    """Cases, latest first, from below the id `before`; each with its order's id and number."""
    query = (
        select(Case, WorkOrder.id, WorkOrder.number)
        .outerjoin(OrderCase, and_(OrderCase.case_id == Case.id, OrderCase.left_at.is_(None)))
        .outerjoin(WorkOrder, WorkOrder.id == OrderCase.order_id)
        .order_by(Case.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Case.id < before)
    if wanted.states:
        query = query.where(Case.state.in_(wanted.states))
    if wanted.cause is not None:
        query = query.where(Case.cause == wanted.cause)
    if wanted.domain is not None:
        query = query.where(Case.domain == wanted.domain)
    if wanted.city is not None:
        query = query.where(Case.city == wanted.city)
    if wanted.order_id is not None:
        query = query.where(OrderCase.order_id == wanted.order_id)
    if wanted.subscriber_id is not None:
        query = query.where(Case.subscriber_id == wanted.subscriber_id)
    if wanted.since is not None:
        query = query.where(Case.fault_at >= wanted.since)
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def get_case(session: Session, case_id: str) -> tuple[Case, str | None, str | None] | None:
    """One case with its order's id and number."""
    found = session.get(Case, case_id)
    if found is None:
        return None
    current = current_order(session, case_id)
    return (found, None, None) if current is None else (found, current[1].id, current[1].number)


def list_orders(session: Session, wanted: OrderFilter, before: str | None, limit: int) -> Sequence[WorkOrder]:
    """Orders, latest first, from below the id `before`."""
    query = select(WorkOrder).order_by(WorkOrder.id.desc()).limit(limit)
    if before is not None:
        query = query.where(WorkOrder.id < before)
    if wanted.states:
        query = query.where(WorkOrder.state.in_(wanted.states))
    if wanted.cause is not None:
        query = query.where(WorkOrder.cause == wanted.cause)
    if wanted.domain is not None:
        query = query.where(WorkOrder.domain == wanted.domain)
    if wanted.owner is not None:
        query = query.where(WorkOrder.owner == wanted.owner)
    if wanted.since is not None:
        query = query.where(WorkOrder.opened_at >= wanted.since)
    if wanted.city is not None:
        query = query.where(
            exists()
            .where(OrderCase.order_id == WorkOrder.id, Case.id == OrderCase.case_id, Case.city == wanted.city)
            .correlate(WorkOrder)
        )
    return session.scalars(query).all()


def lock_order(session: Session, order_id: str) -> WorkOrder | None:
    """An order, by id or number, locked until the transaction ends."""
    return session.scalar(
        select(WorkOrder)
        .where((WorkOrder.id == order_id) | (WorkOrder.number == order_id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


def get_order(session: Session, order_id: str) -> WorkOrder | None:
    """An order, by id or number."""
    return session.scalar(
        select(WorkOrder).where((WorkOrder.id == order_id) | (WorkOrder.number == order_id))
    )


def active_order(session: Session, group_key: str) -> WorkOrder | None:
    """The open order of a key."""
    return session.scalar(select(WorkOrder).where(WorkOrder.active, WorkOrder.group_key == group_key))


def active_orders_on(
    session: Session, scope_keys: Collection[str], *, first_fault_before: datetime, last_fault_after: datetime
) -> Sequence[WorkOrder]:
    """Open shared orders on these scopes whose faults lie around a time, widest effect first."""
    if not scope_keys:
        return ()
    return session.scalars(
        select(WorkOrder)
        .where(
            WorkOrder.active,
            WorkOrder.scope_key.in_(scope_keys),
            ~WorkOrder.individual,
            WorkOrder.first_fault_at <= first_fault_before,
            WorkOrder.last_fault_at >= last_fault_after,
        )
        .order_by(WorkOrder.affected.desc(), WorkOrder.id)
    ).all()


def events(session: Session, order_id: str, limit: int) -> Sequence[OrderEvent]:
    """The latest entries of an order's history, in order."""
    latest = session.scalars(
        select(OrderEvent)
        .where(OrderEvent.order_id == order_id)
        .order_by(
            OrderEvent.at.desc(),
            case((OrderEvent.kind == EventKind.OPENED, 0), else_=1).desc(),
            OrderEvent.id.desc(),
        )
        .limit(limit)
    ).all()
    return latest[::-1]


def event_of_request(session: Session, actor: str, idempotency_key: str) -> OrderEvent | None:
    """What an actor's earlier request with this key did."""
    return session.scalar(
        select(OrderEvent).where(OrderEvent.actor == actor, OrderEvent.idempotency_key == idempotency_key)
    )


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """Figures of an order's cases. Distinct subscribers or cases, as named. [1]"""

    open_cases: int
    still_affected: int
    handed_over: int
    cities: Mapping[str, int]
    """Distinct subscribers by city, most first; at most ten."""


def count_cases(session: Session, order_id: str) -> OrderCounts:
    """Count an order's present cases."""
    of_order = (
        select(Case)
        .join(OrderCase, OrderCase.case_id == Case.id)
        .where(OrderCase.order_id == order_id, OrderCase.left_at.is_(None))
    )
    attached = Case.state == CaseState.ATTACHED
    row = session.execute(
        of_order.with_only_columns(
            func.count(case((attached, Case.id))),
            func.count(case((attached, Case.subscriber_id)).distinct()),
            func.count(case((Case.handed_over, Case.id))),
        )
    ).one()
    lines = func.count(Case.subscriber_id.distinct())
    cities = session.execute(
        of_order.with_only_columns(Case.city, lines)
        .group_by(Case.city)
        .order_by(lines.desc(), Case.city)
        .limit(10)
    )
    return OrderCounts(row[0], row[1], row[2], {row[0]: row[1] for row in cities})


def close_cases_of(session: Session, order_id: str, reason: CloseReason, at: datetime) -> None:
    """Close an order's open cases."""
    _update_cases_of(
        session,
        order_id,
        (Case.state == CaseState.ATTACHED,),
        {"state": CaseState.CLOSED, "closed_at": at, "close_reason": reason},
    )


def reopen_cases_of(session: Session, order_id: str) -> None:
    """Take back the closing of the cases that the order's resolution closed."""
    _update_cases_of(
        session,
        order_id,
        (Case.state == CaseState.CLOSED, Case.close_reason == CloseReason.ORDER_RESOLVED),
        {"state": CaseState.ATTACHED, "closed_at": None, "close_reason": None},
    )


def _update_cases_of(
    session: Session, order_id: str, which: Sequence[Any], values: Mapping[str, Any]
) -> None:
    members = select(OrderCase.case_id).where(OrderCase.order_id == order_id, OrderCase.left_at.is_(None))
    session.execute(
        update(Case)
        .where(Case.id.in_(members), *which)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


ACTIVE_STATES = tuple(state.value for state in sorted(ACTIVE))
"""States of open orders, as stored."""
