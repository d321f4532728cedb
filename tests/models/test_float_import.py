"""What PyTorch, Keras and scikit-learn export is read as what ONNX Runtime computes, and quantised to what it decides."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from models import float_functions
from models.canonical import from_onnx, to_onnx
from models.float_model import run_float
from models.float_reader import read_float_model
from models.interpreter import run
from models.network import Conv, Dense, Table
from models.program import compile_network
from models.quantizer import Calibration, CannotQuantize, calibrate, quantize
from models.runtime import Runtime, onnxruntime
from models.scaling import fit
from tests.models.exported_models import EXPORTS, Graph, normalised, pytorch_cnn
from tests.requirements import missing


def images(length: int, count: int, seed: int) -> np.ndarray:
    """uint8 (count, length): noise of a different brightness and contrast in each row."""
    rng = np.random.default_rng(seed)
    centre, spread = rng.uniform(40, 215, (count, 1)), rng.uniform(10, 90, (count, 1))
    return np.clip(rng.normal(centre, spread, (count, length)), 0, 255).astype(np.uint8)


def float_outputs(model: bytes, rows: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    shape = list(session.get_inputs()[0].shape[1:])
    outputs: np.ndarray = session.run(
        None, {session.get_inputs()[0].name: rows.reshape(-1, *shape).astype(np.float32)}
    )[0]
    return outputs


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_read_as_what_onnx_runtime_computes(name: str) -> None:
    model = EXPORTS[name]()
    network, dropped = read_float_model(model)
    rows = images(network.row_length, 40, seed=1)
    logits = run_float(network, rows)
    found = softmax(logits) if dropped == ("Softmax",) else logits
    np.testing.assert_allclose(found, float_outputs(model, rows), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_keeps_its_logits_and_verdicts_on_new_rows(name: str) -> None:
    model = EXPORTS[name]()
    network, _ = read_float_model(model)
    made = quantize(model, images(network.row_length, 300, seed=2))
    fresh = images(network.row_length, 300, seed=3)
    wanted = run_float(network, fresh)
    specified = run(made.network, fresh)
    np.testing.assert_array_equal(Runtime(made.network).run(fresh), specified)
    assert to_onnx(from_onnx(to_onnx(made.network).SerializeToString())) == to_onnx(made.network)
    error = np.sqrt(((specified / made.logits_per_unit - wanted) ** 2).mean()) / wanted.std()
    agreement = (specified.argmax(axis=1) == wanted.argmax(axis=1)).mean()
    print(f"{name}: error {error:.4f}, agreement {agreement:.3f}, {len(made.network.operators)} operators")
    assert error < 0.1
    assert agreement > 0.9


@pytest.mark.parametrize("operator", [*float_functions.PLAIN, *float_functions.ATTRIBUTES])
def test_each_function_is_what_onnx_runtime_computes_and_becomes_a_table(operator: str) -> None:
    graph = Graph((5,), seed=9)
    value = graph.gemm(graph.node("Mul", "x", graph.constant(1 / 64)), 5, 7)
    if operator in ("Log", "Sqrt", "Reciprocal"):  # where their argument is positive
        value = graph.node("Add", graph.node("Mul", value, value), graph.constant(0.5))
    value = graph.node(operator, value)
    model = graph.model(graph.gemm(value, 7, 3), opset=24)
    rows = images(5, 300, seed=4)
    network, _ = read_float_model(model)
    try:
        theirs = float_outputs(model, rows)
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        theirs = None  # too new for this runtime
    if theirs is not None:
        np.testing.assert_allclose(run_float(network, rows), theirs, rtol=1e-3, atol=1e-4)
    made = quantize(model, rows)
    found = run(made.network, rows) / made.logits_per_unit
    wanted = run_float(network, rows)
    jumps = operator in ("Floor", "Ceil", "Round", "Sign", "ThresholdedRelu")
    assert np.sqrt(((found - wanted) ** 2).mean()) < (0.25 if jumps else 0.06) * wanted.std()
    if operator not in ("Relu", "Neg"):
        assert any(isinstance(each, Table) for each in made.network.operators)


def test_a_function_of_a_scaled_value_is_the_whole_function() -> None:
    """Sigmoid(0.05·x + 1) is not flat where Sigmoid(x) is: what is cut off is where the table does not change."""
    graph = Graph((3,), seed=10)
    value = graph.node("Add", graph.node("Mul", graph.gemm("x", 3, 4), graph.constant(0.05)), graph.constant(1.0))
    model = graph.model(graph.gemm(graph.node("Sigmoid", value), 4, 2))
    rows = images(3, 400, seed=5)
    network, _ = read_float_model(model)
    np.testing.assert_allclose(run_float(network, rows), float_outputs(model, rows), atol=1e-4)
    made = quantize(model, rows)
    wanted = run_float(network, rows)
    assert np.abs(run(made.network, rows) / made.logits_per_unit - wanted).max() < 0.05 * np.ptp(wanted)


def test_zero_padding_after_a_normalisation_is_padding_with_what_stands_for_zero() -> None:
    """Bytes of 0 are not 0 once a mean is taken off them: the borders of an image tell the difference."""
    graph = Graph((3, 4, 4), seed=11)
    value = graph.conv(normalised(graph), 3, 4, pads=[1] * 4)  # nearly every window touches the border
    model = graph.model(graph.gemm(graph.node("Flatten", graph.node("Relu", value)), 64, 3))
    rows = images(48, 400, seed=6)
    made = quantize(model, rows)
    wanted = run_float(read_float_model(model)[0], rows)
    assert np.abs(run(made.network, rows) / made.logits_per_unit - wanted).max() < 0.12 * wanted.std()


def test_a_relu6_saturates_where_the_float_model_does() -> None:
    graph = Graph((2,), seed=12)
    value = graph.gemm(graph.node("Mul", "x", graph.constant(1 / 16)), 2, 6)
    value = graph.node("Clip", value, graph.constant(0.0), graph.constant(6.0))
    model = graph.model(graph.gemm(value, 6, 2))
    made = quantize(model, images(2, 400, seed=7))
    fresh = images(2, 400, seed=8)
    wanted = run_float(read_float_model(model)[0], fresh)
    assert np.abs(run(made.network, fresh) / made.logits_per_unit - wanted).max() < 0.05 * wanted.std()


def test_a_flattened_image_before_dense_layers_alone_is_executable_on_chain() -> None:
    graph = Graph((1, 4, 4), seed=13)
    value = graph.node("Relu", graph.gemm(graph.node("Flatten", "x"), 16, 8))
    made = quantize(graph.model(graph.gemm(value, 8, 3)), images(16, 50, seed=9))
    assert [type(each) for each in made.network.operators] == [Dense, Dense]
    assert compile_network(made.network)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kinds", [("QUInt8", "QInt8"), ("QInt8", "QInt8")])
def test_a_qdq_model_is_quantised_again(tmp_path: Path, per_channel: bool, kinds: tuple[str, str]) -> None:
    """What ONNX Runtime's own static quantisation makes of the CNN, its QuantizeLinear nodes undone."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    rows = images(432, 64, seed=10)

    class Rows(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [row.reshape(1, 3, 12, 12).astype(np.float32) for row in rows]

        def get_next(self) -> Any:
            return {"x": self.left.pop()} if self.left else None

    source, target = tmp_path / "float.onnx", tmp_path / "qdq.onnx"
    source.write_bytes(pytorch_cnn())
    activation, weight = (getattr(QuantType, kind) for kind in kinds)
    options = {"per_channel": per_channel, "activation_type": activation, "weight_type": weight}
    quantize_static(source, target, Rows(), quant_format=QuantFormat.QDQ, **options)
    fresh = images(432, 300, seed=11)
    made = quantize(target, images(432, 300, seed=2))
    assert sum(isinstance(each, Conv) for each in made.network.operators) <= 5
    theirs = float_outputs(target.read_bytes(), fresh)
    found = run(made.network, fresh)
    error = np.sqrt(((found / made.logits_per_unit - theirs) ** 2).mean()) / theirs.std()
    assert error < 0.15
    assert (found.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.85


def sklearn_model(name: str) -> tuple[Any, Any]:
    """A trained pipeline, and its data."""
    from sklearn.datasets import load_breast_cancer, load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    scaler, kind, classes = name.split("-")
    data = load_wine() if classes == "three" else load_breast_cancer()
    estimators = {
        "relu": MLPClassifier((16, 8), max_iter=80, random_state=0),
        "tanh": MLPClassifier((16,), activation="tanh", max_iter=80, random_state=0),
        "logistic": MLPClassifier((16,), activation="logistic", max_iter=80, random_state=0),
        "linear": LogisticRegression(max_iter=200),
    }
    pipeline = make_pipeline(StandardScaler() if scaler == "standard" else MinMaxScaler(), estimators[kind])
    return pipeline.fit(data.data.astype(np.float32), data.target), data


@pytest.mark.parametrize("zipmap", [False, True])
@pytest.mark.parametrize("classes", ["two", "three"])
@pytest.mark.parametrize("kind", ["relu", "tanh", "logistic", "linear"])
@pytest.mark.parametrize("scaler", ["standard", "minmax"])
@pytest.mark.filterwarnings("ignore")
def test_a_scikit_learn_pipeline_is_quantised_to_what_it_predicts(
    scaler: str, kind: str, classes: str, zipmap: bool
) -> None:
    try:
        import skl2onnx
    except ImportError:
        missing("skl2onnx", "pip install 'quorate[dev]'")
    pipeline, data = sklearn_model(f"{scaler}-{kind}-{classes}")
    features = data.data.astype(np.float32)
    model = skl2onnx.to_onnx(pipeline, features[:1], options={"zipmap": zipmap}).SerializeToString()
    scaling = fit([f"f{column}" for column in range(features.shape[1])], data.data)
    rows = scaling.to_rows(data.data)
    made = quantize(model, rows, scaling, data.target)
    predictions = pipeline.predict(scaling.to_features(rows).astype(np.float32))
    logits = run(made.network, rows)
    found = (logits[:, 0] > 0).astype(int) if logits.shape[1] == 1 else logits.argmax(axis=1)
    assert (found == predictions).mean() > 0.98
    assert made.integer_accuracy is not None and made.float_accuracy is not None
    assert abs(made.integer_accuracy - made.float_accuracy) < 0.02
    assert made.dropped or kind == "linear"
    if kind in ("relu", "linear"):
        assert compile_network(made.network)


@pytest.mark.parametrize("calibration", ["largest", "percentile", "mse"])
def test_every_calibration_keeps_the_verdicts(calibration: Calibration) -> None:
    model = pytorch_cnn()
    made = quantize(model, images(432, 200, seed=2), calibration=calibration)
    fresh = images(432, 200, seed=3)
    wanted = run_float(read_float_model(model)[0], fresh)
    assert (run(made.network, fresh).argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.93


def test_the_least_squares_cut_stores_heavy_tails_better_than_their_largest_value_does() -> None:
    real = np.abs(np.random.default_rng(1).standard_t(3, (400_000, 3)) * [1, 10, 100])
    errors = []
    for method in ("largest", "mse"):
        _, high = calibrate(real, method)
        step = high / 255
        errors.append(((np.clip(np.rint(real / step), 0, 255) * step - real) ** 2).mean(axis=0))
    assert (errors[1] < 0.9 * errors[0]).all()


def test_percentiles_do_not_let_one_outlier_take_all_the_steps() -> None:
    """One row in 20,000 is a hundred times brighter than the rest: the largest value leaves those few steps."""
    graph = Graph((2,), seed=14)
    weights = graph.constant([[0.01, 0.0], [0.0, 1.0]])
    hidden = graph.node("Relu", graph.node("Gemm", "x", weights, graph.constant([0.0, 0.0]), transB=1))
    squashed = graph.node(
        "Tanh", graph.node("Gemm", hidden, graph.constant([[1.0, 1.0]]), graph.constant([0.0]), transB=1)
    )
    model = graph.model(graph.gemm(squashed, 1, 2))
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(0, 256, 20_000), np.zeros(20_000, int)], axis=1).astype(np.uint8)
    rows[7, 1] = 255
    wanted = run_float(read_float_model(model)[0], rows)
    errors = {}
    calibrations: tuple[Calibration, ...] = ("largest", "percentile")
    for calibration in calibrations:
        made = quantize(model, rows, calibration=calibration)
        found = run(made.network, rows) / made.logits_per_unit
        errors[calibration] = float(np.sqrt(((found - wanted) ** 2)[rows[:, 1] == 0].mean()))
    assert errors["percentile"] < 0.1 * errors["largest"]


def test_the_report_names_the_rows_on_which_the_models_differ_most() -> None:
    model = pytorch_cnn()
    rows = images(432, 300, seed=2)
    made = quantize(model, rows, labels=np.zeros(300, np.int64))
    wanted, found = run_float(read_float_model(model)[0], rows), run(made.network, rows)
    differing = np.flatnonzero(wanted.argmax(axis=1) != found.argmax(axis=1))
    errors = np.abs(found / made.logits_per_unit - wanted).max(axis=1)
    assert len(made.worst) == 5 and made.agreement == 1 - len(differing) / 300
    assert made.float_accuracy == (wanted.argmax(axis=1) == 0).mean()
    assert {worst.index for worst in made.worst[: len(differing)]} <= set(differing.tolist())
    for worst in made.worst:
        assert worst.error == errors[worst.index]
        assert worst.float_class == wanted[worst.index].argmax() and worst.integer_class == found[worst.index].argmax()
    assert len(differing) > 0  # so that they have something to name


def test_a_value_that_is_never_finite_is_refused_by_node() -> None:
    graph = Graph((2,), seed=15)
    value = graph.node("Log", graph.node("Neg", graph.node("Abs", "x")), name="bad log")
    model = graph.model(graph.gemm(value, 2, 2))
    with pytest.raises(CannotQuantize, match=r"bad log.*NaN or infinity on the calibration rows"):
        quantize(model, images(2, 20, seed=1))


def one_node(operator: str, shape: tuple[int, ...], *constants: Any, **attributes: Any) -> bytes:
    """A model of the one node, called 'odd', and a Flatten and Gemm after it if it gives anything."""
    graph = Graph(shape, seed=16)
    names = [graph.constant(each, np.int64 if np.asarray(each).dtype.kind == "i" else np.float32) for each in constants]
    graph.nodes.append(onnx.helper.make_node(operator, ["x", *names], ["odd value"], "odd", **attributes))
    value = graph.node("Flatten", "odd value")
    return graph.model(graph.gemm(value, 4, 2))


REFUSED = [
    ("operator", one_node("LSTM", (4,)), "convolution over time"),
    ("operator", one_node("ConvTranspose", (1, 2, 2), np.ones((1, 1, 1, 1))), "Conv"),
    ("operator", one_node("Frobnicate", (4,)), "not known here"),
    ("operator", one_node("Div", (4,), 0.0), "divides by zero"),
    ("operator", one_node("PRelu", (4,), np.arange(4.0)), "slopes differ"),
    ("attribute", one_node("Concat", (2, 2), axis=2), "axis 2"),
    ("attribute", one_node("Transpose", (2, 2), perm=[1, 0, 2]), "rows' dimension"),
    ("attribute", one_node("MaxPool", (1, 4, 4), kernel_shape=[2, 2], dilations=[2, 2]), "pool plainly"),
    ("attribute", one_node("AveragePool", (1, 2, 2), kernel_shape=[3, 3], pads=[1] * 4), "count_include_pad"),
    ("attribute", one_node("Pad", (1, 2, 2), [0, 1, 0, 0, 0, 1, 0, 0], 0.0), "rows and channels"),
    ("attribute", one_node("Pad", (1, 2, 2), [0, 0, 0, 0, 0, 0, 0, 0], 0.0, mode="reflect"), "mode constant"),
    ("attribute", one_node("Cast", (4,), to=onnx.TensorProto.INT32), "stay floats"),
    ("attribute", one_node("Clip", (4,), 3.0, 1.0), "which is nothing"),
    ("attribute", one_node("ReduceMean", (2, 2, 2), axes=[1], keepdims=0), "only all dimensions"),
    ("attribute", one_node("LeakyRelu", (4,), alpha=math.inf), "finite"),
    ("attribute", one_node("Relu", (4,), beta=1.0), "'beta' is not accepted"),
    ("shape", one_node("Conv", (1, 2, 2, 2), np.ones((1, 1, 1, 1, 1))), "one or two dimensions"),
    ("shape", one_node("Conv", (2, 2, 2), np.ones((1, 3, 1, 1))), "reads 3 channels"),
    ("shape", one_node("Conv", (1, 2, 2), np.ones((1, 1, 3, 3))), "larger than the value"),
    ("shape", one_node("Reshape", (4,), [3, -1]), "keep the rows"),
    ("shape", one_node("Reshape", (4,), [0, 5]), "keep their number"),
    ("shape", one_node("Add", (4,), np.ones((5,))), "constant of shape (5,)"),
    ("shape", one_node("Add", (4,), np.ones((3, 4))), "differs from row to row"),
    ("shape", one_node("BatchNormalization", (4,), *[np.ones(3)] * 4), "constants of 4 channels"),
    ("shape", one_node("Squeeze", (4,), [1]), "are not 1"),
    ("tensor", one_node("Mul", (4,), np.array([1, np.nan, 1, 1])), "NaN or infinity"),
    ("tensor", one_node("BatchNormalization", (4,), *[np.ones(4)] * 3, -np.ones(4)), "not positive"),
]


@pytest.mark.parametrize(("rule", "model", "advice"), REFUSED, ids=[each[2] for each in REFUSED])
def test_what_has_no_integer_form_is_refused_by_node_with_advice(rule: str, model: bytes, advice: str) -> None:
    with pytest.raises(CannotQuantize) as refused:
        read_float_model(model)
    assert refused.value.rule == rule and "'odd'" in refused.value.node, str(refused.value)
    assert advice in refused.value.advice


def test_the_product_of_two_values_is_refused_by_node() -> None:
    graph = Graph((4,), seed=17)
    gate = graph.node("Sigmoid", graph.gemm("x", 4, 4))
    gated = graph.node("Mul", graph.gemm("x", 4, 4), gate, name="gate")
    with pytest.raises(CannotQuantize, match=r"'gate'.*two different values are multiplied"):
        read_float_model(graph.model(graph.gemm(gated, 4, 2)))


def test_a_model_with_two_verdicts_is_refused() -> None:
    graph = Graph((4,), seed=18)
    one, other = graph.gemm("x", 4, 2), graph.gemm("x", 4, 3)
    with pytest.raises(CannotQuantize, match="outputs come from 2 values: keep one"):
        read_float_model(graph.model(one, other))


def test_a_small_cnn_on_real_digits_loses_next_to_nothing() -> None:
    """Fixed random filters, a head trained on 1,197 of scikit-learn's digits, judged on the 600 others."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    digits = load_digits()
    rows = np.minimum(digits.images.reshape(-1, 64) * 16, 255).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(rows))
    training, testing = order[:1197], order[1197:]

    def features(graph: Graph) -> str:
        value = graph.conv(graph.node("Div", "x", graph.constant(255.0)), 1, 24, pads=[1] * 4)
        value = graph.node("MaxPool", graph.node("Relu", value), kernel_shape=[2, 2], strides=[2, 2])
        return graph.node("Flatten", value)

    extractor = Graph((1, 8, 8), seed=19)
    head = LogisticRegression(C=0.3, max_iter=2000)
    head.fit(float_outputs(extractor.model(features(extractor)), rows[training]), digits.target[training])
    graph = Graph((1, 8, 8), seed=19)
    value = features(graph)
    model = graph.model(
        graph.node("Gemm", value, graph.constant(head.coef_), graph.constant(head.intercept_), transB=1)
    )
    made = quantize(model, rows[training], labels=digits.target[training])
    truth = digits.target[testing]
    by_float = (run_float(read_float_model(model)[0], rows[testing]).argmax(axis=1) == truth).mean()
    by_integers = (Runtime(made.network).run(rows[testing]).argmax(axis=1) == truth).mean()
    print(f"float {by_float:.4f}, integer {by_integers:.4f}, {made.network.macs:,} multiplications")
    assert by_float > 0.96 and by_integers > by_float - 0.005
