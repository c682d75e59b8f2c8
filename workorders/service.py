"""Cases: made from verdicts and complaints, closed by re-checks, listed.

`from_verdict` and `from_complaint` run inside the caller's transaction and never commit: a verdict and its case
are stored together or not at all. Both may be repeated with the same facts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from cem.platform.clock import Clock
from cem.platform.db import Database, new_id
from cem.platform.errors import NotFound
from demarcation.verdict import VerdictFact
from workorders import repository
from workorders.intake import HandedOverBy, Origin, leaves_fault_with_operator, verdict_values
from workorders.lifecycle import EventKind
from workorders.models import Case, OrderEvent
from workorders.observation import CASES
from workorders.policy import CaseState, CloseReason, PolicySettings, counted_window
from workorders.repository import CaseFilter

PAGE = 50
"""Items of a page unless asked otherwise. [1]"""


class CaseService:
    """What happens to cases outside the closing of windows."""

    def __init__(self, database: Database, clock: Clock, settings: PolicySettings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def from_verdict(self, session: Session, fact: VerdictFact) -> str | None:
        """Take a verdict in; returns the id of its self-check's case, if it has one.

        A later version of a verdict moves a case that still waits; one that is in an order stays there, and the
        order's history says what the new version says.
        """
        case = repository.case_of_self_check(session, fact.self_check_id)
        if fact.domain == "no_fault":
            self._close_proved(session, case, fact)
        if case is None and (leaves_fault_with_operator(fact) or fact.handed_over):
            if self._insert(session, fact):
                case = repository.case_of_verdict(session, fact.verdict_id)
            else:  # another request was quicker; what it made is visible now
                case = repository.case_of_self_check(session, fact.self_check_id)
        if case is None:
            return None
        if fact.version > case.verdict_version:
            self._revise(session, case, fact)
        return case.id

    def on_verdict(self, session: Session, fact: VerdictFact) -> None:
        """`from_verdict`, as demarcation's hook wants it."""
        self.from_verdict(session, fact)

    def from_complaint(self, session: Session, fact: VerdictFact, by: str) -> str:
        """Hand a fault over, whatever its verdict is; returns the id of its case.

        Once handed over, it stays so: a repeated complaint changes nothing.

        Parameters
        ----------
        by
            One of `intake.HandedOverBy`; ValueError for anything else.
        """
        by = HandedOverBy(by)
        case = repository.case_of_self_check(session, fact.self_check_id)
        if case is None and not self._insert(session, fact, by):
            case = repository.case_of_self_check(session, fact.self_check_id)
        if case is None:
            case = repository.case_of_verdict(session, fact.verdict_id)
        assert case is not None, "a case was made or refused for one that is there"
        if case.handed_over:
            return case.id
        now = self._clock.now()
        case.handed_over = True
        case.handed_over_by = by
        case.felt_at = now
        if case.state == CaseState.ATTACHED:
            return case.id
        if case.state != CaseState.WAITING:
            self._take_up_again(session, case, now)
        if case.state == CaseState.WAITING:
            case.judged_at = None
            case.window_start = counted_window(case.fault_at, now, self._settings.amend_for)
        session.flush()
        return case.id

    def page(
        self, wanted: CaseFilter, *, before: str | None = None, limit: int = PAGE
    ) -> list[tuple[Case, str | None, str | None]]:
        """Cases, latest first, each with its order's id and number.

        Parameters
        ----------
        before
            Id to go on below (keyset paging).
        limit
            Most to return. [1]
        """
        with self._database.read() as session:
            found = list(repository.list_cases(session, wanted, before, limit))
            session.expunge_all()  # the rollback at the end would empty them
            return found

    def get(self, case_id: str) -> tuple[Case, str | None, str | None]:
        """One case with its order's id and number. Raises NotFound."""
        with self._database.read() as session:
            found = repository.get_case(session, case_id)
            session.expunge_all()
        if found is None:
            raise NotFound(f"There is no case {case_id}.")
        return found

    def _close_proved(self, session: Session, case: Case | None, fact: VerdictFact) -> None:
        """Close what a verdict without a fault proves gone.

        A later version closes its own case. A re-check closes every earlier case of the line and service: the
        customer says with it that this is the same trouble, tried again.
        """
        gone: list[str] = []
        if case is not None and fact.version > case.verdict_version:
            gone.append(case.id)
        if fact.re_check_of is not None:
            gone += repository.open_cases_before(session, fact.subscriber_id, fact.service, fact.fault_at)
        for case_id in gone:
            repository.close_case(session, case_id, CloseReason.RECHECK_NO_FAULT, self._clock.now())

    def _insert(self, session: Session, fact: VerdictFact, by: HandedOverBy | None = None) -> bool:
        now = self._clock.now()
        handed_over = by is not None or fact.handed_over
        values: dict[str, Any] = verdict_values(fact)
        inserted = repository.insert_case(
            session,
            {
                **values,
                "id": new_id("case"),
                "self_check_id": fact.self_check_id,
                "subscriber_id": fact.subscriber_id,
                "origin": Origin.COMPLAINT if handed_over else Origin.VERDICT,
                "handed_over": handed_over,
                "handed_over_by": by,
                "felt_at": now if by is not None else fact.fault_at,
                "window_start": counted_window(fact.fault_at, now, self._settings.amend_for),
                "recorded_at": now,
                "state": CaseState.WAITING,
            },
        )
        if inserted:
            event.listen(session, "after_commit", lambda _: CASES.labels(fact.domain).inc(), once=True)
        return inserted

    def _revise(self, session: Session, case: Case, fact: VerdictFact) -> None:
        """A later version of the case's verdict."""
        values = verdict_values(fact)
        revised = values["group_key"] != case.group_key or fact.cause != case.cause
        if case.state == CaseState.WAITING:
            if not case.handed_over and not leaves_fault_with_operator(fact):
                repository.close_case(session, case.id, CloseReason.VERDICT_REVISED, self._clock.now())
                revised = False
            else:
                for name, value in values.items():
                    setattr(case, name, value)
                case.judged_at = None
                case.window_start = counted_window(case.fault_at, self._clock.now(), self._settings.amend_for)
        case.verdict_id = fact.verdict_id
        case.verdict_version = fact.version
        if revised and case.state == CaseState.ATTACHED:
            self._note(session, case, EventKind.CASE_REVISED, {"domain": fact.domain, "cause": fact.cause})
        session.flush()

    def _take_up_again(self, session: Session, case: Case, now: datetime) -> None:
        """A customer hands over what was closed: back into its order if that is open, else to wait anew."""
        current = repository.current_order(session, case.id)
        case.state, case.closed_at, case.close_reason = CaseState.WAITING, None, None
        if current is None:
            return
        stay, order = current
        if order.active:
            case.state = CaseState.ATTACHED
            return
        self._note(session, case, EventKind.CASE_LEFT, {})
        stay.left_at = now

    def _note(self, session: Session, case: Case, kind: EventKind, data: dict[str, Any]) -> None:
        current = repository.current_order(session, case.id)
        if current is not None:
            session.add(
                OrderEvent(
                    id=new_id("oe"),
                    order_id=current[1].id,
                    at=self._clock.now(),
                    kind=kind,
                    actor="system:verdicts",
                    actor_name="system:verdicts",
                    data={"case_id": case.id, **data},
                )
            )
