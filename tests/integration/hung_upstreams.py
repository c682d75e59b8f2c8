"""Other systems at their worst, behind one port: `/hangs`, `/drips`, `/floods`, `/redirects`, `/lies`, `/cuts`."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

DRIP_S = 0.2
FLOOD_CHUNK = b" " * 65_536
FLOOD_CHUNKS = 4_096
"""256 MB, if somebody reads it all."""

LIES = (
    b'{"status": 17, "apns": {"a": [1]}, "throttled": "perhaps", "allowed": 1e400, "cell": "on", '
    b'"deep": ' + b"[" * 400 + b"]" * 400 + b"}"
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class _Handler(socketserver.StreamRequestHandler):
    server: Upstreams
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (line := self.rfile.readline()).strip():
                length = 0
                path = line.split()[1].decode()
                while header := self.rfile.readline().strip():
                    name, _, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                self.rfile.read(length)
                self.server.asked[path] += 1
                getattr(self, path.strip("/"))()

    def hangs(self) -> None:
        self.server.over.wait()

    def drips(self) -> None:
        self.wfile.write(HEAD + b"Content-Length: 60000\r\n\r\n{")
        while not self.server.over.wait(DRIP_S):
            self.wfile.write(b" ")

    def floods(self) -> None:
        self.wfile.write(HEAD + b"Connection: close\r\n\r\n{")
        for _ in range(FLOOD_CHUNKS):
            self.wfile.write(FLOOD_CHUNK)
        raise ValueError

    def redirects(self) -> None:
        self.wfile.write(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/trap\r\nContent-Length: 0\r\n\r\n"
            % self.server.port
        )

    def trap(self) -> None:
        self.lies()

    def lies(self) -> None:
        self.wfile.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(LIES) + LIES)

    def cuts(self) -> None:
        self.wfile.write(HEAD + b"Content-Length: 500\r\n\r\n{")
        raise ValueError


class Upstreams(socketserver.ThreadingTCPServer):
    """`asked` counts requests by path; `over` lets go of every connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = int(self.server_address[1])
        self.asked: Counter[str] = Counter()
        self.over = threading.Event()


@contextmanager
def upstreams() -> Iterator[Upstreams]:
    """Run them in threads of this process."""
    server = Upstreams()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
