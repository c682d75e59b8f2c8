"""Brings the tables of the KQI store up to date from the numbered SQL files of `migrations/kqi`.

A file is a list of statements, separated by a line that holds only a semicolon; each is safe to run again, so
that a migration killed half-way is simply started again. A file is recorded, with its checksum, after its
last statement. Files that were applied never change; a changed one is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cem.platform.errors import ConfigurationError, FactStoreError
from cem.platform.facts import FactStore

FOLDER = Path(__file__).resolve().parents[2] / "migrations" / "kqi"

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql\Z")
_CLUSTER = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migrations{on_cluster}
(
    version     UInt32,
    name        String,
    checksum    String,
    applied_at  DateTime64(3, 'UTC')
)
ENGINE = {replicated}ReplacingMergeTree(applied_at)
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file as written (before a cluster's names are filled in), in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self, cluster: str) -> list[str]:
        """The file's statements for one server or for a cluster."""
        filled = fill(self.text, cluster)
        parts = re.split(r"^;[ \t]*$", filled, flags=re.MULTILINE)
        return [part.strip() for part in parts if _has_sql(part)]


@dataclass(frozen=True, slots=True)
class MigrationState:
    """What is applied and what is not."""

    applied: tuple[int, ...]
    pending: tuple[int, ...]

    @property
    def current(self) -> bool:
        """Nothing is left to apply."""
        return not self.pending


def fill(text: str, cluster: str) -> str:
    """Fill `{on_cluster}` and `{replicated}`: nothing, or on a cluster `ON CLUSTER` and `Replicated`.

    A replicated engine without arguments takes the server's `default_replica_path`, which must hold the
    `{database}` or `{uuid}`, `{table}` and `{shard}` macros, as it does by default.

    Raises
    ------
    ConfigurationError
        The cluster's name is not one.
    """
    if cluster and not _CLUSTER.match(cluster):
        raise ConfigurationError("kqi_cluster: letters, digits, '_', '.', '-' only")
    return text.replace("{on_cluster}", f" ON CLUSTER '{cluster}'" if cluster else "").replace(
        "{replicated}", "Replicated" if cluster else ""
    )


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """The numbered files in order.

    Raises
    ------
    ConfigurationError
        A name is not `NNNN_words.sql`, or numbers repeat or leave a gap.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.match(path.name)
        if not match:
            raise ConfigurationError(f"migrations/kqi/{path.name}: a migration is named 0001_words.sql")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ConfigurationError("migrations/kqi: the numbers must count 1, 2, 3, … without a gap")
    return found


def status(store: FactStore, migrations: list[Migration] | None = None) -> MigrationState:
    """What is applied and what is pending; changes nothing.

    Raises
    ------
    ConfigurationError
        An applied file was changed since, or the store is newer than this program.
    """
    wanted = read_migrations() if migrations is None else migrations
    applied = _applied(store)
    for migration in wanted:
        checksum = applied.get(migration.version)
        if checksum is not None and checksum != migration.checksum:
            raise ConfigurationError(
                f"migrations/kqi/{migration.version:04d}_{migration.name}.sql: changed after it was applied"
            )
    unknown = set(applied) - {migration.version for migration in wanted}
    if unknown:
        raise ConfigurationError(f"The KQI store is newer than this program: it has migration {max(unknown)}")
    return MigrationState(
        applied=tuple(sorted(applied)),
        pending=tuple(m.version for m in wanted if m.version not in applied),
    )


def migrate(store: FactStore, at: datetime, migrations: list[Migration] | None = None) -> list[int]:
    """Apply what is pending, in order; safe to kill, to repeat and to run twice at once.

    Returns the numbers of the files that it applied.

    Raises
    ------
    ConfigurationError
        As `status`.
    FactStoreError
        A statement failed; what came before it stays applied.
    """
    wanted = read_migrations() if migrations is None else migrations
    store.execute(fill(_HISTORY, store.cluster))
    pending = set(status(store, wanted).pending)
    done = []
    for migration in wanted:
        if migration.version not in pending:
            continue
        for statement in migration.statements(store.cluster):
            store.execute(statement)
        row = {
            "version": migration.version,
            "name": migration.name,
            "checksum": migration.checksum,
            "applied_at": at.isoformat(timespec="milliseconds"),
        }
        store.insert("schema_migrations", json.dumps(row).encode() + b"\n", "JSONEachRow")
        done.append(migration.version)
    return done


def _applied(store: FactStore) -> dict[int, str]:
    try:
        exists = store.rows(
            "SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'schema_migrations'"
        )
        if not exists:
            return {}
        rows = store.rows("SELECT version, checksum FROM schema_migrations FINAL")
    except FactStoreError as error:
        raise FactStoreError(f"The state of the KQI store's tables cannot be read. {error.detail}") from error
    return {int(row["version"]): str(row["checksum"]) for row in rows}


def _has_sql(part: str) -> bool:
    return any(line.strip() and not line.strip().startswith("--") for line in part.splitlines())
