"""Which cases share one order: the key (cause, scope, owner), and which orders swallow which cases.

The key does not depend on the order in which dimensions or cases arrive. It is a digest of a readable text,
so that it has one length whatever a scope holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from workorders.scope import RULES, Owner, Scope, Segment, scope_of
from workorders.segments import segment_of


@dataclass(frozen=True, slots=True)
class Grouping:
    """Where a case belongs.

    Parameters
    ----------
    cause
        Cause of the taxonomy.
    segment, scope, owner
        Where it lies, what it covers, who works it.
    individual
        One customer's own fault; it opens an order of its own.
    """

    cause: str
    segment: Segment
    scope: Scope
    owner: Owner
    individual: bool

    def text(self) -> str:
        """The key as a person can read it: `cause|owner|dimension=value&…`."""
        return f"{quote(self.cause, safe='.')}|{self.owner}|{self.scope.canonical()}"

    def key(self) -> str:
        """The key as it is stored: SHA-256 of `text()`, 64 hexadecimal digits."""
        return sha256(self.text().encode()).hexdigest()


def scope_key(scope: Scope) -> str:
    """A scope's own key, to look orders up by scope alone: SHA-256 of its canonical text."""
    return sha256(scope.canonical().encode()).hexdigest()


def group_of(
    cause: str, domain: str, dimensions: Mapping[str, str], *, service: str, subscriber_id: str
) -> Grouping:
    """The grouping of one fault.

    Parameters
    ----------
    cause, domain
        As the verdict has them.
    dimensions, service, subscriber_id
        See `scope_of`.
    """
    segment = segment_of(cause, domain)
    rule = RULES[segment]
    scope = scope_of(segment, dimensions, service=service, subscriber_id=subscriber_id)
    return Grouping(cause, segment, scope, rule.owner, rule.individual)


def swallows(parent: Grouping, child: Grouping) -> bool:
    """Whether an order on `parent` explains a case of `child`, so that the case needs no order of its own.

    The parent's scope must hold the child's, and it must be the same cause or one in a segment that the
    child's rule names as its parent. An individual fault is neither.
    """
    if parent.individual or child.individual or not parent.scope.contains(child.scope):
        return False
    return parent.cause == child.cause or parent.segment in RULES[child.segment].parents
