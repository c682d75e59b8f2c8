"""Windows become orders exactly once: on both stores, with crashes at every step and several workers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from cem.platform.db import Base, Database
from tests.conftest import FakeClock
from tests.integration.orders_support import MINUTE, SETTINGS, WINDOW, Room, T, busy_hour, fact, picture
from workorders.models import Case, ClosedWindow, OrderCase, WorkOrder
from workorders.policy import CaseState, Reason

CLOSING = T + WINDOW + SETTINGS.watermark
"""When the window of T may be closed."""


@pytest.fixture
def room(database: Database, clock: FakeClock) -> Room:
    clock.at = T + 6 * MINUTE
    return Room(database, clock)


def test_several_customers_of_one_fault_become_exactly_one_order(room: Room) -> None:
    cases = [
        room.verdict(fact(n, dimensions={"city": city, "cell": f"c{n}", "source": "pear-tv"}))
        for n, city in enumerate(["nanjing", "suzhou", "wuxi"])
    ]
    room.verdict(fact(0))  # the same line again: one more case, not one more customer
    room.close(CLOSING)
    [order] = room.orders()
    assert order.number == "WO-20260301-0001"
    assert (order.affected, order.case_count, order.state) == (3, 4, "open")
    assert order.scope == {"source": "pear-tv"}
    assert order.window_start == T
    assert {room.order_of(case) for case in cases} == {order.id}
    assert {room.case(case).state for case in cases} == {CaseState.ATTACHED}


def test_a_window_is_not_closed_before_its_watermark(room: Room) -> None:
    for n in range(2):
        room.verdict(fact(n))
    room.close(CLOSING - timedelta(seconds=1))
    assert room.orders() == []
    assert T not in {window.window_start for window in room.windows()}
    room.close(CLOSING)
    assert len(room.orders()) == 1
    assert T in {window.window_start for window in room.windows()}


def test_closing_again_changes_nothing(room: Room) -> None:
    for n in range(3):
        room.verdict(fact(n))
    room.close(CLOSING)
    before = picture(room.database)
    assert room.close(CLOSING) == 0
    assert room.closer().tick() == 0
    assert picture(room.database) == before


def test_the_figures_of_a_window(room: Room) -> None:
    for n in range(3):
        room.verdict(fact(n))
    room.verdict(fact(9, cause="weak_coverage", domain="network"))
    room.close(CLOSING)
    [window] = [w for w in room.windows() if w.window_start == T]
    assert (window.cases, window.orders_opened, window.cases_attached) == (4, 1, 3)
    assert window.closed_at == CLOSING
    assert window.amended_at is None


def test_a_lone_case_waits_and_the_next_customer_brings_it_in(room: Room) -> None:
    lone = room.verdict(fact(1))
    room.close(CLOSING)
    assert room.orders() == []
    assert room.case(lone).judged_reason == Reason.BELOW_THRESHOLD
    room.clock.at = T + 8 * WINDOW
    second = room.verdict(fact(2, fault_at=T + 8 * WINDOW))
    room.close(CLOSING + 8 * WINDOW)
    [order] = room.orders()
    assert order.affected == 2
    assert room.order_of(lone) == room.order_of(second) == order.id
    assert order.window_start == T + 8 * WINDOW
    assert sum(window.amendments for window in room.windows()) == 0  # it waited, it was not late


def test_one_line_alone_opens_nothing_however_often_it_checks(room: Room) -> None:
    for minute in range(5):
        room.verdict(fact(1, fault_at=T + minute * MINUTE))
    room.close(CLOSING)
    assert room.orders() == []


def test_a_lone_case_expires(room: Room) -> None:
    lone = room.verdict(fact(1))
    room.close(CLOSING + timedelta(hours=24) - WINDOW)
    assert room.case(lone).state == CaseState.WAITING
    room.close(CLOSING + timedelta(hours=24))
    assert room.case(lone).state == CaseState.EXPIRED
    room.clock.at = T + timedelta(hours=25)
    room.verdict(fact(2, fault_at=room.clock.at))
    room.close(CLOSING + timedelta(hours=26))
    assert room.orders() == []


def test_a_complaint_opens_an_order_by_itself(room: Room) -> None:
    lone = fact(1)
    case = room.verdict(lone)
    assert room.complain(lone) == case
    room.close(CLOSING)
    assert [order.affected for order in room.orders()] == [1]


def test_a_complaint_after_the_window_closed_opens_at_once(room: Room) -> None:
    lone = fact(1)
    case = room.verdict(lone)
    room.close(CLOSING)
    room.complain(lone)
    room.close(CLOSING)
    [order] = room.orders()
    assert room.order_of(case) == order.id


def test_a_complaint_long_after_its_window_counts_in_the_present_one(room: Room) -> None:
    lone = fact(1)
    room.verdict(lone)
    room.close(T + 10 * WINDOW)
    room.complain(lone)
    room.close(T + 10 * WINDOW)
    assert room.orders() == []
    room.close(CLOSING + 10 * WINDOW)
    [order] = room.orders()
    assert order.window_start == T + 10 * WINDOW


def test_terminal_complaints_stay_individual(room: Room) -> None:
    facts = [fact(n, domain="terminal", cause="airplane_mode") for n in range(2)]
    for one in facts:
        assert room.verdict(one) is None
        room.complain(one)
    room.close(CLOSING)
    first, second = room.orders()
    assert first.individual
    assert (first.affected, second.affected) == (1, 1)
    assert first.scope == {"subscriber": facts[0].subscriber_id}
    assert {first.owner, second.owner} == {"care"}


def test_a_node_is_swallowed_by_its_source(room: Room) -> None:
    for n in range(2):
        room.verdict(fact(n, cause="cdn_node_fault"))
    for n in range(2, 4):
        room.verdict(fact(n, cause="origin_errors"))
    room.close(CLOSING)
    [order] = room.orders()
    assert (order.cause, order.affected) == ("origin_errors", 4)
    with room.database.read() as session:
        reasons = set(session.scalars(select(OrderCase.reason).where(OrderCase.order_id == order.id)))
    assert reasons == {Reason.NEW, Reason.ATTACH, Reason.SWALLOWED_BY_PARENT}


def test_a_late_case_amends(room: Room) -> None:
    for n in range(2):
        room.verdict(fact(n))
    room.close(CLOSING)
    room.clock.at = CLOSING + 20 * MINUTE
    late = room.verdict(fact(7))
    room.close(CLOSING + 20 * MINUTE)
    [order] = room.orders()
    assert order.affected == 3
    assert room.case(late).judged_reason == Reason.AMEND
    [window] = [w for w in room.windows() if w.window_start == T]
    assert (window.cases, window.cases_attached, window.amendments) == (3, 3, 1)
    assert window.amended_at == CLOSING + 20 * MINUTE


def test_two_late_cases_open_an_order_in_their_own_window(room: Room) -> None:
    room.close(CLOSING)
    for n in range(2):
        room.verdict(fact(n))
    room.close(CLOSING + MINUTE)
    [order] = room.orders()
    assert order.window_start == T


def test_what_is_too_late_to_amend_counts_in_the_present_window(room: Room) -> None:
    room.close(T + 6 * WINDOW)
    for n in range(2):
        room.verdict(fact(n))
    room.close(T + 6 * WINDOW + MINUTE)
    assert room.orders() == []
    room.close(CLOSING + 6 * WINDOW)
    [order] = room.orders()
    assert order.window_start == T + 6 * WINDOW
    assert order.first_fault_at == T + 5 * MINUTE


def test_catching_up_after_days_closes_every_window_once_and_in_order(room: Room) -> None:
    room.close(CLOSING)
    for day in range(3):
        for n in range(2):
            room.clock.at = T + timedelta(days=day, hours=2)
            room.verdict(fact(n, fault_at=room.clock.at, cause="domain_nxdomain" if day else "origin_slow"))
    steps = room.close(CLOSING + timedelta(days=5))
    starts = [window.window_start for window in room.windows()]
    assert starts == [T + n * WINDOW for n in range(5 * 96 + 1)]
    assert steps <= 7  # three windows with cases, the empty stretches between them at once
    assert [(order.cause, order.case_count, order.affected) for order in room.orders()] == [
        ("origin_slow", 2, 2),
        ("domain_nxdomain", 4, 2),
    ]


def test_the_index_refuses_a_second_open_order(room: Room) -> None:
    for n in range(2):
        room.verdict(fact(n))
    room.close(CLOSING)
    with pytest.raises(IntegrityError), room.database.write() as session:  # noqa: PT012
        order = session.scalars(select(WorkOrder)).one()
        values = {c.key: getattr(order, c.key) for c in WorkOrder.__table__.columns}
        session.add(WorkOrder(**{**values, "id": "wo_2", "number": "WO-2"}))
    with room.database.write() as session:  # once the first is no longer open, there may be another
        session.execute(update(WorkOrder).values(active=False, state="resolved"))
        session.add(WorkOrder(**{**values, "id": "wo_2", "number": "WO-2"}))
    assert len(room.orders()) == 2


def test_the_index_refuses_a_case_in_two_orders(room: Room) -> None:
    case = room.verdict(fact(1, handed_over=True))
    room.verdict(fact(2, cause="domain_nxdomain", handed_over=True))
    room.close(CLOSING)
    [other] = [order for order in room.orders() if order.id != room.order_of(case)]
    with pytest.raises(IntegrityError), room.database.write() as session:
        session.add(
            OrderCase(
                order_id=other.id,
                case_id=case,
                subscriber_id="s",
                reason="new",
                window_start=T,
                attached_at=T,
            )
        )


def play(room: Room, **closer: object) -> None:
    """Let the hour pass, closing every ten minutes."""
    facts = busy_hour()
    for minute in range(0, 150, 10):
        for arrival, one in facts:
            if minute <= arrival < minute + 10:
                room.clock.at = T + arrival * MINUTE
                room.verdict(one)
        room.close(T + (minute + 10) * MINUTE, **closer)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """What the hour gives when nothing goes wrong, on a store of its own."""
    store = Database(f"sqlite:///{tmp_path_factory.mktemp('undisturbed') / 'cem.sqlite3'}")
    Base.metadata.create_all(store.engine)
    play(Room(store, FakeClock(T), SETTINGS), batch_cases=9)
    yield picture(store)
    store.close()


def test_both_stores_give_the_same(room: Room, undisturbed: dict[str, object]) -> None:
    play(room, batch_cases=9)
    assert picture(room.database) == undisturbed
    assert len(room.orders()) > 5


class PlayedCrashError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    "point",
    [
        "planned",
        "locked",
        "read",
        "order opened",
        "attached",
        "decided",
        "closed",
        "before commit",
        "committed",
    ],
)
def test_a_crash_anywhere_leaves_what_an_undisturbed_run_leaves(
    room: Room, undisturbed: dict[str, object], point: str
) -> None:
    """Every second try ends at the point (its first, second or third passing); the next one goes on."""
    tries = passed = crashes = 0

    def crash(at: str) -> None:
        nonlocal passed, crashes
        if at != point or tries % 2 == 0:
            return
        passed += 1
        if passed == 1 + tries // 2 % 3:
            crashes += 1
            raise PlayedCrashError(at)

    facts = busy_hour()
    for minute in range(0, 150, 10):
        for arrival, one in facts:
            if minute <= arrival < minute + 10:
                room.clock.at = T + arrival * MINUTE
                room.verdict(one)
        room.clock.at = T + (minute + 10) * MINUTE
        while True:
            tries, passed = tries + 1, 0
            try:
                if not room.closer(batch_cases=9, checkpoint=crash).tick():
                    break
            except PlayedCrashError:
                continue
    assert crashes >= 2
    assert picture(room.database) == undisturbed


def test_closers_in_several_threads_give_what_one_gives(room: Room, undisturbed: dict[str, object]) -> None:
    facts = busy_hour()
    with ThreadPoolExecutor(4) as pool:
        for minute in range(0, 150, 10):
            for arrival, one in facts:
                if minute <= arrival < minute + 10:
                    room.clock.at = T + arrival * MINUTE
                    room.verdict(one)
            room.clock.at = T + (minute + 10) * MINUTE
            together = Barrier(4)

            def work(barrier: Barrier = together) -> None:
                closer = room.closer(batch_cases=9)
                barrier.wait()
                while closer.tick():
                    pass

            for future in [pool.submit(work) for _ in range(4)]:
                future.result()
            room.close(room.clock.at, batch_cases=9)  # whoever lost the lock last may have stopped early
    assert picture(room.database) == undisturbed


def test_cases_that_come_while_windows_close_are_all_counted(room: Room) -> None:
    """Two hundred lines report from four threads while a fifth closes; each is in the one order at the end."""
    room.clock.at = CLOSING  # the window is due from the start: its cases race with its closing

    def report(first: int) -> None:
        for n in range(first, first + 50):
            room.verdict(fact(n, verdict_id=f"v_r{n}", self_check_id=f"sc_r{n}"))

    with ThreadPoolExecutor(5) as pool:
        reporters = [pool.submit(report, first) for first in range(0, 200, 50)]
        closer = room.closer(batch_cases=20)
        while not all(future.done() for future in reporters):
            closer.tick()
        for future in reporters:
            future.result()
    room.close(CLOSING)
    [order] = room.orders()
    assert (order.affected, order.case_count) == (200, 200)
    with room.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Case).where(Case.judged_at.is_(None))) == 0
        assert (
            session.scalar(
                select(func.count()).select_from(ClosedWindow).where(ClosedWindow.window_start == T)
            )
            == 1
        )
