"""A feed's file: told by its name and first bytes, read as a stream, item by item.

    for item in read_file(Path("A20261122.0730+0800-0745+0800_7.xml.gz")): ...

Pure over a binary stream: nothing is stored, and memory does not grow with the file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

from kqi.feeds.columns import arrow_items, parquet_items
from kqi.feeds.csv_items import csv_items
from kqi.feeds.errors import BadMapping, UnreadableFeed
from kqi.feeds.items import MIB, FeedLimits, Read, Refused
from kqi.feeds.json_items import json_items, ndjson_items
from kqi.feeds.mapping_files import read_mapping_file, read_toml
from kqi.feeds.pm_counters import CounterReader, CounterRules, rules_of, standard_rules
from kqi.feeds.pm_xml import read_measurements
from kqi.feeds.streams import inflated
from kqi.feeds.table_mapping import TableMapping, table_mapping_of
from kqi.samples import Feed

Mappings = TableMapping | CounterRules


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
    with opened(path) as file:
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


def opened(path: Path) -> BinaryIO:
    """A file for reading. Raises UnreadableFeed."""
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableFeed(f"{path.name}: {error.strerror or 'cannot be opened'}.") from None


def format_of_file(file: BinaryIO, name: str) -> Format:
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
