"""Execution in steps, for networks that do not fit one transaction: the states between them, and where to cut.

The twin of what ModelRegistry does in `begin` and `advance` (docs/program.md has the encoding of a state), so that a client
knows every state and can send all steps at once, whatever anybody else sends. models.step_costs knows what a step takes.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.interpreter import apply, check_rows
from models.liveness import Placed, place
from models.network import Conv, Dense, IntegerNetwork
from models.program import HEADER, layer_length
from models.step_costs import Costs, Place

GAS_CAP = 12_000_000
"""What a step takes at most unless the caller says otherwise; a transaction may have 16,777,216."""

STATE = struct.Struct(
    ">IIII"
)  # values made before it, the layer's position in the program, values of that, live values


class BadState(ValueError):
    """The bytes are not a state of this network's execution."""


@dataclass(frozen=True, slots=True)
class State:
    """An execution between two steps. encode() is what the chain hashes, keccak256, and publishes."""

    executed: int
    """Values of the whole network that are made."""
    position: int
    """Where the layer at work begins in the program."""
    unit: int
    """Values of this layer that are made."""
    live: tuple[bytes, ...]
    """The values that are still to be read, oldest first; then what the layer is making, if it has begun, zero where nothing
    is made yet: a byte an activation, 4 a logit (int32, big endian)."""

    def encode(self) -> bytes:
        """The bytes that `advance` takes and StateReached carries."""
        lengths = struct.pack(f">{len(self.live)}I", *map(len, self.live))
        return STATE.pack(self.executed, self.position, self.unit, len(self.live)) + lengths + b"".join(self.live)

    @classmethod
    def decode(cls, encoded: bytes) -> State:
        """The state in these bytes. Raises BadState unless they are as long as they say."""
        if len(encoded) < STATE.size:
            raise BadState(f"a state has at least {STATE.size} bytes, not {len(encoded)}")
        executed, position, unit, count = STATE.unpack_from(encoded)
        at = STATE.size + 4 * count
        if len(encoded) < at:
            raise BadState(f"a state of {count} values has at least {at} bytes, not {len(encoded)}")
        live = []
        for length in struct.unpack_from(f">{count}I", encoded, STATE.size):
            live.append(encoded[at : at + length])
            at += length
        if at != len(encoded):
            raise BadState(f"a state of these values has {at} bytes, not {len(encoded)}")
        return cls(executed, position, unit, tuple(live))


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of an execution."""

    values: int
    """How many to make, of as many layers as they are in."""
    gas: int
    """What its transaction takes at most, calldata included: enough as its gas limit."""


def first_state(network: IntegerNetwork, row: bytes) -> State:
    """The state in which an execution begins. Raises ValueError for a row of another length."""
    check_rows(network, np.frombuffer(row, np.uint8)[None])
    return State(0, HEADER.size, 0, (row,))


def advance(network: IntegerNetwork, state: State, values: int) -> State | bytes:
    """The state after so many values more, or the output (4 bytes a logit, big endian) if they end before.

    Raises BadState for a state that is none of the network's, as far as its shape tells; ValueError for no values.
    """
    if values < 1:
        raise ValueError("a step makes at least one value")
    layers = list(place(network))
    index = _layer_of(layers, state)
    executed, position, unit = state.executed, state.position, state.unit
    live = list(state.live[: len(layers[index].live)])
    while True:
        placed = layers[index]
        made = _made(placed, live)
        count = min(values, placed.values - unit)
        executed, values, unit = executed + count, values - count, unit + count
        if unit < placed.values:
            return State(executed, position, unit, (*live, _first_of(placed, made, unit)))
        if index + 1 == len(layers):
            return made
        dead = {operand.index for operand in placed.operands if operand.is_last}
        live = [*(value for at, value in enumerate(live) if at not in dead), made]
        index, position, unit = index + 1, position + layer_length(placed), 0
        if not values:
            return State(executed, position, unit, tuple(live))


def plan(network: IntegerNetwork, state: State | None = None, gas_cap: int = GAS_CAP) -> list[Step]:
    """The steps from a state (from the first one if None is given) to the end, each as large as fits under `gas_cap`.

    Raises ValueError if even one value does not fit; BadState as `advance`.
    """
    costs = Costs.of(network)
    at = Place(0, 0) if state is None else Place(_layer_of(costs.layers, state), state.unit)
    steps = []
    while at.layer < len(costs.layers):
        left = sum(layer.values for layer in costs.layers[at.layer :]) - at.unit
        count = bisect_right(range(1, left + 1), gas_cap, key=lambda values: costs.step(at, values))
        if count == 0:
            raise ValueError(f"one value of layer {at.layer} takes {costs.step(at, 1)} gas; the cap is {gas_cap}")
        steps.append(Step(count, costs.step(at, count)))
        at = costs.after(at, count)
    return steps


def begin_gas(network: IntegerNetwork) -> int:
    """What the transaction that begins an execution takes at most."""
    return Costs.of(network).begin()


def _layer_of(layers: list[Placed], state: State) -> int:
    """The index of the layer that the state is in."""
    position, executed = HEADER.size, 0
    lengths = list(map(len, state.live))
    for index, placed in enumerate(layers):
        if position == state.position:
            expected = list(map(math.prod, placed.live))
            if state.unit:
                expected.append(placed.values * (4 if _is_last(placed) else 1))
            if state.unit < placed.values and (state.executed, lengths) == (executed + state.unit, expected):
                return index
        position += layer_length(placed)
        executed += placed.values
    raise BadState(f"the network has no layer at byte {state.position} with such a state: is it another model's?")


def _is_last(placed: Placed) -> bool:
    return isinstance(placed.operator, Dense) and placed.operator.shifts is None


def _made(placed: Placed, live: list[bytes]) -> bytes:
    """What a layer makes of the live values that it reads."""
    read = [
        np.frombuffer(live[operand.index], np.uint8).astype(np.int64).reshape(1, *placed.live[operand.index])
        for operand in placed.operands
    ]
    return apply(placed.operator, read).astype(">i4" if _is_last(placed) else np.uint8).tobytes()


def _first_of(placed: Placed, made: bytes, count: int) -> bytes:
    """What a layer makes with all but the first `count` values that it makes left at zero."""
    values = np.frombuffer(made, ">i4" if _is_last(placed) else np.uint8)
    some = np.zeros_like(values)
    chosen = _order(placed)[:count]
    some[chosen] = values[chosen]
    return some.tobytes()


def _order(placed: Placed) -> NDArray[np.int64]:
    """The order in which a layer makes its values: a convolution all channels of a group at a place before the next place."""
    numbers = np.arange(placed.values)
    if not isinstance(placed.operator, Conv):
        return numbers
    groups = placed.operator.groups
    return numbers.reshape(groups, placed.shape[0] // groups, -1).transpose(0, 2, 1).ravel()
