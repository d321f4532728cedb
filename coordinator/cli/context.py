"""What every command shares: the global options, and the network, key and contracts that they name, made on first use."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import typer
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address

from contracts import address as addresses
from contracts import keystore
from contracts.deployment import BadDeployment, Contracts, Deployment
from contracts.endpoint import Endpoint, Sendable
from contracts.transactor import Receipt, Transactor, cost
from coordinator import profiles
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.output import Output, Wei
from oracle_worker import settings_file

PASSPHRASE = "QUORATE_PASSPHRASE"  # noqa: S105 - the variable's name


@dataclass(frozen=True, slots=True)
class Options:
    """The global options as given; None or False where not."""

    network: str | None = None
    rpc: str | None = None
    key: str | None = None
    passphrase_file: Path | None = None
    json: bool = False
    debug: bool = False

    def over(self, given: Options) -> Options:
        """These, with what `given` has in their place."""
        return Options(**{f.name: getattr(given, f.name) or getattr(self, f.name) for f in fields(Options)})


class WhichKey(keystore.KeystoreError):
    """No key was chosen, and the folder does not hold exactly one."""

    def __init__(self, folder: Path, have: list[keystore.StoredKey]) -> None:
        if have:
            kept = ", ".join(key.address for key in have)
            super().__init__(
                f"several keys are kept: choose one with --key ADDRESS or QUORATE_KEY; {folder} holds {kept}"
            )
        else:
            super().__init__(
                f"{folder} holds no key yet: make one with `quorate keys new`, or keep the one of QUORATE_PRIVATE_KEY with "
                "`quorate keys import`"
            )


class Setup:
    """One invocation's set-up. Nothing is read, asked for or connected before a command needs it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.key = options.key or os.environ.get("QUORATE_KEY")
        self.out = Output(options.json)
        self.home = profiles.home()
        self._said = settings_file.variables()

    @property
    def profiles_path(self) -> Path:
        """The file of network profiles."""
        return self.home / profiles.FILE_NAME

    @property
    def key_folder(self) -> Path:
        """The folder of keystore files."""
        return self.home / "keys"

    @cached_property
    def network(self) -> profiles.Network:
        """The chosen profile, --rpc and environment put in. Raises UnknownNetwork, BadProfile."""
        options = self.options
        url = options.rpc or self._said.get("QUORATE_RPC_URL")
        have = profiles.load(self.profiles_path)
        name = options.network or os.environ.get("QUORATE_NETWORK")
        if name is None and url and (have.default is None or options.rpc):
            network = profiles.Network("", url)  # --rpc alone names a chain of its own, not the default profile's
        else:
            network = have.choose(name)
        network = profiles.overridden(network, self._said)
        return profiles.Network(network.name, options.rpc or network.rpc_url, network.chain_id, network.deployment)

    @cached_property
    def deployment(self) -> Deployment:
        """The deployment of the network. Raises BadDeployment."""
        path = self.network.deployment
        if path is None:
            raise BadDeployment(
                "no deployment is named: run `quorate deploy`, choose a --network that has one (--rpc alone does not take "
                "the default profile's), or set QUORATE_DEPLOYMENT"
            )
        deployment = Deployment.load(path)
        if self.network.chain_id not in (None, deployment.chain_id):
            raise BadDeployment(
                f"{path} is for chain {deployment.chain_id}, the network profile for chain {self.network.chain_id}: "
                "correct one of them"
            )
        return deployment

    @cached_property
    def endpoint(self) -> Endpoint:
        """The node; its chain id is checked before the first request."""
        expected = self.network.chain_id
        if expected is None and self.network.deployment is not None:
            expected = self.deployment.chain_id
        return Endpoint(self.network.rpc_url, chain_id=expected)

    @cached_property
    def contracts(self) -> Contracts:
        """The contracts of the deployment."""
        deployment = self.deployment
        return Contracts(self.endpoint, deployment)

    @cached_property
    def address(self) -> ChecksumAddress:
        """The address of the chosen key, without opening it. Raises KeyNotFound, MalformedKey."""
        wanted = self.key
        if wanted is None and (account := keystore.from_environment()):
            return account.address
        if wanted is None:
            return self._only_key().address
        if addresses.is_address(wanted):
            have = keystore.list_keys(self.key_folder)
            if to_checksum_address(wanted) not in [key.address for key in have]:
                raise keystore.KeyNotFound(wanted, self.key_folder, have)
            return to_checksum_address(wanted)
        for key in keystore.list_keys(Path(wanted).parent):
            if key.path == Path(wanted):
                return key.address
        return self.account.address

    @cached_property
    def account(self) -> LocalAccount:
        """The key that signs: --key, else QUORATE_PRIVATE_KEY, else the only one kept. Raises KeystoreError."""
        wanted = self.key
        if wanted is None and (account := keystore.from_environment()):
            return account
        if wanted is None:
            wanted = self._only_key().address
        if not addresses.is_address(wanted) and not Path(wanted).is_file():
            raise keystore.KeyNotFound(wanted, self.key_folder, keystore.list_keys(self.key_folder))
        if addresses.is_address(wanted):
            have = keystore.list_keys(self.key_folder)
            if to_checksum_address(wanted) not in [key.address for key in have]:
                raise keystore.KeyNotFound(wanted, self.key_folder, have)  # before anybody types a passphrase
        passphrase = self.passphrase(f"Passphrase of {wanted}")
        with self.out.progress("opening the key"):
            return keystore.unlock(wanted, passphrase, folder=self.key_folder)

    def keystore_path(self) -> Path | None:
        """The chosen key's file, for a process that opens it itself; None where QUORATE_PRIVATE_KEY is the key."""
        if self.key is None and keystore.from_environment():
            return None
        if self.key is not None and not addresses.is_address(self.key):
            return Path(self.key)
        return next(key.path for key in keystore.list_keys(self.key_folder) if key.address == self.address)

    @cached_property
    def transactor(self) -> Transactor:
        """What sends with the key. Raises KeystoreError."""
        return Transactor(self.endpoint, self.account)

    def send(self, what: Sendable, doing: str, *, value: int | None = None) -> Receipt:
        """Send one transaction and wait for its block. Raises what Transactor.send raises."""
        _ = self.endpoint.chain_id  # a dead node or a wrong chain is found before a passphrase is asked for
        sender = self.transactor
        with self.out.progress(doing):
            return sender.send(what, value=value)

    def now(self) -> int:
        """The chain's clock: the newest block's, unix seconds."""
        return int(self.endpoint.ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def passphrase(self, question: str, *, twice: bool = False) -> str:
        """From --passphrase-file, QUORATE_PASSPHRASE or the terminal. Raises Refusal, KeystoreError, OSError."""
        file = self.options.passphrase_file or self._said.get(f"{PASSPHRASE}_FILE")
        if file:
            try:
                return keystore.read_passphrase(Path(file))
            except keystore.EmptyPassphrase:
                raise Refusal(ExitCode.KEY, f"{file} holds no passphrase: its first line is taken") from None
        if PASSPHRASE in os.environ:
            return os.environ[PASSPHRASE]
        if not sys.stdin.isatty():
            raise Refusal(
                ExitCode.KEY,
                f"no passphrase: give --passphrase-file, set {PASSPHRASE} or {PASSPHRASE}_FILE, or run this in a terminal",
            )
        return str(typer.prompt(question, hide_input=True, confirmation_prompt=twice, err=True))

    def _only_key(self) -> keystore.StoredKey:
        have = keystore.list_keys(self.key_folder)
        if len(have) != 1:
            raise WhichKey(self.key_folder, have)
        return have[0]


def receipt_facts(receipt: Receipt) -> dict[str, object]:
    """What a transaction's receipt adds to a result."""
    return {
        "transaction": bytes(receipt["transactionHash"]),
        "block": receipt["blockNumber"],
        "gas": receipt["gasUsed"],
        "gas_cost": Wei(cost(receipt)),
    }


def parse_address(text: str) -> ChecksumAddress:
    """An address as typed; mixed case is a checksum and must be right. Raises Refusal."""
    try:
        return addresses.parse(text)
    except addresses.BadAddress as error:
        raise Refusal(ExitCode.USAGE, f"{text!r} is no address: {error}") from None


def parse_hash(text: str, what: str) -> bytes:
    """32 bytes in hex as typed, such as a job's or a model's id. Raises Refusal."""
    digits = text.strip().removeprefix("0x")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        value = b""
    if len(value) != 32 or len(digits) != 64:
        raise Refusal(ExitCode.USAGE, f"{text!r} is no {what}: 0x and 64 hexadecimal digits")
    return value
