"""What each operator of an integer network means, to the last bit: the specification.

Everything else (ONNX Runtime, the contract) is an implementation of this file and is tested against it. int64
throughout: no sum of a canonical network comes near its limits, so nothing here can wrap, round or depend on an order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WEIGHT_LIMIT = 63
"""|w| ≤ 63: the sum of two products of a byte and a weight then fits 16 bits (32,130 < 2^15)."""

SUM_LIMIT = 1 << 24
"""Σ|w|·255 + |b| < 2^24 per channel: every partial sum is then an exact float32, so any order of adding gives it."""

SHIFT_LIMIT = 24
"""Requantisation divides by 2^k, 0 ≤ k ≤ 24."""


def compute_dense(
    activations: NDArray[np.int64], weights: NDArray[np.int8], bias: NDArray[np.int32]
) -> NDArray[np.int64]:
    """y = x·Wᵀ + b. activations: (n, inputs); weights: (outputs, inputs); bias: (outputs,). Result: (n, outputs)."""
    return activations @ weights.astype(np.int64).T + bias.astype(np.int64)


def compute_requantised(sums: NDArray[np.int64], shifts: NDArray[np.uint8]) -> NDArray[np.int64]:
    """clamp(round_half_even(sum / 2^shift), 0, 255): its lower end is the ReLU. sums: (n, m); shifts: (m,)."""
    power = np.int64(1) << shifts.astype(np.int64)
    quotient = sums >> shifts.astype(np.int64)  # towards minus infinity, so the remainder is never negative
    twice = 2 * (sums - quotient * power)
    rounds_up = (twice > power) | ((twice == power) & (quotient % 2 == 1))
    return np.asarray(np.clip(quotient + rounds_up, 0, 255), np.int64)


def compute_channel_bounds(weights: NDArray[np.int8], bias: NDArray[np.int32]) -> NDArray[np.int64]:
    """The largest magnitude any partial sum of a channel can reach: Σ|w|·255 + |b|, shape (outputs,)."""
    magnitudes = np.abs(weights.astype(np.int64)).sum(axis=1)
    return np.asarray(magnitudes * 255 + np.abs(bias.astype(np.int64)), np.int64)


def compute_verdicts(logits: NDArray[np.int32]) -> NDArray[np.int64]:
    """The class of each row of logits (n, classes): the index of the largest, the lowest index among equals."""
    classes: NDArray[np.int64] = np.argmax(logits, axis=1)
    return classes
