"""`cem migrate`: both stores, one command."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from cem.platform.db import Database
from cem.platform.errors import ConfigurationError
from cem.platform.facts import FactStore, open_facts
from cem.platform.facts_migrate import migrate as migrate_facts
from cem.platform.facts_migrate import status as facts_status
from cem.platform.settings import Settings
from migrations import operational


def migrate(settings: Settings) -> list[str]:
    """Bring both stores to the newest revision; says what was done."""
    database = Database(settings.resolved_database_url())
    try:
        facts = open_facts(settings.resolved_kqi_url(), connections=1, cluster=settings.kqi_cluster)
        try:
            return migrate_stores(database, facts)
        finally:
            facts.close()
    finally:
        database.close()


def migrate_stores(database: Database, facts: FactStore) -> list[str]:
    """The same on stores that are open already."""
    before, _ = operational.current_and_head(database)
    operational.upgrade(database)
    after, _ = operational.current_and_head(database)
    said = f"operational store: {after}" + ("" if before == after else f" (was {before or 'empty'})")
    applied = migrate_facts(facts, datetime.now(UTC))
    numbers = ", ".join(f"{item:04d}" for item in facts_status(facts).applied)
    return [said, f"KQI store: {numbers}" + (f" ({len(applied)} new)" if applied else "")]


def status(settings: Settings) -> list[str]:
    """What is applied in both stores, and what is not."""
    database = Database(settings.resolved_database_url())
    try:
        at, head = operational.current_and_head(database)
        lines = [f"operational store: {at or 'empty'}" + ("" if at == head else f", newest is {head}")]
        facts = open_facts(settings.resolved_kqi_url(), connections=1, cluster=settings.kqi_cluster)
        try:
            state = facts_status(facts)
        finally:
            facts.close()
        pending = f", {len(state.pending)} to apply" if state.pending else ""
        return [*lines, f"KQI store: {len(state.applied)} applied{pending}"]
    finally:
        database.close()


def operational_revisions(settings: Settings) -> tuple[str | None, str | None]:
    """The revision that the operational store is at, and the newest one."""
    database = Database(settings.resolved_database_url())
    try:
        return operational.current_and_head(database)
    finally:
        database.close()


def pending_facts(facts: FactStore) -> tuple[int, ...]:
    """Numbers of the KQI migrations that are not applied."""
    return facts_status(facts).pending


def require_tables(database: Database) -> None:
    """Refuse an operational store that is behind (or ahead of) this version. Raises ConfigurationError."""
    at, head = operational.current_and_head(database)
    if at != head:
        raise ConfigurationError(
            f"database_url: the store is at {at or 'nothing'}, not {head}; run cem migrate"
        )


def require_current(database: Database, facts: FactStore) -> None:
    """Refuse to run on stores that are behind (or ahead of) this version.

    Raises
    ------
    ConfigurationError
        Saying which store, where it is, and to run `cem migrate`.
    """
    at, head = operational.current_and_head(database)
    if at != head:
        raise ConfigurationError(
            f"database_url: the store is at {at or 'nothing'}, not {head}; run cem migrate"
        )
    pending = facts_status(facts).pending
    if pending:
        raise ConfigurationError(f"kqi_url: {len(pending)} migrations are not applied; run cem migrate")


def check_in_step() -> list[str]:
    """Apply everything to stores made for it; what then differs from the models, a line each."""
    with tempfile.TemporaryDirectory(prefix="cem-migrate-") as folder:
        database = Database(f"sqlite:///{Path(folder) / 'check.sqlite3'}")
        try:
            operational.upgrade(database)
            return operational.differences(database)
        finally:
            database.close()
