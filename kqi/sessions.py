"""What is written of a session: one device sample per quarter hour it touches, joined with what else is known.

Pure. Decides figures (`kqi.video`), dimensions and the join. Dimensions come from what is nearest to the session:
the events' own labels, then a report of the same session, then the line's report nearest in time, then the pipe
and cloud samples it is joined with; each only fills what is still empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cem.platform.item_keys import item_key
from cem.platform.windows import WINDOW
from kqi.catalogue import Service, Vantage
from kqi.cuts import ALL_DIMENSIONS
from kqi.timeline import PlayerEvent, Timeline, timeline
from kqi.video import SessionKqi, TotalsReport, session_kqi, slices, slices_of_totals

NEAR = timedelta(minutes=30)
"""A line's report so near in time still tells where it is and on what. Chosen here: two quarter hours."""

PLACE_AND_DEVICE = tuple(name for name in ALL_DIMENSIONS if name not in {"service", "vantage"})
"""Dimensions that a session takes from elsewhere."""

_WINDOW_MS = int(WINDOW / timedelta(milliseconds=1))


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """A session: the player's name of it, and whose it is ('' where nobody told)."""

    session_id: str
    subscriber_id: str


@dataclass(frozen=True, slots=True)
class Context:
    """A report or a pipe or cloud sample near the session."""

    subscriber_id: str
    session_id: str
    window: datetime
    observed_at: datetime
    dimensions: Mapping[str, str]
    vantage: Vantage | None = None
    """None for a report."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """Everything that is known of a session."""

    key: SessionKey
    events: Sequence[PlayerEvent] = ()
    totals: Sequence[TotalsReport] = ()
    context: Sequence[Context] = ()


@dataclass(frozen=True, slots=True)
class SessionSample:
    """A device sample to be written."""

    key: SessionKey
    window: datetime
    item_key: str
    observed_at: datetime
    dimensions: Mapping[str, str]
    values: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


def session_samples(facts: SessionFacts) -> list[SessionSample]:
    """Device samples of a session, by window; none where neither events nor totals are known.

    Events win over totals: they say when.
    """
    line = timeline(facts.events)
    if line is not None:
        parts = slices(line, _WINDOW_MS)
        last_ms = line.ended_ms
    else:
        parts = slices_of_totals(facts.totals, _WINDOW_MS)
        last_ms = max((report.at_ms for report in facts.totals), default=0)
    labels = _labels(facts, line)
    samples = []
    for window_ms, part in sorted(parts.items()):
        window = _at(window_ms)
        observed = _at(min(last_ms, window_ms + _WINDOW_MS - 1))
        joined = _joined(facts, window)
        values = part.values()
        values["joined_pipe"] = float(any(one.vantage is Vantage.PIPE for one in joined))
        values["joined_cloud"] = float(any(one.vantage is Vantage.CLOUD for one in joined))
        if part.failed and line is not None and line.http_status is not None:
            values["http_status"] = line.http_status
        samples.append(
            SessionSample(
                key=facts.key,
                window=window,
                item_key=sample_key(facts.key, window),
                observed_at=observed,
                dimensions={
                    **_dimensions(facts, joined, window_ms, observed),
                    "service": Service.VIDEO,
                    "vantage": Vantage.DEVICE,
                },
                values=values,
                labels=labels,
            )
        )
    return samples


def whole_session(facts: SessionFacts) -> tuple[SessionKqi, Timeline | None] | None:
    """Figures of all of a session, and its time line where events are known."""
    line = timeline(facts.events)
    if line is not None:
        return session_kqi(line), line
    parts = list(slices_of_totals(facts.totals, _WINDOW_MS).values())
    if not parts:
        return None
    delays = [part.start_delay_ms for part in parts if part.start_delay_ms is not None]
    failures = [part.failed for part in parts if part.failed is not None]
    rates = [part.bitrate_kbps for part in parts if part.bitrate_kbps is not None]
    return (
        SessionKqi(
            stall_ms=sum(part.stall_ms for part in parts),
            stall_count=sum(part.stall_count for part in parts),
            play_ms=sum(part.play_ms for part in parts),
            start_delay_ms=delays[0] if delays else None,
            failed=failures[-1] if failures else None,
            bitrate_kbps=rates[-1] if rates else None,
        ),
        None,
    )


def sample_key(key: SessionKey, window: datetime) -> str:
    """Identity of a session's device sample for a window."""
    owner = key.subscriber_id or f"session:{key.session_id}"
    return item_key(owner, "session_sample", f"{key.session_id}\n{window.isoformat()}")


def _joined(facts: SessionFacts, window: datetime) -> list[Context]:
    """Pipe and cloud samples of the same session, or of the same line in the same window."""
    line = facts.key.subscriber_id
    return [
        one
        for one in facts.context
        if one.vantage is not None
        and (
            (one.session_id != "" and one.session_id == facts.key.session_id)
            or (line != "" and one.subscriber_id == line and one.window == window)
        )
    ]


def _dimensions(
    facts: SessionFacts, joined: Sequence[Context], window_ms: int, observed: datetime
) -> dict[str, str]:
    end_ms = window_ms + _WINDOW_MS
    found: dict[str, str] = {}
    for event in sorted(facts.events, key=lambda e: (e.at_ms, e.sequence), reverse=True):
        if event.at_ms < end_ms:
            _fill(found, event.labels)
    if not found:  # the session's labels came later than this window
        for event in sorted(facts.events, key=lambda e: (e.at_ms, e.sequence)):
            _fill(found, event.labels)
    reports = sorted(
        (one for one in facts.context if one.vantage is None and _near(one, facts.key, observed)),
        key=lambda one: (
            one.session_id != facts.key.session_id,
            abs(one.observed_at - observed),
            one.observed_at,
        ),
    )
    for report in reports:
        _fill(found, report.dimensions)
    for sample in sorted(joined, key=lambda one: (abs(one.observed_at - observed), one.observed_at)):
        _fill(found, sample.dimensions)
    return found


def _near(report: Context, key: SessionKey, at: datetime) -> bool:
    if report.session_id == key.session_id:
        return True
    return report.subscriber_id == key.subscriber_id != "" and abs(report.observed_at - at) <= NEAR


def _fill(found: dict[str, str], more: Mapping[str, str]) -> None:
    for name in PLACE_AND_DEVICE:
        if not found.get(name) and more.get(name):
            found[name] = more[name]


def _labels(facts: SessionFacts, line: Timeline | None) -> dict[str, str]:
    labels = {"kind": "session", "origin": "totals"}
    if line is not None:
        labels["origin"] = "+".join(sorted({event.origin for event in facts.events}))
        labels["state"] = "closed" if line.closed else "open"
        if line.error_code:
            labels["error_code"] = line.error_code
    content = _first(event.labels.get("content_id", "") for event in facts.events)
    if content:
        labels["content_id"] = content
    return labels


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


def _at(millis: int) -> datetime:
    return datetime.fromtimestamp(millis // 1000, UTC) + timedelta(milliseconds=millis % 1000)
