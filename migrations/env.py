"""Alembic's environment: one history for SQLite and PostgreSQL.

`cem migrate` calls it with a connection in `config.attributes`; nothing here reads settings.
"""

from __future__ import annotations

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from cem.platform.db import JSONDocument, UTCDateTime
from migrations.tables import whole_metadata


def _render(kind: str, item: object, context: AutogenContext) -> str | Literal[False]:
    """Write our own column types by name; everything else as Alembic does."""
    name = (
        "UTCDateTime()" if isinstance(item, UTCDateTime) else "JSONDocument" if item is JSONDocument else None
    )
    if kind != "type" or name is None:
        return False
    context.imports.add("from cem.platform.db import JSONDocument, UTCDateTime")
    return name


def run(connection: Connection) -> None:
    """Apply on the connection given; on SQLite tables are rebuilt where ALTER cannot do it."""
    context.configure(
        connection=connection,
        target_metadata=whole_metadata(),
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=_render,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
