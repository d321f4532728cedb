"""The bounds of the canonical form: every way to break one is refused by name, and all who state them agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.canonical import RULES, to_onnx
from models.form import LONGEST_ROW, MOST_LAYERS, MOST_OUTPUTS, NotCanonical, check_network
from models.integer_ops import SHIFT_LIMIT, SUM_LIMIT, WEIGHT_LIMIT
from models.network import Dense, IntegerNetwork
from models.program import HEADER, compile_network, decompile
from models.runtime import Runtime
from tests.models.registry import Deployed, constant_network

PROJECT = Path(__file__).parents[2]


def dense(weights: Any, bias: Any, shifts: Any = None) -> Dense:
    return Dense(
        np.array(weights, np.int8), np.array(bias, np.int32), None if shifts is None else np.array(shifts, np.uint8)
    )


def of(*layers: Dense) -> IntegerNetwork:
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


def test_as_many_layers_as_a_program_can_name_are_a_program_to_the_chain_too() -> None:
    program = compile_network(of_depth(MOST_LAYERS))
    assert len(decompile(program).layers) == MOST_LAYERS
    assert Deployed("IntegerNetworkHarness").call("validate", program) == (1, 1)


def test_the_contracts_limits_are_those_of_the_form() -> None:
    source = (PROJECT / "contracts/src/IntegerNetwork.sol").read_text("utf-8")
    stated = dict(re.findall(r"uint256 (?:internal|private) constant (\w+) = ([\d_]+|1 << \d+);", source))
    limits = {"LONGEST_ROW": LONGEST_ROW, "MOST_OUTPUTS": MOST_OUTPUTS, "SHIFT_LIMIT": SHIFT_LIMIT}
    assert {name: int(stated[name]) for name in limits} == limits
    assert stated["SUM_LIMIT"] == f"1 << {SUM_LIMIT.bit_length() - 1}"
    assert "uint256 layers = uint16(header >> 112);" in source  # any count that two bytes can hold


def test_the_documents_limits_are_those_of_the_form() -> None:
    text = (PROJECT / "docs/program.md").read_text("utf-8")
    for sentence in (
        f"bytes in an input row, 1 … {LONGEST_ROW:,} |",
        f"outputs, 1 … {MOST_OUTPUTS:,} |",
        "| 16 | 2 | layers, at least 1 |",
        f"shift k, 0 … {SHIFT_LIMIT};",
        f"|w| ≤ {WEIGHT_LIMIT}, so a weight's byte is",
        f"255·Σ|w| + |b| < 2^{SUM_LIMIT.bit_length() - 1}",
    ):
        assert sentence in text, sentence
    assert HEADER.format.endswith("H") and MOST_LAYERS == (1 << 16) - 1
