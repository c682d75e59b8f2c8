"""Verdicts, complaints and re-checks become cases, once each; open orders are found by what they cover."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from cem.platform.db import Database
from cem.platform.observe import REGISTRY
from demarcation.verdict import VerdictFact
from tests.conftest import FakeClock
from tests.integration.orders_support import ENGINEER, MINUTE, PLACE, SETTINGS, WINDOW, Room, T, fact
from workorders.lifecycle import OrderAction
from workorders.models import Case, OrderEvent
from workorders.open_orders import OpenOrders
from workorders.order_service import ActionRequest, OrderService
from workorders.policy import CaseState, CloseReason, Reason
from workorders.repository import CaseFilter

CLOSING = T + WINDOW + SETTINGS.watermark


@pytest.fixture
def room(database: Database, clock: FakeClock) -> Room:
    clock.at = T + 6 * MINUTE
    return Room(database, clock)


def resolve(room: Room) -> None:
    orders = OrderService(room.database, room.clock)
    for order in room.orders():
        if order.active:
            request = ActionRequest(OrderAction.RESOLVE, note="done", resolution_cause="other")
            orders.act(order.id, request, ENGINEER)


@pytest.mark.parametrize(
    ("domain", "cause", "makes"),
    [
        ("network", "weak_coverage", True),
        ("platform", "origin_slow", True),
        ("terminal", "airplane_mode", False),
        ("undetermined", "", False),
        ("no_fault", "healthy", False),
        ("network", "account_arrears", False),  # the line's own; the customer is told
    ],
)
def test_what_a_verdict_leaves_with_the_operator(room: Room, domain: str, cause: str, makes: bool) -> None:
    of = fact(1, domain=domain, cause=cause)
    assert (room.verdict(of) is not None) is makes
    assert room.complain(of) is not None  # handed over, each makes a case


def test_repeating_a_verdict_or_a_complaint_makes_no_second_case(room: Room) -> None:
    of = fact(1)
    assert room.verdict(of) == room.verdict(of) == room.complain(of) == room.complain(of)
    with room.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Case)) == 1


def test_dimensions_from_the_field_cannot_break_the_store(room: Room) -> None:
    case = room.verdict(fact(1, dimensions={"city": "x" * 500, "source": "pear\0-tv", "shoe_size": "44"}))
    assert room.case(case).dimensions == {"city": "x" * 80, "source": "pear-tv"}


def test_the_same_verdict_from_many_threads_makes_one_case(room: Room) -> None:
    of = fact(1)
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: room.complain(of) if n % 2 else room.verdict(of), range(24)))
    assert len(set(ids)) == 1
    assert room.case(ids[0]).handed_over


def test_a_case_is_counted_once_it_is_stored(room: Room) -> None:
    def made() -> float:
        return REGISTRY.get_sample_value("cem_cases_total", {"domain": "platform"}) or 0.0

    before = made()
    with pytest.raises(RuntimeError), room.database.write() as session:  # noqa: PT012
        room.cases.from_verdict(session, fact(1))
        raise RuntimeError
    assert made() == before
    of = fact(2)
    room.verdict(of)
    room.verdict(of)
    assert made() == before + 1


def test_a_later_version_moves_a_case_that_waits(room: Room) -> None:
    first = fact(1, cause="origin_slow")
    case = room.verdict(first)
    room.verdict(VerdictFact(**(_values(first) | {"version": 2, "cause": "cdn_overload"})))
    found = room.case(case)
    assert (found.cause, found.verdict_version, found.scope) == (
        "cdn_overload",
        2,
        {"node": "n1"},
    )
    room.verdict(first)  # an old version that comes late changes nothing
    assert room.case(case).cause == "cdn_overload"


def test_a_later_version_that_clears_the_operator_closes_the_case(room: Room) -> None:
    first = fact(1)
    case = room.verdict(first)
    room.verdict(VerdictFact(**(_values(first) | {"version": 2, "domain": "terminal", "cause": "weak_wifi"})))
    assert (room.case(case).state, room.case(case).close_reason) == (
        CaseState.CLOSED,
        CloseReason.VERDICT_REVISED,
    )
    room.verdict(fact(2))
    room.close(CLOSING)
    assert room.orders() == []


def test_a_later_version_of_a_case_in_an_order_goes_into_its_history(room: Room) -> None:
    first = fact(1, handed_over=True)
    case = room.verdict(first)
    room.close(CLOSING)
    room.verdict(VerdictFact(**(_values(first) | {"version": 2, "cause": "origin_slow"})))
    assert room.order_of(case) is not None
    with room.database.read() as session:
        [event] = session.execute(select(OrderEvent.data).where(OrderEvent.kind == "case_revised")).scalars()
    assert event == {"case_id": case, "domain": "platform", "cause": "origin_slow"}


def test_a_recheck_without_fault_closes_the_lines_earlier_cases(room: Room) -> None:
    first = fact(1)
    case, again = room.verdict(first), room.verdict(fact(1, fault_at=T + 6 * MINUTE))
    other_service = room.verdict(fact(1, service="web"))
    other_line = room.verdict(fact(2))
    room.verdict(
        fact(
            1,
            domain="no_fault",
            cause="healthy",
            fault_at=T + 8 * MINUTE,
            re_check_of=first.self_check_id,
        )
    )
    assert [room.case(one).state for one in (case, again, other_service, other_line)] == [
        CaseState.CLOSED,
        CaseState.CLOSED,
        CaseState.WAITING,
        CaseState.WAITING,
    ]
    assert room.case(case).close_reason == CloseReason.RECHECK_NO_FAULT
    room.close(CLOSING)
    assert [order.affected for order in room.orders()] == [2]  # the two that still feel it


def test_a_healthy_line_without_a_recheck_closes_nothing(room: Room) -> None:
    case = room.verdict(fact(1))
    room.verdict(fact(1, domain="no_fault", cause="healthy", fault_at=T + 8 * MINUTE))
    assert room.case(case).state == CaseState.WAITING


def test_a_fault_felt_before_the_resolution_does_not_open_anew(room: Room) -> None:
    for n in range(2):
        room.verdict(fact(n))
    room.close(CLOSING)
    resolve(room)
    for n in range(2, 5):
        room.verdict(fact(n, fault_at=CLOSING - MINUTE))
    room.close(CLOSING + WINDOW)
    [order] = room.orders()
    assert (order.state, order.affected) == ("resolved", 5)
    with room.database.read() as session:
        assert set(session.scalars(select(Case.state))) == {CaseState.CLOSED}


def test_a_fault_felt_after_the_resolution_opens_a_new_order(room: Room) -> None:
    for n in range(2):
        room.verdict(fact(n))
    room.close(CLOSING)
    resolve(room)
    room.clock.advance(MINUTE)
    for n in range(2):
        room.verdict(fact(n, fault_at=room.clock.at))
    room.close(CLOSING + WINDOW)
    assert [order.state for order in room.orders()] == ["resolved", "open"]


def test_a_complaint_after_the_resolution_leaves_the_order_and_opens_anew(room: Room) -> None:
    facts = [fact(n) for n in range(2)]
    first, _ = [room.verdict(of) for of in facts]
    room.close(CLOSING)
    [old] = room.orders()
    resolve(room)
    room.clock.advance(MINUTE)
    room.complain(facts[0])
    assert room.case(first).state == CaseState.WAITING
    room.close(CLOSING + 2 * WINDOW)
    assert [order.state for order in room.orders()] == ["resolved", "open"]
    assert room.order_of(first) not in {None, old.id}
    assert room.case(first).judged_reason == Reason.NEW


def test_a_complaint_on_a_case_in_an_open_order_stays_there(room: Room) -> None:
    facts = [fact(n) for n in range(2)]
    first, _ = [room.verdict(of) for of in facts]
    room.close(CLOSING)
    room.complain(facts[0])
    room.close(CLOSING + WINDOW)
    [order] = room.orders()
    assert room.order_of(first) == order.id
    assert room.case(first).handed_over_by == "customer"


def test_open_orders_are_found_by_what_they_cover(room: Room) -> None:
    open_orders = OpenOrders(room.database)
    at = T + 10 * MINUTE
    assert open_orders.covering(PLACE, "video", at) == []
    room.verdict(fact(1, handed_over=True))
    room.verdict(fact(2, domain="network", cause="weak_coverage", handed_over=True))
    room.complain(fact(3, domain="terminal", cause="airplane_mode"))
    room.close(CLOSING)

    def causes(dims: dict[str, str], when: timedelta = 10 * MINUTE) -> set[str]:
        return {order.cause for order in open_orders.covering(dims, "video", T + when)}

    assert causes(PLACE) == {"origin_errors", "weak_coverage"}
    assert causes({**PLACE, "cell": "elsewhere"}) == {"origin_errors"}
    assert causes({"cell": "c1"}) == {"weak_coverage"}
    assert causes({"city": "nanjing"}) == set()
    assert causes({}) == set()
    assert causes(PLACE, -2 * WINDOW) == set()  # long before the order's first fault
    assert causes(PLACE, timedelta(days=3)) == set()  # long after its last
    [reference, _] = sorted(open_orders.covering(PLACE, "video", at), key=lambda order: order.cause)
    [order] = [order for order in room.orders() if order.cause == "origin_errors"]
    assert (reference.order_id, reference.number, reference.affected) == (order.id, order.number, 1)
    assert (reference.scope, reference.domain, reference.opened_at) == (
        {"source": "pear-tv"},
        "platform",
        order.opened_at,
    )
    resolve(room)
    assert causes(PLACE) == set()


def test_cases_are_paged_without_gaps_or_doubles(room: Room) -> None:
    made = {room.verdict(fact(n, dimensions={"city": "nanjing" if n % 2 else "wuxi"})) for n in range(11)}
    seen: list[str] = []
    before = None
    while page := room.cases.page(CaseFilter(), before=before, limit=4):
        seen += [case.id for case, _, _ in page]
        before = seen[-1]
    assert len(seen) == len(made) == 11
    assert set(seen) == made
    assert seen == sorted(seen, reverse=True)
    assert len(room.cases.page(CaseFilter(city="nanjing"))) == 5


def _values(of: VerdictFact) -> dict[str, object]:
    return {name: getattr(of, name) for name in VerdictFact.__dataclass_fields__}
