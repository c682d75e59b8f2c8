"""Wire forms of the access routes. Secrets appear once, in the answer that creates them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cem.access.audit import AuditFilter
from cem.access.records import AuditRecord, KeyInfo, User
from cem.access.tokens import LONGEST_TTL_S, SHORTEST_TTL_S
from cem.platform.security import Permission, Principal, PrincipalKind, Role


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [values]})


_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"  # PostgreSQL stores no NUL, and nobody reads the others
_ID = r"^[A-Za-z0-9_.:-]*$"
_Password = Annotated[str, Field(min_length=1, max_length=200, repr=False)]
_USER = "usr_01kaxm2v6q3m8d1v5z0c9r7t4y"
_AT = "2026-11-22T07:30:00Z"
_STAFF: dict[str, Any] = {
    "kind": "staff",
    "id": _USER,
    "display": "li.na",
    "roles": ["agent"],
    "permissions": ["cases_read", "customers_read", "demarcation_read", "self_check"],
    "subscriber_id": None,
}
_LI_NA: dict[str, Any] = {
    "id": _USER,
    "name": "li.na",
    "display_name": "Li Na",
    "roles": ["agent"],
    "created_at": _AT,
    "password_changed_at": _AT,
    "disabled_at": None,
}
_KEY: dict[str, Any] = {
    "id": "6f1d0c2b9a8e7f40",
    "name": "core probes, north",
    "kind": "feed",
    "permissions": ["samples_write"],
    "created_at": _AT,
    "created_by": _USER,
    "expires_at": None,
    "revoked_at": None,
}
_ENTRY: dict[str, Any] = {
    "id": "aud_01kaxm2v6q3m8d1v5z0c9r7t4y",
    "at": _AT,
    "principal_kind": "staff",
    "principal_id": _USER,
    "principal_name": "li.na",
    "action": "customers.lookup",
    "subject": "s_3f0c9a6d5be14c2f8a7710c2b4de9f01",
    "outcome": "ok",
    "request_id": "0f6b2c9e8d7a4f51b3c2d1e0",
    "reason": None,
}


class LoginRequest(BaseModel):
    """Name and password of a member of staff."""

    model_config = _example(name="administrator", password="shown once at first start")  # noqa: S106

    name: str = Field(min_length=1, max_length=64)
    password: _Password


class PrincipalAnswer(BaseModel):
    """Who is calling and what they may."""

    model_config = _example(**_STAFF)

    kind: PrincipalKind
    id: str
    display: str
    roles: list[Role]
    permissions: list[Permission]
    subscriber_id: str | None = Field(description="The one line a device speaks for; null for others.")

    @classmethod
    def of(cls, principal: Principal) -> PrincipalAnswer:
        """The wire form of a principal."""
        return cls(
            kind=principal.kind,
            id=principal.id,
            display=principal.display,
            roles=sorted(principal.roles),
            permissions=sorted(principal.permissions),
            subscriber_id=principal.subscriber_id,
        )


class SessionAnswer(BaseModel):
    """A session just opened."""

    model_config = _example(
        token="cems_6f1d0c2b9a8e7f40_" + "…",
        token_type="bearer",  # noqa: S106
        expires_at="2026-11-22T19:30:00Z",
        principal=_STAFF,
    )

    token: str = Field(repr=False, description="Send it as `Authorization: Bearer …`. Shown only here.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_at: datetime = Field(description="Absolute end; an unused session ends earlier.")
    principal: PrincipalAnswer


class PasswordChange(BaseModel):
    """One's own password, old and new."""

    model_config = _example(current_password="the old one", new_password="seven quiet herons 41")  # noqa: S106

    current_password: _Password
    new_password: _Password


class NewUserRequest(BaseModel):
    """A new member of staff."""

    model_config = _example(name="li.na", roles=["agent"], display_name="Li Na")

    name: str = Field(min_length=3, max_length=64)
    roles: list[Role] = Field(min_length=1, max_length=len(Role))
    display_name: str = Field(default="", max_length=120, pattern=_PRINTABLE)
    password: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        repr=False,
        description="None: a random one, shown in the answer.",
    )


class UserChange(BaseModel):
    """What to change of a user; what is left out stays."""

    model_config = _example(roles=["agent", "engineer"], disabled=False)

    roles: list[Role] | None = Field(default=None, min_length=1, max_length=len(Role))
    disabled: bool | None = None
    display_name: str | None = Field(default=None, min_length=1, max_length=120, pattern=_PRINTABLE)


class UserAnswer(BaseModel):
    """A member of staff."""

    model_config = _example(**_LI_NA)

    id: str
    name: str
    display_name: str
    roles: list[Role]
    created_at: datetime
    password_changed_at: datetime
    disabled_at: datetime | None

    @classmethod
    def of(cls, user: User) -> UserAnswer:
        """The wire form of a user."""
        return cls(
            id=user.id,
            name=user.name,
            display_name=user.display_name,
            roles=sorted(user.roles),
            created_at=user.created_at,
            password_changed_at=user.password_changed_at,
            disabled_at=user.disabled_at,
        )


class CreatedUserAnswer(BaseModel):
    """A new user and the password to hand over."""

    model_config = _example(user=_LI_NA, password="Zk3vX0mQ8s1LhT4uYb2c")  # noqa: S106

    user: UserAnswer
    password: str | None = Field(repr=False, description="Where it was made here; shown only once.")


class ResetAnswer(BaseModel):
    """A new password to hand over."""

    model_config = _example(password="Zk3vX0mQ8s1LhT4uYb2c")  # noqa: S106

    password: str = Field(repr=False, description="Shown only once.")


class UsersPage(BaseModel):
    """Users by name."""

    model_config = _example(items=[_LI_NA], next=None)

    items: list[UserAnswer]
    next: str | None = Field(description="Give it as `after` for the next page; null at the end.")


class NewKeyRequest(BaseModel):
    """A key for a feed or another system."""

    model_config = _example(name="core probes, north", kind="feed", permissions=["samples_write"])

    name: str = Field(min_length=1, max_length=120, pattern=_PRINTABLE)
    kind: Literal[PrincipalKind.FEED, PrincipalKind.SYSTEM]
    permissions: list[Permission] = Field(min_length=1, max_length=len(Permission))
    expires_at: AwareDatetime | None = None


class KeyAnswer(BaseModel):
    """An API key, without its secret."""

    model_config = _example(**_KEY)

    id: str
    name: str
    kind: PrincipalKind
    permissions: list[Permission]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: KeyInfo) -> KeyAnswer:
        """The wire form of a key."""
        return cls(
            id=key.id,
            name=key.name,
            kind=key.kind,
            permissions=sorted(key.permissions),
            created_at=key.created_at,
            created_by=key.created_by,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )


class CreatedKeyAnswer(BaseModel):
    """A new key with its secret."""

    model_config = _example(key=_KEY, secret="cemk_6f1d0c2b9a8e7f40_…")  # noqa: S106

    key: KeyAnswer
    secret: str = Field(
        repr=False, description="Send it as `Authorization: Bearer …`. Shown only here.", examples=["cemk_…"]
    )


class KeysPage(BaseModel):
    """Keys by id, revoked ones too."""

    model_config = _example(items=[_KEY], next=None)

    items: list[KeyAnswer]
    next: str | None


class DeviceTokenRequest(BaseModel):
    """For whose line a token is minted."""

    model_config = _example(
        number="+8613812345678", install_id="8d0f2a51-77c1-4a55-9a43-0d1c2b3a4f5e", ttl_s=900
    )

    number: str = Field(min_length=1, max_length=64, repr=False)
    install_id: str | None = Field(default=None, min_length=1, max_length=128, pattern=_PRINTABLE)
    ttl_s: int = Field(default=900, ge=SHORTEST_TTL_S, le=LONGEST_TTL_S, description="Life of the token. [s]")


class DeviceTokenAnswer(BaseModel):
    """A device token, good for one line."""

    model_config = _example(
        token="eyJ…",  # noqa: S106
        subscriber_id="s_3f0c9a6d5be14c2f8a7710c2b4de9f01",
        expires_at="2026-11-22T07:45:00Z",
    )

    token: str = Field(repr=False)
    subscriber_id: str
    expires_at: datetime


class AuditAnswer(BaseModel):
    """One entry of the audit log."""

    model_config = _example(**_ENTRY)

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
    def of(cls, record: AuditRecord) -> AuditAnswer:
        """The wire form of an entry."""
        return cls(
            id=record.id,
            at=record.at,
            principal_kind=record.principal_kind,
            principal_id=record.principal_id,
            principal_name=record.principal_name,
            action=record.action,
            subject=record.subject,
            outcome=record.outcome,
            request_id=record.request_id,
            reason=record.reason,
        )


class AuditPage(BaseModel):
    """Entries, newest first."""

    model_config = _example(items=[_ENTRY], next=None)

    items: list[AuditAnswer]
    next: str | None = Field(description="Give it as `before` for the next page; null at the end.")


class AuditQuery(BaseModel):
    """Which entries to read."""

    model_config = ConfigDict(extra="forbid")

    principal_id: str | None = Field(default=None, max_length=64, pattern=_ID)
    action: str | None = Field(default=None, max_length=64, pattern=_ID, examples=["customers.lookup"])
    subject: str | None = Field(
        default=None,
        max_length=120,
        pattern=r"^[A-Za-z][A-Za-z0-9_.:-]*$",
        description="An id, such as a subscriber_id.",
    )
    outcome: str | None = Field(default=None, max_length=32, pattern=_ID)
    since: AwareDatetime | None = Field(default=None, description="Inclusive.")
    until: AwareDatetime | None = Field(default=None, description="Exclusive.")
    before: str | None = Field(
        default=None, max_length=40, pattern=_ID, description="Cursor of the page before."
    )
    limit: int = Field(default=50, ge=1, le=500)

    def wanted(self) -> AuditFilter:
        """The filter without the paging."""
        return AuditFilter(
            principal_id=self.principal_id,
            action=self.action,
            subject=self.subject,
            outcome=self.outcome,
            since=self.since,
            until=self.until,
        )
