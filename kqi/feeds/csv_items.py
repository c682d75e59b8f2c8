"""Tables as text (RFC 4180, also with `;` or tabs): one row after another, each bounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from kqi.feeds.errors import BadMapping, UnreadableFeed
from kqi.feeds.items import FeedLimits, Read, Refused
from kqi.feeds.table_mapping import TableMapping, guess_mapping, row_item
from kqi.samples import Feed

SEPARATORS = ",;\t|"


def csv_items(
    stream: io.BufferedReader, mapping: TableMapping | None, feed: Feed | None, limits: FeedLimits
) -> Iterator[Read]:
    """One item a row; the first row names the columns.

    Raises
    ------
    UnreadableFeed
        No heading, too many columns, not UTF-8, a row or a quote that never ends.
    BadMapping
        A column that the mapping names is not there.
    """
    source = _Lines(stream, limits.max_item_bytes)
    heading = next(source, "")
    if not heading.strip():
        raise UnreadableFeed("The table has no heading.")
    separator = max(SEPARATORS, key=heading.count)
    columns = [name.strip() for name in next(iter(_rows(iter([heading]), separator, source)), [])]
    if len(columns) > limits.max_columns:
        raise UnreadableFeed(f"The table has more than {limits.max_columns} columns.")
    if len(set(columns)) != len(columns):
        raise UnreadableFeed("Two columns of the table have one name.")
    mapping = mapping or guess_mapping(columns, feed)
    for name in sorted(mapping.columns() - set(columns)):
        raise BadMapping(f"The table has no column `{name[:64]}`.")
    for row in _rows(source, separator, source):
        place = f"line {source.number}"
        source.row_bytes = 0
        if not any(row):
            continue
        if len(row) != len(columns):
            yield Refused(place, "wrong_count", f"The row has {len(row)} cells, the heading {len(columns)}.")
            continue
        yield row_item(dict(zip(columns, row, strict=True)), mapping, place)


class _Lines(Iterator[str]):
    """Lines as text, with their number; bounds what one row may gather."""

    def __init__(self, stream: io.BufferedReader, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self.number = 0
        self.row_bytes = 0

    def __next__(self) -> str:
        line = self._stream.readline(self._max_bytes + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.row_bytes += len(line)
        if self.row_bytes > self._max_bytes:
            raise UnreadableFeed(f"Line {self.number}: a row is longer than allowed, or a quote never ends.")
        if self.number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise UnreadableFeed(f"Line {self.number}: the table is not UTF-8.") from None


def _rows(lines: Iterator[str], separator: str, source: _Lines) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=separator, strict=True)
    except csv.Error:
        raise UnreadableFeed(f"Line {source.number}: the table's quotes are broken.") from None
