"""What feeds send: samples of the pipe, the cloud and IoT platforms, from bytes to rows.

Pure, except that numbers of customers are hashed by what is handed in. Good items are told from bad ones; a bad
one is named by a JSON pointer and a reason, and costs no other. What was sent is never quoted.

One sample on the wire::

    {"id": "…", "observed_at": "2026-11-22T07:30:00.123Z",
     "subscriber": "+86…", "session_id": "…",           one of the two, or at least one dimension
     "service": "video", "vantage": "cloud",             vantage for IoT feeds only: pipe or cloud
     "dimensions": {"city": "…", "node": "…", …},
     "values": {"first_byte_ms": 41.5, …},               indicators; unknown ones are kept
     "lwm2m": {"/4/0/2": -101, …},                       IoT feeds: resources by path
     "labels": {"probe": "…", …}}
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from cem.platform.errors import InvalidInput
from cem.platform.group_commit import Entry
from cem.platform.item_keys import item_key
from cem.platform.windows import window_start
from kqi import lwm2m
from kqi.catalogue import Service, Vantage
from kqi.sessions import PLACE_AND_DEVICE

MAX_VALUES = 128
MAX_LABELS = 32
MAX_TEXT = 128
"""Bounds of one sample. [1] Chosen here: twice the largest catalogue of one vantage point, and short names."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}\Z")
_SERVICE = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_PERSONAL = frozenset({"msisdn", "phone_number", "mobile_number", "imsi", "imei", "iccid"})
_decoder = msgspec.json.Decoder()
_MEMBERS = frozenset(
    {
        "id",
        "observed_at",
        "subscriber",
        "session_id",
        "service",
        "vantage",
        "dimensions",
        "values",
        "lwm2m",
        "labels",
    }
)


class Feed(StrEnum):
    """Which route a sample came by."""

    PIPE = "pipe"
    CLOUD = "cloud"
    IOT = "iot"


@dataclass(frozen=True, slots=True)
class Reject:
    """Why an item was not taken: RFC 6901 pointer (the item's index first), a word for programs, a sentence."""

    pointer: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """Which event times are taken, by our clock."""

    now: datetime
    late_after: timedelta
    future_skew: timedelta


class _BadError(Exception):
    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(code)
        self.pointer, self.code, self.detail = pointer, code, detail


def read_samples(
    items: Sequence[bytes],
    feed: Feed,
    *,
    origin: str,
    hash_number: Callable[[str], str],
    bounds: TimeBounds,
) -> tuple[list[Entry], list[Reject]]:
    """Entries for the group commit, and what was refused.

    Parameters
    ----------
    items
        Raw JSON of each item.
    feed
        The route.
    origin
        Who sent it; part of a sample's identity, so that two feeds may use the same ids.
    hash_number
        Number → subscriber_id; raises InvalidInput.
    bounds
        Event times that are taken.
    """
    entries: list[Entry] = []
    rejects: list[Reject] = []
    for index, raw in enumerate(items):
        try:
            entries.append(_entry(_read(raw), feed, origin, hash_number, bounds))
        except _BadError as error:
            rejects.append(Reject(f"/{index}{error.pointer}", error.code, error.detail))
    return entries, rejects


def _read(raw: bytes) -> dict[str, Any]:
    try:
        value = _decoder.decode(raw)
    except RecursionError:
        raise _BadError("", "too_deep", "Nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _BadError("", "bad_json", "Not JSON in UTF-8 (RFC 8259).") from None
    if not isinstance(value, dict):
        raise _BadError("", "not_an_object", "A sample is a JSON object.")
    for name in value:
        if name not in _MEMBERS:
            raise _BadError(
                _step(name), "unknown_member", "A sample has no such member; use values or labels."
            )
    return value


def _entry(
    item: Mapping[str, Any],
    feed: Feed,
    origin: str,
    hash_number: Callable[[str], str],
    bounds: TimeBounds,
) -> Entry:
    sample_id = _text(item, "id", required=True)
    observed = _observed(item, bounds)
    session_id = _text(item, "session_id")
    number = _text(item, "subscriber")
    dimensions, labels = _dimensions(item)
    if not (number or session_id or dimensions):
        raise _BadError("", "nobody", "Name a subscriber, a session or at least one dimension.")
    service = _service(item, feed)
    vantage = _vantage(item, feed)
    values = _numbers(item, "values", _NAME)
    if feed is Feed.IOT:
        values = {**lwm2m.indicators(_numbers(item, "lwm2m", None)), **values}
    elif item.get("lwm2m") is not None:
        raise _BadError("/lwm2m", "unknown_member", "LwM2M resources belong to the IoT feed.")
    if not values:
        raise _BadError("/values", "missing", "A sample needs at least one indicator.")
    subscriber_id = ""
    if number:
        try:
            subscriber_id = hash_number(number)
        except InvalidInput:
            raise _BadError("/subscriber", "bad_number", "Not a telephone number.") from None
    key = item_key(f"{feed}:{origin}", "sample", sample_id)
    received = bounds.now.astimezone(UTC)
    row = {
        **dimensions,
        "window": window_start(observed),
        "vantage": vantage,
        "service": service,
        "subscriber_id": subscriber_id,
        "item_key": key,
        "version": int(received.timestamp() * 1000),
        "observed_at": observed,
        "received_at": received,
        "session_id": session_id,
        "origin": origin,
        "values": values,
        "labels": {**labels, **_labels(item)},
    }
    return Entry(key, (("samples", msgspec.json.encode(row)),))


def _observed(item: Mapping[str, Any], bounds: TimeBounds) -> datetime:
    text = _text(item, "observed_at", required=True)
    try:
        at = msgspec.convert(text, datetime)
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise _BadError("/observed_at", "bad_time", "Not an RFC 3339 time.") from None
    if at.tzinfo is None:
        raise _BadError("/observed_at", "bad_time", "A time needs its offset from UTC.")
    age = bounds.now - at
    if age > bounds.late_after:
        raise _BadError("/observed_at", "too_late", "Older than what is still taken.")
    if -age > bounds.future_skew:
        raise _BadError("/observed_at", "in_future", "Ahead of the service's clock.")
    return at.astimezone(UTC)


def _service(item: Mapping[str, Any], feed: Feed) -> str:
    service = _text(item, "service")
    if feed is Feed.IOT:
        if service not in {"", Service.IOT}:
            raise _BadError("/service", "unknown_word", "The IoT feed is for the service 'iot'.")
        return Service.IOT
    if service and not _SERVICE.match(service):
        raise _BadError("/service", "bad_pattern", "A service is lower case letters, digits and '_'.")
    return service


def _vantage(item: Mapping[str, Any], feed: Feed) -> str:
    vantage = _text(item, "vantage")
    if feed is Feed.IOT:
        if vantage not in {"", Vantage.PIPE, Vantage.CLOUD}:
            raise _BadError("/vantage", "unknown_word", "An IoT sample is seen from the pipe or the cloud.")
        return vantage or Vantage.CLOUD
    if vantage not in {"", feed.value}:
        raise _BadError("/vantage", "unknown_word", f"This route takes samples of the {feed}.")
    return feed.value


def _dimensions(item: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Known dimensions; others become labels, so that nothing is lost."""
    known: dict[str, str] = {}
    others: dict[str, str] = {}
    for name, value in _members(item, "dimensions").items():
        if not isinstance(value, str):
            raise _BadError(f"/dimensions{_step(name)}", "wrong_type", "A dimension's value is a text.")
        if len(value) > MAX_TEXT:
            raise _BadError(f"/dimensions{_step(name)}", "wrong_length", f"At most {MAX_TEXT} characters.")
        if name in PLACE_AND_DEVICE:
            known[name] = value
        elif _LABEL.match(name):
            others[name] = value
        else:
            raise _BadError(f"/dimensions{_step(name)}", "bad_pattern", "Not a dimension's name.")
    return {name: value for name, value in known.items() if value}, others


def _labels(item: Mapping[str, Any]) -> dict[str, str]:
    found = _members(item, "labels")
    if len(found) > MAX_LABELS:
        raise _BadError("/labels", "wrong_length", f"At most {MAX_LABELS} labels.")
    for name, value in found.items():
        if not _LABEL.match(name):
            raise _BadError(f"/labels{_step(name)}", "bad_pattern", "Not a label's name.")
        if not isinstance(value, str):
            raise _BadError(f"/labels{_step(name)}", "wrong_type", "A label's value is a text.")
        if len(value) > MAX_TEXT:
            raise _BadError(f"/labels{_step(name)}", "wrong_length", f"At most {MAX_TEXT} characters.")
    return dict(found)


def _numbers(item: Mapping[str, Any], member: str, pattern: re.Pattern[str] | None) -> dict[str, float]:
    """Numbers by name (`pattern`), or by LwM2M path (None), where texts and booleans are left out."""
    found = _members(item, member)
    if len(found) > MAX_VALUES:
        raise _BadError(f"/{member}", "wrong_length", f"At most {MAX_VALUES} values.")
    numbers: dict[str, float] = {}
    for name, value in found.items():
        where = f"/{member}{_step(name)}"
        if not (pattern.match(name) if pattern else lwm2m.is_path(name)):
            raise _BadError(
                where, "bad_pattern", "Not an indicator's name." if pattern else "Not a resource's path."
            )
        if value is None or (pattern is None and isinstance(value, (str, bool))):
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _BadError(where, "wrong_type", "An indicator's value is a number.")
        number = _float(value)
        if not math.isfinite(number):
            raise _BadError(where, "out_of_range", "The number is too large.")
        numbers[name] = number
    return numbers


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _members(item: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    found = item.get(member)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _BadError(f"/{member}", "wrong_type", "Must be an object.")
    for name in found:
        if name.lower() in _PERSONAL:
            raise _BadError(f"/{member}{_step(name)}", "personal_field", "Name a line by `subscriber` only.")
    return found


def _text(item: Mapping[str, Any], member: str, *, required: bool = False) -> str:
    value = item.get(member)
    if value is None or value == "":
        if required:
            raise _BadError(f"/{member}", "missing", "This member is required.")
        return ""
    if not isinstance(value, str):
        raise _BadError(f"/{member}", "wrong_type", "Must be a text.")
    if len(value) > MAX_TEXT:
        raise _BadError(f"/{member}", "wrong_length", f"At most {MAX_TEXT} characters.")
    return value


def _step(name: str) -> str:
    return "/" + name[:MAX_TEXT].replace("~", "~0").replace("/", "~1")
