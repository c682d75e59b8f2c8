"""A small server that speaks ClickHouse's HTTP interface on the embedded engine.

It lets the real client (clickhouse-connect) be tested over a real socket, and lets several processes of the
service share one KQI store in a test, without a ClickHouse server in the machine:

    python -m tests.clickhouse_server --path FOLDER --port 0

prints `listening on PORT` when it takes connections. What it knows: queries by GET and POST, in the body, the URL
or a form; `param_*` parameters; settings in the URL; a trailing FORMAT of any kind; inserts with a body in any
input format, plain, gzip, zstd or lz4; Basic authentication; exceptions with their code. What it does not:
sessions, progress headers, external tables, replication.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import re
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import lz4.frame
import zstandard
from chdb.state.sqlitelike import Connection

CONNECTIONS = 6
_NOT_SETTINGS = {
    "query", "database", "default_format", "session_id", "session_check", "session_timeout", "query_id", "compress",
    "decompress", "enable_http_compression", "wait_end_of_query", "client_protocol_version", "quota_key", "role",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms", "user", "password", "buffer_size",
}  # fmt: skip
_FORMAT = re.compile(r"\s+FORMAT\s+([A-Za-z0-9_]+)\s*;?\s*\Z", re.IGNORECASE)
_INSERT = re.compile(
    r"\s*INSERT\s+INTO\s+(?P<into>.+?)\s+FORMAT\s+(?P<format>[A-Za-z0-9_]+)[ \t]*\n?\Z",
    re.IGNORECASE | re.DOTALL,
)
_INSERT_HEAD = re.compile(
    rb"\s*INSERT\s+INTO\s+[^\n]*?\sFORMAT\s+[A-Za-z0-9_]+[ \t]*(\n|\Z)", re.IGNORECASE | re.DOTALL
)
_CODE = re.compile(r"Code: (\d+)")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Engine:
    """Connections to one data folder, each used by one request at a time."""

    def __init__(self, path: str) -> None:
        self._idle: list[Connection] = []
        self._free = threading.Semaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._path = path
        self._idle.append(Connection(path))

    @contextmanager
    def lease(self, database: str, settings: dict[str, str]) -> Iterator[Connection]:
        with self._free:
            with self._lock:
                connection = self._idle.pop() if self._idle else Connection(self._path)
            try:
                connection.query(f"USE `{database}`")
                if settings:
                    connection.query("SET " + ", ".join(f"{k} = {_quoted(v)}" for k, v in settings.items()))
                yield connection
            finally:
                if settings:
                    connection.query("SET " + ", ".join(f"{name} = DEFAULT" for name in settings))
                with self._lock:
                    self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ClickHouseServer

    def do_GET(self) -> None:
        if self._hangs():
            return
        if urlsplit(self.path).path == "/ping":
            self._answer(200, b"Ok.\n", {})
            return
        self._run(b"")

    def do_POST(self) -> None:
        body = self._body()
        if not self._hangs():
            self._run(body)

    def _hangs(self) -> bool:
        """Whether the server hangs: the request gets no answer, ever, and its connection stays open meanwhile."""
        hung = not self.server.answering.is_set()
        if hung:
            self.close_connection = True
            self.server.answering.wait()
        return hung

    def _run(self, body: bytes) -> None:
        if not self._allowed():
            self._fail(516, "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)", 403)
            return
        given = {k: v[-1] for k, v in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}
        if self.headers.get_content_type() == "multipart/form-data":
            given |= self._form(body)
            body = b""
        elif self.headers.get_content_type() == "application/x-www-form-urlencoded" and b"query=" in body:
            given |= {k: v[-1] for k, v in parse_qs(body.decode(), keep_blank_values=True).items()}
            body = b""
        params = {k.removeprefix("param_"): v for k, v in given.items() if k.startswith("param_")}
        settings = {
            k: v
            for k, v in given.items()
            if k not in _NOT_SETTINGS and not k.startswith("param_") and _IDENTIFIER.match(k)
        }
        try:
            with self.server.engine.lease(given.get("database") or "default", settings) as connection:
                self._execute(connection, given, body, params)
        except Exception as error:
            text = str(error)
            code = _CODE.search(text)
            self._fail(int(code[1]) if code else 1002, text, 404 if code and code[1] in {"60", "81"} else 500)

    def _execute(
        self, connection: Connection, given: dict[str, str], body: bytes, params: dict[str, str]
    ) -> None:
        query, data = given.get("query", ""), body
        if not query:
            head = _INSERT_HEAD.match(body)
            query = (body[: head.end()] if head else body).decode()
            data = body[head.end() :] if head else b""
        insert = _INSERT.match(query)
        if insert:
            with connection.send_insert(f"INSERT INTO {insert['into']}", insert["format"]) as inserter:
                inserter.append(data)
                inserter.finish()
            self._answer(200, b"", {"X-ClickHouse-Summary": "{}"})
            return
        if given.get("query") and data:
            query = f"{query}\n{data.decode()}"
        asked = _FORMAT.search(query)
        kind = asked[1] if asked else given.get("default_format", "TabSeparated")
        result = connection.query(query[: asked.start()] if asked else query, kind, params=params).bytes()
        headers = {"X-ClickHouse-Summary": "{}"}
        if result or asked:
            headers["X-ClickHouse-Format"] = kind
        self._answer(200, result, headers)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(chunks)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        encoding = self.headers.get("Content-Encoding", "")
        if encoding == "gzip":
            return gzip.decompress(body)
        if encoding == "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
        if encoding == "lz4":
            plain: bytes = lz4.frame.decompress(body)
            return plain
        return body

    def _form(self, body: bytes) -> dict[str, str]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + body)
        fields: dict[str, str] = {}
        for part in message.iter_parts():  # type: ignore[attr-defined]
            name = part.get_param("name", header="content-disposition")
            fields[str(name)] = part.get_payload(decode=True).decode()
        return fields

    def _allowed(self) -> bool:
        if self.server.credentials is None:
            return True
        scheme, _, text = self.headers.get("Authorization", "").partition(" ")
        return scheme == "Basic" and base64.b64decode(text).decode() == self.server.credentials

    def _fail(self, code: int, text: str, status: int) -> None:
        self._answer(status, text.encode(), {"X-ClickHouse-Exception-Code": str(code)})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(body)),
            "X-ClickHouse-Server-Display-Name": "embedded",
            "X-ClickHouse-Timezone": "UTC",
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """Say nothing of every request."""


class ClickHouseServer(ThreadingHTTPServer):
    """The server; `port` is the one it got. While `answering` is clear it takes requests and never answers."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        path: str,
        port: int = 0,
        *,
        credentials: str | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.engine = Engine(path)
        self.credentials = credentials
        self.port = int(self.server_address[1])
        self.answering = threading.Event()
        self.answering.set()
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)


@contextmanager
def serving(path: str | Path, **options: Any) -> Iterator[ClickHouseServer]:
    """Run the server in a thread of this process."""
    server = ClickHouseServer(str(path), **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.answering.set()
        server.shutdown()
        server.server_close()
        thread.join()
        server.engine.close()


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--path", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--credentials", help="user:password")
    given = parser.parse_args()
    server = ClickHouseServer(given.path, given.port, credentials=given.credentials)
    sys.stdout.write(f"listening on {server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
