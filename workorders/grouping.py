"""Which cases share one order: the key (cause, scope, owner), and which orders swallow which cases.

The key does not depend on the order in which dimensions or cases arrive. It is a digest of a readable text,
so that it has one length whatever a scope holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from workorders.scope import RULES, Owner, Scope, Segment, scope_of
from workorders.segments import family_of, segment_of


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
        """The key as a person can read it: `cause or family|owner|dimension=value&…`."""
        return f"{quote(family_of(self.cause), safe='.')}|{self.owner}|{self.scope.canonical()}"

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


def swallows(parent: Grouping, child: Grouping, faults: Sequence[Mapping[str, str]] = ()) -> bool:
    """Whether an order on `parent` explains the cases of `child`, so that they need no order of their own.

    It must be the same cause (or its family), or one in a segment that the child's rule names as its parent. And
    the parent's scope must hold the child's, or hold every one of the faults: a broken source explains a node's
    fault where all of its cases are of that source. A fallback scope (city and service) never does the latter: it
    says only that nothing nearer was known. An individual fault neither explains nor is explained.

    Parameters
    ----------
    faults
        Dimension values of each case of the child.
    """
    if parent.individual or child.individual or parent.key() == child.key():
        return False
    if family_of(parent.cause) != family_of(child.cause):
        if parent.segment not in RULES[child.segment].parents:
            return False
        if parent.scope == child.scope:
            return True
    if parent.scope.contains(child.scope):
        return True
    told = tuple(sorted(name for name, _ in parent.scope.pairs))
    own = {tuple(sorted(reading)) for reading in RULES[parent.segment].readings}
    return bool(faults) and told in own and all(parent.scope.covers(fault) for fault in faults)
