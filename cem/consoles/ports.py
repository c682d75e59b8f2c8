"""What the pages show and what they may have done, as values and protocols that wiring fills.

The pages know no table and no store. Every call blocks for a short read; the pages make it in a worker thread. No
number of a customer is in any of these values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cem.platform.security import Principal


@dataclass(frozen=True, slots=True)
class Bilingual:
    """One text in the two languages of the pages."""

    zh: str
    en: str

    def in_language(self, language: str) -> str:
        """Give the text in `zh` or `en`."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Activity:
    """What came in of late.

    Parameters
    ----------
    reports_per_s, samples_per_min
        What arrived in the last minute. [1/s] [1/min]
    reports_by_minute, samples_by_minute
        Reports, and feeds' samples, of each full minute of event time, the oldest first. [1]
    self_checks
        Self-checks of the last hour. [1]
    verdicts_by_domain
        Verdicts of the last hour by domain. [1]
    median_verdict_ms
        Median time to a verdict in the last hour; None where there was none. [ms]
    """

    reports_per_s: float
    samples_per_min: float
    reports_by_minute: Sequence[int]
    samples_by_minute: Sequence[int]
    self_checks: int
    verdicts_by_domain: Mapping[str, int]
    median_verdict_ms: float | None = None


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One verdict of the list. `at` is when it was reached, `confidence` lies in 0–1."""

    id: str
    domain: str
    cause: Bilingual
    confidence: float
    city: str
    at: datetime


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One work order of a list. `affected` counts customers. [1]"""

    id: str
    number: str
    domain: str
    cause: Bilingual
    scope: Mapping[str, str]
    affected: int
    cases: int
    opened_at: datetime
    state: str
    taken_by: str = ""


@dataclass(frozen=True, slots=True)
class OrderPage:
    """The first orders of a list, how many there are of them in all, and how many customers they affect."""

    rows: Sequence[OrderRow]
    total: int
    affected: int


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One case in an order."""

    id: str
    cause: Bilingual
    confidence: float
    city: str
    fault_at: datetime
    handed_over: bool
    state: str


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One entry of an order's history.

    `kind` is the room's word for it; `who` is empty where no person did it; `cases` counts those that joined. [1]
    """

    kind: str
    at: datetime
    who: str = ""
    note: str = ""
    cases: int = 0


@dataclass(frozen=True, slots=True)
class OrderDetail:
    """An order with all that its page shows. `actions` are what this caller may do with it now."""

    row: OrderRow
    owner: str
    first_fault_at: datetime
    last_fault_at: datetime
    steps: Sequence[Bilingual]
    cases: Sequence[CaseRow]
    events: Sequence[OrderEvent]
    actions: frozenset[str]
    resolution_note: str = ""
    causes: Sequence[tuple[str, Bilingual]] = ()
    """Causes to choose from when resolving, the supposed one first."""


@dataclass(frozen=True, slots=True)
class Experience:
    """What the viewers of a city had in one quarter hour.

    Parameters
    ----------
    start_delay_ms
        Mean time from request to first frame; None where no viewing started. [ms]
    stall_ratio
        Stalled share of viewing time; None where nothing was viewed. [1, 0–1]
    sessions
        Viewings behind it. [1]
    """

    city: str
    window_start: datetime
    start_delay_ms: float | None
    stall_ratio: float | None
    sessions: int


@dataclass(frozen=True, slots=True)
class Feed:
    """One way that facts come in: its vantage point, when it last sent, and how much in the last five minutes."""

    name: str
    last_at: datetime | None
    items: int


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session just opened: the cookie's value and when it ends for good."""

    token: str = field(repr=False)
    expires_at: datetime


class ConsoleView(Protocol):
    """Everything the pages read."""

    def activity(self) -> Activity:
        """What came in of late."""
        ...

    def recent_verdicts(self, limit: int) -> Sequence[VerdictRow]:
        """The latest verdicts, the newest first."""
        ...

    def orders(self, *, active: bool, limit: int) -> OrderPage:
        """Work orders in work, those that affect most first; or those that have ended, the newest first."""
        ...

    def order(self, order_id: str, by: Principal) -> OrderDetail:
        """One work order as this caller may see and work it. Raises NotFound."""
        ...

    def experience_by_city(self, hours: int) -> Sequence[Experience]:
        """Experience of the last hours by city and quarter hour, in any order."""
        ...

    def feeds(self) -> Sequence[Feed]:
        """How the feeds are."""
        ...


class OrderDesk(Protocol):
    """What staff do with a work order. Each raises NotFound, Conflict or Forbidden as the room says."""

    def take(self, by: Principal, order_id: str) -> None:
        """Take it over."""
        ...

    def comment(self, by: Principal, order_id: str, note: str) -> None:
        """Add a note to its history."""
        ...

    def resolve(self, by: Principal, order_id: str, cause: str, note: str) -> None:
        """Say that it is repaired, and what it was."""
        ...

    def reopen(self, by: Principal, order_id: str, note: str) -> None:
        """Take it up again."""
        ...


class Logins(Protocol):
    """Opening and ending a member of staff's session."""

    def login(self, name: str, password: str, address: str) -> SignedIn:
        """Open a session. Raises Unauthenticated, TooManyRequests."""
        ...

    def logout(self, token: str) -> None:
        """End a session; one that has ended already is no error."""
        ...


class Names(Protocol):
    """What people call the things that facts name by id."""

    def name(self, dimension: str, value: str, language: str) -> str:
        """Give the name, or the value itself where it has none."""
        ...


@dataclass(frozen=True)
class NameBook:
    """Names by dimension and value; what is not in it is called by its id."""

    names: Mapping[tuple[str, str], Bilingual] = field(default_factory=dict)

    def name(self, dimension: str, value: str, language: str) -> str:
        """Give the name, or the value itself where it has none."""
        found = self.names.get((dimension, value))
        return value if found is None else found.in_language(language)
