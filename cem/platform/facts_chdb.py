"""The KQI store inside this process: chDB, the ClickHouse engine as a library.

One process holds one data folder (the engine locks it), and one process holds one folder at a time. Several
connections on the folder run statements side by side; one connection runs one at a time.
"""

from __future__ import annotations

import fcntl
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from chdb.state.sqlitelike import Connection

from cem.platform.errors import ConfigurationError, FactStoreError
from cem.platform.facts import (
    ENGINE_SETTINGS,
    EXECUTE_TIMEOUT_S,
    NO_PARAMS,
    QUERY_TIMEOUT_S,
    InsertFormat,
    check_insert,
    describe,
    table_rows,
    to_literal,
)

DATABASE = "cem"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
_PID = re.compile(r"PID:\s*(\d+)")


class _Leased:
    """A connection and the time limit that is set on it."""

    def __init__(self, path: str) -> None:
        self.raw = Connection(path)
        self._limit_s = -1.0
        self.raw.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        self.raw.query(f"USE {DATABASE}")
        self.raw.query("SET " + ", ".join(f"{name} = '{value}'" for name, value in ENGINE_SETTINGS.items()))

    def limit(self, timeout_s: float) -> None:
        """Let the next statements run for at most `timeout_s`. [s]"""
        if timeout_s != self._limit_s:
            self.raw.query(f"SET max_execution_time = {timeout_s:.3f}")
            self._limit_s = timeout_s


class ChdbFacts:
    """See `cem.platform.facts.FactStore`.

    Parameters
    ----------
    path
        Data folder; made if it is missing.
    connections
        Statements that run at the same time. [1]

    Raises
    ------
    FactStoreError
        Another process holds the folder, or this one holds a different folder.
    ConfigurationError
        The folder cannot be made.
    """

    def __init__(self, path: str | Path, *, connections: int = 4) -> None:
        self.cluster = ""
        self._path = str(Path(path).absolute())
        if "?" in self._path:
            raise ConfigurationError("kqi_url: the folder's path must not hold a question mark")
        try:
            Path(self._path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"kqi_url: cannot make the folder {self._path}: {error.strerror}"
            ) from error
        self._free = threading.Condition()
        self._idle: list[_Leased] = []
        self._room = max(1, connections)
        self._closed = False
        self._idle.append(self._connect())
        self._room -= 1

    def insert(self, table: str, body: bytes, fmt: InsertFormat) -> None:
        """Insert one block; return when it is on disk."""
        check_insert(table, body, fmt)
        into = f"INSERT INTO {DATABASE}.{table}"
        with (
            self._lease(EXECUTE_TIMEOUT_S) as connection,
            _errors(),
            connection.raw.send_insert(into, fmt) as inserter,
        ):
            inserter.append(body)
            inserter.finish()

    def query(
        self, sql: str, params: Mapping[str, Any] = NO_PARAMS, *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> pa.Table:
        """Run a read; the result as columns."""
        bound = {name: _bind(value) for name, value in params.items()}
        with self._lease(timeout_s) as connection, _errors():
            result = connection.raw.query(sql, "ArrowStream", params=bound).bytes()
        return pa.ipc.open_stream(result).read_all()

    def rows(
        self, sql: str, params: Mapping[str, Any] = NO_PARAMS, *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> list[dict[str, Any]]:
        """Run a read; the result as rows, times aware, maps as dictionaries."""
        return table_rows(self.query(sql, params, timeout_s=timeout_s))

    def execute(
        self, sql: str, params: Mapping[str, Any] = NO_PARAMS, *, timeout_s: float = EXECUTE_TIMEOUT_S
    ) -> None:
        """Run a statement that returns nothing."""
        bound = {name: _bind(value) for name, value in params.items()}
        with self._lease(timeout_s) as connection, _errors():
            connection.raw.query(sql, "Null", params=bound)

    def close(self) -> None:
        """Close what is idle now and what is in use when it comes back."""
        with self._free:
            self._closed = True
            idle, self._idle = self._idle, []
            self._free.notify_all()
        for connection in idle:
            connection.raw.close()

    def _connect(self) -> _Leased:
        try:
            return _Leased(self._path)
        except Exception as error:
            raise FactStoreError(_why_not(self._path, error)) from error

    @contextmanager
    def _lease(self, timeout_s: float) -> Iterator[_Leased]:
        connection = self._take(timeout_s)
        try:
            with _errors():
                connection.limit(timeout_s)
            yield connection
        finally:
            self._give(connection)

    def _take(self, timeout_s: float) -> _Leased:
        until = time.monotonic() + timeout_s
        with self._free:
            while not self._idle:
                if self._closed:
                    break
                if self._room > 0:
                    self._room -= 1
                    try:
                        return self._connect()
                    except FactStoreError:
                        self._room += 1
                        raise
                if not self._free.wait(until - time.monotonic()):
                    raise FactStoreError("Every connection of the KQI store is busy.", retry_after_s=1)
            if self._closed:
                raise FactStoreError("The KQI store is closed.")
            return self._idle.pop()

    def _give(self, connection: _Leased) -> None:
        with self._free:
            if not self._closed:
                self._idle.append(connection)
                self._free.notify()
                return
        connection.raw.close()


def _bind(value: Any) -> Any:
    """A value as text of the engine's parameter parser: escaped at the top, quoted literals inside arrays."""
    value = to_literal(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, list):
        return "[" + ",".join(_literal(item) for item in value) + "]"
    return str(value)


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.translate(_ESCAPES).replace("'", "\\'") + "'"
    if isinstance(value, list):
        return "[" + ",".join(_literal(item) for item in value) + "]"
    return str(_bind(value))


@contextmanager
def _errors() -> Iterator[None]:
    """Turn the library's errors into ours, without the values that they quote."""
    try:
        yield
    except RuntimeError as error:
        raise FactStoreError(describe(str(error))) from error
    except Exception as error:
        if type(error).__module__.startswith("chdb"):
            raise FactStoreError(describe(str(error))) from error
        raise


def _why_not(path: str, error: Exception) -> str:
    """Why a folder cannot be opened, exactly."""
    holder = _holder(path)
    if holder is not None:
        who = f"process {holder}" if holder else "another process"
        return (
            f"{path} is held by {who}. chDB allows one process per folder: stop it, or give both processes "
            "one ClickHouse server (kqi_url=clickhouse://…)."
        )
    if "already initialized with path" in str(error):
        return f"This process already holds another chDB folder; close it before {path} is opened."
    return f"chDB cannot open {path}: {describe(str(error))}"


def _holder(path: str) -> str | None:
    """Process id of who locks the folder ('' if unknown), None if nobody does."""
    try:
        with (Path(path) / "status").open("r+b") as status:
            try:
                fcntl.flock(status, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with suppress(OSError):
                    found = _PID.search(status.read(200).decode(errors="replace"))
                    return found[1] if found else ""
                return ""
            return None
    except OSError:
        return None
