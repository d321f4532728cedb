"""Execution in steps, for networks that do not fit one transaction: the states between them, and where to cut.

The twin of what ModelRegistry does in `begin` and `advance` (docs/program.md has the encoding of a state), so that a client
knows every state and can send all steps at once, whatever anybody else sends.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from models.integer_ops import compute_dense, compute_requantised
from models.interpreter import check_rows
from models.network import Dense, IntegerNetwork
from models.program import HEADER, LAYER, PREAMBLE

GAS_CAP = 12_000_000
"""What a step takes at most unless the caller says otherwise; a transaction may have 16,777,216."""

STATE = struct.Struct(
    ">IIII"
)  # channels before it, the layer's position in the program, channels of that, inputs of that

# Gas, as tests/models/test_stepwise.py holds it against the chain's
OPENING_GAS = 65_000  # of `begin`, beside its bytes
STEP_GAS = 90_000  # of `advance`, beside all that follows
ADDRESS_GAS = 2_300  # to find one chunk
CHUNK_GAS = 2_600  # to read a chunk for the first time
SLIDE_GAS = 1_000  # to read on in the program, beside its bytes
LAYER_GAS = 1_200
START_GAS = 120  # 128·Σx, a block of inputs
FOUR_GAS = 680  # four channels, or the last fewer
BLOCK_GAS = 400  # a block of inputs for each of the four
STATE_BYTE_GAS = 9  # to hash, copy and publish it
OUTPUT_GAS = 35_000  # to store one
OUTPUT_BYTE_GAS = 200

FOUR = 4  # channels that the chain computes together
BLOCK = 30  # inputs that it multiplies at a time
CHUNK_BYTES = 24_575
ARGUMENT_BYTES = 164  # of `advance`, beside the state


class BadState(ValueError):
    """The bytes are not a state of this network's execution."""


@dataclass(frozen=True, slots=True)
class State:
    """An execution between two steps. encode() is what the chain hashes, keccak256, and publishes."""

    executed: int
    """Channels of the whole network that are done."""
    position: int
    """Where the layer at work begins in the program."""
    channel: int
    """Channels of this layer that are done."""
    inputs: bytes
    """The layer's input activations."""
    made: bytes
    """What the layer has made so far: a byte an activation, 4 a logit (int32, big endian)."""

    def encode(self) -> bytes:
        """The bytes that `advance` takes and StateReached carries."""
        return STATE.pack(self.executed, self.position, self.channel, len(self.inputs)) + self.inputs + self.made

    @classmethod
    def decode(cls, encoded: bytes) -> State:
        """The state in these bytes. Raises BadState if they end before its activations do."""
        if len(encoded) < STATE.size:
            raise BadState(f"a state has at least {STATE.size} bytes, not {len(encoded)}")
        executed, position, channel, inputs = STATE.unpack_from(encoded)
        if len(encoded) < STATE.size + inputs:
            raise BadState(f"a state with {inputs} inputs has at least {STATE.size + inputs} bytes, not {len(encoded)}")
        made = STATE.size + inputs
        return cls(executed, position, channel, encoded[STATE.size : made], encoded[made:])


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of an execution."""

    channels: int
    """How many to execute, of as many layers as they are in."""
    gas: int
    """What its transaction takes at most, calldata included: enough as its gas limit."""


def first_state(network: IntegerNetwork, row: bytes) -> State:
    """The state in which an execution begins. Raises ValueError for a row of another length."""
    check_rows(network, np.frombuffer(row, np.uint8)[None])
    return State(0, HEADER.size, 0, row, b"")


def advance(network: IntegerNetwork, state: State, channels: int) -> State | bytes:
    """The state after so many channels more, or the output (4 bytes a logit, big endian) if they end before.

    Raises BadState for a state that is none of the network's, as far as its shape tells; ValueError for no channels.
    """
    if channels < 1:
        raise ValueError("a step executes at least one channel")
    index = _layer_of(network, state)
    while channels:
        layer = network.layers[index]
        count = min(channels, layer.outputs - state.channel)
        made = state.made + _made(layer, state.inputs, state.channel, count)
        channels -= count
        if state.channel + count < layer.outputs:
            return State(state.executed + count, state.position, state.channel + count, state.inputs, made)
        if layer.shifts is None:
            return made
        state = State(state.executed + count, state.position + _length(layer), 0, made, b"")
        index += 1
    return state


def plan(network: IntegerNetwork, state: State | None = None, gas_cap: int = GAS_CAP) -> list[Step]:
    """The steps from a state (from the first one if None is given) to the end, each as large as fits under `gas_cap`.

    Raises ValueError if even one channel does not fit; BadState as `advance`.
    """
    at = _Place(0, 0) if state is None else _Place(_layer_of(network, state), state.channel)
    costs = _Costs.of(network)
    steps = []
    while at.layer < len(network.layers):
        left = sum(layer.outputs for layer in network.layers[at.layer :]) - at.channel
        count = bisect_right(range(1, left + 1), gas_cap, key=lambda channels: costs.step(at, channels))
        if count == 0:
            raise ValueError(f"one channel of layer {at.layer} takes {costs.step(at, 1)} gas; the cap is {gas_cap}")
        steps.append(Step(count, costs.step(at, count)))
        at = costs.after(at, count)
    return steps


def begin_gas(network: IntegerNetwork) -> int:
    """What the transaction that begins an execution takes at most."""
    return _Costs.of(network).begin()


def _layer_of(network: IntegerNetwork, state: State) -> int:
    """The index of the layer that the state is in."""
    position, executed = HEADER.size, 0
    for index, layer in enumerate(network.layers):
        if position == state.position:
            width = 1 if layer.shifts is not None else 4
            shape = (executed + state.channel, layer.inputs, state.channel * width)
            if state.channel < layer.outputs and shape == (state.executed, len(state.inputs), len(state.made)):
                return index
        position += _length(layer)
        executed += layer.outputs
    raise BadState(f"the network has no layer at byte {state.position} with such a state: is it another model's?")


def _length(layer: Dense) -> int:
    """Bytes of a layer in the program."""
    return LAYER.size + layer.outputs * (PREAMBLE + layer.inputs)


def _made(layer: Dense, inputs: bytes, first: int, count: int) -> bytes:
    """What `count` channels of the layer make, from `first` on."""
    chosen = slice(first, first + count)
    activations = np.frombuffer(inputs, np.uint8).astype(np.int64)[None]
    sums = compute_dense(activations, layer.weights[chosen], layer.bias[chosen])
    if layer.shifts is None:
        return sums.astype(">i4").tobytes()
    return compute_requantised(sums, layer.shifts[chosen]).astype(np.uint8).tobytes()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a step begins or ends: at a channel of a layer, or behind the last layer."""

    layer: int
    channel: int


@dataclass(frozen=True, slots=True)
class _Costs:
    """Upper bounds of the gas that an execution's transactions take, from shapes alone, since nothing else decides it.

    Everything touched is taken to be cold, every byte of calldata not to be zero, and the model to be measured.
    """

    network: IntegerNetwork
    program_length: int
    buffer: int
    """Bytes of memory for a layer's activations."""

    @classmethod
    def of(cls, network: IntegerNetwork) -> _Costs:
        length = HEADER.size + sum(_length(layer) for layer in network.layers)
        return cls(network, length, max(4 * network.output_length, *(layer.inputs for layer in network.layers)))

    def begin(self) -> int:
        """The transaction that opens an execution."""
        length = STATE.size + self.network.row_length
        return _transaction(length, OPENING_GAS + STATE_BYTE_GAS * length + _memory(5 * length))

    def step(self, at: _Place, channels: int) -> int:
        """The transaction that executes so many channels from there on, fewer if there are not so many."""
        gas, program_bytes, largest = STEP_GAS, 0, CHUNK_BYTES
        end = at
        while channels and end.layer < len(self.network.layers):
            layer = self.network.layers[end.layer]
            count = min(channels, layer.outputs - end.channel)
            record = PREAMBLE + layer.inputs
            gas += _layer_gas(layer.inputs, count)
            program_bytes += LAYER.size + count * record
            largest = max(largest, FOUR * record)
            channels -= count
            end = self.after(end, count)
        chunks = -(-self.program_length // CHUNK_BYTES)
        gas += ADDRESS_GAS * chunks + CHUNK_GAS * min(chunks, 3 + program_bytes // CHUNK_BYTES)
        before, after = self._state_length(at), self._state_length(end)
        gas += STATE_BYTE_GAS * (before + after)
        if end.layer == len(self.network.layers):
            gas += OUTPUT_GAS + OUTPUT_BYTE_GAS * after
        return _transaction(before, gas + _memory(2 * before + 4 * after + 2 * self.buffer + largest + CHUNK_BYTES))

    def after(self, at: _Place, channels: int) -> _Place:
        """Where a step of so many channels ends, all of them in the same layer if it is longer than that."""
        layer, channel = at.layer, at.channel + channels
        while layer < len(self.network.layers) and channel >= self.network.layers[layer].outputs:
            channel -= self.network.layers[layer].outputs
            layer += 1
        return _Place(layer, channel)

    def _state_length(self, at: _Place) -> int:
        """Bytes of the state there, or of the output at the end."""
        if at.layer == len(self.network.layers):
            return 4 * self.network.output_length
        layer = self.network.layers[at.layer]
        return STATE.size + layer.inputs + at.channel * (4 if layer.shifts is None else 1)


def _layer_gas(inputs: int, count: int) -> int:
    """Channels of one layer."""
    blocks, four = -(-inputs // BLOCK), FOUR * (PREAMBLE + inputs)
    fours = -(-count // FOUR)
    slides = 1 + -(-fours // max(1, CHUNK_BYTES // four))
    window = SLIDE_GAS + max(four, CHUNK_BYTES) // 10
    return LAYER_GAS + START_GAS * blocks + slides * window + fours * (FOUR_GAS + BLOCK_GAS * blocks)


def _transaction(length: int, gas: int) -> int:
    """A transaction whose call takes `gas` and has a state or row of `length` bytes, none of them zero (EIP-7623)."""
    calldata = length + ARGUMENT_BYTES
    return 21_000 + max(16 * calldata + gas, 40 * calldata)


def _memory(length: int) -> int:
    """Gas of `length` bytes of memory."""
    words = length // 32 + 100
    return 3 * words + words * words // 512
