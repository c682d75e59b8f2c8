"""The stages of a check as server-sent events, and checks whose process died."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from cem.platform.db import Database
from demarcation import repository
from demarcation.models import SelfCheck
from demarcation.replay import encode_verdict, replay
from demarcation.requests import read_request
from tests.integration.selfcheck_support import OWN, Room, Scripted, open_room, principal_of
from tests.unit.demarcation_cases import snapshot

AIRPLANE = snapshot({"airplane_mode": True}, symptom="no_service", id="tap-1")
LATER = timedelta(minutes=1)


@pytest.fixture
def room(database: Database) -> Iterator[Room]:
    made = open_room(database, scripted=Scripted(), budget_s=0.4)
    yield made
    made.close()


def parse(stream: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Events of a stream, by the rules of the HTML standard's event stream format that this service uses."""
    events = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "event" in fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events


def follow(room: Room, links: dict[str, str], **headers: str) -> list[tuple[int, str, dict[str, Any]]]:
    async def scene() -> str:
        async with room.client() as device:
            answer = await device.get(links["events"], headers=headers)
            assert answer.headers["content-type"].startswith("text/event-stream")
            return answer.text

    return parse(asyncio.run(scene()))


def run_one(room: Room, wait_ms: int = 8_000) -> dict[str, Any]:
    async def scene() -> dict[str, Any]:
        async with room.client() as device:
            return dict((await device.post(f"/v1/self-checks?wait_ms={wait_ms}", json=AIRPLANE)).json())

    return asyncio.run(scene())


def test_a_finished_check_tells_all_its_stages(room: Room) -> None:
    check = run_one(room)
    events = follow(room, check["links"])
    kinds = [kind for _, kind, _ in events]
    assert kinds[:2] == ["accepted", "provisional"]
    assert kinds[-1] == "verdict"
    assert sorted(kinds[2:-1]) == ["evidence"] * 3
    assert [number for number, _, _ in events] == list(range(len(events)))
    assert events[1][2]["cause"] == "airplane_mode"
    assert {body["source"] for _, kind, body in events if kind == "evidence"} == {"line", "peers", "orders"}
    assert events[-1][2] == check["verdict"]


def test_a_stream_resumes_after_the_event_it_names(room: Room) -> None:
    check = run_one(room)
    whole = follow(room, check["links"])
    assert follow(room, check["links"], **{"Last-Event-ID": "1"}) == whole[2:]
    assert follow(room, check["links"], **{"Last-Event-ID": str(whole[-1][0])}) == []


def test_a_running_check_is_followed_from_another_process(database: Database) -> None:
    """Another service on the same store stands for another process: it shares nothing else with the first."""
    runs = open_room(database, scripted=Scripted(hung=True), budget_s=0.8)
    watches = open_room(database)

    async def scene() -> str:
        async with runs.client() as device, watches.client() as elsewhere:
            accepted = (await device.post("/v1/self-checks?wait_ms=0", json=AIRPLANE)).json()
            assert accepted["state"] == "accepted"
            return (await elsewhere.get(accepted["links"]["events"])).text

    try:
        events = parse(asyncio.run(scene()))
    finally:
        runs.close()
        watches.close()
    assert [kind for _, kind, _ in events] == ["accepted", "provisional", *["evidence"] * 3, "verdict"]
    assert {body["missing"] for _, kind, body in events if kind == "evidence"} == {"no answer in time"}


def accept_and_die(room: Room) -> str:
    """A check is accepted, and its process ends before anything else happens."""

    async def scene() -> str:
        body = json.dumps(AIRPLANE).encode()
        check_id = await room.service.start(principal_of("device"), read_request(body))
        for task in room.service._running.values():
            task.cancel()
        return check_id

    return asyncio.run(scene())


def stored(room: Room, check_id: str) -> tuple[SelfCheck, repository.StoredVerdict | None]:
    with room.database.read() as session:
        check = repository.get_check(session, check_id)
        verdict = repository.verdict_of_check(session, check_id)
        session.expunge_all()
    assert check is not None
    return check, verdict


def test_a_check_whose_process_died_is_finished_from_its_snapshot(room: Room) -> None:
    check_id = accept_and_die(room)
    assert room.sweeper(timedelta(seconds=3)).tick() == 0, "its deadline is not over"
    assert room.sweeper(LATER).tick() == 1
    assert room.sweeper(LATER).tick() == 0
    check, verdict = stored(room, check_id)
    assert check.state == "done"
    assert verdict is not None
    assert (verdict.row.cause, verdict.row.version) == ("airplane_mode", 1)
    document = json.loads(verdict.document)
    assert {one["reason"] for one in document["missing"]} == {"the process ended"}
    assert [fact.self_check_id for fact in room.heard.verdicts] == [check_id]
    events = follow(room, {"events": f"/v1/self-checks/{check_id}/events"})
    assert [kind for _, kind, _ in events] == ["accepted", "verdict"]


def test_a_process_that_comes_back_late_makes_a_further_version(database: Database) -> None:
    room = open_room(database, scripted=Scripted(hung=True), budget_s=0.5)

    async def scene() -> str:
        async with room.client() as device:
            accepted = (await device.post("/v1/self-checks?wait_ms=0", json=AIRPLANE)).json()
            assert await asyncio.to_thread(room.sweeper(LATER).tick) == 1
            await room.service.wait(accepted["id"], 10)
            return str(accepted["id"])

    try:
        check_id = asyncio.run(scene())
        _, verdict = stored(room, check_id)
        assert verdict is not None
        assert verdict.row.version == 2
        with database.read() as session:
            versions = repository.versions_of(session, verdict.row.id)
            reasons = [(one.version, one.reason) for one in versions]
            bundles = [(json.loads(one.bundle), json.loads(one.document)) for one in versions]
    finally:
        room.close()
    assert reasons == [(1, "left behind"), (2, "decided")]
    for bundle, document in bundles:
        replayed = json.loads(encode_verdict(replay(bundle)))
        assert {name: document[name] for name in replayed} == replayed
    assert [fact.version for fact in room.heard.verdicts] == [1, 2]


def test_a_verdict_and_what_others_make_of_it_are_stored_together_or_not_at_all(room: Room) -> None:
    room.heard.fails = True
    check = run_one(room)
    assert (check["state"], check["verdict"]) == ("accepted", None)
    assert stored(room, check["id"])[1] is None
    room.heard.fails = False
    assert room.sweeper(LATER).tick() == 1
    assert [fact.subscriber_id for fact in room.heard.verdicts] == [OWN]
