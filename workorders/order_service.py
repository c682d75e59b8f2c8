"""Work orders as people work them: listed, taken, commented, resolved, reopened, closed, cancelled.

Every action is one transaction that ends before the answer goes out. It may carry the version the actor saw
(refused with 412 if somebody was quicker) and an idempotency key (a repeat answers as the first time and does
nothing again).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cem.platform.clock import Clock
from cem.platform.db import Database, new_id
from cem.platform.errors import CemError, Conflict, Forbidden, NotFound, PreconditionFailed
from cem.platform.security import Principal
from workorders import closing_repository, repository
from workorders.lifecycle import (
    ACTIVE,
    Actor,
    OrderAction,
    OrderState,
    Refusal,
    Transition,
    allowed_actions,
    move,
)
from workorders.models import OrderEvent, WorkOrder
from workorders.observation import ORDERS_OPEN
from workorders.policy import CloseReason
from workorders.repository import OrderCounts, OrderFilter

PAGE = 50
"""Items of a page unless asked otherwise. [1]"""

HISTORY = 200
"""Latest entries of the history that a detail shows. [1]"""


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """What somebody wants done with an order.

    Parameters
    ----------
    note
        What the actor says.
    resolution_cause
        Cause that was found and mended; for `resolve` only.
    version
        Version the actor saw; None does not check.
    idempotency_key
        Names the request, per actor; None for none.
    """

    action: OrderAction
    note: str | None = None
    resolution_cause: str | None = None
    version: int | None = None
    idempotency_key: str | None = None

    def digest(self, order_id: str) -> str:
        """Hash of what is asked, to tell a repeat from another request under the same key."""
        asked = {"order_id": order_id, **asdict(self), "idempotency_key": None}
        return sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()


@dataclass(frozen=True, slots=True)
class OrderDetail:
    """An order with what belongs to it."""

    order: WorkOrder
    counts: OrderCounts
    events: tuple[OrderEvent, ...]
    actions: tuple[OrderAction, ...]


class OrderService:
    """What people do with work orders."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def page(self, wanted: OrderFilter, *, before: str | None = None, limit: int = PAGE) -> list[WorkOrder]:
        """Orders, latest first.

        Parameters
        ----------
        before
            Id to go on below (keyset paging).
        limit
            Most to return. [1]
        """
        with self._database.read() as session:
            found = [*repository.list_orders(session, wanted, before, limit)]
            session.expunge_all()  # the rollback at the end would empty them
            return found

    def count_open(self) -> int:
        """Orders that are open. [1]"""
        with self._database.read() as session:
            return closing_repository.count_active(session)

    def get(self, order_id: str, principal: Principal) -> OrderDetail:
        """One order, by id or number. Raises NotFound."""
        with self._database.read() as session:
            detail = self._detail(session, order_id, principal)
            session.expunge_all()
            return detail

    def act(self, order_id: str, request: ActionRequest, principal: Principal) -> OrderDetail:
        """Do what is asked, unless it was done before under the same idempotency key.

        Raises
        ------
        NotFound
            There is no such order.
        Conflict
            The order's state does not allow it, somebody else holds it, the key of the order has another open
            order, or the idempotency key was used for something else.
        PreconditionFailed
            The order was changed since the actor saw it.
        Forbidden
            The actor may not do this to any order.
        """
        for last_try in (False, True):
            try:
                return self._act_once(order_id, request, principal)
            except IntegrityError as error:
                # The same key twice at once, or a second open order of the key just now: the store refused
                # it, and looking again finds what is there and says so.
                if last_try:
                    raise Conflict("Somebody else did this at the same moment; look again.") from error
        raise AssertionError("unreachable")

    def _act_once(self, order_id: str, request: ActionRequest, principal: Principal) -> OrderDetail:
        with self._database.write() as session:
            order = repository.lock_order(session, order_id)
            if order is None:
                raise _no_order(order_id)
            if not self._repeats(session, order, request, principal):
                self._apply(session, order, request, principal)
            session.flush()
            detail = self._detail(session, order.id, principal)
            open_orders = closing_repository.count_active(session)
        ORDERS_OPEN.set(open_orders)
        return detail

    def _repeats(
        self, session: Session, order: WorkOrder, request: ActionRequest, principal: Principal
    ) -> bool:
        if request.idempotency_key is None:
            return False
        earlier = repository.event_of_request(session, principal.id, request.idempotency_key)
        if earlier is None:
            return False
        if earlier.request_hash != request.digest(order.id):
            raise Conflict("This Idempotency-Key was used for another request; use a new one.")
        return True

    def _apply(
        self, session: Session, order: WorkOrder, request: ActionRequest, principal: Principal
    ) -> None:
        if request.version is not None and request.version != order.version:
            raise PreconditionFailed(
                f"Order {order.number} is at version {order.version}, not {request.version}; read it again.",
                version=order.version,
            )
        actor = Actor(principal.id, principal.roles, principal.permissions)
        transition = move(OrderState(order.state), request.action, actor, order.taken_by)
        if isinstance(transition, Refusal):
            raise _refusal(transition, order, request.action)
        now = self._clock.now()
        before, after = OrderState(order.state), transition.to or OrderState(order.state)
        order.state, order.active = after, after in ACTIVE
        order.version += 1
        order.updated_at = now
        effect = _EFFECTS.get(request.action)
        if effect is not None:
            effect(session, order, request, principal, now)
        session.add(_event(order, transition, before, request, principal, now))

    def _detail(self, session: Session, order_id: str, principal: Principal) -> OrderDetail:
        order = repository.get_order(session, order_id)
        if order is None:
            raise _no_order(order_id)
        actor = Actor(principal.id, principal.roles, principal.permissions)
        return OrderDetail(
            order=order,
            counts=repository.count_cases(session, order.id),
            events=tuple(repository.events(session, order.id, HISTORY)),
            actions=allowed_actions(OrderState(order.state), actor, order.taken_by),
        )


def _take(
    _session: Session, order: WorkOrder, _request: ActionRequest, principal: Principal, now: datetime
) -> None:
    order.taken_by, order.taken_by_name, order.taken_at = principal.id, principal.display, now


def _resolve(
    session: Session, order: WorkOrder, request: ActionRequest, _principal: Principal, now: datetime
) -> None:
    order.resolved_at = now
    order.resolution_cause, order.resolution_note = request.resolution_cause, request.note
    repository.close_cases_of(session, order.id, CloseReason.ORDER_RESOLVED, now)


def _reopen(
    session: Session, order: WorkOrder, _request: ActionRequest, _principal: Principal, _now: datetime
) -> None:
    with session.no_autoflush:
        other = repository.active_order(session, order.group_key)
    if other is not None and other.id != order.id:
        raise Conflict(
            f"Order {other.number} is open for the same cause and scope; work that one.",
            order_id=other.id,
            number=other.number,
        )
    order.resolved_at = order.resolution_cause = order.resolution_note = None
    order.taken_by = order.taken_by_name = order.taken_at = None
    order.reopened_count += 1
    session.flush()
    repository.reopen_cases_of(session, order.id)


def _close(
    _session: Session, order: WorkOrder, _request: ActionRequest, _principal: Principal, now: datetime
) -> None:
    order.ended_at = now


def _cancel(
    session: Session, order: WorkOrder, _request: ActionRequest, _principal: Principal, now: datetime
) -> None:
    order.ended_at = now
    repository.close_cases_of(session, order.id, CloseReason.ORDER_CANCELLED, now)


_EFFECTS: dict[OrderAction, Callable[[Session, WorkOrder, ActionRequest, Principal, datetime], None]] = {
    OrderAction.TAKE: _take,
    OrderAction.RESOLVE: _resolve,
    OrderAction.REOPEN: _reopen,
    OrderAction.CLOSE: _close,
    OrderAction.CANCEL: _cancel,
}


def _event(
    order: WorkOrder,
    transition: Transition,
    before: OrderState,
    request: ActionRequest,
    principal: Principal,
    now: datetime,
) -> OrderEvent:
    return OrderEvent(
        id=new_id("oe"),
        order_id=order.id,
        at=now,
        kind=transition.event,
        from_state=before,
        to_state=order.state,
        actor=principal.id,
        actor_name=principal.display,
        note=request.note,
        data={"resolution_cause": request.resolution_cause} if request.resolution_cause else {},
        idempotency_key=request.idempotency_key,
        request_hash=request.digest(order.id) if request.idempotency_key else None,
    )


def _no_order(order_id: str) -> NotFound:
    return NotFound(f"There is no work order {order_id}.")


def _refusal(refusal: Refusal, order: WorkOrder, action: OrderAction) -> CemError:
    if refusal is Refusal.STATE:
        return Conflict(
            f"Order {order.number} is {order.state}: {action} is not possible.", state=order.state
        )
    if refusal is Refusal.HOLDER:
        return Conflict(
            f"Order {order.number} was taken by {order.taken_by_name or order.taken_by}; "
            "they or operations can do this.",
            taken_by=order.taken_by,
        )
    if refusal is Refusal.SENIOR:
        return Forbidden(f"{action} is for operations.")
    return Forbidden(f"{action} needs the right to work orders.")
