"""A small adaptive player: given what a connection carries, what does the viewer see, and when.

Pure. Chunks of three seconds are fetched one after another at a wavering rate; the picture starts when enough is
buffered and stops when the buffer is empty. What comes out is the time line a player's own events would tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

LADDER_KBPS = (450, 900, 1800, 3600, 6500)
CHUNK_MS = 3000.0
START_CHUNKS = 1
FULL_BUFFER_MS = 24_000.0
HICCUP_SHARE = 0.002
"""Share of chunks that are held up without any fault about: a passing lorry, a lift; chosen here. [1]"""
HICCUP_MS = (1000.0, 7000.0)
"""For how long; chosen here: most of it disappears in a full buffer. [ms]"""
PATIENCE_MS = 20_000.0
"""How long a viewer waits for a first picture, or through one stall, before giving up; chosen here. [ms]"""


@dataclass(frozen=True, slots=True)
class PlayerEvent:
    """One event on the player's time line. `offset_ms` counts from the request."""

    kind: str
    offset_ms: float
    values: dict[str, float | str]


@dataclass(frozen=True, slots=True)
class Connection:
    """What the player gets of the world.

    `setup_ms` is the time to the first byte of the first chunk (look-up, connection, TLS, server); `rate_kbps` what
    arrives after it; `hold_up_ms` a pause of the phone itself while decoding, with chance `hold_up_share` per chunk;
    `chunk_wait_ms` the server's time before each later chunk; `fail_share` the chance that a chunk ends in an error.
    """

    setup_ms: float
    rate_kbps: float
    chunk_wait_ms: float
    fail_share: float = 0.0
    fail_code: str = ""
    fail_status: int = 0
    hold_up_share: float = 0.0
    hold_up_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Viewing:
    """A viewing's time line with its figures in sum. `start_delay_ms` is None where no picture ever came."""

    events: tuple[PlayerEvent, ...]
    start_delay_ms: float | None
    stall_ms: float
    play_ms: float
    stall_count: int
    bitrate_kbps: int
    error_code: str
    http_status: int
    length_ms: float


def watch(rng: Random, connection: Connection, wanted_ms: float) -> Viewing:
    """Play up to `wanted_ms` of a programme over a connection.

    Stall time excludes initial buffering, which counts as start delay. A viewing that fails, or whose viewer gives
    up, ends with a `failed` or `ended` event at that moment.
    """
    return _Player(rng, connection, wanted_ms).run()


class _Player:
    def __init__(self, rng: Random, connection: Connection, wanted_ms: float) -> None:
        self._rng = rng
        self._connection = connection
        self._wanted_ms = wanted_ms
        self._now = 0.0
        self._buffer = 0.0
        self._played = 0.0
        self._stalled = 0.0
        self._stalls = 0
        self._start: float | None = None
        self._error = ""
        self._status = 0
        self._bitrate = self._choose_bitrate(connection.rate_kbps * 0.2)
        self._events = [PlayerEvent("requested", 0.0, {})]

    def run(self) -> Viewing:
        connection = self._connection
        self._now = connection.setup_ms
        if self._now > PATIENCE_MS or connection.rate_kbps <= 0:
            return self._fail(
                min(self._now, PATIENCE_MS), connection.fail_code or "timeout", connection.fail_status
            )
        fetched = 0
        while self._played + self._buffer < self._wanted_ms:
            if connection.fail_share and self._rng.random() < connection.fail_share:
                return self._fail(self._now, connection.fail_code, connection.fail_status)
            if not self._fetch(first=fetched == 0):
                return self._close("ended")
            fetched += 1
            if self._start is None and fetched >= START_CHUNKS:
                self._begin()
            if self._start is None and self._now > PATIENCE_MS:
                return self._fail(self._now, "timeout", 0)
        self._now += self._buffer
        self._played += self._buffer
        return self._close("ended")

    def _fetch(self, *, first: bool) -> bool:
        """Fetch one chunk; play meanwhile. False where the viewer gave up in a stall."""
        connection = self._connection
        rate = connection.rate_kbps * math.exp(self._rng.gauss(0.0, 0.28))
        size_kbit = self._bitrate * CHUNK_MS / 1000
        elapsed = size_kbit / max(rate, 20.0) * 1000 + (0.0 if first else connection.chunk_wait_ms)
        if self._rng.random() < HICCUP_SHARE:
            elapsed += self._rng.uniform(*HICCUP_MS)
        if connection.hold_up_share and self._rng.random() < connection.hold_up_share:
            self._hold_up(connection.hold_up_ms * self._rng.uniform(0.6, 1.4))
        kept = self._pass(elapsed)
        self._buffer += CHUNK_MS
        self._adapt(rate)
        if self._buffer > FULL_BUFFER_MS:
            self._pass(self._buffer - FULL_BUFFER_MS + CHUNK_MS)
        return kept

    def _pass(self, elapsed: float) -> bool:
        """Let time go by with the picture running from the buffer, and stalled once the buffer is empty."""
        if self._start is None:
            self._now += elapsed
            return True
        played = min(self._buffer, elapsed)
        self._now += played
        self._played += played
        self._buffer -= played
        missing = elapsed - played
        if missing <= 0:
            return True
        endured = min(missing, PATIENCE_MS)
        self._stall(endured)
        return missing <= PATIENCE_MS

    def _stall(self, duration: float) -> None:
        if duration < 120.0:  # shorter than a player's own clock would call a stall
            self._now += duration
            return
        self._events.append(PlayerEvent("stall_started", self._now, {"buffer_ms": 0.0}))
        self._now += duration
        self._stalled += duration
        self._stalls += 1
        self._events.append(PlayerEvent("stall_ended", self._now, {"stall_ms": round(duration)}))

    def _hold_up(self, duration: float) -> None:
        """Freeze with data at hand: the phone cannot keep up, although its buffer is full."""
        if self._start is None:
            self._now += duration
            return
        self._events.append(PlayerEvent("stall_started", self._now, {"buffer_ms": round(self._buffer)}))
        self._now += duration
        self._stalled += duration
        self._stalls += 1
        self._events.append(PlayerEvent("stall_ended", self._now, {"stall_ms": round(duration)}))

    def _begin(self) -> None:
        self._start = self._now
        self._events.append(
            PlayerEvent(
                "first_frame", self._now, {"start_delay_ms": round(self._now), "bitrate_kbps": self._bitrate}
            )
        )

    def _adapt(self, rate: float) -> None:
        better = self._choose_bitrate(rate * 0.7)
        if better == self._bitrate or (better > self._bitrate and self._buffer < 8000):
            return
        self._bitrate = better
        if self._start is not None:
            self._events.append(PlayerEvent("bitrate_changed", self._now, {"bitrate_kbps": better}))

    @staticmethod
    def _choose_bitrate(rate: float) -> int:
        return max((step for step in LADDER_KBPS if step <= rate), default=LADDER_KBPS[0])

    def _fail(self, at: float, code: str, status: int) -> Viewing:
        self._now = at
        self._error = code
        self._status = status
        values: dict[str, float | str] = {"error_code": code}
        if status:
            values["http_status"] = status
        return self._close("failed", values)

    def _close(self, kind: str, values: dict[str, float | str] | None = None) -> Viewing:
        self._events.append(PlayerEvent(kind, self._now, values or {}))
        return Viewing(
            events=tuple(self._events),
            start_delay_ms=self._start,
            stall_ms=self._stalled,
            play_ms=self._played,
            stall_count=self._stalls,
            bitrate_kbps=self._bitrate,
            error_code=self._error,
            http_status=self._status,
            length_ms=self._now,
        )
