"""Users, keys, device tokens, the audit log, and who may reach them, on both stores."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import update

from cem.access.audit import AuditFilter
from cem.access.fingerprints import confirm_keys
from cem.access.models import KeyFingerprint
from cem.access.service import COMMAND_LINE, FIRST_ADMINISTRATOR
from cem.platform.db import Database
from cem.platform.errors import ConfigurationError, Conflict, InvalidInput, NotFound
from cem.platform.security import (
    SESSION_COOKIE,
    Key,
    Keyring,
    Permission,
    PrincipalKind,
    Role,
    guarded_routes,
    unguarded_routes,
)
from tests.conftest import FakeClock
from tests.integration.access_rooms import NUMBER, PASSWORD, Rooms, everything_stored
from tests.web_client import WebClient

P = Permission


@pytest.fixture
def rooms(database: Database, clock: FakeClock) -> Iterator[Rooms]:
    made = Rooms(database, clock)
    yield made
    made.close()


@pytest.fixture
def client(rooms: Rooms) -> Iterator[WebClient]:
    with rooms.client() as client:
        yield client


def test_every_route_of_these_rooms_is_guarded_and_one_is_public(rooms: Rooms) -> None:
    app = rooms.app()
    missing = [route for route in unguarded_routes(app) if "/v1/" in route]
    assert missing == []
    public = [route for route, guards in guarded_routes(app) if any(g.startswith("public") for g in guards)]
    assert public == ["POST /v1/staff/sessions"]


def test_every_route_is_described_with_an_example(rooms: Rooms) -> None:
    described = rooms.app().openapi()
    schemas = described["components"]["schemas"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], path
            assert operation["description"], path
            content = [operation.get("requestBody", {})]
            content += [answer for code, answer in operation["responses"].items() if code in {"200", "201"}]
            for each in content:
                for media in each.get("content", {}).values():
                    schema = schemas[media["schema"]["$ref"].rsplit("/", 1)[1]]
                    assert schema.get("examples"), (method, path, media)


@pytest.mark.parametrize("role", Role)
def test_who_reaches_which_route(rooms: Rooms, client: WebClient, role: Role) -> None:
    header = rooms.bearer("someone", role)
    administration = [
        ("GET", "/v1/users", None),
        ("POST", "/v1/users", {"name": "new.one", "roles": ["agent"]}),
        ("GET", "/v1/keys", None),
        ("POST", "/v1/keys", {"name": "k", "kind": "feed", "permissions": ["samples_write"]}),
        ("GET", "/v1/audit", None),
    ]
    for method, path, body in administration:
        status = client.request(method, path, json=body, headers=header).status_code
        assert (status < 300) == (role is Role.ADMINISTRATOR), (method, path, status)
        assert client.request(method, path, json=body).status_code == 401
    lookup = client.post("/v1/customers/lookup", json={"number": NUMBER}, headers=header)
    assert lookup.status_code == (404 if role in {Role.AGENT, Role.ADMINISTRATOR} else 403)
    minted = client.post("/v1/device-tokens", json={"number": NUMBER}, headers=header)
    assert minted.status_code == 403
    assert client.get("/v1/me", headers=header).status_code == 200


def test_of_many_first_starts_one_prints_a_password(rooms: Rooms) -> None:
    printed: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: printed.append(rooms.access.ensure_first_administrator()))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passwords = [password for password in printed if password]
    assert len(printed) == 6
    assert len(passwords) == 1
    assert rooms.access.ensure_first_administrator() is None
    opened = rooms.sessions.login(FIRST_ADMINISTRATOR, passwords[0], "192.0.2.7")
    assert opened.principal.roles == {Role.ADMINISTRATOR}
    assert passwords[0] not in everything_stored(rooms.database)


def test_an_administrator_makes_changes_and_disables_a_user(rooms: Rooms, client: WebClient) -> None:
    admin = rooms.bearer("root", Role.ADMINISTRATOR)
    made = client.post("/v1/users", json={"name": "Li.Na", "roles": ["agent"]}, headers=admin)
    assert made.status_code == 201
    user, password = made.json()["user"], made.json()["password"]
    assert user["name"] == "li.na"
    login = client.post("/v1/staff/sessions", json={"name": "li.na", "password": password})
    header = {"authorization": f"Bearer {login.json()['token']}"}
    path = f"/v1/users/{user['id']}"

    changed = client.patch(path, json={"roles": ["operations"]}, headers=admin).json()
    assert changed["roles"] == ["operations"]
    assert client.get("/v1/me", headers=header).json()["roles"] == ["operations"]

    assert client.patch(path, json={"disabled": True}, headers=admin).status_code == 200
    assert client.get("/v1/me", headers=header).status_code == 401
    assert client.patch(path, json={"disabled": False}, headers=admin).json()["disabled_at"] is None
    assert client.get("/v1/me", headers=header).status_code == 401  # the session is gone for good

    reset = client.post(f"{path}/reset-password", headers=admin).json()["password"]
    assert rooms.sessions.login("li.na", reset, "192.0.2.7")
    listed = client.get("/v1/users?limit=1", headers=admin).json()
    assert [item["name"] for item in listed["items"]] == ["li.na"]
    following = client.get(f"/v1/users?limit=1&after={listed['next']}", headers=admin).json()
    assert [item["name"] for item in following["items"]] == ["root"]
    assert password not in everything_stored(rooms.database)


def test_a_reset_ends_the_sessions(rooms: Rooms, client: WebClient) -> None:
    header = rooms.bearer("li.na", Role.AGENT)
    assert client.get("/v1/me", headers=header).status_code == 200
    rooms.access.reset_password(COMMAND_LINE, rooms.access.user_named("Li.Na").id)
    assert client.get("/v1/me", headers=header).status_code == 401


def test_a_taken_or_wrong_name_is_refused(rooms: Rooms, client: WebClient) -> None:
    admin = rooms.bearer("root", Role.ADMINISTRATOR)
    answer = client.post("/v1/users", json={"name": "ROOT", "roles": ["agent"]}, headers=admin)
    assert (answer.status_code, answer.json()["pointer"]) == (409, "/name")
    for body in (
        {"name": "a b c", "roles": ["agent"]},
        {"name": "fine", "roles": []},
        {"name": "fine", "roles": ["king"]},
        {"name": "fine", "roles": ["agent"], "password": "short"},
        {"name": "fine", "roles": ["agent"], "display_name": "a\x00b"},
        {"name": "fine", "roles": ["agent"], "admin": True},
    ):
        assert client.post("/v1/users", json=body, headers=admin).status_code == 422, body
    unknown = f"/v1/users/usr_{'0' * 26}"
    assert client.patch(unknown, json={}, headers=admin).status_code == 404
    assert client.post(f"{unknown}/reset-password", headers=admin).status_code == 404


def test_the_last_administrator_stays_whatever_happens_at_once(rooms: Rooms) -> None:
    ids = [rooms.user(name, Role.ADMINISTRATOR) for name in ("one", "two")]
    principals = [rooms.sessions.login(name, PASSWORD, "192.0.2.7").principal for name in ("one", "two")]
    with pytest.raises(Conflict, match="themselves"):
        rooms.access.change_user(principals[0], ids[0], disabled=True)
    outcomes: list[str] = []

    def remove(by: int, whom: int) -> None:
        try:
            rooms.access.change_user(principals[by], ids[whom], disabled=True)
            outcomes.append("done")
        except Conflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=remove, args=pair) for pair in ((0, 1), (1, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "refused"]
    left = [user for user in rooms.access.list_users(limit=10) if user.disabled_at is None]
    assert len(left) == 1
    with pytest.raises(Conflict, match="last administrator"):
        rooms.access.change_user(COMMAND_LINE, left[0].id, roles=[Role.AGENT])
    assert rooms.access.user_named(left[0].name).roles == {Role.ADMINISTRATOR}


def test_a_key_is_shown_once_and_ends_by_revocation(rooms: Rooms, client: WebClient) -> None:
    admin = rooms.bearer("root", Role.ADMINISTRATOR)
    body = {"name": "core probes", "kind": "feed", "permissions": ["samples_write"]}
    made = client.post("/v1/keys", json=body, headers=admin)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    secret, key = made.json()["secret"], made.json()["key"]
    feed = {"authorization": f"Bearer {secret}"}
    me = client.get("/v1/me", headers=feed).json()
    assert (me["kind"], me["permissions"]) == ("feed", ["samples_write"])
    listed = client.get("/v1/keys", headers=admin)
    assert [item["id"] for item in listed.json()["items"]] == [key["id"]]
    assert secret not in listed.text
    assert secret.rsplit("_", 1)[1] not in everything_stored(rooms.database)
    for _ in range(2):
        assert client.delete(f"/v1/keys/{key['id']}", headers=admin).status_code == 204
    assert client.get("/v1/me", headers=feed).status_code == 401
    assert len(rooms.entries("keys.revoke")) == 1
    assert client.delete(f"/v1/keys/{'0' * 16}", headers=admin).status_code == 404


def test_a_key_of_another_secret_or_past_its_expiry_is_refused(rooms: Rooms, client: WebClient) -> None:
    expires_at = rooms.clock.now() + timedelta(minutes=10)
    made = rooms.access.create_key(
        COMMAND_LINE, "k", PrincipalKind.SYSTEM, [P.KQI_READ], expires_at=expires_at
    )
    header = {"authorization": f"Bearer {made.secret}"}
    last = "0" if made.secret[-1] != "0" else "1"
    assert (
        client.get("/v1/me", headers={"authorization": f"Bearer {made.secret[:-1]}{last}"}).status_code == 401
    )
    as_session = made.secret.replace("cemk_", "cems_")
    assert client.get("/v1/me", headers={"authorization": f"Bearer {as_session}"}).status_code == 401
    assert client.get("/v1/me", headers=header).status_code == 200
    rooms.clock.advance(timedelta(minutes=10))
    assert client.get("/v1/me", headers=header).status_code == 401


@pytest.mark.parametrize(
    ("kind", "permissions", "pointer"),
    [
        (PrincipalKind.FEED, [P.KQI_READ], "/permissions"),
        (PrincipalKind.FEED, [P.SAMPLES_WRITE, P.TOKENS_MINT], "/permissions"),
        (PrincipalKind.SYSTEM, [P.USERS_ADMIN], "/permissions"),
        (PrincipalKind.SYSTEM, [], "/permissions"),
        (PrincipalKind.STAFF, [P.KQI_READ], "/kind"),
        (PrincipalKind.DEVICE, [P.REPORTS_WRITE], "/kind"),
    ],
)
def test_a_key_beyond_its_kind_cannot_be_made(
    rooms: Rooms, kind: PrincipalKind, permissions: list[Permission], pointer: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        rooms.access.create_key(COMMAND_LINE, "k", kind, permissions)
    assert caught.value.pointer == pointer


def test_another_process_notices_an_end_within_the_ttl(rooms: Rooms, client: WebClient) -> None:
    """`client` is one process; the revocation happens in a second one that shares only the store."""
    second = Rooms(rooms.database, rooms.clock)
    made = rooms.access.create_key(COMMAND_LINE, "k", PrincipalKind.FEED, [P.SAMPLES_WRITE])
    header = {"authorization": f"Bearer {made.secret}"}
    assert client.get("/v1/me", headers=header).status_code == 200
    second.access.revoke_key(COMMAND_LINE, made.key.id)
    rooms.clock.advance(timedelta(seconds=2.9))
    assert client.get("/v1/me", headers=header).status_code == 200
    rooms.clock.advance(timedelta(seconds=0.2))
    assert client.get("/v1/me", headers=header).status_code == 401
    second.close()


def test_many_requests_with_one_key_ask_the_store_once(
    rooms: Rooms, client: WebClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = rooms.key(PrincipalKind.FEED, P.SAMPLES_WRITE)
    reads = 0
    original = rooms.database.read

    def counted() -> object:
        nonlocal reads
        reads += 1
        return original()

    monkeypatch.setattr(rooms.database, "read", counted)
    answers = client.at_once(*[("GET", "/v1/me", {"headers": header})] * 20)
    assert {answer.status_code for answer in answers} == {200}
    assert reads == 1
    bad = {"authorization": f"Bearer cemk_{'0' * 16}_{'0' * 64}"}
    assert {client.get("/v1/me", headers=bad).status_code for _ in range(5)} == {401}
    assert reads == 2


def test_a_store_that_is_away_is_said_so(
    rooms: Rooms, client: WebClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def away() -> object:
        raise OperationalError("SELECT", {}, Exception("gone"))

    header = rooms.key(PrincipalKind.FEED, P.SAMPLES_WRITE)
    device = {"authorization": f"Bearer {rooms.access.mint_token(NUMBER, 600).token}"}
    monkeypatch.setattr(rooms.database, "read", away)
    answer = client.get("/v1/me", headers=header)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert client.get("/v1/me", headers=device).status_code == 200  # needs no store


def test_a_system_mints_a_token_for_a_line(rooms: Rooms, client: WebClient) -> None:
    system = rooms.key(PrincipalKind.SYSTEM, P.TOKENS_MINT)
    body = {"number": "138 1234 5678", "install_id": "phone-1", "ttl_s": 600}
    answer = client.post("/v1/device-tokens", json=body, headers=system)
    assert answer.status_code == 201
    minted = answer.json()
    assert minted["subscriber_id"] == rooms.hasher(NUMBER)
    device = {"authorization": f"Bearer {minted['token']}"}
    me = client.get("/v1/me", headers=device).json()
    assert me["subscriber_id"] == minted["subscriber_id"]
    assert me["permissions"] == ["reports_write", "self_check"]
    assert client.post("/v1/device-tokens", json=body, headers=device).status_code == 403
    assert client.post("/v1/customers/lookup", json={"number": NUMBER}, headers=device).status_code == 403
    rooms.clock.advance(timedelta(seconds=610))
    assert client.get("/v1/me", headers=device).status_code == 401


@pytest.mark.parametrize("body", [{"number": "12"}, {"number": NUMBER, "ttl_s": 3601}, {"number": 7}, {}])
def test_a_token_for_nonsense_is_refused_without_repeating_it(
    rooms: Rooms, client: WebClient, body: dict[str, object]
) -> None:
    system = rooms.key(PrincipalKind.SYSTEM, P.TOKENS_MINT)
    answer = client.post("/v1/device-tokens", json=body, headers=system)
    assert answer.status_code == 422
    assert NUMBER[3:] not in answer.text


def test_a_feed_cannot_mint_and_a_system_needs_the_permission(rooms: Rooms, client: WebClient) -> None:
    for header in (
        rooms.key(PrincipalKind.FEED, P.SAMPLES_WRITE, P.REPORTS_WRITE),
        rooms.key(PrincipalKind.SYSTEM, P.SELF_CHECK),
    ):
        assert client.post("/v1/device-tokens", json={"number": NUMBER}, headers=header).status_code == 403


def test_only_staff_sessions_travel_by_cookie(rooms: Rooms, client: WebClient) -> None:
    session = rooms.bearer("li.na", Role.AGENT)["authorization"].removeprefix("Bearer ")
    key = rooms.key(PrincipalKind.FEED, P.SAMPLES_WRITE)["authorization"].removeprefix("Bearer ")
    device = rooms.access.mint_token(NUMBER, 600).token

    def status(credential: str) -> int:
        return client.get("/v1/me", headers={"cookie": f"{SESSION_COOKIE}={credential}"}).status_code

    assert [status(each) for each in (session, key, device, "x")] == [200, 401, 401, 401]
    cookie = {"cookie": f"{SESSION_COOKIE}={session}"}
    evil = {**cookie, "sec-fetch-site": "cross-site"}
    assert client.delete("/v1/staff/sessions/current", headers=evil).status_code == 403
    ours = {**cookie, "sec-fetch-site": "same-origin"}
    assert client.delete("/v1/staff/sessions/current", headers=ours).status_code == 204
    assert status(session) == 401


def test_the_audit_log_pages_and_filters(rooms: Rooms, client: WebClient) -> None:
    admin = rooms.bearer("root", Role.ADMINISTRATOR)
    start = rooms.clock.now()
    for number in range(5):
        rooms.clock.advance(timedelta(minutes=1))
        rooms.audit.record(COMMAND_LINE, "test.done", f"thing_{number}", "ok" if number % 2 else "failed")
    first = client.get("/v1/audit?action=test.done&limit=3", headers=admin).json()
    assert [item["subject"] for item in first["items"]] == ["thing_4", "thing_3", "thing_2"]
    rest = client.get(f"/v1/audit?action=test.done&limit=3&before={first['next']}", headers=admin).json()
    assert [item["subject"] for item in rest["items"]] == ["thing_1", "thing_0"]
    assert rest["next"] is None
    failed = client.get("/v1/audit?action=test.done&outcome=failed", headers=admin).json()["items"]
    assert len(failed) == 3
    one = client.get("/v1/audit?subject=thing_1", headers=admin).json()["items"]
    assert [(item["principal_id"], item["outcome"]) for item in one] == [("command-line", "ok")]
    until = start + timedelta(minutes=2)
    wanted = AuditFilter(action="test.done", since=start + timedelta(minutes=1), until=until)
    assert [entry.subject for entry in rooms.audit.page(wanted, limit=10)[0]] == ["thing_0"]
    for bad in (
        "subject=13812345678",
        "subject=%2B8613812345678",
        "limit=0",
        "since=yesterday",
        "x=1",
        "action=%00",
    ):
        assert client.get(f"/v1/audit?{bad}", headers=admin).status_code == 422, bad


@pytest.mark.parametrize("subject", ["13812345678", "+86 138 1234 5678", "+8613812345678"])
def test_a_number_cannot_become_an_audit_subject(rooms: Rooms, subject: str) -> None:
    with pytest.raises(ValueError, match="never a number"):
        rooms.audit.record(COMMAND_LINE, "test.done", subject)


def test_numbers_in_a_reason_are_removed(rooms: Rooms) -> None:
    rooms.audit.record(COMMAND_LINE, "test.done", "x", reason="call back 138 1234 5678 or +8613812345678!")
    assert rooms.entries("test.done")[0].reason == "call back [number removed] or [number removed]!"


def test_an_audit_entry_and_its_change_happen_together_or_not_at_all(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("no disk")

    monkeypatch.setattr(rooms.audit, "record_in", fail)
    with pytest.raises(RuntimeError):
        rooms.access.create_user(COMMAND_LINE, "li.na", [Role.AGENT])
    with pytest.raises(NotFound):
        rooms.access.user_named("li.na")


def _ring(hash_key: bytes = b"h", cipher: bytes = b"c", previous: tuple[Key, ...] = ()) -> Keyring:
    return Keyring(Key(hash_key * 32), Key(cipher * 32), Key(b"t" * 32), number_cipher_previous=previous)


def test_keys_that_do_not_fit_the_data_stop_the_start(rooms: Rooms) -> None:
    database, clock = rooms.database, rooms.clock
    confirm_keys(database, _ring(), clock)
    confirm_keys(database, _ring(), clock)
    with pytest.raises(ConfigurationError, match="number_hash_key"):
        confirm_keys(database, _ring(hash_key=b"x"), clock)
    with pytest.raises(ConfigurationError, match="number_cipher_previous_keys"):
        confirm_keys(database, _ring(cipher=b"x"), clock)
    confirm_keys(database, _ring(cipher=b"x", previous=(Key(b"c" * 32),)), clock)
    confirm_keys(database, _ring(cipher=b"x"), clock)  # rotated: the new one is the remembered one now
    with database.write() as session:
        session.execute(update(KeyFingerprint).values(fingerprint="0" * 32))
    with pytest.raises(ConfigurationError):
        confirm_keys(database, _ring(cipher=b"x"), clock)
