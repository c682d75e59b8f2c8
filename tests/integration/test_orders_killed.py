"""kill -9 in the middle of closing, again and again, with two processes at it: the same orders come out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cem.platform.db import Base, Database
from tests.conftest import FakeClock
from tests.integration.orders_support import MINUTE, SETTINGS, Room, T, busy_hour, picture

NOW = T + 150 * MINUTE
ROOT = Path(__file__).parents[2]
STEPS = (9, 31, 57)
"""Steps after which processes end themselves: within the first batch, and further and further in."""


def report(room: Room) -> None:
    for arrival, one in busy_hour():
        room.clock.at = T + arrival * MINUTE
        room.verdict(one)


def close_in_a_process(url: str, step: int) -> subprocess.Popen[bytes]:
    arguments = [
        sys.executable,
        "-m",
        "tests.integration.orders_closer_process",
        url,
        NOW.isoformat(),
        str(step),
    ]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.mark.crash
def test_processes_killed_while_closing_lose_and_double_nothing(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    quiet = Database(f"sqlite:///{tmp_path / 'quiet.sqlite3'}")
    Base.metadata.create_all(quiet.engine)
    undisturbed = Room(quiet, FakeClock(T), SETTINGS)
    report(undisturbed)
    undisturbed.close(NOW, batch_cases=9)
    expected = picture(quiet)
    quiet.close()
    assert len(expected["orders"]) > 5

    report(Room(database, FakeClock(T), SETTINGS))
    killed = 0
    for step in STEPS:
        pair = [close_in_a_process(database_url, step), close_in_a_process(database_url, step + 4)]
        killed += sum(process.wait(120) == -9 for process in pair)
    assert killed >= 3
    for process in [close_in_a_process(database_url, 0), close_in_a_process(database_url, 0)]:
        assert process.wait(120) == 0
    Room(database, FakeClock(T), SETTINGS).close(NOW)
    assert picture(database) == expected
