"""Conditions of rules: a small ternary expression over evidence, written as data and never evaluated as code.

A condition is one of

- `{ key = "radio.rsrp_dbm", lt = -110 }` a comparison: `is`, `is_not`, `lt`, `le`, `gt`, `ge`, `in`, `not_in`, or
  `not_listed_in = "<list key>"` (the value is none of another fact's list);
- `{ all = [...] }`, `{ any = [...] }`, `{ not = {...} }` in Kleene's three-valued logic: unknown stays unknown
  unless the other operands settle it;
- `{ not_known = {...} }`: true unless the inner condition is known to hold. It is the one place where a missing
  fact counts, and a rule that uses it says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from demarcation.evidence import EvidenceKey, EvidenceSet, Value


class Ternary(StrEnum):
    """What a condition or a rule answers."""

    FIRED = "fired"
    NOT_FIRED = "not_fired"
    UNKNOWN = "unknown"


_COMPARISONS = ("is", "is_not", "lt", "le", "gt", "ge", "in", "not_in", "not_listed_in")
_ORDERINGS = frozenset({"lt", "le", "gt", "ge"})


class ConditionError(ValueError):
    """A condition in a rule file that cannot be read; its text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One fact against one constant (or against another fact's list)."""

    key: str
    operator: str
    operand: Any

    def keys(self) -> tuple[str, ...]:
        """The evidence it reads."""
        return (self.key, self.operand) if self.operator == "not_listed_in" else (self.key,)

    def test(self, facts: EvidenceSet) -> Ternary:
        """Compare; unknown where a fact is absent."""
        value = facts.value(self.key)
        if value is None:
            return Ternary.UNKNOWN
        if self.operator == "not_listed_in":
            listed = facts.value(self.operand)
            if not isinstance(listed, str):
                return Ternary.UNKNOWN
            return _of(value not in listed.split(","))
        return _of(_compare(value, self.operator, self.operand))


@dataclass(frozen=True, slots=True)
class All:
    """Kleene conjunction."""

    parts: tuple[Condition, ...]

    def keys(self) -> tuple[str, ...]:
        """The evidence it reads."""
        return _keys(self.parts)

    def test(self, facts: EvidenceSet) -> Ternary:
        """Not fired beats unknown beats fired."""
        states = [part.test(facts) for part in self.parts]
        if Ternary.NOT_FIRED in states:
            return Ternary.NOT_FIRED
        return Ternary.UNKNOWN if Ternary.UNKNOWN in states else Ternary.FIRED


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801 - `Any` is typing's
    """Kleene disjunction."""

    parts: tuple[Condition, ...]

    def keys(self) -> tuple[str, ...]:
        """The evidence it reads."""
        return _keys(self.parts)

    def test(self, facts: EvidenceSet) -> Ternary:
        """Fired beats unknown beats not fired."""
        states = [part.test(facts) for part in self.parts]
        if Ternary.FIRED in states:
            return Ternary.FIRED
        return Ternary.UNKNOWN if Ternary.UNKNOWN in states else Ternary.NOT_FIRED


@dataclass(frozen=True, slots=True)
class Not:
    """Kleene negation, or with `assume` the negation that takes unknown for false."""

    part: Condition
    assume: bool

    def keys(self) -> tuple[str, ...]:
        """The evidence it reads."""
        return self.part.keys()

    def test(self, facts: EvidenceSet) -> Ternary:
        """Turn it round."""
        state = self.part.test(facts)
        if state is Ternary.UNKNOWN:
            return Ternary.FIRED if self.assume else Ternary.UNKNOWN
        return _of(state is Ternary.NOT_FIRED)


Condition = Comparison | All | Any_ | Not


def parse_condition(data: Any, catalogue: Mapping[str, EvidenceKey], depth: int = 0) -> Condition:
    """Read a condition; a list is an `all`.

    Raises
    ------
    ConditionError
        With the reason: an unknown key or operator, a type that does not fit, too deep.
    """
    if depth > 6:
        raise ConditionError("a condition nests deeper than 6")
    if isinstance(data, list):
        return All(_parts(data, catalogue, depth))
    if not isinstance(data, dict) or not data:
        raise ConditionError("a condition is a table or a list of tables")
    if "key" in data:
        return _comparison(data, catalogue)
    if len(data) != 1:
        raise ConditionError(
            f"a condition holds one of all, any, not, not_known or a key; got {sorted(data)}"
        )
    operator, inner = next(iter(data.items()))
    if operator in {"all", "any"}:
        parts = _parts(inner, catalogue, depth)
        return All(parts) if operator == "all" else Any_(parts)
    if operator in {"not", "not_known"}:
        return Not(parse_condition(inner, catalogue, depth + 1), operator == "not_known")
    raise ConditionError(f"unknown operator {operator!r}")


def _parts(data: Any, catalogue: Mapping[str, EvidenceKey], depth: int) -> tuple[Condition, ...]:
    if not isinstance(data, list) or not data:
        raise ConditionError("all and any take a list with at least one condition")
    return tuple(parse_condition(part, catalogue, depth + 1) for part in data)


def _comparison(data: Mapping[str, Any], catalogue: Mapping[str, EvidenceKey]) -> Comparison:
    key = data["key"]
    entry = catalogue.get(key) if isinstance(key, str) else None
    if entry is None:
        raise ConditionError(f"there is no evidence called {key!r}")
    operators = [name for name in data if name != "key"]
    if len(operators) != 1 or operators[0] not in _COMPARISONS:
        raise ConditionError(f"{key}: give exactly one of {', '.join(_COMPARISONS)}; got {sorted(operators)}")
    operator, operand = operators[0], data[operators[0]]
    if operator in _ORDERINGS and (entry.type != "number" or not _is_number(operand)):
        raise ConditionError(f"{key}: {operator} compares numbers, {key} is {entry.type}")
    if operator == "not_listed_in":
        other = catalogue.get(operand) if isinstance(operand, str) else None
        if other is None or other.type != "list" or entry.type != "text":
            raise ConditionError(f"{key}: not_listed_in wants a text here and a list key there")
        return Comparison(key, operator, operand)
    values = operand if operator in {"in", "not_in"} else [operand]
    if not isinstance(values, list) or not values:
        raise ConditionError(f"{key}: {operator} takes a list of values")
    clean = tuple(_operand(value, entry) for value in values)
    return Comparison(key, operator, clean if operator in {"in", "not_in"} else clean[0])


def _operand(value: Any, entry: EvidenceKey) -> Value:
    if entry.type == "bool" and isinstance(value, bool):
        return value
    if entry.type == "number" and _is_number(value):
        return float(value)
    if entry.type in {"text", "list"} and isinstance(value, str):
        return value.lower()
    raise ConditionError(f"{entry.key}: {value!r} is no {entry.type}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _keys(parts: Sequence[Condition]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for part in parts for key in part.keys()))  # noqa: SIM118 - `keys` is a condition's own


def _of(truth: bool) -> Ternary:
    return Ternary.FIRED if truth else Ternary.NOT_FIRED


def _compare(value: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "is":
            return bool(value == operand)
        case "is_not":
            return bool(value != operand)
        case "lt":
            return bool(value < operand)
        case "le":
            return bool(value <= operand)
        case "gt":
            return bool(value > operand)
        case "ge":
            return bool(value >= operand)
        case "in":
            return value in operand
        case _:
            return value not in operand
