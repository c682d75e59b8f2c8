"""Reports per second, durable, over HTTP on one core, beside a bare endpoint and beside the ordinary way.

Every server runs alone, pinned to one core (all its threads, the store's too); the load runs on another. The
same bodies go to all three: reports of the size a phone sends, with every id its own. Background jobs (sessions,
cubes) rest while it measures: they are another process's work where it matters.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.load import Outcome, drive, post
from tests.conftest import free_port

CEM = Path(sys.executable).parent / "cem"
CONNECTIONS = 512
REPORTS_PER_RUN = {1: 16_000, 10: 40_000, 100: 60_000}
"""Reports of a run by batch size: some seconds each. The ordinary way gets a twentieth of them."""


def report(number: int, at: datetime) -> dict[str, Any]:
    """A phone's report after a video: about 1.2 kB."""
    return {
        "id": str(uuid.uuid4()),
        "observed_at": at.isoformat(),
        "subscriber": f"+86139{number % 100_000_000:08d}",
        "service": "video",
        "session_id": str(uuid.uuid4()),
        "place": {
            "province": "p1",
            "city": f"c{number % 12}",
            "area": f"a{number % 40}",
            "cell": f"cell-{number % 300}",
            "rat": "LTE",
            "gateway": "gw1",
        },
        "device": {
            "model": f"m{number % 20}",
            "os": "Android",
            "os_version": "15",
            "app_version": "8.2.1",
            "device_type": "phone",
        },
        "settings": {
            "airplane_mode": False,
            "mobile_data": True,
            "apn": "cmnet",
            "vpn": False,
            "private_dns": "off",
        },
        "status": {
            "sim_state": "ready",
            "registered": True,
            "battery_pct": 71,
            "memory_free_mb": 1800,
            "network_type": "cellular",
        },
        "radio": {"rsrp_dbm": -93.0, "rsrq_db": -9.5, "sinr_db": 14.0, "neighbour_rsrp_dbm": [-99.0, -104.0]},
        "probes": [
            {
                "host": "node-3.example",
                "role": "node",
                "dns_ms": 18.0,
                "tcp_ms": 41.0,
                "first_byte_ms": 88.0,
                "http_status": 200,
                "throughput_kbps": 9200.0,
            },
            {
                "host": "reference.example",
                "role": "reference",
                "dns_ms": 16.0,
                "tcp_ms": 39.0,
                "first_byte_ms": 60.0,
                "http_status": 204,
            },
        ],
        "player": {
            "source": f"s{number % 8}",
            "node": f"n{number % 20}",
            "content_id": "film-1",
            "figures": {
                "start_delay_ms": 1450.0,
                "stall_ms": 0.0,
                "play_ms": 182_000.0,
                "stall_count": 0,
                "bitrate_kbps": 3200.0,
            },
        },
    }


def bodies(count: int, batch: int) -> list[bytes]:
    """Bodies of `batch` reports each, spread over the last minutes."""
    now = datetime.now(UTC)
    made = []
    for first in range(0, count, batch):
        items = [report(first + i, now - timedelta(seconds=(first + i) % 300)) for i in range(batch)]
        made.append(json.dumps(items).encode())
    return made


@contextmanager
def _server(arguments: list[str], port: int, ready: str, **environment: str) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *arguments], env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}{ready}", timeout=2)
                    break
                except httpx.TransportError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        raise RuntimeError(log.read().decode(errors="replace")[-2000:]) from None
                    time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(60)


def _run(port: int, requests: list[bytes]) -> Outcome:
    warm = requests[: len(requests) // 20]
    asyncio.run(drive(port, warm, CONNECTIONS))
    return asyncio.run(drive(port, requests[len(warm) :], CONNECTIONS))


def _bare(batch: int, made: list[bytes]) -> float:
    port = free_port()
    with _server([sys.executable, "-m", "tests.benchmarks.peers", "bare", str(port)], port, "/"):
        return _run(port, [post("/v1/reports", body, "application/json") for body in made]).rate * batch


def _ordinary(batch: int, made: list[bytes]) -> float:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.peers", "ordinary", str(port), folder]
        with _server(command, port, "/openapi.json"):
            return _run(port, [post("/v1/reports", body, "application/json") for body in made]).rate * batch


def _product(batch: int, made: list[bytes]) -> tuple[float, Outcome, float]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {"CEM_DATA_DIR": folder, "CEM_PORT": str(port), "CEM_LOG_LEVEL": "warning"}
        environment["CEM_JOB_INTERVAL_S"] = "3600"
        variables = {**os.environ, **environment}
        subprocess.run([CEM, "migrate"], env=variables, check=True, capture_output=True)
        token = subprocess.run(
            [CEM, "key", "add", "bench", "--kind", "feed"],
            env=variables,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        admin = subprocess.run(
            [CEM, "key", "add", "bench-metrics", "--kind", "system"],
            env=variables,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        with _server([str(CEM), "serve", "--no-demo"], port, "/readyz", **environment):
            outcome = _run(port, [post("/v1/reports", body, "application/json", token) for body in made])
            metrics = httpx.get(
                f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {admin}"}, timeout=30
            ).text
    figures = {
        line.split(" ")[0]: float(line.split(" ")[1]) for line in metrics.splitlines() if line[:1] != "#"
    }
    commits = figures.get('cem_ingest_commit_seconds_count{lane="reports"}', 0.0)
    mean_ms = 1000 * figures.get('cem_ingest_commit_seconds_sum{lane="reports"}', 0.0) / max(commits, 1.0)
    return outcome.rate * batch, outcome, mean_ms


def main() -> None:
    """Print a table: one line per batch size."""
    os.sched_setaffinity(0, {1} if (os.cpu_count() or 1) > 1 else {0})
    print(f"Reports/s, durable, one core for the server and its store, {CONNECTIONS} connections")
    print(
        f"{'batch':>6} {'bare':>9} {'cem':>9} {'ordinary':>9} {'cem/bare':>9} {'cem/ordinary':>13}"
        f" {'p50 ms':>7} {'p99 ms':>7} {'commit ms':>10} {'refused':>8}"
    )
    for batch, count in REPORTS_PER_RUN.items():
        made = bodies(count, batch)
        ours, outcome, commit_ms = _product(batch, made)
        plain = _bare(batch, made)
        usual = _ordinary(batch, made[: max(20, len(made) // 20)])
        print(
            f"{batch:>6} {plain:>9.0f} {ours:>9.0f} {usual:>9.0f} {ours / plain:>9.2f} {ours / usual:>13.1f}"
            f" {outcome.percentile(0.5):>7.1f} {outcome.percentile(0.99):>7.1f} {commit_ms:>10.1f} {outcome.refused:>8}"
        )


if __name__ == "__main__":
    main()
