"""The worst groups of a dimension by an indicator, over a stretch of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from cem.platform.errors import InvalidInput
from cem.platform.facts import FactStore
from kqi.catalogue import CATALOGUE, Aggregation, Direction
from kqi.cube_reading import CubeQuestion, Step, check_question, states_source
from kqi.cuts import DISTINCT, cut_for

MAX_TOP = 1_000
"""Groups of a page. [1]"""
LEAST_USERS = 3
"""Fewest lines of a group unless asked otherwise. [1] DEMARCATION.md, candidates."""


class Rank(StrEnum):
    """What makes a group worse."""

    MEAN = "mean"
    BAD_SHARE = "bad_share"


@dataclass(frozen=True, slots=True)
class TopQuestion:
    """What is asked; `least_users` 0 lets in groups whose samples name no lines."""

    indicator: str
    dimensions: tuple[str, ...]
    start: datetime
    end: datetime
    by: Rank = Rank.MEAN
    service: str | None = None
    vantage: str | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    least_users: int = LEAST_USERS
    limit: int = 20
    offset: int = 0


@dataclass(frozen=True, slots=True)
class TopRow:
    """One group; `mean` by the catalogue's formula."""

    group: Mapping[str, str]
    count: int
    mean: float
    bad: int
    bad_share: float
    users: int
    bad_users: int


@dataclass(frozen=True, slots=True)
class TopPage:
    """Worst first; `next_offset` where there are more."""

    rows: tuple[TopRow, ...]
    next_offset: int | None
    answered_from: str
    tiers: tuple[str, ...]


class TopReader:
    """Ranks groups in the store: only a page leaves it."""

    def __init__(self, store: FactStore) -> None:
        self._store = store

    def answer(self, asked: TopQuestion, *, timeout_s: float = 10) -> TopPage:
        """Answer a question. A group whose dimension is unknown ('') is none.

        Raises
        ------
        InvalidInput
            As `check_question`; no dimension; dimensions that no cut keeps together.
        """
        if not asked.dimensions:
            raise InvalidInput("Ask for a dimension.")
        if not 0 < asked.limit <= MAX_TOP or asked.offset < 0 or asked.least_users < 0:
            raise InvalidInput(f"A page has 1 to {MAX_TOP} rows; a bound is not negative.")
        question = check_question(
            CubeQuestion(
                (asked.indicator,),
                asked.start,
                asked.end,
                asked.service,
                asked.vantage,
                asked.dimensions,
                asked.filters,
                Step.ALL,
            )
        )
        if cut_for({*question.group_by, *question.filters}) is None:
            raise InvalidInput(
                "No cut of the cubes keeps these dimensions together; ask /v1/kqi/cubes for a day at most."
            )
        source, params, name, tiers = states_source(self._store, question, timeout_s=timeout_s)
        entry = CATALOGUE.get(asked.indicator)
        mine = "indicator = {indicator:String}"
        value = f"sumIf(total, {mine}) / sumIf(n, {mine})"
        if entry is not None and entry.aggregation is Aggregation.RATIO:
            value = (
                "{scale:Float64} * sumIf(total, indicator IN {over:Array(String)})"
                " / sumIf(total, indicator IN {under:Array(String)})"
            )
            params |= {
                "scale": entry.scale,
                "over": list(entry.numerators),
                "under": list(entry.denominators),
            }
        better_high = entry is not None and entry.direction is Direction.HIGHER
        order = (
            "bad_part DESC" if asked.by is Rank.BAD_SHARE else "value ASC" if better_high else "value DESC"
        )
        merge = DISTINCT.replace("(", "MergeIf(", 1)
        keys = ", ".join(question.group_by)
        known = " AND ".join(f"{dimension} != ''" for dimension in question.group_by)
        rows = self._store.rows(
            f"SELECT {keys}, sumIf(n, {mine}) AS size, {value} AS value, sumIf(bad, {mine}) AS poor,"  # noqa: S608 - ours
            f" if(size = 0, 0., poor / size) AS bad_part, {merge}(users, {mine}) AS lines,"
            f" {merge}(bad_users, {mine}) AS poor_lines FROM {source} WHERE {known} GROUP BY {keys}"
            " HAVING size > 0 AND isFinite(value) AND lines >= {least_users:UInt64}"
            f" ORDER BY {order}, lines DESC, {keys} LIMIT {asked.limit + 1} OFFSET {asked.offset}",
            {**params, "indicator": asked.indicator, "least_users": asked.least_users},
            timeout_s=timeout_s,
        )
        found = tuple(
            TopRow(
                group={dimension: row[dimension] for dimension in question.group_by},
                count=row["size"],
                mean=row["value"],
                bad=row["poor"],
                bad_share=row["bad_part"],
                users=row["lines"],
                bad_users=row["poor_lines"],
            )
            for row in rows[: asked.limit]
        )
        more = len(rows) > asked.limit
        return TopPage(found, asked.offset + asked.limit if more else None, name, tiers)
