"""What a cause covers: dimension values read by the segment at fault, as data.

Decides, from the segment a cause lies in and the dimensions of one fault, which of these dimensions name
the broken thing. A radio fault is named by its cell, whatever the phone was watching; a node fault by
its node, whatever cell the phone was in. Leaves out which cases share a cause (`grouping`) and what
is done about them (`policy`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import quote

SUBSCRIBER = "subscriber"
"""Dimension of a scope that is one customer's line. It holds a subscriber_id, never a number."""

UNKNOWN = "unknown"
"""Value of the last dimension left, where a fault came with none at all."""


class Segment(StrEnum):
    """The stretch of the delivery chain that a cause lies in."""

    RADIO = "radio"
    CORE = "core"
    TRANSPORT = "transport"
    RESOLVER = "resolver"
    CDN_NODE = "cdn_node"
    ORIGIN = "origin"
    APP_SERVER = "app_server"
    APP_RELEASE = "app_release"
    IOT_PLATFORM = "iot_platform"
    DEVICE_MODEL = "device_model"
    NETWORK = "network"
    PLATFORM = "platform"
    ACCOUNT = "account"
    TERMINAL = "terminal"
    NONE = "none"


class Owner(StrEnum):
    """Who works an order: the team that can mend the segment. The words are the cause taxonomy's."""

    RADIO = "radio"
    CORE = "core"
    TRANSPORT = "transport"
    CDN = "cdn"
    PLATFORM = "platform"
    APP = "app"
    IOT = "iot"
    ACCOUNTS = "accounts"
    CARE = "care"


@dataclass(frozen=True, slots=True)
class ScopeRule:
    """How the causes of one segment are scoped.

    Parameters
    ----------
    owner
        Who works the order.
    readings
        Tuples of dimensions, most telling first. The first of which every dimension is known is the scope.
    parents
        Segments whose fault explains one of this segment too, where their scope holds this one's.
    individual
        The cause is one customer's own; it is never counted together with another customer's.
    """

    owner: Owner
    readings: tuple[tuple[str, ...], ...]
    parents: frozenset[Segment] = frozenset()
    individual: bool = False


FALLBACK: tuple[tuple[str, ...], ...] = (("city", "service"), ("province", "service"), ("service",))
"""Where the segment's own dimensions are unknown: the place and the service, as near as they are known."""

RULES: Mapping[Segment, ScopeRule] = MappingProxyType(
    {
        Segment.RADIO: ScopeRule(Owner.RADIO, (("cell",), ("area",))),
        Segment.CORE: ScopeRule(Owner.CORE, (("gateway",), ("area",))),
        Segment.TRANSPORT: ScopeRule(Owner.TRANSPORT, (("gateway",), ("area",))),
        # A resolver serves a gateway's lines; reports carry no name of the resolver itself.
        Segment.RESOLVER: ScopeRule(Owner.CORE, (("gateway",), ("area",))),
        Segment.CDN_NODE: ScopeRule(
            # A node that fails fails for every source it carries: the node is the thing to mend.
            Owner.CDN,
            (("node",), ("source",)),
            frozenset({Segment.ORIGIN}),
        ),
        Segment.ORIGIN: ScopeRule(Owner.PLATFORM, (("source",),)),
        Segment.APP_SERVER: ScopeRule(Owner.APP, (("source",),)),
        Segment.APP_RELEASE: ScopeRule(Owner.APP, (("app_version", "service"), ("app_version",))),
        Segment.IOT_PLATFORM: ScopeRule(Owner.IOT, (("source",),)),
        Segment.DEVICE_MODEL: ScopeRule(Owner.APP, (("model", "os"), ("model",))),
        Segment.NETWORK: ScopeRule(Owner.CORE, ()),
        Segment.PLATFORM: ScopeRule(Owner.PLATFORM, (("source",),)),
        Segment.ACCOUNT: ScopeRule(Owner.ACCOUNTS, ((SUBSCRIBER,),), individual=True),
        Segment.TERMINAL: ScopeRule(Owner.CARE, ((SUBSCRIBER,),), individual=True),
        Segment.NONE: ScopeRule(Owner.CARE, ((SUBSCRIBER,),), individual=True),
    }
)
"""The scope rule of every segment. Chosen here, from the dimensions that reports and samples carry."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Dimension values, sorted by dimension. Two scopes with the same values are equal."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Scope:
        """The scope with these values; empty ones say nothing and are left out."""
        return cls(tuple(sorted((name, value) for name, value in values.items() if value)))

    def as_dict(self) -> dict[str, str]:
        """The values by dimension."""
        return dict(self.pairs)

    def canonical(self) -> str:
        """One text per scope: sorted `dimension=value` joined by `&`, each part percent-encoded."""
        return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.pairs)

    def contains(self, other: Scope) -> bool:
        """Whether this is a parent of `other`: wider, and true of everything in it."""
        return set(self.pairs) < set(other.pairs)

    def covers(self, dimensions: Mapping[str, str]) -> bool:
        """Whether a fault with these dimensions lies in it. An empty scope covers nothing."""
        return bool(self.pairs) and all(dimensions.get(name) == value for name, value in self.pairs)

    def parents(self) -> Iterator[Scope]:
        """Every non-empty scope that contains this one."""
        count = len(self.pairs)
        for mask in range(1, (1 << count) - 1):
            yield Scope(tuple(pair for place, pair in enumerate(self.pairs) if mask >> place & 1))


def scope_of(segment: Segment, dimensions: Mapping[str, str], *, service: str, subscriber_id: str) -> Scope:
    """The scope of a fault in `segment` that showed itself under `dimensions`.

    Parameters
    ----------
    dimensions
        Values by dimension; `""` or absence both mean unknown.
    service
        `video`, `web` or `iot`; `""` where unknown.
    subscriber_id
        Whose fault it is; enters only the scope of an individual cause.

    Returns
    -------
    The scope; never empty.
    """
    known = {**dimensions, "service": service, SUBSCRIBER: subscriber_id}
    for reading in (*RULES[segment].readings, *FALLBACK):
        if all(known.get(name) for name in reading):
            return Scope.of({name: known[name] for name in reading})
    return Scope.of({"service": UNKNOWN})


def width_of(segment: Segment, scope: Scope) -> int:
    """How narrow a scope is, to decide on wide ones first: its dimensions, and one more where its segment lies
    under another one. [1]
    """
    return len(scope.pairs) + (1 if RULES[segment].parents else 0)


def possible_scopes(dimensions: Mapping[str, str], *, service: str) -> tuple[Scope, ...]:
    """Every shared scope that a fault with these dimensions can lie in, by any rule; each once.

    A few short tuples, so that "which orders cover this fault" is a look-up by key and not a search.
    """
    known = {**dimensions, "service": service}
    readings = [reading for rule in RULES.values() if not rule.individual for reading in rule.readings]
    found = {
        Scope.of({name: known[name] for name in reading}): None
        for reading in (*readings, *FALLBACK)
        if all(known.get(name) for name in reading)
    }
    return tuple(found)
