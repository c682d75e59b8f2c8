"""Routes over cubes: series with their normal band, the worst groups, anomalies.

Annotations here are evaluated as they are written, because the framework reads them.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from cem.platform.clock import Clock
from cem.platform.security import Guard, Permission
from kqi.analysis_schemas import AnomalyModel, AnomalyPageModel, SeriesModel, TopModel
from kqi.anomaly_reading import DIMENSIONS, MAX_PAGE, AnomalyQuestion
from kqi.answers import COUNT, FORMATS, NUMBER, TEXT, TIME, Columns, aware, respond
from kqi.cube_reading import Step
from kqi.documentation import REFUSALS
from kqi.series_reading import BAND_ROWS, SeriesQuestion
from kqi.service import KqiService
from kqi.top_reading import LEAST_USERS, MAX_TOP, Rank, TopQuestion

MAX_SERIES_ROWS = 3_000
"""Rows of one page: a month of quarter hours. [1]"""
_ANSWERS: dict[int | str, dict[str, Any]] = {
    **FORMATS,
    422: {**REFUSALS[422], "description": "Not a question."},
}
_FORMAT_TEXT = (
    "`Accept: text/csv` gives CSV, `Accept: application/vnd.apache.arrow.stream` an Arrow stream, both with the next "
    "page's offset in the header X-Next-Offset."
)


def dimension_filters(
    province: Annotated[str | None, Query(max_length=128)] = None,
    city: Annotated[str | None, Query(max_length=128, examples=["杭州"])] = None,
    area: Annotated[str | None, Query(max_length=128)] = None,
    cell: Annotated[str | None, Query(max_length=128)] = None,
    rat: Annotated[str | None, Query(max_length=128)] = None,
    slice_name: Annotated[str | None, Query(alias="slice", max_length=128)] = None,
    gateway: Annotated[str | None, Query(max_length=128)] = None,
    source: Annotated[str | None, Query(max_length=128)] = None,
    node: Annotated[str | None, Query(max_length=128, examples=["edge-7"])] = None,
    model: Annotated[str | None, Query(max_length=128)] = None,
    os: Annotated[str | None, Query(max_length=128)] = None,
    app_version: Annotated[str | None, Query(max_length=128)] = None,
    device_type: Annotated[str | None, Query(max_length=128)] = None,
) -> dict[str, str]:
    """Dimensions that a question holds fixed."""
    given = {
        "province": province,
        "city": city,
        "area": area,
        "cell": cell,
        "rat": rat,
        "slice": slice_name,
        "gateway": gateway,
        "source": source,
        "node": node,
        "model": model,
        "os": os,
        "app_version": app_version,
        "device_type": device_type,
    }
    return {name: value for name, value in given.items() if value is not None}


Filters = Annotated[dict[str, str], Depends(dimension_filters)]
Service = Annotated[str | None, Query(alias="service", max_length=32, examples=["video"])]
Vantage = Annotated[
    str | None, Query(max_length=16, examples=["device"], description="device, pipe or cloud.")
]
From = Annotated[datetime | None, Query(alias="from", examples=["2026-11-22T07:00:00Z"])]
To = Annotated[datetime | None, Query(alias="to", examples=["2026-11-22T08:00:00Z"], description="Excluded.")]
IndicatorId = Annotated[
    str, Query(min_length=1, max_length=64, examples=["stall_ratio"], description="A catalogue id.")
]


def add_analysis(router: APIRouter, service: KqiService, guard: Guard, clock: Clock) -> None:
    """Add the routes to the room's router."""
    _add_series(router, service, guard, clock)
    _add_top(router, service, guard, clock)
    _add_anomalies(router, service, guard, clock)


def _add_series(router: APIRouter, service: KqiService, guard: Guard, clock: Clock) -> None:
    @router.get(
        "/kqi/series",
        summary="One indicator over time",
        description="One indicator of one group (the dimensions given), by quarter hours (a month at most), hours (400 "
        "days) or days (five years), beside the band of a normal day. Without `from` and `to`: the last day. "
        "Example: `/v1/kqi/series?indicator=stall_ratio&service=video&city=杭州&step=1h`. " + _FORMAT_TEXT,
        response_model=SeriesModel,
        responses=_ANSWERS,
        dependencies=[Depends(guard.allow(Permission.KQI_READ))],
    )
    async def read_series(
        request: Request,
        indicator: IndicatorId,
        filters: Filters,
        service_name: Service = None,
        vantage: Vantage = None,
        start: From = None,
        end: To = None,
        step: Annotated[Step, Query(description="15m, 1h or 1d.")] = Step.WINDOW,
        limit: Annotated[int, Query(ge=1, le=MAX_SERIES_ROWS, description="Rows of a page.")] = BAND_ROWS,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        until = aware(end, "to") or clock.now()
        question = SeriesQuestion(
            indicator=indicator,
            start=aware(start, "from") or until - timedelta(days=1),
            end=until,
            step=step,
            service=service_name,
            vantage=vantage,
            filters=filters,
            limit=limit,
            offset=offset,
        )
        page = await service.reading(service.series, question)
        columns = Columns(
            (
                ("start", TIME),
                ("count", COUNT),
                *((name, NUMBER) for name in ("mean", "p50", "p90", "p95", "bad_share")),
                ("users", COUNT),
                *((name, NUMBER) for name in ("expected", "low", "high")),
                ("basis", TEXT),
            ),
            [
                (
                    row.start,
                    row.count,
                    row.mean,
                    row.p50,
                    row.p90,
                    row.p95,
                    row.bad_share,
                    row.users,
                    *((None,) * 4 if band is None else (band.expected, band.low, band.high, str(band.basis))),
                )
                for row, band in page.rows
            ],
        )
        return respond(request, SeriesModel.of(indicator, filters, page), columns, page.next_offset)


def _add_top(router: APIRouter, service: KqiService, guard: Guard, clock: Clock) -> None:
    @router.get(
        "/kqi/top",
        summary="The worst groups of a dimension",
        description="Groups ranked by an indicator's mean (by its formula and direction) or by its share of "
        "bad samples, worst first; groups of fewer lines than `least_users` are left out. Ranked in the store from "
        "the coarsest tier that holds the range. Without `from` and `to`: the last hour. Example: "
        "`/v1/kqi/top?indicator=bad&dimension=node&service=video&by=bad_share&limit=10`. " + _FORMAT_TEXT,
        response_model=TopModel,
        responses=_ANSWERS,
        dependencies=[Depends(guard.allow(Permission.KQI_READ))],
    )
    async def read_top(
        request: Request,
        indicator: IndicatorId,
        dimension: Annotated[
            str, Query(max_length=128, examples=["node"], description="One, or several separated by commas.")
        ],
        filters: Filters,
        by: Annotated[Rank, Query(description="mean or bad_share.")] = Rank.MEAN,
        service_name: Service = None,
        vantage: Vantage = None,
        start: From = None,
        end: To = None,
        least_users: Annotated[
            int, Query(ge=0, le=1_000_000_000, description="0 lets in groups whose samples name no lines.")
        ] = LEAST_USERS,
        limit: Annotated[int, Query(ge=1, le=MAX_TOP)] = 20,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        until = aware(end, "to") or clock.now()
        question = TopQuestion(
            indicator=indicator,
            dimensions=tuple(name.strip() for name in dimension.split(",") if name.strip()),
            start=aware(start, "from") or until - timedelta(hours=1),
            end=until,
            by=by,
            service=service_name,
            vantage=vantage,
            filters=filters,
            least_users=least_users,
            limit=limit,
            offset=offset,
        )
        page = await service.reading(service.top, question)
        names = tuple(dict.fromkeys(question.dimensions))
        columns = Columns(
            (
                *((name, TEXT) for name in names),
                ("count", COUNT),
                ("mean", NUMBER),
                ("bad", COUNT),
                ("bad_share", NUMBER),
                ("users", COUNT),
                ("bad_users", COUNT),
            ),
            [
                (
                    *(row.group[name] for name in names),
                    row.count,
                    row.mean,
                    row.bad,
                    row.bad_share,
                    row.users,
                    row.bad_users,
                )
                for row in page.rows
            ],
        )
        return respond(request, TopModel.of(indicator, page), columns, page.next_offset)


_ANOMALY_FIGURES = ("observed", "expected", "deviation", "score", "p", "q")


def _add_anomalies(router: APIRouter, service: KqiService, guard: Guard, clock: Clock) -> None:
    @router.get(
        "/kqi/anomalies",
        summary="What is worse than it should be",
        description="Slices of closed quarter hours whose indicator is worse than its baseline, with a bound of 5 % on "
        "false discoveries over every slice of the window; and feeds that fell silent (`kind` feed). Without `from` "
        "and `to`: the last two hours; 31 days at most. Example: "
        "`/v1/kqi/anomalies?indicator=bad,stall_ratio&level=node`. " + _FORMAT_TEXT,
        response_model=AnomalyPageModel,
        responses=_ANSWERS,
        dependencies=[Depends(guard.allow(Permission.KQI_READ))],
    )
    async def read_anomalies(
        request: Request,
        indicator: Annotated[
            str, Query(max_length=512, examples=["bad,stall_ratio"], description="Catalogue ids; none: all.")
        ] = "",
        kind: Annotated[
            str | None, Query(max_length=16, examples=["value"], description="value or feed.")
        ] = None,
        level: Annotated[str | None, Query(max_length=32, examples=["cell"])] = None,
        service_name: Service = None,
        start: From = None,
        end: To = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        until = aware(end, "to") or clock.now()
        question = AnomalyQuestion(
            start=aware(start, "from") or until - timedelta(hours=2),
            end=until,
            indicators=tuple(name.strip() for name in indicator.split(",") if name.strip()),
            kind=kind,
            level=level,
            service=service_name,
            limit=limit,
            offset=offset,
        )
        rows, next_offset = await service.reading(service.anomalies, question)
        columns = Columns(
            (
                ("window", TIME),
                *((name, TEXT) for name in ("kind", "indicator", "level", "service", "vantage", *DIMENSIONS)),
                *((name, NUMBER) for name in _ANOMALY_FIGURES),
                ("samples", COUNT),
                ("users", COUNT),
                ("basis", TEXT),
            ),
            [
                (
                    row.window,
                    row.kind,
                    row.indicator,
                    row.level,
                    row.service,
                    row.vantage,
                    *(row.dimensions.get(name, "") for name in DIMENSIONS),
                    *(getattr(row, name) for name in _ANOMALY_FIGURES),
                    row.samples,
                    row.users,
                    row.basis,
                )
                for row in rows
            ],
        )
        model = AnomalyPageModel(rows=[AnomalyModel.of(row) for row in rows], next_offset=next_offset)
        return respond(request, model, columns, next_offset)
