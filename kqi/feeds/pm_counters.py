"""Measurements to samples: counters to indicators, distinguished names to dimensions.

Pure. Rules are data (`counters.toml`). Counters that no rule gives as they are stay as `counter:<name>`; of a result
that is a list (`86,87,2`) each element is kept as `counter:<name>[0]` and so on. A missing result is left out.

Windows. A period belongs to the quarter hour that holds its middle: one of 15 minutes is one window, also where an
element's clock is seconds off; shorter ones meet in it; a longer one is kept whole there and says so in its label
`period_s`, since how its counts spread over the quarter hours is not known.

Source: TS 32.300 clause 7 (distinguished names); TS 32.432 clause 4.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

from kqi.cuts import ALL_DIMENSIONS
from kqi.feeds.errors import BadMapping
from kqi.feeds.items import CounterItem, Refused, content_id
from kqi.feeds.mapping_files import Section, read_toml
from kqi.feeds.pm_xml import Measurement

MAX_ELEMENTS = 64
"""Elements of a result that is a list; further ones are left out. [1] Chosen here: no distribution has more."""
MAX_LABEL = 256
"""Characters of a label. [1]"""
MAX_PLANS = 256
"""Sets of counters whose rules are remembered. [1] Chosen here: files have some tens of kinds of measInfo."""
MISSING = frozenset({"", "nil", "null", "nan", "-", "n/a"})
"""Results that say there is none, in lower case. TS 32.432 clause 4: NIL; the others are vendors'."""
DIMENSIONS = frozenset(ALL_DIMENSIONS) - {"service", "vantage"}
_INDICATOR = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_NUMBER = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?\Z", re.ASCII)
_RDN = re.compile(r"((?:[^,\\]|\\.)+)", re.DOTALL)


class How(StrEnum):
    """What a rule does with its counters."""

    FIRST = "first"
    SUM = "sum"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Rule:
    """One indicator out of counters.

    Parameters
    ----------
    indicator
        Its id.
    how
        `first` there, `sum` of all, or `ratio`: Σ counters ÷ Σ denominators, absent where that is zero.
    counters, denominators
        Names; see `counters.toml` for what a name stands for.
    scale
        The result's factor. [1]
    """

    indicator: str
    how: How
    counters: tuple[str, ...]
    denominators: tuple[str, ...] = ()
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class ObjectRule:
    """Which dimension a class of objects fills, and what else is known of it ('' for nothing)."""

    dimension: str
    rat: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class CounterRules:
    """All rules of a mapping file."""

    version: str
    rules: tuple[Rule, ...]
    objects: Mapping[str, ObjectRule]
    """By class in lower case."""


def read_rules(data: bytes, where: str = "mapping") -> CounterRules:
    """Rules out of TOML. Raises BadMapping."""
    return rules_of(read_toml(data, where))


def rules_of(file: Section) -> CounterRules:
    """Rules out of a mapping file's content. Raises BadMapping."""
    if file.text("kind") != "counters":
        raise BadMapping('A mapping of measurement files has kind = "counters".')
    objects: dict[str, ObjectRule] = {}
    for part in file.sections("object"):
        rule = ObjectRule(part.text("dimension"), part.text("rat", ""), part.text("service", ""))
        if rule.dimension not in DIMENSIONS:
            raise BadMapping("An object's dimension must be one of the cubes'.")
        objects.update({name.lower(): rule for name in part.texts("classes")})
        part.done()
    rules = tuple(_rule(part) for part in file.sections("rule"))
    version = file.text("version", "")
    file.done()
    return CounterRules(version, rules, objects)


def _rule(part: Section) -> Rule:
    indicator, scale = part.text("indicator"), part.number("scale", 1.0)
    if not _INDICATOR.match(indicator):
        raise BadMapping("An indicator's id is lower case letters, digits and '_'.")
    part.text("source", "")
    found = [
        Rule(indicator, How.FIRST, part.texts("first"), (), scale),
        Rule(indicator, How.SUM, part.texts("sum"), (), scale),
        Rule(indicator, How.RATIO, part.texts("numerator"), part.texts("denominator"), scale),
    ]
    part.done()
    filled = [rule for rule in found if rule.counters or rule.denominators]
    if len(filled) != 1 or (filled[0].how is How.RATIO) != bool(
        filled[0].counters and filled[0].denominators
    ):
        raise BadMapping(f"{indicator}: a rule has `first`, or `sum`, or `numerator` and `denominator`.")
    return filled[0]


@cache
def standard_rules() -> CounterRules:
    """The rules that come with the product."""
    return read_rules(Path(__file__).with_name("counters.toml").read_bytes(), "counters.toml")


Term = tuple[int, ...]
"""Positions of the counters whose sum a name stands for."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A rule that a set of counters can fill; `whole` is the counter that its figure says as it is, or -1."""

    rule: Rule
    terms: tuple[Term, ...]
    denominators: tuple[Term, ...]
    whole: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is done with a set of counters: rules, and names of what is kept as it is."""

    steps: tuple[_Step, ...]
    kept: tuple[str, ...]
    digest: str


@dataclass(slots=True)
class CounterReader:
    """Turns measurements into samples; remembers which rules fit which set of counters."""

    rules: CounterRules
    _plans: dict[tuple[str, ...], _Plan] = field(default_factory=dict)

    def read(self, measurement: Measurement) -> list[CounterItem | Refused]:
        """The measurement's sample, if it has one, and what of it is refused."""
        place = measurement.place
        if measurement.suspect:
            return [Refused(place, "suspect", "The element doubts these figures; they do not count.")]
        names = tuple(measurement.results)
        numbers: list[float | None] = []
        lists: dict[int, list[float]] = {}
        found: list[CounterItem | Refused] = []
        for position, text in enumerate(measurement.results.values()):
            if text.isdigit() and text.isascii() and len(text) <= 15:
                numbers.append(float(text))
                continue
            values = _numbers(text)
            numbers.append(values[0] if values and len(values) == 1 else None)
            if values is None:
                pointer = f"/{names[position][:64]}"
                found.append(Refused(place, "not_a_number", "A result is neither a number nor NIL.", pointer))
            elif len(values) > 1:
                lists[position] = values
        plan = self._plan(names)
        values_found = _values(plan, numbers, lists)
        if not values_found:
            found.append(Refused(place, "empty", "No result has a value."))
            return found
        found.insert(0, self._item(measurement, plan.digest, values_found))
        return found

    def _plan(self, names: tuple[str, ...]) -> _Plan:
        plan = self._plans.get(names)
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            plan = self._plans[names] = _plan(names, self.rules.rules)
        return plan

    def _item(self, measurement: Measurement, names_digest: str, values: Mapping[str, float]) -> CounterItem:
        own = measurement.managed_element
        whole = ",".join(part for part in (own, measurement.measured_object) if part)
        dimensions: dict[str, str] = {}
        service = ""
        for kind, name in reversed(rdns(whole)):
            rule = self.rules.objects.get(kind.lower().removeprefix("vsdata"))
            if rule is None or rule.dimension in dimensions:
                continue
            dimensions[rule.dimension] = name[:128]
            if rule.rat:
                dimensions.setdefault("rat", rule.rat)
            service = service or rule.service
        seconds = (measurement.end - measurement.begin).total_seconds()
        labels = {
            "kind": "counters",
            "object": measurement.measured_object[-MAX_LABEL:],
            "managed_element": own[-MAX_LABEL:],
            "period_s": f"{seconds:g}",
            "measurement": measurement.info[:MAX_LABEL],
        }
        return CounterItem(
            place=measurement.place,
            sample_id=content_id(
                "pm",
                measurement.dn_prefix,
                own,
                measurement.measured_object,
                measurement.begin.isoformat(),
                measurement.end.isoformat(),
                names_digest,
            ),
            observed_at=measurement.begin + (measurement.end - measurement.begin) / 2,
            service=service,
            dimensions=dimensions,
            values=values,
            labels={name: text for name, text in labels.items() if text},
        )


def rdns(name: str) -> list[tuple[str, str]]:
    """Class and value of each part of a distinguished name; parts without `=` are left out.

    `\\` before a character takes it as it is (TS 32.300 clause 7.3, after RFC 2253).
    """
    found = []
    for part in _RDN.findall(name):
        kind, sign, value = part.partition("=")
        if sign and kind.strip():
            found.append((kind.strip(), re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL).strip()))
    return found


def _numbers(text: str) -> list[float] | None:
    """Numbers of a result: none where it is missing; None where it is no result."""
    if text.lower() in MISSING:
        return []
    found = []
    for part in text.split(",", MAX_ELEMENTS)[:MAX_ELEMENTS]:
        if not _NUMBER.match(part.strip()):
            return None
        number = float(part)
        if not math.isfinite(number):
            return None
        found.append(number)
    return found


def _plan(names: tuple[str, ...], rules: Sequence[Rule]) -> _Plan:
    """Rules that these counters can fill, in the rules' order."""
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        positions.setdefault(name.lower(), position)
    steps: list[_Step] = []
    for rule in rules:
        first = rule.how is How.FIRST
        terms = [_term(name, positions, parts=not first) for name in rule.counters]
        below = [_term(name, positions) for name in rule.denominators]
        if first:
            terms = [next((term for term in terms if term), ())]
        if all(terms) and all(below):
            single = rule.how is not How.RATIO and len(terms) == 1 and len(terms[0]) == 1
            steps.append(_Step(rule, tuple(terms), tuple(below), terms[0][0] if single else -1))
    kept = tuple(f"counter:{name}" for name in names)
    return _Plan(tuple(steps), kept, content_id("names", *sorted(names)))


def _values(
    plan: _Plan, numbers: Sequence[float | None], lists: Mapping[int, list[float]]
) -> dict[str, float]:
    """Figures of rules, and every counter that no figure says as it is: nothing counted is lost."""
    values: dict[str, float] = {}
    said: set[int] = set()
    for step in plan.steps:
        value = _applied(step, numbers)
        if value is not None:
            values.setdefault(step.rule.indicator, value)
            said.add(step.whole)
    for position, number in enumerate(numbers):
        if number is not None and position not in said:
            values[plan.kept[position]] = number
    for position, elements in lists.items():
        for index, element in enumerate(elements[:MAX_ELEMENTS]):
            values[f"{plan.kept[position]}[{index}]"] = element
    return values


def _term(name: str, positions: Mapping[str, int], *, parts: bool = True) -> Term:
    """Where a name's counters are: its own, its total, or with `parts` all that it is divided into."""
    wanted = name.lower()
    for exact in (wanted, f"{wanted}.sum", f"{wanted}.tot"):
        if exact in positions:
            return (positions[exact],)
    if not parts:
        return ()
    return tuple(position for other, position in positions.items() if other.startswith(f"{wanted}."))


def _applied(step: _Step, numbers: Sequence[float | None]) -> float | None:
    above = _total(step.terms, numbers)
    if above is None:
        return None
    if step.rule.how is How.RATIO:
        below = _total(step.denominators, numbers)
        if not below:
            return None
        above /= below
    value = above * step.rule.scale
    return value if math.isfinite(value) else None


def _total(terms: Sequence[Term], numbers: Sequence[float | None]) -> float | None:
    """Sum of all; None where one is missing: a sum without a part is not the sum."""
    total = 0.0
    for term in terms:
        for position in term:
            number = numbers[position]
            if number is None:
                return None
            total += number
    return total
