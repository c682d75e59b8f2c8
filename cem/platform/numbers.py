"""A customer's number: one normal form, a keyed hash to know it by, a cipher to keep it, a mask to show it.

Nothing here ever puts a number into an error message, a log or a text form.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import unicodedata

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cem.platform.errors import InvalidInput
from cem.platform.keys import KEY_ID_BYTES, Key

SUBSCRIBER_ID_PATTERN = re.compile(r"s_[0-9a-f]{32}")
"""What a subscriber_id looks like."""

_SEPARATORS = re.compile(r"[\s().\-/\u2010-\u2015]+")
_E164 = re.compile(
    r"\+[1-9][0-9]{6,14}"
)  # ITU-T E.164 (2010) clause 6: at most 15 digits; 7 chosen here as the shortest
_CHINESE_NATIONAL = re.compile(
    r"1[3-9][0-9]{9}"  # mobile, 11 digits
    r"|1[04][0-9]{11}"  # machine lines, 13 digits (10648…, 144…)
    r"|(?:10|[2-9][0-9])[0-9]{8,9}"  # area code and fixed line, without the trunk 0
)
_CIPHER_VERSION = b"\x01"
_NONCE_BYTES = (
    12  # NIST SP 800-38D clause 8.2: 96-bit nonces; 2**32 random ones per key stay safe (clause 8.3)
)
_LONGEST_TEXT = 64


class CipherTamperedError(Exception):
    """A stored number does not decrypt: altered, moved from another line, or its key is not here."""


def normalise_number(number: str, *, country_code: str = "86", pointer: str | None = None) -> str:
    """Bring a telephone number into E.164 form, such as `+8613812345678`.

    Accepts separators, full-width digits, the prefixes `+` and `00`, the trunk `0`, and the country code
    without any prefix. For +86 the national part must be one that a line can have.

    Raises
    ------
    InvalidInput
        with `pointer`, never with the number.
    """
    refusal = InvalidInput("not a telephone number", pointer=pointer)
    if len(number) > _LONGEST_TEXT:
        raise refusal
    text = _SEPARATORS.sub("", unicodedata.normalize("NFKC", number))
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise refusal
    if text.startswith("+"):
        international = digits
    elif digits.startswith("00"):
        international = digits[2:]
    elif digits.startswith(country_code) and len(digits) >= len(country_code) + 10:
        international = digits
    else:
        international = country_code + digits.removeprefix("0")
    normal = "+" + international
    if not _E164.fullmatch(normal):
        raise refusal
    if normal.startswith("+86") and not _CHINESE_NATIONAL.fullmatch(normal[3:]):
        raise refusal
    return normal


def mask_number(number: str) -> str:
    """An E.164 number with at least four digits hidden: `+8613812345678` → `+86138****5678`."""
    digits = number.removeprefix("+")
    tail = 4 if len(digits) >= 11 else 2
    head = max(0, min(5, len(digits) - tail - 4))
    return f"+{digits[:head]}****{digits[-tail:] if len(digits) > tail + 4 else ''}"


class NumberHasher:
    """number → subscriber_id: HMAC-SHA256 (RFC 2104) over the E.164 form, cut to 128 bits.

    The key is what keeps the few billion possible numbers from being tried; it never changes during the
    life of a database.
    """

    def __init__(self, key: Key, country_code: str = "86") -> None:
        self._key = key.secret
        self._country_code = country_code

    def __call__(self, number: str, *, pointer: str | None = None) -> str:
        """subscriber_id of `number`, "s_" and 32 hexadecimal digits. Raises InvalidInput on nonsense."""
        return self.of_normal(self.normalise(number, pointer=pointer))

    def normalise(self, number: str, *, pointer: str | None = None) -> str:
        """E.164 form of `number` under this service's default country. Raises InvalidInput on nonsense."""
        return normalise_number(number, country_code=self._country_code, pointer=pointer)

    def of_normal(self, normal: str) -> str:
        """subscriber_id of a number that is already in E.164 form."""
        return "s_" + hmac.digest(self._key, normal.encode("ascii"), hashlib.sha256).hex()[:32]


class NumberCipher:
    """number ↔ bytes for the one encrypted column: AES-256-GCM with the subscriber_id as associated data.

    Layout: version (1 byte), key id (4), nonce (12), ciphertext and tag. A row moved to another
    subscriber does not decrypt. Previous keys still read, so that rows can be re-encrypted one by one.
    """

    def __init__(self, key: Key, previous: tuple[Key, ...] = ()) -> None:
        self._current = key.id
        self._ciphers = {each.id: AESGCM(each.secret) for each in (*previous, key)}

    @property
    def key_id(self) -> str:
        """Id of the key that new ciphertexts carry, 8 hexadecimal digits."""
        return self._current.hex()

    def encrypt(self, number: str, subscriber_id: str) -> bytes:
        """Encrypt an E.164 number for this subscriber's row."""
        nonce = os.urandom(_NONCE_BYTES)
        header = _CIPHER_VERSION + self._current
        sealed = self._ciphers[self._current].encrypt(
            nonce, number.encode("ascii"), header + subscriber_id.encode()
        )
        return header + nonce + sealed

    def decrypt(self, stored: bytes, subscriber_id: str) -> str:
        """The number behind `stored`.

        Raises
        ------
        CipherTamperedError
            where bytes, subscriber or key do not fit.
        """
        body = 1 + KEY_ID_BYTES
        header, nonce, sealed = (
            stored[:body],
            stored[body : body + _NONCE_BYTES],
            stored[body + _NONCE_BYTES :],
        )
        if header[:1] != _CIPHER_VERSION:
            raise CipherTamperedError("unknown layout of an encrypted number")
        cipher = self._ciphers.get(header[1:])
        if cipher is None:
            raise CipherTamperedError(f"key {header[1:].hex()} is not among the keys of this service")
        try:
            return cipher.decrypt(nonce, sealed, header + subscriber_id.encode()).decode("ascii")
        except (InvalidTag, ValueError):
            raise CipherTamperedError(
                "an encrypted number does not belong to this row or was altered"
            ) from None
