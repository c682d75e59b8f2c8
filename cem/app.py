"""The web application: every room's routes behind one edge. Knows everyone, decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse

from cem import __version__
from cem.health import Readiness
from cem.health import build_router as build_health_router
from cem.platform.security import Guard
from cem.platform.settings import Settings
from cem.platform.web import CollectorCors, ObservedRequests, install_problem_details

COLLECTOR_PREFIXES = ("/v1/reports", "/v1/cmcd", "/v1/self-checks", "/v1/schemas")
"""Paths that a web page of the operator's own may call across origins, with a device token."""

DOCS_ASSETS = "/docs/assets"

DESCRIPTION = """
Says which side a fault is on - **terminal, network or platform** - and gets it fixed.

*Terminals* send reports and ask for a self-check; *feeds* send samples of the cloud, pipe and IoT vantage
points; *staff* read verdicts and work the orders; *other systems* mint device tokens. Every error is a
problem object (RFC 9457, `application/problem+json`) with a JSON pointer where a body is at fault. Press
**Authorize** and paste a device token, an API key or a staff session to try the routes here.
"""

TAGS = [
    {"name": "reports", "description": "What terminals and players send."},
    {"name": "kqi", "description": "Samples in; sessions, cubes and the indicator catalogue out."},
    {"name": "self-check", "description": "Ask which side a fault is on; follow, repeat, hand over."},
    {"name": "verdicts", "description": "Stored verdicts, their evidence and their bundles for replay."},
    {"name": "work orders", "description": "Cases, and one order per cause in one scope."},
    {"name": "access", "description": "Logins, device tokens, users, keys, the audit log."},
    {"name": "customers", "description": "Look-ups by number; every one is audited."},
    {"name": "operation", "description": "Health, readiness, metrics."},
]

_DOCS_CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(
    settings: Settings,
    guard: Guard,
    routers: Sequence[APIRouter],
    readiness: Readiness,
    lifespan: Callable[[], AbstractAsyncContextManager[None]],
) -> FastAPI:
    """Put the routes together.

    Parameters
    ----------
    routers
        One per room; every route in them has a guard (a test walks them).
    lifespan
        Opened before the first request, closed after the last.
    """

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with lifespan():
            yield

    app = FastAPI(
        title="Customer experience and self-diagnosis",
        version=__version__,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
    )
    install_problem_details(app)
    app.include_router(build_health_router(readiness, guard))
    for router in routers:
        app.include_router(router)
    app.include_router(_documentation(app, guard))
    assets = Path(fastapi_offline.__file__).parent / "static"
    app.mount(DOCS_ASSETS, StaticFiles(directory=assets), name="docs-assets")
    if settings.cors_origins:
        app.add_middleware(CollectorCors, origins=settings.cors_origins, prefixes=COLLECTOR_PREFIXES)
    app.add_middleware(ObservedRequests)
    return app


def _documentation(app: FastAPI, guard: Guard) -> APIRouter:
    """`/docs` and `/openapi.json`: what the service offers is no secret; its data is."""
    router = APIRouter(
        include_in_schema=False, dependencies=[Depends(guard.public("documentation holds no data"))]
    )

    @router.get("/openapi.json")
    def openapi() -> dict[str, Any]:
        return app.openapi()

    @router.get("/docs")
    def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        page = get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{app.title} - API",
            swagger_js_url=f"{root}{DOCS_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{DOCS_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{DOCS_ASSETS}/favicon.png",
        )
        page.headers["Content-Security-Policy"] = _DOCS_CSP
        return page

    return router
