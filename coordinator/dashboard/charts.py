"""Charts: drawn as SVG, so that they follow the theme by the style sheet's own colours; each with its table beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

from coordinator.dashboard.parts import Element, Picture, Tag, cell, drawn, table, text

_INK, _QUIET, _LINE = "var(--ink)", "var(--quiet)", "var(--line)"
COLOURS = ("var(--r0)", "var(--r1)", "var(--r2)")
_SYMBOLS = ("circle", "rect", "triangle")


@dataclass(frozen=True)
class Drawing:
    """What a chart shows: one or more series over `labels`."""

    summary: str
    """What it shows, for those who do not see it."""
    labels: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    caption: str
    """What it is in, for all; of an empty one, what will fill it."""


class Chart:
    """A chart that changes in place: what a reader opened stays open. Its table is made when it is asked for."""

    def __init__(self, draw: Callable[[], Drawing], *, kind: str = "line", unit: str = "") -> None:
        """draw: what to show now; cheap, and equal to what it gave before where nothing changed."""
        self._draw, self._kind, self._unit = draw, kind, unit
        self._shown = drawing = draw()
        with Tag("div", classes="chart-box"):
            self._caption = Element("p", drawing.caption, "quiet chart-caption")
            with Element("div", role="img", aria_label=drawing.summary) as self._image:
                made = options(drawing.labels, drawing.series, kind)
                self._chart = ui.echart(made, renderer="svg").classes("chart")
            with Element("details") as self._details:
                self._details.on("toggle", self._toggle, js_handler="(event) => emit(event.target.open)")
                Tag("summary", "Show as a table")
                self._table = Element("div")
        self._is_open = False
        self._hide_if_empty()

    def look(self) -> bool:
        """Show what changed; whether anything did."""
        drawing = self._draw()
        if drawing is self._shown or drawing == self._shown:
            return False
        self._shown = drawing
        self._caption.say(drawing.caption)
        self._image._props["aria-label"] = drawing.summary
        self._image.update()
        self._chart.options.clear()
        self._chart.options.update(options(drawing.labels, drawing.series, self._kind))
        self._chart.update()
        self._hide_if_empty()
        if self._is_open:
            self._fill()
        return True

    def _hide_if_empty(self) -> None:
        for part in (self._image, self._details):
            part.set_visibility(bool(self._shown.labels))

    def _toggle(self, event: GenericEventArguments) -> None:
        self._is_open = event.args is True
        if self._is_open:
            self._fill()

    def _fill(self) -> None:
        self._table.clear()
        with self._table:
            Picture(drawn(lambda: _table(self._shown, self._unit)))


def options(labels: Sequence[str], series: Mapping[str, Sequence[float | None]], kind: str) -> dict[str, Any]:
    """What ECharts is told."""
    axis = {"axisLine": {"lineStyle": {"color": _LINE}}, "axisTick": {"show": False}, "axisLabel": {"color": _QUIET}}
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "grid": {"left": 8, "right": 12, "top": 34, "bottom": 6, "containLabel": True},
        "legend": {
            "top": 0,
            "left": 0,
            "icon": "roundRect",
            "itemWidth": 12,
            "itemHeight": 8,
            "textStyle": {"color": _INK},
        },
        "xAxis": {
            "type": "category",
            "data": list(labels),
            **axis,
            "axisLabel": {"color": _QUIET, "hideOverlap": True},
        },
        "yAxis": {
            "type": "value",
            "minInterval": 1 if kind == "bar" else 0,
            "splitLine": {"lineStyle": {"color": _LINE}},
            "axisLabel": {"color": _QUIET},
            "splitNumber": 4,
        },
        "series": [_series(name, values, kind, place) for place, (name, values) in enumerate(series.items())],
    }


def _series(name: str, values: Sequence[float | None], kind: str, place: int) -> dict[str, Any]:
    colour = COLOURS[place % len(COLOURS)]
    made: dict[str, Any] = {
        "name": name,
        "type": kind,
        "data": list(values),
        "silent": True,
        "itemStyle": {"color": colour},
        "emphasis": {"disabled": True},
    }
    if kind == "bar":
        return {**made, "barMaxWidth": 14, "barGap": "15%"}
    line = {"color": colour, "width": 2, "type": ("solid", "dashed", "dotted")[place % 3]}
    return {**made, "lineStyle": line, "symbol": _SYMBOLS[place % 3], "symbolSize": 5, "connectNulls": True}


def _table(drawing: Drawing, unit: str) -> None:
    names = [f"{name} ({unit})" if unit else name for name in drawing.series]
    with table(drawing.summary, ("Time", *names), numbers=names):
        for place, label in enumerate(drawing.labels):
            with Tag("tr"):
                with cell():
                    text(label)
                for values in drawing.series.values():
                    with cell(number=True):
                        value = values[place]
                        text("–" if value is None else f"{value:,.6g}")
