"""Anomalies: worked out by hand, the false-discovery bound under chance alone, silence apart from values."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kqi.anomaly import (
    FALSE_DISCOVERIES,
    LEAST_SAMPLES,
    Judged,
    anomalies,
    at_least,
    false_discovery,
    feed_gaps,
    judge,
    silent,
)
from kqi.baseline import RECENT, Basis, Expected, FloatArray, Kind, Observed, State, absorb, expect, needed
from kqi.slices import LEVELS, parent_key, slice_key, slice_of

AT = datetime(2050, 3, 1, 12, tzinfo=UTC)
ALL = LEVELS["all"]
NOW = 5 * 7 * 96


def expected(
    value: float, extra: float = 0.0, freedom: float = 1e9, basis: Basis = Basis.WEEKS, n: int = 1
) -> Expected:
    def full(x: float) -> FloatArray:
        return np.full(n, x)

    return Expected(
        keys(n), full(value), full(value), full(0), full(1), full(extra), full(freedom), (basis,) * n, full(0)
    )


def keys(n: int) -> tuple[str, ...]:
    return tuple(slice_key("video", "device", f"c{number}") for number in range(n))


def observed(value: float, count: float, spread: float = 0.0, n: int = 1) -> Observed:
    return Observed(keys(n), np.full(n, count), np.full(n, value), np.full(n, spread))


def judged(one: Observed, base: Expected, kind: Kind, *, users: float = 50, higher: bool = True) -> Judged:
    level = LEVELS["model"]
    return judge("x", level, one, np.full(len(one.keys), users), base, kind, worse_is_higher=higher)


def test_a_score_by_hand() -> None:
    found = judged(observed(13.0, 100, spread=400.0), expected(10.0, extra=5.0), Kind.RATIO)
    # variance 400 / 100 + 5 = 9; (13 - 10) / 3
    assert found.deviation[0] == pytest.approx(3.0)
    assert found.score[0] == pytest.approx(1.0)
    assert found.p[0] == pytest.approx(0.158655, abs=1e-5)  # upper tail of the normal at 1


def test_only_worse_counts() -> None:
    low, high = observed(7.0, 100, 100.0), observed(13.0, 100, 100.0)
    assert judged(low, expected(10.0), Kind.SHIFT, higher=False).p[0] < 0.01
    assert judged(high, expected(10.0), Kind.SHIFT, higher=False).p[0] > 0.9
    assert judged(low, expected(10.0), Kind.SHIFT, higher=False).score[0] == pytest.approx(3.0)
    both = judge(
        "x",
        LEVELS["model"],
        low,
        np.array([50.0]),
        expected(10.0),
        Kind.RATIO,
        worse_is_higher=True,
        both_ways=True,
    )
    assert both.p[0] == pytest.approx(0.0027, abs=1e-4)  # two tails of three deviations


def test_few_of_few_are_judged_as_few() -> None:
    found = judged(observed(2 / 20, 20), expected(0.01), Kind.SHARE)
    assert found.score[0] > 4
    assert found.p[0] == pytest.approx(
        1 - 0.99**20 - 20 * 0.01 * 0.99**19, abs=1e-6
    )  # two or more of twenty: 1.7 %


def test_a_success_ratio_is_judged_by_its_failures() -> None:
    fails = judged(observed(2 / 20, 20), expected(0.01), Kind.SHARE)
    succeeds = judged(observed(18 / 20, 20), expected(0.99), Kind.SHARE, higher=False)
    assert succeeds.p[0] == pytest.approx(fails.p[0])
    assert succeeds.score[0] == pytest.approx(fails.score[0])


@pytest.mark.parametrize(
    ("count", "users", "basis", "kept"),
    [
        pytest.param(LEAST_SAMPLES, 3, Basis.WEEKS, 1, id="just enough"),
        pytest.param(LEAST_SAMPLES - 1, 3, Basis.WEEKS, 0, id="too few samples"),
        pytest.param(500, 2, Basis.WEEKS, 0, id="too few users"),
        pytest.param(1, 0, Basis.WEEKS, 1, id="a counter of everything"),
        pytest.param(500, 50, Basis.NONE, 0, id="nothing to judge by"),
    ],
)
def test_who_is_judged(count: float, users: float, basis: Basis, kept: int) -> None:
    found = judged(observed(0.2, count, 0.1), expected(0.1, extra=0.01, basis=basis), Kind.RATIO, users=users)
    assert len(found.p) == kept


def test_tails_against_the_textbook_distributions() -> None:
    y = np.arange(1.0, 12.0)
    np.testing.assert_allclose(at_least(y, np.array(3.0), np.array(3.0)), stats.poisson.sf(y - 1, 3))
    np.testing.assert_allclose(at_least(y, np.array(4.0), np.array(3.2)), stats.binom.sf(y - 1, 20, 0.2))
    np.testing.assert_allclose(at_least(y, np.array(4.0), np.array(8.0)), stats.nbinom.sf(y - 1, 4, 0.5))


@settings(max_examples=200, deadline=None)
@given(st.floats(0.01, 200), st.floats(0.05, 20), st.lists(st.floats(0, 400), min_size=2, max_size=10))
def test_tails_are_chances_and_fall(mean: float, ratio: float, seen: list[float]) -> None:
    y = np.sort(np.array(seen))
    p = at_least(y, np.array(mean), np.array(mean * ratio))
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) <= 1e-9).all()


def test_false_discovery_by_hand() -> None:
    q = false_discovery(np.array([0.03, 0.001, 0.5, 0.02]))
    np.testing.assert_allclose(q, [0.04, 0.004, 0.5, 0.04])  # 4/1·.001, 4/2·.02, 4/3·.03, .5


@given(st.lists(st.floats(1e-12, 1), min_size=1, max_size=40))
def test_q_is_no_less_than_p_and_in_its_order(p: list[float]) -> None:
    values = np.array(p)
    q = false_discovery(values)
    assert (q >= values - 1e-15).all()
    assert (np.diff(q[np.argsort(values)]) >= -1e-15).all()


SLICES, ROUNDS = 120, 40


def draw(
    dice: np.random.Generator, rate: FloatArray, faulty: np.ndarray, at: int
) -> tuple[Observed, FloatArray]:
    """Bad sessions of a window: a daily swing and a spread between windows that the detector is not told."""
    count = dice.integers(30, 400, len(rate)).astype(float)
    swing = 1 + 0.4 * np.sin(2 * np.pi * (at % 96) / 96)
    now = np.clip(rate * swing * dice.gamma(40, 1 / 40, len(rate)), 0, 0.9)
    now = np.where(faulty, np.minimum(0.9, now * 6), now)
    bad = dice.binomial(count.astype(int), now)
    smooth = (bad + 0.5) / (count + 1)
    return Observed(keys(len(rate)), count, bad / count, smooth * (1 - smooth)), count


def together(seen: Observed) -> Observed:
    """All slices as one."""
    count = seen.count.sum()
    value = float((seen.count * seen.value).sum() / count)
    return Observed(("top",), np.array([count]), np.array([value]), np.array([value * (1 - value)]))


def simulate(seed: int, faults: int) -> tuple[float, float, int]:
    """Mean false share of what is reported, mean share of the faults found, reported in all."""
    dice = np.random.default_rng(seed)
    false_shares, found_shares, reported_in_all = [], [], 0
    for _ in range(ROUNDS):
        rate = dice.beta(2, 60, SLICES)
        calm = np.zeros(SLICES, dtype=bool)
        state = top = State()
        for at in needed(NOW, 96):
            seen, _ = draw(dice, rate, calm, at)
            state, top = absorb(state, at, seen), absorb(top, at, together(seen))
        faulty = calm.copy()
        faulty[dice.choice(SLICES, faults, replace=False)] = True
        now, _ = draw(dice, rate, faulty, NOW)
        above = expect(top, NOW, ["top"], Kind.SHARE)
        base = expect(state, NOW, now.keys, Kind.SHARE, parent=lambda _: "top", above=above)
        reported, _ = anomalies(AT, [judged(now, base, Kind.SHARE, users=50)])
        wrong = sum(
            not faulty[now.keys.index(slice_key("video", "device", *one.slice.dimensions))]
            for one in reported
        )
        false_shares.append(wrong / len(reported) if reported else 0.0)
        found_shares.append((len(reported) - wrong) / faults if faults else 0.0)
        reported_in_all += len(reported)
    return float(np.mean(false_shares)), float(np.mean(found_shares)), reported_in_all


def test_the_false_discovery_bound_holds_where_nothing_is_wrong() -> None:
    share, _, _ = simulate(seed=20, faults=0)
    # A false report in at most 5 % of windows; of 40 windows, chance lets through 5 at most once in 100 (binomial).
    assert share <= 5 / ROUNDS


def test_the_false_discovery_bound_holds_beside_faults_and_they_are_found() -> None:
    share, found, _ = simulate(seed=21, faults=10)
    assert share <= FALSE_DISCOVERIES + 0.02
    assert found > 0.6


def test_silence_is_a_gap_of_the_feed_and_not_a_value() -> None:
    count, past = np.array([0.0, 0.0, 40.0]), np.array([30.0, 3.0, 40.0])
    assert silent(keys(3), count, past) == {keys(3)[0]: 30.0}
    nothing = Observed(keys(1), np.zeros(1), np.full(1, np.nan), np.zeros(1))
    assert len(judged(nothing, expected(0.1, extra=0.1), Kind.SHARE).p) == 0


def test_the_highest_silent_slice_speaks_for_those_below() -> None:
    top, city = slice_key("video", "pipe"), slice_key("video", "pipe", "浙江", "杭州")
    cell = slice_key("video", "pipe", "浙江", "杭州", "c1")
    other = slice_key("video", "pipe", "浙江", "宁波", "c9")
    quiet = {
        ("city", "rtt_ms"): {city: 90.0},
        ("cell", "rtt_ms"): {cell: 30.0, other: 25.0},
        ("cell", "dns_ms"): {other: 40.0},
    }
    gaps = feed_gaps(AT, quiet, {"all": [top], "cell": [other]})
    assert [(gap.slice, gap.indicators, gap.expected_samples) for gap in gaps] == [
        (slice_of(LEVELS["city"], city), (), 90.0),
        (slice_of(LEVELS["cell"], other), ("dns_ms", "rtt_ms"), 40.0),
    ]


@pytest.mark.parametrize("level", [level for level in LEVELS.values() if level.parent])
def test_parents_are_levels_before(level: object) -> None:
    names = list(LEVELS)
    one = LEVELS[getattr(level, "name")]  # noqa: B009 - a parametrised level
    assert one.parent is not None
    assert names.index(one.parent) < names.index(one.name)
    key = slice_key("video", "device", *(f"{name}-1" for name in one.dimensions))
    above = slice_of(LEVELS[one.parent], parent_key(one, key))
    assert above.values == {name: f"{name}-1" for name in LEVELS[one.parent].dimensions}


def test_recent_is_what_the_level_reads() -> None:
    assert {NOW - back for back in range(1, RECENT + 1)} <= set(needed(NOW, 96))
