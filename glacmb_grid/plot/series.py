"""Series of years: of one glacier, and of a region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from glacmb_grid.plot.style import (
    COLOURS,
    Floats,
    identifiers,
    key,
    paper,
    require_one,
    require_variables,
    say_empty,
    say_missing,
)
from glacmb_grid.schemas import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BANDS = ((90, 0.18), (50, 0.30))  # %, opacity
Quantity = Literal["mass_balance", "cumulative_mass_balance", "mass_change_gt", "cumulative_mass_change_gt"]
QUANTITIES: dict[str, str] = {
    "mass_balance": "annual mass balance (m w.e.)",
    "cumulative_mass_balance": "cumulative mass balance (m w.e.)",
    "mass_change_gt": "annual mass change (Gt)",
    "cumulative_mass_change_gt": "cumulative mass change (Gt)",
}


def glacier_series(
    product: xr.Dataset, glacier: str, *, observations: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Annual balances of one glacier with their prediction intervals and what was observed.

    Parameters
    ----------
    product : xr.Dataset, (glacier, year)
        `mass_balance` and, if there, `mass_balance_lower_90`, `_upper_90`, `_lower_50`, `_upper_50`, m w.e.
    glacier : str
        One of its identifiers.
    observations : DataFrame, optional
        Columns `glacier`, `year`, `mass_balance` (m w.e.) and, if there, `mass_balance_uncertainty`.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    require_variables(product, ("mass_balance",), name="product", source="`glacier_product`")
    one = product.isel(glacier=require_one(glacier, identifiers(product, "glacier"), name="glacier"))
    year, balance = one["year"].values, one["mass_balance"].values.astype(np.float64)
    with paper(ax, 55.0) as drawn:
        drawn.axhline(0, color="0.6", linewidth=0.6)
        for percent, opacity in _BANDS:
            ends = [f"mass_balance_{e}_{percent}" for e in ("lower", "upper")]
            if all(e in one for e in ends):
                low, high = (one[e].values.astype(np.float64) for e in ends)
                label = f"{percent} % prediction interval"
                drawn.fill_between(year, low, high, color=COLOURS[0], alpha=opacity, linewidth=0, label=label)
        drawn.plot(year, balance, color=COLOURS[0], label="predicted")
        if observations is not None:
            _draw_observed(drawn, observations, glacier)
        say_missing(drawn, int((~np.isfinite(balance)).sum()), len(balance), "years")
        drawn.set(xlabel="hydrological year", ylabel=QUANTITIES["mass_balance"], title=glacier)
        key(drawn)
    return drawn


def _draw_observed(ax: Axes, observations: pd.DataFrame, glacier: str) -> None:
    source = "`samples.parquet` of a run"
    require_columns(observations, ("glacier", "year", "mass_balance"), name="observations", source=source)
    mine = observations[observations["glacier"].astype(str) == glacier]
    if mine.empty:
        return
    sigma = mine.get("mass_balance_uncertainty")
    style: dict[str, Any] = {"fmt": "o", "color": "black", "markersize": 3, "elinewidth": 0.6}
    ax.errorbar(mine["year"], mine["mass_balance"], yerr=sigma, label="observed (1 σ)", **style)


def regional_series(
    regional: xr.Dataset,
    region: str | None = None,
    *,
    quantity: Quantity = "mass_balance",
    level: float = 0.9,
    ax: Axes | None = None,
) -> Axes:
    """Series of a region with the band of its error, and the band that independent errors would have claimed.

    Parameters
    ----------
    regional : xr.Dataset, (region, year)
        The quantity with its `_uncertainty` and `_uncertainty_independent`; m w.e. or Gt.
    region : str, optional
        One of its identifiers, by default the first.
    quantity : {"mass_balance", "cumulative_mass_balance", "mass_change_gt", "cumulative_mass_change_gt"}
    level : float
        Share of normally distributed errors that the bands hold.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    require_one(quantity, QUANTITIES, name="quantity")
    names = [quantity, f"{quantity}_uncertainty"]
    require_variables(regional, names, name="regional", source="`regional_product`")
    with paper(ax, 55.0) as drawn:
        drawn.set(xlabel="hydrological year", ylabel=QUANTITIES[quantity])
        if not regional.sizes["region"]:
            say_empty(drawn, "no region")
            return drawn
        known = identifiers(regional, "region")
        place = require_one(known[0] if region is None else region, known, name="region")
        one = regional.isel(region=place)
        year, value = one["year"].values, one[quantity].values.astype(np.float64)
        claims = [(f"{quantity}_uncertainty", COLOURS[0], 0.2, f"{100 * level:g} %: errors correlated as estimated")]
        claims.append((f"{quantity}_uncertainty_independent", COLOURS[1], 0.45, "if they were independent"))
        for name, colour, opacity, label in claims:
            if name in one:
                low, high = band(value, one[name].values, level)
                drawn.fill_between(year, low, high, color=colour, alpha=opacity, linewidth=0, label=label)
        drawn.axhline(0, color="0.6", linewidth=0.6)
        drawn.plot(year, value, color=COLOURS[0])
        say_missing(drawn, int((~np.isfinite(value)).sum()), len(value), "years")
        key(drawn, 1)
        title = str(one["region_name"].values) if "region_name" in one.variables else ""
        covered = [f"{int(one['glaciers_covered'].max()):,} glaciers"] if "glaciers_covered" in one else []
        drawn.set_title(", ".join([title or known[place], *covered]))
    return drawn


def band(value: Floats, sigma: Floats, level: float) -> tuple[Floats, Floats]:
    """Ends of the band that holds this share of normally distributed errors."""
    half = float(ndtri(0.5 + level / 2)) * np.asarray(sigma, np.float64)
    return value - half, value + half
