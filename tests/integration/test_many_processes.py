"""Several processes on one PostgreSQL and one KQI server: what one takes, all know; what one dies of, none."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest

from cem.platform.facts import open_facts
from cem.platform.windows import WINDOW, window_start
from tests.integration.crash_load import ReportSender
from tests.processes import Service, clickhouse_process

ROUNDS = 30
BATCH = 5
SETTLED_WITHIN_S = 60.0
EMBEDDED = (
    "cem: a setting is wrong\n"
    "kqi_url: the embedded KQI store belongs to one process; use `cem serve`, or give a ClickHouse URL\n"
)


@pytest.fixture
def shared(tmp_path: Path, postgres_database_url: str) -> Iterator[dict[str, str]]:
    """Settings of one installation whose processes share everything."""
    with clickhouse_process(tmp_path / "facts") as kqi_url:
        yield {
            "database_url": postgres_database_url,
            "kqi_url": kqi_url,
            "data_dir": str(tmp_path / "data"),
        }


def _ask(url: str, path: str, key: str, **more: Any) -> httpx.Response:
    return httpx.get(url + path, headers={"Authorization": f"Bearer {key}"}, timeout=30, **more)


def test_two_apis_and_two_workers_are_one_service(tmp_path: Path, shared: dict[str, str]) -> None:
    left, right = (Service(tmp_path / name, ("api",), **shared) for name in ("left", "right"))
    workers = [Service(tmp_path / name, ("worker",), **shared) for name in ("one", "two")]
    everyone = [left, right, *workers]
    _migrate_from_three_at_once(left)
    try:
        for process in everyone:
            process.launch()
        for process in everyone:
            process.wait_until_ready()
        shown = [p for p in (left, right) if "first administrator" in p.log.read_text()]
        assert len(shown) == 1, "one first administrator, shown once"
        feed, system = left.new_key("feed"), left.new_key("system")

        start = window_start(datetime.now(UTC)) - 2 * WINDOW
        sent = _the_same_reports_at_both(left, right, feed, start)
        workers[0].kill()
        sent |= _the_same_reports_at_both(left, right, feed, start, first=1_000)
        _count_everywhere([left, right], system, start, len(sent))
        store = open_facts(shared["kqi_url"])
        try:
            rows = store.rows("SELECT report_id FROM reports FINAL")
        finally:
            store.close()
        assert sorted(row["report_id"] for row in rows) == sorted(sent)

        _check_here_follow_there(left, right, system)
        _revoke_here_end_there(left, right)
        assert [process.stop() for process in (left, right, workers[1])] == [0, 0, 0]
    finally:
        for process in everyone:
            process.stop()


def _migrate_from_three_at_once(service: Service) -> None:
    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda _: service.attempt("migrate"), range(3)))
    assert [one.returncode for one in ended] == [0, 0, 0], [one.stderr for one in ended]
    status = service.run("migrate", "--status")
    assert "newest" not in status
    assert "to apply" not in status


def _the_same_reports_at_both(
    left: Service, right: Service, feed: str, start: datetime, first: int = 0
) -> set[str]:
    """Each batch goes to both processes at the same moment; returns the ids."""
    maker = ReportSender("both", left.url, feed, start + timedelta(minutes=5), seed=1)
    together = Barrier(2)
    ids = [[f"r-{first + n * BATCH + i}" for i in range(BATCH)] for n in range(ROUNDS)]

    def send(url: str) -> list[dict[str, int]]:
        told = []
        with httpx.Client(timeout=30, headers={"Authorization": f"Bearer {feed}"}) as client:
            for batch in ids:
                together.wait(60)
                answer = client.post(
                    f"{url}/v1/reports",
                    content=maker.body(batch),
                    headers={"Content-Type": "application/json"},
                )
                assert answer.status_code == 200, answer.text
                told.append(answer.json())
        return told

    with ThreadPoolExecutor(2) as pool:
        here, there = pool.map(send, (left.url, right.url))
    for one, other in zip(here, there, strict=True):
        assert one["accepted"] + one["duplicate"] == BATCH
        assert BATCH <= one["accepted"] + other["accepted"] <= 2 * BATCH
    doubly = sum(one["accepted"] + other["accepted"] - BATCH for one, other in zip(here, there, strict=True))
    print(f"{ROUNDS * BATCH} reports to both at once; {doubly} were taken by both, before they were counted")
    return {one for batch in ids for one in batch}


def _count_everywhere(services: list[Service], key: str, start: datetime, expected: int) -> None:
    asked = {
        "indicator": "start_delay_ms",
        "service": "video",
        "vantage": "device",
        "from": start.isoformat(),
        "to": (start + WINDOW).isoformat(),
    }

    def counts() -> list[int]:
        pages = [service.get("/v1/kqi/cubes", key=key, params=asked) for service in services]
        return [sum(row["count"] for row in page["rows"]) for page in pages]

    deadline = time.monotonic() + SETTLED_WITHIN_S
    while (found := counts()) != [expected] * len(services):
        assert time.monotonic() < deadline, f"{found}, not {expected}"
        assert max(found) <= expected, "doubled"
        time.sleep(0.3)


def _check_here_follow_there(left: Service, right: Service, key: str) -> None:
    snapshot = {"id": "far", "subscriber": "+8613800000001", "settings": {"airplane_mode": True}}
    begun = left.post("/v1/self-checks?wait_ms=0", {"snapshot": snapshot}, key=key)
    kinds = []
    followed: dict[str, Any] = {}
    with httpx.stream(
        "GET",
        f"{right.url}/v1/self-checks/{begun['id']}/events",
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    ) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
            if line.startswith("data: "):
                followed = json.loads(line.removeprefix("data: "))
    assert kinds[0] == "accepted"
    assert kinds[-1] == "verdict"
    assert followed["domain"] == "terminal"
    here, there = (service.get(f"/v1/self-checks/{begun['id']}", key=key) for service in (left, right))
    assert here == there
    assert there["verdict"]["id"] == followed["id"]
    again = right.post("/v1/self-checks", {"snapshot": snapshot}, key=key)
    assert again["id"] == begun["id"], "the same snapshot sent to the other process is the same check"


def _revoke_here_end_there(left: Service, right: Service) -> None:
    secret = left.run("key", "add", "short-lived", "--kind", "system").strip()
    (listed,) = [line for line in left.run("key", "list").splitlines() if "short-lived" in line]
    for service in (left, right):
        assert _ask(service.url, "/v1/me", secret).status_code == 200
    left.run("key", "revoke", listed.split("\t")[0])
    deadline = time.monotonic() + 30
    for service in (left, right):
        while (status := _ask(service.url, "/v1/me", secret).status_code) != 401:
            assert status == 200
            assert time.monotonic() < deadline, "a revoked key is still good"
            time.sleep(0.1)


@pytest.mark.parametrize("command", ["api", "worker"])
def test_embedded_stores_belong_to_one_process(tmp_path: Path, command: str) -> None:
    ended = Service(tmp_path, (command,)).attempt(command)
    assert (ended.returncode, ended.stderr, ended.stdout) == (2, EMBEDDED, "")


def test_a_second_process_on_the_embedded_store_is_refused(tmp_path: Path) -> None:
    first = Service(tmp_path)
    first.start()
    try:
        second = first.attempt("migrate")
        assert second.returncode == 3
        assert "chDB allows one process per folder" in second.stderr
        assert "Traceback" not in second.stderr
        assert first.alive()
    finally:
        assert first.stop() == 0
