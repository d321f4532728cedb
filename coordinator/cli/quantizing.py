"""Behind `quorate model quantize`: calibration files to rows; the canonical model, its card and its report to files."""

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
from coordinator.cli.rows import read_array, read_items, read_rows

if TYPE_CHECKING:
    from models.comparison import Comparison
    from models.network import Shape
    from models.quantizer import Calibration, Quantization
    from models.scaling import Scaling


@dataclass(frozen=True, slots=True)
class Asked:
    """The files and choices of one command. one_range: of every feature; None and no card: ranges are fitted.

    tested: rows to report on instead of the calibration rows. labels: of the rows reported on.
    """

    float_model: Path
    calibration: Path
    labels: Path | None = None
    tested: Path | None = None
    card: Path | None = None
    one_range: tuple[float, float] | None = None
    method: Calibration = "largest"


@dataclass(frozen=True, slots=True)
class Made:
    """A quantised model and how it does on the rows reported on, which calibrated it unless is_held_out."""

    quantization: Quantization
    comparison: Comparison
    is_held_out: bool


def quantize(asked: Asked) -> Made:
    """Quantise a float ONNX file on calibration data. Raises CannotQuantize, NotCanonical, BadFeatures, Refusal, OSError."""
    from models import quantizer
    from models.form import RefusedModel
    from models.program import compile_network

    try:
        row_shape = quantizer.read_float_model(asked.float_model)[0].row_shape
        rows, scaling = _calibration(asked, row_shape)
        labels = None if asked.labels is None else _labels(asked.labels)
        tested = None if asked.tested is None else read_rows(asked.tested, rows.shape[1], scaling)
        made = quantizer.quantize(
            asked.float_model, rows, scaling, None if tested is not None else labels, asked.method
        )
        compile_network(made.network)  # a model that nobody could register is not written
        comparison = made.comparison if tested is None else made.compare(tested, labels)
    except RefusedModel:
        raise
    except ValueError as error:
        raise Refusal(ExitCode.BAD_INPUT, str(error)) from error
    if labels is not None and asked.labels is not None:
        _check_classes(asked.labels, labels, max(2, made.network.output_length))
    return Made(made, comparison, tested is not None)


def write(made: Made, output: Path) -> list[Path]:
    """Write the model, its report with its plot and, where features were scaled, its card beside it; all or none.

    The paths written. Raises OSError.
    """
    from models.accuracy_report import write_report
    from models.canonical import to_onnx
    from models.error_plot import plot_errors

    name, plot = output.stem, output.with_suffix(".report.svg")
    report = write_report(made.quantization, made.comparison, name, made.is_held_out, plot.name)
    files = {
        output: to_onnx(made.quantization.network).SerializeToString(deterministic=True),
        output.with_suffix(".report.md"): report.encode(),
        plot: plot_errors(made.comparison, name).encode(),
    }
    if made.quantization.scaling is not None:
        card = json.dumps(_card(made, made.quantization.scaling, name), indent=1, ensure_ascii=False)
        files[output.with_suffix(".card.json")] = card.encode() + b"\n"
    _write(files)
    return list(files)


def facts(made: Made) -> dict[str, Any]:
    """What the report says, for whoever called the command."""
    from models.accuracy_report import explain_dropped

    comparison = made.comparison
    return {
        "rows": len(comparison.by_float),
        "judged_on": "test rows" if made.is_held_out else "calibration rows",
        "agreement_with_float": comparison.agreement,
        "float_accuracy": comparison.float_accuracy,
        "integer_accuracy": comparison.integer_accuracy,
        "logit_error": comparison.typical_error,
        "largest_logit_error": comparison.largest_error,
        "logit_spread": comparison.spread,
        "worst_rows": [row.index for row in comparison.worst],
        "dropped_operators": list(made.quantization.dropped),
        "dropped_because": [explain_dropped(operator) for operator in made.quantization.dropped],
        "logits_per_unit": made.quantization.logits_per_unit,
    }


def output_of(float_model: Path, output: Path | None) -> Path:
    """Where the integer model goes. Raises Refusal where that would overwrite the float model."""
    chosen = output or float_model.with_suffix(".integer.onnx")
    if chosen.resolve() == float_model.resolve():
        raise Refusal(ExitCode.USAGE, f"{chosen} is the float model itself: choose another --output")
    return chosen


def parse_range(text: str) -> tuple[float, float]:
    """The two numbers of LOW:HIGH. Raises Refusal."""
    low, _, high = text.partition(":")
    if not (_is_number(low) and _is_number(high)) or not 0 < float(high) - float(low) < np.inf:
        raise Refusal(ExitCode.USAGE, f"--range {text!r}: give the least and the largest value as LOW:HIGH, like 0:16")
    return float(low), float(high)


def _calibration(asked: Asked, row_shape: Shape) -> tuple[NDArray[np.uint8], Scaling | None]:
    """Rows (n, row_length), and the scaling that made them; one is fitted to the features where none was given."""
    from models.scaling import Scaling, fit, read_csv

    path = asked.calibration
    scaling = read_card(asked.card).scaling if asked.card else None
    if path.suffix == ".csv" and scaling is not None:
        return read_csv(path, scaling), scaling
    if path.suffix == ".csv":
        names, values = _read_features(path)
    else:
        items = read_items(path)
        _check_layout(path, items.shape[1:], row_shape)
        values = items.reshape(len(items), -1)
        if values.dtype == np.uint8:
            if asked.one_range is not None or scaling is not None:
                advice = "uint8 rows are read as the bytes they are: leave out --range and --scaling, or give floats"
                raise Refusal(ExitCode.BAD_INPUT, f"{path}: {advice}")
            return values.astype(np.uint8, copy=False), None
        names = [f"feature-{column}" for column in range(values.shape[1])]
    _check_width(path, values, row_shape)
    _check_finite(path, values)
    one_range = asked.one_range
    if one_range is None and len(row_shape) > 1:  # an image: its pixels share a range, and some never vary
        one_range = float(values.min()), float(values.max())
    try:
        if scaling is None and one_range is not None:
            scaling = Scaling(tuple(names), (one_range[0],) * len(names), (one_range[1],) * len(names))
        scaling = scaling or fit(names, values)
    except ValueError as error:
        advice = "; or say what range all features share with --range LOW:HIGH, or give a --scaling card"
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: {error}{advice}") from error
    return scaling.to_rows(values), scaling


def _check_layout(path: Path, item: Shape, row_shape: Shape) -> None:
    """Refuse images whose dimensions stand in another order than the model's: they would be read as noise."""
    given, wanted = ([size for size in shape if size > 1] for shape in (item, row_shape))
    if len(given) > 1 and given != wanted and sorted(given) == sorted(wanted):
        advice = f"items of {item} where the model reads {row_shape}: transpose them to the model's order"
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: {advice}")


def _check_width(path: Path, values: NDArray[Any], row_shape: Shape) -> None:
    wanted = int(np.prod(row_shape))
    if values.shape[1] != wanted:
        advice = f"rows of {values.shape[1]} features, but the model reads {wanted} (its input is {row_shape})"
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: {advice}: is this another model's data?")


def _check_classes(path: Path, labels: NDArray[np.int64], classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        advice = f"labels {low} to {high}, but the model's classes are 0 to {classes - 1}: count them from 0"
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: {advice}")


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
    if not any(line.strip() for line in lines[has_header:]):
        raise Refusal(ExitCode.BAD_INPUT, f"{path}: no rows after its header; one line an item is expected")
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
    network, comparison = made.quantization.network, made.comparison
    measured = {"float": comparison.float_accuracy, "integer": comparison.integer_accuracy}
    held_out = "on rows that did not calibrate it"
    calibrated = "on the calibration rows themselves: not a measure of what the model does on new data"
    return {
        "name": name,
        "title": name,
        "classes": [f"class-{place}" for place in range(network.output_length)],
        "shape": network.widths,
        "data": {},
        "accuracy": {
            "method": held_out if made.is_held_out else calibrated,
            "rows": len(comparison.by_float),
            "agreement_with_float": comparison.agreement,
            **{kind: value for kind, value in measured.items() if value is not None},
        },
        "features": [
            {"name": feature, "minimum": low, "maximum": high}
            for feature, low, high in zip(scaling.features, scaling.minimum, scaling.maximum, strict=True)
        ],
    }


def _write(files: dict[Path, bytes]) -> None:
    """Write every file, or leave all as they were. Raises OSError."""
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in files}
    try:
        for path, content in files.items():
            drafts[path].write_bytes(content)
        for path, draft in drafts.items():
            draft.replace(path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
