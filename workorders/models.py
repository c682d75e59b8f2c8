"""Tables of cases and work orders.

The promises that must hold whatever crashes stand here as keys: one case per verdict and per self-check, one
order at a time per case, one open order per key, one closing per window.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from cem.platform.db import Base

ID = String(40)
KEY = String(64)


class Case(Base):
    """One fault of one subscriber that its verdict did not leave resolved."""

    __tablename__ = "cases"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    verdict_id: Mapped[str] = mapped_column(ID, unique=True)
    self_check_id: Mapped[str] = mapped_column(ID, unique=True)
    verdict_version: Mapped[int]
    subscriber_id: Mapped[str] = mapped_column(String(64))
    origin: Mapped[str] = mapped_column(String(16))
    domain: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(String(80))
    segment: Mapped[str] = mapped_column(String(24))
    owner: Mapped[str] = mapped_column(String(24))
    individual: Mapped[bool]
    service: Mapped[str] = mapped_column(String(32))
    province: Mapped[str] = mapped_column(String(80))
    city: Mapped[str] = mapped_column(String(80))
    dimensions: Mapped[dict[str, Any]]
    scope: Mapped[dict[str, Any]]
    scope_width: Mapped[int]
    """Dimensions of the scope: a window's wide scopes are decided on first, so that they swallow narrow ones."""
    group_key: Mapped[str] = mapped_column(KEY)
    confidence: Mapped[float]
    handed_over: Mapped[bool]
    handed_over_by: Mapped[str | None] = mapped_column(String(16))
    fault_at: Mapped[datetime]
    felt_at: Mapped[datetime]
    """When the customer last said that the fault is there: the fault's time, or the complaint's."""
    window_start: Mapped[datetime]
    """The window it counts in."""
    recorded_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))
    judged_at: Mapped[datetime | None]
    """None until its window's closing has decided on it."""
    judged_reason: Mapped[str | None] = mapped_column(String(32))
    closed_at: Mapped[datetime | None]
    close_reason: Mapped[str | None] = mapped_column(String(32))

    __table_args__ = (
        Index(
            "ix_cases_unjudged",
            "window_start",
            "scope_width",
            "group_key",
            "id",
            sqlite_where=text("judged_at IS NULL"),
            postgresql_where=text("judged_at IS NULL"),
        ),
        Index(
            "ix_cases_waiting",
            "group_key",
            "window_start",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_cases_window", "window_start"),
        Index("ix_cases_subscriber", "subscriber_id", "service", "fault_at"),
    )


class WorkOrder(Base):
    """One cause in one scope."""

    __tablename__ = "work_orders"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    number: Mapped[str] = mapped_column(String(32), unique=True)
    group_key: Mapped[str] = mapped_column(KEY)
    scope_key: Mapped[str] = mapped_column(KEY)
    cause: Mapped[str] = mapped_column(String(80))
    domain: Mapped[str] = mapped_column(String(16))
    segment: Mapped[str] = mapped_column(String(24))
    owner: Mapped[str] = mapped_column(String(24))
    individual: Mapped[bool]
    scope: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    active: Mapped[bool]
    """Whether `state` is one of `lifecycle.ACTIVE`; kept so that the key's index outlives new states."""
    version: Mapped[int]
    """Counts what people did to the order. Arriving cases do not change it."""
    case_count: Mapped[int]
    affected: Mapped[int]
    """Distinct subscribers of all its cases, ever."""
    window_start: Mapped[datetime]
    """The window whose closing opened it."""
    first_fault_at: Mapped[datetime]
    last_fault_at: Mapped[datetime]
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    taken_by: Mapped[str | None] = mapped_column(String(64))
    taken_by_name: Mapped[str | None] = mapped_column(String(120))
    taken_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]
    resolution_cause: Mapped[str | None] = mapped_column(String(80))
    resolution_note: Mapped[str | None] = mapped_column(Text)
    ended_at: Mapped[datetime | None]
    reopened_count: Mapped[int]

    __table_args__ = (
        Index(
            "uq_work_orders_active_key",
            "group_key",
            unique=True,
            sqlite_where=text("active = 1"),
            postgresql_where=text("active"),
        ),
        Index(
            "ix_work_orders_active_scope",
            "scope_key",
            sqlite_where=text("active = 1"),
            postgresql_where=text("active"),
        ),
        Index(
            "ix_work_orders_ended_key",
            "group_key",
            "resolved_at",
            sqlite_where=text("active = 0"),
            postgresql_where=text("NOT active"),
        ),
        Index("ix_work_orders_window", "window_start"),
        Index("ix_work_orders_state", "state", "id"),
    )


class OrderCase(Base):
    """A case's stay in an order. A case is in at most one order at a time."""

    __tablename__ = "order_cases"

    order_id: Mapped[str] = mapped_column(ID, ForeignKey("work_orders.id"), primary_key=True)
    case_id: Mapped[str] = mapped_column(ID, ForeignKey("cases.id"), primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(32))
    window_start: Mapped[datetime]
    attached_at: Mapped[datetime]
    left_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_order_cases_current",
            "case_id",
            unique=True,
            sqlite_where=text("left_at IS NULL"),
            postgresql_where=text("left_at IS NULL"),
        ),
        Index("ix_order_cases_subscriber", "order_id", "subscriber_id"),
        Index("ix_order_cases_window", "window_start"),
    )


class OrderEvent(Base):
    """One entry of an order's history. Never changed, never removed."""

    __tablename__ = "order_events"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    order_id: Mapped[str] = mapped_column(ID, ForeignKey("work_orders.id"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(24))
    reason: Mapped[str | None] = mapped_column(String(32))
    from_state: Mapped[str | None] = mapped_column(String(16))
    to_state: Mapped[str | None] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(64))
    actor_name: Mapped[str] = mapped_column(String(120))
    note: Mapped[str | None] = mapped_column(Text)
    data: Mapped[dict[str, Any]]
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    request_hash: Mapped[str | None] = mapped_column(KEY)

    __table_args__ = (
        Index("uq_order_events_request", "actor", "idempotency_key", unique=True),
        Index("ix_order_events_order", "order_id", "id"),
    )


class OrderNumber(Base):
    """The last number given out on a day of event time (UTC)."""

    __tablename__ = "order_numbers"

    day: Mapped[str] = mapped_column(String(8), primary_key=True)
    last: Mapped[int]


class ClosedWindow(Base):
    """A window whose cases were decided on. Its figures are counted anew when late cases amend it."""

    __tablename__ = "closed_windows"

    window_start: Mapped[datetime] = mapped_column(primary_key=True)
    closed_at: Mapped[datetime]
    cases: Mapped[int]
    orders_opened: Mapped[int]
    cases_attached: Mapped[int]
    amendments: Mapped[int]
    amended_at: Mapped[datetime | None]
