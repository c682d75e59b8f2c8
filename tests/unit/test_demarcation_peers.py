"""The peers' Bayes factor: the published figures, its limits, and what explains what."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarcation.peers import (
    PeerCounts,
    baseline_ratio,
    log10_bayes_factor,
    shared_health,
    weigh_peers,
)


@pytest.mark.parametrize(
    ("bad", "users", "expected"), [(3, 10, 1.5), (10, 40, 2.4), (1, 20, -1.0), (0, 20, -1.8)]
)
def test_the_four_figures_of_a_two_percent_baseline(bad: int, users: int, expected: float) -> None:
    assert round(log10_bayes_factor(bad, users, 0.02), 1) == expected


def test_a_figure_worked_out_by_hand() -> None:
    # 1 bad of 1: broken E[Beta(2,2)] = 1/2, healthy E[Beta(1,49)] = 1/50, so 25 times likelier
    assert log10_bayes_factor(1, 1, 0.02) == pytest.approx(math.log10(25))


def test_nobody_seen_says_nothing() -> None:
    assert log10_bayes_factor(0, 0) == 0.0


@pytest.mark.parametrize(
    ("bad", "users", "baseline"), [(2, 1, 0.02), (-1, 5, 0.02), (1, 5, 0.0), (1, 5, 1.0)]
)
def test_impossible_counts_are_refused(bad: int, users: int, baseline: float) -> None:
    with pytest.raises(ValueError, match="bad must lie"):
        log10_bayes_factor(bad, users, baseline)


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.005, 0.4))
def test_one_more_bad_peer_never_speaks_for_health(bad: int, good: int, baseline: float) -> None:
    users = bad + good + 1
    assert log10_bayes_factor(bad + 1, users, baseline) >= log10_bayes_factor(bad, users, baseline) - 1e-9


@given(st.integers(1, 400), st.floats(0.01, 0.4))
def test_a_segment_as_bad_as_usual_is_no_suspect(users: int, baseline: float) -> None:
    assert log10_bayes_factor(int(baseline * users), users, baseline) <= 0


def test_a_line_leaves_itself_out() -> None:
    counted = PeerCounts("cell", "c", 11, 4)
    assert counted.without_self(bad=True) == PeerCounts("cell", "c", 10, 3)
    assert counted.without_self(bad=False) == PeerCounts("cell", "c", 10, 4)
    assert PeerCounts("cell", "c", 0, 0).without_self(bad=True) == PeerCounts("cell", "c", 0, 0)


def test_a_baseline_is_shrunk_to_two_percent() -> None:
    assert baseline_ratio(PeerCounts("cell", "c", 0, 0)) == 0.02
    # 10 bad of 50, and 1 of 50 by the prior: 11 of 100
    assert baseline_ratio(PeerCounts("cell", "c", 0, 0, 50, 10)) == pytest.approx(0.11)


def test_a_parent_that_fails_outside_the_child_too_takes_the_blame() -> None:
    factors = {
        f.dimension: f for f in weigh_peers([PeerCounts("cell", "c", 10, 4), PeerCounts("area", "a", 60, 24)])
    }
    assert factors["cell"].explained_by == "area"
    assert factors["cell"].log10 <= 0 < factors["area"].log10


def test_a_parent_that_is_healthy_outside_its_child_is_cleared() -> None:
    factors = {
        f.dimension: f for f in weigh_peers([PeerCounts("cell", "c", 10, 8), PeerCounts("area", "a", 60, 9)])
    }
    assert factors["area"].explained_by == "cell"
    assert factors["area"].log10 < 0
    assert factors["cell"].log10 == factors["cell"].raw_log10


def test_a_broken_source_explains_the_cells_where_it_is_watched() -> None:
    factors = {
        f.dimension: f
        for f in weigh_peers([PeerCounts("cell", "c", 20, 4), PeerCounts("source", "s", 400, 240)])
    }
    assert factors["cell"].raw_log10 > 1
    assert factors["cell"].log10 < 0.5
    assert factors["cell"].explained_by == "source"


def test_counts_that_cannot_be_are_left_out() -> None:
    assert weigh_peers([PeerCounts("cell", "c", 3, 5)]) == ()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([], (None, None)),
        ([PeerCounts("app_version", "v", 30, 20)], (None, None)),  # not a segment that a network shares
        ([PeerCounts("cell", "c", 2, 0)], (None, None)),  # too few to tell
        ([PeerCounts("cell", "c", 20, 0), PeerCounts("source", "s", 200, 4)], (True, False)),
        ([PeerCounts("cell", "c", 20, 8), PeerCounts("source", "s", 200, 4)], (False, True)),
    ],
)
def test_shared_health_is_ternary(
    counts: list[PeerCounts], expected: tuple[bool | None, bool | None]
) -> None:
    assert shared_health(weigh_peers(counts)) == expected
