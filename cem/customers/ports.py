"""What this room needs of others, as small protocols that the wiring fills."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cem.platform.security import Principal


class AuditPort(Protocol):
    """Where a look-up is written down before its answer goes out."""

    def record(
        self,
        principal: Principal | None,
        action: str,
        subject: str,
        outcome: str = "ok",
        request_id: str | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        """Write one entry; returns once it is on disk."""
        ...


@dataclass(frozen=True)
class LatestActivity:
    """What was last heard of a line; None where never."""

    self_check_id: str | None = None
    verdict_id: str | None = None
    self_checked_at: datetime | None = None
    reported_at: datetime | None = None

    @property
    def seen(self) -> bool:
        """Whether anything was ever heard of the line."""
        return (self.self_check_id or self.verdict_id or self.reported_at) is not None


class ActivityPort(Protocol):
    """Who knows what a line did last."""

    def latest(self, subscriber_id: str) -> LatestActivity:
        """The latest of this line. Blocking; may raise Unavailable."""
        ...


class NoActivity:
    """For a service whose other rooms are not there: nothing was ever heard of anyone."""

    def latest(self, subscriber_id: str) -> LatestActivity:  # noqa: ARG002
        """Nothing."""
        return LatestActivity()
