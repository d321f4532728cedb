"""A float model as plain data: the operators that an exported ONNX graph comes down to, and what they compute.

Shapes are one row's, channels first, as in models.network; so are the operators that only move values, and MaxPool. All
arithmetic is NumPy float64.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.form import MOST_HELD
from models.integer_ops import find_window
from models.network import AveragePool, Concat, MaxPool, Misfit, Pads, Reshape, Shape, Transpose, slide

Floats: TypeAlias = NDArray[np.float64]
Clip: TypeAlias = tuple[float, float]
"""The least and the largest value that is let through."""


@dataclass(frozen=True, eq=False)
class FloatDense:
    """y = W·x + b, then clipped where a clip is given. weights: (outputs, inputs); bias: (outputs,)."""

    weights: Floats
    bias: Floats
    clip: Clip | None = None

    def shape_after(self, read: Shape) -> Shape:
        outputs, inputs = self.weights.shape
        if read != (inputs,):
            raise Misfit(f"reads {inputs} values where {read} arrive")
        return (outputs,)


@dataclass(frozen=True, eq=False)
class FloatConv:
    """A correlation, padded with zeros, then clipped. weights: (outputs, channels / groups, *kernel); bias: (outputs,)."""

    weights: Floats
    bias: Floats
    strides: Shape
    pads: Pads
    groups: int
    clip: Clip | None = None

    def shape_after(self, read: Shape) -> Shape:
        outputs, inputs, *kernel = self.weights.shape
        if read[0] != inputs * self.groups or outputs % self.groups:
            raise Misfit(f"reads {inputs * self.groups} channels in {self.groups} groups where {read} arrive")
        return outputs, *slide(read, tuple(kernel), self.strides, self.pads)


@dataclass(frozen=True)
class FloatAdd:
    """The sum of two values of one shape, then clipped."""

    clip: Clip | None = None

    def shape_after(self, read: Shape, other: Shape) -> Shape:
        if read != other:
            raise Misfit(f"adds values of shapes {read} and {other}: only equal shapes are added")
        return read


@dataclass(frozen=True, eq=False)
class Affine:
    """y = factor · x + offset, each of the value's shape."""

    factor: Floats
    offset: Floats

    def shape_after(self, read: Shape) -> Shape:
        return read


@dataclass(frozen=True, eq=False)
class Function:
    """Any function of one number, value by value. clip: where it is max(low, min(high, x)) and nothing else."""

    name: str
    call: Callable[[Floats], Floats]
    clip: Clip | None = None

    def shape_after(self, read: Shape) -> Shape:
        return read


@dataclass(frozen=True)
class FloatPad:
    """A constant around a value, along every dimension but the channels'."""

    pads: Pads
    value: float

    def shape_after(self, read: Shape) -> Shape:
        if len(self.pads) != len(read) - 1:
            raise Misfit(f"pads {len(self.pads)} dimensions of a value of shape {read}")
        return read[0], *(size + sum(pad) for size, pad in zip(read[1:], self.pads, strict=True))


FloatOperator: TypeAlias = (
    FloatDense
    | FloatConv
    | FloatAdd
    | Affine
    | Function
    | FloatPad
    | MaxPool
    | AveragePool
    | Concat
    | Reshape
    | Transpose
)


@dataclass(frozen=True)
class FloatNode:
    """An operator, the values that it reads (0: the row; i + 1: what node i gives) and what errors call it."""

    operator: FloatOperator
    reads: tuple[int, ...]
    name: str


@dataclass(frozen=True)
class FloatNetwork:
    """Nodes in order; the last one's value is the logits. A row is `row_shape`, flattened."""

    nodes: tuple[FloatNode, ...]
    row_shape: Shape

    @property
    def row_length(self) -> int:
        return math.prod(self.row_shape)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of each value, the row's first. Raises Misfit."""
        shapes = [self.row_shape]
        for node in self.nodes:
            shapes.append(shape_of(node.operator, [shapes[value] for value in node.reads]))
        return tuple(shapes)

    def last_readers(self) -> dict[int, int]:
        """For each value that is read, the last node that reads it."""
        return {value: index for index, node in enumerate(self.nodes) for value in node.reads}


def shape_of(operator: FloatOperator, read: list[Shape]) -> Shape:
    """The shape that an operator gives. Raises Misfit."""
    if isinstance(operator, FloatAdd | Concat):
        return operator.shape_after(*read)
    return operator.shape_after(read[0])


def run_float(network: FloatNetwork, values: NDArray[np.generic]) -> Floats:
    """The float model's logits (n, outputs) for values (n, row_length)."""
    rows_at_once = max(1, MOST_HELD // sum(map(math.prod, network.shapes)))
    parts = [
        deque(evaluate(network, values[start : start + rows_at_once].astype(np.float64)), maxlen=1)[0]
        for start in range(0, len(values), rows_at_once)
    ]
    return np.concatenate(parts) if parts else np.empty((0, *network.shapes[-1]))


def evaluate(network: FloatNetwork, rows: Floats) -> Iterator[Floats]:
    """What each node gives for rows (n, row_length): (n, *shape) each."""
    last = network.last_readers()
    values = {0: rows.reshape(len(rows), *network.row_shape)}
    for index, node in enumerate(network.nodes):
        given = apply_clip(node.operator, compute(node.operator, [values[value] for value in node.reads]))
        values[index + 1] = given
        for value in {value for value in node.reads if last[value] == index}:
            del values[value]
        yield given


def apply_clip(operator: FloatOperator, value: Floats) -> Floats:
    """The value after the operator's own clip, if it has one."""
    clip = operator.clip if isinstance(operator, FloatDense | FloatConv | FloatAdd) else None
    if clip is None:
        return value
    return np.maximum(value, clip[0]) if math.isinf(clip[1]) else np.clip(value, *clip)


def compute(operator: FloatOperator, values: list[Floats]) -> Floats:
    """What one operator gives, before its clip, for the values it reads, each (n, *shape)."""
    value = values[0]
    match operator:
        case FloatDense():
            return np.asarray(value @ operator.weights.T + operator.bias)
        case FloatConv():
            sums = correlate(pad(value, operator.pads, 0.0), operator.weights, operator.strides, operator.groups)
            return np.asarray(sums + operator.bias.reshape(-1, *(1,) * (sums.ndim - 2)))
        case FloatAdd():
            return np.asarray(value + values[1])
        case Affine():
            return np.asarray(value * operator.factor + operator.offset)
        case Function():
            with np.errstate(all="ignore"):
                return np.asarray(operator.call(value), np.float64)
        case FloatPad():
            return pad(value, operator.pads, operator.value)
        case MaxPool() | AveragePool():
            around = -np.inf if isinstance(operator, MaxPool) else 0.0
            padded = pad(value, operator.pads, around)
            seen = [
                find_window(padded, place, operator.kernel, operator.strides) for place in np.ndindex(operator.kernel)
            ]
            if isinstance(operator, MaxPool):
                return np.asarray(np.maximum.reduce(seen))
            return np.asarray(np.add.reduce(seen) / len(seen))
        case Concat():
            return np.concatenate(values, axis=1)
        case Reshape():
            return value.reshape(len(value), *operator.shape)
    return value.transpose(0, *(dimension + 1 for dimension in operator.order))


def pad(value: Floats, pads: Pads, filler: float) -> Floats:
    """The value (n, channels, *size) with the filler around its size."""
    return np.pad(value, ((0, 0), (0, 0), *pads), constant_values=filler) if any(map(any, pads)) else value


def correlate(value: Floats, weights: Floats, strides: Shape, groups: int) -> Floats:
    """Σ w·x for each window of a value (n, channels, *size), exact for the integers of a canonical network."""
    outputs, inputs, *kernel = weights.shape
    sums: list[Floats] = []
    for place in np.ndindex(*kernel):
        seen = find_window(value, place, tuple(kernel), strides)
        grouped = seen.reshape(len(seen), groups, inputs, -1)
        per_group = weights[(..., *place)].reshape(groups, outputs // groups, inputs)
        product = np.matmul(per_group[None], grouped).reshape(len(seen), outputs, *seen.shape[2:])
        if sums:
            sums[0] += product
        else:
            sums.append(product)
    return sums[0]
