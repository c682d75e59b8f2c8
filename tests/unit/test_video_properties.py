"""What holds for any session, however its events come."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kqi.timeline import Kind, Phase, PlayerEvent, timeline
from kqi.video import session_kqi, slices

QUARTER_MS = 900_000

events = st.lists(
    st.builds(
        PlayerEvent,
        kind=st.sampled_from(Kind),
        at_ms=st.integers(0, 4 * QUARTER_MS),
        sequence=st.integers(0, 3),
        values=st.dictionaries(
            st.sampled_from(["stall_ms", "bitrate_kbps", "start_delay_ms", "fatal"]),
            st.floats(0, 200_000, allow_nan=False),
            max_size=2,
        ),
    ),
    min_size=1,
    max_size=30,
)


@given(events)
def test_slices_add_up_exactly_to_the_session(given_events: list[PlayerEvent]) -> None:
    line = timeline(given_events)
    assert line is not None
    whole, parts = session_kqi(line), list(slices(line, QUARTER_MS).values())
    assert sum(part.stall_ms for part in parts) == whole.stall_ms
    assert sum(part.play_ms for part in parts) == whole.play_ms
    assert sum(part.stall_count for part in parts) == whole.stall_count
    assert [part.failed for part in parts if part.failed is not None] == [
        failed for failed in [whole.failed] if failed is not None
    ]
    assert [part.start_delay_ms for part in parts if part.start_delay_ms is not None] == [
        delay for delay in [whole.start_delay_ms] if delay is not None
    ]
    weighted = sum(part.bitrate_kbps * part.play_ms for part in parts if part.bitrate_kbps is not None)
    assert (weighted > 0) == bool(whole.bitrate_kbps)


@given(events)
def test_no_moment_is_counted_twice_and_none_outside_the_session(given_events: list[PlayerEvent]) -> None:
    line = timeline(given_events)
    assert line is not None
    borders = [(i.start_ms, i.end_ms) for i in line.intervals]
    assert all(start <= end for start, end in borders)
    assert all(before[1] <= after[0] for before, after in pairwise(borders))
    if borders:
        assert line.began_ms <= borders[0][0]
        assert borders[-1][1] <= line.ended_ms


@given(events, st.randoms())
def test_order_of_arrival_and_repetition_change_nothing(
    given_events: list[PlayerEvent], random: object
) -> None:
    unique = list({(e.at_ms, e.sequence, e.kind): e for e in given_events}.values())
    shuffled = [*unique, *unique[:5]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert timeline(shuffled) == timeline(unique)


@given(events)
def test_every_stall_was_opened(given_events: list[PlayerEvent]) -> None:
    """Stalled time without a stall to its name would make the frequency lie."""
    line = timeline(given_events)
    assert line is not None
    stalled = [i for i in line.intervals if i.phase is Phase.STALLED]
    if stalled:
        assert stalled[0].opens
    assert session_kqi(line).stall_count <= len(stalled)
