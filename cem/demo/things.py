"""What the IoT devices of the demo province do: wake, speak, and at times fail to.

Pure. Each device speaks once a period of its own, at a phase of its own; what it says are LwM2M resources
(OMA objects 3, 4 and 7), what its platform logged of it comes beside. A sleeping device says nothing: that is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from cem.demo.faults import Fault, FaultKind, effects_on
from cem.demo.physics import radio_link
from cem.demo.world import PROVINCE, IotDevice, Rat, World

CE_LEVEL_RSRP_DBM = (-115.0, -125.0)
"""Broadcast thresholds of the province's NB-IoT cells between coverage levels 0, 1 and 2. [dBm]"""
PERIPHERAL_ERROR = 8
"""Error code of resource 3/0/11 for a peripheral that fails."""
LWM2M_BEARER = {Rat.NB_IOT: 7, Rat.LTE: 6}
"""Network bearer of resource 4/0/0 (OMA-TS-LightweightM2M, object 4)."""


@dataclass(frozen=True, slots=True)
class Contact:
    """One contact of a device with its platform, as both ends saw it. Times in ms, shares in 0–1."""

    device: IotDevice
    at: datetime
    rsrp_dbm: float
    rsrq_db: float
    sinr_db: float
    ce_level: int
    attempts: int
    attached: bool
    attach_ms: float
    platform_code: int
    platform_ms: float
    battery_pct: float
    rebooted: bool
    last_seen_at: datetime


def due(world: World, start: datetime, end: datetime) -> Iterator[tuple[IotDevice, datetime]]:
    """Give the devices whose turn to speak falls into `[start, end)`, with the moment."""
    opened, closed = start.timestamp(), end.timestamp()
    for device in world.iot_devices:
        phase = (device.index * 7919) % (device.period_s * 10) / 10
        turn = opened - (opened - phase) % device.period_s
        if turn < opened:
            turn += device.period_s
        if turn < closed:
            yield device, datetime.fromtimestamp(turn, tz=UTC)


def contact(world: World, faults: Sequence[Fault], rng: Random, device: IotDevice, at: datetime) -> Contact:
    """Generate one contact of a device under the faults active then."""
    cell = world.cell_by_id[device.cell]
    dims = {
        "city": device.city,
        "area": cell.area,
        "cell": cell.id,
        "gateway": cell.gateway,
        "device_type": device.device_type,
        "app_version": device.firmware,
    }
    effects = effects_on(faults, dims)
    link = radio_link(rng, cell, device.distance, device.indoor_loss_db, effects.radio)
    level = (
        sum(link.rsrp_dbm < threshold for threshold in CE_LEVEL_RSRP_DBM) if device.rat is Rat.NB_IOT else 0
    )
    lost = min(0.9, 0.01 + link.loss + effects.gateway_loss + 0.08 * level)
    attempts = 1
    while attempts < 5 and rng.random() < lost:
        attempts += 1
    attached = attempts < 5
    code, platform_ms = _platform(rng, faults, dims, attached=attached)
    return Contact(
        device=device,
        at=at,
        rsrp_dbm=round(link.rsrp_dbm, 1),
        rsrq_db=round(link.rsrq_db, 1),
        sinr_db=round(link.sinr_db, 1),
        ce_level=level,
        attempts=attempts,
        attached=attached,
        attach_ms=round(link.delay_ms * (1 + 1.5 * level) * attempts, 1),
        platform_code=code,
        platform_ms=round(platform_ms, 1),
        battery_pct=round(device.battery_pct, 1),
        rebooted=_restarts(rng, faults, dims),
        last_seen_at=at if attached else at - timedelta(seconds=device.period_s),
    )


def _platform(
    rng: Random, faults: Sequence[Fault], dims: dict[str, str], *, attached: bool
) -> tuple[int, float]:
    """CoAP answer code of the platform as an HTTP-like number (204 changed, 503 unavailable), and its time."""
    if not attached:
        return 0, 0.0
    for fault in faults:
        if fault.kind is FaultKind.IOT_PLATFORM and fault.covers(dims):
            slow = rng.uniform(2000.0, 9000.0)
            return (503 if rng.random() < 0.25 + 0.5 * fault.severity else 204), slow
    return 204, rng.uniform(40.0, 260.0)


def _restarts(rng: Random, faults: Sequence[Fault], dims: dict[str, str]) -> bool:
    for fault in faults:
        if fault.kind is FaultKind.IOT_FIRMWARE and fault.covers(dims):
            return rng.random() < 0.3 + 0.5 * fault.severity
    return rng.random() < 0.002


def sample(contact: Contact, sample_id: str, observed_at: str) -> dict[str, Any]:
    """Write a contact in the form of the IoT feed."""
    device = contact.device
    attached = contact.attached
    narrow = device.rat is Rat.NB_IOT
    values: dict[str, float] = {
        "nrsrp_dbm" if narrow else "rsrp_dbm": contact.rsrp_dbm,
        "nrsrq_db" if narrow else "rsrq_db": contact.rsrq_db,
        "sinr_db": contact.sinr_db,
        "attach_success_ratio": round(1.0 / contact.attempts, 3) if attached else 0.0,
        "battery_pct": contact.battery_pct,
        "device_error": 1.0 if contact.rebooted else 0.0,
        "offline": 0.0 if attached else 1.0,
    }
    if narrow:
        values["ce_level"] = contact.ce_level
    if attached:
        values |= {
            "register_success_ratio": 1.0 if contact.platform_code < 400 else 0.0,
            "uplink_delay_ms": contact.attach_ms + contact.platform_ms,
        }
    return {
        "id": sample_id,
        "observed_at": observed_at,
        "subscriber": device.number,
        "service": "iot",
        "vantage": "cloud",
        "dimensions": {
            "province": PROVINCE,
            "city": device.city,
            "cell": device.cell,
            "rat": device.rat.value,
            "device_type": device.device_type,
            "app_version": device.firmware,
        },
        "values": values,
        "lwm2m": resources(contact),
        "labels": {"last_seen_at": contact.last_seen_at.isoformat()},
    }


def resources(contact: Contact) -> dict[str, float]:
    """Write a contact's LwM2M resources. Resource 4/0/13 counts coverage levels from 1 (0 means none)."""
    found: dict[str, float] = {
        "/3/0/9": round(contact.battery_pct),
        "/3/0/11": PERIPHERAL_ERROR if contact.rebooted else 0,
        "/4/0/0": LWM2M_BEARER[contact.device.rat],
        "/4/0/2": contact.rsrp_dbm,
        "/4/0/3": contact.rsrq_db,
        "/4/0/11": contact.sinr_db,
    }
    if contact.device.rat is Rat.NB_IOT:
        found["/4/0/13"] = contact.ce_level + 1
    return found
