"""How good predictions are: against observations, with intervals beside every rival, by distance, their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from glacmb_grid.plot.style import (
    COLOURS,
    MARKS,
    Floats,
    colours_of,
    height_of_list,
    key,
    paper,
    say_empty,
    say_missing,
)
from glacmb_grid.schemas import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS: dict[str, str] = {
    "rmse": "RMSE (m w.e.)",
    "rmse_glacier_mean": "RMSE, mean of the glaciers' (m w.e.)",
    "mae": "mean absolute error (m w.e.)",
    "bias": "bias (m w.e.)",
    "r2": "R²",
    "rec_auc": "REC AUC",
    "sign_auc": "sign AUC",
}


def predicted_observed(
    predictions: pd.DataFrame, *, scheme: str | None = None, model: str | None = None, ax: Axes | None = None
) -> Axes:
    """Predicted against observed annual balances, of fits that had not seen them.

    Parameters
    ----------
    predictions : DataFrame
        Columns `scheme`, `model`, `observed`, `predicted` (m w.e.).
    scheme, model : str, optional
        By default the first scheme and the last model.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    require_columns(
        predictions, ("scheme", "model", "observed", "predicted"), name="predictions", source="`out_of_fold`"
    )
    table = _taken(predictions, "scheme", scheme, first=True)
    table = _taken(table, "model", model, first=False)
    pairs = table[["observed", "predicted"]].to_numpy(np.float64)
    finite = np.isfinite(pairs).all(axis=1)
    with paper(ax, 80.0) as drawn:
        drawn.set(xlabel="observed (m w.e.)", ylabel="predicted (m w.e.)")
        say_missing(drawn, int((~finite).sum()), len(pairs), "rows")
        if not finite.any():
            say_empty(drawn)
            return drawn
        observed, predicted = pairs[finite].T
        low, high = float(pairs[finite].min()), float(pairs[finite].max())
        drawn.plot([low, high], [low, high], color="0.5", linewidth=0.7)
        drawn.scatter(observed, predicted, s=7, color=COLOURS[0], alpha=0.6, linewidths=0)
        error = predicted - observed
        spread = float(((observed - observed.mean()) ** 2).sum())
        r2 = f", R² {1 - float((error**2).sum()) / spread:.2f}" if spread else ""
        said = f"RMSE {np.sqrt((error**2).mean()):.3f} m w.e.{r2}, n = {len(error)}"
        drawn.text(0.02, 0.98, said, transform=drawn.transAxes, va="top")
        drawn.set_title(f"{table['model'].iloc[0]}, {table['scheme'].iloc[0]}")
        drawn.set_aspect("equal", adjustable="datalim")
    return drawn


def _taken(table: pd.DataFrame, column: str, value: str | None, *, first: bool) -> pd.DataFrame:
    """Rows of one value, by default the first or the last one."""
    if value is None and len(table):
        value = str(table[column].iloc[0 if first else -1])
    return table[table[column] == value]


def score_dots(
    scores: pd.DataFrame, *, metric: str = "rmse", scheme: str | None = None, ax: Axes | None = None
) -> Axes:
    """Scores of all models side by side, with their intervals.

    Parameters
    ----------
    scores : DataFrame
        Columns `scheme`, `model`, `slice`, `metric`, `value`, `lower`, `upper`.
    metric : str
        One of `rmse`, `rmse_glacier_mean`, `mae`, `bias`, `r2`, `rec_auc`, `sign_auc`.
    scheme : str, optional
        By default all, in colours.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    columns = ("scheme", "model", "slice", "metric", "value", "lower", "upper")
    require_columns(scores, columns, name="scores", source="`score`")
    table = scores[(scores["metric"] == metric) & (scores["slice"] == "all")]
    table = table if scheme is None else table[table["scheme"] == scheme]
    models = list(dict.fromkeys(table["model"]))
    schemes = colours_of(table["scheme"])
    with paper(ax, height_of_list(len(models))) as drawn:
        drawn.set_xlabel(METRICS.get(metric, metric), loc="right")
        if table.empty:
            say_empty(drawn)
            return drawn
        for number, (name, colour) in enumerate(schemes.items()):
            one = table[table["scheme"] == name]
            shift = (number - (len(schemes) - 1) / 2) * 0.7 / max(len(schemes), 1)
            height = np.array([models.index(m) for m in one["model"]]) + shift
            whiskers(drawn, one, height, colour, MARKS[number % len(MARKS)], str(name))
        name_lines(drawn, models)
        drawn.grid(axis="x", linewidth=0.3, color="0.85")
        if len(schemes) > 1:
            key(drawn, 3)
    return drawn


def whiskers(ax: Axes, table: pd.DataFrame, height: Floats, colour: str, mark: str, label: str | None = None) -> None:
    """Points with their intervals, lying; without an interval the point alone."""
    value = table["value"].to_numpy(np.float64)
    low, high = (table[n].to_numpy(np.float64) for n in ("lower", "upper"))
    ax.hlines(height, low, high, color=colour, linewidth=0.9)
    ax.plot(value, height, linestyle="none", marker=mark, color=colour, label=label)


def name_lines(ax: Axes, names: list[str]) -> None:
    """Names along the upright axis, the first on top; the longer they are, the fewer numbers along the other."""
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    ax.locator_params(axis="x", nbins=3 if longest > 20 else 5)  # else chosen before the layout is known
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def reliability(
    coverage: pd.DataFrame, *, scheme: str | None = None, method: str | None = None, ax: Axes | None = None
) -> Axes:
    """Share of observations within prediction intervals against the share that these promise.

    Parameters
    ----------
    coverage : DataFrame
        Columns `scheme`, `model`, `method`, `slice`, `level`, `coverage`, `lower`, `upper`.
    scheme, method : str, optional
        By default the first ones.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    columns = ("scheme", "model", "method", "slice", "level", "coverage", "lower", "upper")
    require_columns(coverage, columns, name="coverage", source="`coverage`")
    table = coverage[coverage["slice"] == "all"]
    table = _taken(table, "scheme", scheme, first=True)
    table = _taken(table, "method", method, first=True)
    models = colours_of(table["model"])
    with paper(ax, 75.0) as drawn:
        drawn.set(xlabel="promised share", ylabel="share of observations within", xlim=(0, 1.02), ylim=(0, 1.02))
        drawn.plot([0, 1], [0, 1], color="0.5", linewidth=0.7)
        if not np.isfinite(table["coverage"].to_numpy(np.float64)).any():
            say_empty(drawn, "no coverage available")
            return drawn
        for number, (model, colour) in enumerate(models.items()):
            one = table[table["model"] == model]
            at = one["level"].to_numpy(np.float64) + (number - (len(models) - 1) / 2) * 0.012
            drawn.vlines(at, one["lower"], one["upper"], color=colour, linewidth=0.9)
            mark = MARKS[number % len(MARKS)]
            drawn.plot(at, one["coverage"], linestyle="none", marker=mark, color=colour, label=str(model))
        drawn.set_title(f"{table['scheme'].iloc[0]}, {table['method'].iloc[0]} intervals")
        key(drawn)
    return drawn


def skill_by_distance(distance: pd.DataFrame, *, scheme: str | None = None, ax: Axes | None = None) -> Axes:
    """Error against the distance to the nearest glacier that was learnt from.

    Parameters
    ----------
    distance : DataFrame
        Columns `scheme`, `model`, `from_km`, `to_km`, `rmse`, `lower`, `upper` (m w.e.), `n`.
    scheme : str, optional
        By default the first one.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    columns = ("scheme", "model", "from_km", "to_km", "rmse", "lower", "upper", "n")
    require_columns(distance, columns, name="distance", source="`distance.csv` of a run")
    table = _taken(distance, "scheme", scheme, first=True)
    classes = list(dict.fromkeys(zip(table["from_km"], table["to_km"], strict=True)))
    models = colours_of(table["model"])
    with paper(ax, 60.0) as drawn:
        drawn.set(xlabel="distance to the nearest glacier learnt from (km)", ylabel=METRICS["rmse"])
        if table.empty:
            say_empty(drawn, "no distances known")
            return drawn
        for number, (model, colour) in enumerate(models.items()):
            one = table[table["model"] == model]
            place = [classes.index(k) for k in zip(one["from_km"], one["to_km"], strict=True)]
            at = np.array(place) + (number - (len(models) - 1) / 2) * 0.12
            drawn.vlines(at, one["lower"], one["upper"], color=colour, linewidth=0.9)
            drawn.plot(at, one["rmse"], marker=MARKS[number % len(MARKS)], color=colour, linewidth=0.5, label=model)
        counts = [int(table.loc[(table["from_km"] == a) & (table["to_km"] == b), "n"].iloc[0]) for a, b in classes]
        spans = [f"{a:g} to {b:g}" if np.isfinite(b) else f"over {a:g}" for a, b in classes]
        names = [f"{span}\nn = {n}" for span, n in zip(spans, counts, strict=True)]
        drawn.set_xticks(range(len(classes)), names)
        drawn.set_ylim(bottom=0)
        drawn.set_title(str(table["scheme"].iloc[0]))
        key(drawn)
    return drawn
