"""Where the service's secret keys come from: settings, or files made once at first start.

A key is 32 random bytes. Settings carry it in base64; without a setting the key lives in one file
(mode 0600) under the data folder. Files are made atomically, so that two processes starting at the same
moment end up with the same key. Not decided here: whether a key fits the data already stored
(`cem.access.fingerprints` compares it with what the database remembers).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cem.platform.errors import ConfigurationError

KEY_BYTES = 32
"""Length of every key [bytes]: AES-256, and the block that HMAC-SHA256 does not have to shorten."""

KEY_ID_BYTES = 4
"""Length of a key's public name [bytes]: enough to tell a handful of keys apart, too little to attack."""


class KeyUnusableError(ConfigurationError):
    """A key is malformed, unreadable or too open; says which and what to do, never key material."""


@dataclass(frozen=True)
class Key:
    """One secret key. Its text form shows only the public id."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise KeyUnusableError(f"a key has {KEY_BYTES} bytes, this one has {len(self.secret)}")

    @property
    def id(self) -> bytes:
        """Public name of the key, 4 bytes of a hash; stored beside what the key protects."""
        return hashlib.sha256(b"cem key id\x00" + self.secret).digest()[:KEY_ID_BYTES]

    @property
    def fingerprint(self) -> str:
        """128-bit hash in hexadecimal, by which a database recognises its key."""
        return hashlib.sha256(b"cem key fingerprint\x00" + self.secret).hexdigest()[:32]

    @classmethod
    def from_text(cls, text: str, name: str) -> Key:
        """Read a key from base64 (standard or URL-safe alphabet).

        Raises
        ------
        KeyUnusableError
            naming `name`, where the text is not base64 of exactly 32 bytes.
        """
        compact = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
        try:
            secret = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise KeyUnusableError(f"{name} is not base64") from None
        if len(secret) != KEY_BYTES:
            raise KeyUnusableError(f"{name} must be base64 of {KEY_BYTES} bytes; it holds {len(secret)}")
        return cls(secret)

    def to_text(self) -> str:
        """The key in base64, as settings take it."""
        return base64.b64encode(self.secret).decode()


@dataclass(frozen=True)
class KeySettings:
    """Keys given by settings, base64; None means "from the file". Previous keys still read, never write."""

    number_hash_key: str | None = field(default=None, repr=False)
    number_cipher_key: str | None = field(default=None, repr=False)
    number_cipher_previous_keys: tuple[str, ...] = field(default=(), repr=False)
    token_key: str | None = field(default=None, repr=False)
    token_previous_keys: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Keyring:
    """Every key of the service. One purpose, one key: none can be derived from another."""

    number_hash: Key
    number_cipher: Key
    token: Key
    number_cipher_previous: tuple[Key, ...] = ()
    token_previous: tuple[Key, ...] = ()

    def fingerprints(self) -> Mapping[str, str]:
        """Fingerprint of the keys that stored data depends on, by purpose."""
        return {"number_hash": self.number_hash.fingerprint, "number_cipher": self.number_cipher.fingerprint}


def load_keyring(secrets_dir: Path, settings: KeySettings | None = None) -> Keyring:
    """Gather the keys from settings, and from `secrets_dir` where a setting is silent (made at first start).

    Raises
    ------
    KeyUnusableError
        with the setting or file that is wrong.
    """
    given = settings or KeySettings()

    def one(setting: str | None, name: str) -> Key:
        if setting:
            return Key.from_text(setting, name)
        return load_or_create_key(secrets_dir / f"{name.replace('_', '-')}.key")

    def several(texts: tuple[str, ...], name: str) -> tuple[Key, ...]:
        return tuple(Key.from_text(text, f"{name}[{index}]") for index, text in enumerate(texts))

    return Keyring(
        number_hash=one(given.number_hash_key, "number_hash_key"),
        number_cipher=one(given.number_cipher_key, "number_cipher_key"),
        token=one(given.token_key, "token_key"),
        number_cipher_previous=several(given.number_cipher_previous_keys, "number_cipher_previous_keys"),
        token_previous=several(given.token_previous_keys, "token_previous_keys"),
    )


def load_or_create_key(path: Path) -> Key:
    """Read the key in `path`, making it first where it does not exist.

    The new key is written and flushed under a private name and then linked to `path`. A link never
    replaces: of two processes doing this at once one wins, and both read the winner's key.

    Raises
    ------
    KeyUnusableError
        where the file is readable by others, unreadable, or holds no key.
    """
    try:
        if not path.exists():
            _create_key(path)
        if path.stat().st_mode & 0o077:
            raise KeyUnusableError(f"{path} can be read by other users; run: chmod 600 {path}")
        return Key.from_text(path.read_text(encoding="ascii"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnusableError(f"cannot use the key file {path}: {error.__class__.__name__}") from error


def _create_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(Key(secrets.token_bytes(KEY_BYTES)).to_text() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(private, path)
        except FileExistsError:
            return  # another process was first; its key counts
    finally:
        private.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
