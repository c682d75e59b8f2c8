"""The causes a verdict can name, as data: what each means, who repairs it, what to tell whom.

Reads `data/causes.toml`. Leaves out how a cause is recognised (that is `rules`) and how cases of one cause
become an order (that is the work-order room, which reads owner, urgency and scope from here).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from cem.platform.errors import ConfigurationError

UNKNOWN_PRIOR = 0.125
"""Probability, before anything is known, that a complaint's cause is none of the list. Chosen here: with the
causes' priors and the healthy share it makes 1."""


class Domain(StrEnum):
    """The side a verdict points to."""

    TERMINAL = "terminal"
    NETWORK = "network"
    PLATFORM = "platform"
    NO_FAULT = "no_fault"
    UNDETERMINED = "undetermined"


FAULT_DOMAINS = (Domain.TERMINAL, Domain.NETWORK, Domain.PLATFORM)
"""The three sides a fault can be on."""


class Urgency(StrEnum):
    """How soon the owner should look."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in the two languages the service speaks."""

    zh: str
    en: str

    def in_locale(self, locale: str) -> str:
        """The sentence for a BCP 47 tag; English for anything that is not Chinese."""
        return self.zh if locale.lower().startswith("zh") else self.en


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of the taxonomy.

    `prior` is the expert probability that a complaint is of this cause [1, 0–1]; `shared` tells whether it
    hits many lines at once; `scope` names the dimensions that locate it; `android` and `ios` are the path of
    the setting to change, where the customer can change one.
    """

    id: str
    domain: Domain
    segment: str
    owner: str
    urgency: Urgency
    prior: float
    shared: bool
    scope: tuple[str, ...]
    meaning: Text
    customer: Text
    agent: Text
    engineer: tuple[Text, ...]
    android: Text | None = None
    ios: Text | None = None


class Taxonomy(Mapping[str, Cause]):
    """All causes by id, in the order of the file, with the file's version and hash."""

    def __init__(self, version: str, sha256: str, causes: Mapping[str, Cause]) -> None:
        self.version = version
        self.sha256 = sha256
        self._causes = MappingProxyType(dict(causes))

    def __getitem__(self, cause: str) -> Cause:
        return self._causes[cause]

    def __iter__(self) -> Iterator[str]:
        return iter(self._causes)

    def __len__(self) -> int:
        return len(self._causes)

    def faults(self) -> tuple[Cause, ...]:
        """The causes that are faults (everything but `healthy`)."""
        return tuple(cause for cause in self._causes.values() if cause.domain in FAULT_DOMAINS)


_REQUIRED = (
    "id",
    "domain",
    "segment",
    "owner",
    "urgency",
    "prior",
    "meaning",
    "customer",
    "agent",
    "engineer",
)
_OPTIONAL = ("shared", "scope", "android", "ios")


def parse_taxonomy(text: str, name: str = "causes.toml") -> Taxonomy:
    """Read a taxonomy file.

    Raises
    ------
    ConfigurationError
        Naming the file, the entry and what is wrong with it.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name}: {error}") from error
    causes: dict[str, Cause] = {}
    for index, entry in enumerate(document.get("cause", [])):
        where = f"{name}: cause {index + 1} ({entry.get('id', 'without an id')})"
        cause = _parse_cause(entry, where)
        if cause.id in causes:
            raise ConfigurationError(f"{where}: the id occurs twice")
        causes[cause.id] = cause
    if "healthy" not in causes:
        raise ConfigurationError(f"{name}: the entry `healthy` (domain no_fault) is missing")
    total = sum(cause.prior for cause in causes.values()) + UNKNOWN_PRIOR
    if abs(total - 1) > 0.02:
        raise ConfigurationError(f"{name}: priors and the unknown share make {total:.3f}, not 1")
    return Taxonomy(str(document.get("version", "")), hashlib.sha256(text.encode()).hexdigest(), causes)


def _parse_cause(entry: Mapping[str, Any], where: str) -> Cause:
    for field in _REQUIRED:
        if field not in entry:
            raise ConfigurationError(f"{where}: `{field}` is missing")
    if unknown := sorted(set(entry) - set(_REQUIRED) - set(_OPTIONAL)):
        raise ConfigurationError(f"{where}: unknown field {unknown[0]}")
    try:
        domain, urgency = Domain(entry["domain"]), Urgency(entry["urgency"])
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    if not 0 < entry["prior"] < 1:
        raise ConfigurationError(f"{where}: prior must lie between 0 and 1")
    if domain is Domain.TERMINAL and not ("android" in entry and "ios" in entry):
        raise ConfigurationError(f"{where}: a terminal cause names the setting's path on android and ios")
    return Cause(
        id=entry["id"],
        domain=domain,
        segment=entry["segment"],
        owner=entry["owner"],
        urgency=urgency,
        prior=float(entry["prior"]),
        shared=bool(entry.get("shared", False)),
        scope=tuple(entry.get("scope", ())),
        meaning=_text(entry["meaning"], where),
        customer=_text(entry["customer"], where),
        agent=_text(entry["agent"], where),
        engineer=tuple(_text(step, where) for step in entry["engineer"]),
        android=_text(entry["android"], where) if "android" in entry else None,
        ios=_text(entry["ios"], where) if "ios" in entry else None,
    )


def _text(value: Mapping[str, str], where: str) -> Text:
    if set(value) != {"zh", "en"} or not all(value.values()):
        raise ConfigurationError(f"{where}: a text needs `zh` and `en`")
    return Text(value["zh"], value["en"])


@cache
def load_taxonomy() -> Taxonomy:
    """The taxonomy shipped with this version."""
    return parse_taxonomy(resources.files("demarcation").joinpath("data/causes.toml").read_text("utf-8"))
