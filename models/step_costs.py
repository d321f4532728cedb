"""What the transactions of an execution in steps take at most, from shapes alone, since nothing else decides it.

Everything touched is taken to be cold, every byte of calldata not to be zero, and the model to be measured.
tests/models/test_stepwise.py holds every figure against the chain's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.liveness import Placed, place, window_of
from models.network import Add, AveragePool, Conv, Dense, IntegerNetwork, MaxPool, Pad, Shape, Table, Transpose
from models.program import HEADER, fields_length, layer_length, record_length
from models.weight_blocks import BLOCK

OPENING_GAS = 65_000  # of `begin`, beside its bytes
STEP_GAS = 92_000  # of `advance`, beside all that follows
ADDRESS_GAS = 2_300  # to find one chunk
CHUNK_GAS = 2_600  # to read a chunk for the first time
SLIDE_GAS = 1_000  # to read on in the program, beside its bytes
STATE_BYTE_GAS = 9  # to hash, copy and publish it
STATE_VALUE_GAS = 1_000  # of each of the values in it
OUTPUT_GAS = 35_000  # to store one
OUTPUT_BYTE_GAS = 200

LAYER_GAS = 3_000
MOVED_WORD_GAS = 9  # of what a layer moves, makes zero or leaves behind
SPREAD_GAS = 480  # a block of inputs
FOUR_GAS = 700  # four channels, or the last fewer
BLOCK_GAS = 450  # a block of inputs for each of the four
SUM_GAS = 130  # 32 values of a window
WINDOW_GAS = 1_500  # to gather a window, beside its rows
ROW_GAS = 80  # of a window
SCATTER_GAS = 75  # an output of a convolution
LARGEST_GAS = 85  # a value of a window
ADDED_GAS = 190  # a value
LOOKED_UP_GAS = 75  # a value
PICKED_GAS = 65  # a value
LINE_GAS = 1_100  # a row of a Pad or Transpose, a channel of an Add

FOUR = 4  # channels that the chain computes together
CHUNK_BYTES = 24_575
ARGUMENT_BYTES = 164  # of `advance`, beside the state
STATE_BYTES = 16  # of a state, beside its values
LIVE_TABLE_BYTES = 4_200


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step begins or ends: at a value of a layer, or behind the last layer."""

    layer: int
    unit: int


@dataclass(frozen=True, slots=True)
class Costs:
    """Upper bounds of the gas that an execution's transactions take."""

    layers: list[Placed]
    program_length: int
    memory: int
    """Bytes of memory for values."""

    @classmethod
    def of(cls, network: IntegerNetwork) -> Costs:
        layers = list(place(network))
        length = HEADER.size + sum(map(layer_length, layers))
        return cls(layers, length, max(each.working_memory for each in layers) + 3 * network.output_length)

    def begin(self) -> int:
        """The transaction that opens an execution."""
        length = STATE_BYTES + 4 + math.prod(self.layers[0].live[0])
        return _transaction(length, OPENING_GAS + STATE_BYTE_GAS * length + _memory(5 * length))

    def step(self, at: Place, values: int) -> int:
        """The transaction that makes so many values from there on, fewer if there are not so many."""
        gas, program_bytes, window = STEP_GAS, 0, min(CHUNK_BYTES, self.program_length)
        windows = window  # of all that were outgrown, together
        end = at
        while values and end.layer < len(self.layers):
            placed = self.layers[end.layer]
            count = min(values, placed.values - end.unit)
            program_bytes += fields_length(placed) + _records_read(placed, count)
            if (needed := _records_at_once(placed)) > window:
                window, windows = needed, windows + needed
            gas += layer_gas(placed, count)
            values -= count
            end = self.after(end, count)
        chunks = -(-self.program_length // CHUNK_BYTES)
        slides = 2 + (0 if chunks == 1 else 2 * (end.layer - at.layer + 1) + program_bytes // CHUNK_BYTES)
        slides = min(slides, 2 + 2 * program_bytes // CHUNK_BYTES + end.layer - at.layer)
        gas += slides * (SLIDE_GAS + window // 10)
        gas += ADDRESS_GAS * chunks + CHUNK_GAS * min(chunks, 3 + program_bytes // CHUNK_BYTES)
        before, after = self._state_length(at), self._state_length(end)
        gas += STATE_BYTE_GAS * (before + after) + STATE_VALUE_GAS * (self._values_in(at) + self._values_in(end))
        if end.layer == len(self.layers):
            gas += OUTPUT_GAS + OUTPUT_BYTE_GAS * after
        memory = 2 * before + 4 * after + self.memory + windows + LIVE_TABLE_BYTES
        return _transaction(before, gas + _memory(memory))

    def after(self, at: Place, values: int) -> Place:
        """Where a step of so many values ends, all of them in the same layer if it is longer than that."""
        layer, unit = at.layer, at.unit + values
        while layer < len(self.layers) and unit >= self.layers[layer].values:
            unit -= self.layers[layer].values
            layer += 1
        return Place(layer, unit)

    def _state_length(self, at: Place) -> int:
        """Bytes of the state there, or of the output at the end."""
        if at.layer == len(self.layers):
            return 4 * self.layers[-1].values
        placed = self.layers[at.layer]
        width = 4 if at.layer + 1 == len(self.layers) else 1
        made = placed.values * width if at.unit else 0
        return STATE_BYTES + 4 * self._values_in(at) + sum(map(math.prod, placed.live)) + made

    def _values_in(self, at: Place) -> int:
        if at.layer == len(self.layers):
            return 1
        return len(self.layers[at.layer].live) + bool(at.unit)


def layer_gas(placed: Placed, count: int) -> int:
    """What `count` values of a layer take, beside reading the program and the bytes of states."""
    operator, rank = placed.operator, len(placed.shape)
    held = sum(map(math.prod, placed.live)) + 4 * placed.values
    gas = LAYER_GAS + 150 * (len(placed.live) + 2 * len(placed.operands)) + MOVED_WORD_GAS * (held // 32)
    match operator:
        case Dense():
            return gas + _sums_gas(operator.inputs, count)
        case Conv():
            per_group = len(operator.weights) // operator.groups
            windows = min(count, 1 + -(-count // per_group))
            depth = operator.weights.shape[1]
            each = _window_gas(operator.kernel, depth) + _sums_gas(window_of(operator), per_group)
            return gas + windows * each + count * SCATTER_GAS + (1 + windows) * 200
        case MaxPool():
            return gas + count * (_window_gas(operator.kernel, 1) + LARGEST_GAS * window_of(operator))
        case AveragePool():
            return gas + count * (_window_gas(operator.kernel, 1) + SUM_GAS * -(-window_of(operator) // 32))
        case Table():
            return gas + count * LOOKED_UP_GAS
        case Add():
            return gas + count * ADDED_GAS + _lines(placed.shape[1:], count) * LINE_GAS
        case Pad():
            return gas + _lines(placed.shape[-1:], count) * (LINE_GAS + 250 * rank) + count // 32 * 60
        case Transpose():
            return (
                gas
                + 900 * rank * rank
                + _lines(placed.shape[-1:], count) * (LINE_GAS + 250 * rank)
                + count * PICKED_GAS
            )
    return gas


def _sums_gas(inputs: int, channels: int) -> int:
    """Channels that read the same inputs."""
    return SPREAD_GAS * _blocks(inputs) + -(-channels // FOUR) * (FOUR_GAS + BLOCK_GAS * _blocks(inputs))


def _window_gas(kernel: Shape, depth: int) -> int:
    rows = math.prod(kernel[:-1])
    return WINDOW_GAS + depth * (ROW_GAS + rows * (ROW_GAS + kernel[-1] // 8)) + depth * math.prod(kernel) // 8


def _lines(line: Shape, count: int) -> int:
    """How many lines of this shape `count` values may touch."""
    return min(count, 1 + -(-count // math.prod(line)))


def _blocks(inputs: int) -> int:
    return -(-inputs // BLOCK)


def _records_read(placed: Placed, count: int) -> int:
    """Bytes of the records that `count` values need."""
    operator = placed.operator
    if isinstance(operator, Dense):
        return count * record_length(operator.inputs)
    if isinstance(operator, Conv):
        per_group = len(operator.weights) // operator.groups * record_length(window_of(operator))
        pixels = math.prod(placed.shape[1:]) * (len(operator.weights) // operator.groups)
        return min(operator.groups, 2 + count // pixels) * per_group
    if isinstance(operator, Add):
        return min(len(operator.weights), 2 + count // math.prod(placed.shape[1:])) * record_length(2)
    return 0


def _records_at_once(placed: Placed) -> int:
    """Bytes of the records that must lie in memory together."""
    operator = placed.operator
    if isinstance(operator, Dense):
        return FOUR * record_length(operator.inputs)
    if isinstance(operator, Conv):
        return len(operator.weights) // operator.groups * record_length(window_of(operator))
    return 0


def _transaction(length: int, gas: int) -> int:
    """A transaction whose call takes `gas` and has a state or row of `length` bytes, none of them zero (EIP-7623)."""
    calldata = length + ARGUMENT_BYTES
    return 21_000 + max(16 * calldata + gas, 40 * calldata)


def _memory(length: int) -> int:
    """Gas of `length` bytes of memory."""
    words = length // 32 + 100
    return 3 * words + words * words // 512
