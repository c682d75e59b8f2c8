"""The real service as processes of their own: `cem serve`, `cem api` or `cem worker`, a folder and a port each.

A process can be stopped, or killed at any moment, and started again on the same data. Ended is only what was
started here, by its id.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

CEM = Path(sys.executable).parent / "cem"
ROOT = Path(__file__).parents[1]
READY_WITHIN_S = 90.0
ENDS_WITHIN_S = 40.0
SERVE = ("serve", "--no-demo")


class Service:
    """One process of an installation, which can be started again on the same data, with another clock.

    A port is chosen once, so that addresses stay good over a restart.

    Parameters
    ----------
    folder
        Where its log is, and its data unless `data_dir` is among the settings.
    command
        What it runs as; `("api",)` and `("worker",)` need stores that several processes may share.
    settings
        By name, as text: `kqi_url="clickhouse://…"`.
    """

    def __init__(self, folder: Path, command: tuple[str, ...] = SERVE, **settings: str) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "service.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = command
        self._environment = {
            **{
                name: os.environ[name]
                for name in ("PATH", "PYTHONPATH", "HOME", "LANG")
                if name in os.environ
            },
            "CEM_DATA_DIR": str(folder / "data"),
            "CEM_PORT": str(self.port),
            "CEM_CORS_ORIGINS": "*",
            "CEM_JOB_INTERVAL_S": "0.5",
            **{f"CEM_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    def attempt(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """One command of `cem` on this installation, however it ends; `text` is its standard input."""
        return subprocess.run(
            [CEM, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            input=text,
            timeout=READY_WITHIN_S,
            check=False,
        )

    def run(self, *arguments: str, text: str | None = None) -> str:
        """One command of `cem` that must end well; its standard output."""
        done = self.attempt(*arguments, text=text)
        assert done.returncode == 0, f"cem {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def new_key(self, kind: str) -> str:
        """A key for a feed or another system, made on the command line."""
        return self.run("key", "add", f"e2e {kind}", "--kind", kind).strip()

    def token_for(self, number: str) -> str:
        """A device token for the line of a number, made on the command line."""
        return self.run("token", text=number + "\n").strip()

    def first_password(self) -> str:
        """The first administrator's password, as the first start showed it."""
        (shown,) = re.findall(r"^    password  (\S+)$", self.log.read_text(), re.MULTILINE)
        return str(shown)

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
        self.launch(clock_offset_s=clock_offset_s)
        self.wait_until_ready()

    def launch(self, *, clock_offset_s: float = 0.0) -> None:
        """Start and do not wait."""
        assert self._process is None, "it runs already"
        environment = {**self._environment, "CEM_CLOCK_OFFSET_S": str(clock_offset_s)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [CEM, *self._command], cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def wait_until_ready(self) -> None:
        """Until `/readyz` says so; fails with the end of its log where it does not."""
        assert self._process is not None, "it does not run"
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    self._client = httpx.Client(base_url=self.url, timeout=30)
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the service did not get ready: {self.tail()}")

    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more when this returns."""
        assert self.alive(), f"it ended by itself: {self.tail()}"
        assert self._process is not None
        self._process.kill()
        assert self._process.wait(ENDS_WITHIN_S) == -signal.SIGKILL
        self._forget()

    def interrupt(self) -> None:
        """SIGTERM; returns at once."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Until it has ended; its exit code."""
        assert self._process is not None, "it does not run"
        code = self._process.wait(ENDS_WITHIN_S)
        self._forget()
        return code

    def stop(self) -> int | None:
        """End this process, and no other, by its id; politely first. Its exit code; None if none ran."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait(ENDS_WITHIN_S)
        self._forget()
        return code

    def _forget(self) -> None:
        self._process = None
        if self._client is not None:
            self._client.close()
            self._client = None

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


@contextmanager
def clickhouse_process(folder: Path, port: int | None = None) -> Iterator[str]:
    """The test server of ClickHouse's interface as a process of its own; its URL for `kqi_url`."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--path", str(folder), "--port", str(port or 0)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.clickhouse_server", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said.startswith("listening on "), f"the server did not start: {said!r}"
        yield f"clickhouse://default:@127.0.0.1:{said.split()[-1]}/cem"
    finally:
        process.stdout.close()
        process.kill()
        process.wait(ENDS_WITHIN_S)


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
