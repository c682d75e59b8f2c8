"""Which items are stored already: a narrow table of keys beside the facts.

An item is known by its key alone, whatever time it claims: sent again with another time it would land in
another window, where the fact tables cannot tell that it is the same. The key table is derived from the facts
(written after them, mended from them at start), so a crash between the two loses nothing.

Measured with chDB on 2 cores, 3 million keys: 1 key is looked up in 1.1 ms, 100 in 1.3 ms, 2,000 in 5.4 ms
(index of 256 rows a granule); writing up to 200 keys takes about 8 ms.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from hashlib import blake2b
from typing import Final, Protocol

from cem.platform.clock import Clock
from cem.platform.errors import Unavailable
from cem.platform.facts import FactStore

KEY_BYTES: Final = 16
"""Length of a key before it is written as hexadecimal digits. [B] 128 bits: among 10^12 items the odds of two
keys being equal are below 10^-14 (birthday bound)."""

LOOKUP_KEYS: Final = 2_000
"""Keys of one look-up. [1] 66 kB of parameter, far below the megabyte that a server takes in a URL."""
SETTLE_KEYS: Final = 5_000
SETTLE_AFTER_S: Final = 1.0
"""Keys that wait at most, and how long, before they are written behind the answers. Chosen here: one insert a
second."""
OVERFLOW_KEYS: Final = 500_000
"""Keys that may wait while the key table cannot be written; then nothing more is accepted. [1]"""
MEND_MARGIN: Final = timedelta(minutes=10)
"""How far behind the newest key a start looks for facts without one: the longest an item can wait."""
HORIZON: Final = timedelta(days=4)
"""How long a key is remembered: twice the age at which a report is refused (48 h). The table's TTL."""


def item_key(owner: str, kind: str, item_id: str) -> str:
    """Key of an item: 32 hexadecimal digits of BLAKE2b over whose it is, what it is and its own id.

    Lengths go in first, so that no two different triples are the same bytes.
    """
    parts = (owner.encode("utf-8", "surrogatepass"), kind.encode(), item_id.encode("utf-8", "surrogatepass"))
    text = b"%d %d " % (len(parts[0]), len(parts[1])) + b"".join(parts)
    return blake2b(text, digest_size=KEY_BYTES).hexdigest()


class KnownKeys(Protocol):
    """What a group commit asks about keys. Called from its one thread."""

    def among(self, keys: Sequence[str]) -> AbstractSet[str]:
        """Those of `keys` that are stored."""
        ...

    def add(self, keys: Sequence[str]) -> None:
        """These are stored now; returns when every process that can write will know."""
        ...

    def settle(self, *, idle: bool) -> None:
        """Finish what may be done behind the answers."""
        ...


class StoredKeys:
    """Keys of one fact table, in the store's `item_keys`.

    Parameters
    ----------
    store, clock
        Where they are, and what tells the time.
    kind
        The fact table whose rows the keys stand for; it has `window`, `item_key` and `received_at`.
    exclusive
        True where no other process writes the store (chDB): new keys are then known from memory and
        written behind the answers. Otherwise they are on disk before the answer.

    Raises
    ------
    FactStoreError
        From every method: the store is away.
    """

    def __init__(self, store: FactStore, clock: Clock, *, kind: str, exclusive: bool) -> None:
        self._store = store
        self._clock = clock
        self._kind = kind
        self._exclusive = exclusive
        self._unwritten: dict[str, None] = {}
        self._since_s = 0.0
        self._mended = False
        self._lock = threading.Lock()

    def mend(self) -> None:
        """Add keys of facts that a crash left without one. Done once, before the first look-up."""
        mark = self._store.rows(
            "SELECT max(committed_at) AS mark FROM item_keys WHERE kind = {kind:String}", {"kind": self._kind}
        )[0]["mark"]
        now = self._clock.now()
        self._store.execute(
            f"INSERT INTO item_keys (item_key, kind, committed_at) "  # noqa: S608 - the kind is a constant of ours
            f"SELECT item_key, {{kind:String}}, {{now:DateTime64(3, 'UTC')}} FROM {self._kind} "
            f"WHERE received_at >= {{since:DateTime64(3, 'UTC')}} "
            f"AND window >= {{oldest:DateTime64(3, 'UTC')}} "
            f"AND item_key NOT IN (SELECT item_key FROM item_keys "
            f"WHERE kind = {{kind:String}} AND committed_at >= {{since:DateTime64(3, 'UTC')}})",
            {
                "kind": self._kind,
                "now": now,
                "since": max(mark - MEND_MARGIN, now - HORIZON),
                "oldest": now - HORIZON,
            },
        )
        self._mended = True

    def among(self, keys: Sequence[str]) -> AbstractSet[str]:
        """Those of `keys` that are stored."""
        with self._lock:
            if not self._mended:
                self.mend()
            found = {key for key in keys if key in self._unwritten}
            asked = [key for key in keys if key not in found]
            for start in range(0, len(asked), LOOKUP_KEYS):
                table = self._store.query(
                    "SELECT toString(item_key) AS item_key FROM item_keys "
                    "WHERE item_key IN splitByChar(',', {keys:String})",
                    {"keys": ",".join(asked[start : start + LOOKUP_KEYS])},
                )
                found.update(table.column("item_key").to_pylist())
            return found

    def add(self, keys: Sequence[str]) -> None:
        """These are stored now.

        Raises
        ------
        Unavailable
            The key table could not be written for so long that no more can be remembered.
        """
        with self._lock:
            if not self._unwritten:
                self._since_s = self._clock.monotonic()
            self._unwritten.update(dict.fromkeys(keys))
            if not self._exclusive or len(self._unwritten) > OVERFLOW_KEYS:
                self._write()
                if len(self._unwritten) > OVERFLOW_KEYS:
                    raise Unavailable("The key table cannot be written.", retry_after_s=5)

    def settle(self, *, idle: bool) -> None:
        """Write the keys that wait, if they are many, old, or nothing else is to do."""
        with self._lock:
            waited_s = self._clock.monotonic() - self._since_s
            if self._unwritten and (
                idle or len(self._unwritten) >= SETTLE_KEYS or waited_s >= SETTLE_AFTER_S
            ):
                self._write()

    def _write(self) -> None:
        at = self._clock.now().isoformat(timespec="milliseconds")
        tail = f'","kind":"{self._kind}","committed_at":"{at}"}}'
        body = "\n".join('{"item_key":"' + key + tail for key in self._unwritten)
        self._store.insert("item_keys", body.encode(), "JSONEachRow")
        self._unwritten.clear()
