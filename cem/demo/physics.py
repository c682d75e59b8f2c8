"""What a place, a path and a load do to one connection: link budget, sharing, queues, TCP.

Pure arithmetic of textbook size, so that the province's figures hang together: a weak signal is also a slow and
lossy one, a busy node answers late. It knows nothing of thresholds that any rule uses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from cem.demo.world import Cell, Rat

NOISE_PER_RE_DBM = -125.2
"""Thermal noise of one 15 kHz resource element plus 7 dB receiver noise figure. [dBm]"""
UPLINK_NOISE_DBM = -118.4
"""Thermal noise of one 180 kHz resource block plus 3 dB noise figure of the base station. [dBm]"""
PHONE_POWER_DBM = 23.0
"""Greatest transmit power of a phone, power class 3 (3GPP TS 36.101 §6.2.2). [dBm]"""
SEGMENT_BITS = 1460 * 8
"""TCP payload of one Ethernet frame. [bit]"""


@dataclass(frozen=True, slots=True)
class RadioDisturbance:
    """What a fault adds at a cell: loss on every path [dB], foreign power per resource element [dBm], load 0–1."""

    extra_loss_db: float = 0.0
    interference_dbm: float = -200.0
    load: float | None = None


CALM = RadioDisturbance()


@dataclass(frozen=True, slots=True)
class RadioLink:
    """A phone's radio link as the phone itself measures it, and what it can carry."""

    rsrp_dbm: float
    rsrq_db: float
    sinr_db: float
    neighbours_dbm: tuple[float, ...]
    load: float
    rate_kbps: float
    delay_ms: float
    loss: float


def path_loss_db(distance_km: float) -> float:
    """Urban macro path loss at 2 GHz, 128.1 + 37.6·log10(d), 3GPP TR 36.942 §4.5.2. [dB]; distance ≥ 10 m."""
    return 128.1 + 37.6 * math.log10(max(distance_km, 0.01))


def queue_delay_ms(service_ms: float, load: float, ceiling_ms: float) -> float:
    """Mean time in an M/M/1 queue, service/(1−load), cut at the buffer's length. [ms]"""
    return min(ceiling_ms, service_ms / max(1.0 - load, 1e-3))


def tcp_rate_kbps(rtt_ms: float, loss: float) -> float:
    """Steady TCP rate at a round-trip time and loss ratio, MSS·1.22/(RTT·√p) (Mathis et al., 1997). [kbit/s]"""
    if loss <= 0.0:
        return math.inf
    return SEGMENT_BITS * 1.22 / (max(rtt_ms, 1.0) * math.sqrt(loss))


def radio_link(
    rng: Random, cell: Cell, distance: float, indoor_loss_db: float, disturbance: RadioDisturbance = CALM
) -> RadioLink:
    """Measure one link: downlink budget, neighbours, interference, the uplink's margin, and what is left to carry.

    Parameters
    ----------
    distance
        Share of the cell's planned radius, 0–1.
    indoor_loss_db
        Loss of walls. [dB]
    """
    shadow = rng.gauss(0.0, 4.5)
    loss = path_loss_db(distance * cell.radius_km) + indoor_loss_db + shadow + disturbance.extra_loss_db
    rsrp = cell.power_dbm - loss
    load = _load(rng, cell, disturbance)
    neighbours = tuple(sorted((rsrp - rng.uniform(4.0, 20.0) for _ in range(3)), reverse=True))
    unwanted = 10 ** (NOISE_PER_RE_DBM / 10) + 10 ** (disturbance.interference_dbm / 10)
    unwanted += sum(10 ** (level / 10) * rng.uniform(0.15, 0.4) for level in neighbours)
    sinr = rsrp - 10 * math.log10(unwanted)
    rsrq = -10 * math.log10(2 + 10 * load + 12 * 10 ** (-sinr / 10))
    uplink = PHONE_POWER_DBM - loss - UPLINK_NOISE_DBM - (3.0 if disturbance.interference_dbm > -110 else 0.0)
    poor = max(0.0, 4.0 - min(uplink, sinr + 2.0))  # dB below comfortable: repetitions begin
    efficiency = min(5.5, 0.6 * math.log2(1 + 10 ** (sinr / 10)))
    sharers = rng.uniform(1.5, 5.0) if load < 0.9 else rng.uniform(5.0, 14.0)
    rate = efficiency * cell.bandwidth_mhz * 1000 * max(1.0 - load, 0.01) / sharers
    frame_loss = min(0.35, 0.0002 * 10 ** (poor / 3.5))
    base_ms = 18.0 if cell.rat is Rat.LTE else 11.0 if cell.rat is Rat.NR else 900.0
    delay = base_ms + queue_delay_ms(3.0, load, 900.0) + 9.0 * poor
    return RadioLink(
        rsrp_dbm=max(-140.0, min(-44.0, rsrp)),
        rsrq_db=max(-30.0, min(-3.0, rsrq)),
        sinr_db=max(-20.0, min(30.0, sinr)),
        neighbours_dbm=neighbours,
        load=load,
        rate_kbps=min(rate, 150_000.0),
        delay_ms=delay,
        loss=frame_loss,
    )


def _load(rng: Random, cell: Cell, disturbance: RadioDisturbance) -> float:
    usual = disturbance.load if disturbance.load is not None else cell.load
    return min(0.995, max(0.03, usual + rng.gauss(0.0, 0.04 if disturbance.load is None else 0.01)))
