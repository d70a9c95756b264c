"""Charts of regional sums, and of the product beside geodetic rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, CustomJS, Select, Span, UIElement
from bokeh.plotting import figure

from glacmb_grid.plot.series import QUANTITIES, band
from glacmb_grid.report.page.charts import COLOURS, chart, hover, intervals, settle
from glacmb_grid.report.page.tables import region_names
from glacmb_grid.vocabulary import BAND_LEVEL

MOST = 100
"""Regions that can be chosen from."""


def region_columns(regional: xr.Dataset, number: int, quantity: str) -> dict[str, Any]:
    """Columns of one region: value, and the ends of the band and of the one that independence would claim."""
    one = regional.isel(region=number)
    value = one[quantity].values.astype(np.float64)
    out: dict[str, Any] = {"year": one["year"].values.astype(int).tolist(), "value": np.round(value, 4)}
    for name, kind in (("", "uncertainty"), ("alone_", "uncertainty_independent")):
        known = f"{quantity}_{kind}" in one
        sigma = one[f"{quantity}_{kind}"].values.astype(np.float64) if known else np.full(len(value), np.nan)
        ends = zip(("lower", "upper"), band(value, sigma, BAND_LEVEL), strict=True)
        out |= {f"{name}{end}": np.round(values, 4) for end, values in ends}
    return {k: [None if x != x else x for x in np.asarray(v).tolist()] for k, v in out.items()}


def regional_charts(regional: xr.Dataset) -> dict[str, UIElement]:
    """A chart for every quantity, and what chooses the region where there are several."""
    names, quantities = region_names(regional)[:MOST], [q for q in QUANTITIES if q in regional]
    columns = {n: {q: region_columns(regional, k, q) for q in quantities} for k, n in enumerate(names)}
    out: dict[str, UIElement] = {}
    pairs = []
    for quantity in quantities:
        source = ColumnDataSource(_with_nan(columns[names[0]][quantity]))
        out[f"regional-{quantity}"] = _regional_chart(source, QUANTITIES[quantity])
        pairs.append((source, quantity))
    if len(names) > 1:
        choice = Select(title="Region", options=names, value=names[0])
        swap = _SWAP
        choice.js_on_change("value", CustomJS(args={"sources": pairs, "columns": columns}, code=swap))
        out = {"regional-choice": choice, **out}
    return out


_SWAP = """for (const [source, quantity] of sources) {
  const found = columns instanceof Map ? columns.get(cb_obj.value).get(quantity) : columns[cb_obj.value][quantity]
  const entries = found instanceof Map ? [...found] : Object.entries(found)
  source.data = Object.fromEntries(entries.map(([k, v]) => [k, v.map((x) => x === null ? NaN : x)]))
}"""


def _with_nan(columns: dict[str, Any]) -> dict[str, Any]:
    return {k: [np.nan if x is None else x for x in v] for k, v in columns.items()}


def _regional_chart(source: ColumnDataSource, label: str) -> figure:
    made = chart("hydrological year", label, height=300)
    made.add_layout(Span(location=0, dimension="width", line_color="#999999", line_width=1))
    said = f"{BAND_LEVEL:.0%} band"
    made.varea("year", "lower", "upper", source=source, color=COLOURS[0], alpha=0.2, legend_label=said)
    said = "if independent"
    made.varea("year", "alone_lower", "alone_upper", source=source, color=COLOURS[1], alpha=0.45, legend_label=said)
    made.line("year", "value", source=source, color=COLOURS[0], line_width=2)
    dots = made.scatter("year", "value", source=source, color=COLOURS[0], size=4)
    hover(made, [("year", "@year"), ("value", "@value{0.000} [@lower{0.000}, @upper{0.000}]")], renderers=[dots])
    return settle(made)


def geodetic_chart(compared: xr.Dataset) -> figure:
    """Means of the product over the periods of geodetic rates against these."""
    columns = {n: compared[n].values.astype(np.float64) for n in ("product_rate", "geodetic_rate")}
    days = [compared[n].values.astype("datetime64[D]") for n in ("begin", "end")]
    sigma = compared["product_uncertainty"].values.astype(np.float64)
    source = ColumnDataSource(
        {
            **columns,
            "lower": columns["product_rate"] - sigma,
            "upper": columns["product_rate"] + sigma,
            "glacier": compared["glacier"].values.astype(str).tolist(),
            "period": [f"{b} to {e}" for b, e in zip(*days, strict=True)],
        }
    )
    made = chart("geodetic rate (m w.e. per year)", "product, same period (m w.e. per year)", height=420)
    ends = [float(f(list(columns.values()))) for f in (np.nanmin, np.nanmax)] if len(sigma) else [0.0, 1.0]
    made.line(ends, ends, color="#888888")
    intervals(made, source, "geodetic_rate", "#9bbdd8")
    dots = made.scatter("geodetic_rate", "product_rate", source=source, color=COLOURS[0], size=5, alpha=0.7)
    rates = [("geodetic", "@geodetic_rate{0.00}"), ("product", "@product_rate{0.00}")]
    hover(made, [("", "@glacier"), ("period", "@period"), *rates], renderers=[dots])
    return settle(made)
