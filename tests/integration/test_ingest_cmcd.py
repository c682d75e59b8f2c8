"""CMCD events over HTTP into the real store, and the self-check's snapshot as a report."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from cem.platform.errors import InvalidInput
from cem.platform.facts import FactStore, open_facts
from cem.platform.facts_migrate import migrate
from cem.platform.group_commit import Outcome
from sdk_ingest.parsing import IngestLimits
from sdk_ingest.service import IngestService
from sdk_ingest.writer import open_writer
from tests.integration.ingest_support import HASHER, LINE, NUMBER, StoreClock, bearer, collector
from tests.web_client import WebClient


@pytest.fixture
def now() -> StoreClock:
    return StoreClock()


@pytest.fixture
def store(tmp_path: Path, now: StoreClock) -> Iterator[FactStore]:
    opened = open_facts(f"chdb:///{tmp_path}/kqi")
    migrate(opened, now.now())
    yield opened
    opened.close()


@pytest.fixture
def client(store: FactStore, now: StoreClock) -> Iterator[WebClient]:
    with collector(store, now) as opened:
        yield opened


def record(now: StoreClock, sn: int, more: str, age_s: float = 60) -> str:
    ts = round((now.now() - timedelta(seconds=age_s)).timestamp() * 1000) + sn
    return f'cid="film-1",e={more},sf=h,sid="v-1",sn={sn},ts={ts},v=2\n'


def post(client: WebClient, body: str, path: str = "/v1/cmcd", **headers: str) -> httpx.Response:
    given = {"content_type": "application/cmcd"} | headers
    return client.post(path, content=body.encode(), headers=bearer("device", **given))


def events(store: FactStore) -> list[tuple[int, str]]:
    rows = store.rows("SELECT sequence, event FROM player_events FINAL ORDER BY sequence")
    return [(row["sequence"], row["event"]) for row in rows]


def test_events_are_stored_on_the_tokens_line(client: WebClient, store: FactStore, now: StoreClock) -> None:
    body = record(now, 0, "t") + record(now, 2, "ps,sta=s") + record(now, 3, "ps,bl=(900),sta=p")
    answer = post(client, body)
    assert (answer.status_code, answer.content) == (204, b"")
    assert events(store) == [(0, "progress"), (2, "requested"), (3, "playing")]
    row = store.rows("SELECT * FROM player_events FINAL WHERE sequence = 3")[0]
    assert (row["subscriber_id"], row["session_id"], row["origin"]) == (LINE, "v-1", "cmcd")
    assert row["observed_at"] == (now.now() - timedelta(seconds=60) + timedelta(milliseconds=3))
    assert row["values"] == {"buffer_ms": 900.0}
    assert row["labels"] == {"e": "ps", "service": "video", "sta": "p", "content_id": "film-1", "format": "h"}


def test_a_record_sent_again_or_out_of_order_is_one_event(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    first, second = record(now, 1, "ps,sta=s"), record(now, 2, "ps,sta=p")
    for body in (second, first, second + first, first):
        assert post(client, body).status_code == 204
    with collector(store, now) as second_start:
        assert post(second_start, first).status_code == 204
    assert events(store) == [(1, "requested"), (2, "playing")]


def test_a_token_in_the_path_counts_where_there_is_no_header(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    body = record(now, 1, "ps,sta=s").encode()
    plain = {"content-type": "application/cmcd"}
    assert client.post("/v1/cmcd/device", content=body, headers=plain).status_code == 204
    assert client.post("/v1/cmcd/nobody", content=body, headers=plain).status_code == 401
    assert client.post("/v1/cmcd/powerless", content=body, headers=plain).status_code == 403
    assert client.post("/v1/cmcd", content=body, headers=plain).status_code == 401
    assert events(store) == [(1, "requested")]


def test_bad_records_are_named_by_line_and_good_ones_kept(
    client: WebClient, store: FactStore, now: StoreClock
) -> None:
    body = (
        record(now, 1, "ps,sta=s")
        + "no record at all(\n"
        + record(now, 3, "ps,br=(fast),sta=p")
        + record(now, 4, "ps,sta=p", age_s=49 * 3600)
        + record(now, 5, "ps,sta=p", age_s=-301)
        + record(now, 6, "ps,sta=r")
    )
    answer = post(client, body)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], told["duplicate"], told["rejected"]) == (2, 0, 4)
    assert [(error["pointer"], error["code"]) for error in told["errors"]] == [
        ("/1/no", "bad_member"),
        ("/2/br", "wrong_type"),
        ("/3/ts", "too_late"),
        ("/4/ts", "in_future"),
    ]
    assert events(store) == [(1, "requested"), (6, "stall_started")]


def test_a_body_without_one_good_record_is_refused(client: WebClient) -> None:
    assert post(client, "nonsense((\n").status_code == 422
    assert post(client, "\n\n").status_code == 422
    assert post(client, "e=t\n", content_type="application/json").status_code == 415
    assert post(client, "e=t\n", content_type="application/cmcd; charset=utf-8").status_code == 422


def test_text_plain_is_tolerated_and_too_many_records_are_not(store: FactStore, now: StoreClock) -> None:
    with collector(store, now, limits=IngestLimits(max_items=2)) as client:
        assert post(client, record(now, 1, "t"), content_type="text/plain").status_code == 204
        answer = post(client, "".join(record(now, n, "t") for n in range(3)))
        assert (answer.status_code, answer.json()["bound"]) == (413, "items")
    assert events(store) == [(1, "progress")]


def test_a_snapshot_is_read_as_a_report_and_stored_as_one(store: FactStore, now: StoreClock) -> None:
    service = IngestService(open_writer(store, now, exclusive=True), now, HASHER)
    snapshot = service.snapshot(
        {"subscriber": NUMBER, "symptom": "stall", "radio": {"rsrp_dbm": -101}, "new": 1}
    )
    assert snapshot.report.observed_at == now.now()
    assert snapshot.report.radio is not None
    first = asyncio.run(service.store_snapshot(snapshot, subscriber_id=LINE, origin="staff"))
    again = asyncio.run(service.store_snapshot(snapshot, subscriber_id=LINE, origin="staff"))
    assert (first.outcomes, again.outcomes) == ((Outcome.ACCEPTED,), (Outcome.DUPLICATE,))
    (row,) = store.rows("SELECT * FROM reports FINAL")
    assert (row["subscriber_id"], row["origin"], row["values"]) == (LINE, "staff", {"rsrp_dbm": -101.0})
    assert '"new":1' in row["body"]
    assert NUMBER not in row["body"]
    service.close()


def test_a_snapshot_that_is_no_report_is_named(store: FactStore, now: StoreClock) -> None:
    service = IngestService(open_writer(store, now, exclusive=True), now, HASHER)
    for body, pointer, code in (
        ({"radio": {"rsrp_dbm": 7}}, "/radio/rsrp_dbm", "out_of_range"),
        ({"observed_at": "2001-01-01"}, "/observed_at", "bad_time"),
        ({"device": {"imei": "1"}}, "/device/imei", "personal_field"),
        (b"[]", "", "not_an_object"),
        (b"{}", "/id", "missing"),
    ):
        with pytest.raises(InvalidInput) as error:
            service.snapshot(body)
        assert (error.value.pointer, error.value.extra["code"]) == (pointer, code)
    service.close()


def test_a_snapshot_of_a_phone_whose_clock_is_wrong_counts_as_of_now(
    store: FactStore, now: StoreClock
) -> None:
    service = IngestService(open_writer(store, now, exclusive=True), now, HASHER)
    events = [{"kind": "requested", "at": "2001-01-01T00:00:00Z"}]
    sent = {"id": "a", "observed_at": "2001-01-01T00:00:00Z", "player": {"node": "n-1", "events": events}}
    snapshot = service.snapshot(sent)
    asyncio.run(service.store_snapshot(snapshot, subscriber_id=LINE, origin="device"))
    (row,) = store.rows("SELECT observed_at, node, body FROM reports FINAL")
    assert (row["observed_at"], row["node"]) == (now.now(), "n-1")
    assert json.loads(row["body"]) == sent
    assert store.rows("SELECT count() AS n FROM player_events") == [{"n": 0}]
    service.close()
