"""Sessions as lines of JSON in, their scores as lines of JSON out.

Pure; the curves are in `kqi.experience_curves`. A line holds what is known of one session, every part optional, times
in ms, further keys ignored:

    {"session_id": "a1", "start_delay_ms": 1200, "play_ms": 60000, "failed": false,
     "stalls": [{"at_ms": 20000, "length_ms": 3000}],
     "segments": [{"length_ms": 60000, "bitrate_kbps": 2500, "width": 1280, "height": 720}],
     "display": {"width": 1920, "height": 1080}}

`at_ms` is what had been played before the stall. Without `play_ms` the segments' lengths are added. A session that
played nothing and has no start delay never showed a picture, and failed. Answers, in the order of the lines:

    {"line": 1, "session_id": "a1", "score": 3.02, "factors": {"start": 0.9813, "stalls": 0.6383, "quality": 0.8063},
     "known": ["start", "stalls", "quality"]}
    {"line": 2, "error": "Expected `float` >= 0.0 - at `$.stalls[0].length_ms`"}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec

from kqi.experience_curves import DISPLAY_PIXELS, Score, Segment, Session, Stall, experience

MAX_LINE_BYTES = 4 << 20
"""A longer line is refused. [B] Chosen here: a day of segments of 4 s fits twice."""

_Ms = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Rate = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=65_536)]


class StallLine(msgspec.Struct, frozen=True):
    """A stall of a session's line."""

    length_ms: _Ms
    at_ms: _Ms | None = None


class SegmentLine(msgspec.Struct, frozen=True):
    """A stretch of one quality of a session's line."""

    length_ms: _Ms
    bitrate_kbps: _Rate | None = None
    width: _Side | None = None
    height: _Side | None = None


class DisplayLine(msgspec.Struct, frozen=True):
    """The screen."""

    width: _Side
    height: _Side


class SessionLine(msgspec.Struct, frozen=True):
    """What is known of a session."""

    session_id: Annotated[str, msgspec.Meta(max_length=128)] = ""
    start_delay_ms: _Ms | None = None
    play_ms: _Ms | None = None
    failed: bool = False
    stalls: list[StallLine] = []
    segments: list[SegmentLine] = []
    display: DisplayLine | None = None

    def session(self) -> Session:
        """As the score takes it."""
        played = self.play_ms
        if played is None and self.segments:
            played = sum(one.length_ms for one in self.segments)
        return Session(
            start_delay_ms=self.start_delay_ms,
            play_ms=played,
            stalls=[Stall(one.length_ms, one.at_ms) for one in self.stalls],
            segments=[
                Segment(
                    one.length_ms,
                    one.bitrate_kbps,
                    one.width * one.height if one.width is not None and one.height is not None else None,
                )
                for one in self.segments
            ],
            display_pixels=self.display.width * self.display.height if self.display else DISPLAY_PIXELS,
            failed=self.failed or (played == 0 and self.start_delay_ms is None),
        )


_DECODER = msgspec.json.Decoder(SessionLine)


def score_stream(lines: Iterable[bytes]) -> Iterator[bytes]:
    """One line of JSON a session, in order; a line that is no session becomes one that says why. Blank ones pass.

    Lines come with or without their line feed; answers end in one.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield msgspec.json.encode(_answer(number, line)) + b"\n"


def _answer(number: int, line: bytes) -> dict[str, object]:
    if len(line) > MAX_LINE_BYTES:
        return {"line": number, "error": f"The line is longer than {MAX_LINE_BYTES} bytes."}
    try:
        told = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return {"line": number, "error": str(error)}
    score = experience(told.session())
    if score is None:
        return {"line": number, "session_id": told.session_id, "error": "Nothing is known of this session."}
    return {"line": number, "session_id": told.session_id, **_shown(score)}


def _shown(score: Score) -> dict[str, object]:
    return {
        "score": round(score.score, 3),
        "factors": {
            "start": round(score.start, 4),
            "stalls": round(score.stalls, 4),
            "quality": round(score.quality, 4),
        },
        "known": list(score.known),
    }
