"""The main path on real input: a real player's reports, a real fault, a verdict, one work order.

ffmpeg makes the film, a node delivers it, headless Chromium plays it with hls.js, which sends CMCD v2 events
to the running service. The page's own media events are the truth that the service's figures are held
against; the handset's settings and radio, which a desktop browser has not, are given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.e2e.customer import PATIENCE_S, Customer
from tests.e2e.origin import Fault, Origin, cloud_samples
from tests.e2e.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

FILMS = "evening-films"
NEWS = "morning-news"

START_TOLERANCE_MS = 100.0
"""Between the page's request to play and the player's own `s` record lies a little script work (measured: 1–13 ms)."""

EVENT_TOLERANCE_MS = 25.0
"""Page and player hear the same media event in the same task; CMCD rounds to 1 ms (measured: 0–1 ms)."""

SLOW_AND_FAILING = (
    Fault(first_byte_delay_s=2.5, error_ratio=1, suffixes=tuple(f"{odd}.ts" for odd in (1, 3, 5, 7, 9))),
    Fault(first_byte_delay_s=2.5, suffixes=(".ts",)),
)
"""An origin with half of its storage gone: every second segment ends in 503, the others are slow."""

CLOSING_JOB = "window-closing"

PAST_THE_WINDOW_S = timedelta(minutes=20).total_seconds()
"""A clock so far ahead is past the end of any window the test ran in, its watermark included."""

HEALTHY_SETTINGS = {
    "airplane_mode": False,
    "mobile_data": True,
    "apn": "cmnet",
    "vpn": False,
    "proxy": False,
    "private_dns": "off",
    "data_saver": False,
    "power_save": False,
    "background_restricted": False,
    "nr_enabled": True,
    "volte_enabled": True,
}
HEALTHY_STATUS = {
    "sim_state": "ready",
    "registered": True,
    "roaming": False,
    "battery_pct": 71,
    "thermal": "none",
    "memory_free_mb": 2300,
    "storage_free_mb": 41000,
    "clock_offset_ms": 12,
    "captive_portal": False,
    "network_type": "cellular",
}
GOOD_RADIO = {"rsrp_dbm": -84, "rsrq_db": -8, "sinr_db": 19, "neighbour_rsrp_dbm": [-97, -101]}
POOR_RADIO = {"rsrp_dbm": -119, "rsrq_db": -17, "sinr_db": -3, "neighbour_rsrp_dbm": [-121, -123]}


def handset(
    *,
    city: str = "Shenzhen",
    cell: str = "SZ-1101-1",
    model: str = "Mate 70",
    settings: Mapping[str, Any] = HEALTHY_SETTINGS,
    status: Mapping[str, Any] = HEALTHY_STATUS,
    radio: Mapping[str, Any] = GOOD_RADIO,
) -> dict[str, Any]:
    """What a phone would say of itself."""
    return {
        "install_id": f"install-{cell}",
        "place": {
            "province": "Guangdong",
            "city": city,
            "area": cell.rsplit("-", 1)[0],
            "cell": cell,
            "rat": "NR",
            "gateway": "upf-gd-1",
        },
        "device": {
            "model": model,
            "os": "android",
            "os_version": "15",
            "app_version": "8.2.0",
            "device_type": "phone",
        },
        "settings": dict(settings),
        "status": dict(status),
        "radio": dict(radio),
    }


@dataclass
class Stage:
    """Everything a scene needs: the service, its keys, the film's origin, two nodes before it, the app's server."""

    service: Service
    system_key: str
    feed_key: str
    origin: Origin
    nodes: tuple[Origin, Origin]
    app: Origin
    open_page: Callable[..., Customer]

    def targets(self, node: Origin) -> tuple[tuple[str, str], ...]:
        """What the app probes: its node alone, two segments at the film's origin, and a host elsewhere."""
        return (
            (f"{node.url}/alive.txt", "node"),
            (f"{self.origin.url}/film/low-001.ts", "origin"),
            (f"{self.origin.url}/film/low-002.ts", "origin"),
            (f"{self.app.url}/player.js", "reference"),
        )

    def customer(
        self, number: str, source: str, phone: Mapping[str, Any], *, node: int = 0, **how: Any
    ) -> Customer:
        """A customer as the operator's back end knows one: provisioned, and with a token for its app."""
        line = {"number": number, "attributes": {"provisioned_apn": "cmnet"}}
        self.service.ask("PUT", "/v1/customers", json={"customers": [line]}, key=self.system_key)
        minted = self.service.post("/v1/device-tokens", {"number": number, "ttl_s": 900}, key=self.system_key)
        return self.open_page(
            number=number,
            token=minted["token"],
            source=source,
            node=self.nodes[node],
            handset=phone,
            **how,
        )

    def nodes_report(self, source: str, *customers: Customer) -> None:
        """The platform's vantage point: the nodes' logs of these sessions, posted by their feed."""
        subscribers = {customer.session_id: customer.number for customer in customers}
        samples = [
            sample
            for node in self.nodes
            for sample in cloud_samples(node, source=source, subscribers=subscribers, run="e2e")
        ]
        assert len(samples) == len(customers), "each session was seen by its node"
        answer = self.service.post("/v1/samples/cloud", samples, key=self.feed_key)
        assert answer["accepted"] == len(samples), answer


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser, npm: Path, film: Path
) -> Iterator[Stage]:
    """One service for the module's scenes; the last one moves its clock past the window."""
    folder = tmp_path_factory.mktemp("order")
    service = Service(folder / "service")
    pages: list[Customer] = []
    cache = folder / "cache"
    cache.mkdir()
    (cache / "alive.txt").write_text("alive\n")
    with (
        Origin({"/hls": npm / "hls.js" / "dist", "/": Path(__file__).parent / "site"}) as app,
        Origin({"/film": film}) as origin,
        Origin({"/": cache}, host="127.0.0.2", upstream=origin) as first,
        Origin({"/": cache}, host="127.0.0.3", upstream=origin) as second,
    ):

        def open_page(**known: Any) -> Customer:
            pages.append(Customer.at(browser, app.url, collector=service.url, **known))
            return pages[-1]

        try:
            service.start()
            keys = {kind: service.new_key(kind) for kind in ("system", "feed")}
            yield Stage(service, keys["system"], keys["feed"], origin, (first, second), app, open_page)
        finally:
            for page in pages:
                page.close()
            service.stop()


def tap_check(
    stage: Stage, *customers: Customer, symptom: str | None, probes: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Every customer taps "check my service": all measure at once, then each asks. The verdicts."""
    if probes is None:
        for customer in customers:
            customer.start_probing(*stage.targets(customer.node))
    verdicts = []
    for customer in customers:
        measured = customer.probed() if probes is None else probes
        answer = customer.check(
            probes=measured,
            symptom=symptom,
            source=customer.source,
            node=customer.node.host,
            content_id="film-1",
            figures=customer.own_count(),
        )
        verdicts.append(answer["verdict"])
    return verdicts


def assert_same_viewing(stage: Stage, customer: Customer) -> None:
    """The session's KQIs, made of CMCD events, agree with the page's own media events."""
    truth = customer.figures()
    session = stage.service.get(f"/v1/kqi/sessions/{customer.session_id}", key=stage.system_key)
    kqis = session["figures"]
    shown = {"truth": truth, "service": session, "events": customer.truth()}
    events = 2 * len(truth.stalls_ms) + 2
    assert truth.start_delay_ms is not None
    assert kqis["start_delay_ms"] == pytest.approx(truth.start_delay_ms, abs=START_TOLERANCE_MS), shown
    assert kqis["stall_count"] == len(truth.stalls_ms), shown
    assert kqis["stall_ms"] == pytest.approx(truth.stall_ms, abs=events * EVENT_TOLERANCE_MS), shown
    assert kqis["play_ms"] == pytest.approx(truth.play_ms, abs=events * EVENT_TOLERANCE_MS), shown
    assert kqis["stall_ratio"] == pytest.approx(truth.stall_ratio, abs=0.01), shown


def assert_same_cube(stage: Stage, source: str, customers: list[Customer], since: datetime) -> None:
    """The cubes of a source come to what the pages of its viewers saw: nothing lost or doubled.

    Cubes follow their facts within seconds, so they get a moment.
    """
    truth = [customer.figures() for customer in customers]
    slack = sum(2 * len(figures.stalls_ms) + 2 for figures in truth) * EVENT_TOLERANCE_MS
    expected = {
        "stall_ms": pytest.approx(sum(figures.stall_ms for figures in truth), abs=slack),
        "play_ms": pytest.approx(sum(figures.play_ms for figures in truth), abs=slack),
        "start_delay_ms": pytest.approx(
            sum(figures.start_delay_ms or 0 for figures in truth), abs=START_TOLERANCE_MS * len(truth)
        ),
    }
    question = {
        "indicator": ",".join(expected),
        "vantage": "device",
        "group_by": "source",
        "step": "all",
        "from": since.isoformat(),
        "to": (since + timedelta(minutes=30)).isoformat(),
    }
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rows = stage.service.get("/v1/kqi/cubes", key=stage.system_key, params=question)["rows"]
        totals = {row["indicator"]: row["total"] for row in rows if row["group"] == {"source": source}}
        if totals == expected:
            return
        assert time.monotonic() < deadline, (totals, truth, rows)
        time.sleep(0.3)


def test_a_healthy_phone_and_a_healthy_origin_have_no_fault(stage: Stage) -> None:
    customer = stage.customer("+8613800000021", NEWS, handset(), token_in="path")
    customer.play()
    customer.wait_for("playing")
    customer.rest(4000)
    stage.nodes_report(NEWS, customer)
    [verdict] = tap_check(stage, customer, symptom=None)
    customer.pause()
    customer.leave()
    assert verdict["domain"] == "no_fault", verdict
    assert customer.figures().stalls_ms == ()
    assert_same_viewing(stage, customer)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        pytest.param({"airplane_mode": True}, "airplane_mode", id="airplane mode"),
        pytest.param({"apn": "3gwap.example"}, "wrong_apn", id="wrong APN"),
    ],
)
def test_a_phone_that_cannot_reach_anything_by_its_own_setting_is_the_terminals(
    stage: Stage, settings: dict[str, Any], cause: str
) -> None:
    """The app measures while the phone is cut off, and sends what it kept over Wi-Fi later the same minute."""
    phone = handset(settings={**HEALTHY_SETTINGS, **settings})
    if settings.get("airplane_mode"):
        phone["status"] |= {"registered": False, "network_type": "none"}
        del phone["radio"]
    customer = stage.customer("+8613800000031", NEWS, phone)
    with customer.cut_off():
        customer.start_probing(*stage.targets(customer.node))
        probes = customer.probed()
    assert all("http_status" not in probe for probe in probes), "nothing was reachable"
    [verdict] = tap_check(stage, customer, symptom="offline", probes=probes)
    assert (verdict["domain"], verdict["cause"]) == ("terminal", cause), verdict


def test_a_phone_with_a_weak_signal_is_the_networks(stage: Stage) -> None:
    phone = handset(radio=POOR_RADIO)
    customer = stage.customer("+8613800000041", NEWS, phone)
    customer.narrow(latency_ms=700, kbps=220)
    customer.play()
    customer.wait_for("playing")
    customer.wait_for("waiting")
    [verdict] = tap_check(stage, customer, symptom="stall")
    assert (verdict["domain"], verdict["cause"]) == ("network", "weak_coverage"), verdict


def the_one_order(stage: Stage, *, cases: int) -> dict[str, Any]:
    """The only order there is, once closing has found all cases and has had three more turns to find another."""
    deadline = time.monotonic() + PATIENCE_S
    while sum(order["case_count"] for order in all_orders(stage)) < cases:
        assert time.monotonic() < deadline, all_orders(stage)
        time.sleep(0.2)
    stage.service.wait_for_rounds(CLOSING_JOB, 3, key=stage.system_key)
    [order] = all_orders(stage)
    return order


def all_orders(stage: Stage) -> list[dict[str, Any]]:
    return list(stage.service.get("/v1/orders", key=stage.system_key)["items"])


def test_a_slow_and_failing_origin_is_the_platforms_and_becomes_one_order(stage: Stage) -> None:
    hit = [
        stage.customer("+8613800000011", FILMS, handset(cell="SZ-1101-1", model="Mate 70")),
        stage.customer(
            "+8613800000012", FILMS, handset(cell="GZ-2207-3", city="Guangzhou", model="Redmi K80")
        ),
        stage.customer(
            "+8613800000013", FILMS, handset(cell="DG-0410-2", city="Dongguan", model="iPhone 17"), node=1
        ),
    ]
    early, late = hit[:2], hit[2]
    since = datetime.now(UTC)
    for customer in early:
        customer.play()
    for customer in early:
        customer.wait_for("playing")

    stage.origin.break_with(*SLOW_AND_FAILING)
    late.play()
    for customer in hit:
        customer.wait_for("waiting")
    late.wait_for("playing")
    stage.nodes_report(FILMS, *hit)
    verdicts = tap_check(stage, *hit, symptom="stall")

    stage.origin.break_with()
    for customer in hit:
        customer.wait_until_playing_again()
    hit[0].rest(1000)
    for customer in hit:
        customer.pause()
        customer.leave()

    for customer in hit:
        assert_same_viewing(stage, customer)
        assert len(customer.figures().stalls_ms) >= 1
    assert (late.figures().start_delay_ms or 0) > 2_500, "its first segment waited for the slow origin"
    assert [verdict["domain"] for verdict in verdicts] == ["platform"] * 3, verdicts

    assert_same_cube(stage, FILMS, hit, since)

    found = []
    for _ in range(2):  # the window closes; and once more, as if the machine had been restarted meanwhile
        stage.service.stop()
        stage.service.start(clock_offset_s=PAST_THE_WINDOW_S)
        found.append(the_one_order(stage, cases=len(hit)))
    first, again = found
    assert first["domain"] == "platform"
    assert first["scope"] == {"source": FILMS}
    assert (first["affected"], first["case_count"]) == (3, 3)
    assert (again["id"], again["affected"], again["case_count"]) == (first["id"], 3, 3)
