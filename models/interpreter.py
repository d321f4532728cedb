"""Runs an integer network by the specification, one operator at a time: slow, obvious, the reference for the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.integer_ops import compute_dense, compute_requantised
from models.network import IntegerNetwork


def run(network: IntegerNetwork, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The logits of each row.

    rows: uint8 (n, row_length); result: int32 (n, output_length). Raises ValueError for another type or shape.
    """
    check_rows(network, rows)
    activations = rows.astype(np.int64)
    for layer in network.layers:
        sums = compute_dense(activations, layer.weights, layer.bias)
        activations = sums if layer.shifts is None else compute_requantised(sums, layer.shifts)
    return activations.astype(np.int32)


def check_rows(network: IntegerNetwork, rows: NDArray[np.uint8]) -> None:
    """Raise ValueError unless rows are uint8 of shape (n, row_length)."""
    if rows.dtype != np.uint8:
        raise ValueError(f"rows must be uint8, not {rows.dtype}: scale the features to rows first")
    if rows.ndim != 2 or rows.shape[1] != network.row_length:
        raise ValueError(
            f"rows must have shape (n, {network.row_length}), not {rows.shape}: is this another model's data?"
        )
