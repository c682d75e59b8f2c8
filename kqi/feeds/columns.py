"""Tables in columns: Parquet, and Arrow IPC (stream and file), a few thousand rows at a time.

Columns are read as those of a text table are (`table_mapping`). A table with a column `values` that is a map or a
struct is one of samples in wire form, as an export of the store gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from cem.platform.errors import CemError
from kqi.feeds.arrow_messages import CheckedMessages
from kqi.feeds.errors import BadMapping, UnreadableFeed
from kqi.feeds.items import MIB, FeedLimits, Read, Refused
from kqi.feeds.json_items import wire_item
from kqi.feeds.table_mapping import TableMapping, guess_mapping, row_item
from kqi.samples import Feed

BATCH_ROWS = 4_096
"""Rows in memory as Python objects. [1] Chosen here: some 10 MiB."""
MAX_GROUP_ROWS = 100_000_000
"""Rows of a Parquet row group. [1] Chosen here: a hundred times what writers make."""
_WIRE = (
    *("id", "observed_at", "subscriber", "session_id", "service", "vantage"),
    *("dimensions", "values", "labels", "lwm2m"),
)


def parquet_items(
    stream: BinaryIO, mapping: TableMapping | None, feed: Feed | None, limits: FeedLimits
) -> Iterator[Read]:
    """Rows of a Parquet file. The stream must be seekable.

    Raises
    ------
    UnreadableFeed, BadMapping
    """
    if not stream.seekable():
        raise UnreadableFeed("A Parquet file cannot be read from a stream or compressed as a whole.")
    return _items(_parquet_batches(stream, limits), mapping, feed, limits)


def arrow_items(
    stream: BinaryIO, mapping: TableMapping | None, feed: Feed | None, limits: FeedLimits
) -> Iterator[Read]:
    """Rows of an Arrow IPC stream or file. Raises UnreadableFeed, BadMapping."""
    return _items(_arrow_batches(stream, limits), mapping, feed, limits)


def _parquet_batches(stream: BinaryIO, limits: FeedLimits) -> Iterator[Any]:
    file = pq.ParquetFile(
        stream,
        thrift_string_size_limit=16 * MIB,
        thrift_container_size_limit=1_000_000,
        pre_buffer=False,
        buffer_size=MIB,
        page_checksum_verification=True,
    )
    found = file.metadata
    for number in range(found.num_row_groups):
        group = found.row_group(number)
        if group.num_rows > MAX_GROUP_ROWS or group.total_byte_size > limits.max_block_bytes:
            raise UnreadableFeed(f"Row group {number} of the Parquet file is larger than allowed.")
    _check_columns(file.schema_arrow, limits)
    yield from file.iter_batches(batch_size=BATCH_ROWS, use_threads=False)


def _arrow_batches(stream: BinaryIO, limits: FeedLimits) -> Iterator[Any]:
    messages = CheckedMessages(stream, limits)
    with pa.ipc.open_stream(pa.PythonFile(messages, mode="r")) as reader:
        _check_columns(reader.schema, limits)
        for batch in reader:
            batch.validate(
                full=True
            )  # offsets and dictionary indices too: they are looked up unchecked later
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def _check_columns(schema: Any, limits: FeedLimits) -> None:
    if len(schema.names) > limits.max_columns:
        raise UnreadableFeed(f"The table has more than {limits.max_columns} columns.")
    if len(set(schema.names)) != len(schema.names):
        raise UnreadableFeed("Two columns of the table have one name.")


def _items(
    batches: Iterator[Any], mapping: TableMapping | None, feed: Feed | None, limits: FeedLimits
) -> Iterator[Read]:
    number = 0
    wire: bool | None = None
    while (rows := _rows(batches)) is not None:
        schema, values = rows
        if wire is None:
            wire = mapping is None and any(
                field.name == "values" and (pa.types.is_map(field.type) or pa.types.is_struct(field.type))
                for field in schema
            )
            if not wire:
                mapping = mapping or guess_mapping(schema.names, feed)
                for name in sorted(mapping.columns() - set(schema.names)):
                    raise BadMapping(f"The table has no column `{name[:64]}`.")
        for row in values:
            number += 1
            place = f"row {number}"
            if wire:
                yield _wire_row(row, feed, place, limits)
            else:
                assert mapping is not None
                yield row_item(row, mapping, place)


def _rows(batches: Iterator[Any]) -> tuple[Any, list[dict[str, Any]]] | None:
    """The next rows as Python objects; None at the end."""
    try:
        batch = next(batches, None)
        if batch is None:
            return None
        for index, field in enumerate(batch.schema):
            if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
                coarse = batch.column(index).cast(pa.timestamp("us", field.type.tz), safe=False)
                batch = batch.set_column(index, field.name, coarse)
        return batch.schema, batch.to_pylist()
    except CemError:
        raise
    except Exception as error:
        # Another's reader of a binary format: beside its own errors it raises whatever a broken file makes it meet
        # (OSError, ValueError, KeyError of a time zone, MemoryError, ...). All say the same of the file.
        raise UnreadableFeed(f"The table is broken ({type(error).__name__}).") from None


def _wire_row(row: Mapping[str, Any], feed: Feed | None, place: str, limits: FeedLimits) -> Read:
    sample: dict[str, Any] = {}
    for name in _WIRE:
        value = row.get(name)
        if isinstance(value, list):
            pairs = [pair for pair in value if isinstance(pair, tuple) and len(pair) == 2]
            value = {str(key): inner for key, inner in pairs if inner is not None}
        elif isinstance(value, dict):
            value = {key: inner for key, inner in value.items() if inner is not None}
        if name == "observed_at" and isinstance(value, datetime):
            if value.tzinfo is None:
                return Refused(place, "bad_time", "A time needs its offset from UTC.", "/observed_at")
            value = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if value is not None:
            sample[name] = value
    try:
        body = msgspec.json.encode(sample)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return Refused(place, "wrong_type", "A cell's type is not one that a sample has.")
    if len(body) > limits.max_item_bytes:
        return Refused(place, "too_long", f"A row has at most {limits.max_item_bytes} bytes.")
    return wire_item(body, feed, place)
