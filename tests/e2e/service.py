"""The real service as its own process: `cem serve --no-demo` on a data folder and port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

CEM = Path(sys.executable).parent / "cem"
READY_WITHIN_S = 90.0
ENDS_WITHIN_S = 30.0


class Service:
    """One installation. It can be stopped and started again on the same data, with another clock.

    A port is chosen once, so that addresses stay good over a restart.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "service.log"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "CEM_DATA_DIR": str(folder / "data"),
            "CEM_PORT": str(self.port),
            "CEM_CORS_ORIGINS": "*",
            "CEM_JOB_INTERVAL_S": "0.5",
            **{f"CEM_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    def run(self, *arguments: str) -> str:
        """One command of `cem` on this installation; its standard output."""
        done = subprocess.run(
            [CEM, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=READY_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"cem {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def new_key(self, kind: str) -> str:
        """A key for a feed or another system, made on the command line."""
        return self.run("key", "add", f"e2e {kind}", "--kind", kind).strip()

    def rounds(self, job: str, *, key: str) -> float:
        """Units of a background job done since the start, by the service's own count."""
        assert self._client is not None, "it does not run"
        answer = self._client.get("/metrics", headers={"Authorization": f"Bearer {key}"})
        assert answer.is_success, answer.text
        wanted = f'cem_job_seconds_count{{job="{job}"}} '
        counts = [line for line in answer.text.splitlines() if line.startswith(wanted)]
        return float(counts[0].removeprefix(wanted)) if counts else 0.0

    def wait_for_rounds(self, job: str, count: int, *, key: str) -> None:
        """Until the job has done `count` more units: whatever it had to do is then done."""
        aim = self.rounds(job, key=key) + count
        deadline = time.monotonic() + READY_WITHIN_S
        while self.rounds(job, key=key) < aim:
            assert time.monotonic() < deadline, f"{job} does not run: {self.tail()}"
            time.sleep(0.1)

    def start(self, *, clock_offset_s: float = 0.0) -> None:
        """Start and wait until it is ready; fails with the end of its log where it is not."""
        assert self._process is None, "it runs already"
        environment = {**self._environment, "CEM_CLOCK_OFFSET_S": str(clock_offset_s)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [CEM, "serve", "--no-demo"], cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    self._client = httpx.Client(base_url=self.url, timeout=30)
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        self.stop()
        raise AssertionError(f"the service did not get ready: {self.tail()}")

    def stop(self) -> None:
        """End this process, and no other, by its id; politely first."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(ENDS_WITHIN_S)
            self._process = None

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def ask(self, method: str, path: str, *, key: str, **more: Any) -> Any:
        """One call; the answer's JSON. Fails with the problem where it is refused."""
        assert self._client is not None, "it does not run"
        answer = self._client.request(method, path, headers={"Authorization": f"Bearer {key}"}, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def get(self, path: str, *, key: str, params: Mapping[str, str] | None = None) -> Any:
        """`ask` with GET."""
        return self.ask("GET", path, key=key, params=params)

    def post(self, path: str, body: Any, *, key: str) -> Any:
        """`ask` with POST and a JSON body."""
        return self.ask("POST", path, key=key, json=body)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
