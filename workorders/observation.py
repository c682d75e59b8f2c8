"""Metrics of cases and orders."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from cem.platform.observe import REGISTRY

ORDERS_OPEN = Gauge("cem_orders_open", "Orders that are open, as of the last look.", registry=REGISTRY)
CASES = Counter(
    "cem_cases_total", "Cases made, by the domain of their verdict.", ["domain"], registry=REGISTRY
)
ORDERS_OPENED = Counter("cem_orders_opened_total", "Orders opened, by domain.", ["domain"], registry=REGISTRY)
WINDOW_CLOSE_SECONDS = Histogram(
    "cem_window_close_seconds", "Time of one transaction of closing windows.", ["work"], registry=REGISTRY
)
WINDOW_CLOSE_LAG_SECONDS = Gauge(
    "cem_window_close_lag_seconds",
    "How long the earliest window that could be closed has been waiting; 0 where none is.",
    registry=REGISTRY,
)
