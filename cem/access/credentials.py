"""API keys and staff sessions as text: `cemk_<id>_<secret>` and `cems_<id>_<secret>`.

The id finds the row, the secret proves it. A secret has 256 random bits, so that one round of SHA-256 is
enough to store it: there is nothing to guess. (Passwords are guessed; see `cem.access.passwords`.)
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum


class CredentialKind(StrEnum):
    """Prefix that tells what a credential is; leak scanners can look for it."""

    API_KEY = "cemk"
    SESSION = "cems"


_FORM = re.compile(r"(cemk|cems)_([0-9a-f]{16})_([0-9a-f]{64})")


@dataclass(frozen=True)
class Credential:
    """A credential in clear; it exists in answers and requests only."""

    kind: CredentialKind
    id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls, kind: CredentialKind) -> Credential:
        """A fresh credential."""
        return cls(kind, secrets.token_hex(8), secrets.token_hex(32))

    @classmethod
    def parse(cls, text: str) -> Credential | None:
        """The credential that `text` spells; None where it spells none."""
        match = _FORM.fullmatch(text)
        return None if match is None else cls(CredentialKind(match[1]), match[2], match[3])

    @property
    def text(self) -> str:
        """What the caller keeps and sends."""
        return f"{self.kind.value}_{self.id}_{self.secret}"

    @property
    def secret_hash(self) -> bytes:
        """What is stored, 32 bytes."""
        return hashlib.sha256(self.secret.encode("ascii")).digest()
