"""Trains digit-tagging on the 1,797 handwritten digits that scikit-learn ships: `python train.py [--output FOLDER]`."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from models.scaling import Scaling
from models.zoo.convolutional import Convolutional
from models.zoo.training import Recipe, Table, cross_validate, fold_at_random, fold_in_order, output_folder, write

SIDE = 8
PIXELS = tuple(f"pixel-{y}-{x}" for y in range(SIDE) for x in range(SIDE))

RECIPE = Recipe(
    name="digit-tagging",
    title="The digit in an 8×8 image of handwriting",
    classes=tuple(f"digit-{digit}" for digit in range(10)),
    features=PIXELS,
    kind=Convolutional(SIDE, epochs=20),
    data={
        "source": "UCI Machine Learning Repository, Optical Recognition of Handwritten Digits, its test part, as shipped with "
        "scikit-learn (load_digits)",
        "citation": "Alpaydin, E. and Kaynak, C. (1998). Optical Recognition of Handwritten Digits. UCI. "
        "https://doi.org/10.24432/C50P49",
        "licence": "CC BY 4.0",
    },
    scaling=Scaling(PIXELS, (0.0,) * len(PIXELS), (16.0,) * len(PIXELS)),
)


def read_digits() -> Table:
    digits = load_digits()
    return Table(np.asarray(digits.data, np.float64), np.asarray(digits.target, np.int64))


def main() -> None:
    table = read_digits()
    accuracy = {
        "method": "5 folds of neighbours in the file, which stands in the order of its writers; random_folds shows the same "
        "hands on both sides, and flatters",
        "rows": len(table.labels),
        **cross_validate(RECIPE, table, fold_in_order(table, 5)),
        "random_folds": cross_validate(RECIPE, table, fold_at_random(table, 5)),
    }
    print(write(RECIPE, table, accuracy, output_folder(__file__)))


if __name__ == "__main__":
    main()
