"""Figures of a video session: of all of it, and of each quarter hour it touches.

Pure. The time line they are read from is `kqi.timeline`. Left out: what the picture looked like.

Definitions (3GPP TS 26.247 clause 10.2, TS 28.406 clause 4; both exclude the initial wait from rebuffering):

    start_delay_ms           request → first frame, less what the viewer paused meanwhile; a player's own figure
                             (CMCD `msd`, CTA-5004) wins
    stall_ms, stall_count    interruptions after the first frame that no pause and no seek explains
    play_ms                  time the picture moved
    stall_ratio              Σ stall ÷ (Σ stall + Σ play); nothing where both are 0
    stall_frequency_per_min  stalls per minute played; nothing where nothing was played
    stall_duration_ms        mean length of a stall; nothing where there was none
    bitrate_kbps             encoded bitrate, weighted by time played at it
    switch_count             changes of the encoded bitrate between stretches played; nothing where it is unknown
    switch_frequency_per_min changes per minute played; nothing where nothing was played
    experience_score         `kqi.experience_curves`; nothing where nothing was seen
    failed                   1 if an error ended it and nothing was played after, or if no picture came within
                             `kqi.timeline.GIVE_UP_MS`; else 0; nothing while it may still begin
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kqi.experience_curves import Segment, experience_of_sums
from kqi.timeline import Interval, Phase, Timeline


@dataclass(frozen=True, slots=True)
class SessionKqi:
    """Figures of a session or of a part of it; None where the events do not tell. Units in the names."""

    stall_ms: int
    stall_count: int
    play_ms: int
    start_delay_ms: float | None = None
    failed: float | None = None
    bitrate_kbps: float | None = None
    switch_count: int | None = None
    segments: tuple[Segment, ...] = ()
    """Stretches played at a known bitrate; empty where only the mean is known."""

    @property
    def stall_ratio(self) -> float | None:
        """Stalled share of viewing time, 0–1. [1]"""
        total = self.stall_ms + self.play_ms
        return self.stall_ms / total if total else None

    @property
    def stall_frequency_per_min(self) -> float | None:
        """Stalls per minute played. [1/min]"""
        return self.stall_count / (self.play_ms / 60_000) if self.play_ms else None

    @property
    def stall_duration_ms(self) -> float | None:
        """Mean length of a stall. [ms]"""
        return self.stall_ms / self.stall_count if self.stall_count else None

    @property
    def switch_frequency_per_min(self) -> float | None:
        """Changes of bitrate per minute played. [1/min]"""
        if self.switch_count is None or not self.play_ms:
            return None
        return self.switch_count / (self.play_ms / 60_000)

    @property
    def experience_score(self) -> float | None:
        """How it was to watch, 1–5. [1]"""
        mean = () if self.bitrate_kbps is None else (Segment(1.0, self.bitrate_kbps),)
        return experience_of_sums(
            start_delay_ms=self.start_delay_ms,
            stall_ms=self.stall_ms,
            stall_count=self.stall_count,
            play_ms=self.play_ms,
            segments=self.segments or mean,
            failed=bool(self.failed),
        )

    def values(self) -> dict[str, float]:
        """Indicators that are known, by catalogue id."""
        known: dict[str, float | None] = {
            "stall_ms": self.stall_ms,
            "stall_count": self.stall_count,
            "play_ms": self.play_ms,
            "stall_ratio": self.stall_ratio,
            "stall_frequency_per_min": self.stall_frequency_per_min,
            "stall_duration_ms": self.stall_duration_ms,
            "switch_count": self.switch_count,
            "switch_frequency_per_min": self.switch_frequency_per_min,
            "experience_score": self.experience_score,
            "start_delay_ms": self.start_delay_ms,
            "failed": self.failed,
            "bitrate_kbps": self.bitrate_kbps,
        }
        return {name: float(value) for name, value in known.items() if value is not None}


def session_kqi(line: Timeline) -> SessionKqi:
    """Figures of the whole session."""
    return _figures(line.intervals, line.start_delay_ms, _failure(line), len(_switches(line.intervals)))


def slices(line: Timeline, length_ms: int) -> dict[int, SessionKqi]:
    """Figures of each window `[start, start + length)` that the session touches, by the window's start.

    Time is cut at the borders, so Σ stall, Σ play and Σ stalls over the slices are those of the session. A stall
    counts where it began; the start delay where the request was made (where the session began, if that is
    unknown); a failure where it happened, and a success where the session began.

    Parameters
    ----------
    line
        The session.
    length_ms
        Length of a window; windows are aligned to multiples of it. [ms]
    """
    pieces: dict[int, list[Interval]] = {}
    for interval in line.intervals:
        start, first = interval.start_ms, interval.opens
        while start < interval.end_ms:
            window = start - start % length_ms
            end = min(interval.end_ms, window + length_ms)
            pieces.setdefault(window, []).append(
                Interval(interval.phase, start, end, interval.bitrate_kbps, first)
            )
            start, first = end, False
        if interval.start_ms == interval.end_ms and interval.opens:
            pieces.setdefault(start - start % length_ms, []).append(interval)
    home = _home(line)
    home -= home % length_ms
    pieces.setdefault(home, [])
    changes = [at_ms - at_ms % length_ms for at_ms in _switches(line.intervals)]
    failed = _failure(line)
    where_failed = home if line.failed_ms is None else line.failed_ms - line.failed_ms % length_ms
    if failed is not None:
        pieces.setdefault(where_failed, [])
    return {
        window: _figures(
            found,
            line.start_delay_ms if window == home else None,
            failed if window == where_failed else None,
            changes.count(window),
        )
        for window, found in sorted(pieces.items())
    }


@dataclass(frozen=True, slots=True)
class TotalsReport:
    """What an app counted of a session so far, instead of events. Keys are catalogue ids."""

    at_ms: int
    values: Mapping[str, float]


_TOTALS = ("stall_ms", "stall_count", "play_ms")


def slices_of_totals(reports: Sequence[TotalsReport], length_ms: int) -> dict[int, SessionKqi]:
    """Figures per window from running totals: what each report adds to the one before, in its own window.

    Σ over the windows is the last report's totals. A total that falls (the player began anew) counts from
    zero. Time is not cut at borders: totals do not say when it passed.
    """
    found: dict[int, dict[str, float]] = {}
    last: dict[str, float] = {}
    told_delay = False
    for report in sorted(reports, key=lambda r: (r.at_ms, sorted(r.values.items()))):
        window = report.at_ms - report.at_ms % length_ms
        sums = found.setdefault(window, dict.fromkeys(_TOTALS, 0.0))
        for name in _TOTALS:
            if name in report.values:
                value, before = report.values[name], last.get(name, 0.0)
                sums[name] += value - before if value >= before else value
                last[name] = value
        if "start_delay_ms" in report.values and not told_delay:
            sums["start_delay_ms"] = report.values["start_delay_ms"]
            told_delay = True
        for name in ("bitrate_kbps", "failed"):
            if name in report.values:
                sums[name] = report.values[name]
    return {
        window: SessionKqi(
            stall_ms=round(sums["stall_ms"]),
            stall_count=round(sums["stall_count"]),
            play_ms=round(sums["play_ms"]),
            start_delay_ms=sums.get("start_delay_ms"),
            failed=sums.get("failed"),
            bitrate_kbps=sums.get("bitrate_kbps"),
        )
        for window, sums in found.items()
    }


def _switches(intervals: Sequence[Interval]) -> list[int]:
    """When another bitrate began to play. [ms]"""
    found: list[int] = []
    before: float | None = None
    for interval in intervals:
        if interval.phase is Phase.PLAYING and interval.bitrate_kbps is not None:
            if before is not None and interval.bitrate_kbps != before:
                found.append(interval.start_ms)
            before = interval.bitrate_kbps
    return found


def _figures(
    intervals: Sequence[Interval], start_delay_ms: float | None, failed: float | None, switches: int
) -> SessionKqi:
    stalls = [i for i in intervals if i.phase is Phase.STALLED]
    plays = [i for i in intervals if i.phase is Phase.PLAYING]
    rated = [(i.length_ms, i.bitrate_kbps) for i in plays if i.bitrate_kbps is not None and i.length_ms]
    rated_ms = sum(length for length, _ in rated)
    return SessionKqi(
        stall_ms=sum(i.length_ms for i in stalls),
        stall_count=sum(1 for i in stalls if i.opens),
        play_ms=sum(i.length_ms for i in plays),
        start_delay_ms=start_delay_ms,
        failed=failed,
        bitrate_kbps=sum(length * rate for length, rate in rated) / rated_ms if rated_ms else None,
        switch_count=switches if rated_ms else None,
        segments=tuple(Segment(length, rate) for length, rate in rated),
    )


def _home(line: Timeline) -> int:
    return line.began_ms if line.requested_ms is None else line.requested_ms


def _failure(line: Timeline) -> float | None:
    """1 failed, 0 did not; None while it waits for a first frame and may still get one."""
    if line.failed_ms is not None:
        return 1.0
    played = any(i.phase in {Phase.PLAYING, Phase.STALLED} for i in line.intervals)
    return 0.0 if played or line.closed else None
