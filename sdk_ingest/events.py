"""What players did, in one form whoever told it: the operator's SDK in a report, or a stock player over CMCD.

Pure. An event is told alone, never from what came before it: events arrive out of order and through several
processes, so the time line is drawn where they are read (the KQI room).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cem.platform.item_keys import item_key
from sdk_ingest.schemas import PlayerEventItem, Report
from sdk_ingest.vocabulary import PlayerEventKind

__all__ = ["CMCD", "SDK", "PlayerEvent", "PlayerEventKind", "dimensions_of", "events_of_report", "values_of"]

SDK: Final = "sdk"
CMCD: Final = "cmcd"
_MILLIS: Final = 1000

EVENT_VALUES: Final = (
    "position_ms",
    "bitrate_kbps",
    "buffer_ms",
    "throughput_kbps",
    "start_delay_ms",
    "stall_ms",
    "dropped_frames",
    "http_status",
)
"""Numbers that an event of the SDK may carry, under the same names in the store."""

PROBE_VALUES: Final = (
    "dns_ms",
    "tcp_ms",
    "tls_ms",
    "first_byte_ms",
    "throughput_kbps",
    "loss_ratio",
    "http_status",
)
RADIO_VALUES: Final = ("rsrp_dbm", "rsrq_db", "sinr_db", "ce_level", "prb_load_pct")
STATUS_VALUES: Final = (
    "battery_pct",
    "wifi_rssi_dbm",
    "memory_free_mb",
    "storage_free_mb",
    "clock_offset_ms",
)
FIGURES: Final = ("start_delay_ms", "stall_ms", "play_ms", "stall_count", "bitrate_kbps", "http_status")
PLACE_DIMENSIONS: Final = ("province", "city", "area", "cell", "rat", "slice", "gateway")
DEVICE_DIMENSIONS: Final = ("model", "os", "app_version", "device_type")
_PROBE_ORDER: Final = ("node", "app", "origin", "", "reference", "resolver")


@dataclass(frozen=True, slots=True)
class PlayerEvent:
    """One event of one session.

    Parameters
    ----------
    session_id
        The player's own name of the session (CMCD `sid`).
    kind, at
        What and when, by the player's clock; `at` is aware.
    sequence
        Order within session and origin (CMCD `sn`); 0 where the sender has none. [1]
    origin
        `sdk` or `cmcd`.
    values
        Numbers by name, units in the names.
    labels
        Words by name: source, node, content_id, error_code, dimensions; for CMCD also `e`, `sta`.
    """

    session_id: str
    kind: PlayerEventKind
    at: datetime
    sequence: int
    origin: str
    values: Mapping[str, float]
    labels: Mapping[str, str]

    def key(self, owner: str) -> str:
        """Key of the event: whose, which session, what, when and in which place of the order.

        The same event in two reports, or sent again, has the same key and the same time: it collapses in the
        store without being looked up.
        """
        mark = self.labels.get("e", "")
        millis = round(self.at.timestamp() * _MILLIS)
        text = f"{self.session_id}\n{self.origin}\n{self.kind}\n{mark}\n{self.sequence}\n{millis}"
        return item_key(owner, "player_event", text)


def dimensions_of(report: Report) -> dict[str, str]:
    """Dimensions that the report names, without the empty ones."""
    found: dict[str, str] = {}
    for group, names in ((report.place, PLACE_DIMENSIONS), (report.device, DEVICE_DIMENSIONS)):
        if group is not None:
            for name in names:
                if value := getattr(group, name):
                    found[name] = value
    if report.service:
        found["service"] = report.service
    if report.player is not None:
        if report.player.source:
            found["source"] = report.player.source
        if report.player.node:
            found["node"] = report.player.node
    return found


def values_of(report: Report) -> dict[str, float]:
    """Numbers that the report carries, units in their names; what is absent is absent.

    Of several probes each number comes from the first that has it, in the order node, app, origin, without
    role, reference, resolver: the way to the service itself says most about it. `failed` is 1 or 0 where
    figures were told.
    """
    found: dict[str, float] = {}
    if report.radio is not None:
        _take(found, report.radio, RADIO_VALUES)
    if report.status is not None:
        _take(found, report.status, STATUS_VALUES)
    if report.probes:
        ranked = sorted(report.probes, key=lambda probe: _PROBE_ORDER.index(probe.role or ""))
        for probe in reversed(ranked):
            _take(found, probe, PROBE_VALUES)
    for holder in (report.app, report.player):
        if holder is not None and holder.figures is not None:
            _take(found, holder.figures, FIGURES)
            found["failed"] = float(bool(holder.figures.error_code))
    return found


def events_of_report(report: Report) -> Iterator[PlayerEvent]:
    """Player events of a report, each with the report's dimensions.

    A report without a session is a session of its own.
    """
    if report.player is None or not report.player.events:
        return
    labels = dimensions_of(report)
    if report.player.content_id:
        labels["content_id"] = report.player.content_id
    for item in report.player.events:
        yield PlayerEvent(
            session_id=report.session_id or report.id,
            kind=item.kind,
            at=item.at,
            sequence=int(item.sequence or 0),
            origin=SDK,
            values=_event_values(item),
            labels=labels | {"error_code": item.error_code} if item.error_code else labels,
        )


def _event_values(item: PlayerEventItem) -> dict[str, float]:
    values: dict[str, float] = {}
    _take(values, item, EVENT_VALUES)
    return values


def _take(found: dict[str, float], group: Any, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(group, name)
        if value is not None:
            found[name] = value
