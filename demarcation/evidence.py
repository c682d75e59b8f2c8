"""One observed fact about a fault, with its origin, time and quality; and the catalogue of what facts there are.

Absent is not normal: a key that nobody observed is missing from the `EvidenceSet`, and what reads it answers
*unknown*. Extraction from reports, samples and upstream answers is in `snapshot` and `vantage`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from cem.platform.errors import ConfigurationError
from demarcation.taxonomy import Text, load_taxonomy

Value = bool | float | str
"""What a fact may be. Numbers are floats; lists (of provisioned APNs) are comma-joined text."""

FRESH_FOR_S = 300.0
"""A fact counts in full for so long. [s] Chosen here: a customer checks while the fault lasts."""

EXPIRES_AFTER_S = 2_700.0
"""A fact this old says nothing of now. [s] Chosen here: three quarter-hour windows, so that the last closed
window (at most 15 min long plus its watermark) still counts."""


class Quality(StrEnum):
    """How far a fact may be believed."""

    GOOD = "good"
    CONFIGURED = "configured"  # a general setting of the operator, not an observation of this line
    IMPLAUSIBLE = "implausible"  # outside the physical range: kept, never read


class Origin(StrEnum):
    """Who observed a fact; upstreams are named `upstream:<name>`."""

    TERMINAL = "terminal"
    LINE = "line"
    PEERS = "peers"
    ORDERS = "orders"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact. `freshness` is 1 while it counts in full and falls to 0 at its expiry [1, 0–1]."""

    key: str
    value: Value
    unit: str
    origin: str
    observed_at: datetime
    received_at: datetime
    quality: Quality
    freshness: float

    @property
    def usable(self) -> bool:
        """Whether a rule may read it."""
        return self.quality is not Quality.IMPLAUSIBLE and self.freshness > 0


@dataclass(frozen=True, slots=True)
class EvidenceKey:
    """Catalogue entry: type (`bool`, `number`, `text`, `list`), unit, plausible range, where it comes from."""

    key: str
    type: str
    unit: str
    low: float
    high: float
    source: str
    label: Text


def freshness(observed_at: datetime, at: datetime) -> float:
    """Weight of a fact by its age at the moment of the fault.

    1 up to `FRESH_FOR_S`, then linear to 0 at `EXPIRES_AFTER_S`. A time ahead of `at` is a clock that runs
    ahead and counts as now. [1, 0–1]
    """
    age_s = max(0.0, (at - observed_at).total_seconds())
    if age_s <= FRESH_FOR_S:
        return 1.0
    return round(max(0.0, 1 - (age_s - FRESH_FOR_S) / (EXPIRES_AFTER_S - FRESH_FOR_S)), 4)


def make_evidence(
    key: str,
    value: Any,
    *,
    origin: str,
    observed_at: datetime,
    received_at: datetime,
    at: datetime,
    quality: Quality = Quality.GOOD,
) -> Evidence | None:
    """A fact of the catalogue from a raw value; None where the value is absent or of another type.

    Text is compared without case (APNs and states are case-insensitive), so it is kept lower-case.
    """
    entry = catalogue().get(key)
    if entry is None or value is None:
        return None
    clean: Value
    if entry.type == "bool":
        if not isinstance(value, bool):
            return None
        clean = value
    elif entry.type == "number":
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        clean = float(value)
        if not entry.low <= clean <= entry.high:
            quality = Quality.IMPLAUSIBLE
    elif entry.type == "list":
        parts = value if isinstance(value, list | tuple) else [value]
        clean = ",".join(sorted(str(part).strip().lower() for part in parts if isinstance(part, str)))
        if not clean:
            return None
    else:
        if not isinstance(value, str) or not value.strip():
            return None
        clean = value.strip().lower()[:200]
    return Evidence(
        key, clean, entry.unit, origin, observed_at, received_at, quality, freshness(observed_at, at)
    )


class EvidenceSet(Mapping[str, Evidence]):
    """The best fact of each key: good before configured, then the fresher, then the later, then by origin."""

    def __init__(self, facts: Iterable[Evidence]) -> None:
        ordered = sorted(
            (fact for fact in facts if fact.usable),
            key=lambda fact: (
                fact.key,
                fact.quality is not Quality.GOOD,
                -fact.freshness,
                -fact.observed_at.timestamp(),
                fact.origin,
                str(fact.value),
            ),
        )
        self._facts: dict[str, Evidence] = {}
        for fact in ordered:
            self._facts.setdefault(fact.key, fact)

    def __getitem__(self, key: str) -> Evidence:
        return self._facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __contains__(self, key: object) -> bool:
        return key in self._facts

    def value(self, key: str) -> Value | None:
        """The value, or None where nobody observed it."""
        fact = self._facts.get(key)
        return None if fact is None else fact.value

    def number(self, key: str) -> float | None:
        """The value of a numeric key, or None."""
        value = self.value(key)
        return value if isinstance(value, float) else None


@cache
def catalogue() -> Mapping[str, EvidenceKey]:
    """Every key of evidence shipped with this version.

    Raises
    ------
    ConfigurationError
        The shipped file is broken.
    """
    text = resources.files("demarcation").joinpath("data/evidence.toml").read_text("utf-8")
    entries: dict[str, EvidenceKey] = {}
    for key, entry in tomllib.loads(text)["keys"].items():
        if entry["type"] not in {"bool", "number", "text", "list"}:
            raise ConfigurationError(f"evidence.toml: {key}: unknown type {entry['type']}")
        entries[key] = EvidenceKey(
            key,
            entry["type"],
            entry.get("unit", ""),
            float(entry.get("min", -math.inf)),
            float(entry.get("max", math.inf)),
            entry["source"],
            Text(entry["zh"], entry["en"]),
        )
    for cause in load_taxonomy().faults():
        if cause.shared:
            key = order_key(cause.id)
            entries[key] = EvidenceKey(key, "bool", "", -math.inf, math.inf, "orders", cause.meaning)
    return entries


def order_key(cause: str) -> str:
    """The key that says whether an open order of this cause covers the fault."""
    return f"orders.{cause}"
