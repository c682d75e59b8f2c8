"""The KQI store: one interface, two engines that speak one SQL.

`chdb:` is the ClickHouse engine inside this process (one process per data folder); `clickhouse:` is a
server or a cluster. What holds for both:

- Parameters are bound by the engine: `{name:Type}` in the SQL, never text put together by us.
- Instants are written and compared as `DateTime64(3, 'UTC')`, windows as `DateTime64(0, 'UTC')`: these come
  back as aware times. A plain `DateTime` comes back as a number, so no table or query of ours returns one.
- An insert returns when its rows are on disk. One insert is one block: it is there whole or not at all, as
  long as it touches one partition (one day); a retry of the same rows collapses, because every table
  replaces by key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa

from cem.platform.errors import ConfigurationError, FactStoreError

InsertFormat = Literal["JSONEachRow", "ArrowStream"]

QUERY_TIMEOUT_S = 10.0
"""Longest time of one read. Chosen here: half of the outermost deadline of a self-check (20 s)."""
EXECUTE_TIMEOUT_S = 120.0
"""Longest time of one statement that changes the store (a cube's rebuild, a migration). Chosen here."""
CONNECTIONS = 12
"""Statements that run at the same time. [1] Chosen here: writers and background jobs take five, so that a burst of
reads by self-checks and consoles does not keep an insert waiting."""
MAX_INSERT_BYTES = 64 * 1024 * 1024
"""Largest body of one insert. [B] Chosen here: far below the engine's block size, so that an insert is one
part."""

NO_PARAMS: Final[Mapping[str, Any]] = MappingProxyType({})

ENGINE_SETTINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "async_insert": "0",  # the answer must wait for the disk
        "date_time_input_format": "best_effort",  # RFC 3339 with offset
        "session_timezone": "UTC",
        "input_format_skip_unknown_fields": "0",  # a misspelt column is an error, not a lost value
        "input_format_parallel_parsing": "0",  # one reader, one block
        "min_insert_block_size_rows": "10000000",
        "min_insert_block_size_bytes": "1000000000",
        "output_format_arrow_string_as_string": "1",
        "output_format_arrow_fixed_string_as_fixed_byte_array": "0",
        "output_format_arrow_compression_method": "none",
    }
)
"""Set on every connection to either engine, so that one SQL means one thing."""

_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,63}\Z")


class FactStore(Protocol):
    """What rooms know of the KQI store. Every call blocks: off the event loop only. Safe to call from many
    threads.

    Every method raises `FactStoreError` when the store is away, refuses or is not done in time; then an
    insert has left nothing behind, or (only when the answer itself was lost) everything.
    """

    cluster: str
    """Name of the cluster that tables are made on; empty: one machine."""

    def insert(self, table: str, body: bytes, fmt: InsertFormat) -> None:
        """Insert one block; return when it is on disk."""
        ...

    def query(
        self, sql: str, params: Mapping[str, Any] = NO_PARAMS, *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> pa.Table:
        """Run a read; the result as columns."""
        ...

    def rows(
        self, sql: str, params: Mapping[str, Any] = NO_PARAMS, *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> list[dict[str, Any]]:
        """Run a read; the result as rows, times aware, maps as dictionaries."""
        ...

    def execute(
        self, sql: str, params: Mapping[str, Any] = NO_PARAMS, *, timeout_s: float = EXECUTE_TIMEOUT_S
    ) -> None:
        """Run a statement that returns nothing (definitions, `INSERT … SELECT`)."""
        ...

    def close(self) -> None:
        """Give back connections; the store is not usable after."""
        ...


def open_facts(url: str, *, connections: int = CONNECTIONS, cluster: str = "") -> FactStore:
    """Open the KQI store.

    Parameters
    ----------
    url
        `chdb:///relative/folder`, `chdb:////absolute/folder` (as SQLite's URLs), or
        `clickhouse://user:password@host:port/database`; `clickhouses://…` for TLS, where `?ca_cert=file.pem`
        names the authority that signed the server's certificate.
    connections
        Statements that run at the same time. [1]
    cluster
        Name of the ClickHouse cluster that tables are made on; empty: a single server.

    Raises
    ------
    ConfigurationError
        The URL is not one of these, or the folder cannot be used.
    FactStoreError
        Another process holds the folder, or the server does not answer.
    """
    parts = urlsplit(url)
    if parts.scheme == "chdb":
        from cem.platform.facts_chdb import ChdbFacts  # noqa: PLC0415 - loads a 500 MB library

        path = unquote(parts.path)[1:]
        if parts.netloc or not path:
            raise ConfigurationError(
                "kqi_url: a chDB folder is written chdb:///relative/folder or chdb:////absolute/folder"
            )
        if cluster:
            raise ConfigurationError("kqi_cluster: chDB is one process; a cluster needs a clickhouse:// URL")
        return ChdbFacts(path, connections=connections)
    if parts.scheme in {"clickhouse", "clickhouses"}:
        from cem.platform.facts_clickhouse import ClickHouseFacts  # noqa: PLC0415 - only where it is used

        if not parts.hostname:
            raise ConfigurationError("kqi_url: the ClickHouse URL names no host")
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigurationError("kqi_url: the port is not a number of 1…65535") from error
        return ClickHouseFacts(
            host=parts.hostname,
            port=port or (8443 if parts.scheme == "clickhouses" else 8123),
            database=unquote(parts.path).strip("/") or "cem",
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            secure=parts.scheme == "clickhouses",
            ca_cert=parse_qs(parts.query).get("ca_cert", [""])[-1],
            connections=connections,
            cluster=cluster,
        )
    raise ConfigurationError("kqi_url: give chdb:///folder, clickhouse://… or clickhouses://…")


def check_insert(table: str, body: bytes, fmt: str) -> None:
    """Refuse an insert that neither engine should see.

    Raises
    ------
    FactStoreError
        Not a table's name, not a taken format, or a body over `MAX_INSERT_BYTES`.
    """
    if not _TABLE.match(table):
        raise FactStoreError("The table's name is not one of ours.")
    if fmt not in {"JSONEachRow", "ArrowStream"}:
        raise FactStoreError(f"Inserts are JSONEachRow or ArrowStream, not {fmt}.")
    if len(body) > MAX_INSERT_BYTES:
        raise FactStoreError(f"One insert is at most {MAX_INSERT_BYTES} bytes; split it.")


def to_literal(value: Any) -> Any:
    """A parameter's value as both engines take it: instants as UTC text, enumerations as their value.

    Raises
    ------
    ValueError
        A time without a zone.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a stored time must be aware")
        text = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        return text if value.microsecond == 0 else f"{text}.{value.microsecond:06d}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_literal(item) for item in value]
    return value


def table_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows of a result; maps become dictionaries (the last of a repeated key wins), times are aware UTC."""
    names = table.schema.names
    columns = [_values(column.combine_chunks()) for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}


def _values(column: pa.Array) -> list[Any]:
    """A column as Python values. Its own conversion takes several times as long for maps and times."""
    kind = column.type
    if column.null_count == 0 and pa.types.is_map(kind):
        keys, items = column.keys.to_pylist(), column.items.to_pylist()
        borders = column.offsets.to_pylist()
        return [dict(zip(keys[start:end], items[start:end], strict=True)) for start, end in pairwise(borders)]
    if column.null_count == 0 and pa.types.is_timestamp(kind) and kind.unit in _UNITS:
        unit = _UNITS[kind.unit]
        return [_EPOCH + timedelta(**{unit: n}) for n in column.cast(pa.int64()).to_pylist()]
    values: list[Any] = column.to_pylist(maps_as_pydicts="lossy")
    return values


_CODE = re.compile(r"[Cc]ode:? (\d+)")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")


def describe(message: str) -> str:
    """What may be said of an engine's error: code and name. Its text can quote rows: it stays inside."""
    code, names = _CODE.search(message), _NAME.findall(message)
    if not code:
        return "The KQI store failed."
    return f"The KQI store refused: code {code[1]}{' ' + names[-1] if names else ''}."
