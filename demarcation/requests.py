"""What a caller asks of a self-check, read from a body: the wrapped form or a bare report form. Pure.

Only what says whose line it is and how long to take can be refused. A snapshot comes from a phone in trouble, so its
groups are read leniently (see `snapshot`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cem.platform.errors import InvalidInput, MalformedBody
from sdk_ingest.vocabulary import PERSONAL_FIELDS

DEEPEST = 16
"""Deepest nesting of a body taken. [1] As for reports."""

_WRAPPED = frozenset({"snapshot", "service", "symptom", "locale", "deadline_ms", "subscriber_id"})


@dataclass(frozen=True)
class CheckRequest:
    """A self-check to run. `number` is in clear, used once for its hash and never kept; `pointer` is where it stood."""

    snapshot: Mapping[str, Any]
    service: str
    symptom: str
    locale: str
    deadline_ms: int | None
    number: str | None
    subscriber_id: str | None
    pointer: str
    sha256: str


def read_request(body: bytes) -> CheckRequest:
    """A request from a body.

    Raises
    ------
    MalformedBody
        Not JSON.
    InvalidInput
        Not an object, a member of the wrong kind, or too deep; with a pointer.
    """
    try:
        document = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedBody('The body is no JSON. Send {"snapshot": {…}} or a report.') from error
    if not isinstance(document, dict):
        raise InvalidInput("The body must be a JSON object.", pointer="")
    if _depth(document) > DEEPEST:
        raise InvalidInput(f"The body nests deeper than {DEEPEST}.", pointer="")
    wrapped = "snapshot" in document
    if wrapped and (unknown := sorted(set(document) - _WRAPPED)):
        raise InvalidInput(
            f"There is no member {unknown[0]!r} here; a report goes into `snapshot`.",
            pointer=f"/{unknown[0].replace('~', '~0').replace('/', '~1')}",
        )
    snapshot = document["snapshot"] if wrapped else document
    if not isinstance(snapshot, dict):
        raise InvalidInput("A snapshot is a JSON object.", pointer="/snapshot")
    deadline_ms = document.get("deadline_ms") if wrapped else None
    if deadline_ms is not None and (isinstance(deadline_ms, bool) or not isinstance(deadline_ms, int)):
        raise InvalidInput("deadline_ms is a whole number of milliseconds.", pointer="/deadline_ms")
    if deadline_ms is not None and deadline_ms <= 0:
        raise InvalidInput("deadline_ms is a positive number.", pointer="/deadline_ms")
    base = "/snapshot" if wrapped else ""
    number = _text(snapshot, "subscriber", f"{base}/subscriber", 64)
    clean = _without_personal({name: value for name, value in snapshot.items() if name != "subscriber"})
    return CheckRequest(
        snapshot=clean,
        service=(_text(document, "service", "/service", 32) or _lenient(clean, "service")).lower(),
        symptom=(_text(document, "symptom", "/symptom", 32) or _lenient(clean, "symptom")).lower(),
        locale=_text(document, "locale", "/locale", 16) if wrapped else "",
        deadline_ms=deadline_ms,
        number=number or None,
        subscriber_id=(_text(document, "subscriber_id", "/subscriber_id", 40) or None) if wrapped else None,
        pointer=f"{base}/subscriber",
        sha256=hashlib.sha256(body).hexdigest(),
    )


def snapshot_id(snapshot: Mapping[str, Any]) -> str | None:
    """The report's own id, which makes a repeated sending the same check."""
    value = snapshot.get("id")
    return value if isinstance(value, str) and 0 < len(value) <= 128 else None


def _text(document: Mapping[str, Any], name: str, pointer: str, longest: int) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise InvalidInput(f"{name} is a text of at most {longest} characters.", pointer=pointer)
    return value.replace("\0", "").strip()


def _lenient(snapshot: Mapping[str, Any], name: str) -> str:
    value = snapshot.get(name)
    return value.strip() if isinstance(value, str) and len(value) <= 32 else ""


def _without_personal(value: Any) -> Any:
    """A copy without members that name a person or a SIM, at any depth: a snapshot is kept, a number never.

    What a store cannot keep is made harmless on the way: NUL characters go (PostgreSQL has none in text), and whole
    numbers beyond 64 bits become floats or nothing.
    """
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) < 10**300 else None
    if isinstance(value, dict):
        return {
            name.replace("\0", ""): _without_personal(inner)
            for name, inner in value.items()
            if name.lower() not in PERSONAL_FIELDS
        }
    if isinstance(value, list):
        return [_without_personal(inner) for inner in value]
    return value


def _depth(value: Any) -> int:
    """Nesting of containers, 1 for a flat one; counted without recursion."""
    deepest, level = 0, [value]
    while level:
        containers = [one for one in level if isinstance(one, dict | list)]
        if not containers:
            break
        deepest += 1
        level = [inner for one in containers for inner in (one.values() if isinstance(one, dict) else one)]
    return deepest
