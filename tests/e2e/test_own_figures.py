"""The measure that the service is held against is itself checked by hand."""

from __future__ import annotations

import pytest

from tests.e2e.customer import own_figures


def note(kind: str, at: float) -> dict[str, object]:
    return {"kind": kind, "at": at}


def test_a_viewing_with_two_stalls_adds_up() -> None:
    figures = own_figures(
        [
            note("requested", 1_000),
            note("play", 1_200),
            note("waiting", 1_300),  # still before the first picture: start delay
            note("playing", 3_500),
            note("waiting", 5_500),
            note("playing", 6_250),
            note("waiting", 8_250),
            note("playing", 8_500),
            note("pause", 9_500),
            note("left", 60_000),
        ]
    )
    assert figures.start_delay_ms == 2_500
    assert figures.stalls_ms == (750, 250)
    assert figures.play_ms == 2_000 + 2_000 + 1_000
    assert figures.stall_ratio == pytest.approx(1 / 6)


def test_the_wait_of_a_seek_is_no_stall() -> None:
    figures = own_figures(
        [
            note("requested", 0),
            note("playing", 100),
            note("seeking", 1_100),
            note("waiting", 1_105),
            note("seeked", 1_180),
            note("playing", 1_200),
            note("ended", 2_200),
        ]
    )
    assert figures.stalls_ms == ()
    assert figures.play_ms == 2_000


def test_a_stall_that_never_ends_lasts_until_the_customer_leaves() -> None:
    figures = own_figures(
        [note("requested", 0), note("playing", 100), note("waiting", 1_100), note("left", 9_100)]
    )
    assert figures.stalls_ms == (8_000,)
    assert figures.play_ms == 1_000


def test_a_film_that_never_starts_has_no_start_delay() -> None:
    figures = own_figures([note("requested", 0), note("fatal", 900)])
    assert figures.start_delay_ms is None
    assert figures.play_ms == 0
