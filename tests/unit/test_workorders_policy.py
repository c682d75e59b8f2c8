"""What becomes of a case, why, and in which window it counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cem.platform.windows import WINDOW, window_start
from workorders.policy import (
    Action,
    CaseFacts,
    CaseState,
    Decision,
    GroupCount,
    PolicySettings,
    Reason,
    ResolvedOrder,
    counted_window,
    decide,
)
from workorders.schedule import MAX_EMPTY_WINDOWS, Plan, Work, last_closable, next_work

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WATERMARK = timedelta(seconds=150)


def case(**changes: object) -> CaseFacts:
    values: dict[str, object] = {
        "state": CaseState.WAITING,
        "individual": False,
        "felt_at": T,
        "late": False,
    }
    return CaseFacts(**{**values, **changes})  # type: ignore[arg-type]


ALONE = GroupCount(1, handed_over=False)
COMPANY = GroupCount(2, handed_over=False)
COMPLAINT = GroupCount(1, handed_over=True)
MENDED_AFTER = ResolvedOrder("wo_old", T + MINUTE)
MENDED_BEFORE = ResolvedOrder("wo_old", T - MINUTE)


@pytest.mark.parametrize(
    ("facts", "open_order", "resolved", "parent", "group", "expected"),
    [
        (case(), None, None, None, ALONE, Decision(Action.WAIT, Reason.BELOW_THRESHOLD)),
        (case(), None, None, None, COMPANY, Decision(Action.OPEN, Reason.NEW)),
        (case(), None, None, None, COMPLAINT, Decision(Action.OPEN, Reason.NEW)),
        (case(), "wo_1", None, None, ALONE, Decision(Action.ATTACH, Reason.ATTACH, "wo_1")),
        (case(late=True), "wo_1", None, None, ALONE, Decision(Action.ATTACH, Reason.AMEND, "wo_1")),
        (case(late=True), None, None, None, COMPANY, Decision(Action.OPEN, Reason.NEW)),
        (case(), None, None, "wo_p", COMPANY, Decision(Action.ATTACH, Reason.SWALLOWED_BY_PARENT, "wo_p")),
        (case(), "wo_1", MENDED_AFTER, "wo_p", COMPANY, Decision(Action.ATTACH, Reason.ATTACH, "wo_1")),
        (
            case(),
            None,
            MENDED_AFTER,
            None,
            COMPANY,
            Decision(Action.ATTACH_RESOLVED, Reason.BEFORE_RESOLUTION, "wo_old"),
        ),
        (case(), None, MENDED_BEFORE, None, COMPANY, Decision(Action.OPEN, Reason.NEW)),
        (case(), None, MENDED_BEFORE, None, ALONE, Decision(Action.WAIT, Reason.BELOW_THRESHOLD)),
        (
            case(individual=True),
            None,
            None,
            None,
            ALONE,
            Decision(Action.OPEN, Reason.TERMINAL_CASE_INDIVIDUAL),
        ),
        (case(individual=True), "wo_1", None, None, ALONE, Decision(Action.ATTACH, Reason.ATTACH, "wo_1")),
        (
            case(state=CaseState.ATTACHED),
            "wo_1",
            None,
            None,
            COMPANY,
            Decision(Action.NOTHING, Reason.ALREADY_ATTACHED),
        ),
        (
            case(state=CaseState.CLOSED),
            "wo_1",
            None,
            None,
            COMPANY,
            Decision(Action.NOTHING, Reason.NOT_WAITING),
        ),
        (
            case(state=CaseState.EXPIRED),
            None,
            None,
            None,
            COMPANY,
            Decision(Action.NOTHING, Reason.NOT_WAITING),
        ),
    ],
)
def test_decisions(
    facts: CaseFacts,
    open_order: str | None,
    resolved: ResolvedOrder | None,
    parent: str | None,
    group: GroupCount,
    expected: Decision,
) -> None:
    found = decide(
        facts, open_order=open_order, resolved=resolved, parent=parent, group=group, min_subscribers=2
    )
    assert found == expected


def test_the_threshold_is_a_setting() -> None:
    five = {"open_order": None, "resolved": None, "parent": None, "group": GroupCount(4, handed_over=False)}
    assert decide(case(), **five, min_subscribers=5).action is Action.WAIT  # type: ignore[arg-type]
    assert decide(case(), **five, min_subscribers=4).action is Action.OPEN  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"min_subscribers": 0}, {"watermark": -MINUTE}, {"amend_for": -MINUTE}, {"hold_for": MINUTE}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"cannot be negative|counts lines"):
        PolicySettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("felt", "recorded", "window"),
    [
        (T, T, T),
        (T + 14 * MINUTE, T + 16 * MINUTE, T),
        (T, T + 45 * MINUTE, T),  # exactly 30 min after the window's end
        (T, T + 46 * MINUTE, T + 45 * MINUTE),
        (T + 15 * MINUTE, T, T + WINDOW),  # a terminal whose clock runs ahead
    ],
)
def test_the_window_a_case_counts_in(felt: datetime, recorded: datetime, window: datetime) -> None:
    assert counted_window(felt, recorded, 30 * MINUTE) == window


INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 3), timezones=st.just(UTC))


@given(INSTANTS, INSTANTS)
def test_a_case_counts_in_the_window_of_its_fault_or_of_its_coming(
    felt: datetime, recorded: datetime
) -> None:
    found = counted_window(felt, recorded, 30 * MINUTE)
    assert found in {window_start(felt), window_start(recorded)}
    assert recorded <= found + WINDOW + 30 * MINUTE


@pytest.mark.parametrize(
    ("now", "window"),
    [
        (T + WINDOW + WATERMARK, T),
        (T + WINDOW + WATERMARK - timedelta(microseconds=1), T - WINDOW),
        (T + 2 * WINDOW, T),
    ],
)
def test_a_window_may_close_once_the_watermark_has_passed(now: datetime, window: datetime) -> None:
    assert last_closable(now, WATERMARK) == window


NOW = T + 2 * WINDOW  # the window of T may close, the next may not


@pytest.mark.parametrize(
    ("closed", "earliest", "plan"),
    [
        (None, None, Plan(Work.CLOSE_EMPTY, T, T)),
        (None, T - 4 * WINDOW, Plan(Work.CLOSE, T - 4 * WINDOW, T - 4 * WINDOW)),
        (None, T + WINDOW, Plan(Work.CLOSE_EMPTY, T, T)),
        (T, None, Plan(Work.NOTHING, T + WINDOW, T + WINDOW)),
        (T, T + WINDOW, Plan(Work.NOTHING, T + WINDOW, T + WINDOW)),
        (T, T, Plan(Work.AMEND, T, T)),
        (T, T - 3 * WINDOW, Plan(Work.AMEND, T, T)),
        (T - WINDOW, T, Plan(Work.CLOSE, T, T)),
        (T - 9 * WINDOW, T - 3 * WINDOW, Plan(Work.CLOSE_EMPTY, T - 8 * WINDOW, T - 4 * WINDOW)),
        (T - 9 * WINDOW, None, Plan(Work.CLOSE_EMPTY, T - 8 * WINDOW, T)),
    ],
)
def test_what_to_close_next(closed: datetime | None, earliest: datetime | None, plan: Plan) -> None:
    assert next_work(closed, earliest, NOW, WATERMARK) == plan


def test_years_of_empty_windows_are_closed_in_parts() -> None:
    plan = next_work(T - 100_000 * WINDOW, None, NOW, WATERMARK)
    assert (plan.last - plan.first) // WINDOW + 1 == MAX_EMPTY_WINDOWS


@given(st.sets(st.integers(0, 60), max_size=8), st.integers(0, 60))
def test_windows_close_in_order_each_once_none_left_out(with_cases: set[int], until: int) -> None:
    now = T + until * WINDOW + WATERMARK
    closed: list[datetime] = []
    pending = {T + place * WINDOW for place in with_cases}
    while True:
        plan = next_work(closed[-1] if closed else T - WINDOW, min(pending, default=None), now, WATERMARK)
        if plan.work is Work.NOTHING:
            break
        assert plan.work is not Work.AMEND
        while plan.first <= plan.last:
            assert (plan.work is Work.CLOSE) == (plan.first in pending)
            pending.discard(plan.first)
            closed.append(plan.first)
            plan = Plan(plan.work, plan.first + WINDOW, plan.last)
    assert closed == [T + place * WINDOW for place in range(until)]
