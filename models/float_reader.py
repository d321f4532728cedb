"""Reads the float ONNX models that PyTorch, Keras (tf2onnx) and scikit-learn (skl2onnx) export as a FloatNetwork.

Constants are folded, shapes are followed, batch normalisation and additions of a constant go into the layer before them, and
chains of functions of one number become one function. What only decorates the verdict at the end (Softmax, ArgMax, the
labels) is left off. QuantizeLinear and DequantizeLinear on activations are undone: what they clip remains. Everything else is
refused by node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from models import float_functions
from models.float_constants import FOLDED, CannotQuantize, ConstantReader
from models.float_fusion import fuse
from models.float_model import (
    Affine,
    Clip,
    FloatAdd,
    FloatConv,
    FloatDense,
    FloatNetwork,
    FloatNode,
    FloatOperator,
    FloatPad,
    Floats,
    Function,
    shape_of,
)
from models.form import LONGEST_ROW, MOST_HELD, MOST_OPERATIONS, MOST_VALUES
from models.network import AveragePool, Concat, MaxPool, Misfit, Pads, Reshape, Shape, Transpose
from models.onnx_file import (
    EXPORTED,
    MAX_FILE_BYTES,
    parse,
    read_scalar,
)

_TAIL = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "Normalizer", "ZipMap", "ArrayFeatureExtractor", "LabelEncoder")
_OF_TAIL = ("Cast", "Identity", "Reshape", "Sub", "Concat", "Flatten", "Squeeze")  # only between those of the tail
_MOST_COMPOSED = 32  # functions that become one: a call of more would take long, or nest too deep
_DEEPEST_TAIL = 16  # nodes one after the other
_PASSING = ("Identity", "Dropout", "Cast")
_ADVICE = {
    "ZipMap": "export the classifier with zipmap off",
    "ConvTranspose": "use an upsampling free network: only Conv is quantised",
    "RNN": "recurrent layers are not quantised: use a convolution over time",
    "LSTM": "recurrent layers are not quantised: use a convolution over time",
    "GRU": "recurrent layers are not quantised: use a convolution over time",
    "LayerNormalization": "train with batch normalisation, which folds into the layer before it",
    "InstanceNormalization": "train with batch normalisation, which folds into the layer before it",
    "QLinearConv": "export in QDQ form",
    "QLinearMatMul": "export in QDQ form",
    "ConvInteger": "export in QDQ form",
    "MatMulInteger": "export in QDQ form",
    "TreeEnsembleClassifier": "trees are not networks: train an MLPClassifier",
    "SVMClassifier": "use a linear model or an MLPClassifier",
}


def read_float_model(source: bytes | str | Path) -> tuple[FloatNetwork, tuple[str, ...]]:
    """The network in a float ONNX model up to its logits, and the operators dropped from its end. Raises CannotQuantize."""
    return _Reader(parse(source, CannotQuantize, EXPORTED).graph).read()


@dataclass(frozen=True)
class _Value:
    """A value of the graph: what node `base` of the network gives or, where there is a call, the call of it."""

    base: int
    call: Callable[[Floats], Floats] | None = None
    line: tuple[float, float] | None = (1.0, 0.0)  # the call is factor · x + offset
    clip: Clip | None = None  # the call only clips
    name: str = ""
    cost: int = 0  # functions that the call calls


class _Reader(ConstantReader):
    """Walks the nodes that lead to the logits, each once, in the file's order."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__(graph)
        self._graph = graph
        self._writers = {name: index for index, node in enumerate(self._file_nodes) for name in node.output if name}
        self._values: dict[str, _Value] = {}
        self._nodes: list[FloatNode] = []
        self._shapes: list[Shape] = []
        self._operations = self._held = 0
        self._decorating: dict[str, bool] = {}

    def read(self) -> tuple[FloatNetwork, tuple[str, ...]]:
        inputs = [value for value in self._graph.input if value.name not in self._tensors]
        if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
            raise CannotQuantize("graph", "input", f"{len(inputs)} inputs: exactly one, of float32 features, is needed")
        self._shapes.append(self._row_shape(inputs[0]))
        self._values[inputs[0].name] = _Value(0)
        logits, tail = self._find_logits()
        wanted = self._ancestors(logits)
        for index in range(len(self._file_nodes)):
            if index in wanted:
                self._read_node(index)
            elif index not in tail and not self._is_constant(index):
                self._refuse(index, "chain", "it is not part of the graph from features to logits: remove it")
        if logits not in self._values:
            raise CannotQuantize("graph", "chain", "the features do not lead to the model's output")
        last = self._at(logits)
        nodes = fuse(self._nodes[:last], self._shapes)
        last_node = nodes[-1] if nodes else None
        if last != len(self._nodes) or last_node is None:
            raise CannotQuantize("graph", "chain", "the input leads nowhere: a layer must read it")
        if isinstance(last_node.operator, Function) or getattr(last_node.operator, "clip", None):
            raise CannotQuantize(self._last_name(logits), "operator", "the last layer must end in logits: remove it")
        network = FloatNetwork(tuple(nodes), self._shapes[0])
        if len(network.shapes[-1]) != 1:
            raise CannotQuantize(last_node.name, "shape", f"logits of shape {network.shapes[-1]}: flatten them")
        dropped = tuple(self._file_nodes[index].op_type for index in sorted(tail))
        return network, tuple(name for name in dropped if name in _TAIL)

    def _row_shape(self, value: onnx.ValueInfoProto) -> Shape:
        dimensions = value.type.tensor_type.shape.dim
        shape = tuple(int(dimension.dim_value) for dimension in list(dimensions)[1:])
        if not shape or min(shape) < 1 or math.prod(shape) > LONGEST_ROW or len(shape) > 4:
            advice = f"its shape {shape} after the batch must be fixed, at most {LONGEST_ROW} numbers in 4 dimensions"
            raise CannotQuantize("graph", "input", f"{advice}: export with static sizes")
        return shape

    def _find_logits(self) -> tuple[str, set[int]]:
        """The name of the value that the model's outputs decorate, and the nodes that do so."""
        tail: set[int] = set()
        found = {name for output in self._graph.output for name in self._before_tail(output.name, tail)}
        if len(found) != 1:
            advice = f"its outputs come from {len(found)} values: keep one, the logits"
            raise CannotQuantize("graph", "chain", advice)
        return found.pop(), tail

    def _before_tail(self, name: str, tail: set[int]) -> set[str]:
        """The values that an output is computed from by nodes of the tail, which are added to it."""
        found: set[str] = set()
        waiting, seen = [name], {name}
        while waiting:
            value = waiting.pop()
            index = self._writers.get(value)
            node = None if index is None else self._file_nodes[index]
            if node is not None and node.op_type == "LinearClassifier" and len(node.output) == 2:
                found.add(node.output[1])
            elif index is not None and node is not None and self._is_tail(node, value):
                tail.add(index)
                read = [each for each in node.input if each and not self._is_stored(each) and each not in seen]
                waiting += read
                seen.update(read)
            else:
                found.add(value)
        return found

    def _is_tail(self, node: onnx.NodeProto, value: str) -> bool:
        return node.op_type in _TAIL or (node.op_type in _OF_TAIL and self._decorates(value, 0))

    def _decorates(self, name: str, depth: int) -> bool:
        """Whether a value is computed from a verdict by operators that keep it."""
        if name not in self._decorating:
            self._decorating[name] = False  # so says a cycle, too
            index = self._writers.get(name)
            node = None if index is None or depth > _DEEPEST_TAIL else self._file_nodes[index]
            if node is not None and node.op_type in (*_TAIL, "LinearClassifier"):
                self._decorating[name] = True
            elif node is not None and node.op_type in _OF_TAIL:
                read = [each for each in node.input if each and not self._is_stored(each)]
                self._decorating[name] = bool(read) and all(self._decorates(each, depth + 1) for each in read)
        return self._decorating[name]

    def _is_stored(self, name: str) -> bool:
        index = self._writers.get(name)
        return name in self._tensors or (index is not None and self._file_nodes[index].op_type == "Constant")

    def _ancestors(self, name: str) -> set[int]:
        found: set[int] = set()
        waiting = [name]
        while waiting:
            index = self._writers.get(waiting.pop())
            if index is not None and index not in found:
                found.add(index)
                waiting.extend(self._file_nodes[index].input)
        return found

    def _is_constant(self, index: int) -> bool:
        return bool(self._file_nodes[index].op_type == "Constant")

    def _read_node(self, index: int) -> None:
        node = self._file_nodes[index]
        known = [self._known(name) for name in node.input if name]
        if node.op_type == "Constant":
            self._constants[node.output[0]] = self._stored(index)
        elif node.op_type == "Shape" and node.input[0] in self._values:
            self._attributes(index, {})
            shape = self._shape(node.input[0])  # 0: Reshape keeps the rows
            self._constants[node.output[0]] = np.array([0, *shape], np.int64)
        elif known and all(known) and node.op_type in FOLDED:
            self._constants[node.output[0]] = self._fold(index)
        elif node.op_type in _READERS:
            if len(node.output) > 1 and node.op_type not in ("Dropout", "BatchNormalization", "LinearClassifier"):
                self._refuse(index, "chain", "it must have exactly one output")
            _READERS[node.op_type](self, index)
        elif node.op_type in float_functions.PLAIN or node.op_type in float_functions.ATTRIBUTES:
            self._function(index)
        else:
            known_ones = "dense and convolutional layers, pools, sums, joins and functions of one number are quantised"
            self._refuse(index, "operator", _ADVICE.get(node.op_type, f"it is not known here: {known_ones}"))

    # --- values ---

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
        self._values[name] = _Value(at)
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
        self._values[self._file_nodes[index].output[0]] = _Value(self._append(self._label(index), operator, *read))

    def _input(self, index: int, place: int = 0) -> int:
        """The value that a node reads at a place."""
        node = self._file_nodes[index]
        name = node.input[place] if place < len(node.input) else ""
        if name not in self._values:
            self._refuse(index, "chain", f"input {place} is not computed from the features before it: sort the nodes")
        return self._at(name)

    def _last_name(self, name: str) -> str:
        return self._label(self._writers[name])

    # --- layers ---

    def _gemm(self, index: int) -> None:
        is_gemm = self._file_nodes[index].op_type == "Gemm"
        read = self._input(index)
        found = self._attributes(index, {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} if is_gemm else {})
        if found.get("transA"):
            self._refuse(index, "attribute", "transA must be 0: rows run along the first dimension")
        weights = self._constant(index, 1) * found.get("alpha", 1.0)
        if weights.ndim != 2:
            self._refuse(index, "shape", f"weights of shape {weights.shape}: a matrix is needed")
        weights = weights if found.get("transB") else weights.T
        bias = np.zeros(len(weights))
        if is_gemm and len(self._file_nodes[index].input) == 3:
            given = self._constant(index, 2)
            if given.size not in (1, len(weights)) or (given.ndim and given.shape[-1] != given.size):
                self._refuse(index, "shape", f"a bias of shape {given.shape} for {len(weights)} outputs")
            bias = bias + given.reshape(-1) * found["beta"]
        self._give(index, FloatDense(weights, bias), read)

    def _linear_classifier(self, index: int) -> None:
        node = self._file_nodes[index]
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if not {"coefficients", "intercepts"} <= set(attributes) or len(node.output) != 2:
            self._refuse(index, "attribute", "coefficients and intercepts are needed")
        bias = np.array(attributes["intercepts"].floats, np.float64)
        weights = np.array(attributes["coefficients"].floats, np.float64)
        if not len(bias) or len(weights) % len(bias) or not np.isfinite(weights).all() or not np.isfinite(bias).all():
            self._refuse(index, "tensor", f"{len(weights)} coefficients of {len(bias)} classes do not fit, or hold NaN")
        dense = FloatDense(weights.reshape(len(bias), -1), bias)
        self._values[node.output[1]] = _Value(self._append(self._label(index), dense, self._input(index)))

    def _conv(self, index: int) -> None:
        read = self._input(index)
        weights = self._constant(index, 1)
        if weights.ndim not in (3, 4):
            self._refuse(index, "shape", f"weights of shape {weights.shape}: one or two dimensions are convolved")
        bias = self._constant(index, 2) if len(self._file_nodes[index].input) == 3 else np.zeros(len(weights))
        found = self._attributes(
            index,
            {"kernel_shape": (), "strides": (), "pads": (), "dilations": (), "group": 1, "auto_pad": "NOTSET"},
        )
        if bias.shape != (len(weights),) or found["group"] < 1 or found["kernel_shape"] not in ((), weights.shape[2:]):
            self._refuse(index, "shape", f"weights {weights.shape}, bias {bias.shape} and group or kernel do not fit")
        weights = self._dilate(index, weights, found["dilations"])
        _, strides, pads = self._window(index, found, weights.shape[2:], self._shapes[read])
        self._give(index, FloatConv(weights, bias, strides, pads, found["group"]), read)

    def _dilate(self, index: int, weights: Floats, dilations: Shape) -> Floats:
        """The kernel with its holes as zeros."""
        steps = dilations or (1,) * (weights.ndim - 2)
        if len(steps) != weights.ndim - 2 or min(steps) < 1:
            self._refuse(index, "attribute", f"dilations {steps}: at least 1 for each dimension of the kernel")
        sides = tuple((side - 1) * step + 1 for side, step in zip(weights.shape[2:], steps, strict=True))
        if math.prod(weights.shape[:2]) * math.prod(sides) > MAX_FILE_BYTES:
            self._refuse(index, "size", f"a kernel of {sides} with its holes is too large: use smaller dilations")
        wide = np.zeros((*weights.shape[:2], *sides))
        wide[(slice(None), slice(None), *(slice(None, None, step) for step in steps))] = weights
        return wide

    def _pool(self, index: int) -> None:
        node = self._file_nodes[index]
        read = self._input(index)
        size = self._shapes[read][1:]
        if not 1 <= len(size) <= 2:
            self._refuse(index, "shape", f"it reads {self._shapes[read]}: one or two dimensions are pooled")
        if node.op_type.startswith("Global"):
            self._attributes(index, {})
            kernel, strides, pads = size, (1,) * len(size), ((0, 0),) * len(size)
            counts_pads = True
        else:
            found = self._attributes(
                index,
                {
                    "kernel_shape": (),
                    "strides": (),
                    "pads": (),
                    "dilations": (),
                    "auto_pad": "NOTSET",
                    "ceil_mode": 0,
                    "count_include_pad": 0,
                    "storage_order": 0,
                },
            )
            if any(step != 1 for step in found["dilations"]) or found["storage_order"]:
                self._refuse(index, "attribute", "dilations and storage_order are not accepted: pool plainly")
            kernel, strides, pads = self._window(index, found, found["kernel_shape"], self._shapes[read])
            counts_pads = bool(found["count_include_pad"])
            if found["ceil_mode"]:
                pads = _ceil(size, kernel, strides, pads)
                counts_pads = False
        if node.op_type.endswith("MaxPool"):
            self._give(index, MaxPool(kernel, strides, pads), read)
            return
        if any(map(any, pads)) and not counts_pads:
            advice = "it leaves its pads out of the mean, so windows differ: set count_include_pad, or drop the padding"
            self._refuse(index, "attribute", advice)
        self._give(index, AveragePool(kernel, strides, pads), read)

    def _window(self, index: int, found: dict[str, Any], kernel: Shape, read: Shape) -> tuple[Shape, Shape, Pads]:
        strides = found["strides"] or (1,) * len(kernel)
        around = found["pads"] or (0,) * (2 * len(kernel))
        if not kernel or not len(kernel) == len(strides) == len(read) - 1 or len(around) != 2 * len(kernel):
            self._refuse(
                index, "shape", f"kernel {kernel}, strides {strides}, pads {around} on a value of shape {read}"
            )
        if min(kernel) < 1 or min(strides) < 1 or min(around) < 0 or max(*around, *kernel) > MOST_VALUES:
            self._refuse(index, "attribute", f"kernel {kernel}, strides {strides}, pads {around} are out of range")
        if found["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
            pads = []
            for size, side, stride in zip(read[1:], kernel, strides, strict=True):
                missing = max(0, (-(-size // stride) - 1) * stride + side - size)
                small, large = missing // 2, missing - missing // 2
                pads.append((small, large) if found["auto_pad"] == "SAME_UPPER" else (large, small))
            return kernel, strides, tuple(pads)
        if found["auto_pad"] not in ("NOTSET", "VALID"):
            self._refuse(index, "attribute", f"auto_pad {found['auto_pad']!r} is not known")
        if found["auto_pad"] == "VALID":
            around = (0,) * (2 * len(kernel))
        return kernel, strides, tuple(zip(around[: len(kernel)], around[len(kernel) :], strict=True))

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
            self._values[node.output[0]] = _Value(one.base, composed, None, None, self._label(index), cost)
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
            made = _Value(value.base, call, line, clip, self._label(index))
        else:
            joined = None
            if line is not None and value.line is not None:
                joined = value.line[0] * line[0], value.line[1] * line[0] + line[1]
            made = _Value(value.base, lambda x: call(before(x)), joined, None, self._label(index), value.cost + 1)
        if clip is not None and value.call is not None and value.line is not None:
            base = self._at(node.input[place])  # a clip stays recognisable: it is free
            made = _Value(base, call, line, clip, self._label(index))
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

    # --- operators that only move values ---

    def _concat(self, index: int) -> None:
        node = self._file_nodes[index]
        axis = self._attributes(index, {"axis": 0})["axis"]
        read = [self._input(index, place) for place in range(len(node.input))]
        rank = len(self._shapes[read[0]])
        if axis % (rank + 1) != 1 or not -rank - 1 <= axis <= rank:
            self._refuse(index, "attribute", f"axis {axis}: only channels are joined, axis 1")
        if len(read) == 1:
            self._pass(index)
        else:
            self._give(index, Concat(), *read)

    def _reshape(self, index: int) -> None:
        node = self._file_nodes[index]
        read = self._input(index)
        shape = self._shapes[read]
        if node.op_type == "Flatten":
            if self._attributes(index, {"axis": 1})["axis"] not in (1, -len(shape)):
                self._refuse(index, "attribute", "axis must be 1: rows run along the first dimension")
            wanted: Shape = (math.prod(shape),)
        elif node.op_type == "Reshape":
            allows_zero = self._attributes(index, {"allowzero": 0})["allowzero"]
            sizes = self._axes(index, 1)
            if len(sizes) < 2 or len(sizes) > 6 or sizes[0] not in (0, -1, 1) or (allows_zero and 0 in sizes):
                self._refuse(index, "shape", f"shape {sizes}: the first must keep the rows, 0 or -1")
            rest = [shape[at] if size == 0 and at < len(shape) else size for at, size in enumerate(sizes[1:])]
            missing = [at for at, size in enumerate(rest) if size == -1]
            known = math.prod(size for size in rest if size != -1)
            if len(missing) == 1 and known > 0:
                rest[missing[0]] = math.prod(shape) // known
            if min(rest) < 1:
                self._refuse(index, "shape", f"shape {sizes} does not fit values of shape {shape}")
            wanted = tuple(rest)
        else:
            given = self._axes(index, 1)
            is_squeeze = node.op_type == "Squeeze"
            axes = sorted(axis % (len(shape) + 1 + (0 if is_squeeze else len(given))) for axis in given)
            if 0 in axes or len(set(axes)) != len(axes):
                self._refuse(index, "attribute", "it must leave the rows' dimension alone")
            full = list(shape)
            for axis in reversed(axes) if is_squeeze else axes:
                if is_squeeze and full.pop(axis - 1) != 1:
                    self._refuse(index, "shape", f"axes {axes} of {shape} are not 1")
                elif not is_squeeze:
                    full.insert(axis - 1, 1)
            wanted = tuple(full) or (1,)
        self._give(index, Reshape(wanted), read)

    def _transpose(self, index: int) -> None:
        read = self._input(index)
        order = self._attributes(index, {"perm": ()})["perm"]
        if not order or order[0] != 0:
            self._refuse(index, "attribute", "perm must keep the rows' dimension first")
        self._give(index, Transpose(tuple(axis - 1 for axis in order[1:])), read)

    def _pad(self, index: int) -> None:
        found = self._attributes(index, {"mode": "constant", "pads": (), "value": 0.0})  # attributes before opset 11
        if found["mode"] != "constant" or len(self._file_nodes[index].input) > 3:
            self._refuse(index, "attribute", "only a constant is padded with, and along all axes: mode constant")
        read = self._input(index)
        pads = list(found["pads"]) if len(self._file_nodes[index].input) < 2 else self._axes(index, 1)
        value = float(found["value"])
        if len(self._file_nodes[index].input) > 2 and self._file_nodes[index].input[2]:
            number = read_scalar(self._constant(index, 2))
            if number is None:
                self._refuse(index, "shape", "it pads with one number")
            value = float(number)
        rank = len(self._shapes[read]) + 1
        if len(pads) != 2 * rank or any(pads[:2] + pads[rank : rank + 2]) or min(pads) < 0 or max(pads) > MOST_VALUES:
            self._refuse(index, "attribute", f"pads {pads}: rows and channels are not padded, and nothing is cut off")
        self._give(index, FloatPad(tuple(zip(pads[2:rank], pads[rank + 2 :], strict=True)), value), read)

    def _reduce(self, index: int) -> None:
        """The mean or the maximum over all dimensions but the channels'."""
        node = self._file_nodes[index]
        found = self._attributes(index, {"keepdims": 1, "noop_with_empty_axes": 0, "axes": ()})
        read = self._input(index)
        shape = self._shapes[read]
        axes = list(found["axes"]) if len(node.input) < 2 else self._axes(index, 1)
        if (
            sorted(axis % (len(shape) + 1) for axis in axes) != list(range(2, len(shape) + 1))
            or not 2 <= len(shape) <= 3
        ):
            self._refuse(
                index, "attribute", f"axes {axes} of {shape}: only all dimensions after the channels are reduced"
            )
        size = shape[1:]
        pool = AveragePool if node.op_type == "ReduceMean" else MaxPool
        self._give(index, pool(size, (1,) * len(size), ((0, 0),) * len(size)), read)
        if not found["keepdims"]:
            self._give(index, Reshape((shape[0],)), self._values[node.output[0]].base)


_MOVING = ("Reshape", "Transpose", "MaxPool", "Flatten", "Concat", "Squeeze", "Unsqueeze", "Pad")
_READERS: dict[str, Callable[[_Reader, int], None]] = {
    "Gemm": _Reader._gemm,
    "MatMul": _Reader._gemm,
    "LinearClassifier": _Reader._linear_classifier,
    "Conv": _Reader._conv,
    "MaxPool": _Reader._pool,
    "AveragePool": _Reader._pool,
    "GlobalMaxPool": _Reader._pool,
    "GlobalAveragePool": _Reader._pool,
    "ReduceMean": _Reader._reduce,
    "ReduceMax": _Reader._reduce,
    "BatchNormalization": _Reader._batch_normalization,
    "Scaler": _Reader._scaler,
    "Add": _Reader._arithmetic,
    "Sub": _Reader._arithmetic,
    "Mul": _Reader._arithmetic,
    "Div": _Reader._arithmetic,
    "Pow": _Reader._power,
    "Clip": _Reader._clip,
    "PRelu": _Reader._prelu,
    "QuantizeLinear": _Reader._quantize_linear,
    "DequantizeLinear": _Reader._dequantize_linear,
    "Concat": _Reader._concat,
    "Reshape": _Reader._reshape,
    "Flatten": _Reader._reshape,
    "Squeeze": _Reader._reshape,
    "Unsqueeze": _Reader._reshape,
    "Transpose": _Reader._transpose,
    "Pad": _Reader._pad,
    **dict.fromkeys(_PASSING, _Reader._pass),
}


def _same(x: Floats) -> Floats:
    return x


def _spread(values: Floats, shape: Shape) -> Floats:
    """A value for each channel, at each of a channel's places."""
    return np.broadcast_to(values.reshape(-1, *(1,) * (len(shape) - 1)), shape)


def _ceil(size: Shape, kernel: Shape, strides: Shape, pads: Pads) -> Pads:
    """The pads with which as many windows fit as where the last one may run over the end."""
    result = []
    for length, side, stride, (before, behind) in zip(size, kernel, strides, pads, strict=True):
        windows = -(-(length + before + behind - side) // stride) + 1
        if (windows - 1) * stride >= length + before:
            windows -= 1
        result.append((before, max(behind, (windows - 1) * stride + side - length - before)))
    return tuple(result)
