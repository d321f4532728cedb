"""The zoo: what is committed is what train.py makes, runs alike everywhere, and its cards say what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.canonical import to_onnx
from models.integer_ops import compute_verdicts
from models.interpreter import run
from models.network import Add, Conv, Dense, MaxPool, Reshape
from models.runtime import Runtime
from models.zoo import UnknownModel, digit_rows, load, names, wine_rows
from tests.models.real_rows import NAMES, TABLES, real_rows


def retrain(name: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = load(name).onnx_path.parent / "train.py"
    command = [sys.executable, str(script), "--output", str(folder)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_the_zoo_has_its_four_models() -> None:
    assert names() == NAMES


def test_an_unknown_model_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnknownModel, match=r"called '\.\./wine-grading'; there are apple-grading"):
        load("../wine-grading")


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_file_is_the_canonical_one_and_fits_its_card(name: str) -> None:
    model = load(name)
    assert model.onnx_path.read_bytes() == to_onnx(model.network).SerializeToString(deterministic=True)
    widths = model.network.widths
    assert model.card.name == name
    assert model.card.shape == widths
    assert len(model.card.scaling.features) == widths[0]
    assert len(model.card.classes) == widths[-1]


def test_wine_grading_has_the_shape_its_gas_was_measured_for() -> None:
    assert load("wine-grading").card.shape == (13, 32, 16, 3)
    assert load("wine-grading").network.macs == 976


def test_the_wine_rows_are_the_178_analyses_and_are_graded_well() -> None:
    rows, labels = wine_rows()
    assert rows.shape == (178, 13) and rows.dtype == np.uint8
    assert np.bincount(labels).tolist() == [59, 71, 48]
    verdicts = compute_verdicts(run(load("wine-grading").network, rows))
    assert (verdicts == labels).mean() > 0.97


def test_digit_tagging_is_a_convolutional_network_with_a_residual_that_one_transaction_executes() -> None:
    network = load("digit-tagging").network
    kinds = [type(each) for each in network.operators]
    assert kinds == [Reshape, Conv, MaxPool, Conv, Conv, Add, MaxPool, Reshape, Dense]
    assert network.macs < 300_000


def test_the_digit_rows_are_the_1797_images_and_are_told_well() -> None:
    rows, labels = digit_rows()
    assert rows.shape == (1797, 64) and rows.dtype == np.uint8 and set(labels) == set(range(10))
    assert set(np.unique(rows)) == {round(255 * shade / 16) for shade in range(17)}
    verdicts = compute_verdicts(Runtime(load("digit-tagging").network).run(rows))
    assert (verdicts == labels).mean() > 0.97


@pytest.mark.parametrize("name", NAMES)
def test_the_card_quotes_the_figures_that_training_measured(name: str) -> None:
    model = load(name)
    text = (model.onnx_path.parent / "card.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    accuracy = model.card.accuracy
    for group in (accuracy, accuracy.get("random_folds", accuracy)):
        for kind in ("float", "integer"):
            quoted = (f"{group[kind]:.3f}", f"{group[f'{kind}_balanced']:.3f}")
            assert any(kind in line and all(figure in line for figure in quoted) for line in lines)
    assert f"{model.network.macs:,} multiplications" in text
    assert str(accuracy["agreement_with_float"]) in text


@pytest.mark.parametrize("environment", [{}, {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}])
def test_training_wine_again_gives_the_same_bytes(tmp_path: Path, environment: dict[str, str]) -> None:
    """The second time on the linear algebra kernels of a 2008 processor."""
    trained = retrain("wine-grading", tmp_path, environment)
    assert trained.returncode == 0, trained.stderr
    committed = load("wine-grading").onnx_path.parent
    for file in ("model.onnx", "card.json", "vectors.json"):
        assert (tmp_path / file).read_bytes() == (committed / file).read_bytes(), file


@pytest.mark.parametrize("kernels", ["", "Nehalem"])
def test_training_digits_again_gives_the_same_bytes(kernels: str) -> None:
    """Without its cross-validation."""
    folder = load("digit-tagging").onnx_path.parent
    code = (
        "import runpy, sys; from models.canonical import to_onnx; from models.zoo.training import train; "
        "made = runpy.run_path(sys.argv[1]); network = train(made['RECIPE'], made['read_digits']())[0].network; "
        "sys.stdout.buffer.write(to_onnx(network).SerializeToString(deterministic=True))"
    )
    command = [sys.executable, "-c", code, str(folder / "train.py")]
    environment = {**os.environ, **({"OPENBLAS_CORETYPE": kernels} if kernels else {})}
    trained = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert trained.returncode == 0, trained.stderr.decode()
    assert trained.stdout == (folder / "model.onnx").read_bytes()


def test_training_apple_again_gives_the_same_bytes(tmp_path: Path) -> None:
    real_rows("apple-grading")
    trained = retrain("apple-grading", tmp_path, {})
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "model.onnx").read_bytes() == load("apple-grading").onnx_path.read_bytes()


@pytest.mark.parametrize("name", ["apple-grading", "driver-scoring"])
def test_training_without_the_data_says_what_is_missing(tmp_path: Path, name: str) -> None:
    unset = retrain(name, tmp_path, {"QUORATE_DATA": ""})
    assert unset.returncode == 1 and "set QUORATE_DATA to the folder that holds" in unset.stderr
    absent = retrain(name, tmp_path, {"QUORATE_DATA": str(tmp_path)})
    assert absent.returncode == 1 and f"{TABLES[name][0]} is absent" in absent.stderr
    assert not list(tmp_path.iterdir())


def test_the_driver_card_warns_of_the_rosier_figure() -> None:
    accuracy = load("driver-scoring").card.accuracy
    assert accuracy["random_folds"]["integer_balanced"] > accuracy["integer_balanced"]
    assert accuracy["method"].startswith("leave one trip out")


def test_importing_models_loads_neither_onnx_nor_its_runtime() -> None:
    code = "import models, models.zoo, sys; models.zoo.names(); print([m for m in sys.modules if m.startswith('onnx')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
