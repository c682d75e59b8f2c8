"""All SQL of staff, sessions, keys and login attempts. Functions take the caller's session; nobody commits here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import Table, delete, select, update
from sqlalchemy.orm import Session

from cem.access.models import ApiKey, LoginAttempts, StaffSession, StaffUser
from cem.access.throttle import Attempts
from cem.platform.db import insert_ignore
from cem.platform.security import Role

ATTEMPTS_KEPT = timedelta(days=1)
"""Rows of login attempts older than this are removed. Longer than any wait."""


@dataclass(frozen=True)
class NewUser:
    """What a user's row starts with."""

    id: str
    name: str
    display_name: str
    password_hash: str
    roles: frozenset[Role]
    at: datetime


def add_user(session: Session, new: NewUser) -> bool:
    """Insert the user. False where the name is taken, whoever came first."""
    row = {
        "id": new.id,
        "name": new.name,
        "display_name": new.display_name,
        "password_hash": new.password_hash,
        "roles": sorted(new.roles),
        "created_at": new.at,
        "password_changed_at": new.at,
        "disabled_at": None,
    }
    return insert_ignore(session, cast(Table, StaffUser.__table__), [row]) == 1


def has_users(session: Session) -> bool:
    """Whether any member of staff exists, disabled ones too."""
    return session.scalar(select(StaffUser.id).limit(1)) is not None


def user_by_name(session: Session, name: str) -> StaffUser | None:
    """The user with this name, disabled or not."""
    return session.scalar(select(StaffUser).where(StaffUser.name == name))


def user_by_id(session: Session, user_id: str) -> StaffUser | None:
    """The user with this id, disabled or not."""
    return session.get(StaffUser, user_id)


def lock_users(session: Session) -> Sequence[StaffUser]:
    """Every user, locked against change until the transaction ends (the table is one of people, not of lines)."""
    return session.scalars(select(StaffUser).order_by(StaffUser.id).with_for_update()).all()


def users_page(session: Session, *, limit: int, after: str | None) -> Sequence[StaffUser]:
    """Users by name, from behind `after`."""
    query = select(StaffUser).order_by(StaffUser.name).limit(limit)
    if after is not None:
        query = query.where(StaffUser.name > after)
    return session.scalars(query).all()


def session_with_user(session: Session, session_id: str) -> tuple[StaffSession, StaffUser] | None:
    """An open session and whose it is, in one query."""
    query = (
        select(StaffSession, StaffUser)
        .join(StaffUser, StaffUser.id == StaffSession.user_id)
        .where(StaffSession.id == session_id)
    )
    row = session.execute(query).first()
    return None if row is None else (row[0], row[1])


def touch_session(session: Session, session_id: str, at: datetime) -> None:
    """Remember that the session was used."""
    session.execute(update(StaffSession).where(StaffSession.id == session_id).values(last_seen_at=at))


def end_session(session: Session, session_id: str) -> str | None:
    """Remove a session; whose it was, None where it was gone."""
    query = delete(StaffSession).where(StaffSession.id == session_id).returning(StaffSession.user_id)
    return session.execute(query).scalar()


def end_sessions_of(session: Session, user_id: str, *, but: str | None = None) -> None:
    """Remove every session of a user, except one."""
    query = delete(StaffSession).where(StaffSession.user_id == user_id)
    if but is not None:
        query = query.where(StaffSession.id != but)
    session.execute(query)


def end_expired_sessions(session: Session, now: datetime) -> None:
    """Remove what has expired anyway."""
    session.execute(delete(StaffSession).where(StaffSession.expires_at <= now))


def key_by_id(session: Session, key_id: str) -> ApiKey | None:
    """The API key with this id, revoked or not."""
    return session.get(ApiKey, key_id)


def keys_page(session: Session, *, limit: int, after: str | None) -> Sequence[ApiKey]:
    """Keys by id, from behind `after`."""
    query = select(ApiKey).order_by(ApiKey.id).limit(limit)
    if after is not None:
        query = query.where(ApiKey.id > after)
    return session.scalars(query).all()


def lock_attempts(session: Session, subjects: Iterable[str], now: datetime) -> dict[str, LoginAttempts]:
    """The rows of these subjects, made where missing and locked, always in one order."""
    wanted = sorted(subjects)
    rows = [{"subject": subject, "failures": 0, "last_at": now, "blocked_until": None} for subject in wanted]
    insert_ignore(session, cast(Table, LoginAttempts.__table__), rows)
    query = (
        select(LoginAttempts)
        .where(LoginAttempts.subject.in_(wanted))
        .order_by(LoginAttempts.subject)
        .with_for_update()
    )
    return {row.subject: row for row in session.scalars(query)}


def attempts_of(row: LoginAttempts) -> Attempts | None:
    """What the row says; None where nothing was counted yet."""
    return Attempts(row.failures, row.last_at, row.blocked_until) if row.failures else None


def store_attempts(row: LoginAttempts, attempts: Attempts) -> None:
    """Write the new state into the locked row."""
    row.failures, row.last_at, row.blocked_until = attempts.failures, attempts.last_at, attempts.blocked_until


def forget_attempts(session: Session, subject: str) -> None:
    """Clear the failures of one subject (its row stays, so that whoever waits on its lock still finds it)."""
    session.execute(
        update(LoginAttempts).where(LoginAttempts.subject == subject).values(failures=0, blocked_until=None)
    )


def prune_attempts(session: Session, now: datetime) -> None:
    """Remove some rows that nothing depends on any more, leaving out those that another login holds."""
    stale = (
        select(LoginAttempts.subject)
        .where(LoginAttempts.last_at < now - ATTEMPTS_KEPT)
        .limit(100)
        .with_for_update(skip_locked=True)
    )
    session.execute(delete(LoginAttempts).where(LoginAttempts.subject.in_(session.scalars(stale).all())))


def count_active_administrators(session: Session) -> int:
    """Administrators that can sign in. [1]"""
    users = session.scalars(select(StaffUser).where(StaffUser.disabled_at.is_(None))).all()
    return sum(Role.ADMINISTRATOR.value in user.roles for user in users)
