"""A development chain under test: raw JSON-RPC beside web3, dev accounts that sign, the probe contract."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.types import RPCEndpoint

from coordinator.devnet import dev_keys

PROBE = json.loads((Path(__file__).parents[1] / "solidity" / "artifacts" / "ChainProbe.json").read_text())
GWEI = 10**9
CHAIN_ID = 31_337


@dataclass
class Refusal(Exception):
    """A JSON-RPC error object."""

    code: int
    message: str
    data: Any = None


class Driver:
    """One chain, mined on demand."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self.web3 = Web3(HTTPProvider(url))
        self.accounts: list[LocalAccount] = [Account.from_key(key) for key in dev_keys(6)]

    def ask(self, method: str, *params: Any) -> Any:
        """The result. Raises Refusal."""
        answer = self.web3.provider.make_request(RPCEndpoint(method), list(params))
        if "error" in answer:
            error: Any = answer["error"]
            raise Refusal(error["code"], error["message"], error.get("data"))
        return answer["result"]

    def sign(self, account: int = 0, **fields: Any) -> str:
        """A signed transaction as hex: EIP-1559 with a tip of 1 gwei unless said otherwise."""
        transaction = {"chainId": CHAIN_ID, "gas": 100_000, "value": 0, **fields}
        if "gasPrice" not in fields:
            transaction = {"type": 2, "maxFeePerGas": 10 * GWEI, "maxPriorityFeePerGas": GWEI, **transaction}
        return self.accounts[account].sign_transaction(transaction).raw_transaction.to_0x_hex()

    def send(self, account: int = 0, **fields: Any) -> str:
        """Sign with the next free nonce unless one is given, and send; the hash."""
        if "nonce" not in fields:
            fields["nonce"] = self.nonce(account, "pending")
        return str(self.ask("eth_sendRawTransaction", self.sign(account, **fields)))

    def nonce(self, account: int = 0, block: str = "latest") -> int:
        return int(self.ask("eth_getTransactionCount", self.accounts[account].address, block), 16)

    def mine(self) -> dict[str, Any]:
        """One block now; the block."""
        self.ask("evm_mine")
        return self.block()

    def block(self, number: int | str = "latest", full: bool = False) -> dict[str, Any]:
        return dict(self.ask("eth_getBlockByNumber", hex(number) if isinstance(number, int) else number, full))

    def height(self) -> int:
        return int(self.ask("eth_blockNumber"), 16)

    def receipt(self, transaction: str) -> dict[str, Any] | None:
        found = self.ask("eth_getTransactionReceipt", transaction)
        return found and dict(found)

    def deploy(self) -> Contract:
        """The probe, deployed in a block of its own."""
        sent = self.send(data=PROBE["bytecode"], gas=3_000_000)
        self.mine()
        receipt = self.receipt(sent)
        assert receipt is not None and receipt["status"] == "0x1"
        return self.web3.eth.contract(Web3.to_checksum_address(receipt["contractAddress"]), abi=PROBE["abi"])

    def call(self, probe: Contract, name: str, *arguments: Any, block: Any = "latest", **fields: Any) -> bytes:
        """The raw answer of eth_call. Raises Refusal."""
        request = {"to": probe.address, "data": probe.encode_abi(name, arguments), **fields}
        return bytes.fromhex(self.ask("eth_call", request, block)[2:])
