"""All SQL of closing windows: what is undecided, what is open, and how a window's figures are counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, cast, exists, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session
from sqlalchemy.types import Integer

from cem.platform.db import insert_ignore
from workorders.models import Case, ClosedWindow, OrderCase, OrderNumber, WorkOrder
from workorders.policy import CaseState, CloseReason, GroupCount, ResolvedOrder

CLOSING_LOCK = 0x63656D2D77696E64
"""Number of PostgreSQL's advisory lock for closing: the bytes of `cem-wind`."""


def lock_closing(session: Session) -> bool:
    """Be the only one that closes until this transaction ends; False if another one is at it.

    SQLite needs nothing more: its writing transactions already wait for one another.
    """
    if session.get_bind().dialect.name != "postgresql":
        return True
    locked = session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": CLOSING_LOCK})
    return bool(locked)


def last_closed(session: Session) -> datetime | None:
    """Start of the latest closed window."""
    return session.scalar(
        select(ClosedWindow.window_start).order_by(ClosedWindow.window_start.desc()).limit(1)
    )


def earliest_unjudged(session: Session) -> datetime | None:
    """Window of the earliest case that nothing was decided on."""
    return session.scalar(
        select(Case.window_start).where(Case.judged_at.is_(None)).order_by(Case.window_start).limit(1)
    )


def unjudged(session: Session, upto: datetime, limit: int) -> Sequence[Case]:
    """Undecided cases of the windows up to `upto`: earliest window first, wide scopes first, then by key.

    Locked, so that a complaint that comes meanwhile waits and is not overwritten. Locks are taken cases first,
    then orders; nobody who holds an order waits for a case that is still undecided.
    """
    return session.scalars(
        select(Case)
        .where(Case.judged_at.is_(None), Case.window_start <= upto)
        .order_by(Case.window_start, Case.scope_width, Case.group_key, Case.id)
        .limit(limit)
        .with_for_update()
    ).all()


def any_unjudged(session: Session, upto: datetime) -> bool:
    """Whether undecided cases are left in the windows up to `upto`."""
    return bool(session.scalar(select(exists().where(Case.judged_at.is_(None), Case.window_start <= upto))))


def active_by_key(session: Session, keys: Collection[str]) -> dict[str, WorkOrder]:
    """Open orders by key, locked until the transaction ends."""
    found = session.scalars(
        select(WorkOrder)
        .where(WorkOrder.active, WorkOrder.group_key.in_(keys))
        .order_by(WorkOrder.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return {order.group_key: order for order in found}


def active_by_scope(session: Session, scope_keys: Collection[str]) -> Sequence[WorkOrder]:
    """Open shared orders on these scopes, oldest first, locked until the transaction ends."""
    if not scope_keys:
        return ()
    return session.scalars(
        select(WorkOrder)
        .where(WorkOrder.active, WorkOrder.scope_key.in_(scope_keys), ~WorkOrder.individual)
        .order_by(WorkOrder.id)
        .with_for_update(key_share=True)
    ).all()


def latest_resolved(session: Session, keys: Collection[str], since: datetime) -> dict[str, ResolvedOrder]:
    """The latest order of each key that was resolved at `since` or later."""
    found = session.execute(
        select(WorkOrder.group_key, WorkOrder.id, WorkOrder.resolved_at)
        .where(~WorkOrder.active, WorkOrder.group_key.in_(keys), WorkOrder.resolved_at >= since)
        .order_by(WorkOrder.resolved_at, WorkOrder.id)
    )
    return {key: ResolvedOrder(order_id, at) for key, order_id, at in found if at is not None}


def waiting_counts(
    session: Session, keys: Collection[str], after: datetime, upto: datetime
) -> dict[str, GroupCount]:
    """Waiting cases of each key in the windows of `(after, upto]`, those decided on before included."""
    found = session.execute(
        select(
            Case.group_key,
            func.count(Case.subscriber_id.distinct()),
            func.max(cast(Case.handed_over, Integer)),
        )
        .where(
            Case.state == CaseState.WAITING,
            Case.group_key.in_(keys),
            Case.window_start > after,
            Case.window_start <= upto,
        )
        .group_by(Case.group_key)
    )
    return {key: GroupCount(subscribers, bool(handed_over)) for key, subscribers, handed_over in found}


def requeue_waiting(session: Session, keys: Collection[str], after: datetime, upto: datetime) -> None:
    """Have the waiting cases of these keys decided on again: they have an order now."""
    if keys:
        session.execute(
            update(Case)
            .where(
                Case.state == CaseState.WAITING,
                Case.group_key.in_(keys),
                Case.window_start > after,
                Case.window_start <= upto,
                Case.judged_at.is_not(None),
            )
            .values(judged_at=None)
            .execution_options(synchronize_session=False)
        )


def reserve_numbers(session: Session, day: str, count: int) -> int:
    """Take `count` numbers of a day; returns the first. Part of the transaction: given back if it fails."""
    make = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    last = session.execute(
        make(OrderNumber)
        .values(day=day, last=count)
        .on_conflict_do_update(index_elements=["day"], set_={"last": OrderNumber.last + count})
        .returning(OrderNumber.last)
    ).scalar_one()
    return last - count + 1


def insert_order(session: Session, row: Mapping[str, Any]) -> WorkOrder | None:
    """A new open order; None if its key has one already (the partial unique index says so)."""
    if not insert_ignore(session, _table(WorkOrder), [row]):
        return None
    return session.get_one(WorkOrder, row["id"])


def known_subscribers(session: Session, order_id: str, subscribers: Collection[str]) -> set[str]:
    """Those of `subscribers` that the order already counts."""
    return set(
        session.scalars(
            select(OrderCase.subscriber_id)
            .where(OrderCase.order_id == order_id, OrderCase.subscriber_id.in_(subscribers))
            .distinct()
        )
    )


def known_links(session: Session, order_id: str, case_ids: Collection[str]) -> dict[str, OrderCase]:
    """Stays in the order that these cases have or had."""
    found = session.scalars(
        select(OrderCase).where(OrderCase.order_id == order_id, OrderCase.case_id.in_(case_ids))
    )
    return {link.case_id: link for link in found}


def expire_waiting(session: Session, before: datetime, at: datetime, limit: int) -> int:
    """Give up waiting for company of cases counted in windows up to `before`; returns how many.

    At most `limit` at a time: those left over are beyond every count anyway and go with a later window.
    """
    too_old = (
        select(Case.id)
        .where(Case.state == CaseState.WAITING, Case.judged_at.is_not(None), Case.window_start <= before)
        .limit(limit)
    )
    expired = session.execute(
        update(Case)
        .where(Case.id.in_(too_old))
        .values(state=CaseState.EXPIRED, closed_at=at, close_reason=CloseReason.EXPIRED)
        .execution_options(synchronize_session=False)
        .returning(Case.id)
    )
    return len(expired.all())


def close_windows(session: Session, starts: Iterable[datetime], at: datetime) -> int:
    """Write windows down as closed, with their figures; a window that already is stays as it is."""
    rows = [{"window_start": start, "closed_at": at, **_NO_FIGURES} for start in starts]
    return insert_ignore(session, _table(ClosedWindow), rows)


_NO_FIGURES: Mapping[str, Any] = {
    "cases": 0,
    "orders_opened": 0,
    "cases_attached": 0,
    "amendments": 0,
    "amended_at": None,
}


def close_empty_windows(session: Session, starts: Sequence[datetime], at: datetime) -> None:
    """Write many windows down as closed that no case counts in."""
    session.execute(
        insert(ClosedWindow), [{"window_start": start, "closed_at": at, **_NO_FIGURES} for start in starts]
    )


def count_window(session: Session, start: datetime) -> None:
    """Count a closed window's figures anew from its cases, orders and attachments."""
    session.execute(
        update(ClosedWindow)
        .where(ClosedWindow.window_start == start)
        .values(
            cases=select(func.count())
            .where(Case.window_start == start, Case.judged_at.is_not(None))
            .scalar_subquery(),
            orders_opened=select(func.count()).where(WorkOrder.window_start == start).scalar_subquery(),
            cases_attached=select(func.count()).where(OrderCase.window_start == start).scalar_subquery(),
        )
        .execution_options(synchronize_session=False)
    )


def note_amendments(session: Session, start: datetime, count: int, at: datetime) -> None:
    """Write down that `count` late cases amended a closed window."""
    session.execute(
        update(ClosedWindow)
        .where(ClosedWindow.window_start == start)
        .values(amendments=ClosedWindow.amendments + count, amended_at=at)
        .execution_options(synchronize_session=False)
    )


def count_active(session: Session) -> int:
    """Orders that are open. [1]"""
    return session.scalar(select(func.count()).select_from(WorkOrder).where(WorkOrder.active)) or 0


def _table(model: type[Any]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table
