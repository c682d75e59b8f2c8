"""Measurement collection files of 3GPP, from bytes to measurements.

Sources: TS 32.435 clause 4.1 (elements, both layouts) and clause 4.2 (schema); TS 28.532 clause 12.3 and its annex,
which renames `measCollecFile`, `managedElement` and `localDn` of the sender; TS 32.432 clause 4 (what the parts
mean, `suspect`, the reserved NIL). One reader takes both vocabularies, and both layouts in one file:

- `measTypes` names counters in one text, `measResults` has as many results in one text;
- `measType p="1"` names one, `r p="1"` has its result.

Pure; memory is bounded by one `measInfo` header and one `measValue`. What counters mean is `pm_counters`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import BinaryIO

from kqi.feeds.errors import UnreadableFeed
from kqi.feeds.items import FeedLimits, Refused
from kqi.feeds.pm_times import LONGEST_PERIOD, offset_of, parse_duration, parse_file_name, parse_time
from kqi.feeds.xml_stream import End, Start, elements

ROOTS = frozenset({"measCollecFile", "measDataFile"})
_ENTITIES = frozenset({"managedElement", "measEntity", "measuredEntity"})
_NEVER = datetime.min.replace(tzinfo=UTC)
MAX_NAME = 200
"""Characters of a counter's name. [1] Chosen here: names of TS 28.552 with their subcounters stay below 80."""
MAX_DN = 1_000
"""Characters of a distinguished name. [1] Chosen here; TS 32.300 clause 7 has no bound, practice stays below 400."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One `measValue`: what one object counted in one period.

    Parameters
    ----------
    place
        Line of the file.
    dn_prefix, managed_element, measured_object
        Together the object's distinguished name; each '' where the file has none.
    begin, end
        The granularity period, half-open.
    report_period
        How often the file comes; may be longer than the granularity period.
    job, info
        Names of the measurement job and of the `measInfo`.
    results
        Result by counter, as text; '' where it is missing.
    suspect
        The element doubts its own figures: they must not count.
    """

    place: str
    dn_prefix: str
    managed_element: str
    measured_object: str
    begin: datetime
    end: datetime
    report_period: timedelta | None
    job: str
    info: str
    results: Mapping[str, str]
    suspect: bool


def read_measurements(
    stream: BinaryIO, limits: FeedLimits, *, name: str = "", zone: tzinfo | None = None
) -> Iterator[Measurement | Refused]:
    """Every `measValue` of a file in its order; those that cannot be placed are refused, each by itself.

    Parameters
    ----------
    stream
        The XML, not compressed.
    name
        The file's name, whose offset from UTC helps where times in the file have none.
    zone
        The offset for times that have none anywhere.

    Raises
    ------
    UnreadableFeed
        Not XML, another vocabulary, cut off, or beyond a bound. What was yielded before stands.
    """
    named = parse_file_name(name)
    reader = _File(limits, (named.zone if named else None) or zone)
    for event in elements(stream, limits):
        if isinstance(event, Start):
            reader.start(event)
        else:
            yield from reader.end(event)
    if not reader.rooted:
        raise UnreadableFeed("The file holds no element.")


@dataclass(frozen=True, slots=True)
class _Period:
    """A granularity period, or why there is none."""

    begin: datetime
    end: datetime
    report: timedelta | None
    code: str = ""
    detail: str = ""


@dataclass(slots=True)
class _Info:
    """A `measInfo` so far: everything but its values."""

    name: str
    job: str = ""
    duration: str = ""
    end_time: str = ""
    report: str = ""
    listed: list[str] = field(default_factory=list)
    numbered: dict[str, str] = field(default_factory=dict)
    period: _Period | None = None
    """Read once, with the first value."""


@dataclass(slots=True)
class _Value:
    """A `measValue` so far."""

    measured_object: str
    line: int
    listed: list[str] | None = None
    numbered: dict[str, str] = field(default_factory=dict)
    suspect: bool = False


class _File:
    """Where the reader is in a file."""

    def __init__(self, limits: FeedLimits, zone: tzinfo | None) -> None:
        self._limits = limits
        self._zone = zone
        self._path: list[str] = []
        self._prefix = ""
        self._entity = ""
        self._info: _Info | None = None
        self._value: _Value | None = None
        self._position = ""
        self.rooted = False

    def start(self, event: Start) -> None:
        name, attributes = event.name, event.attributes
        if not self._path:
            if name not in ROOTS:
                raise UnreadableFeed("The XML is no measurement file (measCollecFile or measDataFile).")
            self.rooted = True
        parent = self._path[-1] if self._path else ""
        self._path.append(name)
        if name == "fileHeader":
            self._prefix = attributes.get("dnPrefix", "")[:MAX_DN]
        elif parent == "fileHeader" and "beginTime" in attributes:
            self._zone = offset_of(attributes["beginTime"]) or self._zone
        elif name == "measData":
            self._entity = ""
        elif name in _ENTITIES:
            self._entity = attributes.get("localDn", "")[:MAX_DN]
        elif name == "measInfo":
            self._info, self._value = _Info(attributes.get("measInfoId", "")[:MAX_NAME]), None
        elif self._info is not None:
            self._inside(self._info, name, attributes, event.line)

    def _inside(self, info: _Info, name: str, attributes: Mapping[str, str], line: int) -> None:
        if name == "job":
            info.job = attributes.get("jobId", "")[:MAX_NAME]
        elif name == "granPeriod":
            info.period = None
            info.duration, info.end_time = attributes.get("duration", ""), attributes.get("endTime", "")
        elif name == "repPeriod":
            info.report = attributes.get("duration", "")
        elif name == "measValue":
            self._value = _Value(attributes.get("measObjLdn", ""), line)
        elif name in {"measType", "r"}:
            self._position = attributes.get("p", "").strip()[:MAX_NAME]

    def end(self, event: End) -> Iterator[Measurement | Refused]:
        self._path.pop()
        info, value, name = self._info, self._value, event.name
        if info is None:
            return
        if name == "measInfo":
            self._info = self._value = None
        elif name == "measTypes":
            info.listed = self._split(event.text)
        elif name == "measType":
            if len(info.numbered) >= self._limits.max_columns:
                raise UnreadableFeed(f"A measInfo names more than {self._limits.max_columns} counters.")
            info.numbered[self._position] = event.text.strip()
        elif value is None:
            return
        elif name == "measResults":
            value.listed = self._split(event.text)
        elif name == "r":
            if len(value.numbered) >= self._limits.max_columns:
                raise UnreadableFeed(f"A measValue has more than {self._limits.max_columns} results.")
            value.numbered[self._position] = event.text.strip()
        elif name == "suspect":
            value.suspect = event.text.strip().lower() in {"true", "1"}
        elif name == "measValue":
            self._value = None
            yield from self._measured(info, value)

    def _split(self, text: str) -> list[str]:
        parts = text.split(None, self._limits.max_columns)
        if len(parts) > self._limits.max_columns:
            raise UnreadableFeed(f"A measInfo has more than {self._limits.max_columns} counters.")
        return parts

    def _measured(self, info: _Info, value: _Value) -> Iterator[Measurement | Refused]:
        place = f"line {value.line}"
        period = info.period
        if period is None:
            period = info.period = _period(info, self._zone)
        if period.code:
            yield Refused(place, period.code, period.detail)
            return
        if len(value.measured_object) > MAX_DN:
            yield Refused(place, "wrong_length", f"An object's name has at most {MAX_DN} characters.")
            return
        results: dict[str, str] = {}
        if value.listed is not None:
            if len(value.listed) != len(info.listed):
                yield Refused(
                    place,
                    "wrong_count",
                    "measResults and measTypes differ in number: which is which is unknown.",
                )
                return
            results.update(zip(info.listed, value.listed, strict=True))
        for position, text in value.numbered.items():
            counter = info.numbered.get(position)
            if counter is None:
                yield Refused(place, "unknown_counter", "A result's p names no measType.")
                continue
            results[counter] = text
        for counter in info.numbered.values():
            results.setdefault(counter, "")
        if any(not 0 < len(counter) <= MAX_NAME for counter in results):
            yield Refused(place, "wrong_length", f"A counter's name has 1 to {MAX_NAME} characters.")
            results = {counter: text for counter, text in results.items() if 0 < len(counter) <= MAX_NAME}
        yield Measurement(
            place=place,
            dn_prefix=self._prefix,
            managed_element=self._entity,
            measured_object=value.measured_object,
            begin=period.begin,
            end=period.end,
            report_period=period.report,
            job=info.job,
            info=info.name,
            results=results,
            suspect=value.suspect,
        )


def _period(info: _Info, zone: tzinfo | None) -> _Period:
    length, end = parse_duration(info.duration), parse_time(info.end_time, zone)
    if length is None or length > LONGEST_PERIOD:
        return _no_period("bad_period", "The granularity period's duration is missing or no such.")
    if end is None:
        return _no_period("bad_time", "The granularity period's end is no time, or has no offset from UTC.")
    try:
        return _Period(end - length, end, parse_duration(info.report))
    except OverflowError:
        return _no_period("bad_time", "The granularity period's end is out of range.")


def _no_period(code: str, detail: str) -> _Period:
    return _Period(_NEVER, _NEVER, None, code, detail)
