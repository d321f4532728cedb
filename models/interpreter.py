"""Runs an integer network by the specification, one operator at a time: slow, obvious, the reference for the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models import integer_ops
from models.network import Add, AveragePool, Concat, Conv, Dense, IntegerNetwork, MaxPool, Operator, Pad, Reshape, Table


def run(network: IntegerNetwork, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The logits of each row.

    rows: uint8 (n, row_length); result: int32 (n, output_length). Raises ValueError for another type or shape.
    """
    check_rows(network, rows)
    last_reader = {value: index for index, read in enumerate(network.reads) for value in read}
    values: dict[int, NDArray[np.int64]] = {0: rows.astype(np.int64)}
    for index, (operator, read) in enumerate(zip(network.operators, network.reads, strict=True)):
        values[index + 1] = apply(operator, [values[value] for value in read])
        for value in {value for value in read if last_reader[value] == index}:
            del values[value]
    return values[len(network.operators)].astype(np.int32)


def apply(operator: Operator, values: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """What one operator gives for the values that it reads, each (n, *shape)."""
    value = values[0]
    match operator:
        case Dense():
            sums = integer_ops.compute_dense(value, operator.weights, operator.bias)
            return sums if operator.shifts is None else integer_ops.compute_requantised(sums, operator.shifts)
        case Conv():
            window = operator.strides, operator.pads, operator.groups
            sums = integer_ops.compute_conv(value, operator.weights, operator.bias, *window)
            return integer_ops.compute_requantised(sums, operator.shifts)
        case MaxPool():
            return integer_ops.compute_max_pool(value, operator.kernel, operator.strides, operator.pads)
        case AveragePool():
            return integer_ops.compute_average_pool(value, operator.kernel, operator.strides, operator.pads)
        case Table():
            return operator.entries.astype(np.int64)[value]
        case Add():
            sums = integer_ops.compute_add(value, values[1], operator.weights, operator.bias)
            return integer_ops.compute_requantised(sums, operator.shifts)
        case Concat():
            return np.concatenate(values, axis=1)
        case Pad():
            return integer_ops.compute_padded(value, operator.pads, operator.value)
        case Reshape():
            return value.reshape(len(value), *operator.shape)
    return value.transpose(0, *(dimension + 1 for dimension in operator.order))


def check_rows(network: IntegerNetwork, rows: NDArray[np.uint8]) -> None:
    """Raise ValueError unless rows are uint8 of shape (n, row_length)."""
    if rows.dtype != np.uint8:
        raise ValueError(f"rows must be uint8, not {rows.dtype}: scale the features to rows first")
    if rows.ndim != 2 or rows.shape[1] != network.row_length:
        raise ValueError(
            f"rows must have shape (n, {network.row_length}), not {rows.shape}: is this another model's data?"
        )
