"""Routes of this room: read the body within its bounds, hand over, answer what became of it.

Bodies are read and answered without a model of the web framework in between: this is the busiest door of the
house. Annotations here are evaluated as they are written, because the framework reads them.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from cem.platform.bodies import read_body
from cem.platform.errors import InvalidInput, NotFound, UnsupportedMedia
from cem.platform.security import Guard, Permission, Principal
from sdk_ingest import documentation
from sdk_ingest.cmcd import MEDIA_TYPE
from sdk_ingest.schemas import SCHEMA_VERSION, SCHEMAS
from sdk_ingest.service import IngestService, Taken

SCHEMA_MEDIA_TYPE = "application/schema+json"
CMCD_TYPES = frozenset({MEDIA_TYPE, "text/plain", ""})
"""`text/plain` is what a browser sends without asking first (Fetch standard, "CORS-safelisted"): some players use
it for that reason."""

_encode = msgspec.json.Encoder().encode


def build_router(service: IngestService, guard: Guard) -> APIRouter:
    """Reports, CMCD, and the schema of a report."""
    router = APIRouter(prefix="/v1", tags=["reports"])
    writer = guard.allow(Permission.REPORTS_WRITE)
    player = guard.allow(Permission.REPORTS_WRITE, path_parameter="token")

    @router.post(
        "/reports",
        summary="Send reports",
        description="A JSON array, one JSON object or NDJSON; plain, gzip or zstd. Good items are stored, bad ones "
        "are named by pointer and reason. An item's `id` makes it idempotent: sent again it counts as duplicate "
        "and changes nothing, whatever else of it is different. The answer comes when everything accepted is on "
        "disk. Reports older than 48 hours (`too_late`) or more than 5 minutes ahead (`in_future`) are refused; "
        "younger ones join the window of their own time. Unknown members are kept as sent.",
        response_class=Response,
        responses={200: documentation.ANSWER, **documentation.REFUSALS},
        openapi_extra=documentation.REPORTS_BODY,
    )
    async def send_reports(request: Request, principal: Annotated[Principal, Depends(writer)]) -> Response:
        body = await read_body(request, service.limits.body)
        taken = await service.reports(principal, body, request.headers.get("content-type", ""))
        return Response(answer_of(taken), media_type="application/json")

    @router.post(
        "/cmcd",
        summary="Send CMCD events",
        description="CMCD version 2 in event mode (CTA-5004-B): records of structured fields separated by LF, as "
        "stock players send them. Send a device token as bearer. 204: all of it is on disk. 200: the records "
        "named in `errors` are not, the others are. A record sent again is the same record (`sid`, `sn`, `e`, "
        "`ts`). 429 and 503 ask the player to come back.",
        response_class=Response,
        responses={
            204: {"description": "All of it is on disk."},
            200: documentation.ANSWER,
            **documentation.REFUSALS,
        },
        openapi_extra=documentation.CMCD_BODY,
    )
    async def send_cmcd(request: Request, principal: Annotated[Principal, Depends(writer)]) -> Response:
        return await _cmcd(service, request, principal)

    @router.post(
        "/cmcd/{token}",
        summary="Send CMCD events, token in the path",
        description="As `/v1/cmcd`, for players that cannot set a header. Use short-lived tokens here: paths end "
        "up in logs of proxies (never in ours).",
        response_class=Response,
        responses={
            204: {"description": "All of it is on disk."},
            200: documentation.ANSWER,
            **documentation.REFUSALS,
        },
        openapi_extra=documentation.CMCD_BODY,
    )
    async def send_cmcd_by_path(
        token: str,  # noqa: ARG001 - the guard reads it
        request: Request,
        principal: Annotated[Principal, Depends(player)],
    ) -> Response:
        return await _cmcd(service, request, principal)

    _add_schemas(router, guard)
    return router


def _add_schemas(router: APIRouter, guard: Guard) -> None:
    public = guard.public("the form of a report is no secret")
    texts = {version: _encode(make()) for version, make in SCHEMAS.items()}
    described: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "JSON Schema, 2020-12.",
            "content": {SCHEMA_MEDIA_TYPE: {"schema": {"type": "object"}, "example": {"title": "Report"}}},
        }
    }

    def schema(version: str) -> Response:
        headers = {
            "Cache-Control": "public, max-age=3600",
            "Content-Location": f"/v1/schemas/report/{version}",
        }
        return Response(texts[version], media_type=SCHEMA_MEDIA_TYPE, headers=headers)

    @router.get(
        "/schemas/report",
        summary="Schema of a report, newest version",
        description="`Content-Location` names the version.",
        response_class=Response,
        responses=described,
        dependencies=[Depends(public)],
    )
    async def newest_schema() -> Response:
        return schema(SCHEMA_VERSION)

    @router.get(
        "/schemas/report/{version}",
        summary="Schema of a report, one version",
        description="A version never changes its meaning; further optional members may join it.",
        response_class=Response,
        responses={**described, 404: {"description": "No such version."}},
        dependencies=[Depends(public)],
    )
    async def one_schema(version: str) -> Response:
        if version not in texts:
            raise NotFound(f"Versions of the report's schema: {', '.join(texts)}.")
        return schema(version)


async def _cmcd(service: IngestService, request: Request, principal: Principal) -> Response:
    media = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    if media not in CMCD_TYPES:
        raise UnsupportedMedia(f"Content-Type must be {MEDIA_TYPE}.")
    taken = await service.cmcd(principal, await read_body(request, service.limits.body))
    answer = answer_of(taken)
    if not taken.rejects:
        return Response(status_code=204)
    return Response(answer, media_type="application/json")


def answer_of(taken: Taken) -> bytes:
    """The answer's JSON.

    Raises
    ------
    InvalidInput
        No item was good.
    """
    errors = [
        {"pointer": reject.pointer, "code": reject.code, "detail": reject.detail} for reject in taken.rejects
    ]
    if errors and not taken.accepted and not taken.duplicate:
        raise InvalidInput(
            f"None of {len(errors)} items could be taken; the first: {errors[0]['detail']}",
            pointer=errors[0]["pointer"],
            accepted=0,
            duplicate=0,
            rejected=len(errors),
            errors=errors,
        )
    return _encode(
        {
            "accepted": taken.accepted,
            "duplicate": taken.duplicate,
            "rejected": len(errors),
            "errors": errors,
            "commit_ms": round(taken.commit_ms, 3),
        }
    )
