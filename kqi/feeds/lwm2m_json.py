"""LwM2M resources as JSON, in the forms that clients and servers write, to resources by path.

- by path: `{"/4/0/2": -101}`;
- by object, instance and resource: `{"4": {"0": {"2": -101}}}`;
- SenML JSON (RFC 8428; OMA LwM2M Core 1.2 clause 7.4.4): `[{"bn": "/4/0/", "n": "2", "v": -101}]`;
- the JSON of LwM2M 1.0 (clause 6.4.4): `{"bn": "/4/0/", "e": [{"n": "2", "v": -101}]}`.

Objects 3 (Device), 4 (Connectivity Monitoring), 6 (Location), 7 (Connectivity Statistics) and 10 (Cellular
Connectivity). Which of them are indicators says `kqi.lwm2m`; what object 10 tells of sleep reads `kqi.liveness`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kqi.liveness import NEVER, octet_of_base64, timers_of_lwm2m

MAX_RESOURCES = 128
"""Resources of one item, as a sample takes them (`kqi.samples.MAX_VALUES`). [1] The five objects have some 60."""
OBJECTS = frozenset({3, 4, 6, 7, 10})


def flat_resources(found: Mapping[str, Any] | Sequence[Any]) -> Mapping[str, Any] | None:
    """Resources by path; the argument itself where it is so already; None where it is no form of them.

    Of SenML the values `v`, `vs`, `vb`, `vd` are taken (`sv`, `bv` of LwM2M 1.0 too); times and sums are left out.
    """
    if isinstance(found, Mapping):
        if "e" in found:
            entries = found["e"]
            base = found.get("bn", "")
            if not isinstance(entries, list) or not isinstance(base, str):
                return None
            return _senml([{"bn": base}, *entries])
        if all(name.startswith("/") for name in found):
            return found
        return _nested(found)
    return _senml(found)


def _senml(records: Sequence[Any]) -> dict[str, Any] | None:
    base = ""
    flat: dict[str, Any] = {}
    for record in records[: 2 * MAX_RESOURCES]:
        if not isinstance(record, Mapping):
            return None
        base = record.get("bn", base)
        name = record.get("n", "")
        if not isinstance(base, str) or not isinstance(name, str):
            return None
        value = next((record[key] for key in ("v", "vs", "vb", "vd", "sv", "bv") if key in record), None)
        if value is record.get("vd") and isinstance(value, str):
            value = octet_of_base64(
                value
            )  # RFC 8428 clause 5: always base64url; one octet is all that is read here
        if value is not None:
            path = base + name
            _put(flat, path if path.startswith("/") else f"/{path}", value)
    return flat


def _nested(objects: Mapping[str, Any]) -> dict[str, Any] | None:
    flat: dict[str, Any] = {}
    for object_id, instances in objects.items():
        if not object_id.isdecimal() or not isinstance(instances, Mapping):
            return None
        for instance_id, resources in instances.items():
            if not isinstance(resources, Mapping):
                return None
            for resource_id, value in resources.items():
                path = f"/{object_id}/{instance_id}/{resource_id}"
                if isinstance(value, Mapping):
                    for number, one in value.items():
                        _put(flat, f"{path}/{number}", one)
                else:
                    _put(flat, path, value)
    return flat


def _put(flat: dict[str, Any], path: str, value: Any) -> None:
    """Keep a resource of the objects that are read; others are not ours to judge."""
    number = path[1:].partition("/")[0]
    if len(flat) < MAX_RESOURCES and number.isdecimal() and len(number) < 6 and int(number) in OBJECTS:
        flat[path] = value


_BEARERS = {0: "GSM", 1: "TD-SCDMA", 2: "UMTS", 5: "LTE", 6: "LTE", 7: "NB-IoT", 21: "WIFI"}
"""Resource 4/0, network bearer: object 4 version 1.3."""
_PLACE_DIGITS = 3
"""Decimals kept of a place. [1] Some 100 m: enough for a map of coverage, too little for a home."""


@dataclass(frozen=True, slots=True)
class Told:
    """What resources tell beside `kqi.lwm2m`'s indicators: values, dimensions and labels."""

    values: Mapping[str, float]
    dimensions: Mapping[str, str]
    labels: Mapping[str, str]


def told(resources: Mapping[str, Any]) -> Told:
    """Objects 3, 4, 6 and 10 beyond their indicators.

    Timers of object 10 become `t3412_ext_s`, `t3324_s` [s], `edrx_cycle_s` [s] and `power_saving` (bits: 1 PSM,
    2 eDRX); the cell, the bearer and the model are dimensions; firmware, access point and a coarse place are labels.
    Of several instances the first counts. Texts that are none and numbers out of range are left out.
    """
    values: dict[str, float] = {}
    dimensions: dict[str, str] = {}
    labels: dict[str, str] = {}
    first: dict[tuple[int, int], Any] = {}
    for path in sorted(resources):
        parts = path.split("/")
        if len(parts) in {4, 5} and all(part.isdecimal() and len(part) < 6 for part in parts[1:]):
            first.setdefault((int(parts[1]), int(parts[3])), resources[path])
    timers = timers_of_lwm2m(first)
    for name, seconds in (
        ("t3412_ext_s", timers.t3412_s),
        ("t3324_s", timers.t3324_s),
        ("edrx_cycle_s", timers.edrx_cycle_s),
    ):
        if seconds is not None and seconds != NEVER:
            values[name] = seconds
    saving = first.get((10, 13))
    if isinstance(saving, int) and not isinstance(saving, bool) and 0 <= saving <= 255:
        values["power_saving"] = float(saving)
    cell, bearer = first.get((4, 8)), first.get((4, 0))
    if isinstance(cell, int) and not isinstance(cell, bool) and cell >= 0:
        dimensions["cell"] = str(cell)[:40]
    if isinstance(bearer, int) and bearer in _BEARERS and not isinstance(bearer, bool):
        dimensions["rat"] = _BEARERS[bearer]
    for (object_id, resource_id), target, name in (
        ((3, 1), dimensions, "model"),
        ((3, 3), labels, "firmware"),
        ((4, 7), labels, "apn"),
    ):
        text = first.get((object_id, resource_id))
        if isinstance(text, str) and text:
            target[name] = text[:128]
    latitude, longitude = first.get((6, 0)), first.get((6, 1))
    if _within(latitude, 90) and _within(longitude, 180):
        labels["latitude"] = f"{latitude:.{_PLACE_DIGITS}f}"
        labels["longitude"] = f"{longitude:.{_PLACE_DIGITS}f}"
    return Told(values, dimensions, labels)


def _within(number: Any, bound: float) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and -bound <= number <= bound
