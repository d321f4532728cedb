"""The values of a float ONNX graph as those of a FloatNetwork, built node by node."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from models.float_constants import CannotQuantize, ConstantReader
from models.float_model import (
    Affine,
    Clip,
    FloatConv,
    FloatDense,
    FloatNode,
    FloatOperator,
    Floats,
    Function,
    shape_of,
)
from models.form import MOST_HELD, MOST_OPERATIONS, MOST_VALUES
from models.network import AveragePool, MaxPool, Misfit, Shape


@dataclass(frozen=True)
class Value:
    """A value of the graph: what node `base` of the network gives or, where there is a call, the call of it."""

    base: int
    call: Callable[[Floats], Floats] | None = None
    line: tuple[float, float] | None = (1.0, 0.0)  # the call is factor · x + offset
    clip: Clip | None = None  # the call only clips
    name: str = ""
    cost: int = 0  # functions that the call calls


class ValueReader(ConstantReader):
    """What the graph's values are in the network so far, and the nodes of that."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__(graph)
        self._writers = {name: index for index, node in enumerate(self._file_nodes) for name in node.output if name}
        self._values: dict[str, Value] = {}
        self._nodes: list[FloatNode] = []
        self._shapes: list[Shape] = []
        self._operations = self._held = 0

    def _at(self, name: str) -> int:
        """The index of a value in the network, its function made a node if need be."""
        value = self._values[name]
        if value.call is None:
            return value.base
        operator: FloatOperator
        if value.line is not None:
            shape = self._shapes[value.base]
            operator = Affine(*(np.broadcast_to(np.float64(number), shape) for number in value.line))
        else:
            operator = Function(value.name, value.call, value.clip)
        at = self._append(value.name, operator, value.base)
        self._values[name] = Value(at)
        return at

    def _shape(self, name: str) -> Shape:
        return self._shapes[self._values[name].base]

    def _append(self, where: str, operator: FloatOperator, *read: int) -> int:
        try:
            shape = shape_of(operator, [self._shapes[value] for value in read])
        except Misfit as misfit:
            raise CannotQuantize(where, "shape", str(misfit)) from misfit
        count = math.prod(shape)
        if count > MOST_VALUES or len(shape) > 5:
            raise CannotQuantize(where, "size", f"it gives {count} values a row: at most {MOST_VALUES} are possible")
        each = 1
        numbers = {FloatDense: ("weights", "bias"), FloatConv: ("weights", "bias"), Affine: ("factor", "offset")}
        if not all(np.isfinite(getattr(operator, name)).all() for name in numbers.get(type(operator), ())):
            raise CannotQuantize(where, "tensor", "its constants hold NaN or infinity: train the model again")
        if isinstance(operator, FloatDense | FloatConv):
            each = operator.weights[0].size
        elif isinstance(operator, MaxPool | AveragePool):
            each = math.prod(operator.kernel)
        self._operations += count * each
        self._held += count
        if self._held > MOST_HELD:
            raise CannotQuantize(where, "size", f"a row has more than {MOST_HELD} activations: use a smaller model")
        if self._operations > MOST_OPERATIONS:
            raise CannotQuantize(
                where, "size", f"a row takes more than {MOST_OPERATIONS} operations: use a smaller model"
            )
        self._nodes.append(FloatNode(operator, read, where))
        self._shapes.append(shape)
        return len(self._nodes)

    def _give(self, index: int, operator: FloatOperator, *read: int) -> None:
        """The node's first output is what an operator gives."""
        self._values[self._file_nodes[index].output[0]] = Value(self._append(self._label(index), operator, *read))

    def _input(self, index: int, place: int = 0) -> int:
        """The value that a node reads at a place."""
        node = self._file_nodes[index]
        name = node.input[place] if place < len(node.input) else ""
        if name not in self._values:
            self._refuse(index, "chain", f"input {place} is not computed from the features before it: sort the nodes")
        return self._at(name)

    def _pass(self, index: int) -> None:
        """The node's output is its input."""
        node = self._file_nodes[index]
        if node.op_type == "Cast":
            to = self._attributes(index, {"to": 0, "saturate": 1})["to"]
            if to not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
                self._refuse(index, "attribute", "values stay floats up to the logits: remove the cast")
        if node.input[0] not in self._values:
            self._input(index)
        self._values[node.output[0]] = self._values[node.input[0]]
