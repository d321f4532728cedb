"""Keys at rest: encrypted, private, never overwritten, and in no message."""

from __future__ import annotations

import json
import os
import stat
import traceback
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address

from contracts import keystore

KEY = "0x" + "a1b2c3d4" * 8
FAST = 2
"""scrypt's work factor in tests; the default takes a second a file."""


def test_a_new_key_opens_with_its_passphrase(tmp_path: Path) -> None:
    stored = keystore.new(tmp_path, "correct horse", iterations=FAST)
    account = keystore.unlock(stored.path, "correct horse")
    assert account.address == stored.address
    assert keystore.unlock(stored.address, "correct horse", folder=tmp_path).key == account.key


def test_two_new_keys_differ(tmp_path: Path) -> None:
    assert keystore.new(tmp_path, "p", iterations=FAST).address != keystore.new(tmp_path, "p", iterations=FAST).address


def test_an_imported_key_is_the_same_account_and_not_plain_in_its_file(tmp_path: Path) -> None:
    stored = keystore.import_key(tmp_path, KEY, "p", iterations=FAST)
    assert stored.address == Account.from_key(KEY).address
    assert keystore.unlock(stored.path, "p").key.hex() == KEY[2:]
    assert KEY[2:] not in stored.path.read_text()


def test_an_imported_file_is_one_that_other_wallets_read(tmp_path: Path) -> None:
    stored = keystore.import_key(tmp_path, KEY, "p", iterations=FAST)
    content = json.loads(stored.path.read_text())
    assert content["version"] == 3
    assert content["crypto"]["kdf"] == "scrypt"
    assert Account.decrypt(content, "p").hex() == KEY[2:]


def test_the_default_work_factor_is_geths_standard(tmp_path: Path) -> None:
    stored = keystore.new(tmp_path, "p")
    assert json.loads(stored.path.read_text())["crypto"]["kdfparams"]["n"] == 1 << 18


def test_keystore_and_folder_are_private_and_no_draft_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "keys"
    stored = keystore.new(folder, "p", iterations=FAST)
    assert stat.S_IMODE(stored.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == [stored.path]


def test_a_keystore_is_never_overwritten(tmp_path: Path) -> None:
    stored = keystore.import_key(tmp_path, KEY, "first", iterations=FAST)
    before = stored.path.read_bytes()
    with pytest.raises(keystore.KeyExists) as caught:
        keystore.import_key(tmp_path, KEY, "second", iterations=FAST)
    assert caught.value.address == stored.address
    assert stored.path.read_bytes() == before


def test_a_key_kept_under_another_wallets_file_name_is_not_stored_twice(tmp_path: Path) -> None:
    stored = keystore.import_key(tmp_path, KEY, "p", iterations=FAST)
    stored.path.rename(tmp_path / f"UTC--2026-01-01T00-00-00.0Z--{stored.address[2:].lower()}")
    with pytest.raises(keystore.KeyExists):
        keystore.import_key(tmp_path, KEY, "p", iterations=FAST)


def test_a_file_that_appears_between_check_and_write_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / f"{Account.from_key(KEY).address}.json"
    taken.write_text("someone else's")
    monkeypatch.setattr(keystore, "list_keys", lambda folder: [])
    with pytest.raises(keystore.KeyExists):
        keystore.import_key(tmp_path, KEY, "p", iterations=FAST)
    assert taken.read_text() == "someone else's"
    assert list(tmp_path.iterdir()) == [taken]


def test_an_empty_passphrase_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(keystore.EmptyPassphrase):
        keystore.new(tmp_path / "keys", "", iterations=FAST)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("mode", "owner", "is_read"),
    [(0o600, True, True), (0o640, True, False), (0o604, True, False), (0o440, False, True), (0o444, False, False)],
)
def test_only_a_passphrase_file_that_others_cannot_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: bool, is_read: bool
) -> None:
    """A service manager's own file lets us in by an access list, which shows as the group's bits."""
    path = tmp_path / "passphrase"
    path.write_text("word\nsecond line\n")
    path.chmod(mode)
    if not owner:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    if is_read:
        assert keystore.read_passphrase(path) == "word"
    else:
        with pytest.raises(keystore.PassphraseExposed, match=f"chmod 600 {path}"):
            keystore.read_passphrase(path)


def test_a_wrong_passphrase_says_so_and_is_not_quoted(tmp_path: Path) -> None:
    stored = keystore.new(tmp_path, "right", iterations=FAST)
    with pytest.raises(keystore.WrongPassphrase, match="wrong passphrase") as caught:
        keystore.unlock(stored.path, "hunter2")
    assert "hunter2" not in str(caught.value)


def test_an_unknown_address_lists_what_there_is(tmp_path: Path) -> None:
    stored = keystore.new(tmp_path, "p", iterations=FAST)
    wanted = to_checksum_address("0x" + "42" * 20)
    with pytest.raises(keystore.KeyNotFound, match=stored.address):
        keystore.unlock(wanted, "p", folder=tmp_path)
    with pytest.raises(keystore.KeyNotFound, match=stored.address):
        keystore.unlock(tmp_path / "absent.json", "p")


def test_an_unknown_address_in_an_empty_or_absent_folder_says_how_to_make_a_key(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(keystore.KeyNotFound, match="quorate keys new"):
            keystore.unlock("0x" + "42" * 20, "p", folder=folder)
    with pytest.raises(keystore.KeyNotFound, match="folder of its keystore"):
        keystore.unlock("0x" + "42" * 20, "p")


def test_keys_are_listed_by_address_with_geths_names_and_without_other_files(tmp_path: Path) -> None:
    mine = keystore.new(tmp_path, "p", iterations=FAST)
    geth = tmp_path / f"UTC--2026-01-01T00-00-00.000000000Z--{'42' * 20}"
    geth.write_text("{}")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / ("0x" + "43" * 20 + ".json")).mkdir()
    listed = keystore.list_keys(tmp_path)
    assert {key.path for key in listed} == {mine.path, geth}
    assert listed == sorted(listed, key=lambda key: key.address)
    assert keystore.list_keys(tmp_path / "absent") == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"version": 3, "crypto": {}}',
        b'{"version": 3, "crypto": {"kdf": "scrypt", "kdfparams": {"n": "many"}}}',
        b'{"version": 3, "crypto": {"kdf": "none", "kdfparams": {}}}',
        b'{"version": 9, "crypto": {"kdf": "scrypt", "kdfparams": {"n": 2, "r": 8, "p": 1}}}',
        b'{"version": 3, "address": "0x12", "crypto": {"kdf": "scrypt", "kdfparams": {"n": 2, "r": 8, "p": 1}}}',
        b"[" * 60_000,
        b"\xff\xfe" * 100,
        b" " * 100_000,
    ],
)
def test_a_broken_file_is_named_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(keystore.MalformedKeystore, match=r"broken\.json"):
        keystore.unlock(path, "p")


@pytest.mark.parametrize("greedy", [{"n": 1 << 40}, {"p": 1 << 30}, {"r": 1 << 30}])
def test_a_file_that_asks_for_absurd_memory_or_work_is_refused_before_it_gets_any(
    tmp_path: Path, greedy: dict[str, int]
) -> None:
    stored = keystore.new(tmp_path, "p", iterations=FAST)
    content = json.loads(stored.path.read_text())
    content["crypto"]["kdfparams"] |= greedy
    stored.path.write_text(json.dumps(content))
    with pytest.raises(keystore.MalformedKeystore, match="memory or time"):
        keystore.unlock(stored.path, "p")


def test_a_file_that_asks_for_absurd_pbkdf2_rounds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slow.json"
    path.write_text(json.dumps(Account.encrypt(bytes.fromhex(KEY[2:]), "p", kdf="pbkdf2", iterations=2)))
    assert keystore.unlock(path, "p").key.hex() == KEY[2:]
    content = json.loads(path.read_text())
    content["crypto"]["kdfparams"]["c"] = 1 << 40
    path.write_text(json.dumps(content))
    with pytest.raises(keystore.MalformedKeystore, match="memory or time"):
        keystore.unlock(path, "p")


@pytest.mark.parametrize("where", ["name", "address"])
def test_a_swapped_file_does_not_pass_for_another_account(tmp_path: Path, where: str) -> None:
    stored = keystore.import_key(tmp_path, KEY, "p", iterations=FAST)
    content = json.loads(stored.path.read_text())
    other = "42" * 20
    if where == "address":
        content["address"] = other
    stored.path.unlink()
    path = tmp_path / (f"0x{other}.json" if where == "name" else "any.json")
    path.write_text(json.dumps(content))
    with pytest.raises(keystore.MalformedKeystore, match=f"claims {other}"):
        keystore.unlock(path, "p")


def test_a_flipped_bit_in_the_ciphertext_does_not_open(tmp_path: Path) -> None:
    stored = keystore.import_key(tmp_path, KEY, "p", iterations=FAST)
    content = json.loads(stored.path.read_text())
    cipher = bytearray.fromhex(content["crypto"]["ciphertext"])
    cipher[0] ^= 1
    content["crypto"]["ciphertext"] = cipher.hex()
    stored.path.write_text(json.dumps(content))
    with pytest.raises(keystore.WrongPassphrase):
        keystore.unlock(stored.path, "p")


def test_the_environment_gives_a_key_with_or_without_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (KEY, KEY[2:], f" {KEY}\n"):
        monkeypatch.setenv(keystore.ENVIRONMENT_KEY, given)
        account = keystore.from_environment()
        assert account is not None
        assert account.address == Account.from_key(KEY).address


def test_an_unset_or_empty_environment_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keystore.ENVIRONMENT_KEY, raising=False)
    assert keystore.from_environment() is None
    monkeypatch.setenv(keystore.ENVIRONMENT_KEY, " ")
    assert keystore.from_environment() is None


@pytest.mark.parametrize(
    "malformed",
    [
        "a1b2c3",
        KEY + "00",
        KEY[:-1] + "g",
        "00" * 32,
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        "correct horse battery staple correct horse battery staple correct",
    ],
)
def test_a_malformed_key_is_not_echoed_anywhere(
    malformed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(keystore.ENVIRONMENT_KEY, malformed)
    with pytest.raises(keystore.MalformedKey, match=keystore.ENVIRONMENT_KEY) as caught:
        keystore.from_environment()
    assert malformed not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(keystore.MalformedKey) as caught:
        keystore.import_key(tmp_path, malformed, "p", iterations=FAST)
    assert malformed not in "".join(traceback.format_exception(caught.value))


def test_raw_bytes_of_another_length_are_no_key() -> None:
    assert keystore.account_of(bytes.fromhex(KEY[2:])).address == Account.from_key(KEY).address
    with pytest.raises(keystore.MalformedKey):
        keystore.account_of(b"\x01" * 31)
