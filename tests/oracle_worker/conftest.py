"""Fixtures of the worker's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models import zoo
from tests.oracle_worker.stage import Stage, new_stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with new_stage(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def wine() -> NDArray[np.uint8]:
    """The 178 wine analyses, as rows."""
    return zoo.wine_rows()[0]
