"""The pages' routes: overview and its live part, work orders, language, the pages' own files; signing in is beside.

Annotations here are evaluated as they are written: FastAPI could not find a guard that lives in a closure behind a
postponed one.
"""

from collections.abc import Callable
from datetime import timedelta, timezone, tzinfo
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from cem.access.endpoints import HashingThreads
from cem.consoles.assets import load_assets
from cem.consoles.board import Board, BoardReader, panels
from cem.consoles.forms import local_target
from cem.consoles.headers import ASSET_HEADERS
from cem.consoles.ports import ConsoleView, Logins, NameBook, Names, OrderDesk
from cem.consoles.render import LANGUAGE_COOKIE, Renderer, build_renderer
from cem.consoles.routing import check_form, page_route, redirect, said_problem
from cem.consoles.signing import add_signing
from cem.consoles.texts import LANGUAGES, load_texts
from cem.platform.aio import run_blocking
from cem.platform.clock import Clock
from cem.platform.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from cem.platform.security import Guard, Permission, Principal

BEIJING = timezone(timedelta(hours=8), "Asia/Shanghai")
"""China has one time zone and no daylight saving."""
ORDERS_LISTED = 200
DONE = frozenset({"take", "comment", "resolve", "reopen"})

OrderId = Annotated[str, "the order's id"]
Note = Annotated[str, Form(max_length=2000)]
Hidden = Annotated[str, Form(max_length=200)]


def build_router(
    view: ConsoleView,
    desk: OrderDesk,
    logins: Logins,
    hashing: HashingThreads,
    guard: Guard,
    clock: Clock,
    *,
    names: Names | None = None,
    zone: tzinfo = BEIJING,
    secure_cookies: bool = False,
) -> APIRouter:
    """Make the pages' routes.

    Parameters
    ----------
    hashing
        Where passwords are hashed: the threads that the interface for logins uses too.
    names
        What people call cities, sources and so on; none: their ids.
    zone
        The operator's time zone, in which times are written.
    secure_cookies
        Whether browsers send our cookies over TLS only.
    """
    assets = load_assets()
    renderer = build_renderer(assets, names or NameBook(), clock, zone)
    router = APIRouter(route_class=page_route(renderer), include_in_schema=False)
    public = Depends(guard.public("signing in, and files that are the same for everybody"))
    reader = BoardReader(view, clock)
    may_read = guard.allow(Permission.ORDERS_READ, Permission.DEMARCATION_READ, Permission.KQI_READ)
    may_work = guard.allow(Permission.ORDERS_READ, Permission.ORDERS_WORK)
    by_reader = Annotated[Principal, Depends(may_read)]
    by_worker = Annotated[Principal, Depends(may_work)]

    @router.get("/")
    async def overview(request: Request, principal: by_reader) -> Response:
        return await _overview(renderer, reader, request, "overview.html", principal)

    @router.get("/fragments/overview")
    async def overview_part(request: Request, principal: by_reader) -> Response:
        return await _overview(renderer, reader, request, "live.html", principal)

    @router.get("/orders")
    async def orders(
        request: Request, principal: by_reader, ended: Annotated[bool, Query()] = False
    ) -> Response:
        page = await run_blocking(view.orders, active=not ended, limit=ORDERS_LISTED)
        return renderer.page(
            request, "orders.html", principal=principal, here="orders", page=page, active=not ended
        )

    @router.get("/orders/{order_id}")
    async def order(request: Request, order_id: OrderId, principal: by_reader, done: str = "") -> Response:
        return await _order(renderer, view, request, order_id, principal, done=done)

    async def work(
        request: Request, order_id: str, principal: Principal, form: str, name: str, act: Callable[[], None]
    ) -> Response:
        """Do one thing with an order: on to the order where it worked, the order with the reason where not."""
        check_form(request, form)
        try:
            await run_blocking(act)
        except (Conflict, InvalidInput, PreconditionFailed) as error:
            problem = said_problem(load_texts(renderer.language(request)), error)
            return await _order(
                renderer, view, request, order_id, principal, problem=problem, status=error.status
            )
        return redirect(f"/orders/{order_id}?done={name}")

    @router.post("/orders/{order_id}/take")
    async def take(request: Request, order_id: OrderId, principal: by_worker, form: Hidden = "") -> Response:
        return await work(request, order_id, principal, form, "take", lambda: desk.take(principal, order_id))

    @router.post("/orders/{order_id}/comment")
    async def comment(
        request: Request, order_id: OrderId, principal: by_worker, form: Hidden = "", note: Note = ""
    ) -> Response:
        return await work(
            request,
            order_id,
            principal,
            form,
            "comment",
            lambda: desk.comment(principal, order_id, _said(note)),
        )

    @router.post("/orders/{order_id}/resolve")
    async def resolve(
        request: Request,
        order_id: OrderId,
        principal: by_worker,
        form: Hidden = "",
        note: Note = "",
        cause: Annotated[str, Form(max_length=80)] = "",
    ) -> Response:
        return await work(
            request,
            order_id,
            principal,
            form,
            "resolve",
            lambda: desk.resolve(principal, order_id, cause, _said(note)),
        )

    @router.post("/orders/{order_id}/reopen")
    async def reopen(
        request: Request, order_id: OrderId, principal: by_worker, form: Hidden = "", note: Note = ""
    ) -> Response:
        return await work(
            request,
            order_id,
            principal,
            form,
            "reopen",
            lambda: desk.reopen(principal, order_id, _said(note)),
        )

    @router.get("/language", dependencies=[public])
    async def language(to: str = "", next: str = "/") -> Response:  # noqa: A002 - the parameter's name in the address
        answer = redirect(local_target(next))
        if to in LANGUAGES:
            answer.set_cookie(
                LANGUAGE_COOKIE,
                to,
                max_age=365 * 24 * 3600,
                secure=secure_cookies,
                httponly=True,
                samesite="lax",
            )
        return answer

    @router.get("/console/{fingerprint}/{name}", dependencies=[public])
    async def asset(fingerprint: str, name: str) -> Response:
        found = assets.get(name)
        if found is None or found.fingerprint != fingerprint:
            raise NotFound("There is no such file.")
        return Response(found.content, media_type=found.media_type, headers=dict(ASSET_HEADERS))

    add_signing(router, renderer, logins, hashing, guard, public, secure_cookies=secure_cookies)
    return router


def _said(note: str) -> str:
    text = note.strip()
    if not text:
        raise InvalidInput("A note says something.", pointer="/note")
    return text


async def _overview(
    renderer: Renderer, reader: BoardReader, request: Request, template: str, principal: Principal
) -> Response:
    board: Board = await reader.read()
    charts = None if board.experience is None else panels(board.experience)
    return renderer.page(request, template, principal=principal, here="overview", board=board, panels=charts)


async def _order(
    renderer: Renderer,
    view: ConsoleView,
    request: Request,
    order_id: str,
    principal: Principal,
    *,
    done: str = "",
    problem: str = "",
    status: int = 200,
) -> Response:
    detail = await run_blocking(view.order, order_id, principal)
    return renderer.page(
        request,
        "order.html",
        status=status,
        principal=principal,
        here="orders",
        order=detail,
        may_work=principal.may(Permission.ORDERS_WORK),
        done=done if done in DONE else "",
        problem=problem,
    )
