"""All SQL on facts and samples of this room, except the cubes' own (`kqi.cubes`, `kqi.cube_reading`, `kqi.peers`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from cem.platform.facts import FactStore
from kqi.catalogue import Vantage
from kqi.cuts import ALL_DIMENSIONS
from kqi.sessions import PLACE_AND_DEVICE, Context, SessionKey, SessionSample
from kqi.timeline import Kind, PlayerEvent
from kqi.video import TotalsReport

FIGURES = ("start_delay_ms", "stall_ms", "play_ms", "stall_count")
"""Any of these in a report's values makes it a report of totals."""
SESSION_VALUES = (*FIGURES, "bitrate_kbps", "failed", "http_status")
"""What belongs to a video session and not to the report's own sample."""

_HAS_FIGURES = (
    "service IN ('video', '') AND (" + " OR ".join(f"mapContains(values, '{name}')" for name in FIGURES) + ")"
)
_KINDS = frozenset(Kind)
_DIMENSION_COLUMNS = ", ".join(PLACE_AND_DEVICE)

Signature = tuple[int, int]


@dataclass(frozen=True, slots=True)
class NewContext:
    """What came of one line and session, in which earliest window, and a signature of it."""

    subscriber_id: str
    session_id: str
    first: datetime
    signature: Signature


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample as it is stored."""

    window: datetime
    vantage: str
    service: str
    subscriber_id: str
    item_key: str
    version: int
    observed_at: datetime
    received_at: datetime
    session_id: str
    origin: str
    dimensions: Mapping[str, str]
    values: Mapping[str, float]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report as it is stored; `body` is its JSON as sent, without the number."""

    window: datetime
    subscriber_id: str
    item_key: str
    report_id: str
    observed_at: datetime
    received_at: datetime
    origin: str
    session_id: str
    service: str
    dimensions: Mapping[str, str]
    values: Mapping[str, float]
    body: str


_SAMPLE_COLUMNS = (
    "window, vantage, service, subscriber_id, item_key, version, observed_at, received_at, session_id, origin, "
    f"{_DIMENSION_COLUMNS}, values, labels"
)


class FactsRepository:
    """Reads and writes facts."""

    def __init__(self, store: FactStore) -> None:
        self._store = store

    # what changed

    def sessions_with_new_events(self, since: datetime, oldest: datetime) -> dict[SessionKey, Signature]:
        """Sessions that got events since, each with a signature of all its events; the latest come first."""
        rows = self._store.rows(
            "SELECT session_id, subscriber_id, count() AS n, sum(cityHash64(item_key)) AS hash FROM player_events"
            " WHERE window >= {oldest:DateTime64(3, 'UTC')} AND (session_id, subscriber_id) IN"
            " (SELECT session_id, subscriber_id FROM player_events"
            " WHERE received_at >= {since:DateTime64(3, 'UTC')} AND window >= {oldest:DateTime64(3, 'UTC')})"
            " GROUP BY session_id, subscriber_id ORDER BY max(observed_at) DESC, session_id, subscriber_id",
            {"since": since, "oldest": oldest},
        )
        return _signatures(rows)

    def sessions_with_new_totals(self, since: datetime, oldest: datetime) -> dict[SessionKey, Signature]:
        """Sessions that got reports of totals since, each with a signature of all of them."""
        rows = self._store.rows(
            "SELECT if(session_id = '', report_id, session_id) AS session_id, subscriber_id, count() AS n,"  # noqa: S608 - ours
            " sum(cityHash64(item_key)) AS hash FROM"
            f" (SELECT session_id, report_id, subscriber_id, item_key FROM reports WHERE {_HAS_FIGURES}"
            " AND window >= {oldest:DateTime64(3, 'UTC')}"
            " AND (if(session_id = '', report_id, session_id), subscriber_id) IN"
            f" (SELECT if(session_id = '', report_id, session_id), subscriber_id FROM reports WHERE {_HAS_FIGURES}"
            " AND received_at >= {since:DateTime64(3, 'UTC')} AND window >= {oldest:DateTime64(3, 'UTC')}))"
            " GROUP BY session_id, subscriber_id",
            {"since": since, "oldest": oldest},
        )
        return _signatures(rows)

    def new_context(self, since: datetime, oldest: datetime) -> list[NewContext]:
        """Reports, pipe and cloud samples that came since, by line and session."""
        both = (
            "SELECT subscriber_id, session_id, window, item_key FROM {table}"
            " WHERE received_at >= {{since:DateTime64(3, 'UTC')}} AND window >= {{oldest:DateTime64(3, 'UTC')}}"
        )
        rows = self._store.rows(
            "SELECT subscriber_id, session_id, min(window) AS first, count() AS n,"  # noqa: S608 - ours
            f" sum(cityHash64(item_key)) AS hash FROM ({both.format(table='reports')} UNION ALL"
            f" {both.format(table='samples')} AND vantage IN ('pipe', 'cloud'))"
            " WHERE subscriber_id != '' OR session_id != '' GROUP BY subscriber_id, session_id",
            {"since": since, "oldest": oldest},
        )
        return [
            NewContext(row["subscriber_id"], row["session_id"], row["first"], (row["n"], row["hash"]))
            for row in rows
        ]

    def known_sessions(
        self, lines: Iterable[str], sessions: Iterable[str], oldest: datetime
    ) -> list[SessionKey]:
        """Sessions of these lines or of these names that device samples were written of."""
        rows = self._store.rows(
            "SELECT DISTINCT session_id, subscriber_id FROM samples WHERE vantage = 'device'"
            " AND labels['kind'] = 'session' AND window >= {oldest:DateTime64(3, 'UTC')}"
            " AND (subscriber_id IN {lines:Array(String)} OR session_id IN {sessions:Array(String)})",
            {"lines": sorted(set(lines)), "sessions": sorted(set(sessions)), "oldest": oldest},
        )
        return [SessionKey(row["session_id"], row["subscriber_id"]) for row in rows]

    # what is known of sessions

    def events_of(self, sessions: Iterable[str], oldest: datetime) -> dict[SessionKey, list[PlayerEvent]]:
        """Every event of the sessions named; events of a kind that this version does not know are left out."""
        rows = self._store.rows(
            "SELECT session_id, subscriber_id, event, toUnixTimestamp64Milli(observed_at) AS at_ms, sequence, origin,"
            " values, labels FROM player_events FINAL WHERE session_id IN {sessions:Array(String)}"
            " AND window >= {oldest:DateTime64(3, 'UTC')}",
            {"sessions": sorted(set(sessions)), "oldest": oldest},
        )
        found: dict[SessionKey, list[PlayerEvent]] = {}
        for row in rows:
            if row["event"] in _KINDS:
                found.setdefault(SessionKey(row["session_id"], row["subscriber_id"]), []).append(
                    PlayerEvent(
                        kind=Kind(row["event"]),
                        at_ms=row["at_ms"],
                        sequence=row["sequence"],
                        origin=row["origin"],
                        values=row["values"],
                        labels=row["labels"],
                    )
                )
        return found

    def totals_of(self, sessions: Iterable[str], oldest: datetime) -> dict[SessionKey, list[TotalsReport]]:
        """Every report of totals of the sessions named."""
        rows = self._store.rows(
            "SELECT if(session_id = '', report_id, session_id) AS session, subscriber_id,"  # noqa: S608 - ours
            f" toUnixTimestamp64Milli(observed_at) AS at_ms, values FROM reports FINAL WHERE {_HAS_FIGURES}"
            " AND window >= {oldest:DateTime64(3, 'UTC')}"
            " AND if(session_id = '', report_id, session_id) IN {sessions:Array(String)}",
            {"sessions": sorted(set(sessions)), "oldest": oldest},
        )
        found: dict[SessionKey, list[TotalsReport]] = {}
        for row in rows:
            values = {name: row["values"][name] for name in SESSION_VALUES if name in row["values"]}
            found.setdefault(SessionKey(row["session"], row["subscriber_id"]), []).append(
                TotalsReport(row["at_ms"], values)
            )
        return found

    def context_of(self, keys: Sequence[SessionKey], start: datetime, end: datetime) -> list[Context]:
        """Reports, pipe and cloud samples of the sessions or lines named, with windows in [start, end]."""
        where = (
            " FINAL WHERE window >= {start:DateTime64(3, 'UTC')} AND window <= {end:DateTime64(3, 'UTC')}"
            " AND (subscriber_id IN {lines:Array(String)} OR session_id IN {sessions:Array(String)})"
        )
        columns = f"subscriber_id, session_id, window, observed_at, {_DIMENSION_COLUMNS}"
        rows = self._store.rows(
            f"SELECT '' AS vantage, {columns} FROM reports{where} UNION ALL"  # noqa: S608 - ours
            f" SELECT vantage, {columns} FROM samples{where} AND vantage IN ('pipe', 'cloud')",
            {
                "start": start,
                "end": end,
                "lines": sorted({key.subscriber_id for key in keys} - {""}),
                "sessions": sorted({key.session_id for key in keys}),
            },
        )
        return [
            Context(
                subscriber_id=row["subscriber_id"],
                session_id=row["session_id"],
                window=row["window"],
                observed_at=row["observed_at"],
                dimensions={name: row[name] for name in PLACE_AND_DEVICE if row[name]},
                vantage=Vantage(row["vantage"]) if row["vantage"] else None,
            )
            for row in rows
        ]

    # device samples

    def session_samples_of(self, sessions: Iterable[str], oldest: datetime) -> list[StoredSample]:
        """Device samples that were written of the sessions named."""
        return self._samples(
            "vantage = 'device' AND session_id IN {sessions:Array(String)} AND labels['kind'] = 'session'"
            " AND window >= {oldest:DateTime64(3, 'UTC')}",
            {"sessions": sorted(set(sessions)), "oldest": oldest},
        )

    def write_session_samples(
        self, samples: Sequence[tuple[SessionSample, int]], received_at: datetime
    ) -> None:
        """Write device samples, each with its version, in one insert."""
        if not samples:
            return
        received = received_at.isoformat(timespec="milliseconds")
        lines = [
            msgspec.json.encode(
                {
                    **sample.dimensions,
                    "window": sample.window.isoformat(),
                    "subscriber_id": sample.key.subscriber_id,
                    "item_key": sample.item_key,
                    "version": version,
                    "observed_at": sample.observed_at.isoformat(timespec="milliseconds"),
                    "received_at": received,
                    "session_id": sample.key.session_id,
                    "origin": "sessions",
                    "values": sample.values,
                    "labels": sample.labels,
                }
            )
            for sample, version in samples
        ]
        self._store.insert("samples", b"\n".join(lines), "JSONEachRow")

    def write_report_samples(self, since: datetime, oldest: datetime, received_at: datetime) -> None:
        """Write a device sample of every report that came since, carries values of its own and has none yet.

        The sample has the report's key and never changes: writing it twice makes one.
        """
        own = ", ".join(f"'{name}'" for name in SESSION_VALUES)
        dimensions = ", ".join(name for name in PLACE_AND_DEVICE)
        self._store.execute(
            "INSERT INTO samples (window, vantage, service, subscriber_id, item_key, version, observed_at,"  # noqa: S608 - ours
            f" received_at, session_id, origin, {dimensions}, values, labels)"
            " SELECT window, 'device', service, subscriber_id, item_key, 1, observed_at,"
            f" {{received:DateTime64(3, 'UTC')}}, session_id, 'reports', {dimensions}, own, map('kind', 'report')"
            f" FROM (SELECT *, mapFilter((name, value) -> service NOT IN ('video', '') OR name NOT IN ({own}), values)"
            " AS own FROM reports FINAL WHERE received_at >= {since:DateTime64(3, 'UTC')}"
            " AND window >= {oldest:DateTime64(3, 'UTC')})"
            " WHERE notEmpty(own) AND item_key NOT IN (SELECT item_key FROM samples WHERE vantage = 'device'"
            " AND origin = 'reports' AND received_at >= {since:DateTime64(3, 'UTC')}"
            " AND window >= {oldest:DateTime64(3, 'UTC')})",
            {"since": since, "oldest": oldest, "received": received_at},
        )

    # for other rooms

    def lines_of_session(self, session_id: str, oldest: datetime) -> list[str]:
        """Whose events or samples name the session, those that are known first."""
        rows = self._store.rows(
            "SELECT DISTINCT subscriber_id FROM (SELECT subscriber_id FROM player_events"
            " WHERE session_id = {session:String} AND window >= {oldest:DateTime64(3, 'UTC')} UNION ALL"
            " SELECT subscriber_id FROM samples WHERE session_id = {session:String}"
            " AND window >= {oldest:DateTime64(3, 'UTC')}) ORDER BY subscriber_id DESC",
            {"session": session_id, "oldest": oldest},
        )
        return [row["subscriber_id"] for row in rows]

    def samples_of_line(
        self, subscriber_id: str, since: datetime, until: datetime, limit: int
    ) -> list[StoredSample]:
        """Samples of a line observed from `since` to `until`, newest first."""
        return self._samples(
            "subscriber_id = {line:String} AND window >= {since:DateTime64(3, 'UTC')} - INTERVAL 15 MINUTE"
            " AND window <= {until:DateTime64(3, 'UTC')} AND observed_at >= {since:DateTime64(3, 'UTC')}"
            " AND observed_at <= {until:DateTime64(3, 'UTC')} AND notEmpty(values)",
            {"line": subscriber_id, "since": since, "until": until},
            limit=limit,
        )

    def samples_of_session(self, session_id: str, oldest: datetime, limit: int) -> list[StoredSample]:
        """Samples of a session from every vantage point, newest first."""
        return self._samples(
            "session_id = {session:String} AND window >= {oldest:DateTime64(3, 'UTC')} AND notEmpty(values)",
            {"session": session_id, "oldest": oldest},
            limit=limit,
        )

    def reports_of_line(
        self, subscriber_id: str, since: datetime, until: datetime, limit: int
    ) -> list[StoredReport]:
        """Reports of a line observed from `since` to `until`, newest first."""
        rows = self._store.rows(
            "SELECT window, subscriber_id, item_key, report_id, observed_at, received_at, origin, session_id, service,"  # noqa: S608 - ours
            f" {_DIMENSION_COLUMNS}, values, body FROM reports FINAL WHERE subscriber_id = {{line:String}}"
            " AND window >= {since:DateTime64(3, 'UTC')} - INTERVAL 15 MINUTE"
            " AND observed_at >= {since:DateTime64(3, 'UTC')} AND observed_at <= {until:DateTime64(3, 'UTC')}"
            f" ORDER BY observed_at DESC, item_key LIMIT {int(limit)}",
            {"line": subscriber_id, "since": since, "until": until},
        )
        return [
            StoredReport(
                **{name: row[name] for name in _REPORT_FIELDS},
                dimensions={name: row[name] for name in PLACE_AND_DEVICE if row[name]},
            )
            for row in rows
        ]

    def _samples(
        self, where: str, params: Mapping[str, Any], *, limit: int | None = None
    ) -> list[StoredSample]:
        rows = self._store.rows(
            f"SELECT {_SAMPLE_COLUMNS} FROM samples FINAL WHERE {where}"  # noqa: S608 - ours
            f" ORDER BY observed_at DESC, item_key{'' if limit is None else f' LIMIT {int(limit)}'}",
            params,
        )
        return [
            StoredSample(
                **{name: row[name] for name in _SAMPLE_FIELDS},
                dimensions={name: row[name] for name in ALL_DIMENSIONS if row[name]},
            )
            for row in rows
        ]


_REPORT_FIELDS = tuple(f for f in StoredReport.__dataclass_fields__ if f != "dimensions")
_SAMPLE_FIELDS = tuple(f for f in StoredSample.__dataclass_fields__ if f != "dimensions")


def _signatures(rows: Iterable[Mapping[str, Any]]) -> dict[SessionKey, Signature]:
    return {SessionKey(row["session_id"], row["subscriber_id"]): (row["n"], row["hash"]) for row in rows}
