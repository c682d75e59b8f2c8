"""Baselines: worked out by hand, in two halves, cold, and against what chance alone makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kqi.baseline import (
    ALPHA,
    LEVEL_PRIOR,
    LEVEL_SPAN,
    MEDIAN_VARIANCE,
    RECENT,
    WEEKS,
    Basis,
    Expected,
    Kind,
    Observed,
    State,
    absorb,
    expect,
    needed,
)

WEEK = 7 * 96
NOW = 10 * WEEK


def seen(value: float, count: float = 1_000, spread: float = 0.0, key: str = "a") -> Observed:
    return Observed((key,), np.array([count]), np.array([value]), np.array([spread]))


def state(windows: dict[int, Observed]) -> State:
    found = State()
    for at in sorted(windows):
        found = absorb(found, at, windows[at])
    return found


def one(made: Expected) -> tuple[float, Basis]:
    return float(made.value[0]), made.basis[0]


def test_the_median_of_four_weeks() -> None:
    past = state({NOW - WEEK * week: seen(value) for week, value in ((1, 2.0), (2, 9.0), (3, 4.0), (4, 1.0))})
    assert one(expect(past, NOW, ["a"], Kind.RATIO)) == (pytest.approx(3.0), Basis.WEEKS)  # of 1 2 4 9


def test_a_level_by_hand() -> None:
    windows = {NOW - 1 - WEEK * week: seen(10.0) for week in (1, 2)}
    windows |= {NOW - WEEK * week: seen(20.0) for week in (1, 2)}
    windows[NOW - 1] = seen(12.0, count=400)
    made = expect(state(windows), NOW, ["a"], Kind.RATIO)
    # one recent window of 400 samples, 1.2 of its season; prior of 400 samples at 1 → half way
    weight, prior = ALPHA * 400, ALPHA * LEVEL_PRIOR
    assert made.level[0] == pytest.approx((weight * 12 + prior * 10) / (weight * 10 + prior * 10)) == 1.1
    assert made.value[0] == pytest.approx(22.0)


def test_a_shift_is_added() -> None:
    windows = {NOW - 1 - WEEK * week: seen(-90.0) for week in (1, 2)}
    windows |= {NOW - WEEK * week: seen(-100.0) for week in (1, 2)}
    windows[NOW - 1] = seen(-94.0, count=400)
    made = expect(state(windows), NOW, ["a"], Kind.SHIFT)
    assert made.level[0] == pytest.approx(-2.0)
    assert made.value[0] == pytest.approx(-102.0)


def test_a_long_fault_does_not_become_normal() -> None:
    windows = {
        NOW - back - WEEK * week: seen(0.02) for back in range(RECENT + 1) for week in range(1, WEEKS + 1)
    }
    windows |= {NOW - back: seen(0.5, count=1e6) for back in range(1, RECENT + 1)}
    assert expect(state(windows), NOW, ["a"], Kind.SHARE).value[0] == pytest.approx(0.02 * LEVEL_SPAN)


def test_what_a_new_slice_rests_on() -> None:
    weeks = {NOW - WEEK * week: seen(5.0) for week in (1, 2)}
    days = {NOW - 96 * day: seen(7.0) for day in (1, 2, 3)}
    single = {NOW - 96: seen(7.0)}
    above = expect(
        state({at: replace(one_, keys=("top",)) for at, one_ in weeks.items()}), NOW, ["top"], Kind.RATIO
    )
    assert one(expect(state(weeks | days), NOW, ["a"], Kind.RATIO)) == (5.0, Basis.WEEKS)
    assert one(expect(state(days), NOW, ["a"], Kind.RATIO)) == (7.0, Basis.DAYS)
    cold = expect(state(single), NOW, ["a"], Kind.RATIO, parent=lambda _: "top", above=above, threshold=9.0)
    assert one(cold) == (5.0, Basis.PARENT)
    assert one(expect(state(single), NOW, ["a"], Kind.RATIO, threshold=9.0)) == (9.0, Basis.CATALOGUE)
    bare = expect(State(), NOW, ["a"], Kind.RATIO)
    assert np.isnan(bare.value[0])
    assert bare.basis == (Basis.NONE,)


def test_a_missing_window_is_no_value_and_never_zero() -> None:
    past = state({NOW - WEEK * week: seen(4.0) for week in (1, 3)} | {NOW - WEEK * 2: seen(np.nan, count=0)})
    assert expect(past, NOW, ["a"], Kind.RATIO).value[0] == 4.0


def test_little_moves_to_its_parent_and_much_does_not() -> None:
    keys = tuple(f"c{n}" for n in range(6))
    values = np.array([0.01, 0.02, 0.03, 0.04, 0.30, 0.30])
    count = np.array([1e5, 1e5, 1e5, 1e5, 1e5, 20.0])
    windows = {
        NOW - WEEK * week: Observed(keys, count, values, values * (1 - values))
        for week in range(1, WEEKS + 1)
    }
    above = expect(state({at: seen(0.03, count=1e6, key="top") for at in windows}), NOW, ["top"], Kind.SHARE)
    made = expect(state(windows), NOW, keys, Kind.SHARE, parent=lambda _: "top", above=above)
    assert made.season[4] == pytest.approx(0.30, rel=0.01)
    assert 0.03 < made.season[5] < 0.299
    assert (abs(made.season - 0.03) <= abs(values - 0.03) + 1e-12).all()


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[int, Observed]]:
    places = draw(st.lists(st.sampled_from(needed(NOW, 96)), unique=True, min_size=1, max_size=30))
    value = st.floats(0.001, 0.9)
    return [(at, seen(draw(value), draw(st.floats(1, 1e4)), 0.01)) for at in sorted(places)]


@settings(max_examples=60, deadline=None)
@given(streams(), st.integers(0, 30))
def test_in_two_halves_as_in_one_and_in_any_order(stream: list[tuple[int, Observed]], cut: int) -> None:
    whole = first = other = State()
    for at, what in stream:
        whole = absorb(whole, at, what)
    for at, what in stream[:cut]:
        first = absorb(first, at, what)
    halves = State(first.per_day, dict(first.windows))  # as read back from wherever it was kept
    for at, what in stream[cut:]:
        halves = absorb(halves, at, what)
    for at, what in reversed(stream):
        other = absorb(other, at, what)
    expected = expect(whole, NOW, ["a"], Kind.SHARE)
    for again in (expect(halves, NOW, ["a"], Kind.SHARE), expect(other, NOW, ["a"], Kind.SHARE)):
        np.testing.assert_array_equal(again.value, expected.value)
        np.testing.assert_array_equal(again.extra, expected.extra)
        assert again.basis == expected.basis


def test_the_window_itself_and_later_ones_are_not_looked_at() -> None:
    past = state({NOW - WEEK * week: seen(4.0) for week in (1, 2)})
    future = absorb(absorb(past, NOW, seen(99.0)), NOW + 1, seen(99.0))
    assert one(expect(future, NOW, ["a"], Kind.RATIO)) == one(expect(past, NOW, ["a"], Kind.RATIO))


def test_state_stays_bounded() -> None:
    found = State()
    for at in range(NOW, NOW + 6 * WEEK, 3):
        found = absorb(found, at, seen(1.0))
    assert len(found.windows) <= (WEEKS * WEEK + RECENT) / 3 + 1
    assert set(needed(max(found.windows) + 1, 96)) & set(range(0, min(found.windows) - 1)) == set()


def test_the_variance_is_at_least_that_of_sampling_and_grows_with_what_strays() -> None:
    dice = np.random.default_rng(1)
    calm, restless = {}, {}
    for at in needed(NOW, 96):
        calm[at] = seen(10 + dice.normal(0, 0.1), count=100, spread=1.0)
        restless[at] = seen(10 + dice.normal(0, 2.0), count=100, spread=1.0)
    quiet = expect(state(calm), NOW, ["a"], Kind.RATIO)
    loud = expect(state(restless), NOW, ["a"], Kind.RATIO)
    low, high = quiet.band(np.array([1.0]), np.array([100.0]), 1.0)
    assert (high - low)[0] >= 2 * 0.1  # ± one deviation of 100 samples of variance 1
    assert quiet.extra[0] < 0.05
    assert 1.0 < loud.extra[0] < 16.0  # true: 4


def test_variances_of_medians() -> None:
    dice = np.random.default_rng(2)
    for count in range(1, len(MEDIAN_VARIANCE)):
        drawn = np.median(dice.normal(size=(60_000, count)), axis=1).var()
        assert drawn == pytest.approx(MEDIAN_VARIANCE[count], rel=0.03)
