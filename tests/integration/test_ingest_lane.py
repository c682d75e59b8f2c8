"""The short way for reports answers as the documented route does, whatever comes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cem.platform.facts import FactStore, open_facts
from cem.platform.facts_migrate import migrate
from sdk_ingest.parsing import IngestLimits
from tests.integration.ingest_support import OTHER_NUMBER, StoreClock, bearer, collector, report

LIMITS = IngestLimits(max_body_bytes=3_000, max_inflated_bytes=5_000, max_items=5)


@pytest.fixture
def now() -> StoreClock:
    return StoreClock()


@pytest.fixture
def store(tmp_path: Path, now: StoreClock) -> Iterator[FactStore]:
    opened = open_facts(f"chdb:///{tmp_path}/kqi")
    migrate(opened, now.now())
    yield opened
    opened.close()


def requests_of(now: StoreClock, prefix: str) -> list[dict[str, Any]]:
    good = report(now, f"{prefix}-a")
    return [
        {"json": good, "headers": bearer("device")},
        {"json": [good, report(now, f"{prefix}-b"), {}], "headers": bearer("device")},
        {"json": [report(now, f"{prefix}-c", subscriber=OTHER_NUMBER)], "headers": bearer("device")},
        {"json": [report(now, f"{prefix}-d", age=timedelta(hours=50))], "headers": bearer("feed")},
        {"content": b"[", "headers": bearer("device")},
        {"content": b"[]", "headers": bearer("device")},
        {"content": b"<a/>", "headers": bearer("device", content_type="text/xml")},
        {"content": b"x" * 3_001, "headers": bearer("device")},
        {"content": gzip.compress(b" " * 6_000), "headers": bearer("device", content_encoding="gzip")},
        {
            "content": gzip.compress(json.dumps(good).encode()),
            "headers": bearer("device", content_encoding="gzip"),
        },
        {"json": [{}] * 6, "headers": bearer("device")},
        {"json": good},
        {"json": good, "headers": bearer("nobody")},
        {"json": good, "headers": {"authorization": "Basic x"}},
        {"json": good, "headers": bearer("powerless")},
    ]


def told(answer: httpx.Response) -> tuple[Any, ...]:
    body = answer.json()
    body.pop("commit_ms", None)
    names = ("content-type", "retry-after", "www-authenticate")
    return answer.status_code, body, [answer.headers.get(name) for name in names]


def test_lane_and_route_answer_the_same(store: FactStore, now: StoreClock) -> None:
    with (
        collector(store, now, limits=LIMITS) as route,
        collector(store, now, limits=LIMITS, lane=True) as lane,
    ):
        by_route = [told(route.post("/v1/reports", **sent)) for sent in requests_of(now, "route")]
        by_lane = [told(lane.post("/v1/reports", **sent)) for sent in requests_of(now, "lane")]
        assert by_lane == by_route
        assert {status for status, *_ in by_lane} == {200, 400, 401, 403, 413, 415, 422}
        assert told(lane.get("/v1/reports")) == told(route.get("/v1/reports"))
    stored = [
        row["report_id"] for row in store.rows("SELECT report_id FROM reports FINAL ORDER BY report_id")
    ]
    assert stored == ["lane-a", "lane-b", "route-a", "route-b"]


def test_a_store_that_fails_is_503_through_the_lane_too(store: FactStore, now: StoreClock) -> None:
    with collector(store, now, lane=True) as client:
        store.execute("RENAME TABLE reports TO hidden")
        answer = client.post("/v1/reports", json=report(now, "a"), headers=bearer("device"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["content-type"] == "application/problem+json"
        store.execute("RENAME TABLE hidden TO reports")
        assert (
            client.post("/v1/reports", json=report(now, "a"), headers=bearer("device")).json()["accepted"]
            == 1
        )


def test_other_routes_go_past_the_lane(store: FactStore, now: StoreClock) -> None:
    with collector(store, now, lane=True) as client:
        assert client.get("/v1/schemas/report").status_code == 200
