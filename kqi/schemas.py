"""Answers of this room's routes, as models that document themselves."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from kqi.catalogue import BAD_IF, CATALOGUE, CATALOGUE_VERSION, Indicator
from kqi.cube_reading import CubeFigures, CubePage
from kqi.repository import StoredSample
from kqi.service import SessionView, Taken
from kqi.timeline import Timeline
from kqi.video import SessionKqi


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class IndicatorModel(_Model):
    """One entry of the catalogue."""

    id: str = Field(examples=["stall_ratio"])
    name_zh: str = Field(examples=["卡顿时长占比"])
    name_en: str = Field(examples=["Stall ratio"])
    unit: str = Field(examples=["1"], description="'1' for ratios and counts.")
    direction: str = Field(examples=["lower"], description="Which way is better: lower, higher or neutral.")
    aggregation: str = Field(examples=["ratio"], description="mean, sum, share, or ratio (of sums).")
    services: list[str] = Field(examples=[["video"]])
    vantages: list[str] = Field(examples=[["device"]])
    definition: str
    formula: str = Field(
        default="",
        examples=["sum(`stall_ms`) / (sum(`stall_ms`) + sum(`play_ms`))"],
        description="For the reader; names in backticks are indicators, counters, events or LwM2M resources.",
    )
    layer: str | None = Field(
        default=None, examples=["core"], description="Of things: core, radio, platform, device."
    )
    source: str
    good: float | None = Field(default=None, examples=[0.01])
    poor: float | None = Field(default=None, examples=[0.05], description="Beyond it a value counts as bad.")
    numerators: list[str] = Field(default=[], examples=[["stall_ms"]])
    denominators: list[str] = Field(default=[], examples=[["stall_ms", "play_ms"]])
    scale: float = Field(default=1.0, description="Σ numerators ÷ Σ denominators × scale.")

    @classmethod
    def of(cls, entry: Indicator) -> IndicatorModel:
        """From the catalogue's entry."""
        return cls(
            id=entry.id,
            name_zh=entry.name_zh,
            name_en=entry.name_en,
            unit=entry.unit,
            direction=entry.direction,
            aggregation=entry.aggregation,
            services=list(entry.services),
            vantages=list(entry.vantages),
            definition=entry.definition,
            formula=entry.formula,
            layer=entry.layer,
            source=entry.source,
            good=entry.good,
            poor=entry.poor,
            numerators=list(entry.numerators),
            denominators=list(entry.denominators),
            scale=entry.scale,
        )


class BadIfModel(_Model):
    """Which indicators decide whether a sample is a bad experience."""

    service: str | None = Field(examples=["video"], description="None: any service.")
    vantage: str = Field(examples=["device"])
    indicators: list[str] = Field(examples=[["failed", "start_delay_ms", "stall_ratio"]])


class CatalogueModel(_Model):
    """Every indicator, and what counts as bad."""

    version: str = Field(examples=[CATALOGUE_VERSION])
    indicators: list[IndicatorModel]
    bad_if: list[BadIfModel] = Field(
        description="First match decides. Bad: any of them beyond its `poor`. Unknown: none of them there."
    )

    @classmethod
    def build(cls) -> CatalogueModel:
        """The catalogue as it stands."""
        return cls(
            version=CATALOGUE_VERSION,
            indicators=[IndicatorModel.of(entry) for entry in CATALOGUE.values()],
            bad_if=[
                BadIfModel(service=rule.service, vantage=rule.vantage, indicators=list(rule.indicators))
                for rule in BAD_IF
            ],
        )


class RejectModel(_Model):
    """An item that was not taken."""

    pointer: str = Field(examples=["/3/values/rtt_ms"], description="RFC 6901, the item's index first.")
    code: str = Field(examples=["wrong_type"])
    detail: str = Field(examples=["An indicator's value is a number."])


class TakenModel(_Model):
    """What became of a body of samples."""

    accepted: int = Field(examples=[2], description="New, and on disk.")
    duplicate: int = Field(examples=[0], description="On disk already; changes nothing.")
    rejected: int = Field(examples=[1])
    errors: list[RejectModel]
    commit_ms: float = Field(examples=[11.2], description="From handing over to on disk. [ms]")

    @classmethod
    def of(cls, taken: Taken) -> TakenModel:
        """From the service's answer."""
        return cls(
            accepted=taken.accepted,
            duplicate=taken.duplicate,
            rejected=len(taken.rejects),
            errors=[RejectModel(pointer=r.pointer, code=r.code, detail=r.detail) for r in taken.rejects],
            commit_ms=round(taken.commit_ms, 3),
        )


class FiguresModel(_Model):
    """Figures of a video session; None where its events do not tell. Units in the names."""

    start_delay_ms: float | None = Field(examples=[1200.0])
    stall_ms: int = Field(examples=[3000])
    stall_count: int = Field(examples=[1])
    play_ms: int = Field(examples=[57000])
    stall_ratio: float | None = Field(examples=[0.05])
    stall_frequency_per_min: float | None = Field(examples=[1.0526])
    bitrate_kbps: float | None = Field(examples=[3200.0])
    failed: float | None = Field(examples=[0.0])
    switch_count: int | None = Field(default=None, examples=[2])
    experience_score: float | None = Field(
        default=None, examples=[3.97], description="1 (bad) to 5 (excellent)."
    )

    @classmethod
    def of(cls, figures: SessionKqi) -> FiguresModel:
        """From the pure figures."""
        return cls(
            start_delay_ms=figures.start_delay_ms,
            stall_ms=figures.stall_ms,
            stall_count=figures.stall_count,
            play_ms=figures.play_ms,
            stall_ratio=figures.stall_ratio,
            stall_frequency_per_min=figures.stall_frequency_per_min,
            bitrate_kbps=figures.bitrate_kbps,
            failed=figures.failed,
            switch_count=figures.switch_count,
            experience_score=figures.experience_score,
        )


class IntervalModel(_Model):
    """A stretch of a session in one phase."""

    phase: str = Field(examples=["stalled"], description="starting, playing, stalled, paused or seeking.")
    start_ms: int = Field(examples=[1795332612000], description="Unix time. [ms]")
    end_ms: int = Field(examples=[1795332615000], description="Excluded. [ms]")
    bitrate_kbps: float | None = None


class LineModel(_Model):
    """A session, moment by moment."""

    intervals: list[IntervalModel]
    closed: bool = Field(description="Whether an end or a failure is known.")
    failed_before_start: bool
    errors: int = Field(description="Errors told, those that playback survived included.")
    http_status: float | None = Field(default=None, examples=[503])
    error_code: str = ""

    @classmethod
    def of(cls, line: Timeline) -> LineModel:
        """From the pure time line."""
        return cls(
            intervals=[
                IntervalModel(
                    phase=i.phase, start_ms=i.start_ms, end_ms=i.end_ms, bitrate_kbps=i.bitrate_kbps
                )
                for i in line.intervals
            ],
            closed=line.closed,
            failed_before_start=line.failed_before_start,
            errors=line.error_count,
            http_status=line.http_status,
            error_code=line.error_code,
        )


class SampleModel(_Model):
    """A sample of the session, from one vantage point."""

    vantage: str = Field(examples=["device"])
    service: str = Field(examples=["video"])
    window: datetime
    observed_at: datetime
    origin: str = Field(examples=["sessions"])
    dimensions: dict[str, str] = Field(examples=[{"city": "杭州", "node": "edge-7"}])
    values: dict[str, float] = Field(examples=[{"stall_ms": 3000.0, "play_ms": 57000.0}])
    labels: dict[str, str]

    @classmethod
    def of(cls, sample: StoredSample) -> SampleModel:
        """From the stored sample."""
        return cls(
            vantage=sample.vantage,
            service=sample.service,
            window=sample.window,
            observed_at=sample.observed_at,
            origin=sample.origin,
            dimensions=dict(sample.dimensions),
            values=dict(sample.values),
            labels=dict(sample.labels),
        )


class SessionModel(_Model):
    """One session with everything known of it."""

    session_id: str
    subscriber_id: str = Field(description="Keyed hash of the line; '' where nobody told whose it is.")
    figures: FiguresModel
    timeline: LineModel | None = Field(description="None where only totals were reported.")
    samples: list[SampleModel] = Field(description="Newest first.")

    @classmethod
    def of(cls, view: SessionView) -> SessionModel:
        """From the service's view."""
        return cls(
            session_id=view.key.session_id,
            subscriber_id=view.key.subscriber_id,
            figures=FiguresModel.of(view.figures),
            timeline=None if view.line is None else LineModel.of(view.line),
            samples=[SampleModel.of(sample) for sample in view.samples],
        )


class CubeRowModel(_Model):
    """One indicator over one stretch of time and one group."""

    start: datetime = Field(description="Start of the stretch: the quarter hour, the hour, or `from`.")
    group: dict[str, str] = Field(examples=[{"city": "杭州", "source": "live"}], description="'' is unknown.")
    indicator: str = Field(examples=["stall_ratio"])
    count: int = Field(examples=[1667], description="Samples that carry the indicator.")
    mean: float | None = Field(
        examples=[0.0161], description="By the catalogue's formula; a ratio is one of sums."
    )
    total: float
    standard_deviation: float | None
    minimum: float | None
    maximum: float | None
    p50: float | None = Field(description="Quantiles of single samples, within 1 %.")
    p90: float | None
    p95: float | None
    bad: int = Field(examples=[67], description="Samples beyond the indicator's poor end.")
    bad_share: float | None = Field(examples=[0.0402])
    users: int = Field(examples=[250], description="Distinct lines, within 1 %.")
    bad_users: int = Field(examples=[10])

    @classmethod
    def of(cls, row: CubeFigures) -> CubeRowModel:
        """From the reader's row."""
        return cls(
            start=row.start,
            group=dict(row.group),
            indicator=row.indicator,
            count=row.count,
            mean=row.mean,
            total=row.total,
            standard_deviation=row.standard_deviation,
            minimum=row.least,
            maximum=row.most,
            p50=row.p50,
            p90=row.p90,
            p95=row.p95,
            bad=row.bad,
            bad_share=row.bad_share,
            users=row.users,
            bad_users=row.bad_users,
        )


class CubePageModel(_Model):
    """Rows by time, then group, then indicator."""

    rows: list[CubeRowModel]
    next_offset: int | None = Field(description="Ask again with this `offset`; None: that was all.")
    answered_from: str = Field(examples=["source"], description="The cut that answered, or `samples`.")
    tiers: list[str] = Field(default=[], examples=[["quarter_hour"]], description="Tiers that answered.")

    @classmethod
    def of(cls, page: CubePage) -> CubePageModel:
        """From the reader's page."""
        return cls(
            rows=[CubeRowModel.of(row) for row in page.rows],
            next_offset=page.next_offset,
            answered_from=page.answered_from,
            tiers=list(page.tiers),
        )
