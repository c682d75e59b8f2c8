"""Reports and CMCD in: whose is it, is it taken, and is it on disk.

Decides per item who it belongs to. A device acts on its own line, whatever its body says: a number in it must be
that line's. A feed or another system names the line by its number, which is hashed and then dropped, or an
install; an item that names nobody is refused. Everything else (form, bounds, times) is decided by the pure
modules; storing is the group commit's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from cem.platform.aio import run_blocking
from cem.platform.clock import Clock
from cem.platform.errors import Forbidden, InvalidInput, PayloadTooLarge
from cem.platform.group_commit import Entry, GroupCommit, Receipt
from cem.platform.security import Principal, PrincipalKind
from sdk_ingest.cmcd import CmcdError, parse_events
from sdk_ingest.cmcd_events import event_of
from sdk_ingest.parsing import (
    IngestLimits,
    Observation,
    Reject,
    RejectedSnapshotError,
    parse_items,
    parse_snapshot,
)
from sdk_ingest.rows import event_entry, owner_of, report_entry
from sdk_ingest.schemas import Report

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BYTES: Final = 64 * 1024
"""A body up to this is read on the event loop; a longer one in a thread. [B] Chosen here: about 60 reports, read in
2 ms."""


class HashNumber(Protocol):
    """number → subscriber_id, as `cem.platform.security.NumberHasher`."""

    def __call__(self, number: str, *, pointer: str | None = None) -> str:
        """Raises InvalidInput on what is no number."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a body.

    Parameters
    ----------
    accepted, duplicate
        Items on disk: new, and there already. [1]
    rejects
        Items that were not taken, in the order of the body.
    commit_ms
        From handing over to on disk; 0 where nothing was. [ms]
    """

    accepted: int
    duplicate: int
    rejects: Sequence[Reject]
    commit_ms: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A self-check's report, read but not stored yet. `body` is as sent, without `subscriber`."""

    report: Report
    body: Mapping[str, Any]


class IngestService:
    """What the routes call.

    Parameters
    ----------
    commits
        Of `sdk_ingest.writer.open_writer`.
    hash_number
        The house's keyed hash.
    limits
        What a body may be at most, and which times are taken.
    """

    def __init__(
        self,
        commits: GroupCommit,
        clock: Clock,
        hash_number: HashNumber,
        limits: IngestLimits | None = None,
    ) -> None:
        self._commits = commits
        self._clock = clock
        self._hash = hash_number
        self.limits = limits or IngestLimits()

    async def reports(self, principal: Principal, body: bytes, content_type: str) -> Taken:
        """Take a body of reports (inflated): good items are stored, bad ones named.

        Raises
        ------
        MalformedBody, UnsupportedMedia, PayloadTooLarge, InvalidInput
            Nothing of it can be read.
        Unavailable
            Nothing was accepted; send it again.
        """
        entries, rejects = await _near(body, self._read_reports, principal, body, content_type)
        return _taken(await self._commits.submit(entries), rejects)

    async def cmcd(self, principal: Principal, body: bytes) -> Taken:
        """Take a body of CMCD event mode: good records are stored, bad ones named by line.

        Raises
        ------
        PayloadTooLarge
            Too many records.
        InvalidInput
            Not one record.
        Unavailable
            Nothing was accepted; send it again.
        """
        entries, rejects = await _near(body, self._read_cmcd, principal, body)
        if not entries and not rejects:
            raise InvalidInput("The body holds no record.", pointer="")
        return _taken(await self._commits.submit(entries), rejects)

    def snapshot(self, body: Mapping[str, Any] | bytes) -> Snapshot:
        """Read a self-check's snapshot: a report, of which `id` and `observed_at` may be left out.

        A missing id is made here; a missing time is now. `subscriber` is dropped: whose line it is, the
        self-check itself decides.

        Raises
        ------
        InvalidInput
            With pointer and `code`.
        """
        now = self._clock.now()
        if not isinstance(body, bytes):
            named = {"id": f"snapshot-{secrets.token_hex(16)}", "observed_at": now.isoformat()}
            body = named | {name: value for name, value in body.items() if value is not None}
        try:
            observation = parse_snapshot(body, self.limits, now)
        except RejectedSnapshotError as error:
            reject = error.reject
            raise InvalidInput(reject.detail, pointer=reject.pointer, code=reject.code) from None
        kept = observation.body
        kept.pop("subscriber", None)
        return Snapshot(observation.report, kept)

    async def store_snapshot(self, snapshot: Snapshot, *, subscriber_id: str, origin: str) -> Receipt:
        """Store a snapshot as the report that it is, on a line.

        Parameters
        ----------
        origin
            Kind of the caller that sent it (`device`, `staff`, `system`).

        Raises
        ------
        Unavailable
            It is not stored.
        """
        entry = report_entry(
            snapshot.report,
            snapshot.body,
            subscriber_id=subscriber_id,
            install_id=snapshot.report.install_id or "",
            origin=origin,
            caller_id="",
            received_at=self._clock.now(),
        )
        return await self._commits.submit((entry,))

    def close(self) -> None:
        """Write what waits, take nothing more."""
        self._commits.close()

    def _read_reports(
        self, principal: Principal, body: bytes, content_type: str
    ) -> tuple[list[Entry], list[Reject]]:
        now = self._clock.now()
        parsed = parse_items(body, content_type, self.limits, now)
        rejects = parsed.rejects
        entries: list[Entry] = []
        for item in parsed.items:
            taken = self._entry(principal, item, now)
            if isinstance(taken, Reject):
                rejects.append(taken)
            else:
                entries.append(taken)
        return entries, rejects

    def _entry(self, principal: Principal, item: Observation, now: datetime) -> Entry | Reject:
        report = item.report
        item.body.pop("subscriber", None)
        pointer = f"/{item.index}/subscriber"
        subscriber_id = principal.subscriber_id or ""
        if report.subscriber is not None:
            try:
                named = self._hash(report.subscriber)
            except InvalidInput:
                return Reject(pointer, "bad_number", "Not a telephone number.")
            if principal.kind is PrincipalKind.DEVICE and named != subscriber_id:
                return Reject(
                    pointer, "not_own_line", "A device reports for its own line; leave the number out."
                )
            subscriber_id = named
        install_id = report.install_id or principal.install_id or ""
        if not subscriber_id and not install_id:
            return Reject(
                f"/{item.index}", "nobody", "Name the line (`subscriber`) or the install (`install_id`)."
            )
        return report_entry(
            report,
            item.body,
            subscriber_id=subscriber_id,
            install_id=install_id,
            origin=principal.kind.value,
            caller_id="" if principal.kind is PrincipalKind.DEVICE else principal.id,
            received_at=now,
        )

    def _read_cmcd(self, principal: Principal, body: bytes) -> tuple[list[Entry], list[Reject]]:
        if principal.kind is PrincipalKind.STAFF:
            raise Forbidden("CMCD comes from players and feeds.")
        now = self._clock.now()
        subscriber_id = principal.subscriber_id or ""
        owner = owner_of(subscriber_id, principal.install_id or f"caller:{principal.id}")
        earliest, latest = now - self.limits.late_after, now + self.limits.future_skew
        entries: list[Entry] = []
        rejects: list[Reject] = []
        for line, record in parse_events(body):
            if len(entries) + len(rejects) >= self.limits.max_items:
                raise PayloadTooLarge(
                    f"More than {self.limits.max_items} records.", limit=self.limits.max_items, bound="items"
                )
            try:
                if isinstance(record, CmcdError):
                    raise record
                event = event_of(record)
                if event.at < earliest:
                    raise CmcdError("too_late", "Older than what is still taken", "ts")
                if event.at > latest:
                    raise CmcdError("in_future", "Ahead of the service's clock", "ts")
            except CmcdError as error:
                rejects.append(_reject_of(line, error))
            else:
                entries.append(event_entry(event, owner=owner, subscriber_id=subscriber_id, received_at=now))
        return entries, rejects


def _reject_of(line: int, error: CmcdError) -> Reject:
    pointer = f"/{line}/{error.key}" if error.key else f"/{line}"
    return Reject(pointer, error.code, error.detail + ".")


def _taken(receipt: Receipt, rejects: list[Reject]) -> Taken:
    ordered = sorted(rejects, key=lambda reject: int(reject.pointer.split("/", 2)[1]))
    return Taken(receipt.accepted, receipt.duplicate, ordered, receipt.commit_ms)


async def _near(body: bytes, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read a short body here and a long one in a thread."""
    if len(body) <= INLINE_BYTES:
        return read(*args, **kwargs)
    return await run_blocking(read, *args, **kwargs)
