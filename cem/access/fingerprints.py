"""Refuse to start with keys that do not fit the stored data.

A lost secrets folder would otherwise go unnoticed: new keys would be made, every customer would get a new
subscriber_id, and no stored number would decrypt. The database remembers a fingerprint of its keys.
"""

from __future__ import annotations

from typing import cast

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from cem.access.models import KeyFingerprint
from cem.platform.clock import Clock
from cem.platform.db import Database, insert_ignore
from cem.platform.errors import ConfigurationError
from cem.platform.security import Keyring

HASH = "number_hash"
CIPHER = "number_cipher"


def confirm_keys(database: Database, keyring: Keyring, clock: Clock) -> None:
    """Compare the keys with what the database remembers; the first time, make it remember.

    The cipher's key may change where the remembered one is among the previous keys.

    Raises
    ------
    ConfigurationError
        naming the key and what to restore.
    """
    with database.write() as session:
        _remember(session, HASH, keyring.number_hash.fingerprint, clock)
        _remember(session, CIPHER, keyring.number_cipher.fingerprint, clock)
        rows = session.scalars(select(KeyFingerprint).with_for_update()).all()
        stored = {row.purpose: row for row in rows}
        if stored[HASH].fingerprint != keyring.number_hash.fingerprint:
            raise ConfigurationError(
                "number_hash_key is not the key that this database was made with: every customer would get "
                "another identity. Restore the key (the setting, or number-hash-key.key in the secrets folder)."
            )
        cipher = stored[CIPHER]
        if cipher.fingerprint != keyring.number_cipher.fingerprint:
            previous = {key.fingerprint for key in keyring.number_cipher_previous}
            if cipher.fingerprint not in previous:
                raise ConfigurationError(
                    "number_cipher_key is not the key that this database was made with, and the one it was "
                    "made with is not among number_cipher_previous_keys: stored numbers could not be read."
                )
            cipher.fingerprint = keyring.number_cipher.fingerprint
            cipher.recorded_at = clock.now()


def _remember(session: Session, purpose: str, fingerprint: str, clock: Clock) -> None:
    row = {"purpose": purpose, "fingerprint": fingerprint, "recorded_at": clock.now()}
    insert_ignore(session, cast(Table, KeyFingerprint.__table__), [row])
