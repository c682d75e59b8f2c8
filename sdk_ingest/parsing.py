"""A body's bytes → reports, and a reason for every item that is none.

Pure. Decides, item by item: is it JSON, not nested too deep, a report by `schemas.Report`, without members that
name a person, and of a time that is taken. A body that cannot be cut into items at all is an error as a whole
(`cem.platform.bodies`); one bad item never costs the others.

A member named twice counts once, with its last value, as RFC 8259 §4 leaves it to the reader; what is stored is
made from what was read, so nobody can hide a member behind its double.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from cem.platform.bodies import NDJSON_TYPES, BodyLimits, inflate, split_items
from cem.platform.errors import MalformedBody, PayloadTooLarge
from sdk_ingest.schemas import Report
from sdk_ingest.vocabulary import PERSONAL_FIELDS

_decode = msgspec.json.Decoder().decode

# What a codec, a decoder or a conversion may raise on hostile input; anything else is a defect of ours.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """What a body and its items may be at most.

    Parameters
    ----------
    max_body_bytes, max_inflated_bytes
        On the wire and once inflated. [B]
    max_items
        Items of one body. [1]
    max_depth
        Arrays and objects inside one another, the item itself counting as 1. [1]
    late_after
        An item older than this is refused (`too_late`); a younger one joins its window, however late.
    future_skew
        An item further ahead of our clock is refused (`in_future`).
    """

    max_body_bytes: int = 4 * 1024 * 1024
    max_inflated_bytes: int = 32 * 1024 * 1024
    max_items: int = 10_000
    max_depth: int = 16
    late_after: timedelta = timedelta(hours=48)
    future_skew: timedelta = timedelta(minutes=5)

    body: BodyLimits = field(init=False)
    """The part that concerns the body as a whole."""

    def __post_init__(self) -> None:
        whole = BodyLimits(self.max_body_bytes, self.max_inflated_bytes, self.max_items)
        object.__setattr__(self, "body", whole)


@dataclass(frozen=True, slots=True)
class Reject:
    """Why an item was not taken.

    Parameters
    ----------
    pointer
        RFC 6901 pointer to the place, the item's index first (NDJSON: the line's index, from 0).
    code
        For programs: `bad_json`, `not_an_object`, `too_deep`, `missing`, `wrong_type`, `out_of_range`,
        `wrong_length`, `unknown_word`, `bad_pattern`, `bad_time`, `too_late`, `in_future`, `personal_field`,
        and from the service `nobody`, `not_own_line`, `bad_number`.
    detail
        For people. Never quotes what was sent.
    """

    pointer: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Observation:
    """A report that was read: typed, and whole (unknown members included)."""

    index: int
    report: Report
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a body held."""

    items: list[Observation] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


class _RejectedError(Exception):
    """Carries one reject out of a check."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(code)
        self.pointer = pointer
        self.code = code
        self.detail = detail


def parse_body(
    body: bytes, content_type: str, content_encoding: str, limits: IngestLimits, now: datetime
) -> Parsed:
    """Read a body as it came over the wire.

    Parameters
    ----------
    body
        Compressed where `content_encoding` says so: empty or `identity`, `gzip`, `zstd`.
    content_type
        JSON (an array or one object) or NDJSON.
    now
        Our clock, aware: what "late" and "future" are measured from.

    Raises
    ------
    MalformedBody, UnsupportedMedia, PayloadTooLarge, InvalidInput
        Nothing of the body can be read, or it exceeds a bound.
    """
    if len(body) > limits.max_body_bytes:
        raise PayloadTooLarge(
            f"The body is longer than {limits.max_body_bytes} bytes.",
            limit=limits.max_body_bytes,
            bound="bytes",
        )
    encoding = content_encoding.strip().lower()
    if encoding not in {"", "identity"}:
        body = inflate(body, encoding, limits.max_inflated_bytes)
    return parse_items(body, content_type, limits, now)


def parse_items(body: bytes, content_type: str, limits: IngestLimits, now: datetime) -> Parsed:
    """Read an inflated body. Raises as `parse_body`."""
    parsed = Parsed()
    earliest = (now - limits.late_after).timestamp()
    latest = (now + limits.future_skew).timestamp()
    for index, raw in _raw_items(body, content_type, limits):
        try:
            value = read_json(raw, limits.max_depth)
            report = to_report(value)
            _check_times(report, earliest, latest)
        except _RejectedError as error:
            parsed.rejects.append(Reject(f"/{index}{error.pointer}", error.code, error.detail))
        else:
            parsed.items.append(Observation(index, report, value))
    return parsed


def parse_snapshot(body: bytes | Mapping[str, Any], limits: IngestLimits, now: datetime) -> Observation:
    """Read one report that comes as part of another body (the self-check's snapshot): same checks, same bounds.

    A snapshot is taken when it is sent. Where its own clock says a time that is not taken, the clock is wrong,
    which may be the very fault: it counts as of `now`, and its player events, timed by that clock, are left to
    the body.

    Raises
    ------
    RejectedSnapshotError
        With the reject, its pointer starting inside the report.
    """
    try:
        value = read_json(body if isinstance(body, bytes) else _encode(body), limits.max_depth)
        report = to_report(value)
    except _RejectedError as error:
        raise RejectedSnapshotError(Reject(error.pointer, error.code, error.detail)) from None
    try:
        _check_times(report, (now - limits.late_after).timestamp(), (now + limits.future_skew).timestamp())
    except _RejectedError:
        player = report.player and msgspec.structs.replace(report.player, events=None)
        report = msgspec.structs.replace(report, observed_at=now, player=player)
    return Observation(0, report, value)


class RejectedSnapshotError(Exception):
    """A snapshot that is no report; `reject` says where and why."""

    def __init__(self, reject: Reject) -> None:
        super().__init__(reject.code)
        self.reject = reject


def read_json(raw: bytes, max_depth: int) -> dict[str, Any]:
    """One item's JSON as an object, not deeper than `max_depth`, without members that name a person."""
    try:
        value = _decode(raw)
    except RecursionError:
        raise _RejectedError("", "too_deep", f"Nested deeper than {max_depth}.") from None
    except _UNREADABLE:
        raise _RejectedError("", "bad_json", "Not JSON in UTF-8 (RFC 8259).") from None
    if type(value) is not dict:
        raise _RejectedError("", "not_an_object", "A report is a JSON object.")
    level: list[Any] = [value]
    for _ in range(max_depth):
        deeper: list[Any] = []
        for container in level:
            if type(container) is dict:
                if not PERSONAL_FIELDS.isdisjoint(container):
                    name = min(PERSONAL_FIELDS.intersection(container))
                    raise _RejectedError(
                        _path_of(value, container) + f"/{name}",
                        "personal_field",
                        "Reports are kept as sent: they must not name a person. Use `subscriber` or a token.",
                    )
                deeper.extend([v for v in container.values() if type(v) is dict or type(v) is list])
            else:
                deeper.extend([v for v in container if type(v) is dict or type(v) is list])
        if not deeper:
            return value
        level = deeper
    raise _RejectedError("", "too_deep", f"Nested deeper than {max_depth}.")


def to_report(value: dict[str, Any]) -> Report:
    """The typed report; unknown members are left alone."""
    try:
        return msgspec.convert(value, Report)
    except msgspec.ValidationError as error:
        pointer, code, detail = explain(str(error))
        raise _RejectedError(pointer, code, detail) from None


_AT = re.compile(r" - at `\$(.*)`\Z", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+)\]|\[\.\.\.\]")
_MISSING = re.compile(r"Object missing required field `([A-Za-z0-9_]+)`")
_CODES = (
    ("Invalid enum value", "unknown_word"),
    ("RFC3339", "bad_time"),
    ("timezone", "bad_time"),
    ("of length", "wrong_length"),
    ("matching regex", "bad_pattern"),
    ("out of range", "out_of_range"),
    (" <= ", "out_of_range"),
    (" >= ", "out_of_range"),
    ("multiple of", "out_of_range"),
)


def explain(message: str) -> tuple[str, str, str]:
    """A validation message as pointer, code and text; values that were sent are left out.

    >>> explain("Expected `float` <= -20.0 - at `$.radio.rsrp_dbm`")
    ('/radio/rsrp_dbm', 'out_of_range', 'Expected `float` <= -20.0.')
    """
    where = _AT.search(message)
    text = message[: where.start()] if where else message
    pointer = ""
    for step in _STEP.finditer(where[1] if where else ""):
        if step[0] == "[...]":  # a key of a free map, which the message does not name
            break
        pointer += "/" + (step[1] or step[2])
    if missing := _MISSING.match(text):
        return f"{pointer}/{missing[1]}", "missing", "This member is required."
    code = next((code for mark, code in _CODES if mark in text), "wrong_type")
    if code == "unknown_word":
        text = "Not one of the words taken here; see the schema"
    return pointer, code, text + "."


def check_instant(at: datetime, earliest: float, latest: float, pointer: str) -> None:
    """Refuse a time outside [earliest, latest], both in seconds since 1970."""
    # A difference of two datetimes cannot overflow where a change of zone near year 1 or 9999 does.
    seconds = (at - _EPOCH).total_seconds()
    if seconds < earliest:
        raise _RejectedError(pointer, "too_late", "Older than what is still taken.")
    if seconds > latest:
        raise _RejectedError(pointer, "in_future", "Ahead of the service's clock; check the terminal's.")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _check_times(report: Report, earliest: float, latest: float) -> None:
    check_instant(report.observed_at, earliest, latest, "/observed_at")
    if report.player is not None and report.player.events:
        for position, event in enumerate(report.player.events):
            check_instant(event.at, earliest, latest, f"/player/events/{position}/at")


def _raw_items(body: bytes, content_type: str, limits: IngestLimits) -> Iterator[tuple[int, bytes]]:
    media = content_type.split(";", 1)[0].strip().lower()
    if media not in NDJSON_TYPES:
        try:
            items = split_items(body, content_type, limits.body)
        except MalformedBody:
            items = _cut_loosely(body, limits.max_items)
            if not items:
                raise
        yield from enumerate(items)
        return
    lines = [(index, line) for index, line in enumerate(body.split(b"\n")) if line.strip()]
    if not lines:
        raise MalformedBody("The body holds no item.")
    if len(lines) > limits.max_items:
        raise PayloadTooLarge(
            f"The body holds {len(lines)} items; {limits.max_items} are taken at once.",
            limit=limits.max_items,
            bound="items",
        )
    yield from lines


_loose = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)
_GAP = re.compile(r"[ \t\r\n]*")


def _cut_loosely(body: bytes, max_items: int) -> list[bytes]:
    """Elements of an array that is not strictly JSON (NaN, half a surrogate pair, bytes that are no UTF-8).

    So that the bad element alone is refused. Empty where the array cannot be cut either.
    """
    text = body.decode("utf-8", "surrogateescape")
    at = _GAP.match(text).end()  # type: ignore[union-attr]  # the pattern matches everywhere
    items: list[bytes] = []
    if text[at : at + 1] != "[":
        return []
    try:
        while True:
            start = _GAP.match(text, at + 1).end()  # type: ignore[union-attr]
            _, end = _loose.raw_decode(text, start)
            items.append(text[start:end].encode("utf-8", "surrogateescape"))
            if len(items) > max_items:
                break
            at = _GAP.match(text, end).end()  # type: ignore[union-attr]
            if text[at : at + 1] == "]":
                return items if _GAP.fullmatch(text, at + 1) else []
            if text[at : at + 1] != ",":
                return []
    except (ValueError, RecursionError):
        return []
    raise PayloadTooLarge(f"The body holds more than {max_items} items.", limit=max_items, bound="items")


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, OverflowError, *_UNREADABLE):
        raise _RejectedError("", "bad_json", "Not JSON in UTF-8 (RFC 8259).") from None


def _path_of(root: Any, wanted: Any) -> str:
    """Pointer to a container inside `root`, found by identity; bounded by the caller's depth check."""
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        path, value = waiting.pop()
        if value is wanted:
            return path
        steps = value.items() if type(value) is dict else enumerate(value)
        for key, inner in steps:
            if type(inner) is dict or type(inner) is list:
                waiting.append((f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}", inner))
    return ""
