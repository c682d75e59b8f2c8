"""The cuts of a cube, as data, and the SQL that every aggregate of samples is made of.

Pure: text and tables. A cut keeps some dimensions and lets the others go; service, vantage point and device type
are always kept. The same expressions build a cube and answer from facts, so that the two agree.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kqi.catalogue import BAD, BAD_IF, CATALOGUE, Direction, Indicator

ALWAYS = ("service", "vantage", "device_type")
"""Kept by every cut."""

DIMENSIONS = (
    "province",
    "city",
    "area",
    "cell",
    "gateway",
    "source",
    "node",
    "model",
    "os",
    "app_version",
)
"""Kept by some cuts, in the order of the table's columns."""

ALL_DIMENSIONS = (*ALWAYS, "province", "city", "area", "cell", "rat", "slice", "gateway", "source", "node",
                  "model", "os", "app_version")  # fmt: skip
"""Every dimension of a sample."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Dimensions kept, beside `ALWAYS`."""

    name: str
    keeps: tuple[str, ...]


CUTS = (
    Cut("all", ()),
    Cut("model", ("model",)),
    Cut("app", ("app_version", "os")),
    Cut("gateway", ("gateway",)),
    Cut("area", ("area",)),
    Cut("city", ("province", "city")),
    Cut("node", ("source", "node")),
    Cut("source", ("province", "city", "source")),
    Cut("cell", ("province", "city", "cell")),
)
"""From the smallest to the largest: a question goes to the first that keeps all it asks for."""

QUANTILES = (0.5, 0.9, 0.95)
SKETCH = "quantilesDD(0.01, 0.5, 0.9, 0.95)"
"""DDSketch (Masson, Rim and Lee, VLDB 2019): relative error 1 %; merging is exact and order-free."""
DISTINCT = "uniqCombined(14)"
"""HyperLogLog after an exact set; standard error 0.8 % (1.04 / sqrt of 2^14 registers)."""


def cut_for(dimensions: Collection[str]) -> Cut | None:
    """The smallest cut that keeps every one of `dimensions`; None where only facts can answer."""
    asked = set(dimensions) - set(ALWAYS)
    return next((cut for cut in CUTS if asked <= set(cut.keeps)), None)


def bad_sql() -> str:
    """SQL: 1.0 or 0.0 for a sample, NULL where its values do not tell; what `kqi.catalogue.is_bad` says.

    Short on purpose: an expression that names each indicator by itself takes longer to read than to run.
    """
    arms = []
    for rule in BAD_IF:
        when = f"vantage = '{rule.vantage}'"
        if rule.service is not None:
            when += f" AND service = '{rule.service}'"
        arms.append(f"{when}, {_names([CATALOGUE[name] for name in rule.indicators])}")
    decide = f"multiIf({', '.join(arms)}, [])"
    deciding = {name for rule in BAD_IF for name in rule.indicators}
    poor = poor_sql("name", "values[name]", [CATALOGUE[name] for name in sorted(deciding)])
    return (
        f"arrayReduce('maxOrNull', arrayMap(name -> toFloat64({poor}),"
        f" arrayFilter(name -> has({decide}, name), mapKeys(values))))"
    )


def poor_sql(name: str, value: str, among: Sequence[Indicator] = tuple(CATALOGUE.values())) -> str:
    """SQL: whether `value` is beyond the poor end of the indicator `name`; no other than `among` has one."""
    lower = [i for i in among if i.poor is not None and i.direction is Direction.LOWER]
    higher = [i for i in among if i.poor is not None and i.direction is Direction.HIGHER]
    return (
        f"({value} > transform({name}, {_names(lower)}, {_bounds(lower)}, inf)"
        f" OR {value} < transform({name}, {_names(higher)}, {_bounds(higher)}, -inf))"
    )


def _names(indicators: Sequence[Indicator]) -> str:
    return "[" + ", ".join(f"'{i.id}'" for i in indicators) + "]"


def _bounds(indicators: Sequence[Indicator]) -> str:
    return "[" + ", ".join(f"toFloat64({i.poor})" for i in indicators) + "]"


def observations_sql(where: str) -> str:
    """SQL: one row per sample and indicator that it carries, with its dimensions and whether it is poor.

    `where` chooses samples. A sample whose values are empty was withdrawn and gives nothing.
    """
    dimensions = ", ".join(ALL_DIMENSIONS)
    return (
        f"SELECT window, subscriber_id, {dimensions}, pair.1 AS indicator, pair.2 AS value,"  # noqa: S608 - ours
        f" {poor_sql('pair.1', 'pair.2')} AS poor"
        f" FROM (SELECT window, subscriber_id, {dimensions}, {bad_sql()} AS bad_or_not,"
        " arrayConcat(CAST(values, 'Array(Tuple(String, Float64))'),"
        f" if(isNull(bad_or_not), [], [('{BAD}', assumeNotNull(bad_or_not))])) AS pairs"
        f" FROM samples FINAL WHERE {where} AND notEmpty(values)) ARRAY JOIN pairs AS pair"
    )


STATES_SQL = (
    "count() AS n, sum(value) AS total, sum(value * value) AS squares, min(value) AS least, max(value) AS most,"
    f" {SKETCH.replace('(', 'State(', 1)}(value) AS sketch,"
    f" {DISTINCT.replace('(', 'StateIf(', 1)}(subscriber_id, subscriber_id != '') AS users,"
    " countIf(poor) AS bad,"
    f" {DISTINCT.replace('(', 'StateIf(', 1)}(subscriber_id, poor AND subscriber_id != '') AS bad_users"
)
"""Observations → mergeable states."""

MERGE_SQL = (
    "sum(n) AS count, sum(total) AS total, sum(squares) AS squares, min(least) AS least, max(most) AS most,"
    f" {SKETCH.replace('(', 'Merge(', 1)}(sketch) AS quantiles,"
    f" {DISTINCT.replace('(', 'Merge(', 1)}(users) AS users,"
    " sum(bad) AS bad,"
    f" {DISTINCT.replace('(', 'Merge(', 1)}(bad_users) AS bad_users"
)
"""Mergeable states → figures."""


def grouping_sets_sql() -> str:
    """SQL: every cut in one pass."""
    sets = ", ".join("(" + ", ".join((*ALWAYS, "indicator", *cut.keeps)) + ")" for cut in CUTS)
    return f"GROUPING SETS ({sets})"


def cut_name_sql() -> str:
    """SQL: the name of the cut that a row of `grouping_sets_sql` belongs to."""
    masks, names = [], []
    for cut in CUTS:
        bits = "".join("0" if dimension in cut.keeps else "1" for dimension in DIMENSIONS)
        masks.append(str(int(bits, 2)))
        names.append(f"'{cut.name}'")
    asked = "".join(f" + bitShiftLeft(toUInt32(grouping({dimension})), {len(DIMENSIONS) - 1 - place})"
                    for place, dimension in enumerate(DIMENSIONS))  # fmt: skip
    return f"transform(toUInt32(0{asked}), [{', '.join(masks)}], [{', '.join(names)}], '')"
