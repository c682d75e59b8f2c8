"""Signing in and out: throttled logins, sessions with two expiries, password changes by their owner."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from cem.access import repository
from cem.access.audit import AuditLog
from cem.access.credentials import Credential, CredentialKind
from cem.access.models import StaffSession, StaffUser
from cem.access.passwords import Passwords, check_new_password
from cem.access.throttle import PER_ADDRESS, PER_USER, ThrottleRule, count_attempt, take_back, wait_s
from cem.platform.clock import Clock
from cem.platform.db import Database
from cem.platform.errors import Forbidden, TooManyRequests, Unauthenticated
from cem.platform.observe import get_logger
from cem.platform.security import Principal, PrincipalKind, Role, equal_secrets, permissions_of

_log = get_logger(__name__)


@dataclass(frozen=True)
class SessionPolicy:
    """How long a session lasts and how often a login may fail. Chosen here: one shift, one lunch break."""

    absolute: timedelta = timedelta(hours=12)
    idle: timedelta = timedelta(hours=1)
    per_user: ThrottleRule = PER_USER
    per_address: ThrottleRule = PER_ADDRESS


@dataclass(frozen=True)
class OpenedSession:
    """A session just opened; the only time that its token exists in clear."""

    token: str = field(repr=False)
    expires_at: datetime
    principal: Principal


def staff_principal(user: StaffUser) -> Principal:
    """The principal of a member of staff, with what the roles give."""
    roles = frozenset(Role(role) for role in user.roles)
    return Principal(
        kind=PrincipalKind.STAFF,
        id=user.id,
        roles=roles,
        permissions=permissions_of(roles),
        display=user.name,
    )


USER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}[a-z0-9]")
"""What a user is called; nothing else is ever looked for."""


def normal_name(name: str) -> str:
    """One spelling of a user name."""
    return name.strip().casefold()


class SessionService:
    """Sessions of staff. Every method blocks (argon2, the store): call it in a thread.

    `forget` drops what this process remembers of credentials; it runs after every change that ends one.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        audit: AuditLog,
        passwords: Passwords,
        *,
        policy: SessionPolicy | None = None,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._audit = audit
        self._passwords = passwords
        self._policy = policy or SessionPolicy()
        self._forget = forget

    def login(self, name: str, password: str, address: str) -> OpenedSession:
        """Open a session.

        Unknown name, wrong password and disabled user look alike and take the same time.

        Raises
        ------
        Unauthenticated
            where the login does not hold.
        TooManyRequests
            with the wait, where this name or address has failed too often.
        """
        name = normal_name(name)
        self._count(name, address)
        with self._database.read() as session:
            user = repository.user_by_name(session, name) if USER_NAME.fullmatch(name) else None
            user_id = None if user is None else user.id
            stored = None if user is None or user.disabled_at else user.password_hash
        verification = self._passwords.verify(stored, password)
        if user_id is None or stored is None or not verification.fits:
            self._audit.record(None, "staff.login", user_id or "unknown", "refused")
            raise Unauthenticated("name or password is not right")
        return self._open(user_id, stored, address, renewed_hash=verification.renewed_hash)

    def _open(self, user_id: str, verified: str, address: str, *, renewed_hash: str | None) -> OpenedSession:
        credential = Credential.new(CredentialKind.SESSION)
        now = self._clock.now()
        with self._database.write() as session:
            current = repository.user_by_id(session, user_id)
            if current is None or current.disabled_at or current.password_hash != verified:
                raise Unauthenticated("name or password is not right")  # changed while we were hashing
            if renewed_hash is not None:
                current.password_hash = renewed_hash
            self._take_back(session, current.name, address)
            repository.end_expired_sessions(session, now)
            opened = StaffSession(
                id=credential.id,
                user_id=user_id,
                secret_hash=credential.secret_hash,
                created_at=now,
                last_seen_at=now,
                expires_at=now + self._policy.absolute,
            )
            session.add(opened)
            principal = staff_principal(current)
            self._audit.record_in(session, principal, "staff.login", user_id)
        return OpenedSession(credential.text, now + self._policy.absolute, principal)

    def logout(self, token: str) -> None:
        """End the session of this token; one that is gone already is fine."""
        credential = Credential.parse(token)
        if credential is None or credential.kind is not CredentialKind.SESSION:
            return
        with self._database.write() as session:
            found = repository.session_with_user(session, credential.id)
            if found is None or not equal_secrets(found[0].secret_hash, credential.secret_hash):
                return
            repository.end_session(session, credential.id)
            self._audit.record_in(session, staff_principal(found[1]), "staff.logout", found[1].id)
        self._forget()

    def change_password(
        self, principal: Principal, current: str, new: str, *, address: str, keep_token: str | None = None
    ) -> None:
        """Change one's own password; every other session of the user ends.

        Raises
        ------
        Forbidden
            where the current password does not fit, or the caller is no member of staff.
        TooManyRequests
            after too many wrong ones.
        InvalidInput
            where the new password is too weak.
        """
        if principal.kind is not PrincipalKind.STAFF:
            raise Forbidden("only staff have passwords")
        check_new_password(new, principal.display, pointer="/new_password")
        self._count(principal.display, address)
        with self._database.read() as session:
            user = repository.user_by_id(session, principal.id)
            stored = None if user is None else user.password_hash
        if stored is None or not self._passwords.verify(stored, current).fits:
            self._audit.record(principal, "staff.change_password", principal.id, "refused")
            raise Forbidden("the current password is not right")
        hashed = self._passwords.hash(new)
        keep = Credential.parse(keep_token) if keep_token else None
        with self._database.write() as session:
            row = repository.user_by_id(session, principal.id)
            if row is None or row.disabled_at or row.password_hash != stored:
                raise Forbidden("the current password is not right")
            row.password_hash = hashed
            row.password_changed_at = self._clock.now()
            self._take_back(session, row.name, address)
            repository.end_sessions_of(session, row.id, but=keep.id if keep else None)
            self._audit.record_in(session, principal, "staff.change_password", row.id)
        self._forget()

    def _count(self, name: str, address: str) -> None:
        now = self._clock.now()
        rules = self._rules(name, address)
        with self._database.write() as session:
            rows = repository.lock_attempts(session, rules, now)
            waits = [wait_s(repository.attempts_of(row), now) for row in rows.values()]
            wait = max((each for each in waits if each is not None), default=None)
            if wait is None:
                for subject, row in rows.items():
                    attempts = count_attempt(repository.attempts_of(row), now, rules[subject])
                    repository.store_attempts(row, attempts)
                repository.prune_attempts(session, now)
        if wait is not None:
            _log.warning("login_throttled", wait_s=wait)  # not audited: the flood would only move there
            raise TooManyRequests("too many failed logins; wait before the next", retry_after_s=wait)

    def _take_back(self, session: Session, name: str, address: str) -> None:
        rules = self._rules(name, address)
        rows = repository.lock_attempts(session, rules, self._clock.now())
        repository.forget_attempts(session, _subject("user", name))
        by_address = _subject("address", address)
        row = rows[by_address]
        counted = repository.attempts_of(row)
        if counted is not None:
            repository.store_attempts(row, take_back(counted, rules[by_address]))

    def _rules(self, name: str, address: str) -> dict[str, ThrottleRule]:
        return {
            _subject("user", name): self._policy.per_user,
            _subject("address", address): self._policy.per_address,
        }


def _subject(what: str, value: str) -> str:
    return hashlib.sha256(f"{what}\x00{value}".encode()).hexdigest()
