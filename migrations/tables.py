"""Brings every room's tables together, so that migrations and tests see one whole model."""

from __future__ import annotations

from importlib import import_module

from sqlalchemy import MetaData

from cem.platform.db import Base

MODEL_MODULES = (
    "cem.platform.leases",
    "cem.access.models",
    "cem.customers.models",
    "demarcation.models",
    "workorders.models",
)


def whole_metadata() -> MetaData:
    """Every table of the operational store."""
    for name in MODEL_MODULES:
        try:
            import_module(name)
        except ModuleNotFoundError as e:
            if e.name != name:
                raise
    return Base.metadata
