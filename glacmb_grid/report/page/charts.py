"""What all charts of the page share: size, tools, colours, and how a band or an interval is drawn."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Legend
from bokeh.plotting import figure

from glacmb_grid.plot.style import COLOURS, colours_of

MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "plus", "x", "star")
HEIGHT = 320
FAINT = "#e6e6e6"
_FONT = "11px"
_NARROW = 330  # pixels that a legend has on a telephone

__all__ = [
    "COLOURS",
    "HEIGHT",
    "MARKERS",
    "chart",
    "colours_of",
    "hover",
    "intervals",
    "line_height",
    "script",
    "settle",
]


def script(name: str) -> str:
    """Text of one of the page's callbacks."""
    return (files("glacmb_grid.report.page") / name).read_text(encoding="utf-8")


def chart(x: str, y: str, *, height: int = HEIGHT, **options: Any) -> figure:
    """An empty chart as wide as its place."""
    options = {"tools": "pan,box_zoom,reset,save", "toolbar_location": "right", **options}
    made = figure(height=height, sizing_mode="stretch_width", x_axis_label=x, y_axis_label=y, **options)
    made.toolbar.logo = None
    made.toolbar.autohide = True
    made.outline_line_color = None
    made.grid.grid_line_color = FAINT
    for axis in made.axis:
        axis.axis_line_color = "#888888"
        axis.major_tick_line_color = "#888888"
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = _FONT
    return made


def settle(made: figure, *, title: str = "") -> figure:
    """Put the legend of a finished chart above it, where it covers nothing."""
    if title:
        made.title.text = title
        made.title.text_font_size = "12px"
        made.title.text_font_style = "normal"
    for legend in made.select({"type": Legend}):
        labels = [str(item.label.value) for item in legend.items]
        legend.orientation, legend.location = "horizontal", "top_left"
        legend.ncols = max(1, int(_NARROW / (32 + 6.2 * max(map(len, labels), default=1))))
        legend.border_line_color = None
        legend.padding, legend.margin, legend.spacing = 2, 2, 8
        legend.label_text_font_size = _FONT
        legend.glyph_height = legend.glyph_width = 14
        legend.click_policy = "hide"
        made.add_layout(legend, "above")
    return made


def hover(made: figure, tooltips: list[tuple[str, str]], **options: Any) -> None:
    """Say what is under the pointer."""
    made.add_tools(HoverTool(tooltips=tooltips, **options))


def intervals(made: figure, source: ColumnDataSource, base: str, colour: str, *, lying: bool = False) -> None:
    """Intervals from `lower` to `upper`; where they are NaN nothing is drawn."""
    ends = ("lower", base, "upper", base) if lying else (base, "lower", base, "upper")
    made.segment(*ends, source=source, line_color=colour, line_width=1.5)


def line_height(lines: int) -> int:
    """Height of a chart with a line of text for each of so many things, pixels."""
    return int(np.clip(90 + 22 * lines, 150, 900))
