"""Alembic's environment: one history for SQLite and PostgreSQL.

`cem migrate` calls it with a connection in `config.attributes`; nothing here reads settings.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from migrations.tables import whole_metadata


def run(connection: Connection) -> None:
    """Apply on the connection given; on SQLite tables are rebuilt where ALTER cannot do it."""
    context.configure(
        connection=connection,
        target_metadata=whole_metadata(),
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
