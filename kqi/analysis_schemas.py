"""Answers about series, rankings and anomalies, as models that document themselves."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from kqi.anomaly_reading import StoredAnomaly
from kqi.series_reading import SeriesPage
from kqi.top_reading import TopPage


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class BandModel(_Model):
    """Where the value lies on a normal day: two standard deviations to each side."""

    expected: float = Field(examples=[0.016])
    low: float = Field(examples=[0.009])
    high: float = Field(examples=[0.023])
    basis: str = Field(examples=["weeks"], description="weeks: same time of week; days: same time of day.")


class SeriesRowModel(_Model):
    """One stretch of time."""

    start: datetime
    count: int = Field(examples=[1667], description="Samples that carry the indicator.")
    mean: float | None = Field(examples=[0.0161], description="By the catalogue's formula.")
    p50: float | None
    p90: float | None
    p95: float | None
    bad_share: float | None = Field(examples=[0.0402])
    users: int = Field(examples=[250])
    band: BandModel | None = Field(description="None: no past of its own, a page of over 192 rows, or days.")


class SeriesModel(_Model):
    """Rows by time; a stretch without samples has none."""

    indicator: str = Field(examples=["stall_ratio"])
    group: dict[str, str] = Field(examples=[{"city": "杭州"}])
    rows: list[SeriesRowModel]
    next_offset: int | None
    answered_from: str = Field(examples=["city"], description="The cut that answered, or `samples`.")
    tiers: list[str] = Field(examples=[["hour", "quarter_hour"]], description="Tiers that answered.")

    @classmethod
    def of(cls, indicator: str, group: dict[str, str], page: SeriesPage) -> SeriesModel:
        """From the reader's page."""
        rows = [
            SeriesRowModel(
                start=row.start,
                count=row.count,
                mean=row.mean,
                p50=row.p50,
                p90=row.p90,
                p95=row.p95,
                bad_share=row.bad_share,
                users=row.users,
                band=None
                if band is None
                else BandModel(expected=band.expected, low=band.low, high=band.high, basis=band.basis),
            )
            for row, band in page.rows
        ]
        return cls(
            indicator=indicator,
            group=group,
            rows=rows,
            next_offset=page.next_offset,
            answered_from=page.answered_from,
            tiers=list(page.tiers),
        )


class TopRowModel(_Model):
    """One group."""

    group: dict[str, str] = Field(examples=[{"node": "edge-7"}])
    count: int = Field(examples=[4210])
    mean: float = Field(examples=[0.081])
    bad: int = Field(examples=[702])
    bad_share: float = Field(examples=[0.1667])
    users: int = Field(examples=[311])
    bad_users: int = Field(examples=[120])


class TopModel(_Model):
    """Groups, worst first."""

    indicator: str = Field(examples=["stall_ratio"])
    rows: list[TopRowModel]
    next_offset: int | None
    answered_from: str = Field(examples=["node"])
    tiers: list[str] = Field(examples=[["quarter_hour"]])

    @classmethod
    def of(cls, indicator: str, page: TopPage) -> TopModel:
        """From the reader's page."""
        rows = [
            TopRowModel(
                group=dict(row.group),
                count=row.count,
                mean=row.mean,
                bad=row.bad,
                bad_share=row.bad_share,
                users=row.users,
                bad_users=row.bad_users,
            )
            for row in page.rows
        ]
        return cls(
            indicator=indicator,
            rows=rows,
            next_offset=page.next_offset,
            answered_from=page.answered_from,
            tiers=list(page.tiers),
        )


class AnomalyModel(_Model):
    """A slice that is worse than expected, or a feed that fell silent."""

    window: datetime
    kind: str = Field(examples=["value"], description="value, or feed: nothing came where it used to.")
    indicator: str = Field(examples=["failed"], description="'' for a feed that sent nothing at all.")
    level: str = Field(examples=["cell"])
    service: str = Field(examples=["video"])
    vantage: str = Field(examples=["device"])
    dimensions: dict[str, str] = Field(examples=[{"province": "浙江", "city": "杭州", "cell": "c3"}])
    observed: float = Field(examples=[0.7], description="In the indicator's unit; of a feed: its samples.")
    expected: float = Field(examples=[0.05])
    deviation: float = Field(examples=[0.036], description="Standard deviation of `observed` by chance.")
    score: float = Field(
        examples=[18.1], description="Deviations beyond what is expected; positive is worse."
    )
    p: float = Field(examples=[1.2e-19], description="Chance of as much or more.")
    q: float = Field(examples=[2.1e-16], description="False-discovery bound over every slice of the window.")
    samples: int = Field(examples=[40])
    users: int = Field(examples=[38], description="0 where samples name no lines.")
    basis: str = Field(
        examples=["weeks"],
        description="What the expectation rests on: weeks, days, parent or catalogue; '' for a feed.",
    )

    @classmethod
    def of(cls, row: StoredAnomaly) -> AnomalyModel:
        """From the store's row."""
        return cls(
            window=row.window,
            kind=row.kind,
            indicator=row.indicator,
            level=row.level,
            service=row.service,
            vantage=row.vantage,
            dimensions=dict(row.dimensions),
            observed=row.observed,
            expected=row.expected,
            deviation=row.deviation,
            score=row.score,
            p=row.p,
            q=row.q,
            samples=row.samples,
            users=row.users,
            basis=row.basis,
        )


class AnomalyPageModel(_Model):
    """The newest window first, then feeds after values, the surest first."""

    rows: list[AnomalyModel]
    next_offset: int | None = Field(description="Ask again with this `offset`; None: that was all.")
