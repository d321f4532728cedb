"""Real exports of PyTorch, Keras and scikit-learn, with the outputs of the framework that trained them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.canonical import from_onnx, to_onnx
from models.interpreter import run
from models.network import Conv, Dense, MaxPool, Reshape, Table, Transpose
from models.program import compile_network
from models.quantizer import quantize, read_float_model, run_float
from models.runtime import Runtime
from models.scaling import Scaling, fit
from tests.models.registry import Registry

FOLDER = Path(__file__).parent / "exports"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))
WIDTHS = {  # bytes of a row, logits
    "keras_cnn": (64, 10),
    "keras_yes_or_no": (64, 2),
    "pytorch_dynamo": (64, 10),
    "pytorch_traced": (64, 10),
    "sklearn_cancer": (30, 2),
    "sklearn_digits": (64, 10),
}
DROPPED = {
    "keras_cnn": ("Softmax",),
    "keras_yes_or_no": ("Sigmoid",),
    "pytorch_dynamo": (),
    "pytorch_traced": (),
    "sklearn_cancer": ("Sigmoid", "ArgMax", "ZipMap", "ArrayFeatureExtractor"),
    "sklearn_digits": ("Softmax", "ArgMax", "ZipMap", "ArrayFeatureExtractor"),
}


@dataclass(frozen=True)
class Export:
    """values: (n, features) as the model reads them; outputs: its framework's; rows: the bytes that stand for the values."""

    path: Path
    values: np.ndarray
    outputs: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    scaling: Scaling | None


def read_export(name: str) -> Export:
    with np.load(FOLDER / f"{name}.npz") as kept:
        values = kept["rows"].reshape(len(kept["rows"]), -1)
        outputs, labels = kept["outputs"], kept["labels"]
    if values.dtype == np.uint8:
        return Export(FOLDER / f"{name}.onnx", values, outputs, labels, values, None)
    scaling = fit([f"f{column}" for column in range(values.shape[1])], values.astype(np.float64))
    rows = scaling.to_rows(values.astype(np.float64))
    return Export(FOLDER / f"{name}.onnx", values, outputs, labels, rows, scaling)


def probabilities(logits: np.ndarray, dropped: tuple[str, ...]) -> np.ndarray:
    """What the dropped end of the model makes of its logits."""
    if logits.shape[1] == 1:
        yes = 1 / (1 + np.exp(-logits))
        return yes if dropped == ("Sigmoid",) else np.concatenate([1 - yes, yes], axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True)) if dropped else logits


def quantised(export: Export) -> Any:
    half = len(export.rows) // 2
    return quantize(export.path, export.rows[:half], export.scaling)


def test_each_kind_of_export_is_here() -> None:
    assert set(NAMES) == set(WIDTHS) == set(DROPPED)


@pytest.mark.parametrize("name", NAMES)
def test_an_export_is_read_as_what_its_own_framework_computes(name: str) -> None:
    export = read_export(name)
    network, dropped = read_float_model(export.path)
    assert dropped == DROPPED[name]
    found = probabilities(run_float(network, export.values), dropped)
    np.testing.assert_allclose(found, export.outputs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_an_export_keeps_its_classes_on_rows_that_calibrated_nothing(name: str) -> None:
    export = read_export(name)
    made = quantised(export)
    assert (made.network.row_length, made.network.output_length) == WIDTHS[name]
    half = len(export.rows) // 2
    found = made.compare(export.rows[half:], export.labels[half:])
    assert found.agreement >= 0.97
    assert found.float_accuracy > 0.9 and found.integer_accuracy > found.float_accuracy - 0.025


def test_an_export_with_channels_last_comes_down_to_channels_first_all_the_way() -> None:
    """Keras transposes before and after each layer, and adds the bias in between: nothing of that is left inside."""
    kinds = [type(each) for each in quantised(read_export("keras_cnn")).network.operators]
    assert kinds == [Reshape, Transpose, Conv, Table, MaxPool, Conv, Conv, Table, Transpose, Reshape, Dense]


@pytest.mark.parametrize("name", NAMES)
def test_onnx_runtime_runs_an_export_to_the_bit_as_the_specification_does(name: str) -> None:
    export = read_export(name)
    network = quantised(export).network
    rows = np.concatenate(
        [export.rows, np.random.default_rng(0).integers(0, 256, (60, export.rows.shape[1]), np.uint8)]
    )
    specified = run(network, rows)
    for optimisation in ("none", "all"):
        np.testing.assert_array_equal(Runtime(network, optimisation=optimisation).run(rows), specified)  # type: ignore[arg-type]
    assert to_onnx(from_onnx(to_onnx(network).SerializeToString())) == to_onnx(network)


@pytest.mark.parametrize("name", NAMES)
def test_the_chain_runs_an_export_to_the_bit_as_the_specification_does(name: str) -> None:
    export = read_export(name)
    network = quantised(export).network
    registry = Registry()
    model = registry.register(compile_network(network))
    noise = np.random.default_rng(1).integers(0, 256, (4, export.rows.shape[1]), np.uint8)
    rows = np.concatenate([export.rows[:4], noise, np.full_like(noise[:1], 255)])
    outputs = b"".join(registry.execute(model, row) for row in rows)
    np.testing.assert_array_equal(np.frombuffer(outputs, ">i4").reshape(len(rows), -1), run(network, rows))


def test_no_fixture_says_where_it_was_made() -> None:
    for path in FOLDER.iterdir():
        content = path.read_bytes()
        assert b"site-packages" not in content and b".py" not in content, path.name
