"""The leaves of many rows or results at once: what contracts.merkle says of one, without a Python call around each hash."""

from __future__ import annotations

from hashlib import sha256
from struct import iter_unpack

import numpy as np

ROWS_AT_ONCE = 1 << 14
"""Hashed before they are joined: keeps their digests out of memory as separate objects."""


def input_leaves(content: bytes, row_length: int) -> bytearray:
    """Leaf after leaf (32 bytes each) of the rows in `content`, whose size is a multiple of row_length bytes."""
    leaves = bytearray()
    step = ROWS_AT_ONCE * row_length
    for start in range(0, len(content), step):
        rows = iter_unpack(f"{row_length}s", content[start : start + step])
        leaves += b"".join([sha256(row).digest() for (row,) in rows])
    return leaves


def result_leaves(first: int, outputs: bytes, length: int) -> bytearray:
    """Leaf after leaf (32 bytes each) of outputs of `length` bytes each, the first of which is that of item `first`."""
    count = len(outputs) // length
    numbered = np.empty((count, 8 + length), np.uint8)
    numbered[:, :8] = np.arange(first, first + count, dtype=np.uint64).astype(">u8").view(np.uint8).reshape(count, 8)
    numbered[:, 8:] = np.frombuffer(outputs, np.uint8).reshape(count, length)
    return input_leaves(numbered.tobytes(), 8 + length)
