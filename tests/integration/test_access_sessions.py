"""Signing in and out on both stores: throttled, expiring, ended at once where they must."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from cem.access.passwords import PasswordCost, Passwords
from cem.access.service import COMMAND_LINE
from cem.access.sessions import SessionService
from cem.platform.db import Database
from cem.platform.errors import Forbidden, TooManyRequests, Unauthenticated
from cem.platform.security import Role
from tests.conftest import FakeClock
from tests.integration.access_rooms import PASSWORD, POLICY, Rooms, everything_stored
from tests.web_client import WebClient


@pytest.fixture
def rooms(database: Database, clock: FakeClock) -> Iterator[Rooms]:
    made = Rooms(database, clock)
    yield made
    made.close()


@pytest.fixture
def client(rooms: Rooms) -> Iterator[WebClient]:
    with rooms.client() as client:
        yield client


def _login(client: WebClient, name: str, password: str) -> dict[str, str]:
    answer = client.post("/v1/staff/sessions", json={"name": name, "password": password})
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


def test_a_login_opens_a_session_that_says_who_one_is(rooms: Rooms, client: WebClient) -> None:
    rooms.user("li.na", Role.AGENT)
    answer = client.post("/v1/staff/sessions", json={"name": " Li.Na ", "password": PASSWORD})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["expires_at"] == (rooms.clock.now() + POLICY.absolute).isoformat().replace(
        "+00:00", "Z"
    )
    me = client.get("/v1/me", headers={"authorization": f"Bearer {answer.json()['token']}"}).json()
    assert (me["kind"], me["display"], me["roles"]) == ("staff", "li.na", ["agent"])
    assert "customers_read" in me["permissions"]
    assert "users_admin" not in me["permissions"]


def test_neither_tokens_nor_passwords_are_stored(rooms: Rooms, client: WebClient) -> None:
    rooms.user("li.na", Role.AGENT)
    token = _login(client, "li.na", PASSWORD)["authorization"].removeprefix("Bearer ")
    client.post("/v1/staff/sessions", json={"name": "li.na", "password": "a wrong one, typed"})
    stored = everything_stored(rooms.database)
    for secret in (PASSWORD, token, token.rsplit("_", 1)[1], "a wrong one, typed"):
        assert secret not in stored
    assert "$argon2id$" in stored


@pytest.mark.parametrize("name", ["li.na", "nobody", "gone", "x' OR '1'='1", "\x00", "名字"])
def test_every_failed_login_looks_alike(rooms: Rooms, client: WebClient, name: str) -> None:
    rooms.user("li.na", Role.AGENT)
    rooms.access.change_user(COMMAND_LINE, rooms.user("root", Role.ADMINISTRATOR), display_name="Root")
    rooms.access.change_user(COMMAND_LINE, rooms.user("gone", Role.AGENT), disabled=True)
    password = PASSWORD if name == "gone" else "wrong password"
    answer = client.post("/v1/staff/sessions", json={"name": name, "password": password})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "name or password is not right"
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_text_that_is_no_unicode_is_refused_before_anything_is_done(client: WebClient) -> None:
    body = b'{"name": "li.na", "password": "\\ud800"}'
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/staff/sessions", content=body, headers=headers)
    assert answer.status_code == 422


def test_failures_of_one_name_make_it_wait_even_with_the_right_password(
    rooms: Rooms, client: WebClient
) -> None:
    rooms.user("li.na", Role.AGENT)
    wrong = {"name": "li.na", "password": "wrong password"}
    assert [client.post("/v1/staff/sessions", json=wrong).status_code for _ in range(3)] == [401] * 3
    right = {"name": "li.na", "password": PASSWORD}
    waiting = client.post("/v1/staff/sessions", json=right)
    assert waiting.status_code == 429
    assert waiting.headers["retry-after"] == "30"
    rooms.clock.advance(timedelta(seconds=30))
    assert client.post("/v1/staff/sessions", json=right).status_code == 201
    assert client.post("/v1/staff/sessions", json=wrong).status_code == 401  # counted from the start again


def test_failures_of_one_address_make_only_that_address_wait(rooms: Rooms, client: WebClient) -> None:
    rooms.user("li.na", Role.AGENT)
    guesses = [{"name": f"guess.{n}", "password": "wrong password"} for n in range(9)]
    statuses = [client.post("/v1/staff/sessions", json=guess).status_code for guess in guesses]
    assert statuses == [401] * 8 + [429]
    with rooms.client(address="198.51.100.9") as elsewhere:
        _login(elsewhere, "li.na", PASSWORD)


def test_right_logins_do_not_use_up_an_address(rooms: Rooms, client: WebClient) -> None:
    rooms.user("li.na", Role.AGENT)
    for _ in range(20):
        _login(client, "li.na", PASSWORD)


def test_guesses_sent_at_once_are_counted_one_by_one(rooms: Rooms) -> None:
    rooms.user("li.na", Role.AGENT)
    outcomes: list[str] = []

    def guess(number: int) -> None:
        try:
            rooms.sessions.login("li.na", f"wrong password {number}", "192.0.2.7")
        except Unauthenticated:
            outcomes.append("looked at")
        except TooManyRequests:
            outcomes.append("waits")

    threads = [threading.Thread(target=guess, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["looked at"] * 3 + ["waits"] * 5


def test_the_records_of_failures_do_not_pile_up(rooms: Rooms) -> None:
    for number in range(5):
        with pytest.raises(Unauthenticated):
            rooms.sessions.login(f"guess.{number}", "wrong", f"192.0.2.{number}")
    rooms.clock.advance(timedelta(days=2))
    with pytest.raises(Unauthenticated):
        rooms.sessions.login("another", "wrong", "192.0.2.99")
    with rooms.database.read() as session:
        from sqlalchemy import func, select

        from cem.access.models import LoginAttempts

        assert session.scalar(select(func.count()).select_from(LoginAttempts)) == 2


def test_a_session_ends_by_logout_at_once(rooms: Rooms, client: WebClient) -> None:
    rooms.user("li.na", Role.AGENT)
    one, two = _login(client, "li.na", PASSWORD), _login(client, "li.na", PASSWORD)
    assert client.get("/v1/me", headers=one).status_code == 200
    assert client.delete("/v1/staff/sessions/current", headers=one).status_code == 204
    assert client.get("/v1/me", headers=one).status_code == 401
    assert client.get("/v1/me", headers=two).status_code == 200


def test_an_unused_session_ends_and_a_used_one_lives_to_its_absolute_end(
    rooms: Rooms, client: WebClient
) -> None:
    rooms.user("li.na", Role.AGENT)
    used, unused = _login(client, "li.na", PASSWORD), _login(client, "li.na", PASSWORD)
    for _ in range(23):
        rooms.clock.advance(timedelta(minutes=30))
        assert client.get("/v1/me", headers=used).status_code == 200
    assert client.get("/v1/me", headers=unused).status_code == 401
    rooms.clock.advance(timedelta(minutes=30))  # 12 h after the login
    assert client.get("/v1/me", headers=used).status_code == 401


def test_a_remembered_session_does_not_outlive_its_end(rooms: Rooms, client: WebClient) -> None:
    rooms.user("li.na", Role.AGENT)
    header = _login(client, "li.na", PASSWORD)
    for _ in range(14):
        rooms.clock.advance(timedelta(minutes=50))
        client.get("/v1/me", headers=header)
    rooms.clock.advance(timedelta(minutes=19, seconds=59))
    assert client.get("/v1/me", headers=header).status_code == 200
    rooms.clock.advance(timedelta(seconds=1))  # the lookup is one second old, the session just over
    assert client.get("/v1/me", headers=header).status_code == 401


def test_a_password_change_ends_the_other_sessions(rooms: Rooms, client: WebClient) -> None:
    rooms.user("li.na", Role.AGENT)
    mine, other = _login(client, "li.na", PASSWORD), _login(client, "li.na", PASSWORD)
    body = {"current_password": PASSWORD, "new_password": "nine loud pelicans"}
    wrong = {**body, "current_password": "not this one"}
    assert client.put("/v1/me/password", json=wrong, headers=mine).status_code == 403
    weak = client.put("/v1/me/password", json={**body, "new_password": "short"}, headers=mine)
    assert (weak.status_code, weak.json()["pointer"]) == (422, "/new_password")
    assert client.put("/v1/me/password", json=body, headers=mine).status_code == 204
    assert client.get("/v1/me", headers=mine).status_code == 200
    assert client.get("/v1/me", headers=other).status_code == 401
    with pytest.raises(Unauthenticated):
        rooms.sessions.login("li.na", PASSWORD, "192.0.2.7")
    rooms.sessions.login("li.na", "nine loud pelicans", "192.0.2.7")


def test_only_staff_change_passwords(rooms: Rooms) -> None:
    with pytest.raises(Forbidden):
        rooms.sessions.change_password(COMMAND_LINE, "x", "nine loud pelicans", address="a")


def test_a_login_renews_a_hash_of_an_old_cost(rooms: Rooms) -> None:
    rooms.user("li.na", Role.AGENT)
    dearer = SessionService(
        rooms.database,
        rooms.clock,
        rooms.audit,
        Passwords(PasswordCost(time_cost=2, memory_kib=16, parallelism=1)),
        policy=POLICY,
    )
    assert "t=2" not in everything_stored(rooms.database)
    dearer.login("li.na", PASSWORD, "192.0.2.7")
    assert "t=2" in everything_stored(rooms.database)
    dearer.login("li.na", PASSWORD, "192.0.2.7")


def test_logins_are_audited_without_what_was_typed(rooms: Rooms, client: WebClient) -> None:
    user_id = rooms.user("li.na", Role.AGENT)
    client.post("/v1/staff/sessions", json={"name": "my-password-by-mistake", "password": "x"})
    client.post("/v1/staff/sessions", json={"name": "li.na", "password": "x"})
    request_id = "request-0000000001"
    client.post(
        "/v1/staff/sessions",
        json={"name": "li.na", "password": PASSWORD},
        headers={"x-request-id": request_id},
    )
    entries = rooms.entries("staff.login")
    assert [(entry.subject, entry.outcome) for entry in entries] == [
        (user_id, "ok"),
        (user_id, "refused"),
        ("unknown", "refused"),
    ]
    assert entries[0].request_id == request_id
    assert "by-mistake" not in everything_stored(rooms.database)
