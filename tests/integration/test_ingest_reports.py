"""Reports over HTTP into the real store: who, what is stored, and that an id counts once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard

from cem.platform.facts import FactStore, open_facts
from cem.platform.facts_migrate import migrate
from sdk_ingest.documentation import EXAMPLE_REPORT
from sdk_ingest.parsing import IngestLimits
from tests.clickhouse_server import serving
from tests.integration.ingest_support import (
    LINE,
    NUMBER,
    OTHER_LINE,
    OTHER_NUMBER,
    StoreClock,
    bearer,
    collector,
    report,
)
from tests.web_client import WebClient


@pytest.fixture
def now() -> StoreClock:
    return StoreClock()


@pytest.fixture(params=["chdb", "clickhouse"])
def store(request: pytest.FixtureRequest, tmp_path: Path, now: StoreClock) -> Iterator[FactStore]:
    if request.param == "chdb":
        opened = open_facts(f"chdb:///{tmp_path}/kqi")
        migrate(opened, now.now())
        yield opened
        opened.close()
        return
    with serving(tmp_path / "kqi", credentials="cem:secret") as server:
        opened = open_facts(f"clickhouse://cem:secret@127.0.0.1:{server.port}/cem")
        migrate(opened, now.now())
        yield opened
        opened.close()


@pytest.fixture
def client(store: FactStore, now: StoreClock) -> Iterator[WebClient]:
    with collector(store, now) as opened:
        yield opened


def counts(answer: httpx.Response) -> tuple[int, int, int]:
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["rejected"] == len(told["errors"])
    return told["accepted"], told["duplicate"], told["rejected"]


def send(client: WebClient, items: Any, caller: str = "device", **arguments: Any) -> httpx.Response:
    return client.post("/v1/reports", json=items, headers=bearer(caller), **arguments)


def stored(store: FactStore, what: str = "report_id", table: str = "reports") -> list[Any]:
    return [row[what] for row in store.rows(f"SELECT {what} FROM {table} FINAL ORDER BY {what}")]


def test_a_report_is_stored_with_its_line_dimensions_values_and_whole_body(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    at = now.now() - timedelta(minutes=2)
    sent = EXAMPLE_REPORT | {"observed_at": at.isoformat(), "new_group": {"x": [1, "é"]}}
    sent["player"] = {
        **sent["player"],
        "events": [
            {"kind": "requested", "at": at.isoformat()},
            {"kind": "ended", "at": at.isoformat(), "sequence": 2},
        ],
    }
    assert counts(send(client, sent)) == (1, 0, 0)
    (row,) = store.rows("SELECT * FROM reports FINAL")
    assert json.loads(row["body"]) == sent
    assert (row["subscriber_id"], row["origin"], row["caller_id"]) == (LINE, "device", "")
    assert (row["city"], row["cell"], row["rat"], row["source"]) == (
        "Kunming",
        "46000-1234-17",
        "NR",
        "sports",
    )
    assert row["observed_at"] == at
    assert row["window"] == at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
    assert row["values"]["rsrp_dbm"] == -97.0
    assert row["values"]["tcp_ms"] == 31.0
    events = store.rows("SELECT * FROM player_events FINAL ORDER BY sequence")
    assert [(event["event"], event["session_id"]) for event in events] == [
        ("requested", sent["session_id"]),
        ("ended", sent["session_id"]),
    ]
    assert events[0]["labels"]["cell"] == "46000-1234-17"
    assert events[0]["subscriber_id"] == LINE


def test_good_items_are_stored_among_bad_ones(client: WebClient, store: FactStore, now: StoreClock) -> None:
    answer = send(
        client,
        [
            report(now, "a"),
            report(now, "b", radio={"rsrp_dbm": 7}),
            report(now, "c", age=timedelta(hours=49)),
            report(now, "d", age=timedelta(hours=47)),
            report(now, "e", age=timedelta(minutes=-6)),
            {},
        ],
    )
    assert counts(answer) == (2, 0, 4)
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
        ("/1/radio/rsrp_dbm", "out_of_range"),
        ("/2/observed_at", "too_late"),
        ("/4/observed_at", "in_future"),
        ("/5/id", "missing"),
    ]
    assert stored(store) == ["a", "d"]


def test_a_body_without_one_good_item_is_a_problem_that_names_them_all(
    client: WebClient, now: StoreClock
) -> None:
    answer = send(client, [{}, report(now, "a", msisdn=NUMBER)])
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["accepted"], problem["rejected"], problem["pointer"]) == (0, 2, "/0/id")
    assert [error["code"] for error in problem["errors"]] == ["missing", "personal_field"]
    assert NUMBER not in answer.text


def test_an_id_counts_once_in_a_batch_between_requests_and_after_reopening(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    assert counts(send(client, [report(now, "a"), report(now, "b"), report(now, "a")])) == (2, 1, 0)
    assert counts(send(client, [report(now, "b"), report(now, "c")])) == (1, 1, 0)
    with collector(store, now) as second_start:
        assert counts(send(second_start, [report(now, "c"), report(now, "d")])) == (1, 1, 0)
    assert stored(store) == ["a", "b", "c", "d"]


def test_an_id_sent_again_with_another_time_is_the_same_item(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    assert counts(send(client, report(now, "a", radio={"rsrp_dbm": -90}))) == (1, 0, 0)
    moved = report(now, "a", age=timedelta(hours=30), radio={"rsrp_dbm": -70})
    assert counts(send(client, moved)) == (0, 1, 0)
    with collector(store, now) as second_start:
        assert counts(send(second_start, moved)) == (0, 1, 0)
    assert [row["values"] for row in store.rows("SELECT values FROM reports FINAL")] == [{"rsrp_dbm": -90.0}]


def test_another_process_on_the_same_store_knows_it_at_once(store: FactStore, now: StoreClock) -> None:
    with collector(store, now, exclusive=False) as one, collector(store, now, exclusive=False) as other:
        assert counts(send(one, report(now, "a"))) == (1, 0, 0)
        assert counts(send(other, report(now, "a", age=timedelta(hours=5)))) == (0, 1, 0)
        assert counts(send(other, report(now, "b"))) == (1, 0, 0)
        assert counts(send(one, report(now, "b", age=timedelta(hours=5)))) == (0, 1, 0)
    assert stored(store) == ["a", "b"]


def test_a_start_after_a_crash_knows_items_whose_keys_were_not_written(
    store: FactStore, now: StoreClock
) -> None:
    with collector(store, now) as first:
        assert counts(send(first, report(now, "a"))) == (1, 0, 0)
    store.execute("TRUNCATE TABLE item_keys")  # what a kill between a report's row and its key leaves
    with collector(store, now) as second:
        assert counts(send(second, report(now, "a", age=timedelta(hours=20)))) == (0, 1, 0)
    assert stored(store) == ["a"]


def test_events_that_a_crash_left_alone_meet_themselves_when_sent_again(
    store: FactStore, now: StoreClock
) -> None:
    at = (now.now() - timedelta(minutes=1)).isoformat()
    sent = report(now, "a", session_id="v", player={"events": [{"kind": "requested", "at": at}]})
    with collector(store, now) as first:
        assert counts(send(first, sent)) == (1, 0, 0)
    store.execute("TRUNCATE TABLE item_keys")  # what a kill between the events and their report leaves
    store.execute("TRUNCATE TABLE reports")
    now.advance(timedelta(minutes=1))
    with collector(store, now) as second:
        assert counts(send(second, sent)) == (1, 0, 0)
    assert stored(store, "event", "player_events") == ["requested"]
    assert stored(store) == ["a"]


def test_one_id_of_two_lines_is_two_items(client: WebClient, store: FactStore, now: StoreClock) -> None:
    assert counts(send(client, report(now, "a"))) == (1, 0, 0)
    assert counts(send(client, report(now, "a"), caller="other-device")) == (1, 0, 0)
    assert sorted(stored(store, "subscriber_id")) == sorted([LINE, OTHER_LINE])


def test_a_feed_names_lines_by_number_which_is_never_stored(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    items = [
        report(now, "a", subscriber="138 1234 5678"),
        report(now, "b", subscriber="nonsense"),
        report(now, "c"),
        report(now, "d", install_id="i-1"),
    ]
    answer = send(client, items, caller="feed")
    assert counts(answer) == (2, 0, 2)
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
        ("/1/subscriber", "bad_number"),
        ("/2", "nobody"),
    ]
    rows = store.rows(
        "SELECT subscriber_id, install_id, caller_id, origin, body FROM reports FINAL ORDER BY report_id"
    )
    assert [(row["subscriber_id"], row["install_id"]) for row in rows] == [(LINE, ""), ("", "i-1")]
    assert {(row["caller_id"], row["origin"]) for row in rows} == {("probe-feed", "feed")}
    assert not any("subscriber" in row["body"] or "1234" in row["body"] for row in rows)


def test_a_device_reports_for_its_own_line_only(client: WebClient, store: FactStore, now: StoreClock) -> None:
    items = [report(now, "a", subscriber=NUMBER), report(now, "b", subscriber=OTHER_NUMBER)]
    answer = send(client, items)
    assert counts(answer) == (1, 0, 1)
    assert answer.json()["errors"][0]["pointer"] == "/1/subscriber"
    assert answer.json()["errors"][0]["code"] == "not_own_line"
    assert stored(store, "subscriber_id") == [LINE]


def test_lines_and_archives_are_taken(client: WebClient, store: FactStore, now: StoreClock) -> None:
    lines = b"\n".join(json.dumps(report(now, name)).encode() for name in "ab")
    sends = [
        (lines, {"content_type": "application/x-ndjson"}),
        (
            gzip.compress(b"[%s]" % lines.replace(b"\n", b",")),
            {"content_type": "application/json", "content_encoding": "gzip"},
        ),
        (zstandard.compress(lines), {"content_type": "application/x-ndjson", "content_encoding": "zstd"}),
    ]
    answers = [
        client.post("/v1/reports", content=body, headers=bearer("device", **kind)) for body, kind in sends
    ]
    assert [counts(answer) for answer in answers] == [(2, 0, 0), (0, 2, 0), (0, 2, 0)]
    assert stored(store) == ["a", "b"]


def test_a_batch_over_two_days_and_past_one_look_up_is_one_answer(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    items = [report(now, f"r-{n:04}", age=timedelta(minutes=n % 2_800)) for n in range(4_500)]
    assert counts(send(client, items)) == (4_500, 0, 0)
    assert counts(send(client, items)) == (0, 4_500, 0)
    with collector(store, now) as second_start:
        assert counts(send(second_start, [*items[:3], report(now, "new")])) == (1, 3, 0)
    assert len(stored(store)) == 4_501


def test_requests_at_once_are_each_answered_for_their_own_items(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    calls = [
        (
            "POST",
            "/v1/reports",
            {"json": [report(now, f"r-{n}"), report(now, "shared")], "headers": bearer("device")},
        )
        for n in range(20)
    ]
    told = [counts(answer) for answer in client.at_once(*calls)]
    assert sum(accepted for accepted, _, _ in told) == 21
    assert sum(duplicate for _, duplicate, _ in told) == 19
    assert len(stored(store)) == 21


def test_callers_without_right_and_bodies_beyond_bounds_are_refused(
    store: FactStore, now: StoreClock
) -> None:
    limits = IngestLimits(max_body_bytes=2_000, max_inflated_bytes=4_000, max_items=3)
    with collector(store, now, limits=limits) as client:
        assert client.post("/v1/reports", json=[]).status_code == 401
        assert send(client, [report(now, "a")], caller="powerless").status_code == 403
        assert send(client, [report(now, "a", x="y" * 2_000)]).status_code == 413
        assert send(client, [report(now, str(n)) for n in range(4)]).json()["bound"] == "items"
        packed = {
            "content": gzip.compress(b" " * 5_000),
            "headers": bearer("device", content_encoding="gzip"),
        }
        assert client.post("/v1/reports", **packed).json()["bound"] == "inflated_bytes"
        xml = {"content": b"<a/>", "headers": bearer("device", content_type="text/xml")}
        assert client.post("/v1/reports", **xml).status_code == 415
        assert client.post("/v1/reports", content=b"[", headers=bearer("device")).status_code == 400
    assert stored(store) == []


def test_a_store_that_fails_gives_503_and_accepts_nothing(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    store.execute("RENAME TABLE reports TO hidden")
    answer = send(client, report(now, "a"))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    store.execute("RENAME TABLE hidden TO reports")
    assert counts(send(client, report(now, "a"))) == (1, 0, 0)


def test_the_schema_is_published_by_version(client: WebClient) -> None:
    newest = client.get("/v1/schemas/report")
    assert newest.headers["content-type"].startswith("application/schema+json")
    assert newest.headers["content-location"] == "/v1/schemas/report/1.0"
    assert newest.json() == client.get("/v1/schemas/report/1.0").json()
    assert newest.json()["$defs"]["Report"]["required"] == ["id", "observed_at"]
    assert client.get("/v1/schemas/report/0.9").status_code == 404
