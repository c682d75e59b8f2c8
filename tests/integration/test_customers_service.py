"""Subscribers on both stores: kept once, encrypted, looked up with a trace, never shown by accident."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from cem.access.service import COMMAND_LINE
from cem.customers.models import Subscriber
from cem.customers.ports import LatestActivity
from cem.customers.service import CustomersService, Provisioned
from cem.platform.db import Database
from cem.platform.security import (
    SUBSCRIBER_ID_PATTERN,
    CipherTamperedError,
    Key,
    NumberCipher,
    Permission,
    PrincipalKind,
    Role,
)
from tests.conftest import FakeClock
from tests.integration.access_rooms import CIPHER_KEY, NUMBER, PASSWORD, Rooms, everything_stored
from tests.web_client import WebClient

P = Permission
OTHER_NUMBER = "+8613900001111"


class Activity:
    """What other rooms would know."""

    def __init__(self) -> None:
        self.known: dict[str, LatestActivity] = {}

    def latest(self, subscriber_id: str) -> LatestActivity:
        return self.known.get(subscriber_id, LatestActivity())


@pytest.fixture
def activity() -> Activity:
    return Activity()


@pytest.fixture
def rooms(database: Database, clock: FakeClock, activity: Activity) -> Iterator[Rooms]:
    made = Rooms(database, clock, activity)
    yield made
    made.close()


@pytest.fixture
def client(rooms: Rooms) -> Iterator[WebClient]:
    with rooms.client() as client:
        yield client


def test_a_number_is_kept_once_however_it_is_written_and_whoever_is_first(rooms: Rooms) -> None:
    written = [NUMBER, "138 1234 5678", "008613812345678", "１３８１２３４５６７８"] * 2
    ids: list[str] = []
    threads = [threading.Thread(target=lambda n=n: ids.append(rooms.customers.remember(n))) for n in written]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == len(written)
    assert len(set(ids)) == 1
    assert SUBSCRIBER_ID_PATTERN.fullmatch(ids[0])
    with rooms.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Subscriber)) == 1


def test_the_number_in_clear_is_in_no_table(rooms: Rooms) -> None:
    rooms.customers.remember(NUMBER)
    stored = everything_stored(rooms.database)
    assert "13812345678" not in stored
    assert "+86138****5678" in stored


def test_an_agent_looks_up_a_line_and_the_log_knows(
    rooms: Rooms, client: WebClient, activity: Activity
) -> None:
    subscriber_id = rooms.customers.remember(NUMBER)
    checked_at = rooms.clock.now() - timedelta(minutes=3)
    activity.known[subscriber_id] = LatestActivity("chk_1", "ver_1", checked_at, checked_at)
    agent = rooms.bearer("li.na", Role.AGENT)
    headers = {**agent, "x-request-id": "request-0000000007"}
    answer = client.post("/v1/customers/lookup", json={"number": "138-1234-5678"}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert found["subscriber_id"] == subscriber_id
    assert found["number_masked"] == "+86138****5678"
    assert found["latest"]["verdict_id"] == "ver_1"
    assert "13812345678" not in answer.text
    entry = rooms.entries("customers.lookup")[0]
    assert (entry.principal_name, entry.subject, entry.outcome) == ("li.na", subscriber_id, "ok")
    assert entry.request_id == "request-0000000007"


def test_a_line_that_only_reported_is_found_and_an_unknown_one_is_not(
    rooms: Rooms, client: WebClient, activity: Activity
) -> None:
    agent = rooms.bearer("li.na", Role.AGENT)
    activity.known[rooms.hasher(OTHER_NUMBER)] = LatestActivity(reported_at=rooms.clock.now())
    found = client.post("/v1/customers/lookup", json={"number": OTHER_NUMBER}, headers=agent).json()
    assert found["known_since"] is None
    assert found["number_masked"] == "+86139****1111"
    missing = client.post("/v1/customers/lookup", json={"number": NUMBER}, headers=agent)
    assert missing.status_code == 404
    assert "138" not in missing.text.replace(missing.headers["x-request-id"], "")
    assert [entry.outcome for entry in rooms.entries("customers.lookup")] == ["not_found", "ok"]


def test_without_a_trace_there_is_no_answer(
    rooms: Rooms, client: WebClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log cannot be written: the caller gets an error and nothing of the line."""
    rooms.customers.remember(NUMBER)
    rooms.customers.upsert([Provisioned(NUMBER, {"plan": "gold"})])
    agent = rooms.bearer("li.na", Role.AGENT)

    def fail(*_args: object, **_kwargs: object) -> None:
        from cem.platform.errors import Unavailable

        raise Unavailable("no disk")

    monkeypatch.setattr(rooms.audit, "record", fail)
    for path, body in (
        ("/v1/customers/lookup", {"number": NUMBER}),
        (f"/v1/customers/{rooms.hasher(NUMBER)}/reveal", {"reason": "call back on complaint"}),
    ):
        answer = client.post(path, json=body, headers=agent)
        assert answer.status_code == 503
        assert "gold" not in answer.text
        assert "5678" not in answer.text.replace(answer.headers["x-request-id"], "")


def test_an_agent_sees_a_number_only_with_a_reason(rooms: Rooms, client: WebClient) -> None:
    subscriber_id = rooms.customers.remember(NUMBER)
    path = f"/v1/customers/{subscriber_id}/reveal"
    agent = rooms.bearer("li.na", Role.AGENT)
    short = client.post(path, json={"reason": "x       "}, headers=agent)
    assert (short.status_code, short.json()["pointer"]) == (422, "/reason")
    assert rooms.entries("customers.reveal") == []
    shown = client.post(path, json={"reason": "call back on complaint 1187"}, headers=agent)
    assert shown.json() == {"number": NUMBER}
    assert shown.headers["cache-control"] == "no-store"
    entry = rooms.entries("customers.reveal")[0]
    assert (entry.subject, entry.reason) == (subscriber_id, "call back on complaint 1187")
    unknown = f"/v1/customers/s_{'0' * 32}/reveal"
    assert client.post(unknown, json={"reason": "call back on complaint"}, headers=agent).status_code == 404
    system = rooms.key(PrincipalKind.SYSTEM, P.CUSTOMERS_READ)
    assert client.post(path, json={"reason": "call back on complaint"}, headers=system).status_code == 403
    engineer = rooms.bearer("wu.wei", Role.ENGINEER)
    assert client.post(path, json={"reason": "call back on complaint"}, headers=engineer).status_code == 403


def test_no_route_takes_a_number_in_its_url(rooms: Rooms, client: WebClient) -> None:
    admin = rooms.bearer("root", Role.ADMINISTRATOR)
    for path in ("/v1/customers/13812345678/reveal", "/v1/customers/%2B8613812345678/reveal"):
        answer = client.post(path, json={"reason": "call back on complaint"}, headers=admin)
        assert answer.status_code == 422
        assert "13812345678" not in answer.text


def test_provisioning_merges_and_names_what_it_does_not_take(rooms: Rooms, client: WebClient) -> None:
    system = rooms.key(PrincipalKind.SYSTEM, P.TOKENS_MINT)
    body = {
        "customers": [
            {"number": NUMBER, "attributes": {"plan": "5g-199", "provisioned_apn": "cmnet"}},
            {"number": "12"},
            {"number": OTHER_NUMBER},
            {"number": "138 1234 5678", "attributes": {"plan": "5g-299"}},
        ]
    }
    answer = client.put("/v1/customers", json=body, headers=system).json()
    assert answer == {
        "accepted": 3,
        "created": 2,
        "rejected": [{"pointer": "/customers/1/number", "reason": "not a telephone number"}],
    }
    again = client.put("/v1/customers", json=body, headers=system).json()
    assert (again["accepted"], again["created"]) == (3, 0)
    subscriber_id = rooms.hasher(NUMBER)
    assert rooms.customers.attributes_of(subscriber_id) == {"plan": "5g-299", "provisioned_apn": "cmnet"}
    rooms.customers.upsert([Provisioned(NUMBER, {"plan": None, "vip": True})])
    assert rooms.customers.attributes_of(subscriber_id) == {"provisioned_apn": "cmnet", "vip": True}
    assert rooms.customers.attributes_of("s_" + "0" * 32) == {}
    assert rooms.customers.masked([subscriber_id, "s_" + "0" * 32]) == {subscriber_id: "+86138****5678"}
    for header in (rooms.bearer("li.na", Role.AGENT), rooms.key(PrincipalKind.FEED, P.REPORTS_WRITE)):
        assert client.put("/v1/customers", json=body, headers=header).status_code == 403


@pytest.mark.parametrize(
    "attributes", [{"Plan": "x"}, {"plan": {"a": 1}}, {"plan": "a\x00"}, {"plan": "x" * 201}, {"": "x"}]
)
def test_attributes_that_cannot_be_kept_are_refused(
    rooms: Rooms, client: WebClient, attributes: dict[str, object]
) -> None:
    system = rooms.key(PrincipalKind.SYSTEM, P.TOKENS_MINT)
    body = {"customers": [{"number": NUMBER, "attributes": attributes}]}
    answer = client.put("/v1/customers", json=body, headers=system)
    assert answer.status_code == 422
    assert "13812345678" not in answer.text


def test_batches_written_at_once_lose_nothing(rooms: Rooms) -> None:
    numbers = [f"+861390000{n:04d}" for n in range(40)]
    failures: list[BaseException] = []

    def write(name: str, order: list[str]) -> None:
        try:
            rooms.customers.upsert([Provisioned(number, {name: True}) for number in order])
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=write, args=(f"writer_{n}", numbers[:: -1 if n % 2 else 1])) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for number in numbers:
        attributes = rooms.customers.attributes_of(rooms.hasher(number))
        assert attributes == {f"writer_{n}": True for n in range(4)}


def _with_cipher(rooms: Rooms, cipher: NumberCipher) -> CustomersService:
    return CustomersService(
        rooms.database,
        rooms.clock,
        hasher=rooms.hasher,
        cipher=cipher,
        audit=rooms.audit,
        activity=Activity(),
    )


def test_rows_move_to_a_new_key_a_few_at_a_time(rooms: Rooms) -> None:
    numbers = [f"+861390000{n:04d}" for n in range(5)]
    ids = [rooms.customers.remember(number) for number in numbers]
    new_key = Key(b"n" * 32)
    rotating = _with_cipher(rooms, NumberCipher(new_key, previous=(CIPHER_KEY,)))
    assert [rotating.reencrypt(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    only_new = _with_cipher(rooms, NumberCipher(new_key))
    rooms.user("root", Role.ADMINISTRATOR)
    principal = rooms.sessions.login("root", PASSWORD, "192.0.2.7").principal
    assert [only_new.reveal(principal, each, "rotation of the key") for each in ids] == numbers


def test_a_row_moved_to_another_line_does_not_decrypt(rooms: Rooms) -> None:
    one, two = rooms.customers.remember(NUMBER), rooms.customers.remember(OTHER_NUMBER)
    rooms.user("root", Role.ADMINISTRATOR)
    principal = rooms.sessions.login("root", PASSWORD, "192.0.2.7").principal
    with rooms.database.write() as session:
        rows = {row.subscriber_id: row for row in session.scalars(select(Subscriber))}
        rows[one].number_encrypted = rows[two].number_encrypted
    with pytest.raises(CipherTamperedError):
        rooms.customers.reveal(principal, one, "call back on complaint")


def test_no_log_line_of_a_whole_visit_holds_a_number_or_a_secret(
    rooms: Rooms,
    client: WebClient,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    agent = rooms.bearer("li.na", Role.AGENT)
    system = rooms.key(PrincipalKind.SYSTEM, P.TOKENS_MINT)
    minted = client.post("/v1/device-tokens", json={"number": NUMBER}, headers=system).json()
    for number in (NUMBER, OTHER_NUMBER, "1381234567", "+86 138 1234 5678 9"):
        client.post("/v1/customers/lookup", json={"number": number}, headers=agent)
    client.post("/v1/staff/sessions", json={"name": "li.na", "password": "wrong password"})
    printed = capfd.readouterr()
    text = caplog.text + printed.out + printed.err + everything_stored(rooms.database)
    secrets = (agent["authorization"][-64:], system["authorization"][-64:], minted["token"], "wrong password")
    for hidden in ("13812345678", "13900001111", "1381234567", *secrets):
        assert hidden not in text
    assert COMMAND_LINE.id in text  # so that the search is known to look at something
