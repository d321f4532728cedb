"""The quantiser keeps the float model's verdicts, stays within the canonical form, and refuses by node what it cannot do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from models.canonical import from_onnx, to_onnx
from models.form import check_network
from models.interpreter import run
from models.quantizer import CannotQuantize, quantize, read_float_model, run_float
from models.runtime import Runtime, onnxruntime
from models.scaling import Scaling

Arrays = list[tuple[np.ndarray, np.ndarray]]


def random_layers(widths: list[int], seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    layers = []
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        spread = (1 / 128 if index == 0 else 1) * (2 / inputs) ** 0.5
        layers.append((rng.normal(0, spread, (outputs, inputs)), rng.normal(0, 0.1, outputs)))
    return layers


def float_model(layers: Arrays, tail: tuple[str, ...] = (), is_matmul: bool = False) -> ModelProto:
    nodes, constants = [], []
    value = "x"
    for index, (weights, bias) in enumerate(layers):
        matrix = weights.T if is_matmul else weights
        constants.append(numpy_helper.from_array(np.ascontiguousarray(matrix, np.float32), f"w{index}"))
        constants.append(numpy_helper.from_array(bias.astype(np.float32), f"b{index}"))
        if is_matmul:
            nodes.append(helper.make_node("MatMul", [value, f"w{index}"], [f"m{index}"], f"matmul{index}"))
            nodes.append(helper.make_node("Add", [f"m{index}", f"b{index}"], [f"s{index}"], f"add{index}"))
        else:
            inputs = [value, f"w{index}", f"b{index}"]
            nodes.append(helper.make_node("Gemm", inputs, [f"s{index}"], f"gemm{index}", transB=1))
        value = f"s{index}"
        if index < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [value], [f"r{index}"], f"relu{index}"))
            value = f"r{index}"
    for operator in tail:
        nodes.append(helper.make_node(operator, [value], [operator.lower()], f"tail {operator}"))
        value = operator.lower()
    graph = helper.make_graph(
        nodes,
        "float",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", layers[0][0].shape[1]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def random_rows(count: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, length), dtype=np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.integers(0, 1 << 30))
def test_whatever_is_quantised_is_canonical_and_runs_exactly(widths: list[int], seed: int) -> None:
    rows = random_rows(64, widths[0], seed)
    network = quantize(float_model(random_layers(widths, seed)).SerializeToString(), rows).network
    check_network(network)
    assert to_onnx(from_onnx(to_onnx(network).SerializeToString())) == to_onnx(network)
    np.testing.assert_array_equal(Runtime(network).run(rows), run(network, rows))


@pytest.mark.parametrize("widths", [[13, 32, 16, 3], [64, 128, 64, 10], [30, 2], [400, 50, 1]])
def test_the_integer_network_follows_the_float_model_on_new_rows(widths: list[int]) -> None:
    layers = random_layers(widths, seed=3)
    model = float_model(layers).SerializeToString()
    result = quantize(model, random_rows(500, widths[0], seed=1))
    fresh = random_rows(2000, widths[0], seed=2)
    wanted = run_float(read_float_model(model)[0], fresh)
    found = run(result.network, fresh) / result.logits_per_unit
    error = np.sqrt(((found - wanted) ** 2).mean()) / wanted.std()
    assert error < 0.06
    assert result.agreement > 0.93


def test_the_float_reading_is_what_onnx_runtime_computes() -> None:
    for is_matmul in (False, True):
        data = float_model(random_layers([9, 17, 4], seed=5), is_matmul=is_matmul).SerializeToString()
        rows = random_rows(100, 9)
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        theirs = session.run(None, {"x": rows.astype(np.float32)})[0]
        np.testing.assert_allclose(run_float(read_float_model(data)[0], rows), theirs, rtol=1e-4, atol=1e-4)


def test_gemm_and_matmul_spellings_give_the_same_network() -> None:
    layers, rows = random_layers([9, 17, 4], seed=5), random_rows(100, 9)
    one = quantize(float_model(layers).SerializeToString(), rows).network
    other = quantize(float_model(layers, is_matmul=True).SerializeToString(), rows).network
    assert to_onnx(one) == to_onnx(other)


def test_gemm_factors_are_honoured() -> None:
    (weights, bias), rows = random_layers([9, 4], seed=5)[0], random_rows(50, 9)
    model = float_model([(weights / 3, bias / 2)])
    model.graph.node[0].attribute.extend([helper.make_attribute("alpha", 3.0), helper.make_attribute("beta", 2.0)])
    plain = read_float_model(float_model([(weights, bias)]).SerializeToString())[0]
    scaled = read_float_model(model.SerializeToString())[0]
    np.testing.assert_allclose(run_float(scaled, rows), run_float(plain, rows), rtol=1e-5)


@pytest.mark.parametrize("tail", [("Softmax",), ("ArgMax",), ("LogSoftmax", "ArgMax")])
def test_a_tail_that_keeps_the_verdict_is_dropped_and_said_so(tail: tuple[str, ...]) -> None:
    layers, rows = random_layers([9, 17, 4], seed=5), random_rows(100, 9)
    result = quantize(float_model(layers, tail).SerializeToString(), rows)
    assert result.dropped == tail
    assert to_onnx(result.network) == to_onnx(quantize(float_model(layers).SerializeToString(), rows).network)


def test_a_scaling_lets_the_model_read_raw_features() -> None:
    scaling = Scaling(("a", "b", "c"), (-5.0, 100.0, 0.0), (5.0, 900.0, 1e-3))
    rng = np.random.default_rng(0)
    raw = [(rng.normal(0, 1, (8, 3)) / [5, 400, 5e-4], rng.normal(0, 1, 8)), (rng.normal(0, 1, (2, 8)), np.zeros(2))]
    model = float_model(raw).SerializeToString()
    rows = random_rows(500, 3)
    labels = np.argmax(run_float(read_float_model(model)[0], scaling.to_features(rows)), axis=1)
    result = quantize(model, rows, scaling, labels)
    assert result.float_accuracy == 1.0
    assert result.integer_accuracy == result.agreement > 0.97


def test_labels_give_accuracies_and_none_gives_none() -> None:
    model, rows = float_model(random_layers([9, 4], seed=1)).SerializeToString(), random_rows(50, 9)
    bare = quantize(model, rows)
    assert bare.float_accuracy is None and bare.integer_accuracy is None
    wrong = (np.argmax(run(bare.network, rows), axis=1) + 1) % 4
    assert quantize(model, rows, labels=wrong).integer_accuracy == 0.0


def test_dead_constant_and_vanishing_channels_do_no_harm() -> None:
    hidden = np.array([[0.0, 0, 0], [1e-30, -1e-30, 0], [1e-38, 0, 0], [0.1, -0.2, 0.3], [-0.1, -0.1, -0.1]])
    bias = np.array([0.0, 1e4, 0.0, 1.0, -5.0])
    layers = [(hidden, bias), (np.array([[1.0, 1e-4, 1, 1, 1], [0, 2e-4, 0, -1, 0]]), np.zeros(2))]
    rows = random_rows(300, 3)
    result = quantize(float_model(layers).SerializeToString(), rows)
    assert result.agreement > 0.95


def test_the_sum_bound_shrinks_the_weights_of_a_wide_layer() -> None:
    layers = [(np.full((1, 4000), 1 / 4000), np.zeros(1))]
    result = quantize(float_model(layers).SerializeToString(), random_rows(20, 4000))
    assert 4 <= int(result.network.layers[0].weights.max()) < 63


Change = Callable[[ModelProto], None]


def recurrence_between(model: ModelProto) -> None:
    model.graph.node[1].op_type = "RNN"


def convolution(model: ModelProto) -> None:
    model.graph.node[0].op_type = "Conv"


def relu_at_the_end(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["s1"], ["last"], "last relu"))
    model.graph.output[0].name = "last"


def branch(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["r0"], ["more"], "branch"))


def stray(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["w0"], ["stray"], "stray"))


def loop(model: ModelProto) -> None:
    model.graph.node[2].output[0] = "unused"
    model.graph.node.append(helper.make_node("Relu", ["unused"], ["x2"], "back"))
    model.graph.node[0].input[0] = "x2"


def integer_weights(model: ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((17, 9), np.int8), "w0"))


def infinite_weights(model: ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((17, 9), np.inf, np.float32), "w0"))


def weights_of_rank_three(model: ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((17, 9, 1), np.float32), "w0"))


def unfit_layers(model: ModelProto) -> None:
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.ones((4, 5), np.float32), "w1"))


def unfit_bias(model: ModelProto) -> None:
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.ones(3, np.float32), "b0"))


def computed_weights(model: ModelProto) -> None:
    model.graph.node[0].input[1] = "nowhere"


def transposed_rows(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("transA", 1))


def integer_input(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def external_weights(model: ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def output_elsewhere(model: ModelProto) -> None:
    model.graph.output[0].name = "elsewhere"


@pytest.mark.parametrize(
    ("change", "rule", "where"),
    [
        (recurrence_between, "operator", "relu0"),
        (convolution, "shape", "gemm0"),
        (relu_at_the_end, "operator", "last relu"),
        (branch, "chain", "branch"),
        (stray, "chain", "stray"),
        (loop, "chain", "gemm0"),
        (integer_weights, "tensor", "gemm0"),
        (infinite_weights, "tensor", "gemm0"),
        (weights_of_rank_three, "shape", "gemm0"),
        (unfit_layers, "shape", "gemm1"),
        (unfit_bias, "shape", "gemm0"),
        (computed_weights, "constant", "gemm0"),
        (transposed_rows, "attribute", "gemm0"),
        (integer_input, "input", "graph"),
        (external_weights, "external-data", "gemm0"),
        (output_elsewhere, "chain", "gemm0"),
    ],
)
def test_what_cannot_be_quantised_is_refused_by_node_with_advice(change: Change, rule: str, where: str) -> None:
    model = float_model(random_layers([9, 17, 4], seed=5))
    change(model)
    with pytest.raises(CannotQuantize) as refused:
        quantize(model.SerializeToString(), random_rows(10, 9))
    assert refused.value.rule == rule and where in refused.value.node
    assert refused.value.advice


def test_a_layer_too_wide_for_exact_sums_is_refused() -> None:
    layers = [(np.full((1, 40_000), 0.01), np.zeros(1))]
    with pytest.raises(CannotQuantize, match=r"gemm0.*sum-bound: channel 0 sums 40000 inputs"):
        quantize(float_model(layers).SerializeToString(), random_rows(2, 40_000))


def test_unfit_rows_labels_and_scalings_are_refused() -> None:
    model = float_model(random_layers([9, 4], seed=1)).SerializeToString()
    with pytest.raises(ValueError, match="reads 9 features"):
        quantize(model, random_rows(10, 8))
    with pytest.raises(ValueError, match="reads 9 features"):
        quantize(model, random_rows(0, 9))
    with pytest.raises(ValueError, match="must be uint8"):
        quantize(model, random_rows(10, 9).astype(np.float64))
    with pytest.raises(ValueError, match="as many labels"):
        quantize(model, random_rows(10, 9), labels=np.zeros(9, np.int64))
    with pytest.raises(CannotQuantize, match="the scaling has 1"):
        quantize(model, random_rows(10, 9), Scaling(("a",), (0.0,), (1.0,)))


def test_a_feature_that_hardly_varies_does_not_round_the_others_away() -> None:
    """Divided by its deviation it gets a weight that would leave the rest of its channel next to no steps."""
    weights, bias = random_layers([12, 8], seed=2)[0]
    weights[:, 0] *= 400
    rows = random_rows(600, 12, seed=3)
    rows[:, 0] = np.arange(600) % 200 == 0
    model = float_model([(weights, bias), (np.eye(3, 8), np.zeros(3))]).SerializeToString()
    made = quantize(model, rows)
    share = made.comparison.typical_error / made.comparison.spread
    assert share < 0.1, share
    assert made.agreement > 0.93


def test_weights_that_do_not_stand_out_are_not_clipped() -> None:
    layers, rows = random_layers([20, 16, 3], seed=4), random_rows(200, 20)
    network = quantize(float_model(layers).SerializeToString(), rows).network
    assert (np.abs(network.layers[0].weights.astype(int)).max(axis=1) == 63).all()
    assert (np.sort(np.abs(network.layers[0].weights.astype(int)), axis=1)[:, -2] < 63).any()


def test_other_rows_are_compared_as_both_models_compute_them() -> None:
    model, fresh = float_model(random_layers([9, 17, 4], seed=5)).SerializeToString(), random_rows(70, 9, seed=8)
    made = quantize(model, random_rows(200, 9))
    labels = np.arange(70) % 4
    found = made.compare(fresh, labels)
    wanted = run_float(read_float_model(model)[0], fresh)
    np.testing.assert_array_equal(found.by_float, wanted)
    np.testing.assert_array_equal(np.rint(found.by_integer * made.logits_per_unit), run(made.network, fresh))
    assert found.float_accuracy == (wanted.argmax(axis=1) == labels).mean()
    assert found.largest_error == np.abs(found.by_integer - wanted).max() > 0
    with pytest.raises(ValueError, match="reads 9 features"):
        made.compare(random_rows(3, 8))
    with pytest.raises(ValueError, match="as many labels"):
        made.compare(fresh, labels[1:])


def test_features_that_a_scaling_maps_are_compared_in_the_models_own_units() -> None:
    scaling = Scaling(("a", "b", "c"), (-5.0, 100.0, 0.0), (5.0, 900.0, 1e-3))
    raw = [(np.random.default_rng(0).normal(0, 1, (4, 3)) / [5, 400, 5e-4], np.zeros(4))]
    model, rows = float_model(raw).SerializeToString(), random_rows(50, 3)
    found = quantize(model, rows, scaling).compare(rows)
    np.testing.assert_allclose(
        found.by_float, run_float(read_float_model(model)[0], scaling.to_features(rows)), rtol=1e-9
    )


def test_each_layer_that_rounds_says_what_it_lost() -> None:
    made = quantize(float_model(random_layers([9, 17, 12, 4], seed=5)).SerializeToString(), random_rows(200, 9))
    assert [(loss.becomes, loss.node.split("'")[1]) for loss in made.layers] == [("Dense", "gemm0"), ("Dense", "gemm1")]
    assert all(0 < loss.error < 0.05 for loss in made.layers)


def test_a_sigmoid_of_one_number_is_two_classes_and_a_tie_is_the_first() -> None:
    layers = random_layers([9, 17, 1], seed=6)
    rows = random_rows(300, 9)
    made = quantize(float_model(layers, ("Sigmoid",)).SerializeToString(), rows)
    yes = run_float(read_float_model(float_model(layers).SerializeToString())[0], rows)[:, 0] > 0
    np.testing.assert_array_equal(made.comparison.float_classes, yes)
    assert made.network.output_length == 2 and made.agreement > 0.97
    untrained = [(np.zeros((1, 9)), np.zeros(1))]
    assert not quantize(float_model(untrained, ("Sigmoid",)).SerializeToString(), rows).comparison.integer_classes.any()
