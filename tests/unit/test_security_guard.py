"""The guard: default deny for every kind, role and permission; cookies only from our own pages."""

import itertools
from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request

from cem.platform.errors import Unauthenticated
from cem.platform.security import (
    KIND_PERMISSIONS,
    ROLE_PERMISSIONS,
    SESSION_COOKIE,
    Guard,
    Permission,
    Principal,
    PrincipalKind,
    Role,
    guarded_routes,
    permissions_of,
    presented_credential,
    unguarded_routes,
)
from cem.platform.web import install_problem_details
from tests.web_client import WebClient

P = Permission
SAME = {"sec-fetch-site": "same-origin"}

EXPECTED = {
    Role.AGENT: {"self_check", "demarcation_read", "customers_read", "kqi_read", "cases_read", "orders_read"},
    Role.ENGINEER: {"demarcation_read", "kqi_read", "cases_read", "orders_read", "orders_work"},
    Role.OPERATIONS: {"demarcation_read", "kqi_read", "cases_read", "orders_read", "orders_work", "operate"},
    Role.ADMINISTRATOR: {"self_check", "demarcation_read", "customers_read", "kqi_read", "cases_read"}
    | {"orders_read", "orders_work", "users_admin", "operate"},
}
"""Written down here by hand, so that a change of the table is seen as one."""


def _app(principals: dict[str, Principal]) -> tuple[FastAPI, WebClient]:
    async def authenticate(request: Request) -> Principal:
        presented = presented_credential(request)
        if presented is None or presented.credential not in principals:
            raise Unauthenticated("no")
        return principals[presented.credential]

    guard = Guard(authenticate)
    router = APIRouter()
    for permission in Permission:

        @router.api_route(f"/v1/{permission}", methods=["GET", "POST"])
        async def route(
            principal: Annotated[Principal, Depends(guard.allow(permission))],
        ) -> dict[str, str]:
            return {"id": principal.id}

    @router.get("/v1/two")
    async def two(
        principal: Annotated[Principal, Depends(guard.allow(P.KQI_READ, P.OPERATE))],
    ) -> dict[str, str]:
        return {"id": principal.id}

    @router.get("/v1/staff-only", dependencies=[Depends(guard.signed_in(PrincipalKind.STAFF))])
    async def staff_only() -> None: ...

    @router.get("/v1/open", dependencies=[Depends(guard.public("a test"))])
    async def opened() -> None: ...

    @router.post("/v1/by-path/{token}")
    async def by_path(
        token: str,
        principal: Annotated[Principal, Depends(guard.allow(P.REPORTS_WRITE, path_parameter="token"))],
    ) -> dict[str, str]:
        return {"id": principal.id}

    app = FastAPI(openapi_url=None)
    app.include_router(router)
    install_problem_details(app)
    return app, WebClient(app)


def _staff(role: Role) -> Principal:
    return Principal(
        kind=PrincipalKind.STAFF, id=role, roles=frozenset({role}), permissions=permissions_of([role])
    )


DEVICE = Principal(
    kind=PrincipalKind.DEVICE,
    id="d",
    subscriber_id="s_a",
    permissions=KIND_PERMISSIONS[PrincipalKind.DEVICE],
)
CALLERS = {
    **{role.value: _staff(role) for role in Role},
    "device": DEVICE,
    "feed": Principal(kind=PrincipalKind.FEED, id="f", permissions=frozenset({P.SAMPLES_WRITE})),
    "nothing": Principal(kind=PrincipalKind.SYSTEM, id="n"),
}


@pytest.fixture(scope="module")
def client() -> Iterator[WebClient]:
    with _app(CALLERS)[1] as client:
        yield client


def _bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


def test_the_role_table_is_the_one_written_down() -> None:
    assert {role: {str(p) for p in held} for role, held in ROLE_PERMISSIONS.items()} == EXPECTED
    assert KIND_PERMISSIONS[PrincipalKind.DEVICE] == {P.REPORTS_WRITE, P.SELF_CHECK}
    assert KIND_PERMISSIONS[PrincipalKind.FEED] == {P.REPORTS_WRITE, P.SAMPLES_WRITE}
    assert P.USERS_ADMIN not in KIND_PERMISSIONS[PrincipalKind.SYSTEM]
    assert not {P.TOKENS_MINT, P.REPORTS_WRITE, P.SAMPLES_WRITE} & KIND_PERMISSIONS[PrincipalKind.STAFF]


@pytest.mark.parametrize(("role", "permission"), list(itertools.product(Role, Permission)))
def test_each_role_on_each_permission(client: WebClient, role: Role, permission: Permission) -> None:
    answer = client.get(f"/v1/{permission}", headers=_bearer(role))
    assert answer.status_code == (200 if permission.value in EXPECTED[role] else 403)


@pytest.mark.parametrize("permission", Permission)
def test_machines_hold_what_they_were_given_only(client: WebClient, permission: Permission) -> None:
    statuses = {
        name: client.get(f"/v1/{permission}", headers=_bearer(name)).status_code
        for name in ("device", "feed", "nothing")
    }
    assert statuses == {
        "device": 200 if permission in {P.REPORTS_WRITE, P.SELF_CHECK} else 403,
        "feed": 200 if permission is P.SAMPLES_WRITE else 403,
        "nothing": 403,
    }


@pytest.mark.parametrize("permission", Permission)
def test_nobody_gets_a_challenge(client: WebClient, permission: Permission) -> None:
    answer = client.get(f"/v1/{permission}")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "administrator", "Bearer " + "x" * 5000]
)
def test_a_broken_header_is_no_credential_even_beside_a_good_cookie(client: WebClient, header: str) -> None:
    cookie = {"cookie": f"{SESSION_COOKIE}=administrator"}
    assert client.get("/v1/kqi_read", headers=cookie).status_code == 200
    assert client.get("/v1/kqi_read", headers={**cookie, "authorization": header}).status_code == 401


def test_all_permissions_of_a_route_are_needed(client: WebClient) -> None:
    assert client.get("/v1/two", headers=_bearer("operations")).status_code == 200
    refused = client.get("/v1/two", headers=_bearer("engineer"))
    assert refused.status_code == 403
    assert "operate" in refused.json()["detail"]


def test_signed_in_can_ask_for_a_kind(client: WebClient) -> None:
    assert client.get("/v1/staff-only", headers=_bearer("agent")).status_code == 200
    assert client.get("/v1/staff-only", headers=_bearer("device")).status_code == 403
    assert client.get("/v1/staff-only").status_code == 401
    assert client.get("/v1/open").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://cem.test"}, 403),
        ({"origin": "http://cem.test"}, 200),
        ({"origin": "https://CEM.test"}, 200),
        ({"origin": "http://evil.test"}, 403),
        ({"origin": "http://cem.test.evil.test"}, 403),
        ({"origin": "http://cem.test:81"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"referer": "http://cem.test/"}, 403),
        ({}, 403),
    ],
)
def test_a_cookie_changes_things_only_from_our_own_pages(
    client: WebClient, headers: dict[str, str], status: int
) -> None:
    cookie = {"cookie": f"{SESSION_COOKIE}=administrator"}
    assert client.post("/v1/orders_work", headers={**cookie, **headers}).status_code == status
    assert client.get("/v1/orders_work", headers={**cookie, **headers}).status_code == 200


def test_a_bearer_needs_no_origin(client: WebClient) -> None:
    answer = client.post("/v1/orders_work", headers={**_bearer("engineer"), "sec-fetch-site": "cross-site"})
    assert answer.status_code == 200


def test_a_token_in_the_path_counts_on_its_route_only(client: WebClient) -> None:
    assert client.post("/v1/by-path/device").json() == {"id": "d"}
    assert client.post("/v1/by-path/unknown").status_code == 401
    assert client.post("/v1/by-path/device", headers=_bearer("unknown")).status_code == 401


def test_a_device_covers_its_own_line_and_no_other() -> None:
    assert DEVICE.covers("s_a")
    assert not DEVICE.covers("s_b")
    assert not DEVICE.covers("")
    assert CALLERS["agent"].covers("s_b")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": PrincipalKind.DEVICE, "id": "d"},
        {"kind": PrincipalKind.STAFF, "id": "u", "subscriber_id": "s_a"},
        {"kind": PrincipalKind.FEED, "id": "f", "permissions": frozenset({P.KQI_READ})},
        {"kind": PrincipalKind.STAFF, "id": "u", "permissions": frozenset({P.TOKENS_MINT})},
        {"kind": PrincipalKind.SYSTEM, "id": "y", "permissions": frozenset({P.USERS_ADMIN})},
    ],
)
def test_a_principal_that_cannot_be_is_never_made(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"line|cannot hold"):
        Principal(**wrong)  # type: ignore[arg-type]


def test_a_guard_that_asks_nothing_cannot_be_made() -> None:
    guard = Guard(lambda request: DEVICE)
    with pytest.raises(ValueError, match="at least one"):
        guard.allow()
    with pytest.raises(ValueError, match="why"):
        guard.public("")


def test_every_route_of_the_app_shows_its_guard_and_a_forgotten_one_is_found() -> None:
    app, _ = _app(CALLERS)
    assert unguarded_routes(app) == []
    assert ("GET /v1/open", ("public:a test",)) in guarded_routes(app)
    assert ("GET /v1/two", ("allow:kqi_read,operate",)) in guarded_routes(app)
    forgotten = APIRouter()
    forgotten.get("/v1/forgotten")(lambda: None)
    outer = APIRouter(prefix="/outer")
    outer.include_router(forgotten)
    app.include_router(outer)
    inner = FastAPI(openapi_url=None)
    inner.get("/also")(lambda: None)
    app.mount("/inner", inner)
    assert unguarded_routes(app) == ["GET /outer/v1/forgotten", "GET /also"]
