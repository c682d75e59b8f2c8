"""Opaque credentials and passwords: form, storage, quality; secrets shown nowhere."""

from __future__ import annotations

import hashlib

import pytest

from cem.access.credentials import Credential, CredentialKind
from cem.access.passwords import PasswordCost, Passwords, check_new_password, random_password
from cem.platform.errors import InvalidInput
from cem.platform.security import equal_secrets

CHEAP = PasswordCost(time_cost=1, memory_kib=8, parallelism=1)


@pytest.mark.parametrize("kind", CredentialKind)
def test_a_credential_reads_back_and_stores_as_a_hash(kind: CredentialKind) -> None:
    credential = Credential.new(kind)
    assert Credential.parse(credential.text) == credential
    assert credential.text.startswith(f"{kind.value}_")
    assert credential.secret_hash == hashlib.sha256(credential.secret.encode()).digest()
    assert credential.secret not in repr(credential)
    assert Credential.new(kind).id != credential.id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cemk_",
        "cemk_0123456789abcdef_" + "0" * 63,
        "cemx_0123456789abcdef_" + "0" * 64,
        "cemk_0123456789ABCDEF_" + "0" * 64,
        " cemk_0123456789abcdef_" + "0" * 64,
        "cemk_0123456789abcdef_" + "0" * 64 + "\n",
        "cemk_0123456789abcde٣_" + "0" * 64,
    ],
)
def test_what_is_no_credential_spells_none(text: str) -> None:
    assert Credential.parse(text) is None


def test_a_password_is_argon2id_with_its_own_salt() -> None:
    passwords = Passwords(CHEAP)
    one, two = passwords.hash("seven quiet herons"), passwords.hash("seven quiet herons")
    assert one != two
    assert one.startswith("$argon2id$")
    assert passwords.verify(one, "seven quiet herons").fits
    assert not passwords.verify(one, "seven quiet heron").fits


def test_the_default_cost_is_the_one_of_the_standard() -> None:
    """RFC 9106 clause 4: t=3, m=2^16 KiB, p=4."""
    assert Passwords().hash("seven quiet herons").startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_two_keyboards_spell_one_password() -> None:
    passwords = Passwords(CHEAP)
    assert passwords.verify(passwords.hash("caf\u00e9 noir ziemlich"), "cafe\u0301 noir ziemlich").fits


def test_a_changed_cost_renews_the_hash_at_the_next_login() -> None:
    old = Passwords(CHEAP).hash("seven quiet herons")
    dearer = Passwords(PasswordCost(time_cost=2, memory_kib=16, parallelism=1))
    renewed = dearer.verify(old, "seven quiet herons").renewed_hash
    assert renewed is not None
    assert "t=2" in renewed
    assert dearer.verify(renewed, "seven quiet herons").renewed_hash is None
    assert dearer.verify(old, "wrong").renewed_hash is None


@pytest.mark.parametrize("stored", [None, "", "not a hash", "$argon2id$broken"])
def test_without_a_usable_hash_nothing_fits(stored: str | None) -> None:
    verification = Passwords(CHEAP).verify(stored, "seven quiet herons")
    assert not verification.fits
    assert verification.renewed_hash is None


@pytest.mark.parametrize("weak", ["", "short", "elevenchars", "x" * 201, "abababababab", "my Li.Na 2026!!"])
def test_weak_passwords_are_refused_without_being_shown(weak: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_new_password(weak, "li.na", pointer="/password")
    assert caught.value.pointer == "/password"
    assert not weak or weak not in caught.value.detail


def test_made_passwords_are_good_enough_and_differ() -> None:
    made = {random_password() for _ in range(100)}
    assert len(made) == 100
    for password in made:
        check_new_password(password, "administrator", pointer="/password")


def test_secrets_compare_by_content() -> None:
    assert equal_secrets("a", b"a")
    assert not equal_secrets("a", "b")
    assert not equal_secrets("a", "ab")
