"""Rows that provoke every known hazard of a network's arithmetic, found from the network itself.

A processor or a kernel that is not exact shows it where a sum lies half way between two bytes, where a channel is at its
bound (and with it every pair of products), where a value is clamped, and in rows of one value or two in turn. Of the operators
that read the row itself such rows are computed; for those behind them they are picked out of many candidates by what the
specification says of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import shake_128

import numpy as np
from numpy.typing import NDArray

from models import integer_ops
from models.interpreter import apply
from models.network import Add, AveragePool, Conv, Dense, IntegerNetwork, Operator, Pad, Reshape, Transpose, shape_after

Rows = NDArray[np.uint8]
Positions = NDArray[np.int64]
"""Which byte of the row each value is; below 0 a constant c, as -1 - c."""

PROBE_ROWS = 256
HAZARDS = ("tie to the byte below", "tie to the byte above", "clamped at 0", "clamped at 255", "at the bound")
_MOST_CANDIDATES = 2048
_CANDIDATE_BYTES = 1 << 24
_OPERATIONS = 1 << 30  # that candidates may cost the specification: some seconds
_VALUES_AT_ONCE = 1 << 22
_FORMS = 192  # channels for which rows are computed
_COLUMNS = 512  # bytes of a row that are changed to reach a tie
_TRIES = 4


@dataclass(frozen=True)
class Probe:
    """rows: uint8 (n, row_length). provoked: for each hazard of HAZARDS in how many of how many channels some row has it."""

    rows: Rows
    provoked: Mapping[str, tuple[int, int]]


def make_probe(network: IntegerNetwork, count: int = PROBE_ROWS) -> Probe:
    """`count` rows, fewer of a large network but 16 at least, the same for the same network: those of the most hazards first,
    then noise like real data."""
    draw = _Draw()
    length = network.row_length
    affordable = max(16, _OPERATIONS // (network.operations + sum(map(math.prod, network.shapes))))
    count = max(16, min(count, affordable))
    every = np.arange(length)
    plain = np.array(
        [every * 0, every * 0 + 255, every % 2 * 255, (every + 1) % 2 * 255, every % 256, 255 - every % 256]
    )
    rows = [plain.astype(np.uint8)]
    room = count - len(plain) - 4
    search = _Search(network)
    search.pick(rows[0], len(plain))
    most = min(affordable, _MOST_CANDIDATES, max(16, _CANDIDATE_BYTES // length))
    computed = [row for form in _linear_forms(network, draw) for row in form.rows(length, draw)][:most]
    noise = _noise(length, most - len(computed), draw)
    rows.append(search.pick(np.array([*computed, *noise], np.uint8).reshape(-1, length), room))
    rows.append(_noise(length, count - sum(map(len, rows)), draw))
    return Probe(np.concatenate(rows), search.provoked())


class _Search:
    """Picks the rows that provoke what no row before did."""

    def __init__(self, network: IntegerNetwork) -> None:
        self._network = network
        self._rounding = [_rounding(operator) for operator in network.operators]
        channels = sum(len(shifts) for shifts in self._rounding if shifts is not None)
        self._seen = np.zeros((len(HAZARDS), channels), bool)
        held = sum(map(math.prod, network.shapes)) + self._seen.size
        self._block = max(1, _VALUES_AT_ONCE // held)

    def pick(self, candidates: Rows, most: int) -> Rows:
        """At most so many of the candidates, none that adds nothing."""
        chosen: list[NDArray[np.uint8]] = []
        for start in range(0, len(candidates), self._block):
            block = candidates[start : start + self._block]
            has = self._hazards(block)
            while len(chosen) < most:
                adds = (has & ~self._seen).sum(axis=(1, 2))
                best = int(adds.argmax())
                if not adds[best]:
                    break
                self._seen |= has[best]
                chosen.append(block[best])
        return np.array(chosen, np.uint8).reshape(-1, candidates.shape[1])

    def provoked(self) -> dict[str, tuple[int, int]]:
        return {name: (int(seen.sum()), seen.size) for name, seen in zip(HAZARDS, self._seen, strict=True)}

    def _hazards(self, rows: Rows) -> NDArray[np.bool_]:
        """bool (n, hazards, channels of all operators that round)."""
        values = [rows.astype(np.int64)]
        found = [np.zeros((len(rows), len(HAZARDS), 0), bool)]
        for operator, read, shifts in zip(self._network.operators, self._network.reads, self._rounding, strict=True):
            arrive = [values[value] for value in read]
            if shifts is not None:
                found.append(_hazards_of(_sums(operator, arrive), shifts, _reach(operator)))
            values.append(apply(operator, arrive))
        return np.concatenate(found, axis=2)


def _rounding(operator: Operator) -> NDArray[np.int64] | None:
    """By how many bits each channel is divided; None where nothing is rounded."""
    if isinstance(operator, Dense | Conv | Add) and operator.shifts is not None:
        return operator.shifts.astype(np.int64)
    return np.full(1, math.prod(operator.kernel).bit_length() - 1) if isinstance(operator, AveragePool) else None


def _reach(operator: Operator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The least and the largest sum of each channel."""
    if isinstance(operator, AveragePool):
        return np.zeros(1, np.int64), np.full(1, 255 * math.prod(operator.kernel))
    assert isinstance(operator, Dense | Conv | Add)
    weights = operator.weights.reshape(len(operator.weights), -1).astype(np.int64)
    bias = operator.bias.astype(np.int64)
    return bias + 255 * np.minimum(weights, 0).sum(axis=1), bias + 255 * np.maximum(weights, 0).sum(axis=1)


def _sums(operator: Operator, values: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """What is divided and rounded: (n, channels, places); of a pool's channels all are one."""
    value = values[0]
    match operator:
        case Dense():
            sums = integer_ops.compute_dense(value, operator.weights, operator.bias)
        case Conv():
            window = operator.strides, operator.pads, operator.groups
            sums = integer_ops.compute_conv(value, operator.weights, operator.bias, *window)
        case Add():
            sums = integer_ops.compute_add(value, values[1], operator.weights, operator.bias)
        case AveragePool():
            padded = integer_ops.compute_padded(value, operator.pads, 0)
            places = np.ndindex(operator.kernel)
            windows = [integer_ops.find_window(padded, place, operator.kernel, operator.strides) for place in places]
            sums = np.add.reduce(windows).reshape(len(value), 1, -1)
    return np.asarray(sums.reshape(*sums.shape[:2], -1), np.int64)


def _hazards_of(
    sums: NDArray[np.int64], shifts: NDArray[np.int64], reach: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """bool (n, hazards, channels): whether any place of a channel has it. sums: (n, channels, places)."""
    bits = shifts[:, None]
    quotient = sums >> bits
    is_tie = (2 * (sums - (quotient << bits)) == 1 << bits) & (quotient >= 0) & (quotient < 255)
    least, most = (bound[:, None] for bound in reach)
    found = [
        is_tie & (quotient % 2 == 0),
        is_tie & (quotient % 2 == 1),
        quotient < 0,
        quotient > 255,
        (sums == least) | (sums == most),
    ]
    return np.stack([each.any(axis=2) for each in found], axis=1)


@dataclass(frozen=True)
class _LinearForm:
    """One channel's sum at one place as a function of the row: constant + Σ weights · row[columns], divided by 2^shift."""

    columns: Positions
    weights: NDArray[np.int64]
    constant: int
    shift: int

    def rows(self, length: int, draw: _Draw) -> Iterator[Rows]:
        """Rows that bring the sum to its bounds, and to ties on both sides where one is within reach."""
        for sign in (1, -1):
            row = np.zeros(length, np.uint8)
            row[self.columns[sign * self.weights > 0]] = 255
            yield row
        for parity in (0, 1) if self.shift else ():
            for _ in range(_TRIES):
                tied = self._tied(draw.values(length), parity, draw)
                if tied is not None:
                    yield tied
                    break

    def _tied(self, row: NDArray[np.int64], parity: int, draw: _Draw) -> Rows | None:
        """The row, changed so that the sum is half way above an even (0) or an odd (1) byte; None where that fails."""
        total = self.constant + int(self.weights @ row[self.columns])
        byte = int(np.clip((total >> self.shift) // 2 * 2 + parity, parity, 252 + parity))
        missing = (byte << self.shift) + (1 << (self.shift - 1)) - total
        used = np.flatnonzero(self.weights)
        some = used[draw.order(len(used))[:_COLUMNS]]
        for index in some[np.argsort(-np.abs(self.weights[some]), kind="stable")]:
            weight, column = int(self.weights[index]), int(self.columns[index])
            step = missing // weight if missing * weight >= 0 else -(-missing // weight)
            step = min(max(step, -int(row[column])), 255 - int(row[column]))
            row[column] += step
            missing -= step * weight
            if not missing:
                return row.astype(np.uint8)
        return None


def _linear_forms(network: IntegerNetwork, draw: _Draw) -> Iterator[_LinearForm]:
    """The channels that are sums of the row's own bytes, at a place in the middle; a draw of them where they are many."""
    known: list[Positions | None] = [np.arange(network.row_length)]
    found: list[tuple[Operator, Positions, int]] = []
    shapes = network.shapes
    for operator, read in zip(network.operators, network.reads, strict=True):
        arrive = [known[value] for value in read]
        positions = [each for each in arrive if each is not None]
        is_known = len(positions) == len(arrive)
        known.append(_arranged(operator, positions[0]) if is_known and len(read) == 1 else None)
        if is_known and isinstance(operator, Dense | Conv | Add | AveragePool):
            channels = shape_after(operator, [shapes[value] for value in read])[0]
            found += [(operator, np.stack(positions), channel) for channel in range(channels)]
    for index in draw.order(len(found))[:_FORMS]:
        yield _linear_form(*found[index])


def _arranged(operator: Operator, positions: Positions) -> Positions | None:
    """Where the row's bytes are after an operator that only moves them; None after any other."""
    match operator:
        case Reshape():
            return positions.reshape(operator.shape)
        case Transpose():
            return positions.transpose(operator.order)
        case Pad():
            return np.pad(positions, ((0, 0), *operator.pads), constant_values=-1 - operator.value)
    return None


def _linear_form(operator: Operator, positions: Positions, channel: int) -> _LinearForm:
    """positions: (values read, *shape)."""
    constant = 0
    if isinstance(operator, AveragePool):
        seen = _middle_window(positions[:, channel : channel + 1], operator)
        weights = np.ones(seen.size, np.int64)
    elif isinstance(operator, Conv):
        size = operator.weights.shape[1]
        first = channel // (len(operator.weights) // operator.groups) * size
        seen = _middle_window(positions[:, first : first + size], operator)
        weights = operator.weights[channel].astype(np.int64)
    else:
        assert isinstance(operator, Dense | Add)
        seen = positions if isinstance(operator, Dense) else positions[:, channel].reshape(2, -1)[:, 0]
        weights = operator.weights[channel].astype(np.int64)
    if isinstance(operator, Dense | Conv | Add):
        constant = int(operator.bias[channel])
    shifts = _rounding(operator)
    shift = 0 if shifts is None else int(shifts[channel % len(shifts)])
    seen, weights = seen.reshape(-1), weights.reshape(-1)
    is_fixed = seen < 0
    constant += int(weights[is_fixed] @ (-1 - seen[is_fixed]))
    columns, places = np.unique(seen[~is_fixed], return_inverse=True)
    summed = np.zeros(len(columns), np.int64)
    np.add.at(summed, places, weights[~is_fixed])
    return _LinearForm(columns, summed, constant, shift)


def _middle_window(positions: Positions, operator: Conv | AveragePool) -> Positions:
    """What the window in the middle sees of values (1, channels, *size): (channels, *kernel)."""
    padded = np.pad(positions[0], ((0, 0), *operator.pads), constant_values=-1)
    sizes = zip(padded.shape[1:], operator.kernel, operator.strides, strict=True)
    starts = [(size - side) // stride // 2 * stride for size, side, stride in sizes]
    cuts = [slice(start, start + side) for start, side in zip(starts, operator.kernel, strict=True)]
    return np.asarray(padded[(slice(None), *cuts)])


def _noise(length: int, count: int, draw: _Draw) -> Rows:
    """Rows as data has them: even noise, mostly dark, of two values, smooth, of one level."""
    rows = [np.empty((0, length), np.uint8)]
    for index in range(count):
        noise = draw.values(length)
        match index % 5:
            case 1:
                noise = np.where(draw.values(length) < 230, 0, noise)
            case 2:
                noise = noise // 128 * 255
            case 3:
                sums = np.cumsum(np.concatenate([[0], noise, noise.repeat(8)[:7]]))
                noise = (sums[8:] - sums[:-8]) // 8
            case 4:
                noise = np.clip(int(draw.values(1)[0]) + (noise + draw.values(length) - 255) // 16, 0, 255)
        rows.append(noise[None, :length].astype(np.uint8))
    return np.concatenate(rows)


class _Draw:
    """Pseudorandom numbers that are the same on every machine and with every release of numpy, in integers alone."""

    def __init__(self) -> None:
        self._calls = 0

    def values(self, count: int) -> NDArray[np.int64]:
        """0 to 255, shape (count,)."""
        return np.frombuffer(self._next(count), np.uint8).astype(np.int64)

    def order(self, count: int) -> NDArray[np.int64]:
        """0 to count - 1 in some order."""
        return np.argsort(np.frombuffer(self._next(8 * count), "<u8"), kind="stable")

    def _next(self, count: int) -> bytes:
        self._calls += 1
        return shake_128(b"quorate probe" + self._calls.to_bytes(8, "big")).digest(count)
