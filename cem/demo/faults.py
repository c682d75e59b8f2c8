"""What goes wrong in the demo province, when, where and how badly.

Pure: the faults of any stretch of time follow from the seed and absolute time alone, so a restart finds the same
province again. Faults run on six tracks. Three of them (one per side) are never empty, each fault ending where the
next begins; three come and go. Hence three to six faults at any moment. A fault says what it does to the physical
world (loss, load, delay, errors); whether anybody can tell what it was is not its business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random

from cem.demo.chance import seeded
from cem.demo.physics import RadioDisturbance
from cem.demo.world import Rat, World


class Side(StrEnum):
    """Whose fault it is."""

    TERMINAL = "terminal"
    NETWORK = "network"
    PLATFORM = "platform"


class FaultKind(StrEnum):
    """What can go wrong for many at once."""

    CELL_WEAK = "cell_weak"
    CELL_INTERFERENCE = "cell_interference"
    CELL_CONGESTED = "cell_congested"
    GATEWAY_LOSS = "gateway_loss"
    OPERATOR_DNS = "operator_dns"
    NODE_OVERLOAD = "node_overload"
    NODE_ERRORS = "node_errors"
    ORIGIN_SLOW = "origin_slow"
    APP_BROKEN = "app_broken"
    TERMINAL_WAVE = "terminal_wave"
    NB_CELL_WEAK = "nb_cell_weak"
    IOT_PLATFORM = "iot_platform"
    IOT_FIRMWARE = "iot_firmware"


class Mistake(StrEnum):
    """What can be wrong with one phone."""

    AIRPLANE_MODE = "airplane_mode"
    MOBILE_DATA_OFF = "mobile_data_off"
    WRONG_APN = "wrong_apn"
    PRIVATE_DNS = "private_dns"
    POWER_SAVE = "power_save"
    OVERHEATED = "overheated"
    MEMORY_LOW = "memory_low"
    VPN = "vpn"
    SIM_FAILED = "sim_failed"
    CLOCK_WRONG = "clock_wrong"
    WEAK_WIFI = "weak_wifi"


SIDE_OF = {
    FaultKind.CELL_WEAK: Side.NETWORK,
    FaultKind.CELL_INTERFERENCE: Side.NETWORK,
    FaultKind.CELL_CONGESTED: Side.NETWORK,
    FaultKind.GATEWAY_LOSS: Side.NETWORK,
    FaultKind.OPERATOR_DNS: Side.NETWORK,
    FaultKind.NODE_OVERLOAD: Side.PLATFORM,
    FaultKind.NODE_ERRORS: Side.PLATFORM,
    FaultKind.ORIGIN_SLOW: Side.PLATFORM,
    FaultKind.APP_BROKEN: Side.PLATFORM,
    FaultKind.TERMINAL_WAVE: Side.TERMINAL,
    FaultKind.NB_CELL_WEAK: Side.NETWORK,
    FaultKind.IOT_PLATFORM: Side.PLATFORM,
    FaultKind.IOT_FIRMWARE: Side.TERMINAL,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: half-open in time, scoped by dimension values that must all hold, severity 0–1."""

    id: str
    kind: FaultKind
    scope: tuple[tuple[str, str], ...]
    starts_at: datetime
    ends_at: datetime
    severity: float
    mistake: Mistake | None = None

    @property
    def side(self) -> Side:
        """Tell whose fault it is."""
        return SIDE_OF[self.kind]

    def active(self, at: datetime) -> bool:
        """Tell whether the fault is there at a moment."""
        return self.starts_at <= at < self.ends_at

    def covers(self, dims: Mapping[str, str]) -> bool:
        """Tell whether something with these dimension values lies in the fault's scope."""
        return all(dims.get(name) == value for name, value in self.scope)


@dataclass(frozen=True, slots=True)
class Effects:
    """What all faults together do to one viewing. Shares lie in 0–1, delays in ms, rates in kbit/s."""

    radio: RadioDisturbance = field(default_factory=RadioDisturbance)
    gateway_loss: float = 0.0
    gateway_delay_ms: float = 0.0
    dns_fail_share: float = 0.0
    dns_delay_ms: float = 0.0
    node_load: float | None = None
    node_error_share: float = 0.0
    origin_delay_ms: float = 0.0
    origin_error_share: float = 0.0
    app_fail_share: float = 0.0
    app_start_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class _Track:
    name: str
    period: timedelta
    kinds: tuple[FaultKind, ...]
    lasting: tuple[float, float] | None  # share of the period it lasts; None: until the next begins


_TRACKS = (
    _Track(
        "network",
        timedelta(minutes=24),
        (
            FaultKind.CELL_WEAK,
            FaultKind.CELL_CONGESTED,
            FaultKind.GATEWAY_LOSS,
            FaultKind.CELL_INTERFERENCE,
            FaultKind.OPERATOR_DNS,
        ),
        None,
    ),
    _Track(
        "platform",
        timedelta(minutes=28),
        (FaultKind.NODE_OVERLOAD, FaultKind.APP_BROKEN, FaultKind.NODE_ERRORS, FaultKind.ORIGIN_SLOW),
        None,
    ),
    _Track("terminal", timedelta(minutes=21), (FaultKind.TERMINAL_WAVE,), None),
    _Track(
        "second-network",
        timedelta(minutes=33),
        (FaultKind.CELL_INTERFERENCE, FaultKind.CELL_WEAK, FaultKind.CELL_CONGESTED),
        (0.4, 0.75),
    ),
    _Track(
        "second-platform",
        timedelta(minutes=37),
        (FaultKind.NODE_ERRORS, FaultKind.NODE_OVERLOAD),
        (0.35, 0.65),
    ),
    _Track(
        "things",
        timedelta(minutes=31),
        (FaultKind.NB_CELL_WEAK, FaultKind.IOT_PLATFORM, FaultKind.IOT_FIRMWARE),
        (0.45, 0.8),
    ),
)

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_JITTER = 0.18


def schedule(world: World, since: datetime, until: datetime) -> tuple[Fault, ...]:
    """Give every fault that is there at some moment of `[since, until)`, by start."""
    found: list[Fault] = []
    for track in _TRACKS:
        first = int((since - _EPOCH) / track.period) - 2
        last = int((until - _EPOCH) / track.period) + 2
        for number in range(first, last + 1):
            fault = _fault(world, track, number)
            if fault.starts_at < until and since < fault.ends_at:
                found.append(fault)
    return tuple(sorted(found, key=lambda fault: (fault.starts_at, fault.id)))


def active(faults: Iterable[Fault], at: datetime) -> tuple[Fault, ...]:
    """Give the faults of a schedule that are there at a moment."""
    return tuple(fault for fault in faults if fault.active(at))


def effects_on(faults: Sequence[Fault], dims: Mapping[str, str]) -> Effects:
    """Add up what active faults do to a viewing with these dimension values; the worst of each effect counts."""
    radio_loss, interference, load = 0.0, -200.0, None
    values: dict[str, float] = {}
    node_load: float | None = None

    def worst(name: str, value: float) -> None:
        values[name] = max(values.get(name, 0.0), value)

    for fault in faults:
        if not fault.covers(dims):
            continue
        severity = fault.severity
        match fault.kind:
            case FaultKind.CELL_WEAK | FaultKind.NB_CELL_WEAK:
                radio_loss = max(radio_loss, 26.0 + 14.0 * severity)
            case FaultKind.CELL_INTERFERENCE:
                interference = max(interference, -100.0 + 12.0 * severity)
            case FaultKind.CELL_CONGESTED:
                load = max(load or 0.0, 0.95 + 0.035 * severity)
            case FaultKind.GATEWAY_LOSS:
                worst("gateway_loss", 0.015 + 0.06 * severity)
                worst("gateway_delay_ms", 40.0 + 160.0 * severity)
            case FaultKind.OPERATOR_DNS:
                worst("dns_fail_share", 0.2 + 0.35 * severity)
                worst("dns_delay_ms", 900.0 + 2600.0 * severity)
            case FaultKind.NODE_OVERLOAD:
                node_load = max(node_load or 0.0, 0.95 + 0.035 * severity)
            case FaultKind.NODE_ERRORS:
                worst("node_error_share", 0.25 + 0.45 * severity)
            case FaultKind.ORIGIN_SLOW:
                worst("origin_delay_ms", 2500.0 + 6500.0 * severity)
                worst("origin_error_share", 0.02 + 0.08 * severity)
            case FaultKind.APP_BROKEN:
                worst("app_fail_share", 0.2 + 0.35 * severity)
                worst("app_start_ms", 1500.0 + 3500.0 * severity)
            case FaultKind.TERMINAL_WAVE | FaultKind.IOT_PLATFORM | FaultKind.IOT_FIRMWARE:
                continue
    return Effects(radio=RadioDisturbance(radio_loss, interference, load), node_load=node_load, **values)


def mistake_of(
    world: World, faults: Sequence[Fault], subscriber: int, dims: Mapping[str, str], at: datetime
) -> Mistake | None:
    """Tell what is wrong with one phone at a moment, if anything.

    A wave hits a share of the phones in its scope; apart from waves one phone in a hundred has something set wrongly
    for a couple of hours, as phones do.
    """
    for fault in faults:
        if fault.kind is FaultKind.TERMINAL_WAVE and fault.covers(dims):
            share = 0.06 + 0.14 * fault.severity
            if seeded(world.seed, fault.id, subscriber).random() < share:
                return fault.mistake
    era = int((at - _EPOCH) / timedelta(hours=2))
    rng = seeded(world.seed, "habit", subscriber, era)
    return rng.choice(tuple(Mistake)) if rng.random() < 0.01 else None


def _fault(world: World, track: _Track, number: int) -> Fault:
    rng = seeded(world.seed, track.name, number)
    starts_at = _boundary(world, track, number)
    next_at = _boundary(world, track, number + 1)
    share = 1.0 if track.lasting is None else rng.uniform(*track.lasting)
    kind = track.kinds[number % len(track.kinds)]
    return Fault(
        id=f"{track.name}-{number}",
        kind=kind,
        scope=_scope(world, rng, kind),
        starts_at=starts_at,
        ends_at=next_at if track.lasting is None else starts_at + (next_at - starts_at) * share,
        severity=round(rng.uniform(0.35, 1.0), 2),
        mistake=rng.choice(tuple(Mistake)) if kind is FaultKind.TERMINAL_WAVE else None,
    )


def _boundary(world: World, track: _Track, number: int) -> datetime:
    jitter = seeded(world.seed, track.name, "boundary", number).uniform(-_JITTER, _JITTER)
    return _EPOCH + track.period * (number + jitter)


def _scope(world: World, rng: Random, kind: FaultKind) -> tuple[tuple[str, str], ...]:
    match kind:
        case FaultKind.CELL_WEAK | FaultKind.CELL_INTERFERENCE | FaultKind.CELL_CONGESTED:
            return (("cell", rng.choice(world.busy_cells)),)
        case FaultKind.NB_CELL_WEAK:
            return (("cell", rng.choice([cell for cell in world.cells if cell.rat is Rat.NB_IOT]).id),)
        case FaultKind.GATEWAY_LOSS | FaultKind.OPERATOR_DNS:  # each gateway hands out resolvers of its own
            return (("gateway", rng.choice(world.cities).gateway),)
        case FaultKind.NODE_OVERLOAD | FaultKind.NODE_ERRORS:
            return (("node", rng.choice(world.nodes).id),)
        case FaultKind.ORIGIN_SLOW:
            return (("source", rng.choice(world.sources).id),)
        case FaultKind.APP_BROKEN:
            return (
                (
                    "app_version",
                    world.app_versions[-1] if rng.random() < 0.7 else rng.choice(world.app_versions),
                ),
            )
        case FaultKind.TERMINAL_WAVE:
            return (("model", rng.choice(world.models).id),)
        case FaultKind.IOT_PLATFORM:
            return (("device_type", rng.choice(("smoke_sensor", "meter"))),)
        case FaultKind.IOT_FIRMWARE:
            return (("device_type", "shared_bike"), ("app_version", "2.2.0"))
