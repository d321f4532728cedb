"""Which values of a network are still needed at each of its operators, and the memory that they take on the chain.

The chain keeps the values that something still reads in a list: the row first, each operator's value appended at the end
and what it was the last to read taken out. A program names values by their place in that list (docs/program.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from models.network import AveragePool, Conv, Dense, IntegerNetwork, MaxPool, Operator, Shape
from models.weight_blocks import lanes_length

GAP = 32
"""Bytes of memory behind each value: readers and writers of whole words reach past its end."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A value that an operator reads."""

    index: int
    """Its place in the list of live values before the operator."""
    is_last: bool
    """Nothing reads it afterwards."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An operator among the values that are live when it begins."""

    operator: Operator
    operands: tuple[Operand, ...]
    live: tuple[Shape, ...]
    """The shapes of the live values, oldest first."""
    shape: Shape
    """Of the value that it makes."""

    @property
    def read(self) -> tuple[Shape, ...]:
        """The shapes that it reads."""
        return tuple(self.live[operand.index] for operand in self.operands)

    @property
    def values(self) -> int:
        """How many values of one byte, or logits, it makes."""
        return math.prod(self.shape)

    @property
    def memory(self) -> int:
        """Bytes of memory for values: the live ones, what it makes (a logit counts as one) and its window."""
        window = window_of(self.operator)
        return footprint([*map(math.prod, self.live), self.values, *([window] if window else [])])

    @property
    def working_memory(self) -> int:
        """Those, and what the chain multiplies: a channel's inputs as lanes, and a byte for each output of a window."""
        match self.operator:
            case Dense():
                return self.memory + lanes_length(self.operator.inputs)
            case Conv():
                outputs = len(self.operator.weights) // self.operator.groups
                return self.memory + lanes_length(window_of(self.operator)) + outputs + GAP
        return self.memory


def place(network: IntegerNetwork) -> Iterator[Placed]:
    """Each operator of a network, in order. Raises Misfit where operators do not fit each other."""
    shapes = network.shapes
    last_reader = {value: index for index, read in enumerate(network.reads) for value in read}
    live = [0]
    for index, (operator, read) in enumerate(zip(network.operators, network.reads, strict=True)):
        last = [last_reader[value] == index and value not in read[at + 1 :] for at, value in enumerate(read)]
        operands = tuple(Operand(live.index(value), is_last) for value, is_last in zip(read, last, strict=True))
        yield Placed(operator, operands, tuple(shapes[value] for value in live), shapes[index + 1])
        dead = {value for value, is_last in zip(read, last, strict=True) if is_last}
        live = [*(value for value in live if value not in dead), index + 1]


def survivors(live: Sequence[Shape], operands: Iterable[Operand], shape: Shape) -> list[Shape]:
    """The live values behind an operator that makes one of this shape."""
    dead = {operand.index for operand in operands if operand.is_last}
    return [*(each for index, each in enumerate(live) if index not in dead), shape]


def window_of(operator: Operator) -> int:
    """Bytes that an operator with windows gathers before it looks at them; 0 for any other."""
    if isinstance(operator, Conv):
        return math.prod(operator.weights.shape[1:])
    return math.prod(operator.kernel) if isinstance(operator, MaxPool | AveragePool) else 0


def footprint(lengths: Sequence[int]) -> int:
    """Bytes of memory that values of these lengths take."""
    return sum(lengths) + GAP * len(lengths)
