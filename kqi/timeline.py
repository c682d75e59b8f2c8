"""A player's events, in whatever order and completeness they came, as a time line of what the viewer saw.

Pure. For every moment of a session: waiting for the first frame, watching, stalled, paused or seeking. Events may
come late, twice, out of order or in part, and players differ: some name every change, some tell only their state
(`playing`), some only how long a finished stall was (`stall_ms`). The figures made from it are in `kqi.video`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

GIVE_UP_MS = 10_000
"""Waited so long in vain, a session without a picture has failed. [ms] Chosen here: five times the 2 s
after which viewers begin to leave (Krishnan and Sitaraman, IMC 2012)."""

SEEK_SETTLE_MS = 500
"""A stall that begins so soon after a seek's end belongs to the seek. [ms] Chosen here: players tell the end of a
seek when the position is set, often before its data has come."""


class Kind(StrEnum):
    """What happened in a player: the words in which events are stored."""

    REQUESTED = "requested"
    FIRST_FRAME = "first_frame"
    STALL_STARTED = "stall_started"
    STALL_ENDED = "stall_ended"
    PAUSED = "paused"
    RESUMED = "resumed"
    SEEK_STARTED = "seek_started"
    SEEK_ENDED = "seek_ended"
    PLAYING = "playing"
    BITRATE_CHANGED = "bitrate_changed"
    PROGRESS = "progress"
    FAILED = "failed"
    ENDED = "ended"


class Phase(StrEnum):
    """What the viewer saw."""

    STARTING = "starting"
    PLAYING = "playing"
    STALLED = "stalled"
    PAUSED = "paused"
    SEEKING = "seeking"


_OPENING = frozenset({Kind.REQUESTED, Kind.FIRST_FRAME, Kind.PLAYING})
_GOES_ON = frozenset({Kind.STALL_STARTED, Kind.BITRATE_CHANGED, Kind.PAUSED, Kind.SEEK_STARTED})
"""What a player only says of a picture that was still there: an error before it was not the end."""


@dataclass(frozen=True, slots=True)
class PlayerEvent:
    """One event; `at_ms` is Unix time. [ms]"""

    kind: Kind
    at_ms: int
    sequence: int = 0
    origin: str = "sdk"
    values: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of one phase: [start_ms, end_ms). `opens` is False where it continues a stall already counted."""

    phase: Phase
    start_ms: int
    end_ms: int
    bitrate_kbps: float | None = None
    opens: bool = True

    @property
    def length_ms(self) -> int:
        """Its length. [ms]"""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class Timeline:
    """A session, moment by moment, and what cannot be read off the moments."""

    intervals: tuple[Interval, ...]
    requested_ms: int | None
    began_ms: int
    ended_ms: int
    start_delay_ms: float | None
    failed_ms: int | None
    """When it failed; None if it did not."""
    failed_before_start: bool
    error_count: int
    closed: bool
    """Whether an end or a failure is known; otherwise it may still be running."""
    http_status: float | None
    error_code: str


def timeline(events: Iterable[PlayerEvent]) -> Timeline | None:
    """The time line of one session; None without events.

    Events may come in any order and more than once. Where two senders tell of one session (the app's SDK and
    the player's CMCD), the one that tells more is followed, the SDK when they tell as much: mixing them would
    count every stall twice.
    """
    ordered = _order(_one_sender(events))
    if not ordered:
        return None
    walk = _Walk(ordered)
    for event in ordered:
        walk.take(event)
    return walk.finish()


def _one_sender(events: Iterable[PlayerEvent]) -> list[PlayerEvent]:
    by_origin: dict[str, set[tuple[int, int, Kind]]] = {}
    unique: dict[tuple[str, int, int, Kind], PlayerEvent] = {}
    for event in events:
        unique.setdefault((event.origin, event.at_ms, event.sequence, event.kind), event)
        by_origin.setdefault(event.origin, set()).add((event.at_ms, event.sequence, event.kind))
    if not by_origin:
        return []
    best = max(by_origin, key=lambda origin: (len(by_origin[origin]), origin == "sdk", origin))
    return [event for key, event in unique.items() if key[0] == best]


_RANK = {kind: rank for rank, kind in enumerate(Kind)}


def _order(events: list[PlayerEvent]) -> list[PlayerEvent]:
    return sorted(events, key=lambda e: (e.at_ms, e.sequence, _RANK[e.kind], sorted(e.values.items())))


def _goes_on(event: PlayerEvent) -> bool:
    """Whether the event shows that the picture was still there (CMCD: a heartbeat in the state `p`)."""
    return event.kind in _GOES_ON or (event.kind is Kind.PROGRESS and event.labels.get("sta") == "p")


class _Walk:
    """Reads events in order; holds the phase the viewer is in."""

    def __init__(self, events: Sequence[PlayerEvent]) -> None:
        self.intervals: list[Interval] = []
        self.began_ms = events[0].at_ms
        self.now_ms = events[0].at_ms
        # A session whose beginning was lost is taken up as playing; otherwise nothing counts before its opening.
        opened = any(event.kind in _OPENING for event in events)
        self.phase: Phase | None = None if opened else Phase.PLAYING
        self.since_ms = self.now_ms
        self.before_pause = Phase.PLAYING
        self.before_seek = Phase.PLAYING
        self.seek_rebuffers = False
        self.seek_ended_ms: int | None = None
        self.bitrate: float | None = None
        self.requested_ms: int | None = None
        self.started = not opened
        self.waited_ms = 0
        self.own_delay: float | None = None
        self.delay: float | None = None
        self.untold_stall = False
        self.failed_ms: int | None = None
        self.failed_before_start = False
        self.before_failure: Phase | None = None
        self.error_count = 0
        self.http_status: float | None = None
        self.error_code = ""
        self.closed = False

    def take(self, event: PlayerEvent) -> None:
        """Go to the event's time in the present phase, then do what it says."""
        self.now_ms = event.at_ms
        if self.failed_ms is not None and self.phase is None and _goes_on(event):
            self.phase, self.since_ms = self.before_failure, self.failed_ms
            self.failed_ms, self.failed_before_start, self.closed = None, False, False
        if "start_delay_ms" in event.values and self.own_delay is None:
            self.own_delay = event.values["start_delay_ms"]
        if event.kind in {Kind.FAILED, Kind.ENDED}:
            self._stop(event)
        elif self.phase is None:
            self._open(event.kind)
        elif self.phase is Phase.STARTING:
            self._while_starting(event.kind)
        else:
            self._while_watching(event.kind)
        if "stall_ms" in event.values and event.values["stall_ms"] > 0:
            self._told_stall(round(event.values["stall_ms"]))
        if "bitrate_kbps" in event.values and event.values["bitrate_kbps"] != self.bitrate:
            if self.phase is Phase.PLAYING:
                self._enter(Phase.PLAYING)
            self.bitrate = event.values["bitrate_kbps"]

    def finish(self) -> Timeline:
        """Close the phase at the last event; what came after it is not known."""
        last = self.phase
        self._cut()
        if last is Phase.STALLED and self.since_ms == self.now_ms and not self._has_stall_at(self.now_ms):
            self.intervals.append(Interval(Phase.STALLED, self.now_ms, self.now_ms))
        if self.failed_ms is None and not self.started and self.waited_ms >= GIVE_UP_MS:
            self.failed_ms, self.failed_before_start = self.now_ms, True
        return Timeline(
            intervals=tuple(self.intervals),
            requested_ms=self.requested_ms,
            began_ms=self.began_ms,
            ended_ms=self.now_ms,
            start_delay_ms=self.own_delay if self.own_delay is not None else self.delay,
            failed_ms=self.failed_ms,
            failed_before_start=self.failed_before_start,
            error_count=self.error_count,
            closed=self.closed,
            http_status=self.http_status,
            error_code=self.error_code,
        )

    def _open(self, kind: Kind) -> None:
        if kind is Kind.REQUESTED:
            if self.requested_ms is None or not self.started:
                self.requested_ms = self.now_ms if self.requested_ms is None else self.requested_ms
            self.closed = False
            self._enter(Phase.STARTING)
        elif kind in {Kind.FIRST_FRAME, Kind.PLAYING} or (
            self.closed and kind in {Kind.RESUMED, Kind.STALL_ENDED}
        ):
            self.started = True
            self._play_again()
        elif kind is Kind.STALL_STARTED and self.closed and self.started:
            self.closed = False
            self._enter(Phase.STALLED)

    def _while_starting(self, kind: Kind) -> None:
        if kind in {Kind.FIRST_FRAME, Kind.PLAYING}:
            self._cut()
            if self.delay is None and not self.started:
                self.delay = float(self.waited_ms)
            self.started = True
            self._play_again()
        elif kind is Kind.PAUSED:
            self.before_pause = Phase.STARTING
            self._enter(Phase.PAUSED)

    def _while_watching(self, kind: Kind) -> None:
        if kind in {Kind.PLAYING, Kind.FIRST_FRAME}:
            if self.phase is Phase.PAUSED and self.before_pause is Phase.STARTING:
                self._enter(Phase.STARTING)
                self._while_starting(kind)
            elif self.phase is not Phase.PLAYING:
                self._play_again()
        elif kind is Kind.STALL_STARTED:
            self._stall()
        elif kind is Kind.STALL_ENDED:
            if self.phase is Phase.STALLED or (self.phase is Phase.SEEKING and self.seek_rebuffers):
                self._after_seek() if self.phase is Phase.SEEKING else self._play_again()
        elif kind is Kind.PAUSED:
            if self.phase in {Phase.PLAYING, Phase.STALLED}:
                self.before_pause = Phase.PLAYING
                self._enter(Phase.PAUSED)
            elif self.phase is Phase.SEEKING:
                self.before_seek = Phase.PAUSED
        elif kind is Kind.RESUMED:
            if self.phase is Phase.PAUSED:
                self._enter(self.before_pause)
            elif self.phase is Phase.SEEKING:
                self.before_seek = Phase.PLAYING
            elif self.phase is Phase.STALLED:
                self._play_again()
        elif kind is Kind.SEEK_STARTED:
            if self.phase is not Phase.SEEKING:
                self.before_seek = Phase.PAUSED if self.phase is Phase.PAUSED else Phase.PLAYING
                self._enter(Phase.SEEKING)
            self.seek_rebuffers = False
        elif kind is Kind.SEEK_ENDED and self.phase is Phase.SEEKING and not self.seek_rebuffers:
            self._after_seek()
            self.seek_ended_ms = self.now_ms

    def _stall(self) -> None:
        if self.phase is Phase.SEEKING:
            self.seek_rebuffers = True
        elif self.phase is Phase.PLAYING:
            if self.seek_ended_ms is not None and self.now_ms - self.seek_ended_ms <= SEEK_SETTLE_MS:
                self._enter(Phase.SEEKING)
                self.before_seek = Phase.PLAYING
                self.seek_rebuffers = True
            else:
                self._enter(Phase.STALLED)

    def _after_seek(self) -> None:
        self._enter(self.before_seek)
        self.seek_rebuffers = False

    def _play_again(self) -> None:
        """The picture runs: an earlier error was not the end."""
        self.failed_ms = None
        self.failed_before_start = False
        self.closed = False
        self.seek_rebuffers = False
        self._enter(Phase.PLAYING)

    def _stop(self, event: PlayerEvent) -> None:
        if event.kind is Kind.FAILED and event.values.get("fatal", 1.0) == 0:
            self.error_count += 1
            return
        self._cut()
        if event.kind is Kind.FAILED:
            self.error_count += 1
            if self.phase is not None:
                self.before_failure = self.phase
            self.failed_ms = self.now_ms
            self.failed_before_start = not self.started
            self.http_status = event.values.get("http_status", self.http_status)
            self.error_code = event.labels.get("error_code", self.error_code)
        self.closed = True
        self.phase = None

    def _told_stall(self, length_ms: int) -> None:
        """A finished stall told by its length alone: cut out of what was taken for playing."""
        if self.untold_stall:
            self.untold_stall = False
            return
        left = length_ms
        self._cut()
        moved: list[Interval] = []
        while left > 0 and self.intervals:
            last = self.intervals[-1]
            if last.phase is not Phase.PLAYING:
                break
            self.intervals.pop()
            cut = min(left, last.length_ms)
            if last.length_ms > cut:
                self.intervals.append(
                    Interval(Phase.PLAYING, last.start_ms, last.end_ms - cut, last.bitrate_kbps)
                )
            moved.append(Interval(Phase.STALLED, last.end_ms - cut, last.end_ms, None, opens=False))
            left -= cut
        for index, interval in enumerate(reversed(moved)):
            self.intervals.append(
                Interval(Phase.STALLED, interval.start_ms, interval.end_ms, None, opens=index == 0)
            )

    def _enter(self, phase: Phase) -> None:
        self._cut()
        self.phase = phase

    def _cut(self) -> None:
        """End the present interval now."""
        if self.phase is not None and self.now_ms > self.since_ms:
            if self.phase is Phase.STARTING and not self.started:
                self.waited_ms += self.now_ms - self.since_ms
            last = self.intervals[-1] if self.intervals else None
            goes_on = (
                self.phase is Phase.STALLED
                and last is not None
                and last.phase is Phase.STALLED
                and last.end_ms == self.since_ms
            )
            self.intervals.append(
                Interval(
                    self.phase,
                    self.since_ms,
                    self.now_ms,
                    self.bitrate if self.phase is Phase.PLAYING else None,
                    opens=not goes_on,
                )
            )
            if self.phase is Phase.STALLED:
                self.untold_stall = True
        self.since_ms = self.now_ms

    def _has_stall_at(self, at_ms: int) -> bool:
        return bool(self.intervals) and (
            self.intervals[-1].phase is Phase.STALLED and self.intervals[-1].end_ms == at_ms
        )
