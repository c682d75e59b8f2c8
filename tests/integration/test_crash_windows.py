"""kill -9 while windows close, again and again, in the service itself: the same orders as without a single kill."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from cem.platform.db import Database
from migrations.tables import whole_metadata
from tests.conftest import FakeClock
from tests.integration.orders_support import MINUTE, SETTINGS, Room, T, busy_hour, picture
from tests.processes import Service, clickhouse_process
from workorders.models import Case, ClosedWindow, WorkOrder

HOURS = 10
"""Hours of faults: twelve hundred cases in forty windows, so that a kill finds closing under way."""

NOW = T + 148 * MINUTE
"""Four minutes and a half before a further window falls due, so that none does while the test runs."""
DONE_WITHIN_S = 120.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one closer makes of it in one go."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('quiet') / 'quiet.sqlite3'}")
    whole_metadata().create_all(database.engine)
    room = Room(database, FakeClock(T), SETTINGS)
    _faults(room)
    room.close(NOW)
    expected = _seen(database)
    database.close()
    assert len(expected["orders"]) > 50
    return expected


def _seen(database: Database) -> dict[str, Any]:
    """`picture`, but for which of an order's cases was its first: cases of one instant have no order."""
    seen = picture(database)
    seen["reasons"] = Counter((case[4], case[1]) for case in seen["cases"].values())
    seen["cases"] = {verdict: (case[0], *case[2:]) for verdict, case in seen["cases"].items()}
    return seen


def _faults(room: Room) -> None:
    """Verdicts of `HOURS`, the last hour of which begins at T, each in places of its own and taken in as it arrives."""
    with room.database.write() as session:
        for back in range(HOURS):
            for arrival, one in busy_hour(seed=100 + back):
                shift = -60 * back * MINUTE
                room.clock.at = T + arrival * MINUTE + shift
                place = {name: f"{value}-{back}" for name, value in one.dimensions.items()}
                moved = replace(one, fault_at=one.fault_at + shift, dimensions=place)
                room.cases.from_verdict(session, moved)


def _progress(database: Database) -> int:
    """Cases decided on and windows closed."""
    with database.read() as session:
        judged = session.scalar(select(func.count()).where(Case.judged_at.is_not(None)))
        closed = session.scalar(select(func.count()).select_from(ClosedWindow))
    return int(judged or 0) + int(closed or 0)


def _wait(until: Callable[[], bool], what: str, services: list[Service]) -> None:
    deadline = time.monotonic() + DONE_WITHIN_S
    while not until():
        assert time.monotonic() < deadline, f"{what}: " + "\n".join(one.tail(15) for one in services)
        time.sleep(0.01)


def _doubled(database: Database) -> int:
    """Keys with more than one order at work."""
    with database.read() as session:
        counts = select(func.count()).where(WorkOrder.active.is_(True)).group_by(WorkOrder.group_key)
        return sum(count > 1 for count in session.scalars(counts))


def _kill_again_and_again(
    database: Database, services: list[Service], kills: int, expected: dict[str, Any], seed: int
) -> None:
    """Kill processes in turn, each some way on from the last kill; then let them finish."""
    dice = random.Random(seed)
    goal = len(expected["cases"]) + len(expected["windows"])
    offset_s = (NOW - datetime.now(UTC)).total_seconds()
    found: list[int] = []
    for service in services:
        service.launch(clock_offset_s=offset_s)
    for number in range(kills):
        aim = _progress(database) + dice.randint(1, max(1, goal // (kills + 1)))
        _wait(lambda aim=aim: _progress(database) >= aim, "closing does not move", services)
        time.sleep(dice.uniform(0.0, 0.08))
        service = services[number % len(services)]
        service.kill()
        found.append(_progress(database))
        assert _doubled(database) == 0
        service.launch(clock_offset_s=offset_s)
    _wait(lambda: _progress(database) >= goal, "closing does not end", services)
    for service in services:
        service.wait_until_ready()
    print(f"{kills} kills at {found} of {goal} cases and windows")
    assert sum(moment < goal for moment in found) >= kills // 2, "the kills came when all was done"
    assert [service.stop() for service in services] == [0] * len(services)
    assert _seen(database) == expected


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    yield from _prepared(f"sqlite:///{tmp_path / 'cem.sqlite3'}", Service(tmp_path / "prepare"), {})


def _prepared(url: str, service: Service, settings: dict[str, str]) -> Iterator[Database]:
    made = Service(service.folder, database_url=url, **settings)
    made.run("migrate")
    database = Database(url)
    _faults(Room(database, FakeClock(T), SETTINGS))
    yield database
    database.close()


@pytest.mark.crash
def test_the_service_killed_while_it_closes_windows(
    tmp_path: Path, sqlite: Database, undisturbed: dict[str, Any]
) -> None:
    service = Service(tmp_path / "one", database_url=f"sqlite:///{tmp_path / 'cem.sqlite3'}")
    try:
        _kill_again_and_again(sqlite, [service], 4, undisturbed, seed=1)
    finally:
        service.stop()


@pytest.mark.crash
def test_two_workers_killed_in_turn_while_they_close_windows(
    tmp_path: Path, postgres_database_url: str, undisturbed: dict[str, Any]
) -> None:
    with clickhouse_process(tmp_path / "facts") as kqi_url:
        settings = {"kqi_url": kqi_url, "data_dir": str(tmp_path / "data")}
        prepared = _prepared(postgres_database_url, Service(tmp_path / "prepare"), settings)
        database = next(prepared)
        workers = [
            Service(tmp_path / name, ("worker",), database_url=postgres_database_url, **settings)
            for name in ("one", "two")
        ]
        try:
            _kill_again_and_again(database, workers, 5, undisturbed, seed=2)
        finally:
            for worker in workers:
                worker.stop()
            next(prepared, None)
