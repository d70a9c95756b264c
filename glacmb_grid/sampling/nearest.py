"""Glaciers over sea, lakes or missing cells take the nearest valid cells instead."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
from scipy.spatial import cKDTree

from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import Failure, failing
from glacmb_grid.sampling.grid import Curvilinear, Grid
from glacmb_grid.sampling.zonal import ROUNDING
from glacmb_grid.weights import Weights, from_entries

Floats = npt.NDArray[np.float64]
CELLS = 4
_MEAN_RADIUS = 6371.0  # km
_NEAREST = 1e-3  # km: a centre that lies closer counts as if it lay this far


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
        Where the grid has values.
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
    seen = np.bincount(weights.row, weights.weight * valid.ravel()[weights.column], len(weights.rows))
    poor = np.flatnonzero(seen < (least - ROUNDING) * weights.total)
    distance = np.full(len(weights.rows), np.nan)
    cells = np.flatnonzero(valid)
    if not len(poor) or not len(cells):
        distance[poor] = np.inf
        return weights, distance
    points = glaciers.geometry.iloc[poor].representative_point()
    chord, found = cKDTree(_unit(*_centres(grid, cells))).query(_unit(points.x.to_numpy(), points.y.to_numpy()), CELLS)
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
    rows: npt.NDArray[np.str_], distance: Floats, max_distance_km: float, *, least: float
) -> list[Failure]:
    """Glaciers with too few valid cells and none near enough.

    Parameters
    ----------
    rows : array of str, (row,)
    distance : float64 array, (row,), km
        From `nearest_valid`.
    max_distance_km, least : float
        As there.

    Raises
    ------
    InputError
        Where these are all.
    """
    poor = distance > max_distance_km
    told = [f"{g} ({d:.0f} km)" for g, d in zip(rows[poor], distance[poor], strict=True)]
    error = InputError(
        "climate files",
        expected=f"values under at least {least:.0%} of every glacier's area, or within {max_distance_km:g} km of it",
        found=f"{int(poor.sum())} of {len(poor)} glaciers farther away: {listing(told)}",
        remedy="these are sea, lake or missing: give a cube with values there, raise `sampling.max_land_distance_km`, "
        "or lower `sampling.min_coverage`",
    )
    reasons = [
        f"less than {least:.0%} of its area have values; the nearest cell that has some is {d:.0f} km away, "
        f"sampling.max_land_distance_km is {max_distance_km:g}"
        for d in distance[poor]
    ]
    return failing(poor, rows, "first month", reasons, error)


def _centres(grid: Grid | Curvilinear, cells: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Longitude and latitude of the centres of cells."""
    if isinstance(grid, Curvilinear):
        return grid.longitude.ravel()[cells], grid.latitude.ravel()[cells]
    j, i = np.divmod(cells, grid.shape[1])
    y, x = (((e[:-1] + e[1:]) / 2)[k] for e, k in ((grid.y_edges, j), (grid.x_edges, i)))
    if not grid.is_geographic:
        x, y = pyproj.Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    return x, y


def _unit(longitude: Floats, latitude: Floats) -> Floats:
    """Points on the unit sphere, so that neither poles nor turns of longitude matter."""
    a, b = np.deg2rad(longitude), np.deg2rad(latitude)
    return np.column_stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
