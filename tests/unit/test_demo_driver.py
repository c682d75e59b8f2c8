"""The driver against a service that answers, refuses, asks to wait or is away."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import zstandard

from cem.demo.delivery import Counts, Delivery, DemoKeys, Stopped
from cem.demo.driver import DemoSettings, run_demo

KEYS = DemoKeys(feed="cemk_feed", system="cemk_system")
SMALL = DemoSettings(
    seed=3,
    history=timedelta(hours=1),
    history_rate=0.5,
    live_rate=2.0,
    parallel=2,
    check_pause_s=0.01,
    wait_ms=1000,
)


class RunningClock:
    """Starts at a set time and runs `speed` times as fast as the real one."""

    def __init__(self, speed: float = 1.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._speed = speed

    def now(self) -> datetime:
        return datetime(2026, 11, 22, 9, 3, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (self._loop.time() - self._began) * self._speed


class Service:
    """Takes what the demo sends, as the service's routes would, and remembers it."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.items: dict[str, list[dict[str, Any]]] = {}
        self.callers: dict[str, set[str]] = {}
        self.checks: list[dict[str, Any]] = []
        self.refusals: list[httpx.Response] = []
        self.lines: list[str] = []
        self.enough = asyncio.Event()
        self.has_all = self.live = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests[path] += 1
        if path == "/readyz":
            return httpx.Response(503 if self.requests[path] == 1 else 200)
        caller = request.headers["authorization"].removeprefix("Bearer ")
        self.callers.setdefault(path.split("/")[2], set()).add(caller)
        if self.refusals:
            return self.refusals.pop(0)
        if path == "/v1/customers":
            self.lines += [line["number"] for line in json.loads(request.content)["customers"]]
            return httpx.Response(200, json={})
        if path == "/v1/device-tokens":
            return httpx.Response(200, json={"token": f"token-{json.loads(request.content)['number']}"})
        if path.startswith("/v1/self-checks"):
            if path.endswith("/complaint"):
                return httpx.Response(200, json={})
            self.checks.append(json.loads(request.content))
            return httpx.Response(200, json={"id": f"sc_{len(self.checks)}"})
        lines = zstandard.ZstdDecompressor().decompressobj().decompress(request.content).splitlines()
        found = [json.loads(line) for line in lines]
        self.items.setdefault(path, []).extend(found)
        self.live |= any(item["observed_at"] > "2026-11-22T09:03:01" for item in found)
        if self.live and len(self.items.get("/v1/reports", [])) > 1800 and self.checks:
            self.enough.set()
        if self.has_all and path == "/v1/reports":
            return httpx.Response(200, json={"accepted": 0, "duplicate": len(found), "rejected": 0})
        return httpx.Response(200, json={"accepted": len(found), "duplicate": 0, "rejected": 0})


def run(service_: Any = None) -> tuple[Service, Counts]:
    async def go() -> tuple[Service, Counts]:
        service = Service()
        if service_ is not None:
            service_(service)
        stop = asyncio.Event()
        demo = asyncio.create_task(
            run_demo(
                "http://cem.test", KEYS, SMALL, RunningClock(), stop, transport=httpx.MockTransport(service)
            )
        )
        waiter = asyncio.create_task(service.enough.wait())
        await asyncio.wait({demo, waiter}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        waiter.cancel()
        return service, await demo

    return asyncio.run(go())


@pytest.fixture(scope="module")
def finished() -> tuple[Service, Counts]:
    return run()


def test_the_last_windows_come_first_the_older_ones_beside_live_traffic(
    finished: tuple[Service, Counts],
) -> None:
    service, counts = finished
    times = [datetime.fromisoformat(report["observed_at"]) for report in service.items["/v1/reports"]]
    assert min(times) < datetime(2026, 11, 22, 8, 4, tzinfo=UTC)
    assert max(times) > datetime(2026, 11, 22, 9, 3, tzinfo=UTC)
    half = len(times) // 2
    assert min(times[:half]) >= datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
    past = [at for at in times if at < datetime(2026, 11, 22, 9, 3, tzinfo=UTC)]
    assert len(past) == 1800
    assert counts.reports == len(service.items["/v1/reports"])
    assert counts.errors == counts.rejected == 0
    assert set(service.items) == {
        "/v1/reports",
        "/v1/samples/pipe",
        "/v1/samples/cloud",
        "/v1/samples/iot",
    }


def test_each_kind_of_caller_uses_its_own_credential(finished: tuple[Service, Counts]) -> None:
    service, _ = finished
    assert service.callers["reports"] == service.callers["samples"] == {"cemk_feed"}
    assert service.callers["device-tokens"] == service.callers["customers"] == {"cemk_system"}
    assert all(caller.startswith("token-+86154") for caller in service.callers["self-checks"])


def test_nobody_checks_what_would_count_in_another_window(finished: tuple[Service, Counts]) -> None:
    service, _ = finished
    assert min(check["observed_at"] for check in service.checks) >= "2026-11-22T08:30"


def test_customers_check_once_with_a_snapshot_of_the_recent_past(finished: tuple[Service, Counts]) -> None:
    service, counts = finished
    assert counts.self_checks + counts.re_checks == len(service.checks) > 0
    ids = [check["id"] for check in service.checks]
    assert len(set(ids)) == len(ids)
    assert all("subscriber" not in check for check in service.checks)


def test_every_line_is_provisioned_once(finished: tuple[Service, Counts]) -> None:
    service, _ = finished
    assert len(set(service.lines)) == len(service.lines) == 3600


def test_nothing_is_sent_twice(finished: tuple[Service, Counts]) -> None:
    service, _ = finished
    for items in service.items.values():
        assert len({item["id"] for item in items}) == len(items)


def test_a_province_started_again_sends_no_samples_of_what_the_service_has() -> None:
    service, counts = run(lambda service: setattr(service, "has_all", True))
    assert {"/v1/samples/pipe", "/v1/samples/cloud"}.isdisjoint(service.items)
    past = [
        item for item in service.items.get("/v1/samples/iot", []) if item["observed_at"] < "2026-11-22T09:03"
    ]
    assert past == []
    assert counts.reports == 0
    assert counts.duplicates == len(service.items["/v1/reports"])


def test_a_service_that_asks_to_wait_gets_everything_later() -> None:
    def refuse(service: Service) -> None:
        service.refusals += [
            httpx.Response(429, headers={"retry-after": "0"}),
            httpx.Response(503, headers={"retry-after": "0"}),
        ]

    service, counts = run(refuse)
    assert counts.waits == 2
    assert counts.errors == 0
    assert len({item["id"] for item in service.items["/v1/reports"]}) == counts.reports


def test_what_is_refused_for_good_is_counted_and_left() -> None:
    _, counts = run(lambda service: service.refusals.append(httpx.Response(422)))
    assert counts.errors == 1
    assert counts.waits == 0


def deliver(handler: Any, call: Any) -> tuple[Counts, Any]:
    async def go() -> tuple[Counts, Any]:
        counts, stop = Counts(), asyncio.Event()
        async with httpx.AsyncClient(
            base_url="http://cem.test", transport=httpx.MockTransport(handler)
        ) as client:
            return counts, await call(Delivery(client, KEYS, stop, counts), stop)

    return asyncio.run(go())


def test_a_broken_connection_is_tried_again_with_the_same_ids() -> None:
    seen: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        if len(seen) == 1:
            raise httpx.ConnectError("away")
        return httpx.Response(200, json={"accepted": 1})

    counts, _ = deliver(handler, lambda delivery, stop: delivery.reports([{"id": "one"}]))
    assert seen[0] == seen[1]
    assert (counts.reports, counts.waits, counts.errors) == (1, 1, 0)


def test_stopping_ends_a_wait_at_once() -> None:
    async def call(delivery: Delivery, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().call_soon(stop.set)
        with pytest.raises(Stopped):
            await delivery.reports([{"id": "one"}])

    counts, _ = deliver(lambda request: httpx.Response(503, headers={"retry-after": "20"}), call)
    assert counts.reports == 0


def test_cancelling_the_demo_ends_it() -> None:
    async def go() -> None:
        task = asyncio.create_task(
            run_demo(
                "http://cem.test",
                KEYS,
                SMALL,
                RunningClock(),
                asyncio.Event(),
                transport=httpx.MockTransport(Service()),
            )
        )
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(go())


def test_keys_do_not_show() -> None:
    assert "cemk" not in repr(KEYS)
