"""The web pages in a real browser: signing in, live numbers, both languages, the keyboard, accessibility."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CITIES = (("Guangdong", "Shenzhen"), ("Guangdong", "Guangzhou"), ("Hunan", "Changsha"))
SOURCE = "evening-films"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@dataclass
class Site:
    """A service with a little of everything in it, and who may look."""

    service: Service
    system_key: str
    user: str
    password: str
    axe: str

    def sign_in(self, page: Page, *, language: str = "en") -> None:
        page.goto(f"{self.service.url}/language?to={language}&next=/login")
        page.locator("#name").fill(self.user)
        page.locator("#password").fill(self.password)
        page.locator("#password").press("Enter")
        page.wait_for_url(f"{self.service.url}/")

    def report_a_viewing(self, number: str, city: tuple[str, str], at: datetime, **figures: float) -> None:
        body = [
            {
                "id": str(uuid.uuid4()),
                "observed_at": at.isoformat(),
                "subscriber": number,
                "service": "video",
                "session_id": str(uuid.uuid4()),
                "place": {"province": city[0], "city": city[1], "cell": f"{city[1]}-1"},
                "player": {"source": SOURCE, "node": "node-a", "figures": figures},
            }
        ]
        answer = self.service.post("/v1/reports", body, key=self.system_key)
        assert answer["accepted"] == 1, answer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, npm: Path) -> Iterator[Site]:
    """Viewings in three cities over the last hour; one origin's failure, twenty minutes ago, that became an order."""
    service = Service(tmp_path_factory.mktemp("pages") / "service")
    try:
        service.start()
        password = service.run("user", "add", "li.na", "--role", "operations").strip()
        key = service.new_key("system")
        axe = (npm / "axe-core" / "axe.min.js").read_text()
        ready = Site(service, key, "li.na", password, axe)
        now = datetime.now(UTC)
        for number, city in enumerate(CITIES):
            for quarter in range(4):
                ready.report_a_viewing(
                    f"+861380000{number}{quarter}00",
                    city,
                    now - timedelta(minutes=15 * quarter),
                    start_delay_ms=900.0 + 700 * number,
                    stall_ms=2000.0 * quarter,
                    stall_count=quarter,
                    play_ms=180_000,
                )
        for number, city in enumerate(CITIES):
            fault_of(ready, f"+861390000000{number}", city, now - timedelta(minutes=20))
        deadline = time.monotonic() + 30
        while not service.get("/v1/orders", key=key)["items"]:
            assert time.monotonic() < deadline, f"no order: {service.tail()}"
            time.sleep(0.2)
        yield ready
    finally:
        service.stop()


def fault_of(site: Site, number: str, city: tuple[str, str], at: datetime) -> None:
    """A customer's self-check while the origin answers 503."""
    snapshot: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "observed_at": at.isoformat(),
        "subscriber": number,
        "service": "video",
        "symptom": "stall",
        "place": {"province": city[0], "city": city[1], "cell": f"{city[1]}-1", "rat": "NR"},
        "settings": {"airplane_mode": False, "mobile_data": True, "apn": "cmnet", "vpn": False},
        "status": {"sim_state": "ready", "registered": True, "network_type": "cellular"},
        "radio": {"rsrp_dbm": -84, "rsrq_db": -8, "sinr_db": 19},
        "probes": [
            {
                "host": "films.example",
                "role": "origin",
                "tcp_ms": 20,
                "first_byte_ms": 90,
                "http_status": 503,
            },
            {
                "host": "ref.example",
                "role": "reference",
                "tcp_ms": 18,
                "first_byte_ms": 30,
                "http_status": 200,
            },
        ],
        "player": {
            "source": SOURCE,
            "node": "node-a",
            "figures": {"stall_ms": 9000, "stall_count": 2, "play_ms": 40_000, "http_status": 503},
        },
    }
    answer = site.service.post("/v1/self-checks?wait_ms=8000", snapshot, key=site.system_key)
    assert answer["verdict"]["domain"] == "platform", answer


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing may go wrong unseen: script errors and refused resources fail the test."""
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    opened.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    yield opened
    assert wrong == []


def violations(page: Page, axe: str) -> list[str]:
    """What axe finds against WCAG A and AA, one line each."""
    page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": axe})  # the page's CSP holds
    found = page.evaluate(
        """async tags => {
            const result = await axe.run(document, { runOnly: { type: "tag", values: tags } });
            return result.violations.flatMap(rule =>
                rule.nodes.map(node => `${rule.id}: ${node.target.join(" ")}: ${node.failureSummary}`));
        }""",
        WCAG,
    )
    return list(found)


def test_a_stranger_is_sent_to_the_login_and_a_wrong_password_is_told(
    site: Site, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(f"{site.service.url}/language?to=en&next=/orders")
    assert page.url.startswith(f"{site.service.url}/login")
    page.locator("#name").fill(site.user)
    page.locator("#password").fill("not the password")
    page.locator("form button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.context.cookies(site.service.url + "/orders") == [
        cookie
        for cookie in page.context.cookies(site.service.url + "/orders")
        if cookie["name"] != "cem_session"
    ]


def test_the_overview_shows_what_came_in_and_follows_it(site: Site, page: Page, tmp_path: Path) -> None:
    site.sign_in(page)
    live = page.locator("#live")
    expect(live.locator("svg.heat-map").first).to_be_visible()
    for _, city in CITIES:
        expect(live.locator("svg.heat-map").first).to_contain_text(city)
    expect(live.locator("table.rows").first).to_contain_text("WO-")
    expect(live).to_contain_text("Platform")
    page.screenshot(path=tmp_path / "overview.png", full_page=True)

    page.evaluate("() => { document.querySelector('#live > .fragment').dataset.seen = 'yes'; }")
    site.report_a_viewing(
        "+8613811111111", ("Yunnan", "Kunming"), datetime.now(UTC), start_delay_ms=1200, play_ms=60_000
    )
    expect(live.locator("svg.heat-map").first).to_contain_text("Kunming", timeout=30_000)
    assert page.locator("[data-seen]").count() == 0, "the live part was replaced without a reload"


def test_both_languages(site: Site, page: Page, tmp_path: Path) -> None:
    site.sign_in(page, language="zh")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator("h1")).to_have_text("总览")
    page.screenshot(path=tmp_path / "overview-zh.png", full_page=True)
    page.get_by_role("link", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("h1")).to_have_text("Overview")
    page.get_by_role("link", name="中文").click()
    expect(page.locator("h1")).to_have_text("总览")


def test_an_order_can_be_worked_with_the_keyboard_alone(site: Site, page: Page, tmp_path: Path) -> None:
    site.sign_in(page)
    press_until(page, "a[href^='/orders/']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/orders/*")
    press_until(page, "form[action$='/take'] button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_be_visible()
    press_until(page, "#comment")
    page.keyboard.type("The origin's team is on it.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".history")).to_contain_text("The origin's team is on it.")
    page.screenshot(path=tmp_path / "order.png", full_page=True)


def press_until(page: Page, selector: str) -> None:
    """Tab through the page until the focus is on `selector`; fails after more stops than a page has."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the keyboard does not reach {selector}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_the_accessibility_rules(site: Site, page: Page, tmp_path: Path, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    found: dict[str, list[str]] = {}
    page.goto(f"{site.service.url}/language?to=en&next=/login")
    found["login"] = violations(page, site.axe)
    site.sign_in(page)
    for name, address in {"overview": "/", "orders": "/orders"}.items():
        page.goto(site.service.url + address)
        found[name] = violations(page, site.axe)
        page.screenshot(path=tmp_path / f"{name}-{scheme}.png", full_page=True)
    page.locator("a[href^='/orders/']").first.click()
    page.wait_for_url("**/orders/*")
    found["order"] = violations(page, site.axe)
    assert found == {name: [] for name in found}
