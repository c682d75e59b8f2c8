"""What leaves this room about users, keys and the audit log: plain values without any secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cem.access.models import ApiKey, AuditEntry, StaffUser
from cem.platform.security import Permission, PrincipalKind, Role


@dataclass(frozen=True)
class User:
    """A member of staff."""

    id: str
    name: str
    display_name: str
    roles: frozenset[Role]
    created_at: datetime
    password_changed_at: datetime
    disabled_at: datetime | None

    @classmethod
    def of(cls, row: StaffUser) -> User:
        """The user in a row."""
        return cls(
            id=row.id,
            name=row.name,
            display_name=row.display_name,
            roles=frozenset(Role(role) for role in row.roles),
            created_at=row.created_at,
            password_changed_at=row.password_changed_at,
            disabled_at=row.disabled_at,
        )


@dataclass(frozen=True)
class KeyInfo:
    """An API key, without its secret."""

    id: str
    name: str
    kind: PrincipalKind
    permissions: frozenset[Permission]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: ApiKey) -> KeyInfo:
        """The key in a row."""
        return cls(
            id=row.id,
            name=row.name,
            kind=PrincipalKind(row.kind),
            permissions=frozenset(Permission(permission) for permission in row.permissions),
            created_at=row.created_at,
            created_by=row.created_by,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
        )


@dataclass(frozen=True)
class AuditRecord:
    """One entry of the audit log."""

    id: str
    at: datetime
    principal_kind: str
    principal_id: str
    principal_name: str
    action: str
    subject: str
    outcome: str
    request_id: str | None
    reason: str | None

    @classmethod
    def of(cls, row: AuditEntry) -> AuditRecord:
        """The entry in a row."""
        return cls(
            id=row.id,
            at=row.at,
            principal_kind=row.principal_kind,
            principal_id=row.principal_id,
            principal_name=row.principal_name,
            action=row.action,
            subject=row.subject,
            outcome=row.outcome,
            request_id=row.request_id,
            reason=row.reason,
        )
