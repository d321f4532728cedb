"""Trains wine-grading on the 178 UCI wine analyses that scikit-learn ships: `python train.py [--output FOLDER]`."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_wine

from models.zoo.training import Perceptron, Recipe, Table, cross_validate, fold_at_random, output_folder, write


def main() -> None:
    wine = load_wine()
    recipe = Recipe(
        name="wine-grading",
        title="The cultivar of a wine from its chemical analysis",
        classes=("cultivar-1", "cultivar-2", "cultivar-3"),
        features=tuple(wine.feature_names),
        kind=Perceptron(hidden=(32, 16), decay=0.1, epochs=200),
        data={
            "source": "UCI Machine Learning Repository, Wine, as shipped with scikit-learn (load_wine)",
            "citation": "Aeberhard, S. and Forina, M. (1992). Wine. UCI. https://doi.org/10.24432/C5PC7J",
            "licence": "CC BY 4.0",
        },
    )
    table = Table(np.asarray(wine.data, np.float64), np.asarray(wine.target, np.int64))
    accuracy = {"method": "10-fold cross-validation, stratified", "rows": len(table.labels)}
    print(
        write(
            recipe,
            table,
            {**accuracy, **cross_validate(recipe, table, fold_at_random(table, 10))},
            output_folder(__file__),
        )
    )


if __name__ == "__main__":
    main()
