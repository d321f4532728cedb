"""IntegerNetwork ⇄ program: the network in the chain's own encoding, which docs/program.md specifies byte by byte.

One network has exactly one program, and one program one network: compile_network and decompile are each other's inverse,
and whatever decompile accepts the chain accepts, and the reverse. models.program_reader reads.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from models.form import check_network
from models.integer_ops import SHIFT_LIMIT
from models.liveness import Operand, Placed, place
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
    Pads,
    Reshape,
    Shape,
    Table,
    Transpose,
)
from models.weight_blocks import pack_weights, weights_length

MAGIC = b"QIN\x03"
HEADER = struct.Struct(">4sIIIH")  # magic, row length, output length, memory, layers

PREAMBLE = 5  # bytes of a channel before its weights: bias and binary places
LAST_USE = 0x80  # of an operand's byte; the rest is the value's place among the live ones


class Opcode(IntEnum):
    """What a layer does: its first byte."""

    DENSE = 1
    LOGITS = 2  # a Dense whose sums are the output
    CONV = 3
    ADD = 4
    MAX_POOL = 5
    AVERAGE_POOL = 6
    TABLE = 7
    CONCAT = 8
    PAD = 9
    RESHAPE = 10
    TRANSPOSE = 11


def compile_network(network: IntegerNetwork) -> bytes:
    """The one program of `network`. Raises NotCanonical outside the canonical form."""
    check_network(network)
    placed = list(place(network))
    memory = max(each.working_memory for each in placed)
    header = HEADER.pack(MAGIC, network.row_length, network.output_length, memory, len(placed))
    return header + b"".join(map(encode_layer, placed))


def model_id(program: bytes) -> bytes:
    """The model's name everywhere: sha256 of its program (32 bytes)."""
    return hashlib.sha256(program).digest()


def encode_layer(placed: Placed) -> bytes:
    """One layer of a program: opcode, operands, what it reads and its parameters."""
    opcode = opcode_of(placed.operator)
    count = bytes([len(placed.operands)]) if opcode == Opcode.CONCAT else b""
    operands = bytes(_operand_byte(operand) for operand in placed.operands)
    return bytes([opcode]) + count + operands + _fields(placed.operator, placed.read[0])


def opcode_of(operator: Operator) -> Opcode:
    """The opcode of an operator."""
    match operator:
        case Dense():
            return Opcode.LOGITS if operator.shifts is None else Opcode.DENSE
        case Conv():
            return Opcode.CONV
        case Add():
            return Opcode.ADD
        case MaxPool():
            return Opcode.MAX_POOL
        case AveragePool():
            return Opcode.AVERAGE_POOL
        case Table():
            return Opcode.TABLE
        case Concat():
            return Opcode.CONCAT
        case Pad():
            return Opcode.PAD
        case Reshape():
            return Opcode.RESHAPE
    return Opcode.TRANSPOSE


def _fields(operator: Operator, read: Shape) -> bytes:
    """What follows the operands of a layer that reads a value of this shape."""
    match operator:
        case Dense():
            return _numbers(operator.inputs, operator.outputs) + _records(operator)
        case Conv():
            window = bytes([len(operator.kernel)]) + _numbers(read[0], len(operator.weights), operator.groups)
            sides = _sides(read, operator.kernel, operator.strides, operator.pads)
            return window + sides + _records(operator)
        case Add():
            return _numbers(read[0], int(np.prod(read[1:], dtype=np.int64))) + _records(operator)
        case MaxPool() | AveragePool():
            sides = _sides(read, operator.kernel, operator.strides, operator.pads)
            return bytes([len(operator.kernel)]) + _numbers(read[0]) + sides
        case Table():
            return _numbers(int(np.prod(read, dtype=np.int64))) + operator.entries.tobytes()
        case Pad():
            sizes = [(size, *pad) for size, pad in zip(read[1:], operator.pads, strict=True)]
            return bytes([len(sizes), operator.value]) + _numbers(
                read[0], *(number for each in sizes for number in each)
            )
        case Reshape():
            return bytes([len(operator.shape)]) + _numbers(*operator.shape)
        case Transpose():
            return bytes([len(read)]) + _numbers(*read) + bytes(operator.order)
    return b""


def _operand_byte(operand: Operand) -> int:
    return operand.index | (LAST_USE if operand.is_last else 0)


def _sides(read: Shape, kernel: Shape, strides: Shape, pads: Pads) -> bytes:
    """Each dimension of a window: size of the value, kernel, stride, pad before and behind."""
    sides = zip(read[1:], kernel, strides, pads, strict=True)
    return b"".join(_numbers(size, side, stride, *pad) for size, side, stride, pad in sides)


def _numbers(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def _records(layer: Dense | Conv | Add) -> bytes:
    """For each output channel: bias, big endian, binary places (24 less the shift; logits: 24), weights."""
    outputs = len(layer.weights)
    shifts = np.zeros(outputs, np.uint8) if layer.shifts is None else layer.shifts
    bias = layer.bias.astype(">i4").view(np.uint8).reshape(-1, 4)
    flat: NDArray[np.int8] = layer.weights.reshape(outputs, -1)
    return np.concatenate([bias, SHIFT_LIMIT - shifts[:, None], pack_weights(flat)], axis=1).tobytes()


def layer_length(placed: Placed) -> int:
    """Bytes of a layer in the program: what encode_layer would write."""
    return fields_length(placed) + records_length(placed.operator)


def fields_length(placed: Placed) -> int:
    """Bytes of a layer before its channels' records."""
    operator, rank = placed.operator, len(placed.read[0])
    head = 1 + len(placed.operands)
    match operator:
        case Conv():
            return head + 1 + 12 + 20 * len(operator.kernel)
        case MaxPool() | AveragePool():
            return head + 1 + 4 + 20 * len(operator.kernel)
        case Dense() | Add():
            return head + 8
        case Table():
            return head + 4 + len(operator.entries)
        case Concat():
            return head + 1
        case Pad():
            return head + 2 + 4 + 12 * (rank - 1)
        case Reshape():
            return head + 1 + 4 * len(operator.shape)
    return head + 1 + 5 * rank


def records_length(operator: Operator) -> int:
    """Bytes of the channels' records; 0 without channels."""
    if isinstance(operator, Dense | Conv | Add):
        return len(operator.weights) * record_length(operator.weights[0].size)
    return 0


def record_length(inputs: int) -> int:
    """Bytes of one channel's record."""
    return PREAMBLE + weights_length(inputs)
