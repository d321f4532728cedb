"""Charts: drawn as SVG, so that they follow the theme by the style sheet's own colours; each with its table beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from coordinator.dashboard.parts import Tag, cell, table, text

_INK, _QUIET, _LINE = "var(--ink)", "var(--quiet)", "var(--line)"
COLOURS = ("var(--r0)", "var(--r1)", "var(--r2)")
_SYMBOLS = ("circle", "rect", "triangle")


def chart(
    summary: str,
    labels: Sequence[str],
    series: dict[str, Sequence[float | None]],
    *,
    kind: str = "line",
    unit: str = "",
) -> Any:
    """A chart of one or more series over `labels`. summary: what it shows, for those who do not see it."""
    with Tag("div", classes="chart-box"):
        with Tag("div", role="img", aria_label=summary):
            drawn = ui.echart(options(labels, series, kind), renderer="svg").classes("chart")
        with Tag("details"):
            Tag("summary", "Show as a table")
            _table(summary, labels, series, unit)
    return drawn


def options(labels: Sequence[str], series: dict[str, Sequence[float | None]], kind: str) -> dict[str, Any]:
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


def _table(caption: str, labels: Sequence[str], series: dict[str, Sequence[float | None]], unit: str) -> None:
    names = [f"{name} ({unit})" if unit else name for name in series]
    with table(caption, ("Time", *names), numbers=names):
        for place, label in enumerate(labels):
            with Tag("tr"):
                with cell():
                    text(label)
                for values in series.values():
                    with cell(number=True):
                        value = values[place]
                        text("–" if value is None else f"{value:,.6g}")
