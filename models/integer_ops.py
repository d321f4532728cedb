"""What each operator of an integer network means, to the last bit: the specification.

Everything else (ONNX Runtime, the contract) is an implementation of this file and is tested against it. int64
throughout: no sum of a canonical network comes near its limits, so nothing here can wrap, round or depend on an order.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.network import Pads, Shape

Number = TypeVar("Number", bound=np.generic)

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


def compute_conv(
    activations: NDArray[np.int64],
    weights: NDArray[np.int8],
    bias: NDArray[np.int32],
    strides: Shape,
    pads: Pads,
    groups: int,
) -> NDArray[np.int64]:
    """y[o, p] = b[o] + Σ over the channels c of o's group and the kernel's places q: w[o, c, q] · x[c, p·stride + q].

    activations: (n, channels, *size), padded with zeros; weights: (outputs, channels / groups, *kernel); bias: (outputs,).
    Result: (n, outputs, *places).
    """
    kernel = weights.shape[2:]
    padded = compute_padded(activations, pads, 0)
    per_group = weights.astype(np.int64).reshape(groups, -1, *weights.shape[1:])
    parts = []
    for place in np.ndindex(kernel):
        seen = find_window(padded, place, kernel, strides)
        seen = seen.reshape(len(seen), groups, -1, *seen.shape[2:])
        parts.append(np.einsum("goc,ngc...->ngo...", per_group[(..., *place)], seen))
    sums = np.add.reduce(parts)
    outputs = sums.reshape(len(sums), len(weights), *sums.shape[3:])
    return np.asarray(outputs + _along_channels(bias.astype(np.int64), outputs.ndim), np.int64)


def compute_add(
    one: NDArray[np.int64], other: NDArray[np.int64], weights: NDArray[np.int8], bias: NDArray[np.int32]
) -> NDArray[np.int64]:
    """y = w₀·one + w₁·other + b, channel by channel. one, other: (n, channels, …); weights: (channels, 2)."""
    first, second = (_along_channels(column.astype(np.int64), one.ndim) for column in weights.T)
    return one * first + other * second + _along_channels(bias.astype(np.int64), one.ndim)


def compute_max_pool(activations: NDArray[np.int64], kernel: Shape, strides: Shape, pads: Pads) -> NDArray[np.int64]:
    """The largest value of each window, (n, channels, *places). Padding with 0 cannot win: no activation is below it."""
    padded = compute_padded(activations, pads, 0)
    seen = [find_window(padded, place, kernel, strides) for place in np.ndindex(kernel)]
    return np.asarray(np.maximum.reduce(seen), np.int64)


def compute_average_pool(
    activations: NDArray[np.int64], kernel: Shape, strides: Shape, pads: Pads
) -> NDArray[np.int64]:
    """round_half_even(Σ window / its size), (n, channels, *places); the size is a power of two, pads are zeros in it."""
    padded = compute_padded(activations, pads, 0)
    sums = np.add.reduce([find_window(padded, place, kernel, strides) for place in np.ndindex(kernel)])
    shift = math.prod(kernel).bit_length() - 1
    return compute_requantised(sums, np.full(sums.shape[1], shift, np.uint8))


def compute_padded(activations: NDArray[np.int64], pads: Pads, value: int) -> NDArray[np.int64]:
    """The activations (n, channels, *size) with `value` before and behind each dimension of their size."""
    return np.pad(activations, ((0, 0), (0, 0), *pads), constant_values=value)


def compute_requantised(sums: NDArray[np.int64], shifts: NDArray[np.uint8]) -> NDArray[np.int64]:
    """clamp(round_half_even(sum / 2^shift), 0, 255): its lower end is the ReLU. sums: (n, m, …); shifts: (m,)."""
    shifts_of = _along_channels(shifts.astype(np.int64), sums.ndim)
    power = np.int64(1) << shifts_of
    quotient = sums >> shifts_of  # towards minus infinity, so the remainder is never negative
    twice = 2 * (sums - quotient * power)
    rounds_up = (twice > power) | ((twice == power) & (quotient % 2 == 1))
    return np.asarray(np.clip(quotient + rounds_up, 0, 255), np.int64)


def compute_channel_bounds(weights: NDArray[np.int8], bias: NDArray[np.int32]) -> NDArray[np.int64]:
    """The largest magnitude any partial sum of a channel can reach: Σ|w|·255 + |b|, shape (outputs,).

    weights: (outputs, …), whatever an output's weights are arranged in.
    """
    magnitudes = np.abs(weights.reshape(len(weights), -1).astype(np.int16)).sum(axis=1, dtype=np.int64)
    return np.asarray(magnitudes * 255 + np.abs(bias.astype(np.int64)), np.int64)


def compute_verdicts(logits: NDArray[np.int32]) -> NDArray[np.int64]:
    """The class of each row of logits (n, classes): the index of the largest, the lowest index among equals."""
    classes: NDArray[np.int64] = np.argmax(logits, axis=1)
    return classes


def find_window(padded: NDArray[Number], place: Shape, kernel: Shape, strides: Shape) -> NDArray[Number]:
    """What stands at one place of every window: (n, channels, *places)."""
    cuts = [
        slice(first, size - side + first + 1, stride)
        for first, size, side, stride in zip(place, padded.shape[2:], kernel, strides, strict=True)
    ]
    return padded[(slice(None), slice(None), *cuts)]


def _along_channels(values: NDArray[np.int64], rank: int) -> NDArray[np.int64]:
    """Values (channels,) so shaped that they meet the channels of (n, channels, …)."""
    return values.reshape(-1, *(1,) * (rank - 2))
