"""What quantising a model cost, as Markdown that a person reads."""

from __future__ import annotations

from collections.abc import Sequence

from models.comparison import Comparison
from models.quantizer import Calibration, Quantization

_ORDER_KEPT = "it grows with the logits, so the class is the same"
_WHY = {
    "Softmax": _ORDER_KEPT,
    "LogSoftmax": _ORDER_KEPT,
    "Normalizer": _ORDER_KEPT,
    "Sigmoid": "it grows with the logit: above 0 is above one half",
    "ArgMax": "whoever reads the logits takes the index of the largest, the lowest among equals",
}
_NAMES = "it only names the class: a verdict gives the class's place, from 0"
_CALIBRATIONS: dict[Calibration, str] = {
    "largest": "the largest activation seen becomes 255",
    "percentile": "the 99.99th percentile of activations becomes 255",
    "mse": "the cut of least mean squared error becomes 255",
}


def explain_dropped(operator: str) -> str:
    """Why an operator at a model's end can be left off."""
    return _WHY.get(operator, _NAMES)


def write_report(made: Quantization, comparison: Comparison, subject: str, is_held_out: bool, plot: str) -> str:
    """The report on the rows of a comparison. is_held_out: they did not calibrate; plot: the name of the plot's file."""
    rows = "rows that did not calibrate it" if is_held_out else "the calibration rows themselves"
    network = made.network
    parts = [
        f"# {subject}: what quantising cost",
        f"Judged on {len(comparison.by_float):,} rows: {rows}. Calibration `{made.calibration}`: "
        f"{_CALIBRATIONS[made.calibration]}.",
        f"{network.macs:,} multiplications a row; {network.row_length:,} bytes in, {network.output_length} logits out.",
        _table(("figure", "value"), _figures(comparison)),
        f"![Errors of the logits]({plot})",
        "## Rows on which the models differ most",
        _table(
            ("row", "float class", "integer class", "largest error of a logit"),
            [
                (f"{row.index}", f"{row.float_class}", f"{row.integer_class}", f"{row.error:.4g}")
                for row in comparison.worst
            ],
        ),
        "## Where it was lost",
        "The error of each rounded value on the calibration rows, as a share of its own spread; errors add up on the way.",
        _table(
            ("node", "becomes", "error"),
            [(loss.node.replace("|", "/"), loss.becomes, f"{100 * loss.error:.2f} %") for loss in made.layers],
        )
        if made.layers
        else "Nothing is rounded before the logits.",
        "## Left off the end",
        *_dropped(made),
        "## What this does not say",
        "Agreement says that quantising lost little, not that the model is good. "
        + (
            "Accuracy is that on the rows given here."
            if is_held_out
            else "Rows that trained or calibrated a model flatter it: judge it on others (`--test`)."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _figures(comparison: Comparison) -> list[tuple[str, str]]:
    figures = [("same class as the float model", f"{100 * comparison.agreement:.2f} %")]
    if comparison.float_accuracy is not None and comparison.integer_accuracy is not None:
        lost = 100 * (comparison.float_accuracy - comparison.integer_accuracy)
        figures += [
            ("accuracy, float", f"{100 * comparison.float_accuracy:.2f} %"),
            ("accuracy, integer", f"{100 * comparison.integer_accuracy:.2f} %"),
            ("lost", f"{lost:.2f} points"),
        ]
    figures.append(("typical error of a logit (root mean square)", f"{comparison.typical_error:.4g}"))
    if comparison.spread > 0:
        share = comparison.typical_error / comparison.spread
        figures.append(("the same as a share of the logits' spread", f"{100 * share:.2f} %"))
    return [*figures, ("largest error of a logit", f"{comparison.largest_error:.4g}")]


def _dropped(made: Quantization) -> list[str]:
    said = [f"- {operator}: {explain_dropped(operator)}." for operator in made.dropped]
    if made.float_network.shapes[-1] == (2,) and made.dropped == ("Sigmoid",):
        said.append("- The one logit z became two, −z/2 and z/2, so that the larger is the class.")
    if made.network.output_length == 1:
        said.append("- There is one logit: read its number. As a class it is 1 above 0, else 0.")
    return ["\n".join(said) if said else "Nothing."]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
