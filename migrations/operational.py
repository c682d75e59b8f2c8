"""Brings the operational store to the newest revision; any number of processes may ask for it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from cem.platform.db import Database
from migrations.tables import whole_metadata

_FOLDER = Path(__file__).parent
_ADVISORY_LOCK = 0x63656D  # "cem": PostgreSQL's lock for one migration at a time


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """A transaction that no other migration shares: it commits whole or not at all on both dialects."""
    with database.engine.connect() as connection:
        if database.dialect == "sqlite":
            # A table may be rebuilt; foreign keys are checked again before the commit.
            _outside_transaction(connection, "PRAGMA foreign_keys=OFF")
        with connection.begin():
            if database.dialect == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection
            if database.dialect == "sqlite":
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                if broken:
                    raise RuntimeError(f"the migration leaves {len(broken)} dangling references")
        if database.dialect == "sqlite":
            _outside_transaction(connection, "PRAGMA foreign_keys=ON")


def _outside_transaction(connection: Connection, statement: str) -> None:
    """SQLite ignores this pragma inside a transaction, so it goes past SQLAlchemy, which would begin one."""
    raw = connection.connection.driver_connection
    assert raw is not None
    raw.execute(statement)


def upgrade(database: Database, revision: str = "head") -> None:
    """Apply every revision that is missing, in one transaction."""
    with _alone(database) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Go back to a revision (`base`: to nothing)."""
    with _alone(database) as connection:
        command.downgrade(_config(connection), revision)


def current_and_head(database: Database) -> tuple[str | None, str | None]:
    """The revision the store is at, and the newest one."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision(), head


def differences(database: Database) -> list[str]:
    """What the migrated store lacks or has beyond the models; empty when they are in step."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return [str(item) for item in compare_metadata(context, whole_metadata())]


def new_revision(database: Database, message: str, number: str) -> None:
    """Write a revision with what differs (for developers)."""
    with _alone(database) as connection:
        command.revision(_config(connection), message=message, autogenerate=True, rev_id=number)
