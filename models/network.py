"""An integer network as plain data: what the ONNX file, the program and the chain all mean.

A network is a graph of operators on uint8 values. The shape of a value is that of one row's: a batch adds a dimension
before it. The first dimension of a shape is the channels'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, ...]
Pads: TypeAlias = tuple[tuple[int, int], ...]
"""How much is put before and behind each dimension."""


class Misfit(ValueError):
    """An operator cannot read values of these shapes."""


@dataclass(frozen=True, eq=False)
class Dense:
    """y = W·x + b, then (hidden layers) clamp(round_half_even(y / 2^shift), 0, 255).

    weights: int8, shape (outputs, inputs), |w| ≤ 63.
    bias: int32, shape (outputs,). For every output channel Σ|w|·255 + |b| < 2^24.
    shifts: uint8, shape (outputs,), 0 ≤ shift ≤ 24; None for the last layer, whose output is the raw int32 sum.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    shifts: NDArray[np.uint8] | None

    @property
    def inputs(self) -> int:
        return int(self.weights.shape[1])

    @property
    def outputs(self) -> int:
        return int(self.weights.shape[0])

    @property
    def macs(self) -> int:
        """Multiplications of a weight by an activation."""
        return int(self.weights.size)

    def shape_after(self, read: Shape) -> Shape:
        if read != (self.inputs,):
            arrive = str(read[0]) if len(read) == 1 else f"values of shape {read}"
            raise Misfit(f"it takes {self.inputs} inputs, but {arrive} arrive: make them equal")
        return (self.outputs,)


@dataclass(frozen=True, eq=False)
class Conv:
    """A correlation along one or two dimensions, padded with zeros and requantised as a hidden Dense is.

    weights: int8, shape (outputs, channels / groups, *kernel), |w| ≤ 63. Output o reads the channels of its group.
    bias: int32 and shifts: uint8, shape (outputs,), within the bounds of Dense.
    strides, pads: one for each dimension of the kernel; each pad is smaller than the kernel.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    shifts: NDArray[np.uint8]
    strides: Shape
    pads: Pads
    groups: int

    @property
    def kernel(self) -> Shape:
        return self.weights.shape[2:]

    def shape_after(self, read: Shape) -> Shape:
        outputs, inputs = self.weights.shape[:2]
        if len(read) != 1 + len(self.kernel) or read[0] != inputs * self.groups:
            kind = f"{inputs * self.groups} channels of {len(self.kernel)} dimensions"
            raise Misfit(f"it reads {kind}, but values of shape {read} arrive: make them equal")
        return outputs, *slide(read, self.kernel, self.strides, self.pads)


@dataclass(frozen=True)
class MaxPool:
    """The largest value in each window, channel by channel; pads never win."""

    kernel: Shape
    strides: Shape
    pads: Pads

    def shape_after(self, read: Shape) -> Shape:
        return read[0], *slide(read, self.kernel, self.strides, self.pads)


@dataclass(frozen=True)
class AveragePool:
    """round_half_even(Σ window / window's size), channel by channel; pads count as zeros, the size is a power of two."""

    kernel: Shape
    strides: Shape
    pads: Pads

    def shape_after(self, read: Shape) -> Shape:
        return read[0], *slide(read, self.kernel, self.strides, self.pads)


@dataclass(frozen=True, eq=False)
class Table:
    """Each value x becomes entries[x]. entries: uint8, shape (256,)."""

    entries: NDArray[np.uint8]

    def shape_after(self, read: Shape) -> Shape:
        return read


@dataclass(frozen=True, eq=False)
class Add:
    """y = w₀·a + w₁·b + bias for each channel of two values of one shape, requantised as a hidden Dense is.

    weights: int8, shape (channels, 2), |w| ≤ 63; bias: int32 and shifts: uint8, shape (channels,), as in Dense.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    shifts: NDArray[np.uint8]

    def shape_after(self, read: Shape, other: Shape) -> Shape:
        if read != other or read[0] != len(self.weights):
            raise Misfit(
                f"it adds {len(self.weights)} channels of two values alike, not of shapes {read} and {other}: make them equal"
            )
        return read


@dataclass(frozen=True)
class Concat:
    """The channels of all values read, one value after the other; their other dimensions are the same."""

    def shape_after(self, *read: Shape) -> Shape:
        if len(read) < 2 or len({shape[1:] for shape in read}) != 1:
            raise Misfit(f"it joins the channels of two or more values of one size, not of shapes {read}")
        return sum(shape[0] for shape in read), *read[0][1:]


@dataclass(frozen=True)
class Pad:
    """The value x everywhere around a value, along every dimension but the channels'."""

    pads: Pads
    value: int

    def shape_after(self, read: Shape) -> Shape:
        if len(self.pads) != len(read) - 1:
            raise Misfit(
                f"it pads {len(self.pads)} dimensions, but values of shape {read} arrive: pad all but the first"
            )
        return read[0], *(size + before + behind for size, (before, behind) in zip(read[1:], self.pads, strict=True))


@dataclass(frozen=True)
class Reshape:
    """The same values in the same order, in another shape; (n,) flattens them."""

    shape: Shape

    def shape_after(self, read: Shape) -> Shape:
        if math.prod(read) != math.prod(self.shape):
            raise Misfit(f"it makes {self.shape} of values of shape {read}: keep their number")
        return self.shape


@dataclass(frozen=True)
class Transpose:
    """Dimension i of the result is dimension order[i] of what is read."""

    order: Shape

    def shape_after(self, read: Shape) -> Shape:
        if sorted(self.order) != list(range(len(read))):
            raise Misfit(f"{self.order} is no order of the dimensions of a value of shape {read}")
        return tuple(read[dimension] for dimension in self.order)


Operator: TypeAlias = Dense | Conv | MaxPool | AveragePool | Table | Add | Concat | Pad | Reshape | Transpose


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Operators applied in order to a row of uint8; the output is the last one's int32 logits.

    reads: for each operator the values that it reads. Value 0 is the row, value i + 1 what operator i gives. Left out, the
    network is a chain: each operator reads what the one before it gives.
    The first operator says how long a row is: it is a Dense or a Reshape. The last is a Dense without shifts, and no other
    has none. Every value but the logits is read.
    """

    operators: tuple[Operator, ...]
    reads: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.reads:
            object.__setattr__(self, "reads", tuple((index,) for index in range(len(self.operators))))

    @property
    def is_dense(self) -> bool:
        """Whether it is a chain of dense layers and nothing else."""
        chained = all(read == (index,) for index, read in enumerate(self.reads))
        return chained and all(isinstance(operator, Dense) for operator in self.operators)

    @property
    def layers(self) -> tuple[Dense, ...]:
        """The dense layers, in order; together they are the network only where it is_dense."""
        return tuple(operator for operator in self.operators if isinstance(operator, Dense))

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes of a row, the outputs of each hidden layer with weights (a convolution's channels), logits."""
        return self.row_length, *(len(each.weights) for each in self.operators if isinstance(each, Dense | Conv))

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of each value, the row's first. Raises Misfit where operators do not fit each other."""
        shapes: list[Shape] = [(self.row_length,)]
        for operator, read in zip(self.operators, self.reads, strict=True):
            shapes.append(shape_after(operator, [shapes[value] for value in read]))
        return tuple(shapes)

    @property
    def row_length(self) -> int:
        """Bytes in an input row."""
        first = self.operators[0]
        if isinstance(first, Dense):
            return first.inputs
        if isinstance(first, Reshape):
            return math.prod(first.shape)
        raise Misfit("the first layer says how long a row is: begin with a Dense or a Reshape")

    @property
    def output_length(self) -> int:
        """Logits in an output."""
        last = self.operators[-1]
        if isinstance(last, Dense):
            return last.outputs
        raise Misfit("the last layer gives the logits: end with a Dense")

    @property
    def macs(self) -> int:
        """Multiplications of a weight by an activation."""
        return sum(map(count_macs, self.operators, self.shapes[1:]))

    @property
    def operations(self) -> int:
        """Places of windows, weights or values that one row makes it visit: where nothing is multiplied, work all the same."""
        return sum(map(count_operations, self.operators, self.shapes[1:]))


def shape_after(operator: Operator, read: list[Shape]) -> Shape:
    """The shape of what an operator gives from values of these shapes. Raises Misfit where it cannot read them."""
    wanted = {Add: 2, Concat: len(read)}.get(type(operator), 1)
    if len(read) != wanted:
        raise Misfit(f"it reads {wanted} values, not {len(read)}")
    if isinstance(operator, Add | Concat):
        return operator.shape_after(*read)
    return operator.shape_after(read[0])


def count_macs(operator: Operator, shape: Shape) -> int:
    """Multiplications of a weight by an activation, where the operator gives a value of this shape."""
    if isinstance(operator, Dense):
        return operator.macs
    if isinstance(operator, Conv):
        return math.prod(operator.weights.shape[1:]) * math.prod(shape)
    return 2 * math.prod(shape) if isinstance(operator, Add) else 0


def count_operations(operator: Operator, shape: Shape) -> int:
    """Places of windows, weights or values that are visited, where the operator gives a value of this shape."""
    match operator:
        case Dense():
            return operator.macs
        case Conv():
            return math.prod(shape) * math.prod(operator.weights.shape[1:])
        case MaxPool() | AveragePool():
            return math.prod(shape) * math.prod(operator.kernel)
    return math.prod(shape)


def slide(read: Shape, kernel: Shape, strides: Shape, pads: Pads) -> Shape:
    """How many windows fit along each dimension but the channels'. Raises Misfit where none does."""
    if not len(read) - 1 == len(kernel) == len(strides) == len(pads):
        raise Misfit(f"its window has {len(kernel)} dimensions, but values of shape {read} arrive")
    sizes = [size + before + behind for size, (before, behind) in zip(read[1:], pads, strict=True)]
    if any(size < side for size, side in zip(sizes, kernel, strict=True)):
        raise Misfit(f"its window {kernel} is larger than the value {tuple(sizes)} with its pads")
    return tuple((size - side) // stride + 1 for size, side, stride in zip(sizes, kernel, strides, strict=True))
