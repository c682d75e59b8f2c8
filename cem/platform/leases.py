"""One worker at a time: a lease is a row with a holder and an end.

A holder that dies keeps the others out only until its lease ends. A lease does not make a job safe (clocks
differ, a holder may be slow): jobs are safe by their keys, leases only save doing them twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import String, or_, update
from sqlalchemy.orm import Mapped, mapped_column

from cem.platform.clock import Clock
from cem.platform.db import Base, Database, insert_ignore


class JobLease(Base):
    """Who may do a job until when."""

    __tablename__ = "job_leases"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    holder: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[datetime]


def lease(database: Database, name: str, holder: str, ttl: timedelta, clock: Clock) -> bool:
    """Take or renew the lease `name` for `holder`. True if it is now the holder's until `now + ttl`."""
    now = clock.now()
    row = {"name": name, "holder": holder, "expires_at": now + ttl}
    with database.write() as session:
        if insert_ignore(session, JobLease.__table__, [row]):  # type: ignore[arg-type]
            return True
        taken = session.execute(
            update(JobLease)
            .where(JobLease.name == name, or_(JobLease.holder == holder, JobLease.expires_at <= now))
            .values(holder=holder, expires_at=now + ttl)
            .returning(JobLease.name)
        )
        return taken.first() is not None


def release(database: Database, name: str, holder: str, clock: Clock) -> None:
    """Give the lease back at once, if `holder` has it."""
    with database.write() as session:
        session.execute(
            update(JobLease)
            .where(JobLease.name == name, JobLease.holder == holder)
            .values(expires_at=clock.now())
        )
