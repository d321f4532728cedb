"""A Prague block header and its hash, and the base fee that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import rlp
from eth.constants import BLANK_ROOT_HASH, EMPTY_SHA256, EMPTY_UNCLE_HASH
from eth_utils.crypto import keccak

COINBASE = keccak(b"quorate devnet coinbase")[12:]
NO_HASH = bytes(32)
ELASTICITY = 2
BASE_FEE_CHANGE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The 21 fields in the order in which they are hashed. Gas in units, fees in wei for a unit, time in unix seconds."""

    parent_hash: bytes = NO_HASH
    uncles_hash: bytes = EMPTY_UNCLE_HASH
    coinbase: bytes = COINBASE
    state_root: bytes
    transactions_root: bytes = BLANK_ROOT_HASH
    receipts_root: bytes = BLANK_ROOT_HASH
    logs_bloom: bytes = bytes(256)
    difficulty: int = 0
    number: int
    gas_limit: int
    gas_used: int = 0
    timestamp: int
    extra_data: bytes = b""
    prevrandao: bytes = NO_HASH
    nonce: bytes = bytes(8)
    base_fee: int
    withdrawals_root: bytes = BLANK_ROOT_HASH
    blob_gas_used: int = 0
    excess_blob_gas: int = 0
    parent_beacon_block_root: bytes = NO_HASH
    requests_hash: bytes = EMPTY_SHA256

    def encode(self) -> bytes:
        """The header's RLP; keccak256 of it is the block's hash."""
        return bytes(rlp.encode([_item(getattr(self, name)) for name in self.__slots__], infer_serializer=False))

    def next_base_fee(self) -> int:
        """The base fee of the block after this one, by EIP-1559."""
        target = self.gas_limit // ELASTICITY
        change = self.base_fee * abs(self.gas_used - target) // target // BASE_FEE_CHANGE
        if self.gas_used > target:
            return self.base_fee + max(change, 1)
        return self.base_fee - change


def _item(value: int | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.to_bytes((value.bit_length() + 7) // 8, "big")
