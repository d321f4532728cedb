"""ONNX Runtime gives the interpreter's integers: every network, optimisation level, thread count and batch."""

import numpy as np
import pytest

from models.canonical import from_onnx, to_onnx
from models.form import NotCanonical
from models.integer_ops import SUM_LIMIT, compute_channel_bounds, compute_dense
from models.interpreter import run
from models.network import Dense, IntegerNetwork
from models.runtime import Optimisation, Runtime
from tests.models.random_networks import hazard_rows, random_networks

LEVELS: tuple[Optimisation, ...] = ("none", "basic", "extended", "all")
NETWORKS = random_networks(seed=7, count=64)


def test_the_random_networks_reach_the_hazards_they_are_made_for() -> None:
    rng = np.random.default_rng(1)
    ties = at_weight_limit = at_bound = long_rows = 0
    for network in NETWORKS:
        rows = hazard_rows(network, 100, rng)
        for layer in network.layers:
            at_weight_limit += int(np.abs(layer.weights.astype(int)).max() == 63)
            at_bound += int(compute_channel_bounds(layer.weights, layer.bias).max() == SUM_LIMIT - 1)
        first = network.layers[0]
        long_rows += int(first.inputs >= 344)
        if first.shifts is not None:
            power = 1 << first.shifts.astype(np.int64)
            sums = compute_dense(rows.astype(np.int64), first.weights, first.bias)
            ties += int(((power > 1) & (sums % power == power // 2)).any())
    assert ties > 30 and at_weight_limit > 30 and at_bound > 10 and long_rows > 3


@pytest.mark.parametrize("level", LEVELS)
def test_runtime_equals_interpreter_on_random_networks(level: Optimisation) -> None:
    rng = np.random.default_rng(LEVELS.index(level))
    compared = 0
    for network in NETWORKS:
        rows = hazard_rows(network, 200, rng)
        np.testing.assert_array_equal(Runtime(network, optimisation=level).run(rows), run(network, rows))
        compared += len(rows)
    assert compared >= 10_000


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 64, 2000])
def test_neither_threads_nor_batches_change_a_logit(threads: int, batch: int) -> None:
    rng = np.random.default_rng(3)
    for network in NETWORKS[3:8]:
        rows = hazard_rows(network, 2000 if batch > 1 else 150, rng)
        runtime = Runtime(network, threads=threads)
        found = np.concatenate([runtime.run(rows[start : start + batch]) for start in range(0, len(rows), batch)])
        np.testing.assert_array_equal(found, run(network, rows))


def test_more_rows_than_one_batch_holds_are_all_run() -> None:
    network = random_networks(seed=2, count=1)[0]
    rows = np.random.default_rng(0).integers(0, 256, (10_001, network.row_length), dtype=np.uint8)
    np.testing.assert_array_equal(Runtime(network).run(rows), run(network, rows))


def test_rows_need_not_be_contiguous() -> None:
    network = random_networks(seed=2, count=1)[0]
    wide = np.random.default_rng(0).integers(0, 256, (64, 2 * network.row_length), dtype=np.uint8)
    rows = wide[::-1, ::2]
    np.testing.assert_array_equal(Runtime(network).run(rows), run(network, rows.copy()))


def test_no_rows_give_no_logits() -> None:
    network = NETWORKS[0]
    empty = np.empty((0, network.row_length), np.uint8)
    assert Runtime(network).run(empty).shape == run(network, empty).shape == (0, network.output_length)


def test_a_network_survives_the_file_bit_for_bit() -> None:
    for network in NETWORKS:
        data = to_onnx(network).SerializeToString(deterministic=True)
        again = from_onnx(data)
        assert to_onnx(again).SerializeToString(deterministic=True) == data
        for layer, copy in zip(network.layers, again.layers, strict=True):
            np.testing.assert_array_equal(layer.weights, copy.weights)
            np.testing.assert_array_equal(layer.bias, copy.bias)
            np.testing.assert_array_equal(layer.shifts, copy.shifts)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((2, 3), np.int64), "must be uint8"),
        (np.zeros((2, 4), np.uint8), r"shape \(n, 3\)"),
        (np.zeros(3, np.uint8), r"shape \(n, 3\)"),
    ],
)
def test_rows_of_the_wrong_kind_are_refused_by_both(rows: np.ndarray, message: str) -> None:
    network = IntegerNetwork((Dense(np.ones((2, 3), np.int8), np.zeros(2, np.int32), None),))
    with pytest.raises(ValueError, match=message):
        run(network, rows)
    with pytest.raises(ValueError, match=message):
        Runtime(network).run(rows)


def test_the_runtime_refuses_a_network_that_could_round() -> None:
    over = Dense(np.full((1, 1045), 63, np.int8), np.zeros(1, np.int32), None)
    with pytest.raises(NotCanonical, match="sum-bound"):
        Runtime(IntegerNetwork((over,)))


def test_the_runtime_refuses_zero_threads() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1"):
        Runtime(NETWORKS[0], threads=0)
