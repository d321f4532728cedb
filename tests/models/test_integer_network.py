"""The judge: IntegerNetwork.sol gives what models.interpreter gives, in gas that depends on nothing but the program."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_abi import decode
from numpy.typing import NDArray

from models.form import LONGEST_ROW
from models.interpreter import run
from models.network import Conv, Dense, IntegerNetwork, MaxPool, Reshape, Table
from models.program import compile_network, model_id
from tests.models.random_graphs import OPERATORS, STYLES, graph_rows, random_graph
from tests.models.random_networks import hazard_rows, random_networks
from tests.models.registry import (
    CALLER,
    CHUNK,
    Deployed,
    ReceiptChain,
    Registry,
    constant_network,
    creation_code,
    intrinsic_gas,
)

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "program.json").read_text())


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def expected_outputs(network: IntegerNetwork, rows: NDArray[np.uint8]) -> list[bytes]:
    return [logits.astype(">i4").tobytes() for logits in run(network, rows)]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_a_vectors_program_gives_its_outputs_on_chain(registry: Registry, vector: dict[str, Any]) -> None:
    model = registry.register(bytes.fromhex(vector["program"]))
    assert model.hex() == vector["model_id"]
    for row, output in zip(vector["rows"], vector["outputs"], strict=True):
        assert registry.call("execute", model, bytes.fromhex(row)).hex() == output


def test_the_naive_twin_agrees_with_the_interpreter_and_so_with_the_judge() -> None:
    naive = Deployed("NaiveNetwork")
    rng = np.random.default_rng(32)
    for network in random_networks(seed=8, count=14):
        rows = hazard_rows(network, 6, rng)
        program = compile_network(network)
        for row, output in zip(rows, expected_outputs(network, rows), strict=True):
            assert naive.call("run", program, row.tobytes()) == output


@pytest.mark.parametrize("inputs", [31, 32, 33, 34, 35, 36, 67, 68, 69, 102, 345, 1044])
def test_lanes_do_not_overflow_whatever_the_number_of_inputs(registry: Registry, inputs: int) -> None:
    """Σ(w + 64)·x is largest with every weight 63 and every byte 255."""
    for weight in (63, -63):
        network = constant_network([inputs, 5, 1], weight=weight, shift=16)
        row = np.full((1, inputs), 255, np.uint8)
        model = registry.register(compile_network(network))
        assert [registry.execute(model, row[0])] == expected_outputs(network, row)


def test_the_longest_row_and_a_record_longer_than_a_chunk_are_executed(registry: Registry) -> None:
    rng = np.random.default_rng(33)
    weights = np.zeros((2, LONGEST_ROW), np.int8)
    weights[:, rng.choice(LONGEST_ROW, 1000, replace=False)] = rng.integers(-63, 64, (2, 1000))
    network = IntegerNetwork((Dense(weights, np.array([-5, 5], np.int32), None),))
    rows = rng.integers(0, 256, (2, LONGEST_ROW)).astype(np.uint8)
    model = registry.register(compile_network(network))
    assert [registry.execute(model, row) for row in rows] == expected_outputs(network, rows)


def test_a_program_of_many_chunks_slides_through_its_window(registry: Registry) -> None:
    rng = np.random.default_rng(34)
    widths = [340, 257, 101, 40]
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        weights = rng.integers(-63, 64, (outputs, inputs)).astype(np.int8)
        shifts = None if index == 2 else np.full(outputs, 9, np.uint8)
        layers.append(Dense(weights, rng.integers(-99_999, 99_999, outputs).astype(np.int32), shifts))
    network = IntegerNetwork(tuple(layers))
    assert len(compile_network(network)) > 4 * CHUNK
    rows = hazard_rows(network, 12, rng)
    model = registry.register(compile_network(network))
    assert [registry.execute(model, row) for row in rows] == expected_outputs(network, rows)


def test_chunks_of_others_making_run_alike_in_the_library() -> None:
    harness = Deployed("IntegerNetworkHarness")
    network = random_networks(seed=10, count=1)[0]
    program = compile_network(network)
    code = b"\x00" + program
    chunk = harness.evm.deploy(CALLER, creation_code(code))
    rows = hazard_rows(network, 5, np.random.default_rng(35))
    made = [harness.call("run", [chunk], len(program), row.tobytes()) for row in rows]
    assert made == expected_outputs(network, rows)


def test_gas_is_the_same_for_every_row(registry: Registry) -> None:
    rng = np.random.default_rng(36)
    graphs = [random_graph(seed, STYLES[seed % 5], [*rng.permutation(OPERATORS)]) for seed in range(12)]
    for network in [constant_network([13, 32, 16, 3]), *random_networks(seed=12, count=15), *graphs]:
        model = registry.register(compile_network(network))
        rows = [np.zeros(network.row_length, np.uint8), np.full(network.row_length, 255, np.uint8)]
        rows += list(graph_rows(network, 9, rng) if network in graphs else hazard_rows(network, 30, rng))
        registry.execute(model, rows[0])  # from here on everything is warm
        assert len({registry.gas_of("execute", model, row.tobytes()) for row in rows}) == 1


def test_a_table_at_the_very_end_of_the_memory_of_a_program_takes_the_same_gas_for_every_row() -> None:
    """Reading an entry reads a word, which must not be the first to touch memory behind the program."""
    registry = Registry()
    last = Dense(np.zeros((1, 1), np.int8), np.zeros(1, np.int32), None)
    table = Table(np.arange(256).astype(np.uint8)[::-1])
    for length in range(24_000, 24_100, 7):
        network = IntegerNetwork((sparse_dense(length), table, last))
        model = registry.register(compile_network(network))
        rows = [np.full(length, value, np.uint8) for value in (0, 1, 128, 255)]
        registry.execute(model, rows[0])
        assert len({registry.gas_of("execute", model, row.tobytes()) for row in rows}) == 1


def sparse_dense(inputs: int) -> Dense:
    """The row's first byte."""
    weights = np.zeros((1, inputs), np.int8)
    weights[0, 0] = 1
    return Dense(weights, np.zeros(1, np.int32), np.zeros(1, np.uint8))


@pytest.mark.parametrize(
    ("shape", "kernel", "groups", "outputs"),
    [((3, 60, 60), (5, 5), 1, 6), ((8, 5, 5), (5, 5), 1, 130), ((64, 8, 8), (3, 3), 64, 64), ((1, 3000), (300,), 1, 2)],
)
def test_convolutions_larger_than_a_chunk_or_than_random_ones_are_executed(
    registry: Registry, shape: tuple[int, ...], kernel: tuple[int, ...], groups: int, outputs: int
) -> None:
    rng = np.random.default_rng(38)
    weights = rng.integers(-20, 21, (outputs, shape[0] // groups, *kernel)).astype(np.int8)
    strides, pads = (2,) * len(kernel), ((1, 2),) * len(kernel)
    conv = Conv(weights, np.zeros(outputs, np.int32), np.full(outputs, 8, np.uint8), strides, pads, groups)
    made = conv.shape_after(shape)
    pool = MaxPool(made[1:], (1,) * len(kernel), ((0, 0),) * len(kernel))
    eye = np.eye(outputs, dtype=np.int8)
    last = Dense(eye, np.zeros(outputs, np.int32), None)
    network = IntegerNetwork((Reshape(shape), conv, pool, Reshape((outputs,)), last))
    rows = graph_rows(network, 5, rng)
    model = registry.register(compile_network(network))
    assert [registry.execute(model, row) for row in rows] == expected_outputs(network, rows)


# --- gas, from receipts of the Python EVM ---


@pytest.fixture(scope="module")
def chain() -> ReceiptChain:
    return ReceiptChain()


@pytest.mark.parametrize(
    ("widths", "most_registration", "most_recorded"),
    [
        ([13, 32, 16, 3], 600_000, 29_000),
        ([64, 128, 64, 10], 4_200_000, 6 * 17_024),
        ([240, 90, 10], 5_200_000, 117_000),
    ],
)
def test_gas_stays_within_its_budget_and_the_recorded_gas_covers_a_cold_execution(
    chain: ReceiptChain, widths: list[int], most_registration: int, most_recorded: int
) -> None:
    network = constant_network(widths)
    program = compile_network(network)
    registration = chain.gas_of(chain.registry, chain.abi.calldata("register", [], program))
    call = chain.abi.calldata("execute", model_id(program), bytes([255]) * network.row_length)
    execution = chain.gas_of(chain.registry, call) - intrinsic_gas(call)
    print(f"{widths}: register {registration}, execute {execution}, {execution / network.macs:.2f} a MAC")
    assert registration <= most_registration
    answer = chain.read(chain.registry, chain.abi.calldata("model", model_id(program)))
    recorded = decode(["uint256"] * 4 + ["bool"], answer)[2]
    assert execution <= recorded <= min(execution + 6_000, most_recorded)


@pytest.mark.parametrize("widths", [[100, 100], [128, 80], [784, 128], [1_000, 20]])
def test_a_dense_layer_of_ten_thousand_macs_and_more_takes_at_most_six_gas_a_mac(
    registry: Registry, widths: list[int]
) -> None:
    network = constant_network(widths)
    model = registry.register(compile_network(network))
    assert registry.call("measure", model) <= 6 * network.macs


def test_layers_of_any_number_of_channels_are_computed_by_fours(registry: Registry) -> None:
    """One to nine channels, hidden and last: what is computed beyond the last channel shows nowhere."""
    rng = np.random.default_rng(37)
    for inputs, hidden, outputs in itertools.product((1, 30, 64), range(1, 10), range(1, 6)):
        layers: list[Dense] = []
        for count, width in ((hidden, inputs), (outputs, hidden)):
            weights = rng.integers(-63, 64, (count, width)).astype(np.int8)
            shifts = None if layers else rng.integers(0, 13, count).astype(np.uint8)
            layers.append(Dense(weights, rng.integers(-9_999, 9_999, count).astype(np.int32), shifts))
        network = IntegerNetwork(tuple(layers))
        rows = hazard_rows(network, 6, rng)
        model = registry.register(compile_network(network))
        assert [registry.execute(model, row) for row in rows] == expected_outputs(network, rows)


@pytest.mark.parametrize("shift", range(25))
def test_requantisation_is_exact_around_every_tie_and_both_ends_of_a_byte(registry: Registry, shift: int) -> None:
    """One input, weight 0: the bias alone is the sum. Each hidden activation is read back as a logit of its own."""
    limit = (1 << 24) - 1
    points = {quotient << shift for quotient in (-1, 0, 1, 2, 3, 127, 128, 254, 255, 256, 257)}
    near = {point + half + step for point in points for half in (0, 1 << shift >> 1) for step in (-1, 0, 1)}
    biases = np.array(sorted(value for value in near | {limit, -limit} if abs(value) <= limit), np.int32)
    count = len(biases)
    hidden = Dense(np.zeros((count, 1), np.int8), biases, np.full(count, shift, np.uint8))
    network = IntegerNetwork((hidden, Dense(np.eye(count, dtype=np.int8), np.zeros(count, np.int32), None)))
    row = np.array([[7]], np.uint8)
    model = registry.register(compile_network(network))
    assert [registry.execute(model, row[0])] == expected_outputs(network, row)
