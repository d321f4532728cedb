"""Sends for whoever the stage itself plays, requester and liar: without a key, without waiting, and again if need be."""

from __future__ import annotations

import time
from typing import Any

from eth_typing import ChecksumAddress

from contracts.endpoint import Call, ChainError, Endpoint
from contracts.errors import Reverted

AGAIN_SECONDS = 5.0
"""After this long, what is still due is sent once more: a reorganisation or a full block may have taken it."""
DEAREST = 100_000 * 10**9
"""Wei for a unit of gas: the stage's own transactions land whatever blocks cost."""


class Hand:
    """One address that anvil sends for. Each of its transactions has a name, and is sent only once in AGAIN_SECONDS."""

    def __init__(self, endpoint: Endpoint, address: ChecksumAddress) -> None:
        self.address = address
        self._endpoint = endpoint
        self._sent: dict[object, float] = {}
        endpoint.ask("anvil_impersonateAccount", address)

    def send(self, name: object, call: Call) -> None:
        """Send it unless that was done a moment ago; what the chain would refuse now is left."""
        if time.monotonic() < self._sent.get(name, 0.0) + AGAIN_SECONDS:
            return
        self._sent[name] = time.monotonic()
        given: dict[str, Any] = {
            "from": self.address,
            "to": call.to,
            "data": "0x" + call.data.hex(),
            "value": hex(call.value),
            "maxFeePerGas": hex(DEAREST),
            "maxPriorityFeePerGas": hex(10**9),
        }
        try:
            self._endpoint.ask("eth_sendTransaction", {**given, "gas": hex(self._gas(call))})
        except (ChainError, Reverted):
            return  # it is not, or no longer, due

    def _gas(self, call: Call) -> int:
        return self._endpoint.estimate_gas(call, self.address) * 3 // 2 + 100_000

    def forget(self) -> None:
        """Another job begins."""
        self._sent.clear()
