"""An EVM in this process with its clock under control: calls that raise typed errors, events that come decoded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from eth_abi import decode, encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils import keccak, to_checksum_address
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from pyrevm import EVM, BlockEnv

from contracts import errors

ARTIFACTS = (Path(errors.__file__).parent / "artifacts", Path(__file__).parent.parent / "solidity" / "artifacts")
FORTUNE = 10**40  # wei: more than any test spends
NOBODY = to_checksum_address("0x" + 40 * "0")
ONE_WORD = re.compile(r"(u?int\d*|bytes\d+|bool|address)$")


class Halted(Exception):
    """The EVM stopped without a revert: out of gas, out of funds, a bad instruction."""


@dataclass(frozen=True, slots=True)
class Event:
    """One decoded log."""

    name: str
    args: dict[str, Any]


def load(name: str) -> dict[str, Any]:
    """The artifact {"abi", "bytecode", …} of one of the project's or the tests' contracts."""
    for folder in ARTIFACTS:
        if (path := folder / f"{name}.json").exists():
            return cast(dict[str, Any], json.loads(path.read_text()))
    raise FileNotFoundError(f"no artifact of {name}; run `make artifacts`")


@cache
def account_of(name: str) -> LocalAccount:
    """The key of someone called `name`."""
    return cast(LocalAccount, Account.from_key(keccak(text=name)))


@cache
def party(name: str) -> ChecksumAddress:
    """The address of someone called `name`."""
    return account_of(name).address


@cache
def checksummed(raw: bytes) -> ChecksumAddress:
    return to_checksum_address(raw)


class Chain:
    """Blocks come when `roll` says so; every call until then is in the same block. The base fee is 0: pyrevm has no other."""

    def __init__(self) -> None:
        self.evm = EVM()
        self.number = 1_000
        self.time = 1_700_000_000
        self._funded: set[str] = set()
        self.roll()

    def roll(self, seconds: int = 1, blocks: int = 1) -> None:
        """Begin a block that is so much later."""
        self.number += blocks
        self.time += seconds
        self.evm.set_block_env(BlockEnv(number=self.number, timestamp=self.time))

    def roll_to(self, time: int) -> None:
        """Begin a block at `time`, which may be the present one."""
        assert time >= self.time, f"{time} is {self.time - time} seconds ago"
        self.roll(time - self.time)

    def fund(self, address: str, wei: int = FORTUNE) -> None:
        self._funded.add(address)
        self.evm.set_balance(address, wei)

    def balance(self, address: str) -> int:
        return int(self.evm.get_balance(address))

    def deploy(
        self, bytecode: str, types: tuple[str, ...] = (), values: tuple[Any, ...] = (), value: int = 0
    ) -> ChecksumAddress:
        """Create a contract; its address. Raises the constructor's typed error, or Halted."""
        creator = party("deployer")
        self._fund_once(creator)
        code = bytes.fromhex(bytecode.removeprefix("0x")) + encode(types, values)
        try:
            return to_checksum_address(self.evm.deploy(creator, code, value=value))
        except RuntimeError as error:
            raise _typed(error) from None

    def call(
        self, sender: str, to: str, data: bytes, value: int = 0, *, gas: int | None = None, static: bool = False
    ) -> bytes:
        """Send a transaction (or, static, ask). Raises the typed error it reverts with, or Halted."""
        self._fund_once(sender)
        try:
            return bytes(self.evm.message_call(sender, to, calldata=data, value=value, gas=gas, is_static=static))
        except RuntimeError as error:
            raise _typed(error) from None

    def logs(self, address: str) -> list[tuple[list[bytes], bytes]]:
        """(topics, data) of the last call's logs by this contract."""
        result = self.evm.result
        return [log.data for log in result.logs if to_checksum_address(log.address) == address] if result else []

    def _fund_once(self, address: str) -> None:
        if address not in self._funded:
            self.fund(address)


class Contract:
    """What one address understands."""

    def __init__(self, chain: Chain, address: str, *names: str) -> None:
        self.chain = chain
        self.address = to_checksum_address(address)
        self.functions: dict[str, _Function] = {}
        self.events: dict[bytes, _Event] = {}
        for name in names:
            functions, events = _interface(name)
            self.functions |= functions
            self.events |= events

    def encode(self, name: str, *values: Any) -> bytes:
        """Calldata."""
        function = self.functions[name]
        return function.selector + encode(function.inputs, values)

    def send(self, sender: str, name: str, *values: Any, value: int = 0) -> list[Event]:
        """Call it in a transaction; the events of this contract's interface."""
        self.chain.call(sender, self.address, self.encode(name, *values), value)
        return self.decode_logs()

    def read(self, name: str, *values: Any) -> Any:
        """Ask a view: its value, or a tuple of its values."""
        answer = self.chain.call(party("reader"), self.address, self.encode(name, *values), static=True)
        decoded = decode(self.functions[name].outputs, answer)
        return decoded[0] if len(decoded) == 1 else decoded

    def decode_logs(self) -> list[Event]:
        """The last call's events of this contract."""
        return [self.events[topics[0]].decode(topics, data) for topics, data in self.chain.logs(self.address)]


@dataclass(frozen=True, slots=True)
class _Function:
    selector: bytes
    inputs: list[str]
    outputs: list[str]


class _Event:
    def __init__(self, entry: dict[str, Any]) -> None:
        self.name = entry["name"]
        self.indexed = [(each["name"], _type(each)) for each in entry["inputs"] if each["indexed"]]
        self.plain = [(each["name"], _type(each)) for each in entry["inputs"] if not each["indexed"]]
        self.is_flat = all(ONE_WORD.match(kind) for _, kind in self.plain)

    def decode(self, topics: list[bytes], data: bytes) -> Event:
        args = {name: _word(kind, topic) for (name, kind), topic in zip(self.indexed, topics[1:], strict=True)}
        if self.is_flat:
            for place, (name, kind) in enumerate(self.plain):
                args[name] = _word(kind, data[32 * place : 32 * place + 32])
        else:
            values = decode([kind for _, kind in self.plain], data)
            for (name, kind), value in zip(self.plain, values, strict=True):
                args[name] = to_checksum_address(value) if kind == "address" else value
        return Event(self.name, args)


def _word(kind: str, word: bytes) -> Any:
    if kind == "address":
        return checksummed(bytes(word[12:]))
    if kind.startswith("bytes"):
        return bytes(word[: int(kind[5:])])
    return int.from_bytes(word, "big") if kind != "bool" else word[31] == 1


@cache
def _interface(name: str) -> tuple[dict[str, _Function], dict[bytes, _Event]]:
    functions, events = {}, {}
    for entry in load(name)["abi"]:
        if entry["type"] == "function":
            inputs, outputs = ([_type(each) for each in entry[side]] for side in ("inputs", "outputs"))
            functions[entry["name"]] = _Function(keccak(text=abi_to_signature(entry))[:4], inputs, outputs)
        elif entry["type"] == "event":
            events[keccak(text=abi_to_signature(entry))] = _Event(entry)
    return functions, events


def _type(entry: dict[str, Any]) -> str:
    return str(collapse_if_tuple(cast(Any, entry)))


def _typed(error: RuntimeError) -> Exception:
    found = re.search(r"Revert \{.*output: 0x([0-9a-f]*)", str(error))
    return errors.decode(bytes.fromhex(found.group(1))) if found else Halted(str(error))
