"""Answers questions to the cubes, from the smallest cut and the coarsest tier that can, else from the samples.

All ways use the same states and merges (`kqi.cuts`), so that they agree. Derived indicators (a ratio of sums) are
made here, after merging, from the sums of their parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from cem.platform.errors import InvalidInput
from cem.platform.facts import FactStore
from cem.platform.windows import WINDOW, window_start
from kqi.catalogue import CATALOGUE, Aggregation, Indicator
from kqi.cuts import ALL_DIMENSIONS, MERGE_SQL, STATES_SQL, Cut, cut_for, observations_sql
from kqi.tiers import DAILY, HOURLY, QUARTER, Segment, Tier, plan

MAX_WINDOWS = 96 * 31
"""Windows that one question by quarter hours may span: a month. [1]"""
MAX_FACT_WINDOWS = 96
"""Windows of a question that only samples can answer: a day. [1] Chosen here: it reads every sample."""
MAX_INDICATORS = 12
MAX_ROWS = 10_000
"""Rows of one page. [1]"""


class Step(StrEnum):
    """How long the stretch of time of one row is."""

    WINDOW = "15m"
    HOUR = "1h"
    DAY = "1d"
    ALL = "all"


COARSEST: Mapping[Step, Tier] = MappingProxyType(
    {Step.WINDOW: QUARTER, Step.HOUR: HOURLY, Step.DAY: DAILY, Step.ALL: DAILY}
)
"""The coarsest tier that holds a step's rows exactly."""
LONGEST: Mapping[Step, int] = MappingProxyType(
    {
        Step.WINDOW: MAX_WINDOWS,
        Step.HOUR: 96 * HOURLY.kept_days,
        Step.DAY: 96 * DAILY.kept_days,
        Step.ALL: 96 * DAILY.kept_days,
    }
)
"""Windows that a question may span: what its tier keeps; by quarter hours a month. [1]"""


@dataclass(frozen=True, slots=True)
class CubeQuestion:
    """What is asked; `start` included, `end` not, both cut to quarter hours."""

    indicators: tuple[str, ...]
    start: datetime
    end: datetime
    service: str | None = None
    vantage: str | None = None
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, str] = field(default_factory=dict)
    step: Step = Step.WINDOW
    limit: int = 1_000
    offset: int = 0


@dataclass(frozen=True, slots=True)
class CubeFigures:
    """One indicator over one stretch of time and one group.

    `mean` is that of the catalogue's formula (for a ratio: of sums). Quantiles are those of single samples,
    within 1 %. None where nothing was measured.
    """

    start: datetime
    group: Mapping[str, str]
    indicator: str
    count: int
    mean: float | None
    total: float
    standard_deviation: float | None
    least: float | None
    most: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    bad: int
    bad_share: float | None
    users: int
    bad_users: int


@dataclass(frozen=True, slots=True)
class CubePage:
    """Rows by time, then group; `next_offset` where there are more."""

    rows: tuple[CubeFigures, ...]
    next_offset: int | None
    answered_from: str
    """Name of the cut, or `samples`."""
    tiers: tuple[str, ...] = ()
    """Names of the tiers that answered, from the first stretch of time to the last; empty for samples."""


def check_question(question: CubeQuestion) -> CubeQuestion:
    """The question with its times cut to quarter hours.

    Raises
    ------
    InvalidInput
        An unknown dimension, no or too many indicators, a range that is empty or too long, a page too long.
    """
    unknown = (set(question.group_by) | set(question.filters)) - set(ALL_DIMENSIONS)
    if unknown:
        raise InvalidInput(
            f"Not a dimension: {', '.join(sorted(unknown))}. There are {', '.join(ALL_DIMENSIONS)}."
        )
    if not 0 < len(question.indicators) <= MAX_INDICATORS:
        raise InvalidInput(f"Ask for 1 to {MAX_INDICATORS} indicators.")
    if not 0 < question.limit <= MAX_ROWS or question.offset < 0:
        raise InvalidInput(f"A page has 1 to {MAX_ROWS} rows.")
    start = window_start(question.start)
    end = window_start(question.end)
    if end < question.end:
        end += WINDOW
    windows = (end - start) / WINDOW
    if windows <= 0:
        raise InvalidInput("The range is empty: `to` must be later than `from`.")
    asked = {*question.group_by, *question.filters}
    most = LONGEST[question.step] if cut_for(asked) else MAX_FACT_WINDOWS
    if windows > most:
        raise InvalidInput(
            f"The range holds {windows:.0f} quarter hours; for these dimensions and this step {most} are answered."
        )
    return CubeQuestion(
        indicators=tuple(dict.fromkeys(question.indicators)),
        start=start,
        end=end,
        service=question.service,
        vantage=question.vantage,
        group_by=tuple(dict.fromkeys(question.group_by)),
        filters=dict(question.filters),
        step=question.step,
        limit=question.limit,
        offset=question.offset,
    )


class CubeReader:
    """Reads cubes."""

    def __init__(self, store: FactStore) -> None:
        self._store = store

    def answer(self, question: CubeQuestion, *, timeout_s: float = 10) -> CubePage:
        """Answer a question. Raises InvalidInput, FactStoreError."""
        asked = check_question(question)
        source, params, name, tiers = states_source(self._store, asked, timeout_s=timeout_s)
        rows = self._store.rows(_page_sql(asked, source), params, timeout_s=timeout_s)
        more = len(rows) > asked.limit
        figures = [one for row in rows[: asked.limit] for one in _figures(row, asked)]
        return CubePage(
            rows=tuple(figures),
            next_offset=asked.offset + asked.limit if more else None,
            answered_from=name,
            tiers=tiers,
        )


_STATES = ("n", "total", "squares", "least", "most", "sketch", "users", "bad", "bad_users")


def states_source(
    store: FactStore, asked: CubeQuestion, *, timeout_s: float
) -> tuple[str, dict[str, Any], str, tuple[str, ...]]:
    """Where the states of a checked question come from.

    Returns
    -------
    SQL to put after FROM, its parameters, the name of the cut or `samples`, and the names of the tiers. The source
    has `window`, `indicator`, the dimensions asked for, and states.
    """
    cut = cut_for({*asked.group_by, *asked.filters})
    conditions, params = _conditions(asked)
    if cut is None:
        dimensions = ", ".join(dict.fromkeys(("window", "indicator", *asked.group_by)))
        facts = (
            f"(SELECT {dimensions}, {STATES_SQL} FROM ({observations_sql(conditions)})"  # noqa: S608 - ours
            f" WHERE indicator IN {{indicators:Array(String)}} GROUP BY {dimensions})"
        )
        return facts, params, "samples", ()
    parts = plan(store, asked.start, asked.end, COARSEST[asked.step], timeout_s=timeout_s)
    source = " UNION ALL ".join(
        _tier_sql(tier, [part for part in parts if part.tier is tier], asked, cut, conditions, params)
        for tier in dict.fromkeys(part.tier for part in parts)
    )
    tiers = tuple(dict.fromkeys(part.tier.name for part in parts))
    return f"({source})", params, cut.name, tiers


def _tier_sql(
    tier: Tier, parts: list[Segment], asked: CubeQuestion, cut: Cut, conditions: str, params: dict[str, Any]
) -> str:
    """States of one tier over its stretches of time; adds to `params`."""
    ranges = []
    for number, part in enumerate(parts):
        first, last = f"{tier.name}_from_{number}", f"{tier.name}_to_{number}"
        params |= {first: part.start, last: part.end}
        ranges.append(
            f"window >= {{{first}:DateTime64(0, 'UTC')}} AND window < {{{last}:DateTime64(0, 'UTC')}}"
        )
    when = "(" + " OR ".join(ranges) + ")"
    params["cut"] = cut.name
    columns = ", ".join(dict.fromkeys(("window", "indicator", *asked.group_by, *_STATES)))
    builds = "cube_builds WHERE" if tier is QUARTER else f"tier_builds WHERE tier = '{tier.name}' AND"
    return (
        f"SELECT {columns} FROM {tier.tables[0]} WHERE {when} AND (window, build) IN"  # noqa: S608 - ours
        f" (SELECT window, max(build) FROM {builds} {when} GROUP BY window)"
        f" AND cut = {{cut:String}} AND indicator IN {{indicators:Array(String)}} AND {conditions}"
    )


_ARRAYS = (
    "indicator",
    "count",
    "total",
    "squares",
    "least",
    "most",
    "quantiles",
    "users",
    "bad",
    "bad_users",
)


def _page_sql(asked: CubeQuestion, source: str) -> str:
    start = {
        Step.WINDOW: "window",
        Step.HOUR: "toDateTime64(toStartOfHour(window), 0, 'UTC')",
        Step.DAY: "toDateTime64(toStartOfDay(window), 0, 'UTC')",
        Step.ALL: "{start:DateTime64(0, 'UTC')}",
    }[asked.step]
    keys = "".join(f", {name}" for name in asked.group_by)
    arrays = ", ".join(f"groupArray({name}) AS {name}_list" for name in _ARRAYS)
    return (
        f"SELECT began{keys}, {arrays} FROM (SELECT {start} AS began{keys}, indicator, {MERGE_SQL} FROM {source}"  # noqa: S608 - ours
        f" GROUP BY began{keys}, indicator) GROUP BY began{keys} ORDER BY began{keys}"
        f" LIMIT {asked.limit + 1} OFFSET {asked.offset}"
    )


def _conditions(asked: CubeQuestion) -> tuple[str, dict[str, Any]]:
    params: dict[str, Any] = {
        "start": asked.start,
        "end": asked.end,
        "indicators": sorted({part for name in asked.indicators for part in (name, *_parts(name))}),
    }
    texts = ["window >= {start:DateTime64(0, 'UTC')}", "window < {end:DateTime64(0, 'UTC')}"]
    named = {"service": asked.service, "vantage": asked.vantage}
    for name, value in {**{k: v for k, v in named.items() if v is not None}, **asked.filters}.items():
        texts.append(f"{name} = {{is_{name}:String}}")
        params[f"is_{name}"] = value
    return " AND ".join(texts), params


def _parts(name: str) -> tuple[str, ...]:
    indicator = CATALOGUE.get(name)
    return () if indicator is None else (*indicator.numerators, *indicator.denominators)


def _figures(row: Mapping[str, Any], asked: CubeQuestion) -> list[CubeFigures]:
    lists = [row[f"{name}_list"] for name in _ARRAYS]
    found = {values[0]: dict(zip(_ARRAYS, values, strict=True)) for values in zip(*lists, strict=True)}
    totals = {name: figures["total"] for name, figures in found.items()}
    group = {name: row[name] for name in asked.group_by}
    made = []
    for name in asked.indicators:
        indicator = CATALOGUE.get(name)
        figures = found.get(name)
        if figures is None:
            continue
        count, total = figures["count"], figures["total"]
        variance = max(0.0, figures["squares"] / count - (total / count) ** 2)
        p50, p90, p95 = (min(max(q, figures["least"]), figures["most"]) for q in figures["quantiles"])
        made.append(
            CubeFigures(
                start=row["began"],
                group=group,
                indicator=name,
                count=count,
                mean=formula(indicator, totals, count) if indicator else total / count,
                total=total,
                standard_deviation=math.sqrt(variance),
                least=figures["least"],
                most=figures["most"],
                p50=p50,
                p90=p90,
                p95=p95,
                bad=figures["bad"],
                bad_share=figures["bad"] / count,
                users=figures["users"],
                bad_users=figures["bad_users"],
            )
        )
    return made


def formula(indicator: Indicator, totals: Mapping[str, float], count: int) -> float | None:
    """An indicator's one value over many samples, from sums.

    Parameters
    ----------
    indicator
        The catalogue's entry.
    totals
        Σ of every indicator over the samples, by id.
    count
        Samples that carry the indicator. [1]

    Returns
    -------
    In the indicator's unit; None where a ratio's denominator is 0 or its parts are missing.
    """
    if indicator.aggregation is not Aggregation.RATIO:
        return totals[indicator.id] / count if count else None
    over = [totals[name] for name in indicator.denominators if name in totals]
    parts = [totals[name] for name in indicator.numerators if name in totals]
    if not over or not parts or sum(over) == 0:
        return None
    return indicator.scale * sum(parts) / sum(over)
