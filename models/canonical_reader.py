"""Reads the canonical ONNX file that models.canonical describes, and nothing else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from models.form import MOST_DIMENSIONS, NotCanonical, check_network
from models.integer_ops import SHIFT_LIMIT
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
)
from models.onnx_file import MAX_FILE_BYTES, Attribute, Tensor, label, read_attributes, read_scalar, read_tensor

_ANY_RANK = range(1, MOST_DIMENSIONS + 1)
_WINDOW: dict[str, Attribute] = {"kernel_shape": (), "strides": (), "pads": ()}
_FIRST = ("DequantizeLinear", "Cast", "MaxPool", "Concat", "Pad", "Reshape", "Transpose")  # of a block


@dataclass(frozen=True)
class _Linear:
    """A Gemm, or a MatMul with its Add: the DequantizeLinear nodes of its constants, and the value it gives."""

    weights: onnx.NodeProto
    bias: onnx.NodeProto
    is_transposed: bool  # weights stand as (outputs, inputs)
    output: str


class Reader:
    """Reads the blocks in the file's order; each node is visited once, so a cycle cannot hold it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._nodes = list(graph.node)
        self._labels = {id(node): label(node, index) for index, node in enumerate(self._nodes)}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._elements_left = MAX_FILE_BYTES  # a constant read by many nodes counts each time
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        self._writers: dict[str, onnx.NodeProto] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
            for name in node.output:
                self._writers[name] = node
        self._visited: set[int] = set()
        self._values: dict[str, int] = {}  # the uint8 values known so far, and the logits

    def read(self) -> IntegerNetwork:
        """The network, within every bound. Raises NotCanonical naming node and rule."""
        self._values[self._input()] = 0
        self._check_output()
        operators: list[Operator] = []
        reads: list[tuple[int, ...]] = []
        for node in self._nodes:
            if id(node) in self._visited or self._is_of_constants(node):
                continue
            operator, read, value = self._block(node)
            operators.append(operator)
            reads.append(tuple(self._values[name] for name in read))
            self._values[value] = len(operators)
        for node in self._nodes:
            if id(node) not in self._visited:
                raise self._refuse(node, "chain", "it does not lead from the input to the logits: remove it")
        if self._graph.output[0].name != value:
            raise NotCanonical("graph", "output", "the one output must be the last Cast's: remove other outputs")
        network = IntegerNetwork(tuple(operators), tuple(reads))
        check_network(network)
        self._check_lengths(network)
        return network

    def _is_of_constants(self, node: onnx.NodeProto) -> bool:
        """Whether it dequantises a constant: the block that reads it visits it."""
        return node.op_type == "DequantizeLinear" and bool(node.input) and node.input[0] in self._constants

    def _block(self, node: onnx.NodeProto) -> tuple[Operator, list[str], str]:
        """The operator whose block begins at a node, the values it reads, and the value it gives."""
        self._visit(node, _FIRST)
        operator: Operator
        read, value = list(node.input[:1]), node.output[0]
        match node.op_type:
            case "DequantizeLinear":
                self._check_activation(node)
                operator, value = self._layer(value)
            case "Cast":
                operator, read, value = self._cast(node)
            case "MaxPool":
                self._check_arity(node, (1,))
                operator = MaxPool(*self._window(node, {"storage_order": 0}))
            case "Concat":
                if self._attributes(node, {"axis": 0})["axis"] != 1:
                    raise self._refuse(node, "attribute", "only channels are joined: axis 1")
                operator, read = Concat(), list(node.input)
            case _:
                operator = self._arranged(node)
        for name in read:
            if name not in self._values:
                raise self._refuse(node, "chain", "it reads a value that no block before it gives: sort the nodes")
        return operator, read, value

    def _layer(self, value: str) -> tuple[Dense | Conv, str]:
        """A Gemm, MatMul with Add, or Conv on dequantised activations."""
        node = self._next(value, ("Gemm", "MatMul", "Conv"))
        if node.input[0] != value:
            raise self._refuse(node, "chain", "the activations must be its first input")
        if node.op_type == "Conv":
            return self._conv(node)
        linear = self._linear(node)
        weights, bias, shifts = self._weighted(linear)
        after = self._next(linear.output, ("QuantizeLinear", "Cast"))
        if after.op_type == "QuantizeLinear":
            self._check_activation(after)
            return Dense(weights, bias, shifts), after.output[0]
        attributes = self._attributes(after, {"to": 0, "saturate": 1})
        if attributes["to"] != TensorProto.INT32:
            raise self._refuse(after, "attribute", "the logits must be cast to int32")
        if shifts.any():
            raise self._refuse(linear.weights, "logits", "the last layer's scales must all be 1")
        return Dense(weights, bias, None), after.output[0]

    def _conv(self, node: onnx.NodeProto) -> tuple[Conv, str]:
        self._check_arity(node, (3,))
        linear = _Linear(self._source(node, 1), self._source(node, 2), True, node.output[0])
        weights, bias, shifts = self._weighted(linear, (3, 4))
        found = self._attributes(node, {**_WINDOW, "group": 1, "dilations": (), "auto_pad": "NOTSET"})
        kernel, strides, pads = self._sliding(node, found, weights.shape[2:])
        if kernel != weights.shape[2:]:
            raise self._refuse(node, "shape", f"kernel_shape {kernel} beside weights {weights.shape}")
        if found["auto_pad"] != "NOTSET" or any(step != 1 for step in found["dilations"]):
            raise self._refuse(node, "attribute", "auto_pad and dilations are not accepted: use the quantiser")
        after = self._next(node.output[0], ("QuantizeLinear",))
        self._check_activation(after)
        return Conv(weights, bias, shifts, strides, pads, found["group"]), after.output[0]

    def _cast(self, node: onnx.NodeProto) -> tuple[Operator, list[str], str]:
        """What begins with a Cast: a Table, an AveragePool or an Add."""
        self._check_arity(node, (1,))
        kind = self._attributes(node, {"to": 0, "saturate": 1})["to"]
        if kind == TensorProto.INT32:
            gather = self._next(node.output[0], ("Gather",))
            self._check_arity(gather, (2,))
            if self._attributes(gather, {"axis": 0})["axis"] != 0 or gather.input[1] != node.output[0]:
                raise self._refuse(
                    gather, "attribute", "the activations are the places in a table: its second input, axis 0"
                )
            entries = self._constant(gather, 0, np.uint8)
            return Table(entries), [node.input[0]], gather.output[0]
        if kind != TensorProto.FLOAT:
            raise self._refuse(node, "attribute", "activations are cast to int32 before a table, else to float")
        after = self._next(node.output[0], ("AveragePool", "Mul"))
        if after.op_type == "Mul":
            return self._add(node, after)
        self._check_arity(after, (1,))
        window = self._window(after, {"count_include_pad": 1})
        quantise = self._next(after.output[0], ("QuantizeLinear",))
        self._check_activation(quantise)
        return AveragePool(*window), [node.input[0]], quantise.output[0]

    def _add(self, cast: onnx.NodeProto, first: onnx.NodeProto) -> tuple[Add, list[str], str]:
        total = self._next(first.output[0], ("Add",))
        self._check_arity(total, (2,))
        if total.input[0] != first.output[0]:
            raise self._refuse(total, "chain", "its products stand in the order of their casts")
        second = self._giver(total, 1, ("Mul",))
        other = self._giver(second, 0, ("Cast",))
        self._check_arity(other, (1,))
        if self._attributes(other, {"to": 0, "saturate": 1})["to"] != TensorProto.FLOAT:
            raise self._refuse(other, "attribute", "both values must be cast to float")
        for product, real in ((first, cast), (second, other)):
            self._check_arity(product, (2,))
            self._attributes(product, {})
            if product.input[0] != real.output[0]:
                raise self._refuse(product, "chain", "the activations must be its first input")
        sums = self._next(total.output[0], ("Add",))
        self._check_arity(sums, (2,))
        for node in (total, sums):
            self._attributes(node, {})
        if sums.input[0] != total.output[0]:
            raise self._refuse(sums, "chain", "the bias must be its second input")
        bias = self._source(sums, 1)
        columns = []
        for product in (first, second):
            linear = _Linear(self._source(product, 1), bias, True, sums.output[0])
            weights, integers, shifts = self._weighted(linear, _ANY_RANK, _ANY_RANK)
            columns.append(weights.reshape(-1))
            if weights.size != len(weights):
                raise self._refuse(linear.weights, "shape", f"{weights.shape}: one weight for each channel")
        quantise = self._next(sums.output[0], ("QuantizeLinear",))
        self._check_activation(quantise)
        layer = Add(np.ascontiguousarray(np.stack(columns, axis=1)), integers, shifts)
        return layer, [cast.input[0], other.input[0]], quantise.output[0]

    def _arranged(self, node: onnx.NodeProto) -> Pad | Reshape | Transpose:
        if node.op_type == "Transpose":
            self._check_arity(node, (1,))
            order = self._attributes(node, {"perm": ()})["perm"]
            if not order or order[0] != 0:
                raise self._refuse(node, "attribute", "perm must keep the first dimension, along which rows run")
            return Transpose(tuple(dimension - 1 for dimension in order[1:]))
        if node.op_type == "Reshape":
            self._check_arity(node, (2,))
            shape = self._vector(node, 1)
            if (
                self._attributes(node, {"allowzero": 0})["allowzero"] != 0
                or shape[0] != 0
                or min(shape[1:], default=0) < 1
            ):
                raise self._refuse(
                    node, "attribute", f"shape {shape}: the first is 0, which keeps the rows, the others at least 1"
                )
            return Reshape(shape[1:])
        self._check_arity(node, (3,))
        if self._attributes(node, {"mode": "constant"})["mode"] != "constant":
            raise self._refuse(node, "attribute", "only a constant is padded with: mode constant")
        around = self._vector(node, 1)
        value = read_scalar(self._constant(node, 2, np.uint8))
        rank = len(around) // 2
        if value is None or rank < 3 or len(around) != 2 * rank or any(around[:2] + around[rank : rank + 2]):
            raise self._refuse(node, "attribute", f"pads {around} of one value: rows and channels are not padded")
        return Pad(tuple(zip(around[2:rank], around[rank + 2 :], strict=True)), int(value))

    def _vector(self, node: onnx.NodeProto, place: int) -> Shape:
        array = self._constant(node, place, np.int64)
        if array.ndim != 1 or array.size > 2 * (MOST_DIMENSIONS + 1):
            raise self._refuse(node, "shape", f"input {place} of shape {array.shape}: one number for each dimension")
        return tuple(int(number) for number in array)

    def _window(self, node: onnx.NodeProto, more: dict[str, Attribute]) -> tuple[Shape, Shape, Pads]:
        """Kernel, strides and pads of a pool, whose other attributes must have the values `more`."""
        plain: dict[str, Attribute] = {**more, "ceil_mode": 0, "auto_pad": "NOTSET"}
        found = self._attributes(node, {**_WINDOW, **plain, "dilations": (), "count_include_pad": 0, **more})
        if "count_include_pad" in more and not any(found["pads"]):
            found["count_include_pad"] = 1  # without pads it is the same either way
        if any(found[name] != value for name, value in plain.items()) or any(step != 1 for step in found["dilations"]):
            wanted = ", ".join(f"{name} {value}" for name, value in plain.items())
            raise self._refuse(node, "attribute", f"{wanted} and no dilations are needed: use the quantiser")
        return self._sliding(node, found, found["kernel_shape"])

    def _sliding(self, node: onnx.NodeProto, found: dict[str, Any], kernel: Shape) -> tuple[Shape, Shape, Pads]:
        kernel = found["kernel_shape"] or kernel
        strides = found["strides"] or (1,) * len(kernel)
        around = found["pads"] or (0,) * 2 * len(kernel)
        if not len(kernel) == len(strides) == len(around) // 2 or len(around) % 2:
            advice = f"kernel {kernel}, strides {strides}, pads {around}: one, one and two for each dimension"
            raise self._refuse(node, "window", advice)
        return kernel, strides, tuple(zip(around[: len(kernel)], around[len(kernel) :], strict=True))

    def _weighted(
        self, linear: _Linear, ranks: Collection[int] = (2,), bias_ranks: Collection[int] = (1,)
    ) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.uint8]]:
        """Weights (outputs, …), bias (outputs,) and shifts (outputs,) of a layer."""
        weights, weight_scales = self._quantised(linear.weights, np.int8, 0 if linear.is_transposed else 1, ranks)
        bias, bias_scales = self._quantised(linear.bias, np.int32, 0, bias_ranks)
        if not linear.is_transposed:
            weights = weights.T
        if bias.shape != (len(weights), *(1,) * (bias.ndim - 1)):
            raise self._refuse(
                linear.bias, "shape", f"bias {bias.shape} beside weights (outputs, inputs) {weights.shape}"
            )
        shifts = self._shifts(linear.weights, weight_scales, len(bias))
        if not np.array_equal(self._shifts(linear.bias, bias_scales, len(bias)), shifts):
            raise self._refuse(linear.bias, "power-of-two", "the bias must have exactly the weights' scales")
        return np.ascontiguousarray(weights), bias.reshape(-1), shifts

    def _linear(self, node: onnx.NodeProto) -> _Linear:
        self._check_arity(node, (3,) if node.op_type == "Gemm" else (2,))
        if node.op_type == "Gemm":
            found = self._attributes(node, {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0})
            if (found["alpha"], found["beta"], found["transA"]) != (1, 1, 0) or found["transB"] not in (0, 1):
                raise self._refuse(
                    node, "attribute", "alpha and beta must be 1 and transA 0: fold them into the weights"
                )
            weights, bias = self._source(node, 1), self._source(node, 2)
            return _Linear(weights, bias, found["transB"] == 1, node.output[0])
        self._attributes(node, {})
        add = self._next(node.output[0], ("Add",))
        self._check_arity(add, (2,))
        self._attributes(add, {})
        place = 1 if add.input[0] == node.output[0] else 0
        return _Linear(self._source(node, 1), self._source(add, place), False, add.output[0])

    def _quantised(
        self, node: onnx.NodeProto, kind: type[np.integer], channel_axis: int, ranks: Collection[int]
    ) -> tuple[Tensor, Tensor]:
        """The integers and float32 scales of a DequantizeLinear on constants."""
        self._check_arity(node, (2, 3))
        values = self._constant(node, 0, kind)
        scales = self._constant(node, 1, np.float32)
        if len(node.input) == 3 and self._constant(node, 2, kind).any():
            raise self._refuse(node, "zero-point", "use symmetric quantisation: zero point 0")
        if values.ndim not in ranks:
            raise self._refuse(node, "shape", f"{values.shape}: {' or '.join(map(str, ranks))} dimensions are needed")
        axis = self._attributes(node, {"axis": 1})["axis"]
        if scales.size != 1 and (axis % values.ndim if -values.ndim <= axis < values.ndim else -1) != channel_axis:
            raise self._refuse(node, "shape", f"scales must run along the output channels: axis {channel_axis}")
        return values, scales

    def _shifts(self, node: onnx.NodeProto, scales: Tensor, outputs: int) -> NDArray[np.uint8]:
        if scales.ndim > 1 or scales.size not in (1, outputs):
            raise self._refuse(node, "shape", f"scales of shape {scales.shape} for {outputs} outputs")
        mantissas, exponents = np.frexp(scales.reshape(-1))
        shifts = 1 - exponents.astype(np.int64)
        if not (mantissas == 0.5).all() or shifts.min() < 0 or shifts.max() > SHIFT_LIMIT:
            advice = f"scales must be 2^-k, 0 ≤ k ≤ {SHIFT_LIMIT}: use the quantiser, the weights absorb the rest"
            raise self._refuse(node, "power-of-two", advice)
        return np.asarray(np.broadcast_to(shifts, (outputs,)), np.uint8)

    def _check_activation(self, node: onnx.NodeProto) -> None:
        self._check_arity(node, (2, 3) if node.op_type == "DequantizeLinear" else (3,))
        self._attributes(node, {"axis": 1, "saturate": 1})
        scale = read_scalar(self._constant(node, 1, np.float32))
        zero = read_scalar(self._constant(node, 2, np.uint8)) if len(node.input) == 3 else np.uint8(0)
        if scale != 1 or zero != 0:
            raise self._refuse(node, "activation", "activations need scale 1 and zero point 0: use the quantiser")

    def _input(self) -> str:
        inputs = self._graph.input
        if len(inputs) != 1 or inputs[0].name in self._constants:
            raise NotCanonical(
                "graph", "input", f"{len(inputs)} inputs: keep one, and leave initializers out of the inputs"
            )
        kind = inputs[0].type.tensor_type
        if kind.elem_type != TensorProto.UINT8 or len(kind.shape.dim) != 2:
            raise NotCanonical("graph", "input", "the input must be uint8 of shape (n, row length)")
        return str(inputs[0].name)

    def _check_output(self) -> None:
        outputs = self._graph.output
        if len(outputs) != 1:
            raise NotCanonical("graph", "output", f"{len(outputs)} outputs: keep the logits alone")
        kind = outputs[0].type.tensor_type
        if kind.elem_type != TensorProto.INT32 or len(kind.shape.dim) != 2:
            raise NotCanonical("graph", "output", "the output must be int32 of shape (n, classes)")
        if outputs[0].name in self._readers:
            raise NotCanonical("graph", "output", "nothing may read the logits: take the argmax outside the model")

    def _check_lengths(self, network: IntegerNetwork) -> None:
        """Lengths that the file declares are those of its layers."""
        for rule, value, length in (
            ("input", self._graph.input[0], network.row_length),
            ("output", self._graph.output[0], network.output_length),
        ):
            dimension = value.type.tensor_type.shape.dim[1]
            if dimension.HasField("dim_value") and dimension.dim_value != length:
                advice = f"its declared length {dimension.dim_value} is not the layers' {length}"
                raise NotCanonical("graph", rule, advice)

    def _next(self, value: str, operators: tuple[str, ...]) -> onnx.NodeProto:
        """The one node that reads a value, which must be one of the operators."""
        readers = self._readers.get(value, [])
        if len(readers) != 1:
            writer = self._writers.get(value)
            where = self._labels[id(writer)] if writer is not None else "graph input"
            advice = f"its value is read {len(readers)} times: exactly one {' or '.join(operators)} must read it"
            raise NotCanonical(where, "chain", advice)
        return self._visit(readers[0], operators)

    def _source(self, node: onnx.NodeProto, place: int) -> onnx.NodeProto:
        """The DequantizeLinear that gives a node's input, and gives it to that node only."""
        return self._giver(node, place, ("DequantizeLinear",))

    def _giver(self, node: onnx.NodeProto, place: int, operators: tuple[str, ...]) -> onnx.NodeProto:
        """The node, one of the operators, that gives a node's input, and gives it to that node only."""
        value = node.input[place]
        writer = self._writers.get(value)
        if writer is None:
            of = " of an integer constant" if operators == ("DequantizeLinear",) else ""
            raise self._refuse(node, "operator", f"input {place} must come from a {' or '.join(operators)}{of}")
        if len(self._readers[value]) != 1:
            raise self._refuse(writer, "chain", "its value is read twice: give each layer its own weights")
        return self._visit(writer, operators)

    def _visit(self, node: onnx.NodeProto, operators: tuple[str, ...]) -> onnx.NodeProto:
        for attribute in node.attribute:
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                raise self._refuse(node, "subgraph", "control flow is not accepted: export a feed-forward graph")
        if node.op_type not in operators:
            raise self._refuse(node, "operator", f"{' or '.join(operators)} is expected here: {_advise(node.op_type)}")
        if id(node) in self._visited or len(node.output) != 1:
            raise self._refuse(node, "chain", "it has one place in the chain and one output")
        self._visited.add(id(node))
        return node

    def _constant(self, node: onnx.NodeProto, place: int, kind: type[np.generic]) -> Tensor:
        tensor = self._constants.get(node.input[place])
        if tensor is None:
            raise self._refuse(node, "constant", f"input {place} must be an initializer: fold constants before saving")
        if tensor.data_type != helper.np_dtype_to_tensor_dtype(np.dtype(kind)):
            raise self._refuse(node, "tensor", f"input {place} must be {np.dtype(kind)}")
        array = read_tensor(tensor, self._labels[id(node)], NotCanonical)
        self._elements_left -= array.size
        if self._elements_left < 0:
            raise self._refuse(node, "size", "the same constants are read over and over: give each layer its own")
        return array

    def _attributes(self, node: onnx.NodeProto, allowed: dict[str, Attribute]) -> dict[str, Any]:
        return read_attributes(node, self._labels[id(node)], allowed, NotCanonical)

    def _check_arity(self, node: onnx.NodeProto, counts: tuple[int, ...]) -> None:
        if len(node.input) not in counts:
            raise self._refuse(node, "chain", f"{len(node.input)} inputs, {' or '.join(map(str, counts))} expected")

    def _refuse(self, node: onnx.NodeProto, rule: str, advice: str) -> NotCanonical:
        return NotCanonical(self._labels[id(node)], rule, advice)


def _advise(operator: str) -> str:
    advice = {
        "Relu": "drop it, clamping at 0 in QuantizeLinear is the ReLU",
        "ArgMax": "end at the int32 logits and take the argmax outside the model",
        "Softmax": "end at the int32 logits, whose order the softmax keeps",
        "BatchNormalization": "fold it into the layer before it",
        "QLinearMatMul": "export in QDQ form",
        "MatMulInteger": "export in QDQ form",
        "QGemm": "export in QDQ form, before the runtime optimises the graph",
    }
    return advice.get(operator, "only the blocks of the canonical form are accepted; make them with the quantiser")
