"""From a float ONNX model and calibration rows to a canonical integer network.

Each channel of a layer has its own real scale: its weights fill ±63, a power of two brings its sum into a byte, and whatever
real multiplier is left over is absorbed by the weights that read it. A value that can be negative is stored with a zero point,
which the biases after it absorb. Where a scale must be the same for all channels (before a table) or exact (before a clip), the
weights fill a little less than ±63 instead. Layer by layer the bias then makes good the mean error that rounding caused on
the calibration rows. All arithmetic is NumPy float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.comparison import Comparison, WorstRow
from models.float_constants import CannotQuantize
from models.float_model import (
    Affine,
    Clip,
    FloatAdd,
    FloatConv,
    FloatDense,
    FloatNetwork,
    FloatNode,
    FloatPad,
    Floats,
    Function,
    apply_clip,
    compute,
    correlate,
    pad,
    run_float,
)
from models.float_reader import read_float_model
from models.form import MOST_HELD, NotCanonical, check_network
from models.integer_ops import SHIFT_LIMIT, compute_requantised
from models.interpreter import apply
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
    Transpose,
    shape_after,
)
from models.rounding import (
    Calibration,
    Layer,
    Steps,
    calibrate,
    clip_weights,
    find_multipliers,
    find_zero_point,
    flatten,
    round_layer,
)
from models.runtime import Runtime
from models.scaling import Scaling
from models.tables import NO_TABLES, Tables, find_tables

__all__ = [
    "Calibration",
    "CannotQuantize",
    "Comparison",
    "LayerLoss",
    "Quantization",
    "WorstRow",
    "calibrate",
    "quantize",
    "read_float_model",
    "run_float",
]


@dataclass(frozen=True)
class LayerLoss:
    """What rounding cost at a node: the root mean square of its error on the calibration rows over its values' spread there."""

    node: str
    becomes: str
    error: float


@dataclass(frozen=True, eq=False)
class Quantization:
    """The network, the float model that it was made of, and both on the calibration rows.

    float_network: what was read, up to its logits. layers: one for each node of it that rounds.
    dropped: operators left off the model's end; the verdict does not need them. logits_per_unit: integer logits for one unit
    of the float model's. scaling: from the features that the float model reads to rows; None where it reads the bytes.
    """

    network: IntegerNetwork
    float_network: FloatNetwork
    comparison: Comparison
    layers: tuple[LayerLoss, ...]
    dropped: tuple[str, ...]
    logits_per_unit: float
    calibration: Calibration
    scaling: Scaling | None

    @property
    def agreement(self) -> float:
        return self.comparison.agreement

    @property
    def float_accuracy(self) -> float | None:
        return self.comparison.float_accuracy

    @property
    def integer_accuracy(self) -> float | None:
        return self.comparison.integer_accuracy

    @property
    def worst(self) -> tuple[WorstRow, ...]:
        return self.comparison.worst

    def compare(self, rows: NDArray[np.uint8], labels: NDArray[np.integer] | None = None) -> Comparison:
        """Both models on rows (n, row_length), n ≥ 1, and labels (n,). Raises ValueError for unfit rows or labels."""
        _check_rows(rows, self.network.row_length, labels)
        values = rows if self.scaling is None else self.scaling.to_features(rows)
        by_integer = Runtime(self.network).run(rows) / self.logits_per_unit
        return Comparison(run_float(self.float_network, values), by_integer, labels)


def quantize(
    float_model: bytes | str | Path,
    rows: NDArray[np.uint8],
    scaling: Scaling | None = None,
    labels: NDArray[np.integer] | None = None,
    calibration: Calibration = "largest",
) -> Quantization:
    """Quantise a float ONNX model (path or bytes) on calibration rows, uint8 (n, row_length).

    The model reads the bytes 0…255 as floats or, where a scaling is given, the raw features that they stand for. An image is
    flattened in the order of the model's own input. A model that ends in the Sigmoid of one number gets two logits.
    labels: the class of each row (n,). Raises CannotQuantize naming the node; ValueError for unfit rows or labels.
    """
    network, dropped = read_float_model(float_model)
    length = network.row_length
    if scaling is not None and len(scaling.features) != length:
        advice = f"reads {length} features, the scaling has {len(scaling.features)}"
        raise CannotQuantize(network.nodes[0].name, "shape", advice)
    _check_rows(rows, length, labels)
    if network.shapes[-1] == (1,) and "Sigmoid" in dropped:
        network = _with_two_logits(network)
    low, span = np.zeros(length), np.ones(length)
    if scaling is not None:
        low = np.array(scaling.minimum)
        span = (np.array(scaling.maximum) - low) / 255
    maker = _Quantizer(network, rows, low, span, calibration)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by node
        made = maker.make()
    try:
        check_network(made)
    except NotCanonical as refused:
        raise CannotQuantize(refused.node, refused.rule, refused.advice) from refused
    wanted = run_float(network, low + rows * span)
    found = Runtime(made).run(rows) / maker.unit
    comparison = Comparison(wanted, found, labels)
    return Quantization(made, network, comparison, tuple(maker.losses), dropped, maker.unit, calibration, scaling)


def _check_rows(rows: NDArray[np.uint8], length: int, labels: NDArray[np.integer] | None) -> None:
    if rows.ndim != 2 or rows.shape[1] != length or len(rows) == 0:
        raise ValueError(f"the model reads {length} features a row, and needs at least one row; these are {rows.shape}")
    if rows.dtype != np.uint8:
        raise ValueError(f"rows must be uint8, not {rows.dtype}: scale the features to rows first")
    if labels is not None and labels.shape != (len(rows),):
        raise ValueError(f"{len(rows)} rows need as many labels, not {labels.shape}")


def _with_two_logits(network: FloatNetwork) -> FloatNetwork:
    """A yes or no by the sign of one number z as the larger of −z/2 and z/2: a class, as every verdict is."""
    halves = np.array([[-0.5], [0.5]])
    *before, last = network.nodes
    if isinstance(last.operator, FloatDense):
        operator = FloatDense(halves * last.operator.weights, halves[:, 0] * last.operator.bias)
        return replace(network, nodes=(*before, replace(last, operator=operator)))
    node = FloatNode(FloatDense(halves, np.zeros(2)), (len(network.nodes),), last.name)
    return replace(network, nodes=(*network.nodes, node))


@dataclass(frozen=True, eq=False)
class _Value:
    """A value of the integer network beside the real one that it stands for: real ≈ offset + scale · steps.

    scale, offset: of the value's shape; steps, real: (n, *shape) over the calibration rows.
    """

    index: int
    scale: Floats
    offset: Floats
    steps: Steps
    real: Floats

    @property
    def shape(self) -> Shape:
        return self.scale.shape

    def of_channels(self) -> tuple[Floats, Floats] | None:
        """Scale and offset of each channel, where all its places have the same."""
        parts = [part.reshape(len(part), -1) for part in (self.scale, self.offset)]
        if any((part != part[:, :1]).any() for part in parts):
            return None
        return parts[0][:, 0], parts[1][:, 0]

    def moved(self, index: int, steps: Steps, real: Floats) -> _Value:
        """Another value whose channels have this one's scales and offsets, which are the same at all of a channel's places."""
        found = self.of_channels()
        assert found is not None
        along = (-1, *(1,) * (steps.ndim - 2))
        scale, offset = (np.broadcast_to(part.reshape(along), steps.shape[1:]) for part in found)
        return _Value(index, scale, offset, steps, real)

    @property
    def is_never_negative(self) -> bool:
        return bool((self.offset >= 0).all() and (self.scale > 0).all())

    def zero(self) -> int | None:
        """The step that stands for 0 everywhere, if one does."""
        return self.step_of(0.0)

    def step_of(self, number: float) -> int | None:
        """The step that stands for a number everywhere, if one does."""
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.rint((number - self.offset) / self.scale)
        step = float(steps.flat[0])
        return int(step) if 0 <= step <= 255 and (steps == step).all() else None


class _Quantizer:
    """Turns a float network into an integer one, node by node, on the same calibration rows throughout."""

    def __init__(
        self, network: FloatNetwork, rows: NDArray[np.uint8], low: Floats, span: Floats, calibration: Calibration
    ) -> None:
        self._network = network
        self._calibration = calibration
        self._operators: list[Operator] = []
        self._reads: list[tuple[int, ...]] = []
        most = max(1, MOST_HELD // sum(map(math.prod, network.shapes)))
        if len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
        self._row = _Value(0, span, low, rows.astype(np.int64), low + rows.astype(np.float64) * span)
        self.unit = 1.0
        self.losses: list[LayerLoss] = []

    def make(self) -> IntegerNetwork:
        """The integer network. Raises CannotQuantize."""
        values = {0: self._row}
        if len(self._network.row_shape) > 1:
            values[0] = self._move(Reshape(self._network.row_shape), [self._row])
        last = self._network.last_readers()
        tables = find_tables(self._network)
        for index, node in enumerate(self._network.nodes):
            read = [values[value] for value in node.reads]
            if index == len(self._network.nodes) - 1:
                self._finish(node, read)
                break
            values[index + 1] = self._node(node, read, tables[index + 1])
            self._note(node, values[index + 1])
            for value in {value for value in node.reads if last[value] == index}:
                del values[value]
        return _simplify(self._operators, self._reads, self._network.row_length)

    def _note(self, node: FloatNode, value: _Value) -> None:
        """Refuse a node that gives no numbers; keep what one that rounds has lost."""
        if not np.isfinite(value.real).all():
            raise CannotQuantize(node.name, "tensor", "it gives NaN or infinity on the calibration rows: check them")
        made = type(self._operators[value.index - 1]).__name__ if value.index else ""
        if made in ("Dense", "Conv", "Add", "Table", "AveragePool"):
            error = np.sqrt(((value.offset + value.scale * value.steps - value.real) ** 2).mean())
            self.losses.append(LayerLoss(node.name, made, float(error / max(value.real.std(), 1e-30))))

    def _node(self, node: FloatNode, read: list[_Value], tables: Tables) -> _Value:
        """What a node becomes, where these tables read it."""
        operator, value = node.operator, read[0]
        match operator:
            case FloatDense() | FloatConv() | FloatAdd():
                return self._requantised(self._layer(node, read), read, operator, tables)
            case Affine():
                scale, offset = value.scale * operator.factor, value.offset * operator.factor + operator.offset
                return replace(value, scale=scale, offset=offset, real=compute(operator, [value.real]))
            case Function():
                return self._function(node.name, operator, value)
            case FloatPad():
                return self._padded(node.name, value, operator)
            case MaxPool():
                return self._max_pool(node.name, value, operator)
            case AveragePool():
                return self._average_pool(node.name, value, operator, tables)
        return self._move(operator, read)

    def _finish(self, node: FloatNode, read: list[_Value]) -> None:
        """The last node, whose sums are the logits: a dense layer, or what it takes to have one after it."""
        if not isinstance(node.operator, FloatDense):
            value = self._node(node, read, NO_TABLES)
            width = value.shape[0]
            node = FloatNode(FloatDense(np.eye(width), np.zeros(width)), (), node.name)
            read = [value]
        layer = self._layer(node, read)
        self.unit = float(find_multipliers(layer.weights, np.abs(layer.bias), layer.name).min())
        wanted = flatten(compute(node.operator, [read[0].real])) * self.unit
        if not np.isfinite(wanted).all():
            raise CannotQuantize(node.name, "tensor", "it gives NaN or infinity on the calibration rows: check them")
        units = np.full(len(layer.weights), self.unit)  # one for all, so that logits compare
        weights, bias = round_layer(layer, units, wanted, np.zeros(len(units), np.int64))
        self._emit(layer.make(weights, bias, None), layer.reads)

    def _emit(self, operator: Operator, reads: tuple[int, ...]) -> int:
        self._operators.append(operator)
        self._reads.append(reads)
        return len(self._operators)

    def _move(self, operator: Concat | Reshape | Transpose, read: list[_Value]) -> _Value:
        """Append an operator that changes no value, only where it stands."""

        def moved(parts: list[Floats]) -> Floats:
            return np.asarray(compute(operator, [part[None] for part in parts])[0])

        index = self._emit(operator, tuple(value.index for value in read))
        scale, offset = moved([value.scale for value in read]), moved([value.offset for value in read])
        steps = apply(operator, [value.steps for value in read])
        return _Value(index, scale, offset, steps, compute(operator, [value.real for value in read]))

    # --- layers with weights ---

    def _layer(self, node: FloatNode, read: list[_Value]) -> Layer:
        operator = node.operator
        if isinstance(operator, FloatDense):
            return clip_weights(self._dense_layer(node.name, operator, read[0]))
        if isinstance(operator, FloatConv):
            return clip_weights(self._conv_layer(node.name, operator, read[0]))
        return self._add_layer(node.name, read)

    def _dense_layer(self, name: str, operator: FloatDense, value: _Value) -> Layer:
        def make(
            weights: NDArray[np.int8], bias: NDArray[np.int32], shifts: NDArray[np.uint8] | None
        ) -> Dense | Conv | Add:
            return Dense(weights, bias, shifts)

        steps = value.steps.astype(np.float64)

        def add_up(weights: Floats) -> Floats:
            return np.asarray(steps @ weights.T)

        bias = operator.bias + operator.weights @ value.offset
        return Layer(operator.weights * value.scale, bias, make, add_up, (value.index,), name)

    def _conv_layer(self, name: str, operator: FloatConv, value: _Value) -> Layer:
        kernel = operator.weights.shape[2:]
        pads = operator.pads
        if value.of_channels() is None:
            value = self._evened(name, value)
        is_wide = any(max(pad) >= side for pad, side in zip(pads, kernel, strict=True))
        if any(map(any, pads)) and (is_wide or value.zero() != 0 or value.offset.any()):
            value = self._padded(name, value, FloatPad(pads, 0.0))
            pads = ((0, 0),) * len(pads)
        found = value.of_channels()
        assert found is not None  # it has been evened, and padding keeps that
        scale, offset = found
        outputs, inputs = operator.weights.shape[:2]
        group = np.repeat(np.arange(operator.groups), outputs // operator.groups)
        channels = group[:, None] * inputs + np.arange(inputs)  # that each output reads
        along = (outputs, inputs, *(1,) * len(kernel))
        weights = operator.weights * scale[channels].reshape(along)
        bias = operator.bias + (operator.weights * offset[channels].reshape(along)).reshape(outputs, -1).sum(axis=1)
        shape, window = operator.weights.shape, (operator.strides, pads, operator.groups)

        def make(
            weights: NDArray[np.int8], bias: NDArray[np.int32], shifts: NDArray[np.uint8] | None
        ) -> Dense | Conv | Add:
            assert shifts is not None  # only a dense layer gives logits
            return Conv(weights.reshape(shape), bias, shifts, *window)

        def add_up(weights: Floats) -> Floats:
            padded = pad(value.steps.astype(np.float64), pads, 0.0)
            return correlate(padded, weights.reshape(shape), operator.strides, operator.groups)

        return Layer(weights.reshape(outputs, -1), bias, make, add_up, (value.index,), name)

    def _add_layer(self, name: str, read: list[_Value]) -> Layer:
        read = [value if value.of_channels() is not None else self._evened(name, value) for value in read]
        found = [value.of_channels() for value in read]
        (one, first), (other, second) = (each for each in found if each is not None)
        along = (-1, *(1,) * (len(read[0].shape) - 1))

        def make(
            weights: NDArray[np.int8], bias: NDArray[np.int32], shifts: NDArray[np.uint8] | None
        ) -> Dense | Conv | Add:
            assert shifts is not None
            return Add(weights, bias, shifts)

        def add_up(weights: Floats) -> Floats:
            one, other = (value.steps * weights[:, at].reshape(along) for at, value in enumerate(read))
            return np.asarray(one + other)

        reads = tuple(value.index for value in read)
        return Layer(np.stack([one, other], axis=1), first + second, make, add_up, reads, name)

    def _requantised(
        self, layer: Layer, read: list[_Value], operator: FloatDense | FloatConv | FloatAdd, tables: Tables
    ) -> _Value:
        """Round a layer, append it, and say what its bytes stand for."""
        before = compute(operator, [value.real for value in read])
        real = apply_clip(operator, before)
        target = self._target(layer, flatten(real), operator.clip, tables)
        wanted = flatten(before) * target.multipliers
        lift = target.zero << target.shifts.astype(np.int64)
        weights, bias = round_layer(layer, target.multipliers, wanted, lift)
        made = layer.make(weights, bias, target.shifts)
        along = (-1, *(1,) * (before.ndim - 2))
        sums = layer.add_up(weights.astype(np.float64)).astype(np.int64) + bias.astype(np.int64).reshape(along)
        scale = np.ldexp(1.0, target.shifts.astype(np.int64)) / target.multipliers
        shape = real.shape[1:]
        scales = np.broadcast_to(scale.reshape(along), shape)
        offsets = np.broadcast_to((-target.zero * scale).reshape(along), shape)
        steps = compute_requantised(sums, target.shifts)
        return _Value(self._emit(made, layer.reads), scales, offsets, steps, real)

    def _target(self, layer: Layer, real: Floats, clip: Clip | None, tables: Tables) -> _Target:
        """Multipliers, shifts and zero point of a layer's bytes. real: (places, outputs), clipped."""
        magnitude = np.abs(layer.bias)
        largest = find_multipliers(layer.weights, magnitude, layer.name)
        low, high = calibrate(real, self._calibration)
        is_even = bool(tables.functions)
        if is_even and not tables.has_others:
            low, high = tables.narrow(low, high)
        if clip is not None and not is_even and math.isinf(clip[1]):
            peak = high * largest  # the largest sum that calibration saw
            shifts = np.ceil(np.log2(np.maximum(peak, 1) / 255.5)).clip(0, SHIFT_LIMIT)
            return _Target(largest, shifts.astype(np.uint8), 0)
        zero = 0 if clip is not None else find_zero_point(low, high)
        steps = np.maximum(high / (255 - zero), -low / max(zero, 1))
        if clip is not None and math.isfinite(clip[1]):
            steps = np.where(high >= clip[1], clip[1] / 255, steps)  # saturation is the clip
        steps = np.maximum(steps, max(float(steps.max()) * 2.0**-20, 1e-30))
        if is_even:
            steps = np.full(len(steps), float(steps.max()))
        largest = find_multipliers(layer.weights, magnitude + zero * steps, layer.name)
        steps = np.maximum(steps, np.where(layer.weights.any(axis=1) | (magnitude > 0), 1 / largest, 0))
        if is_even:
            steps = np.full(len(steps), float(steps.max()))
        shifts = np.floor(np.log2(steps * largest)).clip(0, SHIFT_LIMIT)
        return _Target(np.ldexp(1.0, shifts.astype(np.int64)) / steps, shifts.astype(np.uint8), zero)

    def _evened(self, name: str, value: _Value, clip: Clip | None = None, tables: Tables | None = None) -> _Value:
        """The same value requantised, with one zero point: each channel by itself where its places are alike."""
        shape = value.shape
        flat = shape if value.of_channels() is not None and 2 <= len(shape) <= 3 else (math.prod(shape), 1)
        inside = value if flat == shape else self._move(Reshape(flat), [value])
        rank = len(flat) - 1
        ones = np.ones((flat[0], 1, *(1,) * rank))
        operator = FloatConv(ones, np.zeros(flat[0]), (1,) * rank, ((0, 0),) * rank, flat[0], clip)
        layer = self._conv_layer(name, operator, inside)
        made = self._requantised(layer, [inside], operator, tables or NO_TABLES)
        return made if flat == shape else self._move(Reshape(shape), [made])

    # --- operators without weights ---

    def _function(self, name: str, function: Function, value: _Value) -> _Value:
        real = compute(function, [value.real])
        if not np.isfinite(real).all():
            raise CannotQuantize(name, "tensor", "it gives NaN or infinity on the calibration rows: check them")
        if (
            function.clip is not None
            and function.clip[0] <= 0
            and value.is_never_negative
            and (real == value.real).all()
        ):
            return value
        is_even = (value.scale == value.scale.flat[0]).all() and (value.offset == value.offset.flat[0]).all()
        if not is_even and function.clip is not None and function.clip[0] == 0:
            return self._evened(name, value, function.clip)
        if not is_even:
            value = self._evened(name, value, tables=Tables((function,), False))
        given = value.offset.flat[0] + value.scale.flat[0] * np.arange(256)
        entries = np.nan_to_num(compute(function, [given]))
        low, high = calibrate(real.reshape(-1, 1), self._calibration)
        zero = find_zero_point(low, high)
        step = max(float(high[0]) / (255 - zero), -float(low[0]) / max(zero, 1), 1e-30)
        table = np.rint(np.clip(entries / step + zero, 0, 255)).astype(np.uint8)
        index = self._emit(Table(table), (value.index,))
        steps = table.astype(np.int64)[value.steps]
        return _Value(index, np.full(value.shape, step), np.full(value.shape, -zero * step), steps, real)

    def _padded(self, name: str, value: _Value, operator: FloatPad) -> _Value:
        """The value with a constant around it, which must be a step of it."""
        if value.of_channels() is None or value.step_of(operator.value) is None:
            value = self._evened(name, value)
        step = value.step_of(operator.value)
        if step is None:
            advice = f"it pads with {operator.value}, which no byte stands for: pad with 0"
            raise CannotQuantize(name, "operator", advice)
        index = self._emit(Pad(operator.pads, step), (value.index,))
        steps = apply(Pad(operator.pads, step), [value.steps])
        return value.moved(index, steps, compute(operator, [value.real]))

    def _max_pool(self, name: str, value: _Value, operator: MaxPool) -> _Value:
        found = value.of_channels()
        if found is None or (found[0] <= 0).any():
            value = self._evened(name, value)
        index = self._emit(operator, (value.index,))
        return value.moved(index, apply(operator, [value.steps]), compute(operator, [value.real]))

    def _average_pool(self, name: str, value: _Value, operator: AveragePool, tables: Tables) -> _Value:
        """A pool over a power of two as itself, any other as a convolution that adds each channel up."""
        size = math.prod(operator.kernel)
        is_padded = any(map(any, operator.pads))
        if size & (size - 1) or size > 1 << 16 or is_padded or value.of_channels() is None:
            channels = value.shape[0]
            weights = np.full((channels, 1, *operator.kernel), 1 / size)
            conv = FloatConv(weights, np.zeros(channels), operator.strides, operator.pads, channels)
            conv = replace(conv, clip=(0.0, math.inf)) if value.is_never_negative else conv
            return self._requantised(self._conv_layer(name, conv, value), [value], conv, tables)
        index = self._emit(operator, (value.index,))
        return value.moved(index, apply(operator, [value.steps]), compute(operator, [value.real]))


@dataclass(frozen=True)
class _Target:
    """bytes = zero + sum · multiplier / 2^shift, the real sum's; multipliers, shifts: (outputs,)."""

    multipliers: Floats
    shifts: NDArray[np.uint8]
    zero: int


def _simplify(operators: list[Operator], reads: list[tuple[int, ...]], row_length: int) -> IntegerNetwork:
    """The network without operators that change nothing or that nothing reads; its first says how long a row is."""
    shapes: list[Shape] = [(row_length,)]
    source = [0]  # for each value the one that says the same
    for index, (operator, read) in enumerate(zip(operators, reads, strict=True)):
        reads[index] = tuple(source[value] for value in read)
        shapes.append(shape_after(operator, [shapes[value] for value in reads[index]]))
        before = reads[index][0]
        if isinstance(operator, Reshape) and before and isinstance(operators[before - 1], Reshape):
            before = reads[before - 1][0]
            reads[index] = (before,)
        is_idle = isinstance(operator, Reshape) and shapes[before] == shapes[-1]
        is_idle |= isinstance(operator, Transpose) and operator.order == tuple(range(len(operator.order)))
        source.append(before if is_idle else index + 1)
    alive: set[int] = set()
    waiting = [len(operators)]
    while waiting:
        value = waiting.pop()
        if value and value not in alive:
            alive.add(value)
            waiting.extend(reads[value - 1])
    kept = sorted(alive)
    begins = isinstance(operators[kept[0] - 1], Dense | Reshape)
    first: list[Operator] = [] if begins else [Reshape((row_length,))]
    now = {0: len(first), **{value: place + 1 + len(first) for place, value in enumerate(kept)}}
    return IntegerNetwork(
        (*first, *(operators[value - 1] for value in kept)),
        (*((0,) for _ in first), *(tuple(now[read] for read in reads[value - 1]) for value in kept)),
    )
