"""Deadlines, breakers and gathering: a source that hangs or lies costs its evidence, never the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest

from cem.platform.errors import ConfigurationError, Unavailable
from demarcation.breaker import Breaker, BreakerSettings, BreakerState, abandoned, ask, failed, succeeded
from demarcation.deadline import Deadline
from demarcation.gather import Arrival, Found, GuardedSource, gather
from demarcation.peers import PeerCounts
from demarcation.question import Question
from demarcation.upstreams import LARGEST_ANSWER, Upstream, UpstreamSource
from tests.conftest import FakeClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUESTION = Question("s_" + "0" * 32, {"cell": "c"}, "video", NOON)
FOUND = Found(peers=(PeerCounts("cell", "c", 10, 0),))


def test_a_deadline_counts_down_and_stays_at_zero() -> None:
    clock = FakeClock()
    deadline = Deadline.after(5, clock.monotonic)
    clock.elapsed_s = 3
    assert (deadline.remaining(), deadline.passed) == (2, False)
    clock.elapsed_s = 9
    assert (deadline.remaining(), deadline.passed) == (0, True)


def test_a_child_never_outlives_its_parent() -> None:
    clock = FakeClock()
    deadline = Deadline.after(5, clock.monotonic)
    assert deadline.child(2).remaining() == 2
    assert deadline.child(60).remaining() == 5
    assert deadline.child(-1).remaining() == 0


def test_a_shield_keeps_a_reserve() -> None:
    clock = FakeClock()
    deadline = Deadline.after(5, clock.monotonic)
    assert deadline.shield(1).remaining() == 4
    assert deadline.shield(9).remaining() == 0


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_try() -> None:
    settings = BreakerSettings(failures=2, open_s=5, longest_open_s=15)
    breaker = failed(Breaker(), 0, settings)
    assert ask(breaker, 0)[0]
    breaker = failed(breaker, 0, settings)
    assert breaker.state is BreakerState.OPEN
    assert not ask(breaker, 4.9)[0]
    may, half = ask(breaker, 5)
    assert (may, half.state) == (True, BreakerState.HALF_OPEN)
    assert not ask(half, 5)[0], "one try at a time"
    assert succeeded(half) == Breaker()
    again = failed(half, 5, settings)
    assert again.open_until == 15, "each failed try doubles the pause"
    assert failed(replace_half(again), 15, settings).open_until == 30, "up to the longest"


def replace_half(breaker: Breaker) -> Breaker:
    return ask(breaker, breaker.open_until)[1]


def test_a_success_between_failures_starts_the_count_anew() -> None:
    settings = BreakerSettings(failures=2)
    breaker = failed(succeeded(failed(Breaker(), 0, settings)), 0, settings)
    assert breaker.state is BreakerState.CLOSED


def test_an_abandoned_try_is_no_proof() -> None:
    half = Breaker(BreakerState.HALF_OPEN, 0, 1, 5.0)
    assert abandoned(half).state is BreakerState.OPEN
    assert ask(abandoned(half), 5)[0], "the next one may try"
    assert abandoned(Breaker(failures=1)) == Breaker(failures=1)


@dataclass(frozen=True)
class Scripted:
    """A source that does what a test says."""

    name: str
    does: Callable[[], Awaitable[Found]]
    budget_s: float = 0.05

    async def ask(self, question: Question, deadline: Deadline) -> Found:
        return await self.does()


async def _answers() -> Found:
    return FOUND


async def _hangs() -> Found:
    await asyncio.Event().wait()
    return FOUND


async def _breaks() -> Found:
    raise RuntimeError("secret detail")


async def _is_down() -> Found:
    raise Unavailable("no route")


async def _will_not_stop() -> Found:
    for _ in range(40):
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue
    return FOUND


def gathered(sources: list[GuardedSource], seconds: float = 5.0) -> dict[str, Arrival]:
    async def collect() -> list[Arrival]:
        clock = asyncio.get_running_loop()
        return [one async for one in gather(sources, QUESTION, Deadline.after(seconds, clock.time))]

    arrivals = asyncio.run(collect())
    assert len(arrivals) == len(sources), "one outcome for each"
    return {arrival.source: arrival for arrival in arrivals}


def test_each_source_has_one_outcome_and_a_bad_one_costs_only_itself() -> None:
    found = gathered(
        [
            GuardedSource(Scripted("good", _answers)),
            GuardedSource(Scripted("hung", _hangs)),
            GuardedSource(Scripted("broken", _breaks)),
            GuardedSource(Scripted("down", _is_down)),
        ]
    )
    assert found["good"].found == FOUND
    reasons = {name: one.missing.reason for name, one in found.items() if one.missing}
    assert reasons == {
        "hung": "no answer in time",
        "broken": "failed: RuntimeError",
        "down": "not available: no route",
    }
    assert found["hung"].missing is not None
    assert found["hung"].missing.budget_ms == 50


def test_a_source_that_will_not_stop_is_left_at_the_deadline() -> None:
    found = gathered(
        [GuardedSource(Scripted("stubborn", _will_not_stop, 60)), GuardedSource(Scripted("good", _answers))],
        0.1,
    )
    assert found["good"].found == FOUND
    assert found["stubborn"].missing is not None


def test_no_time_left_still_gives_every_outcome() -> None:
    found = gathered(
        [GuardedSource(Scripted("good", _answers)), GuardedSource(Scripted("hung", _hangs))], 0.0
    )
    assert found["hung"].missing is not None


def test_a_source_that_keeps_failing_is_spared() -> None:
    guarded = GuardedSource(Scripted("broken", _breaks), BreakerSettings(failures=2, open_s=60))
    for _ in range(2):
        gathered([guarded])
    arrival = gathered([guarded])["broken"]
    assert arrival.missing is not None
    assert arrival.missing.reason == "resting after failures"


def test_a_callers_haste_does_not_open_the_breaker() -> None:
    guarded = GuardedSource(Scripted("slow", _hangs, budget_s=30), BreakerSettings(failures=1))
    gathered([guarded], 0.02)
    assert guarded.breaker.state is BreakerState.CLOSED


def upstream_found(handler: Callable[[httpx.Request], httpx.Response], **fields: str) -> Found:
    wanted = {key.replace("__", "."): pointer for key, pointer in fields.items()}

    async def run() -> Found:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            upstream = Upstream(
                "billing", "http://billing.test/v1", wanted, headers={"Authorization": "Bearer t"}
            )
            source = UpstreamSource(upstream, client, FakeClock())
            return await source.ask(QUESTION, Deadline.after(5, asyncio.get_running_loop().time))

    return asyncio.run(run())


def test_an_upstream_is_asked_by_hash_and_read_by_mapping() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"state": "arrears", "apn": ["cmnet", "cmiot"]})

    found = upstream_found(handler, account__status="/state", account__apns="/apn")
    assert {fact.key: fact.value for fact in found.evidence} == {
        "account.status": "arrears",
        "account.apns": "cmiot,cmnet",
    }
    assert seen[0].headers["authorization"] == "Bearer t"
    assert QUESTION.subscriber_id in seen[0].read().decode()


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(500), "it answered 500"),
        (httpx.Response(302, headers={"location": "http://elsewhere.test"}), "it answered 302"),
        (httpx.Response(200, content=b"<html>"), "no JSON"),
        (httpx.Response(200, content=b"[1]"), "no JSON object"),
        (httpx.Response(200, content=b"[" * 50_000), "no JSON"),
        (httpx.Response(200, content=b" " * (LARGEST_ANSWER + 1)), "longer than"),
    ],
)
def test_a_bad_answer_is_not_read(response: httpx.Response, reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        upstream_found(lambda _: response, account__status="/state")


def test_a_broken_connection_is_unavailable_and_a_time_out_is_one() -> None:
    def refuses(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    def stalls(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    with pytest.raises(Unavailable, match="ConnectError"):
        upstream_found(refuses)
    with pytest.raises(TimeoutError):
        upstream_found(stalls)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"account.colour": "/a"}, "no evidence called 'account.colour'"),
        ({"peers.cell": "/a"}, "no evidence called 'peers.cell'"),
        ({"account.status": "state"}, "no JSON pointer"),
    ],
)
def test_a_wrong_mapping_stops_the_start(fields: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Upstream("billing", "http://billing.test", fields)
