"""Sessions worked out by hand. Times are seconds from a quarter hour's start unless said otherwise."""

from __future__ import annotations

import pytest

from kqi.timeline import GIVE_UP_MS, Kind, PlayerEvent, Timeline, timeline
from kqi.video import SessionKqi, TotalsReport, session_kqi, slices, slices_of_totals

QUARTER_MS = 900_000
BASE_MS = 1_795_332_600_000  # 2026-11-22 07:30:00 UTC, the start of a quarter hour


def event(kind: str, at_s: float, **values: float) -> PlayerEvent:
    return PlayerEvent(Kind(kind), BASE_MS + round(at_s * 1000), values=values)


def line(*events: PlayerEvent) -> Timeline:
    found = timeline(events)
    assert found is not None
    return found


def kqi(*events: PlayerEvent) -> SessionKqi:
    return session_kqi(line(*events))


def test_no_events_no_session() -> None:
    assert timeline([]) is None


def test_a_clean_session() -> None:
    found = kqi(event("requested", 0), event("first_frame", 1.2), event("ended", 61.2))
    assert found.values() == {
        "start_delay_ms": 1_200,
        "play_ms": 60_000,
        "stall_ms": 0,
        "stall_count": 0,
        "stall_ratio": 0,
        "stall_frequency_per_min": 0,
        "failed": 0,
        # Hoßfeld 2012 at 1.2 s: 5 − 0.862 · log10(7.918) = 4.22540; 1 + 4 · 3.22540 / 3.28692
        "experience_score": pytest.approx(4.92513, abs=1e-4),
    }


def test_two_stalls() -> None:
    found = kqi(
        event("requested", 0),
        event("first_frame", 2),
        event("stall_started", 32),  # 30 s played
        event("stall_ended", 35),  # 3 s stalled
        event("stall_started", 65),  # 30 s played
        event("stall_ended", 72),  # 7 s stalled
        event("ended", 102),  # 30 s played
    )
    assert (found.play_ms, found.stall_ms, found.stall_count) == (90_000, 10_000, 2)
    assert found.stall_ratio == pytest.approx(0.1)  # 10 of 100 s
    assert found.stall_frequency_per_min == pytest.approx(2 / 1.5)


def test_waiting_for_the_first_frame_is_no_stall() -> None:
    found = kqi(
        event("requested", 0),
        event("stall_started", 0.5),  # players call their initial buffering so
        event("stall_ended", 2.5),
        event("first_frame", 3),
        event("ended", 13),
    )
    assert (found.start_delay_ms, found.stall_count, found.stall_ms, found.play_ms) == (3_000, 0, 0, 10_000)


def test_the_players_own_start_delay_wins() -> None:
    found = kqi(event("requested", 0), event("playing", 1.4, start_delay_ms=1_250), event("ended", 11.4))
    assert found.start_delay_ms == 1_250


def test_a_pause_counts_neither_as_play_nor_as_stall() -> None:
    found = kqi(
        event("requested", 0),
        event("first_frame", 1),
        event("paused", 11),
        event("resumed", 111),
        event("ended", 121),
    )
    assert (found.play_ms, found.stall_ms) == (20_000, 0)


def test_a_pause_before_the_first_frame_is_not_waiting() -> None:
    found = kqi(
        event("requested", 0),
        event("paused", 1),
        event("resumed", 21),
        event("first_frame", 22),
        event("ended", 32),
    )
    assert found.start_delay_ms == 2_000


def test_pausing_ends_a_stall() -> None:
    found = kqi(
        event("requested", 0),
        event("first_frame", 1),
        event("stall_started", 11),
        event("paused", 15),
        event("resumed", 60),
        event("ended", 70),
    )
    assert (found.play_ms, found.stall_ms, found.stall_count) == (20_000, 4_000, 1)


@pytest.mark.parametrize(
    "during",
    [
        pytest.param("seek_started 11,stall_started 11.1,stall_ended 16,seek_ended 16", id="inside"),
        pytest.param("seek_started 11,stall_started 11.1,seek_ended 11.2,stall_ended 16", id="goes on"),
        pytest.param("seek_started 11,stall_started 11.1,playing 16", id="states only"),
        pytest.param("seek_started 11,seek_ended 16", id="none told"),
    ],
)
def test_rebuffering_after_a_seek_is_no_stall(during: str) -> None:
    found = kqi(
        event("requested", 0),
        event("first_frame", 1),
        *(event(told.split()[0], float(told.split()[1])) for told in during.split(",")),
        event("ended", 26),
    )
    assert (found.play_ms, found.stall_ms, found.stall_count) == (20_000, 0, 0)


def test_a_stall_right_after_a_seek_belongs_to_the_seek_and_a_later_one_does_not() -> None:
    head = [
        event("requested", 0),
        event("first_frame", 1),
        event("seek_started", 11),
        event("seek_ended", 12),
    ]
    soon = kqi(*head, event("stall_started", 12.3), event("stall_ended", 15), event("ended", 25))
    assert (soon.stall_count, soon.stall_ms, soon.play_ms) == (0, 0, 20_300)
    later = kqi(*head, event("stall_started", 12.6), event("stall_ended", 15), event("ended", 25))
    assert (later.stall_count, later.stall_ms, later.play_ms) == (1, 2_400, 20_600)


def test_a_stall_told_by_its_length_alone_is_cut_out_of_play() -> None:
    found = kqi(
        event("requested", 0),
        event("first_frame", 1),
        event("progress", 31, stall_ms=4_000),
        event("progress", 41, stall_ms=2_000),
        event("ended", 51),
    )
    assert (found.play_ms, found.stall_ms, found.stall_count) == (44_000, 6_000, 2)


def test_a_stall_told_by_events_and_by_its_length_counts_once() -> None:
    found = kqi(
        event("requested", 0),
        event("first_frame", 1),
        event("stall_started", 11),
        event("playing", 14, stall_ms=2_980),
        event("ended", 24),
    )
    assert (found.play_ms, found.stall_ms, found.stall_count) == (20_000, 3_000, 1)


def test_states_alone_give_the_same_as_named_changes() -> None:
    named = kqi(
        event("requested", 0),
        event("first_frame", 2),
        event("stall_started", 12),
        event("stall_ended", 15),
        event("paused", 25),
        event("resumed", 35),
        event("ended", 45),
    )
    states = kqi(
        event("requested", 0),
        event("playing", 2),
        event("stall_started", 12),
        event("playing", 15),
        event("paused", 25),
        event("playing", 35),
        event("ended", 45),
    )
    assert named == states
    assert (named.play_ms, named.stall_ms) == (30_000, 3_000)


def test_order_and_repetition_do_not_matter() -> None:
    events = [
        event("requested", 0),
        event("first_frame", 2),
        event("stall_started", 12),
        event("stall_ended", 15),
        event("ended", 25),
    ]
    assert timeline(reversed(events)) == timeline([*events, *events]) == timeline(events)


def test_a_session_without_its_end_is_known_up_to_its_last_event() -> None:
    found = line(event("requested", 0), event("first_frame", 2), event("progress", 32))
    assert not found.closed
    assert session_kqi(found).play_ms == 30_000


def test_a_stall_that_goes_on_counts_and_lasts_as_far_as_is_known() -> None:
    begun = kqi(event("requested", 0), event("first_frame", 2), event("stall_started", 12))
    assert (begun.stall_count, begun.stall_ms) == (1, 0)
    lasting = kqi(
        event("requested", 0), event("first_frame", 2), event("stall_started", 12), event("progress", 20)
    )
    assert (lasting.stall_count, lasting.stall_ms) == (1, 8_000)


def test_a_session_whose_beginning_was_lost_plays_from_its_first_event() -> None:
    found = kqi(
        event("progress", 0), event("stall_started", 10), event("stall_ended", 12), event("ended", 22)
    )
    assert (found.play_ms, found.stall_ms, found.start_delay_ms) == (20_000, 2_000, None)


def test_a_failed_start() -> None:
    found = line(
        event("requested", 0), PlayerEvent(Kind.FAILED, BASE_MS + 3_000, values={"http_status": 503})
    )
    assert (found.failed_before_start, found.http_status) == (True, 503)
    assert session_kqi(found).values() == {
        "stall_ms": 0,
        "stall_count": 0,
        "play_ms": 0,
        "failed": 1,
        "experience_score": 1,
    }


def test_a_failure_while_playing() -> None:
    found = line(event("requested", 0), event("first_frame", 1), event("failed", 11))
    assert (found.failed_before_start, session_kqi(found).failed, session_kqi(found).play_ms) == (
        False,
        1,
        10_000,
    )


@pytest.mark.parametrize(
    "after",
    [
        pytest.param([("playing", 12), ("ended", 22)], id="plays again"),
        pytest.param([("requested", 12), ("first_frame", 12), ("ended", 22)], id="asked again"),
    ],
)
def test_an_error_that_playback_survives_is_no_failure(after: list[tuple[str, float]]) -> None:
    found = line(
        event("requested", 0),
        event("first_frame", 1),
        event("failed", 11),
        *(event(k, at) for k, at in after),
    )
    assert (session_kqi(found).failed, found.error_count, session_kqi(found).play_ms) == (0, 1, 20_000)


def test_an_error_in_passing_does_not_stop_the_clock() -> None:
    passing = kqi(
        event("requested", 0), event("first_frame", 1), event("failed", 11, fatal=0), event("ended", 21)
    )
    survived = kqi(
        event("requested", 0),
        event("first_frame", 1),
        event("failed", 11),
        event("stall_started", 16),
        event("stall_ended", 18),
        event("ended", 23),
    )
    assert (passing.failed, passing.play_ms) == (0, 20_000)
    assert (survived.failed, survived.play_ms, survived.stall_ms) == (0, 20_000, 2_000)


def test_no_picture_for_too_long_is_a_failure_and_a_short_wait_given_up_is_not() -> None:
    too_long = GIVE_UP_MS / 1000
    assert kqi(event("requested", 0), event("ended", too_long)).failed == 1
    assert kqi(event("requested", 0), event("progress", too_long)).failed == 1
    assert kqi(event("requested", 0), event("ended", too_long - 0.001)).failed == 0
    assert kqi(event("requested", 0), event("progress", 5)).failed is None
    late = kqi(event("requested", 0), event("first_frame", 12), event("ended", 22))
    assert (late.failed, late.start_delay_ms) == (0, 12_000)


def test_bitrate_is_weighted_by_the_time_played_at_it() -> None:
    found = kqi(
        event("requested", 0),
        event("first_frame", 1, bitrate_kbps=1_000),
        event("bitrate_changed", 31, bitrate_kbps=4_000),  # 30 s at 1,000
        event("stall_started", 41),  # 10 s at 4,000
        event("stall_ended", 51),  # stalled: no weight
        event("ended", 71),  # 20 s at 4,000
    )
    assert found.bitrate_kbps == pytest.approx((30 * 1_000 + 30 * 4_000) / 60)


def test_of_two_senders_the_one_that_tells_more_is_followed() -> None:
    cmcd = [
        PlayerEvent(Kind(kind), BASE_MS + at, origin="cmcd")
        for kind, at in (("requested", 10), ("playing", 1_010), ("stall_started", 5_010), ("playing", 7_010))
    ]
    few = [event("requested", 0), event("first_frame", 1)]
    assert session_kqi(timeline([*cmcd, *few])).stall_count == 1  # type: ignore[arg-type]
    same = [*few, event("progress", 4), event("ended", 8)]
    assert session_kqi(timeline([*cmcd, *same])).stall_count == 0  # type: ignore[arg-type]


def test_a_session_over_a_border_is_cut_at_it() -> None:
    found = slices(
        line(
            event("requested", 890),
            event("first_frame", 892),
            event("stall_started", 897),  # 5 s played before
            event("stall_ended", 904),  # 3 s stalled before the border, 4 s after
            event("ended", 910),  # 6 s played after
        ),
        QUARTER_MS,
    )
    first, second = found[BASE_MS], found[BASE_MS + QUARTER_MS]
    assert first == SessionKqi(stall_ms=3_000, stall_count=1, play_ms=5_000, start_delay_ms=2_000, failed=0)
    assert second == SessionKqi(stall_ms=4_000, stall_count=0, play_ms=6_000)


def test_a_failure_counts_in_its_own_window() -> None:
    found = slices(line(event("requested", 890), event("first_frame", 892), event("failed", 910)), QUARTER_MS)
    assert [part.failed for part in found.values()] == [None, 1]


def test_totals_become_what_each_window_added() -> None:
    def report(at_s: float, **values: float) -> TotalsReport:
        return TotalsReport(BASE_MS + round(at_s * 1000), values)

    found = slices_of_totals(
        [
            report(1_000, play_ms=700_000, stall_ms=9_000, stall_count=4),
            report(300, play_ms=250_000, stall_ms=1_000, stall_count=1, start_delay_ms=900),
            report(800, play_ms=600_000, stall_ms=6_000, stall_count=3, start_delay_ms=900),
        ],
        QUARTER_MS,
    )
    assert found == {
        BASE_MS: SessionKqi(stall_ms=6_000, stall_count=3, play_ms=600_000, start_delay_ms=900),
        BASE_MS + QUARTER_MS: SessionKqi(stall_ms=3_000, stall_count=1, play_ms=100_000),
    }


def test_totals_that_begin_anew_count_from_zero() -> None:
    found = slices_of_totals(
        [TotalsReport(BASE_MS, {"play_ms": 60_000}), TotalsReport(BASE_MS + 1_000, {"play_ms": 10_000})],
        QUARTER_MS,
    )
    assert found[BASE_MS].play_ms == 70_000


def test_changes_of_bitrate_count_where_the_new_one_plays() -> None:
    found = line(
        event("requested", 0),
        PlayerEvent(Kind.FIRST_FRAME, BASE_MS + 1_000, values={"bitrate_kbps": 3_000}),
        PlayerEvent(Kind.BITRATE_CHANGED, BASE_MS + 21_000, values={"bitrate_kbps": 1_000}),
        event("stall_started", 31),
        event("stall_ended", 33),  # the same bitrate goes on: no change
        PlayerEvent(Kind.BITRATE_CHANGED, BASE_MS + 43_000, values={"bitrate_kbps": 3_000}),
        event("ended", 61),
    )
    whole = session_kqi(found)
    assert whole.switch_count == 2
    assert whole.switch_frequency_per_min == pytest.approx(2 / (58_000 / 60_000))
    assert whole.stall_duration_ms == 2_000
    assert sum(part.switch_count or 0 for part in slices(found, 10_000).values()) == 2


def test_a_session_is_scored_lower_for_a_stall_and_a_lower_bitrate() -> None:
    def watched(rate: float, *between: PlayerEvent) -> float:
        first = PlayerEvent(Kind.FIRST_FRAME, BASE_MS + 1_000, values={"bitrate_kbps": rate})
        score = kqi(event("requested", 0), first, *between, event("ended", 61)).experience_score
        assert score is not None
        return score

    assert (
        watched(3_000) > watched(1_000) > watched(1_000, event("stall_started", 30), event("stall_ended", 33))
    )
