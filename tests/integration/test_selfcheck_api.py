"""Self-checks over HTTP on both stores: from one tap to verdict, re-check, complaint and replay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cem.platform.db import Database
from demarcation import schemas
from demarcation.peers import PeerCounts
from demarcation.ports import OpenOrderRef
from demarcation.replay import encode_verdict, replay, replay_stream
from demarcation.settings import SelfCheckSettings
from tests.integration.selfcheck_support import OTHER, OWN, Room, Scripted, open_room
from tests.unit.demarcation_cases import SMOOTH, STALLING, WEAK_RADIO, origin, snapshot

AIRPLANE = snapshot(
    {"airplane_mode": True}, symptom="no_service", id="tap-1", place={"city": "Shenzhen", "cell": "c1"}
)


@pytest.fixture
def room(database: Database) -> Iterator[Room]:
    made = open_room(database)
    yield made
    made.close()


def test_one_tap_gives_a_verdict_that_is_stored_told_and_replayable(room: Room) -> None:
    async def scene() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], bytes]:
        async with room.client() as device, room.client("engineer") as staff:
            answer = await device.post("/v1/self-checks", json={"snapshot": AIRPLANE, "locale": "zh-CN"})
            assert answer.status_code == 200, answer.text
            check = answer.json()
            again = (await device.get(check["links"]["self"])).json()
            detail = (await staff.get(f"/v1/verdicts/{check['verdict']['id']}")).json()
            bundle = (await staff.get(f"/v1/verdicts/{check['verdict']['id']}/bundle")).content
            return check, again, detail, bundle

    check, again, detail, bundle = asyncio.run(scene())
    schemas.SelfCheckAnswer.model_validate(check)
    schemas.VerdictDetail.model_validate(detail)
    assert check == again
    verdict = check["verdict"]
    assert (verdict["domain"], verdict["cause"]) == ("terminal", "airplane_mode")
    assert verdict["suggestions"][0]["where"]["ios"]["en"] == "Settings > Airplane Mode"
    assert detail["subscriber_id"] == OWN
    replayed = json.loads(encode_verdict(replay(json.loads(bundle))))
    assert {name: verdict[name] for name in replayed} == replayed
    [line] = replay_stream([bundle], room.service.rules)
    assert json.loads(line)["same_rules"] is True
    [fact] = room.heard.verdicts
    assert (fact.verdict_id, fact.domain, fact.dimensions["cell"]) == (verdict["id"], "terminal", "c1")
    assert room.snapshots.kept[0][1:] == (OWN, "device")
    assert ("engineer", "verdicts.bundle", verdict["id"]) in room.heard.audited


def test_a_bare_report_is_taken_and_its_id_makes_it_one_check(room: Room) -> None:
    async def scene() -> None:
        async with room.client() as device:
            first = await device.post("/v1/self-checks", json=AIRPLANE)
            second = await device.post("/v1/self-checks", json=AIRPLANE)
            assert first.json() == second.json()
            other = await device.post("/v1/self-checks", json=AIRPLANE | {"symptom": "stall"})
            assert other.status_code == 409
            keyed = [
                await device.post("/v1/self-checks", json=AIRPLANE, headers={"Idempotency-Key": f"k{number}"})
                for number in (1, 1, 2)
            ]
            assert len({answer.json()["id"] for answer in keyed}) == 2

    asyncio.run(scene())
    assert len(room.heard.verdicts) == 3


def test_many_sendings_at_once_are_one_check(room: Room) -> None:
    async def scene() -> set[str]:
        async with room.client() as device:
            answers = await asyncio.gather(*(device.post("/v1/self-checks", json=AIRPLANE) for _ in range(8)))
            assert {answer.status_code for answer in answers} == {200}
            return {answer.json()["id"] for answer in answers}

    assert len(asyncio.run(scene())) == 1
    assert len(room.heard.verdicts) == 1


def test_who_may_check_which_line(room: Room) -> None:
    own = {"subscriber": "+8613800000001"}

    async def scene() -> None:
        async with (
            room.client() as device,
            room.client("agent") as agent,
            room.client("engineer") as engineer,
        ):
            assert (await device.post("/v1/self-checks", json=own)).status_code == 200
            assert (
                await device.post("/v1/self-checks", json={"subscriber": "+8613800000002"})
            ).status_code == 403
            wrapped = {"snapshot": {"subscriber": "+8613800000002"}}
            theirs = (await agent.post("/v1/self-checks", json=wrapped)).json()
            assert (await device.get(theirs["links"]["self"])).status_code == 404
            assert (await device.get(theirs["links"]["events"])).status_code == 404
            assert (await device.post(theirs["links"]["complaint"])).status_code == 404
            assert (await device.post(theirs["links"]["re_check"], json={})).status_code == 404
            known = {"snapshot": {}, "subscriber_id": OTHER}
            assert (await agent.post("/v1/self-checks", json=known)).status_code == 200
            nobody = await agent.post("/v1/self-checks", json={"snapshot": {}})
            assert (nobody.status_code, nobody.json()["pointer"]) == (422, "/snapshot/subscriber")
            nonsense = await agent.post("/v1/self-checks", json={"subscriber": "call me"})
            assert (nonsense.status_code, nonsense.json()["pointer"]) == (422, "/subscriber")
            assert (await engineer.post("/v1/self-checks", json=known)).status_code == 403
            assert (await device.get("/v1/verdicts")).status_code == 403
            del device.headers["x-test-caller"]
            assert (await device.post("/v1/self-checks", json={})).status_code == 401

    asyncio.run(scene())
    assert ("agent", "self_checks.run", OTHER) in room.heard.audited
    with room.database.engine.connect() as connection:
        stored = connection.exec_driver_sql("SELECT snapshot FROM self_checks").all()
    assert "13800000001" not in str(stored)


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"{", 400, None),
        (b"[]", 422, ""),
        (b"null", 422, ""),
        (b'{"snapshot": 3}', 422, "/snapshot"),
        (b'{"snapshot": {}, "radio": {}}', 422, "/radio"),
        (b'{"snapshot": {}, "deadline_ms": "5"}', 422, "/deadline_ms"),
        (b'{"snapshot": {}, "deadline_ms": 0}', 422, "/deadline_ms"),
        (b'{"snapshot": {}, "symptom": 7}', 422, "/symptom"),
        (b'{"snapshot": ' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}", 422, ""),
        (b'"' + b"x" * 1_100_000 + b'"', 413, None),
    ],
)
def test_what_cannot_be_read_is_refused(room: Room, body: bytes, status: int, pointer: str | None) -> None:
    async def scene() -> dict[str, Any]:
        async with room.client() as device:
            answer = await device.post("/v1/self-checks", content=body)
            assert answer.status_code == status, answer.text
            return dict(answer.json())

    assert asyncio.run(scene()).get("pointer") == pointer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"probes": 7, "radio": "x", "settings": [], "observed_at": 1}',
        b'{"device": {"model": "a\\u0000b"}, "service": "vi\\u0000deo", "n\\u0000": 1, "id": "\\u0000"}',
        b'{"radio": {"rsrp_dbm": ' + b"9" * 400 + b"}}",
    ],
)
def test_a_phone_in_trouble_is_never_refused(room: Room, body: bytes) -> None:
    async def scene() -> dict[str, Any]:
        async with room.client() as device:
            answer = await device.post("/v1/self-checks", content=body)
            assert answer.status_code == 200
            return dict(answer.json())

    assert asyncio.run(scene())["verdict"]["domain"] == "undetermined"


def test_the_limit_per_line_says_when_to_come_back(database: Database) -> None:
    room = open_room(database, SelfCheckSettings(per_line_per_hour=2))

    async def scene() -> None:
        async with room.client() as device, room.client("device-b") as other:
            for _ in range(2):
                assert (await device.post("/v1/self-checks", json={})).status_code == 200
            refused = await device.post("/v1/self-checks", json={})
            assert refused.status_code == 429
            assert 0 < int(refused.headers["retry-after"]) <= 3600
            assert (await other.post("/v1/self-checks", json={})).status_code == 200

    try:
        asyncio.run(scene())
    finally:
        room.close()


def test_no_time_to_wait_gives_a_place_to_come_back_to(database: Database) -> None:
    room = open_room(database, scripted=Scripted(hung=True), budget_s=0.3)

    async def scene() -> None:
        async with room.client() as device:
            accepted = await device.post("/v1/self-checks?wait_ms=0", json=AIRPLANE)
            assert accepted.status_code == 202
            assert accepted.headers["retry-after"] == "1"
            schemas.SelfCheckAnswer.model_validate(accepted.json())
            early = await device.post(accepted.json()["links"]["complaint"])
            assert early.status_code == 409
            done = await device.get(accepted.headers["location"], params={"wait_ms": 8_000})
            assert done.status_code == 200
            missing = {one["source"]: one["reason"] for one in done.json()["verdict"]["missing"]}
            assert missing == dict.fromkeys(("line", "orders", "peers"), "no answer in time")
            assert done.json()["verdict"]["cause"] == "airplane_mode"

    try:
        asyncio.run(scene())
    finally:
        room.close()


def test_peers_and_orders_count_and_are_shown(database: Database) -> None:
    order = OpenOrderRef(
        "ord_1", "W-7", "cell_fault", "network", {"cell": "c1"}, datetime(2026, 3, 1, tzinfo=UTC), 9
    )
    room = open_room(database, scripted=Scripted(counts=[PeerCounts("cell", "c1", 12, 6)], orders=[order]))

    async def scene() -> dict[str, Any]:
        async with room.client() as device:
            return dict((await device.post("/v1/self-checks", json=snapshot(player=STALLING))).json())

    try:
        check = asyncio.run(scene())
    finally:
        room.close()
    schemas.SelfCheckAnswer.model_validate(check)
    assert check["verdict"]["cause"] == "cell_fault"
    assert check["verdict"]["covered_by"][0]["number"] == "W-7"


def test_a_re_check_proves_that_it_worked(room: Room) -> None:
    async def scene() -> tuple[dict[str, Any], dict[str, Any]]:
        async with room.client() as device:
            before = (await device.post("/v1/self-checks", json=AIRPLANE)).json()
            well = snapshot(player=SMOOTH, probes=[origin()], id="tap-1")
            after = await device.post(before["links"]["re_check"], json=well)
            assert after.status_code == 200
            missing = await device.post("/v1/self-checks/chk_none/re-check", json=well)
            assert missing.status_code == 404
            return before, after.json()

    before, after = asyncio.run(scene())
    schemas.SelfCheckAnswer.model_validate(after)
    assert after["re_check_of"] == before["id"]
    assert after["verdict"]["change"]["fault_gone"] is True
    assert after["verdict"]["change"]["before"]["cause"] == "airplane_mode"
    assert room.heard.verdicts[-1].re_check_of == before["id"]


def test_a_complaint_is_one_tap_and_one_case(room: Room) -> None:
    async def scene() -> dict[str, Any]:
        async with room.client() as device:
            check = (
                await device.post("/v1/self-checks", json=snapshot(radio=WEAK_RADIO, player=STALLING))
            ).json()
            first = await device.post(check["links"]["complaint"])
            second = await device.post(check["links"]["complaint"])
            assert first.status_code == second.status_code == 200
            assert first.json() == second.json()
            return dict(second.json())

    check = asyncio.run(scene())
    schemas.SelfCheckAnswer.model_validate(check)
    assert check["complaint"]["case_id"] == "case_1"
    [(fact, by)] = room.heard.complaints
    assert (fact.self_check_id, fact.handed_over, by) == (check["id"], True, "customer")


def test_verdicts_are_listed_filtered_and_paged(room: Room) -> None:
    async def scene() -> None:
        async with room.client() as device, room.client("device-b") as other, room.client("agent") as agent:
            for number in range(3):
                await device.post("/v1/self-checks", json=AIRPLANE | {"id": f"tap-{number}"})
            await other.post("/v1/self-checks", json=snapshot(radio=WEAK_RADIO, player=STALLING))
            whole = (await agent.get("/v1/verdicts")).json()
            schemas.VerdictPage.model_validate(whole)
            assert [item["domain"] for item in whole["items"]] == [
                "network",
                "terminal",
                "terminal",
                "terminal",
            ]
            mine = (await agent.get("/v1/verdicts", params={"subscriber_id": OWN, "limit": 2})).json()
            assert len(mine["items"]) == 2
            rest = await agent.get(
                "/v1/verdicts", params={"subscriber_id": OWN, "cursor": mine["next_cursor"]}
            )
            assert [item["id"] for item in rest.json()["items"]] == [whole["items"][3]["id"]]
            network = await agent.get("/v1/verdicts", params={"domain": "network", "cause": "weak_coverage"})
            assert len(network.json()["items"]) == 1
            later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            assert (await agent.get("/v1/verdicts", params={"since": later})).json()["items"] == []
            for wrong in (
                {"cursor": "vdt_x"},
                {"subscriber_id": "+8613800000001"},
                {"since": "2026-01-01T00:00:00"},
            ):
                assert (await agent.get("/v1/verdicts", params=wrong)).status_code == 422
            assert (await agent.get("/v1/verdicts/vdt_x")).status_code == 404
            assert (await agent.get("/v1/verdicts/vdt_x/bundle")).status_code == 404
            known = whole["items"][0]["id"]
            assert (await agent.get(f"/v1/verdicts/{known}/bundle", params={"version": 9})).status_code == 404
            rules = room.service.rules
            assert (await agent.get(f"/v1/rulesets/{rules.sha256}")).text == rules.text
            assert (await agent.get(f"/v1/rulesets/{'0' * 64}")).status_code == 404

    asyncio.run(scene())
    assert ("agent", "verdicts.list", OWN) in room.heard.audited
    latest = room.reading.latest_of_line(OWN)
    assert latest.verdict_id == room.reading.recent(10)[1].id
    activity = room.reading.activity()
    assert (activity.checks, activity.by_domain) == (4, {"network": 1, "terminal": 3})


def test_the_snapshot_that_cannot_be_kept_costs_nothing(room: Room) -> None:
    room.snapshots.fails = True

    async def scene() -> int:
        async with room.client() as device:
            return (await device.post("/v1/self-checks", json=AIRPLANE)).status_code

    assert asyncio.run(scene()) == 200
