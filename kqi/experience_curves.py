"""How a video session was for its viewer: a score from 1 (bad) to 5 (excellent).

Pure. From start delay, stalls (how many, how long, where), the quality of what was shown and its falls. Three factors,
each the share that is left of a perfect session and each from a published curve, are multiplied:

    score = 1 + 4 · start · stalls · quality

Multiplied, because none of them makes good for another, and any one alone can spoil a session. A session that failed
scores 1. What is not known leaves its factor at 1 and is missing in `Score.known`. Never better for a longer start
delay, for one more, a longer or a later stall, for a lower bitrate or resolution, or for a fall in quality.

Limits: the curves come from clips of up to a minute, watched to the end; a longer session is judged by its average
minute, so that one long stall in a long film weighs little. Viewers who gave up while waiting took no part in the
study of start delays. The quality curve is one of H.264 at 25 pictures a second: newer codecs look better than they
score. Sound, content and expectation are not seen. It is no implementation of ITU-T P.1203 and not to be compared
with its scores digit by digit.

References
----------
[1] T. Hoßfeld et al., "Initial Delay vs. Interruptions: Between the Devil and the Deep Blue Sea", QoMEX 2012.
[2] T. Hoßfeld et al., "Quantification of YouTube QoE via Crowdsourcing", IEEE ISM 2011.
[3] Recommendation ITU-T P.1203.1 (10/2017), mode 0: coding and upscaling degradation.
[4] X. Yin et al., "A Control-Theoretic Approach for Dynamic Adaptive Video Streaming over HTTP", SIGCOMM 2015.
[5] D. Hands, S. Avons, "Recency and duration neglect in subjective assessment of television picture quality",
    Applied Cognitive Psychology, 2001.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WORST, BEST = 1.0, 5.0
"""Ends of the scale (ITU-T P.800). [1]"""

DELAY_SLOPE = 0.862
"""Of [1]: score = 5 − 0.862 · log10(delay + 6.718), the delay in seconds."""
DELAY_OFFSET_S = 6.718

STALL_DEPTH = 3.5
"""Of [2]: score = 3.5 · exp(−(0.15 · L + 0.19) · N) + 1.5 for N stalls of L seconds on average; as L · N is the time
stalled, each stall adds 0.15 a second and 0.19 for itself to the exponent."""
STALL_FLOOR = 1.5
STALL_PER_S = 0.15
STALL_EACH = 0.19
CLIP_MS = 60_000.0
"""Longer sessions are judged by their average minute. [ms] Chosen here, because [2] rated clips of this order."""
RECENCY = 0.5
"""A stall at the start weighs 1 − this, one at the end 1 + this. [1] Chosen here: [5] finds that the end counts more,
and gives no number."""

CODING = (11.9983519, -2.99991847, 41.2475074001, 0.13183165961)
"""a1…a4 of [3], mode 0."""
CODING_SCORE = (4.66, -0.07, 4.06)
"""q1…q3 of [3]."""
UPSCALING = (72.61, 0.32)
"""u1, u2 of [3]."""
PICTURES_PER_S = 25.0
"""[1/s] Chosen here, because players seldom tell."""
LEAST_BITS_PER_PIXEL = 0.03
"""Below it a picture is not worth its pixels: it scores as one of as many pixels as its bits serve. [bit] Chosen here,
because [3] was fitted to usual encodings and hardly falls when bits are missing."""
USUAL_BITS_PER_PIXEL = 0.1
"""Where only the bitrate is known, the resolution is taken from it. [bit] Chosen here: ladders of H.264 are made with
0.06 to 0.15."""
DISPLAY_PIXELS = 1920 * 1080
"""The screen, where nobody tells. [1] The default of [3]."""

FALL_MS = 4_000.0
"""So long before a fall the lower quality counts already. [ms] After [4], where a change costs as much as one chunk of
its size, and a chunk is 4 s. Rises cost nothing here, so that better pictures never score worse."""


@dataclass(frozen=True, slots=True)
class Stall:
    """One interruption: its length [ms], and what had been played before it [ms] (None where nobody told)."""

    length_ms: float
    at_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one quality: its length [ms], encoded bitrate [kbit/s] and pixels of a picture [1]."""

    length_ms: float
    bitrate_kbps: float | None = None
    pixels: float | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of a session. Lengths are finite and not negative; None and empty where nobody told."""

    start_delay_ms: float | None = None
    play_ms: float | None = None
    stalls: Sequence[Stall] = ()
    segments: Sequence[Segment] = ()
    display_pixels: float = DISPLAY_PIXELS
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """A session's score, 1–5, its factors, 0–1 (1 where unknown), and which of them are known."""

    score: float
    start: float = 1.0
    stalls: float = 1.0
    quality: float = 1.0
    known: tuple[str, ...] = ()


def experience(session: Session) -> Score | None:
    """The session's score; None where nothing is known of it."""
    if session.failed:
        return Score(WORST, 0.0, 0.0, 0.0, ("failed",))
    play = session.play_ms
    if play is None and session.segments:
        play = sum(segment.length_ms for segment in session.segments)
    quality = quality_left(session.segments, session.display_pixels)
    known = []
    if session.start_delay_ms is not None:
        known.append("start")
    if play is not None or session.stalls:
        known.append("stalls")
    if quality is not None:
        known.append("quality")
    if not known:
        return None
    weights = [_recency(stall.at_ms, play) for stall in session.stalls]
    return _scored(
        start_left(session.start_delay_ms or 0.0),
        stalls_left(
            sum(weight * stall.length_ms for weight, stall in zip(weights, session.stalls, strict=True)),
            sum(weights),
            play,
        ),
        1.0 if quality is None else quality,
        tuple(known),
    )


def experience_of_sums(
    *,
    start_delay_ms: float | None,
    stall_ms: float,
    stall_count: float,
    play_ms: float,
    segments: Sequence[Segment],
    failed: bool,
) -> float | None:
    """Score of a session, or of a part of it, of whose stalls only the sums are known; None where nothing was seen.

    A part is judged by itself, wherever in the session it lay: its stalls all weigh 1.
    """
    if failed:
        return WORST
    if start_delay_ms is None and stall_ms <= 0 and stall_count <= 0 and play_ms <= 0:
        return None
    quality = quality_left(segments)
    return _scored(
        start_left(max(start_delay_ms or 0.0, 0.0)),
        stalls_left(max(stall_ms, 0.0), max(stall_count, 0.0), max(play_ms, 0.0)),
        1.0 if quality is None else quality,
        (),
    ).score


def _scored(start: float, stalls: float, quality: float, known: tuple[str, ...]) -> Score:
    score = WORST + (BEST - WORST) * start * stalls * quality
    return Score(min(BEST, max(WORST, score)), start, stalls, quality, known)


def start_left(delay_ms: float) -> float:
    """What a start delay leaves, 1 for none: the curve of [1], less its bottom, over its value at no delay. [1]"""

    def above(delay_s: float) -> float:
        return BEST - DELAY_SLOPE * math.log10(delay_s + DELAY_OFFSET_S) - WORST

    return max(0.0, above(delay_ms / 1000) / above(0.0))


def stalls_left(stall_ms: float, count: float, play_ms: float | None) -> float:
    """What stalls leave, from 1 for none down to 0.125: the curve of [2]. [1]

    Parameters
    ----------
    stall_ms, count
        Time stalled [ms] and number of stalls, each weighted by where it was.
    play_ms
        Time played; more than a minute thins the stalls out to those of an average minute. None: not known. [ms]
    """
    minute = 1.0 if play_ms is None else CLIP_MS / max(play_ms, CLIP_MS)
    exponent = minute * (STALL_PER_S * stall_ms / 1000 + STALL_EACH * count)
    return (STALL_DEPTH * math.exp(-exponent) + STALL_FLOOR - WORST) / (BEST - WORST)


def _recency(at_ms: float | None, play_ms: float | None) -> float:
    if at_ms is None or play_ms is None:
        return 1.0
    return 1 - RECENCY + 2 * RECENCY * (1.0 if at_ms >= play_ms else at_ms / play_ms)


def picture(bitrate_kbps: float | None, pixels: float | None, display_pixels: float) -> float | None:
    """Quality of a picture, 0–1, by [3]; None where neither bitrate nor resolution is known. [1]

    [3] subtracts both degradations, 0–100, on a scale that it turns into scores by a curve; here the scale is used
    as it is, and a coding score becomes a degradation in proportion, so that the result grows with every input.
    """
    display = max(display_pixels, 1.0)
    if bitrate_kbps is None:
        if pixels is None:
            return None
        shown, coding = min(max(pixels, 1.0), display), 0.0
    else:
        rate = max(bitrate_kbps, 1.0)
        bits_per_picture = rate * 1000 / PICTURES_PER_S
        if pixels is None:
            shown = min(bits_per_picture / USUAL_BITS_PER_PIXEL, display)
        else:
            shown = min(max(pixels, 1.0), bits_per_picture / LEAST_BITS_PER_PIXEL, display)
        coding = _coding_degradation(rate, shown)
    u1, u2 = UPSCALING
    upscaling = u1 * math.log10(u2 * (display / shown - 1) + 1)
    return min(1.0, max(0.0, 1 - (coding + upscaling) / 100))


def _coding_degradation(rate_kbps: float, pixels: float) -> float:
    a1, a2, a3, a4 = CODING
    q1, q2, q3 = CODING_SCORE
    quantisation = a1 + a2 * math.log(
        a3 + math.log(rate_kbps) + math.log(rate_kbps * rate_kbps / (pixels * PICTURES_PER_S) + a4)
    )
    score = max(WORST, q1 + q2 * math.exp(q3 * quantisation))
    return 100 * (q1 - score) / (q1 - WORST)


def quality_left(segments: Sequence[Segment], display_pixels: float = DISPLAY_PIXELS) -> float | None:
    """What the pictures' quality and its falls leave, 0–1: the mean over time. [1]

    A moment counts as the worst of the `FALL_MS` that follow it. Segments of unknown quality or without length are
    left out; None where that leaves nothing.
    """
    rated = []
    for segment in segments:
        quality = picture(segment.bitrate_kbps, segment.pixels, display_pixels)
        if quality is not None and segment.length_ms > 0:
            rated.append((segment.length_ms, quality))
    if not rated:
        return None
    return _mean_with_foresight(rated)


def _mean_with_foresight(rated: Sequence[tuple[float, float]]) -> float:
    """∫ min of q over [t, t + FALL_MS] dt ÷ ∫ dt, for q piecewise constant: (length, q)."""
    ends = []
    total = 0.0
    for length, _ in rated:
        total += length
        ends.append(total)
    edges = sorted({0.0, *ends, *(end - FALL_MS for end in ends if end > FALL_MS)})
    ahead: deque[int] = deque()  # indices in the window whose quality no later one undercuts
    first = last = 0
    area = 0.0
    for begin, end in pairwise(edges):
        middle = (begin + end) / 2
        while last < len(rated) and (last == 0 or ends[last - 1] <= middle + FALL_MS):
            while ahead and rated[ahead[-1]][1] >= rated[last][1]:
                ahead.pop()
            ahead.append(last)
            last += 1
        while first < last - 1 and ends[first] <= middle:
            first += 1
        while ahead[0] < first:
            ahead.popleft()
        area += (end - begin) * rated[ahead[0]][1]
    return area / total
