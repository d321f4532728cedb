"""Behind `quorate model quantize`: calibration files to rows, and the canonical model with its card to files."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.model_source import read_card
from coordinator.cli.rows import read_array

if TYPE_CHECKING:
    from models.quantizer import Quantization
    from models.scaling import Scaling


@dataclass(frozen=True, slots=True)
class Made:
    """A quantised model, the rows it was calibrated on, and the scaling that made them from features (None: bytes)."""

    report: Quantization
    row_count: int
    scaling: Scaling | None


def quantize(float_model: Path, calibration: Path, labels: Path | None, card: Path | None) -> Made:
    """Quantise a float ONNX file on calibration data. Raises CannotQuantize, NotExecutable, BadFeatures, Refusal, OSError."""
    from models import quantizer
    from models.form import RefusedModel
    from models.program import compile_network

    scaling = read_card(card).scaling if card else None
    rows, scaling = _calibration(calibration, scaling)
    classes = None if labels is None else _labels(labels)
    try:
        report = quantizer.quantize(float_model, rows, scaling, classes)
        compile_network(report.network)  # a model that nobody could register is not written
    except RefusedModel:
        raise
    except ValueError as error:
        raise Refusal(ExitCode.BAD_INPUT, str(error)) from error
    return Made(report, len(rows), scaling)


def write(made: Made, output: Path) -> list[Path]:
    """Write the model and, where features were scaled, its card beside it. The paths written. Raises OSError."""
    from models.canonical import to_onnx

    written = [_write(output, to_onnx(made.report.network).SerializeToString(deterministic=True))]
    if made.scaling is not None:
        card = json.dumps(_card(made, made.scaling, output.stem), indent=1, ensure_ascii=False)
        written.append(_write(output.with_suffix(".card.json"), card.encode() + b"\n"))
    return written


def _calibration(path: Path, scaling: Scaling | None) -> tuple[NDArray[np.uint8], Scaling | None]:
    """Rows (n, row_length), and the scaling that made them; it is fitted to the features where none was given."""
    from models.scaling import fit, read_csv

    if path.suffix == ".csv" and scaling is not None:
        return read_csv(path, scaling), scaling
    if path.suffix == ".csv":
        names, values = _read_features(path)
    else:
        values = read_array(path)
        if values.dtype == np.uint8:
            return values.astype(np.uint8, copy=False), None
        names = [f"feature-{column}" for column in range(values.shape[1])]
    if scaling is None:
        _check_finite(path, values)
        try:
            scaling = fit(names, values)
        except ValueError as error:
            raise Refusal(ExitCode.BAD_INPUT, f"{path}: {error}") from error
    return scaling.to_rows(values), scaling


def _read_features(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Column names (made up where there is no header) and values (n, f) of a CSV file. Raises Refusal, OSError."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: not a CSV file in UTF-8 ({error})") from error
    lines = text.splitlines()
    if not lines:
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: no rows; one line an item is expected")
    cells = [cell.strip() for cell in lines[0].split(",")]
    has_header = not all(_is_number(cell) for cell in cells)
    try:
        values = np.loadtxt(lines[has_header:], delimiter=",", ndmin=2, dtype=np.float64)
    except ValueError as error:
        place = f"rows counted from 0 after the header, columns {', '.join(cells)}" if has_header else "counted from 0"
        raise Refusal(
            ExitCode.BAD_INPUT,
            f"{path}: {str(error).rstrip('.')} ({place}); every column must be a number and a feature: leave others out",
        ) from error
    return (cells if has_header else [f"feature-{column}" for column in range(len(cells))]), values


def _labels(path: Path) -> NDArray[np.int64]:
    values = read_array(path) if path.suffix == ".npy" else _read_features(path)[1]
    flat = values.reshape(-1)
    if flat.size != values.shape[0] or not np.array_equal(flat, np.rint(flat)):
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: labels are one whole number a row, the class's place from 0")
    return flat.astype(np.int64)


def _check_finite(path: Path, values: NDArray[Any]) -> None:
    bad = np.argwhere(~np.isfinite(values.astype(np.float64)))
    if len(bad):
        row, column = bad[0]
        raise Refusal(
            ExitCode.BAD_INPUT,
            f"{path}: row {row}, column {column} is {values[row, column]}, not a finite number; remove or repair the row",
        )


def _card(made: Made, scaling: Scaling, name: str) -> dict[str, Any]:
    network, report = made.report.network, made.report
    measured = {"float": report.float_accuracy, "integer": report.integer_accuracy}
    return {
        "name": name,
        "title": name,
        "classes": [f"class-{place}" for place in range(network.output_length)],
        "shape": [network.row_length, *(layer.outputs for layer in network.layers)],
        "data": {},
        "accuracy": {
            "method": "on the calibration rows themselves: not a measure of what the model does on new data",
            "rows": made.row_count,
            "agreement_with_float": report.agreement,
            **{kind: value for kind, value in measured.items() if value is not None},
        },
        "features": [
            {"name": feature, "minimum": low, "maximum": high}
            for feature, low, high in zip(scaling.features, scaling.minimum, scaling.maximum, strict=True)
        ],
    }


def _write(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)  # whole or not at all
    return path


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
