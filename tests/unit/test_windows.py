from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cem.platform.windows import WINDOW, window_bounds, window_start, windows_between

TIMES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("at", "start"),
    [
        ("2026-03-01T12:00:00+00:00", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T12:14:59.999+00:00", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T12:15:00+00:00", "2026-03-01T12:15:00+00:00"),
        ("2026-03-01T20:20:00+08:00", "2026-03-01T12:15:00+00:00"),
        ("2026-03-01T00:00:00+05:45", "2026-02-28T18:15:00+00:00"),
    ],
)
def test_window_of_an_instant(at: str, start: str) -> None:
    assert window_start(datetime.fromisoformat(at)) == datetime.fromisoformat(start)


@given(TIMES)
def test_every_instant_lies_in_exactly_one_window(at: datetime) -> None:
    start, end = window_bounds(window_start(at))
    assert start <= at < end
    assert end - start == WINDOW
    assert start.minute % 15 == 0
    assert (start.second, start.microsecond) == (0, 0)


def test_a_naive_time_has_no_window() -> None:
    with pytest.raises(ValueError, match="aware"):
        window_start(datetime(2026, 3, 1))


def test_bounds_refuse_what_is_not_a_start() -> None:
    with pytest.raises(ValueError, match="quarter hour"):
        window_bounds(datetime(2026, 3, 1, 12, 7, tzinfo=UTC))


def test_windows_between_counts_every_one() -> None:
    first = datetime(2026, 3, 1, 12, 7, tzinfo=timezone(timedelta(hours=0)))
    found = list(windows_between(first, first + timedelta(hours=1)))
    assert [at.minute for at in found] == [0, 15, 30, 45, 0]
