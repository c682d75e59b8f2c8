"""Arrow IPC messages, looked at before the Arrow library gets them.

The library believes the lengths that a message states and allocates them. So each message is cut out here by its
framing, its stated lengths are compared with the bounds, and only then is it handed on.

Source: Apache Arrow, columnar format 1.5, "Encapsulated message format", "RecordBatch message", "Compression";
Message.fbs and its vtables as FlatBuffers' internals describe. The file format is the stream format between a magic
and a footer, and is read as such.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

from kqi.feeds.errors import UnreadableFeed
from kqi.feeds.items import MIB, FeedLimits

MAX_METADATA_BYTES = 4 * MIB
"""Longest description of a message. [B] Chosen here: thousands of columns."""
MAX_BUFFERS = 100_000
FILE_MAGIC = b"ARROW1\0\0"
_CONTINUATION = b"\xff\xff\xff\xff"
_DICTIONARY, _RECORDS = 2, 3


class CheckedMessages(io.RawIOBase):
    """A readable stream of the same bytes, message by message, each checked before its first byte is given.

    Raises
    ------
    UnreadableFeed
        From reads: not Arrow, cut off, or a message beyond `limits.max_block_bytes`.
    """

    def __init__(self, stream: BinaryIO, limits: FeedLimits) -> None:
        super().__init__()
        self._stream = stream
        self._limits = limits
        self._ready = memoryview(b"")
        self._ended = False
        self._first = True

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes, `size` or all that are left of them. Raises UnreadableFeed."""
        if size is None or size < 0 or size > self._limits.max_block_bytes + MAX_METADATA_BYTES:
            raise UnreadableFeed("An Arrow message is longer than allowed.")
        parts: list[bytes] = []
        while size:
            if not self._ready:
                self._ready = memoryview(self._next())
                if not self._ready:
                    break
            part = self._ready[:size]
            self._ready = self._ready[size:]
            parts.append(bytes(part))
            size -= len(part)
        return b"".join(parts)

    def _next(self) -> bytes:
        if self._ended:
            return b""
        head = self._exactly(4, may_end=True)
        if self._first and head == FILE_MAGIC[:4]:
            if self._exactly(4) != FILE_MAGIC[4:]:
                raise UnreadableFeed("The Arrow file's magic is broken.")
            head = self._exactly(4)
        self._first = False
        marked = head == _CONTINUATION
        size_bytes = self._exactly(4) if marked else head
        length = int.from_bytes(size_bytes, "little", signed=True) if size_bytes else 0
        prefix = head + size_bytes if marked else head
        if length == 0:
            self._ended = True
            return prefix
        if not 0 < length <= MAX_METADATA_BYTES:
            raise UnreadableFeed(
                "This is no Arrow stream, or a message's description is longer than allowed."
            )
        metadata = self._exactly(length)
        try:
            body = self._exactly(self._body_length(metadata))
            self._check(metadata, body)
        except struct.error:
            raise UnreadableFeed("An Arrow message's description is broken.") from None
        return prefix + metadata + body

    def _exactly(self, size: int, *, may_end: bool = False) -> bytes:
        parts: list[bytes] = []
        left = size
        while left:
            part = self._stream.read(min(left, MIB))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        if left and not (may_end and left == size):
            raise UnreadableFeed("The Arrow stream is cut off.")
        return b"".join(parts)

    def _body_length(self, metadata: bytes) -> int:
        table = _Table.root(metadata)
        length = table.int64(3)
        if not 0 <= length <= self._limits.max_block_bytes:
            raise UnreadableFeed("An Arrow message is longer than allowed.")
        return length

    def _check(self, metadata: bytes, body: bytes) -> None:
        table = _Table.root(metadata)
        kind, header = table.uint8(1), table.table(2)
        if kind not in {_DICTIONARY, _RECORDS} or header is None:
            return
        batch = header.table(1) if kind == _DICTIONARY else header
        if batch is None:
            raise UnreadableFeed("An Arrow message's description is broken.")
        buffers = batch.pairs(2)
        held = 0
        compressed = batch.table(3) is not None
        for offset, length in buffers:
            if offset < 0 or length < 0 or offset + length > len(body):
                raise UnreadableFeed("An Arrow message names bytes that it does not have.")
            if compressed and length >= 8:
                stated = int.from_bytes(body[offset : offset + 8], "little", signed=True)
                held += stated if stated >= 0 else length
            else:
                held += length
            if held > self._limits.max_block_bytes:
                raise UnreadableFeed("An Arrow message is longer than allowed once inflated.")
        rows = batch.int64(0)
        if not 0 <= rows <= 8 * held + 64:  # the least that a value takes is a bit
            raise UnreadableFeed("An Arrow message states more rows than it can hold.")


class _Table:
    """A FlatBuffers table: fields by number, through its vtable. Raises struct.error beyond the bytes."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        if at < 0:
            raise struct.error
        self._vtable = at - _unpack("<i", data, at)
        self._size = _unpack("<H", data, self._vtable)

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, _unpack("<I", data, 0))

    def _field(self, number: int) -> int | None:
        slot = 4 + 2 * number
        if slot + 2 > self._size:
            return None
        offset = _unpack("<H", self._data, self._vtable + slot)
        return self._at + offset if offset else None

    def uint8(self, number: int) -> int:
        at = self._field(number)
        return 0 if at is None else _unpack("<B", self._data, at)

    def int64(self, number: int) -> int:
        at = self._field(number)
        return 0 if at is None else _unpack("<q", self._data, at)

    def table(self, number: int) -> _Table | None:
        at = self._field(number)
        return None if at is None else _Table(self._data, at + _unpack("<I", self._data, at))

    def pairs(self, number: int) -> list[tuple[int, int]]:
        at = self._field(number)
        if at is None:
            return []
        start = at + _unpack("<I", self._data, at)
        count = _unpack("<I", self._data, start)
        if count > MAX_BUFFERS:
            raise UnreadableFeed("An Arrow message has more buffers than allowed.")
        data = self._data[start + 4 : start + 4 + 16 * count]
        if len(data) != 16 * count:
            raise struct.error
        return list(struct.iter_unpack("<qq", data))


def _unpack(form: str, data: bytes, at: int) -> int:
    if at < 0:
        raise struct.error
    return int(struct.unpack_from(form, data, at)[0])
