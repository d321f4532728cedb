"""Encrypted keystore files (version 3, scrypt), one for each address: the only form in which a key rests on disk.

A plain key is taken from the environment variable QUORATE_PRIVATE_KEY and from nowhere else. No message, log line
or repr of this module ever holds a key or a passphrase.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address

from contracts import address as addresses

ENVIRONMENT_KEY = "QUORATE_PRIVATE_KEY"
_FILE_NAME = re.compile(r"(?:^|--)(?:0x)?([0-9a-fA-F]{40})(?:\.json)?$")
_LARGEST_FILE = 64 * 1024
_MOST_MEMORY = 1 << 30
_MOST_ROUNDS = 10_000_000


class KeystoreError(Exception):
    """Anything wrong with a key or its file."""


class MalformedKey(KeystoreError):
    """A plain key that is none; the message names where it came from, never what it was."""

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"{origin} is no private key: it must be 64 hexadecimal digits (0x before them is fine), not zero and "
            "below the order of secp256k1"
        )
        self.origin = origin


class MalformedKeystore(KeystoreError):
    """A file that is no usable keystore."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is no keystore that can be used: {reason}")
        self.path = path


class WrongPassphrase(KeystoreError):
    """The passphrase does not open the keystore."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"wrong passphrase for {path}; nothing was changed, try again")
        self.path = path


class EmptyPassphrase(KeystoreError):
    """An empty passphrase would leave the key as good as plain."""

    def __init__(self) -> None:
        super().__init__("the passphrase is empty: choose one, the key is only as safe as it is")


class PassphraseExposed(KeystoreError):
    """Others can read the file of a passphrase: whoever gets the keystore too has the key."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: others may read it, and it holds a passphrase: chmod 600 {path}")
        self.path = path


class KeyExists(KeystoreError):
    """The folder already holds this address; a keystore is never overwritten."""

    def __init__(self, address: ChecksumAddress, path: Path) -> None:
        super().__init__(f"{address} is already kept in {path}; move that file away first if it should be replaced")
        self.address = address
        self.path = path


class KeyNotFound(KeystoreError):
    """No keystore file for what was asked."""

    def __init__(self, wanted: str, folder: Path | None, have: list[StoredKey]) -> None:
        if folder is None:
            advice = "give the path of a keystore file, or an address together with the folder of its keystore"
        elif have:
            advice = f"{folder} holds: " + ", ".join(key.address for key in have)
        else:
            advice = f"{folder} holds no key yet: make one with `quorate keys new`"
        super().__init__(f"no key {wanted!r}; {advice}")
        self.wanted = wanted


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A keystore file, known by its name alone: it has not been opened."""

    address: ChecksumAddress
    path: Path


def new(folder: Path, passphrase: str, *, iterations: int | None = None) -> StoredKey:
    """Make a fresh key and keep it encrypted; `iterations` is scrypt's work factor. Raises KeystoreError, OSError."""
    return _store(folder, Account.create(secrets.token_bytes(32)), passphrase, iterations)


def import_key(folder: Path, key: str | bytes, passphrase: str, *, iterations: int | None = None) -> StoredKey:
    """Keep an existing plain key (32 bytes, or as hex) encrypted. Raises MalformedKey, KeyExists, OSError."""
    return _store(folder, account_of(key), passphrase, iterations)


def list_keys(folder: Path) -> list[StoredKey]:
    """Every keystore file of the folder, by address; files are recognised by name (ours and geth's) and not opened."""
    if not folder.is_dir():
        return []
    named = ((_FILE_NAME.search(path.name), path) for path in folder.iterdir() if path.is_file())
    found = [StoredKey(to_checksum_address(name[1]), path) for name, path in named if name]
    return sorted(found, key=lambda key: (key.address, key.path))


def read_passphrase(path: Path) -> str:
    """The first line of a passphrase's file, which may be a pipe. Raises PassphraseExposed, EmptyPassphrase, OSError.

    A file of one's own is for its owner alone; of somebody else's (a service manager's, which lets us in by an access list
    that shows as the group's bits) only everybody else counts.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        others = stat.S_IROTH | (stat.S_IRGRP if status.st_uid == os.geteuid() else 0)
        if stat.S_ISREG(status.st_mode) and status.st_mode & others:
            raise PassphraseExposed(path)
        lines = file.read(_LARGEST_FILE).decode("utf-8").splitlines()
    if not lines or not lines[0]:
        raise EmptyPassphrase
    return lines[0]


def unlock(path_or_address: Path | str, passphrase: str, *, folder: Path | None = None) -> LocalAccount:
    """The account in a keystore file, found by its path or by its address in `folder`.

    Raises KeyNotFound (which lists what is there), WrongPassphrase, MalformedKeystore.
    """
    path = _find(path_or_address, folder)
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise MalformedKeystore(path, error.strerror or "it cannot be read") from error
    content = _parse(path, text)
    try:
        key = bytes(Account.decrypt(content, passphrase))
    except ValueError as error:
        if "MAC mismatch" in str(error):
            raise WrongPassphrase(path) from None
        raise MalformedKeystore(path, "it does not decrypt") from None
    except Exception:  # a broken or hostile file can make the decoder fail in any way
        raise MalformedKeystore(path, "it does not decrypt") from None
    account = account_of(key, origin=str(path))
    # neither file name nor "address" is covered by the passphrase: a swapped file must not pass for another account
    name = _FILE_NAME.search(path.name)
    for claimed in (content.get("address"), name and name[1]):
        if claimed and to_checksum_address(str(claimed).removeprefix("0x")) != account.address:
            raise MalformedKeystore(path, f"it claims {claimed} but holds the key of {account.address}")
    return account


def from_environment() -> LocalAccount | None:
    """The account of QUORATE_PRIVATE_KEY; None where it is unset or empty. Raises MalformedKey."""
    key = os.environ.get(ENVIRONMENT_KEY, "").strip()
    return account_of(key, origin=f"the environment variable {ENVIRONMENT_KEY}") if key else None


def account_of(key: str | bytes, *, origin: str = "the given value") -> LocalAccount:
    """The account of a plain key (32 bytes, or 64 hex digits). Raises MalformedKey, which names `origin` only."""
    if isinstance(key, str):
        digits = key.strip().removeprefix("0x").removeprefix("0X")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
            raise MalformedKey(origin)
        key = bytes.fromhex(digits)
    if len(key) != 32:
        raise MalformedKey(origin)
    try:
        account: LocalAccount = Account.from_key(key)
    except Exception:  # zero, or not below the order; the cause is dropped because its traceback may hold the key
        raise MalformedKey(origin) from None
    return account


def _find(path_or_address: Path | str, folder: Path | None) -> Path:
    wanted = str(path_or_address)
    if isinstance(path_or_address, str) and addresses.is_address(wanted):
        have = list_keys(folder) if folder else []
        matching = [key.path for key in have if key.address == to_checksum_address(wanted)]
        if not matching:
            raise KeyNotFound(wanted, folder, have)
        return matching[0]
    path = Path(path_or_address)
    if not path.is_file():
        parent = folder or path.parent
        raise KeyNotFound(wanted, parent, list_keys(parent))
    return path


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    if len(text) > _LARGEST_FILE:
        raise MalformedKeystore(path, f"it is larger than {_LARGEST_FILE} bytes")
    try:
        content = json.loads(text)
        crypto = {name.lower(): value for name, value in content.items()}["crypto"]
        params = crypto["kdfparams"]
        memory = 128 * int(params.get("n", 0)) * int(params.get("r", 0))
        work = memory * int(params.get("p", 0))
        rounds = int(params.get("c", 0))
        if content.get("address") and not addresses.is_address(content["address"]):
            raise MalformedKeystore(path, "its address is none")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedKeystore(path, "it is not a version 3 keystore") from error
    if memory > _MOST_MEMORY or work > 16 * _MOST_MEMORY or rounds > _MOST_ROUNDS:
        raise MalformedKeystore(path, "its key derivation asks for more memory or time than any honest keystore does")
    assert isinstance(content, dict)
    return content


def _store(folder: Path, account: LocalAccount, passphrase: str, iterations: int | None) -> StoredKey:
    if not passphrase:
        raise EmptyPassphrase
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for key in list_keys(folder):
        if key.address == account.address:
            raise KeyExists(key.address, key.path)
    content = Account.encrypt(account.key, passphrase, kdf="scrypt", iterations=iterations)
    path = folder / f"{account.address}.json"
    draft = folder / f".{account.address}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.link(
            draft, path
        )  # unlike a rename, it fails where the name is taken: whole or not at all, and never over another
    except FileExistsError:
        raise KeyExists(account.address, path) from None
    finally:
        draft.unlink()
    return StoredKey(account.address, path)
