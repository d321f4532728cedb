"""ModelRegistry as the tests of models use it: in pyrevm for its meaning, on the dev chain for receipts and their gas."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_abi import decode, encode
from eth_account import Account
from eth_utils import keccak, to_checksum_address
from numpy.typing import NDArray
from pyrevm import EVM

from coordinator.devnet import DevChain, dev_keys
from models.network import Dense, IntegerNetwork

PROJECT = Path(__file__).parents[2]
CALLER = "0x" + "11" * 20
CHUNK = 24_575
EXECUTION_GAS_LIMIT = 10_000_000
PLENTY = 1 << 40


def load_artifact(name: str) -> dict[str, Any]:
    for folder in ("contracts/artifacts", "tests/solidity/artifacts"):
        path = PROJECT / folder / f"{name}.json"
        if path.exists():
            loaded: dict[str, Any] = json.loads(path.read_text())
            return loaded
    raise FileNotFoundError(name)


class Reverted(Exception):
    """A call failed; `error` is the custom error's name and `arguments` its arguments, both None if it had none."""

    def __init__(self, error: str | None, arguments: tuple[Any, ...] | None, message: str) -> None:
        super().__init__(message if error is None else f"{error}{arguments}")
        self.error, self.arguments = error, arguments


class Deployed:
    """A contract and its ABI: `contract.call("name", …)`."""

    def __init__(self, name: str, *arguments: Any, evm: EVM | None = None) -> None:
        artifact = load_artifact(name)
        self.evm = evm or EVM(spec_id="CANCUN", gas_limit=PLENTY)
        self.evm.set_balance(CALLER, 10**24)
        self.functions = {each["name"]: each for each in artifact["abi"] if each["type"] == "function"}
        self.errors = {keccak(text=_signature(each))[:4]: each for each in artifact["abi"] if each["type"] == "error"}
        constructor: dict[str, Any] = next(
            (each for each in artifact["abi"] if each["type"] == "constructor"), {"inputs": []}
        )
        code = bytes.fromhex(artifact["bytecode"][2:]) + encode(_types(constructor["inputs"]), arguments)
        try:
            self.address = self.evm.deploy(CALLER, code, gas=PLENTY)
        except RuntimeError as failure:
            raise self._explain(failure) from None

    def calldata(self, name: str, *arguments: Any) -> bytes:
        function = self.functions[name]
        return keccak(text=_signature(function))[:4] + encode(_types(function["inputs"]), arguments)

    def call(self, name: str, *arguments: Any, gas: int = PLENTY) -> Any:
        """The function's return value, or their tuple. Raises Reverted."""
        try:
            answer = self.evm.message_call(CALLER, self.address, calldata=self.calldata(name, *arguments), gas=gas)
        except RuntimeError as failure:
            raise self._explain(failure) from None
        values = decode(_types(self.functions[name]["outputs"]), bytes(answer))
        return values[0] if len(values) == 1 else values

    def gas_of(self, name: str, *arguments: Any) -> int:
        """Gas of a call less what its transaction pays for the call itself and its arguments."""
        self.call(name, *arguments)
        return self.gas_used - intrinsic_gas(self.calldata(name, *arguments))

    @property
    def gas_used(self) -> int:
        """Gas of the last call, its transaction's own included. What an earlier call touched stays warm here."""
        assert self.evm.result
        return int(self.evm.result.gas_used)

    def logs(self) -> list[tuple[list[bytes], bytes]]:
        """(topics, data) of the last call's events."""
        assert self.evm.result
        made = [(log.topics, log.data[1]) for log in self.evm.result.logs]
        return [([bytes.fromhex(topic[2:]) for topic in topics], bytes(data)) for topics, data in made]

    def _explain(self, failure: RuntimeError) -> Reverted:
        found = re.search(r"output: 0x([0-9a-f]*)", str(failure))
        data = bytes.fromhex(found.group(1)) if found else b""
        error = self.errors.get(data[:4])
        if error is None:
            return Reverted(None, None, str(failure))
        return Reverted(error["name"], decode(_types(error["inputs"]), data[4:]), str(failure))


class Registry(Deployed):
    """A ModelRegistry and the way a client uses it."""

    def __init__(self, limit: int = EXECUTION_GAS_LIMIT) -> None:
        super().__init__("ModelRegistry", limit)

    def register(self, program: bytes) -> bytes:
        """The model's id. All chunks but the last are stored first, as many transactions as it takes."""
        pieces = [program[start : start + CHUNK] for start in range(0, len(program), CHUNK)]
        stored = [self.call("storeChunk", piece) for piece in pieces[:-1]]
        made: bytes = self.call("register", stored, pieces[-1])
        return made

    def execute(self, model: bytes, row: NDArray[np.uint8]) -> bytes:
        made: bytes = self.call("execute", model, row.tobytes())
        return made


class Stepwise:
    """One row's execution in steps, by whoever calls: what each transaction publishes."""

    def __init__(self, registry: Registry, model: bytes, row: bytes) -> None:
        self.registry, self.model, self.row = registry, model, row
        self.row_hash = hashlib.sha256(row).digest()

    def begin(self) -> bytes:
        """The first state, from the event."""
        assert self.registry.call("begin", self.model, self.row) == self.row_hash
        state = self.published("StateReached")
        assert state is not None
        return state

    def advance(self, state: bytes, channels: int, gas: int = PLENTY) -> bytes | None:
        """The state after the step, from the event; None if the step finished the execution."""
        self.registry.call("advance", self.model, self.row_hash, state, channels, gas=gas)
        return self.published("StateReached")

    def progress(self) -> tuple[bool, bool, int, bytes]:
        """(begun, finished, executed, hash of the furthest state)"""
        begun, finished, executed, state_hash = self.registry.call("progressOf", self.model, self.row_hash)
        return begun, finished, executed, state_hash

    def output(self) -> bytes:
        """What a contract reads. Raises Reverted."""
        return bytes(self.registry.call("outputOf", self.model, self.row_hash))

    def published(self, event: str) -> bytes | None:
        """The bytes in the one such event that the last call left, if it left one."""
        topic = keccak(text=f"{event}(bytes32,bytes32,bytes)")
        found = [data for topics, data in self.registry.logs() if topics == [topic, self.model, self.row_hash]]
        assert len(found) <= 1
        return bytes(decode(["bytes"], found[0])[0]) if found else None


def reverts(contract: Deployed, error: str, name: str, *arguments: Any, gas: int = PLENTY) -> tuple[Any, ...]:
    """The arguments of the custom error with which a call reverts, which must be this one."""
    with pytest.raises(Reverted) as caught:
        contract.call(name, *arguments, gas=gas)
    assert caught.value.error == error, str(caught.value)
    assert caught.value.arguments is not None
    return caught.value.arguments


class ReceiptChain:
    """A dev chain with a ModelRegistry that mines each transaction at once."""

    def __init__(self, execution_gas_limit: int = EXECUTION_GAS_LIMIT) -> None:
        self.chain = DevChain(block_time=None)
        self.account = Account.from_key(dev_keys(1)[0])
        self.abi = Deployed("ModelRegistry", execution_gas_limit)
        self.registry = self.deploy("ModelRegistry", execution_gas_limit.to_bytes(32, "big"))

    def register(self, program: bytes) -> bytes:
        """The model's id. Each chunk is stored first."""
        pieces = [program[start : start + CHUNK] for start in range(0, len(program), CHUNK)]
        for piece in pieces:
            self.send(self.registry, self.abi.calldata("storeChunk", piece))
        ids = [keccak(creation_code(b"\x00" + piece)) for piece in pieces[:-1]]
        self.send(self.registry, self.abi.calldata("register", ids, pieces[-1]))
        return hashlib.sha256(program).digest()

    def deploy(self, name: str, arguments: bytes = b"") -> str:
        code = bytes.fromhex(load_artifact(name)["bytecode"][2:])
        return str(self.send(None, code + arguments)["contractAddress"])

    def send(self, to: str | None, data: bytes) -> dict[str, Any]:
        """The receipt of a transaction that succeeds."""
        nonce = int(self.chain.rpc("eth_getTransactionCount", [self.account.address, "latest"]), 16)
        fields = {"nonce": nonce, "gas": 16_000_000, "gasPrice": 10**11, "value": 0, "data": data, "chainId": 31_337}
        signed = self.account.sign_transaction(fields | ({"to": to_checksum_address(to)} if to else {}))
        sent = self.chain.rpc("eth_sendRawTransaction", [signed.raw_transaction.to_0x_hex()])
        self.chain.rpc("evm_mine", [])
        receipt: dict[str, Any] = self.chain.rpc("eth_getTransactionReceipt", [sent])
        assert int(receipt["status"], 16) == 1
        return receipt

    def gas_of(self, to: str, data: bytes) -> int:
        """Gas that a transaction used, everything included."""
        return int(self.send(to, data)["gasUsed"], 16)

    def read(self, to: str, data: bytes) -> bytes:
        answer: str = self.chain.rpc("eth_call", [{"to": to, "data": "0x" + data.hex()}, "latest"])
        return bytes.fromhex(answer[2:])

    def code_at(self, address: str) -> bytes:
        code: str = self.chain.rpc("eth_getCode", [address, "latest"])
        return bytes.fromhex(code[2:])


def intrinsic_gas(data: bytes) -> int:
    """What a transaction with this calldata pays before anything runs."""
    return 21_000 + sum(16 if byte else 4 for byte in data)


def creation_code(code: bytes) -> bytes:
    """What a contract of this code is created with."""
    return b"\x61" + len(code).to_bytes(2, "big") + bytes.fromhex("80600a3d393df3") + code


def constant_network(widths: list[int], weight: int = 1, bias: int = 0, shift: int = 8) -> IntegerNetwork:
    """A network of these widths (row first) with one weight, bias and shift throughout."""
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        is_last = index == len(widths) - 2
        layers.append(
            Dense(
                np.full((outputs, inputs), weight, np.int8),
                np.full(outputs, bias, np.int32),
                None if is_last else np.full(outputs, shift, np.uint8),
            )
        )
    return IntegerNetwork(tuple(layers))


def _types(parameters: list[dict[str, Any]]) -> list[str]:
    return [_type(each) for each in parameters]


def _type(parameter: dict[str, Any]) -> str:
    if not parameter["type"].startswith("tuple"):
        return str(parameter["type"])
    return f"({','.join(_types(parameter['components']))}){parameter['type'][5:]}"


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(_types(entry['inputs']))})"
