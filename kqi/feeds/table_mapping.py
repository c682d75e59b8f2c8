"""Which column of a table is what: rows to samples in wire form.

Pure. A mapping is a TOML file of `kind = "table"` (`docs/feeds.md` shows one), or is guessed from the columns' names:
members of a sample and dimensions by their own names, `labels.x` a label, names of the catalogue or with a unit's
ending an indicator. Columns of other names are left out: a number may be anything, also somebody's telephone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from kqi.catalogue import CATALOGUE
from kqi.cuts import ALL_DIMENSIONS
from kqi.feeds.errors import BadMapping
from kqi.feeds.items import Refused, WireItem, content_id
from kqi.feeds.mapping_files import Section, read_toml
from kqi.feeds.pm_times import parse_time
from kqi.feeds.units import factor, names_a_unit, unit_of
from kqi.samples import Feed

DIMENSIONS = frozenset(ALL_DIMENSIONS) - {"service", "vantage"}
MEMBERS = ("id", "subscriber", "session_id", "service", "vantage")
_INDICATOR = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_NUMBER = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?\Z", re.ASCII)
_EMPTY = frozenset({"", "null", "none", "nil", "nan", "n/a", "na", "-", "\\n"})
_EPOCHS = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A column of numbers: value × factor + offset is in the indicator's unit."""

    column: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A text: of a column, or the same in every row where `column` is ''."""

    column: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """When: `iso`, one of `epoch_s/_ms/_us/_ns`, or a pattern of `strptime`; zone for times without an offset."""

    column: str
    form: str = "iso"
    zone: tzinfo | None = None


@dataclass(frozen=True, slots=True)
class TableMapping:
    """What the columns are."""

    feed: Feed | None
    time: TimeColumn
    members: Mapping[str, TextColumn]
    dimensions: Mapping[str, TextColumn]
    values: Mapping[str, ValueColumn]
    labels: Mapping[str, TextColumn] = field(default_factory=dict)
    lenient: bool = False
    """Guessed from names: a text in a column of values is left out instead of refused."""

    def columns(self) -> frozenset[str]:
        """Every column that is asked for."""
        texts = (*self.members.values(), *self.dimensions.values(), *self.labels.values())
        return frozenset(
            {self.time.column, *(one.column for one in self.values.values())}
            | {one.column for one in texts if one.column}
        )


def read_table_mapping(data: bytes, where: str = "mapping") -> TableMapping:
    """A mapping out of TOML. Raises BadMapping."""
    return table_mapping_of(read_toml(data, where))


def table_mapping_of(file: Section) -> TableMapping:
    """A mapping out of a mapping file's content. Raises BadMapping."""
    if file.text("kind") != "table":
        raise BadMapping('A mapping of tables has kind = "table".')
    feed = _feed(file.text("feed"))
    time = file.table("time")
    if time is None:
        raise BadMapping("A mapping of tables needs a table `time`.")
    members = {name: found for name in MEMBERS if (found := _text_column(file, name)) is not None}
    dimensions = _texts(file, "dimensions")
    for name in dimensions:
        if name not in DIMENSIONS:
            raise BadMapping(f"dimensions: `{name}` is no dimension.")
    values = {name: _value_column(name, spec) for name, spec in (file.table("values") or {}).items()}
    if not values:
        raise BadMapping("A mapping of tables needs at least one of `values`.")
    mapping = TableMapping(feed, _time_column(time), members, dimensions, values, _texts(file, "labels"))
    file.done()
    return mapping


def guess_mapping(columns: Sequence[str], feed: Feed | None) -> TableMapping:
    """A mapping by the columns' names. Raises BadMapping: there is no `observed_at` or no column of values."""
    if "observed_at" not in columns:
        raise BadMapping("There is no column `observed_at`: give a mapping file.")
    values = {
        name: ValueColumn(name)
        for name in columns
        if _INDICATOR.match(name) and (name in CATALOGUE or names_a_unit(name))
    }
    if not values:
        raise BadMapping("No column holds values: give a mapping file.")
    return TableMapping(
        feed=feed,
        time=TimeColumn("observed_at"),
        members={name: TextColumn(name) for name in MEMBERS if name in columns},
        dimensions={name: TextColumn(name) for name in columns if name in DIMENSIONS},
        values=values,
        labels={
            name.removeprefix("labels."): TextColumn(name) for name in columns if name.startswith("labels.")
        },
        lenient=True,
    )


def row_item(row: Mapping[str, Any], mapping: TableMapping, place: str) -> WireItem | Refused:
    """The sample of a row, not yet validated beyond its form; an id is made where the row has none.

    A row's own id is derived from all that is mapped of it, so the same row is the same sample in any file.
    """
    at = _time(row.get(mapping.time.column), mapping.time)
    if at is None:
        return Refused(place, "bad_time", "Not a time of the form that the mapping names.", "/observed_at")
    sample: dict[str, Any] = {"observed_at": at.isoformat().replace("+00:00", "Z")}
    for name, column in mapping.members.items():
        if text := _text(row, column):
            sample[name] = text
    for member, texts in (("dimensions", mapping.dimensions), ("labels", mapping.labels)):
        found = {name: text for name, column in texts.items() if (text := _text(row, column))}
        if found:
            sample[member] = found
    values: dict[str, float] = {}
    for name, wanted in mapping.values.items():
        number = _number(row.get(wanted.column))
        if number is None:
            continue
        if math.isnan(number):
            if mapping.lenient:
                continue
            return Refused(place, "wrong_type", "An indicator's value is a number.", f"/values/{name}")
        values[name] = number * wanted.factor + wanted.offset
        if not math.isfinite(values[name]):
            return Refused(place, "out_of_range", "The number is too large.", f"/values/{name}")
    sample["values"] = values
    feed = mapping.feed or feed_of(sample)
    if feed is None:
        return Refused(place, "unknown_feed", "Name the feed, or the vantage in each row.", "/vantage")
    if "id" not in sample:
        sample["id"] = content_id("row", msgspec.json.encode(sample, order="sorted").decode())
    return WireItem(place, feed, msgspec.json.encode(sample))


def feed_of(sample: Mapping[str, Any]) -> Feed | None:
    """The feed whose rules hold for a sample, by what it says of itself."""
    if sample.get("service") == "iot" or "lwm2m" in sample:
        return Feed.IOT
    vantage = sample.get("vantage")
    return Feed(vantage) if vantage in {Feed.PIPE, Feed.CLOUD} else None


def _feed(text: str) -> Feed:
    try:
        return Feed(text)
    except ValueError:
        raise BadMapping("`feed` is pipe, cloud or iot.") from None


def _column(spec: Any, where: str, allowed: frozenset[str]) -> Mapping[str, Any]:
    if isinstance(spec, str) and spec:
        return {"column": spec}
    if not isinstance(spec, dict) or not set(spec) <= allowed:
        raise BadMapping(f"{where}: a column's name, or a table of {', '.join(sorted(allowed))}.")
    return spec


def _text_column(file: Section, name: str) -> TextColumn | None:
    spec = file.either(name)
    return None if spec is None else _as_text(spec, name)


def _texts(file: Section, name: str) -> dict[str, TextColumn]:
    return {key: _as_text(spec, f"{name}.{key}") for key, spec in (file.table(name) or {}).items()}


def _as_text(spec: Any, where: str) -> TextColumn:
    found = _column(spec, where, frozenset({"column", "value"}))
    column, value = found.get("column", ""), found.get("value", "")
    if not isinstance(column, str) or not isinstance(value, str) or bool(column) == bool(value):
        raise BadMapping(f"{where}: either `column` or `value`, a text.")
    return TextColumn(column, value)


def _value_column(name: str, spec: Any) -> ValueColumn:
    if not _INDICATOR.match(name):
        raise BadMapping(f"values: `{name[:64]}` is not an indicator's name.")
    found = _column(spec, f"values.{name}", frozenset({"column", "unit", "scale", "offset"}))
    scale, offset = found.get("scale", 1.0), found.get("offset", 0.0)
    for number in (scale, offset):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) < 1e300:
            raise BadMapping(f"values.{name}: `scale` and `offset` are numbers.")
    column, unit = found.get("column"), found.get("unit")
    if not isinstance(column, str) or not column:
        raise BadMapping(f"values.{name}: `column` is missing.")
    by = 1.0
    if unit is not None:
        wanted = CATALOGUE[name].unit if name in CATALOGUE else unit_of(name)
        converted = factor(unit, wanted) if isinstance(unit, str) else None
        if converted is None:
            raise BadMapping(f"values.{name}: the unit cannot be turned into {wanted}.")
        by = converted
    return ValueColumn(column, float(scale) * by, float(offset))


def _time_column(spec: Mapping[str, Any]) -> TimeColumn:
    found = _column(spec, "time", frozenset({"column", "format", "zone"}))
    column, form, zone = found.get("column"), found.get("format", "iso"), found.get("zone")
    if not isinstance(column, str) or not column or not isinstance(form, str):
        raise BadMapping("time: `column` is missing, or `format` is no text.")
    if form != "iso" and form not in _EPOCHS and "%" not in form:
        raise BadMapping(f"time: `format` is iso, {', '.join(_EPOCHS)}, or a pattern with %.")
    if zone is None:
        return TimeColumn(column, form)
    try:
        return TimeColumn(column, form, ZoneInfo(zone))
    except Exception as error:  # a name that is none: KeyError, ValueError, OSError, TypeError by platform
        raise BadMapping(f"time: `zone` is not a time zone ({type(error).__name__}).") from None


def _text(row: Mapping[str, Any], column: TextColumn) -> str:
    if not column.column:
        return column.value
    value = row.get(column.column)
    if value is None or isinstance(value, (dict, list, bytes)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _number(value: Any) -> float | None:
    """A cell's number; None where it is empty; NaN where it holds something else."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _EMPTY:
            return None
        return float(text) if _NUMBER.match(text) else math.nan
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, (int, float, Decimal)):
        try:
            number = float(value)
        except OverflowError:
            return math.inf
        return None if math.isnan(number) else number
    if isinstance(value, timedelta):
        return value / timedelta(milliseconds=1)
    return math.nan


def _time(value: Any, column: TimeColumn) -> datetime | None:
    try:
        if isinstance(value, datetime):
            at = value if value.tzinfo else value.replace(tzinfo=column.zone)
            return at.astimezone(UTC) if at.tzinfo else None
        if isinstance(value, date):
            return None
        if column.form in _EPOCHS:
            number = _number(value)
            if number is None or not math.isfinite(number):
                return None
            whole = int(value) if isinstance(value, int) else round(number)
            micros = whole * 1_000_000 // _EPOCHS[column.form]
            if column.form == "epoch_s" and not isinstance(value, int):
                micros = round(number * 1_000_000)
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
        if not isinstance(value, str):
            return None
        if column.form == "iso":
            return parse_time(value, column.zone)
        at = datetime.strptime(value.strip(), column.form)  # noqa: DTZ007 - the zone follows
        at = at if at.tzinfo else at.replace(tzinfo=column.zone)
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError, re.error):
        return None
