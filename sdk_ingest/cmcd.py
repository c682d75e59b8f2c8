"""CMCD's wire form: query argument, four headers, and bodies of event mode, versions 1 and 2.

Pure, and the wire form alone: what a record means for a session is `cmcd_events`. A record is a dictionary of
structured fields (RFC 8941). Players of version 1 do not keep to it everywhere (numbers with sixteen decimals,
text that is not ASCII, capital letters in keys): where the strict reading fails, members are read one by one,
and a member that cannot be read at all is named.

References
----------
CTA-5004 (2020), version 1, clauses 2 and 3; CTA-5004-B, version 2: keys, events, transmission modes.
RFC 8941 §3.2 and §4.2 (dictionaries, inner lists).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import http_sf
from http_sf import StructuredFieldError

MEDIA_TYPE: Final = "application/cmcd"
QUERY_ARGUMENT: Final = "CMCD"
HEADERS: Final = ("cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status")
VERSIONS: Final = (1, 2)

MAX_RECORD_BYTES: Final = 8_192
"""Longest record. [B] Chosen here: a full version 2 record with a URL of 2,000 characters is 3 kB."""
MAX_MEMBERS: Final = 96
"""Most members of a record. [1] Version 2 registers 55 keys; the rest is room for a player's own."""
MAX_TEXT: Final = 2_048
"""Longest text value. [1] URLs; every other text is 128 at most (`cid`, version 2)."""

Scalar = bool | float | str


@dataclass(frozen=True, slots=True)
class Typed:
    """A member of an inner list with its media type: `(3200;v 128;a)` holds 3200 for `v` and 128 for `a`."""

    value: Scalar
    kind: str = ""


CmcdValue = Scalar | tuple[Typed, ...]


class CmcdError(ValueError):
    """A record that cannot be read. `key` names the member, where one is to blame; `code` is for programs."""

    def __init__(self, code: str, detail: str, key: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.key = key


@dataclass(frozen=True, slots=True)
class Record:
    """Members of one record by key. A key without a value is True."""

    members: Mapping[str, CmcdValue]

    def text(self, key: str) -> str:
        """A text or token; empty where it is absent.

        Raises
        ------
        CmcdError
            It is something else.
        """
        value = self.members.get(key, "")
        if isinstance(value, tuple):
            if len(value) != 1:
                raise CmcdError("wrong_type", f"{key} is one text", key)
            value = value[0].value
        if not isinstance(value, str):
            raise CmcdError("wrong_type", f"{key} is a text", key)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Texts of a list, or the one text. Raises as `text`."""
        value = self.members.get(key, ())
        items = tuple(item.value for item in value) if isinstance(value, tuple) else (value,)
        if not all(isinstance(item, str) for item in items):
            raise CmcdError("wrong_type", f"{key} is a list of texts", key)
        return tuple(str(item) for item in items)

    def numbers(self, key: str) -> tuple[Typed, ...]:
        """Numbers of a list with their media types, or the one number; none where it is absent.

        Raises
        ------
        CmcdError
            It holds something else.
        """
        value = self.members.get(key, ())
        items = value if isinstance(value, tuple) else (Typed(value),)
        if not all(_is_number(item.value) for item in items):
            raise CmcdError("wrong_type", f"{key} is a number", key)
        return items

    def number(self, key: str) -> float | None:
        """The one number; of a list the one of video or of audio and video, else the largest; None if absent.

        Raises
        ------
        CmcdError
            It is something else.
        """
        items = self.numbers(key)
        if not items:
            return None
        chosen = [item for item in items if item.kind in {"v", "av"}] or items
        return max(float(item.value) for item in chosen)

    @property
    def version(self) -> int:
        """1 where the record does not say (version 1 may leave `v` out).

        Raises
        ------
        CmcdError
            A version that is not known.
        """
        version = self.number("v")
        if version is None:
            return 1
        if version not in VERSIONS:
            raise CmcdError("unknown_version", "v is 1 or 2", "v")
        return int(version)

    @property
    def custom(self) -> Mapping[str, str]:
        """Members that are a player's own (a hyphen in the key), as text."""
        return {key: as_text(value) for key, value in self.members.items() if "-" in key}


def as_text(value: CmcdValue) -> str:
    """A value as a label: lists joined by commas, whole numbers without a point."""
    if isinstance(value, tuple):
        return ",".join(as_text(item.value) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return value


def parse_record(data: bytes) -> Record:
    """One record: a dictionary of structured fields, version 1's habits allowed.

    Raises
    ------
    CmcdError
        Not one, too long, or with too many members.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise CmcdError("wrong_length", f"a record is at most {MAX_RECORD_BYTES} bytes")
    try:
        raw = http_sf.parse(data, tltype="dictionary")
    except (StructuredFieldError, ValueError, OverflowError, OSError):
        members = dict(_tolerant_members(data))
    else:
        members = {key: _value_of(key, value) for key, value in raw.items()}
    if not members:
        raise CmcdError("empty", "a record has members")
    if len(members) > MAX_MEMBERS:
        raise CmcdError("wrong_length", f"a record has at most {MAX_MEMBERS} members")
    return Record(members)


def parse_query(query: str) -> Record | None:
    """The record in a URL's query (`CMCD=`, percent-encoded); None where there is none.

    Raises
    ------
    CmcdError
        As `parse_record`.
    """
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name == QUERY_ARGUMENT:
            return parse_record(unquote_to_bytes(value))
    return None


def parse_headers(headers: Mapping[str, str]) -> Record | None:
    """The record that the four headers hold together; None where there is none of them.

    Raises
    ------
    CmcdError
        As `parse_record`.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    members: dict[str, CmcdValue] = {}
    for name in HEADERS:
        if text := lower.get(name, "").strip():
            members.update(parse_record(text.encode("utf-8", "surrogateescape")).members)
    return Record(members) if members else None


def parse_events(body: bytes) -> Iterator[tuple[int, Record | CmcdError]]:
    """Records of an event-mode body, each with its line (from 0); a bad line gives its error.

    Lines end with LF; CR before it is forgiven, empty lines do not count. A record must be of version 2 and have
    `e` and `ts` (CTA-5004-B: always required).
    """
    for index, line in enumerate(body.split(b"\n")):
        if text := line.strip(b"\r \t"):
            try:
                record = parse_record(text)
                _check_event(record)
            except CmcdError as error:
                yield index, error
            else:
                yield index, record


def _check_event(record: Record) -> None:
    for key in ("e", "ts", "v"):
        if key not in record.members:
            raise CmcdError("missing", f"{key} is required in event mode", key)
    if record.version != 2:
        raise CmcdError("unknown_version", "event mode is version 2", "v")
    if not record.text("e"):
        raise CmcdError("wrong_type", "e is a token", "e")
    moment = record.members["ts"]
    if not isinstance(moment, float) or isinstance(moment, bool) or not moment.is_integer():
        raise CmcdError("bad_time", "ts is whole milliseconds since 1970", "ts")


def _is_number(value: Scalar) -> bool:
    return isinstance(value, float) and not isinstance(value, bool)


def _value_of(key: str, value: Any) -> CmcdValue:
    """A member of a strict dictionary in our form."""
    bare, _ = value
    if isinstance(bare, list):
        return tuple(Typed(_scalar(key, item), next(iter(params), "")) for item, params in bare)
    return _scalar(key, bare)


def _scalar(key: str, bare: Any) -> Scalar:
    if isinstance(bare, bool):
        return bare
    if isinstance(bare, (int, float, Decimal)):
        return float(bare)
    if isinstance(bare, (bytes, bytearray)) or not hasattr(bare, "__str__"):
        raise CmcdError("wrong_type", f"{key} is bytes, which no key is", key)
    text = str(bare)
    if len(text) > MAX_TEXT:
        raise CmcdError("wrong_length", f"{key} is longer than {MAX_TEXT}", key)
    return text


_MEMBER = re.compile(
    r"""\s*(?P<key>[A-Za-z*][A-Za-z0-9_.*-]{0,63})
        (?:=(?:
            "(?P<text>(?:[^"\\\x00-\x1f]|\\["\\])*)"
          | \((?P<list>[^()"]*)\)
          | (?P<number>-?\d{1,15}(?:\.\d{0,40})?)(?=\s*(?:,|$|;))
          | (?P<token>[A-Za-z*][^\s,;"()]*)
        )(?:;[^,"]*)?)?
        \s*(?:,|$)""",
    re.VERBOSE,
)
_ITEM = re.compile(r"\s*(-?\d{1,15}(?:\.\d{0,40})?|[A-Za-z*][^\s;()]*)(?:;([a-z*][a-z0-9_.*-]*)[^\s]*)?\s*")


def _tolerant_members(data: bytes) -> Iterator[tuple[str, CmcdValue]]:
    """Members one by one, by what players of version 1 really send."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise CmcdError("bad_utf8", "not UTF-8") from None
    at = 0
    while at < len(text):
        found = _MEMBER.match(text, at)
        if not found:
            name = re.match(r"\s*([A-Za-z0-9_.*-]{1,64})", text[at : at + 80])
            raise CmcdError("bad_member", "not a member of a dictionary", name[1] if name else "")
        at = found.end()
        yield found["key"], _tolerant_value(found)


def _tolerant_value(found: re.Match[str]) -> CmcdValue:
    key = found["key"]
    if found["text"] is not None:
        return _scalar(key, re.sub(r"\\(.)", r"\1", found["text"]))
    if found["number"] is not None:
        return float(found["number"])
    if found["token"] is not None:
        return _scalar(key, found["token"])
    if found["list"] is None:
        return True
    items: list[Typed] = []
    at = 0
    while at < len(found["list"]):
        item = _ITEM.match(found["list"], at)
        if not item or item.end() == at:
            raise CmcdError("bad_member", f"{key} is not a list", key)
        numeric = item[1][0] == "-" or item[1][0].isdigit()
        items.append(Typed(float(item[1]) if numeric else _scalar(key, item[1]), item[2] or ""))
        at = item.end()
    return tuple(items)
