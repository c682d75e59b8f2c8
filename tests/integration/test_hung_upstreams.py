"""Every upstream hung, the KQI store too: two hundred self-checks at once are all answered within their budget."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clickhouse_server import serving
from tests.integration.hung_upstreams import upstreams
from tests.processes import Service

CHECKS = 200
DEADLINE_MS = 5_000
OUTERMOST_S = 20.0
"""The promise to the customer: whatever hangs, the verdict is there within this."""

BAD = ("hangs", "drips", "floods", "redirects", "cuts")
"""Upstreams that never give an answer that can be read. `lies` gives one, of which nothing can be believed."""

AWAY = {*(f"u_{path}" for path in BAD), "line", "peers"}


def _settings(port: int) -> str:
    fields = (
        "{'account.status' = '/status', 'account.apns' = '/apns', 'account.throttled' = '/throttled', "
        "'account.service_allowed' = '/allowed', 'alarm.cell' = '/cell'}"
    )
    return (
        "["
        + ", ".join(
            f"{{name = 'u_{path}', url = 'http://127.0.0.1:{port}/{path}', budget_s = 3.0, fields = {fields}}}"
            for path in (*BAD, "lies")
        )
        + "]"
    )


def _snapshot(number: int, run: str) -> dict[str, Any]:
    place = {"province": "js", "city": "nanjing", "cell": f"c{number % 7}", "rat": "NR"}
    snapshot: dict[str, Any] = {
        "id": f"{run}-{number}",
        "service": "video",
        "symptom": "stall",
        "place": place,
    }
    snapshot["subscriber"] = f"+86138{number:08d}"
    snapshot["settings"] = {"airplane_mode": number % 2 == 0, "mobile_data": True}
    snapshot["status"] = {"sim_state": "ready", "registered": number % 2 == 1}
    return snapshot


async def _check(client: httpx.AsyncClient, number: int, run: str) -> tuple[float, httpx.Response]:
    body = {"snapshot": _snapshot(number, run), "deadline_ms": DEADLINE_MS}
    began = time.perf_counter()
    answer = await client.post("/v1/self-checks", params={"wait_ms": 20_000}, json=body)
    return time.perf_counter() - began, answer


def _burst(service: Service, key: str, run: str) -> list[tuple[float, httpx.Response]]:
    async def all_at_once() -> list[tuple[float, httpx.Response]]:
        limits = httpx.Limits(max_connections=CHECKS)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            base_url=service.url, headers=headers, timeout=60, limits=limits
        ) as client:
            return await asyncio.gather(*(_check(client, number, run) for number in range(CHECKS)))

    return asyncio.run(all_at_once())


def _judge(answers: list[tuple[float, httpx.Response]], run: str) -> None:
    """Every answer is a verdict, in time, and says what was missing."""
    waited = sorted(seconds for seconds, _ in answers)
    took = sorted(answer.json()["verdict"]["took_ms"] for _, answer in answers if answer.status_code == 200)
    print(
        f"{run}: {len(took)} verdicts; waited p50 {waited[CHECKS // 2]:.2f} s, p99 {waited[-3]:.2f} s, "
        f"max {waited[-1]:.2f} s; took_ms p50 {took[len(took) // 2]}, p99 {took[-3]}, max {took[-1]}"
    )
    assert {answer.status_code for _, answer in answers} == {200}
    for number, (seconds, answer) in enumerate(answers):
        assert seconds < OUTERMOST_S
        verdict = answer.json()["verdict"]
        assert verdict["took_ms"] <= DEADLINE_MS
        missing = {one["source"]: one["reason"] for one in verdict["missing"]}
        assert set(missing) >= AWAY, missing
        assert all(missing.values())
        assert not [fact for fact in verdict["evidence_for"] if str(fact).find("u_lies") >= 0]
        assert verdict["domain"] == ("terminal" if number % 2 == 0 else "undetermined"), verdict
    ids = {answer.json()["id"] for _, answer in answers}
    assert len(ids) == CHECKS


def test_two_hundred_checks_while_everything_hangs(tmp_path: Path) -> None:
    with upstreams() as bad, serving(tmp_path / "facts") as facts:
        service = Service(
            tmp_path / "service",
            upstreams=_settings(bad.port),
            kqi_url=f"clickhouse://default:@127.0.0.1:{facts.port}/cem",
        )
        service.start()
        try:
            system = service.new_key("system")
            facts.answering.clear()
            _judge(_burst(service, system, "first"), "everything hangs")
            assert bad.asked["/trap"] == 0, "a redirect was followed"
            assert all(bad.asked[f"/{path}"] for path in (*BAD, "lies"))
            assert httpx.get(f"{service.url}/healthz").status_code == 200
            readiness = httpx.get(f"{service.url}/readyz", timeout=20)
            assert readiness.status_code == 503, readiness.text
            _judge(_burst(service, system, "second"), "breakers open")

            facts.answering.set()
            service.wait_until_ready()
            _wait_until_sources_are_back(service, system)
            assert service.stop() == 0
        finally:
            facts.answering.set()
            service.stop()


def _wait_until_sources_are_back(service: Service, key: str) -> None:
    """Nobody has to restart anything: the breakers try again by themselves."""
    deadline = time.monotonic() + 90
    for number in range(1_000):
        body = {"snapshot": _snapshot(1_000 + number, "after"), "deadline_ms": DEADLINE_MS}
        verdict = service.post("/v1/self-checks?wait_ms=20000", body, key=key)["verdict"]
        missing = {one["source"] for one in verdict["missing"]}
        if not missing & {"line", "peers"}:
            return
        assert time.monotonic() < deadline, f"still missing: {missing}"
        time.sleep(1)


@pytest.mark.parametrize("deadline_ms", [100])
def test_a_short_deadline_is_kept_too(tmp_path: Path, deadline_ms: int) -> None:
    with upstreams() as bad:
        service = Service(tmp_path, upstreams=_settings(bad.port))
        service.start()
        try:
            system = service.new_key("system")
            body = {"snapshot": _snapshot(1, "short"), "deadline_ms": deadline_ms}
            verdict = service.post("/v1/self-checks?wait_ms=20000", body, key=system)["verdict"]
            assert verdict["took_ms"] <= deadline_ms
            assert {one["source"] for one in verdict["missing"]} >= {"u_hangs", "u_drips"}
        finally:
            service.stop()
