"""Items to rows: what a file's samples look like in the store, and what is refused on the way.

Pure. Samples in wire form go through `kqi.samples.read_samples`, so a file and `POST /v1/samples` have one rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from cem.platform.group_commit import Entry
from cem.platform.item_keys import item_key
from cem.platform.windows import window_start
from kqi.catalogue import Vantage
from kqi.feeds.items import CounterItem, Read, Refused, WireItem
from kqi.samples import Feed, TimeBounds, read_samples

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Older times are those of a clock that was never set. Chosen here; the store's own times begin in 1970."""
NO_AGE_LIMIT = timedelta(days=200_000)
"""For `late_after` where history is loaded. Chosen here."""


class _Row(msgspec.Struct):
    window: datetime


_row_decoder = msgspec.json.Decoder(_Row)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item that can be stored, and the window it lands in."""

    place: str
    entry: Entry
    window: datetime


def prepare(
    items: Sequence[Read], *, origin: str, hash_number: Callable[[str], str], bounds: TimeBounds
) -> list[Prepared | Refused]:
    """Rows of items, in their order.

    Parameters
    ----------
    items
        What a parser yielded.
    origin
        The feed's name: part of a sample's identity. Never the file's name, or a copy would count twice.
    hash_number
        Number → subscriber_id; raises InvalidInput.
    bounds
        Event times that are taken.
    """
    found: list[Prepared | Refused | None] = [None] * len(items)
    oldest = max(EARLIEST, _before(bounds.now, bounds.late_after))
    bounds = TimeBounds(bounds.now, bounds.now - oldest, bounds.future_skew)
    wire: dict[Feed, list[tuple[int, WireItem]]] = {}
    for index, item in enumerate(items):
        if isinstance(item, Refused):
            found[index] = item
        elif isinstance(item, CounterItem):
            found[index] = _counters(item, origin, bounds)
        else:
            wire.setdefault(item.feed, []).append((index, item))
    for feed, members in wire.items():
        entries, rejects = read_samples(
            [item.body for _, item in members], feed, origin=origin, hash_number=hash_number, bounds=bounds
        )
        refused: dict[int, Refused] = {}
        for reject in rejects:
            position, _, rest = reject.pointer[1:].partition("/")
            place = members[int(position)][1].place
            refused[int(position)] = Refused(place, reject.code, reject.detail, f"/{rest}" if rest else "")
        stored = iter(entries)
        for number, (index, item) in enumerate(members):
            if number in refused:
                found[index] = refused[number]
            else:
                entry = next(stored)
                found[index] = Prepared(item.place, entry, _row_decoder.decode(entry.rows[0][1]).window)
    return [one for one in found if one is not None]


def _counters(item: CounterItem, origin: str, bounds: TimeBounds) -> Prepared | Refused:
    at = item.observed_at
    if bounds.now - at > bounds.late_after:
        return Refused(item.place, "too_late", "Older than what is still taken.", "/observed_at")
    if at - bounds.now > bounds.future_skew:
        return Refused(item.place, "in_future", "Ahead of the service's clock.", "/observed_at")
    received = bounds.now.astimezone(UTC)
    window = window_start(at)
    key = item_key(f"{Feed.PIPE}:{origin}", "sample", item.sample_id)
    row = {
        **item.dimensions,
        "window": window,
        "vantage": Vantage.PIPE,
        "service": item.service,
        "subscriber_id": "",
        "item_key": key,
        "version": int(received.timestamp() * 1000),
        "observed_at": at.replace(microsecond=at.microsecond // 1000 * 1000),
        "received_at": received,
        "session_id": "",
        "origin": origin,
        "values": item.values,
        "labels": item.labels,
    }
    return Prepared(item.place, Entry(key, (("samples", msgspec.json.encode(row)),)), window)


def _before(now: datetime, age: timedelta) -> datetime:
    try:
        return now - age
    except OverflowError:
        return EARLIEST
