"""Charts: where squares stand, how dark they are, what is said of them; and colours that can be read."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest

from cem.consoles.board import feed_state, panels
from cem.consoles.charts import (
    LEAST_COLUMNS,
    STALL_SCALE,
    START_DELAY_SCALE,
    Point,
    Scale,
    bars,
    heat_map,
    shares,
)
from cem.consoles.forms import form_is_ours, form_token, local_target, login_is_ours, new_login_token
from cem.consoles.ports import Experience, Feed

NINE = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def test_a_bound_belongs_to_the_level_above() -> None:
    scale = Scale((1.0, 2.0, 5.0), 1)
    assert [scale.level(value) for value in (0.0, 0.99, 1.0, 1.99, 2.0, 4.9, 5.0, 1e9)] == [
        0, 0, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    assert scale.legend() == ("< 1", "1–2", "2–5", "≥ 5")


@pytest.mark.parametrize("scale", [START_DELAY_SCALE, STALL_SCALE])
def test_every_level_has_its_colours_in_the_style_sheet(scale: Scale) -> None:
    css = resources.files("cem.consoles").joinpath("static/console.css").read_text("utf-8")
    for level in range(len(scale.bounds) + 1):
        assert css.count(f"--heat-{level}:") == 2
        assert f".heat-{level} {{" in css
        assert f".heat-text-{level} {{" in css
    assert f"--heat-{len(scale.bounds) + 1}:" not in css


def test_rows_by_viewings_columns_without_gaps() -> None:
    chart = heat_map(
        [
            Point("small", NINE, 1.0, 20),
            Point("big", NINE + 3 * QUARTER, 2.0, 500),
        ],
        Scale((1.5,), 1),
    )
    assert chart.rows == ("big", "small")
    assert len(chart.columns) == LEAST_COLUMNS
    assert chart.columns[-1] == NINE + 3 * QUARTER
    assert all(
        later - earlier == QUARTER for earlier, later in zip(chart.columns, chart.columns[1:], strict=False)
    )
    assert len(chart.squares) == 2 * LEAST_COLUMNS


def test_squares_do_not_overlap_and_stay_inside() -> None:
    points = [Point(f"row{r}", NINE + c * QUARTER, 1.0, 50) for r in range(5) for c in range(12)]
    chart = heat_map(points, Scale((1.5,), 1))
    places = {(square.x, square.y) for square in chart.squares}
    assert len(places) == len(chart.squares)
    for square in chart.squares:
        assert chart.label_width <= square.x <= chart.width - chart.square_width
        assert chart.top <= square.y <= chart.height - chart.square_height
    xs = sorted({square.x for square in chart.squares})
    assert all(right - left >= chart.square_width for left, right in itertools.pairwise(xs))


def test_no_viewings_is_not_a_good_value() -> None:
    chart = heat_map([Point("a", NINE, None, 0), Point("a", NINE + QUARTER, 0.0, 40)], Scale((1.0,), 1))
    first, last = chart.squares[-2:]
    assert (first.value, first.level, first.text) == (None, None, "")
    assert (last.value, last.level, last.text) == (0.0, 0, "0.0")


def test_the_worst_square_is_one_that_enough_was_viewed_in() -> None:
    chart = heat_map(
        [Point("a", NINE, 9.0, 3), Point("a", NINE + QUARTER, 4.0, 100), Point("b", NINE, 2.0, 100)],
        Scale((1.0,), 1),
    )
    worst = chart.worst()
    assert worst is not None
    assert (worst.row, worst.value) == ("a", 4.0)
    assert [square.few for square in chart.squares if square.value == 9.0] == [True]


def test_more_rows_than_fit_leave_out_those_with_the_fewest_viewings() -> None:
    chart = heat_map([Point(f"row{n}", NINE, 1.0, n) for n in range(1, 6)], Scale((1.0,), 1), most_rows=2)
    assert chart.rows == ("row5", "row4")
    assert chart.left_out == 3


def test_a_chart_of_nothing_is_empty() -> None:
    chart = heat_map([], Scale((1.0,), 1))
    assert (chart.rows, chart.columns, chart.squares, chart.worst()) == ((), (), (), None)


def test_experience_is_shown_in_seconds_and_per_cent() -> None:
    delay, stall = panels([Experience("yunze", NINE, 2460.0, 0.0312, 80)])
    assert [square.text for square in delay.chart.squares if square.text] == ["2.5"]
    assert [square.text for square in stall.chart.squares if square.text] == ["3.1"]
    assert [square.level for square in stall.chart.squares if square.text] == [3]


def test_bars_reach_from_nothing_to_the_top() -> None:
    drawn = bars([0, 5, 10], width=30, height=20)
    assert [bar.height for bar in drawn] == [0, 10, 20]
    assert [bar.y for bar in drawn] == [20, 10, 0]
    assert bars([], width=30, height=20) == ()
    assert all(bar.height == 0 for bar in bars([0, 0], width=30, height=20))


def test_shares_fill_the_bar_in_order() -> None:
    segments = shares({"b": 1, "a": 3, "c": 0}, ("a", "b", "c"))
    assert [(segment.name, segment.share) for segment in segments] == [("a", 0.75), ("b", 0.25)]
    assert segments[-1].x_pct + segments[-1].width_pct == pytest.approx(100)
    assert shares({}, ("a",)) == ()


@pytest.mark.parametrize(
    ("last_at", "state"),
    [
        (None, "never"),
        (NINE - timedelta(minutes=5), "good"),
        (NINE - timedelta(minutes=5, seconds=1), "quiet"),
    ],
)
def test_a_feed_is_flowing_quiet_or_never_seen(last_at: datetime | None, state: str) -> None:
    assert feed_state(Feed("pipe", last_at, 0), NINE) == state


def test_a_form_belongs_to_one_session() -> None:
    assert form_is_ours("one", form_token("one"))
    assert not form_is_ours("two", form_token("one"))
    assert not form_is_ours("", form_token(""))
    assert not form_is_ours("one", "")
    token = new_login_token()
    assert login_is_ours(token, token)
    assert not login_is_ours(token, new_login_token())
    assert not login_is_ours("", "")


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/orders?ended=1", "/orders?ended=1"),
        ("/orders/wo_1", "/orders/wo_1"),
        ("", "/"),
        ("orders", "/"),
        ("//evil.example/x", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/\tx", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_one_goes_on_to_pages_of_ours_only(wanted: str, target: str) -> None:
    assert local_target(wanted) == target


PAIRS = [
    ("text", "ground"), ("text", "card"), ("muted", "ground"), ("muted", "card"), ("accent", "card"),
    ("accent", "ground"), ("accent-strong", "card"), ("on-accent", "accent"), ("on-accent", "accent-strong"),
    ("good-text", "good-ground"), ("bad-text", "bad-ground"), ("bad-text", "card"), ("good-text", "card"),
    ("network-text", "card"),
    *((f"{name}-text", f"{name}-ground") for name in ("terminal", "network", "platform", "no_fault", "undetermined")),
    *((f"heat-{level}-text", f"heat-{level}") for level in range(6)),
]  # fmt: skip
"""Text and ground of every kind of writing on the pages."""
EDGES = [("line-strong", "card"), ("focus", "card"), ("focus", "ground")]
"""Edges by which a control is recognised."""


def themes() -> dict[str, dict[str, str]]:
    css = resources.files("cem.consoles").joinpath("static/console.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)

    def colours(block: str) -> dict[str, str]:
        return dict(re.findall(r"--([a-z0-9_-]+): (#[0-9a-f]{6});", block))

    return {"light": colours(light), "dark": colours(light) | colours(dark)}


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_by_known_values() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_writing_has_the_contrast_of_level_aa(theme: str) -> None:
    colours = themes()[theme]
    poor = {
        f"{text} on {ground}": round(contrast(colours[text], colours[ground]), 2)
        for text, ground in PAIRS
        if contrast(colours[text], colours[ground]) < 4.5
    }
    assert poor == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_edges_of_controls_have_the_contrast_of_level_aa(theme: str) -> None:
    colours = themes()[theme]
    poor = {f"{edge} on {ground}" for edge, ground in EDGES if contrast(colours[edge], colours[ground]) < 3.0}
    assert poor == set()
