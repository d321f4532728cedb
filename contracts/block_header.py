"""A block's header as its hash commits to it: what `draw` wants as proof of a seed block's prevrandao, and what makes a node's
word on a block's time and parent worth as much as its hash."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import rlp
from eth_hash.auto import keccak
from hexbytes import HexBytes

from contracts.endpoint import ChainError, Endpoint

# In the order of the header; those after baseFeePerGas came with later forks and are absent before them.
_BYTES = ["parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"]
_NUMBERS = ["difficulty", "number", "gasLimit", "gasUsed", "timestamp"]
_REST = ["extraData", "mixHash", "nonce"]
_LATER = [
    ("baseFeePerGas", True),
    ("withdrawalsRoot", False),
    ("blobGasUsed", True),
    ("excessBlobGas", True),
    ("parentBeaconBlockRoot", False),
    ("requestsHash", False),
    ("blockAccessListHash", False),
    ("slotNumber", True),
]
_BESIDE = {"hash", "size", "totalDifficulty", "transactions", "uncles", "withdrawals"}
"""What nodes say of a block that is not in its header."""
_KNOWN = {*_BYTES, *_NUMBERS, *_REST, *(name for name, _ in _LATER), *_BESIDE}


class HeaderMismatch(ChainError):
    """The fields that the node gave do not hash to the block's hash: it lies, or knows a fork that we do not."""

    def __init__(self, number: int) -> None:
        super().__init__(f"block {number}: the header's fields do not hash to its hash; ask another node")
        self.number = number


def encode(block: Mapping[str, Any]) -> bytes:
    """The RLP-encoded header of a block as eth_getBlockByNumber gives it (hex strings). Raises HeaderMismatch."""
    fields = [_bytes(block[name]) for name in _BYTES]
    fields += [_number(block[name]) for name in _NUMBERS]
    fields += [_bytes(block[name]) for name in _REST]
    for name, is_number in _LATER:
        if block.get(name) is not None:
            fields.append(_number(block[name]) if is_number else _bytes(block[name]))
    header = bytes(rlp.encode(fields))
    if keccak(header) != _bytes(block["hash"]):
        raise HeaderMismatch(int(block["number"], 16))
    return header


def check(block: Mapping[str, Any]) -> None:
    """Raises HeaderMismatch where a block's fields, as eth_getBlockByNumber gives them, do not hash to its hash.

    Blocks with fields that are not known here, as a later fork or another kind of chain has them, cannot be checked, and pass.
    """
    try:
        encode(block)
    except HeaderMismatch:
        if block.keys() <= _KNOWN:
            raise


def fetch(endpoint: Endpoint, number: int) -> bytes:
    """The RLP-encoded header of a past block. Raises HeaderMismatch, ChainError."""
    return fetch_each(endpoint, [number])[number]


def fetch_each(endpoint: Endpoint, numbers: Collection[int]) -> dict[int, bytes]:
    """The RLP-encoded headers of past blocks. Raises HeaderMismatch, ChainError."""
    blocks = endpoint.ask_each("eth_getBlockByNumber", [(hex(number), False) for number in numbers])
    for number, block in zip(numbers, blocks, strict=True):
        if block is None:
            raise ChainError(f"the node does not have block {number}: wait until it is mined, or ask another node")
    return {number: encode(block) for number, block in zip(numbers, blocks, strict=True)}


def _bytes(value: str) -> bytes:
    return bytes(HexBytes(value))


def _number(value: str) -> bytes:
    number = int(value, 16)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
