"""Passwords of staff: argon2id, a floor for their quality, and equal time for users that do not exist."""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cem.platform.errors import InvalidInput

SHORTEST = 12
"""Characters. Chosen here: between NIST SP 800-63B's 8 (with a second factor) and 15 (without), since
logins are throttled."""

LONGEST = 200
"""Characters. Chosen here: bounds the work of hashing; a passphrase fits."""

_FEWEST_DIFFERENT = 5


@dataclass(frozen=True)
class PasswordCost:
    """Work of one argon2id hash. Defaults: RFC 9106 clause 4, second recommended option."""

    time_cost: int = 3
    memory_kib: int = 65_536
    parallelism: int = 4


@dataclass(frozen=True)
class Verification:
    """Whether a password fits, and the new hash to store where the cost has changed since."""

    fits: bool
    renewed_hash: str | None = None


class Passwords:
    """Hashes and verifies. Each call takes tens of milliseconds and `memory_kib`: never on the event loop."""

    def __init__(self, cost: PasswordCost | None = None) -> None:
        chosen = cost or PasswordCost()
        self._hasher = PasswordHasher(
            time_cost=chosen.time_cost, memory_cost=chosen.memory_kib, parallelism=chosen.parallelism
        )

    def hash(self, password: str) -> str:
        """argon2id hash in PHC text form, with its own salt and cost."""
        return self._hasher.hash(_normal(password))

    def verify(self, stored: str | None, password: str) -> Verification:
        """Compare; without a stored hash do the same work and answer no."""
        try:
            self._hasher.verify(stored or self._nobody, _normal(password))
        except (VerificationError, InvalidHashError):
            return Verification(fits=False)
        if stored is None:
            return Verification(fits=False)
        stale = self._hasher.check_needs_rehash(stored)
        return Verification(fits=True, renewed_hash=self.hash(password) if stale else None)

    @cached_property
    def _nobody(self) -> str:
        return self._hasher.hash(secrets.token_hex(16))


def check_new_password(password: str, user_name: str, *, pointer: str) -> None:
    """Refuse a password that is too short, too long, monotonous or the user's own name.

    Raises
    ------
    InvalidInput
        saying what to change, never the password.
    """
    normal = _normal(password)
    if not SHORTEST <= len(normal) <= LONGEST:
        raise InvalidInput(f"a password has {SHORTEST} to {LONGEST} characters", pointer=pointer)
    if len(set(normal)) < _FEWEST_DIFFERENT:
        raise InvalidInput(
            f"a password has at least {_FEWEST_DIFFERENT} different characters", pointer=pointer
        )
    if user_name.casefold() in normal.casefold():
        raise InvalidInput("a password does not contain the user's name", pointer=pointer)


def random_password() -> str:
    """A password of 120 random bits, 20 characters."""
    return secrets.token_urlsafe(15)


def _normal(password: str) -> str:
    """One spelling for what keyboards spell differently (NIST SP 800-63B clause 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
