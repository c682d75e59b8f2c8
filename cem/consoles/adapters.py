"""The rooms behind the pages' protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from cem.access.sessions import SessionService
from cem.consoles import reading
from cem.consoles.ports import (
    Activity,
    Bilingual,
    CaseRow,
    Experience,
    Feed,
    OrderDetail,
    OrderEvent,
    OrderPage,
    OrderRow,
    SignedIn,
    VerdictRow,
)
from cem.platform.clock import Clock
from cem.platform.db import Database
from cem.platform.errors import InvalidInput
from cem.platform.facts import FactStore
from cem.platform.security import Principal
from demarcation.repository import VerdictFilter, list_verdicts, recent_activity
from demarcation.taxonomy import Domain, Taxonomy, Text
from kqi.catalogue import Service, Vantage
from kqi.cube_reading import MAX_ROWS, CubeFigures, CubePage, CubeQuestion
from workorders.endpoints import OTHER_RESOLUTIONS
from workorders.lifecycle import EventKind, OrderAction
from workorders.models import Case, WorkOrder
from workorders.order_service import ActionRequest, OrderService
from workorders.repository import CaseFilter
from workorders.service import CaseService

MINUTES = 30
CASES_SHOWN = 50
FEEDS = ("device", "pipe", "cloud", "iot")
UNDECIDED = Bilingual("证据不足，尚不能判断", "Too little evidence to tell yet")
OTHERS: Mapping[str, Bilingual] = {
    "other": Bilingual("其他原因", "Another cause"),
    "not_found": Bilingual("未找到原因", "No cause was found"),
}
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class HouseView:
    """Everything the pages read, out of the rooms.

    Parameters
    ----------
    cubes
        Answers a question to the cubes: `kqi.service.KqiService.cubes`.
    """

    database: Database
    facts: FactStore
    cubes: Callable[[CubeQuestion], CubePage]
    order_service: OrderService
    case_service: CaseService
    taxonomy: Taxonomy
    clock: Clock

    def activity(self) -> Activity:
        """What came in of late."""
        now = self.clock.now()
        until = now.replace(second=0, microsecond=0)
        since = until - MINUTES * _MINUTE
        minutes = [since + index * _MINUTE for index in range(MINUTES)]
        reports = reading.by_minute(self.facts, "reports", since, until)
        samples = reading.by_minute(self.facts, "samples", since, until)
        with self.database.read() as session:
            hour = recent_activity(session, now)
        return Activity(
            reports_per_s=reading.received(self.facts, "reports", now - _MINUTE) / 60,
            samples_per_min=reading.received(self.facts, "samples", now - _MINUTE),
            reports_by_minute=[reports.get(minute, 0) for minute in minutes],
            samples_by_minute=[samples.get(minute, 0) for minute in minutes],
            self_checks=hour.checks,
            verdicts_by_domain=hour.by_domain,
            median_verdict_ms=median(hour.took_ms) if hour.took_ms else None,
        )

    def recent_verdicts(self, limit: int) -> Sequence[VerdictRow]:
        """The latest verdicts, the newest first."""
        with self.database.read() as session:
            return [
                VerdictRow(
                    id=row.id,
                    domain=row.domain,
                    cause=self._cause(row.cause),
                    confidence=row.confidence,
                    city=row.city,
                    at=row.decided_at,
                )
                for row in list_verdicts(session, VerdictFilter(), limit)
            ]

    def orders(self, *, active: bool, limit: int) -> OrderPage:
        """Work orders in work, those that affect most first; or those that have ended, the newest first."""
        with self.database.read() as session:
            found = (reading.orders_in_work if active else reading.orders_ended)(session, limit)
            return OrderPage(
                rows=[self._order_row(order) for order in found],
                total=reading.count_orders(session, active=active),
                affected=reading.customers_in_orders(session),
            )

    def order(self, order_id: str, by: Principal) -> OrderDetail:
        """One work order as this caller may see and work it. Raises NotFound."""
        detail = self.order_service.get(order_id, by)
        order = detail.order
        cases = self.case_service.page(CaseFilter(order_id=order.id), limit=CASES_SHOWN)
        supposed = self.taxonomy.get(order.cause)
        return OrderDetail(
            row=self._order_row(order),
            owner=order.owner,
            first_fault_at=order.first_fault_at,
            last_fault_at=order.last_fault_at,
            steps=[_text(step) for step in supposed.engineer] if supposed is not None else [],
            cases=[self._case_row(case) for case, _, _ in cases],
            events=told_together(
                OrderEvent(
                    kind=event.kind,
                    at=event.at,
                    who="" if event.actor.startswith("system:") else event.actor_name,
                    note=event.note or "",
                    cases=_count(event.data.get("cases")),
                )
                for event in detail.events
            ),
            actions=frozenset(action.value for action in detail.actions),
            resolution_note=order.resolution_note or "",
            causes=self._resolutions(order),
        )

    def experience_by_city(self, hours: int) -> Sequence[Experience]:
        """Experience of the last hours by city and quarter hour, out of the cubes."""
        now = self.clock.now()
        page = self.cubes(
            CubeQuestion(
                indicators=("start_delay_ms", "stall_ratio"),
                start=now - timedelta(hours=hours),
                end=now,
                service=Service.VIDEO,
                vantage=Vantage.DEVICE,
                group_by=("city",),
                limit=MAX_ROWS,
            )
        )
        found: dict[tuple[str, datetime], dict[str, CubeFigures]] = {}
        for row in page.rows:
            if row.group["city"]:
                found.setdefault((row.group["city"], row.start), {})[row.indicator] = row
        return [
            Experience(
                city=city,
                window_start=start,
                start_delay_ms=_mean(figures.get("start_delay_ms")),
                stall_ratio=_mean(figures.get("stall_ratio")),
                sessions=max(figure.count for figure in figures.values()),
            )
            for (city, start), figures in found.items()
        ]

    def feeds(self) -> Sequence[Feed]:
        """How the feeds are."""
        found = {one.name: one for one in reading.arrivals(self.facts, self.clock.now())}
        return [
            Feed(name, found[name].last_at, found[name].items) if name in found else Feed(name, None, 0)
            for name in FEEDS
        ]

    def _cause(self, cause: str) -> Bilingual:
        found = self.taxonomy.get(cause)
        if found is not None:
            return _text(found.meaning)
        return UNDECIDED if cause in {"", Domain.UNDETERMINED} else Bilingual(cause, cause)

    def _order_row(self, order: WorkOrder) -> OrderRow:
        return OrderRow(
            id=order.id,
            number=order.number,
            domain=order.domain,
            cause=self._cause(order.cause),
            scope={name: str(value) for name, value in order.scope.items()},
            affected=order.affected,
            cases=order.case_count,
            opened_at=order.opened_at,
            state=order.state,
            taken_by=order.taken_by_name or order.taken_by or "",
        )

    def _case_row(self, case: Case) -> CaseRow:
        return CaseRow(
            id=case.id,
            cause=self._cause(case.cause),
            confidence=case.confidence,
            city=case.city,
            fault_at=case.fault_at,
            handed_over=case.handed_over,
            state=case.state,
        )

    def _resolutions(self, order: WorkOrder) -> Sequence[tuple[str, Bilingual]]:
        """Causes to choose from: the supposed one, those of its side, those of the other sides, and neither."""
        faults = sorted(
            self.taxonomy.faults(), key=lambda cause: (cause.id != order.cause, cause.domain != order.domain)
        )
        return [*((cause.id, _text(cause.meaning)) for cause in faults), *OTHERS.items()]


@dataclass(frozen=True)
class RoomDesk:
    """What staff do with a work order, done by the room."""

    service: OrderService
    taxonomy: Taxonomy

    def take(self, by: Principal, order_id: str) -> None:
        """Take it over."""
        self.service.act(order_id, ActionRequest(OrderAction.TAKE), by)

    def comment(self, by: Principal, order_id: str, note: str) -> None:
        """Add a note to its history."""
        self.service.act(order_id, ActionRequest(OrderAction.COMMENT, note=note), by)

    def resolve(self, by: Principal, order_id: str, cause: str, note: str) -> None:
        """Say that it is repaired, and what it was. Raises InvalidInput on a cause that is none."""
        if cause not in self.taxonomy and cause not in OTHER_RESOLUTIONS:
            raise InvalidInput("There is no such cause.", pointer="/cause")
        self.service.act(order_id, ActionRequest(OrderAction.RESOLVE, note=note, resolution_cause=cause), by)

    def reopen(self, by: Principal, order_id: str, note: str) -> None:
        """Take it up again."""
        self.service.act(order_id, ActionRequest(OrderAction.REOPEN, note=note), by)


@dataclass(frozen=True)
class StaffLogins:
    """Opening and ending sessions, done by the access service."""

    sessions: SessionService

    def login(self, name: str, password: str, address: str) -> SignedIn:
        """Open a session. Raises Unauthenticated, TooManyRequests."""
        opened = self.sessions.login(name, password, address)
        return SignedIn(opened.token, opened.expires_at)

    def logout(self, token: str) -> None:
        """End a session; one that has ended already is no error."""
        self.sessions.logout(token)


def _text(text: Text) -> Bilingual:
    return Bilingual(text.zh, text.en)


def _mean(figures: CubeFigures | None) -> float | None:
    return None if figures is None else figures.mean


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def told_together(events: Iterable[OrderEvent]) -> Sequence[OrderEvent]:
    """A history in which cases that joined one after the other are one entry, at the time of the last."""
    told: list[OrderEvent] = []
    for event in events:
        last = told[-1] if told else None
        if last is not None and event.kind == last.kind == EventKind.CASES_ATTACHED:
            told[-1] = replace(event, cases=last.cases + event.cases)
        else:
            told.append(event)
    return told
