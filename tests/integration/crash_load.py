"""Senders that never lose count: what they sent, what was acknowledged, what they must send again."""

from __future__ import annotations

import random
import threading
import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec

PAUSE_S = 0.03
"""Between two requests of one sender: load without pause would only starve the process it wants to catch."""


class Sender(threading.Thread):
    """Sends batches one after the other; an unanswered one again, with the same ids, until it is answered.

    Now and then it sends a batch again that was acknowledged: that must count as duplicate.

    Parameters
    ----------
    felt_at
        Event time of everything it sends.

    `unanswered` counts requests that were under way when their connection broke.
    """

    path: str
    content_type = "application/json"

    def __init__(self, name: str, url: str, key: str, felt_at: datetime, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.felt_at = felt_at
        self.acknowledged: set[str] = set()
        self.unanswered = 0
        self.refused = 0
        self.resent = 0
        self.problem: str | None = None
        self._url = url + self.path
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": self.content_type}
        self._dice = random.Random(seed)
        self._serial = 0
        self._done: list[list[str]] = []
        self._enough = threading.Event()

    @abstractmethod
    def body(self, ids: Sequence[str]) -> bytes:
        """The request for these ids; the same every time."""

    def finish(self) -> None:
        """Begin no further batch; return when everything is acknowledged."""
        self._enough.set()
        self.join(60)
        assert self.problem is None, self.problem
        assert not self.is_alive(), f"{self.name}: not answered within a minute"

    def run(self) -> None:
        with httpx.Client(timeout=20) as client:
            while not self._enough.is_set() and self.problem is None:
                again = bool(self._done) and self._dice.random() < 0.15
                batch = self._dice.choice(self._done) if again else self._fresh()
                self._send(client, batch, again=again)
                time.sleep(PAUSE_S)

    def _fresh(self) -> list[str]:
        first = self._serial
        self._serial += self._dice.randint(1, 12)
        return [f"{self.name}-{number}" for number in range(first, self._serial)]

    def _send(self, client: httpx.Client, ids: list[str], *, again: bool) -> None:
        while True:
            try:
                answer = client.post(self._url, headers=self._headers, content=self.body(ids))
            except httpx.ConnectError:
                time.sleep(0.02)
                continue
            except httpx.TransportError:
                self.unanswered += 1
                time.sleep(0.02)
                continue
            if answer.status_code == 503:
                self.refused += 1
                time.sleep(0.02)
                continue
            break
        self.problem = self._judge(answer, ids, again=again)
        if again:
            self.resent += len(ids)
        else:
            self._done.append(ids)
            self.acknowledged.update(ids)

    def _judge(self, answer: httpx.Response, ids: list[str], *, again: bool) -> str | None:
        """What is wrong with the answer."""
        if answer.status_code != 200:
            return f"{self.name}: {answer.status_code} {answer.text}"
        told: dict[str, Any] = answer.json()
        if told["accepted"] + told["duplicate"] != len(ids) or told["rejected"]:
            return f"{self.name}: {len(ids)} sent, told {told}"
        if again and told["accepted"]:
            return f"{self.name}: acknowledged before, now new: {told}"
        return None


class ReportSender(Sender):
    """Reports, each the whole of one viewing: one session."""

    path = "/v1/reports"

    def body(self, ids: Sequence[str]) -> bytes:
        at = self.felt_at
        times = [(at + timedelta(seconds=s)).isoformat() for s in (0, 1, 31)]
        events = [
            {"kind": kind, "at": time}
            for kind, time in zip(("requested", "first_frame", "ended"), times, strict=True)
        ]
        player = {"source": "reported", "events": events}
        report = {"observed_at": times[2], "service": "video", "install_id": "i-1", "player": player}
        return msgspec.json.encode([{**report, "id": one, "session_id": f"s-{one}"} for one in ids])


class CmcdSender(Sender):
    """CMCD records in event mode: three for each id, which is a session."""

    path = "/v1/cmcd"
    content_type = "application/cmcd"

    def body(self, ids: Sequence[str]) -> bytes:
        start = int(self.felt_at.timestamp() * 1000)
        lines = []
        for one in ids:
            lines += [
                f'e=ps,sid="{one}",sn=0,sta=s,ts={start},v=2',
                f'e=ps,msd=1000,sid="{one}",sn=1,sta=p,ts={start + 1000},v=2',
                f'e=ps,sid="{one}",sn=2,sta=e,ts={start + 31_000},v=2',
            ]
        return "\n".join([*lines, ""]).encode()

    def _judge(self, answer: httpx.Response, ids: list[str], *, again: bool) -> str | None:
        return None if answer.status_code == 204 else f"{self.name}: {answer.status_code} {answer.text}"


class SampleSender(Sender):
    """Samples of the cloud."""

    path = "/v1/samples/cloud"

    def body(self, ids: Sequence[str]) -> bytes:
        sample = {
            "observed_at": self.felt_at.isoformat(),
            "service": "video",
            "dimensions": {"source": "sampled", "node": "n1"},
            "values": {"first_byte_ms": 40.0},
        }
        return msgspec.json.encode([{**sample, "id": one} for one in ids])
