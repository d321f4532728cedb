"""One result everywhere: specification, ONNX Runtime and EVM give the same bits, with no difference allowed.

On every item of every zoo model's data and vectors, and on random networks that provoke every known hazard.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import zoo
from models.interpreter import run
from models.network import IntegerNetwork
from models.program import compile_network, model_id
from models.runtime import Runtime
from tests.models.random_graphs import OPERATORS, graph_rows, random_graph
from tests.models.random_networks import STYLES, hazard_rows, random_networks
from tests.models.real_rows import NAMES, real_rows
from tests.models.registry import Registry, Reverted

NETWORKS, ROWS = 60, 180
ITEMS = {"apple-grading": 127, "digit-tagging": 1_797, "driver-scoring": 1_512, "wine-grading": 178}


@pytest.fixture
def registry() -> Registry:
    return Registry()


def run_on_chain(registry: Registry, network: IntegerNetwork, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The logits (n, output_length) that ModelRegistry.execute gives, one call a row."""
    program = compile_network(network)
    try:
        model = registry.register(program)
    except Reverted as refusal:
        if refusal.error != "ModelExists":  # two examples may be the same network
            raise
        model = model_id(program)
    outputs = b"".join(registry.execute(model, row) for row in rows)
    return np.frombuffer(outputs, ">i4").reshape(len(rows), network.output_length).astype(np.int32)


def assert_three_agree(registry: Registry, network: IntegerNetwork, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The logits that all three give."""
    specified = run(network, rows)
    np.testing.assert_array_equal(Runtime(network).run(rows), specified, "ONNX Runtime and the specification differ")
    np.testing.assert_array_equal(run_on_chain(registry, network, rows), specified, "EVM and specification differ")
    return specified


def test_all_three_agree_on_ten_thousand_rows_of_sixty_random_networks(registry: Registry) -> None:
    rng = np.random.default_rng(31)
    networks = random_networks(seed=7, count=NETWORKS)
    compared = 0
    for network in networks:
        rows = hazard_rows(network, ROWS, rng)
        compared += len(assert_three_agree(registry, network, rows))
    assert compared >= 10_000 and len(networks) >= 50 and len(networks) % len(STYLES) == 0


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 1 << 32),
    st.sampled_from(STYLES),
    st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=9),
)
def test_all_three_agree_on_random_graphs_of_the_whole_operator_set(
    registry: Registry, seed: int, style: str, wanted: list[str]
) -> None:
    graph = random_graph(seed, style, wanted)
    assert_three_agree(registry, graph, graph_rows(graph, 6, np.random.default_rng(seed)))


@pytest.mark.parametrize("operator", OPERATORS)
def test_all_three_agree_on_each_operator_in_every_style(registry: Registry, operator: str) -> None:
    for seed, style in enumerate(STYLES * 3):
        graph = random_graph(seed, style, [operator, operator])
        assert_three_agree(registry, graph, graph_rows(graph, 7, np.random.default_rng(seed)))


@pytest.mark.parametrize("name", NAMES)
def test_all_three_agree_on_every_item_of_a_zoo_models_data(registry: Registry, name: str) -> None:
    rows = real_rows(name)
    assert len(rows) == ITEMS[name]
    logits = assert_three_agree(registry, zoo.load(name).network, rows)
    assert len(np.unique(logits.argmax(axis=1))) == logits.shape[1]  # each class is some item's


@pytest.mark.parametrize("name", NAMES)
def test_all_three_give_a_zoo_models_committed_vectors(registry: Registry, name: str) -> None:
    model = zoo.load(name)
    rows, committed = model.read_vectors()
    assert len(rows) >= 64
    np.testing.assert_array_equal(assert_three_agree(registry, model.network, rows), committed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_optimised_and_the_plain_graph_agree_on_real_data(name: str, threads: int) -> None:
    network, rows = zoo.load(name).network, real_rows(name)
    plain = Runtime(network, threads, optimisation="none").run(rows)
    np.testing.assert_array_equal(Runtime(network, threads).run(rows), plain)


def test_one_changed_weight_is_a_difference_that_the_comparison_sees(registry: Registry) -> None:
    """The comparison itself can fail: the EVM runs the network that it was given, not the one that was meant."""
    network = zoo.load("wine-grading").network
    rows = real_rows("wine-grading")
    weights = network.layers[-1].weights.copy()
    weights[0, 0] += 1 if weights[0, 0] < 63 else -1
    changed = IntegerNetwork((*network.layers[:-1], type(network.layers[-1])(weights, network.layers[-1].bias, None)))
    assert (run_on_chain(registry, changed, rows) != run(network, rows)).any()
