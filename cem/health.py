"""Health and readiness that mean it.

`/healthz` says that the process answers. `/readyz` asks each thing the service cannot work without, at once and
with a bound, and says which one fails; nothing personal and no address is in the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from cem.platform.aio import Bulkhead, run_blocking
from cem.platform.observe import REGISTRY, get_logger
from cem.platform.security import Guard, Permission

_log = get_logger("cem.health")

CHECK_TIMEOUT_S = 2.0
"""For one check. Chosen here: well inside the shortest probe period that orchestrators use by default (10 s)."""


class CheckResult(BaseModel):
    """One check."""

    ok: bool
    detail: str = Field(description="Why it fails, for a person; empty when it does not.")
    ms: float = Field(description="Time it took. [ms]")


class ReadinessAnswer(BaseModel):
    """All checks."""

    status: str = Field(description="`ready` or `not ready`.")
    checks: dict[str, CheckResult]


_READY = {
    "status": "ready",
    "checks": {
        "operational_store": {"ok": True, "detail": "", "ms": 0.6},
        "kqi_store": {"ok": True, "detail": "", "ms": 1.4},
    },
}


@dataclass(frozen=True, slots=True)
class Readiness:
    """What must answer before traffic should come.

    Parameters
    ----------
    checks
        Name → a blocking call that raises when the thing does not work.
    """

    checks: Mapping[str, Callable[[], None]]

    async def ask(self) -> ReadinessAnswer:
        """Run every check at once, each in a thread of its own, bounded by `CHECK_TIMEOUT_S`."""
        results = await asyncio.gather(*(self._one(name, check) for name, check in self.checks.items()))
        answer = dict(zip(self.checks, results, strict=True))
        ready = all(result.ok for result in results)
        return ReadinessAnswer(status="ready" if ready else "not ready", checks=answer)

    async def _one(self, name: str, check: Callable[[], None]) -> CheckResult:
        pool = Bulkhead(f"ready-{name}", 1)
        started = perf_counter()
        detail = ""
        try:
            await pool.run(check, timeout_s=CHECK_TIMEOUT_S)
        except Exception as error:  # the edge of a check: whatever it is, the thing is not ready
            detail = f"{type(error).__name__}; see the log"
            _log.warning("not ready", check=name, exc_info=error)
        finally:
            pool.close()
        return CheckResult(ok=not detail, detail=detail, ms=round((perf_counter() - started) * 1000, 1))


def build_router(readiness: Readiness, guard: Guard) -> APIRouter:
    """`/healthz` and `/readyz` for anyone; `/metrics` for whoever may operate the service."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/healthz",
        summary="Does the process answer",
        description="Always 200 while the event loop runs. For a liveness probe.",
        responses={200: {"content": {"application/json": {"example": {"status": "alive"}}}}},
        dependencies=[Depends(guard.public("a probe has no credentials"))],
    )
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get(
        "/readyz",
        summary="Can the service do its work",
        description="200 when every store answers and every job thread is up; otherwise 503, naming what fails.",
        response_model=ReadinessAnswer,
        responses={
            200: {"content": {"application/json": {"example": _READY}}},
            503: {"model": ReadinessAnswer, "description": "Something it needs does not work."},
        },
        dependencies=[Depends(guard.public("a probe has no credentials"))],
    )
    async def readyz(response: Response) -> ReadinessAnswer:
        answer = await readiness.ask()
        response.status_code = 200 if answer.status == "ready" else 503
        return answer

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        description="Text exposition. Needs a key or login with the permission `operate`; no label is personal.",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"example": "cem_http_requests_in_flight 1.0\n"}}}},
        dependencies=[Depends(guard.allow(Permission.OPERATE))],
    )
    async def metrics() -> Response:
        return Response(await run_blocking(generate_latest, REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return router
