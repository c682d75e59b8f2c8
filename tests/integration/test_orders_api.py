"""Working orders over HTTP: who may, what it answers, and what happens when two do it at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI, Request
from sqlalchemy import func, select

from cem.platform.db import Database
from cem.platform.errors import Conflict, PreconditionFailed, Unauthenticated
from cem.platform.security import Guard, Principal, PrincipalKind, Role, unguarded_routes
from cem.platform.web import install_problem_details
from demarcation.taxonomy import load_taxonomy
from tests.conftest import FakeClock
from tests.integration.orders_support import (
    AGENT,
    COLLEAGUE,
    ENGINEER,
    MINUTE,
    OPERATIONS,
    SETTINGS,
    WINDOW,
    Room,
    T,
    fact,
    principal,
)
from workorders.endpoints import build_router
from workorders.lifecycle import OrderAction
from workorders.models import OrderEvent
from workorders.order_service import ActionRequest, OrderService

CLOSING = T + WINDOW + SETTINGS.watermark
DEVICE = Principal(PrincipalKind.DEVICE, "dev_1", subscriber_id="s_1")
PEOPLE = {
    one.display: one
    for one in (ENGINEER, COLLEAGUE, OPERATIONS, AGENT, principal("admin", Role.ADMINISTRATOR))
}
PEOPLE["device"] = DEVICE

Call = Callable[..., httpx.Response]


@pytest.fixture
def room(database: Database, clock: FakeClock) -> Room:
    clock.at = T + 6 * MINUTE
    return Room(database, clock)


@pytest.fixture
def call(room: Room) -> Call:
    """One request as somebody: `call("chen", "GET", "/v1/orders")`."""

    def authenticate(request: Request) -> Principal:
        name = request.headers.get("authorization", "").removeprefix("Bearer ")
        if name not in PEOPLE:
            raise Unauthenticated("who are you?")
        return PEOPLE[name]

    app = FastAPI()
    install_problem_details(app)
    orders = OrderService(room.database, room.clock)
    router = build_router(room.cases, orders, load_taxonomy(), Guard(authenticate))
    app.include_router(router)

    def request(who: str, method: str, path: str, **more: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                headers = {"Authorization": f"Bearer {who}", **more.pop("headers", {})}
                return await client.request(method, path, headers=headers, **more)

        return anyio.run(go)

    request.router = router  # type: ignore[attr-defined]
    return request


@pytest.fixture
def number(room: Room) -> str:
    """The number of an order of three customers of two cities."""
    for n, city in enumerate(["nanjing", "nanjing", "wuxi"]):
        room.verdict(fact(n, dimensions={"city": city, "source": "pear-tv"}))
    room.close(CLOSING)
    return room.orders()[0].number


def test_every_route_is_guarded(call: Call) -> None:
    router = call.router  # type: ignore[attr-defined]
    assert len(router.routes) == 10
    assert unguarded_routes(router) == []
    assert call("nobody", "GET", "/v1/orders").status_code == 401
    assert call("device", "GET", "/v1/orders").status_code == 403
    assert call("device", "GET", "/v1/cases").status_code == 403


def test_the_detail_of_an_order(call: Call, number: str) -> None:
    answer = call("li", "GET", f"/v1/orders/{number}")
    assert answer.status_code == 200
    assert answer.headers["ETag"] == '"1"'
    body = answer.json()
    assert (body["number"], body["state"], body["affected"], body["case_count"]) == (number, "open", 3, 3)
    assert body["scope"] == {"source": "pear-tv"}
    assert body["cities"] == {"nanjing": 2, "wuxi": 1}
    assert (body["open_cases"], body["still_affected"], body["handed_over"]) == (3, 3, 0)
    assert body["urgency"] == "high"
    assert body["meaning"]["en"]
    assert body["meaning"]["zh"]
    assert body["actions"] == []  # an agent reads
    assert [event["kind"] for event in body["events"]] == ["opened"]
    assert body["events"][0]["data"]["cases"] == 3
    assert len(body["cases"]) == 3
    assert call("li", "GET", f"/v1/orders/{body['id']}").json() == body
    assert call("chen", "GET", f"/v1/orders/{number}").json()["actions"] == ["take", "comment", "resolve"]


def test_subscribers_are_shortened_for_whoever_may_not_read_customers(call: Call, number: str) -> None:
    shown = {who: call(who, "GET", f"/v1/orders/{number}").json()["cases"] for who in ("chen", "li")}
    assert {len(case["subscriber"]) for case in shown["li"]} == {34}
    assert {case["subscriber"] for case in shown["chen"]} == {"s_00000000…"}
    case_id = shown["chen"][0]["id"]
    assert call("chen", "GET", f"/v1/cases/{case_id}").json()["subscriber"] == "s_00000000…"
    subscriber = shown["li"][0]["subscriber"]
    assert call("chen", "GET", "/v1/cases", params={"subscriber_id": subscriber}).status_code == 403
    found = call("li", "GET", "/v1/cases", params={"subscriber_id": subscriber}).json()["items"]
    assert [case["order_number"] for case in found] == [number]


def test_an_individual_orders_scope_is_shortened_too(call: Call, room: Room) -> None:
    room.complain(fact(1, domain="terminal", cause="airplane_mode"))
    room.close(CLOSING)
    [order] = call("chen", "GET", "/v1/orders").json()["items"]
    assert order["scope"] == {"subscriber": "s_00000000…"}


def test_take_comment_resolve_reopen(call: Call, room: Room, number: str) -> None:
    path = f"/v1/orders/{number}"
    taken = call("chen", "POST", f"{path}/take")
    assert (taken.status_code, taken.json()["state"], taken.json()["taken_by"]) == (200, "taken", "chen")
    assert taken.headers["ETag"] == '"2"'
    assert call("chen", "POST", f"{path}/comment", json={"note": "called them"}).json()["state"] == "taken"
    resolved = call("chen", "POST", f"{path}/resolve", json={"cause": "origin_errors", "note": "disk"}).json()
    assert (resolved["state"], resolved["open_cases"]) == ("resolved", 0)
    assert (resolved["resolution_cause"], resolved["resolution_note"]) == ("origin_errors", "disk")
    assert {case["close_reason"] for case in resolved["cases"]} == {"order_resolved"}
    room.clock.advance(timedelta(hours=1))
    reopened = call("wang", "POST", f"{path}/reopen", json={"note": "again"}).json()
    assert (reopened["state"], reopened["open_cases"], reopened["reopened_count"]) == ("reopened", 3, 1)
    assert reopened["resolved_at"] is None
    assert reopened["taken_by"] is None
    history = [(event["kind"], event["actor"], event["to_state"]) for event in reopened["events"]]
    assert history == [
        ("opened", "system:window-closer", "open"),
        ("taken", "chen", "taken"),
        ("commented", "chen", "taken"),
        ("resolved", "chen", "resolved"),
        ("reopened", "wang", "reopened"),
    ]


def test_a_case_closed_by_a_recheck_stays_closed_when_its_order_comes_back(call: Call, room: Room) -> None:
    facts = [fact(n) for n in range(2)]
    for of in facts:
        room.verdict(of)
    room.close(CLOSING)
    room.verdict(
        fact(
            0, domain="no_fault", cause="healthy", fault_at=room.clock.at, re_check_of=facts[0].self_check_id
        )
    )
    path = f"/v1/orders/{room.orders()[0].number}"
    call("chen", "POST", f"{path}/resolve", json={"cause": "other", "note": "done"})
    body = call("chen", "POST", f"{path}/reopen").json()
    assert (body["affected"], body["open_cases"], body["still_affected"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("who", "action", "body", "status"),
    [
        ("li", "take", None, 403),
        ("chen", "cancel", None, 403),
        ("chen", "reopen", None, 409),
        ("chen", "close", None, 409),
        ("chen", "resolve", {"cause": "gremlins", "note": "x"}, 422),
        ("chen", "resolve", {"cause": "origin_errors"}, 422),
        ("chen", "comment", {"note": ""}, 422),
        ("chen", "comment", None, 422),
    ],
)
def test_what_is_refused_is_refused_with_a_problem(
    call: Call, number: str, who: str, action: str, body: dict[str, str] | None, status: int
) -> None:
    answer = call(who, "POST", f"/v1/orders/{number}/{action}", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    after = call("chen", "GET", f"/v1/orders/{number}").json()
    assert (after["version"], len(after["events"])) == (1, 1)


def test_what_is_not_there(call: Call) -> None:
    for path in ("/v1/orders/WO-1", "/v1/cases/case_1"):
        assert call("chen", "GET", path).status_code == 404
    assert call("chen", "POST", "/v1/orders/WO-1/take").status_code == 404


def test_text_that_no_store_can_hold_is_refused(call: Call, number: str) -> None:
    assert call("chen", "GET", "/v1/orders/%00").status_code == 422
    assert call("chen", "GET", "/v1/orders", params={"city": "a\0"}).status_code == 422
    assert call("chen", "POST", f"/v1/orders/{number}/comment", json={"note": "a\0"}).status_code == 422


def test_somebody_elses_order(call: Call, number: str) -> None:
    path = f"/v1/orders/{number}"
    call("chen", "POST", f"{path}/take")
    for answer in (
        call("wang", "POST", f"{path}/take"),
        call("wang", "POST", f"{path}/resolve", json={"cause": "other", "note": "mine"}),
    ):
        assert answer.status_code == 409
        assert "chen" in answer.json()["detail"]
    assert call("zhao", "POST", f"{path}/take").json()["taken_by"] == "zhao"


def test_operations_end_orders(call: Call, room: Room, number: str) -> None:
    path = f"/v1/orders/{number}"
    cancelled = call("zhao", "POST", f"{path}/cancel", json={"note": "a drill"}).json()
    assert cancelled["state"] == "cancelled"
    assert {case["close_reason"] for case in cancelled["cases"]} == {"order_cancelled"}
    assert call("chen", "POST", f"{path}/reopen").status_code == 409
    for n in range(2):
        room.verdict(fact(n, fault_at=room.clock.at))
    room.close(CLOSING + 2 * WINDOW)
    second = room.orders()[1].number
    call("chen", "POST", f"/v1/orders/{second}/resolve", json={"cause": "other", "note": "done"})
    assert call("zhao", "POST", f"/v1/orders/{second}/close").json()["state"] == "closed"


def test_reopening_is_refused_while_another_order_is_open_for_the_same(
    call: Call, room: Room, number: str
) -> None:
    call("chen", "POST", f"/v1/orders/{number}/resolve", json={"cause": "other", "note": "done"})
    room.clock.advance(MINUTE)
    for n in range(2):
        room.verdict(fact(n, fault_at=room.clock.at))
    room.close(CLOSING + 2 * WINDOW)
    second = room.orders()[1]
    answer = call("chen", "POST", f"/v1/orders/{number}/reopen")
    assert answer.status_code == 409
    assert (answer.json()["number"], answer.json()["order_id"]) == (second.number, second.id)
    assert [order.state for order in room.orders()] == ["resolved", "open"]


def test_an_outdated_version_is_refused(call: Call, number: str) -> None:
    path = f"/v1/orders/{number}"
    assert call("chen", "POST", f"{path}/take", headers={"If-Match": '"1"'}).status_code == 200
    stale = call("chen", "POST", f"{path}/comment", json={"note": "x"}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["version"]) == (412, 2)
    for header, status in (('"2"', 200), ("*", 200), ("abc", 412)):
        answer = call("chen", "POST", f"{path}/comment", json={"note": "x"}, headers={"If-Match": header})
        assert answer.status_code == status


def test_arriving_cases_do_not_outdate_what_a_person_saw(call: Call, room: Room, number: str) -> None:
    room.verdict(fact(9))
    room.close(CLOSING + MINUTE)
    answer = call("chen", "POST", f"/v1/orders/{number}/take", headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.json()["affected"]) == (200, 4)


def test_a_repeated_request_does_nothing_again(call: Call, number: str) -> None:
    path, key = f"/v1/orders/{number}", {"Idempotency-Key": "k1"}
    first = call("chen", "POST", f"{path}/comment", json={"note": "x"}, headers=key)
    again = call("chen", "POST", f"{path}/comment", json={"note": "x"}, headers=key)
    assert first.json() == again.json()
    other = call("chen", "POST", f"{path}/comment", json={"note": "y"}, headers=key)
    assert other.status_code == 409
    theirs = call("wang", "POST", f"{path}/comment", json={"note": "y"}, headers=key)
    assert theirs.status_code == 200  # keys are the actor's own
    assert [event["kind"] for event in theirs.json()["events"]] == ["opened", "commented", "commented"]


def test_one_of_many_takes_it(room: Room, number: str) -> None:
    orders = OrderService(room.database, room.clock)
    people = [principal(f"engineer-{n}", Role.ENGINEER) for n in range(8)]

    def take(who: Principal) -> bool:
        try:
            orders.act(number, ActionRequest(OrderAction.TAKE, version=1), who)
        except (Conflict, PreconditionFailed):
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, people)) == 1


def test_one_request_sent_many_times_at_once_counts_once(room: Room, number: str) -> None:
    orders = OrderService(room.database, room.clock)
    request = ActionRequest(OrderAction.COMMENT, note="x", idempotency_key="k1")
    with ThreadPoolExecutor(8) as pool:
        versions = [
            d.order.version for d in pool.map(lambda _: orders.act(number, request, ENGINEER), range(16))
        ]
    assert versions == [2] * 16
    with room.database.read() as session:
        assert session.scalar(select(func.count()).select_from(OrderEvent)) == 2


def test_two_resolved_orders_of_one_key_never_both_come_back(room: Room, number: str) -> None:
    orders = OrderService(room.database, room.clock)
    resolve = ActionRequest(OrderAction.RESOLVE, note="done", resolution_cause="other")
    orders.act(number, resolve, ENGINEER)
    room.clock.advance(MINUTE)
    for n in range(2):
        room.verdict(fact(n, fault_at=room.clock.at))
    room.close(CLOSING + 2 * WINDOW)
    second = room.orders()[1].number
    orders.act(second, resolve, ENGINEER)

    def reopen(which: str) -> str:
        try:
            return orders.act(which, ActionRequest(OrderAction.REOPEN), ENGINEER).order.state
        except Conflict:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(reopen, [number, second])) == ["refused", "reopened"]
    assert sum(order.active for order in room.orders()) == 1


def test_a_key_cannot_be_used_on_two_orders(room: Room) -> None:
    for cause in ("origin_errors", "domain_nxdomain"):
        room.verdict(fact(1, cause=cause, handed_over=True))
    room.close(CLOSING)
    orders = OrderService(room.database, room.clock)
    request = ActionRequest(OrderAction.TAKE, idempotency_key="k1")
    first, second = room.orders()
    orders.act(first.id, request, ENGINEER)
    with pytest.raises(Conflict):
        orders.act(second.id, request, ENGINEER)


def test_orders_are_filtered_and_paged(call: Call, room: Room) -> None:
    for n, (cause, domain) in enumerate(
        [("origin_errors", "platform"), ("domain_nxdomain", "platform"), ("weak_coverage", "network")]
    ):
        city = ["nanjing", "wuxi", "wuxi"][n]
        place = {"city": city, "source": "pear-tv", "cell": "c1"}
        room.verdict(fact(n, cause=cause, domain=domain, dimensions=place, handed_over=True))
    room.close(CLOSING)
    room.close(CLOSING)

    def causes(**filters: Any) -> set[str]:
        answer = call("li", "GET", "/v1/orders", params=filters)
        assert answer.status_code == 200
        return {order["cause"] for order in answer.json()["items"]}

    everything = {"origin_errors", "domain_nxdomain", "weak_coverage"}
    assert causes() == causes(active=True) == causes(state=["open", "taken"]) == everything
    assert (
        causes(domain="network")
        == causes(owner="radio")
        == causes(cause="weak_coverage")
        == {"weak_coverage"}
    )
    assert causes(city="wuxi") == {"domain_nxdomain", "weak_coverage"}
    assert causes(since=(CLOSING + MINUTE).isoformat()) == set()
    assert causes(since=CLOSING.isoformat()) == everything
    assert causes(state="resolved") == set()
    for wrong in ({"state": "lost"}, {"since": "yesterday"}, {"limit": 0}, {"limit": 10_000}):
        assert call("li", "GET", "/v1/orders", params=wrong).status_code == 422

    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = call("li", "GET", "/v1/orders", params={"limit": 1, **cursor}).json()
        seen += [order["cause"] for order in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(seen) == 3
    assert set(seen) == everything


def test_cases_over_http_are_filtered_and_paged(call: Call, number: str) -> None:
    order_id = call("chen", "GET", f"/v1/orders/{number}").json()["id"]
    first = call("chen", "GET", "/v1/cases", params={"order_id": order_id, "limit": 2}).json()
    rest = call("chen", "GET", "/v1/cases", params={"order_id": order_id, "cursor": first["next"]}).json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    assert {case["reason"] for case in first["items"] + rest["items"]} == {"new", "attach"}
    for filters, count in (({"city": "wuxi"}, 1), ({"state": "waiting"}, 0), ({"state": "attached"}, 3)):
        assert len(call("chen", "GET", "/v1/cases", params=filters).json()["items"]) == count
