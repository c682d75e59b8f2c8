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
from typing import Any

MAX_RESOURCES = 512
"""Resources of one item. [1] Chosen here: the five objects have some 60."""
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
        if all(isinstance(name, str) and name.startswith("/") for name in found):
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
