"""The canonical form as an ONNX file: reading one strictly, and writing the one that is run.

A canonical file is a plain QDQ graph, a chain of this block for each dense layer:

    DequantizeLinear(uint8, scale 1, zero point 0)
        → Gemm(·, DequantizeLinear(int8 weights, 2^-k), DequantizeLinear(int32 bias, 2^-k))
        → QuantizeLinear(scale 1, zero point 0, uint8)     hidden layers: round half to even and clamp
        → Cast(int32)                                      the last layer, whose k is 0: the logits

ONNX Runtime fuses a block into one int8 kernel (QGemm); unfused it is float32 arithmetic in which every value is an
exact multiple of 2^-k below 2^(24-k). Both give the integers of `integer_ops`. MatMul followed by Add is read as Gemm.

A file is read to plain data and written anew before it runs: what a reader did not look at cannot decide an output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.form import NotCanonical, check_network
from models.integer_ops import SHIFT_LIMIT, WEIGHT_LIMIT
from models.network import Dense, IntegerNetwork
from models.onnx_file import MAX_NODES, Tensor, label, parse, read_attributes, read_scalar, read_tensor

__all__ = ["INPUT_NAME", "MAX_LAYERS", "OUTPUT_NAME", "RULES", "from_onnx", "to_onnx"]

INPUT_NAME = "rows"
OUTPUT_NAME = "logits"
MAX_LAYERS = MAX_NODES // 5  # of a file: each has the five nodes of a block

RULES: Mapping[str, str] = {
    "size": "the file, its structure and its node count are bounded",
    "parse": "the file is an ONNX protocol buffer",
    "domain": "only the standard operator set is used",
    "opset": "one operator set, of a version whose operators are known to mean the same",
    "function": "no local functions",
    "subgraph": "no control flow",
    "plain": "no training information, no sparse tensors",
    "external-data": "all tensors are stored in the file itself",
    "names": "each value is defined once",
    "input": "one input: uint8 rows of shape (n, row length)",
    "output": "one output: the int32 logits of shape (n, classes), that nothing else reads",
    "operator": "only the operators of the canonical chain, each where the chain has it",
    "chain": "each value is read by exactly one node, and every node belongs to the chain",
    "attribute": "only the attributes of the canonical chain, at their canonical values",
    "constant": "weights, biases, scales and zero points are initializers",
    "tensor": "a tensor's data has its stated type and a bounded shape",
    "shape": "layers fit each other: weights (outputs, inputs), one bias and at most one scale for each output",
    "activation": "activations are uint8 with scale 1 and zero point 0",
    "zero-point": "weights and biases have zero point 0",
    "power-of-two": f"weight scales are 2^-k, 0 ≤ k ≤ {SHIFT_LIMIT}, and the bias has the weights' scales",
    "logits": "the last layer's scale is 1, so that its output is the raw integer sum",
    "weight-range": f"|w| ≤ {WEIGHT_LIMIT}, so that no processor saturates a pair of products",
    "sum-bound": "Σ|w|·255 + |b| < 2^24 in each channel, so that no order of adding can round",
}


def from_onnx(source: bytes | str | Path) -> IntegerNetwork:
    """The network in a canonical ONNX file, given as a path or as its bytes.

    Raises NotCanonical naming node and rule; OSError where a path cannot be read.
    """
    network = _Reader(parse(source, NotCanonical).graph).read()
    check_network(network)
    return network


def to_onnx(network: IntegerNetwork) -> onnx.ModelProto:
    """The canonical ONNX model of a network: the same bytes for the same network.

    Raises NotCanonical, also for a network of more layers than from_onnx would read back.
    """
    check_network(network)
    if len(network.layers) > MAX_LAYERS:
        advice = f"{len(network.layers)} layers: a file holds at most {MAX_LAYERS}, use a shallower model"
        raise NotCanonical("network", "size", advice)
    nodes: list[onnx.NodeProto] = []
    constants = [
        numpy_helper.from_array(np.array(1, np.float32), "one"),
        numpy_helper.from_array(np.array(0, np.uint8), "zero"),
    ]
    value = INPUT_NAME
    for index, layer in enumerate(network.layers):
        value = _write_dense(layer, f"dense{index}", value, nodes, constants)
    graph = helper.make_graph(
        nodes,
        "integer_network",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["n", network.row_length])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.INT32, ["n", network.output_length])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="quorate")


def _write_dense(
    layer: Dense, name: str, value: str, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]
) -> str:
    """Append one dense block reading `value`; the name of the value it gives."""

    def constant(role: str, array: NDArray[np.generic]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{name}.{role}"))
        return f"{name}.{role}"

    def node(operator: str, inputs: list[str], role: str, **attributes: Any) -> str:
        output = OUTPUT_NAME if operator == "Cast" else f"{name}.{role}"
        nodes.append(helper.make_node(operator, inputs, [output], f"{name}.{role}", **attributes))
        return output

    shifts = np.zeros(layer.outputs, np.uint8) if layer.shifts is None else layer.shifts
    scales = constant("scales", np.ldexp(np.float32(1), -shifts.astype(np.int32)))
    zeros = [constant("weight_zeros", np.zeros(layer.outputs, np.int8))]
    zeros += [constant("bias_zeros", np.zeros(layer.outputs, np.int32))]
    activations = node("DequantizeLinear", [value, "one", "zero"], "activations")
    weights = node("DequantizeLinear", [constant("weights", layer.weights), scales, zeros[0]], "real_weights", axis=0)
    bias = node("DequantizeLinear", [constant("bias", layer.bias), scales, zeros[1]], "real_bias", axis=0)
    sums = node("Gemm", [activations, weights, bias], "sums", transB=1)
    if layer.shifts is None:
        return node("Cast", [sums], "logits", to=TensorProto.INT32)
    return node("QuantizeLinear", [sums, "one", "zero"], "bytes")


@dataclass(frozen=True)
class _Linear:
    """A Gemm, or a MatMul with its Add: the DequantizeLinear nodes of its constants, and the value it gives."""

    weights: onnx.NodeProto
    bias: onnx.NodeProto
    is_transposed: bool  # weights stand as (outputs, inputs)
    output: str


class _Reader:
    """Follows the chain from the input to the logits; each node is visited once, so a cycle cannot hold it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._nodes = list(graph.node)
        self._labels = {id(node): label(node, index) for index, node in enumerate(self._nodes)}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        self._writers: dict[str, onnx.NodeProto] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
            for name in node.output:
                self._writers[name] = node
        self._visited: set[int] = set()

    def read(self) -> IntegerNetwork:
        value = self._input()
        layers: list[Dense] = []
        while not layers or layers[-1].shifts is not None:
            layer, value = self._dense(value)
            layers.append(layer)
        self._check_end(value, layers[0].inputs, layers[-1].outputs)
        return IntegerNetwork(tuple(layers))

    def _dense(self, value: str) -> tuple[Dense, str]:
        activations = self._next(value, ("DequantizeLinear",))
        self._check_activation(activations)
        linear = self._linear(activations.output[0])
        weights, weight_scales = self._quantised(linear.weights, np.int8, channel_axis=0 if linear.is_transposed else 1)
        bias, bias_scales = self._quantised(linear.bias, np.int32, channel_axis=0)
        if not linear.is_transposed:
            weights = weights.T
        if bias.shape != weights.shape[:1]:
            raise self._refuse(
                linear.bias, "shape", f"bias {bias.shape} beside weights (outputs, inputs) {weights.shape}"
            )
        shifts = self._shifts(linear.weights, weight_scales, len(bias))
        if not np.array_equal(self._shifts(linear.bias, bias_scales, len(bias)), shifts):
            raise self._refuse(linear.bias, "power-of-two", "the bias must have exactly the weights' scales")
        after = self._next(linear.output, ("QuantizeLinear", "Cast"))
        if after.op_type == "QuantizeLinear":
            self._check_activation(after)
            return Dense(np.ascontiguousarray(weights), bias, shifts), after.output[0]
        attributes = self._attributes(after, {"to": 0, "saturate": 1})
        if attributes["to"] != TensorProto.INT32:
            raise self._refuse(after, "attribute", "the logits must be cast to int32")
        if shifts.any():
            raise self._refuse(linear.weights, "logits", "the last layer's scales must all be 1")
        return Dense(np.ascontiguousarray(weights), bias, None), after.output[0]

    def _linear(self, value: str) -> _Linear:
        node = self._next(value, ("Gemm", "MatMul"))
        self._check_arity(node, (3,) if node.op_type == "Gemm" else (2,))
        if node.input[0] != value:
            raise self._refuse(node, "chain", "the activations must be its first input")
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

    def _quantised(self, node: onnx.NodeProto, kind: type[np.integer], channel_axis: int) -> tuple[Tensor, Tensor]:
        """The integers and float32 scales of a DequantizeLinear on constants."""
        self._check_arity(node, (2, 3))
        values = self._constant(node, 0, kind)
        scales = self._constant(node, 1, np.float32)
        if len(node.input) == 3 and self._constant(node, 2, kind).any():
            raise self._refuse(node, "zero-point", "use symmetric quantisation: zero point 0")
        if values.ndim != (2 if kind is np.int8 else 1):
            raise self._refuse(node, "shape", f"{values.shape}: weights have two dimensions and biases one")
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

    def _check_end(self, value: str, row_length: int, output_length: int) -> None:
        outputs = self._graph.output
        if len(outputs) != 1 or outputs[0].name != value:
            raise NotCanonical("graph", "output", "the one output must be the last Cast's: remove other outputs")
        kind = outputs[0].type.tensor_type
        if kind.elem_type != TensorProto.INT32 or len(kind.shape.dim) != 2:
            raise NotCanonical("graph", "output", "the output must be int32 of shape (n, classes)")
        if value in self._readers:
            raise NotCanonical("graph", "output", "nothing may read the logits: take the argmax outside the model")
        for node in self._nodes:
            if id(node) not in self._visited:
                raise self._refuse(node, "chain", "it does not lead from the input to the logits: remove it")
        for rule, dimension, length in (
            ("input", self._graph.input[0].type.tensor_type.shape.dim[1], row_length),
            ("output", kind.shape.dim[1], output_length),
        ):
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
        value = node.input[place]
        writer = self._writers.get(value)
        if writer is None:
            raise self._refuse(
                node, "operator", f"input {place} must come from a DequantizeLinear of an integer constant"
            )
        if len(self._readers[value]) != 1:
            raise self._refuse(writer, "chain", "its value is read twice: give each layer its own weights")
        return self._visit(writer, ("DequantizeLinear",))

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
        return read_tensor(tensor, self._labels[id(node)], NotCanonical)

    def _attributes(self, node: onnx.NodeProto, allowed: dict[str, float]) -> dict[str, float]:
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
    return advice.get(operator, "only dense layers in QDQ form are accepted; make one with the quantiser")
