"""What quantising costs in accuracy, on rows that neither trained nor calibrated: five seeds, five folds each.

Every fit has its own scaling, float network and quantisation, made from its training rows alone; the held-out rows then judge
the float and the integer network. lost: float less integer, in points of accuracy, the mean over all fits with its 95 %
confidence interval (Student's t; folds share training rows, so it is a little too narrow). Rows that have to do with each
other stay on one side: a trip of driving and, of digits, which stand in the order of their writers, a fifth of the file.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as stats_untyped
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from models import zoo
from models.quantizer import quantize, read_float_model, run_float
from models.runtime import Runtime
from models.scaling import Scaling
from models.zoo.convolutional import Convolutional
from models.zoo.training import (
    Folds,
    Perceptron,
    Recipe,
    Table,
    fold_at_random,
    fold_by_group,
    fold_in_order,
    read_table,
    train_float,
)

stats: Any = stats_untyped  # it makes its distributions as it is imported

SEEDS = 5
FOLDS = 5
BOUND = 0.5  # points that may be lost

Accuracies = NDArray[np.float64]
"""Of the float and of the integer network for each fit, (fits, 2)."""
_CALIBRATED = 2000  # rows at most
_SPREAD = 0.95  # of the confidence interval


@dataclass(frozen=True)
class Study:
    """A table, how it is folded with a seed, and what is trained on it."""

    name: str
    table: Table
    fold: Callable[[int], Folds]
    recipe: Recipe

    def run(self, seeds: int = SEEDS, folds: int = FOLDS) -> Accuracies:
        """The accuracies of the first folds of each seed."""
        return np.array(
            [self._judge(seed, *fold) for seed in range(seeds) for fold in islice(self.fold(seed), folds)], np.float64
        )

    def _judge(self, seed: int, training: NDArray[np.int64], held_out: NDArray[np.int64]) -> tuple[float, float]:
        values, labels = self.table.values, self.table.labels
        scaling = self.recipe.scaling_for(values[training])
        rows = scaling.to_rows(values[training])
        model = train_float(self.recipe, rows, labels[training], seed)
        network = quantize(model, rows[:_CALIBRATED]).network
        rows, truth = scaling.to_rows(values[held_out]), labels[held_out]
        by_float = np.argmax(run_float(read_float_model(model)[0], rows), axis=1)
        by_integer = np.argmax(Runtime(network).run(rows), axis=1)
        return float((by_float == truth).mean()), float((by_integer == truth).mean())


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table. Takes some ten minutes; what needs data that is absent is left out."""
    made: list[dict[str, Any]] = []
    for study in studies():
        accuracies = study.run()
        low, high = interval(accuracies)
        figures = {
            "float": (100 * accuracies[:, 0].mean(), "%"),
            "integer": (100 * accuracies[:, 1].mean(), "%"),
            "lost": (lost(accuracies).mean(), "points"),
            "lost/low": (low, "points"),
            "lost/high": (high, "points"),
        }
        for name, (value, unit) in figures.items():
            made.append({"name": f"accuracy/{study.name}/{name}", "value": round(float(value), 2), "unit": unit})
        print(f"{made[-3]['name']} {made[-3]['value']} ({len(accuracies)} fits)", file=sys.stderr)
    if (data := find_data()) is not None:
        share = 100 * judge_zoo_digits(*read_mnist(data))
        made.append({"name": "accuracy/mnist-8x8/digit-tagging/integer", "value": round(share, 2), "unit": "%"})
    return made


def lost(accuracies: Accuracies) -> NDArray[np.float64]:
    """Points lost in each fit."""
    return np.asarray(100 * (accuracies[:, 0] - accuracies[:, 1]))


def interval(accuracies: Accuracies) -> tuple[float, float]:
    """The confidence interval of the mean of the points lost; both ends are the mean where no fits differ."""
    points = lost(accuracies)
    error = float(stats.sem(points)) if len(points) > 1 else 0.0
    reach = error * float(stats.t.ppf((1 + _SPREAD) / 2, max(1, len(points) - 1)))
    return float(points.mean()) - reach, float(points.mean()) + reach


def studies() -> Iterator[Study]:
    """Those whose data is here: what scikit-learn ships always, the rest where QUORATE_DATA has it."""
    for name, loaded in (("wine", load_wine()), ("breast-cancer", load_breast_cancer())):
        table = Table(np.asarray(loaded.data, np.float64), np.asarray(loaded.target, np.int64))
        recipe = _recipe(table, Perceptron((32, 16), 0.1, 200))
        yield Study(f"{name}/mlp", table, partial(fold_at_random, table, FOLDS), recipe)
    digits = load_digits()
    table = Table(np.asarray(digits.data, np.float64), np.asarray(digits.target, np.int64))
    yield _in_order("digits/mlp", table, Perceptron((64, 32), 0.1, 60), 16)
    yield _in_order("digits/cnn", table, Convolutional(8, epochs=20), 16)
    data = find_data()
    if data is not None:
        yield _driving()
        rows, labels = read_mnist(data)
        yield _in_order("mnist/cnn", Table(rows.astype(np.float64), labels), Convolutional(28, 5, stride=2), 255)


def find_data() -> Path | None:
    """The folder of the data that the project does not have; None, and a word about it, where it is not named."""
    root = os.environ.get("QUORATE_DATA")
    if not root:
        print("QUORATE_DATA is not set: driver-scoring and MNIST are left out", file=sys.stderr)
    return Path(root) if root else None


def _driving() -> Study:
    """As driver-scoring is trained. Its four trips make four folds; a seed moves only what is random in training."""
    features = zoo.load("driver-scoring").card.scaling.features
    lines = read_table("driver/jairjr_windows2s.csv")
    values = np.array([[float(line[name]) for name in features] for line in lines])
    table = Table(values, np.array([int(line["aggressive"]) for line in lines]))
    trips = np.array([line["trip"] for line in lines])
    recipe = _recipe(table, Perceptron((32, 16), 1.0, 100, is_balanced=True))
    return Study("driver-scoring/mlp", table, lambda _: fold_by_group(table, trips), recipe)


def _in_order(name: str, table: Table, kind: Perceptron | Convolutional, largest: float) -> Study:
    return Study(name, table, lambda _: fold_in_order(table, FOLDS), _recipe(table, kind, largest))


def _recipe(table: Table, kind: Perceptron | Convolutional, largest: float | None = None) -> Recipe:
    """What is trained on a table. largest: of every feature, for those that share a range from 0 on."""
    count = table.values.shape[1]
    features = tuple(map(str, range(count)))
    scaling = None if largest is None else Scaling(features, (0.0,) * count, (largest,) * count)
    classes = tuple(map(str, range(int(table.labels.max()) + 1)))
    return Recipe("study", "", classes, features, kind, {}, scaling)


def read_mnist(data: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 10,000 images of MNIST's test set in rows (n, 784), and their digits (n,). Raises OSError."""
    images = gzip.decompress((data / "images" / "mnist-t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((data / "images" / "mnist-t10k-labels-idx1-ubyte.gz").read_bytes())
    rows = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28 * 28)
    return rows, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


def judge_zoo_digits(rows: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """The share of MNIST's digits that digit-tagging, trained on others' handwriting, tells as they are."""
    model = zoo.load("digit-tagging")
    shrunk = model.card.scaling.to_rows(shrink(rows))
    return float((np.argmax(Runtime(model.network).run(shrunk), axis=1) == labels).mean())


def shrink(rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """MNIST's images (n, 784) as scikit-learn's digits were made (n, 64): black and white, how many of 16 are black.

    Each digit's 20 × 20 box is stretched to 32 × 32, and each 4 × 4 of it counted.
    """
    boxes = rows.reshape(-1, 28, 28)[:, 4:24, 4:24]
    place = np.arange(32) * 20 // 32
    stretched = boxes[:, place][:, :, place] >= 128
    return np.asarray(stretched.reshape(-1, 8, 4, 8, 4).sum(axis=(2, 4)).reshape(len(rows), 64), np.float64)
