"""The one writer of samples in a process."""

from __future__ import annotations

from cem.platform.clock import Clock
from cem.platform.facts import FactStore
from cem.platform.group_commit import GroupCommit
from cem.platform.item_keys import StoredKeys
from kqi.service import TABLES


def open_samples_writer(
    store: FactStore,
    clock: Clock,
    *,
    exclusive: bool,
    gather_ms: float = 5.0,
    max_waiting: int = 200_000,
) -> GroupCommit:
    """A group commit that knows which samples are stored already.

    Parameters
    ----------
    store, clock
        Where samples go, and what measures.
    exclusive
        True where no other process writes the store (chDB).
    gather_ms
        How long a commit waits for more requests. [ms]
    max_waiting
        Samples that may wait; then 503. [1]
    """
    return GroupCommit(
        store,
        clock,
        name="samples",
        tables=TABLES,
        keys=StoredKeys(store, clock, kind="samples", exclusive=exclusive),
        gather_ms=gather_ms,
        max_waiting=max_waiting,
    )
