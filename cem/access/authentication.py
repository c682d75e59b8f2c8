"""From a request's credential to its principal, cheaply enough for the ingest path.

A device token is verified on the spot, without a store. A session or an API key is looked up and then
remembered in this process for `REMEMBERED_FOR_S`: so an end made in another process (logout, revocation,
a disabled user) takes effect here within that time, and one made in this process at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import Request
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from cem.access import repository
from cem.access.credentials import Credential, CredentialKind
from cem.access.sessions import SessionPolicy, staff_principal
from cem.access.tokens import DeviceTokens
from cem.platform.aio import run_blocking
from cem.platform.clock import Clock
from cem.platform.db import Database
from cem.platform.errors import Unauthenticated, Unavailable
from cem.platform.security import (
    Channel,
    Permission,
    Presented,
    Principal,
    PrincipalKind,
    equal_secrets,
    presented_credential,
)

REMEMBERED_FOR_S = 3.0
"""How long a looked-up credential is believed, refused ones too [s]. Chosen here: a busy feed then costs
one query in three seconds, and a revoked key lives three seconds longer."""

REMEMBERED_AT_MOST = 10_000
"""Credentials remembered per process [1]; the least recently used go first."""

TOUCHED_EVERY = timedelta(minutes=1)
"""A session's last use is written at most so often: the idle expiry may come a minute early."""


@dataclass(frozen=True)
class _Remembered:
    principal: Principal | None
    until: float
    expires_at: datetime | None


class Authenticator:
    """The callable that `Guard` is made with. One per process; used on the event loop."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        tokens: DeviceTokens,
        *,
        policy: SessionPolicy | None = None,
        remembered_for_s: float = REMEMBERED_FOR_S,
    ) -> None:
        self._database = database
        self._clock = clock
        self._tokens = tokens
        self._policy = policy or SessionPolicy()
        self._remembered_for_s = remembered_for_s
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._generation = 0
        self._lock = threading.Lock()
        self._under_way: dict[tuple[bytes, int], asyncio.Task[Principal | None]] = {}

    async def __call__(self, request: Request) -> Principal:
        """The principal of a request. Raises Unauthenticated, Forbidden, Unavailable."""
        presented = presented_credential(request)
        if presented is None:
            raise Unauthenticated("this needs a credential")
        return await self.identify(presented)

    async def identify(self, presented: Presented) -> Principal:
        """The principal of a credential; what may arrive how is decided here.

        A cookie carries staff sessions only, and a path carries device tokens only: a URL ends up in
        logs, where nothing that lives longer than an hour may be.

        Raises
        ------
        Unauthenticated
            where the credential does not hold.
        Unavailable
            where the store cannot be asked.
        """
        text = presented.credential
        if text.startswith((f"{CredentialKind.API_KEY}_", f"{CredentialKind.SESSION}_")):
            credential = Credential.parse(text)
            wrong_way = presented.channel is Channel.PATH or (
                presented.channel is Channel.COOKIE
                and (credential is None or credential.kind is not CredentialKind.SESSION)
            )
            found = None if credential is None or wrong_way else await self._look_up(credential)
            if found is None:
                raise Unauthenticated("the credential is not valid or has ended")
            return found
        if presented.channel is Channel.COOKIE:
            raise Unauthenticated("the credential is not valid or has ended")
        return self._tokens.verify(text)

    def forget(self) -> None:
        """Believe nothing any more that was looked up before now. Safe from any thread."""
        with self._lock:
            self._generation += 1
            self._remembered.clear()

    async def _look_up(self, credential: Credential) -> Principal | None:
        digest = hashlib.sha256(credential.text.encode()).digest()
        now, wall = self._clock.monotonic(), self._clock.now()
        with self._lock:
            known = self._remembered.get(digest)
            generation = self._generation
        if known is not None and now < known.until and (known.expires_at is None or wall < known.expires_at):
            return known.principal
        task = self._under_way.get((digest, generation))
        if task is None:  # of many requests with one credential, one asks the store
            task = asyncio.ensure_future(self._ask(credential, digest, generation))
            self._under_way[digest, generation] = task
            task.add_done_callback(lambda _: self._under_way.pop((digest, generation), None))
        return await asyncio.shield(task)

    async def _ask(self, credential: Credential, digest: bytes, generation: int) -> Principal | None:
        try:
            principal, expires_at = await run_blocking(self._read, credential)
        except (OperationalError, InterfaceError, PoolExhausted):
            raise Unavailable("who is calling cannot be checked now", retry_after_s=2) from None
        until = self._clock.monotonic() + self._remembered_for_s
        with self._lock:
            if generation == self._generation:
                self._remembered[digest] = _Remembered(principal, until, expires_at)
                self._remembered.move_to_end(digest)
                while len(self._remembered) > REMEMBERED_AT_MOST:
                    self._remembered.popitem(last=False)
        return principal

    def _read(self, credential: Credential) -> tuple[Principal | None, datetime | None]:
        if credential.kind is CredentialKind.API_KEY:
            return self._read_key(credential)
        return self._read_session(credential)

    def _read_key(self, credential: Credential) -> tuple[Principal | None, datetime | None]:
        with self._database.read() as session:
            key = repository.key_by_id(session, credential.id)
            if key is None or not equal_secrets(key.secret_hash, credential.secret_hash):
                return None, None
            expired = key.expires_at is not None and key.expires_at <= self._clock.now()
            if expired or key.revoked_at is not None:
                return None, None
            principal = Principal(
                kind=PrincipalKind(key.kind),
                id=key.id,
                permissions=frozenset(Permission(permission) for permission in key.permissions),
                display=key.name,
            )
            return principal, key.expires_at

    def _read_session(self, credential: Credential) -> tuple[Principal | None, datetime | None]:
        now = self._clock.now()
        with self._database.read() as session:
            found = repository.session_with_user(session, credential.id)
            if found is None or not equal_secrets(found[0].secret_hash, credential.secret_hash):
                return None, None
            opened, user = found
            ends_at = min(opened.expires_at, opened.last_seen_at + self._policy.idle)
            if user.disabled_at is not None or now >= ends_at:
                return None, None
            touch = now - opened.last_seen_at >= TOUCHED_EVERY
            principal, expires_at = staff_principal(user), opened.expires_at
        if touch:
            with self._database.write() as session:
                repository.touch_session(session, credential.id, now)
        return principal, expires_at
