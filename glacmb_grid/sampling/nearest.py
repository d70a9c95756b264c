"""Glaciers over sea, lakes or missing cells take their values from the nearest valid cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

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
from glacmb_grid.sphere import EARTH_RADIUS_KM, arc_km, unit_vectors
from glacmb_grid.weights import Weights, from_entries

Floats = npt.NDArray[np.float64]
CELLS = 4
_NEAREST = 1e-3  # km, lower bound of distances, so that inverse distances stay finite


def valid_cells(
    fields: Mapping[str, xr.DataArray],
    weights: Weights,
    grid: Grid | Curvilinear,
    glaciers: gpd.GeoDataFrame,
    *,
    least: float,
    max_distance_km: float,
    judge: Callable[[str, npt.NDArray[np.int64], npt.NDArray[Any]], None] | None = None,
) -> dict[str, npt.NDArray[np.bool_]]:
    """Where each field has values, among the cells that `nearest_valid` needs: under glaciers, around uncovered ones.

    Parameters
    ----------
    fields : mapping of str to xr.DataArray, (..., y, x)
        A cell of a field has values where any of its steps has one. If lazy, only the chunks that hold such cells are
        read.
    weights, grid, glaciers, least, max_distance_km
        As for `nearest_valid`.
    judge : callable, optional
        Takes each field's name, the flat numbers of the cells and their values, (cell, step), as they are read.

    Returns
    -------
    mapping of str to bool array, (y, x)
        False also for cells that were not looked at.
    """
    data = {n: f.transpose(..., grid.y, grid.x).data.reshape(-1, *grid.shape) for n, f in fields.items()}
    valid = {n: np.zeros(math.prod(grid.shape), bool) for n in fields}

    def look(cells: npt.NDArray[np.int64]) -> None:
        for name, values in data.items():
            found = np.asarray(touched_cells(values, cells))
            if judge is not None:
                judge(name, cells, found)
            valid[name][cells] = np.isfinite(found).any(axis=1)

    look(weights.touched)
    uncovered = np.unique(np.concatenate([_uncovered(weights, v, least) for v in valid.values()]))
    if len(uncovered) and max_distance_km > 0:
        look(_cells_within(grid, _points(glaciers, uncovered), _search_radius(max_distance_km)))
    return {n: v.reshape(grid.shape) for n, v in valid.items()}


def _uncovered(weights: Weights, valid: npt.NDArray[np.bool_], least: float) -> npt.NDArray[np.int64]:
    """Row numbers of glaciers of which valid cells cover less than `least`."""
    seen = np.bincount(weights.row, weights.weight * valid.ravel()[weights.column], len(weights.rows))
    return np.flatnonzero(seen < (least - ROUNDING) * weights.total)


def _points(glaciers: gpd.GeoDataFrame, rows: npt.NDArray[np.int64]) -> Floats:
    """Points inside outlines, on the unit sphere."""
    shapes = continuous(np.asarray(glaciers.geometry.iloc[rows].array, dtype=object))
    return unit_vectors(*shapely.get_coordinates(shapely.point_on_surface(shapes)).T)


def _search_radius(max_distance_km: float) -> float:
    """Radius of the search for values, km; larger than allowed, so that messages can give the distance found."""
    return max(3 * max_distance_km, 100.0)


def _cells_within(grid: Grid | Curvilinear, points: Floats, distance_km: float) -> npt.NDArray[np.int64]:
    """Sorted numbers of the cells with centres within a distance of any point."""
    angle = min(distance_km / EARTH_RADIUS_KM, np.pi)
    north = np.arcsin(np.clip(points[:, 2], -1, 1))
    cells = np.arange(math.prod(grid.shape))
    if isinstance(grid, Grid) and grid.is_geographic:
        latitude = np.deg2rad(grid.centres[0])
        rows = (latitude >= north.min() - angle) & (latitude <= north.max() + angle)
        cells = cells.reshape(grid.shape)[rows].ravel()
    if not len(cells):
        return cells
    reach = 2 * np.sin(angle / 2) + 1e-12
    chord, _ = cKDTree(points).query(unit_vectors(*_centres(grid, cells)), distance_upper_bound=reach)
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
    """Replace the cells of glaciers with too little valid coverage by the nearest valid cells.

    Parameters
    ----------
    weights : Weights
        From `overlap_weights`.
    grid : Grid or Curvilinear
    valid : bool array, (y, x)
        Where the grid has values, for instance from `valid_cells`.
    glaciers : GeoDataFrame
        One for each row of the weights, EPSG:4326.
    least : float
        Smallest share of the area that valid cells must cover; below it the nearest cells are used.
    max_distance_km : float
        Largest great-circle distance from a point inside the outline to a cell centre; 0 replaces nothing.

    Returns
    -------
    weights : Weights
        Replaced rows have up to four cells, weighted by inverse distance; their weights sum to the outline's area.
    distance : float64 array, (row,), km
        To the nearest valid centre for every row with too little valid coverage, NaN for the others. Rows beyond
        `max_distance_km` are unchanged.
    """
    uncovered = _uncovered(weights, valid, least)
    distance = np.full(len(weights.rows), np.nan)
    cells = np.flatnonzero(valid)
    if not len(uncovered) or not len(cells):
        distance[uncovered] = np.inf
        return weights, distance
    chord, found = cKDTree(unit_vectors(*_centres(grid, cells))).query(_points(glaciers, uncovered), CELLS)
    arc = np.maximum(arc_km(chord), _NEAREST)
    distance[uncovered] = arc[:, 0]
    near = np.isfinite(chord) & (arc <= max_distance_km)  # the chord is infinite where the grid has fewer cells
    taken = near[:, 0]
    share = np.where(near, 1 / arc, 0.0)
    share[taken] /= share[taken].sum(axis=1, keepdims=True)
    kept = ~np.isin(weights.row, uncovered[taken])
    use = near & taken[:, None]
    row = np.broadcast_to(uncovered[:, None], arc.shape)
    area = share * weights.total[uncovered][:, None]
    old, new = (weights.row, weights.column, weights.weight), (row[use], cells[found[use]], area[use])
    entries = (np.concatenate([a[kept], b]) for a, b in zip(old, new, strict=True))
    rows, total, size, source = weights.rows, weights.total, weights.size, weights.source
    return from_entries(*entries, rows=rows, total=total, size=size, source=source), distance


def far_from_land(
    rows: npt.NDArray[np.str_], distance: Floats, *, least: float, max_distance_km: float, field: str
) -> list[Failure]:
    """Glaciers with too little valid coverage and no valid cell within the allowed distance.

    Parameters
    ----------
    rows : array of str, (row,)
    distance : float64 array, (row,), km
        From `nearest_valid`.
    least, max_distance_km : float
        As for `nearest_valid`.
    field : str
        Variable and month of the values.

    Raises
    ------
    InputError
        If these are all glaciers.
    """
    far = distance > max_distance_km
    searched = _search_radius(max_distance_km)
    away = [f"{d:.0f} km away" if d <= searched else f"more than {searched:g} km away" for d in distance[far]]
    error = InputError(
        f"climate files: {field}",
        expected=f"values under at least {least:.0%} of every glacier's area, or within {max_distance_km:g} km of it",
        found=f"{int(far.sum())} of {len(far)} glaciers without, the nearest cell with a value "
        + listing(f"{a} from {g}" for g, a in zip(rows[far], away, strict=True)),
        remedy="these cells are sea or lake, or the month is missing (download it again): give a cube with values, "
        "raise `sampling.max_land_distance_km`, or lower `sampling.min_coverage`",
    )
    reasons = [
        f"less than {least:.0%} of its area have values; the nearest cell that has some is {a}, "
        f"sampling.max_land_distance_km is {max_distance_km:g}"
        for a in away
    ]
    return failing(far, rows, field, reasons, error)


def _centres(grid: Grid | Curvilinear, cells: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Longitude and latitude of the centres of cells."""
    if isinstance(grid, Curvilinear):
        return grid.longitude.ravel()[cells], grid.latitude.ravel()[cells]
    j, i = np.divmod(cells, grid.shape[1])
    y, x = (centres[k] for centres, k in zip(grid.centres, (j, i), strict=True))
    if not grid.is_geographic:
        x, y = pyproj.Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    return x, y
