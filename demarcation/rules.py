"""Rules as data: ternary, with a stable id, a strength, what they explain and where they come from.

Reads a versioned file at start and refuses a wrong one with file, line, rule and reason. What a set of fired
rules means is decided in `decide`; this module only says which fired.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cem.platform.errors import ConfigurationError
from demarcation.conditions import Condition, ConditionError, Ternary, parse_condition
from demarcation.evidence import EvidenceSet, catalogue
from demarcation.symptoms import Symptom
from demarcation.taxonomy import Domain, Taxonomy, Text, load_taxonomy

SHIPPED_RULES = "rules-2026.11.1.toml"
STRONGEST = 4.0
"""No single rule may claim more than 10^4 to 1. [log10]"""

ANOMALOUS_FROM = 0.3
SILENT_FROM = -0.3
"""A measured strength from `ANOMALOUS_FROM` is called fired, down to `SILENT_FROM` not fired, between neither."""

_FIELDS = frozenset(
    [
        "id",
        "cause",
        "explains",
        "services",
        "when",
        "fired",
        "not_fired",
        "from",
        "scale",
        "floor",
        "cap",
        "also",
        "group",
        "veto",
        "health",
        "for_each",
        "says",
        "comment",
        "source",
    ]
)
_HEALTH_KINDS = frozenset({"snapshot", "probes", "peers", "line"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Strengths are log10 likelihood ratios; `measured` reads its strength from evidence instead."""

    id: str
    cause: str
    domain: Domain | None
    explains: frozenset[Symptom]
    services: frozenset[str]
    condition: Condition | None
    fired: float
    not_fired: float
    measured: str
    scale: float
    floor: float
    cap: float
    also: Mapping[str, float]
    group: str
    veto: bool
    health: str
    says: Text
    comment: str
    source: str
    reads: tuple[str, ...]
    """The evidence it reads."""


@dataclass(frozen=True, slots=True)
class RuleState:
    """What one rule answered: its state, its strength for its own cause, and the weight of its evidence."""

    rule: Rule
    state: Ternary
    strength: float
    weight: float
    explains: bool


@dataclass(frozen=True)
class RuleSet:
    """A version of the rules: the hash is over the file's bytes."""

    version: str
    sha256: str
    rules: tuple[Rule, ...]
    text: str

    explained: Mapping[str, frozenset[Symptom]] = field(init=False, repr=False, compare=False)
    """Every symptom that some rule of a cause can explain (templates apart: they hold for any)."""
    services: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)
    """Services that a cause is bound to; empty for any."""

    def concerns(self, cause: str, service: str) -> bool:
        """Whether a cause can be at work in a service; any cause in an unknown service."""
        services = self.services.get(cause, frozenset())
        return not services or not service or service in services

    def __post_init__(self) -> None:
        services: dict[str, frozenset[str]] = {}
        for rule in self.rules:
            if rule.cause and ":" not in rule.id:
                known = services.get(rule.cause)
                unbounded = not rule.services or known == frozenset()
                services[rule.cause] = frozenset() if unbounded else rule.services | (known or frozenset())
        object.__setattr__(self, "services", MappingProxyType(services))
        explained: dict[str, frozenset[Symptom]] = {}
        for rule in self.rules:
            if rule.cause and ":" not in rule.id:
                explained[rule.cause] = explained.get(rule.cause, frozenset()) | rule.explains
        object.__setattr__(self, "explained", MappingProxyType(explained))


def evaluate(
    rules: RuleSet, facts: EvidenceSet, symptoms: frozenset[Symptom], service: str
) -> list[RuleState]:
    """State of every rule that is meant for the service, in the file's order.

    A rule whose facts cannot explain any symptom present keeps its state but its `explains` is False: it is
    shown as noted and counts for nothing. With no symptom known every rule may count.
    """
    states = []
    answers: dict[int, Ternary] = {}
    for rule in rules.rules:
        if rule.services and service and service not in rule.services:
            continue
        explains = not symptoms or rule.domain is Domain.NO_FAULT or not rule.explains.isdisjoint(symptoms)
        if rule.condition is None:
            states.append(_measured(rule, facts, explains))
            continue
        state = answers.get(id(rule.condition))  # rules of one template share theirs
        if state is None:
            state = answers[id(rule.condition)] = rule.condition.test(facts)
        if state is Ternary.UNKNOWN:
            states.append(RuleState(rule, state, 0.0, 0.0, explains))
            continue
        strength = rule.fired if state is Ternary.FIRED else rule.not_fired
        states.append(RuleState(rule, state, strength, _weight(rule, facts), explains))
    return states


def _weight(rule: Rule, facts: EvidenceSet) -> float:
    """The freshness of the oldest fact it read; a rule that only missing facts made fire weighs nothing."""
    return min((facts[key].freshness for key in rule.reads if key in facts), default=0.0)


def _measured(rule: Rule, facts: EvidenceSet, explains: bool) -> RuleState:
    value = facts.number(rule.measured)
    if value is None:
        return RuleState(rule, Ternary.UNKNOWN, 0.0, 0.0, explains)
    strength = min(max(value * rule.scale, rule.floor), rule.cap)
    if strength >= ANOMALOUS_FROM * rule.scale:
        state = Ternary.FIRED
    else:
        state = Ternary.NOT_FIRED if strength <= SILENT_FROM * rule.scale else Ternary.UNKNOWN
    return RuleState(rule, state, strength, _weight(rule, facts), explains)


@cache
def load_shipped_rules() -> RuleSet:
    """The rule set shipped with this version."""
    text = resources.files("demarcation").joinpath(f"data/{SHIPPED_RULES}").read_text("utf-8")
    return parse_rules(text, SHIPPED_RULES, load_taxonomy())


def load_rules(path: Path | None, taxonomy: Taxonomy | None = None) -> RuleSet:
    """The operator's rule file, or the shipped one where `path` is None.

    Raises
    ------
    ConfigurationError
        File, line, rule and reason.
    """
    if path is None:
        return load_shipped_rules()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return parse_rules(text, path.name, taxonomy or load_taxonomy())


def parse_rules(text: str, name: str, taxonomy: Taxonomy) -> RuleSet:
    """Read a rule file.

    Raises
    ------
    ConfigurationError
        `<file>:<line>: rule <id>: <reason>`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name}: {error}") from error
    parser = _Parser(name, text, taxonomy, document.get("groups", {}))
    version = document.get("version")
    if not isinstance(version, str) or not version:
        raise ConfigurationError(f"{name}:1: `version` is missing")
    if unknown := sorted(set(document) - {"version", "groups", "rule"}):
        raise ConfigurationError(f"{name}:{parser.line_of(None, unknown[0])}: unknown table {unknown[0]}")
    rules: list[Rule] = []
    seen: set[str] = set()
    for index, entry in enumerate(document.get("rule", [])):
        for rule in parser.rules(index, entry):
            if rule.id in seen:
                parser.refuse(index, "id", f"the id {rule.id} occurs twice; ids are never reused")
            seen.add(rule.id)
            rules.append(rule)
    if not rules:
        raise ConfigurationError(f"{name}:1: there is no [[rule]]")
    return RuleSet(version, hashlib.sha256(text.encode()).hexdigest(), tuple(rules), text)


class _Parser:
    """Turns entries into rules and finds the line of whatever is wrong."""

    def __init__(self, name: str, text: str, taxonomy: Taxonomy, groups: Mapping[str, Sequence[str]]) -> None:
        self._name = name
        self._lines = text.splitlines()
        self._starts = [i for i, line in enumerate(self._lines) if re.match(r"\s*\[\[\s*rule\s*\]\]", line)]
        self._taxonomy = taxonomy
        self._groups = groups
        self._keys = catalogue()
        self._index, self._id = 0, "?"

    def line_of(self, index: int | None, field: str) -> int:
        """Line (from 1) of a field within a rule; of the rule's head where the field is not there."""
        start = 0 if index is None else self._starts[index]
        end = len(self._lines)
        if index is not None and index + 1 < len(self._starts):
            end = self._starts[index + 1]
        for number in range(start, end):
            if re.match(rf"\s*\[?\"?{re.escape(field)}\"?\s*[=\].]", self._lines[number]):
                return number + 1
        return start + 1

    def refuse(self, index: int, field: str, reason: str) -> None:
        """Raise with file, line, rule and reason."""
        raise ConfigurationError(f"{self._name}:{self.line_of(index, field)}: rule {self._id}: {reason}")

    def rules(self, index: int, entry: Mapping[str, Any]) -> Iterable[Rule]:
        """The rule of an entry; several where it has `for_each`."""
        self._index, self._id = index, str(entry.get("id", f"number {index + 1}"))
        for name in ("id", "explains", "says", "comment", "source"):
            if not entry.get(name):
                self._refuse(name, f"`{name}` is missing")
        if unknown := sorted(set(entry) - _FIELDS):
            self._refuse(unknown[0], f"unknown field `{unknown[0]}`")
        if not re.fullmatch(r"[A-Z][A-Z0-9-]{1,15}", self._id):
            self._refuse("id", "an id is a capital letter and 1-15 capitals, digits or hyphens")
        template = entry.get("for_each")
        if template is None:
            return [self._rule(entry, str(entry.get("cause", "")))]
        causes = {
            "shared": [cause.id for cause in self._taxonomy.faults() if cause.shared],
            "terminal": [c.id for c in self._taxonomy.faults() if c.domain is Domain.TERMINAL],
        }.get(str(template))
        if causes is None or "cause" in entry:
            self._refuse("for_each", "for_each is `shared` or `terminal`, and then there is no `cause`")
        if "{cause}" not in str(entry):
            shared = self._rule(entry, next(iter(causes or ())))
            return [
                replace(shared, id=f"{self._id}:{cause}", cause=cause, domain=self._taxonomy[cause].domain)
                for cause in causes or ()
            ]
        return [
            replace(self._rule(_filled(entry, cause), cause), id=f"{self._id}:{cause}")
            for cause in causes or ()
        ]

    def _refuse(self, field: str, reason: str) -> None:
        self.refuse(self._index, field, reason)

    def _rule(self, entry: Mapping[str, Any], cause: str) -> Rule:
        if cause and cause not in self._taxonomy:
            self._refuse("cause", f"there is no cause {cause!r} in the taxonomy")
        also = self._also(entry.get("also", {}))
        if not cause and not also:
            self._refuse("id", "a rule needs a `cause` or `also`")
        measured = str(entry.get("from", ""))
        if ("when" in entry) == bool(measured):
            self._refuse("when", "give either `when` or `from`")
        condition: Condition | None = None
        if measured:
            if measured not in self._keys or self._keys[measured].type != "number":
                self._refuse("from", f"there is no numeric evidence called {measured!r}")
        else:
            try:
                condition = parse_condition(entry["when"], self._keys)
            except ConditionError as error:
                self._refuse("when", str(error))
        says = entry["says"]
        if not isinstance(says, dict) or set(says) != {"zh", "en"}:
            self._refuse("says", "`says` needs zh and en")
        health = str(entry.get("health", ""))
        if health and (health not in _HEALTH_KINDS or cause != "healthy"):
            self._refuse("health", f"health is one of {sorted(_HEALTH_KINDS)} and belongs to cause healthy")
        return Rule(
            id=self._id,
            cause=cause,
            domain=self._taxonomy[cause].domain if cause else None,
            explains=self._symptoms(entry["explains"]),
            services=frozenset(entry.get("services", ())),
            condition=condition,
            fired=self._number(entry, "fired", required=not measured),
            not_fired=self._number(entry, "not_fired", required=not measured),
            measured=measured,
            scale=self._number(entry, "scale", required=bool(measured)),
            floor=self._number(entry, "floor", required=bool(measured)),
            cap=self._number(entry, "cap", required=bool(measured)),
            also=also,
            group=str(entry.get("group", self._id)),
            veto=bool(entry.get("veto", False)),
            health=health,
            says=Text(says["zh"], says["en"]),
            comment=str(entry["comment"]),
            source=str(entry["source"]),
            reads=(measured,) if condition is None else condition.keys(),
        )

    def _number(self, entry: Mapping[str, Any], field: str, *, required: bool) -> float:
        value = entry.get(field)
        if value is None and not required:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= STRONGEST:
            self._refuse(field, f"`{field}` is a number of at most {STRONGEST} either way (log10)")
        return float(value or 0)

    def _symptoms(self, names: Any) -> frozenset[Symptom]:
        found: set[Symptom] = set()
        if not isinstance(names, list):
            self._refuse("explains", "`explains` is a list of symptoms and @groups")
        for name in names:
            members = self._groups.get(str(name)[1:]) if str(name).startswith("@") else [name]
            if members is None:
                self._refuse("explains", f"there is no group {name}")
            for member in members or ():
                if member not in {one.value for one in Symptom}:
                    self._refuse("explains", f"there is no symptom {member!r}")
                found.add(Symptom(member))
        return frozenset(found)

    def _also(self, table: Any) -> Mapping[str, float]:
        if not isinstance(table, dict):
            self._refuse("also", "`also` is a table of strengths")
        segments = {cause.segment for cause in self._taxonomy.values()}
        for target, strength in table.items():
            kind, _, name = target.partition(":")
            known = (
                target in self._taxonomy
                or (kind == "domain" and name in {one.value for one in Domain})
                or (kind == "segment" and name in segments)
            )
            if not known:
                self._refuse("also", f"there is no cause, domain or segment {target!r}")
            if (
                isinstance(strength, bool)
                or not isinstance(strength, int | float)
                or abs(strength) > STRONGEST
            ):
                self._refuse("also", f"the strength for {target} is no number of at most {STRONGEST}")
        return MappingProxyType({target: float(strength) for target, strength in table.items()})


def _filled(data: Any, cause: str) -> Any:
    if isinstance(data, str):
        return data.replace("{cause}", cause)
    if isinstance(data, list):
        return [_filled(item, cause) for item in data]
    if isinstance(data, dict):
        return {key: _filled(value, cause) for key, value in data.items() if key != "for_each"}
    return data
