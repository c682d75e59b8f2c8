"""Other systems asked over HTTP: account, alarms, outages. Their answers are mapped to evidence by configuration.

An upstream is not trusted: its answer is bounded in size, followed nowhere, must be a JSON object, and a value of the
wrong type is not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
import msgspec

from cem.platform.clock import Clock
from cem.platform.errors import ConfigurationError, Unavailable
from demarcation.deadline import Deadline
from demarcation.evidence import catalogue
from demarcation.gather import Found
from demarcation.question import Question
from demarcation.vantage import evidence_from_upstream

AT_ONCE = 32
"""Questions under way to one upstream. [1] Chosen here: one that answers in 100 ms then serves 300 a second; further
ones wait here, which costs nothing, while a client's pool looks at every connection for every request that waits."""

LARGEST_ANSWER = 65_536
"""Longest body read. [B] Chosen here: an answer about one line is a few hundred bytes."""


@dataclass(frozen=True)
class Upstream:
    """One system. `fields` maps evidence keys to JSON pointers into its answer.

    Raises
    ------
    ConfigurationError
        A field that is no evidence of the catalogue, or a pointer that is none (RFC 6901).
    """

    name: str
    url: str
    fields: Mapping[str, str]
    budget_s: float = 2.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for key, pointer in self.fields.items():
            entry = catalogue().get(key)
            if entry is None or entry.source in {"peers", "orders"}:
                raise ConfigurationError(f"upstreams: {self.name}: there is no evidence called {key!r}")
            if pointer and not pointer.startswith("/"):
                raise ConfigurationError(
                    f"upstreams: {self.name}: {key}: {pointer!r} is no JSON pointer (it starts with '/')"
                )


@dataclass(frozen=True)
class UpstreamSource:
    """Asks one upstream with POST `{subscriber_id, service, at, dimensions}`; the line is named by its hash."""

    upstream: Upstream
    client: httpx.AsyncClient
    clock: Clock
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE), compare=False)

    @property
    def name(self) -> str:
        """Name in the evidence and among the missing."""
        return self.upstream.name

    @property
    def budget_s(self) -> float:
        """Time it gets. [s]"""
        return self.upstream.budget_s

    async def ask(self, question: Question, deadline: Deadline) -> Found:
        """Its answer as evidence.

        Raises
        ------
        Unavailable
            Any status but 200, a body too long, or none that is a JSON object.
        """
        body = msgspec.json.encode(
            {
                "subscriber_id": question.subscriber_id,
                "service": question.service,
                "at": question.at,
                "dimensions": dict(question.dimensions),
            }
        )
        headers = {"Content-Type": "application/json", "Accept": "application/json", **self.upstream.headers}
        try:
            async with (
                self.slots,
                self.client.stream(
                    "POST",
                    self.upstream.url,
                    content=body,
                    headers=headers,
                    timeout=deadline.remaining() or 0.001,
                    follow_redirects=False,
                ) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise Unavailable(f"it answered {response.status_code}")
                read = bytearray()
                async for chunk in response.aiter_bytes():
                    read += chunk
                    if len(read) > LARGEST_ANSWER:
                        raise Unavailable(f"its answer is longer than {LARGEST_ANSWER} bytes")
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except httpx.HTTPError as error:
            raise Unavailable(type(error).__name__) from error
        try:
            answer = msgspec.json.decode(bytes(read))
        except (msgspec.DecodeError, RecursionError) as error:
            raise Unavailable("its answer is no JSON") from error
        if not isinstance(answer, dict):
            raise Unavailable("its answer is no JSON object")
        return Found(
            evidence=evidence_from_upstream(
                self.name, answer, self.upstream.fields, received_at=self.clock.now(), at=question.at
            )
        )
