"""Files into the writer: what is stored, what a second time changes, and what a dry run says."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from cem.platform.errors import InvalidInput, Unavailable
from cem.platform.group_commit import Entry, Outcome, Receipt
from kqi.feeds import importing
from kqi.feeds.errors import UnreadableFeed
from kqi.feeds.health import FeedState, feed_health
from kqi.feeds.importing import ImportReport, delivery_of, import_file
from kqi.feeds.reading import read_stream
from kqi.feeds.storing import NO_AGE_LIMIT, Prepared, prepare
from kqi.samples import TimeBounds
from tests.conftest import FakeClock
from tests.feed_files import NOW, PM_LISTS, every_format, ndjson


class Shelf:
    """A writer that keeps what it gets, by key, as the store does."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.batches: list[int] = []
        self.fails_at: int | None = None

    def submit_blocking(self, batch: Sequence[Entry]) -> Receipt:
        if self.fails_at is not None and len(self.batches) >= self.fails_at:
            raise Unavailable("The store is away.")
        self.batches.append(len(batch))
        outcomes = []
        for entry in batch:
            outcomes.append(Outcome.DUPLICATE if entry.key in self.rows else Outcome.ACCEPTED)
            self.rows.setdefault(entry.key, entry.rows[0][1])
        return Receipt(tuple(outcomes), 0.0)


def hashed(number: str) -> str:
    if not number.startswith("+"):
        raise InvalidInput("no number")
    return f"s_{len(number)}"


def run(path: Path, shelf: Shelf | None, **options: object) -> ImportReport:
    return import_file(path, commits=shelf, hash_number=hashed, clock=FakeClock(NOW), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(every_format()))
def test_sending_a_file_again_changes_nothing(name: str, tmp_path: Path) -> None:
    shelf = Shelf()
    for copy in ("", "copy-of-"):
        (tmp_path / (copy + name)).write_bytes(every_format()[name])
    first = run(tmp_path / name, shelf)
    kept = dict(shelf.rows)
    again = run(tmp_path / f"copy-of-{name}", shelf)
    assert first.accepted == len(kept) > 0
    assert (again.accepted, again.duplicate) == (0, first.accepted + first.duplicate)
    assert again.refused == first.refused
    assert shelf.rows == kept


def test_rows_are_those_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(PM_LISTS)
    shelf = Shelf()
    report = run(tmp_path / "a.xml", shelf, origin="ran-east")
    row = msgspec.json.decode(next(iter(shelf.rows.values())))
    assert row["window"] == "2026-11-22T07:30:00Z"
    assert row["observed_at"] == "2026-11-22T07:37:30Z"
    assert (row["vantage"], row["service"], row["subscriber_id"], row["origin"]) == (
        "pipe",
        "",
        "",
        "ran-east",
    )
    assert row["cell"] == "c-1"
    assert row["values"]["rrc_setup_success_ratio"] == pytest.approx(0.97)
    assert (report.accepted, dict(report.refused)) == (2, {"suspect": 1, "wrong_count": 1})
    assert report.first_window == report.last_window == datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
    health = feed_health("ran-east", [delivery_of(report, NOW)], NOW)
    assert (health.state, health.items, health.lag) == (FeedState.OK, 2, timedelta(minutes=15))


def test_a_dry_run_tells_every_item_and_stores_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(ndjson() + b"nonsense\n" + ndjson())
    told: list[bytes] = []
    report = run(tmp_path / "a.ndjson", None, emit=told.append)
    lines = [msgspec.json.decode(line) for line in told]
    assert [line["outcome"] for line in lines] == ["accepted"] * 3 + ["refused"] + ["duplicate"] * 3
    assert [line["place"] for line in lines] == [f"line {number}" for number in range(1, 8)]
    assert lines[1]["sample"]["subscriber_id"] == "s_14"
    assert lines[3]["code"] == "bad_json"
    assert (report.dry_run, report.accepted, report.duplicate, report.refused.total()) == (True, 3, 3, 1)
    assert b"13812345678" not in b"".join(told)


def test_a_dry_run_foretells_the_import(tmp_path: Path) -> None:
    for name, data in every_format().items():
        (tmp_path / name).write_bytes(data)
        foretold, done = run(tmp_path / name, None), run(tmp_path / name, Shelf())
        assert (foretold.accepted, foretold.duplicate, foretold.refused) == (
            done.accepted,
            done.duplicate,
            done.refused,
        )


def test_any_order_and_any_split_store_the_same(tmp_path: Path) -> None:
    lines = [
        msgspec.json.encode(
            {
                "observed_at": (NOW - timedelta(minutes=minute)).isoformat(),
                "vantage": "pipe",
                "dimensions": {"cell": f"c-{minute % 7}"},
                "values": {"rtt_ms": minute},
            }
        )
        for minute in range(300)
    ]
    whole, parts = Shelf(), Shelf()
    (tmp_path / "whole.ndjson").write_bytes(b"\n".join(lines))
    run(tmp_path / "whole.ndjson", whole)
    mixed = random.Random(7).sample(lines, len(lines))
    for number, cut in enumerate((mixed[:90], mixed[60:200], mixed[200:])):
        (tmp_path / f"{number}.ndjson").write_bytes(b"\n".join(cut))
        run(tmp_path / f"{number}.ndjson", parts)
    assert parts.rows == whole.rows


def test_a_file_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(PM_LISTS[: PM_LISTS.index(b"c-3")])
    shelf = Shelf()
    report = run(tmp_path / "a.xml", shelf)
    assert report.accepted == len(shelf.rows) == 2
    assert "broken" in report.failure
    (tmp_path / "a.xml").write_bytes(PM_LISTS)
    whole = run(tmp_path / "a.xml", shelf)
    assert (whole.accepted, whole.duplicate, whole.failure) == (0, 2, "")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFeed):
        run(tmp_path / "missing.xml", None)


def test_times_beyond_the_bounds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(PM_LISTS)
    late = run(tmp_path / "a.xml", None, late_after=timedelta(minutes=1))
    assert late.refused["too_late"] == 2
    (tmp_path / "b.xml").write_bytes(PM_LISTS.replace(b"2026-11-22T15:45", b"2026-11-22T18:45"))
    assert run(tmp_path / "b.xml", None).refused["in_future"] == 2
    (tmp_path / "c.xml").write_bytes(PM_LISTS.replace(b"2026-11-22T15:45", b"1980-01-06T00:15"))
    assert run(tmp_path / "c.xml", None).refused["too_late"] == 2


def test_a_commit_spans_few_days(tmp_path: Path) -> None:
    lines = [
        msgspec.json.encode(
            {
                "observed_at": (NOW - timedelta(days=day)).isoformat(),
                "vantage": "pipe",
                "dimensions": {"cell": "c"},
                "values": {"rtt_ms": 1},
            }
        )
        for day in range(120)
    ]
    (tmp_path / "a.ndjson").write_bytes(b"\n".join(lines))
    shelf = Shelf()
    assert run(tmp_path / "a.ndjson", shelf).accepted == 120
    assert shelf.batches == [50, 50, 20]


def test_progress_is_told_and_a_store_that_goes_away_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH_ITEMS", 1)
    (tmp_path / "a.ndjson").write_bytes(ndjson())
    told: list[tuple[int, int]] = []
    run(tmp_path / "a.ndjson", Shelf(), progress=lambda done, size: told.append((done, size)))
    assert len(told) == 3
    assert told[-1] == (len(ndjson()), len(ndjson()))
    shelf = Shelf()
    shelf.fails_at = 1
    with pytest.raises(Unavailable):
        run(tmp_path / "a.ndjson", shelf)
    shelf.fails_at = None
    assert run(tmp_path / "a.ndjson", shelf).accepted == 2


def test_prepared_items_keep_their_order() -> None:
    items = list(read_stream(io.BytesIO(ndjson() + b"x\n" + ndjson()), "a.ndjson"))
    found = prepare(
        items,
        origin="o",
        hash_number=hashed,
        bounds=TimeBounds(NOW, NO_AGE_LIMIT, timedelta(minutes=5)),
    )
    assert [one.place for one in found] == [f"line {number}" for number in range(1, 8)]
    keys = [one.entry.key for one in found if isinstance(one, Prepared)]
    assert keys[:3] == keys[3:]
