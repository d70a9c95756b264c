"""Annual mass change of glaciers in the cells of a latitude-longitude grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.products.cells import (
    Shares,
    Split,
    cell_areas,
    coordinates,
    grid_of_edges,
    shares_by_centroid,
    shares_by_outline,
)
from glacmb_grid.products.grid_errors import Correlation, error_of_cells
from glacmb_grid.products.metadata import WATER_DENSITY, describe
from glacmb_grid.schemas import PRODUCT, check, require_columns
from glacmb_grid.years import year_bounds

Floats = npt.NDArray[np.float64]
_SPLITS = {
    "outline": "by the area that the outline shares with each cell",
    "centroid": "each glacier whole in the cell that holds its position",
}
_KM2 = 1e6  # m2


def gridded_product(
    product: xr.Dataset,
    outlines: gpd.GeoDataFrame | None = None,
    *,
    resolution: float = 0.5,
    edges: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    split: Split = "outline",
    correlation: Correlation | None = None,
    flux: bool = False,
    water_density: float = WATER_DENSITY,
    **about: str,
) -> xr.Dataset:
    """Annual mass change, specific balance, area and uncertainty in the cells of a grid.

    Parameters
    ----------
    product : xr.Dataset, (glacier, year)
        The glacier product; `mass_balance` may lack glacier-years (NaN).
    outlines : GeoDataFrame, optional
        By glacier, geometry in EPSG:4326; needed to split by outline.
    resolution : float, degrees
        Of the smallest grid around the glaciers whose edges are multiples of it.
    edges : pair of arrays, optional
        Edges of cells in latitude and longitude, degrees, instead of a resolution.
    split : {"outline", "centroid"}
        How a glacier is shared among cells: by the area of its outline in each, or whole by its position.
    correlation : callable, optional
        Distance in km to the correlation of the errors of two glaciers in one year, for the uncertainty; without it the
        uncertainty is the spread of `mass_balance_realizations`, and without these that of independent errors.
    flux : bool
        Also `mass_flux`, kg m-2 s-1: the balance over the seconds of each glacier's own year.
    water_density : float
        kg m-3.
    **about : str
        Global attributes, see `describe`.

    Returns
    -------
    xr.Dataset, (time, latitude, longitude)
        NaN where there is no glacier. Sums of `mass_change` over cells are those over glaciers. `time_bnds` are the
        years of the hydrological year of most glacier area; where glaciers have others, `first_month` (latitude,
        longitude) says which, and every change is that of the glaciers' own years.

    Raises
    ------
    InputError
        Glaciers outside the grid or without an outline; an unknown split.
    """
    check(product, PRODUCT)
    if split not in _SPLITS:
        raise InputError("split", expected=" or ".join(_SPLITS), found=f"{split!r}", remedy="name one of these")
    shares = _shares(product, outlines, resolution, edges, split)
    balance = product["mass_balance"].transpose("glacier", "year").values.astype(np.float64)
    area = _area(product)
    there = np.isfinite(balance)
    covered = np.where(there, area, 0.0)
    own = year_of_each(product)
    sums: dict[str, Floats] = {
        "mass_change": shares.matrix @ (np.where(there, balance, 0.0) * area) * (_KM2 * water_density),
        "mass_change_uncertainty": error_of_cells(shares.matrix, product, covered, correlation)
        * (_KM2 * water_density),
        "glacier_area": shares.matrix @ area,
        "glacier_area_covered": shares.matrix @ covered,
    }
    held = (shares.matrix > 0).astype(np.float64)
    counts = {
        "n_glaciers": held @ there.astype(np.float64),
        "n_measured": held @ (there & (product["measured"].values != 0)[:, None]).astype(np.float64),
    }
    if flux:
        loads = np.where(there, balance, 0.0) * area / own.seconds
        sums["mass_flux"] = _over(shares.matrix @ loads * water_density, sums["glacier_area_covered"])
    return _dataset(product, shares, _with_units(sums, water_density), counts, own, split, correlation, about)


def _shares(
    product: xr.Dataset,
    outlines: gpd.GeoDataFrame | None,
    resolution: float,
    edges: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    split: Split,
) -> Shares:
    grid = resolution if edges is None else grid_of_edges(*edges)
    ids = product["glacier_id"].values.astype(str)
    if split == "centroid":
        longitude, latitude = (product[n].values.astype(np.float64) for n in ("longitude", "latitude"))
        return shares_by_centroid(ids, longitude, latitude, grid)
    require_columns(outlines, ("geometry",), name="outlines", source="`read_outlines`")
    assert outlines is not None
    known = outlines.set_axis(outlines.index.astype(str))
    if missing := sorted(set(ids) - set(known.index)):
        raise InputError(
            "outlines",
            expected="an outline of every glacier of the product",
            found=f"none of {len(missing)}: {listing(missing)}",
            remedy='give the outlines that the product was made with, or `split="centroid"`',
        )
    return shares_by_outline(known.loc[ids], grid)


def _area(product: xr.Dataset) -> Floats:
    """Area of every glacier in every year, (glacier, year), km2."""
    area = product["area_of_year"] if "area_of_year" in product else product["area"]
    return np.asarray(area.broadcast_like(product["mass_balance"]).transpose("glacier", "year").values, np.float64)


class OwnYears:
    """Hydrological years of glaciers.

    Attributes
    ----------
    first_month : int64 array, (glacier,)
    seconds : float64 array, (glacier, year)
    """

    def __init__(self, bounds: npt.NDArray[np.datetime64]) -> None:
        self.first_month = bounds[:, 0, 0].astype("datetime64[M]").astype(np.int64) % 12 + 1
        self.seconds = (bounds[..., 1] - bounds[..., 0]).astype(np.float64) * 86400.0


def year_of_each(product: xr.Dataset) -> OwnYears:
    """The hydrological years of every glacier of a product, of one year for all or by glacier."""
    bounds = product["time_bnds"].values.astype("datetime64[D]")
    shape = product.sizes["glacier"], *bounds.shape[-2:]
    return OwnYears(np.broadcast_to(bounds, shape))


def _over(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _with_units(sums: dict[str, Floats], water_density: float) -> dict[str, Floats]:
    """The changes also in Gt and per unit area of the glaciers with a balance; NaN where there is none."""
    covered = sums["glacier_area_covered"]
    out = dict(sums)
    for suffix in ("", "_uncertainty"):
        mass = np.where(covered > 0, sums[f"mass_change{suffix}"], np.nan)
        amount = _over(mass, covered * _KM2)
        out |= {
            f"mass_change{suffix}": mass,
            f"mass_change_gt{suffix}": mass / 1e12,
            f"mass_change_amount{suffix}": amount,
            f"mass_balance{suffix}": amount / water_density,
        }
    return out


def _dataset(
    product: xr.Dataset,
    shares: Shares,
    sums: dict[str, Floats],
    counts: dict[str, Floats],
    own: OwnYears,
    split: Split,
    correlation: Correlation | None,
    about: dict[str, str],
) -> xr.Dataset:
    """The cells with glaciers put where they lie."""
    grid, shape = shares.grid, shares.grid.shape
    dims = ("time", "latitude", "longitude")
    attrs = {"grid_mapping": "crs"}

    def placed(values: Floats, empty: Any) -> npt.NDArray[Any]:
        flat = np.full((values.shape[1], shape[0] * shape[1]), empty)
        flat[:, shares.cell] = values.T
        return flat.reshape(-1, *shape)

    variables: dict[str, Any] = {n: (dims, placed(v, np.nan), attrs) for n, v in sums.items()}
    variables |= {n: (dims, placed(np.rint(v).astype(np.int32), np.int32(0)), attrs) for n, v in counts.items()}
    cell = np.broadcast_to(cell_areas(grid)[:, None], shape)
    fraction = variables["glacier_area"][1] * _KM2 / cell
    variables["land_ice_area_fraction"] = (dims, fraction, attrs)
    variables["cell_area"] = (dims[1:], np.ascontiguousarray(cell), attrs)
    months, common = _months(shares, own, _area(product)[:, 0])
    variables["first_month"] = (dims[1:], placed(months[:, None].astype(np.int32), np.int32(0))[0], attrs)
    years = product["year"].values.astype(np.int64)
    bounds = year_bounds(years, common)
    middle = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) // 2  # a whole day
    place = coordinates(grid)
    variables |= {n: place.pop(n) for n in ("crs", "lat_bnds", "lon_bnds")}
    variables["time_bnds"] = (("time", "bnds"), bounds.astype("datetime64[ns]"))
    coords = {
        **place,
        "time": ("time", middle.astype("datetime64[ns]")),
        "year": ("time", years.astype(np.int32)),
    }
    said = {
        "glaciers_split": _SPLITS[split],
        "uncertainty_from": _uncertainty_from(product, correlation),
        "n_counted": "a glacier is counted in every cell that holds a part of it",
        "glacier_years_without_balance": int(np.isnan(product["mass_balance"].values).sum()),
        "hydrological_year": f"time_bnds begin in month {common}"
        + ("; glaciers have several years, see first_month" if len(np.unique(own.first_month)) > 1 else ""),
    }
    return describe(xr.Dataset(variables, coords=coords, attrs=said), kind="grid", **about)


def _months(shares: Shares, own: OwnYears, area: Floats) -> tuple[npt.NDArray[np.int64], int]:
    """First month of most of the glacier area of every touched cell, and of all."""
    firsts = np.unique(own.first_month)
    by_month = np.stack([shares.matrix @ np.where(own.first_month == m, area, 0.0) for m in firsts])
    return firsts[by_month.argmax(axis=0)], int(firsts[by_month.sum(axis=1).argmax()])


def _uncertainty_from(product: xr.Dataset, correlation: Correlation | None) -> str:
    if correlation is not None:
        return "errors of glaciers correlated with distance, summed over all pairs in a cell"
    if "mass_balance_realizations" in product:
        return "spread of the realizations, summed in each cell"
    return "errors of glaciers taken as independent: too small where they are correlated"


def by_year(gridded: xr.Dataset) -> Iterator[tuple[int, xr.Dataset]]:
    """The product of each hydrological year, with `time` of length one: for one file a year."""
    for position, year in enumerate(gridded["year"].values.tolist()):
        yield int(year), describe(gridded.isel(time=[position]), kind="grid")
