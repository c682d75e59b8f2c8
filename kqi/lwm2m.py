"""LwM2M resources as indicators: which object and resource is which catalogue entry.

Pure. Source: OMA LwM2M registry, objects 3 (Device), 4 (Connectivity Monitoring), 7 (Connectivity Statistics).
A path is `/object/instance/resource`, or with a fourth number for one of several values. Resources that are no
indicator (firmware, addresses, the APN) are left to labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_PATH = re.compile(r"/(\d{1,5})/(\d{1,5})/(\d{1,5})(?:/(\d{1,5}))?\Z")


def _as_is(value: float) -> float | None:
    return value


def _ce_level(value: float) -> float | None:
    """Resource 4/13 is off by one: 0 says none, 1 is level 0, 2 is level 1, 3 is level 2."""
    return value - 1 if value in (1, 2, 3) else None


def _error(value: float) -> float | None:
    """Resource 3/11: 0 is no error, every other code is one."""
    return float(value != 0)


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource and the indicator it becomes; `read` gives None where the value says nothing."""

    object_id: int
    resource_id: int
    indicator: str
    read: Callable[[float], float | None] = _as_is


RESOURCES = (
    Resource(3, 7, "supply_voltage_mv"),
    Resource(3, 9, "battery_pct"),
    Resource(3, 11, "device_error", _error),
    Resource(4, 2, "nrsrp_dbm"),
    Resource(4, 3, "nrsrq_db"),
    Resource(4, 6, "link_use_pct"),
    Resource(4, 11, "sinr_db"),
    Resource(4, 13, "ce_level", _ce_level),
    Resource(7, 2, "tx_kb"),
    Resource(7, 3, "rx_kb"),
)
"""Every resource that is an indicator."""

_BY_PATH = {(one.object_id, one.resource_id): one for one in RESOURCES}
_WORST = {"device_error": max, "battery_pct": min, "supply_voltage_mv": max}


def is_path(text: str) -> bool:
    """Whether the text is a path to a resource."""
    return _PATH.match(text) is not None


def indicators(resources: Mapping[str, float]) -> dict[str, float]:
    """Indicators out of numeric resources by path.

    Where a resource has several values or instances, the worst counts: any error is one, the emptiest battery,
    of link figures the first by path.
    """
    found: dict[str, float] = {}
    for path in sorted(resources):
        match = _PATH.match(path)
        resource = _BY_PATH.get((int(match[1]), int(match[3]))) if match else None
        value = resource.read(resources[path]) if resource else None
        if resource is None or value is None:
            continue
        name = resource.indicator
        if name not in found:
            found[name] = value
        elif name in _WORST:
            found[name] = _WORST[name](found[name], value)
    return found
