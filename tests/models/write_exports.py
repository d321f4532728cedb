"""Writes tests/models/exports: small trained models as PyTorch, Keras and skl2onnx export them, and rows with their outputs.

    pip install torch==2.13.0 keras onnxscript scikit-learn skl2onnx && KERAS_BACKEND=torch python -m tests.models.write_exports

The files are committed, because PyTorch and Keras are too large for a test to install. Each .npz holds rows (n, …) as the model
reads them, its outputs as its own framework computes them, and labels.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDER = Path(__file__).parent / "exports"
ROWS = 300  # kept with each model; they trained nothing


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 8) of bytes as floats, in a fixed random order, and their digits (n,)."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return np.rint(data.images[order] * (255 / 16)).astype(np.float32), data.target[order]


def keep(name: str, rows: np.ndarray, outputs: np.ndarray, labels: np.ndarray) -> None:
    kept = rows.astype(np.uint8) if (rows == rows.astype(np.uint8)).all() else rows.astype(np.float32)
    np.savez_compressed(FOLDER / f"{name}.npz", rows=kept, outputs=outputs.astype(np.float32), labels=labels)


def strip(path: Path) -> None:
    """Leave out what an exporter notes of the machine: the source lines, with their paths, that each node comes from."""
    model = onnx.load(path)
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del part.metadata_props[:]
    onnx.save(model, path)


def write_pytorch() -> None:
    """A residual CNN with batch normalisation and dropout, by the exporter over torch.export and by the older tracing one."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(channels)

        def forward(self, x: Any) -> Any:
            return torch.relu(x + self.norm(self.conv(x)))

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), Block(8),
        nn.Conv2d(8, 12, 3, groups=4), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(12, 10),
    )  # fmt: skip
    images, labels = digits()
    values = torch.tensor(images[:, None])
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(12):
        for start in range(ROWS, len(values), 64):
            loss = nn.functional.cross_entropy(
                model(values[start : start + 64] / 255), torch.tensor(labels[start : start + 64])
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = model

        def forward(self, pixels: Any) -> Any:
            return self.body(pixels / 255)

    whole = Whole().eval()
    sample = values[:2]
    batch = torch.export.Dim("batch", min=1)
    torch.onnx.export(
        whole, (sample,), FOLDER / "pytorch_dynamo.onnx", dynamo=True, dynamic_shapes=({0: batch},), external_data=False
    )
    torch.onnx.export(
        whole, (sample,), FOLDER / "pytorch_traced.onnx", dynamo=False, input_names=["pixels"], output_names=["logits"],
        dynamic_axes={"pixels": {0: "n"}}, opset_version=17,
    )  # fmt: skip
    strip(FOLDER / "pytorch_dynamo.onnx")
    outputs = whole(values[:ROWS]).detach().numpy()
    for name in ("pytorch_dynamo", "pytorch_traced"):
        keep(name, images[:ROWS, None], outputs, labels[:ROWS])


def write_keras() -> None:
    """A CNN of Keras, channels last, that ends in softmax, and a perceptron that ends in one sigmoid."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(0)
    images, labels = digits()
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, padding="same", activation="leaky_relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.SeparableConv2D(12, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    _fit(model, images[..., None], labels, "sparse_categorical_crossentropy")
    _export(model, "keras_cnn", images[:ROWS, ..., None], labels[:ROWS])
    even = labels % 2
    model = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Dense(24, activation="elu"),
            keras.layers.Dense(12, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    flat = images.reshape(-1, 64)
    _fit(model, flat, even, "binary_crossentropy")
    _export(model, "keras_yes_or_no", flat[:ROWS], even[:ROWS])


def _fit(model: Any, values: np.ndarray, labels: np.ndarray, loss: str) -> None:
    model.compile("adam", loss)
    model.optimizer.learning_rate = 0.01
    model.fit(values[ROWS:], labels[ROWS:], batch_size=64, epochs=12, verbose=0)


def _export(model: Any, name: str, rows: np.ndarray, labels: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.export(path, format="onnx", verbose=False)
        (FOLDER / f"{name}.onnx").write_bytes(path.read_bytes())
    keep(name, rows, model.predict(rows, verbose=0), labels)


def write_scikit_learn() -> None:
    """Pipelines of a scaler and a perceptron: of ten classes on bytes, of two on raw features."""
    from skl2onnx import to_onnx

    images, labels = digits()
    flat = images.reshape(-1, 64)
    model = make_pipeline(StandardScaler(), MLPClassifier((24,), max_iter=40, random_state=0))
    cancer = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(cancer.target))
    values, truth = cancer.data[order].astype(np.float32), cancer.target[order]
    for name, rows, classes in (("sklearn_digits", flat, labels), ("sklearn_cancer", values, truth)):
        kept = ROWS if name == "sklearn_digits" else 200
        model.fit(rows[kept:], classes[kept:])
        (FOLDER / f"{name}.onnx").write_bytes(to_onnx(model, rows[:1]).SerializeToString())
        keep(name, rows[:kept], model.predict_proba(rows[:kept]), classes[:kept])


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write_scikit_learn()
    write_pytorch()
    write_keras()
