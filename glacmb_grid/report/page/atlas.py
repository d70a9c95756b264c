"""Map of glaciers, the series of the one that was clicked, and the map of applicability."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import ColorBar, ColumnDataSource, CustomJS, Span, TextInput, UIElement
from bokeh.palettes import RdBu, cividis
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from glacmb_grid.plot.style import limit_of
from glacmb_grid.report.page.charts import COLOURS, chart, hover, intervals, script, settle
from glacmb_grid.report.page.glaciers import Glaciers

_COLUMNS = ("longitude", "latitude", "area", "mean", "applicable", "size", "identifier", "name")
_SERIES = ("year", "balance", "lower", "upper")
_MAP_HEIGHT = 430
_MANY = 5000  # glaciers beyond which outlines would hide the colours


def atlas(glaciers: Glaciers, document: Document) -> dict[str, UIElement]:
    """Charts by their place in the page; their data are decoded when the page is there.

    Parameters
    ----------
    glaciers : Glaciers
    document : bokeh Document
        Takes the callback that decodes.

    Returns
    -------
    dict
        `search` and `series`; `map` where positions are known, `applicability` where the model's applicability is.
    """
    data, again = (ColumnDataSource({n: [] for n in _COLUMNS}) for _ in range(2))
    chosen = ColumnDataSource({"index": [], "longitude": [], "latitude": []})
    measured = ColumnDataSource({"longitude": [], "latitude": [], "size": []})
    series, observed = (ColumnDataSource(c) for c in _first_series(glaciers))
    search = TextInput(title="Find a glacier by identifier or name", sizing_mode="stretch_width")
    search.js_on_change("value", CustomJS(args={"map": data, "chosen": chosen}, code=script("find.js")))
    out: dict[str, UIElement] = {"search": search}
    if glaciers.placed:
        what = "mean annual balance (m w.e.)" if glaciers.of_product else "mean observed balance (m w.e.)"
        limit = limit_of(glaciers.mean)
        out["map"] = _map(glaciers, data, chosen, "mean", what, (tuple(reversed(RdBu[11])), -limit, limit))
        if glaciers.ringed:
            ring = {"fill_color": None, "line_color": "black", "line_width": 1.6}
            out["map"].scatter("longitude", "latitude", size="size", source=measured, **ring)
        if np.isfinite(glaciers.applicable).any():
            what = "share of years within the area of applicability"
            out["applicability"] = _map(glaciers, again, chosen, "applicable", what, (cividis(11), 0.0, 1.0))
    drawn = _series(glaciers, series, observed)
    out["series"] = drawn
    show = CustomJS(
        args={"map": data, "chosen": chosen, "series": series, "observed": observed, "heading": drawn.title},
        code=script("show.js"),
    )
    chosen.js_on_change("data", show)
    sources = {"map": data, "again": again, "chosen": chosen, "measured": measured}
    decode = CustomJS(args=sources, code=script("decode.js"))
    document.js_on_event("document_ready", decode)
    return out


def _first_series(glaciers: Glaciers) -> tuple[dict[str, Any], dict[str, Any]]:
    """Predictions and observations of the glacier that is shown first, before anything is decoded."""
    if not glaciers.identifier:
        return {n: [] for n in _SERIES}, {n: [] for n in _SERIES}
    one = glaciers.first
    balance = np.round(glaciers.balance[one], 3)
    width = np.full(len(balance), np.nan) if glaciers.half_width is None else glaciers.half_width[one]
    ends = {"lower": balance - width, "upper": balance + width}
    seen = np.array(glaciers.observed.get(one, []), dtype=np.float64).reshape(-1, 3)
    year, value, sigma = seen.T
    observed = {"year": year, "balance": value, "lower": value - sigma, "upper": value + sigma}
    return {"year": np.array(glaciers.year), "balance": balance, **ends}, observed


def _map(
    glaciers: Glaciers,
    data: ColumnDataSource,
    chosen: ColumnDataSource,
    column: str,
    what: str,
    colours: tuple[tuple[str, ...], float, float],
) -> figure:
    """A map of which only the layer of the ring is drawn again when a glacier is chosen, not that of all glaciers."""
    palette, low, high = colours
    middle = float(np.nanmean(glaciers.latitude))
    made = chart(
        "longitude (degrees east)",
        "latitude (degrees north)",
        height=_MAP_HEIGHT,
        tools="pan,wheel_zoom,box_zoom,reset,save",
        active_scroll=None,
        output_backend="webgl",
        match_aspect=True,
        aspect_scale=float(np.cos(np.radians(middle))),
        lod_threshold=None,
    )
    corners = [[float(f(v)) for f in (np.nanmin, np.nanmax)] for v in (glaciers.longitude, glaciers.latitude)]
    frame = made.scatter(*corners, size=1, alpha=0)  # the axes are right before the glaciers are decoded
    for axis in (made.x_range, made.y_range):
        axis.renderers = [frame]
    many = len(glaciers.identifier) > _MANY
    mapper = linear_cmap(column, palette, low, high, nan_color="#bbbbbb")
    dots = made.scatter(
        "longitude",
        "latitude",
        size="size",
        source=data,
        fill_color=mapper,
        line_color=None if many else "#444444",
        line_width=0.3,
    )
    style = {"size": 16, "fill_color": None, "line_color": "black", "line_width": 2.5, "level": "overlay"}
    made.scatter("longitude", "latitude", source=chosen, **style)
    tooltips = [("", "@identifier @name"), ("area", "@area{0.[00]} km²"), ("mean balance", "@mean{0.[00]} m w.e.")]
    if column == "applicable":
        tooltips.append(("applicable", "@applicable{0%} of years"))
    hover(made, tooltips, renderers=[dots], point_policy="follow_mouse")
    choose = CustomJS(args={"map": data, "chosen": chosen, "plot": made}, code=script("tap.js"))
    for event in ("tap", "doubletap"):  # two clicks in quick succession are one double tap, wherever they are
        made.js_on_event(event, choose)
    bar = ColorBar(color_mapper=mapper.transform, title=what, height=8, padding=6, title_text_font_style="normal")
    bar.title_text_font_size = bar.major_label_text_font_size = "11px"
    bar.width = "auto"
    made.add_layout(bar, "below")
    return made


def _series(glaciers: Glaciers, series: ColumnDataSource, observed: ColumnDataSource) -> figure:
    made = chart("hydrological year", "annual balance (m w.e.)", height=360, title=" ")
    made.add_layout(Span(location=0, dimension="width", line_color="#999999", line_width=1))
    if glaciers.half_width is not None:
        made.varea("year", "lower", "upper", source=series, color=COLOURS[0], alpha=0.2, legend_label=glaciers.band)
    made.line("year", "balance", source=series, color=COLOURS[0], line_width=2, legend_label="predicted")
    dots = made.scatter("year", "balance", source=series, color=COLOURS[0], size=4)
    if glaciers.observed:
        seen = made.scatter("year", "balance", source=observed, color="black", size=6, legend_label="observed (1 σ)")
        intervals(made, observed, "year", "black")
        hover(made, [("year", "@year"), ("observed", "@balance{0.00} m w.e.")], renderers=[seen])
    hover(made, [("year", "@year"), ("predicted", "@balance{0.00} [@lower{0.00}, @upper{0.00}]")], renderers=[dots])
    return settle(made, title=" ")
