"""Files of a feed into the real store: the cubes they make, and a second time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cem.platform.facts import FactStore
from kqi.cube_reading import CubeQuestion, CubeReader
from kqi.cubes import CubeJob
from kqi.feeds.importing import ImportReport, import_file
from kqi.writer import open_samples_writer
from tests.conftest import FakeClock
from tests.feed_files import PM_LISTS, PM_NUMBERED
from tests.integration.kqi_support import ENGINES, WINDOW, opened, standing_clock

LISTED = PM_LISTS.replace(b"2026-11-22T15:45", b"2050-03-01T20:15")
NUMBERED = PM_NUMBERED.replace(b"202611221545", b"205003012015")


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FactStore]:
    with opened(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def clock() -> FakeClock:
    return standing_clock()


def imported(store: FactStore, clock: FakeClock, path: Path) -> ImportReport:
    """By a process of its own: it knows of the store only what the store says."""
    writer = open_samples_writer(store, clock, exclusive=False)
    try:
        return import_file(path, commits=writer, hash_number=lambda number: f"s_{number}", clock=clock)
    finally:
        writer.close()


def cubes(store: FactStore, clock: FakeClock) -> dict[str, tuple[int, float | None]]:
    """Samples and mean load of each cell, from cubes built now."""
    CubeJob(store, clock, busy_share=1, least_rest_s=0).tick()
    question = CubeQuestion(("prb_load_pct",), WINDOW, WINDOW + timedelta(minutes=15), group_by=("cell",))
    return {row.group["cell"]: (row.count, row.mean) for row in CubeReader(store).answer(question).rows}


def test_a_file_makes_its_cubes_once(store: FactStore, clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "listed.xml").write_bytes(LISTED)
    first = imported(store, clock, tmp_path / "listed.xml")
    assert (first.accepted, first.duplicate, dict(first.refused)) == (2, 0, {"suspect": 1, "wrong_count": 1})
    expected = {"c-1": (1, 71.0), "c-2": (1, 12.5)}
    assert cubes(store, clock) == expected

    again = imported(store, clock, tmp_path / "listed.xml")
    assert (again.accepted, again.duplicate) == (0, 2)
    assert cubes(store, clock) == expected


def test_the_other_vocabulary_brings_only_what_is_new(
    store: FactStore, clock: FakeClock, tmp_path: Path
) -> None:
    (tmp_path / "listed.xml").write_bytes(LISTED)
    (tmp_path / "numbered.xml").write_bytes(NUMBERED)
    imported(store, clock, tmp_path / "listed.xml")
    other = imported(store, clock, tmp_path / "numbered.xml")
    assert (other.accepted, other.duplicate) == (1, 1)
    rows = store.rows("SELECT count() AS n, uniqExact(item_key) AS keys FROM samples FINAL")
    assert rows == [{"n": 3, "keys": 3}]
