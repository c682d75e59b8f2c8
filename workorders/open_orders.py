"""Mass faults: which open orders cover a fault before anybody diagnoses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from cem.platform.db import Database
from cem.platform.windows import WINDOW
from demarcation.ports import OpenOrderRef
from workorders import repository
from workorders.grouping import scope_key
from workorders.models import WorkOrder
from workorders.scope import possible_scopes

FRESH_FOR = timedelta(hours=24)
"""An open order whose last fault lies further back says nothing of a fault now. Chosen here: one day, so that
an order that nobody ends does not explain every later fault in its scope."""


class OpenOrders:
    """Looks open orders up by scope.

    The scopes that a fault can lie in are a few short tuples, so this is one query over the index of open
    orders by scope, whatever their number.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def covering(self, dims: Mapping[str, str], service: str, at: datetime) -> Sequence[OpenOrderRef]:
        """Open orders whose scope holds a fault with these dimensions at this time, widest effect first."""
        keys = {scope_key(scope) for scope in possible_scopes(dims, service=service)}
        with self._database.read() as session:
            orders = repository.active_orders_on(
                session, keys, first_fault_before=at + WINDOW, last_fault_after=at - FRESH_FOR
            )
            return [_reference(order) for order in orders]


def _reference(order: WorkOrder) -> OpenOrderRef:
    return OpenOrderRef(
        order_id=order.id,
        number=order.number,
        cause=order.cause,
        domain=order.domain,
        scope=dict(order.scope),
        opened_at=order.opened_at,
        affected=order.affected,
    )
