"""What the service says of itself: JSON log lines with request ids, and Prometheus metrics.

Log events carry names and numbers, never bodies, numbers of customers or tokens.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry(auto_describe=True)
"""The one registry of the process; `/metrics` renders it."""

HTTP_REQUESTS = Counter(
    "cem_http_requests_total", "Answered requests.", ["method", "route", "status"], registry=REGISTRY
)
HTTP_SECONDS = Histogram(
    "cem_http_request_seconds", "Time to the last byte of an answer.", ["method", "route"], registry=REGISTRY
)
HTTP_IN_FLIGHT = Gauge("cem_http_requests_in_flight", "Requests under way.", registry=REGISTRY)
JOB_SECONDS = Histogram(
    "cem_job_seconds", "Time of one unit of a background job.", ["job"], registry=REGISTRY
)
JOB_FAILURES = Counter("cem_job_failures_total", "Background jobs that failed.", ["job"], registry=REGISTRY)
JOB_LAST_SUCCESS = Gauge(
    "cem_job_last_success_timestamp_seconds",
    "When a background job last ended well.",
    ["job"],
    registry=REGISTRY,
)


REQUEST_ID: ContextVar[str | None] = ContextVar("cem_request_id", default=None)
"""Id of the request that is being answered; goes into every line and problem object."""


def _add_request_id(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    request_id = REQUEST_ID.get()
    if request_id is not None:
        line["request_id"] = request_id
    return line


def configure_logging(level: str, *, as_json: bool) -> None:
    """Send every log line to standard error, as JSON or readable, with the bound request id.

    Parameters
    ----------
    level
        `debug`, `info`, `warning` or `error`.
    as_json
        One JSON object a line; otherwise for a person's eyes.
    """
    shared: list[Any] = [
        _add_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: list[Any] = (
        [
            # Frames without their variables: those hold bodies, numbers and tokens.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
            ),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    # URLs of upstreams may carry identifiers, and an access line is written by our own middleware.
    for name in ("httpx", "httpcore", "uvicorn.access", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry `name` and whatever the request has bound."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
