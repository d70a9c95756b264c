"""Topography of each glacier from a digital elevation model, weighted by true area."""

from __future__ import annotations

import warnings
from itertools import pairwise

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.sampling.grid import Grid, grid_of
from glacmb_grid.sampling.zonal import ROUNDING, on_grid, overlap_weights
from glacmb_grid.vocabulary import EARTH_RADIUS
from glacmb_grid.weights import Weights

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
BANDS = 10
_NEARLY_WHOLE = 0.95
_FAR_ABOVE_SEA = 500.0  # m
_CELLS_A_SIDE = 1024  # of the squares that are worked on one after the other

_ATTRS = {
    "elevation_min": ("m", "minimum elevation"),
    "elevation_max": ("m", "maximum elevation"),
    "elevation_mean": ("m", "mean elevation"),
    "elevation_median": ("m", "median elevation"),
    "slope": ("degree", "mean slope"),
    "northness": ("1", "cosine of the mean aspect, 0 where all is flat"),
    "eastness": ("1", "sine of the mean aspect, 0 where all is flat"),
    "hypsometry": ("m", "mean elevation of each tenth of the glacier's area, from the lowest to the highest"),
    "elevation_coverage": ("1", "share of the glacier's area with a valid elevation"),
}


def terrain(dem: xr.DataArray, glaciers: gpd.GeoDataFrame, *, min_coverage: float = 0.5) -> xr.Dataset:
    """Elevation, slope, aspect and hypsometry of every glacier.

    Parameters
    ----------
    dem : xr.DataArray, (y, x), m
        NaN where there is no elevation.
    glaciers : GeoDataFrame
        Index of glacier ids, EPSG:4326.
    min_coverage : float
        The smallest share of a glacier's area that must have an elevation.

    Returns
    -------
    xr.Dataset, (glacier,) and (glacier, band)
        See the attributes; `elevation_coverage` tells how much of the area was seen.

    Raises
    ------
    InputError
        Naming the glaciers with less coverage than `min_coverage`, or with none at all.
    """
    grid = grid_of(dem, name="elevation model")
    groups = _neighbours(glaciers, grid)
    parts = [_terrain_of(_window(dem, glaciers.iloc[rows], grid), glaciers.iloc[rows]) for rows in groups]
    ds = xr.concat(parts, "glacier").isel(glacier=np.argsort(np.concatenate(groups)))
    _require_coverage(ds["elevation_coverage"].values, glaciers, min_coverage)
    _refuse_zeros(ds)
    return ds


def tell_voids(terrain: xr.Dataset) -> None:
    """Warn where a noticeable part of a glacier has no elevation: its means and its hypsometry leave that part out."""
    poor = terrain["elevation_coverage"].values < _NEARLY_WHOLE
    if poor.any():
        share = terrain["elevation_coverage"].values[poor]
        ids = [f"{g} ({c:.0%})" for g, c in zip(terrain["glacier"].values[poor], share, strict=True)]
        warnings.warn(
            f"the elevation model has voids inside {len(ids)} glacier(s), which count as if they lay at the elevations "
            f"of the rest: {listing(ids)}; fill them, or raise `elevation.min_coverage` to refuse such glaciers",
            stacklevel=2,
        )


def _refuse_zeros(ds: xr.Dataset) -> None:
    """Undeclared voids of 0 m in a glacier that lies far above the sea."""
    zero = (ds["elevation_min"].values == 0) & (ds["elevation_median"].values > _FAR_ABOVE_SEA)
    if zero.any():
        raise InputError(
            "elevation model",
            expected="elevations, with the voids declared as such",
            found=f"cells of exactly 0 m inside {int(zero.sum())} glacier(s) that lie far above: "
            f"{listing(ds['glacier'].values[zero])}",
            remedy="declare them as voids, for instance with `gdal_edit.py -a_nodata 0`, and fill them where you can",
        )


def _neighbours(glaciers: gpd.GeoDataFrame, grid: Grid) -> list[Integers]:
    """Row numbers of glaciers that lie together, so that only a part of the elevation model is in memory at a time."""
    bounds = shapely.bounds(on_grid(glaciers, grid))
    side = _CELLS_A_SIDE * np.abs([grid.x_edges[1] - grid.x_edges[0], grid.y_edges[1] - grid.y_edges[0]])
    tile = np.floor((bounds[:, :2] + bounds[:, 2:]) / (2 * side))
    _, number = np.unique(tile, axis=0, return_inverse=True)
    return [np.flatnonzero(number.ravel() == k) for k in range(number.max() + 1)]


def _terrain_of(dem: xr.DataArray, glaciers: gpd.GeoDataFrame) -> xr.Dataset:
    grid = grid_of(dem, name="elevation model")
    weights = overlap_weights(glaciers, grid)
    elevation = np.asarray(dem.transpose(grid.y, grid.x).values, np.float64)
    fields = {"elevation": elevation, **_gradient(elevation, grid)}
    at_cells = {name: field.ravel()[weights.column] for name, field in fields.items()}
    starts = np.searchsorted(weights.row, np.arange(len(weights.rows) + 1))
    rows = [_one_glacier({n: v[a:b] for n, v in at_cells.items()}, weights.weight[a:b]) for a, b in pairwise(starts)]
    return _as_dataset(rows, _coverage(weights, at_cells["elevation"]), weights.rows)


def _window(dem: xr.DataArray, glaciers: gpd.GeoDataFrame, grid: Grid) -> xr.DataArray:
    """The part of the elevation model around the glaciers, two cells wider for the slope."""
    x0, y0, x1, y1 = shapely.total_bounds(on_grid(glaciers, grid))
    pieces = {}
    for dim, edges, low, high in ((grid.y, grid.y_edges, y0, y1), (grid.x, grid.x_edges, x0, x1)):
        step = abs(edges[1] - edges[0])
        inside = np.flatnonzero((edges[:-1] > low - 3 * step) & (edges[:-1] < high + 3 * step))
        pieces[dim] = slice(inside[0], inside[-1] + 1) if len(inside) > 1 else slice(0, 2)
    return dem.isel(pieces)


def _gradient(elevation: Floats, grid: Grid) -> dict[str, Floats]:
    """Slope in degrees and the unit vector of steepest descent, (y, x)."""
    y = (grid.y_edges[:-1] + grid.y_edges[1:]) / 2
    x = (grid.x_edges[:-1] + grid.x_edges[1:]) / 2
    if grid.is_geographic:
        y_metres, x_scale = EARTH_RADIUS * np.deg2rad(y), EARTH_RADIUS * np.cos(np.deg2rad(y))[:, None]
        x_metres = np.deg2rad(x)
    else:
        y_metres, x_scale, x_metres = y, np.ones((len(y), 1)), x
    north = np.gradient(elevation, y_metres, axis=0)
    east = np.gradient(elevation, x_metres, axis=1) / x_scale
    steepness = np.hypot(north, east)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "slope": np.degrees(np.arctan(steepness)),
            "northness": np.where(steepness > 0, -north / steepness, np.nan),
            "eastness": np.where(steepness > 0, -east / steepness, np.nan),
        }


def _coverage(weights: Weights, elevation: Floats) -> Floats:
    seen = np.bincount(weights.row, weights.weight * np.isfinite(elevation), len(weights.rows))
    return np.asarray(seen / weights.total)


def _require_coverage(coverage: Floats, glaciers: gpd.GeoDataFrame, least: float) -> None:
    poor = ~((coverage >= least - ROUNDING) & (coverage > 0))
    if poor.any():
        ids = [f"{g} ({c:.0%})" for g, c in zip(glaciers.index[poor], coverage[poor], strict=True)]
        raise InputError(
            "elevation model",
            expected=f"valid elevations over at least {least:.0%} of every glacier",
            found=f"{poor.sum()} of {len(coverage)} glaciers below that: {listing(ids)}",
            remedy="add the missing tiles or fill the voids; or lower `elevation.min_coverage`, or leave these "
            "glaciers out",
        )


def _one_glacier(cells: dict[str, Floats], area: Floats) -> dict[str, float | Floats]:
    valid = np.isfinite(cells["elevation"])
    if not valid.any():
        return {n: np.full(BANDS, np.nan) if n == "hypsometry" else np.nan for n in _ATTRS if n != "elevation_coverage"}
    elevation, weight = cells["elevation"][valid], area[valid]
    east, north = _mean(cells["eastness"], area), _mean(cells["northness"], area)
    direction = np.hypot(east, north)
    return {
        "elevation_min": float(elevation.min()),
        "elevation_max": float(elevation.max()),
        "elevation_mean": float(np.average(elevation, weights=weight)),
        "elevation_median": _median(elevation, weight),
        "slope": _mean(cells["slope"], area),
        "northness": north / direction if direction > 0 else 0.0,
        "eastness": east / direction if direction > 0 else 0.0,
        "hypsometry": area_bands(elevation, weight),
    }


def _mean(values: Floats, weight: Floats) -> float:
    """Mean of what is valid, NaN where nothing is."""
    valid = np.isfinite(values)
    total = weight[valid].sum()
    return float((values[valid] * weight[valid]).sum() / total) if total > 0 else np.nan


def _median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(share, share[-1] / 2)])


def area_bands(elevation: Floats, area: Floats, bands: int = BANDS) -> Floats:
    """Mean elevation of each equal share of the area, lowest first, (band,).

    Parameters
    ----------
    elevation, area : float64 arrays, (cell,)
        m and any unit of area.
    """
    order = np.argsort(elevation, kind="stable")
    reached = np.concatenate([[0.0], np.cumsum(area[order])])
    volume = np.concatenate([[0.0], np.cumsum(area[order] * elevation[order])])
    marks = np.interp(np.linspace(0, reached[-1], bands + 1), reached, volume)
    return np.asarray(np.diff(marks) / (reached[-1] / bands))


def _as_dataset(rows: list[dict[str, float | Floats]], coverage: Floats, ids: npt.NDArray[np.str_]) -> xr.Dataset:
    ds = xr.Dataset(coords={"glacier": ("glacier", ids.astype(object)), "band": np.arange(BANDS)})
    for name in rows[0]:
        dims = ("glacier", "band") if name == "hypsometry" else ("glacier",)
        ds[name] = (dims, np.array([r[name] for r in rows], np.float64))
    ds["elevation_coverage"] = ("glacier", coverage)
    for name, (units, long_name) in _ATTRS.items():
        if name in ds:
            ds[name].attrs = {"units": units, "long_name": long_name}
    return ds
