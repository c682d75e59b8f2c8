"""Routes of this room: read, hand over, answer. Annotations are evaluated as written: the framework reads them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from cem.platform.bodies import BodyLimits, read_body
from cem.platform.errors import InvalidInput
from cem.platform.security import SUBSCRIBER_ID_PATTERN, Guard, Permission, Principal
from demarcation import documentation, schemas
from demarcation.documentation import NOT_FOUND, REFUSALS, REQUEST_BODY, answer
from demarcation.repository import StoredEvent, VerdictFilter
from demarcation.requests import read_request
from demarcation.service import CheckView, SelfCheckService
from demarcation.verdict_reading import VerdictReading, verdict_row_document

LIMITS = BodyLimits(max_bytes=1_048_576, max_inflated_bytes=1_048_576)
"""A snapshot is some kilobytes. Chosen here: room for 500 player events."""

POLL_S = 0.2
"""How often an event stream looks for further stages. [s] Any process may be the one that runs the check."""

HEARTBEAT_S = 10.0
"""A comment at least so often, so that proxies keep the stream open. [s]"""

LONGEST_STREAM_S = 60.0
"""A stream ends after so long; a client comes back with Last-Event-ID. [s] Three outermost deadlines."""

_encode = msgspec.json.Encoder().encode
_CheckId = Annotated[str, Path(max_length=40, examples=["chk_01kaxm2v6q3m8d1v5z0c9r7t4y"])]
_VerdictId = Annotated[str, Path(max_length=40, examples=["vdt_01kaxm2v6q3m8d1v5z0c9r7t4y"])]
_WaitMs = Annotated[
    int | None,
    Query(
        ge=0, le=20_000, description="How long to wait for the verdict. [ms] Default 5000; 0 answers at once."
    ),
]
_Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=150, description="Sent again: the same check."),
]


def build_router(service: SelfCheckService, reading: VerdictReading, guard: Guard) -> APIRouter:
    """Self-checks and verdicts."""
    router = APIRouter(prefix="/v1")
    _add_running(router, service, guard)
    _add_following(router, service, guard)
    _add_verdicts(router, reading, guard)
    return router


def _add_running(router: APIRouter, service: SelfCheckService, guard: Guard) -> None:
    caller = guard.allow(Permission.SELF_CHECK)
    answers: dict[int | str, dict[str, Any]] = {
        200: answer(schemas.SelfCheckAnswer, documentation.SELF_CHECK, "The verdict is there."),
        202: answer(
            schemas.SelfCheckAnswer,
            documentation.PENDING,
            "Accepted; come back to `Location` after `Retry-After`.",
        ),
        **REFUSALS,
    }

    @router.post(
        "/self-checks",
        tags=["self-check"],
        summary="Check a service",
        description="Says which side a fault is on, within the deadline. Waits up to `wait_ms`, else answers 202 with "
        "`Location`. A device checks its own line; staff and systems name one. The snapshot's `id` (or an "
        "`Idempotency-Key`) makes a repeated sending the same check.",
        response_class=Response,
        responses=answers,
        openapi_extra=REQUEST_BODY,
    )
    async def run_check(
        request: Request,
        principal: Annotated[Principal, Depends(caller)],
        wait_ms: _WaitMs = None,
        idempotency_key: _Key = None,
    ) -> Response:
        return await _run(service, request, principal, wait_ms, idempotency_key, None)

    @router.post(
        "/self-checks/{check_id}/re-check",
        tags=["self-check"],
        summary="Check again after acting on the advice",
        description="A new check that is linked to the one before; its verdict's `change` says whether the fault is "
        "gone.",
        response_class=Response,
        responses={**answers, **NOT_FOUND},
        openapi_extra=REQUEST_BODY,
    )
    async def run_again(
        check_id: _CheckId,
        request: Request,
        principal: Annotated[Principal, Depends(caller)],
        wait_ms: _WaitMs = None,
        idempotency_key: _Key = None,
    ) -> Response:
        return await _run(service, request, principal, wait_ms, idempotency_key, check_id)

    @router.post(
        "/self-checks/{check_id}/complaint",
        tags=["self-check"],
        summary="Hand the fault over",
        description="One tap: makes a case of the check's verdict, whatever it says. Sent again it changes nothing.",
        response_class=Response,
        responses={
            200: answer(
                schemas.SelfCheckAnswer,
                {
                    **documentation.SELF_CHECK,
                    "complaint": {"at": "2026-11-22T07:31:00Z", "case_id": "case_01kaxm2v6q3m8d1v5z0c9r7t4y"},
                },
                "Handed over.",
            ),
            409: REFUSALS[409] | {"description": "There is no verdict yet."},
            **NOT_FOUND,
        },
    )
    async def complain(check_id: _CheckId, principal: Annotated[Principal, Depends(caller)]) -> Response:
        return _answer(await service.complain(principal, check_id))


def _add_following(router: APIRouter, service: SelfCheckService, guard: Guard) -> None:
    caller = guard.allow(Permission.SELF_CHECK)

    @router.get(
        "/self-checks/{check_id}",
        tags=["self-check"],
        summary="A self-check and its verdict",
        description="`verdict` is null while it runs.",
        response_class=Response,
        responses={200: answer(schemas.SelfCheckAnswer, documentation.SELF_CHECK, "The check."), **NOT_FOUND},
    )
    async def get_check(
        check_id: _CheckId, principal: Annotated[Principal, Depends(caller)], wait_ms: _WaitMs = 0
    ) -> Response:
        view = await service.view(principal, check_id)
        if view.verdict is None and wait_ms:
            done = await service.wait(check_id, wait_ms / 1000)
            view = done or await service.view(principal, check_id)
        return _answer(view)

    @router.get(
        "/self-checks/{check_id}/events",
        tags=["self-check"],
        summary="Follow a self-check",
        description="Server-sent events: `accepted`, `provisional`, `evidence` (one per source) and `verdict`, which "
        "ends the stream. `Last-Event-ID` resumes after the event it names; a finished check tells all its stages.",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Stages as they come.",
                "content": {"text/event-stream": {"example": documentation.EVENTS_EXAMPLE}},
            },
            **NOT_FOUND,
        },
    )
    async def follow(
        check_id: _CheckId,
        principal: Annotated[Principal, Depends(caller)],
        last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
    ) -> StreamingResponse:
        await service.view(principal, check_id)
        after = int(last_event_id) if last_event_id and last_event_id.isdigit() else -1
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            stream_events(service, check_id, after), media_type="text/event-stream", headers=headers
        )


async def stream_events(service: SelfCheckService, check_id: str, after: int) -> AsyncIterator[bytes]:
    """A check's stages beyond a sequence as server-sent events, until its verdict or `LONGEST_STREAM_S`.

    Events that a resumed stream has seen are not looked at again: one that has seen the verdict ends at once.
    """
    loop = asyncio.get_running_loop()
    ends, quiet_since = loop.time() + LONGEST_STREAM_S, loop.time()
    if after >= 0 and any(
        event.kind == "verdict" and event.sequence <= after for event in await service.events(check_id, -1)
    ):
        return
    yield b"retry: 1000\n\n"
    while loop.time() < ends:
        events = await service.events(check_id, after)
        for event in events:
            after = event.sequence
            yield _event(event)
        if any(event.kind == "verdict" for event in events):
            return
        if events:
            quiet_since = loop.time()
        elif loop.time() - quiet_since >= HEARTBEAT_S:
            quiet_since = loop.time()
            yield b": still here\n\n"
        await asyncio.sleep(POLL_S)


def _add_verdicts(router: APIRouter, reading: VerdictReading, guard: Guard) -> None:
    reader = guard.allow(Permission.DEMARCATION_READ)

    @router.get(
        "/verdicts",
        tags=["verdicts"],
        summary="Verdicts",
        description="The latest first. A line is named by its subscriber_id; for a number, ask the customer look-up "
        "first. Reading one line's verdicts is audited.",
        response_class=Response,
        responses={200: answer(schemas.VerdictPage, documentation.PAGE, "A page.")},
    )
    async def list_verdicts(
        principal: Annotated[Principal, Depends(reader)],
        subscriber_id: Annotated[str | None, Query(max_length=40)] = None,
        domain: Annotated[schemas.DomainName | None, Query()] = None,
        cause: Annotated[str | None, Query(max_length=64)] = None,
        city: Annotated[str | None, Query(max_length=128)] = None,
        since: Annotated[datetime | None, Query(description="Decided at or after; RFC 3339.")] = None,
        cursor: Annotated[
            str | None, Query(max_length=40, description="`next_cursor` of the page before.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Response:
        if subscriber_id is not None and not SUBSCRIBER_ID_PATTERN.fullmatch(subscriber_id):
            raise InvalidInput("This is no subscriber_id.", pointer="/subscriber_id")
        if since is not None and since.tzinfo is None:
            raise InvalidInput("A time needs its offset from UTC.", pointer="/since")
        wanted = VerdictFilter(subscriber_id, domain, cause, city, since)
        rows, following = await reading.page(principal, wanted, cursor=cursor, limit=limit)
        items = [verdict_row_document(row) for row in rows]
        return _json({"items": items, "next_cursor": following})

    @router.get(
        "/verdicts/{verdict_id}",
        tags=["verdicts"],
        summary="A verdict",
        description="The current version with its evidence; `versions` lists the earlier ones. Audited.",
        response_class=Response,
        responses={200: answer(schemas.VerdictDetail, documentation.DETAIL, "The verdict."), **NOT_FOUND},
    )
    async def get_verdict(
        verdict_id: _VerdictId, principal: Annotated[Principal, Depends(reader)]
    ) -> Response:
        return _json(await reading.get(principal, verdict_id))

    @router.get(
        "/verdicts/{verdict_id}/bundle",
        tags=["verdicts"],
        summary="What replays a verdict",
        description="Evidence with times, peers, settings, versions and hashes, byte for byte as stored; `cem "
        "demarcate` reaches the same verdict from it. Audited.",
        response_class=Response,
        responses={
            200: {
                "description": "One line of JSON.",
                "content": {"application/json": {"example": {"format": 1, "engine": "1", "case": {}}}},
            },
            **NOT_FOUND,
        },
    )
    async def get_bundle(
        verdict_id: _VerdictId,
        principal: Annotated[Principal, Depends(reader)],
        version: Annotated[int | None, Query(ge=1, description="The current one by default.")] = None,
    ) -> Response:
        body = await reading.bundle(principal, verdict_id, version)
        return Response(body + b"\n", media_type="application/json")

    @router.get(
        "/rulesets/{sha256}",
        tags=["verdicts"],
        summary="A rule set by its hash",
        description="The text of a rule set that verdicts were reached by, so that an old bundle can be replayed with "
        "its own rules (`cem demarcate --rules`).",
        response_class=Response,
        responses={
            200: {
                "description": "TOML.",
                "content": {"application/toml": {"example": 'version = "2026.11.1"\n'}},
            },
            **NOT_FOUND,
        },
        dependencies=[Depends(reader)],
    )
    async def get_ruleset(sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> Response:
        return Response(await reading.ruleset(sha256), media_type="application/toml")


async def _run(
    service: SelfCheckService,
    request: Request,
    principal: Principal,
    wait_ms: int | None,
    key: str | None,
    parent_id: str | None,
) -> Response:
    body = await read_body(request, LIMITS)
    asked = read_request(body)
    check_id = await service.start(principal, asked, idempotency_key=key, parent_id=parent_id)
    wait_s = service.settings.default_wait_s if wait_ms is None else wait_ms / 1000
    return _answer(await service.wait(check_id, wait_s) or await service.view(principal, check_id))


def _answer(view: CheckView) -> Response:
    check = view.check
    base = f"/v1/self-checks/{check.id}"
    complaint = None if check.complained_at is None else {"at": check.complained_at, "case_id": check.case_id}
    document = {
        "id": check.id,
        "state": check.state,
        "service": check.service,
        "symptom": check.stated,
        "locale": check.locale,
        "re_check_of": check.parent_id,
        "accepted_at": check.accepted_at,
        "deadline_at": check.deadline_at,
        "finished_at": check.finished_at,
        "verdict": view.verdict,
        "complaint": complaint,
        "links": {
            "self": base,
            "events": f"{base}/events",
            "re_check": f"{base}/re-check",
            "complaint": f"{base}/complaint",
        },
    }
    if view.verdict is None:
        return _json(document, 202, {"Location": base, "Retry-After": "1"})
    return _json(document, 200, {"Location": base})


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        _encode(document),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )


def _event(event: StoredEvent) -> bytes:
    body = {"at": event.at, **event.body} if event.kind != "verdict" else dict(event.body)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.kind.encode(), _encode(body))
