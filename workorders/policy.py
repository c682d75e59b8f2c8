"""What becomes of a case when its window closes: a pure decision with a reason.

A case that is handed over (a complaint by the customer or an agent) opens an order by itself. Others need
company: an order opens once enough lines are hit. A lone case waits and is counted again with every later
case of its key, until it expires. What only concerns one customer never waits for company.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cem.platform.windows import WINDOW, window_start


class CaseState(StrEnum):
    """Where a case stands."""

    WAITING = "waiting"
    ATTACHED = "attached"
    CLOSED = "closed"
    EXPIRED = "expired"


class CloseReason(StrEnum):
    """Why a case is closed."""

    ORDER_RESOLVED = "order_resolved"
    ORDER_CANCELLED = "order_cancelled"
    RECHECK_NO_FAULT = "recheck_no_fault"
    VERDICT_REVISED = "verdict_revised"
    EXPIRED = "expired"


class Action(StrEnum):
    """What to do with a case."""

    OPEN = "open"
    ATTACH = "attach"
    ATTACH_RESOLVED = "attach_resolved"
    WAIT = "wait"
    NOTHING = "nothing"


class Reason(StrEnum):
    """Why. Kept with the case and in the order's history."""

    NEW = "new"
    ATTACH = "attach"
    AMEND = "amend"
    SWALLOWED_BY_PARENT = "swallowed_by_parent"
    BEFORE_RESOLUTION = "before_resolution"
    TERMINAL_CASE_INDIVIDUAL = "terminal_case_individual"
    BELOW_THRESHOLD = "below_threshold"
    ALREADY_ATTACHED = "already_attached"
    NOT_WAITING = "not_waiting"


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What an operator can set about orders.

    Parameters
    ----------
    watermark
        Wait after a window's end before it is closed. 150 s: DEMARCATION gives 2–3 min.
    amend_for
        A case that arrives so long after its window's end still counts there. 30 min, likewise.
    min_subscribers
        Lines hit before an order opens unasked. 2, chosen here: one line alone is more often the line, and
        whoever is alone and cannot wait hands the fault over.
    hold_for
        How long a lone case waits for company, in event time. 24 h, chosen here: a fault that comes with
        the daily load peak is seen again one day later.
    """

    watermark: timedelta = timedelta(seconds=150)
    amend_for: timedelta = timedelta(minutes=30)
    min_subscribers: int = 2
    hold_for: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        if min(self.watermark, self.amend_for) < timedelta(0) or self.hold_for < WINDOW:
            raise ValueError("watermark and amend_for cannot be negative, hold_for not below a window")
        if self.min_subscribers < 1:
            raise ValueError("min_subscribers counts lines: 1 or more")


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What the decision reads of a case.

    `felt_at` is when the customer last said that the fault is there: the fault's time, or the complaint's.
    """

    state: CaseState
    individual: bool
    felt_at: datetime
    late: bool


@dataclass(frozen=True, slots=True)
class ResolvedOrder:
    """The latest order of the case's key that was resolved."""

    order_id: str
    resolved_at: datetime


@dataclass(frozen=True, slots=True)
class GroupCount:
    """All waiting cases of one key, the case at hand included.

    Parameters
    ----------
    subscribers
        Distinct lines. [1]
    handed_over
        Whether one of the cases is a complaint.
    """

    subscribers: int
    handed_over: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why, and with which order where there is one."""

    action: Action
    reason: Reason
    order_id: str | None = None


def decide(
    case: CaseFacts,
    *,
    open_order: str | None,
    resolved: ResolvedOrder | None,
    parent: str | None,
    group: GroupCount,
    min_subscribers: int,
) -> Decision:
    """Decide on one case.

    Parameters
    ----------
    open_order
        Id of the open order of the case's own key.
    resolved
        The latest resolved order of that key.
    parent
        Id of an open order whose fault explains this one.
    group
        The waiting cases of the key.
    min_subscribers
        See `PolicySettings`. [1]
    """
    if case.state is CaseState.ATTACHED:
        return Decision(Action.NOTHING, Reason.ALREADY_ATTACHED)
    if case.state is not CaseState.WAITING:
        return Decision(Action.NOTHING, Reason.NOT_WAITING)
    if open_order is not None:
        return Decision(Action.ATTACH, Reason.AMEND if case.late else Reason.ATTACH, open_order)
    if resolved is not None and case.felt_at <= resolved.resolved_at:
        # Felt before it was mended: no sign that the fault is back.
        return Decision(Action.ATTACH_RESOLVED, Reason.BEFORE_RESOLUTION, resolved.order_id)
    if case.individual:
        return Decision(Action.OPEN, Reason.TERMINAL_CASE_INDIVIDUAL)
    if parent is not None:
        return Decision(Action.ATTACH, Reason.SWALLOWED_BY_PARENT, parent)
    if group.handed_over or group.subscribers >= min_subscribers:
        return Decision(Action.OPEN, Reason.NEW)
    return Decision(Action.WAIT, Reason.BELOW_THRESHOLD)


def counted_window(felt_at: datetime, recorded_at: datetime, amend_for: timedelta) -> datetime:
    """Start of the window that a case counts in.

    Its own event-time window, closed or not, if it was recorded at most `amend_for` after that window's end;
    else the window it was recorded in. Depends on nothing else, so that it is the same whenever it is asked.
    """
    own = window_start(felt_at)
    return own if recorded_at <= own + WINDOW + amend_for else window_start(recorded_at)
