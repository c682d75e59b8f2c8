"""Routes of the customers' room: parse, authorise, hand over.

Annotations here are evaluated as they are written (see `cem.access.endpoints`).
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from cem.customers.schemas import (
    CustomerAnswer,
    LookupRequest,
    ProvisionAnswer,
    ProvisionRequest,
    RevealAnswer,
    RevealRequest,
)
from cem.customers.service import CustomersService, Provisioned
from cem.platform.aio import run_blocking
from cem.platform.security import Guard, Permission, Principal

SubscriberId = Annotated[str, Path(pattern=r"^s_[0-9a-f]{32}$", description="Keyed hash of the number.")]


def build_router(service: CustomersService, guard: Guard) -> APIRouter:
    """Look-ups for agents, provisioning for the operator's back end."""
    router = APIRouter(prefix="/v1/customers", tags=["customers"])
    reader = guard.allow(Permission.CUSTOMERS_READ)
    back_end = guard.allow(Permission.TOKENS_MINT)

    @router.post(
        "/lookup",
        summary="Find a line by its number",
        description="Answers the masked number, the subscriber_id that other routes take, and what the line "
        "did last. The look-up is in the audit log before the answer goes out. POST, because a number "
        "never stands in a URL.",
        response_model=CustomerAnswer,
        responses={404: {"description": "Nothing is known of this line (audited too)."}},
    )
    async def lookup(
        body: LookupRequest, response: Response, principal: Annotated[Principal, Depends(reader)]
    ) -> CustomerAnswer:
        response.headers["Cache-Control"] = "no-store"
        return CustomerAnswer.of(await run_blocking(service.lookup, principal, body.number))

    @router.put(
        "",
        summary="Create lines and set what is provisioned on them",
        description="For the operator's own back end (a system key that may mint device tokens). Up to 1,000 "
        "lines; bad ones are named by pointer, the good ones go in together. Repeating it changes nothing.",
        response_model=ProvisionAnswer,
    )
    async def provision(
        body: ProvisionRequest, _principal: Annotated[Principal, Depends(back_end)]
    ) -> ProvisionAnswer:
        items = [Provisioned(each.number, each.attributes) for each in body.customers]
        return ProvisionAnswer.of(await run_blocking(service.upsert, items))

    @router.post(
        "/{subscriber_id}/reveal",
        summary="See a number in clear, with a reason",
        description="For a member of staff who has to call the customer. The reason goes into the audit log "
        "before the answer goes out.",
        response_model=RevealAnswer,
        responses={404: {"description": "No number is kept of this line (audited too)."}},
    )
    async def reveal(
        subscriber_id: SubscriberId,
        body: RevealRequest,
        response: Response,
        principal: Annotated[Principal, Depends(reader)],
    ) -> RevealAnswer:
        response.headers["Cache-Control"] = "no-store"
        return RevealAnswer(number=await run_blocking(service.reveal, principal, subscriber_id, body.reason))

    return router
