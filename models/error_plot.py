"""The errors of an integer network's logits as one SVG image: against the float model's logits, and how often each occurs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.sax.saxutils import escape

import numpy as np

from models.comparison import Comparison
from models.float_model import Floats

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 20, 48, 56
_BARS = 150  # pixels of the histogram's panel
_GAP = 16
_MOST_DOTS = 4000
_BINS = 41
_INK, _SOFT, _BLUE, _RED = "#1f2933", "#d9dee3", "#2f6db3", "#c2362b"


def plot_errors(comparison: Comparison, title: str) -> str:
    """A self-contained SVG document. Dots in red are logits of rows whose class changed.

    Of more than 4,000 logits, those of some rows are drawn, evenly chosen, and of every row whose class changed.
    """
    reach = max(comparison.largest_error * 1.05, 1e-12)
    places = _Axis(*_padded(comparison.by_float), _LEFT, _WIDTH - _RIGHT - _BARS - _GAP)
    errors = _Axis(-reach, reach, _HEIGHT - _BOTTOM, _TOP)
    changed = comparison.float_classes != comparison.integer_classes
    said = f"{title}: {len(changed):,} rows, {int(changed.sum()):,} of another class (red)"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}" role="img">',
        f"<title>{escape(said)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{escape(said)}</text>',
        *_frame(places, errors),
        *_dots(comparison, places, errors, changed),
        *_bars(comparison.errors.ravel(), errors),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Axis:
    """Numbers low … high along pixels start … end."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, number: float) -> float:
        share = (number - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Round numbers, and how they are written."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
        for count in range(math.ceil(self.low / step), math.floor(self.high / step) + 1):
            yield count * step, f"{count * step:.4g}"


def _padded(logits: Floats) -> tuple[float, float]:
    low, high = float(logits.min()), float(logits.max())
    room = max((high - low) * 0.04, 1e-12, abs(high) * 1e-9)
    return low - room, high + room


def _frame(places: _Axis, errors: _Axis) -> Iterator[str]:
    for number, text in places.ticks():
        x = places(number)
        yield f'<line x1="{x}" y1="{errors.end}" x2="{x}" y2="{errors.start}" stroke="{_SOFT}"/>'
        yield f'<text x="{x}" y="{errors.start + 18}" text-anchor="middle">{text}</text>'
    for number, text in errors.ticks():
        y = errors(number)
        yield f'<line x1="{places.start}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}" stroke="{_SOFT}"/>'
        yield f'<text x="{places.start - 8}" y="{y + 4}" text-anchor="end">{text}</text>'
    middle = (places.start + places.end) / 2
    yield f'<text x="{middle}" y="{_HEIGHT - 14}" text-anchor="middle">logit of the float model</text>'
    height = (errors.start + errors.end) / 2
    turned = f'transform="rotate(-90 18 {height})" text-anchor="middle"'
    yield f'<text x="18" y="{height}" {turned}>error: integer less float logit</text>'
    bars = _WIDTH - _RIGHT - _BARS / 2
    yield f'<text x="{bars}" y="{_HEIGHT - 14}" text-anchor="middle">how many logits</text>'


def _dots(comparison: Comparison, places: _Axis, errors: _Axis, changed: np.ndarray) -> Iterator[str]:
    outputs = comparison.by_float.shape[1]
    every = max(1, math.ceil(len(changed) * outputs / _MOST_DOTS))
    for is_changed, colour, opacity in ((False, _BLUE, 0.5), (True, _RED, 1)):
        rows = np.flatnonzero(changed == is_changed)
        rows = rows[:_MOST_DOTS] if is_changed else rows[::every]
        pairs = zip(comparison.by_float[rows].ravel(), comparison.errors[rows].ravel(), strict=True)
        dots = "".join(f"M{places(float(x))} {errors(float(y))}h0" for x, y in pairs)
        if dots:
            style = f'fill="none" stroke="{colour}" stroke-width="3" stroke-linecap="round" stroke-opacity="{opacity}"'
            yield f'<path d="{dots}" {style}/>'


def _bars(values: Floats, errors: _Axis) -> Iterator[str]:
    counts, edges = np.histogram(values, _BINS, (errors.low, errors.high))
    start = _WIDTH - _RIGHT - _BARS
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            top, bottom = errors(float(high)), errors(float(low))
            size = f'width="{_BARS * count / counts.max():.1f}" height="{bottom - top:.1f}"'
            yield f'<rect x="{start}" y="{top}" {size} fill="{_BLUE}"><title>{count:,}</title></rect>'
