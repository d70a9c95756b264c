"""What `study`, `audit` and geodetic rates say: importance, ablations, skill against glaciers, promises of leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from glacmb_grid.plot.scores import METRICS, name_lines, whiskers
from glacmb_grid.plot.style import COLOURS, MARKS, colours_of, height_of_list, key, paper, require_variables, say_empty
from glacmb_grid.schemas import require_columns

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

AS_IT_IS, NESTED = "as it is", "nested"
"""How the study and the audit call what the others are compared with."""
_MOST = 20


def importance_means(importance: pd.DataFrame, *, model: str | None = None, scheme: str | None = None) -> pd.DataFrame:
    """Mean increase of the squared error by group of predictors and its standard deviation over folds, largest first.

    Groups that no fold used are left out: shuffling them changes nothing at all.

    Returns
    -------
    DataFrame
        Index `group`; columns `mean`, `std`, m2.
    """
    table = importance
    for column, value in (("model", model), ("scheme", scheme)):
        if len(table):
            table = table[table[column] == (table[column].iloc[0] if value is None else value)]
    unused = set(table["group"]) - set(table.loc[table["increase"] != 0, "group"])
    means = table[~table["group"].isin(unused)].groupby("group")["increase"].agg(["mean", "std"])
    return means.sort_values("mean", ascending=False, kind="stable")


def importance_bars(
    importance: pd.DataFrame, *, model: str | None = None, scheme: str | None = None, ax: Axes | None = None
) -> Axes:
    """How much worse predictions become when a group of predictors is shuffled.

    Parameters
    ----------
    importance : DataFrame
        Columns `scheme`, `model`, `group`, `fold`, `increase` (m2).
    model, scheme : str, optional
        By default the first ones.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    columns = ("scheme", "model", "group", "increase")
    require_columns(importance, columns, name="importance", source="`importance.csv` of a study")
    means = importance_means(importance, model=model, scheme=scheme)
    shown = means.iloc[:_MOST]
    with paper(ax, height_of_list(len(shown))) as drawn:
        drawn.set_xlabel("increase of the mean squared error when shuffled (m²)", loc="right")
        if shown.empty:
            say_empty(drawn)
            return drawn
        drawn.barh(range(len(shown)), shown["mean"], xerr=shown["std"], color=COLOURS[0], error_kw={"linewidth": 0.6})
        name_lines(drawn, [str(g) for g in shown.index])
        drawn.axvline(0, color="0.5", linewidth=0.6)
        more = f"{len(means) - len(shown)} less important groups not shown" if len(means) > len(shown) else ""
        drawn.set_title(more)
    return drawn


def ablation_dots(ablations: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """RMSE of every ablation minus that of the model as it is, with its interval.

    Parameters
    ----------
    ablations : DataFrame
        Columns `scheme`, `model`, `ablation`, `rmse`, `difference`, `lower`, `upper` (m w.e.).
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    columns = ("scheme", "model", "ablation", "rmse")
    require_columns(ablations, columns, name="ablations", source="`ablations.csv` of a study")
    table = ablations[(ablations["ablation"] != AS_IT_IS) & ablations["rmse"].notna()]
    return _differences(table, "difference", "RMSE minus that of the model as it is (m w.e.)", "ablation", ax)


def audit_gap(gaps: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How much lower an RMSE each leak would have promised than the nested protocol finds.

    Parameters
    ----------
    gaps : DataFrame
        Columns `model`, `leak`, `promised`, `lower`, `upper` (m w.e.).
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    require_columns(gaps, ("model", "leak", "promised", "rmse"), name="gaps", source="`gaps.csv` of an audit")
    table = gaps[gaps["leak"] != NESTED] if len(gaps) else gaps
    table = table[table["promised"].notna()]
    return _differences(table, "promised", "RMSE that the leak hides (m w.e.)", "leak", ax)


def _differences(table: pd.DataFrame, value: str, label: str, lines: str, ax: Axes | None) -> Axes:
    """Differences with intervals, a line for each name, a colour for each model."""
    names, models = list(dict.fromkeys(table[lines])), colours_of(table["model"])
    given = table.assign(**{n: table.get(n, np.nan) for n in (value, "lower", "upper")})
    with paper(ax, height_of_list(len(names))) as drawn:
        drawn.set_xlabel(label, loc="right")
        if table.empty:
            say_empty(drawn)
            return drawn
        drawn.axvline(0, color="0.5", linewidth=0.6)
        for number, (model, colour) in enumerate(models.items()):
            one = given[given["model"] == model].rename(columns={value: "value"})
            height = np.array([names.index(n) for n in one[lines]], np.float64)
            height += (number - (len(models) - 1) / 2) * 0.25
            whiskers(drawn, one, height, colour, MARKS[number % len(MARKS)], str(model))
        name_lines(drawn, [str(n) for n in names])
        if len(models) > 1:
            key(drawn)
    return drawn


def skill_by_glaciers(learning_curve: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Error against the number of glaciers (groups) that were learnt from.

    Parameters
    ----------
    learning_curve : DataFrame
        Columns `scheme`, `model`, `groups`, `rmse` (m w.e.).
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    columns = ("scheme", "model", "groups", "rmse")
    require_columns(learning_curve, columns, name="learning_curve", source="`learning_curve.csv` of a study")
    with paper(ax, 55.0) as drawn:
        drawn.set(xlabel="glaciers (groups) learnt from", ylabel=METRICS["rmse"])
        if learning_curve.empty:
            say_empty(drawn)
            return drawn
        kinds = learning_curve["model"].astype(str) + ", " + learning_curve["scheme"].astype(str)
        for number, (kind, colour) in enumerate(colours_of(kinds).items()):
            one = learning_curve[kinds == kind].sort_values("groups")
            drawn.plot(one["groups"], one["rmse"], marker=MARKS[number % len(MARKS)], color=colour, label=kind)
        drawn.set_ylim(bottom=0)
        drawn.locator_params(axis="x", integer=True)
        key(drawn)
    return drawn


def geodetic_rates(compared: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Means of the product over periods of geodetic surveys against the surveys' own rates.

    Parameters
    ----------
    compared : xr.Dataset, (survey,)
        `product_rate`, `geodetic_rate` and their `_uncertainty`, m w.e. per year; from `compare_geodetic`.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    names = [f"{w}_{k}" for w in ("product", "geodetic") for k in ("rate", "uncertainty")]
    require_variables(compared, names, name="compared", source="`compare_geodetic`")
    values = {n: compared[n].values.astype(np.float64) for n in names}
    with paper(ax, 80.0) as drawn:
        drawn.set(xlabel="geodetic rate (m w.e. per year)", ylabel="product, same period (m w.e. per year)")
        if not len(values["product_rate"]):
            say_empty(drawn, "no rate to compare with")
            return drawn
        ends = np.array([values["product_rate"], values["geodetic_rate"]])
        drawn.plot(*[[np.nanmin(ends), np.nanmax(ends)]] * 2, color="0.5", linewidth=0.7)
        style: dict[str, Any] = {"fmt": "o", "markersize": 2.5, "elinewidth": 0.4, "alpha": 0.7}
        drawn.errorbar(
            values["geodetic_rate"],
            values["product_rate"],
            xerr=values["geodetic_uncertainty"],
            yerr=values["product_uncertainty"],
            color=COLOURS[0],
            **style,
        )
        drawn.set_aspect("equal", adjustable="datalim")
    return drawn
