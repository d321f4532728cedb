"""Sums, factors and functions of one number of a float ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from models import float_functions
from models.float_model import (
    Affine,
    Clip,
    FloatAdd,
    Floats,
)
from models.float_values import Value, ValueReader
from models.network import Shape

_MOST_COMPOSED = 32  # functions that become one: a call of more would take long, or nest too deep
_MOVING = ("Reshape", "Transpose", "MaxPool", "Flatten", "Concat", "Squeeze", "Unsqueeze", "Pad")


class ArithmeticReader(ValueReader):
    """What a constant is added to or multiplied with becomes part of the layer before it, or a function."""

    def _batch_normalization(self, index: int) -> None:
        found = self._attributes(index, {"epsilon": 1e-5, "momentum": 0.9, "training_mode": 0})
        read = self._input(index)
        scale, bias, mean, variance = (self._constant(index, place) for place in (1, 2, 3, 4))
        channels = self._shapes[read][0]
        if found["training_mode"] or any(each.shape != (channels,) for each in (scale, bias, mean, variance)):
            self._refuse(index, "shape", f"four constants of {channels} channels, for inference, are needed")
        if (variance + found["epsilon"] <= 0).any():
            self._refuse(index, "tensor", "its variance is not positive: train the model again")
        factor = scale / np.sqrt(variance + found["epsilon"])
        self._scale(index, read, _spread(factor, self._shapes[read]), _spread(bias - mean * factor, self._shapes[read]))

    def _scaler(self, index: int) -> None:
        read = self._input(index)
        attributes = {
            attribute.name: np.array(attribute.floats, np.float64) for attribute in self._file_nodes[index].attribute
        }
        offset, scale = attributes.get("offset", np.zeros(1)), attributes.get("scale", np.ones(1))
        shape = self._shapes[read]
        if len(shape) != 1 or not {offset.size, scale.size} <= {1, shape[0]}:
            self._refuse(index, "shape", f"offsets {offset.shape} and scales {scale.shape} for features {shape}")
        self._scale(index, read, np.broadcast_to(scale, shape), np.broadcast_to(-offset * scale, shape))

    def _scale(self, index: int, read: int, factor: Floats, offset: Floats) -> None:
        if not (np.isfinite(factor).all() and np.isfinite(offset).all()):
            self._refuse(index, "tensor", "it scales by NaN or infinity: train the model again")
        self._give(index, Affine(factor, offset), read)

    def _arithmetic(self, index: int) -> None:
        """Add, Sub, Mul, Div: with a constant, of two values, or of two functions of one value."""
        node = self._file_nodes[index]
        self._attributes(index, {})
        if len(node.input) != 2:
            self._refuse(index, "chain", f"{len(node.input)} inputs, 2 expected")
        constants = [place for place in (0, 1) if self._known(node.input[place])]
        if constants:
            self._with_constant(index, 1 - constants[0], self._constant(index, constants[0]))
            return
        for place in (0, 1):
            if node.input[place] not in self._values:
                self._input(index, place)
        one, other = (self._values[name] for name in node.input)
        calls = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
        if one.base == other.base and (one.call or other.call or node.op_type in ("Mul", "Div")):
            first, second = one.call or _same, other.call or _same
            call = calls[node.op_type]
            composed = lambda x: call(first(x), second(x))  # noqa: E731
            cost = one.cost + other.cost + 1
            self._values[node.output[0]] = Value(one.base, composed, None, None, self._label(index), cost)
            if cost > _MOST_COMPOSED:
                self._at(node.output[0])
        elif node.op_type == "Add":
            self._give(index, FloatAdd(), self._input(index, 0), self._input(index, 1))
        elif node.op_type == "Sub":
            shape = self._shape(node.input[1])
            negative = Affine(*(np.broadcast_to(np.float64(number), shape) for number in (-1.0, 0.0)))
            minus = self._append(self._label(index), negative, self._input(index, 1))
            self._give(index, FloatAdd(), self._input(index, 0), minus)
        else:
            self._refuse(index, "operator", "two different values are multiplied: only sums of values are quantised")

    def _with_constant(self, index: int, place: int, constant: Floats) -> None:
        node = self._file_nodes[index]
        operator = node.op_type
        if node.input[place] not in self._values:
            self._input(index, place)
        if operator == "Div" and (place == 1 or (constant == 0).any()):
            if place == 0 or constant.size != 1:
                self._refuse(
                    index, "operator", "it divides by zero or by a value: only division by a constant is quantised"
                )
            number = float(constant.reshape(-1)[0])
            self._compose(index, place, lambda x: number / x, None)
            return
        factor = {"Mul": constant, "Div": 1 / np.where(constant == 0, 1, constant)}.get(
            operator, np.ones_like(constant)
        )
        offset = {"Add": constant, "Sub": -constant if place == 0 else constant}.get(operator, np.zeros_like(constant))
        if operator == "Sub" and place == 1:
            factor = -factor
        if constant.size == 1:
            line = float(factor.reshape(-1)[0]), float(offset.reshape(-1)[0])
            self._compose(index, place, lambda x: x * line[0] + line[1], line)
            return
        shape = self._shape(node.input[place])
        try:
            if constant.ndim > len(shape) + 1 or (constant.ndim == len(shape) + 1 and constant.shape[0] != 1):
                raise ValueError("it differs from row to row")
            parts = [
                each.reshape(constant.shape[-len(shape) :]) if each.ndim > len(shape) else each
                for each in (factor, offset)
            ]
            factor, offset = (np.broadcast_to(part, shape) for part in parts)
        except ValueError as error:
            self._refuse(index, "shape", f"a constant of shape {constant.shape} for values of shape {shape} ({error})")
        self._scale(index, self._input(index, place), factor, offset)

    def _compose(
        self,
        index: int,
        place: int,
        call: Callable[[Floats], Floats],
        line: tuple[float, float] | None,
        clip: Clip | None = None,
    ) -> None:
        """The node's output is the call of what it reads, whatever function of a value that is already."""
        node = self._file_nodes[index]
        if node.input[place] not in self._values:
            self._input(index, place)
        value = self._values[node.input[place]]
        before = value.call
        if before is None:
            made = Value(value.base, call, line, clip, self._label(index))
        else:
            joined = None
            if line is not None and value.line is not None:
                joined = value.line[0] * line[0], value.line[1] * line[0] + line[1]
            made = Value(value.base, lambda x: call(before(x)), joined, None, self._label(index), value.cost + 1)
        if clip is not None and value.call is not None and value.line is not None:
            base = self._at(node.input[place])  # a clip stays recognisable: it is free
            made = Value(base, call, line, clip, self._label(index))
        self._values[node.output[0]] = made
        if made.cost > _MOST_COMPOSED:
            self._at(node.output[0])

    def _function(self, index: int) -> None:
        node = self._file_nodes[index]
        if len(node.input) != 1 or len(node.output) != 1:
            self._refuse(index, "chain", "a function of one number has one input and one output")
        if node.op_type in float_functions.PLAIN:
            self._attributes(index, {})
            clip = (0.0, math.inf) if node.op_type == "Relu" else None
            line = (-1.0, 0.0) if node.op_type == "Neg" else None
            self._compose(index, 0, float_functions.PLAIN[node.op_type], line, clip)
            return
        found = self._attributes(index, float_functions.ATTRIBUTES[node.op_type])
        if any(isinstance(value, float) and not math.isfinite(value) for value in found.values()):
            self._refuse(index, "attribute", "its attributes must be finite")
        self._compose(index, 0, float_functions.with_attributes(node.op_type, found), None)

    def _clip(self, index: int) -> None:
        node = self._file_nodes[index]
        found = self._attributes(index, {"min": -math.inf, "max": math.inf})  # as attributes before opset 11
        bounds = [found["min"], found["max"]]
        for place in (1, 2):
            if place < len(node.input) and node.input[place]:
                array = self._constant(index, place, "*")
                if array.size != 1:
                    self._refuse(index, "shape", "its bounds are numbers")
                bounds[place - 1] = float(array.reshape(-1)[0])
        low, high = bounds
        if not low < high:
            self._refuse(index, "attribute", f"it clips to {low} … {high}, which is nothing")
        self._compose(index, 0, lambda x: np.clip(x, low, high), None, (low, high))

    def _prelu(self, index: int) -> None:
        slope = self._constant(index, 1)
        if slope.size != 1 and np.ptp(slope) != 0:
            self._refuse(index, "operator", "its slopes differ: use LeakyRelu, or one slope for all channels")
        number = float(slope.reshape(-1)[0])
        self._compose(index, 0, lambda x: np.where(x > 0, x, number * x), None)

    def _power(self, index: int) -> None:
        exponent = self._constant(index, 1, "*")
        if exponent.size != 1:
            self._refuse(index, "shape", "its exponent is one number")
        number = float(exponent.reshape(-1)[0])
        self._compose(index, 0, lambda x: np.power(x, number), None)

    def _quantize_linear(self, index: int) -> None:
        """A QDQ model's own quantisation is undone; that it clips is kept."""
        self._attributes(index, {"axis": 1, "saturate": 1})
        scale = self._constant(index, 1)
        has_zero = len(self._file_nodes[index].input) > 2
        zero = self._constant(index, 2, "*") if has_zero else np.zeros(1, np.uint8)
        if scale.size != 1 or zero.size != 1 or zero.dtype not in (np.uint8, np.int8) or not scale.reshape(-1)[0] > 0:
            self._refuse(
                index, "tensor", "activations have one positive scale and one 8-bit zero point: export per tensor"
            )
        bounds = np.iinfo(zero.dtype)
        step, point = float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0])
        low, high = (int(bounds.min) - point) * step, (int(bounds.max) - point) * step
        if low < 0:  # what it lets through below 0 is a range, not a ReLU: calibration finds it again
            self._pass(index)
        else:
            self._compose(index, 0, lambda x: np.clip(x, low, high), None, (low, high))

    def _dequantize_linear(self, index: int) -> None:
        source = self._writers.get(self._file_nodes[index].input[0])
        if source is None or self._file_nodes[source].op_type not in ("QuantizeLinear", *_MOVING):
            self._refuse(index, "chain", "it must follow a QuantizeLinear: export in QDQ form")
        self._pass(index)


def _same(x: Floats) -> Floats:
    return x


def _spread(values: Floats, shape: Shape) -> Floats:
    """A value for each channel, at each of a channel's places."""
    return np.broadcast_to(values.reshape(-1, *(1,) * (len(shape) - 1)), shape)
