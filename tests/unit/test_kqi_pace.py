"""A job's rest after its work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kqi.pace import Pace
from tests.conftest import FakeClock


def worked(pace: Pace, clock: FakeClock, seconds: float, *, more: bool = False) -> None:
    since = clock.monotonic()
    clock.advance(timedelta(seconds=seconds))
    pace.worked(since, more=more)


@pytest.mark.parametrize(
    ("share", "least", "work", "more", "rest"),
    [
        (0.25, 0.0, 2.0, False, 6.0),  # 2 of 8 seconds
        (0.25, 10.0, 2.0, False, 10.0),
        (1.0, 0.0, 5.0, False, 0.0),
        (0.25, 3.0, 2.0, True, 0.5),  # a backlog is worked off
        (0.25, 0.2, 2.0, True, 0.2),
    ],
)
def test_rest_is_in_proportion(share: float, least: float, work: float, more: bool, rest: float) -> None:
    clock = FakeClock()
    pace = Pace(clock, share, least)
    assert not pace.resting()
    worked(pace, clock, work, more=more)
    if rest:
        clock.advance(timedelta(seconds=rest - 0.01))
        assert pace.resting()
        clock.advance(timedelta(seconds=0.02))
    assert not pace.resting()


def test_a_share_is_a_share() -> None:
    for share in (0, -1, 1.01):
        with pytest.raises(ValueError, match="share"):
            Pace(FakeClock(), share)
