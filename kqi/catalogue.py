"""The indicator catalogue: what is measured, in which unit, which way is better, and where that comes from.

Indicators are data (`kqi/data/*.toml`, listed in docs/indicators.md). A feed may send others: they are kept and
aggregated, only without a direction. Thresholds marked "chosen here" are starting values for an operator to tune;
the rest names its source.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from types import MappingProxyType
from typing import Any

CATALOGUE_VERSION = "2026.2"
"""Changes with any entry, so that a cube's reader can tell which thresholds it was judged by."""


class Direction(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEUTRAL = "neutral"


class Aggregation(StrEnum):
    """How values of many samples become one."""

    MEAN = "mean"
    """Arithmetic mean, with quantiles."""
    SUM = "sum"
    """Total."""
    SHARE = "share"
    """Values are 0 or 1 (or already shares); the mean is the share."""
    RATIO = "ratio"
    """Σ numerators ÷ Σ denominators over all samples: never a mean of ratios."""


class Service(StrEnum):
    """Services with catalogue entries; further ones are data, not code."""

    VIDEO = "video"
    WEB = "web"
    IOT = "iot"


class Vantage(StrEnum):
    """Where a sample was taken."""

    DEVICE = "device"
    PIPE = "pipe"
    CLOUD = "cloud"


class Layer(StrEnum):
    """Which part of a thing's path an indicator tells of."""

    CORE = "core"
    RADIO = "radio"
    PLATFORM = "platform"
    DEVICE = "device"


UNITS = frozenset({"1", "%", "ms", "s", "1/min", "kbit/s", "kB", "dBm", "dB", "mV"})
"""Units of indicators; '1' for ratios, counts and scores."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """One entry.

    `good` and `poor` bound the two ends: beyond `poor` (strictly, in the bad direction) a value counts as bad;
    both in `unit`. `numerators`, `denominators` and `scale` are those of a `RATIO`. `formula` is for the reader:
    names in backticks are indicators, counters, events and figures (`NAMES`) or LwM2M resources. `layer` is None
    for what is not counted among a thing's layers.
    """

    id: str
    name_zh: str
    name_en: str
    unit: str
    direction: Direction
    aggregation: Aggregation
    vantages: tuple[Vantage, ...]
    services: tuple[Service, ...]
    definition: str
    source: str
    good: float | None = None
    poor: float | None = None
    numerators: tuple[str, ...] = ()
    denominators: tuple[str, ...] = ()
    scale: float = 1.0
    formula: str = ""
    layer: Layer | None = None

    def is_poor(self, value: float) -> bool:
        """Whether a value lies beyond `poor`; False for NaN and where there is no threshold."""
        if self.poor is None:
            return False
        if self.direction is Direction.HIGHER:
            return value < self.poor
        return self.direction is Direction.LOWER and value > self.poor


BAD = "bad"
"""Pseudo-indicator: 1 where a sample is a bad experience by `BAD_IF`, 0 where it is not, absent where unknown."""

PARTS = ("video", "network", "platform", "iot_core", "iot_radio", "iot_platform", "iot_device")
"""Files of the catalogue, in its order."""


def _document(name: str) -> dict[str, Any]:
    return tomllib.loads(files("kqi.data").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _entries() -> Iterator[Indicator]:
    for part in PARTS:
        for entry in _document(part)["indicator"]:
            yield Indicator(
                **{
                    **entry,
                    "direction": Direction(entry["direction"]),
                    "aggregation": Aggregation(entry["aggregation"]),
                    "vantages": tuple(Vantage(name) for name in entry["vantages"]),
                    "services": tuple(Service(name) for name in entry["services"]),
                    "numerators": tuple(entry.get("numerators", ())),
                    "denominators": tuple(entry.get("denominators", ())),
                    "layer": Layer(entry["layer"]) if "layer" in entry else None,
                }
            )


CATALOGUE: Mapping[str, Indicator] = MappingProxyType({entry.id: entry for entry in _entries()})
"""Every indicator by id."""

NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(_document("names"))
"""Counters, figures and events that formulas read, by kind and name, with what each stands for."""


@dataclass(frozen=True, slots=True)
class BadIf:
    """Which indicators decide whether a sample of a service, seen from a vantage point, is a bad experience.

    A sample is bad when any of them is beyond its `poor`, not bad when none is and at least one is present, and
    unknown when none is present. Radio values are causes, not experience, and decide nothing.
    """

    service: Service | None
    vantage: Vantage
    indicators: tuple[str, ...]


BAD_IF = (
    BadIf(Service.VIDEO, Vantage.DEVICE, ("failed", "start_delay_ms", "stall_ratio")),
    BadIf(Service.WEB, Vantage.DEVICE, ("failed", "first_byte_ms")),
    BadIf(Service.IOT, Vantage.DEVICE, ("device_error", "offline")),
    BadIf(None, Vantage.PIPE, ("tcp_setup_user_ms", "tcp_setup_server_ms", "loss_ratio", "dns_success_ratio",
                               "attach_success_ratio", "uplink_delay_ms", "offline")),
    BadIf(None, Vantage.CLOUD, ("first_byte_ms", "http_4xx_ratio", "http_5xx_ratio", "register_success_ratio",
                                "command_success_ratio", "offline")),
)  # fmt: skip
"""First match decides; service None is any service. Chosen here, because these are what a customer feels, or the
nearest to it that the vantage point can see."""


def deciding(service: str, vantage: str) -> tuple[Indicator, ...]:
    """The indicators that decide for a service and a vantage point; empty where nothing is defined."""
    for rule in BAD_IF:
        if rule.vantage == vantage and rule.service in (None, service):
            return tuple(CATALOGUE[name] for name in rule.indicators)
    return ()


def is_bad(service: str, vantage: str, values: Mapping[str, float]) -> bool | None:
    """Whether a sample is a bad experience; None where its values do not tell."""
    present = [i for i in deciding(service, vantage) if values.get(i.id, float("nan")) == values.get(i.id)]
    if not present:
        return None
    return any(indicator.is_poor(values[indicator.id]) for indicator in present)
