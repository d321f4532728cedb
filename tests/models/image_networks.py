"""Convolutional networks as large as a test needs them."""

from __future__ import annotations

import numpy as np

from models.network import AveragePool, Conv, Dense, IntegerNetwork, MaxPool, Reshape, Table


def image_network(shape: tuple[int, int, int], kernel: int, outputs: int) -> IntegerNetwork:
    """A convolution, the largest of 2×2, a table, the mean of what is left, three logits."""
    rng = np.random.default_rng(57)
    weights = rng.integers(-40, 41, (outputs, shape[0], kernel, kernel)).astype(np.int8)
    bias, shifts = np.zeros(outputs, np.int32), np.full(outputs, 10, np.uint8)
    pad = (kernel // 2, kernel // 2)
    size = shape[1] // 2
    last = Dense(rng.integers(-63, 64, (3, outputs)).astype(np.int8), np.zeros(3, np.int32), None)
    return IntegerNetwork(
        (
            Reshape(shape),
            Conv(weights, bias, shifts, (1, 1), (pad, pad), 1),
            MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))),
            Table(np.arange(256).astype(np.uint8)[::-1]),
            AveragePool((size, size), (1, 1), ((0, 0), (0, 0))),
            Reshape((outputs,)),
            last,
        )
    )
