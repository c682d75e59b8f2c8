"""The sources inside the house: this line's history, its peers, open orders. Each blocks, so each has its own pool."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from cem.platform.aio import Bulkhead
from demarcation.casefile import order_document
from demarcation.deadline import Deadline
from demarcation.gather import Found
from demarcation.ports import LineHistory, OpenOrdersPort, PeerSource
from demarcation.question import Question
from demarcation.vantage import evidence_from_line, evidence_from_orders

LOOK_BACK = timedelta(minutes=30)
"""How far back a line's samples are read. Chosen here: two quarter-hour windows."""

POOL_THREADS = 4
"""Threads per source. [1] Chosen here: a read takes a few ms, so four serve hundreds a second."""


@dataclass(frozen=True)
class LineSource:
    """What other vantage points measured of the line."""

    history: LineHistory
    pool: Bulkhead
    budget_s: float = 2.0
    name: str = "line"

    async def ask(self, question: Question, deadline: Deadline) -> Found:
        """Recent samples as evidence."""
        if not question.subscriber_id:
            return Found()
        samples = await self.pool.run(
            self.history.recent,
            question.subscriber_id,
            question.at - LOOK_BACK,
            question.at,
            timeout_s=deadline.remaining(),
        )
        return Found(evidence=evidence_from_line(samples, question.service, question.at))


@dataclass(frozen=True)
class PeersSource:
    """How others fare on the same segments."""

    peers: PeerSource
    pool: Bulkhead
    budget_s: float = 2.0
    name: str = "peers"

    async def ask(self, question: Question, deadline: Deadline) -> Found:
        """Counts of peers."""
        counts = await self.pool.run(
            self.peers.peers,
            question.subscriber_id,
            question.dimensions,
            question.service,
            question.at,
            timeout_s=deadline.remaining(),
        )
        return Found(peers=tuple(counts))


@dataclass(frozen=True)
class OrdersSource:
    """Whether an open order covers the fault already."""

    orders: OpenOrdersPort
    pool: Bulkhead
    budget_s: float = 1.0
    name: str = "orders"

    async def ask(self, question: Question, deadline: Deadline) -> Found:
        """Covering orders, as evidence and to show."""
        covering = await self.pool.run(
            self.orders.covering,
            question.dimensions,
            question.service,
            question.at,
            timeout_s=deadline.remaining(),
        )
        return Found(
            evidence=evidence_from_orders(covering, question.at),
            orders=tuple(order_document(order) for order in covering),
        )
