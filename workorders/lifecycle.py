"""What a work order goes through: states, and who may move it from where to where, as data.

A new stage (dispatched, pending, verified) is a state, its transitions, and nothing else: whether an order
counts as open is asked of `ACTIVE`, whether a move is allowed of `TRANSITIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cem.platform.security import Permission, Role


class OrderState(StrEnum):
    """Where an order stands."""

    OPEN = "open"
    TAKEN = "taken"
    REOPENED = "reopened"
    RESOLVED = "resolved"
    CLOSED = "closed"
    CANCELLED = "cancelled"


ACTIVE: frozenset[OrderState] = frozenset({OrderState.OPEN, OrderState.TAKEN, OrderState.REOPENED})
"""States in which an order takes cases and holds its key: no second order of the key is in one of them."""


class OrderAction(StrEnum):
    """What a person can do with an order."""

    TAKE = "take"
    COMMENT = "comment"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    CLOSE = "close"
    CANCEL = "cancel"


class EventKind(StrEnum):
    """What an order's history records."""

    OPENED = "opened"
    CASES_ATTACHED = "cases_attached"
    CASE_REVISED = "case_revised"
    CASE_LEFT = "case_left"
    TAKEN = "taken"
    COMMENTED = "commented"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    CLOSED = "closed"
    CANCELLED = "cancelled"


SENIOR: frozenset[Role] = frozenset({Role.OPERATIONS, Role.ADMINISTRATOR})
"""Roles that may act on an order that somebody else has taken, and end one."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One allowed move.

    Parameters
    ----------
    to
        State after it; None leaves the state as it is.
    event
        What the history records.
    permission
        What the actor must hold.
    holder_only
        Once taken, only whoever took it (or a senior role) may do it.
    senior_only
        Only a senior role may do it.
    """

    to: OrderState | None
    event: EventKind
    permission: Permission = Permission.ORDERS_WORK
    holder_only: bool = False
    senior_only: bool = False


_TAKE = Transition(OrderState.TAKEN, EventKind.TAKEN)
_TAKE_OVER = Transition(OrderState.TAKEN, EventKind.TAKEN, holder_only=True)
_COMMENT = Transition(None, EventKind.COMMENTED)
_RESOLVE = Transition(OrderState.RESOLVED, EventKind.RESOLVED, holder_only=True)
_CANCEL = Transition(OrderState.CANCELLED, EventKind.CANCELLED, senior_only=True)

TRANSITIONS: dict[tuple[OrderState, OrderAction], Transition] = {
    **{(state, OrderAction.COMMENT): _COMMENT for state in OrderState},
    **{(state, OrderAction.RESOLVE): _RESOLVE for state in ACTIVE},
    **{(state, OrderAction.CANCEL): _CANCEL for state in ACTIVE},
    (OrderState.OPEN, OrderAction.TAKE): _TAKE,
    (OrderState.REOPENED, OrderAction.TAKE): _TAKE,
    (OrderState.TAKEN, OrderAction.TAKE): _TAKE_OVER,
    (OrderState.RESOLVED, OrderAction.REOPEN): Transition(OrderState.REOPENED, EventKind.REOPENED),
    (OrderState.RESOLVED, OrderAction.CLOSE): Transition(
        OrderState.CLOSED, EventKind.CLOSED, senior_only=True
    ),
}
"""Every allowed move. What is not here is refused."""


class Refusal(StrEnum):
    """Why a move is not allowed."""

    STATE = "state"
    PERMISSION = "permission"
    HOLDER = "holder"
    SENIOR = "senior"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as far as it matters here."""

    id: str
    roles: frozenset[Role]
    permissions: frozenset[Permission]

    @property
    def senior(self) -> bool:
        """Whether one of the roles is a senior one."""
        return bool(self.roles & SENIOR)


def move(state: OrderState, action: OrderAction, actor: Actor, holder: str | None) -> Transition | Refusal:
    """The transition that an action is, or why it is refused.

    Parameters
    ----------
    holder
        Id of whoever has taken the order; None if nobody has.
    """
    transition = TRANSITIONS.get((state, action))
    if transition is None:
        return Refusal.STATE
    if transition.permission not in actor.permissions:
        return Refusal.PERMISSION
    if transition.senior_only and not actor.senior:
        return Refusal.SENIOR
    if transition.holder_only and holder not in {None, actor.id} and not actor.senior:
        return Refusal.HOLDER
    return transition


def allowed_actions(state: OrderState, actor: Actor, holder: str | None) -> tuple[OrderAction, ...]:
    """What this actor could do with the order now, for a console's buttons."""
    return tuple(
        action for action in OrderAction if isinstance(move(state, action, actor, holder), Transition)
    )
