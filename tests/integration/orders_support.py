"""Facts and principals for tests of cases and orders."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cem.platform.db import Database
from cem.platform.security import Principal, PrincipalKind, Role, permissions_of
from demarcation.verdict import VerdictFact
from tests.conftest import FakeClock
from workorders.closing import WindowCloser
from workorders.intake import HandedOverBy
from workorders.models import Case, ClosedWindow, OrderCase, OrderEvent, WorkOrder
from workorders.policy import PolicySettings
from workorders.service import CaseService

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""Start of the quarter hour that tests play in."""
MINUTE = timedelta(minutes=1)
WINDOW = 15 * MINUTE
SETTINGS = PolicySettings()

_numbers = count(1)
Row = TypeVar("Row")


def principal(name: str, *roles: Role) -> Principal:
    return Principal(
        PrincipalKind.STAFF, f"usr_{name}", frozenset(roles), None, permissions_of(roles), display=name
    )


ENGINEER = principal("chen", Role.ENGINEER)
COLLEAGUE = principal("wang", Role.ENGINEER)
OPERATIONS = principal("zhao", Role.OPERATIONS)
AGENT = principal("li", Role.AGENT)


PLACE = {"province": "js", "city": "nanjing", "cell": "c1", "source": "pear-tv", "node": "n1"}


def fact(subscriber: str | int, **changes: Any) -> VerdictFact:
    """A verdict of the platform's origin, felt five minutes into the window of T."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "verdict_id": f"v_{number}",
        "self_check_id": f"sc_{number}",
        "version": 1,
        "subscriber_id": f"s_{subscriber:0>32}",
        "domain": "platform",
        "cause": "origin_errors",
        "confidence": 0.9,
        "fault_at": T + 5 * MINUTE,
        "service": "video",
        "dimensions": PLACE,
    }
    return VerdictFact(**(values | changes))


class Room:
    """Cases, orders and the closing of windows on one store."""

    def __init__(self, database: Database, clock: FakeClock, settings: PolicySettings = SETTINGS) -> None:
        self.database = database
        self.clock = clock
        self.settings = settings
        self.cases = CaseService(database, clock, settings)

    def closer(self, **changes: Any) -> WindowCloser:
        return WindowCloser(self.database, self.clock, self.settings, **changes)

    def verdict(self, of: VerdictFact) -> str | None:
        with self.database.write() as session:
            return self.cases.from_verdict(session, of)

    def complain(self, of: VerdictFact) -> str:
        with self.database.write() as session:
            return self.cases.from_complaint(session, of, HandedOverBy.CUSTOMER)

    def close(self, at: datetime, **changes: Any) -> int:
        """Close everything that can be closed at this time; returns the number of transactions."""
        self.clock.at = at
        closer, steps = self.closer(**changes), 0
        while closer.tick():
            steps += 1
            assert steps < 10_000
        return steps

    def orders(self) -> list[WorkOrder]:
        with self.database.read() as session:
            return _detached(session, session.scalars(select(WorkOrder).order_by(WorkOrder.number)))

    def case(self, case_id: str | None) -> Case:
        with self.database.read() as session:
            return _detached(session, [session.get_one(Case, case_id)])[0]

    def windows(self) -> list[ClosedWindow]:
        with self.database.read() as session:
            return _detached(
                session, session.scalars(select(ClosedWindow).order_by(ClosedWindow.window_start))
            )

    def order_of(self, case_id: str | None) -> str | None:
        with self.database.read() as session:
            return session.scalar(
                select(OrderCase.order_id).where(OrderCase.case_id == case_id, OrderCase.left_at.is_(None))
            )


def busy_hour(seed: int = 7) -> list[tuple[int, VerdictFact]]:
    """Faults of one hour: (minute of arrival, fact). Shared causes, lone ones, complaints, late arrivals."""
    dice = random.Random(seed)
    causes = [
        ("origin_errors", "platform"),
        ("cdn_node_fault", "platform"),
        ("weak_coverage", "network"),
        ("core_failure", "network"),
    ]
    facts = []
    for number in range(90):
        cause, domain = dice.choice(causes)
        felt = dice.randrange(60)
        arrival = felt + dice.choice([0, 0, 0, 0, 1, 20, 50])
        place = {"city": dice.choice(["nanjing", "suzhou"]), "cell": f"c{dice.randrange(12)}"}
        place |= {"source": dice.choice(["pear-tv", "fig-tv"]), "node": f"n{dice.randrange(3)}"}
        one = fact(
            dice.randrange(60),
            verdict_id=f"v_{seed}_{number}",
            self_check_id=f"sc_{seed}_{number}",
            domain=domain,
            cause=cause,
            fault_at=T + felt * MINUTE,
            dimensions=place,
            handed_over=dice.random() < 0.05,
        )
        facts.append((arrival, one))
    return sorted(facts, key=lambda item: (item[0], item[1].verdict_id))


def _detached(session: Session, found: Iterable[Row]) -> list[Row]:
    """Rows that outlive the rollback at the end of reading."""
    rows = list(found)
    session.expunge_all()
    return rows


def picture(database: Database) -> dict[str, Any]:
    """Everything that must not depend on crashes, order of workers or size of batches.

    Ids and wall-clock times are left out: they name and date, they decide nothing.
    """
    with database.read() as session:
        orders = {
            order.number: (
                order.cause,
                order.scope,
                order.state,
                order.affected,
                order.case_count,
                order.window_start,
                order.first_fault_at,
                order.last_fault_at,
            )
            for order in session.scalars(select(WorkOrder))
        }
        cases = {
            row[0]: tuple(row[1:])
            for row in session.execute(
                select(
                    Case.verdict_id,
                    Case.state,
                    Case.judged_reason,
                    Case.close_reason,
                    Case.window_start,
                    WorkOrder.number,
                )
                .outerjoin(OrderCase, OrderCase.case_id == Case.id)
                .outerjoin(WorkOrder, WorkOrder.id == OrderCase.order_id)
            )
        }
        windows = [
            (w.window_start, w.cases, w.orders_opened, w.cases_attached, w.amendments)
            for w in session.scalars(select(ClosedWindow).order_by(ClosedWindow.window_start))
        ]
        opened = session.scalar(
            select(func.count()).select_from(OrderEvent).where(OrderEvent.kind == "opened")
        )
    return {"orders": orders, "cases": cases, "windows": windows, "opened": opened}
