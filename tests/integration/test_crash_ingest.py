"""kill -9 in the middle of ingest, again and again: what was acknowledged is there, once, and counts once."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cem.platform.facts import open_facts
from cem.platform.windows import WINDOW, window_start
from tests.integration.crash_load import CmcdSender, ReportSender, SampleSender, Sender
from tests.processes import Service

KILLS = 8
SETTLED_WITHIN_S = 60.0


def _cube_count(service: Service, key: str, start: datetime, indicator: str, **filters: str) -> int:
    asked = {"indicator": indicator, "service": "video", "from": start.isoformat(), **filters}
    page = service.get("/v1/kqi/cubes", key=key, params={**asked, "to": (start + WINDOW).isoformat()})
    return sum(row["count"] for row in page["rows"])


@pytest.mark.crash
def test_killed_while_taking_reports_cmcd_and_samples(tmp_path: Path) -> None:
    service = Service(tmp_path, commit_delay_ms="20")
    service.start()
    feed, system = service.new_key("feed"), service.new_key("system")
    start = window_start(datetime.now(UTC)) - 2 * WINDOW
    felt_at = start + timedelta(minutes=5)
    senders: list[Sender] = [
        kind(f"{kind.path[4:10]}{number}".replace("/", ""), service.url, feed, felt_at, seed=number)
        for number, kind in enumerate([ReportSender, ReportSender, CmcdSender, SampleSender, SampleSender])
    ]
    dice = random.Random(20_261_122)
    try:
        for sender in senders:
            sender.start()
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.05, 1.5))
            service.kill()
            service.start()
        for sender in senders:
            sender.finish()
        reports = set().union(*(s.acknowledged for s in senders if isinstance(s, ReportSender)))
        cmcd = set().union(*(s.acknowledged for s in senders if isinstance(s, CmcdSender)))
        samples = set().union(*(s.acknowledged for s in senders if isinstance(s, SampleSender)))
        print(
            f"{KILLS} kills; acknowledged {len(reports)} reports, {len(cmcd)} CMCD sessions, "
            f"{len(samples)} samples; {sum(s.unanswered for s in senders)} requests unanswered, "
            f"{sum(s.refused for s in senders)} refused, {sum(s.resent for s in senders)} items sent again"
        )
        assert sum(s.unanswered for s in senders) >= KILLS // 2, "the kills did not hit a request"

        expected = (len(reports), len(cmcd), len(samples))
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while (counted := _counted(service, system, start)) != expected and time.monotonic() < deadline:
            time.sleep(0.3)
        assert counted == expected
        service.wait_for_rounds("sessions", 3, key=system)
        service.wait_for_rounds("cubes", 3, key=system)
        assert _counted(service, system, start) == expected
        assert service.stop() == 0
    finally:
        for sender in senders:
            sender.problem = sender.problem or "the test ended"
        service.stop()

    store = open_facts(f"chdb:///{tmp_path / 'data' / 'kqi'}", connections=1)
    try:
        stored = store.rows("SELECT report_id FROM reports FINAL")
        assert sorted(row["report_id"] for row in stored) == sorted(reports)
        events = store.rows(
            "SELECT session_id, count() AS events, uniqExact(item_key) AS keys FROM player_events FINAL"
            " WHERE origin = 'cmcd' GROUP BY session_id"
        )
        assert {row["session_id"] for row in events} == cmcd
        assert {(row["events"], row["keys"]) for row in events} == {(3, 3)}
        found = store.rows(
            "SELECT count() AS n, uniqExact(item_key) AS keys FROM samples FINAL WHERE vantage = 'cloud'"
        )
        assert found == [{"n": len(samples), "keys": len(samples)}]
    finally:
        store.close()


def _counted(service: Service, key: str, start: datetime) -> tuple[int, int, int]:
    """Reported sessions, CMCD sessions and samples, by the cubes."""
    reported = _cube_count(service, key, start, "start_delay_ms", vantage="device", source="reported")
    played = _cube_count(service, key, start, "start_delay_ms", vantage="device")
    sampled = _cube_count(service, key, start, "first_byte_ms", vantage="cloud", source="sampled")
    return reported, played - reported, sampled
