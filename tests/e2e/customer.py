"""A customer of the test: one line, one handset, one page of a real browser that plays and taps "check".

What the page's own media events say about the viewing is added up here (`own_figures`), apart from every
formula of the service, so that the two can be compared.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from tests.e2e.origin import Origin

PATIENCE_S = 30.0


@dataclass(frozen=True)
class OwnFigures:
    """A viewing as the page's own media events tell it. Times in ms; `start_delay_ms` none if it never played."""

    start_delay_ms: float | None
    stalls_ms: tuple[float, ...]
    play_ms: float

    @property
    def stall_ms(self) -> float:
        return sum(self.stalls_ms)

    @property
    def stall_ratio(self) -> float:
        """Σ stall / (Σ stall + Σ play); the wait before the first picture is start delay, not stall. [0–1]"""
        return self.stall_ms / (self.stall_ms + self.play_ms)


def own_figures(truth: Iterable[Mapping[str, Any]]) -> OwnFigures:
    """Add up a page's record: `requested`, `playing`, `waiting`, `pause`, `seeking`, `ended`, `fatal`, `left`."""
    requested: float | None = None
    start_delay: float | None = None
    stalls: list[float] = []
    played = 0.0
    state, since = "idle", 0.0
    for note in truth:
        kind, at = str(note["kind"]), float(note["at"])
        follows = {
            "requested": "starting",
            "playing": "playing",
            "waiting": "stalled" if state == "playing" else state,
            "pause": "paused",
            "seeking": "seeking",
            "ended": "over",
            "fatal": "over",
            "left": "over",
        }.get(kind, state)
        if kind == "requested" and requested is None:
            requested = at
        if kind == "playing" and start_delay is None and requested is not None:
            start_delay = at - requested
        if follows == state:
            continue
        if state == "playing":
            played += at - since
        if state == "stalled":
            stalls.append(at - since)
        state, since = follows, at
    return OwnFigures(start_delay, tuple(stalls), played)


@dataclass
class Customer:
    """One customer; `handset` is the part of the snapshot that a phone knows and a desktop browser does not."""

    number: str
    token: str
    collector: str
    handset: Mapping[str, Any]
    source: str
    node: Origin
    context: BrowserContext
    page: Page
    session_id: str = field(default_factory=lambda: f"e2e-{uuid.uuid4()}")
    token_in: str = "header"

    @classmethod
    def at(cls, browser: Browser, app_url: str, **known: Any) -> Customer:
        """Open the app in a browser profile of its own."""
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{app_url}/player.html")
        return cls(context=context, page=page, **known)

    def play(self) -> None:
        """Ask for the film at this customer's node; plays by itself."""
        self.page.evaluate(
            "how => customer.play(how)",
            {
                "film": f"{self.node.url}/film/master.m3u8",
                "sessionId": self.session_id,
                "contentId": "film-1",
                "collector": self.collector,
                "token": self.token,
                "tokenIn": self.token_in,
            },
        )

    def truth(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate("() => customer.truth"))

    def figures(self) -> OwnFigures:
        return own_figures(self.truth())

    def wait_for(self, kind: str) -> None:
        """Until the page has noted `kind`."""
        self._wait(lambda truth: any(note["kind"] == kind for note in truth), f"no {kind}")

    def wait_until_playing_again(self) -> None:
        """Until no stall is under way."""

        def plays(truth: list[dict[str, Any]]) -> bool:
            kinds = [note["kind"] for note in truth if note["kind"] in {"playing", "waiting"}]
            return bool(kinds) and kinds[-1] == "playing"

        self._wait(plays, "the stall did not end")

    def _wait(self, seen: Callable[[list[dict[str, Any]]], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if seen(self.truth()):
                return
            self.page.wait_for_timeout(100)
        errors = self.page.evaluate("() => customer.failures")
        raise AssertionError(f"{what} within {PATIENCE_S} s: {self.truth()}, errors {errors}")

    def rest(self, ms: float) -> None:
        self.page.wait_for_timeout(ms)

    def pause(self) -> None:
        self.page.evaluate("() => customer.pause()")
        self.wait_for("pause")

    def leave(self) -> None:
        """Stop watching; back when the collector has taken everything that the player had to tell."""
        assert self.page.evaluate("() => customer.leave()") == [], "the collector refused events"

    def own_count(self) -> dict[str, Any]:
        """What the app itself would report of this viewing so far; empty where nothing was asked for."""
        truth = self.truth()
        if not truth:
            return {}
        figures = own_figures([*truth, {"kind": "left", "at": self.page.evaluate("() => customer.now()")}])
        errors = self.page.evaluate("() => customer.failures.filter(failure => failure.status !== null)")
        return {
            **({} if figures.start_delay_ms is None else {"start_delay_ms": figures.start_delay_ms}),
            **({"http_status": errors[-1]["status"]} if errors else {}),
            "stall_ms": figures.stall_ms,
            "stall_count": len(figures.stalls_ms),
            "play_ms": figures.play_ms,
        }

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Inside the block this browser profile has no network at all."""
        self.context.set_offline(True)
        try:
            yield
        finally:
            self.context.set_offline(False)

    def narrow(self, *, latency_ms: float, kbps: float) -> None:
        """A thin, slow radio link from now on, as the browser's own network emulation makes it."""
        bytes_per_s = kbps * 1000 / 8
        self.context.new_cdp_session(self.page).send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": latency_ms,
                "downloadThroughput": bytes_per_s,
                "uploadThroughput": bytes_per_s,
            },
        )

    def start_probing(self, *targets: tuple[str, str]) -> None:
        """Begin to measure (url, role) from the page, one after the other; `probed` has the result."""
        self.page.evaluate(
            "targets => { customer.measuring = customer.probes(targets); }",
            [{"url": url, "role": role} for url, role in targets],
        )

    def probed(self) -> list[dict[str, Any]]:
        """What `start_probing` measured, once it has."""
        return list(self.page.evaluate("() => customer.measuring"))

    def check(
        self, *, probes: list[dict[str, Any]], symptom: str | None, wait_ms: int = 8000, **player: Any
    ) -> dict[str, Any]:
        """Tap "check my service"; the answer's body, once it is a verdict."""
        answer = self.page.evaluate(
            "how => customer.check(how)",
            {
                "collector": self.collector,
                "token": self.token,
                "handset": self.handset,
                "probes": probes,
                "waitMs": wait_ms,
                "symptom": symptom,
                "sessionId": self.session_id,
                "player": player,
            },
        )
        assert answer["status"] == 200, answer
        return dict(answer["body"])

    def close(self) -> None:
        self.context.close()
