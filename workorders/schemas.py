"""Wire forms of cases and work orders.

A subscriber is shown shortened, unless the caller may read customers. Numbers never appear.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from demarcation.taxonomy import Taxonomy, Urgency
from workorders.lifecycle import EventKind, OrderAction, OrderState
from workorders.models import Case, OrderEvent, WorkOrder
from workorders.order_service import OrderDetail
from workorders.policy import CaseState, CloseReason, Reason
from workorders.scope import SUBSCRIBER, Owner

_SHOWN = 10
"""Characters of a subscriber_id that anyone sees: `s_` and 8 of 32 digits, enough to tell rows apart."""

_AT = "2026-11-22T07:30:00Z"
_ORDER = "wo_01kaxm2v6q3m8d1v5z0c9r7t4y"
_CASE = "case_01kaxm2v6q3m8d1v5z0c9r7t4y"

_CASE_EXAMPLE: dict[str, Any] = {
    "id": _CASE,
    "state": "attached",
    "subscriber": "s_1f6a09c2…",
    "self_check_id": "sc_01kaxm2v6q3m8d1v5z0c9r7t4y",
    "verdict_id": "v_01kaxm2v6q3m8d1v5z0c9r7t4y",
    "domain": "platform",
    "cause": "origin_errors",
    "confidence": 0.96,
    "service": "video",
    "dimensions": {"city": "nanjing", "cell": "460-00-1-2", "source": "pear-tv", "node": "nj-1"},
    "scope": {"source": "pear-tv"},
    "owner": "platform",
    "handed_over": True,
    "handed_over_by": "customer",
    "fault_at": _AT,
    "window_start": _AT,
    "recorded_at": _AT,
    "reason": "new",
    "closed_at": None,
    "close_reason": None,
    "order_id": _ORDER,
    "order_number": "WO-20261122-0001",
}

_ORDER_EXAMPLE: dict[str, Any] = {
    "id": _ORDER,
    "number": "WO-20261122-0001",
    "state": "taken",
    "version": 2,
    "domain": "platform",
    "cause": "origin_errors",
    "meaning": {"zh": "源站返回服务器错误（5xx）", "en": "The origin answers with server errors (5xx)"},
    "scope": {"source": "pear-tv"},
    "owner": "platform",
    "urgency": "high",
    "affected": 37,
    "case_count": 41,
    "window_start": _AT,
    "first_fault_at": _AT,
    "last_fault_at": _AT,
    "opened_at": _AT,
    "updated_at": _AT,
    "taken_by": "li.na",
    "taken_at": _AT,
    "resolved_at": None,
    "resolution_cause": None,
    "resolution_note": None,
    "reopened_count": 0,
}

_EVENT_EXAMPLE: dict[str, Any] = {
    "at": _AT,
    "kind": "opened",
    "reason": "new",
    "from_state": None,
    "to_state": "open",
    "actor": "system:window-closer",
    "note": None,
    "data": {"cases": 41, "new_subscribers": 37, "reasons": {"attach": 40, "new": 1}},
}


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [values]})


def shown_subscriber(subscriber_id: str, *, full: bool) -> str:
    """The subscriber as this caller sees it."""
    return subscriber_id if full else subscriber_id[:_SHOWN] + "…"


def shown_scope(scope: dict[str, Any], *, full: bool) -> dict[str, str]:
    """A scope as this caller sees it: an individual one names a subscriber."""
    return {
        name: shown_subscriber(value, full=full) if name == SUBSCRIBER else value
        for name, value in scope.items()
    }


class Meaning(BaseModel):
    """One sentence in the two languages the service speaks."""

    zh: str
    en: str

    @classmethod
    def of(cls, cause: str, taxonomy: Taxonomy) -> Meaning | None:
        """What a cause means; None for one that is not of the taxonomy (an undetermined verdict)."""
        found = taxonomy.get(cause)
        return None if found is None else cls(zh=found.meaning.zh, en=found.meaning.en)


class CaseAnswer(BaseModel):
    """One fault of one subscriber."""

    model_config = _example(**_CASE_EXAMPLE)

    id: str
    state: CaseState
    subscriber: str = Field(description="Keyed hash of the number; shortened without `customers_read`.")
    self_check_id: str
    verdict_id: str
    domain: str
    cause: str
    confidence: float = Field(description="Of the verdict. [1, 0–1]")
    service: str
    dimensions: dict[str, str]
    scope: dict[str, str]
    owner: Owner
    handed_over: bool
    handed_over_by: str | None
    fault_at: datetime
    window_start: datetime = Field(description="Start of the quarter hour it counts in.")
    recorded_at: datetime
    reason: Reason | None = Field(description="What the closing of its window decided; null until then.")
    closed_at: datetime | None
    close_reason: CloseReason | None
    order_id: str | None
    order_number: str | None

    @classmethod
    def of(cls, case: Case, order_id: str | None, number: str | None, *, full: bool) -> CaseAnswer:
        """The wire form of a case."""
        return cls(
            id=case.id,
            state=CaseState(case.state),
            subscriber=shown_subscriber(case.subscriber_id, full=full),
            self_check_id=case.self_check_id,
            verdict_id=case.verdict_id,
            domain=case.domain,
            cause=case.cause,
            confidence=case.confidence,
            service=case.service,
            dimensions=case.dimensions,
            scope=shown_scope(case.scope, full=full),
            owner=Owner(case.owner),
            handed_over=case.handed_over,
            handed_over_by=case.handed_over_by,
            fault_at=case.fault_at,
            window_start=case.window_start,
            recorded_at=case.recorded_at,
            reason=None if case.judged_reason is None else Reason(case.judged_reason),
            closed_at=case.closed_at,
            close_reason=None if case.close_reason is None else CloseReason(case.close_reason),
            order_id=order_id,
            order_number=number,
        )


class CasePage(BaseModel):
    """Cases, latest first."""

    model_config = _example(items=[_CASE_EXAMPLE], next=_CASE)

    items: list[CaseAnswer]
    next: str | None = Field(description="Give it as `cursor` to go on; null at the end.")


class OrderSummary(BaseModel):
    """One cause in one scope."""

    model_config = _example(**_ORDER_EXAMPLE)

    id: str
    number: str
    state: OrderState
    version: int = Field(description="Counts what people did to it; also its ETag.")
    domain: str
    cause: str
    meaning: Meaning | None
    scope: dict[str, str]
    owner: Owner
    urgency: Urgency = Field(description="How soon the owner should look.")
    affected: int = Field(description="Distinct subscribers of all its cases so far.")
    case_count: int
    window_start: datetime = Field(description="The quarter hour whose closing opened it.")
    first_fault_at: datetime
    last_fault_at: datetime
    opened_at: datetime
    updated_at: datetime
    taken_by: str | None
    taken_at: datetime | None
    resolved_at: datetime | None
    resolution_cause: str | None
    resolution_note: str | None
    reopened_count: int

    @classmethod
    def of(cls, order: WorkOrder, taxonomy: Taxonomy, *, full: bool) -> OrderSummary:
        """The wire form of an order."""
        return cls(**_order_members(order, taxonomy, full=full))


class OrderPage(BaseModel):
    """Orders, latest first."""

    model_config = _example(items=[_ORDER_EXAMPLE], next=None)

    items: list[OrderSummary]
    next: str | None = Field(description="Give it as `cursor` to go on; null at the end.")


class EventAnswer(BaseModel):
    """One entry of an order's history."""

    model_config = _example(**_EVENT_EXAMPLE)

    at: datetime
    kind: EventKind
    reason: str | None
    from_state: OrderState | None
    to_state: OrderState | None
    actor: str
    note: str | None
    data: dict[str, Any]

    @classmethod
    def of(cls, event: OrderEvent) -> EventAnswer:
        """The wire form of an entry."""
        return cls(
            at=event.at,
            kind=EventKind(event.kind),
            reason=event.reason,
            from_state=None if event.from_state is None else OrderState(event.from_state),
            to_state=None if event.to_state is None else OrderState(event.to_state),
            actor=event.actor_name,
            note=event.note,
            data=event.data,
        )


class OrderAnswer(OrderSummary):
    """An order with its cases, figures, history, and what the caller can do with it."""

    model_config = _example(
        **_ORDER_EXAMPLE,
        open_cases=41,
        still_affected=37,
        handed_over=6,
        cities={"nanjing": 20, "wuxi": 17},
        advice=[{"zh": "查看源站错误日志。", "en": "Look at the origin's error log."}],
        actions=["take", "comment", "resolve"],
        cases=[_CASE_EXAMPLE],
        events=[_EVENT_EXAMPLE],
    )

    open_cases: int
    still_affected: int = Field(description="Distinct subscribers of its open cases.")
    handed_over: int = Field(description="Cases that a customer or an agent handed over.")
    cities: dict[str, int] = Field(description="Distinct subscribers by city, most first, at most ten.")
    advice: list[Meaning] = Field(description="Where to look first.")
    actions: list[OrderAction]
    cases: list[CaseAnswer] = Field(description="The latest; all of them by GET /v1/cases with `order_id`.")
    events: list[EventAnswer] = Field(description="The latest 200 entries of the history, in order.")

    @classmethod
    def of_detail(
        cls,
        detail: OrderDetail,
        cases: list[CaseAnswer],
        taxonomy: Taxonomy,
        *,
        full: bool,
    ) -> OrderAnswer:
        """The wire form of an order with everything."""
        cause = taxonomy.get(detail.order.cause)
        return cls(
            **_order_members(detail.order, taxonomy, full=full),
            open_cases=detail.counts.open_cases,
            still_affected=detail.counts.still_affected,
            handed_over=detail.counts.handed_over,
            cities=dict(detail.counts.cities),
            advice=[] if cause is None else [Meaning(zh=text.zh, en=text.en) for text in cause.engineer],
            actions=list(detail.actions),
            cases=cases,
            events=[EventAnswer.of(event) for event in detail.events],
        )


def _order_members(order: WorkOrder, taxonomy: Taxonomy, *, full: bool) -> dict[str, Any]:
    return {
        "id": order.id,
        "number": order.number,
        "state": OrderState(order.state),
        "version": order.version,
        "domain": order.domain,
        "cause": order.cause,
        "meaning": Meaning.of(order.cause, taxonomy),
        "scope": shown_scope(order.scope, full=full),
        "owner": Owner(order.owner),
        "urgency": taxonomy[order.cause].urgency if order.cause in taxonomy else Urgency.NORMAL,
        "affected": order.affected,
        "case_count": order.case_count,
        "window_start": order.window_start,
        "first_fault_at": order.first_fault_at,
        "last_fault_at": order.last_fault_at,
        "opened_at": order.opened_at,
        "updated_at": order.updated_at,
        "taken_by": order.taken_by_name or order.taken_by,
        "taken_at": order.taken_at,
        "resolved_at": order.resolved_at,
        "resolution_cause": order.resolution_cause,
        "resolution_note": order.resolution_note,
        "reopened_count": order.reopened_count,
    }


_Note = Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"^[^\x00]*$")]


class NoteRequest(BaseModel):
    """An action that may be explained."""

    model_config = _example(note="On it; the origin's load balancer looks wrong.")

    note: _Note | None = None


class CommentRequest(BaseModel):
    """Something to remember about the order."""

    model_config = _example(note="The supplier was called at 07:40.")

    note: _Note


class ResolveRequest(BaseModel):
    """What was wrong and what was done."""

    model_config = _example(cause="origin_errors", note="A full disk on the origin; logs moved away.")

    cause: str = Field(
        min_length=1,
        max_length=80,
        description="The cause that was found, of the taxonomy; `other` or `not_found` where none fits.",
    )
    note: _Note
