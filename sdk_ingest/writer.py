"""The one writer of this room in a process: reports and player events, over the platform's group commit."""

from __future__ import annotations

from cem.platform.clock import Clock
from cem.platform.facts import FactStore
from cem.platform.group_commit import GroupCommit
from cem.platform.item_keys import StoredKeys
from sdk_ingest.rows import REPORTS, TABLES


def open_writer(
    store: FactStore,
    clock: Clock,
    *,
    exclusive: bool,
    gather_ms: float = 5.0,
    max_waiting: int = 200_000,
) -> GroupCommit:
    """Start with the keys of what is stored, and be ready for requests.

    Parameters
    ----------
    exclusive
        True where no other process writes the store (chDB).
    gather_ms
        How long a commit waits for more requests. [ms]
    max_waiting
        Items that may wait for a commit. [1]

    Raises
    ------
    FactStoreError
        The store is away.
    """
    keys = StoredKeys(store, clock, kind=REPORTS, exclusive=exclusive)
    keys.mend()
    return GroupCommit(
        store,
        clock,
        name=REPORTS,
        tables=TABLES,
        keys=keys,
        gather_ms=gather_ms,
        max_waiting=max_waiting,
    )
