"""Maps of glaciers: where they lie, how large they are, what they gained or lost, where the model applies."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from glacmb_grid.plot.style import BALANCE, SHARE, Floats, limit_of, paper, require_variables, say_empty, say_missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SOURCE = "`glacier_product`"
_PLACE = ("longitude", "latitude", "area")
_LARGEST, _SMALLEST = 90.0, 1.5  # area of a symbol, square points
_SHOWN_AREAS = (1.0, 10.0, 100.0, 1000.0)  # km2


def mean_balance(product: xr.Dataset) -> Floats:
    """Mean annual balance of every glacier over its years with a value, (glacier,), m w.e.; NaN without any."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice", category=RuntimeWarning)
        means = product["mass_balance"].transpose("glacier", "year").mean("year", skipna=True)
    return np.asarray(means.values, np.float64)


def share_applicable(product: xr.Dataset) -> Floats:
    """Share of the years in which the model applies to a glacier, (glacier,)."""
    inside = product["applicable"].transpose("glacier", "year").astype(np.float64).mean("year")
    return np.asarray(inside.values, np.float64)


def symbol_areas(area: Floats) -> Floats:
    """Areas of symbols, square points, in proportion to those of the glaciers; the smallest stay visible."""
    top = float(np.nanmax(area)) if np.isfinite(area).any() else 1.0
    return np.clip(np.nan_to_num(area / top * _LARGEST), _SMALLEST, _LARGEST)


def glacier_map(product: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Map of glaciers: colour is the mean annual balance, the size of a symbol the area of the glacier.

    Parameters
    ----------
    product : xr.Dataset, (glacier, year)
        `mass_balance` (m w.e.), `area` (km2), `longitude`, `latitude` (degrees).
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure one column wide.

    Returns
    -------
    matplotlib Axes
    """
    require_variables(product, ("mass_balance", *_PLACE), name="product", source=_SOURCE)
    values = mean_balance(product)
    limit = limit_of(values)
    years = product["year"].values
    span = f", {years[0]} to {years[-1]}" if len(years) else ""
    label = f"mean annual balance{span} (m w.e.)"
    return _map(product, values, label, cmap=BALANCE, low=-limit, high=limit, ax=ax)


def applicability_map(product: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Map of the share of years in which a glacier is like what the model learnt from.

    Parameters
    ----------
    product : xr.Dataset, (glacier, year)
        `applicable` (0 or 1), `area` (km2), `longitude`, `latitude` (degrees).
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    require_variables(product, ("applicable", *_PLACE), name="product", source=_SOURCE)
    label = "share of years within the area of applicability"
    return _map(product, share_applicable(product), label, cmap=SHARE, low=0.0, high=1.0, ax=ax)


def _map(
    product: xr.Dataset, values: Floats, label: str, *, cmap: str, low: float, high: float, ax: Axes | None
) -> Axes:
    place, area = {n: product[n].values for n in ("longitude", "latitude")}, product["area"].values
    shown = np.flatnonzero(np.isfinite(values))
    shown = shown[np.argsort(-area[shown], kind="stable")]  # small ones on top
    with paper(ax, 76.0) as drawn:
        drawn.set_xlabel("longitude (degrees east)")
        drawn.set_ylabel("latitude (degrees north)")
        say_missing(drawn, len(values) - len(shown), len(values), "glaciers")
        if not len(shown):
            say_empty(drawn, "no glacier with a value")
            return drawn
        dots = drawn.scatter(
            place["longitude"][shown],
            place["latitude"][shown],
            c=values[shown],
            s=symbol_areas(area)[shown],
            cmap=cmap,
            vmin=low,
            vmax=high,
            edgecolors="0.25",
            linewidths=0.2,
            rasterized=len(shown) > 5000,
        )
        drawn.set_aspect(1 / np.cos(np.radians(float(np.mean(place["latitude"][shown])))), adjustable="datalim")
        assert drawn.figure is not None
        drawn.figure.colorbar(dots, ax=drawn, label=label, orientation="horizontal", shrink=0.9, pad=0.02, aspect=35)
        _size_key(drawn, area)
    return drawn


def _size_key(ax: Axes, area: Floats) -> None:
    """What sizes of symbols mean."""
    top = float(np.nanmax(area))
    for one in [a for a in _SHOWN_AREAS if a <= top][-3:]:
        size = float(np.clip(one / top * _LARGEST, _SMALLEST, _LARGEST))
        ax.scatter([], [], s=size, c="0.8", edgecolors="0.25", linewidths=0.3, label=f"{one:g} km²")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="best", fontsize="x-small", handletextpad=0.2, borderpad=0.1)
