"""Reads the float ONNX models that PyTorch, Keras (tf2onnx) and scikit-learn (skl2onnx) export as a FloatNetwork.

Constants are folded, shapes are followed, batch normalisation and additions of a constant go into the layer before them, and
chains of functions of one number become one function. What only decorates the verdict at the end (Softmax, ArgMax, the
labels) is left off. QuantizeLinear and DequantizeLinear on activations are undone: what they clip remains. Everything else is
refused by node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from models import float_functions
from models.float_arithmetic import ArithmeticReader
from models.float_constants import FOLDED, CannotQuantize
from models.float_fusion import fuse
from models.float_layers import LayerReader
from models.float_model import (
    FloatNetwork,
    Function,
)
from models.float_moves import MoveReader
from models.float_values import Value
from models.form import LONGEST_ROW
from models.network import Shape
from models.onnx_file import (
    EXPORTED,
    parse,
)

_TAIL = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "Normalizer", "ZipMap", "ArrayFeatureExtractor", "LabelEncoder")
_OF_TAIL = ("Cast", "Identity", "Reshape", "Sub", "Concat", "Flatten", "Squeeze")  # only between those of the tail
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


class _Reader(LayerReader, ArithmeticReader, MoveReader):
    """Walks the nodes that lead to the logits, each once, in the file's order."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__(graph)
        self._graph = graph
        self._decorating: dict[str, bool] = {}

    def read(self) -> tuple[FloatNetwork, tuple[str, ...]]:
        inputs = [value for value in self._graph.input if value.name not in self._tensors]
        if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
            raise CannotQuantize("graph", "input", f"{len(inputs)} inputs: exactly one, of float32 features, is needed")
        self._shapes.append(self._row_shape(inputs[0]))
        self._values[inputs[0].name] = Value(0)
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

    def _last_name(self, name: str) -> str:
        return self._label(self._writers[name])


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
