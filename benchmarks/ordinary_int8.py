"""A network's layers as those take them who do not need one result on every machine: ONNX Runtime's own static int8."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.calibrate import CalibrationDataReader
from onnxruntime.quantization.quant_utils import QuantFormat, QuantType
from onnxruntime.quantization.quantize import quantize_static

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
    Reshape,
    Shape,
    Table,
)

INPUT_NAME = "features"
CALIBRATION_ROWS = 256


class NoFloatForm(ValueError):
    """The network has a table, which no float operator stands for."""


def to_float(network: IntegerNetwork) -> bytes:
    """The float32 ONNX model of the same layers: weights divided by their powers of two, Relu, no rounding.

    Raises NoFloatForm.
    """
    return bytes(_Writer(network).model().SerializeToString())


def to_int8(network: IntegerNetwork, rows: NDArray[np.uint8], activations: QuantType = QuantType.QInt8) -> bytes:
    """The float form after the runtime's static quantisation (QDQ), with its default settings unless given.

    rows: uint8 (n, row_length), typical inputs. Raises NoFloatForm.
    """
    logging.getLogger().setLevel(logging.ERROR)  # it advises pre-processing, which changes nothing in so plain a graph
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(to_float(network))
        reader = _Calibration(rows[:CALIBRATION_ROWS].astype(np.float32))
        quantize_static(source, target, reader, quant_format=QuantFormat.QDQ, activation_type=activations)
        return target.read_bytes()


class _Calibration(CalibrationDataReader):
    """Rows one at a time, as the quantiser asks for them."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._rows = iter(rows)

    def get_next(self) -> dict[str, NDArray[np.float32]]:
        return {INPUT_NAME: row[None]} if (row := next(self._rows, None)) is not None else {}


class _Writer:
    """The nodes and constants of the float form."""

    def __init__(self, network: IntegerNetwork) -> None:
        self._network = network
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        values = [INPUT_NAME]
        shapes = network.shapes
        for operator, read in zip(network.operators, network.reads, strict=True):
            values.append(self._write(operator, [values[value] for value in read], shapes[read[0]]))
        self._output = values[-1]

    def model(self) -> onnx.ModelProto:
        """The whole file."""
        network = self._network
        rows = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["n", network.row_length])
        logits = helper.make_tensor_value_info(self._output, TensorProto.FLOAT, ["n", network.output_length])
        graph = helper.make_graph(self._nodes, "float_network", [rows], [logits], self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _write(self, operator: Operator, read: list[str], shape: Shape) -> str:
        match operator:
            case Dense():
                sums = self._node("Gemm", [read[0], *self._weighted(operator)], transB=1)
                return sums if operator.shifts is None else self._node("Relu", [sums])
            case Conv():
                window = _window(operator)
                sums = self._node("Conv", [read[0], *self._weighted(operator)], **window, group=operator.groups)
                return self._node("Relu", [sums])
            case Add():
                return self._sum(operator, read, len(shape))
            case MaxPool():
                return self._node("MaxPool", read, **_window(operator))
            case AveragePool():
                return self._node("AveragePool", read, **_window(operator), count_include_pad=1)
            case Concat():
                return self._node("Concat", read, axis=1)
            case Reshape():
                return self._node("Reshape", [*read, self._constant(np.array([0, *operator.shape]))])
            case Pad():
                pads = [0, 0, *(pad[0] for pad in operator.pads), 0, 0, *(pad[1] for pad in operator.pads)]
                return self._node("Pad", [*read, self._constant(np.array(pads)), self._real(np.array(operator.value))])
            case Table():
                raise NoFloatForm("a table is no float operator: compare a network without one")
        return self._node("Transpose", read, perm=[0, *(dimension + 1 for dimension in operator.order)])

    def _weighted(self, layer: Dense | Conv) -> tuple[str, str]:
        shifts = np.zeros(len(layer.bias), np.int32) if layer.shifts is None else layer.shifts.astype(np.int32)
        along = shifts.reshape(-1, *(1,) * (layer.weights.ndim - 1))
        weights = np.ldexp(layer.weights.astype(np.float64), -along)
        return self._real(weights), self._real(np.ldexp(layer.bias.astype(np.float64), -shifts))

    def _sum(self, layer: Add, read: list[str], rank: int) -> str:
        factors = np.ldexp(layer.weights.astype(np.float64), -layer.shifts.astype(np.int32)[:, None])
        bias = np.ldexp(layer.bias.astype(np.float64), -layer.shifts.astype(np.int32))
        one, other, constant = (each.reshape(-1, *(1,) * (rank - 1)) for each in (*factors.T, bias))
        products = [self._node("Mul", [read[0], self._real(one)]), self._node("Mul", [read[1], self._real(other)])]
        return self._node("Relu", [self._node("Add", [self._node("Add", products), self._real(constant)])])

    def _real(self, values: NDArray[Any]) -> str:
        return self._constant(np.asarray(values, np.float32))

    def _constant(self, values: NDArray[Any]) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name))
        return name

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{operator.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name


def _window(operator: Conv | MaxPool | AveragePool) -> dict[str, list[int]]:
    pads = [before for before, _ in operator.pads] + [behind for _, behind in operator.pads]
    return {"kernel_shape": list(operator.kernel), "strides": list(operator.strides), "pads": pads}
