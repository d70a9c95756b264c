"""Charts of how good predictions are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource, CustomJS, Select, Span, UIElement
from bokeh.plotting import figure

from glacmb_grid.plot.scores import METRICS
from glacmb_grid.report.page.charts import (
    COLOURS,
    MARKERS,
    chart,
    colours_of,
    hover,
    intervals,
    line_height,
    settle,
)
from glacmb_grid.report.page.tables import counted

PAIRS = 60_000
"""Pairs of observed and predicted that the page holds at most; models beyond are not offered."""


def offered(predictions: pd.DataFrame, model: str) -> list[str]:
    """Models whose predictions the page holds: the product's first, then the others in their order."""
    models = sorted(dict.fromkeys(predictions["model"].astype(str)), key=lambda m: m != model)
    each = predictions.groupby("model", sort=False).size().reindex(models)
    return [m for m, total in zip(models, each.cumsum(), strict=True) if total <= PAIRS or m == models[0]]


def predicted_charts(predictions: pd.DataFrame, schemes: list[str], model: str) -> dict[str, UIElement]:
    """Predicted against observed in every scheme, and what chooses the model."""
    models = offered(predictions, model)
    columns: dict[str, dict[str, Any]] = {}
    for name in models:
        mine = predictions[predictions["model"] == name]
        columns[name] = {s: _pairs(mine[mine["scheme"] == s]) for s in schemes}
    out: dict[str, UIElement] = {}
    sources = []
    both = predictions[["observed", "predicted"]].to_numpy(np.float64)
    ends = [float(np.nanmin(both)), float(np.nanmax(both))] if np.isfinite(both).any() else [-1.0, 1.0]
    for scheme in schemes:
        source = ColumnDataSource(columns[models[0]][scheme])
        sources.append((source, scheme))
        out[f"predicted-{scheme}"] = _pairs_chart(source, scheme, ends)
    if len(models) > 1:
        choice = Select(title="Model", value=models[0], options=list(models))
        choice.js_on_change("value", CustomJS(args={"sources": sources, "columns": columns}, code=_SWAP))
        out = {"predicted-choice": choice, **out}
    return out


_SWAP = """for (const [source, scheme] of sources) {
  const found = columns instanceof Map ? columns.get(cb_obj.value).get(scheme) : columns[cb_obj.value][scheme]
  source.data = found instanceof Map ? Object.fromEntries([...found]) : {...found}
}"""


def _pairs(table: pd.DataFrame) -> dict[str, Any]:
    numbers = {n: table[n].to_numpy(np.float32) for n in ("observed", "predicted")}
    return {**numbers, "glacier": table["glacier"].astype(str).tolist(), "year": table["year"].to_numpy(np.int32)}


def _pairs_chart(source: ColumnDataSource, scheme: str, ends: list[float]) -> figure:
    made = chart("observed (m w.e.)", "predicted (m w.e.)", height=340, output_backend="webgl")
    made.line(ends, ends, color="#888888")
    dots = made.scatter("observed", "predicted", source=source, color=COLOURS[0], alpha=0.55, size=5, line_color=None)
    values = [("observed", "@observed{0.00}"), ("predicted", "@predicted{0.00}")]
    hover(made, [("", "@glacier @year"), *values], renderers=[dots])
    return settle(made, title=scheme)


def score_charts(scores: pd.DataFrame, schemes: list[str], metric: str = "rmse") -> dict[str, figure]:
    """Scores of all models with their intervals, a chart for every scheme."""
    table = scores[(scores["metric"] == metric) & (scores["slice"] == "all")]
    out = {}
    for scheme in schemes:
        one = table[table["scheme"] == scheme]
        models = list(dict.fromkeys(one["model"].astype(str)))
        made = chart(METRICS[metric], "", height=line_height(len(models)), y_range=models[::-1])
        columns = {n: one[n].to_numpy(np.float64) for n in ("value", "lower", "upper")}
        source = ColumnDataSource({**columns, "model": one["model"].astype(str).tolist()})
        intervals(made, source, "model", COLOURS[0], lying=True)
        dots = made.scatter("value", "model", source=source, color=COLOURS[0], size=8)
        hover(made, [("", "@model"), ("RMSE", "@value{0.000} [@lower{0.000}, @upper{0.000}]")], renderers=[dots])
        made.ygrid.grid_line_color = None
        out[f"scores-{scheme}"] = settle(made, title=f"{scheme}, n = {int(one['n'].max()) if len(one) else 0}")
    return out


def reliability_chart(coverage: pd.DataFrame, scheme: str, method: str) -> figure:
    """Share of observations within intervals of one method against the share promised, by model."""
    table = coverage[(coverage["slice"] == "all") & (coverage["scheme"] == scheme) & (coverage["method"] == method)]
    made = chart("promised share", "share of observations within", height=360, x_range=(0, 1.05), y_range=(0, 1.05))
    made.line([0, 1], [0, 1], color="#888888")
    models = colours_of(table["model"].astype(str))
    for number, (model, colour) in enumerate(models.items()):
        one = table[table["model"] == model]
        columns = {n: one[n].to_numpy(np.float64) for n in ("level", "coverage", "lower", "upper")}
        shift = (number - (len(models) - 1) / 2) * 0.012
        source = ColumnDataSource({**columns, "at": columns["level"] + shift, "model": [model] * len(one)})
        intervals(made, source, "at", colour)
        mark = MARKERS[number % len(MARKERS)]
        dots = made.scatter("at", "coverage", source=source, color=colour, marker=mark, size=7, legend_label=model)
        said = "@coverage{0.0%} [@lower{0.0%}, @upper{0.0%}]"
        hover(made, [("", "@model"), ("promised", "@level{0%}"), ("found", said)], renderers=[dots])
    return settle(made)


def distance_chart(distance: pd.DataFrame, scheme: str) -> figure:
    """Error against the distance to the nearest glacier that was learnt from."""
    table = distance[distance["scheme"] == scheme]
    names = distance_classes(table)
    classes = list(dict.fromkeys(names))
    made = chart("distance to the nearest glacier learnt from (km)", METRICS["rmse"], x_range=classes)
    models = colours_of(table["model"].astype(str))
    for number, (model, colour) in enumerate(models.items()):
        mine = (table["model"] == model).to_numpy()
        one = table[mine]
        columns: dict[str, Any] = {n: one[n].to_numpy(np.float64) for n in ("rmse", "lower", "upper", "n", "glaciers")}
        shift = (number - (len(models) - 1) / 2) * 0.5 / max(len(models), 1)
        columns |= {
            "at": [(c, shift) for c, m in zip(names, mine, strict=True) if m],
            "model": [model] * len(one),
        }
        source = ColumnDataSource(columns)
        intervals(made, source, "at", colour)
        mark = MARKERS[number % len(MARKERS)]
        dots = made.scatter("at", "rmse", source=source, color=colour, marker=mark, size=8, legend_label=model)
        said = [("RMSE", "@rmse{0.000} [@lower{0.000}, @upper{0.000}]"), ("rows", "@n of @glaciers glaciers")]
        hover(made, [("", "@model"), *said], renderers=[dots])
    made.y_range.start = 0
    made.xaxis.axis_label_standoff = 6
    return settle(made)


def distance_classes(table: pd.DataFrame) -> list[str]:
    """Names of the classes of distance, (row,), with how many rows and glaciers stand behind them."""
    ends = table[["from_km", "to_km"]]
    counts = table.groupby(["from_km", "to_km"])[["n", "glaciers"]].transform("max")
    return [
        f"{f'{a:g} to {b:g}' if np.isfinite(b) else f'over {a:g}'}\nn = {int(n)}\n{counted(int(g), 'glacier')}"
        for a, b, n, g in pd.concat([ends, counts], axis=1).itertuples(index=False)
    ]


def differences_chart(table: pd.DataFrame, value: str, lines: str, label: str) -> figure:
    """Differences with their intervals, a line for each name, a colour for each model."""
    names = list(dict.fromkeys(table[lines].astype(str)))
    made = chart(label, "", height=line_height(len(names)) + 30, y_range=names[::-1])
    made.add_layout(Span(location=0, dimension="height", line_color="#888888", line_width=1))
    models = colours_of(table["model"].astype(str))
    for number, (model, colour) in enumerate(models.items()):
        one = table[table["model"] == model]
        shift = (number - (len(models) - 1) / 2) * 0.25
        columns = {n: one[n].to_numpy(np.float64) for n in (value, "lower", "upper", "rmse")}
        at = [(n, shift) for n in one[lines].astype(str)]
        source = ColumnDataSource({**columns, "at": at, "model": [model] * len(one)})
        intervals(made, source, "at", colour, lying=True)
        mark = MARKERS[number % len(MARKERS)]
        dots = made.scatter(value, "at", source=source, color=colour, marker=mark, size=8, legend_label=model)
        said = f"@{{{value}}}{{+0.000}} [@lower{{+0.000}}, @upper{{+0.000}}]"
        hover(made, [("", "@model"), ("difference", said), ("RMSE", "@rmse{0.000}")], renderers=[dots])
    made.ygrid.grid_line_color = None
    return settle(made)
