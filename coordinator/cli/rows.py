"""Data files to the uint8 rows that a network reads, and rows to the file that a job points to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contracts.merkle import MerkleTree, input_leaf
from coordinator.cli.failures import ExitCode, Refusal

if TYPE_CHECKING:
    from models.scaling import Scaling

TICK_ROWS = 65_536


def read_rows(path: Path, row_length: int, scaling: Scaling | None) -> NDArray[np.uint8]:
    """Rows (n, row_length) uint8, n ≥ 1, from .csv or .npy features, uint8 .npy rows, or .bin rows in C order.

    Raises Refusal, models.scaling.BadFeatures, OSError.
    """
    if path.suffix == ".csv":
        rows = _read_csv(path, _need(scaling, path))
    elif path.suffix == ".npy":
        values = read_array(path)
        rows = values if values.dtype == np.uint8 else _need(scaling, path).to_rows(values)
    elif path.suffix == ".bin":
        rows = read_bin(path, row_length)
    else:
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: data is a .csv, .npy or .bin file, told apart by its ending")
    if rows.shape[1] != row_length:
        raise Refusal(
            ExitCode.BAD_INPUT,
            f"{path}: wrong feature count: rows of {rows.shape[1]} bytes, but the model reads {row_length}",
        )
    return np.ascontiguousarray(rows)


def read_bin(path: Path, row_length: int) -> NDArray[np.uint8]:
    """Rows (n, row_length) of a file of bare bytes, mapped and not loaded. Raises Refusal, OSError."""
    size = path.stat().st_size
    if size == 0 or size % row_length:
        raise Refusal(
            ExitCode.BAD_INPUT,
            f"{path}: {size} bytes are not one or more rows of {row_length}: is this another model's data?",
        )
    return np.memmap(path, np.uint8, mode="r").reshape(-1, row_length)


def read_array(path: Path) -> NDArray[Any]:
    """The rows (n, length) of a numeric .npy array with an item along its first dimension. Raises Refusal, OSError."""
    array = read_items(path)
    return array.reshape(len(array), -1)


def read_items(path: Path) -> NDArray[Any]:
    """A numeric .npy array of any shape with an item along its first dimension. Raises Refusal, OSError."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise Refusal(ExitCode.BAD_INPUT, f"{path} is no .npy array of numbers: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim == 0 or array.size == 0:
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: one array with a row an item is needed")
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: an array of numbers is needed, not of {array.dtype}")
    return array


def input_tree(rows: NDArray[np.uint8], tick: Any) -> MerkleTree:
    """The tree over the rows; `tick(done)` is told as it goes."""
    leaves = bytearray()
    for start in range(0, len(rows), TICK_ROWS):
        block = rows[start : start + TICK_ROWS]
        leaves += b"".join([input_leaf(row.tobytes()) for row in block])
        tick(start + len(block), len(rows))
    return MerkleTree(leaves)


def _read_csv(path: Path, scaling: Scaling) -> NDArray[np.uint8]:
    from models.scaling import BadFeatures, read_csv

    try:
        return read_csv(path, scaling)
    except BadFeatures as error:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(1 << 16)
        for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if first.count(delimiter) > first.count(","):
                error.add_note(f"its first line is separated by {name}: columns are separated by commas")
        raise


def _need(scaling: Scaling | None, path: Path) -> Scaling:
    if scaling is None:
        raise Refusal(
            ExitCode.BAD_INPUT,
            f"{path} holds features, and how they become bytes is the model card's: give --scaling CARD.json "
            "(uint8 .npy and .bin are taken as they are)",
        )
    return scaling
