"""Turns what players and terminals reported into device samples, as it comes.

Takes every session that got events or totals since the job's mark, or whose line got reports, pipe or cloud
samples, works it out from all of its facts, and writes what differs from what is written. Nothing is added to an
earlier result: the same facts give the same samples, whenever and however often this runs, and a process killed
at any line loses nothing, because the mark moves only after all of it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prometheus_client import Counter, Gauge

from cem.platform.clock import Clock
from cem.platform.facts import FactStore
from cem.platform.observe import REGISTRY, get_logger
from cem.platform.windows import WINDOW, window_start
from kqi.marks import JobMarks
from kqi.pace import Pace
from kqi.repository import FactsRepository, Signature, StoredSample
from kqi.sessions import (
    NEAR,
    PLACE_AND_DEVICE,
    Context,
    SessionFacts,
    SessionKey,
    SessionSample,
    session_samples,
)

HORIZON = timedelta(hours=72)
"""How old a session's events may be: the age at which they are refused (48 h) and a day for the session itself."""
SESSIONS_PER_STEP = 500
"""Sessions worked out with one set of reads and one insert. [1] Chosen here: some 50,000 events at once."""
STEPS_PER_TICK = 2
"""Chosen here: a unit stays below a few seconds; the latest sessions come first, so that a history being loaded does
not hold up the present."""

BUSY_SHARE = 0.2
LEAST_REST_S = 0.5
"""[s] Chosen here: with the share above, a session is seen about a second after its events."""

WRITTEN = Counter("cem_kqi_session_samples_total", "Device samples of sessions written.", registry=REGISTRY)
WAITING = Gauge("cem_kqi_sessions_waiting", "Sessions that still wait to be worked out.", registry=REGISTRY)

_log = get_logger(__name__)
_JOB = "sessions"
_NONE: Signature = (0, 0)


class SessionJob:
    """Works out sessions.

    Parameters
    ----------
    store, clock
        Where facts are, and what tells the time.
    busy_share, least_rest_s
        Most of the time that this may take, and the rest after each unit. [1] [s]
    """

    def __init__(
        self,
        store: FactStore,
        clock: Clock,
        *,
        busy_share: float = BUSY_SHARE,
        least_rest_s: float = LEAST_REST_S,
    ) -> None:
        self._pace = Pace(clock, busy_share, least_rest_s)
        self._repository = FactsRepository(store)
        self._clock = clock
        self._marks = JobMarks(store)
        # What was worked out since the mark, so that the overlap is not worked out again on every tick. Only a
        # saving: without it (after a start) the same samples come out and nothing is written.
        self._done: dict[SessionKey, tuple[Signature, ...]] = {}

    def tick(self) -> int:
        """Work out sessions that something came for; returns how many. Safe to kill and to repeat."""
        if self._pace.resting():
            return 0
        began_s = self._clock.monotonic()
        began = self._clock.now()
        oldest = window_start(began - HORIZON)
        since = self._marks.read(_JOB, oldest)
        self._repository.write_report_samples(since, oldest, began)
        wanted = self._wanted(since, oldest)
        todo = [key for key, signature in wanted.items() if self._done.get(key) != signature]
        step = SESSIONS_PER_STEP
        now = todo[: step * STEPS_PER_TICK]
        for start in range(0, len(now), step):
            keys = now[start : start + step]
            self._work_out(keys, oldest)
            self._done |= {key: wanted[key] for key in keys}
        left = len(todo) - len(now)
        WAITING.set(left)
        if not left:
            self._marks.write(_JOB, began)
            self._done = {key: signature for key, signature in self._done.items() if key in wanted}
        self._pace.worked(began_s, more=left > 0)
        return len(now)

    def facts_of(self, keys: Sequence[SessionKey], oldest: datetime) -> dict[SessionKey, SessionFacts]:
        """Everything that is known of the sessions named."""
        names = [key.session_id for key in keys]
        events = self._repository.events_of(names, oldest)
        totals = self._repository.totals_of(names, oldest)
        facts = {key: SessionFacts(key, events.get(key, ()), totals.get(key, ())) for key in keys}
        times = [event.at_ms for one in facts.values() for event in one.events]
        times += [report.at_ms for one in facts.values() for report in one.totals]
        if not times:
            return facts
        start = window_start(_time(min(times)) - NEAR)
        end = window_start(_time(max(times)) + NEAR)
        by_line: dict[str, list[Context]] = {}
        by_session: dict[str, list[Context]] = {}
        for one in self._repository.context_of(keys, start, end):
            if one.subscriber_id:
                by_line.setdefault(one.subscriber_id, []).append(one)
            if one.session_id:
                by_session.setdefault(one.session_id, []).append(one)
        return {
            key: replace(
                one,
                context=tuple(
                    _context(key, by_line.get(key.subscriber_id, ()), by_session.get(key.session_id, ()))
                ),
            )
            for key, one in facts.items()
        }

    def _wanted(self, since: datetime, oldest: datetime) -> dict[SessionKey, tuple[Signature, ...]]:
        events = self._repository.sessions_with_new_events(since, oldest)
        totals = self._repository.sessions_with_new_totals(since, oldest)
        by_line, by_name, first = self._context(since, oldest)
        known = self._repository.known_sessions(by_line, by_name, first) if by_line or by_name else ()
        return {
            key: (
                events.get(key, _NONE),
                totals.get(key, _NONE),
                _plus(by_line.get(key.subscriber_id, _NONE), by_name.get(key.session_id, _NONE)),
            )
            for key in dict.fromkeys((*events, *sorted(totals), *known))
        }

    def _context(
        self, since: datetime, oldest: datetime
    ) -> tuple[dict[str, Signature], dict[str, Signature], datetime]:
        """What came near of sessions, by line and by name, and from when on sessions may be near it."""
        by_line: dict[str, Signature] = {}
        by_name: dict[str, Signature] = {}
        # By whole minutes: what falls out of the overlap would otherwise look new on every tick.
        new = self._repository.new_context(since.replace(second=0, microsecond=0), oldest)
        for one in new:
            if one.subscriber_id:
                by_line[one.subscriber_id] = _plus(by_line.get(one.subscriber_id, _NONE), one.signature)
            if one.session_id:
                by_name[one.session_id] = _plus(by_name.get(one.session_id, _NONE), one.signature)
        first = min((one.first for one in new), default=oldest) - NEAR - WINDOW
        return by_line, by_name, max(first, oldest)

    def _work_out(self, keys: Sequence[SessionKey], oldest: datetime) -> None:
        facts = self.facts_of(keys, oldest)
        samples = [sample for key in keys for sample in session_samples(facts[key])]
        stored = {
            one.item_key: one
            for one in self._repository.session_samples_of([key.session_id for key in keys], oldest)
            if SessionKey(one.session_id, one.subscriber_id) in facts
        }
        changed = to_write(samples, stored, int(self._clock.now().timestamp() * 1000))
        self._repository.write_session_samples(changed, self._clock.now())
        WRITTEN.inc(len(changed))
        if changed:
            _log.debug("sessions worked out", sessions=len(keys), written=len(changed))


def to_write(
    samples: Iterable[SessionSample], stored: Mapping[str, StoredSample], now_ms: int
) -> list[tuple[SessionSample, int]]:
    """Samples that differ from what is stored, each with the version that replaces it.

    A stored sample that no longer follows from the facts is withdrawn: written again without values.

    Parameters
    ----------
    samples
        What follows from the facts.
    stored
        What is stored of the same sessions, by item key.
    now_ms
        Version of a sample whose stored one is older. [ms]
    """
    changed: list[tuple[SessionSample, int]] = []
    kept = set()
    for sample in samples:
        kept.add(sample.item_key)
        before = stored.get(sample.item_key)
        if before is None:
            changed.append((sample, now_ms))
        elif not _same(sample, before):
            changed.append((sample, max(now_ms, before.version + 1)))
    for key, before in stored.items():
        if key not in kept and before.values:
            withdrawn = SessionSample(
                key=SessionKey(before.session_id, before.subscriber_id),
                window=before.window,
                item_key=key,
                observed_at=before.observed_at,
                dimensions=before.dimensions,
                values={},
                labels=before.labels,
            )
            changed.append((withdrawn, max(now_ms, before.version + 1)))
    return changed


def _same(sample: SessionSample, stored: StoredSample) -> bool:
    return (
        dict(sample.values) == dict(stored.values)
        and dict(sample.labels) == dict(stored.labels)
        and sample.observed_at == stored.observed_at
        and all(
            sample.dimensions.get(name, "") == stored.dimensions.get(name, "") for name in PLACE_AND_DEVICE
        )
    )


def _context(key: SessionKey, line: Sequence[Context], session: Sequence[Context]) -> list[Context]:
    """Both lists as one, without what is in both; another line's report is not this session's."""
    seen: dict[int, Context] = {id(one): one for one in line}
    seen |= {
        id(one): one
        for one in session
        if one.subscriber_id in ("", key.subscriber_id) or not key.subscriber_id
    }
    return list(seen.values())


def _plus(one: Signature, other: Signature) -> Signature:
    return one[0] + other[0], (one[1] + other[1]) % (1 << 64)


def _time(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)
