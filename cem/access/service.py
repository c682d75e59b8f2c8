"""Staff users, API keys and device tokens: what administrators, the command line and systems do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cem.access import repository
from cem.access.audit import AuditLog
from cem.access.credentials import Credential, CredentialKind
from cem.access.models import ApiKey, StaffUser
from cem.access.passwords import Passwords, check_new_password, random_password
from cem.access.records import KeyInfo, User
from cem.access.sessions import USER_NAME, normal_name
from cem.access.tokens import DeviceTokens, MintedToken
from cem.platform.clock import Clock
from cem.platform.db import Database, new_id
from cem.platform.errors import Conflict, InvalidInput, NotFound
from cem.platform.security import KIND_PERMISSIONS, Permission, Principal, PrincipalKind, Role

COMMAND_LINE = Principal(kind=PrincipalKind.SYSTEM, id="command-line", display="command line")
"""Who acts when an operator uses the `cem` command on the machine itself."""

FIRST_ADMINISTRATOR = "administrator"


class SubscriberPort(Protocol):
    """What minting needs of the customers' room."""

    def remember(self, number: str) -> str:
        """Keep the number (encrypted) if it is new; its subscriber_id. Raises InvalidInput on nonsense."""
        ...


@dataclass(frozen=True)
class CreatedKey:
    """A key just created; the only time that its secret exists in clear."""

    key: KeyInfo
    secret: str = field(repr=False)


class AccessService:
    """Manages who may. Every method blocks: call it in a thread.

    `forget` drops what this process remembers of credentials; other processes forget within the
    authenticator's TTL.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        audit: AuditLog,
        passwords: Passwords,
        *,
        tokens: DeviceTokens,
        subscribers: SubscriberPort,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._audit = audit
        self._passwords = passwords
        self._tokens = tokens
        self._subscribers = subscribers
        self._forget = forget

    # users

    def create_user(
        self,
        by: Principal,
        name: str,
        roles: Iterable[Role],
        *,
        password: str | None = None,
        display_name: str = "",
    ) -> tuple[User, str]:
        """A new member of staff, and the password (a random one where none is given).

        Raises
        ------
        InvalidInput
            on a name that is no name, no role, or a weak password.
        Conflict
            where the name is taken.
        """
        name = normal_name(name)
        if not USER_NAME.fullmatch(name):
            raise InvalidInput(
                "a user name has 3 to 64 letters, digits, dots, dashes or underscores", pointer="/name"
            )
        given = frozenset(roles)
        _check_roles(given)
        chosen = random_password() if password is None else password
        if password is not None:
            check_new_password(password, name, pointer="/password")
        new = repository.NewUser(
            id=new_id("usr"),
            name=name,
            display_name=display_name or name,
            password_hash=self._passwords.hash(chosen),
            roles=given,
            at=self._clock.now(),
        )
        with self._database.write() as session:
            if not repository.add_user(session, new):
                raise Conflict("this user name is taken", pointer="/name")
            self._audit.record_in(session, by, "users.create", new.id, reason=_listed(given))
            user = User.of(_found(repository.user_by_id(session, new.id)))
        return user, chosen

    def list_users(self, *, limit: int, after: str | None = None) -> Sequence[User]:
        """Users by name, from behind `after`."""
        with self._database.read() as session:
            return [User.of(row) for row in repository.users_page(session, limit=limit, after=after)]

    def change_user(
        self,
        by: Principal,
        user_id: str,
        *,
        roles: Iterable[Role] | None = None,
        disabled: bool | None = None,
        display_name: str | None = None,
    ) -> User:
        """Change roles, name shown, or whether the user may sign in; a disabled user's sessions end at once.

        Raises
        ------
        NotFound
            where there is no such user.
        Conflict
            where nobody who can administer would be left, or the caller disables themselves.
        """
        with self._database.write() as session:
            repository.lock_users(session)  # two administrators must not remove each other at the same time
            user = _found(repository.user_by_id(session, user_id))
            done: list[str] = []
            if roles is not None:
                given = frozenset(roles)
                _check_roles(given)
                user.roles = sorted(given)
                done.append(f"roles={_listed(given)}")
            if display_name is not None:
                user.display_name = display_name
                done.append("display_name")
            if disabled is not None and disabled != (user.disabled_at is not None):
                if disabled and by.id == user.id:
                    raise Conflict("nobody disables themselves")
                user.disabled_at = self._clock.now() if disabled else None
                done.append("disabled" if disabled else "enabled")
            session.flush()
            if repository.count_active_administrators(session) == 0:
                raise Conflict("the last administrator stays")
            if disabled:
                repository.end_sessions_of(session, user.id)
            self._audit.record_in(session, by, "users.change", user.id, reason=", ".join(done) or "nothing")
            changed = User.of(user)
        self._forget()
        return changed

    def reset_password(self, by: Principal, user_id: str) -> str:
        """A new random password; every session of the user ends. Raises NotFound."""
        password = random_password()
        hashed = self._passwords.hash(password)
        with self._database.write() as session:
            user = _found(repository.user_by_id(session, user_id))
            user.password_hash = hashed
            user.password_changed_at = self._clock.now()
            repository.end_sessions_of(session, user.id)
            self._audit.record_in(session, by, "users.reset_password", user.id)
        self._forget()
        return password

    def user_named(self, name: str) -> User:
        """The user with this name. Raises NotFound."""
        with self._database.read() as session:
            return User.of(_found(repository.user_by_name(session, normal_name(name))))

    def ensure_first_administrator(self) -> str | None:
        """Create the first administrator where no user exists; the password, which is shown once, else None.

        Of several processes starting at once exactly one gets a password.
        """
        with self._database.read() as session:
            if repository.has_users(session):
                return None
        password = random_password()
        new = repository.NewUser(
            id=new_id("usr"),
            name=FIRST_ADMINISTRATOR,
            display_name="Administrator",
            password_hash=self._passwords.hash(password),
            roles=frozenset({Role.ADMINISTRATOR}),
            at=self._clock.now(),
        )
        with self._database.write() as session:
            if repository.has_users(session) or not repository.add_user(session, new):
                return None
            self._audit.record_in(session, COMMAND_LINE, "users.create", new.id, reason="first start")
        return password

    # keys

    def create_key(
        self,
        by: Principal,
        name: str,
        kind: PrincipalKind,
        permissions: Iterable[Permission],
        *,
        expires_at: datetime | None = None,
    ) -> CreatedKey:
        """A key for a feed or a system, with these permissions and no others.

        Raises
        ------
        InvalidInput
            on another kind, no permission, one that the kind cannot hold, or an expiry in the past.
        """
        given = frozenset(permissions)
        if kind not in {PrincipalKind.FEED, PrincipalKind.SYSTEM}:
            raise InvalidInput("a key is for a feed or a system", pointer="/kind")
        if not name.strip():
            raise InvalidInput("a key has a name that tells who uses it", pointer="/name")
        if not given:
            raise InvalidInput("a key has at least one permission", pointer="/permissions")
        beyond = given - KIND_PERMISSIONS[kind]
        if beyond:
            raise InvalidInput(f"a {kind} key cannot have {_listed(beyond)}", pointer="/permissions")
        now = self._clock.now()
        if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
            raise InvalidInput("the expiry is a time to come, with its zone", pointer="/expires_at")
        credential = Credential.new(CredentialKind.API_KEY)
        with self._database.write() as session:
            key = ApiKey(
                id=credential.id,
                name=name.strip(),
                kind=kind.value,
                permissions=sorted(given),
                secret_hash=credential.secret_hash,
                created_at=now,
                created_by=by.id,
                expires_at=expires_at,
                revoked_at=None,
            )
            session.add(key)
            self._audit.record_in(session, by, "keys.create", key.id, reason=_listed(given))
            info = KeyInfo.of(key)
        return CreatedKey(info, credential.text)

    def list_keys(self, *, limit: int, after: str | None = None) -> Sequence[KeyInfo]:
        """Keys by id, revoked ones too, from behind `after`."""
        with self._database.read() as session:
            return [KeyInfo.of(row) for row in repository.keys_page(session, limit=limit, after=after)]

    def revoke_key(self, by: Principal, key_id: str) -> None:
        """End a key; doing it again changes nothing. Raises NotFound."""
        with self._database.write() as session:
            key = repository.key_by_id(session, key_id)
            if key is None:
                raise NotFound("there is no such key")
            if key.revoked_at is None:
                key.revoked_at = self._clock.now()
                self._audit.record_in(session, by, "keys.revoke", key.id)
        self._forget()

    # device tokens

    def mint_token(self, number: str, ttl_s: int, install_id: str | None = None) -> MintedToken:
        """A device token for the line of this number, whose number is kept (encrypted) if it is new.

        Raises
        ------
        InvalidInput
            on a number or a life that is none, with a pointer.
        """
        return self._tokens.mint(self._subscribers.remember(number), ttl_s, install_id)


def _check_roles(roles: frozenset[Role]) -> None:
    if not roles:
        raise InvalidInput("a member of staff has at least one role", pointer="/roles")


def _listed(values: Iterable[str]) -> str:
    return " ".join(sorted(values))


def _found(user: StaffUser | None) -> StaffUser:
    if user is None:
        raise NotFound("there is no such user")
    return user
