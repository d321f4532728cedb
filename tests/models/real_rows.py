"""All the real rows that the zoo's models are made for, wherever their data is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.scaling import read_csv
from models.zoo import digit_rows, load, wine_rows
from tests.requirements import missing

NAMES = ("apple-grading", "digit-tagging", "driver-scoring", "wine-grading")
TABLES = {
    "apple-grading": ("apple/apple_vnir18_polish.csv", "apple/apple_vnir18_turkish.csv"),
    "driver-scoring": ("driver/jairjr_windows2s.csv",),
}


def real_rows(name: str) -> NDArray[np.uint8]:
    """uint8 (n, row_length): every row of a model's data.

    Skips the test where QUORATE_DATA is empty, even if everything else is required: the data is not the project's to
    give. A QUORATE_DATA that lacks the tables is a mistake, and fails where everything is required.
    """
    if name == "wine-grading":
        return wine_rows()[0]
    if name == "digit-tagging":
        return digit_rows()[0]
    root = os.environ.get("QUORATE_DATA")
    if not root:
        pytest.skip(f"QUORATE_DATA is not set: the data of {name} is not part of the project")
    tables = [Path(root) / table for table in TABLES[name]]
    for table in tables:
        if not table.is_file():
            missing(str(table), "QUORATE_DATA must be the folder that holds it")
    return np.concatenate([read_csv(table, load(name).card.scaling) for table in tables])
