"""A house with known figures behind the pages: what is shown can be compared with what was put in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cem.consoles.ports import (
    Activity,
    Bilingual,
    CaseRow,
    Experience,
    Feed,
    NameBook,
    OrderDetail,
    OrderEvent,
    OrderPage,
    OrderRow,
    SignedIn,
    VerdictRow,
)
from cem.platform.errors import Conflict, NotFound, TooManyRequests, Unauthenticated, Unavailable
from cem.platform.security import Principal

NOW = datetime(2026, 11, 22, 7, 41, 30, tzinfo=UTC)
TOKEN = "cems_sample_session"
CITIES = {
    "yunze": ("云泽", "Yunze"),
    "qingdu": ("青渡", "Qingdu"),
    "wangchuan": ("望川", "Wangchuan"),
    "fengling": ("枫岭", "Fengling"),
    "lanwan": ("澜湾", "Lanwan"),
    "baihe": ("白荷", "Baihe"),
    "haitang": ("海棠", "Haitang"),
    "jinlu": ("金麓", "Jinlu"),
    "songlan": ("松岚", "Songlan"),
    "jinghu": ("镜湖", "Jinghu"),
    "dongli": ("东篱", "Dongli"),
    "nanpu": ("南浦", "Nanpu"),
}
NAMES = NameBook({("city", key): Bilingual(*names) for key, names in CITIES.items()})
ORIGIN = Bilingual("源站返回服务器错误（5xx）", "The origin answers with server errors (5xx)")
WEAK = Bilingual("小区覆盖弱", "Weak coverage in the cell")
APN = Bilingual("接入点（APN）设置错误", "The access point name (APN) is wrong")
APP = Bilingual("应用新版本有故障", "A release of the app is broken")
FINE = Bilingual("未发现故障", "No fault was found")
UNKNOWN = Bilingual("证据不足，尚无法判断", "Too little evidence to tell")


def order_row(number: int, state: str = "open") -> OrderRow:
    """One of four orders, over and over."""
    kinds = (
        ("platform", ORIGIN, {"source": "hetang"}, 37),
        ("network", WEAK, {"city": "yunze", "cell": "yunze-01004"}, 12),
        ("platform", APP, {"app_version": "8.4.0"}, 64),
        ("network", Bilingual("CDN 节点过载", "A CDN node is overloaded"), {"node": "node-qingdu-2"}, 9),
    )
    domain, cause, scope, affected = kinds[number % 4]
    return OrderRow(
        id=f"wo_{number:026d}",
        number=f"WO-20261122-{number:04d}",
        domain=domain,
        cause=cause,
        scope=scope,
        affected=affected,
        cases=affected + 4,
        opened_at=NOW - timedelta(minutes=7 + 13 * number),
        state=state,
        taken_by="li.na" if state == "taken" else "",
    )


def verdict_row(number: int) -> VerdictRow:
    """One of six verdicts, over and over."""
    kinds = (
        ("platform", ORIGIN, 0.97),
        ("terminal", APN, 0.995),
        ("network", WEAK, 0.91),
        ("no_fault", FINE, 0.88),
        ("platform", APP, 0.93),
        ("undetermined", UNKNOWN, 0.41),
    )
    domain, cause, confidence = kinds[number % 6]
    city = list(CITIES)[number * 5 % len(CITIES)]
    return VerdictRow(
        f"v_{number}", domain, cause, confidence, city, NOW - timedelta(seconds=3 + number * 17)
    )


def experience() -> list[Experience]:
    """Twelve cities, three hours, with a bad half hour in one of them and a quarter without viewings in another."""
    rows = []
    for row, city in enumerate(CITIES):
        for back in range(13):
            if city == "nanpu" and back == 5:
                continue
            start = datetime(2026, 11, 22, 7, 30, tzinfo=UTC) - timedelta(minutes=15 * back)
            wave = math.sin(row * 1.7 + back * 0.9)
            bad = (
                4.6
                if city == "qingdu" and back in (2, 3)
                else 2.1
                if city == "fengling" and back < 2
                else 0.0
            )
            rows.append(
                Experience(
                    city=city,
                    window_start=start,
                    start_delay_ms=1150 + 350 * wave + bad * 900,
                    stall_ratio=max(0.001, 0.009 + 0.006 * wave + bad * 0.019),
                    sessions=6 if back == 0 and city == "dongli" else 1900 - 130 * row,
                )
            )
    return rows


@dataclass
class SampleView:
    """The pages' reading side with known figures; `broken` parts answer as a store that is away."""

    broken: frozenset[str] = frozenset()
    order_state: str = "open"
    empty: bool = False
    read: list[str] = field(default_factory=list)

    def _reading(self, part: str) -> None:
        self.read.append(part)
        if part in self.broken:
            raise Unavailable("the store is away")

    def activity(self) -> Activity:
        self._reading("activity")
        if self.empty:
            return Activity(0.0, 0.0, [0] * 30, [0] * 30, 0, {})
        return Activity(
            reports_per_s=19.6,
            samples_per_min=2358.0,
            reports_by_minute=[1040 + round(180 * math.sin(i / 3)) for i in range(30)],
            samples_by_minute=[2210 + round(260 * math.cos(i / 4)) for i in range(30)],
            self_checks=418,
            verdicts_by_domain={
                "terminal": 96,
                "network": 121,
                "platform": 148,
                "no_fault": 31,
                "undetermined": 22,
            },
            median_verdict_ms=184.0,
        )

    def recent_verdicts(self, limit: int) -> Sequence[VerdictRow]:
        self._reading("verdicts")
        return [] if self.empty else [verdict_row(number) for number in range(limit)]

    def orders(self, *, active: bool, limit: int) -> OrderPage:
        self._reading("orders")
        if self.empty:
            return OrderPage([], 0, 0)
        states = ("open", "taken", "open", "reopened") if active else ("resolved", "closed")
        rows = [
            order_row(number, states[number % len(states)])
            for number in range(min(limit, 8 if active else 3))
        ]
        return OrderPage(rows, 11 if active else 3, 256)

    def order(self, order_id: str, by: Principal) -> OrderDetail:
        self._reading("order")
        if order_id != order_row(0).id:
            raise NotFound("no such order")
        return OrderDetail(
            row=replace(order_row(0, self.order_state), taken_by="li.na"),
            owner="platform",
            first_fault_at=NOW - timedelta(minutes=26),
            last_fault_at=NOW - timedelta(minutes=2),
            steps=[
                Bilingual("按节点查看源站返回码", "Look at the origin's answers by node"),
                Bilingual("确认源站最近的变更", "Ask what was changed at the origin last"),
            ],
            cases=[
                CaseRow(
                    id=f"case_{number:026d}",
                    cause=ORIGIN,
                    confidence=0.97 - number / 100,
                    city=list(CITIES)[number],
                    fault_at=NOW - timedelta(minutes=2 + number * 3),
                    handed_over=number % 3 == 0,
                    state="attached",
                )
                for number in range(7)
            ],
            events=[
                OrderEvent("opened", NOW - timedelta(minutes=7), cases=3),
                OrderEvent("cases_attached", NOW - timedelta(minutes=6), cases=38),
                OrderEvent("taken", NOW - timedelta(minutes=5), "li.na"),
                OrderEvent("commented", NOW - timedelta(minutes=4), "li.na", "<b>源站</b> 正在排查 & 扩容"),
            ],
            actions=frozenset({"take", "comment", "resolve"})
            if self.order_state == "open"
            else frozenset({"comment", "reopen"}),
            causes=[("origin_errors", ORIGIN), ("other", Bilingual("其他", "Something else"))],
        )

    def experience_by_city(self, hours: int) -> Sequence[Experience]:
        self._reading("experience")
        return [] if self.empty else experience()

    def feeds(self) -> Sequence[Feed]:
        self._reading("feeds")
        if self.empty:
            return [Feed(name, None, 0) for name in ("device", "pipe", "cloud", "iot")]
        return [
            Feed("device", NOW - timedelta(seconds=1), 5310),
            Feed("pipe", NOW - timedelta(seconds=2), 5288),
            Feed("cloud", NOW - timedelta(minutes=9), 0),
            Feed("iot", NOW - timedelta(seconds=3), 460),
        ]


@dataclass
class SampleDesk:
    """Remembers what it was asked to do; refuses an order that another has taken."""

    done: list[tuple[str, ...]] = field(default_factory=list)
    refuses: bool = False

    def _do(self, *what: str) -> None:
        if self.refuses:
            raise Conflict("somebody else was quicker")
        self.done.append(what)

    def take(self, by: Principal, order_id: str) -> None:
        self._do("take", by.display, order_id)

    def comment(self, by: Principal, order_id: str, note: str) -> None:
        self._do("comment", by.display, order_id, note)

    def resolve(self, by: Principal, order_id: str, cause: str, note: str) -> None:
        self._do("resolve", by.display, order_id, cause, note)

    def reopen(self, by: Principal, order_id: str, note: str) -> None:
        self._do("reopen", by.display, order_id, note)


@dataclass
class SampleLogins:
    """One user with one password; a third wrong one has to wait."""

    open: set[str] = field(default_factory=set)
    wrong: int = 0

    def login(self, name: str, password: str, address: str) -> SignedIn:
        if self.wrong >= 2:
            raise TooManyRequests("wait", retry_after_s=30)
        if (name, password) != ("li.na", "correct horse"):
            self.wrong += 1
            raise Unauthenticated("no")
        self.open.add(TOKEN)
        return SignedIn(TOKEN, NOW + timedelta(hours=12))

    def logout(self, token: str) -> None:
        self.open.discard(token)
