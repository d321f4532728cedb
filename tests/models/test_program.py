"""Programs: one network, one encoding, and nothing else decompiles."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.form import LONGEST_ROW, MOST_OUTPUTS, NotCanonical
from models.interpreter import run
from models.network import Dense, IntegerNetwork
from models.program import (
    HEADER,
    LAYER,
    MAGIC,
    BadProgram,
    compile_network,
    decompile,
    disassemble,
    model_id,
)
from tests.models.random_networks import random_networks
from tests.models.registry import constant_network

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "program.json").read_text())
NETWORK = constant_network([3, 2, 2], weight=5, bias=-7, shift=4)
PROGRAM = compile_network(NETWORK)


def network_of(vector: dict[str, Any]) -> IntegerNetwork:
    return IntegerNetwork(
        tuple(
            Dense(
                np.array(layer["weights"], np.int8),
                np.array(layer["bias"], np.int32),
                None if layer["shifts"] is None else np.array(layer["shifts"], np.uint8),
            )
            for layer in vector["layers"]
        )
    )


def same_network(one: IntegerNetwork, other: IntegerNetwork) -> bool:
    return len(one.layers) == len(other.layers) and all(
        np.array_equal(a.weights, b.weights)
        and np.array_equal(a.bias, b.bias)
        and (a.shifts is None) == (b.shifts is None)
        and (a.shifts is None or b.shifts is None or np.array_equal(a.shifts, b.shifts))
        for a, b in zip(one.layers, other.layers, strict=True)
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_a_vectors_network_compiles_to_its_program_and_gives_its_outputs(vector: dict[str, Any]) -> None:
    network = network_of(vector)
    program = bytes.fromhex(vector["program"])
    assert compile_network(network) == program
    assert model_id(program).hex() == vector["model_id"] == hashlib.sha256(program).hexdigest()
    rows = np.array([list(bytes.fromhex(row)) for row in vector["rows"]], np.uint8)
    assert [logits.astype(">i4").tobytes().hex() for logits in run(network, rows)] == vector["outputs"]


def test_the_smallest_program_is_what_the_document_shows() -> None:
    network = IntegerNetwork((Dense(np.array([[1, -2]], np.int8), np.array([3], np.int32), None),))
    assert compile_network(network).hex() == ("51494e01000000020000000100000002000102000000020000000100000000037e81")


def test_every_random_network_survives_the_way_there_and_back() -> None:
    for network in random_networks(seed=11, count=60):
        program = compile_network(network)
        again = decompile(program)
        assert same_network(network, again)
        assert compile_network(again) == program


def test_changing_one_weight_one_bias_or_one_shift_changes_the_model_id() -> None:
    ids = {model_id(PROGRAM)}
    record = HEADER.size + LAYER.size
    for position in (record, record + 4, record + 5, record + 6, record + 7):
        changed = bytearray(PROGRAM)
        changed[position] ^= 1
        ids.add(model_id(compile_network(decompile(bytes(changed)))))
    assert len(ids) == 6


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(PROGRAM) - 1), st.integers(1, 255))
def test_whatever_decompiles_compiles_to_the_same_bytes(position: int, change: int) -> None:
    changed = bytearray(PROGRAM)
    changed[position] ^= change
    try:
        network = decompile(bytes(changed))
    except BadProgram:
        return
    assert compile_network(network) == bytes(changed)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_bad_program(data: bytes) -> None:
    for candidate in (data, MAGIC + data, PROGRAM[:18] + data):
        with contextlib.suppress(BadProgram):
            assert compile_network(decompile(candidate)) == candidate


@pytest.mark.parametrize("length", range(len(PROGRAM)))
def test_a_truncated_program_is_refused(length: int) -> None:
    with pytest.raises(BadProgram):
        decompile(PROGRAM[:length])


def test_a_program_outside_the_form_names_layer_channel_rule_and_advice() -> None:
    with pytest.raises(BadProgram) as caught:
        decompile(patched(32, b"\x40"))
    cause = caught.value.__cause__
    assert isinstance(cause, NotCanonical)
    assert (cause.node, cause.rule) == ("layer 0, channel 0", "weight-range")
    assert str(caught.value) == str(cause) and cause.advice.endswith("quantise to smaller weights")


def str_only(value: Any) -> str:
    return value if isinstance(value, str) else ""


def patched(position: int, data: bytes) -> bytes:
    return PROGRAM[:position] + data + PROGRAM[position + len(data) :]


LAST_LAYER = HEADER.size + LAYER.size + 2 * 8

# what is wrong, what decompile says, and the error that the chain raises (test_model_registry.py)
BAD_PROGRAMS = [
    (b"QIN\x02" + PROGRAM[4:], "begins with 51494e01", "WrongMagic"),
    (patched(4, (0).to_bytes(4, "big")), "row length 0", "RowLengthOutOfRange"),
    (patched(4, (LONGEST_ROW + 1).to_bytes(4, "big")), "row length 98305", "RowLengthOutOfRange"),
    (patched(8, (3).to_bytes(4, "big")), "header says 3 logits", "OutputLengthMismatch"),
    (patched(12, (4).to_bytes(4, "big")), "widest activation is 4", "WidestMismatch"),
    (patched(12, (2).to_bytes(4, "big")), "widest activation is 2", "WidestMismatch"),
    (patched(16, (0).to_bytes(2, "big")), "at least one layer", "LayerCountOutOfRange"),
    (patched(16, (1).to_bytes(2, "big")), "layer 0: opcode 1", "WrongOpcode"),
    (patched(16, (3).to_bytes(2, "big")), "layer 1: opcode 2", "WrongOpcode"),
    (patched(18, b"\x00"), "layer 0: opcode 0", "WrongOpcode"),
    (patched(18, b"\x03"), "layer 0: opcode 3", "WrongOpcode"),
    (patched(19, (4).to_bytes(4, "big")), "takes 4 inputs, but 3 arrive", "InputsMismatch"),
    (patched(23, (0).to_bytes(4, "big")), "layer 0 has 0 outputs", "OutputsOutOfRange"),
    (patched(23, (MOST_OUTPUTS + 1).to_bytes(4, "big")), "layer 0 has 65536 outputs", "OutputsOutOfRange"),
    (patched(23, (60_000).to_bytes(4, "big")), "layer 0 ends at byte", "ProgramTooShort"),
    (patched(27, b"\x19"), "shift 25 exceeds 24", "ShiftOutOfRange"),
    (patched(28, (1 << 24).to_bytes(4, "big")), "must stay below 16777216", "SumOutOfRange"),
    (patched(28, (1 << 31).to_bytes(4, "big")), "must stay below 16777216", "SumOutOfRange"),
    (patched(32, b"\xc0"), "|weight| 64 exceeds 63", "WeightOutOfRange"),
    (patched(32, b"\x40"), "|weight| 64 exceeds 63", "WeightOutOfRange"),
    (patched(32, b"\x00"), "exceeds 63", "WeightOutOfRange"),
    (patched(32, b"\xff"), "exceeds 63", "WeightOutOfRange"),
    (patched(LAST_LAYER + LAYER.size, b"\x01"), "logits are not shifted", "ShiftOutOfRange"),
    (PROGRAM + b"\x00", "1 bytes follow the last layer", "TrailingBytes"),
]


@pytest.mark.parametrize(("program", "message"), [each[:2] for each in BAD_PROGRAMS], ids=str_only)
def test_a_program_that_nothing_compiles_to_is_refused_with_the_reason(program: bytes, message: str) -> None:
    with pytest.raises(BadProgram) as caught:
        decompile(program)
    assert message in str(caught.value)


def test_disassembly_shows_every_number_of_the_program() -> None:
    text = disassemble(PROGRAM)
    assert model_id(PROGRAM).hex() in text
    assert "layer 0: dense 3 -> 2" in text
    assert "layer 1: logits 2 -> 2" in text
    assert text.count("bias        -7") == 4
    assert text.count("shift  4") == 2
    assert "weights 5 5 5\n" in text
