"""What others ask of this room: take samples, read sessions, cubes, a line's recent facts and its peers.

Reads block and may be called from any thread; the routes run them in a bulkhead of their own, so that a slow store
costs them and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from cem.platform.aio import Bulkhead, run_blocking
from cem.platform.bodies import BodyLimits, split_items
from cem.platform.clock import Clock
from cem.platform.errors import Forbidden, NotFound
from cem.platform.facts import FactStore
from cem.platform.group_commit import Entry, GroupCommit
from cem.platform.security import Permission, Principal, PrincipalKind
from cem.platform.windows import window_start
from kqi.anomaly_reading import AnomalyQuestion, AnomalyStore, StoredAnomaly
from kqi.cube_reading import CubePage, CubeQuestion, CubeReader
from kqi.peers import PeerCounts, PeerReader
from kqi.repository import FactsRepository, StoredReport, StoredSample
from kqi.samples import Feed, Reject, TimeBounds, read_samples
from kqi.series_reading import SeriesPage, SeriesQuestion, SeriesReader
from kqi.session_job import HORIZON, SessionJob
from kqi.sessions import SessionFacts, SessionKey, whole_session
from kqi.timeline import Timeline
from kqi.top_reading import TopPage, TopQuestion, TopReader
from kqi.video import SessionKqi

P = ParamSpec("P")
T = TypeVar("T")

READ_TIMEOUT_S = 12.0
"""Longest that a route waits for the store. [s] Chosen here: a read's own limit (10 s) and a little."""
INLINE_BYTES = 64 * 1024
"""A body up to this is read on the event loop; a longer one in a thread. [B] Chosen here: some 2 ms."""
RECENT_LIMIT = 500
"""Samples or reports of one line that are read at most. [1]"""

TABLES = ("samples",)
"""Tables that the group commit of samples writes."""


@dataclass(frozen=True, slots=True)
class KqiLimits:
    """Bounds of bodies and times.

    Parameters
    ----------
    max_body_bytes, max_inflated_bytes, max_items
        Of one request. [B] [B] [1]
    late_after, future_skew
        Samples older, or further ahead of our clock, are refused.
    """

    max_body_bytes: int = 4 * 1024 * 1024
    max_inflated_bytes: int = 32 * 1024 * 1024
    max_items: int = 10_000
    late_after: timedelta = timedelta(hours=48)
    future_skew: timedelta = timedelta(minutes=5)

    @property
    def body(self) -> BodyLimits:
        """The part that concerns the body as a whole."""
        return BodyLimits(self.max_body_bytes, self.max_inflated_bytes, self.max_items)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a body: items on disk (new, and there already), and those refused. [1] [ms]"""

    accepted: int
    duplicate: int
    rejects: Sequence[Reject]
    commit_ms: float


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session: figures of all of it, its time line where events are known, and its samples from every side."""

    key: SessionKey
    figures: SessionKqi
    line: Timeline | None
    samples: Sequence[StoredSample]


class KqiService:
    """What the routes and other rooms call.

    Parameters
    ----------
    store, clock
        Where facts are, and what tells the time.
    commits
        Group commit whose tables include `TABLES`.
    hash_number
        Number → subscriber_id.
    limits
        Bounds of bodies and times.
    """

    def __init__(
        self,
        store: FactStore,
        clock: Clock,
        *,
        commits: GroupCommit,
        hash_number: Callable[[str], str],
        limits: KqiLimits | None = None,
        read_threads: int = 4,
    ) -> None:
        self.limits = limits or KqiLimits()
        self._clock = clock
        self._commits = commits
        self._hash_number = hash_number
        self._repository = FactsRepository(store)
        self._cubes = CubeReader(store)
        self._series = SeriesReader(store)
        self._top = TopReader(store)
        self._anomalies = AnomalyStore(store)
        self._peers = PeerReader(store, clock)
        self._sessions = SessionJob(store, clock)
        self._bulkhead = Bulkhead("kqi-read", read_threads)

    def close(self) -> None:
        """Begin no further read."""
        self._bulkhead.close()

    async def reading(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one of the reads below off the event loop. Raises DeadlineExceeded, Unavailable and what `fn` does."""
        return await self._bulkhead.run(lambda: fn(*args, **kwargs), timeout_s=READ_TIMEOUT_S)

    # in

    async def take_samples(self, principal: Principal, feed: Feed, body: bytes, content_type: str) -> Taken:
        """Store the good samples of a body; return when they are on disk.

        Raises
        ------
        MalformedBody, UnsupportedMedia, PayloadTooLarge, InvalidInput
            The body as a whole cannot be read.
        Unavailable
            They could not be stored; nothing was accepted.
        """
        bounds = TimeBounds(self._clock.now(), self.limits.late_after, self.limits.future_skew)

        def read() -> tuple[list[Entry], list[Reject]]:
            items = split_items(body, content_type, self.limits.body)
            return read_samples(
                items, feed, origin=principal.id, hash_number=self._hash_number, bounds=bounds
            )

        entries, rejects = read() if len(body) <= INLINE_BYTES else await run_blocking(read)
        receipt = await self._commits.submit(entries)
        return Taken(receipt.accepted, receipt.duplicate, rejects, receipt.commit_ms)

    # out; blocking

    def cubes(self, question: CubeQuestion) -> CubePage:
        """Answer a question to the cubes. Raises InvalidInput, FactStoreError."""
        return self._cubes.answer(question)

    def series(self, question: SeriesQuestion) -> SeriesPage:
        """One indicator over time, with its normal band. Raises InvalidInput, FactStoreError."""
        return self._series.answer(question)

    def top(self, question: TopQuestion) -> TopPage:
        """The worst groups of a dimension. Raises InvalidInput, FactStoreError."""
        return self._top.answer(question)

    def anomalies(self, question: AnomalyQuestion) -> tuple[list[StoredAnomaly], int | None]:
        """A page of what stood out, and the next one's offset. Raises InvalidInput, FactStoreError."""
        return self._anomalies.answer(question)

    def session(self, session_id: str, principal: Principal) -> SessionView:
        """A session with everything known of it.

        Raises
        ------
        NotFound
            No such session, or not this device's.
        Forbidden
            The caller is no device and may not read indicators.
        """
        device = principal.kind is PrincipalKind.DEVICE
        if not device and not principal.may(Permission.KQI_READ):
            raise Forbidden("this needs the permission kqi_read")
        oldest = window_start(self._clock.now() - HORIZON)
        lines = self._repository.lines_of_session(session_id, oldest)
        if device:
            lines = [line for line in lines if line == principal.subscriber_id]
        for line in lines:
            key = SessionKey(session_id, line)
            facts: SessionFacts = self._sessions.facts_of([key], oldest)[key]
            whole = whole_session(facts)
            if whole is not None:
                figures, moments = whole
                samples = self._repository.samples_of_session(session_id, oldest, RECENT_LIMIT)
                mine = [one for one in samples if one.subscriber_id in ("", line)]
                return SessionView(key, figures, moments, mine)
        raise NotFound("There is no such session within the last three days.")

    def recent_samples(
        self, subscriber_id: str, since: datetime, until: datetime | None = None
    ) -> list[StoredSample]:
        """Samples of a line with `since <= observed_at (<= until)`, newest first, at most `RECENT_LIMIT`."""
        return self._repository.samples_of_line(subscriber_id, since, until or self._forever(), RECENT_LIMIT)

    def recent_reports(
        self, subscriber_id: str, since: datetime, until: datetime | None = None
    ) -> list[StoredReport]:
        """Reports of a line with `since <= observed_at (<= until)`, newest first, at most `RECENT_LIMIT`."""
        return self._repository.reports_of_line(subscriber_id, since, until or self._forever(), RECENT_LIMIT)

    def peers(
        self, dims: Mapping[str, str], service: str, at: datetime, exclude_subscriber: str
    ) -> list[PeerCounts]:
        """How others fare on the segments of `dims`, as known at `at`; see `kqi.peers`."""
        return self._peers.peers(dims, service, at, exclude_subscriber)

    def _forever(self) -> datetime:
        return self._clock.now() + self.limits.future_skew
