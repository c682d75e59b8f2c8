"""A feed's file into the store, through the group commit.

    report = import_file(path, commits=writer, hash_number=hasher, clock=clock)

Sending a file again changes nothing: ids come from content, and a known item is a duplicate. How a file is read is
`kqi.feeds.reading`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec

from cem.platform.clock import Clock
from cem.platform.group_commit import Entry, Outcome, Receipt
from cem.platform.windows import WINDOW
from kqi.feeds.errors import UnreadableFeed
from kqi.feeds.health import Delivery
from kqi.feeds.items import MIB, FeedLimits, Read, Refused, WireItem
from kqi.feeds.reading import Format, Mappings, format_of_file, load_mapping, opened, read_file, read_stream
from kqi.feeds.storing import NO_AGE_LIMIT, Prepared, prepare
from kqi.samples import Feed, TimeBounds

__all__ = ["ImportReport", "SampleWriter", "delivery_of", "import_file", "load_mapping", "read_file"]

BATCH_ITEMS = 5_000
BATCH_BYTES = 8 * MIB
"""One commit of a file has at most so many items and bytes. Chosen here: a quarter of a group commit, so that
live requests are not held up."""
BATCH_DAYS = 50
"""Days that one commit spans: the engine refuses an insert into more than 100 partitions, and they are days. [1]"""
REMEMBERED_KEYS = 200_000
"""Keys that a dry run remembers to tell repeats within the file. [1] Chosen here: some 25 MiB."""

Progress = Callable[[int, int], None]
"""Called with bytes read and the file's size. [B]"""


class SampleWriter(Protocol):
    """What an import needs of `cem.platform.group_commit.GroupCommit`."""

    def submit_blocking(self, batch: Sequence[Entry]) -> Receipt:
        """Store a batch; return when it is on disk. Raises Unavailable."""
        ...


@dataclass(slots=True)
class ImportReport:
    """What became of a file.

    Parameters
    ----------
    name, format
        The file's name without folders, and what it was read as.
    dry_run
        Nothing was stored; `accepted` is what would be.
    accepted, duplicate
        Items stored, and items that were there already. [1]
    refused
        How many by reason. [1]
    first_window, last_window
        Of what is stored or was there; None where nothing.
    failure
        Why the file could not be read to its end; '' where it could. What was read before stands.
    """

    name: str
    format: Format
    dry_run: bool
    accepted: int = 0
    duplicate: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first_window: datetime | None = None
    last_window: datetime | None = None
    failure: str = ""


def import_file(
    path: Path,
    *,
    commits: SampleWriter | None,
    hash_number: Callable[[str], str],
    clock: Clock,
    origin: str = "import",
    mapping: Mappings | None = None,
    feed: Feed | None = None,
    limits: FeedLimits | None = None,
    late_after: timedelta | None = None,
    future_skew: timedelta = timedelta(minutes=5),
    progress: Progress | None = None,
    emit: Callable[[bytes], None] | None = None,
) -> ImportReport:
    """Store a file's samples; return when they are on disk.

    Parameters
    ----------
    commits
        The writer of samples; None for a dry run, which stores nothing.
    hash_number
        Number → subscriber_id; raises InvalidInput.
    origin
        The feed's name, part of a sample's identity: the same for every file of a feed.
    late_after
        Older samples are refused; None takes history, whose raw samples the store drops once they are past its
        retention.
    progress
        Told after every batch.
    emit
        Gets one JSON object (without line end) per refusal; in a dry run one per item, in their order.

    Raises
    ------
    UnreadableFeed
        The file cannot be opened. One that breaks off later is told in the report's `failure`.
    BadMapping
        The mapping does not fit the file; nothing was stored.
    Unavailable
        The store refused; what came before is stored, and sending the file again completes it.
    """
    with opened(path) as file:
        size = path.stat().st_size
        report = ImportReport(path.name, format_of_file(file, path.name), commits is None)
        sink = _Sink(report, commits, emit)
        bounds = TimeBounds(clock.now(), late_after or NO_AGE_LIMIT, future_skew)
        items = read_stream(file, path.name, mapping=mapping, limits=limits, feed=feed)
        for batch in _batches(items, report):
            sink.take(prepare(batch, origin=origin, hash_number=hash_number, bounds=bounds))
            if progress is not None:
                progress(min(file.tell(), size), size)
    return report


def delivery_of(report: ImportReport, received_at: datetime) -> Delivery:
    """What a feed's health record takes of a file."""
    last = report.last_window
    return Delivery(
        received_at=received_at,
        begin=report.first_window,
        end=None if last is None else last + WINDOW,
        items=report.accepted + report.duplicate,
        refused=dict(report.refused),
        failure=report.failure,
    )


class _Sink:
    """Where prepared items go: the store, or in a dry run the lines that tell of them."""

    def __init__(
        self, report: ImportReport, commits: SampleWriter | None, emit: Callable[[bytes], None] | None
    ) -> None:
        self._report = report
        self._commits = commits
        self._emit = emit
        self._seen: dict[str, None] = {}

    def take(self, found: Sequence[Prepared | Refused]) -> None:
        good = [one for one in found if isinstance(one, Prepared)]
        outcomes = self._stored(good) if self._commits is not None else self._told(good)
        turn = iter(outcomes)
        report = self._report
        for one in found:
            if isinstance(one, Refused):
                report.refused[one.code] += 1
                self._tell({"outcome": "refused", "place": one.place, "code": one.code, "pointer": one.pointer,
                            "detail": one.detail})  # fmt: skip
                continue
            outcome = next(turn)
            report.first_window = min(report.first_window or one.window, one.window)
            report.last_window = max(report.last_window or one.window, one.window)
            if outcome is Outcome.ACCEPTED:
                report.accepted += 1
            else:
                report.duplicate += 1
            if self._commits is None:
                sample = {"sample": msgspec.Raw(one.entry.rows[0][1])} if outcome is Outcome.ACCEPTED else {}
                self._tell({"outcome": outcome, "place": one.place, "key": one.entry.key, **sample})

    def _stored(self, good: Sequence[Prepared]) -> list[Outcome]:
        assert self._commits is not None
        outcomes: list[Outcome] = []
        part: list[Entry] = []
        days: set[int] = set()
        for one in good:
            day = one.window.toordinal()
            if day not in days and len(days) >= BATCH_DAYS:
                outcomes.extend(self._commits.submit_blocking(part).outcomes)
                part, days = [], set()
            part.append(one.entry)
            days.add(day)
        outcomes.extend(self._commits.submit_blocking(part).outcomes)
        return outcomes

    def _told(self, good: Sequence[Prepared]) -> list[Outcome]:
        outcomes = []
        for one in good:
            known = one.entry.key in self._seen
            self._seen[one.entry.key] = None
            if len(self._seen) > REMEMBERED_KEYS:
                del self._seen[next(iter(self._seen))]
            outcomes.append(Outcome.DUPLICATE if known else Outcome.ACCEPTED)
        return outcomes

    def _tell(self, line: Mapping[str, object]) -> None:
        if self._emit is not None:
            self._emit(msgspec.json.encode(line))


def _batches(items: Iterator[Read], report: ImportReport) -> Iterator[list[Read]]:
    """Items in batches; a file that breaks off gives what came before and is noted in the report."""
    batch: list[Read] = []
    size = 0
    try:
        for item in items:
            batch.append(item)
            size += len(item.body) if isinstance(item, WireItem) else 1_024
            if len(batch) >= BATCH_ITEMS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except UnreadableFeed as error:
        report.failure = error.detail
    if batch:
        yield batch
