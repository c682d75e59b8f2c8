"""What the pages read, against the real rooms and stores: counts that were put in by hand come out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cem.access.audit import AuditLog
from cem.access.passwords import Passwords
from cem.access.service import COMMAND_LINE, AccessService
from cem.access.sessions import SessionService
from cem.consoles.adapters import UNDECIDED, HouseView, RoomDesk, StaffLogins, told_together
from cem.consoles.ports import Bilingual, OrderEvent
from cem.platform.db import Database
from cem.platform.errors import Conflict, FactStoreError, InvalidInput, NotFound, Unauthenticated
from cem.platform.facts import FactStore
from cem.platform.security import Role
from demarcation.models import CheckState, SelfCheck, VerdictRow
from demarcation.taxonomy import load_taxonomy
from kqi.cube_reading import CubeReader
from kqi.cubes import CubeJob
from tests.conftest import FakeClock
from tests.integration import kqi_support, orders_support
from tests.integration.kqi_support import ENGINES, Facts, opened
from tests.integration.orders_support import AGENT, ENGINEER, MINUTE, SETTINGS, Room, T, fact
from workorders.order_service import OrderService

ORIGIN = load_taxonomy()["origin_errors"]


class NoStore:
    """A KQI store that is away."""

    def rows(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        raise FactStoreError("away")


def view_of(database: Database, clock: FakeClock, store: Any = None) -> HouseView:
    facts: FactStore = store or NoStore()
    return HouseView(
        database=database,
        facts=facts,
        cubes=CubeReader(facts).answer,
        order_service=OrderService(database, clock),
        case_service=Room(database, clock).cases,
        taxonomy=load_taxonomy(),
        clock=clock,
    )


# facts, on both engines


@pytest.fixture(params=ENGINES)
def facts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Facts]:
    with opened(request.param, tmp_path) as store:
        yield Facts(store)


def test_what_came_in_by_minute_and_by_feed(facts: Facts, database: Database) -> None:
    clock = kqi_support.standing_clock()  # 12:07:30; what Facts writes arrived at 12:07:00
    for second in (60, 70, 125, 410, 449):
        facts.report("s_1", second, session=f"v{second}")
    facts.sample("s_1", 65, {"rtt_ms": 30.0}, vantage="pipe")
    facts.sample("s_1", 66, {"first_byte_ms": 30.0}, vantage="cloud")
    facts.sample("s_1", 67, {"stall_ms": 0.0}, vantage="device")
    facts.sample("s_2", 300, {"battery_pct": 80.0}, vantage="cloud", service="iot")
    view = view_of(database, clock, facts.store)

    activity = view.activity()
    assert len(activity.reports_by_minute) == len(activity.samples_by_minute) == 30
    # 11:37 to 12:07: the minutes 12:01, 12:02 and 12:06 stand at places 24, 25 and 29; 12:07 is not over yet
    assert {place: n for place, n in enumerate(activity.reports_by_minute) if n} == {24: 2, 25: 1, 29: 1}
    assert {place: n for place, n in enumerate(activity.samples_by_minute) if n} == {24: 2, 28: 1}
    assert activity.reports_per_s == pytest.approx(5 / 60)
    assert activity.samples_per_min == 3  # the device's own sample was made, not sent

    feeds = {feed.name: feed for feed in view.feeds()}
    assert {name: feed.items for name, feed in feeds.items()} == {
        "device": 5,
        "pipe": 1,
        "cloud": 1,
        "iot": 1,
    }
    assert feeds["pipe"].last_at == facts.received_at
    clock.advance(timedelta(minutes=6))
    assert {feed.items for feed in view.feeds()} == {0}
    clock.advance(timedelta(hours=4))
    assert {feed.last_at for feed in view.feeds()} == {None}


def test_experience_is_that_of_the_cubes(facts: Facts, database: Database) -> None:
    clock = kqi_support.standing_clock()
    for second, city, delay, stall in (
        (1, "a", 1000.0, 0.0),
        (2, "a", 3000.0, 10_000.0),
        (3, "b", 2000.0, 0.0),
    ):
        facts.sample(
            f"s_{second}",
            second,
            {
                "start_delay_ms": delay,
                "stall_ms": stall,
                "play_ms": 90_000.0,
                "stall_ratio": stall / (stall + 90_000.0),
            },
            city=city,
        )
    facts.sample("s_9", 4, {"start_delay_ms": 9000.0})  # nobody knows in which city
    CubeJob(facts.store, clock, busy_share=1, least_rest_s=0).tick()
    found = {row.city: row for row in view_of(database, clock, facts.store).experience_by_city(4)}
    assert set(found) == {"a", "b"}
    assert found["a"].window_start == kqi_support.WINDOW
    assert found["a"].start_delay_ms == pytest.approx(2000)
    assert found["a"].stall_ratio == pytest.approx(10_000 / 190_000)  # of sums, not a mean of ratios
    assert found["a"].sessions == 2
    assert found["b"].stall_ratio == 0


# orders and verdicts, on both operational stores


@pytest.fixture
def room(database: Database, clock: FakeClock) -> Room:
    clock.at = T + 6 * MINUTE
    return Room(database, clock)


def one_order(room: Room, lines: int = 4) -> str:
    for line in range(lines):
        room.verdict(fact(line))
    room.close(T + orders_support.WINDOW + SETTINGS.watermark)
    (order,) = room.orders()
    return order.id


def test_orders_as_they_are_listed(room: Room) -> None:
    order_id = one_order(room)
    view = view_of(room.database, room.clock)
    page = view.orders(active=True, limit=10)
    (row,) = page.rows
    assert (page.total, page.affected) == (1, 4)
    assert (row.id, row.affected, row.cases, row.state) == (order_id, 4, 4, "open")
    assert row.cause == Bilingual(ORIGIN.meaning.zh, ORIGIN.meaning.en)
    assert row.scope == {"source": "pear-tv"}
    ended = view.orders(active=False, limit=10)
    assert (ended.total, list(ended.rows)) == (0, [])


def test_an_order_with_all_that_its_page_shows(room: Room) -> None:
    detail = view_of(room.database, room.clock).order(one_order(room), ENGINEER)
    assert len(detail.cases) == 4
    assert {case.city for case in detail.cases} == {"nanjing"}
    assert [step.zh for step in detail.steps] == [step.zh for step in ORIGIN.engineer]
    assert detail.causes[0][0] == "origin_errors"
    assert {cause for cause, _ in detail.causes} >= {"other", "not_found", "weak_coverage"}
    assert next(event.kind for event in detail.events) == "opened"
    assert {event.who for event in detail.events} == {""}
    assert detail.actions >= {"take", "comment"}
    with pytest.raises(NotFound):
        view_of(room.database, room.clock).order("wo_nothing", ENGINEER)


def test_cases_that_joined_one_after_the_other_are_told_together() -> None:
    def event(kind: str, minute: int, cases: int = 0) -> OrderEvent:
        return OrderEvent(kind, T + minute * MINUTE, cases=cases)

    told = told_together(
        [
            event("opened", 0, 3),
            event("cases_attached", 1, 2),
            event("cases_attached", 2, 1),
            event("taken", 3),
            event("cases_attached", 4, 5),
        ]
    )
    assert told == [
        event("opened", 0, 3),
        event("cases_attached", 2, 3),
        event("taken", 3),
        event("cases_attached", 4, 5),
    ]


def test_an_agent_is_offered_nothing_to_do(room: Room) -> None:
    assert view_of(room.database, room.clock).order(one_order(room), AGENT).actions == frozenset()


def test_an_order_is_worked_from_the_desk(room: Room) -> None:
    order_id = one_order(room)
    view = view_of(room.database, room.clock)
    desk = RoomDesk(OrderService(room.database, room.clock), load_taxonomy())
    desk.take(ENGINEER, order_id)
    assert view.order(order_id, ENGINEER).row.taken_by == "chen"
    desk.comment(ENGINEER, order_id, "looking")
    with pytest.raises(InvalidInput):
        desk.resolve(ENGINEER, order_id, "gremlins", "gone")
    desk.resolve(ENGINEER, order_id, "origin_errors", "disk was full")
    with pytest.raises(Conflict):
        desk.take(ENGINEER, order_id)
    assert view.orders(active=True, limit=10).total == 0
    assert view.orders(active=True, limit=10).affected == 0
    assert [row.state for row in view.orders(active=False, limit=10).rows] == ["resolved"]
    desk.reopen(ENGINEER, order_id, "it is back")
    detail = view.order(order_id, ENGINEER)
    assert detail.row.state == "reopened"
    assert [f"{event.who}: {event.note}" for event in detail.events if event.who and event.note] == [
        "chen: looking",
        "chen: disk was full",
        "chen: it is back",
    ]


def add_verdict(
    database: Database, clock: FakeClock, number: int, domain: str, cause: str, took_ms: int
) -> None:
    with database.write() as session:
        session.add(
            SelfCheck(
                id=f"sc_{number}",
                subscriber_id="s_1",
                caller="device",
                body_sha256="",
                state=CheckState.DONE,
                service="video",
                stated="",
                locale="zh",
                dimensions={},
                snapshot={},
                fault_at=clock.now(),
                accepted_at=clock.now(),
                deadline_at=clock.now(),
            )
        )
        session.flush()
        session.add(
            VerdictRow(
                id=f"v_{number}",
                self_check_id=f"sc_{number}",
                subscriber_id="s_1",
                version=1,
                domain=domain,
                cause=cause,
                confidence=0.9,
                service="video",
                province="",
                city="nanjing",
                fault_at=clock.now(),
                decided_at=clock.now(),
                took_ms=took_ms,
                handed_over=False,
            )
        )


def test_the_latest_verdicts_come_first_and_in_words(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    add_verdict(database, clock, 0, "terminal", "wrong_apn", 900)
    clock.advance(timedelta(minutes=61))
    add_verdict(database, clock, 1, "platform", "origin_errors", 100)
    clock.advance(timedelta(minutes=1))
    add_verdict(database, clock, 2, "undetermined", "", 300)
    with opened("chdb", tmp_path) as store:
        view = view_of(database, clock, store)
        rows = view.recent_verdicts(2)
        activity = view.activity()
    assert [row.id for row in rows] == ["v_2", "v_1"]
    assert rows[0].cause == UNDECIDED
    assert rows[1].cause.en == ORIGIN.meaning.en
    assert activity.self_checks == 2
    assert activity.verdicts_by_domain == {"platform": 1, "undetermined": 1}
    assert activity.median_verdict_ms == 200


def test_the_same_logins_as_the_interface(database: Database, clock: FakeClock) -> None:
    audit, passwords = AuditLog(database, clock), Passwords()
    access = AccessService(database, clock, audit, passwords, tokens=None, subscribers=None)  # type: ignore[arg-type]
    _, password = access.create_user(COMMAND_LINE, "li.na", {Role.ENGINEER})
    logins = StaffLogins(SessionService(database, clock, audit, passwords))
    opened_session = logins.login("li.na", password, "192.0.2.7")
    assert opened_session.expires_at > clock.now()
    assert opened_session.token not in repr(opened_session)
    logins.logout(opened_session.token)
    logins.logout(opened_session.token)
    with pytest.raises(Unauthenticated):
        logins.login("li.na", "wrong", "192.0.2.7")
