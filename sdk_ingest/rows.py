"""Observations and events → rows of the KQI store, encoded as JSON lines.

Pure. The structs below are the columns of `reports` and `player_events` (migrations/kqi/0001_facts.sql) in their
order; encoding happens in one call for a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from cem.platform.group_commit import Entry
from cem.platform.item_keys import item_key
from cem.platform.windows import window_start
from sdk_ingest.events import PlayerEvent, dimensions_of, events_of_report, values_of
from sdk_ingest.schemas import Report

REPORTS: Final = "reports"
PLAYER_EVENTS: Final = "player_events"
TABLES: Final = (PLAYER_EVENTS, REPORTS)
"""In the order of writing: a report counts as stored when its own row is there, so its events come first."""

_encode = msgspec.json.Encoder().encode


class ReportRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A row of `reports`; a column that is left out is empty."""

    window: datetime
    subscriber_id: str
    item_key: str
    report_id: str
    observed_at: datetime
    received_at: datetime
    origin: str
    values: Mapping[str, float]
    body: str
    install_id: str = ""
    caller_id: str = ""
    session_id: str = ""
    service: str = ""
    province: str = ""
    city: str = ""
    area: str = ""
    cell: str = ""
    rat: str = ""
    slice: str = ""
    gateway: str = ""
    source: str = ""
    node: str = ""
    model: str = ""
    os: str = ""
    app_version: str = ""
    device_type: str = ""


class PlayerEventRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `player_events`."""

    window: datetime
    session_id: str
    subscriber_id: str
    item_key: str
    observed_at: datetime
    received_at: datetime
    sequence: int
    origin: str
    event: str
    values: Mapping[str, float]
    labels: Mapping[str, str]


def owner_of(subscriber_id: str, install_id: str) -> str:
    """Whose an item is: the line, else the install. Two installs that use one id are two owners."""
    return subscriber_id or f"install:{install_id}"


def report_entry(
    report: Report,
    body: Mapping[str, Any],
    *,
    subscriber_id: str,
    install_id: str,
    origin: str,
    caller_id: str,
    received_at: datetime,
) -> Entry:
    """What is stored of a report: its events, then itself.

    Parameters
    ----------
    body
        The report as sent, without `subscriber`.
    subscriber_id, install_id
        Whose it is; the other may be empty.
    origin, caller_id
        Kind of caller, and which one where it is not a device.
    """
    owner = owner_of(subscriber_id, install_id)
    key = item_key(owner, "report", report.id)
    rows = [
        (PLAYER_EVENTS, _event_row(event, event.key(owner), subscriber_id, received_at))
        for event in events_of_report(report)
    ]
    observed_at = report.observed_at.astimezone(UTC)
    row = ReportRow(
        window=window_start(observed_at),
        subscriber_id=subscriber_id,
        item_key=key,
        report_id=report.id,
        observed_at=observed_at,
        received_at=received_at,
        origin=origin,
        values=values_of(report),
        body=_encode(body).decode(),
        install_id=install_id,
        caller_id=caller_id,
        session_id=report.session_id or "",
        **dimensions_of(report),
    )
    rows.append((REPORTS, _encode(row)))
    return Entry(key, rows)


def event_entry(event: PlayerEvent, *, owner: str, subscriber_id: str, received_at: datetime) -> Entry:
    """What is stored of an event that came without a report.

    Not looked up: its time is part of its key, so that it can only ever meet itself.
    """
    key = event.key(owner)
    row = _event_row(event, key, subscriber_id, received_at)
    return Entry(key, ((PLAYER_EVENTS, row),), checked=False)


def _event_row(event: PlayerEvent, key: str, subscriber_id: str, received_at: datetime) -> bytes:
    at = event.at.astimezone(UTC)
    return _encode(
        PlayerEventRow(
            window=window_start(at),
            session_id=event.session_id,
            subscriber_id=subscriber_id,
            item_key=key,
            observed_at=at,
            received_at=received_at,
            sequence=event.sequence,
            origin=event.origin,
            event=event.kind,
            values=event.values,
            labels=event.labels,
        )
    )
