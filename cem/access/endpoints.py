"""Routes of who may: logins, oneself, device tokens, users, keys, the audit log.

Annotations here are evaluated as they are written: FastAPI could not find a guard that lives in a closure
behind a postponed one, and would take the parameter for a query.
"""

from collections.abc import Callable
from contextvars import copy_context
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from cem.access import schemas
from cem.access.audit import AuditLog
from cem.access.service import AccessService
from cem.access.sessions import SessionService
from cem.platform.aio import Bulkhead, run_blocking
from cem.platform.security import (
    Guard,
    Permission,
    Principal,
    PrincipalKind,
    presented_credential,
)

T = TypeVar("T")

HASHING_TIMEOUT_S = 10.0
"""Time a password may take [s]. Chosen here: some hundred argon2id hashes on two threads."""

_NO_STORE = "no-store"
_Limit = Annotated[int, Query(ge=1, le=200, description="Most items in one page.")]
_After = Annotated[
    str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9._-]*$", description="`next` of the page before.")
]
_UserId = Annotated[str, Path(pattern=r"^usr_[0-9a-z]{26}$")]
_KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
_THROTTLED: dict[int | str, dict[str, Any]] = {
    429: {"description": "Too many failures for this name or address; see Retry-After."}
}


class HashingThreads:
    """Passwords are hashed in threads of their own: a flood of logins costs nobody else a thread.

    The request's context goes along, so that the audit log knows the request id.
    """

    def __init__(self, size: int = 2) -> None:
        self._bulkhead = Bulkhead("passwords", size, waiting=200)

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call that hashes. Raises Unavailable where too many wait, DeadlineExceeded."""
        context = copy_context()
        return await self._bulkhead.run(lambda: context.run(call), timeout_s=HASHING_TIMEOUT_S)

    def close(self) -> None:
        """Begin nothing more."""
        self._bulkhead.close()


def address_of(request: Request) -> str:
    """Where a request comes from, as far as the server knows."""
    return request.client.host if request.client else "unknown"


def build_router(
    service: AccessService, sessions: SessionService, audit: AuditLog, hashing: HashingThreads, guard: Guard
) -> APIRouter:
    """All routes of this room."""
    router = APIRouter(prefix="/v1", tags=["access"])
    _add_sessions(router, sessions, hashing, guard)
    _add_tokens(router, service, guard)
    _add_users(router, service, hashing, guard)
    _add_keys(router, service, guard)
    _add_audit(router, audit, guard)
    return router


def _add_sessions(router: APIRouter, sessions: SessionService, hashing: HashingThreads, guard: Guard) -> None:
    staff = guard.signed_in(PrincipalKind.STAFF)
    anyone = guard.signed_in()

    @router.post(
        "/staff/sessions",
        summary="Sign in",
        description="Answers a bearer credential for the API. Unknown name, wrong password and disabled "
        "user look alike; failures are throttled by name and by address.",
        status_code=201,
        response_model=schemas.SessionAnswer,
        responses={401: {"description": "Name or password is not right."}, **_THROTTLED},
        dependencies=[Depends(guard.public("whoever signs in has no credential yet"))],
    )
    async def login(
        body: schemas.LoginRequest, request: Request, response: Response
    ) -> schemas.SessionAnswer:
        address = address_of(request)
        opened = await hashing.run(lambda: sessions.login(body.name, body.password, address))
        response.headers["Cache-Control"] = _NO_STORE
        return schemas.SessionAnswer(
            token=opened.token,
            expires_at=opened.expires_at,
            principal=schemas.PrincipalAnswer.of(opened.principal),
        )

    @router.delete(
        "/staff/sessions/current",
        summary="Sign out",
        description="Ends the session that the request is made with.",
        status_code=204,
    )
    async def logout(request: Request, _principal: Annotated[Principal, Depends(staff)]) -> None:
        presented = presented_credential(request)
        if presented is not None:
            await run_blocking(sessions.logout, presented.credential)

    @router.get(
        "/me",
        summary="Who am I",
        description="The caller as the service sees it: kind, roles, permissions, line.",
        response_model=schemas.PrincipalAnswer,
    )
    async def me(principal: Annotated[Principal, Depends(anyone)]) -> schemas.PrincipalAnswer:
        return schemas.PrincipalAnswer.of(principal)

    @router.put(
        "/me/password",
        summary="Change one's own password",
        description="Every other session of the user ends.",
        status_code=204,
        responses={403: {"description": "The current password is not right."}, **_THROTTLED},
    )
    async def change_password(
        body: schemas.PasswordChange, request: Request, principal: Annotated[Principal, Depends(staff)]
    ) -> None:
        presented = presented_credential(request)
        token = None if presented is None else presented.credential
        address = address_of(request)
        await hashing.run(
            lambda: sessions.change_password(
                principal, body.current_password, body.new_password, address=address, keep_token=token
            )
        )


def _add_tokens(router: APIRouter, service: AccessService, guard: Guard) -> None:
    @router.post(
        "/device-tokens",
        summary="Mint a device token",
        description="For the operator's own back end: it knows which line its app is signed in to. The token "
        "is good for that line only, to send reports and run self-checks, for at most an hour. It is "
        "verified without a store and cannot be revoked: keep it short.",
        status_code=201,
        response_model=schemas.DeviceTokenAnswer,
    )
    async def mint(
        body: schemas.DeviceTokenRequest,
        response: Response,
        _principal: Annotated[Principal, Depends(guard.allow(Permission.TOKENS_MINT))],
    ) -> schemas.DeviceTokenAnswer:
        minted = await run_blocking(service.mint_token, body.number, body.ttl_s, body.install_id)
        response.headers["Cache-Control"] = _NO_STORE
        return schemas.DeviceTokenAnswer(
            token=minted.token, subscriber_id=minted.subscriber_id, expires_at=minted.expires_at
        )


def _add_users(router: APIRouter, service: AccessService, hashing: HashingThreads, guard: Guard) -> None:
    administrator = guard.allow(Permission.USERS_ADMIN)

    @router.get(
        "/users",
        summary="List staff",
        description="By name, disabled ones too.",
        response_model=schemas.UsersPage,
    )
    async def list_users(
        _principal: Annotated[Principal, Depends(administrator)], limit: _Limit = 50, after: _After = None
    ) -> schemas.UsersPage:
        users = await run_blocking(service.list_users, limit=limit, after=after)
        items = [schemas.UserAnswer.of(user) for user in users]
        return schemas.UsersPage(items=items, next=items[-1].name if len(items) == limit else None)

    @router.post(
        "/users",
        summary="Create a member of staff",
        description="Without a password a random one is made and shown once.",
        status_code=201,
        response_model=schemas.CreatedUserAnswer,
        responses={409: {"description": "The name is taken."}},
    )
    async def create_user(
        body: schemas.NewUserRequest,
        response: Response,
        principal: Annotated[Principal, Depends(administrator)],
    ) -> schemas.CreatedUserAnswer:
        user, password = await hashing.run(
            lambda: service.create_user(
                principal, body.name, body.roles, password=body.password, display_name=body.display_name
            )
        )
        response.headers["Cache-Control"] = _NO_STORE
        return schemas.CreatedUserAnswer(
            user=schemas.UserAnswer.of(user), password=None if body.password is not None else password
        )

    @router.patch(
        "/users/{user_id}",
        summary="Change roles, or disable",
        description="A disabled user's sessions end at once. The last administrator stays.",
        response_model=schemas.UserAnswer,
        responses={404: {"description": "No such user."}, 409: {"description": "The last administrator."}},
    )
    async def change_user(
        user_id: _UserId, body: schemas.UserChange, principal: Annotated[Principal, Depends(administrator)]
    ) -> schemas.UserAnswer:
        user = await run_blocking(
            service.change_user,
            principal,
            user_id,
            roles=body.roles,
            disabled=body.disabled,
            display_name=body.display_name,
        )
        return schemas.UserAnswer.of(user)

    @router.post(
        "/users/{user_id}/reset-password",
        summary="Give a user a new random password",
        description="Shown once; every session of the user ends.",
        response_model=schemas.ResetAnswer,
        responses={404: {"description": "No such user."}},
    )
    async def reset_password(
        user_id: _UserId, response: Response, principal: Annotated[Principal, Depends(administrator)]
    ) -> schemas.ResetAnswer:
        password = await hashing.run(lambda: service.reset_password(principal, user_id))
        response.headers["Cache-Control"] = _NO_STORE
        return schemas.ResetAnswer(password=password)


def _add_keys(router: APIRouter, service: AccessService, guard: Guard) -> None:
    administrator = guard.allow(Permission.USERS_ADMIN)

    @router.get(
        "/keys",
        summary="List API keys",
        description="Without their secrets; revoked and expired ones too.",
        response_model=schemas.KeysPage,
    )
    async def list_keys(
        _principal: Annotated[Principal, Depends(administrator)], limit: _Limit = 50, after: _After = None
    ) -> schemas.KeysPage:
        keys = await run_blocking(service.list_keys, limit=limit, after=after)
        items = [schemas.KeyAnswer.of(key) for key in keys]
        return schemas.KeysPage(items=items, next=items[-1].id if len(items) == limit else None)

    @router.post(
        "/keys",
        summary="Create an API key",
        description="For a feed (writes reports and samples, nothing else) or another system. The secret is "
        "shown in this answer and never again.",
        status_code=201,
        response_model=schemas.CreatedKeyAnswer,
    )
    async def create_key(
        body: schemas.NewKeyRequest,
        response: Response,
        principal: Annotated[Principal, Depends(administrator)],
    ) -> schemas.CreatedKeyAnswer:
        created = await run_blocking(
            service.create_key, principal, body.name, body.kind, body.permissions, expires_at=body.expires_at
        )
        response.headers["Cache-Control"] = _NO_STORE
        return schemas.CreatedKeyAnswer(key=schemas.KeyAnswer.of(created.key), secret=created.secret)

    @router.delete(
        "/keys/{key_id}",
        summary="Revoke an API key",
        description="At once in this process, within three seconds in others. Doing it again changes nothing.",
        status_code=204,
        responses={404: {"description": "No such key."}},
    )
    async def revoke_key(key_id: _KeyId, principal: Annotated[Principal, Depends(administrator)]) -> None:
        await run_blocking(service.revoke_key, principal, key_id)


def _add_audit(router: APIRouter, audit: AuditLog, guard: Guard) -> None:
    @router.get(
        "/audit",
        summary="Read the audit log",
        description="Who looked up, changed or was refused what; newest first. Subjects are ids, never numbers.",
        response_model=schemas.AuditPage,
    )
    async def read_audit(
        query: Annotated[schemas.AuditQuery, Query()],
        _principal: Annotated[Principal, Depends(guard.allow(Permission.USERS_ADMIN))],
    ) -> schemas.AuditPage:
        records, following = await run_blocking(
            audit.page, query.wanted(), limit=query.limit, before=query.before
        )
        return schemas.AuditPage(items=[schemas.AuditAnswer.of(each) for each in records], next=following)
