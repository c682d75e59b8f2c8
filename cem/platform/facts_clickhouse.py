"""The KQI store on a ClickHouse server or cluster, over its HTTP interface.

Every statement carries the same settings as the embedded engine (`ENGINE_SETTINGS`), and waits for its end, so
that an answer of 200 means done. A server that deduplicates equal blocks of replicated tables does no harm here:
equal blocks hold equal items, which collapse anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httputil import get_pool_manager

from cem.platform.errors import FactStoreError
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

CONNECT_TIMEOUT_S = 3
"""Time a server has to take the connection. [s] Chosen here: a third of a read's time."""
_GRACE_S = 2
"""What the socket waits longer than the statement may run, so that the server's own time-out is heard. [s]"""


class ClickHouseFacts:
    """See `cem.platform.facts.FactStore`.

    Parameters
    ----------
    host, port, database, username, password, secure
        Where the server is; `secure` for TLS.
    ca_cert
        File with the authority that signed the server's certificate; empty: the public ones.
    connections
        Statements that run at the same time. [1]
    cluster
        Name of the cluster that tables are made on; empty: one server.

    Raises
    ------
    FactStoreError
        The server does not answer or does not let us in.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        database: str,
        username: str,
        password: str,
        secure: bool = False,
        ca_cert: str = "",
        connections: int = 4,
        cluster: str = "",
    ) -> None:
        self.cluster = cluster
        self._database = database
        self._room = threading.BoundedSemaphore(max(1, connections))
        self._pool = get_pool_manager(ca_cert=ca_cert or None, maxsize=max(1, connections), num_pools=2)
        self._where = {
            "host": host,
            "port": port,
            "username": username,
            "password": password,
            "interface": "https" if secure else "http",
        }
        with _errors():
            first = self._client(database="default", timeout_s=QUERY_TIMEOUT_S)
            on_cluster = f" ON CLUSTER '{cluster}'" if cluster else ""
            first.command(f"CREATE DATABASE IF NOT EXISTS `{database}`{on_cluster}")
            first.close()
            self._reads = self._client(database=database, timeout_s=QUERY_TIMEOUT_S)
            self._writes = self._client(database=database, timeout_s=EXECUTE_TIMEOUT_S)

    def insert(self, table: str, body: bytes, fmt: InsertFormat) -> None:
        """Insert one block; return when the server has it on disk."""
        check_insert(table, body, fmt)
        with self._turn(EXECUTE_TIMEOUT_S), _errors():
            self._writes.raw_insert(
                f"{self._database}.{table}",
                insert_block=body,
                fmt=fmt,
                settings=_limited(EXECUTE_TIMEOUT_S),
            )

    def query(
        self, sql: str, params: Mapping[str, Any] = NO_PARAMS, *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> pa.Table:
        """Run a read; the result as columns."""
        client = self._reads if timeout_s <= QUERY_TIMEOUT_S else self._writes
        with self._turn(timeout_s), _errors():
            answer = client.raw_query(
                sql, parameters=_bound(params), fmt="ArrowStream", settings=_limited(timeout_s)
            )
        return pa.ipc.open_stream(answer).read_all()

    def rows(
        self, sql: str, params: Mapping[str, Any] = NO_PARAMS, *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> list[dict[str, Any]]:
        """Run a read; the result as rows, times aware, maps as dictionaries."""
        return table_rows(self.query(sql, params, timeout_s=timeout_s))

    def execute(
        self, sql: str, params: Mapping[str, Any] = NO_PARAMS, *, timeout_s: float = EXECUTE_TIMEOUT_S
    ) -> None:
        """Run a statement that returns nothing."""
        with self._turn(timeout_s), _errors():
            self._writes.command(sql, parameters=_bound(params), settings=_limited(timeout_s))

    def close(self) -> None:
        """Close the connections."""
        self._reads.close()
        self._writes.close()
        self._pool.clear()

    def _client(self, *, database: str, timeout_s: float) -> Client:
        return clickhouse_connect.get_client(
            **self._where,
            database=database,
            pool_mgr=self._pool,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=int(timeout_s) + _GRACE_S,
            autogenerate_session_id=False,  # without a session the server runs statements side by side
            query_retries=0,
            compress="lz4",
        )

    @contextmanager
    def _turn(self, timeout_s: float) -> Iterator[None]:
        if not self._room.acquire(timeout=timeout_s):
            raise FactStoreError("Every connection of the KQI store is busy.", retry_after_s=1)
        try:
            yield
        finally:
            self._room.release()


def _bound(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_literal(value) for name, value in params.items()}


def _limited(timeout_s: float) -> dict[str, Any]:
    return {**ENGINE_SETTINGS, "max_execution_time": f"{timeout_s:.3f}", "wait_end_of_query": "1"}


@contextmanager
def _errors() -> Iterator[None]:
    """Turn the client's errors into ours, without the values that they quote."""
    try:
        yield
    except ClickHouseError as error:
        raise FactStoreError(describe(str(error))) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise FactStoreError(
            f"The ClickHouse server does not answer ({type(error).__name__}).", retry_after_s=1
        ) from error
