"""Who may move an order from where to where."""

from __future__ import annotations

import itertools

import pytest

from cem.platform.security import Permission, Role
from workorders.lifecycle import (
    ACTIVE,
    TRANSITIONS,
    Actor,
    EventKind,
    OrderAction,
    OrderState,
    Refusal,
    Transition,
    allowed_actions,
    move,
)

WORK = frozenset({Permission.ORDERS_READ, Permission.ORDERS_WORK})
ENGINEER = Actor("u_1", frozenset({Role.ENGINEER}), WORK)
COLLEAGUE = Actor("u_2", frozenset({Role.ENGINEER}), WORK)
OPERATIONS = Actor("u_3", frozenset({Role.OPERATIONS}), WORK)
AGENT = Actor("u_4", frozenset({Role.AGENT}), frozenset({Permission.ORDERS_READ}))

S, A = OrderState, OrderAction


@pytest.mark.parametrize(
    ("state", "action", "to"),
    [
        (S.OPEN, A.TAKE, S.TAKEN),
        (S.REOPENED, A.TAKE, S.TAKEN),
        (S.OPEN, A.RESOLVE, S.RESOLVED),
        (S.TAKEN, A.RESOLVE, S.RESOLVED),
        (S.RESOLVED, A.REOPEN, S.REOPENED),
        (S.OPEN, A.COMMENT, None),
        (S.CLOSED, A.COMMENT, None),
    ],
)
def test_the_way_of_an_order(state: OrderState, action: OrderAction, to: OrderState | None) -> None:
    found = move(state, action, ENGINEER, None)
    assert isinstance(found, Transition)
    assert found.to is to


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (S.RESOLVED, A.TAKE),
        (S.RESOLVED, A.RESOLVE),
        (S.OPEN, A.REOPEN),
        (S.TAKEN, A.REOPEN),
        (S.CLOSED, A.REOPEN),
        (S.CANCELLED, A.REOPEN),
        (S.OPEN, A.CLOSE),
        (S.CLOSED, A.CANCEL),
    ],
)
def test_moves_that_make_no_sense_are_refused(state: OrderState, action: OrderAction) -> None:
    assert move(state, action, OPERATIONS, None) is Refusal.STATE


def test_who_has_not_the_right_to_work_orders_can_do_nothing() -> None:
    for state, action in TRANSITIONS:
        assert move(state, action, AGENT, None) is Refusal.PERMISSION


def test_what_is_taken_belongs_to_its_holder_and_to_operations() -> None:
    for action in (A.TAKE, A.RESOLVE):
        assert move(S.TAKEN, action, COLLEAGUE, ENGINEER.id) is Refusal.HOLDER
        assert isinstance(move(S.TAKEN, action, ENGINEER, ENGINEER.id), Transition)
        assert isinstance(move(S.TAKEN, action, OPERATIONS, ENGINEER.id), Transition)
    assert isinstance(move(S.TAKEN, A.COMMENT, COLLEAGUE, ENGINEER.id), Transition)


def test_ending_an_order_is_for_operations() -> None:
    assert move(S.RESOLVED, A.CLOSE, ENGINEER, ENGINEER.id) is Refusal.SENIOR
    assert move(S.OPEN, A.CANCEL, ENGINEER, None) is Refusal.SENIOR
    assert isinstance(move(S.RESOLVED, A.CLOSE, OPERATIONS, ENGINEER.id), Transition)
    assert isinstance(move(S.OPEN, A.CANCEL, OPERATIONS, None), Transition)


def test_the_actions_offered_are_those_that_would_be_allowed() -> None:
    for state, actor, holder in itertools.product(
        S, (ENGINEER, COLLEAGUE, OPERATIONS, AGENT), (None, ENGINEER.id)
    ):
        offered = allowed_actions(state, actor, holder)
        assert set(offered) == {
            action for action in A if isinstance(move(state, action, actor, holder), Transition)
        }
    assert allowed_actions(S.OPEN, ENGINEER, None) == (A.TAKE, A.COMMENT, A.RESOLVE)


def test_every_state_can_be_reached_and_every_open_one_left() -> None:
    reached = {S.OPEN} | {transition.to for transition in TRANSITIONS.values() if transition.to}
    assert reached == set(S)
    for state in ACTIVE:
        assert any(
            start is state and transition.to is not None and transition.to not in ACTIVE
            for (start, _), transition in TRANSITIONS.items()
        )


def test_every_change_of_state_has_a_name_in_the_history() -> None:
    for transition in TRANSITIONS.values():
        assert isinstance(transition.event, EventKind)
        assert (transition.to is None) == (transition.event is EventKind.COMMENTED)
