"""From a float dense ONNX model and calibration rows to a canonical integer network.

Each hidden channel has its own real scale: its weights fill ±63, a power of two brings its sum into a byte, and
whatever real multiplier is left over is absorbed by the next layer's weights. Layer by layer the bias then makes good
the mean error that rounding caused on the calibration rows. All arithmetic is NumPy float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from models.form import RefusedModel, check_network
from models.integer_ops import (
    SHIFT_LIMIT,
    SUM_LIMIT,
    WEIGHT_LIMIT,
    compute_channel_bounds,
    compute_dense,
    compute_requantised,
)
from models.interpreter import check_rows, run
from models.network import Dense, IntegerNetwork
from models.onnx_file import Tensor, label, parse, read_attributes, read_tensor
from models.scaling import Scaling

Floats = NDArray[np.float64]

_LEAST_STEPS = 4  # a channel whose largest weight would get fewer steps than this is refused
_LARGEST_MULTIPLIER = 2.0**100  # for channels of vanishing weights: what they become is zero either way
_TAIL = ("Softmax", "LogSoftmax", "ArgMax")
_ADVICE = {
    "Conv": "only dense layers are quantised",
    "Sigmoid": "export the logit before it: its sign is the verdict",
    "Tanh": "train the model with ReLU",
    "BatchNormalization": "fold it into the layer before it",
    "ZipMap": "export the classifier with zipmap off",
    "Scaler": "fold it into the first layer, or give the scaling instead",
}


class CannotQuantize(RefusedModel):
    """A float model that has no canonical form here. node: which part; rule: what it breaks; advice: what to do."""


@dataclass(frozen=True)
class FloatDense:
    """y = W·x + b, then ReLU in hidden layers. weights: (outputs, inputs); bias: (outputs,)."""

    weights: Floats
    bias: Floats
    node: str


@dataclass(frozen=True)
class Quantization:
    """The network and what the quantisation cost, as fractions of the calibration rows.

    agreement: rows on which integer and float model give the same class (for one output: the same sign).
    float_accuracy, integer_accuracy: against the labels, where labels were given.
    dropped: operators left off the model's end; the verdict does not need them.
    logits_per_unit: integer logits for one unit of the float model's.
    """

    network: IntegerNetwork
    agreement: float
    float_accuracy: float | None
    integer_accuracy: float | None
    dropped: tuple[str, ...]
    logits_per_unit: float


def quantize(
    float_model: bytes | str | Path,
    rows: NDArray[np.uint8],
    scaling: Scaling | None = None,
    labels: NDArray[np.integer] | None = None,
) -> Quantization:
    """Quantise a float dense ONNX model (path or bytes) on calibration rows, uint8 (n, row_length).

    The model reads the bytes 0…255 as floats or, where a scaling is given, the raw features that they stand for.
    labels: the class of each row (n,). Raises CannotQuantize naming the node; ValueError for unfit rows or labels.
    """
    layers, dropped = read_float_model(float_model)
    if scaling is not None:
        layers = [_fold_scaling(layers[0], scaling), *layers[1:]]
    if rows.ndim != 2 or rows.shape[1] != layers[0].weights.shape[1] or len(rows) == 0:
        raise ValueError(f"the model reads {layers[0].weights.shape[1]} features; calibration rows are {rows.shape}")
    if labels is not None and labels.shape != (len(rows),):
        raise ValueError(f"{len(rows)} rows need as many labels, not {labels.shape}")
    network, unit = _quantize_layers(layers, rows)
    check_network(network)
    check_rows(network, rows)
    wanted = _classes(run_float(layers, rows))
    found = _classes(run(network, rows).astype(np.float64))
    return Quantization(
        network,
        float((wanted == found).mean()),
        None if labels is None else float((wanted == labels).mean()),
        None if labels is None else float((found == labels).mean()),
        dropped,
        unit,
    )


def run_float(layers: list[FloatDense], values: NDArray[np.generic]) -> Floats:
    """The float model's logits (n, outputs) for values (n, inputs)."""
    activations = values.astype(np.float64)
    for index, layer in enumerate(layers):
        activations = activations @ layer.weights.T + layer.bias
        if index < len(layers) - 1:
            activations = np.maximum(activations, 0)
    return activations


def read_float_model(source: bytes | str | Path) -> tuple[list[FloatDense], tuple[str, ...]]:
    """The dense layers of a float ONNX model, and the operators dropped from its end. Raises CannotQuantize."""
    return _FloatReader(parse(source, CannotQuantize).graph).read()


def _classes(logits: Floats) -> NDArray[np.int64]:
    """The class of each row; one output alone is a yes or no by its sign."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).astype(np.int64)
    return np.asarray(np.argmax(logits, axis=1), np.int64)


def _fold_scaling(layer: FloatDense, scaling: Scaling) -> FloatDense:
    """The first layer reading bytes where it read features: feature = minimum + byte · span / 255."""
    if len(scaling.features) != layer.weights.shape[1]:
        raise CannotQuantize(
            layer.node, "shape", f"reads {layer.weights.shape[1]} features, the scaling has {len(scaling.features)}"
        )
    low = np.array(scaling.minimum)
    span = np.array(scaling.maximum) - low
    return FloatDense(layer.weights * (span / 255), layer.bias + layer.weights @ low, layer.node)


def _quantize_layers(layers: list[FloatDense], rows: NDArray[np.uint8]) -> tuple[IntegerNetwork, float]:
    """The network, and the integer logits for one real unit."""
    scale = np.ones(rows.shape[1])  # the real value of one step of each activation
    steps = rows.astype(np.int64)
    real = rows.astype(np.float64)
    result: list[Dense] = []
    for layer in layers[:-1]:
        real = real @ layer.weights.T + layer.bias
        dense, scale = _quantize_hidden(layer, scale, steps, real)
        real = np.maximum(real, 0)
        steps = _apply(dense, steps)
        result.append(dense)
    last = layers[-1]
    weights = last.weights * scale
    unit = float(_largest_multipliers(weights, last.bias, last.node).min())  # one for all, so that logits compare
    real = real @ last.weights.T + last.bias
    result.append(
        _correct_bias(_round(weights, last.bias, np.full(len(weights), unit), None, last.node), steps, real * unit)
    )
    return IntegerNetwork(tuple(result)), unit


def _quantize_hidden(layer: FloatDense, scale: Floats, steps: NDArray[np.int64], real: Floats) -> tuple[Dense, Floats]:
    """The integer layer that reads steps of the given scale (inputs,), and its own outputs' scale (outputs,)."""
    weights = layer.weights * scale
    multipliers = _largest_multipliers(weights, layer.bias, layer.node)
    peak = np.maximum(real.max(axis=0), 0) * multipliers  # the largest sum that calibration saw
    shifts = np.ceil(np.log2(np.maximum(peak, 1) / 255.5)).clip(0, SHIFT_LIMIT)
    dense = _round(weights, layer.bias, multipliers, shifts.astype(np.uint8), layer.node)
    return _correct_bias(dense, steps, real * multipliers), np.ldexp(1.0, shifts.astype(np.int64)) / multipliers


def _largest_multipliers(weights: Floats, bias: Floats, node: str) -> Floats:
    """For each channel the multiplier that fills ±63 without passing the bound on sums (outputs,)."""
    largest = np.abs(weights).max(axis=1)
    span = np.abs(weights).sum(axis=1) * 255
    slack = 255 * 0.5 * weights.shape[1] + 1  # what rounding each weight up can add to the sum
    room = SUM_LIMIT - 1 - slack
    lost = room * largest < _LEAST_STEPS * span
    if lost.any():
        channel = int(lost.argmax())
        advice = f"channel {channel} sums {weights.shape[1]} inputs, too many for one exact sum: split the layer"
        raise CannotQuantize(node, "sum-bound", advice)
    with np.errstate(divide="ignore", over="ignore"):
        by_weight = np.where(largest > 0, WEIGHT_LIMIT / largest, np.inf)
        by_sum = np.where(span + np.abs(bias) > 0, room / (span + np.abs(bias)), 1.0)
    return np.minimum(np.minimum(by_weight, by_sum), _LARGEST_MULTIPLIER)


def _round(weights: Floats, bias: Floats, multipliers: Floats, shifts: NDArray[np.uint8] | None, node: str) -> Dense:
    integers = np.rint(weights * multipliers[:, None]).astype(np.int8)
    room = SUM_LIMIT - 1 - compute_channel_bounds(integers, np.zeros(len(bias), np.int32))
    rounded = np.rint(bias * multipliers)
    if (np.abs(rounded) > room).any():
        raise CannotQuantize(node, "sum-bound", "a bias passes the bound on sums: scale the layer's inputs")
    return Dense(integers, rounded.astype(np.int32), shifts)


def _correct_bias(dense: Dense, steps: NDArray[np.int64], wanted: Floats) -> Dense:
    """The layer with its mean sum on the calibration rows moved to the wanted mean. wanted: real sums (n, outputs)."""
    missing = wanted.mean(axis=0) - compute_dense(steps, dense.weights, dense.bias).mean(axis=0)
    room = SUM_LIMIT - 1 - compute_channel_bounds(dense.weights, np.zeros_like(dense.bias))
    bias = np.clip(dense.bias + np.rint(missing).astype(np.int64), -room, room)
    return Dense(dense.weights, bias.astype(np.int32), dense.shifts)


def _apply(dense: Dense, steps: NDArray[np.int64]) -> NDArray[np.int64]:
    sums = compute_dense(steps, dense.weights, dense.bias)
    return sums if dense.shifts is None else compute_requantised(sums, dense.shifts)


class _FloatReader:
    """Follows a float model's chain from its input; each node is visited once."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._nodes = list(graph.node)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._visited: set[int] = set()

    def read(self) -> tuple[list[FloatDense], tuple[str, ...]]:
        inputs = [value for value in self._graph.input if value.name not in self._constants]
        if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
            raise CannotQuantize("graph", "input", f"{len(inputs)} inputs: exactly one, of float32 features, is needed")
        layers: list[FloatDense] = []
        value = inputs[0].name
        while True:
            layer, value = self._layer(value)
            layers.append(layer)
            following = self._following(value)
            if following is None or self._nodes[following].op_type != "Relu":
                break
            value = self._take(following)
            if self._following(value) is None:
                raise self._refuse(following, "operator", "the last layer must end in logits: remove the Relu after it")
        dropped = self._drop_tail(value)
        for index in range(len(self._nodes)):
            if index not in self._visited:
                raise self._refuse(index, "chain", "it is not part of the chain from features to logits: remove it")
        self._check_shapes(layers)
        return layers, dropped

    def _layer(self, value: str) -> tuple[FloatDense, str]:
        index = self._following(value)
        if index is None:
            raise CannotQuantize("graph", "chain", "the input leads nowhere: a Gemm or MatMul must read it")
        node = self._nodes[index]
        if node.op_type not in ("Gemm", "MatMul"):
            raise self._refuse(index, "operator", _advise(node.op_type))
        if node.input[0] != value:
            raise self._refuse(index, "operator", "the features must be its first input and the weights its second")
        allowed = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} if node.op_type == "Gemm" else {}
        found = read_attributes(node, label(node, index), allowed, CannotQuantize)
        if found.get("transA"):
            raise self._refuse(index, "attribute", "transA must be 0: rows run along the first dimension")
        weights = self._constant(index, 1) * found.get("alpha", 1.0)
        if weights.ndim != 2:
            raise self._refuse(index, "shape", f"weights of shape {weights.shape}: a matrix is needed")
        weights = weights if found.get("transB") else weights.T
        bias = np.zeros(len(weights))
        if node.op_type == "Gemm" and len(node.input) == 3:
            bias = bias + self._bias(index, 2, len(weights)) * found["beta"]
        output = self._take(index)
        adding = self._following(output)
        while adding is not None and self._nodes[adding].op_type == "Add":
            place = 1 if self._nodes[adding].input[0] == output else 0
            bias = bias + self._bias(adding, place, len(weights))
            output = self._take(adding)
            adding = self._following(output)
        return FloatDense(weights, bias, label(node, index)), output

    def _drop_tail(self, value: str) -> tuple[str, ...]:
        dropped = []
        while (index := self._following(value)) is not None:
            node = self._nodes[index]
            if node.op_type not in _TAIL:
                raise self._refuse(index, "operator", _advise(node.op_type))
            dropped.append(node.op_type)
            value = self._take(index)
        return tuple(dropped)

    def _following(self, value: str) -> int | None:
        """The one node that reads a value; None where it is the model's output."""
        readers = [index for index, node in enumerate(self._nodes) if value in node.input]
        if len(readers) > 1 or (readers and readers[0] in self._visited):
            raise self._refuse(readers[-1], "chain", "branches and loops are not accepted: each value may be read once")
        if readers or any(output.name == value for output in self._graph.output):
            return readers[0] if readers else None
        raise CannotQuantize("graph", "chain", "the chain from the features ends before the model's output")

    def _take(self, index: int) -> str:
        node = self._nodes[index]
        if len(node.output) != 1:
            raise self._refuse(index, "chain", "it must have exactly one output")
        self._visited.add(index)
        return str(node.output[0])

    def _constant(self, index: int, place: int) -> Floats:
        node = self._nodes[index]
        tensor = self._constants.get(node.input[place]) if place < len(node.input) else None
        if tensor is None:
            raise self._refuse(index, "constant", f"input {place} must be an initializer: fold constants before saving")
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.DOUBLE):
            raise self._refuse(index, "tensor", f"input {place} must be float: this quantises float models")
        values: Tensor = read_tensor(tensor, label(node, index), CannotQuantize).astype(np.float64)
        if not np.isfinite(values).all():
            raise self._refuse(index, "tensor", f"input {place} holds NaN or infinity: train the model again")
        return values

    def _bias(self, index: int, place: int, outputs: int) -> Floats:
        bias = self._constant(index, place)
        if bias.size not in (1, outputs) or (bias.ndim and bias.shape[-1] != bias.size):
            raise self._refuse(index, "shape", f"a bias of shape {bias.shape} for {outputs} outputs")
        return bias.reshape(-1)

    def _check_shapes(self, layers: list[FloatDense]) -> None:
        for before, layer in pairwise(layers):
            if layer.weights.shape[1] != before.weights.shape[0]:
                advice = f"reads {layer.weights.shape[1]} values where the layer before gives {before.weights.shape[0]}"
                raise CannotQuantize(layer.node, "shape", advice)

    def _refuse(self, index: int, rule: str, advice: str) -> CannotQuantize:
        return CannotQuantize(label(self._nodes[index], index), rule, advice)


def _advise(operator: str) -> str:
    known = "the chain is Gemm, or MatMul with Add, with Relu between layers; a Softmax or ArgMax at the end is dropped"
    return _ADVICE.get(operator, f"it has no place in a dense model here: {known}")
