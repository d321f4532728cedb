"""How the real numbers of a layer become integers: how far its bytes reach, each channel's multiplier, weights and bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.float_constants import CannotQuantize
from models.float_model import Floats
from models.integer_ops import SUM_LIMIT, WEIGHT_LIMIT, compute_channel_bounds
from models.network import Add, Conv, Dense

Steps: TypeAlias = NDArray[np.int64]
Calibration: TypeAlias = Literal["largest", "percentile", "mse"]
"""Which activation becomes 255: the largest seen, the 99.99th percentile, or the one of least mean squared error."""

_LEAST_STEPS = 4  # a channel whose largest weight would get fewer steps than this is refused
_LARGEST_MULTIPLIER = 2.0**100  # for channels of vanishing weights: what they become is zero either way
_PERCENTILE = 99.99
_CUTS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)  # of the largest activation, tried for the least error
_OUTSTANDING = 16.0  # times the median of its channel's weights: one that may be worth clipping
_WEIGHT_CUTS = 2.0 ** -np.arange(0, 9, 0.5)  # of the largest weight, tried for the least error


@dataclass(frozen=True)
class Layer:
    """A layer whose weights are to be rounded: how its operator is made, and its sums over the calibration rows.

    weights: real, (outputs, fan-in), of steps; bias: real, (outputs,). make: from integers of these shapes and shifts.
    add_up: (n, outputs, …) for weights of that shape, exact where they are integers.
    """

    weights: Floats
    bias: Floats
    make: Callable[[NDArray[np.int8], NDArray[np.int32], NDArray[np.uint8] | None], Dense | Conv | Add]
    add_up: Callable[[Floats], Floats]
    reads: tuple[int, ...]
    name: str


def flatten(values: Floats) -> Floats:
    """(places, channels) of (n, channels, …)."""
    return values if values.ndim == 2 else np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])


def find_zero_point(low: Floats, high: Floats) -> int:
    """The byte for 0 of a value whose channels reach from low ≤ 0 to high ≥ 0."""
    below, above = -float(low.min()), float(high.max())
    return 0 if below <= 0 else int(np.clip(np.rint(255 * below / (below + above)), 1, 254))


def calibrate(real: Floats, method: Calibration) -> tuple[Floats, Floats]:
    """How far each channel's bytes should reach below and above 0. real: (places, channels)."""
    low, high = np.minimum(real.min(axis=0), 0), np.maximum(real.max(axis=0), 0)
    if method == "percentile":
        inner = np.percentile(real, [100 - _PERCENTILE, _PERCENTILE], axis=0)
        return np.maximum(low, np.minimum(inner[0], 0)), np.minimum(high, np.maximum(inner[1], 0))
    if method == "largest":
        return low, high
    best = np.full(len(low), np.inf)
    cut_of = np.ones(len(low))
    for cut in _CUTS:
        step = np.maximum((high - low) * cut / 255, 1e-30)
        stored = np.clip(np.rint(real / step) * step, low * cut, high * cut)
        error = ((stored - real) ** 2).mean(axis=0)
        cut_of = np.where(error < best, cut, cut_of)
        best = np.minimum(error, best)
    return low * cut_of, high * cut_of


def clip_weights(layer: Layer) -> Layer:
    """The layer without weights so much larger than the others of their channel that these would be rounded away.

    Such weights come of features that hardly ever vary, divided by their deviation. Each channel is cut where the error of
    its sums on the calibration rows varies least; the bias makes good the error's mean.
    """
    largest = np.abs(layer.weights).max(axis=1)
    typical = np.median(np.abs(layer.weights), axis=1)
    if not (largest > _OUTSTANDING * typical).any() or not np.isfinite(largest).all():
        return layer
    best = np.full(len(largest), np.inf)
    cuts = largest.copy()
    for cut in largest[None] * _WEIGHT_CUTS[:, None]:
        step = np.maximum(cut / WEIGHT_LIMIT, 1e-300)[:, None]
        stored = np.clip(np.rint(layer.weights / step), -WEIGHT_LIMIT, WEIGHT_LIMIT) * step
        error = flatten(layer.add_up(stored - layer.weights)).var(axis=0)
        cuts = np.where(error < best, cut, cuts)
        best = np.minimum(error, best)
    return replace(layer, weights=np.clip(layer.weights, -cuts[:, None], cuts[:, None]))


def find_multipliers(weights: Floats, bias: Floats, node: str) -> Floats:
    """For each channel the multiplier that fills ±63 without passing the bound on sums. bias: magnitudes, (outputs,)."""
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
        by_sum = np.where(span + bias > 0, room / (span + bias), 1.0)
    return np.minimum(np.minimum(by_weight, by_sum), _LARGEST_MULTIPLIER)


def round_layer(
    layer: Layer, multipliers: Floats, wanted: Floats, lift: Steps
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Integer weights and bias; the mean sum on the calibration rows is moved to the wanted mean, plus the lift.

    wanted: real sums times multipliers, (places, outputs); lift: what the zero point adds, (outputs,).
    """
    integers = np.rint(layer.weights * multipliers[:, None]).astype(np.int8)
    room = SUM_LIMIT - 1 - compute_channel_bounds(integers, np.zeros(len(layer.bias), np.int32))
    rounded = np.rint(layer.bias * multipliers)
    if (np.abs(rounded) + lift > room).any():
        raise CannotQuantize(layer.name, "sum-bound", "a bias passes the bound on sums: scale the layer's inputs")
    sums = flatten(layer.add_up(integers.astype(np.float64))) + rounded
    missing = wanted.mean(axis=0) - sums.mean(axis=0)
    bias = np.clip(rounded.astype(np.int64) + lift + np.rint(missing).astype(np.int64), -room, room)
    return integers, bias.astype(np.int32)
