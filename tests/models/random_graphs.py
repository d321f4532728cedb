"""Random networks of every operator, at the edges of the canonical form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.form import MOST_VALUES, pad_reach
from models.integer_ops import SUM_LIMIT, WEIGHT_LIMIT
from models.network import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Dense,
    IntegerNetwork,
    MaxPool,
    Operator,
    Pad,
    Pads,
    Reshape,
    Shape,
    Table,
    Transpose,
    shape_after,
)

STYLES = ("plain", "extreme", "bound", "tie", "saturated")
OPERATORS = ("dense", "conv", "max", "average", "table", "add", "concat", "pad", "reshape", "transpose")
_MOST_VALUES = 1500  # of an activation, so that the specification stays quick


def random_graph(seed: int, style: str, wanted: list[str]) -> IntegerNetwork:
    """A network that applies the wanted operators one after the other, each where it can; unread values all join the logits."""
    graph = _Graph(np.random.default_rng(seed), style)
    for name in wanted:
        graph.grow(name)
    return graph.finish()


def graph_rows(network: IntegerNetwork, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (count, row_length): all dark, all bright, checkered, sparse, binary and noisy rows."""
    length = network.row_length
    rows = [np.zeros(length, np.int64), np.full(length, 255), np.arange(length) % 2 * 255, np.arange(length) % 256]
    for index in range(count):
        noise = rng.integers(0, 256, length)
        rows.append([noise, np.where(rng.random(length) < 0.9, 0, noise), rng.integers(0, 2, length) * 255][index % 3])
    return np.array(rows[:count], np.uint8)


class _Graph:
    def __init__(self, rng: np.random.Generator, style: str) -> None:
        self.rng = rng
        self.style = style
        self.operators: list[Operator] = []
        self.reads: list[tuple[int, ...]] = []
        sizes = self._of((3, 4, 5, 8), int(rng.integers(1, 3)))
        shape = (int(rng.choice([1, 2, 3, 4, 6])), *sizes)
        self.shapes: list[Shape] = [(math.prod(shape),)]
        self.reaches = [0]  # how far zeros are padded
        self._append(Reshape(shape), 0)

    def grow(self, name: str) -> None:
        """Append an operator on one of the latest values, if it fits there."""
        at = int(self.rng.integers(max(1, len(self.shapes) - 3), len(self.shapes)))
        makers: dict[str, Callable[[int, Shape], None]] = {
            "dense": self._dense,
            "conv": self._conv,
            "max": self._max,
            "average": self._average,
            "table": self._table,
            "add": self._add,
            "concat": self._concat,
            "pad": self._pad,
            "reshape": self._reshape,
            "transpose": self._transpose,
        }
        makers[name](at, self.shapes[at])

    def finish(self) -> IntegerNetwork:
        read = {value for values in self.reads for value in values}
        ends = []
        for value in range(1, len(self.shapes)):
            if value not in read:
                size = math.prod(self.shapes[value])
                ends.append(value if len(self.shapes[value]) == 1 else self._append(Reshape((size,)), value))
        end = ends[0] if len(ends) == 1 else self._append(Concat(), *ends, most=MOST_VALUES)
        weights = self._weights((int(self.rng.integers(1, 6)), self.shapes[end][0]))
        bias, _ = self._bias_and_shifts(weights)
        self._append(Dense(weights, bias, None), end)
        return IntegerNetwork(tuple(self.operators), tuple(self.reads))

    def _append(self, operator: Operator, *read: int, most: int = _MOST_VALUES) -> int:
        """The value that the operator gives; where it would be too large or not canonical, the first one read instead."""
        shape = shape_after(operator, [self.shapes[value] for value in read])
        reach = pad_reach(operator, [self.reaches[value] for value in read])
        if math.prod(shape) > most or (isinstance(operator, MaxPool | AveragePool) and reach >= min(operator.kernel)):
            return read[0]
        self.reaches.append(0 if isinstance(operator, MaxPool | AveragePool) else reach)
        self.operators.append(operator)
        self.reads.append(read)
        self.shapes.append(shape)
        return len(self.operators)

    def _dense(self, at: int, shape: Shape) -> None:
        if len(shape) > 1:
            at = self._append(Reshape((math.prod(shape),)), at)
        weights = self._weights((int(self.rng.choice([1, 7, 12, 24])), math.prod(shape)))
        self._append(Dense(weights, *self._bias_and_shifts(weights)), at)

    def _conv(self, at: int, shape: Shape) -> None:
        if len(shape) == 1:
            return
        divisors = [number for number in range(1, shape[0] + 1) if shape[0] % number == 0]
        groups = int(self.rng.choice([1, shape[0], int(self.rng.choice(divisors))]))
        outputs = groups * int(self.rng.integers(1, 4))
        kernel, strides, pads = self._window(shape)
        weights = self._weights((outputs, shape[0] // groups, *kernel))
        bias, shifts = self._bias_and_shifts(weights)
        self._append(Conv(weights, bias, shifts, strides, pads, groups), at)

    def _max(self, at: int, shape: Shape) -> None:
        if len(shape) > 1:
            self._append(MaxPool(*self._window(shape)), at)

    def _average(self, at: int, shape: Shape) -> None:
        if len(shape) == 1:
            return
        if self.rng.random() < 0.4:  # a global one, where the size allows
            if math.prod(shape[1:]).bit_count() == 1:
                self._append(AveragePool(shape[1:], (1,) * (len(shape) - 1), ((0, 0),) * (len(shape) - 1)), at)
            return
        _, strides, pads = self._window(shape)
        kernel = tuple(int(self.rng.choice([side for side in (1, 2, 4) if side <= size])) for size in shape[1:])
        sides = zip(pads, kernel, strict=True)
        pads = tuple((min(before, side - 1), min(behind, side - 1)) for (before, behind), side in sides)
        self._append(AveragePool(kernel, strides, pads), at)

    def _table(self, at: int, shape: Shape) -> None:
        self._append(Table(self.rng.integers(0, 256, 256).astype(np.uint8)), at)

    def _add(self, at: int, shape: Shape) -> None:
        alike = [value for value in range(1, len(self.shapes)) if self.shapes[value] == shape]
        weights = self._weights((shape[0], 2))
        self._append(Add(weights, *self._bias_and_shifts(weights)), at, int(self.rng.choice(alike)))

    def _concat(self, at: int, shape: Shape) -> None:
        alike = [value for value in range(1, len(self.shapes)) if self.shapes[value][1:] == shape[1:]]
        self._append(Concat(), at, *(int(value) for value in self.rng.choice(alike, self.rng.integers(1, 3))))

    def _pad(self, at: int, shape: Shape) -> None:
        if len(shape) > 1:
            pads = tuple((int(b), int(e)) for b, e in self.rng.integers(0, 4, (len(shape) - 1, 2)))
            self._append(Pad(pads, int(self.rng.choice([0, 1, 7, 128, 255]))), at)

    def _reshape(self, at: int, shape: Shape) -> None:
        size = math.prod(shape)
        first = int(self.rng.choice([number for number in range(1, size + 1) if size % number == 0 and number <= 16]))
        self._append(Reshape((first, size // first)), at)

    def _transpose(self, at: int, shape: Shape) -> None:
        self._append(Transpose(tuple(int(dimension) for dimension in self.rng.permutation(len(shape)))), at)

    def _window(self, shape: Shape) -> tuple[Shape, Shape, Pads]:
        kernel = tuple(int(self.rng.integers(1, min(size, 4) + 1)) for size in shape[1:])
        pads = tuple((int(self.rng.integers(0, side)), int(self.rng.integers(0, side))) for side in kernel)
        return kernel, self._of((1, 2, 3), len(kernel)), pads

    def _of(self, choices: tuple[int, ...], count: int) -> Shape:
        return tuple(int(number) for number in self.rng.choice(choices, count))

    def _weights(self, shape: Shape) -> NDArray[np.int8]:
        if self.style in ("extreme", "bound"):
            weights = self.rng.choice([-WEIGHT_LIMIT, WEIGHT_LIMIT], shape)
        else:
            weights = self.rng.integers(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, shape)
        if self.style == "tie":
            weights = np.where(self.rng.random(shape) < 0.5, np.sign(weights), 0)
        reach = np.abs(weights.reshape(len(weights), -1)).sum(axis=1).max()
        if reach * 255 >= SUM_LIMIT:  # too long a row for weights like these
            weights = np.sign(weights)
        return weights.astype(np.int8)

    def _bias_and_shifts(self, weights: NDArray[np.int8]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        flat = weights.reshape(len(weights), -1).astype(np.int64)
        reach = 255 * np.abs(flat).sum(axis=1)
        room = SUM_LIMIT - 1 - reach
        if self.style == "bound":
            bias = room * self.rng.choice([-1, 1], len(flat))
        elif self.style == "saturated":
            bias = self.rng.integers(-(1 << 20), 1 << 20, len(flat))
        else:
            bias = self.rng.integers(-reach // 4 - 2, reach // 4 + 2)
        bias = np.clip(bias, -room, room)
        if self.style == "tie":
            shifts = self.rng.integers(0, 4, len(flat))
        elif self.style in ("saturated", "bound"):
            shifts = self.rng.integers(0, 25, len(flat))
        else:
            typical = np.ceil(np.log2(128 * np.sqrt((flat**2).sum(axis=1)) + 1)) - 7
            shifts = np.clip(typical + self.rng.integers(-1, 2, len(flat)), 0, 24)
        return bias.astype(np.int32), shifts.astype(np.uint8)
