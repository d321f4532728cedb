"""Programs: one network, one encoding, and nothing else decompiles."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import network as operators
from models.disassembly import disassemble, list_layers
from models.form import LONGEST_ROW, MOST_OUTPUTS
from models.interpreter import apply, run
from models.liveness import place
from models.network import Dense, IntegerNetwork, Operator, Reshape, Table
from models.program import HEADER, MAGIC, Opcode, compile_network, encode_layer, layer_length, model_id
from models.program_reader import BadProgram, decompile
from models.weight_blocks import pack_weights
from tests.models.random_graphs import OPERATORS, STYLES, graph_rows, random_graph
from tests.models.random_networks import random_networks
from tests.models.registry import constant_network

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "program.json").read_text())
NETWORK = constant_network([3, 2, 2], weight=5, bias=-7, shift=4)
PROGRAM = compile_network(NETWORK)
FIELDS = 10  # bytes of a dense layer before its records
PROJECT = Path(__file__).parents[2]


def network_of(vector: dict[str, Any]) -> IntegerNetwork:
    reads = tuple(tuple(read) for read in vector["reads"])
    return IntegerNetwork(tuple(operator_of(dict(each)) for each in vector["operators"]), reads)


def operator_of(stated: dict[str, Any]) -> Operator:
    """The operator of a vector: arrays are lists there, and tuples are lists."""
    types = {"weights": np.int8, "bias": np.int32, "shifts": np.uint8, "entries": np.uint8}
    kind = getattr(operators, stated.pop("operator"))
    made: Operator = kind(
        **{
            name: value
            if value is None or isinstance(value, int)
            else np.array(value, types[name])
            if name in types
            else tuple(tuple(each) if isinstance(each, list) else each for each in value)
            for name, value in stated.items()
        }
    )
    return made


def same_network(one: IntegerNetwork, other: IntegerNetwork) -> bool:
    return one.reads == other.reads and all(
        type(a) is type(b) and all(np.array_equal(value, vars(b)[name]) for name, value in vars(a).items())
        for a, b in zip(one.operators, other.operators, strict=True)
    )


def some_graphs(seed: int, count: int) -> list[IntegerNetwork]:
    rng = np.random.default_rng(seed)
    return [random_graph(seed + i, STYLES[i % 5], list(rng.choice(OPERATORS, 8))) for i in range(count)]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_a_vectors_network_compiles_to_its_program_and_gives_its_outputs(vector: dict[str, Any]) -> None:
    network = network_of(vector)
    program = bytes.fromhex(vector["program"])
    assert compile_network(network) == program
    assert model_id(program).hex() == vector["model_id"] == hashlib.sha256(program).hexdigest()
    rows = np.array([list(bytes.fromhex(row)) for row in vector["rows"]], np.uint8)
    assert [logits.astype(">i4").tobytes().hex() for logits in run(network, rows)] == vector["outputs"]


def test_the_vectors_have_every_opcode() -> None:
    networks = map(network_of, VECTORS)
    assert {encode_layer(placed)[0] for network in networks for placed in place(network)} == set(Opcode)


def test_the_documents_examples_are_programs() -> None:
    text = (PROJECT / "docs/program.md").read_text("utf-8")
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    programs = [
        bytes.fromhex("".join(re.match(r"[0-9a-f ]*", line).group() for line in block.splitlines()))  # type: ignore[union-attr]
        for block in blocks
    ]
    small, pooled = programs
    network = IntegerNetwork((Dense(np.array([[1, -2]], np.int8), np.array([3], np.int32), None),))
    assert small == compile_network(network)
    assert run(network, np.array([[5, 1]], np.uint8)).tolist() == [[6]]
    assert run(decompile(pooled), np.array([[3, 9, 4, 1]], np.uint8)).tolist() == [[9]]


def test_every_random_network_survives_the_way_there_and_back() -> None:
    for network in [*random_networks(seed=11, count=60), *some_graphs(0, 60)]:
        program = compile_network(network)
        again = decompile(program)
        assert same_network(network, again)
        assert compile_network(again) == program


def test_a_layer_is_as_long_as_it_says() -> None:
    for network in some_graphs(100, 40):
        assert all(len(encode_layer(placed)) == layer_length(placed) for placed in place(network))


def test_changing_one_weight_one_bias_or_one_shift_changes_the_model_id() -> None:
    ids = {model_id(PROGRAM)}
    record = HEADER.size + FIELDS
    for position in (record + 3, record + 4, record + 5, record + 6, record + 7):
        changed = bytearray(PROGRAM)
        changed[position] ^= 1
        ids.add(model_id(compile_network(decompile(bytes(changed)))))
    assert len(ids) == 6


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([PROGRAM, *map(compile_network, some_graphs(200, 12))]), st.data())
def test_whatever_decompiles_compiles_to_the_same_bytes(program: bytes, data: st.DataObject) -> None:
    changed = bytearray(program)
    changed[data.draw(st.integers(0, len(program) - 1))] ^= data.draw(st.integers(1, 255))
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


def str_only(value: Any) -> str:
    return value if isinstance(value, str) else ""


def patched(position: int, data: bytes) -> bytes:
    return PROGRAM[:position] + data + PROGRAM[position + len(data) :]


LAST_LAYER = HEADER.size + FIELDS + 2 * 8


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def image_program(*layers: bytes, values: int = 16, memory: int = 209) -> bytes:
    """A row of 16 bytes as one channel of 4×4, the layers, and one logit of `values` values."""
    head = HEADER.pack(MAGIC, 16, 1, memory, len(layers) + 3)
    first = b"\x0a\x80\x03" + number(1) + number(4) + number(4)
    flat = b"\x0a\x80\x01" + number(values)
    return head + first + b"".join(layers) + flat + b"\x02\x80" + number(values) + number(1) + record(0, values)


def record(shift: int, inputs: int) -> bytes:
    """A channel of zeros."""
    return bytes(4) + bytes([24 - shift]) + pack_weights(np.zeros((1, inputs), np.int8)).tobytes()


def sides(*numbers: int, kernel: int = 2, size: int = 4) -> bytes:
    stride, before, behind = numbers or (1, 0, 0)
    return b"".join(map(number, (size, kernel, stride, before, behind)))


# what is wrong, what decompile says, and the error that the chain raises (test_model_registry.py)
BAD_PROGRAMS = [
    (b"QIN\x01" + PROGRAM[4:], "begins with 51494e03", "WrongMagic"),
    (patched(4, number(0)), "row length 0", "RowLengthOutOfRange"),
    (patched(4, number(LONGEST_ROW + 1)), "row length 98305", "RowLengthOutOfRange"),
    (patched(8, number(3)), "header says 3 logits", "OutputLengthMismatch"),
    (patched(12, number(198)), "memory is 198 bytes, the layers' is 197", "MemoryMismatch"),
    (patched(12, number(196)), "memory is 196 bytes", "MemoryMismatch"),
    (patched(16, (0).to_bytes(2, "big")), "at least one layer", "LayerCountOutOfRange"),
    (patched(16, (1).to_bytes(2, "big")), "layer 0: opcode 1", "WrongOpcode"),
    (patched(16, (3).to_bytes(2, "big")), "layer 1: opcode 2", "WrongOpcode"),
    (patched(18, b"\x00"), "layer 0: opcode 0", "WrongOpcode"),
    (patched(18, b"\x0c"), "layer 0: opcode 12", "WrongOpcode"),
    (patched(18, b"\x07"), "the first layer is dense or reshapes", "WrongOpcode"),
    (patched(19, b"\x00"), "takes 2 inputs, but 3 arrive", "ShapeMismatch"),
    (patched(19, b"\x81"), "reads value 1 of 1 live", "WrongOperand"),
    (patched(LAST_LAYER + 1, b"\x00"), "nothing is the last to read 1", "UnreadValues"),
    (patched(20, number(4)), "takes 4 inputs, but 3 arrive", "ShapeMismatch"),
    (patched(24, number(0)), "layer 0 has 0 outputs", "OutputsOutOfRange"),
    (patched(24, number(MOST_OUTPUTS + 1)), "layer 0 has 65536 outputs", "OutputsOutOfRange"),
    (patched(24, number(60_000)), "goes on to byte", "ProgramTooShort"),
    (patched(32, b"\xff"), "shift 25 exceeds 24", "ShiftOutOfRange"),
    (patched(28, number(1 << 24)), "must stay below 16777216", "SumOutOfRange"),
    (patched(28, number(1 << 31)), "must stay below 16777216", "SumOutOfRange"),
    (patched(33, b"\x00\x22"), "a weight is below −63", "WeightOutOfRange"),
    (patched(35, b"\x80"), "a weight is below −63", "WeightOutOfRange"),
    (patched(33, b"\x31"), "a bit is set that belongs to none", "WeightOutOfRange"),
    (patched(33, b"\x91"), "a bit is set that belongs to none", "WeightOutOfRange"),
    (patched(LAST_LAYER + FIELDS + 4, b"\x17"), "shift 1 exceeds 0", "ShiftOutOfRange"),
    (patched(LAST_LAYER + FIELDS + 4, b"\x19"), "shift 255 exceeds 0", "ShiftOutOfRange"),
    (PROGRAM + b"\x00", "1 bytes follow the last layer", "TrailingBytes"),
    (image_program(b"\x05\x80\x03" + number(1) + sides() * 3), "windows of 3 dimensions", "WindowOutOfRange"),
    (image_program(b"\x05\x80\x01" + number(1) + sides()), "takes 1×4 inputs", "ShapeMismatch"),
    (image_program(b"\x05\x80\x02" + number(2) + sides() * 2), "takes 2×4×4 inputs", "ShapeMismatch"),
    (image_program(b"\x05\x80\x02" + number(1) + sides() + sides(0, 0, 0)), "strides (1, 0)", "WindowOutOfRange"),
    (
        image_program(b"\x05\x80\x02" + number(1) + sides() + sides(1, 2, 0)),
        "smaller than its kernel",
        "WindowOutOfRange",
    ),
    (image_program(b"\x05\x80\x02" + number(1) + sides() + sides(kernel=5)), "is larger than", "ShapeMismatch"),
    (image_program(b"\x06\x80\x02" + number(1) + sides() + sides(kernel=3)), "averages 6 values", "WindowOutOfRange"),
    (
        image_program(b"\x03\x80\x02" + number(1) + number(1) + number(0) + sides() * 2),
        "in 0 groups",
        "WindowOutOfRange",
    ),
    (
        image_program(b"\x03\x80\x02" + number(1) + number(3) + number(2) + sides() * 2),
        "in 2 groups",
        "WindowOutOfRange",
    ),
    (
        image_program(b"\x03\x80\x02" + number(1) + number(0) + number(1) + sides() * 2),
        "0 outputs",
        "OutputsOutOfRange",
    ),
    (
        image_program(b"\x03\x80\x02" + number(1) + number(1) + number(1) + sides(1, 399, 0, kernel=400) * 2),
        "160000 inputs",
        "SizeOutOfRange",
    ),
    (
        image_program(b"\x04\x00\x00" + number(1) + number(16) + record(0, 2)),
        "but 1×4×4 arrive",
        "ShapeMismatch",
    ),
    (image_program(b"\x04\x80\x80" + number(1) + number(16)), "after its last use", "WrongOperand"),
    (image_program(b"\x04\x00\x80" + number(1) + number(15)), "takes 1×15 inputs", "ShapeMismatch"),
    (image_program(b"\x07\x80" + number(15) + bytes(256)), "takes 15 inputs", "ShapeMismatch"),
    (image_program(b"\x07\x80" + number(16) + bytes(100)), "goes on to byte", "ProgramTooShort"),
    (image_program(b"\x08\x01\x80"), "joins 1 values", "WrongOperand"),
    (image_program(b"\x08\x00"), "joins 0 values", "WrongOperand"),
    (image_program(b"\x09\x80\x01\x00" + number(1) + number(4) * 3), "takes 1 inputs", "ShapeMismatch"),
    (image_program(b"\x09\x80\x02\x00" + number(1) + (number(4) + number(9999) * 2) * 2), "too many", "SizeOutOfRange"),
    (image_program(b"\x0a\x80\x00"), "makes 0 dimensions", "ShapeMismatch"),
    (image_program(b"\x0a\x80\x06" + number(1) * 5 + number(16)), "makes 6 dimensions", "ShapeMismatch"),
    (image_program(b"\x0a\x80\x01" + number(17)), "keep their number", "ShapeMismatch"),
    (image_program(b"\x0b\x80\x03" + number(1) + number(4) * 2 + b"\x00\x01\x01"), "no order", "ShapeMismatch"),
    (image_program(b"\x0b\x80\x03" + number(1) + number(4) * 2 + b"\x00\x01\x03"), "no order", "ShapeMismatch"),
    (image_program(b"\x0b\x80\x02" + number(1) + number(4)), "takes 2 inputs", "ShapeMismatch"),
]


@pytest.mark.parametrize(("program", "message"), [each[:2] for each in BAD_PROGRAMS], ids=str_only)
def test_a_program_that_nothing_compiles_to_is_refused_with_the_reason(program: bytes, message: str) -> None:
    with pytest.raises(BadProgram) as caught:
        decompile(program)
    assert message in str(caught.value)


@pytest.mark.parametrize(("program", "reason"), [each[::2] for each in BAD_PROGRAMS], ids=str_only)
def test_the_reason_is_the_chains_error(program: bytes, reason: str) -> None:
    with pytest.raises(BadProgram) as caught:
        decompile(program)
    assert caught.value.reason == reason


def test_an_image_program_without_more_layers_is_one() -> None:
    """So what is wrong with the bad ones is what they say."""
    assert len(decompile(image_program()).operators) == 3


def test_disassembly_shows_every_number_of_the_program() -> None:
    text = disassemble(PROGRAM, channels=True)
    assert model_id(PROGRAM).hex() in text
    assert "layer 0: dense 3 -> 2  of row -> 2  macs 6  bytes 26  range 0 … 239" in text
    assert "layer 1: logits 2 -> 2  of layer 0 -> 2" in text
    assert text.count("bias        -7") == 4
    assert text.count("shift  4") == 2
    assert "weights 5 5 5\n" in text
    assert "weights" not in disassemble(PROGRAM)


def test_a_disassembly_has_a_line_for_each_layer_and_its_ranges_hold_what_is_made() -> None:
    rng = np.random.default_rng(5)
    for network in some_graphs(300, 30):
        listings = list_layers(network)
        program = compile_network(network)
        assert sum(each.bytes for each in listings) + HEADER.size == len(program)
        assert sum(each.macs for each in listings) == network.macs
        assert disassemble(program).count("\nlayer ") == len(listings) == len(network.operators)
        values = [graph_rows(network, 12, rng).astype(np.int64)]
        for operator, read, listing in zip(network.operators, network.reads, listings, strict=True):
            values.append(apply(operator, [values[value] for value in read]))
            low, high = listing.range
            assert low <= values[-1].min() and values[-1].max() <= high
            assert values[-1].shape[1:] == listing.shape


def test_a_range_is_no_wider_than_what_can_be_made() -> None:
    table = Table(np.array([7] * 100 + [9] * 156, np.uint8))
    last = Dense(np.array([[1], [-2]], np.int8), np.array([5, 0], np.int32), None)
    network = IntegerNetwork((Reshape((1,)), table, last))
    assert [each.range for each in list_layers(network)] == [(0, 255), (7, 9), (-18, 14)]
