"""Random networks at the edges of the canonical form, and rows that provoke every known hazard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.network import Dense, IntegerNetwork

WEIGHT_LIMIT = 63
SUM_LIMIT = 1 << 24  # Σ|w|·255 + |b| stays below it
STYLES = ("plain", "extreme", "bound", "tie", "saturated")
WIDTHS = (1, 2, 3, 7, 9, 10, 11, 13, 16, 20, 21, 31, 32, 33, 40, 64, 65)
LONG_ROWS = (240, 344, 345, 346, 512, 1044)  # 344/345: where Σ(w + 128)·x first passes 2^24


def random_networks(seed: int, count: int) -> list[IntegerNetwork]:
    """`count` networks, the same for the same seed: 1 to 5 layers, every style of weight, every kind of shape."""
    rng = np.random.default_rng(seed)
    return [_network(rng, STYLES[index % len(STYLES)], long_row=index % 8 == 7) for index in range(count)]


def hazard_rows(network: IntegerNetwork, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (count, row_length): extremes, single bytes, sign-aligned rows, exact rounding ties, and noise."""
    first = network.layers[0]
    length = network.row_length
    rows = [np.zeros(length, np.int64), np.full(length, 255), np.arange(length) % 2 * 255, np.arange(length) % 256]
    for channel in rng.permutation(first.outputs)[:8]:
        rows += [np.where(first.weights[channel] > 0, 255, 0), np.where(first.weights[channel] < 0, 255, 0)]
    while len(rows) < count:
        kind = len(rows) % 4
        row = rng.integers(0, 256, length)
        if kind == 0:
            row = np.where(rng.random(length) < 0.9, 0, row)
        elif kind == 1:
            row = rng.integers(0, 2, length) * 255
        elif kind == 2:
            row = tie_row(first, row, rng)
        rows.append(row)
    return np.array(rows[:count], np.uint8).reshape(count, length)


def tie_row(layer: Dense, row: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The row with one byte changed so that some channel's sum lies exactly half way, where one byte can do it."""
    if layer.shifts is None:
        return row
    for channel in rng.permutation(layer.outputs):
        shift = int(layer.shifts[channel])
        if shift == 0:
            continue
        weights = layer.weights[channel].astype(np.int64)
        modulus = 1 << shift
        missing = (modulus // 2 - int(weights @ row) - int(layer.bias[channel])) % modulus
        for column in np.flatnonzero(weights % 2)[:64]:
            step = missing * pow(int(weights[column]), -1, modulus) % modulus
            value = (int(row[column]) + step) % modulus
            if value <= 255:
                changed = row.copy()
                changed[column] = value
                return changed
    return row


def _network(rng: np.random.Generator, style: str, long_row: bool) -> IntegerNetwork:
    widths = [int(rng.choice(LONG_ROWS if long_row else WIDTHS))]
    widths += [int(width) for width in rng.choice(WIDTHS, rng.integers(1, 3 if long_row else 6))]
    last = len(widths) - 2
    return IntegerNetwork(
        tuple(_dense(rng, style, widths[i], widths[i + 1], is_last=i == last) for i in range(len(widths) - 1))
    )


def _dense(rng: np.random.Generator, style: str, inputs: int, outputs: int, is_last: bool) -> Dense:
    weights = _weights(rng, style, inputs, outputs)
    room = SUM_LIMIT - 1 - 255 * np.abs(weights).sum(axis=1)
    if style == "bound":
        bias = room * rng.choice([-1, 1], outputs)
    elif style == "saturated":
        bias = rng.integers(-(1 << 20), 1 << 20, outputs)
    else:
        reach = 255 * np.abs(weights).sum(axis=1) // 4 + 2
        bias = rng.integers(-reach, reach)
    bias = np.clip(bias, -room, room)
    shifts = None if is_last else _shifts(rng, style, weights)
    return Dense(weights.astype(np.int8), bias.astype(np.int32), shifts)


def _weights(rng: np.random.Generator, style: str, inputs: int, outputs: int) -> NDArray[np.int64]:
    if style in ("extreme", "bound"):
        return rng.choice([-WEIGHT_LIMIT, WEIGHT_LIMIT], (outputs, inputs))
    weights = rng.integers(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (outputs, inputs))
    if style == "tie":
        weights = np.where(rng.random((outputs, inputs)) < min(1.0, 4 / inputs), np.sign(weights), 0)
    return weights


def _shifts(rng: np.random.Generator, style: str, weights: NDArray[np.int64]) -> NDArray[np.uint8]:
    outputs = len(weights)
    if style == "tie":
        return rng.integers(0, 4, outputs, dtype=np.uint8)
    if style == "saturated":
        return rng.integers(0, 25, outputs, dtype=np.uint8)
    spread = 128 * np.sqrt((weights**2).sum(axis=1)) + 1
    typical = np.ceil(np.log2(spread / 128)) + rng.integers(-1, 2, outputs)
    return np.asarray(np.clip(typical, 0, 24), np.uint8)
