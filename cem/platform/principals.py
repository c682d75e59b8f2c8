"""Principals: the kinds of caller, the roles of staff, and what each of them may, as data.

Default deny: a principal holds exactly the permissions that its role, key or token gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class PrincipalKind(StrEnum):
    """The four kinds of caller."""

    DEVICE = "device"
    FEED = "feed"
    STAFF = "staff"
    SYSTEM = "system"


class Role(StrEnum):
    """What a member of staff is."""

    AGENT = "agent"
    ENGINEER = "engineer"
    OPERATIONS = "operations"
    ADMINISTRATOR = "administrator"


class Permission(StrEnum):
    """What a route may ask for."""

    REPORTS_WRITE = "reports_write"
    SAMPLES_WRITE = "samples_write"
    SELF_CHECK = "self_check"
    DEMARCATION_READ = "demarcation_read"
    KQI_READ = "kqi_read"
    CASES_READ = "cases_read"
    ORDERS_READ = "orders_read"
    ORDERS_WORK = "orders_work"
    TOKENS_MINT = "tokens_mint"
    CUSTOMERS_READ = "customers_read"
    USERS_ADMIN = "users_admin"
    OPERATE = "operate"


_P = Permission

ROLE_PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.AGENT: frozenset(
            {
                _P.SELF_CHECK,
                _P.DEMARCATION_READ,
                _P.CUSTOMERS_READ,
                _P.KQI_READ,
                _P.CASES_READ,
                _P.ORDERS_READ,
            }
        ),
        Role.ENGINEER: frozenset(
            {_P.DEMARCATION_READ, _P.KQI_READ, _P.CASES_READ, _P.ORDERS_READ, _P.ORDERS_WORK}
        ),
        Role.OPERATIONS: frozenset(
            {_P.DEMARCATION_READ, _P.KQI_READ, _P.CASES_READ, _P.ORDERS_READ, _P.ORDERS_WORK, _P.OPERATE}
        ),
        Role.ADMINISTRATOR: frozenset(
            {
                _P.SELF_CHECK,
                _P.DEMARCATION_READ,
                _P.CUSTOMERS_READ,
                _P.KQI_READ,
                _P.CASES_READ,
                _P.ORDERS_READ,
                _P.ORDERS_WORK,
                _P.USERS_ADMIN,
                _P.OPERATE,
            }
        ),
    }
)
"""What each role of staff may. Writing facts and minting tokens is for machines, never for people."""

KIND_PERMISSIONS: Mapping[PrincipalKind, frozenset[Permission]] = MappingProxyType(
    {
        PrincipalKind.DEVICE: frozenset({_P.REPORTS_WRITE, _P.SELF_CHECK}),
        PrincipalKind.FEED: frozenset({_P.REPORTS_WRITE, _P.SAMPLES_WRITE}),
        PrincipalKind.STAFF: frozenset().union(*ROLE_PERMISSIONS.values()),
        PrincipalKind.SYSTEM: frozenset(Permission) - {_P.USERS_ADMIN},
    }
)
"""The most that each kind of caller can ever hold: all of it for a device (on its own line), the outer
bound of what a key can be given for a feed and a system, the union of the roles for staff."""


def permissions_of(roles: Iterable[Role]) -> frozenset[Permission]:
    """Union of what the roles give."""
    return frozenset().union(*(ROLE_PERMISSIONS[role] for role in roles))


@dataclass(frozen=True)
class Principal:
    """An authenticated caller.

    `subscriber_id` is set for a device: it acts on that line alone. `display` is for people (a login
    name, a key's name, never a customer's number).
    """

    kind: PrincipalKind
    id: str
    roles: frozenset[Role] = frozenset()
    subscriber_id: str | None = None
    permissions: frozenset[Permission] = frozenset()
    display: str = ""
    install_id: str | None = None

    def __post_init__(self) -> None:
        if (self.kind is PrincipalKind.DEVICE) != (self.subscriber_id is not None):
            raise ValueError("a device, and only a device, is bound to a line")
        if not self.permissions <= KIND_PERMISSIONS[self.kind]:
            raise ValueError(
                f"a {self.kind} cannot hold {sorted(self.permissions - KIND_PERMISSIONS[self.kind])}"
            )

    def may(self, permission: Permission) -> bool:
        """Whether the permission is held."""
        return permission in self.permissions

    def covers(self, subscriber_id: str) -> bool:
        """Whether this line may be acted on: a device its own, others any that their permissions reach."""
        if self.kind is PrincipalKind.DEVICE:
            return self.subscriber_id == subscriber_id
        return True
