"""The report on the wire, version 1.0: one JSON object, every group optional, unknown members kept.

These structs are what the parser accepts and what the published JSON Schema is made from, so the two cannot
differ. A member that is `null` is a member that is absent. Units stand in names (`_ms`, `_dbm`, `_kbps`, `_pct`
0–100, `_ratio` 0–1). The self-check's snapshot is the same object.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from sdk_ingest.vocabulary import (
    Count,
    Host,
    HttpStatus,
    Id,
    Kbps,
    Label,
    Megabytes,
    Millis,
    NetworkType,
    Percent,
    PlayerEventKind,
    ProbeRole,
    Ratio,
    Resolver,
    Rsrp,
    Rsrq,
    Rssi,
    SignedMillis,
    SimState,
    Sinr,
    Thermal,
    Word,
)

SCHEMA_VERSION: Final = "1.0"
"""Version of the report. A further member is not a new version; another meaning or a narrower bound is."""

SLUG: Final = r"^[a-z][a-z0-9_]*$(?!\n)"
"""Lower-case words. The look-ahead closes what `$` leaves open in Python and is nothing in ECMA-262."""

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its offset from UTC.")]


class Place(Struct, frozen=True, kw_only=True, gc=False):
    """Where the line was, as the terminal or its network knows it."""

    province: Label | None = None
    city: Label | None = None
    area: Label | None = None
    cell: Label | None = None
    rat: Annotated[str, Meta(max_length=16, description="LTE, NR, NB-IoT, WIFI, …")] | None = None
    slice: Label | None = None
    gateway: Label | None = None


class Device(Struct, frozen=True, kw_only=True, gc=False):
    """What the terminal is."""

    model: Label | None = None
    os: Label | None = None
    os_version: Label | None = None
    app_version: Label | None = None
    device_type: (
        Annotated[str, Meta(max_length=64, description="phone, tv, smoke_sensor, meter, …")] | None
    ) = None


class DeviceSettings(Struct, frozen=True, kw_only=True, gc=False):
    """What the customer has set."""

    airplane_mode: bool | None = None
    mobile_data: bool | None = None
    apn: Annotated[str, Meta(max_length=100)] | None = None  # TS 23.003 §9.1: at most 100 octets
    vpn: bool | None = None
    proxy: bool | None = None
    private_dns: (
        Annotated[str, Meta(max_length=253, description="`off`, `auto`, or the host the customer has set.")]
        | None
    ) = None
    data_saver: bool | None = None
    power_save: bool | None = None
    background_restricted: bool | None = None
    nr_enabled: bool | None = None
    volte_enabled: bool | None = None
    preferred_rat: Annotated[str, Meta(max_length=32)] | None = None


class NasCause(Struct, frozen=True, kw_only=True, gc=False):
    """Last reject causes: TS 24.301 annex A and B (emm, esm), TS 24.501 annex A and B (5gmm, 5gsm). [1]"""

    emm: Annotated[float, Meta(ge=0, le=255, multiple_of=1)] | None = None
    esm: Annotated[float, Meta(ge=0, le=255, multiple_of=1)] | None = None
    fivegmm: Annotated[float, Meta(ge=0, le=255, multiple_of=1)] | None = msgspec.field(
        default=None, name="5gmm"
    )
    fivegsm: Annotated[float, Meta(ge=0, le=255, multiple_of=1)] | None = msgspec.field(
        default=None, name="5gsm"
    )


class Status(Struct, frozen=True, kw_only=True, gc=False):
    """How the terminal is doing."""

    sim_state: SimState | None = None
    registered: bool | None = None
    roaming: bool | None = None
    battery_pct: Percent | None = None
    thermal: Thermal | None = None
    memory_free_mb: Megabytes | None = None
    storage_free_mb: Megabytes | None = None
    clock_offset_ms: SignedMillis | None = None
    captive_portal: bool | None = None
    network_type: NetworkType | None = None
    wifi_rssi_dbm: Rssi | None = None
    nas_cause: NasCause | None = None


class Radio(Struct, frozen=True, kw_only=True, gc=False):
    """What the modem measures."""

    rsrp_dbm: Rsrp | None = None
    rsrq_db: Rsrq | None = None
    sinr_db: Sinr | None = None
    neighbour_rsrp_dbm: Annotated[list[Rsrp], Meta(max_length=32)] | None = None
    ce_level: Annotated[float, Meta(ge=0, le=3, multiple_of=1)] | None = None
    prb_load_pct: Percent | None = None


class Probe(Struct, frozen=True, kw_only=True, gc=False):
    """One measured way to one host, step by step."""

    host: Host | None = None
    role: ProbeRole | None = None
    dns_ms: Millis | None = None
    dns_error: Word | None = None
    resolver: Resolver | None = None
    tcp_ms: Millis | None = None
    tcp_error: Word | None = None
    tls_ms: Millis | None = None
    tls_error: Word | None = None
    first_byte_ms: Millis | None = None
    http_status: HttpStatus | None = None
    throughput_kbps: Kbps | None = None
    loss_ratio: Ratio | None = None


class PlayerEventItem(Struct, frozen=True, kw_only=True, gc=False):
    """One event of a player, with the values it carries."""

    kind: PlayerEventKind
    at: Instant
    sequence: Annotated[float, Meta(ge=0, le=4_294_967_295, multiple_of=1)] | None = None
    position_ms: Annotated[float, Meta(ge=0, le=31_536_000_000)] | None = None
    bitrate_kbps: Kbps | None = None
    buffer_ms: Millis | None = None
    throughput_kbps: Kbps | None = None
    start_delay_ms: Millis | None = None
    stall_ms: Millis | None = None
    dropped_frames: Count | None = None
    http_status: HttpStatus | None = None
    error_code: Label | None = None


class Figures(Struct, frozen=True, kw_only=True, gc=False):
    """Sums over one use of a service, as the app counted them."""

    start_delay_ms: Millis | None = None
    stall_ms: Millis | None = None
    play_ms: Millis | None = None
    stall_count: Count | None = None
    bitrate_kbps: Kbps | None = None
    error_code: Label | None = None
    http_status: HttpStatus | None = None


class Player(Struct, frozen=True, kw_only=True, gc=False):
    """What a video player saw."""

    source: Label | None = None
    node: Host | None = None
    content_id: Label | None = None
    events: Annotated[list[PlayerEventItem], Meta(max_length=500)] | None = None
    figures: Figures | None = None


class AppEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One event of an app that is not a player; its further members are kept as sent."""

    kind: Word
    at: Instant


class App(Struct, frozen=True, kw_only=True, gc=False):
    """What another app saw."""

    events: Annotated[list[AppEvent], Meta(max_length=500)] | None = None
    figures: Figures | None = None


ResourcePath = Annotated[str, Meta(max_length=64)]
ResourceValue = float | bool | Annotated[str, Meta(max_length=1_024)] | None


class Iot(Struct, frozen=True, kw_only=True, gc=False):
    """What an IoT device's management platform knows; keys as `/4/0/2` (object, instance, resource)."""

    lwm2m: Annotated[dict[ResourcePath, ResourceValue], Meta(max_length=256)] | None = None
    last_seen_at: Instant | None = None


class Report(Struct, frozen=True, kw_only=True, gc=False):
    """What a terminal reports of one moment, or of one use of a service."""

    id: Annotated[str, Meta(min_length=1, max_length=128, description="Makes the report idempotent; a UUID.")]
    observed_at: Annotated[datetime, Meta(tz=True, description="When it was so; decides the window.")]
    subscriber: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                description="The line's number; feeds and systems only. Never stored.",
            ),
        ]
        | None
    ) = None
    install_id: Id | None = None
    service: Annotated[str, Meta(max_length=32, pattern=SLUG)] | None = None
    symptom: Annotated[str, Meta(max_length=32, pattern=SLUG)] | None = None
    session_id: Id | None = None
    place: Place | None = None
    device: Device | None = None
    settings: DeviceSettings | None = None
    status: Status | None = None
    radio: Radio | None = None
    probes: Annotated[list[Probe], Meta(max_length=32)] | None = None
    player: Player | None = None
    app: App | None = None
    iot: Iot | None = None


def report_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a report, made from the structs above."""
    schema: dict[str, Any] = msgspec.json.schema(Report)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"/v1/schemas/report/{SCHEMA_VERSION}",
        "title": "Report",
        "version": SCHEMA_VERSION,
        "$ref": schema["$ref"],
        "$defs": schema["$defs"],
    }


SCHEMAS: Final = {SCHEMA_VERSION: report_schema}
"""Every published version; an older one stays as long as a client may send it."""
