"""Turns values into pages: the template engine, and the words and forms that every template may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from cem.consoles import charts, present
from cem.consoles.assets import Asset
from cem.consoles.board import DOMAINS, feed_state
from cem.consoles.forms import form_token
from cem.consoles.headers import PAGE_HEADERS
from cem.consoles.ports import Names
from cem.consoles.texts import LANGUAGE_TAGS, choose_language, load_texts
from cem.platform.clock import Clock
from cem.platform.security import SESSION_COOKIE, Principal
from cem.platform.windows import WINDOW

LANGUAGE_COOKIE = "cem_language"
SPARK_WIDTH, SPARK_HEIGHT = 150.0, 34.0


@dataclass(frozen=True)
class Renderer:
    """Writes pages in the reader's language and the operator's time zone."""

    assets: Mapping[str, Asset]
    names: Names
    clock: Clock
    zone: tzinfo
    environment: Environment

    def page(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        principal: Principal | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """Render a template for a request, with every security header."""
        context = self.context(request, principal) | values
        html = self.environment.get_template(template).render(context)
        return HTMLResponse(html, status, headers=dict(PAGE_HEADERS))

    def language(self, request: Request) -> str:
        """Give the reader's language."""
        return choose_language(
            request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
        )

    def context(self, request: Request, principal: Principal | None) -> dict[str, Any]:
        """Give what every template may use."""
        language = self.language(request)
        texts = load_texts(language)
        now = self.clock.now()
        session = request.cookies.get(SESSION_COOKIE, "")
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")

        def say_name(dimension: str, value: str) -> str:
            return self.names.name(dimension, value, language) if value else ""

        def say_clock(at: datetime) -> str:
            return present.clock(at, self.zone)

        def say_moment(at: datetime) -> str:
            return present.moment(at, self.zone)

        def say_age(since: datetime) -> str:
            return present.age(texts, since, now)

        say: dict[str, Callable[..., Any]] = {
            "say_name": say_name,
            "say_clock": say_clock,
            "say_moment": say_moment,
            "say_seconds": lambda at: at.astimezone(self.zone).strftime("%H:%M:%S"),
            "say_age": say_age,
            "say_scope": lambda dimensions: present.scope(texts, self.names, dimensions),
            "say_percent": present.percent,
            "say_count": present.count,
            "say_rate": present.rate,
            "spark_bars": partial(charts.bars, width=SPARK_WIDTH, height=SPARK_HEIGHT),
            "cut_shares": lambda counts: charts.shares(counts, DOMAINS),
            "feed_state": feed_state,
        }
        return {
            "t": texts,
            "language": language,
            "language_tag": LANGUAGE_TAGS[language],
            "assets": self.assets,
            "principal": principal,
            "here": "",
            "path": path if request.method == "GET" else "/",
            "form_token": form_token(session) if session else "",
            "quarter": WINDOW,
            "few_sessions": charts.FEW_SESSIONS,
            **say,
        }


def build_renderer(assets: Mapping[str, Asset], names: Names, clock: Clock, zone: tzinfo) -> Renderer:
    """Make a renderer; every template escapes what it is given, and a name that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("cem.consoles", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    return Renderer(assets, names, clock, zone, environment)
