"""Trains driver-scoring on smartphone telematics in QUORATE_DATA/driver: `python train.py [--output FOLDER]`."""

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

STATISTICS = ("mean", "std", "min", "max")
AXES = ("aclnx", "aclny", "aclnz", "girox", "giroy", "giroz")


def main() -> None:
    features = tuple(f"{statistic}_{axis}" for statistic in STATISTICS for axis in AXES)
    recipe = Recipe(
        name="driver-scoring",
        title="Aggressive driving in two seconds of a phone's accelerometer and gyroscope",
        classes=("normal", "aggressive"),
        features=features,
        kind=Perceptron(hidden=(32, 16), decay=1.0, epochs=100, is_balanced=True),
        data={
            "source": "github.com/jair-jr/driverBehaviorDataset, cut into two-second windows",
            "citation": "Ferreira J. Jr et al. (2017). Driver behavior profiling: An investigation with different "
            "smartphone sensors and machine learning. PLOS ONE. https://doi.org/10.1371/journal.pone.0174959",
            "licence": "the repository states none; no data is redistributed here",
        },
    )
    lines = read_table("driver/jairjr_windows2s.csv")
    values = np.array([[float(line[name]) for name in features] for line in lines])
    table = Table(values, np.array([int(line["aggressive"]) for line in lines]))
    trips = np.array([line["trip"] for line in lines])
    honest = cross_validate(recipe, table, fold_by_group(table, trips))
    random = cross_validate(recipe, table, fold_at_random(table, 5))
    accuracy = {
        "method": "leave one trip out; random_folds shows the same driving on both sides, and flatters",
        "rows": len(lines),
        **honest,
        "random_folds": random,
        "always_normal": round(float((table.labels == 0).mean()), 3),
    }
    print(write(recipe, table, accuracy, output_folder(__file__)))


if __name__ == "__main__":
    main()
