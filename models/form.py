"""The bounds of the canonical form, which make a network exact everywhere: the one place that checks a network.

The limits are also those of a program (docs/program.md) and of the contract that executes it. An ONNX file obeys more
rules, about how it is written: models.canonical has them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.integer_ops import SHIFT_LIMIT, SUM_LIMIT, WEIGHT_LIMIT, compute_channel_bounds
from models.network import Dense, IntegerNetwork

LONGEST_ROW = 96 << 10  # bytes
MOST_OUTPUTS = 65_535  # of any layer
MOST_LAYERS = 65_535


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
    layers = network.layers
    if not 1 <= len(layers) <= MOST_LAYERS:
        raise NotCanonical("network", "size", f"{len(layers)} layers: 1 to {MOST_LAYERS} are possible")
    width = None
    for index, layer in enumerate(layers):
        where = f"layer {index}"
        _check_arrays(layer, where)
        if width is not None and layer.inputs != width:
            raise NotCanonical(where, "shape", f"it takes {layer.inputs} inputs, but {width} arrive: make them equal")
        width = layer.outputs
        if (layer.shifts is None) != (index == len(layers) - 1):
            advice = "every layer but the last has shifts, and the last has none: its sums are the logits"
            raise NotCanonical(where, "logits", advice)
        _check_channels(layer, where)


def _check_arrays(layer: Dense, where: str) -> None:
    """The shapes and types that models.network promises: others would be written as something that they are not."""
    outputs = layer.weights.shape[0] if layer.weights.ndim == 2 else 0
    wanted: list[tuple[str, NDArray[np.generic], type[np.generic], bool]] = [
        ("weights", layer.weights, np.int8, layer.weights.ndim == 2),
        ("bias", layer.bias, np.int32, layer.bias.shape == (outputs,)),
    ]
    if layer.shifts is not None:
        wanted.append(("shifts", layer.shifts, np.uint8, layer.shifts.shape == (outputs,)))
    for name, array, kind, fits in wanted:
        if array.dtype != kind or not fits:
            shape = "(outputs, inputs)" if name == "weights" else f"({outputs},), one for each output"
            advice = f"{name} are {array.dtype} {array.shape}; needed: {np.dtype(kind)} {shape}"
            raise NotCanonical(where, "shape", advice)
    if not 1 <= outputs <= MOST_OUTPUTS:
        raise NotCanonical(where, "shape", f"{outputs} outputs: 1 to {MOST_OUTPUTS} are possible")
    if not 1 <= layer.inputs <= LONGEST_ROW:
        raise NotCanonical(where, "shape", f"{layer.inputs} inputs: 1 to {LONGEST_ROW} are possible")


def _check_channels(layer: Dense, where: str) -> None:
    largest = np.abs(layer.weights.astype(np.int16)).max(axis=1)
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
