"""From raw features to the bytes a network reads: the one function that trainer, CLI and demo share.

A byte is rint(clip((x − minimum) / (maximum − minimum) · 255, 0, 255)), in IEEE 754 double precision, each step a
separate NumPy operation: subtraction, division and multiplication are correctly rounded by the standard, rint rounds
halves to even, nothing is fused or summed. So every machine gets the same bytes from the same numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_ROWS_PER_BLOCK = 65_536


class BadFeatures(ValueError):
    """Features that cannot become rows; the message says which row, which column and what to do."""


@dataclass(frozen=True)
class Scaling:
    """Each feature's name and the two values that become byte 0 and byte 255. Values beyond them are clipped."""

    features: tuple[str, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.minimum) == len(self.maximum) > 0:
            raise ValueError("a scaling needs one minimum and one maximum for each feature, and at least one feature")
        if len(set(self.features)) != len(self.features):
            raise ValueError("two features of a scaling have the same name")
        for name, low, high in zip(self.features, self.minimum, self.maximum, strict=True):
            if not 0 < high - low < np.inf:
                raise ValueError(
                    f"feature {name!r}: maximum {high} must be above minimum {low}; leave out a constant feature"
                )

    def to_rows(self, features: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Rows (n, f) uint8 of raw features (n, f). Raises BadFeatures for a wrong count, a NaN or an infinity."""
        values = self._check(features)
        low = np.array(self.minimum, np.float64)
        span = np.array(self.maximum, np.float64) - low
        with np.errstate(over="ignore"):  # a finite outlier may pass the largest double: it is clipped all the same
            offset = values - low
            share = offset / span
            scaled = share * 255.0
        return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)

    def to_features(self, rows: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The feature values (n, f) that rows (n, f) stand for: what `to_rows` maps back to the same rows."""
        low = np.array(self.minimum, np.float64)
        return low + rows.astype(np.float64) / 255.0 * (np.array(self.maximum, np.float64) - low)

    def _check(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        try:
            values = np.asarray(features, np.float64)
        except (TypeError, ValueError) as error:
            raise BadFeatures(f"features must be numbers: {error}") from error
        count = len(self.features)
        if values.ndim != 2 or values.shape[1] != count:
            raise BadFeatures(
                f"features must have shape (n, {count}), not {values.shape}: one column for each of "
                f"{', '.join(self.features)}"
            )
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, column = (int(i) for i in bad[0])
            raise BadFeatures(
                f"row {row}, feature {self.features[column]!r}: {values[row, column]} is not a finite number; "
                f"remove or repair the row ({len(bad)} such values in all)"
            )
        return values


def fit(features: Sequence[str], values: NDArray[np.float64], digits: int = 6) -> Scaling:
    """The scaling whose range is that of values (n, f), written with few digits so that a card can be read.

    Raises ValueError where a feature never varies.
    """
    low = [float(f"{value:.{digits}g}") for value in values.min(axis=0)]
    high = [float(f"{value:.{digits}g}") for value in values.max(axis=0)]
    return Scaling(tuple(features), tuple(low), tuple(high))


def read_csv(path: Path | str, scaling: Scaling) -> NDArray[np.uint8]:
    """Rows (n, f) uint8 of a CSV file of raw features.

    A first line that is not all numbers is a header: columns are then found by feature name, in any order, and others
    are ignored. Without a header the columns must be exactly the features, in order. Blank lines are skipped.
    Raises BadFeatures naming line and column; OSError where the file cannot be read.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            blocks = list(_read_blocks(csv.reader(file, strict=True), path, scaling))
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadFeatures(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not blocks:
        raise BadFeatures(f"{path}: no rows; one line an item is expected")
    return np.concatenate(blocks)


def _read_blocks(reader: Iterator[list[str]], path: Path, scaling: Scaling) -> Iterator[NDArray[np.uint8]]:
    columns: list[int] | None = None
    width = 0
    block: list[list[float]] = []
    for line, cells in enumerate(reader, start=1):
        if not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            width = len(cells)
            is_header = not all(_NUMBER.fullmatch(cell.strip()) for cell in cells)
            columns = _find_columns(cells, path, line, scaling, is_header)
            if is_header:
                continue
        if len(cells) != width:
            raise BadFeatures(f"{path}, line {line}: {len(cells)} cells where the first line has {width}")
        block.append(
            [_parse(cells[column], path, line, name) for column, name in zip(columns, scaling.features, strict=True)]
        )
        if len(block) == _ROWS_PER_BLOCK:
            yield scaling.to_rows(np.array(block))
            block = []
    if block:
        yield scaling.to_rows(np.array(block))


def _find_columns(cells: list[str], path: Path, line: int, scaling: Scaling, is_header: bool) -> list[int]:
    names = [cell.strip() for cell in cells]
    if not is_header:
        if len(names) != len(scaling.features):
            raise BadFeatures(
                f"{path}, line {line}: {len(names)} columns where the model reads {len(scaling.features)} features "
                f"({', '.join(scaling.features)}); add a header line to pick columns by name"
            )
        return list(range(len(names)))
    missing = [name for name in scaling.features if name not in names]
    if missing:
        odd = next(name for name in names if not _NUMBER.fullmatch(name))
        raise BadFeatures(
            f"{path}, line {line}: the header has no column {', '.join(map(repr, missing))} "
            f"(if the line is data, {odd!r} is not a number)"
        )
    twice = [name for name in scaling.features if names.count(name) > 1]
    if twice:
        raise BadFeatures(f"{path}, line {line}: the header has column {twice[0]!r} twice")
    return [names.index(name) for name in scaling.features]


def _parse(cell: str, path: Path, line: int, name: str) -> float:
    text = cell.strip()
    if not _NUMBER.fullmatch(text):
        raise BadFeatures(f"{path}, line {line}, column {name!r}: {cell!r} is not a number")
    value = float(text)
    if not np.isfinite(value):
        raise BadFeatures(f"{path}, line {line}, column {name!r}: {cell!r} is not finite; remove or repair the line")
    return value
