"""Keys: from settings or a private file made once, whoever is first."""

from __future__ import annotations

import base64
import multiprocessing
import stat
from pathlib import Path

import pytest

from cem.platform.errors import ConfigurationError
from cem.platform.security import Key, KeySettings, KeyUnusableError, load_keyring, load_or_create_key


def _load(path: str, barrier: object, answers: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    answers.put(load_or_create_key(Path(path)).to_text())  # type: ignore[attr-defined]


def test_the_first_start_makes_private_files_and_the_next_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "secrets"
    first = load_keyring(folder)
    assert load_keyring(folder) == first
    assert len({first.number_hash, first.number_cipher, first.token}) == 3
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["number-cipher-key.key", "number-hash-key.key", "token-key.key"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_processes_starting_at_once_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(4), context.Queue()
    path = tmp_path / "secrets" / "a.key"
    processes = [context.Process(target=_load, args=(str(path), barrier, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    keys = {answers.get(timeout=30) for _ in processes}
    for process in processes:
        process.join(30)
    assert len(keys) == 1
    assert [file.name for file in path.parent.iterdir()] == ["a.key"]


def test_a_setting_wins_and_leaves_no_file(tmp_path: Path) -> None:
    text = base64.b64encode(bytes(range(32))).decode()
    keyring = load_keyring(
        tmp_path, KeySettings(number_hash_key=text, number_cipher_key=text, token_key=text)
    )
    assert keyring.number_hash == Key(bytes(range(32)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not base64 !", "number_hash_key is not base64"),
        (base64.b64encode(b"short").decode(), "number_hash_key must be base64 of 32 bytes; it holds 5"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_keyring(tmp_path, KeySettings(number_hash_key=text))
    assert caught.value.detail == message
    assert text not in repr(caught.value)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_keyring(tmp_path)
    (tmp_path / "token-key.key").chmod(0o644)
    with pytest.raises(KeyUnusableError, match="chmod 600"):
        load_keyring(tmp_path)


def test_a_file_without_a_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.key"
    file.touch(mode=0o600)
    with pytest.raises(KeyUnusableError, match=r"a\.key"):
        load_or_create_key(file)


def test_no_text_form_shows_a_key(tmp_path: Path) -> None:
    keyring = load_keyring(tmp_path)
    settings = KeySettings(token_key="c2VjcmV0")
    for secret in (keyring.token.to_text(), keyring.token.secret.hex(), repr(keyring.token.secret)):
        assert secret not in repr(keyring)
    assert "c2VjcmV0" not in repr(settings)
