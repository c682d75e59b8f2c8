"""Routes of cases and work orders."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import AwareDatetime

from cem.platform.aio import run_blocking
from cem.platform.errors import Forbidden, InvalidInput, PreconditionFailed
from cem.platform.security import Guard, Permission, Principal
from demarcation.taxonomy import Taxonomy
from workorders.lifecycle import ACTIVE, OrderAction, OrderState
from workorders.order_service import ActionRequest, OrderDetail, OrderService
from workorders.policy import CaseState
from workorders.repository import CaseFilter, OrderFilter
from workorders.schemas import (
    CaseAnswer,
    CasePage,
    CommentRequest,
    NoteRequest,
    OrderAnswer,
    OrderPage,
    OrderSummary,
    ResolveRequest,
)
from workorders.service import CaseService

DETAIL_CASES = 50
"""Cases shown in an order's detail. [1]"""

OTHER_RESOLUTIONS = frozenset({"other", "not_found"})
"""Resolution causes beside those of the taxonomy."""

_ETAG = re.compile(r'"(\d{1,9})"')

_NO_NUL = r"^[^\x00]*$"
_Text = Annotated[str | None, Query(max_length=80, pattern=_NO_NUL)]
_OrderId = Annotated[str, Path(max_length=40, pattern=_NO_NUL, description="Id or number.")]
_CaseId = Annotated[str, Path(max_length=40, pattern=_NO_NUL)]
_Since = Annotated[AwareDatetime | None, Query(description="RFC 3339 time with a zone.")]
_Cursor = Annotated[
    str | None, Query(max_length=40, pattern=_NO_NUL, description="`next` of the page before.")
]
_Limit = Annotated[int, Query(ge=1, le=200, description="Most items in one page.")]
_IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=40, description="ETag that was seen; refused with 412 if outdated."),
]
_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Names this request; a repeat with the same key does nothing again.",
    ),
]
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such thing."}}
_ACTION_ERRORS: dict[int | str, dict[str, Any]] = {
    **_NOT_FOUND,
    403: {"description": "The caller may not do this."},
    409: {"description": "The order's state does not allow it; the answer says why."},
    412: {"description": "The order was changed since it was read."},
}


def build_router(cases: CaseService, orders: OrderService, taxonomy: Taxonomy, guard: Guard) -> APIRouter:
    """All routes of this room.

    Parameters
    ----------
    taxonomy
        Says what causes mean, and which can be named in a resolution.
    """
    router = APIRouter(prefix="/v1", tags=["orders"])
    _add_cases(router, cases, guard)
    _add_orders(router, cases, orders, taxonomy, guard)
    _add_actions(router, cases, orders, taxonomy, guard)
    return router


def _sees_customers(principal: Principal) -> bool:
    return principal.may(Permission.CUSTOMERS_READ)


def _add_cases(router: APIRouter, cases: CaseService, guard: Guard) -> None:
    may_read = guard.allow(Permission.CASES_READ)

    @router.get(
        "/cases",
        summary="List cases",
        description="Latest first. Filter by `subscriber_id` needs the permission customers_read.",
        response_model=CasePage,
    )
    async def list_cases(
        principal: Annotated[Principal, Depends(may_read)],
        state: Annotated[list[CaseState] | None, Query(description="Any of these states.")] = None,
        cause: _Text = None,
        domain: _Text = None,
        city: _Text = None,
        order_id: Annotated[str | None, Query(max_length=40, pattern=_NO_NUL)] = None,
        subscriber_id: Annotated[str | None, Query(max_length=64, pattern=_NO_NUL)] = None,
        since: _Since = None,
        cursor: _Cursor = None,
        limit: _Limit = 50,
    ) -> CasePage:
        if subscriber_id is not None and not _sees_customers(principal):
            raise Forbidden("Listing one customer's cases needs the permission customers_read.")
        wanted = CaseFilter(
            states=tuple(state or ()),
            cause=cause,
            domain=domain,
            city=city,
            order_id=order_id,
            subscriber_id=subscriber_id,
            since=since,
        )
        found = await run_blocking(cases.page, wanted, before=cursor, limit=limit + 1)
        full = _sees_customers(principal)
        return CasePage(
            items=[CaseAnswer.of(*row, full=full) for row in found[:limit]],
            next=found[limit - 1][0].id if len(found) > limit else None,
        )

    @router.get(
        "/cases/{case_id}",
        summary="Read a case",
        description="One fault of one subscriber, with the order it is in.",
        response_model=CaseAnswer,
        responses=_NOT_FOUND,
    )
    async def get_case(principal: Annotated[Principal, Depends(may_read)], case_id: _CaseId) -> CaseAnswer:
        found = await run_blocking(cases.get, case_id)
        return CaseAnswer.of(*found, full=_sees_customers(principal))


def _add_orders(
    router: APIRouter, cases: CaseService, orders: OrderService, taxonomy: Taxonomy, guard: Guard
) -> None:
    may_read = guard.allow(Permission.ORDERS_READ)

    @router.get(
        "/orders",
        summary="List work orders",
        description="Latest first. `active=true` lists what is open, whatever stage it is at; `city` finds "
        "orders with at least one case there.",
        response_model=OrderPage,
    )
    async def list_orders(
        principal: Annotated[Principal, Depends(may_read)],
        state: Annotated[list[OrderState] | None, Query(description="Any of these states.")] = None,
        active: Annotated[bool, Query(description="Only open ones; instead of `state`.")] = False,
        cause: _Text = None,
        domain: _Text = None,
        city: _Text = None,
        owner: _Text = None,
        since: _Since = None,
        cursor: _Cursor = None,
        limit: _Limit = 50,
    ) -> OrderPage:
        wanted = OrderFilter(
            states=tuple(ACTIVE) if active else tuple(state or ()),
            cause=cause,
            domain=domain,
            city=city,
            owner=owner,
            since=since,
        )
        found = await run_blocking(orders.page, wanted, before=cursor, limit=limit + 1)
        full = _sees_customers(principal)
        return OrderPage(
            items=[OrderSummary.of(order, taxonomy, full=full) for order in found[:limit]],
            next=found[limit - 1].id if len(found) > limit else None,
        )

    @router.get(
        "/orders/{order_id}",
        summary="Read a work order",
        description="By id or number. The ETag is its version: give it as If-Match with an action.",
        response_model=OrderAnswer,
        responses=_NOT_FOUND,
    )
    async def get_order(
        principal: Annotated[Principal, Depends(may_read)], order_id: _OrderId, response: Response
    ) -> OrderAnswer:
        detail = await run_blocking(orders.get, order_id, principal)
        return await _answer(detail, cases, taxonomy, principal, response)


def _add_actions(
    router: APIRouter, cases: CaseService, orders: OrderService, taxonomy: Taxonomy, guard: Guard
) -> None:
    may_work = guard.allow(Permission.ORDERS_READ, Permission.ORDERS_WORK)

    async def act(
        order_id: str, request: ActionRequest, principal: Principal, response: Response
    ) -> OrderAnswer:
        detail = await run_blocking(orders.act, order_id, request, principal)
        return await _answer(detail, cases, taxonomy, principal, response)

    def add(action: OrderAction, summary: str, description: str) -> None:
        """A route whose body is an optional note."""

        @router.post(
            f"/orders/{{order_id}}/{action}",
            summary=summary,
            description=description,
            response_model=OrderAnswer,
            responses=_ACTION_ERRORS,
            name=f"{action}_order",
        )
        async def noted(
            principal: Annotated[Principal, Depends(may_work)],
            order_id: _OrderId,
            response: Response,
            body: NoteRequest | None = None,
            if_match: _IfMatch = None,
            idempotency_key: _Key = None,
        ) -> OrderAnswer:
            note = body.note if body is not None else None
            request = ActionRequest(
                action, note=note, version=_version(if_match), idempotency_key=idempotency_key
            )
            return await act(order_id, request, principal, response)

    add(OrderAction.TAKE, "Take an order", "The caller works it from now on. Operations may take over.")
    add(
        OrderAction.REOPEN,
        "Reopen an order",
        "The fault is still there: the order and the cases that its resolution closed come back. Refused "
        "with 409, naming it, where another order is open for the same cause and scope.",
    )
    add(OrderAction.CLOSE, "Close an order", "A resolved order is done with. For operations.")
    add(OrderAction.CANCEL, "Cancel an order", "It should not have been opened. For operations.")

    @router.post(
        "/orders/{order_id}/comment",
        summary="Comment on an order",
        description="Adds to the history; changes nothing else.",
        response_model=OrderAnswer,
        responses=_ACTION_ERRORS,
    )
    async def comment_order(
        principal: Annotated[Principal, Depends(may_work)],
        order_id: _OrderId,
        body: CommentRequest,
        response: Response,
        if_match: _IfMatch = None,
        idempotency_key: _Key = None,
    ) -> OrderAnswer:
        request = ActionRequest(
            OrderAction.COMMENT,
            note=body.note,
            version=_version(if_match),
            idempotency_key=idempotency_key,
        )
        return await act(order_id, request, principal, response)

    @router.post(
        "/orders/{order_id}/resolve",
        summary="Resolve an order",
        description="The fault is mended: says what it was and what was done, and closes the order's cases.",
        response_model=OrderAnswer,
        responses=_ACTION_ERRORS,
    )
    async def resolve_order(
        principal: Annotated[Principal, Depends(may_work)],
        order_id: _OrderId,
        body: ResolveRequest,
        response: Response,
        if_match: _IfMatch = None,
        idempotency_key: _Key = None,
    ) -> OrderAnswer:
        if body.cause not in taxonomy and body.cause not in OTHER_RESOLUTIONS:
            raise InvalidInput(
                f"{body.cause} is no cause of the taxonomy, nor one of {', '.join(sorted(OTHER_RESOLUTIONS))}.",
                pointer="/cause",
            )
        request = ActionRequest(
            OrderAction.RESOLVE,
            note=body.note,
            resolution_cause=body.cause,
            version=_version(if_match),
            idempotency_key=idempotency_key,
        )
        return await act(order_id, request, principal, response)


async def _answer(
    detail: OrderDetail, cases: CaseService, taxonomy: Taxonomy, principal: Principal, response: Response
) -> OrderAnswer:
    full = _sees_customers(principal)
    shown = await run_blocking(cases.page, CaseFilter(order_id=detail.order.id), limit=DETAIL_CASES)
    response.headers["ETag"] = f'"{detail.order.version}"'
    return OrderAnswer.of_detail(
        detail, [CaseAnswer.of(*row, full=full) for row in shown], taxonomy, full=full
    )


def _version(if_match: str | None) -> int | None:
    """The version that an If-Match names; `*` and nothing check none. Raises PreconditionFailed."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise PreconditionFailed(f"If-Match {if_match} is no ETag of a work order.")
    return int(found[1])
