"""Writes a network as the canonical ONNX file that models.canonical describes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.form import NotCanonical
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
)
from models.onnx_file import MAX_NODES

INPUT_NAME = "rows"
OUTPUT_NAME = "logits"
MAX_LAYERS = MAX_NODES // 5  # dense layers of a file: each has the five nodes of a block


def write(network: IntegerNetwork) -> onnx.ModelProto:
    """The model of a network in the canonical form. Raises NotCanonical for more nodes than a file may hold."""
    writer = _Writer(network)
    if len(writer.nodes) > MAX_NODES:
        advice = (
            f"{len(network.operators)} layers: a file holds at most {MAX_LAYERS}, use a shallower model"
            if network.is_dense
            else f"{len(writer.nodes)} nodes: a file holds at most {MAX_NODES}, use a shallower model"
        )
        raise NotCanonical("network", "size", advice)
    graph = helper.make_graph(
        writer.nodes,
        "integer_network",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["n", network.row_length])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.INT32, ["n", network.output_length])],
        writer.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="quorate")


class _Writer:
    """The nodes and constants of a network's file."""

    def __init__(self, network: IntegerNetwork) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants = [
            numpy_helper.from_array(np.array(1, np.float32), "one"),
            numpy_helper.from_array(np.array(0, np.uint8), "zero"),
        ]
        self._name = ""
        values = [INPUT_NAME]
        shapes = network.shapes
        for index, (operator, read) in enumerate(zip(network.operators, network.reads, strict=True)):
            self._name = f"{type(operator).__name__.lower()}{index}"
            values.append(self._write(operator, [values[value] for value in read], len(shapes[read[0]])))

    def _write(self, operator: Operator, read: list[str], rank: int) -> str:
        """Append the block of an operator that reads values of `rank` dimensions; the name of the value it gives."""
        match operator:
            case Dense():
                return self._dense(operator, read[0])
            case Conv():
                return self._conv(operator, read[0])
            case Add():
                return self._add(operator, read, rank)
            case AveragePool():
                reals = self._node("Cast", read, "activations", to=TensorProto.FLOAT)
                window = _window_attributes(operator.kernel, operator.strides, operator.pads)
                means = self._node("AveragePool", [reals], "means", **window, count_include_pad=1)
                return self._node("QuantizeLinear", [means, "one", "zero"], "bytes")
            case Table():
                places = self._node("Cast", read, "places", to=TensorProto.INT32)
                return self._node("Gather", [self._constant("entries", operator.entries), places], "bytes", axis=0)
            case MaxPool():
                window = _window_attributes(operator.kernel, operator.strides, operator.pads)
                return self._node("MaxPool", read, "bytes", **window)
            case Concat():
                return self._node("Concat", read, "bytes", axis=1)
            case Pad():
                pads = np.array([0, 0, *(before for before, _ in operator.pads), 0, 0, *(b for _, b in operator.pads)])
                value = self._constant("value", np.array(operator.value, np.uint8))
                return self._node("Pad", [*read, self._constant("pads", pads.astype(np.int64)), value], "bytes")
            case Reshape():
                shape = self._constant("shape", np.array([0, *operator.shape], np.int64))
                return self._node("Reshape", [*read, shape], "bytes")
        order = [0, *(dimension + 1 for dimension in operator.order)]
        return self._node("Transpose", read, "bytes", perm=order)

    def _dense(self, layer: Dense, value: str) -> str:
        shifts = np.zeros(layer.outputs, np.uint8) if layer.shifts is None else layer.shifts
        activations, weights, bias = self._operands(value, layer.weights, layer.bias, shifts)
        sums = self._node("Gemm", [activations, weights, bias], "sums", transB=1)
        if layer.shifts is None:
            return self._node("Cast", [sums], "logits", to=TensorProto.INT32)
        return self._node("QuantizeLinear", [sums, "one", "zero"], "bytes")

    def _conv(self, layer: Conv, value: str) -> str:
        operands = self._operands(value, layer.weights, layer.bias, layer.shifts)
        window = _window_attributes(layer.kernel, layer.strides, layer.pads)
        sums = self._node("Conv", operands, "sums", **window, group=layer.groups)
        return self._node("QuantizeLinear", [sums, "one", "zero"], "bytes")

    def _operands(
        self, value: str, integers: NDArray[np.int8], integer_bias: NDArray[np.int32], shifts: NDArray[np.uint8]
    ) -> list[str]:
        """The dequantised activations, weights and bias."""
        scales = self._scales(shifts)
        zeros = [self._constant("weight_zeros", np.zeros(len(shifts), np.int8))]
        zeros += [self._constant("bias_zeros", np.zeros(len(shifts), np.int32))]
        activations = self._node("DequantizeLinear", [value, "one", "zero"], "activations")
        stored = self._constant("weights", integers)
        weights = self._node("DequantizeLinear", [stored, scales, zeros[0]], "real_weights", axis=0)
        stored = self._constant("bias", integer_bias)
        bias = self._node("DequantizeLinear", [stored, scales, zeros[1]], "real_bias", axis=0)
        return [activations, weights, bias]

    def _add(self, layer: Add, read: list[str], rank: int) -> str:
        scales = self._scales(layer.shifts)
        shape = (-1, *(1,) * (rank - 1))
        products = []
        for place, value in enumerate(read):
            reals = self._node("Cast", [value], f"activations{place}", to=TensorProto.FLOAT)
            stored = self._constant(f"weights{place}", layer.weights[:, place].reshape(shape))
            weights = self._node("DequantizeLinear", [stored, scales], f"real_weights{place}", axis=0)
            products.append(self._node("Mul", [reals, weights], f"products{place}"))
        total = self._node("Add", products, "total")
        stored = self._constant("bias", layer.bias.reshape(shape))
        bias = self._node("DequantizeLinear", [stored, scales], "real_bias", axis=0)
        sums = self._node("Add", [total, bias], "sums")
        return self._node("QuantizeLinear", [sums, "one", "zero"], "bytes")

    def _scales(self, shifts: NDArray[np.uint8]) -> str:
        return self._constant("scales", np.ldexp(np.float32(1), -shifts.astype(np.int32)))

    def _constant(self, role: str, array: NDArray[Any]) -> str:
        contiguous = array if array.ndim == 0 else np.ascontiguousarray(array)
        self.constants.append(numpy_helper.from_array(contiguous, f"{self._name}.{role}"))
        return f"{self._name}.{role}"

    def _node(self, operator: str, inputs: list[str], role: str, **attributes: Any) -> str:
        output = OUTPUT_NAME if role == "logits" else f"{self._name}.{role}"
        self.nodes.append(helper.make_node(operator, inputs, [output], f"{self._name}.{role}", **attributes))
        return output


def _window_attributes(kernel: Shape, strides: Shape, pads: Pads) -> dict[str, list[int]]:
    around = [before for before, _ in pads] + [behind for _, behind in pads]
    return {"kernel_shape": list(kernel), "strides": list(strides), "pads": around}
