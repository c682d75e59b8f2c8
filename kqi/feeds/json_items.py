"""Samples as JSON: lines (NDJSON), one array, or one object; in wire form, or as LwM2M clients and servers write.

An array is cut into its elements as it is read; only one element is in memory. An item without an id gets one from
its content, so that a file sent again changes nothing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kqi.feeds.errors import UnreadableFeed
from kqi.feeds.items import FeedLimits, Read, Refused, WireItem, content_id
from kqi.feeds.lwm2m_json import flat_resources, told
from kqi.feeds.streams import PIECE_BYTES, lines
from kqi.feeds.table_mapping import feed_of
from kqi.samples import Feed

_decoder = msgspec.json.Decoder()
_OUTSIDE = re.compile(rb'["{}\[\],]')
_INSIDE = re.compile(rb'["\\]')


def ndjson_items(stream: io.BufferedReader, feed: Feed | None, limits: FeedLimits) -> Iterator[Read]:
    """One item a line; blank lines do not count. Raises UnreadableFeed: the bytes cannot be had."""
    for number, line in lines(stream, limits.max_item_bytes):
        place = f"line {number}"
        if line is None:
            yield Refused(place, "too_long", f"A line has at most {limits.max_item_bytes} bytes.")
        else:
            yield wire_item(line, feed, place)


def json_items(stream: io.BufferedReader, feed: Feed | None, limits: FeedLimits) -> Iterator[Read]:
    """Elements of an array, or one object alone.

    Raises
    ------
    UnreadableFeed
        Neither, cut off, or an element longer than allowed.
    """
    for index, element in enumerate(json_elements(stream, limits.max_item_bytes)):
        yield wire_item(element, feed, f"item {index}")


def wire_item(raw: bytes, feed: Feed | None, place: str) -> WireItem | Refused:
    """An item out of one JSON object; its own members are checked where it is stored."""
    try:
        sample: Any = _decoder.decode(raw)
    except RecursionError:
        return Refused(place, "too_deep", "Nested too deeply.")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refused(place, "bad_json", "Not JSON in UTF-8 (RFC 8259).")
    if not isinstance(sample, dict):
        return Refused(place, "not_an_object", "A sample is a JSON object.")
    changed = False
    resources = sample.get("lwm2m")
    if isinstance(resources, (dict, list)):
        flat = flat_resources(resources)
        if flat is None:
            return Refused(place, "bad_lwm2m", "Neither resources by path, nor objects, nor SenML.", "/lwm2m")
        changed = _tell(sample, flat) or flat is not resources
        sample["lwm2m"] = flat
    lane = feed or feed_of(sample)
    if lane is None:
        return Refused(place, "unknown_feed", "Name the feed, or the item's vantage.", "/vantage")
    if sample.get("id") in (None, ""):
        sample.pop("id", None)
        sample["id"] = content_id("item", msgspec.json.encode(sample, order="sorted").decode())
        changed = True
    return WireItem(place, lane, msgspec.json.encode(sample) if changed else raw)


def _tell(sample: dict[str, Any], resources: Mapping[str, Any]) -> bool:
    """Add what resources tell beside indicators where the sample does not say it itself; whether anything was."""
    more = told(resources)
    changed = False
    for member, found in (("values", more.values), ("dimensions", more.dimensions), ("labels", more.labels)):
        own = sample.get(member)
        if found and (own is None or isinstance(own, dict)):
            sample[member] = {**found, **(own or {})}
            changed = True
    return changed


def json_elements(stream: io.BufferedReader, max_bytes: int) -> Iterator[bytes]:
    """Raw text of each element of a top-level array, or of the one object there is. Elements are not checked.

    Raises
    ------
    UnreadableFeed
        As `json_items`.
    """
    piece = stream.read(PIECE_BYTES).removeprefix(b"\xef\xbb\xbf")
    while piece and not (piece := piece.lstrip(b" \t\r\n")):
        piece = stream.read(PIECE_BYTES)
    single = piece.startswith(b"{")
    if not single:
        if not piece.startswith(b"["):
            raise UnreadableFeed("The file is neither a JSON array nor a JSON object.")
        piece = piece[1:]
    cutter = _Cutter(max_bytes, single=single)
    yield from cutter.feed(piece)
    while piece := stream.read(PIECE_BYTES):
        yield from cutter.feed(piece)
    if not cutter.done:
        raise UnreadableFeed("The JSON is cut off.")


class _Cutter:
    """Finds where elements end, by brackets and quotes alone."""

    def __init__(self, max_bytes: int, *, single: bool) -> None:
        self._max_bytes = max_bytes
        self._single = single
        self._parts: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._in_text = False
        self._escaped = False
        self._any = False
        self.done = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        begin = at = 0
        while at < len(piece) and not self.done:
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_INSIDE if self._in_text else _OUTSIDE).search(piece, at)
            if found is None:
                break
            at = found.end()
            mark = found[0]
            if mark == b'"':
                self._in_text = not self._in_text
            elif mark == b"\\":
                self._escaped = True
            elif mark in b"{[":
                self._depth += 1
            elif mark in b"}]" and self._depth:
                self._depth -= 1
                if self._single and not self._depth:
                    self._keep(piece[begin:at])
                    yield from self._element()
                    self.done, begin = True, at
            elif not self._depth and mark in {b",", b"]"} and not self._single:
                self._keep(piece[begin : at - 1])
                yield from self._element(last=mark == b"]")
                self.done, begin = mark == b"]", at
            elif not self._depth:
                raise UnreadableFeed("The JSON's brackets do not match.")
        if self.done:
            if piece[begin:].strip(b" \t\r\n"):
                raise UnreadableFeed("Something follows the end of the JSON.")
        else:
            self._keep(piece[begin:])

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_bytes:
            raise UnreadableFeed("An item of the JSON is longer than allowed.")
        if part:
            self._parts.append(part)

    def _element(self, *, last: bool = False) -> Iterator[bytes]:
        element = b"".join(self._parts).strip(b" \t\r\n")
        self._parts.clear()
        self._size = 0
        if element or not (last and not self._any):
            yield element
        self._any = True
