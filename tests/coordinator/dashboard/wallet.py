"""A wallet in the browser (EIP-1193): the page sees `window.ethereum`, and a key outside the browser signs and sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from eth_account import Account as Keys
from eth_utils.address import to_checksum_address

from contracts.endpoint import Call
from contracts.transactor import Transactor
from tests.oracle_worker.stage import ETHER, Stage

_PROVIDER = """
window.ethereum = {
  request: async ({ method, params }) => {
    const answer = JSON.parse(await window.askWallet(method, JSON.stringify(params ?? [])));
    if (answer.error) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
    return answer.result;
  },
};
"""


class Declined(Exception):
    """The person at the wallet said no."""


class Wallet:
    """One account with some ether; `asked` is every method that a page called, in order."""

    def __init__(self, stage: Stage, *, chain_id: int | None = None) -> None:
        """chain_id: of the network that the wallet is on at first; the stage's unless given."""
        self._sender = Transactor(stage.url, Keys.create())
        self.address = self._sender.sender
        self.asked: list[str] = []
        self.declines = False
        self._chain_id = chain_id or stage.contracts.deployment.chain_id
        stage.owner.send(Call(self.address, b"", 10 * ETHER))

    def balance(self) -> int:
        """Wei."""
        return self._sender.balance()

    def put_into(self, page: Any) -> None:
        """Whatever the page loads from now on has this wallet."""
        page.expose_function("askWallet", self._answer)
        page.add_init_script(_PROVIDER)

    def _answer(self, method: str, params: str) -> str:
        self.asked.append(method)
        answers: dict[str, Callable[..., Any]] = {
            "eth_requestAccounts": lambda: [self.address.lower()],
            "eth_chainId": lambda: hex(self._chain_id),
            "wallet_switchEthereumChain": self._switch,
            "eth_sendTransaction": self._send,
        }
        try:
            return json.dumps({"result": answers[method](*json.loads(params))})
        except Declined:
            return json.dumps({"error": {"code": 4001, "message": "User rejected the request."}})

    def _switch(self, wanted: dict[str, str]) -> None:
        self._chain_id = int(wanted["chainId"], 16)

    def _send(self, asked: dict[str, str]) -> str:
        if self.declines:
            raise Declined
        assert asked["from"].lower() == self.address.lower()
        assert self._chain_id == self._sender.endpoint.chain_id
        data, value = bytes.fromhex(asked["data"].removeprefix("0x")), int(asked["value"], 16)
        receipt = self._sender.send(Call(to_checksum_address(asked["to"]), data, value))
        return "0x" + bytes(receipt["transactionHash"]).hex()
