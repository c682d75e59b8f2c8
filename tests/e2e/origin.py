"""A real HTTP server for tests: an origin, or a CDN node before one, with faults that a test can turn on and off.

It delivers folders under path prefixes, to any web origin (CORS), with the timing detail that a browser
shows to its page. What it leaves out: TLS, ranges, caching. What it saw is kept as an access log, from which
the platform's vantage point is made (`cloud_samples`), the way an operator would make it from a CDN node's
log: the session of each request is read from the CMCD query that the player put on it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".m4s": "video/iso.segment",
    ".mp4": "video/mp4",
    ".txt": "text/plain; charset=utf-8",
}
CHUNK_BYTES = 4096
CLIENT_WAITS_S = 20.0
_SESSION = re.compile(r'(?:^|,)sid="([^"]+)"')


@dataclass(frozen=True)
class Fault:
    """What is wrong, for paths that start with `prefix` and end with one of `suffixes` (all if empty).

    Of every `1 / error_ratio` requests one is answered with `status`: counted, not drawn, so that a run
    repeats exactly.
    """

    first_byte_delay_s: float = 0.0
    rate_kbps: float | None = None
    error_ratio: float = 0.0
    status: int = 503
    prefix: str = "/"
    suffixes: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        return path.startswith(self.prefix) and (not self.suffixes or path.endswith(self.suffixes))


HEALTHY = Fault()


@dataclass
class _Counted:
    fault: Fault
    asked: int = 0
    failed: int = 0

    def next_fails(self) -> bool:
        self.asked += 1
        fails = self.failed + 1 <= self.asked * self.fault.error_ratio
        self.failed += fails
        return fails


@dataclass(frozen=True)
class Fetched:
    """An answer on its way to the client; `origin_ms` is the wait for the origin behind a node. [ms]"""

    status: int
    body: bytes
    content_type: str
    origin_ms: float | None = None


@dataclass(frozen=True)
class Access:
    """One line of the access log; `first_byte_ms` is the server's own time, not the network's. [ms]"""

    at: datetime
    path: str
    status: int
    first_byte_ms: float
    duration_ms: float
    bytes_sent: int
    session_id: str
    origin_ms: float | None


@dataclass
class AccessLog:
    """The lines so far; safe to read while the server adds to it."""

    _lines: list[Access] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, line: Access) -> None:
        with self._lock:
            self._lines.append(line)

    def lines(self) -> list[Access]:
        with self._lock:
            return list(self._lines)


class Origin:
    """One server: its address, its faults, its log. A context manager; the system chooses the port.

    Parameters
    ----------
    folders
        Path prefix → folder that is delivered under it.
    host
        Loopback address of its own, so that players and probes can tell servers apart by their host.
    upstream
        Makes it a node in front of an origin: what starts with `/film` is fetched there, every time.
    """

    def __init__(
        self, folders: Mapping[str, Path], *, host: str = "127.0.0.1", upstream: Origin | None = None
    ) -> None:
        self.host = host
        self.upstream = upstream
        self.log = AccessLog()
        self._folders = {prefix: path.resolve() for prefix, path in folders.items()}
        self._faults: list[_Counted] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((host, 0), _handler_for(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> Origin:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def break_with(self, *faults: Fault) -> None:
        """Replace the server's faults from the next request on; of several that cover a path the first counts."""
        with self._lock:
            self._faults = [_Counted(fault) for fault in faults]

    @contextmanager
    def broken(self, *faults: Fault) -> Iterator[None]:
        """The server has these faults inside the block and is healthy after it."""
        self.break_with(*faults)
        try:
            yield
        finally:
            self.break_with()

    def fault_for(self, path: str) -> tuple[Fault, bool]:
        """The fault that this request meets, and whether it is one of those that fail."""
        with self._lock:
            for counted in self._faults:
                if counted.fault.covers(path):
                    return counted.fault, counted.next_fails()
        return HEALTHY, False

    def fetch(self, path: str) -> Fetched:
        """What is answered to a path, before any fault: from a folder, or from the origin behind this node."""
        if self.upstream is not None and path.startswith("/film/"):
            return self._fetch_upstream(self.upstream, path)
        file = self._file_for(path)
        if file is None:
            return Fetched(404, b"", "text/plain")
        return Fetched(200, file.read_bytes(), CONTENT_TYPES.get(file.suffix, "text/plain"))

    def _fetch_upstream(self, upstream: Origin, path: str) -> Fetched:
        started = time.monotonic()
        connection = HTTPConnection(upstream.host, upstream.port, timeout=CLIENT_WAITS_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            origin_ms = (time.monotonic() - started) * 1000
            return Fetched(
                answer.status, answer.read(), answer.getheader("Content-Type", "text/plain"), origin_ms
            )
        except OSError:
            return Fetched(502, b"", "text/plain", (time.monotonic() - started) * 1000)
        finally:
            connection.close()

    def _file_for(self, path: str) -> Path | None:
        """The file behind a path, or none where there is none or it would leave its folder."""
        for prefix, folder in self._folders.items():
            if path.startswith(prefix):
                file = (folder / path.removeprefix(prefix).lstrip("/")).resolve()
                if file.is_file() and file.is_relative_to(folder):
                    return file
        return None


def cloud_samples(
    node: Origin, *, source: str, subscribers: Mapping[str, str], run: str
) -> list[dict[str, Any]]:
    """The platform's vantage point of each session: what its node measured, one sample per session.

    `subscribers` maps session ids to numbers; requests without a known session are nobody's and are left out.
    """
    by_session: dict[str, list[Access]] = {}
    for line in node.log.lines():
        if line.session_id in subscribers:
            by_session.setdefault(line.session_id, []).append(line)
    return [
        {
            "id": f"{run}-{session_id}",
            "subscriber": subscribers[session_id],
            "session_id": session_id,
            "observed_at": seen[-1].at.isoformat().replace("+00:00", "Z"),
            "service": "video",
            "dimensions": {"node": node.host, "source": source},
            "values": _measured(seen),
        }
        for session_id, seen in by_session.items()
    ]


def _measured(seen: Sequence[Access]) -> dict[str, float]:
    waited = [line.origin_ms for line in seen if line.origin_ms is not None]
    return {
        "first_byte_ms": sum(line.first_byte_ms for line in seen) / len(seen),
        "http_5xx_ratio": sum(line.status >= 500 for line in seen) / len(seen),
        "cache_hit_ratio": 1 - len(waited) / len(seen),
        **({"origin_ms": sum(waited) / len(waited)} if waited else {}),
    }


def _handler_for(origin: Origin) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = CLIENT_WAITS_S

        def do_GET(self) -> None:
            started = time.monotonic()
            at = datetime.now(UTC)
            url = urlsplit(self.path)
            fault, fails = origin.fault_for(url.path)
            time.sleep(fault.first_byte_delay_s)
            found = Fetched(fault.status, b"", "text/plain") if fails else origin.fetch(url.path)
            status, body = found.status, found.body
            first_byte_ms = (time.monotonic() - started) * 1000
            sent = 0
            try:
                self.send_response(status)
                self.send_header("Content-Type", found.content_type)
                self.send_header("Content-Length", str(len(body)))
                self._let_pages_read_it()
                self.end_headers()
                for start in range(0, len(body), CHUNK_BYTES):
                    chunk = body[start : start + CHUNK_BYTES]
                    self.wfile.write(chunk)
                    sent += len(chunk)
                    if fault.rate_kbps is not None:
                        time.sleep(len(chunk) * 8 / 1000 / fault.rate_kbps)
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                self.close_connection = True
            session = _SESSION.search(parse_qs(url.query).get("CMCD", [""])[0])
            origin.log.add(
                Access(
                    at=at,
                    path=url.path,
                    status=status,
                    first_byte_ms=first_byte_ms,
                    duration_ms=(time.monotonic() - started) * 1000,
                    bytes_sent=sent,
                    session_id=session.group(1) if session else "",
                    origin_ms=found.origin_ms,
                )
            )

        def do_OPTIONS(self) -> None:
            self.send_response(204)
            self.send_header("Access-Control-Allow-Headers", "*")
            self.send_header("Content-Length", "0")
            self._let_pages_read_it()
            self.end_headers()

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionResetError, BrokenPipeError, TimeoutError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

        def _let_pages_read_it(self) -> None:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Timing-Allow-Origin", "*")
            self.send_header("Cache-Control", "no-store")

    return Handler
