"""The operational store: SQLAlchemy 2 on SQLite (WAL) or PostgreSQL, chosen by URL.

One transaction is one `with database.write() as session`. Services flush; only that block commits, and it
commits before an answer goes out. On SQLite a writing transaction takes the write lock at its start
(`BEGIN IMMEDIATE`), so that it never fails half-way on an upgrade of its lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Engine, MetaData, Table, create_engine, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

from cem.platform.errors import ConfigurationError

BUSY_TIMEOUT_MS = 15_000
"""How long a SQLite writer waits for another one. Chosen here: below the 20 s outermost deadline."""

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps it as text without a zone, PostgreSQL as `timestamptz`."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time; keep UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time must be aware")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give an aware UTC time back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JSONDocument = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON value: `jsonb` on PostgreSQL, JSON text on SQLite."""


class Base(DeclarativeBase):
    """Root of every table; names its constraints, so that migrations can speak of them on both dialects."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UTCDateTime(), dict[str, Any]: JSONDocument, list[Any]: JSONDocument}  # noqa: RUF012


def new_id(prefix: str) -> str:
    """A new identifier: `prefix_` and 26 characters that sort by time of making.

    48 bits of milliseconds and 80 random bits, laid out as a ULID (base 32 without i, l, o, u), lower case.
    """
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return prefix + "_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def parse_database_url(url: str) -> URL:
    """The URL as SQLAlchemy understands it, with the driver this service uses.

    Raises
    ------
    ConfigurationError
        Not a URL, or a database other than SQLite and PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError("database_url: not a URL; give sqlite:///… or postgresql://…") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigurationError("database_url: SQLite needs a file: what is accepted must be on disk")
        return parsed.set(drivername="sqlite+pysqlite")
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigurationError(f"database_url: {backend} is not taken; give sqlite:///… or postgresql://…")


class Database:
    """The operational store behind one URL.

    Parameters
    ----------
    url
        `sqlite:///path` or `postgresql://user:password@host/database`.
    pool_size
        Connections kept to PostgreSQL. [1]
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = parse_database_url(url)
        self.dialect: str = self.url.get_backend_name()
        if self.dialect == "sqlite":
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(
                self.url,
                hide_parameters=True,  # a bound value may be a number or a secret's hash: never in an error's text
                connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
            )
            _prepare_sqlite(self.engine)
        else:
            self.engine = create_engine(
                self.url,
                hide_parameters=True,
                pool_size=pool_size,
                max_overflow=pool_size,
                pool_pre_ping=True,
                connect_args={"connect_timeout": 5, "options": "-c timezone=utc -c lock_timeout=15000"},
            )
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading; whatever it did is rolled back at the end."""
        with self._sessions() as session:
            if self.dialect == "sqlite":
                session.connection(execution_options={"cem_begin": "DEFERRED"})
            try:
                yield session
            finally:
                session.rollback()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed when the block ends well, rolled back when it raises."""
        with self._sessions() as session:
            if self.dialect == "sqlite":
                session.connection(execution_options={"cem_begin": "IMMEDIATE"})
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise

    def ping(self) -> None:
        """Raise if the store does not answer."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def insert_ignore(session: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows; leave out those that a unique constraint already has. Returns how many went in."""
    if not rows:
        return 0
    dialect = session.get_bind().dialect.name
    make = postgresql_insert if dialect == "postgresql" else sqlite_insert
    statement = make(table).on_conflict_do_nothing().returning(*table.primary_key.columns)
    return len(session.execute(statement, [dict(row) for row in rows]).all())


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # a commit is on disk, whatever happens next
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        mode = connection.get_execution_options().get("cem_begin", "IMMEDIATE")
        connection.exec_driver_sql(f"BEGIN {mode}")
