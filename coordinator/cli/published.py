"""A job's rows where others find them: written to a folder, or fetched from a URI and held against their root."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.job import Terms
from coordinator.cli.context import Setup
from oracle_worker import disk, settings
from oracle_worker.data import DataStore
from oracle_worker.data_file import DataSet

ANYWHERE = (Path("/"),)
"""Whoever types a command may read their own files; only a worker, which follows a stranger's URI, may not."""


def publish(folder: Path, data_root: bytes, rows: NDArray[np.uint8]) -> Path:
    """Write the rows to a file of the folder named after their root; the file's absolute path. Raises OSError."""
    path = folder.expanduser().absolute() / f"{data_root.hex()}.rows"
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.writing(path) as file:
        file.write(rows.data)
    return path


def check_served(setup: Setup, terms: Terms, uri: str, row_length: int) -> None:
    """Fetch the rows as a worker will, past every cache. Raises oracle_worker.data_errors.DataError."""
    allowed = settings.load(data_folders=ANYWHERE, data_private_addresses=True)
    cache = setup.home / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        DataStore(Path(folder), allowed).fetch(terms, uri, row_length)


def fetch(setup: Setup, terms: Terms, uri: str, row_length: int) -> DataSet:
    """The rows, verified against terms.data_root and kept. Raises oracle_worker.data_errors.DataError."""
    return DataStore(setup.home / "cache" / "data", settings.load(data_folders=ANYWHERE)).fetch(terms, uri, row_length)
