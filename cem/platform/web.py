"""The edge that every route shares: request ids, measured answers, problem details, default headers.

Plain ASGI, because it stands before every report: no task groups, no copies of bodies.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cem.platform.errors import PROBLEM_MEDIA_TYPE, CemError, InternalError, InvalidInput
from cem.platform.observe import HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS, REQUEST_ID, get_logger

_log = get_logger("cem.http")
_LEVEL = logging.getLogger("cem.http")  # asked before a line is put together: it stands before every report
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")

_TITLES = {
    400: "The request cannot be read",
    404: "There is no such thing",
    405: "This method is not taken here",
}


class ObservedRequests:
    """Gives each request an id, counts and times it under its route's template, and logs its end.

    The id comes from `X-Request-ID` where the caller sent a sane one, and goes back in the answer. The line
    logged has method, route template, status and duration: no path, no query, nothing of the caller's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        REQUEST_ID.set(request_id)
        status = 500
        started = time.perf_counter()

        async def _send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                headers.append((b"x-request-id", request_id.encode()))
                headers.append((b"x-content-type-options", b"nosniff"))
            await send(message)

        HTTP_IN_FLIGHT.inc()
        try:
            await self.app(scope, receive, _send)
        finally:
            HTTP_IN_FLIGHT.dec()
            elapsed = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if status != 405 else "other"
            HTTP_REQUESTS.labels(method, route, status).inc()
            HTTP_SECONDS.labels(method, route).observe(elapsed)
            if status >= 500 or _LEVEL.isEnabledFor(logging.DEBUG):
                log = _log.warning if status >= 500 else _log.debug
                log("request", method=method, route=route, status=status, ms=round(elapsed * 1000, 1))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return os.urandom(12).hex()


class CollectorCors:
    """CORS for pages that report from a browser: bearer tokens only, never cookies.

    Only the paths named are opened, and only to the origins named; pages of the console stay closed.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str], prefixes: Sequence[str]) -> None:
        self.app = app
        self._any = "*" in origins
        self._origins = frozenset(origins)
        self._prefixes = tuple(prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or not scope["path"].startswith(self._prefixes):
            await self.app(scope, receive, send)
            return
        origin = next((v.decode("latin-1") for k, v in scope["headers"] if k == b"origin"), "")
        if not origin or not (self._any or origin in self._origins):
            await self.app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and any(
            k == b"access-control-request-method" for k, _ in scope["headers"]
        ):
            await send(
                {
                    "type": "http.response.start",
                    "status": 204,
                    "headers": [
                        (b"access-control-allow-origin", origin.encode("latin-1")),
                        (b"access-control-allow-methods", b"GET, POST"),
                        (
                            b"access-control-allow-headers",
                            b"authorization, content-type, content-encoding, idempotency-key, last-event-id",
                        ),
                        (b"access-control-max-age", b"7200"),
                        (b"vary", b"Origin"),
                    ],
                }
            )
            await send({"type": "http.response.body", "body": b""})
            return

        async def _send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["access-control-allow-origin"] = origin
                headers["access-control-expose-headers"] = "location, retry-after, x-request-id"
                headers.add_vary_header("Origin")
            await send(message)

        await self.app(scope, receive, _send)


def install_problem_details(app: FastAPI) -> None:
    """Every error leaves as `application/problem+json` (RFC 9457)."""

    @app.exception_handler(CemError)
    async def _known(request: Request, error: CemError) -> JSONResponse:
        if error.status >= 500:
            _log.error("failed", error=type(error).__name__, exc_info=error)
        return problem_response(error.problem(), request, dict(error.headers()))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        items = [_invalid_item(item) for item in error.errors()]
        broken = any(item["type"] == "json_invalid" for item in error.errors())
        problem = {
            "type": "/problems/malformed-body" if broken else "/problems/invalid-input",
            "title": "The body cannot be read" if broken else "The content is not valid",
            "status": 400 if broken else 422,
            "detail": "; ".join(f"{item['in']} {item['pointer']}: {item['detail']}" for item in items[:5]),
            "errors": items[:100],
        }
        return problem_response(problem, request, {})

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        problem = {
            "type": "about:blank",
            "title": _TITLES.get(error.status_code, str(error.detail)),
            "status": error.status_code,
            "detail": "See /docs for what there is."
            if error.status_code in {404, 405}
            else str(error.detail),
        }
        return problem_response(problem, request, dict(error.headers or {}))

    @app.exception_handler(DataError)
    async def _unstorable(request: Request, error: DataError) -> JSONResponse:
        # PostgreSQL keeps no NUL in a text and no number beyond its column. Its message quotes what was sent.
        _log.warning("not storable", error=type(error.orig).__name__)
        known = InvalidInput("The request holds a character or a number that cannot be stored.")
        return problem_response(known.problem(), request, {})

    @app.exception_handler(Exception)
    async def _unknown(request: Request, error: Exception) -> JSONResponse:
        _log.error("failed unexpectedly", error=type(error).__name__, exc_info=error)
        known = InternalError("This should not have happened; the log has the cause under this request id.")
        return problem_response(known.problem(), request, {})


def problem_response(problem: dict[str, Any], request: Request, headers: dict[str, str]) -> JSONResponse:
    """A problem object as an answer, with the request id in it."""
    request_id = request.scope.get("state", {}).get("request_id")
    if request_id:
        problem = problem | {"request_id": request_id}
    return JSONResponse(problem, problem["status"], headers, media_type=PROBLEM_MEDIA_TYPE)


def _invalid_item(item: Any) -> dict[str, str]:
    """One finding of the validation, without the value that was sent (it may be personal)."""
    where, *path = item["loc"] or ("body",)
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return {"in": str(where), "pointer": pointer, "code": item["type"], "detail": item["msg"]}
