"""Networks of the whole operator set: specification and ONNX Runtime agree to the last bit, however it is run."""

from __future__ import annotations

import collections
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import checker

from models.canonical import from_onnx, to_onnx
from models.form import check_network
from models.integer_ops import SUM_LIMIT, compute_channel_bounds
from models.interpreter import apply, run
from models.network import Add, AveragePool, Conv, Dense, IntegerNetwork, MaxPool, Pad, Reshape
from models.runtime import Optimisation, Runtime
from tests.models.random_graphs import OPERATORS, STYLES, graph_rows, random_graph

LEVELS: tuple[Optimisation, ...] = ("none", "basic", "extended", "all")
GRAPHS = st.builds(
    random_graph,
    st.integers(0, 1 << 32),
    st.sampled_from(STYLES),
    st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=9),
)


@functools.cache
def fixed_graphs() -> tuple[IntegerNetwork, ...]:
    """Networks that do not change from run to run: every style of weights, every operator."""
    rng = np.random.default_rng(11)
    return tuple(
        random_graph(seed, STYLES[seed % len(STYLES)], [*rng.permutation(OPERATORS), "conv", "add"])
        for seed in range(40)
    )


@settings(max_examples=60, deadline=None)
@given(GRAPHS, st.integers(0, 1 << 32))
def test_runtime_equals_specification_at_every_level_thread_count_and_batch(graph: IntegerNetwork, seed: int) -> None:
    rows = graph_rows(graph, 70, np.random.default_rng(seed))
    specified = run(graph, rows)
    for level in LEVELS:
        for threads in (1, 2):
            runtime = Runtime(graph, threads, level)
            for batch in (1, 7, 64, len(rows)):
                part = rows if batch > 1 else rows[:9]
                cuts = range(0, len(part), batch)
                found = np.concatenate([runtime.run(part[start : start + batch]) for start in cuts])
                np.testing.assert_array_equal(
                    found, specified[: len(part)], f"{level}, {threads} threads, batch {batch}"
                )


@settings(max_examples=100, deadline=None)
@given(GRAPHS)
def test_a_graph_survives_the_file_bit_for_bit(graph: IntegerNetwork) -> None:
    check_network(graph)
    model = to_onnx(graph)
    checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    again = from_onnx(data)
    assert to_onnx(again).SerializeToString(deterministic=True) == data
    assert (again.reads, again.shapes, again.macs) == (graph.reads, graph.shapes, graph.macs)
    assert list(map(type, again.operators)) == list(map(type, graph.operators))


def test_the_fixed_graphs_reach_every_operator_and_the_hazards_they_are_made_for() -> None:
    seen: collections.Counter[str] = collections.Counter()
    hazards: collections.Counter[str] = collections.Counter()
    rng = np.random.default_rng(3)
    for graph in fixed_graphs():
        values = [graph_rows(graph, 20, rng).astype(np.int64)]
        for operator, read in zip(graph.operators, graph.reads, strict=True):
            seen[type(operator).__name__] += 1
            values.append(apply(operator, [values[value] for value in read]))
            if isinstance(operator, Dense | Conv | Add):
                hazards["at the bound"] += (
                    compute_channel_bounds(operator.weights, operator.bias).max() == SUM_LIMIT - 1
                )
                hazards["at the weight limit"] += bool(np.abs(operator.weights).max() == 63)
            if isinstance(operator, Conv | Add):
                hazards["saturated"] += bool((values[-1] == 255).any() and (values[-1] == 0).any())
                plain = type(operator)(**{**vars(operator), "shifts": np.zeros_like(operator.shifts)})
                power = (1 << operator.shifts.astype(np.int64)).reshape(-1, *(1,) * (values[-1].ndim - 2))
                sums = apply(plain, [values[value] for value in read])  # sums of 0 … 255: enough to see a tie
                hazards["tie"] += bool(((power > 1) & (sums % power == power // 2)).any())
            hazards["grouped"] += isinstance(operator, Conv) and 1 < operator.groups < operator.weights.shape[0]
            hazards["depthwise"] += isinstance(operator, Conv) and operator.weights.shape[1] == 1 < operator.groups
            hazards["one dimension"] += isinstance(operator, Conv) and len(operator.kernel) == 1
            hazards["padded average"] += isinstance(operator, AveragePool) and any(map(any, operator.pads))
        hazards["value read twice"] += len({v for r in graph.reads for v in r}) < sum(map(len, graph.reads))
    assert len(seen) == 10 and min(seen.values()) >= 10, seen
    assert len(hazards) == 9 and min(hazards.values()) >= 5, hazards


@pytest.mark.parametrize("level", LEVELS)
def test_the_fixed_graphs_agree(level: Optimisation) -> None:
    for index, graph in enumerate(fixed_graphs()):
        rows = graph_rows(graph, 200, np.random.default_rng(index))
        np.testing.assert_array_equal(Runtime(graph, optimisation=level).run(rows), run(graph, rows), f"graph {index}")


def test_one_changed_entry_of_a_table_or_weight_is_a_difference_that_the_comparison_sees() -> None:
    changed = compared = 0
    for graph in fixed_graphs():
        rows = graph_rows(graph, 50, np.random.default_rng(0))
        for index, operator in enumerate(graph.operators):
            if isinstance(operator, Conv):
                weights = np.where(operator.weights == 63, -63, operator.weights + 1).astype(np.int8)
                other = Conv(
                    weights, operator.bias // 2, operator.shifts, operator.strides, operator.pads, operator.groups
                )
                operators = (*graph.operators[:index], other, *graph.operators[index + 1 :])
                compared += 1
                changed += bool((run(IntegerNetwork(operators, graph.reads), rows) != Runtime(graph).run(rows)).any())
    assert changed > compared // 4 > 5


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("pool", [MaxPool, AveragePool])
def test_a_pad_that_onnx_runtime_fuses_into_a_pool_changes_nothing(
    level: Optimisation, pool: type[MaxPool | AveragePool]
) -> None:
    """PadFusion moves zeros into the pool behind them; other values and pads that pass a kernel do not come that far."""
    none = ((0, 0), (0, 0))
    for value, around, kernel in ((0, 1, 2), (0, 3, 4), (9, 3, 2)):
        size = 4 + 2 * around - kernel + 1
        last = Dense(np.ones((1, 2 * size * size), np.int8), np.zeros(1, np.int32), None)
        padded = Pad(((around, around),) * 2, value)
        window = pool((kernel, kernel), (1, 1), none)
        graph = IntegerNetwork((Reshape((2, 4, 4)), padded, window, Reshape((2 * size * size,)), last))
        rows = graph_rows(graph, 50, np.random.default_rng(value))
        np.testing.assert_array_equal(Runtime(graph, optimisation=level).run(rows), run(graph, rows))
