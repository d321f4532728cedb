"""Trains apple-grading on spectra of real apples in QUORATE_DATA/apple: `python train.py [--output FOLDER]`."""

from __future__ import annotations

import numpy as np

from models.zoo.training import (
    Perceptron,
    Recipe,
    Table,
    cross_validate,
    fold_at_random,
    fold_by_group,
    output_folder,
    read_table,
    write,
)

BANDS = (410, 435, 460, 485, 510, 535, 560, 585, 610, 645, 680, 705, 730, 760, 810, 860, 900, 940)
ORIGINS = ("polish", "turkish")


def main() -> None:
    features = tuple(f"{band} nm" for band in BANDS)
    recipe = Recipe(
        name="apple-grading",
        title="The origin of an apple from 18 bands of its visible and near-infrared spectrum",
        classes=ORIGINS,
        features=features,
        kind=Perceptron(hidden=(24, 12), decay=0.3, epochs=200, is_balanced=True),
        data={
            "source": "github.com/AniruddhaGandhewar/DDP, 18-band spectra: 44 of Polish and 83 of Turkish apples",
            "citation": "A. Gandhewar, DDP, GitHub",
            "licence": "the repository states none; no data is redistributed here",
        },
    )
    lines = [(index, line) for index, origin in enumerate(ORIGINS) for line in read_table(_table(origin))]
    values = np.array([[float(line[name]) for name in features] for _, line in lines])
    table = Table(values, np.array([index for index, _ in lines]))
    fruits = np.array([f"{index}/{line['Group']}" for index, line in lines])
    accuracy = {
        "method": "10-fold cross-validation by fruit; random_folds has the same fruit on both sides, and flatters",
        "rows": len(lines),
        "fruits": len(set(fruits)),
        **cross_validate(recipe, table, fold_by_group(table, fruits, 10)),
        "random_folds": cross_validate(recipe, table, fold_at_random(table, 10)),
        "always_turkish": round(float((table.labels == 1).mean()), 3),
    }
    print(write(recipe, table, accuracy, output_folder(__file__)))


def _table(origin: str) -> str:
    return f"apple/apple_vnir18_{origin}.csv"


if __name__ == "__main__":
    main()
