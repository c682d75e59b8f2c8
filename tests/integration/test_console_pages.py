"""The pages as a browser gets them: who may see and do what, what is shown, and what a page tells the browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html.parser import HTMLParser

import httpx
import pytest
from fastapi import FastAPI, Request

from cem.access.endpoints import HashingThreads
from cem.consoles.forms import form_token
from cem.consoles.pages import build_router
from cem.platform.errors import Unauthenticated
from cem.platform.security import (
    SESSION_COOKIE,
    Guard,
    Principal,
    PrincipalKind,
    Role,
    permissions_of,
    presented_credential,
    unguarded_routes,
)
from cem.platform.web import install_problem_details
from tests.conftest import FakeClock
from tests.console_sample import NAMES, NOW, TOKEN, SampleDesk, SampleLogins, SampleView, order_row
from tests.web_client import WebClient

ORDER = f"/orders/{order_row(0).id}"
SAME = {"Sec-Fetch-Site": "same-origin"}
SIGNED_IN = {"Cookie": f"{SESSION_COOKIE}={TOKEN}"}
VOID = {"meta", "link", "img", "input", "br", "hr"}


class House:
    """The pages over sample figures, with the platform's real guard."""

    def __init__(self, view: SampleView, role: Role) -> None:
        self.view, self.desk, self.logins = view, SampleDesk(), SampleLogins(open={TOKEN})
        self.principal = Principal(
            PrincipalKind.STAFF,
            "usr_1",
            frozenset({role}),
            permissions=permissions_of([role]),
            display="li.na",
        )
        self.clock = FakeClock(NOW)
        self.hashing = HashingThreads()
        self.app = FastAPI()
        install_problem_details(self.app)
        self.app.include_router(
            build_router(
                view, self.desk, self.logins, self.hashing, Guard(self._who), self.clock, names=NAMES
            )
        )
        self.client = WebClient(self.app)

    def _who(self, request: Request) -> Principal:
        presented = presented_credential(request)
        if presented is None or presented.credential not in self.logins.open:
            raise Unauthenticated("sign in")
        return self.principal

    def get(self, path: str, *, signed_in: bool = True, **headers: str) -> httpx.Response:
        sent = (SIGNED_IN if signed_in else {}) | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self.client.get(path, headers=sent)

    def post(self, path: str, **fields: str) -> httpx.Response:
        return self.client.post(path, data={"form": form_token(TOKEN)} | fields, headers=SIGNED_IN | SAME)


Build = Callable[..., House]


@pytest.fixture
def house_of() -> Iterator[Build]:
    with ExitStack() as closing:

        def build(view: SampleView | None = None, role: Role = Role.ENGINEER) -> House:
            house = House(view or SampleView(), role)
            closing.enter_context(house.client)
            closing.callback(house.hashing.close)
            return house

        yield build


class Outline(HTMLParser):
    """Checks that every element is closed where it should be and collects what assistive software needs."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self.headings: list[int] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.attributes.append((tag, given))
        if "id" in given:
            self.ids.append(given["id"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def pages(house_of: Build) -> dict[str, Outline]:
    house = house_of()
    paths = ["/", "/orders", "/orders?ended=1", ORDER]
    found = {path: Outline(house.get(path).text) for path in paths}
    return found | {"/login": Outline(house.get("/login", signed_in=False).text)}


def test_every_route_has_its_guard(house_of: Build) -> None:
    named = [
        route for route in unguarded_routes(house_of().app) if "docs" not in route and "openapi" not in route
    ]
    assert [route for route in named if not route.endswith("/redoc")] == []


@pytest.mark.parametrize("path", ["/", "/orders", ORDER])
def test_who_is_not_signed_in_is_sent_to_sign_in(house_of: Build, path: str) -> None:
    answer = house_of().get(path, signed_in=False)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")
    assert "li.na" not in answer.text


def test_the_live_part_says_that_the_session_has_ended(house_of: Build) -> None:
    answer = house_of().get("/fragments/overview", signed_in=False)
    assert (answer.status_code, answer.text) == (401, "")


@pytest.mark.parametrize(
    "path", ["/", "/orders", ORDER, "/login", "/orders/wo_nothing", "/fragments/overview"]
)
def test_every_page_tells_the_browser_what_to_refuse(house_of: Build, path: str) -> None:
    headers = house_of().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(pages: dict[str, Outline]) -> None:
    for outline in pages.values():
        for tag, given in outline.attributes:
            assert "style" not in given
            assert not [name for name in given if name.startswith("on")]
            if tag == "script":
                assert given["src"].startswith("/console/")
            for name in ("href", "src", "action"):
                assert not given.get(name, "").startswith(("http", "//", "data:", "javascript:"))
        assert "style" not in [tag for tag, _ in outline.attributes]


def test_pages_are_whole_and_can_be_walked_by_headings_and_labels(pages: dict[str, Outline]) -> None:
    for path, outline in pages.items():
        assert outline.open == [], path
        assert len(set(outline.ids)) == len(outline.ids), path
        assert outline.headings.count(1) == 1, path
        steps = zip(outline.headings, outline.headings[1:], strict=False)
        assert all(later - earlier <= 1 for earlier, later in steps), path
        labels = {given["for"] for tag, given in outline.attributes if tag == "label"}
        fields = {
            given["id"]
            for tag, given in outline.attributes
            if tag in {"input", "textarea", "select"} and given.get("type") != "hidden"
        }
        assert fields == labels, path
        named = {given.get("href") for tag, given in outline.attributes if tag == "a"}
        assert "#main" in named, path
        for _, given in outline.attributes:
            for reference in (
                given.get("aria-labelledby", "") + " " + given.get("aria-describedby", "")
            ).split():
                assert reference in outline.ids, (path, reference)


@pytest.mark.parametrize(
    ("accept", "lang", "word"), [("zh-CN", "zh-CN", "处理中工单"), ("en", "en", "Open work orders")]
)
def test_the_overview_speaks_the_readers_language(house_of: Build, accept: str, lang: str, word: str) -> None:
    html = house_of().get("/", Accept_Language=accept).text
    assert f'<html lang="{lang}">' in html
    assert word in html


def test_the_language_chosen_is_remembered_and_leads_back(house_of: Build) -> None:
    house = house_of()
    answer = house.get("/language?to=zh&next=%2Forders%3Fended%3D1", signed_in=False)
    assert answer.headers["location"] == "/orders?ended=1"
    assert "cem_language=zh" in answer.headers["set-cookie"]
    chosen = house.client.get("/login", headers={"Cookie": "cem_language=zh", "Accept-Language": "en"})
    assert '<html lang="zh-CN">' in chosen.text
    away = house.get("/language?to=tlh&next=https://elsewhere.example/", signed_in=False)
    assert away.headers["location"] == "/"
    assert "set-cookie" not in away.headers or "tlh" not in away.headers["set-cookie"]


def test_the_overview_shows_what_was_put_in(pages: dict[str, Outline]) -> None:
    text = pages["/"].text
    for shown in (
        "418",
        "2,358",
        "256 customers affected",
        "WO-20261122-0000",
        "Qingdu",
        "5.2",
        "9.4",
        "97 %",
    ):
        assert shown in text
    assert "source hetang" in text.lower()
    assert "App version 8.4.0" in text


def test_the_chart_is_there_as_a_table_too(house_of: Build) -> None:
    html = house_of().get("/").text
    svg = re.findall(r'<text class="heat-text[^>]*>([\d.]+)</text>', html)
    table = re.findall(r"<td>([\d.–]+)</td>", html)
    assert sorted(svg) == sorted(figure for figure in table if figure != "–")
    assert table.count("–") == 2  # one quarter hour without viewings, in two charts
    assert len(svg) == 2 * (12 * 13 - 1)


def test_an_empty_house_says_what_will_come(house_of: Build) -> None:
    text = Outline(house_of(SampleView(empty=True)).get("/").text).text
    assert "No viewings yet" in text
    assert "No work order is open" in text
    assert "No verdict yet" in text
    assert text.count("nothing for 3 hours") == 4


@pytest.mark.parametrize("part", ["activity", "verdicts", "orders", "experience", "feeds"])
def test_a_part_that_cannot_be_read_costs_only_itself(house_of: Build, part: str) -> None:
    answer = house_of(SampleView(broken=frozenset({part}))).get("/")
    assert answer.status_code == 200
    assert "This part cannot be read right now" in answer.text
    whole = {
        "activity": "418",
        "verdicts": "97 %",
        "orders": "WO-2026",
        "experience": "Qingdu</text>",
        "feeds": "460",
    }
    for name, shown in whole.items():
        assert (shown in answer.text) == (name != part), name


def test_many_readers_cost_one_reading(house_of: Build) -> None:
    house = house_of()
    calls = [("GET", "/fragments/overview", {"headers": SIGNED_IN})] * 20
    assert {answer.status_code for answer in house.client.at_once(*calls)} == {200}
    assert house.view.read.count("orders") == 1
    house.clock.elapsed_s += 3
    house.get("/fragments/overview")
    assert house.view.read.count("orders") == 2


def test_what_people_wrote_is_shown_as_they_wrote_it(house_of: Build) -> None:
    html = house_of().get(ORDER).text
    assert "&lt;b&gt;源站&lt;/b&gt; 正在排查 &amp; 扩容" in html
    assert "<b>源站" not in html


def test_an_order_is_taken_commented_and_resolved(house_of: Build) -> None:
    house = house_of()
    for action, fields in (
        ("take", {}),
        ("comment", {"note": " 已联系源站 "}),
        ("resolve", {"cause": "origin_errors", "note": "disk was full"}),
    ):
        answer = house.post(f"{ORDER}/{action}", **fields)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{ORDER}?done={action}")
        assert 'role="status"' in house.get(answer.headers["location"]).text
    house.view.order_state = "resolved"
    assert house.post(f"{ORDER}/reopen", note="it is back").status_code == 303
    order = order_row(0).id
    assert house.desk.done == [
        ("take", "li.na", order),
        ("comment", "li.na", order, "已联系源站"),
        ("resolve", "li.na", order, "origin_errors", "disk was full"),
        ("reopen", "li.na", order, "it is back"),
    ]


def test_who_was_slower_sees_the_order_as_it_is_and_why(house_of: Build) -> None:
    house = house_of()
    house.desk.refuses = True
    answer = house.post(f"{ORDER}/take")
    assert answer.status_code == 409
    assert 'role="alert"' in answer.text
    assert "has changed in between" in answer.text
    assert order_row(0).number in answer.text


@pytest.mark.parametrize("note", ["", "   ", "x" * 2001])
def test_a_note_says_something_and_ends(house_of: Build, note: str) -> None:
    house = house_of()
    assert house.post(f"{ORDER}/comment", note=note).status_code == 422
    assert house.desk.done == []


def test_a_form_of_nobody_or_of_another_session_does_nothing(house_of: Build) -> None:
    house = house_of()
    for form in ("", "0" * 32, form_token("cems_another")):
        answer = house.post(f"{ORDER}/take", form=form)
        assert answer.status_code == 403
        assert "expired" in answer.text
    assert house.desk.done == []


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}]
)
def test_a_form_sent_from_another_site_does_nothing(house_of: Build, headers: dict[str, str]) -> None:
    house = house_of()
    answer = house.client.post(f"{ORDER}/take", data={"form": form_token(TOKEN)}, headers=SIGNED_IN | headers)
    assert answer.status_code == 403
    assert house.desk.done == []


def test_an_agent_reads_orders_and_does_not_work_them(house_of: Build) -> None:
    house = house_of(role=Role.AGENT)
    page = house.get(ORDER)
    assert page.status_code == 200
    assert "/take" not in page.text
    assert house.post(f"{ORDER}/take").status_code == 403
    assert house.desk.done == []


def test_there_is_no_such_order(house_of: Build) -> None:
    answer = house_of().get("/orders/wo_nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def sign_in(house: House, **fields: str) -> httpx.Response:
    page = house.client.get("/login")
    hidden = re.search(r'name="form" value="([^"]+)"', page.text)
    cookie = re.search(r"cem_login=([^;]+)", page.headers["set-cookie"])
    assert hidden
    assert cookie
    sent = {"form": hidden[1], "name": "li.na", "password": "correct horse", "next": "/orders"} | fields
    return house.client.post("/login", data=sent, headers={"Cookie": f"cem_login={cookie[1]}"} | SAME)


def test_signing_in_gives_a_cookie_that_no_script_reads(house_of: Build) -> None:
    answer = sign_in(house_of())
    assert (answer.status_code, answer.headers["location"]) == (303, "/orders")
    session = next(line for line in answer.headers.get_list("set-cookie") if line.startswith(SESSION_COOKIE))
    assert TOKEN in session
    assert "HttpOnly" in session
    assert "samesite=strict" in session.lower()


def test_a_wrong_password_says_so_and_keeps_the_name(house_of: Build) -> None:
    house = house_of()
    answer = sign_in(house, password="wrong")
    assert answer.status_code == 401
    assert 'value="li.na"' in answer.text
    assert "wrong" not in answer.text
    assert SESSION_COOKIE not in str(answer.headers.get_list("set-cookie"))
    sign_in(house, password="wrong")
    throttled = sign_in(house)
    assert throttled.status_code == 429
    assert "30 s" in throttled.text


def test_a_login_form_that_no_page_of_ours_sent_is_refused(house_of: Build) -> None:
    house = house_of()
    answer = sign_in(house, form="x" * 32)
    assert answer.status_code == 403
    assert SESSION_COOKIE not in str(answer.headers.get_list("set-cookie"))


def test_signing_out_ends_the_session_in_the_store_too(house_of: Build) -> None:
    house = house_of()
    assert house.get("/").status_code == 200
    answer = house.post("/logout")
    assert answer.headers["location"].startswith("/login")
    assert TOKEN not in house.logins.open
    assert house.get("/").status_code == 303


def test_signing_out_needs_the_form_of_the_session(house_of: Build) -> None:
    house = house_of()
    assert house.post("/logout", form="0" * 32).status_code == 403
    assert TOKEN in house.logins.open


def test_who_is_signed_in_does_not_sign_in_again(house_of: Build) -> None:
    answer = house_of().get("/login?next=/orders")
    assert (answer.status_code, answer.headers["location"]) == (303, "/orders")


def test_files_are_kept_for_good_under_a_name_that_changes_with_them(house_of: Build) -> None:
    house = house_of()
    html = house.get("/").text
    for path in set(re.findall(r'"(/console/[^"]+)"', html)):
        answer = house.get(path, signed_in=False)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert house.get("/console/0000000000000000/console.css", signed_in=False).status_code == 404
    assert house.get("/console/0000000000000000/..%2Fpages.py", signed_in=False).status_code == 404
