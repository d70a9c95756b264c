"""Glaciers over sea, lakes or missing cells take the nearest valid cells instead."""

from __future__ import annotations

import math

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import xarray as xr
from scipy.spatial import cKDTree

from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import Failure, failing
from glacmb_grid.polygons import continuous
from glacmb_grid.sampling.apply import touched_cells
from glacmb_grid.sampling.grid import Curvilinear, Grid
from glacmb_grid.sampling.zonal import ROUNDING
from glacmb_grid.weights import Weights, from_entries

Floats = npt.NDArray[np.float64]
CELLS = 4
_MEAN_RADIUS = 6371.0  # km
_NEAREST = 1e-3  # km: a centre that lies closer counts as if it lay this far


def valid_cells(
    field: xr.DataArray,
    weights: Weights,
    grid: Grid | Curvilinear,
    glaciers: gpd.GeoDataFrame,
    *,
    least: float,
    max_distance_km: float,
) -> npt.NDArray[np.bool_]:
    """Where a field has values, as far as `nearest_valid` asks: under the glaciers, and around those without enough.

    Parameters
    ----------
    field : xr.DataArray, (y, x)
        Of a lazy one only the chunks that hold such cells are read.
    weights, grid, glaciers, least, max_distance_km
        As for `nearest_valid`.

    Returns
    -------
    bool array, (y, x)
        False also where nobody looked.
    """
    data = field.transpose(grid.y, grid.x).data.reshape(1, *grid.shape)
    valid = np.zeros(math.prod(grid.shape), bool)

    def look(cells: npt.NDArray[np.int64]) -> None:
        valid[cells] = np.isfinite(np.asarray(touched_cells(data, cells)))[:, 0]

    look(weights.touched)
    poor = _poor(weights, valid, least)
    if len(poor) and max_distance_km > 0:
        look(_cells_within(grid, _points(glaciers, poor), _looked_around(max_distance_km)))
    return valid.reshape(grid.shape)


def _poor(weights: Weights, valid: npt.NDArray[np.bool_], least: float) -> npt.NDArray[np.int64]:
    """Rows of which valid cells cover too little."""
    seen = np.bincount(weights.row, weights.weight * valid.ravel()[weights.column], len(weights.rows))
    return np.flatnonzero(seen < (least - ROUNDING) * weights.total)


def _points(glaciers: gpd.GeoDataFrame, rows: npt.NDArray[np.int64]) -> Floats:
    """Points inside outlines, on the unit sphere."""
    shapes = continuous(np.asarray(glaciers.geometry.iloc[rows].array, dtype=object))
    return _unit(*shapely.get_coordinates(shapely.point_on_surface(shapes)).T)


def _looked_around(max_distance_km: float) -> float:
    """How far around a glacier is looked for values, km: farther than they may lie, to be able to tell how far."""
    return max(3 * max_distance_km, 100.0)


def _cells_within(grid: Grid | Curvilinear, points: Floats, distance_km: float) -> npt.NDArray[np.int64]:
    """Sorted numbers of the cells with centres within a distance of any point."""
    angle = min(distance_km / _MEAN_RADIUS, np.pi)
    north = np.arcsin(np.clip(points[:, 2], -1, 1))
    cells = np.arange(math.prod(grid.shape))
    if isinstance(grid, Grid) and grid.is_geographic:
        latitude = np.deg2rad(grid.centres[0])
        rows = (latitude >= north.min() - angle) & (latitude <= north.max() + angle)
        cells = cells.reshape(grid.shape)[rows].ravel()
    if not len(cells):
        return cells
    chord, _ = cKDTree(points).query(_unit(*_centres(grid, cells)), distance_upper_bound=2 * np.sin(angle / 2) + 1e-12)
    return np.asarray(cells[np.isfinite(chord)])


def nearest_valid(
    weights: Weights,
    grid: Grid | Curvilinear,
    valid: npt.NDArray[np.bool_],
    glaciers: gpd.GeoDataFrame,
    *,
    least: float,
    max_distance_km: float,
) -> tuple[Weights, Floats]:
    """Weights in which glaciers with too few valid cells take the nearest valid ones.

    Parameters
    ----------
    weights : Weights
        From `overlap_weights`.
    grid : Grid or Curvilinear
    valid : bool array, (y, x)
        Where the grid has values, of `valid_cells` for instance.
    glaciers : GeoDataFrame
        Of the rows of the weights, EPSG:4326.
    least : float
        Smallest share of the area that valid cells must cover; below it the nearest cells stand in.
    max_distance_km : float
        How far the centres of these may lie from the outline's representative point; great-circle distance. 0: none.

    Returns
    -------
    weights : Weights
        Rows that were replaced have up to four cells, weighted by inverse distance, with the outline's area in all.
    distance : float64 array, (row,), km
        To the nearest valid centre for every row with too few valid cells, NaN for the others. Where it exceeds
        `max_distance_km` the row was left as it was.
    """
    poor = _poor(weights, valid, least)
    distance = np.full(len(weights.rows), np.nan)
    cells = np.flatnonzero(valid)
    if not len(poor) or not len(cells):
        distance[poor] = np.inf
        return weights, distance
    chord, found = cKDTree(_unit(*_centres(grid, cells))).query(_points(glaciers, poor), CELLS)
    arc = np.maximum(2 * _MEAN_RADIUS * np.arcsin(np.clip(chord / 2, 0, 1)), _NEAREST)
    distance[poor] = arc[:, 0]
    near = np.isfinite(chord) & (arc <= max_distance_km)  # there may be fewer cells than are asked for
    taken = near[:, 0]
    share = np.where(near, 1 / arc, 0.0)
    share[taken] /= share[taken].sum(axis=1, keepdims=True)
    kept = ~np.isin(weights.row, poor[taken])
    use = near & taken[:, None]
    row = np.broadcast_to(poor[:, None], arc.shape)
    area = share * weights.total[poor][:, None]
    replaced = from_entries(
        np.concatenate([weights.row[kept], row[use]]),
        np.concatenate([weights.column[kept], cells[found[use]]]),
        np.concatenate([weights.weight[kept], area[use]]),
        rows=weights.rows,
        total=weights.total,
        size=weights.size,
        source=weights.source,
    )
    return replaced, distance


def far_from_land(
    rows: npt.NDArray[np.str_], distance: Floats, *, least: float, max_distance_km: float, field: str
) -> list[Failure]:
    """Glaciers with too few valid cells and none near enough.

    Parameters
    ----------
    rows : array of str, (row,)
    distance : float64 array, (row,), km
        From `nearest_valid`.
    least, max_distance_km : float
        As there.
    field : str
        What was looked at: variable and month.

    Raises
    ------
    InputError
        Where these are all.
    """
    poor = distance > max_distance_km
    looked = _looked_around(max_distance_km)
    away = [f"{d:.0f} km away" if d <= looked else f"more than {looked:g} km away" for d in distance[poor]]
    error = InputError(
        f"climate files: {field}",
        expected=f"values under at least {least:.0%} of every glacier's area, or within {max_distance_km:g} km of it",
        found=f"{int(poor.sum())} of {len(poor)} glaciers without, the nearest cell with a value "
        + listing(f"{a} from {g}" for g, a in zip(rows[poor], away, strict=True)),
        remedy="these are sea or lake, or the month is missing (download it again): give a cube with values there, "
        "raise `sampling.max_land_distance_km`, or lower `sampling.min_coverage`",
    )
    reasons = [
        f"less than {least:.0%} of its area have values; the nearest cell that has some is {a}, "
        f"sampling.max_land_distance_km is {max_distance_km:g}"
        for a in away
    ]
    return failing(poor, rows, field, reasons, error)


def _centres(grid: Grid | Curvilinear, cells: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Longitude and latitude of the centres of cells."""
    if isinstance(grid, Curvilinear):
        return grid.longitude.ravel()[cells], grid.latitude.ravel()[cells]
    j, i = np.divmod(cells, grid.shape[1])
    y, x = (centres[k] for centres, k in zip(grid.centres, (j, i), strict=True))
    if not grid.is_geographic:
        x, y = pyproj.Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    return x, y


def _unit(longitude: Floats, latitude: Floats) -> Floats:
    """Points on the unit sphere, so that neither poles nor turns of longitude matter."""
    a, b = np.deg2rad(longitude), np.deg2rad(latitude)
    return np.column_stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
