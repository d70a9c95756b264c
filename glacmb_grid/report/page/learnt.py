"""Charts of what fits did and what their skill comes from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from bokeh.models import ColumnDataSource, Span
from bokeh.plotting import figure

from glacmb_grid.plot.fits import PARTS, chosen_table, losses_by_part, median_while_most
from glacmb_grid.plot.scores import METRICS
from glacmb_grid.plot.studies import importance_means
from glacmb_grid.report.page.charts import COLOURS, MARKERS, chart, colours_of, hover, intervals, line_height, settle

_CURVES = 40  # folds drawn one by one
_MOST = 30  # lines of a chart
_MOST_GROUPS = 15
_MOST_FOLDS = 60


def losses_chart(parameters: xr.Dataset) -> figure | None:
    """Losses of every fold and their median, on logarithmic axes; None where none was kept."""
    made = chart("epoch", "loss (standardised, squared)", x_axis_type="log", y_axis_type="log", height=360)
    every = losses_by_part(parameters)
    for number, part, curves in every:
        taken = _thinned(curves.shape[1])
        epochs = taken + 1
        thin = np.round(curves[:_CURVES, taken], 4)
        for curve in thin:
            made.line(epochs, curve, color=COLOURS[number], alpha=0.2, line_width=1)
        label = f"{PARTS.get(part, part)}: median of the folds"
        median = median_while_most(curves)[taken]
        made.line(epochs, median, color=COLOURS[number], line_width=2.5, legend_label=label)
    return settle(made) if every else None


def _thinned(count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Epochs that are drawn: all of the first, then ever fewer, as the axis is logarithmic."""
    if count <= 100:
        return np.arange(count)
    return np.unique(np.concatenate([np.arange(50), np.geomspace(50, count - 1, 60).round().astype(np.int64)]))


def chosen_chart(choices: pd.DataFrame, scheme: str, model: str) -> figure | None:
    """Which predictors were chosen in which fold; None where none was, or all were in every fold."""
    chosen = chosen_table(choices, scheme=scheme, model=model)
    if chosen.to_numpy().all():
        return None
    shown = chosen.iloc[:_MOST, :_MOST_FOLDS]
    row, column = np.nonzero(shown.to_numpy())
    names = [str(n) for n in shown.index]
    shares = chosen.mean(axis=1).to_numpy()
    made = chart(
        "outer fold", "", height=line_height(len(shown)), y_range=names[::-1], x_range=(0.5, shown.shape[1] + 0.5)
    )
    source = ColumnDataSource(
        {
            "fold": column + 1,
            "predictor": [names[i] for i in row],
            "name": [str(n) for n in shown.columns.to_numpy()[column]],
            "share": shares[row],
        }
    )
    cells = made.rect("fold", "predictor", 0.94, 0.86, source=source, color=COLOURS[0], alpha=0.75, line_color=None)
    hover(made, [("", "@predictor"), ("fold", "@name"), ("chosen in", "@share{0%} of the folds")], renderers=[cells])
    made.grid.grid_line_color = None
    left = len(chosen) - len(shown)
    return settle(made, title=f"{model}, {scheme}{f'; {left} more predictors in choices.csv' if left else ''}")


def importance_chart(importance: pd.DataFrame, model: str, scheme: str) -> figure:
    """How much worse predictions become when a group of predictors is shuffled."""
    means = importance_means(importance, model=model, scheme=scheme).iloc[:_MOST_GROUPS]
    names = [str(g) for g in means.index]
    made = chart("increase of the mean squared error when shuffled (m²)", "", height=line_height(len(names)),
                 y_range=names[::-1])  # fmt: skip
    spread = means["std"].fillna(0.0)
    columns = {"increase": means["mean"].to_numpy(), "group": names, "spread": spread.to_numpy()}
    columns |= {"lower": (means["mean"] - spread).to_numpy(), "upper": (means["mean"] + spread).to_numpy()}
    source = ColumnDataSource(columns)
    made.add_layout(Span(location=0, dimension="height", line_color="#888888", line_width=1))
    bars = made.hbar("group", right="increase", height=0.7, source=source, color=COLOURS[0], alpha=0.8)
    intervals(made, source, "group", "#555555", lying=True)
    hover(
        made, [("", "@group"), ("increase", "@increase{0.0000} (spread over folds @spread{0.0000})")], renderers=[bars]
    )
    made.ygrid.grid_line_color = None
    return settle(made, title=f"{model}, {scheme}; lines: spread over folds")


def glaciers_chart(curve: pd.DataFrame) -> figure:
    """Error against the number of glaciers (groups) learnt from."""
    made = chart("glaciers (groups) learnt from", METRICS["rmse"])
    kinds = curve["model"].astype(str) + ", " + curve["scheme"].astype(str)
    for number, (kind, colour) in enumerate(colours_of(kinds).items()):
        one = curve[kinds == kind].sort_values("groups")
        source = ColumnDataSource({n: one[n].to_numpy(np.float64) for n in ("groups", "rows", "rmse")})
        made.line("groups", "rmse", source=source, color=colour, line_width=2, legend_label=kind)
        mark = MARKERS[number % len(MARKERS)]
        dots = made.scatter("groups", "rmse", source=source, color=colour, marker=mark, size=8, legend_label=kind)
        said = [("groups", "@groups{0}"), ("rows", "@rows{0}"), ("RMSE", "@rmse{0.000} m w.e.")]
        hover(made, said, renderers=[dots])
    made.y_range.start = 0
    return settle(made)
