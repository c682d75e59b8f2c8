"""Every route at once: guarded, documented, unmoved by garbage, closed by default, silent about numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from cem.migrating import migrate_stores
from cem.platform.security import KIND_PERMISSIONS, PrincipalKind, guarded_routes, unguarded_routes
from cem.platform.settings import Settings
from cem.wiring import House
from tests.integration.routes_garbage import Request, Route, garbage, resolved, routes_of
from tests.processes import Service, clickhouse_process

PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /v1/schemas/report",
    "GET /v1/schemas/report/{version}",
    "POST /v1/staff/sessions",
}
"""Operations of the interface that anybody may ask."""

NO_GUARD = {"* /docs/assets"}
"""Static files of the documentation pages."""

VARIANTS = 12
VARIANTS_OF_OTHERS = 2
DIGITS = "13755512345"
LINE, OTHER_LINE = f"+86{DIGITS}", "+8613755512399"
ROLES = ("agent", "engineer", "operations")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(Settings(data_dir=tmp_path_factory.mktemp("routes"))) as made:
        migrate_stores(made.database, made.facts)
        yield made


def test_every_route_is_guarded_and_documented(house: House) -> None:
    app = house.build_app(contextlib.nullcontext)
    assert set(unguarded_routes(app)) == NO_GUARD
    open_to_all = {
        name
        for name, guards in guarded_routes(app)
        if name.split()[1].startswith("/v1") and any(guard.startswith("public:") for guard in guards)
    }
    assert open_to_all == {name for name in PUBLIC if "/v1" in name}
    document = app.openapi()
    assert len(routes_of(document)) > 40
    named: set[str] = set()
    bare: list[str] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method.upper()} {path}"
            assert len(operation.get("summary", "")) > 3, where
            assert len(operation.get("description", "")) > 10, where
            assert operation.get("tags"), where
            assert operation["operationId"] not in named, where
            named.add(operation["operationId"])
            bodiless = "204" in operation["responses"] and not operation.get("requestBody")
            if not bodiless and not _has_example(document, operation, set()):
                bare.append(where)
    assert not bare, "no example"


def _has_example(document: Mapping[str, Any], node: Any, seen: set[int]) -> bool:
    node = resolved(document, node)
    if id(node) in seen:
        return False
    seen.add(id(node))
    if isinstance(node, Mapping):
        if "example" in node or node.get("examples"):
            return True
        return any(_has_example(document, inner, seen) for inner in node.values())
    return isinstance(node, list) and any(_has_example(document, inner, seen) for inner in node)


@dataclass
class Installation:
    """A running service and everybody who may call it."""

    service: Service
    callers: dict[str, dict[str, str]]
    routes: list[Route]
    client: httpx.Client
    refusals: list[str] = field(default_factory=list)

    def send(self, request: Request, caller: str) -> httpx.Response:
        answer = self.client.request(
            request.method,
            request.path,
            content=request.body,
            headers={**request.headers, **self.callers[caller]},
        )
        if answer.status_code >= 400:
            self.refusals.append(answer.text)
        return answer


@pytest.fixture(scope="module", params=["embedded", "servers"])
def installation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp(f"routes-{request.param}")
    with contextlib.ExitStack() as closing:
        settings = {"log_level": "debug"}
        if request.param == "servers":
            settings["database_url"] = request.getfixturevalue("postgres_url")
            settings["kqi_url"] = closing.enter_context(clickhouse_process(folder / "facts"))
        service = Service(folder, **settings)
        closing.callback(service.stop)
        service.start()
        client = closing.enter_context(httpx.Client(base_url=service.url, timeout=60))
        callers = {"nobody": {}, "nonsense": {"Authorization": "Bearer cemk_nonsense"}}
        callers["administrator"] = _signed_in(client, "administrator", service.first_password())
        for kind in ("feed", "system"):
            held = sorted(KIND_PERMISSIONS[PrincipalKind(kind)])
            key = {"name": f"the {kind}", "kind": kind, "permissions": held}
            callers[kind] = _bearer(_made(client, "/v1/keys", key, callers["administrator"])["secret"])
        for caller, number in (("device", LINE), ("other device", OTHER_LINE)):
            token = _made(client, "/v1/device-tokens", {"number": number}, callers["system"])["token"]
            callers[caller] = _bearer(token)
        for role in ROLES:
            user = _made(
                client, "/v1/users", {"name": f"the-{role}", "roles": [role]}, callers["administrator"]
            )
            callers[role] = _signed_in(client, f"the-{role}", user["password"])
        callers["cookie"] = {"Cookie": "cem_session=" + callers["engineer"]["Authorization"].split()[1]}
        document = client.get("/openapi.json").json()
        yield Installation(service, callers, routes_of(document), client)


def _bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def _made(client: httpx.Client, path: str, body: Any, caller: Mapping[str, str]) -> Any:
    answer = client.post(path, json=body, headers=caller)
    assert answer.status_code == 201, answer.text
    return answer.json()


def _signed_in(client: httpx.Client, name: str, password: str) -> dict[str, str]:
    return _bearer(_made(client, "/v1/staff/sessions", {"name": name, "password": password}, {})["token"])


def _open(route: Route) -> bool:
    return f"{route.method} {route.path}" in PUBLIC


def test_nobody_gets_in_without_a_credential(installation: Installation) -> None:
    for route in installation.routes:
        for caller in ("nobody", "nonsense"):
            answer = installation.send(Request(route.method, route.address(), b"{}"), caller)
            if not _open(route):
                assert answer.status_code == 401, f"{route.method} {route.path}: {answer.status_code}"
                assert answer.headers["content-type"] == "application/problem+json"
                assert "www-authenticate" in answer.headers


def test_a_device_reads_its_own_line_only(installation: Installation) -> None:
    snapshot = {"id": "own", "session_id": "own-session", "settings": {"airplane_mode": True}}
    ask = Request("POST", "/v1/self-checks", _json({"snapshot": snapshot}))
    mine = installation.send(ask, "device")
    assert mine.status_code == 200, mine.text
    check, verdict = mine.json()["id"], mine.json()["verdict"]["id"]
    for method, path, body in (
        ("GET", f"/v1/self-checks/{check}", b""),
        ("GET", f"/v1/self-checks/{check}/events", b""),
        ("POST", f"/v1/self-checks/{check}/re-check", b"{}"),
        ("POST", f"/v1/self-checks/{check}/complaint", b""),
    ):
        answer = installation.send(Request(method, path, body), "other device")
        assert answer.status_code == 404, f"{method} {path}: {answer.status_code} {answer.text}"
    for path in (
        f"/v1/verdicts/{verdict}",
        "/v1/verdicts",
        "/v1/cases",
        "/v1/orders",
        "/v1/kqi/cubes?indicator=bad",
    ):
        assert installation.send(Request("GET", path), "other device").status_code == 403, path
    theirs = Request("POST", "/v1/self-checks", _json({"snapshot": {"id": "theirs", "subscriber": LINE}}))
    assert installation.send(theirs, "other device").status_code == 403
    assert installation.send(ask, "other device").json()["id"] != check, "an id is a line's own"
    assert installation.send(Request("GET", f"/v1/self-checks/{check}"), "device").status_code == 200
    assert installation.send(Request("GET", f"/v1/self-checks/{check}"), "feed").status_code == 403


def _json(body: Any) -> bytes:
    return httpx.Request("POST", "http://x", json=body).content


def test_garbage_is_refused_and_never_breaks_anything(installation: Installation) -> None:
    sent = 0
    for route in installation.routes:
        if route.path == "/v1/staff/sessions/current":
            continue  # signs the caller out, whatever else is sent
        for caller in installation.callers:
            usual = caller in {"administrator", "system"}
            for request in garbage(route, 20_261_122, VARIANTS if usual else VARIANTS_OF_OTHERS):
                answer = installation.send(request, caller)
                sent += 1
                said = f"{caller}: {request.method} {request.path[:200]} {dict(request.headers)} {request.body[:400]!r}"
                assert answer.status_code < 500, f"{answer.status_code} {answer.text} to {said}"
                if answer.status_code >= 400:
                    assert answer.headers["content-type"] == "application/problem+json", said
                    problem = answer.json()
                    assert problem["status"] == answer.status_code, said
                    assert problem["title"], said
    print(f"{sent} garbage requests to {len(installation.routes)} routes")
    pages = [Route("GET", path, (), None) for path in ("/", "/orders/{x}", "/login", "/language", "/nowhere")]
    for route in pages:
        for caller in ("nobody", "cookie", "administrator"):
            for request in garbage(route, 1, 8):
                assert installation.send(request, caller).status_code < 500, request.path[:200]
    assert installation.client.get("/healthz").status_code == 200
    assert installation.client.get("/readyz").status_code == 200


def test_a_number_is_in_no_log_no_metric_no_address_and_no_refusal(installation: Installation) -> None:
    """The digits went in wherever a number can go, and where it has no business, above and here."""
    report = {"id": "n-1", "observed_at": "2001-01-01T00:00:00Z", "subscriber": LINE}
    login = {"name": DIGITS, "password": LINE}
    answers = [
        installation.send(Request(method, path, _json(body)), caller)
        for method, path, body, caller in (
            ("POST", "/v1/reports", [report, {**report, "subscriber": LINE + "x"}], "feed"),
            ("POST", "/v1/samples/pipe", [report], "feed"),
            ("POST", "/v1/self-checks", {"snapshot": {"subscriber": LINE}}, "agent"),
            ("POST", "/v1/self-checks", {"snapshot": {"subscriber": LINE}, "deadline_ms": LINE}, "system"),
            ("POST", "/v1/customers/lookup", {"number": LINE}, "agent"),
            ("POST", "/v1/customers/lookup", {"number": [LINE], "reason": LINE}, "agent"),
            ("POST", "/v1/device-tokens", {"number": LINE}, "system"),
            ("POST", "/v1/device-tokens", {"number": LINE + "x"}, "system"),
            ("POST", "/v1/staff/sessions", login, "nobody"),
            ("POST", f"/v1/{DIGITS}", {}, "system"),
            ("GET", f"/v1/orders?city={DIGITS}", {}, "engineer"),
            ("GET", f"/v1/verdicts?subscriber_id={DIGITS}", {}, "agent"),
        )
    ]
    assert max(answer.status_code for answer in answers) < 500, [a.text for a in answers]
    assert any(answer.status_code in {200, 201} for answer in answers)
    for answer in answers:
        assert DIGITS not in str(answer.headers)
    metrics = installation.send(Request("GET", "/metrics"), "system")
    assert metrics.status_code == 200
    assert DIGITS not in metrics.text
    assert not [said for said in installation.refusals if DIGITS in said]
    log = installation.service.log.read_text(errors="replace")
    assert '"route"' in log
    assert DIGITS not in log
    assert "Traceback" not in log
    assert "failed unexpectedly" not in log
