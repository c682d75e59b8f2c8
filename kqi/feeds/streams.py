"""Bytes of a file, inflated where they must be, never more than allowed, in lines or pieces.

gzip (RFC 1952, several members) and zstd (RFC 8878) are told by their first bytes, not by the file's name.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

from kqi.feeds.errors import UnreadableFeed

PIECE_BYTES = 64 * 1024
"""Bytes read at once. [B] Chosen here: a page of a disk's read-ahead."""
_ZSTD_MAX_WINDOW = 128 * 1024 * 1024
"""Window of `zstd -19 --long=27`; a frame that wants more is refused. [B]"""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class _Inflating(io.RawIOBase):
    """A readable stream out of pieces; refuses to go beyond `max_bytes`."""

    def __init__(self, pieces: Iterator[bytes], max_bytes: int) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = b""
        self._room = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        part = self._left[: len(view)]
        self._left = self._left[len(part) :]
        self._room -= len(part)
        if self._room < 0:
            raise UnreadableFeed("The file is longer than allowed once inflated.")
        view[: len(part)] = part
        return len(part)


def inflated(stream: BinaryIO, max_bytes: int) -> io.BufferedReader:
    """The stream's content, decompressed where its first bytes say so.

    Raises
    ------
    UnreadableFeed
        From the returned stream's reads: broken, cut off, or longer than `max_bytes`.
    """
    head = _read(stream, 4)
    if head.startswith(_GZIP):
        pieces = _gunzip(head, stream)
    elif head == _ZSTD:
        pieces = _unzstd(head, stream)
    else:
        pieces = _plain(head, stream)
    return io.BufferedReader(_Inflating(pieces, max_bytes), PIECE_BYTES)


def lines(stream: io.BufferedReader, max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Number (from 1) and bytes of each line that is not blank; None for one longer than `max_bytes`."""
    number = 0
    while line := stream.readline(max_bytes + 1):
        number += 1
        if len(line) > max_bytes and not line.endswith(b"\n"):
            while rest := stream.readline(PIECE_BYTES):
                if rest.endswith(b"\n"):
                    break
            yield number, None
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line := line.strip():
            yield number, line


def _read(stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except OSError as error:
        raise UnreadableFeed(f"The file cannot be read: {error.strerror or 'input error'}.") from None


def _plain(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    if head:
        yield head + _read(stream, PIECE_BYTES)
    while piece := _read(stream, PIECE_BYTES):
        yield piece


def _gunzip(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    waiting = head
    while waiting:
        member = zlib.decompressobj(wbits=31)  # 16 + 15: gzip frame, largest window
        while not member.eof:
            try:
                piece = member.decompress(waiting, PIECE_BYTES)
            except zlib.error:
                raise UnreadableFeed("The gzip data is broken.") from None
            waiting = member.unconsumed_tail
            if piece:
                yield piece
            if not waiting and not member.eof:
                waiting = _read(stream, PIECE_BYTES)
                if not waiting and not piece:
                    raise UnreadableFeed("The gzip data is cut off.")
        waiting = member.unused_data.lstrip(b"\0") or _read(stream, PIECE_BYTES).lstrip(b"\0")


def _unzstd(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    waiting = head
    while waiting:
        frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).decompressobj(
            write_size=PIECE_BYTES, read_across_frames=False
        )
        while not frame.eof:
            if not waiting:
                waiting = _read(stream, 1_024)  # small: one call gives all that they inflate to
                if not waiting:
                    raise UnreadableFeed("The zstd data is cut off.")
            part, waiting = waiting[:1_024], waiting[1_024:]
            try:
                piece = frame.decompress(part)
            except zstandard.ZstdError:
                raise UnreadableFeed("The zstd data is broken.") from None
            if piece:
                yield piece
        waiting = frame.unused_data + waiting or _read(stream, PIECE_BYTES)
