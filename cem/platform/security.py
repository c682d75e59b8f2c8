"""Who is calling and what they may: principals, permissions as data, and the guard on every route.

Default deny: a principal holds exactly the permissions that its role, key or token gives, and a route
without a guard is a defect that `unguarded_routes` finds. Who a credential belongs to is decided by
`cem.access`, which hands `Guard` its `authenticate`. Principals, keys and numbers have modules of their own
(`principals`, `keys`, `numbers`); their names are offered here too.
"""

from __future__ import annotations

import hmac
import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Request, Security
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.routing import Mount

from cem.platform.errors import Forbidden, Unauthenticated
from cem.platform.keys import Key, Keyring, KeySettings, KeyUnusableError, load_keyring, load_or_create_key
from cem.platform.numbers import (
    SUBSCRIBER_ID_PATTERN,
    CipherTamperedError,
    NumberCipher,
    NumberHasher,
    mask_number,
    normalise_number,
)
from cem.platform.principals import (
    KIND_PERMISSIONS,
    ROLE_PERMISSIONS,
    Permission,
    Principal,
    PrincipalKind,
    Role,
    permissions_of,
)

__all__ = [
    "GUARD_MARK",
    "KIND_PERMISSIONS",
    "ROLE_PERMISSIONS",
    "SESSION_COOKIE",
    "SUBSCRIBER_ID_PATTERN",
    "Channel",
    "CipherTamperedError",
    "Guard",
    "Key",
    "KeySettings",
    "KeyUnusableError",
    "Keyring",
    "NumberCipher",
    "NumberHasher",
    "Permission",
    "Presented",
    "Principal",
    "PrincipalKind",
    "Role",
    "check_same_origin",
    "equal_secrets",
    "guarded_routes",
    "guards_of",
    "load_keyring",
    "load_or_create_key",
    "mask_number",
    "normalise_number",
    "permissions_of",
    "presented_credential",
    "unguarded_routes",
]

SESSION_COOKIE = "cem_session"
"""Name of the cookie that carries a staff session to the web pages (HttpOnly, SameSite=Strict)."""

GUARD_MARK = "__cem_guard__"
"""Attribute on every dependency that a guard made; its text says what the guard asks for."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 clause 9.2.1, without TRACE
_LONGEST_CREDENTIAL = 4096
_PATH_PARAMETER = "cem.credential_path_parameter"


class Channel(StrEnum):
    """How a credential arrived."""

    BEARER = "bearer"
    COOKIE = "cookie"
    PATH = "path"


@dataclass(frozen=True)
class Presented:
    """A credential as a request carries it, not yet believed."""

    credential: str
    channel: Channel

    def __repr__(self) -> str:
        return f"Presented(channel={self.channel.value})"


def presented_credential(request: Request) -> Presented | None:
    """The credential of a request: Authorization header, else the route's token parameter, else cookie.

    A header that is there but unusable ends the search.

    Raises
    ------
    Unauthenticated
        where the Authorization header is not `Bearer <credential>`.
    Forbidden
        where a cookie comes with a changing request of another site.
    """
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, credential = header.partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not 0 < len(credential) <= _LONGEST_CREDENTIAL:
            raise Unauthenticated("the Authorization header must be 'Bearer' and a credential")
        return Presented(credential, Channel.BEARER)
    parameter = request.scope.get(_PATH_PARAMETER)
    if parameter is not None and request.path_params.get(parameter):
        return Presented(str(request.path_params[parameter]), Channel.PATH)
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie and len(cookie) <= _LONGEST_CREDENTIAL:
        check_same_origin(request)
        return Presented(cookie, Channel.COOKIE)
    return None


def check_same_origin(request: Request) -> None:
    """Refuse a changing request that a page of another site made the browser send.

    `Sec-Fetch-Site` decides where the browser sends it (it does on https and localhost); else `Origin`
    must name the host that was asked. A changing request with neither is refused: every browser sends one.

    Raises
    ------
    Forbidden
        where the request comes from elsewhere or does not say.

    References
    ----------
    W3C Fetch Metadata Request Headers, clause 2.4; RFC 6454 clause 7.
    """
    if request.method in _SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return
        raise Forbidden("a page of another site cannot do this")
    origin = request.headers.get("origin")
    if origin is not None and _host_of(origin) == request.headers.get("host", "").lower():
        return
    raise Forbidden("a page of another site cannot do this")


def _host_of(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() or None


def equal_secrets(one: str | bytes, other: str | bytes) -> bool:
    """Compare in a time that does not depend on where the two differ."""
    left = one.encode() if isinstance(one, str) else one
    right = other.encode() if isinstance(other, str) else other
    return hmac.compare_digest(left, right)


_BEARER = HTTPBearer(
    auto_error=False,
    description="A device token, an API key (`cemk_…`) or a staff session (`cems_…`).",
)
_Shown = Annotated[
    HTTPAuthorizationCredentials | None, Security(_BEARER)
]  # for /docs; the guard reads the request

Authenticate = Callable[[Request], Awaitable[Principal] | Principal]
"""Request → principal; raises Unauthenticated, or Unavailable where the store cannot be asked."""

Dependency = Callable[..., Awaitable[Principal]]


class Guard:
    """Makes the dependencies that stand before every route."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def principal(self, request: Request) -> Principal:
        """Who is calling. Raises Unauthenticated, Forbidden (a cookie from another site)."""
        answer = self._authenticate(request)
        found = await answer if inspect.isawaitable(answer) else answer
        request.state.principal = found
        return found

    async def admit(self, request: Request, *permissions: Permission) -> Principal:
        """The caller, where every one of `permissions` is held. Raises Unauthenticated, Forbidden."""
        found = await self.principal(request)
        missing = [permission for permission in permissions if permission not in found.permissions]
        if missing:
            raise Forbidden(f"this needs the permission {', '.join(missing)}")
        return found

    def allow(self, *permissions: Permission, path_parameter: str | None = None) -> Dependency:
        """Dependency: the caller holds every one of `permissions`; it answers the Principal.

        `path_parameter` names the route's parameter that may carry the credential, for players that
        cannot set a header. It counts only where there is no Authorization header.
        """
        if not permissions:
            raise ValueError("allow() needs at least one permission; signed_in() and public() say otherwise")

        async def allowed(request: Request, _shown: _Shown = None) -> Principal:
            if path_parameter is not None:
                request.scope[_PATH_PARAMETER] = path_parameter
            return await self.admit(request, *permissions)

        setattr(allowed, GUARD_MARK, "allow:" + ",".join(permissions))
        return allowed

    def signed_in(self, *kinds: PrincipalKind) -> Dependency:
        """Dependency: any authenticated caller (of `kinds`, where given); it answers the Principal."""

        async def signed_in(request: Request, _shown: _Shown = None) -> Principal:
            found = await self.principal(request)
            if kinds and found.kind not in kinds:
                raise Forbidden(f"this is for callers of kind {', '.join(kinds)}")
            return found

        setattr(signed_in, GUARD_MARK, "signed-in:" + ",".join(kinds))
        return signed_in

    def public(self, reason: str = "answers nothing about anyone") -> Callable[[], Awaitable[None]]:
        """Dependency for a route that anyone may call; `reason` says why that is right."""
        if not reason:
            raise ValueError("a public route says why it is public")

        async def public() -> None:
            return None

        setattr(public, GUARD_MARK, f"public:{reason}")
        return public


def guards_of(route: Any) -> tuple[str, ...]:
    """Marks of the guards before a route, such as `allow:kqi_read`; empty where nobody stands there."""

    def walk(dependant: Any) -> Iterator[str]:
        mark = getattr(dependant.call, GUARD_MARK, None)
        if mark is not None:
            yield mark
        for inner in dependant.dependencies:
            yield from walk(inner)

    dependant = getattr(route, "dependant", None)
    return () if dependant is None else tuple(walk(dependant))


def guarded_routes(app: Any) -> list[tuple[str, tuple[str, ...]]]:
    """Every route of an application, through included routers and mounts: `METHODS path` and its guards.

    Routes that are no FastAPI routes (static files, the documentation pages) can have no guard: a test
    names those that are meant.
    """
    found: list[tuple[str, tuple[str, ...]]] = []
    for route in iter_route_contexts(app.routes):
        mounted = getattr(route.original_route, "app", None)
        if isinstance(route.original_route, Mount) and getattr(mounted, "routes", None):
            found.extend(guarded_routes(mounted))
            continue
        methods = ",".join(sorted(getattr(route, "methods", None) or ())) or "*"
        found.append((f"{methods} {route.path}", guards_of(route)))
    return found


def unguarded_routes(app: Any) -> list[str]:
    """`METHODS path` of every route that no guard stands before."""
    return [name for name, guards in guarded_routes(app) if not guards]
