"""The bounds of the canonical form: every way to break one is refused by name, and all who state them agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from models import form, integer_ops
from models.canonical import RULES, to_onnx
from models.form import (
    LARGEST_AVERAGE,
    LONGEST_ROW,
    MOST_DIMENSIONS,
    MOST_HELD,
    MOST_LAYERS,
    MOST_LIVE,
    MOST_MEMORY,
    MOST_OPERATIONS,
    MOST_OUTPUTS,
    MOST_READ,
    MOST_VALUES,
    NotCanonical,
    check_network,
)
from models.integer_ops import SHIFT_LIMIT, SUM_LIMIT, WEIGHT_LIMIT
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
    Reshape,
    Table,
    Transpose,
)
from models.onnx_file import MAX_FILE_BYTES, MAX_NODES
from models.program import HEADER, compile_network
from models.program_reader import decompile
from models.runtime import Runtime
from tests.models.registry import Deployed, constant_network

PROJECT = Path(__file__).parents[2]


def dense(weights: Any, bias: Any, shifts: Any = None) -> Dense:
    return Dense(
        np.array(weights, np.int8), np.array(bias, np.int32), None if shifts is None else np.array(shifts, np.uint8)
    )


def of(*layers: Operator) -> IntegerNetwork:
    return IntegerNetwork(layers)


LAST = dense([[1]], [0])
FLOATS: Any = np.zeros(1)


def of_depth(layers: int) -> IntegerNetwork:
    return of(*(dense([[1]], [0], [0]),) * (layers - 1), LAST)


# the network, the part and the rule that the refusal names, and a piece of its advice
BAD_NETWORKS = [
    (of(), "network", "size", "0 layers: 1 to 65535"),
    (of_depth(MOST_LAYERS + 1), "network", "size", "65536 layers: 1 to 65535"),
    (of(dense([[0], [64]], [0, 0])), "layer 0, channel 1", "weight-range", "|weight| 64 exceeds 63"),
    (of(dense([[-128]], [0])), "layer 0, channel 0", "weight-range", "|weight| 128 exceeds 63"),
    (of(dense([[63]], [(1 << 24) - 255 * 63])), "layer 0, channel 0", "sum-bound", "= 16777216 must stay below"),
    (of(dense([[0]], [-(1 << 31)])), "layer 0, channel 0", "sum-bound", "= 2147483648 must stay below"),
    (of(dense([[1]], [0], [0]), dense([[0], [0]], [0, -(1 << 24)])), "layer 1, channel 1", "sum-bound", "split"),
    (of(dense([[1]], [0], [25]), LAST), "layer 0, channel 0", "power-of-two", "shift 25 exceeds 24"),
    (of(LAST, LAST), "layer 0", "logits", "every layer but the last has shifts"),
    (of(dense([[1]], [0], [1])), "layer 0", "logits", "the last has none"),
    (of(dense([[1], [1]], [0, 0], [1, 1]), LAST), "layer 1", "shape", "takes 1 inputs, but 2 arrive"),
    (of(dense([[1]], [0, 0])), "layer 0", "shape", "bias are int32 (2,)"),
    (of(dense([1], [0])), "layer 0", "shape", "weights are int8 (1,)"),
    (of(dense(1, 0)), "layer 0", "shape", "weights are int8 ()"),
    (of(dense([[1]], 0)), "layer 0", "shape", "bias are int32 ()"),
    (of(dense([[1]], [0], [1, 1]), LAST), "layer 0", "shape", "shifts are uint8 (2,)"),
    (of(Dense(np.ones((1, 1), np.int16), np.zeros(1, np.int32), None)), "layer 0", "shape", "weights are int16"),
    (of(Dense(np.ones((1, 1), np.int8), np.zeros(1, np.int64), None)), "layer 0", "shape", "bias are int64"),
    (of(Dense(np.ones((1, 1), np.int8), np.zeros(1, np.int32), FLOATS), LAST), "layer 0", "shape", "float64"),
    (constant_network([LONGEST_ROW + 1, 1], weight=0), "layer 0", "shape", "98305 inputs: 1 to 98304"),
    (constant_network([1, MOST_OUTPUTS + 1]), "layer 0", "shape", "65536 outputs: 1 to 65535"),
    (of(dense(np.zeros((0, 1)), np.zeros(0))), "layer 0", "shape", "0 outputs"),
    (of(dense(np.zeros((1, 0)), np.zeros(1))), "layer 0", "shape", "0 inputs"),
]


IMAGE = Reshape((2, 4, 4))
NONE = ((0, 0), (0, 0))
ONES, ZEROS, BYTES = np.ones((2, 2, 1, 1), np.int8), np.zeros(2, np.int32), np.zeros(2, np.uint8)


def image(*operators: Any) -> IntegerNetwork:
    return IntegerNetwork((IMAGE, *operators, Reshape((1,)), LAST))


BAD_GRAPHS = [
    (image(Conv(ONES, ZEROS, BYTES, (1, 1), NONE, 2)), "layer 1", "shape", "it reads 4 channels of 2 dimensions"),
    (image(Conv(ONES, ZEROS, BYTES, (1, 1), NONE, 3)), "layer 1", "shape", "2 outputs in 3 groups"),
    (image(Conv(ONES[0], ZEROS, BYTES, (1,), ((0, 0),), 1)), "layer 1", "shape", "it reads 1 channels of 1"),
    (image(Conv(ONES[0, 0], ZEROS, BYTES, (), (), 1)), "layer 1", "shape", "needed: int8 (outputs, channels / groups"),
    (image(Conv(64 * ONES, ZEROS, BYTES, (1, 1), NONE, 1)), "layer 1, channel 0", "weight-range", "64 exceeds 63"),
    (
        image(Conv(ONES, ZEROS + (1 << 24) - 510, BYTES, (1, 1), NONE, 1)),
        "layer 1, channel 0",
        "sum-bound",
        "= 16777216",
    ),
    (image(Conv(ONES, ZEROS, BYTES + 25, (1, 1), NONE, 1)), "layer 1, channel 0", "power-of-two", "shift 25"),
    (image(Conv(ONES, ZEROS, BYTES, (1,), NONE, 1)), "layer 1", "window", "strides (1,)"),
    (image(MaxPool((2, 2), (1, 0), NONE)), "layer 1", "window", "at least 1"),
    (image(MaxPool((2, 2), (1, 1), ((2, 0), (0, 0)))), "layer 1", "window", "smaller than the kernel"),
    (image(MaxPool((2, 2, 2), (1, 1, 1), (*NONE, (0, 0)))), "layer 1", "window", "one or two dimensions"),
    (image(MaxPool((5, 1), (1, 1), NONE)), "layer 1", "shape", "larger than the value (4, 4)"),
    (image(MaxPool((2,), (1,), ((0, 0),))), "layer 1", "shape", "its window has 1 dimensions"),
    (image(Pad(((0, 2), (0, 0)), 0), MaxPool((2, 2), (1, 1), NONE)), "layer 2", "window", "cannot fuse"),
    (
        image(Pad(((0, 1), (0, 0)), 0), AveragePool((2, 2), (1, 1), ((0, 1), (0, 0)))),
        "layer 2",
        "window",
        "cannot fuse",
    ),
    (
        image(Pad(((1, 0), (0, 0)), 0), Transpose((0, 2, 1)), Pad(((1, 0), (0, 0)), 0), MaxPool((2, 2), (1, 1), NONE)),
        "layer 4",
        "window",
        "cannot fuse",
    ),
    (image(AveragePool((3, 2), (1, 1), NONE)), "layer 1", "window", "6 values in a window: a power of two"),
    (image(AveragePool((512, 256), (1, 1), NONE)), "layer 1", "window", "131072 values in a window"),
    (image(Table(np.zeros(255, np.uint8))), "layer 1", "shape", "entries are uint8 (255,)"),
    (image(Table(np.zeros(256, np.int16))), "layer 1", "shape", "entries are int16 (256,)"),
    (image(Pad(((0, 0),), 0)), "layer 1", "shape", "it pads 1 dimensions"),
    (image(Pad(((0, -1), (0, 0)), 0)), "layer 1", "window", "neither may be negative"),
    (image(Pad(NONE, 256)), "layer 1", "window", "values end at 255"),
    (image(Pad(((0, 1 << 19), (0, 0)), 0)), "layer 1", "size", "4194336 values in 3 dimensions"),
    (image(Reshape((2, 0))), "layer 1", "shape", "1 to 5 dimensions of at least 1"),
    (image(Reshape((2, 1, 1, 1, 1, 16))), "layer 1", "shape", "1 to 5 dimensions of at least 1"),
    (image(Reshape((33,))), "layer 1", "shape", "keep their number"),
    (image(Transpose((0, 1))), "layer 1", "shape", "(0, 1) is no order"),
    (image(Concat()), "layer 1", "shape", "two or more values"),
    (image(Add(ONES[:, :, 0, 0], ZEROS, BYTES)), "layer 1", "shape", "it reads 2 values, not 1"),
    (of(Table(np.zeros(256, np.uint8)), LAST), "layer 0", "shape", "begin with a Dense or a Reshape"),
    (of(Reshape((LONGEST_ROW + 1,)), LAST), "layer 0", "shape", "rows of 98305 bytes"),
    (of(Reshape((1,))), "layer 0", "logits", "the last has none"),
    (
        IntegerNetwork((IMAGE,) * 2 + (Reshape((32,)), LAST), ((0,), (2,), (2,), (3,))),
        "layer 1",
        "chain",
        "only values 0 to 1",
    ),
    (IntegerNetwork((IMAGE, LAST), ((-1,), (1,))), "layer 0", "chain", "only values 0 to 0"),
    (IntegerNetwork((IMAGE, LAST), ((0,),)), "network", "chain", "1 lists of what 2 layers read"),
    (IntegerNetwork((Reshape((1,)), LAST, LAST), ((0,), (1,), (1,))), "layer 1", "logits", "every layer but the last"),
    (IntegerNetwork((Reshape((1,)), Reshape((1,)), LAST), ((0,), (1,), (1,))), "layer 1", "chain", "nothing reads"),
    (
        of(Reshape((1, 300, 300)), MaxPool((300, 300), (1, 1), ((299, 299),) * 2), Reshape((358801,)), LAST),
        "layer 1",
        "size",
        "more than 4294967296 operations",
    ),
]
BAD_NETWORKS += BAD_GRAPHS


@pytest.mark.parametrize(("network", "part", "rule", "advice"), BAD_NETWORKS, ids=[each[3] for each in BAD_NETWORKS])
@pytest.mark.parametrize("through", [check_network, compile_network, to_onnx, Runtime])
def test_a_network_outside_the_form_is_refused_by_rule_whatever_it_is_made_into(
    through: Any, network: IntegerNetwork, part: str, rule: str, advice: str
) -> None:
    with pytest.raises(NotCanonical) as refused:
        through(network)
    assert (refused.value.node, refused.value.rule) == (part, rule)
    assert advice in refused.value.advice and rule in RULES
    assert str(refused.value) == f"{part}: {rule}: {refused.value.advice}"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("weight", [0, 1, 63, -63])
def test_the_bound_on_a_channels_sum_is_exact(weight: int, sign: int) -> None:
    most = (1 << 24) - 1 - 255 * abs(weight)
    check_network(of(dense([[weight]], [sign * most])))
    with pytest.raises(NotCanonical, match="sum-bound"):
        check_network(of(dense([[weight]], [sign * (most + 1)])))


def test_networks_at_the_limits_of_size_are_in_the_form() -> None:
    check_network(constant_network([LONGEST_ROW, 1], weight=0))
    check_network(constant_network([1, MOST_OUTPUTS]))


def wide(channels: int) -> IntegerNetwork:
    """A row of 1,024 bytes is copied into more channels, of which each is pooled into as many values again."""
    pool = MaxPool((1,), (1,), ((0, 0),))
    shrink = MaxPool((1024,), (1024,), ((0, 0),))
    operators = (Reshape((1, 1024)), Concat(), pool, shrink, Reshape((channels,)), dense(np.ones((1, channels)), [0]))
    return IntegerNetwork(operators, ((0,), (1,) * channels, (2,), (3,), (4,), (5,)))


def test_more_values_than_the_chain_can_hold_at_once_are_refused() -> None:
    """Twice the channels, the window of one byte and 32 bytes for each of the three."""
    check_network(wide(95))
    with pytest.raises(NotCanonical, match=r"layer 2: size: .* take 196705 bytes: 196608 are possible"):
        check_network(wide(96))


def fan(count: int) -> IntegerNetwork:
    """As many values of one byte that only the last layers read: Add cannot join more than two."""
    tables = tuple(Table(np.zeros(256, np.uint8)) for _ in range(count))
    reads = [(0,), *((1,) for _ in range(count))]
    return IntegerNetwork(
        (Reshape((1,)), *tables, Concat(), dense(np.ones((1, count)), [0])),
        (*reads, tuple(range(2, count + 2)), (count + 2,)),
    )


def test_more_values_that_are_still_to_be_read_than_a_program_can_name_are_refused() -> None:
    check_network(fan(MOST_LIVE))
    with pytest.raises(NotCanonical, match=f"layer {MOST_LIVE + 1}: size: 129 values are still to be read"):
        check_network(fan(MOST_LIVE + 1))
    network = IntegerNetwork((Reshape((1,)), Concat(), dense(np.ones((1, 256)), [0])), ((0,), (1,) * 256, (2,)))
    with pytest.raises(NotCanonical, match="layer 1: size: it reads 256 values: 255 are possible"):
        check_network(network)


def test_as_many_layers_as_a_program_can_name_are_a_program_to_the_chain_too() -> None:
    program = compile_network(of_depth(MOST_LAYERS))
    assert len(decompile(program).layers) == MOST_LAYERS
    assert Deployed("IntegerNetworkHarness").call("validate", program) == (1, 1)


def test_the_contracts_limits_are_those_of_the_form() -> None:
    source = (PROJECT / "contracts/src/ProgramValidator.sol").read_text("utf-8")
    stated = dict(re.findall(r"uint256 internal constant (\w+) = ([\d_]+|1 << \d+);", source))
    limits = vars(form) | vars(integer_ops)
    numbers = {name: 1 << int(each[5:]) if each.startswith("1 <<") else int(each) for name, each in stated.items()}
    assert numbers == {name: limits[name] for name in stated}
    assert len(stated) == 11
    assert "reading.layers = uint16(header >> 112);" in source  # any count that two bytes can hold


def test_the_documents_limits_are_those_of_the_form() -> None:
    text = (PROJECT / "docs/program.md").read_text("utf-8")
    text += " ".join(text.split())
    for sentence in (
        f"bytes in an input row, 1 … {LONGEST_ROW:,} |",
        f"outputs, 1 … {MOST_OUTPUTS:,} |",
        f"at most {MOST_MEMORY:,} together. A logit counts",
        f"never more than {MOST_LIVE} live values",
        f"how many values it reads, 2 … {MOST_READ} |",
        f"Kernel and stride are 1 … {MOST_VALUES:,}",
        f"a power of two up to {LARGEST_AVERAGE:,}.",
        f"makes at most {MOST_VALUES:,} values and all of them together {MOST_HELD:,}.",
        f"at most 2^{MOST_OPERATIONS.bit_length() - 1} places",
        f"dimensions, 1 … {MOST_DIMENSIONS} (one byte)",
        "| 16 | 2 | layers, at least 1 |",
        f"binary places, {SHIFT_LIMIT} − k for a shift k of 0 … {SHIFT_LIMIT};",
        f"|w| ≤ {WEIGHT_LIMIT}, so no digit is 0",
        f"255·Σ|w| + |b| < 2^{SUM_LIMIT.bit_length() - 1}",
    ):
        assert sentence in text, sentence
    assert HEADER.format.endswith("H") and MOST_LAYERS == (1 << 16) - 1


def test_pools_one_after_the_other_may_each_be_padded() -> None:
    pool = MaxPool((2, 2), (2, 2), ((1, 1), (1, 1)))
    check_network(of(IMAGE, Pad(NONE, 0), pool, pool, Reshape((8,)), dense(np.ones((1, 8)), [0])))


def test_the_guides_limits_are_those_of_the_form_and_it_names_every_operator() -> None:
    text = " ".join((PROJECT / "docs/models.md").read_text("utf-8").split())
    for sentence in (
        f"|w| ≤ {WEIGHT_LIMIT}; in each output channel 255·Σ|w| + |b| < 2^{SUM_LIMIT.bit_length() - 1};",
        f"2^k, 0 ≤ k ≤ {SHIFT_LIMIT},",
        f"at most {LONGEST_ROW:,} bytes a row, {MOST_VALUES:,} values anywhere and {MOST_HELD:,} in all, "
        f"2^{MOST_OPERATIONS.bit_length() - 1} operations a row, {MOST_DIMENSIONS} dimensions, {MOST_LIVE} values still to be "
        f"read at any one time, {MOST_READ} read at once and {MOST_MEMORY >> 10} KiB of them, "
        f"{MAX_NODES:,} ONNX nodes and {MAX_FILE_BYTES >> 20} MiB a file.",
    ):
        assert sentence in text, sentence
    assert all(operator.__name__ in text for operator in get_args(Operator))
