"""The EVM in this process, asked in bytes and answering in bytes: nothing is decoded unless something is wrong."""

from __future__ import annotations

import re

from tests.contracts.chain import NOBODY, Chain, Halted

REVERT = re.compile(r"Revert \{.*output: 0x([0-9a-f]*)")


class FastChain(Chain):
    """What Chain is, for a million calls."""

    def attempt(self, sender: str, to: str, data: bytes, value: int = 0, gas: int | None = None) -> tuple[bool, bytes]:
        """Send a transaction: (whether it happened, what it returned or reverted with). Raises Halted."""
        self._fund_once(sender)
        try:
            return True, bytes(self.evm.message_call(sender, to, calldata=data, value=value, gas=gas))
        except RuntimeError as error:
            found = REVERT.search(str(error))
            if not found:
                raise Halted(str(error)) from None
            return False, bytes.fromhex(found.group(1))

    def ask(self, to: str, data: bytes) -> bytes:
        """What a view answers. Raises Halted where it does not."""
        try:
            return bytes(self.evm.message_call(NOBODY, to, calldata=data, is_static=True))
        except RuntimeError as error:
            raise Halted(str(error)) from None

    def logs_of(self, address: str) -> list[tuple[tuple[bytes, ...], bytes]]:
        """(topics, data) of the last call's logs of one address."""
        result = self.evm.result
        each = [log.data for log in result.logs if log.address == address] if result else []
        return [(tuple(topics), data) for topics, data in each]
