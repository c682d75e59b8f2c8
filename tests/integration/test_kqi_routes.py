"""The room behind its routes: samples in, sessions and cubes out, and who may."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from fastapi import FastAPI, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cem.platform.errors import FactStoreError, Unauthenticated
from cem.platform.facts import FactStore, open_facts
from cem.platform.keys import Key
from cem.platform.security import (
    KIND_PERMISSIONS,
    ROLE_PERMISSIONS,
    Guard,
    NumberHasher,
    Principal,
    PrincipalKind,
    Role,
    guarded_routes,
    presented_credential,
)
from cem.platform.web import install_problem_details
from kqi.catalogue import BAD_IF, CATALOGUE, is_bad
from kqi.cubes import CubeJob
from kqi.cuts import bad_sql
from kqi.endpoints import build_router
from kqi.service import KqiLimits, KqiService
from kqi.session_job import SessionJob
from kqi.writer import open_samples_writer
from tests.conftest import FakeClock
from tests.integration.kqi_support import ENGINES, Facts, opened, standing_clock
from tests.integration.test_kqi_sessions import PLAYED
from tests.web_client import WebClient

NUMBER = "+8613812345678"
HASHER = NumberHasher(Key(b"k" * 32))
LINE = HASHER(NUMBER)


def _caller(kind: PrincipalKind, line: str | None = None) -> Principal:
    return Principal(kind, f"{kind}-1", subscriber_id=line, permissions=KIND_PERMISSIONS[kind])


CALLERS = {
    "device": _caller(PrincipalKind.DEVICE, LINE),
    "other": _caller(PrincipalKind.DEVICE, HASHER("+8613987654321")),
    "feed": _caller(PrincipalKind.FEED),
    "system": _caller(PrincipalKind.SYSTEM),
    "agent": Principal(
        PrincipalKind.STAFF, "u1", roles=frozenset({Role.AGENT}), permissions=ROLE_PERMISSIONS[Role.AGENT]
    ),
}


def _authenticate(request: Request) -> Principal:
    shown = presented_credential(request)
    if shown is None or shown.credential not in CALLERS:
        raise Unauthenticated("unknown")
    return CALLERS[shown.credential]


class Room:
    """The room on a store, with its jobs."""

    def __init__(self, store: FactStore, clock: FakeClock) -> None:
        self.store, self.clock, self.facts = store, clock, Facts(store)
        self.commits = open_samples_writer(store, clock, exclusive=True, gather_ms=1)
        self.service = KqiService(
            store, clock, commits=self.commits, hash_number=HASHER, limits=KqiLimits(max_items=50)
        )
        self.app = FastAPI()
        install_problem_details(self.app)
        self.app.include_router(build_router(self.service, Guard(_authenticate), clock))
        self.client = WebClient(self.app)

    def work(self) -> None:
        SessionJob(self.store, self.clock, busy_share=1, least_rest_s=0).tick()
        CubeJob(self.store, self.clock, busy_share=1, least_rest_s=0).tick()

    def post(self, feed: str, body: Any, caller: str = "feed", **headers: str) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(
            f"/v1/samples/{feed}",
            content=content,
            headers={"authorization": f"Bearer {caller}", "content-type": "application/json", **headers},
        )

    def get(self, path: str, caller: str = "agent", **options: Any) -> Any:
        headers = {"authorization": f"Bearer {caller}", **options.pop("headers", {})}
        return self.client.get(path, headers=headers, **options)

    def close(self) -> None:
        self.client.__exit__(None, None, None)
        self.commits.close()
        self.service.close()


@pytest.fixture(params=ENGINES)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    with opened(request.param, tmp_path) as store:
        made = Room(store, standing_clock())
        yield made
        made.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Room]:
    with opened("chdb", tmp_path) as store:
        made = Room(store, standing_clock())
        yield made
        made.close()


def sample(number: int, **change: Any) -> dict[str, Any]:
    return {
        "id": f"x{number}",
        "observed_at": "2050-03-01T12:03:00Z",
        "subscriber": NUMBER,
        "service": "video",
        "dimensions": {"city": "杭州", "cell": "c1"},
        "values": {"tcp_setup_user_ms": 30.0 + number},
    } | change


def test_samples_are_stored_once_whatever_way_they_come(room: Room) -> None:
    body = json.dumps([sample(1), sample(2)]).encode()
    first = room.post("pipe", body)
    assert first.status_code == 200
    assert {name: first.json()[name] for name in ("accepted", "duplicate", "rejected")} == {
        "accepted": 2, "duplicate": 0, "rejected": 0,
    }  # fmt: skip
    again = room.post("pipe", zstandard.compress(body), **{"content-encoding": "zstd"})
    assert (again.json()["accepted"], again.json()["duplicate"]) == (0, 2)
    moved = json.dumps(sample(1, observed_at="2050-03-01T11:03:00Z")) + "\n" + json.dumps(sample(3)) + "\n"
    third = room.post(
        "pipe",
        gzip.compress(moved.encode()),
        **{"content-encoding": "gzip", "content-type": "application/x-ndjson"},
    )
    assert (third.json()["accepted"], third.json()["duplicate"]) == (1, 1)
    rows = room.store.rows(
        "SELECT subscriber_id, city, values FROM samples FINAL ORDER BY values['tcp_setup_user_ms']"
    )
    assert [row["values"]["tcp_setup_user_ms"] for row in rows] == [31, 32, 33]
    assert {(row["subscriber_id"], row["city"]) for row in rows} == {(LINE, "杭州")}


def test_good_items_are_stored_and_bad_ones_named(embedded: Room) -> None:
    answer = embedded.post("cloud", [sample(1), sample(2, values={"rtt_ms": "fast"}), sample(3, id="")])
    assert answer.status_code == 200
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, 2)
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [
        ("/1/values/rtt_ms", "wrong_type"),
        ("/2/id", "missing"),
    ]
    nothing = embedded.post("cloud", [sample(2, values={"rtt_ms": "fast"})])
    assert (nothing.status_code, nothing.json()["rejected"], nothing.json()["pointer"]) == (
        422,
        1,
        "/0/values/rtt_ms",
    )
    assert nothing.headers["content-type"] == "application/problem+json"
    assert embedded.post("cloud", [sample(n) for n in range(51)]).status_code == 413
    assert embedded.post("cloud", b"[{").status_code == 400
    assert embedded.post("cloud", b"{}", **{"content-type": "text/plain"}).status_code == 415


def test_nothing_is_accepted_that_is_not_on_disk(tmp_path: Path) -> None:
    with opened("chdb", tmp_path) as store:
        room = Room(store, standing_clock())
    answer = room.post("pipe", [sample(1)])  # the store is closed by now
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    room.close()
    reopened = open_facts(f"chdb:///{tmp_path}/kqi")
    assert reopened.rows("SELECT count() AS n FROM samples") == [{"n": 0}]
    with pytest.raises(FactStoreError):
        store.rows("SELECT 1")
    reopened.close()


def test_a_session_from_every_side_and_who_may_read_it(room: Room) -> None:
    room.facts.events("v1", LINE, *PLAYED, city="杭州")
    room.post("cloud", [sample(1, session_id="v1", subscriber=None, values={"first_byte_ms": 41.5})])
    room.post("pipe", [sample(2)])
    room.work()
    answer = room.get("/v1/kqi/sessions/v1")
    assert answer.status_code == 200
    found = answer.json()
    assert found["subscriber_id"] == LINE
    assert (found["figures"]["start_delay_ms"], found["figures"]["stall_ms"]) == (2_000, 3_000)
    assert [i["phase"] for i in found["timeline"]["intervals"]] == [
        "starting",
        "playing",
        "stalled",
        "playing",
    ]
    assert {s["vantage"] for s in found["samples"]} == {"device", "cloud"}
    (device,) = (s for s in found["samples"] if s["vantage"] == "device")
    assert (device["values"]["joined_cloud"], device["values"]["joined_pipe"]) == (1, 1)
    assert room.get("/v1/kqi/sessions/v1", "device").status_code == 200
    assert room.get("/v1/kqi/sessions/v1", "other").status_code == 404
    assert room.get("/v1/kqi/sessions/v1", "feed").status_code == 403
    assert room.get("/v1/kqi/sessions/v2").status_code == 404


def test_cubes_over_http_as_json_and_csv(room: Room) -> None:
    room.facts.events("v1", LINE, *PLAYED, city="杭州", source="=live")
    room.facts.events("v2", "s_2", "requested 0", "first_frame 1", "ended 61", city="宁波", source="vod")
    room.work()
    query = "indicator=stall_ratio,failed&service=video&from=2050-03-01T12:00:00Z&to=2050-03-01T12:15:00Z"
    answer = room.get(f"/v1/kqi/cubes?{query}&group_by=city,source")
    assert answer.status_code == 200
    rows = {(row["group"]["city"], row["indicator"]): row for row in answer.json()["rows"]}
    assert rows["杭州", "stall_ratio"]["mean"] == pytest.approx(3 / 63)
    assert rows["宁波", "stall_ratio"]["mean"] == 0
    assert answer.json()["answered_from"] == "source"
    only = room.get(f"/v1/kqi/cubes?{query}&city=宁波").json()["rows"]
    assert [row["count"] for row in only] == [1, 1]
    csv = room.get(f"/v1/kqi/cubes?{query}&group_by=city,source", headers={"accept": "text/csv"})
    assert csv.headers["content-type"].startswith("text/csv")
    lines = csv.text.splitlines()
    assert lines[0].startswith("start,city,source,indicator,unit,count,mean")
    assert len(lines) == 5
    assert any(",杭州,'=live,stall_ratio,1,1," in line for line in lines)  # no formula for a spreadsheet


def test_without_a_range_the_last_hour_is_told(embedded: Room) -> None:
    embedded.facts.sample("a", -3_600, {"rtt_ms": 1}, vantage="pipe")
    embedded.facts.sample("a", 0, {"rtt_ms": 30}, vantage="pipe")
    embedded.work()
    rows = embedded.get("/v1/kqi/cubes?indicator=rtt_ms").json()["rows"]
    assert [row["mean"] for row in rows] == [1, 30]  # 12:07:30 less an hour lies in the window of 11:00
    bad = embedded.get("/v1/kqi/cubes?indicator=rtt_ms&from=2050-03-01T12:00:00&to=2050-03-01T12:15:00Z")
    assert (bad.status_code, "offset" in bad.json()["detail"]) == (422, True)
    assert embedded.get("/v1/kqi/cubes?indicator=rtt_ms&group_by=nothing").status_code == 422
    assert embedded.get("/v1/kqi/cubes").status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/samples/pipe", {"feed", "system"}),
        ("GET", "/v1/kqi/cubes?indicator=rtt_ms", {"agent", "system"}),
        ("GET", "/v1/kqi/catalogue", {"agent", "system", "feed", "device", "other"}),
    ],
)
def test_who_may(embedded: Room, method: str, path: str, allowed: set[str]) -> None:
    for caller in CALLERS:
        answer = embedded.client.request(
            method,
            path,
            headers={"authorization": f"Bearer {caller}", "content-type": "application/json"},
            content=b"[]",
        )
        assert (answer.status_code == 403) == (caller not in allowed)
    assert embedded.client.request(method, path).status_code == 401


def test_every_route_is_guarded_and_documented(embedded: Room) -> None:
    for route, guards in guarded_routes(embedded.app):
        if "/v1/" in route:
            assert guards, route
    for path, operations in embedded.app.openapi()["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path


def test_the_catalogue_is_told(embedded: Room) -> None:
    found = embedded.get("/v1/kqi/catalogue", "feed").json()
    assert {entry["id"] for entry in found["indicators"]} == set(CATALOGUE)
    assert found["bad_if"][0] == {
        "service": "video", "vantage": "device", "indicators": ["failed", "start_delay_ms", "stall_ratio"],
    }  # fmt: skip


DECIDING = sorted({name for rule in BAD_IF for name in rule.indicators})


@given(
    service=st.sampled_from(["video", "web", "iot", "games", ""]),
    vantage=st.sampled_from(["device", "pipe", "cloud"]),
    values=st.dictionaries(
        st.sampled_from(DECIDING), st.sampled_from([0.0, 0.04, 0.06, 0.5, 0.95, 1.0, 201.0, 1e4])
    ),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_the_store_decides_bad_as_the_catalogue_does(
    embedded: Room, service: str, vantage: str, values: dict[str, float]
) -> None:
    keys = [*values]
    (row,) = embedded.store.rows(
        f"SELECT {bad_sql()} AS bad FROM (SELECT {{service:String}} AS service, {{vantage:String}} AS vantage,"
        " mapFromArrays({keys:Array(String)}, {numbers:Array(Float64)}) AS values)",
        {"service": service, "vantage": vantage, "keys": keys, "numbers": [values[key] for key in keys]},
    )
    expected = is_bad(service, vantage, values)
    assert row["bad"] == (None if expected is None else float(expected))


def test_recent_facts_of_a_line(embedded: Room) -> None:
    facts = embedded.facts
    facts.report(LINE, 10, {"rsrp_dbm": -100}, city="杭州")
    facts.report("s_2", 11, {"rsrp_dbm": -100})
    facts.sample(LINE, 20, {"rtt_ms": 30}, vantage="pipe", cell="c1")
    facts.sample(LINE, 400, {"rtt_ms": 40}, vantage="pipe")
    facts.sample(LINE, -2_000, {"rtt_ms": 50}, vantage="pipe")
    since = embedded.clock.at.replace(minute=0, second=5)
    samples = embedded.service.recent_samples(LINE, since)
    assert [one.values["rtt_ms"] for one in samples] == [40, 30]
    assert samples[1].dimensions == {"service": "video", "vantage": "pipe", "cell": "c1"}
    until = embedded.clock.at.replace(minute=1)
    assert [one.values["rtt_ms"] for one in embedded.service.recent_samples(LINE, since, until)] == [30]
    (report,) = embedded.service.recent_reports(LINE, since)
    assert (report.values, report.dimensions, report.body) == ({"rsrp_dbm": -100}, {"city": "杭州"}, "{}")
