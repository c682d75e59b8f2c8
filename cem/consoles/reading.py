"""The pages' own questions to the stores: counts over what rooms keep one by one. All SQL of the pages is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cem.platform.facts import FactStore
from workorders.models import OrderCase, WorkOrder

RECENT = timedelta(hours=3)
"""How far back event time is looked through for what came in: three stretches of history, and quick at any size."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What came of one kind: last arrival, and how many in the last five minutes. [1]"""

    name: str
    last_at: datetime
    items: int


def orders_in_work(session: Session, limit: int) -> Sequence[WorkOrder]:
    """Orders in work, those that affect most customers first, then the oldest."""
    return session.scalars(
        select(WorkOrder)
        .where(WorkOrder.active)
        .order_by(WorkOrder.affected.desc(), WorkOrder.opened_at, WorkOrder.id)
        .limit(limit)
    ).all()


def orders_ended(session: Session, limit: int) -> Sequence[WorkOrder]:
    """Orders not in work any more, the latest first."""
    return session.scalars(
        select(WorkOrder)
        .where(~WorkOrder.active)
        .order_by(WorkOrder.updated_at.desc(), WorkOrder.id.desc())
        .limit(limit)
    ).all()


def count_orders(session: Session, *, active: bool) -> int:
    """Orders in work, or ended. [1]"""
    condition = WorkOrder.active if active else ~WorkOrder.active
    return session.scalar(select(func.count()).select_from(WorkOrder).where(condition)) or 0


def customers_in_orders(session: Session) -> int:
    """Distinct customers whose case is in an order in work. [1]"""
    return (
        session.scalar(
            select(func.count(OrderCase.subscriber_id.distinct()))
            .join(WorkOrder, WorkOrder.id == OrderCase.order_id)
            .where(WorkOrder.active, OrderCase.left_at.is_(None))
        )
        or 0
    )


FED = {"reports": "", "samples": " AND vantage IN ('pipe', 'cloud')"}
"""Tables of what is sent to us, and what in them was: samples of the device are our own work."""


def received(store: FactStore, table: str, since: datetime) -> int:
    """Reports or samples that arrived since; one that two processes took at one instant may count twice. [1]"""
    rows = store.rows(
        f"SELECT count() AS n FROM {table} WHERE received_at >= {{since:DateTime64(3, 'UTC')}}"  # noqa: S608 - ours
        f" AND window >= {{since:DateTime64(3, 'UTC')}} - INTERVAL 1 DAY{FED[table]}",
        {"since": since},
    )
    return int(rows[0]["n"])


def by_minute(store: FactStore, table: str, since: datetime, until: datetime) -> Mapping[datetime, int]:
    """Reports or samples of terminals and feeds by minute of event time, `since <= observed_at < until`. [1]"""
    rows = store.rows(
        "SELECT toDateTime64(toStartOfMinute(observed_at), 0, 'UTC') AS minute, count() AS n"  # noqa: S608 - table and condition are ours
        f" FROM {table} WHERE window >= {{since:DateTime64(3, 'UTC')}} - INTERVAL 15 MINUTE"
        " AND observed_at >= {since:DateTime64(3, 'UTC')} AND observed_at < {until:DateTime64(3, 'UTC')}"
        f"{FED[table]} GROUP BY minute",
        {"since": since, "until": until},
    )
    return {row["minute"]: int(row["n"]) for row in rows}


def arrivals(store: FactStore, now: datetime) -> Sequence[Arrivals]:
    """What came by each way among facts of the last three hours."""
    rows = store.rows(
        "SELECT name, max(received_at) AS last_at, countIf(received_at >= {recent:DateTime64(3, 'UTC')}) AS items FROM"
        " (SELECT 'device' AS name, received_at FROM reports WHERE window >= {since:DateTime64(3, 'UTC')}"
        " UNION ALL SELECT if(service = 'iot', 'iot', vantage) AS name, received_at FROM samples"
        " WHERE window >= {since:DateTime64(3, 'UTC')} AND vantage IN ('pipe', 'cloud')) GROUP BY name",
        {"since": now - RECENT, "recent": now - timedelta(minutes=5)},
    )
    return [Arrivals(row["name"], row["last_at"], int(row["items"])) for row in rows]
