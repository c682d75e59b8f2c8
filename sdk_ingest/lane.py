"""The short way for `POST /v1/reports`: plain ASGI in front of the web framework's routing.

Does what the route in `endpoints` does, by the same guard, reader and service, and answers the same; the route
stays for its documentation and for an application without this lane. Measured on one core: routing and
dependency solving cost three times what reading and encoding a report does.
"""

from __future__ import annotations

from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from cem.platform.bodies import read_body
from cem.platform.errors import CemError, InternalError
from cem.platform.observe import get_logger
from cem.platform.security import Guard, Permission
from cem.platform.web import problem_response
from sdk_ingest.endpoints import answer_of
from sdk_ingest.service import IngestService

PATH: Final = "/v1/reports"

_log = get_logger(__name__)


class _Route:
    """What the measuring middleware reads the template of."""

    path = PATH


_ROUTE: Final = _Route()


class ReportsLane:
    """ASGI: answers `POST /v1/reports`, hands everything else on."""

    def __init__(self, app: ASGIApp, service: IngestService, guard: Guard) -> None:
        self.app = app
        self._service = service
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        request = Request(scope, receive)
        try:
            body = await self._answer(request)
        except ClientDisconnect:
            return
        except CemError as error:
            if error.status >= 500:
                _log.error("failed", error=type(error).__name__, exc_info=error)
            await problem_response(error.problem(), request, dict(error.headers()))(scope, receive, send)
            return
        except Exception as error:  # the edge: every request is answered
            _log.error("failed unexpectedly", error=type(error).__name__, exc_info=error)
            known = InternalError(
                "This should not have happened; the log has the cause under this request id."
            )
            await problem_response(known.problem(), request, {})(scope, receive, send)
            return
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, request: Request) -> bytes:
        principal = await self._guard.admit(request, Permission.REPORTS_WRITE)
        body = await read_body(request, self._service.limits.body)
        return answer_of(
            await self._service.reports(principal, body, request.headers.get("content-type", ""))
        )
