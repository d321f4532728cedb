"""A program as text for people: layer by layer, and channel by channel where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.integer_ops import compute_requantised
from models.liveness import Placed, place
from models.network import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Dense,
    IntegerNetwork,
    MaxPool,
    Pad,
    Pads,
    Reshape,
    Shape,
    Table,
    Transpose,
    count_macs,
)
from models.program import layer_length, model_id, opcode_of
from models.program_reader import decompile

Range = tuple[int, int]
"""The smallest and the largest that a value can be, whatever the row."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One layer of a program."""

    index: int
    operator: str
    """Its name and what it is told: kernel, strides, pads, groups, order."""
    reads: str
    """The values that it reads: the row, or the layers that gave them."""
    shape: Shape
    """Of what it makes."""
    macs: int
    """Multiplications of a weight by an activation."""
    bytes: int
    """Of the program."""
    range: Range


def list_layers(network: IntegerNetwork) -> list[Listing]:
    """The layers of the program that `network` compiles to."""
    ranges: list[Range] = [(0, 255)]
    listings = []
    for index, (placed, read) in enumerate(zip(place(network), network.reads, strict=True)):
        ranges.append(_range(placed, [ranges[value] for value in read]))
        listings.append(
            Listing(
                index=index,
                operator=_described(placed),
                reads=" ".join(f"layer {value - 1}" if value else "row" for value in read),
                shape=placed.shape,
                macs=count_macs(placed.operator, placed.shape),
                bytes=layer_length(placed),
                range=ranges[-1],
            )
        )
    return listings


def disassemble(program: bytes, channels: bool = False) -> str:
    """The program as text: a line for the header, one for each layer, and if `channels` one for each of its channels.

    Raises BadProgram.
    """
    return "\n".join(_lines(program, decompile(program), channels)) + "\n"


def _lines(program: bytes, network: IntegerNetwork, channels: bool) -> Iterator[str]:
    yield f"model {model_id(program).hex()}"
    yield f"row {network.row_length}  output {network.output_length}  macs {network.macs}  bytes {len(program)}"
    for listing, operator in zip(list_layers(network), network.operators, strict=True):
        low, high = listing.range
        cost = f"macs {listing.macs}  bytes {listing.bytes}  range {low} … {high}"
        yield f"layer {listing.index}: {listing.operator}  of {listing.reads} -> {_times(listing.shape)}  {cost}"
        if channels and isinstance(operator, Dense | Conv | Add):
            yield from _channel_lines(operator)
        if channels and isinstance(operator, Table):
            yield "         entries " + " ".join(map(str, operator.entries.tolist()))


def _channel_lines(layer: Dense | Conv | Add) -> Iterator[str]:
    for channel, weights in enumerate(layer.weights.reshape(len(layer.weights), -1).tolist()):
        shift = "" if layer.shifts is None else f"shift {layer.shifts[channel]:2}  "
        yield f"  {channel:5}  {shift}bias {layer.bias[channel]:9}  weights {' '.join(map(str, weights))}"


def _described(placed: Placed) -> str:
    operator = placed.operator
    name = opcode_of(operator).name.lower().replace("_", " ")
    match operator:
        case Dense():
            return f"{name} {operator.inputs} -> {operator.outputs}"
        case Conv():
            groups = f" groups {operator.groups}" if operator.groups > 1 else ""
            return f"{name} {_windowed(operator.kernel, operator.strides, operator.pads)}{groups}"
        case MaxPool() | AveragePool():
            return f"{name} {_windowed(operator.kernel, operator.strides, operator.pads)}"
        case Pad():
            return f"{name} {_pads(operator.pads)} with {operator.value}"
        case Transpose():
            return f"{name} {' '.join(map(str, operator.order))}"
        case Reshape():
            return f"{name} {_times(placed.read[0])}"
    return name


def _windowed(kernel: Shape, strides: Shape, pads: Pads) -> str:
    stride = f" stride {_times(strides)}" if max(strides) > 1 else ""
    return f"{_times(kernel)}{stride}" + (f" pad {_pads(pads)}" if any(map(any, pads)) else "")


def _pads(pads: Pads) -> str:
    return " ".join(f"{before}+{behind}" for before, behind in pads)


def _times(shape: Shape) -> str:
    return "×".join(map(str, shape))


def _range(placed: Placed, read: list[Range]) -> Range:
    """What an operator can make of values in these ranges."""
    operator = placed.operator
    low, high = min(each[0] for each in read), max(each[1] for each in read)
    match operator:
        case Dense() | Conv() | Add():
            if isinstance(operator, Conv) and any(map(any, operator.pads)):
                low = 0
            flat = operator.weights.reshape(len(operator.weights), -1).astype(np.int64)
            ends = np.array(read if isinstance(operator, Add) else [(low, high)] * flat.shape[1], np.int64)
            return _sum_range(flat, operator.bias, operator.shifts, ends)
        case Table():
            seen = operator.entries[low : high + 1]
            return int(seen.min()), int(seen.max())
        case AveragePool() if any(map(any, operator.pads)):
            return 0, high
        case Pad() if any(map(any, operator.pads)):
            return min(low, operator.value), max(high, operator.value)
        case MaxPool() | AveragePool() | Concat() | Reshape() | Transpose() | Pad():
            return low, high


def _sum_range(
    weights: NDArray[np.int64], bias: NDArray[np.int32], shifts: NDArray[np.uint8] | None, ends: NDArray[np.int64]
) -> Range:
    """Of channels' sums, divided and clamped if there are shifts. weights: (outputs, inputs); ends: (inputs, 2)."""
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    least, most = positive @ ends[:, 0] + negative @ ends[:, 1], positive @ ends[:, 1] + negative @ ends[:, 0]
    sums: NDArray[np.int64] = np.array([least, most], np.int64) + bias.astype(np.int64)
    values = sums if shifts is None else compute_requantised(sums, shifts)
    return int(values[0].min()), int(values[1].max())
