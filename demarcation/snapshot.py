"""Evidence out of a terminal's snapshot: the report form of one moment, read leniently.

A snapshot comes from a phone in trouble. So nothing in it is refused here: what has the wrong type is not read,
what is out of range is kept as implausible, what is not there stays unknown. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from demarcation.evidence import Evidence, Origin, make_evidence

DIMENSIONS = (
    "province",
    "city",
    "area",
    "cell",
    "rat",
    "slice",
    "gateway",
    "source",
    "node",
    "model",
    "os",
    "app_version",
    "device_type",
)
"""What a fault can be located by; '' is unknown."""

SERVICE_ROLES = ("node", "origin", "app")
_PROBED_ROLES = (*SERVICE_ROLES, "reference")

_SETTINGS = [
    "airplane_mode",
    "mobile_data",
    "apn",
    "vpn",
    "proxy",
    "private_dns",
    "data_saver",
    "power_save",
    "background_restricted",
    "nr_enabled",
    "volte_enabled",
    "preferred_rat",
]
_STATUS = [
    "sim_state",
    "registered",
    "roaming",
    "battery_pct",
    "thermal",
    "memory_free_mb",
    "storage_free_mb",
    "clock_offset_ms",
    "captive_portal",
    "network_type",
    "wifi_rssi_dbm",
]
_CERTIFICATE_TIME = ("not_yet_valid", "not yet valid", "expired", "cert_date", "certificate_time")
_NXDOMAIN = ("nxdomain", "name_not_found", "no_such_domain", "name does not exist")


def dimensions_of(snapshot: Mapping[str, Any]) -> dict[str, str]:
    """Every dimension by name, '' where the snapshot does not tell."""
    place, device = _group(snapshot, "place"), _group(snapshot, "device")
    player = _group(snapshot, "player")
    found = {**player, **device, **place}
    return {name: _label(found.get(name)) for name in DIMENSIONS}


LOOK_BACK = timedelta(hours=168)
"""How far back a check may ask. The vendor calls that contact centres use look back 1 to 168 hours."""

CLOCK_BELIEVED_MS = 300_000
"""A phone whose clock is off by more does not know when it is. [ms] Chosen here: the usual tolerance of tokens."""


def fault_time_of(snapshot: Mapping[str, Any], received_at: datetime) -> datetime:
    """When the snapshot was taken: its own time, unless that is missing, unreadable, too old or ahead of ours.

    A wrong clock is one of the faults looked for: where the phone itself measured one, its time is not believed.
    """
    claimed = parse_time(snapshot.get("observed_at"))
    offset_ms = _number(_group(snapshot, "status").get("clock_offset_ms"))
    if offset_ms is not None and abs(offset_ms) > CLOCK_BELIEVED_MS:
        return received_at
    if claimed is None or not received_at - LOOK_BACK <= claimed <= received_at:
        return received_at
    return claimed


def parse_time(value: Any) -> datetime | None:
    """An RFC 3339 time as aware UTC; None for anything else."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if parsed.tzinfo is None else parsed.astimezone(UTC)


def evidence_from_snapshot(
    snapshot: Mapping[str, Any],
    *,
    at: datetime,
    received_at: datetime,
    lowest_app_versions: Mapping[str, str] | None = None,
) -> tuple[Evidence, ...]:
    """Everything a snapshot tells, as evidence.

    Parameters
    ----------
    snapshot
        The report form as JSON values.
    at
        Moment of the fault.
    received_at
        When it reached us, aware UTC.
    lowest_app_versions
        Lowest supported app version by operating system (`""` for any). None: unknown.
    """
    raw: dict[str, Any] = {}
    settings, status = _group(snapshot, "settings"), _group(snapshot, "status")
    raw |= {f"settings.{name}": settings.get(name) for name in _SETTINGS}
    raw |= {f"status.{name}": status.get(name) for name in _STATUS}
    nas = _group(status, "nas_cause")
    raw |= {f"nas.{name}": nas.get(name) for name in ("emm", "esm", "5gmm", "5gsm")}
    raw["place.rat"] = _group(snapshot, "place").get("rat")
    raw |= _radio(_group(snapshot, "radio"))
    raw |= _probes([probe for probe in _list(snapshot, "probes") if isinstance(probe, Mapping)], settings)
    raw |= _player(_group(snapshot, "player"))
    raw |= _iot(_group(snapshot, "iot"), at)
    device = _group(snapshot, "device")
    if lowest_app_versions is not None:
        raw["app.unsupported"] = _unsupported(device, lowest_app_versions)
    observed_at = min(fault_time_of(snapshot, received_at), at)
    facts = (
        make_evidence(
            key,
            value,
            origin=Origin.TERMINAL,
            observed_at=observed_at,
            received_at=received_at,
            at=at,
        )
        for key, value in raw.items()
    )
    return tuple(fact for fact in facts if fact is not None)


def _radio(radio: Mapping[str, Any]) -> dict[str, Any]:
    found = {f"radio.{name}": radio.get(name) for name in ("rsrp_dbm", "rsrq_db", "sinr_db", "ce_level")}
    found["radio.prb_load_pct"] = radio.get("prb_load_pct")
    neighbours = _numbers(_list(radio, "neighbour_rsrp_dbm"))
    if neighbours:
        found["radio.best_neighbour_rsrp_dbm"] = max(neighbours)
    serving = _number(radio.get("rsrp_dbm"))
    if neighbours and serving is not None:
        found["radio.cells_within_6db"] = float(
            1 + sum(1 for level in neighbours if abs(serving - level) <= 6)
        )
    return found


def _probes(probes: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not probes:
        return found
    for role in _PROBED_ROLES:
        mine = [probe for probe in probes if probe.get("role") == role]
        found |= {f"probe.{role}.{name}": value for name, value in _worst(mine).items()}
    service = [probe for probe in probes if probe.get("role") in SERVICE_ROLES]
    found |= {f"probe.service.{name}": value for name, value in _worst(service).items()}
    tls = [text for probe in service if (text := _error(probe, "tls_error"))]
    if service:
        found["probe.service.tls_failed"] = True if tls else (False if _any(service, "tls_ms") else None)
        found["probe.service.certificate_time"] = any(
            mark in text for text in tls for mark in _CERTIFICATE_TIME
        )
    found["probe.throughput_kbps"] = max(_numbers(p.get("throughput_kbps") for p in probes), default=None)
    found["probe.loss_ratio"] = max(_numbers(p.get("loss_ratio") for p in probes), default=None)
    found["dns.slowest_ms"] = max(_numbers(p.get("dns_ms") for p in probes), default=None)
    return found | _dns(probes, settings)


def _dns(probes: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Split by resolver. A probe that does not say which one it asked used what the phone is set to."""
    outcome: dict[str, list[str]] = {"private": [], "operator": []}
    private_set = str(settings.get("private_dns") or "off").lower() not in {"off", "auto"}
    usual = "private" if private_set else "operator"
    for probe in probes:
        error = _error(probe, "dns_error")
        if not error and _number(probe.get("dns_ms")) is None:
            continue
        resolver = probe.get("resolver")
        outcome[resolver if resolver in outcome else usual].append(error)
    found: dict[str, Any] = {}
    missing_name = [e for errors in outcome.values() for e in errors if any(mark in e for mark in _NXDOMAIN)]
    if any(outcome.values()):
        found["dns.nxdomain"] = bool(missing_name)
    for resolver, errors in outcome.items():
        real = [error for error in errors if error and error not in missing_name]
        if errors:  # one answer proves that the resolver works
            found[f"dns.{resolver}_failed"] = bool(real) and len(real) == len(errors)
    return found


def _worst(probes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The worst of each figure over several probes of one role; nothing where there is no probe."""
    found: dict[str, Any] = {}
    if not probes:
        return found
    for name in ("tcp_ms", "first_byte_ms"):
        found[name] = max(_numbers(probe.get(name) for probe in probes), default=None)
    statuses = [status for status in _numbers(p.get("http_status") for p in probes) if status >= 100]
    found["http_status"] = max(statuses, default=None)
    failed = [probe for probe in probes if _error(probe, "tcp_error")]
    if failed or _any(probes, "tcp_ms") or statuses:
        found["tcp_failed"] = len(failed) == len(probes)
    return found


def _player(player: Mapping[str, Any]) -> dict[str, Any]:
    figures = dict(_from_events(_list(player, "events")))
    figures |= {name: value for name, value in _group(player, "figures").items() if value is not None}
    found = {
        f"player.{name}": figures.get(name)
        for name in [
            "play_ms",
            "stall_ms",
            "stall_count",
            "start_delay_ms",
            "bitrate_kbps",
            "buffer_ms",
            "first_byte_ms",
            "throughput_kbps",
            "failed",
        ]
    }
    status = _number(figures.get("http_status"))
    found["player.http_status"] = status if status is not None and status >= 100 else None
    error = figures.get("error_code")
    if error not in (None, "", 0):
        found["player.error_code"] = str(error)
        found["player.failed"] = True
    played, stalled = _number(figures.get("play_ms")), _number(figures.get("stall_ms"))
    if played is not None and stalled is not None and played >= 0 and stalled >= 0 and played + stalled > 0:
        found["player.stall_ratio"] = round(stalled / (stalled + played), 6)
    count = _number(figures.get("stall_count"))
    if stalled is not None and count:
        found["player.stall_mean_ms"] = round(stalled / count, 3)
    return found


def _from_events(events: Sequence[Any]) -> Iterable[tuple[str, Any]]:
    """Figures of a session from its events alone, where the app did not count them itself.

    Start delay is request to first frame; stalls are closed `stall_started`-`stall_ended` pairs and the one that
    is still open at the last event; play time is what remains after the first frame without pauses and seeks.
    """
    timed: list[tuple[datetime, str, Mapping[str, Any]]] = []
    for event in events:
        if isinstance(event, Mapping) and (moment := parse_time(event.get("at"))) is not None:
            timed.append((moment, str(event.get("kind")), event))
    timed.sort(key=lambda item: (item[0], _number(item[2].get("sequence")) or 0))
    if not timed:
        return
    spent = {"play": 0.0, "stall": 0.0}
    state, since, stalls = "idle", timed[0][0], 0
    requested: datetime | None = None
    for moment, kind, event in timed:
        if state in spent:
            spent[state] += (moment - since).total_seconds() * 1000
        since = moment
        if kind == "requested":
            requested = requested or moment
        elif kind in {"first_frame", "stall_ended", "resumed", "seek_ended", "playing"}:
            if kind == "first_frame" and requested is not None:
                yield "start_delay_ms", (moment - requested).total_seconds() * 1000
            state = "play"
        elif kind == "stall_started":
            stalls += state == "play"
            state = "stall"
        elif kind in {"paused", "seek_started", "ended"}:
            state = "idle"
        elif kind == "failed":
            state = "idle"
            yield "failed", True
            for name in ("error_code", "http_status"):
                if event.get(name) is not None:
                    yield name, event[name]
        for name in ("buffer_ms", "bitrate_kbps", "throughput_kbps"):
            if _number(event.get(name)) is not None:
                yield name, event[name]
    if spent["play"] or spent["stall"]:
        yield from (("play_ms", spent["play"]), ("stall_ms", spent["stall"]), ("stall_count", float(stalls)))


def _iot(iot: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    resources = _group(iot, "lwm2m")
    found = {
        "iot.battery_pct": resources.get("/3/0/9"),
        "iot.error_code": _first_number(resources.get("/3/0/11")),
        "iot.signal_dbm": resources.get("/4/0/2"),
        "iot.sinr_db": resources.get("/4/0/11"),
        "iot.response_code": iot.get("response_code"),
    }
    coverage = _number(resources.get("/4/0/13"))
    if coverage is not None:  # OMA object 4 resource 13 is off by one: 0 none, 1 = level 0
        found["radio.ce_level"] = max(0.0, coverage - 1)
    seen, period = parse_time(iot.get("last_seen_at")), _number(iot.get("expected_every_s"))
    if seen is not None and period:
        found["iot.overdue_ratio"] = max(0.0, (at - seen).total_seconds()) / period
    return found


def _unsupported(device: Mapping[str, Any], lowest: Mapping[str, str]) -> bool | None:
    mine = _version(device.get("app_version"))
    floor = _version(lowest.get(str(device.get("os") or "").lower(), lowest.get("")))
    return None if mine is None or floor is None else mine < floor


def _version(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, str):
        return None
    parts = value.strip().split("-")[0].split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else None


def _first_number(value: Any) -> float | None:
    if isinstance(value, list):
        value = next((one for one in value if _number(one)), 0)
    return _number(value)


def _group(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(data: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = data.get(name)
    return value if isinstance(value, list | tuple) else ()


def _label(value: Any) -> str:
    return value.strip()[:128] if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e15:
        return None
    return float(value)


def _numbers(values: Iterable[Any]) -> list[float]:
    return [number for value in values if (number := _number(value)) is not None]


def _error(probe: Mapping[str, Any], name: str) -> str:
    value = probe.get(name)
    return value.strip().lower() if isinstance(value, str) else ""


def _any(probes: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(_number(probe.get(name)) is not None for probe in probes)
