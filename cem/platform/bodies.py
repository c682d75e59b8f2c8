"""Bodies of bulk routes: read with a bound, inflate with a bound, split into raw items.

What comes out is bytes of JSON values, one per item; what they mean is the room's business. Every bound has
its own error: too long on the wire, too long inflated, too many items, an encoding that is not taken, an
archive that is broken or goes on after its end.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from io import BytesIO

import msgspec
import zstandard
from fastapi import Request

from cem.platform.aio import run_blocking
from cem.platform.errors import InvalidInput, MalformedBody, PayloadTooLarge, UnsupportedMedia

JSON_TYPES = frozenset({"application/json", "text/json"})
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
ENCODINGS = ("gzip", "zstd")

_ZSTD_MAX_WINDOW = 8 * 1024 * 1024  # RFC 8878 clause 3.1.1.1.2 recommends decoders to take at least 8 MB
_ZSTD_STEP = 512  # a compressed block of 4 bytes can stand for 128 kB: at most 16 MB more than allowed
_INLINE_BYTES = 32 * 1024  # inflating less than this takes less time than a thread's hand-over; chosen here
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much of a body is taken.

    Parameters
    ----------
    max_bytes
        On the wire. [B]
    max_inflated_bytes
        After `Content-Encoding` is undone. [B]
    max_items
        Items of one body. [1]
    """

    max_bytes: int = 4 * 1024 * 1024
    max_inflated_bytes: int = 32 * 1024 * 1024
    max_items: int = 10_000


async def read_body(request: Request, limits: BodyLimits) -> bytes:
    """The request's body, inflated.

    Raises
    ------
    PayloadTooLarge
        Longer than allowed, on the wire or inflated.
    UnsupportedMedia
        `Content-Encoding` is neither absent, `identity`, `gzip` nor `zstd`.
    MalformedBody
        The archive is broken, cut off, or longer than its content.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.max_bytes:
        raise _too_long(limits.max_bytes)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.max_bytes:
            raise _too_long(limits.max_bytes)
        chunks.append(chunk)
    body = b"".join(chunks)
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        if len(body) > limits.max_inflated_bytes:
            raise _too_long(limits.max_inflated_bytes)
        return body
    if len(body) <= _INLINE_BYTES:
        return inflate(body, encoding, limits.max_inflated_bytes)
    return await run_blocking(inflate, body, encoding, limits.max_inflated_bytes)


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo one content encoding (RFC 9110 §8.4), never making more than `max_bytes` and a chunk.

    Raises
    ------
    As `read_body`.
    """
    if encoding in {"gzip", "x-gzip"}:
        return _gunzip(body, max_bytes)
    if encoding == "zstd":
        return _unzstd(body, max_bytes)
    raise UnsupportedMedia(f"Content-Encoding must be one of {', '.join(ENCODINGS)}, or absent.")


def split_items(body: bytes, content_type: str, limits: BodyLimits) -> list[bytes]:
    """Raw JSON of every item: elements of an array, one object alone, or lines (NDJSON).

    Blank lines do not count. Items are not decoded: an item that is no JSON is told by whoever decodes it,
    except inside an array, which can only be cut when all of it is JSON.

    Raises
    ------
    UnsupportedMedia
        The type is neither JSON nor NDJSON.
    MalformedBody
        Empty, or a JSON body that is not JSON.
    InvalidInput
        JSON, but neither an array nor an object.
    PayloadTooLarge
        Too many items.
    """
    media = content_type.split(";", 1)[0].strip().lower()
    if media in NDJSON_TYPES:
        items = [line for line in (line.strip() for line in body.split(b"\n")) if line]
    elif media in JSON_TYPES or media.endswith("+json") or not media:
        items = _split_json(body)
    else:
        raise UnsupportedMedia("Content-Type must be application/json or application/x-ndjson.")
    if not items:
        raise MalformedBody("The body holds no item.")
    if len(items) > limits.max_items:
        raise PayloadTooLarge(
            f"The body holds {len(items)} items; {limits.max_items} are taken at once.",
            limit=limits.max_items,
            bound="items",
        )
    return items


def _split_json(body: bytes) -> list[bytes]:
    start = body.lstrip(b" \t\r\n")[:1]
    if start == b"{":
        return [body]
    try:
        if start == b"[":
            return [bytes(raw) for raw in _raw_list.decode(body)]
        msgspec.json.decode(body)
    except RecursionError:
        raise MalformedBody("The body is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MalformedBody("The body is not JSON.") from None
    raise InvalidInput("The body must be an array of objects or one object.", pointer="")


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    out: list[bytes] = []
    room = max_bytes
    while body:
        member = zlib.decompressobj(wbits=31)  # 16 + 15: gzip frame, largest window
        try:
            piece = member.decompress(body, room + 1)
        except zlib.error:
            raise MalformedBody("The gzip body is broken.") from None
        if len(piece) > room:
            raise _too_long_inflated(max_bytes)
        if not member.eof:
            raise MalformedBody("The gzip body is cut off.")
        out.append(piece)
        room -= len(piece)
        body = member.unused_data
    return b"".join(out)


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    out: list[bytes] = []
    room = max_bytes
    while body:
        frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).decompressobj(
            write_size=65_536, read_across_frames=False
        )
        source = BytesIO(body)
        try:
            while not frame.eof:
                chunk = source.read(_ZSTD_STEP)
                if not chunk:
                    raise MalformedBody("The zstd body is cut off.")
                piece = frame.decompress(chunk)
                room -= len(piece)
                if room < 0:
                    raise _too_long_inflated(max_bytes)
                out.append(piece)
        except zstandard.ZstdError:
            raise MalformedBody("The zstd body is broken.") from None
        body = frame.unused_data + source.read()
    return b"".join(out)


def _too_long(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is longer than {limit} bytes.", limit=limit, bound="bytes")


def _too_long_inflated(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body is longer than {limit} bytes once inflated.", limit=limit, bound="inflated_bytes"
    )
