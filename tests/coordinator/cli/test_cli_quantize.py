"""`quorate model quantize` as a data scientist meets it: what it writes, what it reports, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from coordinator.cli.failures import ExitCode
from models.canonical import from_onnx
from models.interpreter import run
from models.zoo import read_card
from tests.coordinator.cli.conftest import Cli
from tests.models.exported_models import Graph

ROWS = 80
Files = dict[str, Path]


def perceptron(tail: str | None = "Softmax", inputs: int = 4, outputs: int = 3) -> bytes:
    graph = Graph((inputs,), seed=3)
    value = graph.gemm(graph.node("Relu", graph.gemm("x", inputs, 6)), 6, outputs)
    return graph.model(value if tail is None else graph.node(tail, value, name="tail"))


def flat_image_model() -> bytes:
    graph = Graph((3, 4, 5), seed=4)
    value = graph.node("Flatten", graph.node("Mul", "x", graph.constant(1 / 128)))
    return graph.model(graph.gemm(graph.node("Relu", graph.gemm(value, 60, 6)), 6, 2))


def save(path: Path, values: Any) -> Path:
    np.save(path, values)
    return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A float model that reads bytes, calibration rows, other rows, and the classes of each."""
    rng = np.random.default_rng(5)
    model = tmp_path / "float.onnx"
    model.write_bytes(perceptron())
    return {
        "model": model,
        "rows": save(tmp_path / "rows.npy", rng.integers(0, 256, (ROWS, 4), np.uint8)),
        "labels": save(tmp_path / "labels.npy", rng.integers(0, 3, ROWS)),
        "test": save(tmp_path / "test.npy", rng.integers(0, 256, (33, 4), np.uint8)),
        "test_labels": save(tmp_path / "test_labels.npy", rng.integers(0, 3, 33)),
        "output": tmp_path / "float.integer.onnx",
    }


def test_the_model_its_report_and_its_plot_are_written_beside_the_float_one(cli: Cli, files: Files) -> None:
    ran = cli(
        "model", "quantize", files["model"], "--calibration", files["rows"], "--labels", files["labels"], "--json"
    )
    assert ran.code == 0, ran.err
    report = files["output"].with_suffix(".report.md")
    plot = files["output"].with_suffix(".report.svg")
    assert ran.data["written"] == [str(files["output"]), str(report), str(plot)]
    text = report.read_text()
    assert f"same class as the float model | {100 * ran.data['agreement_with_float']:.2f} %" in text
    assert f"accuracy, integer | {100 * ran.data['integer_accuracy']:.2f} %" in text
    assert "- Softmax: it grows with the logits, so the class is the same." in text
    assert f"]({plot.name})" in text and "the calibration rows themselves" in text
    for row in ran.data["worst_rows"]:
        assert f"\n| {row} | " in text
    assert "Dense |" in text  # what the hidden layer lost
    assert ran.data["dropped_operators"] == ["Softmax"]


def test_the_reported_accuracy_is_that_of_the_file_that_was_written(cli: Cli, files: Files) -> None:
    ran = cli(
        "model", "quantize", files["model"], "--calibration", files["rows"], "--labels", files["labels"], "--json"
    )
    classes = run(from_onnx(files["output"]), np.load(files["rows"])).argmax(axis=1)
    assert ran.data["integer_accuracy"] == (classes == np.load(files["labels"])).mean()


def test_the_plot_is_one_drawing_with_a_dot_for_each_logit(cli: Cli, files: Files) -> None:
    assert cli("model", "quantize", files["model"], "--calibration", files["rows"]).code == 0
    content = files["output"].with_suffix(".report.svg").read_text()
    drawing = ElementTree.fromstring(content)  # noqa: S314 (it was written just now)
    dots = "".join(path.get("d", "") for path in drawing.iter("{http://www.w3.org/2000/svg}path"))
    assert dots.count("M") == ROWS * 3
    assert f"{ROWS} rows" in content
    assert not re.search(r"href|url\(|<script|<image", content)


def test_rows_that_did_not_calibrate_are_what_is_reported_on_where_they_are_given(cli: Cli, files: Files) -> None:
    arguments = ("--calibration", files["rows"], "--test", files["test"], "--labels", files["test_labels"])
    ran = cli("model", "quantize", files["model"], *arguments, "--json")
    assert (ran.code, ran.data["rows"], ran.data["judged_on"]) == (0, 33, "test rows")
    classes = run(from_onnx(files["output"]), np.load(files["test"])).argmax(axis=1)
    assert ran.data["integer_accuracy"] == (classes == np.load(files["test_labels"])).mean()
    assert "rows that did not calibrate it" in files["output"].with_suffix(".report.md").read_text()


def test_one_row_and_a_model_that_always_says_the_same_are_reported_too(cli: Cli, files: Files, tmp_path: Path) -> None:
    one = save(tmp_path / "one.npy", np.full((1, 4), 9, np.uint8))
    assert cli("model", "quantize", files["model"], "--calibration", one).code == 0
    assert "Judged on 1 rows" in files["output"].with_suffix(".report.md").read_text()
    graph = Graph((4,))
    zeros, constant = graph.constant(np.zeros((2, 4))), graph.constant(np.zeros(2))
    files["model"].write_bytes(graph.model(graph.node("Gemm", "x", zeros, constant, transB=1)))
    ran = cli("model", "quantize", files["model"], "--calibration", files["rows"], "--json")
    assert (ran.code, ran.data["agreement_with_float"], ran.data["logit_spread"]) == (0, 1.0, 0.0)
    ElementTree.fromstring(files["output"].with_suffix(".report.svg").read_text())  # noqa: S314


@pytest.mark.parametrize("method", ["largest", "percentile", "mse"])
def test_the_way_of_calibrating_is_chosen_and_reported(cli: Cli, files: Files, method: str) -> None:
    ran = cli("model", "quantize", files["model"], "--calibration", files["rows"], "--method", method, "--json")
    assert ran.code == 0 and ran.data["agreement_with_float"] > 0.9
    assert f"Calibration `{method}`" in files["output"].with_suffix(".report.md").read_text()


def test_a_yes_or_no_by_one_sigmoid_becomes_two_classes(cli: Cli, files: Files) -> None:
    files["model"].write_bytes(perceptron("Sigmoid", outputs=1))
    ran = cli("model", "quantize", files["model"], "--calibration", files["rows"], "--json")
    assert ran.code == 0 and ran.data["agreement_with_float"] > 0.95
    assert from_onnx(files["output"]).output_length == 2
    assert "The one logit z became two" in files["output"].with_suffix(".report.md").read_text()


def test_one_logit_without_a_sigmoid_is_a_number_and_the_report_says_so(cli: Cli, files: Files) -> None:
    files["model"].write_bytes(perceptron(None, outputs=1))
    assert cli("model", "quantize", files["model"], "--calibration", files["rows"]).code == 0
    assert from_onnx(files["output"]).output_length == 1
    assert "As a class it is 1 above 0, else 0." in files["output"].with_suffix(".report.md").read_text()


def test_float_images_share_one_range_though_some_pixels_never_vary(cli: Cli, files: Files, tmp_path: Path) -> None:
    files["model"].write_bytes(flat_image_model())
    images = np.random.default_rng(0).uniform(0, 1, (50, 3, 4, 5))
    images[:, :, 0] = 0
    ran = cli("model", "quantize", files["model"], "--calibration", save(tmp_path / "images.npy", images), "--json")
    assert ran.code == 0, ran.err
    scaling = read_card(files["output"].with_suffix(".card.json")).scaling
    assert set(scaling.minimum) == {0.0} and set(scaling.maximum) == {images.max()}


def test_a_range_that_all_features_share_is_taken_as_given(cli: Cli, files: Files, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 17, (50, 4)).astype(float)
    values[:, 2] = 0.0
    rows = save(tmp_path / "features.npy", values)
    refused = cli("model", "quantize", files["model"], "--calibration", rows)
    assert refused.code == ExitCode.BAD_INPUT and "--range LOW:HIGH" in refused.err
    assert cli("model", "quantize", files["model"], "--calibration", rows, "--range", "0:16").code == 0
    assert read_card(files["output"].with_suffix(".card.json")).scaling.maximum == (16.0,) * 4


def other_model(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string(perceptron())
    change(model)
    return bytes(model.SerializeToString())


def poison(model: onnx.ModelProto) -> None:
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, model.graph.initializer[0].name))


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["n", 4]))


def any_length(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "length"


def attention(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type, model.graph.node[1].name = "LayerNormalization", "encoder/norm"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (other_model(poison), "/Gemm_0.*NaN or infinity: train the model again"),
        (other_model(second_input), "2 inputs: exactly one, of float32 features"),
        (other_model(any_length), r"graph: input: its shape \(0,\).*must be fixed.*export with static sizes"),
        (other_model(attention), "'encoder/norm' .LayerNormalization.: operator: .*batch normalisation"),
        (perceptron(inputs=5), "4 features.*reads 5|reads 5 features"),
        (b"", "parse"),
        (b"\x08\x08not a model", "parse"),
    ],
)
def test_a_float_model_that_cannot_be_quantised_is_refused_and_nothing_is_written(
    cli: Cli, files: Files, model: bytes, said: str
) -> None:
    files["model"].write_bytes(model)
    before = {path: path.read_bytes() for path in files["model"].parent.iterdir()}
    ran = cli("model", "quantize", files["model"], "--calibration", files["rows"])
    assert ran.code == ExitCode.BAD_INPUT and re.search(said, ran.err), ran.err
    assert {path: path.read_bytes() for path in files["model"].parent.iterdir()} == before


def wrong_rows(folder: Path) -> dict[str, tuple[list[Any], str]]:
    """Arguments beside the model, and what is said of them."""
    rng = np.random.default_rng(6)
    good = save(folder / "good.npy", rng.integers(0, 256, (20, 4), np.uint8))
    with_nan = rng.normal(size=(20, 4))
    with_nan[3, 1] = np.nan
    only_header = folder / "header.csv"
    only_header.write_text("a,b,c,d\n")
    text = folder / "text.npy"
    text.write_text("1,2,3,4\n")
    calibration = {
        "narrow bytes": (np.zeros((20, 3), np.uint8), r"reads 4 features a row.*\(20, 3\)"),
        "narrow features": (rng.normal(size=(20, 5)), "rows of 5 features, but the model reads 4"),
        "no rows": (np.zeros((0, 4), np.uint8), "a row an item is needed"),
        "not a number": (with_nan, "row 3, column 1 is nan, not a finite number"),
        "words": (np.array([["a", "b", "c", "d"]]), "an array of numbers is needed"),
        "a scalar": (np.float64(1), "a row an item is needed"),
    }
    cases = {
        name: (["--calibration", save(folder / f"{name}.npy", values)], said)
        for name, (values, said) in calibration.items()
    }
    said_of_labels = {
        "few": (np.zeros(19, int), "20 rows need as many labels"),
        "fractions": (np.full(20, 0.5), "one whole number a row"),
        "from one": (np.arange(20) % 3 + 1, "labels 1 to 3, but the model's classes are 0 to 2: count them from 0"),
        "negative": (np.full(20, -1), "classes are 0 to 2"),
        "missing": (np.full(20, np.nan), "one whole number a row"),
    }
    for name, (values, said) in said_of_labels.items():
        cases[f"labels: {name}"] = (["--calibration", good, "--labels", save(folder / f"{name}.npy", values)], said)
    cases["a header alone"] = (["--calibration", only_header], "no rows after its header")
    cases["no such file"] = (["--calibration", folder / "absent.npy"], "absent.npy: No such file")
    cases["text as npy"] = (["--calibration", text], "no .npy array of numbers")
    narrow = save(folder / "narrow_test.npy", np.zeros((9, 3), np.uint8))
    cases["narrow test rows"] = (["--calibration", good, "--test", narrow], "wrong feature count")
    cases["bytes with a range"] = (["--calibration", good, "--range", "0:1"], "leave out --range")
    return cases


@pytest.mark.parametrize(
    "case",
    [
        "narrow bytes", "narrow features", "no rows", "not a number", "words", "a scalar", "a header alone", "no such file",
        "text as npy", "narrow test rows", "bytes with a range",
        *(f"labels: {kind}" for kind in ("few", "fractions", "from one", "negative", "missing")),
    ],
)  # fmt: skip
def test_rows_and_labels_that_do_not_fit_are_refused_and_nothing_is_written(
    cli: Cli, files: Files, tmp_path: Path, case: str
) -> None:
    arguments, said = wrong_rows(tmp_path)[case]
    before = sorted(tmp_path.iterdir())
    ran = cli("model", "quantize", files["model"], *arguments)
    assert ran.code == ExitCode.BAD_INPUT and re.search(said, ran.err), ran.err
    assert sorted(tmp_path.iterdir()) == before


def test_images_in_another_order_than_the_models_are_refused(cli: Cli, files: Files, tmp_path: Path) -> None:
    files["model"].write_bytes(flat_image_model())
    images = save(tmp_path / "images.npy", np.zeros((9, 4, 5, 3), np.uint8))
    ran = cli("model", "quantize", files["model"], "--calibration", images)
    assert ran.code == ExitCode.BAD_INPUT
    assert "items of (4, 5, 3) where the model reads (3, 4, 5): transpose them" in ran.err
    assert not files["output"].exists()


@pytest.mark.parametrize("text", ["16", "16:0", "0:0", "a:b", "0:inf", "nan:1", ""])
def test_a_malformed_range_is_a_usage_error(cli: Cli, files: Files, text: str) -> None:
    ran = cli("model", "quantize", files["model"], "--calibration", files["rows"], "--range", text)
    assert ran.code == ExitCode.USAGE and "LOW:HIGH" in ran.err


def test_the_float_model_is_never_overwritten(cli: Cli, files: Files) -> None:
    before = files["model"].read_bytes()
    ran = cli("model", "quantize", files["model"], "--calibration", files["rows"], "-o", files["model"])
    assert ran.code == ExitCode.USAGE and files["model"].read_bytes() == before


def test_a_folder_that_is_absent_is_named_and_nothing_is_left(cli: Cli, files: Files) -> None:
    target = files["model"].parent / "absent" / "made.onnx"
    ran = cli("model", "quantize", files["model"], "--calibration", files["rows"], "-o", target)
    assert ran.code == ExitCode.BAD_INPUT and "absent" in ran.err
    assert not target.parent.exists()
