"""What fits did: learning curves of networks, predictors that were chosen in every fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.plot.style import COLOURS, Floats, height_of_list, key, paper, require_variables, say_empty
from glacmb_grid.schemas import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = 60  # folds that are drawn one by one
_MOST = 40  # predictors that are shown
PARTS = {"fit": "rows learnt from", "stop": "inner rows, watched to stop"}


def losses_of_folds(parameters: xr.Dataset, part: str) -> Floats:
    """Loss by fold and epoch, (fold, epoch), the median of the members; NaN after the last epoch.

    Where a fit watched no rows, since its length was decided in the inner folds, that of the inner folds is given.

    Parameters
    ----------
    parameters : xr.Dataset
        Of a fitted network: `loss` (fold, member, epoch, part), `inner_loss` (fold, inner, inner_epoch, part).
    part : str
        `fit` for the rows learnt from, `stop` for those watched to stop.
    """
    loss = parameters["loss"].sel(part=part).transpose("fold", "member", "epoch").values
    if not np.isfinite(loss).any() and "inner_loss" in parameters:
        loss = parameters["inner_loss"].sel(part=part).transpose("fold", "inner", "inner_epoch").values
    medians = [pd.DataFrame(each.astype(np.float64)).median(axis=0).to_numpy(np.float64) for each in loss]
    return np.array(medians).reshape(loss.shape[0], loss.shape[2])


def learning_curves(parameters: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Loss against epochs on logarithmic axes: every fold, and their median.

    Parameters
    ----------
    parameters : xr.Dataset
        Of a fitted network: `loss` (fold, member, epoch, part), squared standardised residuals.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    require_variables(parameters, ("loss", "part"), name="parameters", source="`fit` of a network")
    with paper(ax, 65.0) as drawn:
        drawn.set(xlabel="epoch", ylabel="loss (standardised, squared)", xscale="log", yscale="log")
        every = losses_by_part(parameters)
        for number, part, curves in every:
            epochs = np.arange(1, curves.shape[1] + 1)
            for curve in curves[:_LINES]:
                drawn.plot(epochs, curve, color=COLOURS[number], alpha=0.2, linewidth=0.4)
            label = f"{PARTS.get(part, part)}: median of folds"
            drawn.plot(epochs, median_while_most(curves), color=COLOURS[number], linewidth=1.4, label=label)
        if every:
            key(drawn, 1)
        else:
            say_empty(drawn, "no losses were kept")
    return drawn


def losses_by_part(parameters: xr.Dataset) -> list[tuple[int, str, Floats]]:
    """Number and name of each part with losses, and the losses of the folds that have any, (fold, epoch)."""
    out = []
    for number, part in enumerate(map(str, parameters["part"].values)):
        curves = losses_of_folds(parameters, part)
        curves = curves[np.isfinite(curves).any(axis=1)]
        if len(curves):
            out.append((number, part, curves))
    return out


def median_while_most(curves: Floats) -> Floats:
    """Median over folds, (epoch,), as long as half of them go on."""
    table = pd.DataFrame(curves)
    return np.asarray(table.median(axis=0).where(table.notna().mean(axis=0) >= 0.5), np.float64)


def chosen_table(choices: pd.DataFrame, *, scheme: str, model: str) -> pd.DataFrame:
    """Whether a predictor was chosen in a fold, (predictor, fold); those chosen most often first."""
    table = choices[(choices["scheme"] == scheme) & (choices["model"] == model)]
    names = table["feature_names"].fillna("").astype(str).str.split("; ")
    sets = {str(f): set(n) - {""} for f, n in zip(table["fold"], names, strict=True)}
    order = list(dict.fromkeys(n for each in names for n in each if n))
    out = pd.DataFrame({f: [n in chosen for n in order] for f, chosen in sets.items()}, index=order, dtype=bool)
    return out.loc[out.mean(axis=1).sort_values(ascending=False, kind="stable").index] if len(order) else out


def chosen_predictors(
    choices: pd.DataFrame, *, scheme: str | None = None, model: str | None = None, ax: Axes | None = None
) -> Axes:
    """Which predictors the inner folds chose in every outer fold.

    Parameters
    ----------
    choices : DataFrame
        Columns `scheme`, `model`, `fold`, `feature_names` (joined by "; ").
    scheme, model : str, optional
        By default the first scheme, and the last model that chose predictors.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    require_columns(choices, ("scheme", "model", "fold", "feature_names"), name="choices", source="`choices.csv`")
    some = choices[choices["feature_names"].notna()]
    scheme = scheme or (str(some["scheme"].iloc[0]) if len(some) else "")
    model = model or (str(some["model"].iloc[-1]) if len(some) else "")
    chosen = chosen_table(choices, scheme=scheme, model=model)
    with paper(ax, height_of_list(min(len(chosen), _MOST)) * 0.75) as drawn:
        if not chosen.size:
            say_empty(drawn, "no predictors were chosen")
            return drawn
        shown = chosen.iloc[:_MOST]
        drawn.imshow(shown.to_numpy(np.float64), cmap="Blues", vmin=0, vmax=1.3, aspect="auto", interpolation="none")
        drawn.set_yticks(range(len(shown)), list(shown.index), fontsize="x-small")
        drawn.set(xlabel=f"outer fold, 1 to {chosen.shape[1]}", xticks=[])
        more = f"\n{len(chosen) - len(shown)} more predictors not shown" if len(chosen) > len(shown) else ""
        drawn.set_title(f"{model}, {scheme}{more}")
    return drawn
