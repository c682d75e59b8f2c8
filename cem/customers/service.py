"""Subscribers: remembered by a keyed hash, looked up by number, and never without a trace.

Methods block: call them in a thread. A look-up is in the audit log, on disk, before its answer exists;
where the log cannot be written there is no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cem.customers import repository
from cem.customers.ports import ActivityPort, AuditPort, LatestActivity
from cem.platform.clock import Clock
from cem.platform.db import Database
from cem.platform.errors import Forbidden, InvalidInput, NotFound
from cem.platform.security import (
    NumberCipher,
    NumberHasher,
    Principal,
    PrincipalKind,
    mask_number,
)

SHORTEST_REASON = 8
"""Characters of a reason to see a number. Chosen here: rules out "x", not a ticket's id."""

REENCRYPTED_AT_ONCE = 500
"""Rows re-encrypted in one transaction [1]: some 10 ms of a write lock."""


@dataclass(frozen=True)
class Provisioned:
    """What the operator's own systems say of a line."""

    number: str = field(repr=False)
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Rejected:
    """One item that was not taken."""

    pointer: str
    reason: str


@dataclass(frozen=True)
class Upserted:
    """Outcome of a batch. New and changed lines count as accepted."""

    accepted: int
    created: int
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True)
class FoundCustomer:
    """What a look-up answers."""

    subscriber_id: str
    number_masked: str
    attributes: Mapping[str, Any]
    known_since: datetime | None
    latest: LatestActivity


class CustomersService:
    """Keeps subscribers and answers look-ups."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        hasher: NumberHasher,
        cipher: NumberCipher,
        audit: AuditPort,
        activity: ActivityPort,
    ) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher
        self._cipher = cipher
        self._audit = audit
        self._activity = activity

    def remember(self, number: str) -> str:
        """Keep the number, encrypted, if it is new; its subscriber_id.

        Raises
        ------
        InvalidInput
            at `/number`, where it is none.
        """
        normal = self._hasher.normalise(number, pointer="/number")
        subscriber_id = self._hasher.of_normal(normal)
        with self._database.read() as session:
            if repository.known(session, [subscriber_id]):
                return subscriber_id
        new = self._new(normal, subscriber_id)
        with self._database.write() as session:
            repository.add_missing(session, [new])
        return subscriber_id

    def upsert(self, items: Iterable[Provisioned]) -> Upserted:
        """Create lines and set their attributes; an attribute set to None is removed.

        Bad items are named and left out; the good ones go in together.
        """
        changes: dict[str, dict[str, Any]] = {}
        normals: dict[str, str] = {}
        rejected: list[Rejected] = []
        accepted = 0
        for index, item in enumerate(items):
            pointer = f"/customers/{index}/number"
            try:
                normal = self._hasher.normalise(item.number, pointer=pointer)
            except InvalidInput as error:
                rejected.append(Rejected(pointer, error.detail))
                continue
            subscriber_id = self._hasher.of_normal(normal)
            normals[subscriber_id] = normal
            changes.setdefault(subscriber_id, {}).update(item.attributes)
            accepted += 1
        with self._database.read() as session:
            there = repository.known(session, normals)
        missing = [self._new(normal, each) for each, normal in normals.items() if each not in there]
        with self._database.write() as session:
            created = repository.add_missing(session, missing)
            with_attributes = {each: attributes for each, attributes in changes.items() if attributes}
            repository.merge_attributes(session, with_attributes, self._clock.now())
        return Upserted(accepted, created, tuple(rejected))

    def lookup(self, principal: Principal, number: str) -> FoundCustomer:
        """What is known of the line with this number.

        Raises
        ------
        InvalidInput
            at `/number`, where it is none.
        NotFound
            where nothing was ever heard of the line; audited too.
        """
        normal = self._hasher.normalise(number, pointer="/number")
        subscriber_id = self._hasher.of_normal(normal)
        with self._database.read() as session:
            row = repository.by_id(session, subscriber_id)
            attributes = dict(row.attributes) if row else {}
            known_since = row.created_at if row else None
        latest = self._activity.latest(subscriber_id)
        found = known_since is not None or latest.seen
        self._audit.record(principal, "customers.lookup", subscriber_id, "ok" if found else "not_found")
        if not found:
            raise NotFound("nothing is known of this line")
        return FoundCustomer(subscriber_id, mask_number(normal), attributes, known_since, latest)

    def reveal(self, principal: Principal, subscriber_id: str, reason: str) -> str:
        """The number in clear, for a member of staff who says why.

        Raises
        ------
        Forbidden
            for callers that are not staff.
        InvalidInput
            at `/reason`, where it says too little.
        NotFound
            where no number is kept of the line; audited too.
        """
        if principal.kind is not PrincipalKind.STAFF:
            raise Forbidden("only staff see a number")
        if len(reason.strip()) < SHORTEST_REASON:
            raise InvalidInput(f"say why, in at least {SHORTEST_REASON} characters", pointer="/reason")
        with self._database.read() as session:
            row = repository.by_id(session, subscriber_id)
            stored = None if row is None else row.number_encrypted
        if stored is None:
            self._audit.record(principal, "customers.reveal", subscriber_id, "not_found", reason=reason)
            raise NotFound("no number is kept of this line")
        self._audit.record(principal, "customers.reveal", subscriber_id, reason=reason)
        return self._cipher.decrypt(stored, subscriber_id)

    def attributes_of(self, subscriber_id: str) -> Mapping[str, Any]:
        """What was provisioned of a line (such as `provisioned_apn`, `plan`); empty where nothing is known."""
        with self._database.read() as session:
            row = repository.by_id(session, subscriber_id)
            return {} if row is None else dict(row.attributes)

    def masked(self, subscriber_ids: Iterable[str]) -> Mapping[str, str]:
        """Masked number of each of these lines whose number is kept."""
        with self._database.read() as session:
            return repository.masked_numbers(session, subscriber_ids)

    def reencrypt(self, limit: int = REENCRYPTED_AT_ONCE) -> int:
        """Bring some rows to the current cipher key; how many were. Zero means that old keys can go."""
        with self._database.write() as session:
            rows = repository.encrypted_with_another_key(session, self._cipher.key_id, limit)
            for row in rows:
                number = self._cipher.decrypt(row.number_encrypted, row.subscriber_id)
                row.number_encrypted = self._cipher.encrypt(number, row.subscriber_id)
                row.key_id = self._cipher.key_id
            return len(rows)

    def _new(self, normal: str, subscriber_id: str) -> repository.NewSubscriber:
        return repository.NewSubscriber(
            subscriber_id=subscriber_id,
            number_encrypted=self._cipher.encrypt(normal, subscriber_id),
            number_masked=mask_number(normal),
            key_id=self._cipher.key_id,
            at=self._clock.now(),
        )
