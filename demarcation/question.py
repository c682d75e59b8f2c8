"""What is asked of every source of evidence: about which line, where, which service, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Question:
    """One fault to gather evidence about. `at` is its moment; `dimensions` are '' where unknown."""

    subscriber_id: str
    dimensions: Mapping[str, str]
    service: str
    at: datetime
