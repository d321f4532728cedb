"""IntegerNetwork ⇄ program: the network in the chain's own encoding, which docs/program.md specifies byte by byte.

One network has exactly one program, and one program one network: compile_network and decompile are each other's inverse,
and whatever decompile accepts the chain accepts, and the reverse.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.form import LONGEST_ROW, MOST_OUTPUTS, NotCanonical, check_network
from models.network import Dense, IntegerNetwork

MAGIC = b"QIN\x01"
HEADER = struct.Struct(">4sIIIH")  # magic, row length, output length, widest activation, layers
LAYER = struct.Struct(">BII")  # opcode, inputs, outputs
DENSE, LOGITS = 1, 2  # a dense layer that requantises to bytes; the last one, whose sums are the output

PREAMBLE = 5  # bytes of a channel before its weights: shift and bias
ZERO_POINT = 128  # a weight w is stored as the byte w + 128


class BadProgram(ValueError):
    """The bytes are not the program of any network."""


class NotExecutable(NotCanonical):
    """A canonical network that has no program: not every operator is executable on chain yet."""


def compile_network(network: IntegerNetwork) -> bytes:
    """The one program of `network`. Raises NotCanonical outside the canonical form, NotExecutable without dense layers only."""
    check_network(network)
    if not network.is_dense:
        others = sorted({type(each).__name__ for each in network.operators if not isinstance(each, Dense)})
        advice = (
            f"not yet executable on chain, which executes chains of dense layers alone; this has {', '.join(others)}"
        )
        raise NotExecutable("network", "program", advice)
    layers = network.layers
    widest = max(layer.inputs for layer in layers)
    parts = [HEADER.pack(MAGIC, network.row_length, network.output_length, widest, len(layers))]
    for layer in layers:
        opcode = LOGITS if layer.shifts is None else DENSE
        parts.append(LAYER.pack(opcode, layer.inputs, layer.outputs))
        parts.append(_records(layer).tobytes())
    return b"".join(parts)


def model_id(program: bytes) -> bytes:
    """The model's name everywhere: sha256 of its program (32 bytes)."""
    return hashlib.sha256(program).digest()


def decompile(program: bytes) -> IntegerNetwork:
    """The network that `program` means. Raises BadProgram for anything that compile_network would not have written."""
    if len(program) < HEADER.size:
        raise BadProgram(f"a program has at least {HEADER.size} bytes of header; this one ends after {len(program)}")
    magic, row_length, output_length, widest, count = HEADER.unpack_from(program)
    if magic != MAGIC:
        raise BadProgram(f"a program of this version begins with {MAGIC.hex()}, not {magic.hex()}")
    if not 1 <= row_length <= LONGEST_ROW:
        raise BadProgram(f"row length {row_length}: 1 to {LONGEST_ROW} bytes are possible")
    if count == 0:
        raise BadProgram("a program has at least one layer")
    reader = _Reader(program, HEADER.size)
    layers: list[Dense] = []
    inputs = row_length
    for index in range(count):
        layers.append(reader.layer(index, inputs, is_last=index == count - 1))
        inputs = layers[-1].outputs
    if reader.position != len(program):
        raise BadProgram(f"{len(program) - reader.position} bytes follow the last layer; remove them")
    if output_length != inputs:
        raise BadProgram(f"the header says {output_length} logits, the last layer has {inputs}")
    if widest != (actual := max(layer.inputs for layer in layers)):
        raise BadProgram(f"the header's widest activation is {widest} bytes, the layers' is {actual}")
    network = IntegerNetwork(tuple(layers))
    try:
        check_network(network)
    except NotCanonical as error:
        raise BadProgram(str(error)) from error
    return network


def disassemble(program: bytes) -> str:
    """The program as text: a line for the header, one for each layer, one for each output channel. Raises BadProgram."""
    return "\n".join(_lines(program, decompile(program))) + "\n"


def _records(layer: Dense) -> NDArray[np.uint8]:
    """uint8 (outputs, 5 + inputs): shift (logits: 0), bias big endian, weights + 128 with the last input's first."""
    shifts = np.zeros(layer.outputs, np.uint8) if layer.shifts is None else layer.shifts
    bias = layer.bias.astype(">i4").view(np.uint8).reshape(-1, 4)
    weights = (layer.weights[:, ::-1].astype(np.int16) + ZERO_POINT).astype(np.uint8)
    return np.concatenate([shifts[:, None], bias, weights], axis=1)


@dataclass
class _Reader:
    program: bytes
    position: int

    def layer(self, index: int, inputs: int, is_last: bool) -> Dense:
        opcode, own_inputs, outputs = LAYER.unpack(self._take(index, LAYER.size))
        if opcode != (LOGITS if is_last else DENSE):
            raise BadProgram(f"layer {index}: opcode {opcode}; the last layer has {LOGITS}, every other {DENSE}")
        if own_inputs != inputs:
            raise BadProgram(f"layer {index} takes {own_inputs} inputs, but {inputs} arrive")
        if not 1 <= outputs <= MOST_OUTPUTS:
            raise BadProgram(f"layer {index} has {outputs} outputs: 1 to {MOST_OUTPUTS} are possible")
        body = self._take(index, outputs * (PREAMBLE + inputs))
        records = np.frombuffer(body, np.uint8).reshape(outputs, PREAMBLE + inputs)
        shifts = records[:, 0].copy()
        if is_last and shifts.any():
            raise BadProgram(f"layer {index}: logits are not shifted, but channel {int(np.argmax(shifts))} says so")
        bias = np.ascontiguousarray(records[:, 1:PREAMBLE]).view(">i4").reshape(outputs)
        weights = records[:, : PREAMBLE - 1 : -1].astype(np.int16) - ZERO_POINT
        return Dense(weights.astype(np.int8), bias.astype(np.int32), None if is_last else shifts)

    def _take(self, index: int, length: int) -> bytes:
        end = self.position + length
        if end > len(self.program):
            raise BadProgram(f"layer {index} ends at byte {end}, the program at {len(self.program)}")
        taken = self.program[self.position : end]
        self.position = end
        return taken


def _lines(program: bytes, network: IntegerNetwork) -> Iterator[str]:
    yield f"model {model_id(program).hex()}"
    yield f"row {network.row_length}  output {network.output_length}  macs {network.macs}  bytes {len(program)}"
    for index, layer in enumerate(network.layers):
        name = "logits" if layer.shifts is None else "dense"
        yield f"layer {index}: {name} {layer.inputs} -> {layer.outputs}"
        for channel in range(layer.outputs):
            shift = "" if layer.shifts is None else f"shift {layer.shifts[channel]:2}  "
            weights = " ".join(str(weight) for weight in layer.weights[channel].tolist())
            yield f"  {channel:5}  {shift}bias {layer.bias[channel]:9}  weights {weights}"
