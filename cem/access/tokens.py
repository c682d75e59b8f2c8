"""Device tokens: short-lived, signed, good for one line. Verified without asking any store.

A token is a JWT (RFC 7519) signed with HMAC-SHA256: this service alone mints and verifies, so a shared key
is enough and an order of magnitude faster than a signature scheme. It cannot be revoked; it ends within
an hour, and all of them end at once when the key is replaced.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from cem.platform.clock import Clock
from cem.platform.db import new_id
from cem.platform.errors import InvalidInput, Unauthenticated
from cem.platform.keys import Key
from cem.platform.security import KIND_PERMISSIONS, SUBSCRIBER_ID_PATTERN, Principal, PrincipalKind

ALGORITHM = "HS256"
ISSUER = "cem"
AUDIENCE = "cem-device"
LONGEST_TTL_S = 3600
"""Longest life of a token [s]: what bounds the use of a stolen one."""

SHORTEST_TTL_S = 30
LEEWAY_S = 5
"""Clocks of several machines may differ by so much [s]. Chosen here."""

REMEMBERED_TOKENS = 20_000
"""Verified tokens kept per process [1], some 1 kB each. A hit saves the signature, never the expiry check."""


@dataclass(frozen=True)
class MintedToken:
    """A fresh token and what it is good for."""

    token: str
    subscriber_id: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"MintedToken(subscriber_id={self.subscriber_id!r}, expires_at={self.expires_at!r})"


class DeviceTokens:
    """Mints and verifies. Safe to share between threads."""

    def __init__(self, key: Key, clock: Clock, previous: tuple[Key, ...] = ()) -> None:
        self._clock = clock
        self._kid = key.id.hex()
        self._keys = {each.id.hex(): OctKey.import_key(each.secret) for each in (*previous, key)}
        self._verified: OrderedDict[bytes, tuple[int, Principal]] = OrderedDict()
        self._lock = threading.Lock()

    def mint(self, subscriber_id: str, ttl_s: int, install_id: str | None = None) -> MintedToken:
        """A token for this line, valid from now for `ttl_s` seconds. Raises InvalidInput outside 30–3600."""
        if not SHORTEST_TTL_S <= ttl_s <= LONGEST_TTL_S:
            raise InvalidInput(f"a token lives {SHORTEST_TTL_S} to {LONGEST_TTL_S} seconds", pointer="/ttl_s")
        issued_at = self._clock.now().replace(microsecond=0)
        expires_at = issued_at + timedelta(seconds=ttl_s)
        issued_s = int(issued_at.timestamp())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subscriber_id,
            "kind": PrincipalKind.DEVICE.value,
            "iat": issued_s,
            "nbf": issued_s,
            "exp": issued_s + ttl_s,
            "jti": new_id("tok"),
        }
        if install_id is not None:
            claims["install_id"] = install_id
        header = {"alg": ALGORITHM, "kid": self._kid}
        token = jwt.encode(header, claims, self._keys[self._kid], algorithms=[ALGORITHM])
        return MintedToken(token, subscriber_id, expires_at)

    def verify(self, token: str) -> Principal:
        """The device that `token` speaks for.

        Raises
        ------
        Unauthenticated
            where signature, algorithm, issuer, audience, kind, times or line do not hold; not saying which
            of them, except for expiry, which a client has to tell from the rest.
        """
        now_s = int(self._clock.now().timestamp())
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        with self._lock:
            known = self._verified.get(digest)
            if known is not None:
                self._verified.move_to_end(digest)
        if known is None:
            known = self._check(token)
        expires_s, principal = known
        if expires_s + LEEWAY_S <= now_s:
            raise Unauthenticated("the device token has expired")
        with self._lock:
            self._verified[digest] = known
            while len(self._verified) > REMEMBERED_TOKENS:
                self._verified.popitem(last=False)
        return principal

    def _check(self, token: str) -> tuple[int, Principal]:
        refusal = Unauthenticated("the device token is not valid")
        try:
            parsed = jwt.decode(token, self._key_of, algorithms=[ALGORITHM])
            claims = parsed.claims
            jwt.JWTClaimsRegistry(
                now=lambda: int(self._clock.now().timestamp()),
                leeway=LEEWAY_S,
                iss={"essential": True, "value": ISSUER},
                aud={"essential": True, "value": AUDIENCE},
                kind={"essential": True, "value": PrincipalKind.DEVICE.value},
                sub={"essential": True},
                iat={"essential": True},
                nbf={"essential": True},
            ).validate({name: value for name, value in claims.items() if name != "exp"})
        except (JoseError, ValueError, TypeError, KeyError):
            raise refusal from None
        subscriber_id, expires_s, issued_s = claims["sub"], claims.get("exp"), claims["iat"]
        install_id = claims.get("install_id")
        if not isinstance(expires_s, int) or isinstance(expires_s, bool):
            raise refusal
        if not 0 < expires_s - issued_s <= LONGEST_TTL_S:
            raise refusal
        if claims["aud"] != AUDIENCE or not SUBSCRIBER_ID_PATTERN.fullmatch(subscriber_id):
            raise refusal
        if install_id is not None and not isinstance(install_id, str):
            raise refusal
        principal = Principal(
            kind=PrincipalKind.DEVICE,
            id=subscriber_id,
            subscriber_id=subscriber_id,
            permissions=KIND_PERMISSIONS[PrincipalKind.DEVICE],
            display="device",
            install_id=install_id,
        )
        return expires_s, principal

    def _key_of(self, parsed: Any) -> OctKey:
        key = self._keys.get(str(parsed.headers().get("kid")))
        if key is None:
            raise KeyError("unknown key id")
        return key
