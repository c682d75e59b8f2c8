"""Routes of this room: samples in; the catalogue, sessions and cubes out.

Annotations here are evaluated as they are written, because the framework reads them.
"""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from cem.platform.bodies import read_body
from cem.platform.clock import Clock
from cem.platform.errors import InvalidInput
from cem.platform.security import Guard, Permission, Principal
from kqi import documentation
from kqi.analysis_endpoints import add_analysis
from kqi.answers import COUNT, FORMATS, NUMBER, TEXT, TIME, Columns, aware, respond
from kqi.catalogue import CATALOGUE
from kqi.cube_reading import MAX_ROWS, CubePage, CubeQuestion, Step
from kqi.samples import Feed
from kqi.schemas import CatalogueModel, CubePageModel, SessionModel, TakenModel
from kqi.service import KqiService


def build_router(service: KqiService, guard: Guard, clock: Clock) -> APIRouter:
    """Samples, catalogue, sessions, cubes."""
    router = APIRouter(prefix="/v1", tags=["kqi"])
    for feed in Feed:
        _add_samples(router, service, guard, feed)
    _add_reads(router, service, guard)
    _add_cubes(router, service, guard, clock)
    add_analysis(router, service, guard, clock)
    return router


_WHO = {
    Feed.PIPE: "a probe in the network: TCP set-up on both sides, retransmissions, DNS, throughput",
    Feed.CLOUD: "a content node or a platform: first byte, origin time, cache hits, errors",
    Feed.IOT: "an IoT platform: success ratios and delays, and LwM2M resources by path",
}


def _add_samples(router: APIRouter, service: KqiService, guard: Guard, feed: Feed) -> None:
    writer = guard.allow(Permission.SAMPLES_WRITE)

    @router.post(
        f"/samples/{feed}",
        summary=f"Send {feed} samples",
        description=f"From {_WHO[feed]}. A JSON array, one object or NDJSON; plain, gzip or zstd. Good items are "
        "stored, bad ones named by pointer and reason. `id` makes a sample idempotent per feed. Indicators that "
        "the catalogue does not know are kept. The answer comes when everything accepted is on disk.",
        response_model=TakenModel,
        responses=documentation.REFUSALS,
        openapi_extra=documentation.samples_body(feed),
        operation_id=f"send_{feed}_samples",
    )
    async def send_samples(request: Request, principal: Annotated[Principal, Depends(writer)]) -> TakenModel:
        body = await read_body(request, service.limits.body)
        taken = await service.take_samples(principal, feed, body, request.headers.get("content-type", ""))
        answer = TakenModel.of(taken)
        if taken.rejects and not taken.accepted and not taken.duplicate:
            first = taken.rejects[0]
            raise InvalidInput(
                f"None of {len(taken.rejects)} samples could be taken; the first: {first.detail}",
                pointer=first.pointer,
                **answer.model_dump(exclude={"commit_ms"}),
            )
        return answer


def _add_reads(router: APIRouter, service: KqiService, guard: Guard) -> None:
    catalogue = CatalogueModel.build()

    @router.get(
        "/kqi/catalogue",
        summary="The indicator catalogue",
        description="Every indicator with unit, direction, thresholds, formula and source, and what counts as a bad "
        "experience. Any signed-in caller may read it.",
        dependencies=[Depends(guard.signed_in())],
    )
    async def read_catalogue() -> CatalogueModel:
        return catalogue

    @router.get(
        "/kqi/sessions/{session_id}",
        summary="One session",
        description="Figures of a video session, its time line, and its samples as seen by device, pipe and cloud. "
        "Staff and systems need `kqi_read`; a device reads its own line's sessions only.",
        responses=documentation.NOT_FOUND,
    )
    async def read_session(
        session_id: Annotated[str, Path(max_length=128, examples=["6e2fb550-c457-11e9-bb97-0800200c9a66"])],
        principal: Annotated[Principal, Depends(guard.signed_in())],
    ) -> SessionModel:
        return SessionModel.of(await service.reading(service.session, session_id, principal))


def _add_cubes(router: APIRouter, service: KqiService, guard: Guard, clock: Clock) -> None:
    @router.get(
        "/kqi/cubes",
        summary="Indicators by time and dimensions",
        description="Quarter-hour cubes, merged to the time step and the dimensions asked for. Answered from the "
        "smallest cut and the coarsest tier that hold them, else (for a day at most) from the samples. "
        "`Accept: text/csv` gives CSV, `application/vnd.apache.arrow.stream` an Arrow stream. "
        "Times are cut to quarter hours; `to` is excluded. Without `from` and `to`: the last hour.",
        response_model=CubePageModel,
        responses=FORMATS,
        dependencies=[Depends(guard.allow(Permission.KQI_READ))],
    )
    async def read_cubes(
        request: Request,
        indicator: Annotated[
            list[str],
            Query(
                description="Catalogue ids; repeat it or separate by commas.", examples=["stall_ratio,bad"]
            ),
        ],
        service_name: Annotated[str | None, Query(alias="service", examples=["video"])] = None,
        vantage: Annotated[
            str | None, Query(examples=["device"], description="device, pipe or cloud.")
        ] = None,
        start: Annotated[datetime | None, Query(alias="from", examples=["2026-11-22T07:00:00Z"])] = None,
        end: Annotated[datetime | None, Query(alias="to", examples=["2026-11-22T08:00:00Z"])] = None,
        group_by: Annotated[
            str, Query(description="Dimensions, separated by commas.", examples=["city,source"])
        ] = "",
        step: Annotated[
            Step, Query(description="Length of a row's time: 15m, 1h, 1d, or all of it.")
        ] = Step.WINDOW,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS, description="Groups on a page.")] = 1_000,
        offset: Annotated[int, Query(ge=0)] = 0,
        province: Annotated[str | None, Query()] = None,
        city: Annotated[str | None, Query(examples=["杭州"])] = None,
        area: Annotated[str | None, Query()] = None,
        cell: Annotated[str | None, Query()] = None,
        rat: Annotated[str | None, Query()] = None,
        slice_name: Annotated[str | None, Query(alias="slice")] = None,
        gateway: Annotated[str | None, Query()] = None,
        source: Annotated[str | None, Query()] = None,
        node: Annotated[str | None, Query()] = None,
        model: Annotated[str | None, Query()] = None,
        os: Annotated[str | None, Query()] = None,
        app_version: Annotated[str | None, Query()] = None,
        device_type: Annotated[str | None, Query()] = None,
    ) -> Response:
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
        until = aware(end, "to") or clock.now()
        question = CubeQuestion(
            indicators=tuple(name for part in indicator for name in part.split(",") if name),
            start=aware(start, "from") or until - timedelta(hours=1),
            end=until,
            service=service_name,
            vantage=vantage,
            group_by=tuple(name.strip() for name in group_by.split(",") if name.strip()),
            filters={name: value for name, value in given.items() if value is not None},
            step=step,
            limit=limit,
            offset=offset,
        )
        page = await service.reading(service.cubes, question)
        return respond(request, CubePageModel.of(page), _columns(page, question.group_by), page.next_offset)


_FIGURES = (
    "count", "mean", "total", "standard_deviation", "least", "most", "p50", "p90", "p95", "bad", "bad_share",
    "users", "bad_users",
)  # fmt: skip


def _columns(page: CubePage, group_by: tuple[str, ...]) -> Columns:
    names = tuple(dict.fromkeys(group_by))
    kinds = {name: COUNT if name in {"count", "bad", "users", "bad_users"} else NUMBER for name in _FIGURES}
    return Columns(
        (("start", TIME), *((name, TEXT) for name in (*names, "indicator", "unit")), *kinds.items()),
        [
            (
                row.start,
                *(row.group[name] for name in names),
                row.indicator,
                entry.unit if (entry := CATALOGUE.get(row.indicator)) else "",
                *(getattr(row, name) for name in _FIGURES),
            )
            for row in page.rows
        ],
    )
