"""A feed's file: told by its name and first bytes, read as a stream, stored through the group commit.

    for item in read_file(Path("A20261122.0730+0800-0745+0800_7.xml.gz")): ...

    report = import_file(path, commits=writer, hash_number=hasher, clock=clock)

Sending a file again changes nothing: ids come from content, and a known item is a duplicate.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import msgspec

from cem.platform.clock import Clock
from cem.platform.group_commit import Entry, Outcome, Receipt
from kqi.feeds.columns import arrow_items, parquet_items
from kqi.feeds.csv_items import csv_items
from kqi.feeds.errors import BadMapping, UnreadableFeed
from kqi.feeds.items import MIB, FeedLimits, Read, Refused, WireItem
from kqi.feeds.json_items import json_items, ndjson_items
from kqi.feeds.mapping_files import read_mapping_file, read_toml
from kqi.feeds.pm_counters import CounterReader, CounterRules, rules_of, standard_rules
from kqi.feeds.pm_xml import read_measurements
from kqi.feeds.storing import NO_AGE_LIMIT, Prepared, prepare
from kqi.feeds.streams import inflated
from kqi.feeds.table_mapping import TableMapping, table_mapping_of
from kqi.samples import Feed, TimeBounds

BATCH_ITEMS = 5_000
BATCH_BYTES = 8 * MIB
"""One commit of a file has at most so many items and bytes. Chosen here: a quarter of a group commit, so that
live requests are not held up."""
BATCH_DAYS = 50
"""Days that one commit spans: the engine refuses an insert into more than 100 partitions, and they are days. [1]"""
REMEMBERED_KEYS = 200_000
"""Keys that a dry run remembers to tell repeats within the file. [1] Chosen here: some 25 MiB."""

Mappings = TableMapping | CounterRules
Progress = Callable[[int, int], None]
"""Called with bytes read and the file's size. [B]"""


class Format(StrEnum):
    """What a file is."""

    PM_XML = "pm_xml"
    NDJSON = "ndjson"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


_BY_ENDING = {
    "xml": Format.PM_XML, "ndjson": Format.NDJSON, "jsonl": Format.NDJSON, "json": Format.JSON,
    "csv": Format.CSV, "tsv": Format.CSV, "parquet": Format.PARQUET, "arrow": Format.ARROW,
    "arrows": Format.ARROW, "ipc": Format.ARROW, "feather": Format.ARROW,
}  # fmt: skip


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


def load_mapping(path: Path) -> Mappings:
    """A mapping file of either kind. Raises BadMapping."""
    file = read_toml(read_mapping_file(path), path.name)
    kind = file.text("kind")
    if kind == "table":
        return table_mapping_of(file)
    if kind == "counters":
        return rules_of(file)
    raise BadMapping(f'{path.name}: `kind` is "table" or "counters".')


def format_of(name: str, head: bytes) -> Format:
    """What a file is, by its first bytes where they are telling, else by its name.

    Raises
    ------
    UnreadableFeed
        Neither tells.
    """
    if head.startswith(b"PAR1"):
        return Format.PARQUET
    if head.startswith(b"ARROW1"):
        return Format.ARROW
    parts = name.lower().split(".")
    while len(parts) > 1 and parts[-1] in {"gz", "zst", "zstd"}:
        parts.pop()
    if found := _BY_ENDING.get(parts[-1]):
        return found
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        return Format.PM_XML
    if start.startswith(b"\xff\xff\xff\xff"):
        return Format.ARROW
    if start.startswith(b"["):
        return Format.JSON
    if start.startswith(b"{"):
        return Format.NDJSON
    raise UnreadableFeed(
        "What the file holds is not known: name it .xml, .ndjson, .json, .csv, .parquet or .arrow (and .gz or .zst)."
    )


def read_file(
    path: Path, *, mapping: Mappings | None = None, limits: FeedLimits | None = None, feed: Feed | None = None
) -> Iterator[Read]:
    """Every item of a file, and what of it is refused, as they come.

    Parameters
    ----------
    path
        The file.
    mapping
        What its columns or counters mean; None: by their names, or the rules that come with the product.
    limits
        Bounds.
    feed
        Whose items these are, where neither they nor the mapping say so.

    Raises
    ------
    UnreadableFeed
        Also in the midst: what was yielded before stands.
    BadMapping
        The mapping does not fit the file.
    """
    with _opened(path) as file:
        yield from read_stream(file, path.name, mapping=mapping, limits=limits, feed=feed)


def read_stream(
    stream: BinaryIO,
    name: str,
    *,
    mapping: Mappings | None = None,
    limits: FeedLimits | None = None,
    feed: Feed | None = None,
) -> Iterator[Read]:
    """`read_file` of an open binary stream; Parquet must be seekable. Raises as `read_file`."""
    limits = limits or FeedLimits()
    head = _peek(stream)
    if head.startswith(b"PAR1"):
        return parquet_items(stream, _table(mapping), feed, limits)
    content = inflated(cast(BinaryIO, _Rejoined(head, stream)), limits.max_bytes)
    kind = format_of(name, content.peek(16)[:16])
    match kind:
        case Format.PM_XML:
            return _counter_items(content, _rules(mapping), name, limits)
        case Format.NDJSON:
            return ndjson_items(content, _json_feed(mapping, feed), limits)
        case Format.JSON:
            return json_items(content, _json_feed(mapping, feed), limits)
        case Format.CSV:
            return csv_items(content, _table(mapping), feed, limits)
        case Format.ARROW:
            return arrow_items(cast(BinaryIO, content), _table(mapping), feed, limits)
        case Format.PARQUET:
            raise UnreadableFeed("This is no Parquet file, or it is compressed as a whole.")


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
    with _opened(path) as file:
        size = path.stat().st_size
        report = ImportReport(path.name, _format(file, path.name), commits is None)
        sink = _Sink(report, commits, emit)
        bounds = TimeBounds(clock.now(), late_after or NO_AGE_LIMIT, future_skew)
        items = read_stream(file, path.name, mapping=mapping, limits=limits, feed=feed)
        for batch in _batches(items, report):
            sink.take(prepare(batch, origin=origin, hash_number=hash_number, bounds=bounds))
            if progress is not None:
                progress(min(file.tell(), size), size)
    return report


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


def _counter_items(
    stream: io.BufferedReader, rules: CounterRules, name: str, limits: FeedLimits
) -> Iterator[Read]:
    reader = CounterReader(rules)
    for measurement in read_measurements(cast(BinaryIO, stream), limits, name=name):
        if isinstance(measurement, Refused):
            yield measurement
        else:
            yield from reader.read(measurement)


def _table(mapping: Mappings | None) -> TableMapping | None:
    if isinstance(mapping, CounterRules):
        raise BadMapping('Tables are mapped by a file of kind "table".')
    return mapping


def _rules(mapping: Mappings | None) -> CounterRules:
    if isinstance(mapping, TableMapping):
        raise BadMapping('Measurement files are mapped by a file of kind "counters".')
    return mapping or standard_rules()


def _json_feed(mapping: Mappings | None, feed: Feed | None) -> Feed | None:
    if mapping is not None:
        raise BadMapping("JSON is read in the wire form; a mapping is for tables and measurement files.")
    return feed


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableFeed(f"{path.name}: {error.strerror or 'cannot be opened'}.") from None


def _format(file: BinaryIO, name: str) -> Format:
    """What a file is; leaves the file at its start. Raises UnreadableFeed."""
    head = file.read(16)
    file.seek(0)
    found = format_of(name, inflated(file, MIB).peek(16)[:16] if not head.startswith(b"PAR1") else head)
    file.seek(0)
    return found


def _peek(stream: BinaryIO) -> bytes:
    """The first four bytes; the stream is put back where it can be."""
    try:
        head = stream.read(4)
        if head == b"PAR1" and stream.seekable():
            stream.seek(0)
    except OSError as error:
        raise UnreadableFeed(f"The file cannot be read: {error.strerror or 'input error'}.") from None
    return head


class _Rejoined(io.RawIOBase):
    """A stream with the bytes that were read of it put back."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head = head
        self._stream = stream

    def read(self, size: int | None = -1) -> bytes:
        if self._head:
            part, self._head = self._head, b""
            return part
        return self._stream.read(-1 if size is None else size)
