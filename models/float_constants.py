"""The constants of a float ONNX graph: those stored in the file, and those that nodes compute from them."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
import onnx
from onnx import TensorProto

from models import float_functions
from models.form import RefusedModel
from models.onnx_file import MAX_FILE_BYTES, Attribute, Tensor, label, read_attributes, read_tensor

FOLDED = {
    "Concat", "Gather", "Slice", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Cast", "Identity", "Flatten",
    "Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "DequantizeLinear",
}  # fmt: skip


MOST_AXES = 16  # numbers that say something of dimensions


class CannotQuantize(RefusedModel):
    """A float model that has no canonical form here. node: which part; rule: what it breaks; advice: what to do."""


class ConstantReader:
    """The nodes of a graph by their place, what they say of themselves, and the constants among their inputs."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._file_nodes = list(graph.node)
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._constants: dict[str, Tensor] = {}
        self._elements_left = MAX_FILE_BYTES  # of constants, each time that one is folded or read

    def _known(self, name: str) -> bool:
        """Whether a value is a constant."""
        return name in self._tensors or name in self._constants

    def _constant(self, index: int, place: int, kind: str = "f") -> Tensor:
        """A constant input; floats as float64. kind: "f" float, "i" integer, "*" either."""
        node = self._file_nodes[index]
        name = node.input[place] if place < len(node.input) else ""
        if not name or not self._known(name):
            self._refuse(index, "constant", f"input {place} must be an initializer: fold constants before saving")
        if name not in self._constants:
            self._constants[name] = read_tensor(self._tensors[name], self._label(index), CannotQuantize)
        array = self._checked(self._constants[name])
        if kind == "f":
            if array.dtype.kind != "f":
                self._refuse(index, "tensor", f"input {place} must be float: this quantises float models")
            with np.errstate(all="ignore"):  # a signalling NaN is still NaN
                array = array.astype(np.float64)
            if not np.isfinite(array).all():
                self._refuse(index, "tensor", f"input {place} holds NaN or infinity: train the model again")
        elif kind == "i" and array.dtype.kind != "i":
            self._refuse(index, "tensor", f"input {place} must be whole numbers")
        return array

    def _checked(self, array: Tensor) -> Tensor:
        self._spend(array.size)
        return array

    def _spend(self, elements: int) -> None:
        """Count elements before they are made, so that a small file cannot ask for more than a large one could hold."""
        self._elements_left -= elements
        if self._elements_left < 0:
            raise CannotQuantize("graph", "size", "its constants are too large, or read too often: use a smaller model")

    def _stored(self, index: int) -> Tensor:
        node = self._file_nodes[index]
        if len(node.attribute) != 1 or node.attribute[0].name not in (
            "value",
            "value_float",
            "value_int",
            "value_ints",
        ):
            self._refuse(index, "attribute", "a constant holds one value: fold constants before saving")
        attribute = node.attribute[0]
        if attribute.name == "value":
            return self._checked(read_tensor(attribute.t, self._label(index), CannotQuantize))
        values = {"value_float": attribute.f, "value_int": attribute.i, "value_ints": list(attribute.ints)}
        kind = np.float32 if attribute.name == "value_float" else np.int64
        return self._checked(np.array(values[attribute.name], kind))

    def _fold(self, index: int) -> Tensor:
        """What a node of constants gives."""
        node = self._file_nodes[index]
        values = [self._constant(index, place, "*") for place, name in enumerate(node.input) if name]
        try:
            with np.errstate(all="ignore"):
                folded = self._folded(index, node.op_type, values)
        except CannotQuantize:
            raise
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            self._refuse(index, "shape", f"its constants do not fit each other ({error}): export the model again")
        return np.asarray(folded)

    def _folded(self, index: int, operator: str, values: list[Tensor]) -> Tensor:
        first = values[0]
        match operator:
            case "Identity" | "Cast":
                kinds = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.INT64: np.int64}
                to = self._attributes(index, {"to": 0, "saturate": 1})["to"]
                return first.astype(kinds[to]) if to in kinds else first
            case "Concat":
                self._spend(sum(value.size for value in values))
                return np.concatenate(values, axis=self._attributes(index, {"axis": 0})["axis"])
            case "Gather":
                axis = self._attributes(index, {"axis": 0})["axis"]
                self._spend(first.size // first.shape[axis] * values[1].size)
                return np.asarray(np.take(first, values[1], axis=axis))
            case "Slice":
                if any(value.size > MOST_AXES for value in values[1:]):
                    raise ValueError("more cuts than dimensions")
                starts, ends = values[1], values[2]
                axes = values[3] if len(values) > 3 else np.arange(len(starts))
                steps = values[4] if len(values) > 4 else np.ones_like(starts)
                cut = [slice(None)] * first.ndim
                for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
                    cut[int(axis)] = slice(int(start), int(end), int(step))
                return np.asarray(first[tuple(cut)])
            case "Squeeze":
                return np.squeeze(first, tuple(self._axes(index, 1)))
            case "Unsqueeze":
                return np.expand_dims(first, tuple(self._axes(index, 1)))
            case "Reshape":
                shape = [first.shape[at] if size == 0 else int(size) for at, size in enumerate(values[1])]
                return first.reshape(shape)
            case "Flatten":
                axis = self._attributes(index, {"axis": 1})["axis"]
                return first.reshape(math.prod(first.shape[:axis]), -1)
            case "Transpose":
                return first.transpose(self._attributes(index, {"perm": ()})["perm"] or None)
            case "DequantizeLinear":
                axis = self._attributes(index, {"axis": 1})["axis"]
                along = [1] * first.ndim
                scale, zero = values[1], values[2] if len(values) > 2 else np.zeros_like(values[1])
                if scale.size > 1:
                    along[axis] = scale.size
                return (first.astype(np.float64) - zero.reshape(along)) * scale.astype(np.float64).reshape(along)
            case "Neg" | "Sqrt":
                return np.asarray(float_functions.PLAIN[operator](first))
        second = values[1]
        self._spend(math.prod(np.broadcast_shapes(first.shape, second.shape)))
        calls: dict[str, Any] = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}
        if operator == "Div":
            return np.asarray(first // second if first.dtype.kind == "i" else first / second)
        return np.asarray(calls[operator](first, second))

    def _axes(self, index: int, place: int) -> list[int]:
        """Whole numbers that are an input, or the attribute axes before opset 13."""
        if len(self._file_nodes[index].input) <= place:
            return list(self._attributes(index, {"axes": ()})["axes"])
        array = self._constant(index, place, "i")
        if array.size > MOST_AXES:
            self._refuse(index, "shape", f"{array.size} numbers, one for each dimension are needed")
        return [int(axis) for axis in array.reshape(-1)]

    def _attributes(self, index: int, allowed: dict[str, Attribute]) -> dict[str, Any]:
        return read_attributes(self._file_nodes[index], self._label(index), allowed, CannotQuantize)

    def _label(self, index: int) -> str:
        return label(self._file_nodes[index], index)

    def _refuse(self, index: int, rule: str, advice: str) -> NoReturn:
        raise CannotQuantize(self._label(index), rule, advice)
