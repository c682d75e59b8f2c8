"""Keeps a background job from taking more than its share of a processor."""

from __future__ import annotations

from cem.platform.clock import Clock


class Pace:
    """After work that took a time, a rest in proportion to it.

    Parameters
    ----------
    clock
        Measures.
    busy_share
        Most of the time that work may take, 0–1; 1 for no rest. [1]
    least_rest_s
        Rest after work however short it was. [s]
    """

    def __init__(self, clock: Clock, busy_share: float, least_rest_s: float = 0.0) -> None:
        if not 0 < busy_share <= 1:
            raise ValueError("a share is more than 0 and at most 1")
        self._clock = clock
        self._busy_share = busy_share
        self._least_rest_s = least_rest_s
        self._until_s = float("-inf")

    def resting(self) -> bool:
        """Whether it is too early to work again."""
        return self._clock.monotonic() < self._until_s

    def worked(self, since_s: float, *, more: bool = False) -> None:
        """Work that began at `since_s` (monotonic) has ended now; with `more` waiting there is only a short rest. [s]

        A backlog (a start, a feed that was away) is finite, and everything later waits for it.
        """
        now_s = self._clock.monotonic()
        rest_s = 0.0 if more else (now_s - since_s) * (1 / self._busy_share - 1)
        rest_s = max(rest_s, min(self._least_rest_s, 0.5) if more else self._least_rest_s)
        self._until_s = now_s + rest_s
