"""A channel's weights as a program has them (docs/program.md): digits of seven bits, thirty-four to a block.

A weight w is the digit w + 64. A block is the number Σ digit[i]·128^i of its inputs, big endian, in as few bytes as its
digits take; the last inputs' block comes first. So each block ends a byte string that begins with the channel's record.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 34  # inputs
DIGIT_BITS = 7
ZERO_DIGIT = 64  # a weight w is stored as the digit w + 64
LANES_BYTES = 96  # three words: what the chain makes of a block of activations


def weights_length(inputs: int) -> int:
    """Bytes that the weights of one channel take."""
    blocks, rest = divmod(inputs, BLOCK)
    return blocks * _block_length(BLOCK) + _block_length(rest)


def lanes_length(inputs: int) -> int:
    """Bytes of memory for the activations that a channel multiplies, as the chain lays them out, and their sum."""
    return LANES_BYTES * -(-inputs // BLOCK) + 32


def pack_weights(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """(channels, inputs) → (channels, weights_length(inputs)). Weights are within ±63."""
    digits = (weights.astype(np.int16) + ZERO_DIGIT).astype(np.uint8)
    starts = range(0, weights.shape[1], BLOCK)
    blocks = [_pack_block(digits[:, start : start + BLOCK]) for start in reversed(starts)]
    return np.concatenate(blocks, axis=1)


def unpack_weights(packed: NDArray[np.uint8], inputs: int) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """The inverse: weights of −64 … 63, (channels, inputs), and for each channel whether its spare bits are all zero.

    pack_weights gives `packed` again where they are and no weight is −64.
    """
    parts: list[NDArray[np.uint8]] = []
    is_clean = np.ones(len(packed), np.bool_)
    end = packed.shape[1]
    for start in range(0, inputs, BLOCK):
        count = min(BLOCK, inputs - start)
        block = packed[:, end - _block_length(count) : end]
        end -= block.shape[1]
        digits, spare = _unpack_block(block, count)
        parts.append(digits)
        is_clean &= ~spare
    return (np.concatenate(parts, axis=1).astype(np.int16) - ZERO_DIGIT).astype(np.int8), is_clean


def _block_length(count: int) -> int:
    return -(-count * DIGIT_BITS // 8)


def _pack_block(digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    channels, count = digits.shape
    bits = np.unpackbits(digits[:, ::-1, None], axis=2)[:, :, 1:].reshape(channels, -1)
    spare = 8 * _block_length(count) - bits.shape[1]
    return np.packbits(np.pad(bits, ((0, 0), (spare, 0))), axis=1)


def _unpack_block(block: NDArray[np.uint8], count: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(channels, count) digits, first input first, and whether any spare bit is set."""
    bits = np.unpackbits(block, axis=1)
    spare = bits.shape[1] - DIGIT_BITS * count
    each = bits[:, spare:].reshape(len(block), count, DIGIT_BITS)
    digits = np.packbits(np.pad(each, ((0, 0), (0, 0), (1, 0))), axis=2)[:, ::-1, 0]
    return digits, np.any(bits[:, :spare] != 0, axis=1)
