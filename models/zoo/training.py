"""How every zoo model is trained, judged and written: floats, the quantiser, the files of the zoo.

Nothing is chosen at random: the same data gives the same files. Each fold of a cross-validation fits its own scaling,
network and quantisation on its training rows alone, and judges the integer network that results.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import KFold, LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier

from models.canonical import to_onnx
from models.integer_ops import compute_verdicts
from models.interpreter import run
from models.network import IntegerNetwork
from models.quantizer import Quantization, quantize, read_float_model, run_float
from models.scaling import Scaling, fit
from models.zoo.convolutional import Convolutional, train_convolutional

Folds = Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]

_SPREAD = 4.0  # bytes 0…255 reach the trainer as −2…2
_VECTORS = 96


@dataclass(frozen=True)
class Perceptron:
    """Dense layers, trained by scikit-learn. decay: L2 penalty; is_balanced: classes weigh alike, however rare."""

    hidden: tuple[int, ...]
    decay: float
    epochs: int
    is_balanced: bool = False


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what. scaling: from features to rows; None fits one to the training rows."""

    name: str
    title: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    kind: Perceptron | Convolutional
    data: dict[str, str]
    scaling: Scaling | None = None

    def scaling_for(self, values: NDArray[np.float64]) -> Scaling:
        """How training values (n, f) become rows."""
        return self.scaling or fit(self.features, values)


@dataclass(frozen=True)
class Table:
    """Raw features (n, f) and the class of each row (n,)."""

    values: NDArray[np.float64]
    labels: NDArray[np.int64]


def train(recipe: Recipe, table: Table) -> tuple[Quantization, Scaling]:
    """The quantised network of a recipe trained on the whole table, and the scaling of its features."""
    scaling = recipe.scaling_for(table.values)
    rows = scaling.to_rows(table.values)
    model = train_float(recipe, rows, table.labels)
    return quantize(model, rows, labels=table.labels), scaling


def train_float(recipe: Recipe, rows: NDArray[np.uint8], labels: NDArray[np.int64], seed: int = 0) -> bytes:
    """A float ONNX model of rows (n, f) given as floats 0…255, trained on their labels. seed: of weights and order."""
    if isinstance(recipe.kind, Convolutional):
        return train_convolutional(recipe.kind, rows, labels, len(recipe.classes), seed)
    kind = recipe.kind
    classifier = MLPClassifier(  # type: ignore[no-untyped-call]
        kind.hidden, alpha=kind.decay, max_iter=kind.epochs, tol=0, n_iter_no_change=kind.epochs,
        learning_rate_init=0.003, random_state=seed,
    )  # fmt: skip
    counts = np.bincount(labels, minlength=len(recipe.classes))
    weight = len(labels) / len(counts) / counts[labels] if kind.is_balanced else np.ones(len(labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is the recipe's choice
        classifier.fit(rows / 255 * _SPREAD - _SPREAD / 2, labels, weight)
    return export_float(classifier.coefs_, classifier.intercepts_)


def export_float(weights: list[NDArray[np.float64]], biases: list[NDArray[np.float64]]) -> bytes:
    """A trained perceptron as float ONNX reading bytes. weights: (inputs, outputs) each; one logit becomes two."""
    first = weights[0] * (_SPREAD / 255)
    weights = [first, *weights[1:]]
    biases = [biases[0] - _SPREAD / 2 * (first * (255 / _SPREAD)).sum(axis=0), *biases[1:]]
    if weights[-1].shape[1] == 1:
        halves = np.array([[-0.5, 0.5]])
        weights[-1], biases[-1] = weights[-1] * halves, (biases[-1] * halves)[0]
    return write_float(weights, biases)


def write_float(weights: list[NDArray[np.float64]], biases: list[NDArray[np.float64]]) -> bytes:
    """Dense layers with ReLU between them as float ONNX. weights: (inputs, outputs) each; biases: (outputs,) each."""
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []
    value = "features"
    for index, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(matrix.T, np.float32), f"weights{index}"))
        constants.append(numpy_helper.from_array(bias.astype(np.float32), f"bias{index}"))
        nodes.append(helper.make_node("Gemm", [value, f"weights{index}", f"bias{index}"], [f"sums{index}"], transB=1))
        value = f"sums{index}"
        if index < len(weights) - 1:
            nodes.append(helper.make_node("Relu", [value], [f"hidden{index}"]))
            value = f"hidden{index}"
    inputs = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", weights[0].shape[0]])
    outputs = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", weights[-1].shape[1]])
    graph = helper.make_graph(nodes, "float_model", [inputs], [outputs], constants)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def fold_at_random(table: Table, count: int, seed: int = 0) -> Folds:
    """`count` folds with every class in each in proportion, whatever the rows have to do with each other."""
    splitter: Any = StratifiedKFold
    folds: Folds = splitter(count, shuffle=True, random_state=seed).split(table.values, table.labels)
    return folds


def fold_in_order(table: Table, count: int) -> Folds:
    """`count` folds of neighbours: what stands together in the table stays on one side."""
    splitter: Any = KFold
    folds: Folds = splitter(count).split(table.values)
    return folds


def fold_by_group(table: Table, groups: NDArray[np.str_], count: int | None = None) -> Folds:
    """Folds that keep the rows of a group (n,) on one side: `count` of them, or one for each group."""
    grouped: Any = StratifiedGroupKFold
    splitter: Any = LeaveOneGroupOut() if count is None else grouped(count, shuffle=True, random_state=0)
    folds: Folds = splitter.split(table.values, table.labels, groups)
    return folds


def cross_validate(recipe: Recipe, table: Table, folds: Folds) -> dict[str, float]:
    """Accuracy and balanced accuracy (mean of the classes' recalls) over the held-out rows of all folds together.

    folds: (training rows, held-out rows) as indices. Keys: float, integer, float_balanced, integer_balanced.
    """
    held_out: list[NDArray[np.int64]] = []
    by_float: list[NDArray[np.int64]] = []
    by_integer: list[NDArray[np.int64]] = []
    for training, testing in folds:
        scaling = recipe.scaling_for(table.values[training])
        model = train_float(recipe, scaling.to_rows(table.values[training]), table.labels[training])
        network = quantize(model, scaling.to_rows(table.values[training])).network
        rows = scaling.to_rows(table.values[testing])
        held_out.append(table.labels[testing])
        by_float.append(np.argmax(run_float(read_float_model(model)[0], rows), axis=1))
        by_integer.append(compute_verdicts(run(network, rows)))
    truth = np.concatenate(held_out)
    figures: dict[str, float] = {}
    for kind, parts in (("float", by_float), ("integer", by_integer)):
        verdicts = np.concatenate(parts)
        figures[kind] = round(float((verdicts == truth).mean()), 3)
        figures[f"{kind}_balanced"] = round(float(balanced_accuracy_score(truth, verdicts)), 3)
    return figures


def write(recipe: Recipe, table: Table, accuracy: dict[str, object], folder: Path) -> str:
    """Train on the whole table and write model.onnx, card.json and vectors.json into the folder; the card's figures."""
    quantization, scaling = train(recipe, table)
    network = quantization.network
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(to_onnx(network).SerializeToString(deterministic=True))
    features = [
        {"name": name, "minimum": low, "maximum": high}
        for name, low, high in zip(scaling.features, scaling.minimum, scaling.maximum, strict=True)
    ]
    card = {
        "name": recipe.name,
        "title": recipe.title,
        "classes": recipe.classes,
        "shape": network.widths,
        "data": recipe.data,
        "accuracy": {**accuracy, "agreement_with_float": round(quantization.agreement, 4)},
        "features": features,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    (folder / "vectors.json").write_text(_vectors(network), "utf-8")
    return json.dumps(card["accuracy"], indent=1)


def output_folder(script: str) -> Path:
    """Where a train.py writes: beside itself, or where --output says."""
    parser = argparse.ArgumentParser(description="Train the model and write model.onnx, card.json and vectors.json.")
    parser.add_argument("--output", type=Path, default=Path(script).parent, help="folder to write to")
    folder: Path = parser.parse_args().output
    return folder


def read_table(relative: str) -> list[dict[str, str]]:
    """The lines of a CSV file under QUORATE_DATA by column name. Exits with the reason where the file is absent."""
    root = os.environ.get("QUORATE_DATA")
    if not root:
        raise SystemExit(f"set QUORATE_DATA to the folder that holds {relative}: this data is not part of the project")
    path = Path(root) / relative
    if not path.is_file():
        raise SystemExit(f"{path} is absent: QUORATE_DATA must be the folder that holds {relative}")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _vectors(network: IntegerNetwork) -> str:
    """Synthetic rows as hex with their logits, one to a line: extremes, single bytes, noise of several densities."""
    rng = np.random.default_rng(2024)
    length = network.row_length
    rows = [np.zeros(length), np.full(length, 255), np.arange(length) % 2 * 255, np.full(length, 128)]
    rows += [np.eye(length)[column] * 255 for column in range(length)]
    rows += [rng.integers(0, 2, length) * 255 for _ in range(16)]
    rows += [rng.integers(0, 256, length) for _ in range(_VECTORS - len(rows))]
    inputs = np.array(rows).astype(np.uint8)
    lines = [
        json.dumps({"row": row.tobytes().hex(), "logits": logits.tolist()})
        for row, logits in zip(inputs, run(network, inputs), strict=True)
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"
