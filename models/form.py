"""The bounds of the canonical form, which make a network exact everywhere: the one place that checks a network.

The limits are also those of a program (docs/program.md) and of the contract that executes it. An ONNX file obeys more
rules, about how it is written: models.canonical has them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.integer_ops import SHIFT_LIMIT, SUM_LIMIT, WEIGHT_LIMIT, compute_channel_bounds
from models.liveness import place
from models.network import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Dense,
    IntegerNetwork,
    MaxPool,
    Misfit,
    Operator,
    Pad,
    Pads,
    Reshape,
    Shape,
    Table,
    Transpose,
    count_operations,
    shape_after,
)

LONGEST_ROW = 96 << 10  # bytes
MOST_OUTPUTS = 65_535  # of any layer
MOST_LAYERS = 65_535
MOST_VALUES = 1 << 20  # bytes of any one activation
MOST_HELD = 1 << 24  # bytes of all activations of a row together
MOST_OPERATIONS = 1 << 32  # places of windows, weights or values that one row makes a network visit
LARGEST_AVERAGE = 1 << 16  # values in a window, so that 255 of each stay below SUM_LIMIT
MOST_DIMENSIONS = 5  # of a value
MOST_LIVE = 128  # values that are still to be read at any one time
MOST_READ = 255  # values that one operator reads
MOST_MEMORY = 192 << 10  # bytes of those values, what is being made of them and its window (models.liveness)


class RefusedModel(ValueError):
    """A model that is not accepted. node: which part; rule: the rule it breaks; advice: what to do about it."""

    def __init__(self, node: str, rule: str, advice: str) -> None:
        super().__init__(f"{node}: {rule}: {advice}")
        self.node = node
        self.rule = rule
        self.advice = advice


class NotCanonical(RefusedModel):
    """A model outside the canonical form. node: which part; rule: a key of models.canonical.RULES; advice: what to do."""


def check_network(network: IntegerNetwork) -> None:
    """Raise NotCanonical, naming layer, channel and rule, unless the network obeys every bound (see models.network)."""
    operators = network.operators
    if not 1 <= len(operators) <= MOST_LAYERS:
        raise NotCanonical("network", "size", f"{len(operators)} layers: 1 to {MOST_LAYERS} are possible")
    if len(network.reads) != len(operators):
        raise NotCanonical("network", "chain", f"{len(network.reads)} lists of what {len(operators)} layers read")
    shapes: list[Shape] = []
    operations = held = 0
    reaches = [0]
    for index, (operator, read) in enumerate(zip(operators, network.reads, strict=True)):
        where = f"layer {index}"
        _check_parameters(operator, where)
        if any(not 0 <= value <= index for value in read):
            raise NotCanonical(where, "chain", f"it reads {read}: only values 0 to {index} are there by then")
        try:
            shapes = shapes or [(network.row_length,)]
            shapes.append(shape_after(operator, [shapes[value] for value in read]))
        except Misfit as misfit:
            raise NotCanonical(where, "shape", str(misfit)) from misfit
        operations += _check_size(operator, shapes[0], shapes[-1], where)
        reach = pad_reach(operator, [reaches[value] for value in read])
        reaches.append(0 if isinstance(operator, MaxPool | AveragePool) else reach)
        if isinstance(operator, MaxPool | AveragePool) and reach >= min(operator.kernel):
            advice = (
                "it reads zeros padded as far as its kernel, which ONNX Runtime cannot fuse: pool first, or pad less"
            )
            raise NotCanonical(where, "window", advice)
        held += math.prod(shapes[-1])
        if held > MOST_HELD:
            raise NotCanonical(where, "size", f"a row has more than {MOST_HELD} activations: use a smaller model")
        if operations > MOST_OPERATIONS:
            raise NotCanonical(
                where, "size", f"a row takes more than {MOST_OPERATIONS} operations: use a smaller model"
            )
        if (isinstance(operator, Dense) and operator.shifts is None) != (index == len(operators) - 1):
            advice = "every layer but the last has shifts, and the last has none: its sums are the logits"
            raise NotCanonical(where, "logits", advice)
        if isinstance(operator, Dense | Conv | Add):
            _check_channels(operator, where)
    unread = set(range(len(operators))) - {value for read in network.reads for value in read}
    if unread:
        where = f"layer {min(unread) - 1}" if min(unread) else "the row"
        raise NotCanonical(where, "chain", "nothing reads what it gives: leave it out")
    _check_memory(network)


def _check_memory(network: IntegerNetwork) -> None:
    """The chain holds all values that are still to be read at once, and publishes them between two steps."""
    for index, placed in enumerate(place(network)):
        where = f"layer {index}"
        if len(placed.operands) > MOST_READ:
            advice = f"it reads {len(placed.operands)} values: {MOST_READ} are possible; join some of them before"
            raise NotCanonical(where, "size", advice)
        if len(placed.live) > MOST_LIVE:
            advice = f"{len(placed.live)} values are still to be read here: {MOST_LIVE} are possible; read some earlier"
            raise NotCanonical(where, "size", advice)
        if placed.memory > MOST_MEMORY:
            held = f"the values still to be read, its own and its window take {placed.memory} bytes"
            raise NotCanonical(where, "size", f"{held}: {MOST_MEMORY} are possible; use smaller layers")


def pad_reach(operator: Operator, before: list[int]) -> int:
    """How far zeros may come to be padded around the windows of an operator, where its values are padded so far before it.

    ONNX Runtime makes a Pad with zeros a part of the pool behind it, also where it has to move other operators out of the
    way, and then refuses pads as large as the kernel.
    """
    if isinstance(operator, MaxPool | AveragePool):
        return max(before) + max(map(max, operator.pads))
    if isinstance(operator, Pad):
        return max(before) + (max(map(max, operator.pads), default=0) if operator.value == 0 else 0)
    return max(before) if isinstance(operator, Reshape | Transpose | Concat) else 0


def _check_parameters(operator: Operator, where: str) -> None:
    """What models.network promises of an operator by itself: what breaks it would be written as something else."""
    match operator:
        case Dense() | Conv() | Add():
            _check_arrays(operator, where)
        case Table():
            entries = operator.entries
            if entries.dtype != np.uint8 or entries.shape != (256,):
                advice = f"entries are {entries.dtype} {entries.shape}; needed: uint8 (256,)"
                raise NotCanonical(where, "shape", advice)
        case MaxPool() | AveragePool():
            _check_window(operator.kernel, operator.strides, operator.pads, where)
        case Reshape():
            if not 1 <= len(operator.shape) <= MOST_DIMENSIONS or min(operator.shape) < 1:
                advice = f"{operator.shape}: 1 to {MOST_DIMENSIONS} dimensions of at least 1 are possible"
                raise NotCanonical(where, "shape", advice)
        case Pad():
            if not 0 <= operator.value <= 255 or any(min(pad) < 0 for pad in operator.pads):
                advice = f"pads {operator.pads} of {operator.value}: neither may be negative, and values end at 255"
                raise NotCanonical(where, "window", advice)
    if isinstance(operator, Conv):
        _check_window(operator.kernel, operator.strides, operator.pads, where)
        if operator.groups < 1 or len(operator.weights) % operator.groups:
            advice = f"{len(operator.weights)} outputs in {operator.groups} groups: each group has as many"
            raise NotCanonical(where, "shape", advice)
    if isinstance(operator, AveragePool):
        size = math.prod(operator.kernel)
        if size & (size - 1) or size > LARGEST_AVERAGE:
            advice = (
                f"{size} values in a window: a power of two up to {LARGEST_AVERAGE} divides exactly; use the quantiser"
            )
            raise NotCanonical(where, "window", advice)


def _check_arrays(layer: Dense | Conv | Add, where: str) -> None:
    """The shapes and types that models.network promises: others would be written as something that they are not."""
    rank, shape = {
        Dense: ((2,), "(outputs, inputs)"),
        Conv: ((3, 4), "(outputs, channels / groups, *kernel)"),
        Add: ((2,), "(channels, 2)"),
    }[type(layer)]
    fits_rank = layer.weights.ndim in rank
    outputs = layer.weights.shape[0] if fits_rank else 0
    wanted: list[tuple[str, NDArray[np.generic], type[np.generic], bool]] = [
        ("weights", layer.weights, np.int8, fits_rank and not (isinstance(layer, Add) and layer.weights.shape[1] != 2)),
        ("bias", layer.bias, np.int32, layer.bias.shape == (outputs,)),
    ]
    if layer.shifts is not None:
        wanted.append(("shifts", layer.shifts, np.uint8, layer.shifts.shape == (outputs,)))
    for name, array, kind, fits in wanted:
        if array.dtype != kind or not fits:
            needed = shape if name == "weights" else f"({outputs},), one for each output"
            advice = f"{name} are {array.dtype} {array.shape}; needed: {np.dtype(kind)} {needed}"
            raise NotCanonical(where, "shape", advice)
    if not 1 <= outputs <= MOST_OUTPUTS:
        raise NotCanonical(where, "shape", f"{outputs} outputs: 1 to {MOST_OUTPUTS} are possible")
    inputs = layer.weights.size // outputs
    if not 1 <= inputs <= LONGEST_ROW:
        raise NotCanonical(where, "shape", f"{inputs} inputs: 1 to {LONGEST_ROW} are possible")


def _check_window(kernel: Shape, strides: Shape, pads: Pads, where: str) -> None:
    if not 1 <= len(kernel) <= 2 or not len(kernel) == len(strides) == len(pads):
        advice = f"kernel {kernel}, strides {strides}, pads {pads}: each has the same one or two dimensions"
        raise NotCanonical(where, "window", advice)
    if not all(1 <= side <= MOST_VALUES for side in (*kernel, *strides)):
        raise NotCanonical(
            where, "window", f"kernel {kernel} and strides {strides} are at least 1, at most {MOST_VALUES}"
        )
    for side, pad in zip(kernel, pads, strict=True):
        if min(pad) < 0 or max(pad) >= side:
            raise NotCanonical(where, "window", f"pads {pads} must be smaller than the kernel {kernel}: pad apart")


def _check_size(operator: Operator, row: Shape, shape: Shape, where: str) -> int:
    """How many operations one row costs here, once it is known that its values can be held."""
    if row[0] > LONGEST_ROW:
        raise NotCanonical(where, "shape", f"rows of {row[0]} bytes: {LONGEST_ROW} are possible")
    count = math.prod(shape)
    if count > MOST_VALUES or len(shape) > MOST_DIMENSIONS:
        advice = f"it gives {count} values in {len(shape)} dimensions: {MOST_VALUES} in {MOST_DIMENSIONS} are possible"
        raise NotCanonical(where, "size", advice)
    return count_operations(operator, shape)


def _check_channels(layer: Dense | Conv | Add, where: str) -> None:
    largest = np.abs(layer.weights.reshape(len(layer.weights), -1).astype(np.int16)).max(axis=1)
    if largest.max() > WEIGHT_LIMIT:
        channel = int(largest.argmax())
        advice = f"|weight| {largest[channel]} exceeds {WEIGHT_LIMIT}: quantise to smaller weights"
        raise NotCanonical(f"{where}, channel {channel}", "weight-range", advice)
    bounds = compute_channel_bounds(layer.weights, layer.bias)
    if bounds.max() >= SUM_LIMIT:
        channel = int(bounds.argmax())
        advice = (
            f"255·Σ|weight| + |bias| = {bounds[channel]} must stay below {SUM_LIMIT}: "
            "split the channel or quantise it to smaller weights"
        )
        raise NotCanonical(f"{where}, channel {channel}", "sum-bound", advice)
    if layer.shifts is not None and layer.shifts.max() > SHIFT_LIMIT:
        channel = int(layer.shifts.argmax())
        advice = f"shift {layer.shifts[channel]} exceeds {SHIFT_LIMIT}: quantise to smaller weights"
        raise NotCanonical(f"{where}, channel {channel}", "power-of-two", advice)
