"""Program → IntegerNetwork: reads what a program says and refuses what no network compiles to.

The twin of ProgramValidator.sol: both look at the same things in the same order, so they refuse for the same reason.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.form import (
    LARGEST_AVERAGE,
    LONGEST_ROW,
    MOST_DIMENSIONS,
    MOST_HELD,
    MOST_LIVE,
    MOST_MEMORY,
    MOST_OPERATIONS,
    MOST_OUTPUTS,
    MOST_VALUES,
    pad_reach,
)
from models.integer_ops import SHIFT_LIMIT, SUM_LIMIT, WEIGHT_LIMIT, compute_channel_bounds
from models.liveness import Operand, Placed, survivors
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
from models.program import HEADER, LAST_USE, MAGIC, PREAMBLE, Opcode, record_length
from models.weight_blocks import unpack_weights

_FIRST = (Opcode.DENSE, Opcode.LOGITS, Opcode.RESHAPE)
"""What can be the first layer: these say how long a row is."""


class BadProgram(ValueError):
    """The bytes are not the program of any network. reason: the error of IModelRegistry that the chain has for it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decompile(program: bytes) -> IntegerNetwork:
    """The network that `program` means. Raises BadProgram for anything that compile_network would not have written."""
    if len(program) < HEADER.size:
        found = f"a program has at least {HEADER.size} bytes of header; this one ends after {len(program)}"
        raise BadProgram("ProgramTooShort", found)
    magic, row_length, output_length, memory, count = HEADER.unpack_from(program)
    if magic != MAGIC:
        raise BadProgram("WrongMagic", f"a program of this version begins with {MAGIC.hex()}, not {magic.hex()}")
    if not 1 <= row_length <= LONGEST_ROW:
        raise BadProgram("RowLengthOutOfRange", f"row length {row_length}: 1 to {LONGEST_ROW} bytes are possible")
    if count == 0:
        raise BadProgram("LayerCountOutOfRange", "a program has at least one layer")
    reader = _Reader(program, HEADER.size, count, [(row_length,)])
    for index in range(count):
        reader.read_layer(index)
    if reader.position != len(program):
        found = f"{len(program) - reader.position} bytes follow the last layer; remove them"
        raise BadProgram("TrailingBytes", found)
    if len(reader.live) != 1:
        raise BadProgram("UnreadValues", f"nothing is the last to read {len(reader.live) - 1} of the values")
    if output_length != reader.live[0][0]:
        found = f"the header says {output_length} logits, the last layer has {reader.live[0][0]}"
        raise BadProgram("OutputLengthMismatch", found)
    if memory != reader.memory:
        raise BadProgram("MemoryMismatch", f"the header's memory is {memory} bytes, the layers' is {reader.memory}")
    return IntegerNetwork(tuple(reader.operators), tuple(reader.reads))


@dataclass
class _Reader:
    """A program that has been read up to `position`."""

    program: bytes
    position: int
    count: int
    """Layers in all."""
    live: list[Shape]
    """The shapes of the live values, oldest first."""
    numbers: list[int] = field(default_factory=lambda: [0])
    """Which values of the network they are."""
    reaches: list[int] = field(default_factory=lambda: [0])
    """How far zeros are padded around each."""
    operators: list[Operator] = field(default_factory=list)
    reads: list[tuple[int, ...]] = field(default_factory=list)
    memory: int = 0
    held: int = 0
    operations: int = 0

    def read_layer(self, index: int) -> None:
        opcode = self._opcode(index)
        operands = self._operands(index, opcode)
        read = [self.live[operand.index] for operand in operands]
        operator = self._operator(index, opcode, read)
        shape = self._shape(index, operator, read)
        reach = self._reach(index, operator, [self.reaches[operand.index] for operand in operands])
        self._check_size(index, Placed(operator, operands, tuple(self.live), shape))
        if isinstance(operator, Dense | Conv | Add):
            operator = self._channels(index, operator)
        elif isinstance(operator, Table):
            operator = Table(np.frombuffer(self._take(256), np.uint8))
        self.operators.append(operator)
        self.reads.append(tuple(self.numbers[operand.index] for operand in operands))
        dead = {operand.index for operand in operands if operand.is_last}
        self.live = survivors(self.live, operands, shape)
        self.numbers = [*(each for at, each in enumerate(self.numbers) if at not in dead), index + 1]
        self.reaches = [*(each for at, each in enumerate(self.reaches) if at not in dead), reach]
        if len(self.live) > MOST_LIVE and index + 1 < self.count:
            raise BadProgram("SizeOutOfRange", f"layer {index}: more than {MOST_LIVE} values are still to be read")

    def _opcode(self, index: int) -> Opcode:
        number = self._take(1)[0]
        is_known = number in Opcode.__members__.values()
        if not is_known or (number == Opcode.LOGITS) != (index == self.count - 1):
            found = (
                f"layer {index}: opcode {number}; the last layer's is {Opcode.LOGITS}, any other's another, up to 11"
            )
            raise BadProgram("WrongOpcode", found)
        if index == 0 and number not in _FIRST:
            raise BadProgram("WrongOpcode", f"layer 0: opcode {number}; the first layer is dense or reshapes the row")
        return Opcode(number)

    def _operands(self, index: int, opcode: Opcode) -> tuple[Operand, ...]:
        count = {Opcode.ADD: 2, Opcode.CONCAT: 0}.get(opcode, 1) or self._take(1)[0]
        if opcode == Opcode.CONCAT and count < 2:
            raise BadProgram("WrongOperand", f"layer {index} joins {count} values; two or more can be joined")
        operands: list[Operand] = []
        for byte in self._take(count):
            operand = Operand(byte & ~LAST_USE, bool(byte & LAST_USE))
            over = any(each.is_last and each.index == operand.index for each in operands)
            if operand.index >= len(self.live) or over:
                found = f"layer {index} reads value {operand.index} of {len(self.live)} live ones"
                raise BadProgram("WrongOperand", found + ", after its last use" if over else found)
            operands.append(operand)
        return tuple(operands)

    def _operator(self, index: int, opcode: Opcode, read: list[Shape]) -> Operator:
        """The operator, with no weights or entries yet: their shapes are right. Its fields fit the first value read."""
        match opcode:
            case Opcode.DENSE | Opcode.LOGITS:
                inputs, outputs = self._numbers(2)
                self._expect(index, (inputs,), read[0])
                self._output_count(index, outputs)
                self._input_count(index, inputs)
                shifts = None if opcode == Opcode.LOGITS else np.zeros(outputs, np.uint8)
                return Dense(_nothing((outputs, inputs)), np.zeros(outputs, np.int32), shifts)
            case Opcode.CONV | Opcode.MAX_POOL | Opcode.AVERAGE_POOL:
                return self._windowed(index, opcode, read[0])
            case Opcode.ADD:
                channels, size = self._numbers(2)
                self._expect(index, (channels, size), (read[0][0], math.prod(read[0][1:])))
                self._output_count(index, channels)
                return Add(np.zeros((channels, 2), np.int8), np.zeros(channels, np.int32), np.zeros(channels, np.uint8))
            case Opcode.TABLE:
                self._expect(index, tuple(self._numbers(1)), (math.prod(read[0]),))
                return Table(np.zeros(256, np.uint8))
            case Opcode.CONCAT:
                return Concat()
            case Opcode.PAD:
                dimensions, value = self._take(2)
                self._expect(index, (dimensions,), (len(read[0]) - 1,))
                channels, *rest = self._numbers(1 + 3 * dimensions)
                self._expect(index, (channels, *rest[::3]), read[0])
                return Pad(tuple(zip(rest[1::3], rest[2::3], strict=True)), value)
            case Opcode.RESHAPE:
                return Reshape(tuple(self._numbers(self._dimensions(index))))
        self._expect(index, (rank := self._take(1)[0],), (len(read[0]),))
        self._expect(index, tuple(self._numbers(rank)), read[0])
        return Transpose(tuple(self._take(rank)))

    def _dimensions(self, index: int) -> int:
        (dimensions,) = self._take(1)
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            found = f"layer {index} makes {dimensions} dimensions: 1 to {MOST_DIMENSIONS} are possible"
            raise BadProgram("ShapeMismatch", found)
        return int(dimensions)

    def _windowed(self, index: int, opcode: Opcode, read: Shape) -> Operator:
        (dimensions,) = self._take(1)
        if not 1 <= dimensions <= 2:
            raise BadProgram("WindowOutOfRange", f"layer {index} has windows of {dimensions} dimensions: one or two")
        channels, *others = self._numbers(3 if opcode == Opcode.CONV else 1)
        numbers = self._numbers(5 * dimensions)
        self._expect(index, (channels, *numbers[::5]), read)
        kernel, strides = tuple(numbers[1::5]), tuple(numbers[2::5])
        pads = tuple(zip(numbers[3::5], numbers[4::5], strict=True))
        _check_window(index, kernel, strides, pads)
        if opcode == Opcode.MAX_POOL:
            return MaxPool(kernel, strides, pads)
        if opcode == Opcode.AVERAGE_POOL:
            size = math.prod(kernel)
            if size & (size - 1) or size > LARGEST_AVERAGE:
                found = f"layer {index} averages {size} values: a power of two up to {LARGEST_AVERAGE} is possible"
                raise BadProgram("WindowOutOfRange", found)
            return AveragePool(kernel, strides, pads)
        outputs, groups = others
        self._output_count(index, outputs)
        if groups == 0 or outputs % groups or channels % groups:
            found = f"layer {index}: {channels} channels and {outputs} outputs in {groups} groups: each has as many"
            raise BadProgram("WindowOutOfRange", found)
        self._input_count(index, channels // groups * math.prod(kernel))
        weights = _nothing((outputs, channels // groups, *kernel))
        return Conv(weights, np.zeros(outputs, np.int32), np.zeros(outputs, np.uint8), strides, pads, groups)

    def _output_count(self, index: int, outputs: int) -> None:
        if not 1 <= outputs <= MOST_OUTPUTS:
            found = f"layer {index} has {outputs} outputs: 1 to {MOST_OUTPUTS} are possible"
            raise BadProgram("OutputsOutOfRange", found)

    def _input_count(self, index: int, inputs: int) -> None:
        if inputs > LONGEST_ROW:
            found = f"layer {index}: a channel of {inputs} inputs: up to {LONGEST_ROW} are possible"
            raise BadProgram("SizeOutOfRange", found)

    def _shape(self, index: int, operator: Operator, read: list[Shape]) -> Shape:
        try:
            shape = shape_after(operator, read)
        except Misfit as misfit:
            raise BadProgram("ShapeMismatch", f"layer {index}: {misfit}") from misfit
        return shape

    def _reach(self, index: int, operator: Operator, before: list[int]) -> int:
        reach = pad_reach(operator, before)
        if not isinstance(operator, MaxPool | AveragePool):
            return reach
        if reach >= min(operator.kernel):
            found = f"layer {index} reads zeros padded as far as its kernel: no canonical ONNX file can say so"
            raise BadProgram("WindowOutOfRange", found)
        return 0

    def _check_size(self, index: int, placed: Placed) -> None:
        self.held += placed.values
        self.operations += count_operations(placed.operator, placed.shape)
        self.memory = max(self.memory, placed.working_memory)
        if (
            placed.values > MOST_VALUES
            or self.held > MOST_HELD
            or self.operations > MOST_OPERATIONS
            or placed.memory > MOST_MEMORY
        ):
            found = f"layer {index} makes {placed.values} values in {placed.memory} bytes: too many, or with those before it"
            raise BadProgram("SizeOutOfRange", found)

    def _channels(self, index: int, layer: Dense | Conv | Add) -> Dense | Conv | Add:
        outputs, inputs = len(layer.weights), layer.weights[0].size
        length = record_length(inputs)
        records = np.frombuffer(self._take(outputs * length), np.uint8).reshape(outputs, length)
        shifts = SHIFT_LIMIT - records[:, PREAMBLE - 1]  # modulo 256, so that more places are a shift out of range
        bias = np.ascontiguousarray(records[:, : PREAMBLE - 1]).view(">i4").reshape(outputs).astype(np.int32)
        weights, is_clean = unpack_weights(records[:, PREAMBLE:], inputs)
        _check_channels(index, shifts, bias, weights, is_clean, 0 if layer.shifts is None else SHIFT_LIMIT)
        shaped = weights.reshape(layer.weights.shape)
        if isinstance(layer, Dense):
            return Dense(shaped, bias, None if layer.shifts is None else shifts)
        if isinstance(layer, Add):
            return Add(shaped, bias, shifts)
        return Conv(shaped, bias, shifts, layer.strides, layer.pads, layer.groups)

    def _expect(self, index: int, stated: Shape, actual: Shape) -> None:
        if stated != actual:
            found = f"layer {index} takes {'×'.join(map(str, stated))} inputs, but {'×'.join(map(str, actual))} arrive"
            raise BadProgram("ShapeMismatch", found)

    def _numbers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f">{count}I", self._take(4 * count))

    def _take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.program):
            raise BadProgram("ProgramTooShort", f"a layer goes on to byte {end}, the program to {len(self.program)}")
        taken = self.program[self.position : end]
        self.position = end
        return taken


def _check_window(index: int, kernel: Shape, strides: Shape, pads: Pads) -> None:
    sides = zip(kernel, strides, pads, strict=True)
    if not all(
        1 <= side <= MOST_VALUES and 1 <= stride <= MOST_VALUES and max(pad) < side for side, stride, pad in sides
    ):
        found = f"layer {index}: kernel {kernel}, strides {strides}, pads {pads}: each pad is smaller than its kernel"
        raise BadProgram("WindowOutOfRange", found)


def _check_channels(
    index: int,
    shifts: NDArray[np.uint8],
    bias: NDArray[np.int32],
    weights: NDArray[np.int8],
    is_clean: NDArray[np.bool_],
    most: int,
) -> None:
    """The first channel that breaks a bound, by the first bound that it breaks. A weight of −64 is out of range."""
    bounds = compute_channel_bounds(weights, bias)
    faults = (shifts > most, ~is_clean | (weights.min(axis=1) < -WEIGHT_LIMIT), bounds >= SUM_LIMIT)
    if not (broken := np.logical_or.reduce(faults)).any():
        return
    channel = int(np.argmax(broken))
    where = f"layer {index}, channel {channel}"
    if faults[0][channel]:
        raise BadProgram("ShiftOutOfRange", f"{where}: shift {shifts[channel]} exceeds {most}")
    if faults[1][channel]:
        found = f"{where}: a weight is below −{WEIGHT_LIMIT}, or a bit is set that belongs to none"
        raise BadProgram("WeightOutOfRange", found)
    found = f"{where}: 255·Σ|weight| + |bias| = {bounds[channel]} must stay below {SUM_LIMIT}"
    raise BadProgram("SumOutOfRange", found)


def _nothing(shape: Shape) -> NDArray[np.int8]:
    """Weights of this shape that take no memory."""
    return np.broadcast_to(np.int8(0), shape)
