"""What quantising costs in accuracy stays within its bound: the study of `python -m benchmarks accuracy` with fewer fits."""

from __future__ import annotations

import os

import numpy as np
import pytest

from benchmarks import accuracy
from tests.requirements import missing

FITS = {  # seeds and folds of each study: all of the small ones' folds, as many of the others' as a minute allows
    "wine/mlp": (2, 5),
    "breast-cancer/mlp": (1, 5),
    "digits/mlp": (1, 3),
    "digits/cnn": (1, 2),
    "driver-scoring/mlp": (1, 4),
    "mnist/cnn": (1, 1),
}
OF_DATA = ("driver-scoring/mlp", "mnist/cnn")


@pytest.fixture(scope="module")
def studies() -> dict[str, accuracy.Study]:
    return {study.name: study for study in accuracy.studies()}


@pytest.mark.parametrize("name", FITS)
def test_quantising_loses_at_most_half_a_point_of_accuracy(studies: dict[str, accuracy.Study], name: str) -> None:
    if name not in studies:
        if not os.environ.get("QUORATE_DATA"):
            pytest.skip(f"QUORATE_DATA is not set: the data of {name} is not part of the project")
        missing(name, "QUORATE_DATA must be the folder that holds its data")
    found = studies[name].run(*FITS[name])
    assert len(found) == np.prod(FITS[name])
    print(f"{name}: float and integer {found.mean(axis=0)}, lost {accuracy.lost(found).mean():.2f} points")
    assert found[:, 0].mean() > 0.9  # it learnt something that could be lost
    assert accuracy.lost(found).mean() <= accuracy.BOUND


def test_what_is_lost_is_float_less_integer_and_its_interval_is_students() -> None:
    found = np.array([[0.9, 0.89], [0.8, 0.8], [0.7, 0.72], [0.95, 0.94]])
    np.testing.assert_allclose(accuracy.lost(found), [1, 0, -2, 1])
    low, high = accuracy.interval(found)
    assert (low + high) / 2 == pytest.approx(0.0, abs=1e-12)
    assert high == pytest.approx(3.182446 * np.sqrt(2) / 2, rel=1e-6)  # t of 3 degrees · the mean's standard error
    assert accuracy.interval(np.array([[0.9, 0.9], [0.8, 0.8]])) == (0.0, 0.0)


def test_folds_of_the_study_never_share_a_row_and_cover_all(studies: dict[str, accuracy.Study]) -> None:
    for study in studies.values():
        held_out = []
        for training, testing in study.fold(3):
            assert not set(training) & set(testing)
            held_out.extend(testing)
        assert sorted(held_out) == list(range(len(study.table.labels))), study.name


def test_mnist_is_shrunk_to_counts_of_dark_pixels() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:14, 4:24] = 255  # the upper half of the digit's box
    shrunk = accuracy.shrink(image.reshape(1, 784)).reshape(8, 8)
    np.testing.assert_array_equal(shrunk[:4], 16)
    np.testing.assert_array_equal(shrunk[4:], 0)


def test_the_card_of_digit_tagging_quotes_what_it_tells_of_mnist() -> None:
    from models import zoo

    data = accuracy.find_data()
    if data is None:
        pytest.skip("QUORATE_DATA is not set: MNIST is not part of the project")
    try:
        rows, labels = accuracy.read_mnist(data)
    except FileNotFoundError as error:
        missing(str(error.filename), "QUORATE_DATA must be the folder that holds it")
    share = accuracy.judge_zoo_digits(rows, labels)
    card = (zoo.load("digit-tagging").onnx_path.parent / "card.md").read_text("utf-8")
    assert f"{100 * share:.1f} %" in card
