"""One deadline for everything that a self-check does, on a clock that never runs backwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock, handed down through every step.

    Parameters
    ----------
    at
        The moment. [s, monotonic]
    monotonic
        The clock.
    """

    at: float
    monotonic: Callable[[], float]

    @classmethod
    def after(cls, seconds: float, monotonic: Callable[[], float]) -> Deadline:
        """A deadline so far ahead. [s]"""
        return cls(monotonic() + seconds, monotonic)

    def remaining(self) -> float:
        """Time left; 0 once it has passed. [s]"""
        return max(0.0, self.at - self.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.remaining() <= 0

    def child(self, budget_s: float) -> Deadline:
        """A deadline of its own for a part: `budget_s` from now, never after this one."""
        return Deadline(min(self.at, self.monotonic() + max(0.0, budget_s)), self.monotonic)

    def shield(self, reserve_s: float) -> Deadline:
        """This one less a reserve that only what comes after may spend: deciding, storing, answering. [s]"""
        return Deadline(max(self.monotonic(), self.at - reserve_s), self.monotonic)
