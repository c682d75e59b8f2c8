"""SIGTERM while self-checks and reports are under way: whatever was accepted is answered, and the exit code is 0."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from cem.platform.facts import open_facts
from cem.platform.windows import WINDOW, window_start
from tests.integration.crash_load import ReportSender
from tests.integration.hung_upstreams import upstreams
from tests.processes import Service

CHECKS = 20


@pytest.mark.crash
def test_a_stopped_service_answers_what_it_accepted(tmp_path: Path) -> None:
    with upstreams() as slow:
        upstream = f"[{{name = 'slow', url = 'http://127.0.0.1:{slow.port}/hangs', budget_s = 3.0}}]"
        service = Service(tmp_path, upstreams=upstream)
        service.start()
        try:
            feed, system = service.new_key("feed"), service.new_key("system")
            felt_at = window_start(datetime.now(UTC)) - 2 * WINDOW + timedelta(minutes=5)
            sender = ReportSender("reports", service.url, feed, felt_at, seed=3)
            acknowledged: set[str] = set()
            cut_off = threading.Event()

            def report() -> None:
                """Until connections are refused: an answer that began must end."""
                with httpx.Client(timeout=30, headers={"Authorization": f"Bearer {feed}"}) as client:
                    for number in range(100_000):
                        ids = [f"r-{threading.get_ident()}-{number}"]
                        try:
                            answer = client.post(
                                f"{service.url}/v1/reports",
                                content=sender.body(ids),
                                headers={"Content-Type": "application/json"},
                            )
                        except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
                            cut_off.set()
                            return
                        assert answer.status_code in {200, 503}, answer.text
                        if answer.status_code == 200:
                            acknowledged.update(ids)

            def check(number: int) -> httpx.Response:
                body = {"snapshot": {"id": f"c-{number}", "subscriber": f"+8613800{number:06d}"}}
                return httpx.post(
                    f"{service.url}/v1/self-checks?wait_ms=20000",
                    json=body,
                    headers={"Authorization": f"Bearer {system}"},
                    timeout=60,
                )

            with ThreadPoolExecutor(CHECKS + 2) as pool:
                reporting = [pool.submit(report) for _ in range(2)]
                checks = [pool.submit(check, number) for number in range(CHECKS)]
                deadline = time.monotonic() + 30
                while slow.asked["/hangs"] < CHECKS:  # every check is accepted and waits for its evidence
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                service.interrupt()
                answers = [one.result() for one in checks]
                for one in reporting:
                    one.result()
            assert service.wait() == 0
            assert {answer.status_code for answer in answers} == {200}
            for answer in answers:
                assert "slow" in {one["source"] for one in answer.json()["verdict"]["missing"]}
            assert acknowledged
            assert cut_off.is_set()
            assert "Traceback" not in service.log.read_text()
        finally:
            service.stop()
        store = open_facts(f"chdb:///{tmp_path / 'data' / 'kqi'}", connections=1)
        try:
            stored = {row["report_id"] for row in store.rows("SELECT report_id FROM reports FINAL")}
        finally:
            store.close()
        assert acknowledged <= stored
