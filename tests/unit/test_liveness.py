"""A thing's next contact. Octets and times are worked by hand from the standards' tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kqi.liveness import (
    NEVER,
    Radio,
    State,
    Timers,
    edrx_cycle_s,
    gprs_timer3_s,
    gprs_timer_s,
    liveness,
    paging_window_s,
    timers_of_lwm2m,
)

HEARD = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
METER = Timers(t3412_s=86_400, t3324_s=60)
"""Reports once a day, listens for a minute."""


def after(**duration: float) -> datetime:
    return HEARD + timedelta(**duration)


@pytest.mark.parametrize(
    ("octet", "seconds"),
    [
        (0b000_00101, 10),  # 5 × 2 s
        (0b001_00001, 60),  # 1 × 1 min
        (0b010_01010, 3_600),  # 10 × 6 min
        (0b010_01001, 3_240),  # 9 × 6 min: the default T3412, 54 min
        (0b011_00010, 120),  # a unit that is reserved counts as 1 min
        (0b111_00000, NEVER),
        (0b000_00000, 0),
    ],
)
def test_gprs_timer(octet: int, seconds: float) -> None:
    assert gprs_timer_s(octet) == seconds


@pytest.mark.parametrize(
    ("octet", "seconds"),
    [
        (0b000_00110, 3_600),  # 6 × 10 min
        (0b001_01000, 28_800),  # 8 × 1 h
        (0b010_11111, 1_116_000),  # 31 × 10 h
        (0b011_00101, 10),  # 5 × 2 s
        (0b100_00010, 60),  # 2 × 30 s
        (0b101_00011, 180),  # 3 × 1 min
        (0b110_00001, 1_152_000),  # 1 × 320 h
        (0b111_11111, NEVER),
    ],
)
def test_gprs_timer_3(octet: int, seconds: float) -> None:
    assert gprs_timer3_s(octet) == seconds


@pytest.mark.parametrize(
    ("octet", "radio", "cycle_s", "window_s"),
    [
        (0x00, Radio.WIDEBAND, 5.12, 1.28),
        (0x1D, Radio.WIDEBAND, 2_621.44, 2.56),
        (0x02, Radio.NARROWBAND, 20.48, 2.56),
        (0x35, Radio.NARROWBAND, 81.92, 10.24),
        (0xFF, Radio.NARROWBAND, 10_485.76, 40.96),
    ],
)
def test_edrx(octet: int, radio: Radio, cycle_s: float, window_s: float) -> None:
    assert edrx_cycle_s(octet, radio) == pytest.approx(cycle_s)
    assert paging_window_s(octet, radio) == pytest.approx(window_s)


def test_an_octet_is_an_octet() -> None:
    for decode in (gprs_timer_s, gprs_timer3_s):
        for wrong in (-1, 256):
            with pytest.raises(ValueError, match="octet"):
                decode(wrong)


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (after(seconds=0), State.REACHABLE),
        (after(seconds=59), State.REACHABLE),
        (after(seconds=60), State.ASLEEP),
        (after(hours=23, minutes=59), State.ASLEEP),
        (after(hours=24), State.DUE),
        (after(hours=24, minutes=3, seconds=59), State.DUE),
        (after(hours=24, minutes=4), State.OFFLINE),
    ],
)
def test_a_meter_through_its_day(now: datetime, state: State) -> None:
    found = liveness(HEARD, METER, now)
    assert found.state is state
    assert found.expected_at == after(hours=24)


def test_offline_counts_from_when_the_contact_was_due() -> None:
    found = liveness(HEARD, METER, after(hours=30))
    assert found.offline_since == after(hours=24)
    assert found.offline_for(after(hours=30)) == timedelta(hours=6)
    assert liveness(HEARD, METER, after(hours=1)).offline_for(after(hours=1)) == timedelta(0)


@pytest.mark.parametrize(
    "timers",
    [
        Timers(),
        Timers(t3324_s=60),
        Timers(t3412_s=NEVER, t3324_s=60),
        Timers(t3412_s=0),
        Timers(edrx_cycle_s=81.92),
    ],
)
def test_without_a_promise_silence_says_nothing(timers: Timers) -> None:
    found = liveness(HEARD, timers, after(days=400))
    assert (found.state, found.expected_at, found.offline_since) == (State.UNKNOWN, None, None)


def test_never_heard_is_unknown() -> None:
    assert liveness(None, METER, HEARD).state is State.UNKNOWN


def test_without_psm_it_listens_until_its_timer() -> None:
    timers = Timers(t3412_s=3_240, t3324_s=NEVER, edrx_cycle_s=81.92)
    assert liveness(HEARD, timers, after(minutes=53)).state is State.REACHABLE
    assert liveness(HEARD, timers, after(minutes=58)).state is State.OFFLINE


def test_active_time_not_shorter_than_the_period_means_no_sleep() -> None:
    assert liveness(HEARD, Timers(t3412_s=600, t3324_s=600), after(minutes=9)).state is State.REACHABLE


def test_a_call_while_it_listens_is_answered_within_a_cycle() -> None:
    timers = Timers(t3412_s=86_400, t3324_s=NEVER, edrx_cycle_s=81.92)
    called = after(hours=1)
    found = liveness(HEARD, timers, after(hours=2), called_at=called)
    assert found.state is State.OFFLINE
    assert found.offline_since == called + timedelta(seconds=81.92)


def test_a_call_while_it_sleeps_waits_for_its_waking() -> None:
    found = liveness(HEARD, METER, after(hours=2), called_at=after(hours=1))
    assert (found.state, found.expected_at) == (State.ASLEEP, after(hours=24))


def test_a_call_that_sleep_overtakes_promises_nothing_sooner() -> None:
    timers = Timers(t3412_s=86_400, t3324_s=60, edrx_cycle_s=81.92)
    assert liveness(HEARD, timers, after(hours=1), called_at=after(seconds=1)).expected_at == after(hours=24)


def test_a_call_before_it_was_heard_is_answered() -> None:
    timers = Timers(t3412_s=86_400, t3324_s=NEVER)
    assert liveness(HEARD, timers, after(hours=1), called_at=after(hours=-1)).expected_at == after(hours=24)


def test_a_contact_ahead_of_now_counts_as_now() -> None:
    assert liveness(after(hours=1), METER, HEARD).expected_at == after(hours=24)


@pytest.mark.parametrize("octet", [0x35, "35", "NQ==", "NQ"])
def test_object_10(octet: object) -> None:
    found = timers_of_lwm2m({(10, 4): 86_400, (10, 5): 60, (10, 9): octet})
    assert found == Timers(86_400, 60, pytest.approx(81.92))


def test_object_10_with_modes_that_are_off() -> None:
    resources = {(10, 4): 86_400, (10, 5): 60, (10, 9): 0x35}
    assert timers_of_lwm2m({**resources, (10, 13): 1}) == Timers(86_400, 60, None)
    assert timers_of_lwm2m({**resources, (10, 13): 0}) == Timers(86_400, NEVER, None)


@pytest.mark.parametrize("wrong", [None, "soon", True, -1, 1e12, [], {}, 256])
def test_object_10_with_nonsense(wrong: object) -> None:
    found = timers_of_lwm2m({(10, 5): wrong if wrong != 256 else None, (10, 9): wrong})
    assert found == Timers()
