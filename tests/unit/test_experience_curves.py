"""The experience score: worked by hand, bounded, defined everywhere, and never better for something worse."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kqi.experience_curves import (
    Score,
    Segment,
    Session,
    Stall,
    experience,
    experience_of_sums,
    picture,
    quality_left,
    stalls_left,
    start_left,
)

HD = 1920 * 1080
SLACK = 1e-9


def scored(session: Session) -> Score:
    found = experience(session)
    assert found is not None
    return found


# by hand


def test_start_delay_by_hand() -> None:
    # Hoßfeld 2012: 5 − 0.862 · log10(t + 6.718).  t = 0: log10 6.718 = 0.82724, 5 − 0.71308 = 4.28692
    # t = 5: log10 11.718 = 1.06885, 5 − 0.92135 = 4.07865.  (4.07865 − 1) / (4.28692 − 1) = 0.93664
    assert start_left(0) == 1
    assert start_left(5_000) == pytest.approx(0.93664, abs=5e-5)
    # t = 30: log10 36.718 = 1.56488, 5 − 1.34893 = 3.65107.  2.65107 / 3.28692 = 0.80655
    assert start_left(30_000) == pytest.approx(0.80655, abs=5e-5)


def test_stalls_by_hand() -> None:
    # Hoßfeld 2011: 3.5 · exp(−(0.15 · 3 + 0.19) · 1) + 1.5 = 3.5 · 0.527292 + 1.5 = 3.345523; (3.345523 − 1) / 4
    assert stalls_left(3_000, 1, 60_000) == pytest.approx(0.586381, abs=1e-6)
    # two of 2 s: exponent (0.15 · 2 + 0.19) · 2 = 0.98; 3.5 · 0.375311 + 1.5 = 2.813589; (2.813589 − 1) / 4 = 0.453397
    assert stalls_left(4_000, 2, 30_000) == pytest.approx(0.453397, abs=1e-6)
    # the same two in two minutes: half as many in an average minute; exponent 0.49: 3.5 · 0.612626 = 2.144192;
    # (2.144192 + 0.5) / 4 = 0.661048
    assert stalls_left(4_000, 2, 120_000) == pytest.approx(0.661048, abs=1e-6)
    assert stalls_left(0, 0, 60_000) == 1
    assert stalls_left(1e9, 1e6, 0) == pytest.approx(0.125)  # the study's floor: 1.5 of 5


def test_a_picture_by_hand() -> None:
    # 3000 kbit/s at 1280 × 720 = 921,600 pixels on 1920 × 1080, 25/s (P.1203.1, mode 0):
    #   9e6 / 2.304e7 + 0.131832 = 0.522457, ln = −0.649213; ln 3000 = 8.006368; 41.247507 + 8.006368 − 0.649213 =
    #   48.604662, ln = 3.883719; 11.998352 − 2.999918 · 3.883719 = 0.347512; exp(4.06 · 0.347512) = 4.0998;
    #   4.66 − 0.07 · 4.0998 = 4.37301; 100 · (4.66 − 4.37301) / 3.66 = 7.841
    #   72.61 · log10(0.32 · (2.25 − 1) + 1) = 72.61 · log10 1.4 = 72.61 · 0.146128 = 10.610
    #   100 − 7.841 − 10.610 = 81.549
    assert picture(3_000, 1280 * 720, HD) == pytest.approx(0.81549, abs=2e-4)
    # resolution alone: only the upscaling is known
    assert picture(None, 1280 * 720, HD) == pytest.approx(0.89390, abs=2e-5)
    assert picture(None, HD, HD) == 1
    assert picture(None, None, HD) is None
    # bitrate alone, 3000 kbit/s: 120,000 bit a picture, at 0.1 bit a pixel 1,200,000 pixels
    assert picture(3_000, None, HD) == pytest.approx(picture(3_000, 1_200_000, HD))
    # starved: 300 kbit/s serve 12,000 / 0.03 = 400,000 pixels, more are worth no more
    assert picture(300, HD, HD) == pytest.approx(picture(300, 400_000, HD))


def test_a_fall_counts_four_seconds_early_and_a_rise_when_it_comes() -> None:
    good, bad = picture(None, HD, HD), picture(None, HD // 4, HD)
    assert good is not None
    assert bad is not None
    # 10 s good, 10 s bad: the last 4 s of the good ones count as bad: (6 · good + 14 · bad) / 20
    falls = [Segment(10_000, None, HD), Segment(10_000, None, HD // 4)]
    assert quality_left(falls) == pytest.approx((6 * good + 14 * bad) / 20)
    assert quality_left(falls[::-1]) == pytest.approx((10 * good + 10 * bad) / 20)
    # 2 s good between bad ones never count as good
    blink = [Segment(10_000, None, HD // 4), Segment(2_000, None, HD), Segment(8_000, None, HD // 4)]
    assert quality_left(blink) == pytest.approx(bad)
    # what is unknown, or has no length, is left out
    assert quality_left([Segment(5_000), Segment(0, 100, HD), *falls]) == pytest.approx(quality_left(falls))
    assert quality_left([Segment(5_000), Segment(0, 100, HD)]) is None
    assert quality_left([]) is None


def test_a_session_by_hand() -> None:
    # start 0.93664 (5 s) · stalls (3 s at the middle of 60 s: weight 1) 0.586381 · quality 0.81549 = 0.44789
    # 1 + 4 · 0.44789 = 2.7916
    session = Session(
        start_delay_ms=5_000,
        play_ms=60_000,
        stalls=[Stall(3_000, at_ms=30_000)],
        segments=[Segment(60_000, 3_000, 1280 * 720)],
    )
    found = scored(session)
    assert found.score == pytest.approx(2.7916, abs=2e-3)
    assert found.known == ("start", "stalls", "quality")
    # at the very end it weighs 1.5: exponent 1.5 · 0.64 = 0.96; (3.5 · 0.382893 + 0.5) / 4 = 0.460031
    assert scored(replace(session, stalls=[Stall(3_000, 60_000)])).stalls == pytest.approx(0.460031, abs=1e-6)
    # at the very start 0.5: exponent 0.32; (3.5 · 0.726149 + 0.5) / 4 = 0.760380
    assert scored(replace(session, stalls=[Stall(3_000, 0)])).stalls == pytest.approx(0.760380, abs=1e-6)
    # nobody told where: 1
    assert scored(replace(session, stalls=[Stall(3_000)])).stalls == pytest.approx(0.586381, abs=1e-6)


# the whole range


def test_failed_is_one_and_nothing_known_is_nothing() -> None:
    assert scored(Session(failed=True, start_delay_ms=0, play_ms=1e6)).score == 1
    assert experience(Session()) is None
    assert experience(Session(segments=[Segment(4_000)])) is not None  # so long it played
    assert scored(Session(start_delay_ms=0)).known == ("start",)
    assert scored(Session(start_delay_ms=0, play_ms=0)).score == 5
    assert scored(Session(stalls=[Stall(0)])).score < 5


def test_of_sums() -> None:
    none = {"start_delay_ms": None, "stall_ms": 0, "stall_count": 0, "play_ms": 0, "segments": ()}
    assert experience_of_sums(**none, failed=False) is None  # type: ignore[arg-type]
    assert experience_of_sums(**none, failed=True) == 1  # type: ignore[arg-type]
    sums = experience_of_sums(
        start_delay_ms=5_000,
        stall_ms=3_000,
        stall_count=1,
        play_ms=60_000,
        segments=[Segment(60_000, 3_000)],
        failed=False,
    )
    whole = Session(5_000, 60_000, [Stall(3_000)], [Segment(60_000, 3_000)])
    assert sums == pytest.approx(scored(whole).score)


lengths = st.floats(0, 1e8) | st.integers(0, 20_000).map(float)
stalls = st.builds(Stall, lengths, st.none() | lengths)
segments = st.builds(
    Segment,
    st.integers(1, 30_000).map(float),
    st.none() | st.floats(0, 1e6),
    st.none() | st.integers(1, 2**26).map(float),
)
sessions = st.builds(
    Session,
    st.none() | lengths,
    lengths,
    st.lists(stalls, max_size=6).map(tuple),
    st.lists(segments, max_size=8).map(tuple),
    st.integers(1, 2**26).map(float),
)
usual_stalls = st.builds(Stall, st.floats(0, 10_000), st.floats(0, 300_000))
usual = st.builds(
    Session,
    st.floats(0, 30_000),
    st.floats(1_000, 600_000),
    st.lists(usual_stalls, max_size=4).map(tuple),
    st.lists(segments, max_size=4).map(tuple),
)
more = st.floats(0, 1e6)
factors = st.floats(1, 1e4)


@settings(deadline=None)
@given(sessions)
def test_always_between_one_and_five_and_the_same_each_time(session: Session) -> None:
    found = scored(session)
    assert 1 <= found.score <= 5
    assert all(0 <= factor <= 1 for factor in (found.start, found.stalls, found.quality))
    assert experience(session) == found


@settings(deadline=None)
@given(sessions | usual, more, st.data())
def test_never_better_for_something_worse(session: Session, by: float, data: st.DataObject) -> None:
    before = scored(session).score + SLACK
    worse = [replace(session, start_delay_ms=(session.start_delay_ms or 0) + by)]
    worse.append(replace(session, stalls=(*session.stalls, data.draw(stalls))))
    worse.append(replace(session, failed=True))
    worse.append(replace(session, display_pixels=session.display_pixels + by))
    if session.stalls:
        place = data.draw(st.integers(0, len(session.stalls) - 1))
        stall = session.stalls[place]
        for changed in (
            replace(stall, length_ms=stall.length_ms + by),
            replace(stall, at_ms=None if stall.at_ms is None else stall.at_ms + by),
        ):
            worse.append(
                replace(session, stalls=[*session.stalls[:place], changed, *session.stalls[place + 1 :]])
            )
    if session.segments:
        place = data.draw(st.integers(0, len(session.segments) - 1))
        one, part = session.segments[place], data.draw(factors)
        for changed_segment in (
            replace(one, bitrate_kbps=None if one.bitrate_kbps is None else one.bitrate_kbps / part),
            replace(one, pixels=None if one.pixels is None else one.pixels / part),
        ):
            worse.append(
                replace(
                    session,
                    segments=[*session.segments[:place], changed_segment, *session.segments[place + 1 :]],
                )
            )
    for other in worse:
        assert scored(other).score <= before
    assert scored(replace(session, play_ms=(session.play_ms or 0) + by)).score >= before - 2 * SLACK


@settings(deadline=None)
@given(st.lists(segments, min_size=1, max_size=8), st.floats(0.01, 0.99), st.data())
def test_cutting_a_segment_in_two_changes_nothing(
    told: list[Segment], part: float, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(told) - 1))
    one = told[place]
    halves = [
        replace(one, length_ms=one.length_ms * part),
        replace(one, length_ms=one.length_ms * (1 - part)),
    ]
    before, after = quality_left(told), quality_left([*told[:place], *halves, *told[place + 1 :]])
    assert before == after if before is None or after is None else math.isclose(before, after, abs_tol=1e-6)


@settings(deadline=None)
@given(
    st.lists(
        segments.filter(lambda s: s.pixels is not None or s.bitrate_kbps is not None), min_size=1, max_size=8
    )
)
def test_the_window_agrees_with_looking_at_every_moment(told: list[Segment]) -> None:
    """The integral beside a sum over fine steps, made by another way."""
    rates = [(s.length_ms, picture(s.bitrate_kbps, s.pixels, HD) or 0.0) for s in told]
    ends = [sum(length for length, _ in rates[: place + 1]) for place in range(len(rates))]
    steps = 400
    total = 0.0
    for step in range(steps):
        at = (step + 0.5) * ends[-1] / steps
        total += min(
            q for (length, q), end in zip(rates, ends, strict=True) if end > at and end - length <= at + 4_000
        )
    found = quality_left(told)
    assert found is not None
    # each border, and each border less 4 s, may fall inside one step
    assert abs(found - total / steps) <= 2 * len(rates) / steps + SLACK


@settings(deadline=None)
@given(usual, st.floats(100, 10_000), st.floats(0, 300_000), st.floats(0, 300_000))
def test_a_later_stall_is_never_better(session: Session, length: float, one: float, other: float) -> None:
    def with_stall_at(at_ms: float) -> float:
        return scored(replace(session, stalls=(*session.stalls, Stall(length, at_ms)))).score

    assert with_stall_at(max(one, other)) <= with_stall_at(min(one, other)) + SLACK
