"""Numbers: one normal form, a keyed hash, a cipher bound to its row, a mask; never a number in an error."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cem.platform.errors import InvalidInput
from cem.platform.security import (
    CipherTamperedError,
    Key,
    NumberCipher,
    NumberHasher,
    mask_number,
    normalise_number,
)

KEY = Key(bytes(range(32)))
OTHER = Key(bytes(range(1, 33)))
LINE = "s_" + "0" * 32


@pytest.mark.parametrize(
    "written",
    [
        "+8613812345678",
        "13812345678",
        "8613812345678",
        "008613812345678",
        "138 1234 5678",
        "+86 (138) 1234-5678",
        "013812345678",
        "+86 138\u20101234\u20105678",
        "１３８１２３４５６７８",  # full-width digits, as Chinese keyboards make them
        " 138.1234.5678 ",
    ],
)
def test_every_way_to_write_a_number_is_one_number(written: str) -> None:
    assert normalise_number(written) == "+8613812345678"


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("010 8888 6666", "+861088886666"),
        ("+44 20 7946 0958", "+442079460958"),
        ("1064812345678", "+861064812345678"),  # a machine's line, 13 digits
    ],
)
def test_fixed_foreign_and_machine_lines(written: str, normal: str) -> None:
    assert normalise_number(written) == normal


def test_the_default_country_is_a_setting() -> None:
    assert normalise_number("020 7946 0958", country_code="44") == "+442079460958"


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "+",
        "abc",
        "12",
        "+8612",
        "+0138123456",
        "138123456789",
        "1381234567",
        "+86138123456780000",
        "0" * 12,
        "13812345678x",
        "'; drop table",
        "+" + "9" * 16,
        "1" * 65,
        "１２",
        "١٣٨١٢٣٤٥٦٧٨"[:5],
        "++8613812345678",
    ],
)
def test_nonsense_is_refused_with_a_pointer_and_without_itself(nonsense: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        NumberHasher(KEY)(nonsense, pointer="/items/3/number")
    assert caught.value.pointer == "/items/3/number"
    assert caught.value.detail == "not a telephone number"


@given(st.text(max_size=80))
def test_normalising_raises_nothing_but_invalid_input_and_settles(text: str) -> None:
    try:
        normal = normalise_number(text)
    except InvalidInput:
        return
    assert normal.startswith("+")
    assert normal[1:].isascii()
    assert normalise_number(normal) == normal


def test_the_hash_is_hmac_sha256_of_the_normal_form() -> None:
    expected = hmac.new(KEY.secret, b"+8613812345678", hashlib.sha256).hexdigest()[:32]
    assert NumberHasher(KEY)("138 1234 5678") == "s_" + expected
    assert NumberHasher(OTHER)("138 1234 5678") != "s_" + expected


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("+8613812345678", "+86138****5678"),
        ("+861064812345678", "+86106****5678"),
        ("+12025550123", "+120****0123"),
        ("+1234567", "+1****67"),
    ],
)
def test_masks(number: str, masked: str) -> None:
    assert mask_number(number) == masked


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_a_mask_hides_at_least_four_digits(number: str) -> None:
    shown = mask_number(number).replace("****", "").removeprefix("+")
    assert len(number) - 1 - len(shown) >= 4


def test_a_cipher_reads_what_it_wrote_and_never_writes_the_same_twice() -> None:
    cipher = NumberCipher(KEY)
    one, two = cipher.encrypt("+8613812345678", LINE), cipher.encrypt("+8613812345678", LINE)
    assert one != two
    assert b"13812345678" not in one
    assert cipher.decrypt(one, LINE) == cipher.decrypt(two, LINE) == "+8613812345678"


def test_a_ciphertext_holds_only_in_its_own_row() -> None:
    cipher = NumberCipher(KEY)
    with pytest.raises(CipherTamperedError):
        cipher.decrypt(cipher.encrypt("+8613812345678", LINE), "s_" + "1" * 32)


@pytest.mark.parametrize("position", range(0, 1 + 4 + 12 + 14 + 16))
def test_every_altered_byte_is_noticed(position: int) -> None:
    cipher = NumberCipher(KEY)
    stored = bytearray(cipher.encrypt("+8613812345678", LINE))
    stored[position] ^= 1
    with pytest.raises(CipherTamperedError) as caught:
        cipher.decrypt(bytes(stored), LINE)
    assert "138" not in str(caught.value).replace(stored[1:5].hex(), "")


@pytest.mark.parametrize("stored", [b"", b"\x01", b"\x01\x00\x00\x00\x00", b"\x02" + bytes(60)])
def test_what_was_never_a_ciphertext_is_refused(stored: bytes) -> None:
    with pytest.raises(CipherTamperedError):
        NumberCipher(KEY).decrypt(stored, LINE)


def test_after_a_rotation_old_ciphertexts_still_read() -> None:
    old = NumberCipher(KEY).encrypt("+8613812345678", LINE)
    rotated = NumberCipher(OTHER, previous=(KEY,))
    assert rotated.decrypt(old, LINE) == "+8613812345678"
    assert rotated.encrypt("+8613812345678", LINE)[1:5].hex() == rotated.key_id == OTHER.id.hex()
    with pytest.raises(CipherTamperedError, match=KEY.id.hex()):
        NumberCipher(OTHER).decrypt(old, LINE)
