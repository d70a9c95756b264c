"""Topography of each glacier from a digital elevation model, weighted by true area."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.progress import track
from glacmb_grid.sampling.grid import Grid, grid_of
from glacmb_grid.sampling.terrain_checks import undeclared_void
from glacmb_grid.sampling.true_north import jacobian, turned
from glacmb_grid.sampling.zonal import bounds_on, overlap_weights
from glacmb_grid.schemas import require_columns
from glacmb_grid.vocabulary import EARTH_RADIUS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
BANDS = 10
_HALF = 1e-9  # of an area: tolerance for two equal halves
_CELLS_A_SIDE = 1024  # of the squares that are processed together

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
    "undeclared_void": ("m", "value of cells that seem to be voids which are not declared; NaN where there are none"),
}
_HEIGHTS = ("elevation_min", "elevation_max", "elevation_mean", "elevation_median", "hypsometry")


def terrain(dem: xr.DataArray, glaciers: gpd.GeoDataFrame) -> xr.Dataset:
    """Elevation, slope, aspect and hypsometry of every glacier.

    Parameters
    ----------
    dem : xr.DataArray, (y, x), m
        NaN without an elevation.
    glaciers : GeoDataFrame
        Index of glacier ids, EPSG:4326.

    Returns
    -------
    xr.Dataset, (glacier,) and (glacier, band)
        See the attributes; `elevation_coverage` is the share of the area with elevations. NaN where there are none:
        see `without_elevation`. Glaciers whose part of the model cannot be read have none, and `unread` says why.

    Raises
    ------
    InputError
        Where the model can be read for no glacier.

    Examples
    --------
    A plane that rises 40 km a degree to the north is 20 degrees steep and looks south.

    >>> import geopandas, shapely, numpy as np, xarray as xr, glacmb_grid as gg
    >>> glaciers = geopandas.GeoDataFrame(geometry=[shapely.box(10.0, 46.0, 10.02, 46.01)], index=["one"], crs=4326)
    >>> x, y = np.arange(9.995, 10.025, 0.001), np.arange(46.015, 45.995, -0.001)
    >>> dem = xr.DataArray(3000 + 40000 * (y[:, None] - 46) + 0 * x, coords={"y": y, "x": x}).rio.write_crs(4326)
    >>> shape = gg.terrain(dem, glaciers)
    >>> [f"{shape[name].item():.0f}" for name in ("elevation_mean", "slope", "northness")]
    ['3200', '20', '-1']
    """
    require_columns(glaciers, ("geometry",), name="glaciers", source="`read_outlines`")
    grid = grid_of(dem, name="elevation model")
    dem = dem.transpose(grid.y, grid.x)
    groups = _close_together(glaciers, grid)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(lambda rows: _readable(dem, glaciers.iloc[rows], grid), groups)
        parts = list(track(read, "group of glaciers", len(groups)))
    order = np.argsort(np.concatenate(groups))
    unread = np.concatenate([errors for _, errors in parts])[order]
    if all(unread):
        raise unread[0]
    found = {n: np.concatenate([p[n] for p, _ in parts])[order] for n in _ATTRS}
    ds = _as_dataset(found, glaciers.index.to_numpy())
    if any(unread):
        reasons = np.array([f"{e.where}: {e.found}" if e else "" for e in unread], dtype=object)
        ds["unread"] = ("glacier", reasons, {"long_name": "why the elevation model cannot be read there"})
    return ds


def _readable(
    dem: xr.DataArray, glaciers: gpd.GeoDataFrame, grid: Grid
) -> tuple[dict[str, Floats], npt.NDArray[np.object_]]:
    """Statistics of glaciers, without values for those whose part of the model cannot be read, and the errors."""
    errors = np.full(len(glaciers), None, dtype=object)
    try:
        return _terrain_of(dem, glaciers, grid), errors
    except InputError as error:
        if len(glaciers) == 1:
            errors[0] = error
            nothing = {n: np.full((1, BANDS) if n == "hypsometry" else 1, np.nan) for n in _ATTRS}
            return {**nothing, "elevation_coverage": np.zeros(1)}, errors
    parts = [_readable(dem, glaciers.iloc[[k]], grid) for k in range(len(glaciers))]
    return {n: np.concatenate([p[n] for p, _ in parts]) for n in _ATTRS}, np.concatenate([e for _, e in parts])


def _close_together(glaciers: gpd.GeoDataFrame, grid: Grid) -> list[Integers]:
    """Row numbers of nearby glaciers, so that only a part of the elevation model is in memory at a time."""
    bounds = bounds_on(glaciers, grid)
    side = _CELLS_A_SIDE * np.abs([grid.x_edges[1] - grid.x_edges[0], grid.y_edges[1] - grid.y_edges[0]])
    tile = np.floor((bounds[:, :2] + bounds[:, 2:]) / (2 * side))
    _, number, count = np.unique(tile, axis=0, return_inverse=True, return_counts=True)
    return np.split(np.argsort(number.ravel(), kind="stable"), np.cumsum(count)[:-1])


def _terrain_of(dem: xr.DataArray, glaciers: gpd.GeoDataFrame, grid: Grid) -> dict[str, Floats]:
    """All statistics of the glaciers in one window, (glacier,) and (glacier, band), independent of each other."""
    rows, columns = _window(glaciers, grid)
    window = replace(
        grid, y_edges=grid.y_edges[rows.start : rows.stop + 1], x_edges=grid.x_edges[columns.start : columns.stop + 1]
    )
    weights = overlap_weights(glaciers, window)
    values = np.asarray(dem.isel({grid.y: rows, grid.x: columns}).values)
    elevation = values.ravel()[weights.column].astype(np.float64)
    valid = np.isfinite(elevation)
    row, area, column = weights.row[valid], weights.weight[valid], weights.column[valid]
    count = len(weights.rows)
    seen = np.bincount(row, area, count)
    north, east = _gradient(values, column, grid, rows.start)
    if not grid.is_geographic:
        y, x = np.divmod(column, values.shape[1])
        north, east, scale = turned(north, east, jacobian(grid, y + rows.start, x + columns.start))
        area = area * scale
    steepness = np.hypot(north, east)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = _means(row, area, np.degrees(np.arctan(steepness)), count)
        northness = _means(row, area, -north / steepness, count)
        eastness = _means(row, area, -east / steepness, count)
        direction = np.hypot(northness, eastness)
        facing = {
            "northness": np.where(direction > 0, northness / direction, 0.0),
            "eastness": np.where(direction > 0, eastness / direction, 0.0),
        }
        coverage = seen / weights.total
    void = seen == 0
    out = {"slope": slope, **facing, **elevation_statistics(row, area, elevation[valid], count)}
    return {
        **{n: np.where(void.reshape(-1, *[1] * (v.ndim - 1)), np.nan, v) for n, v in out.items()},
        "elevation_coverage": coverage,
        "undeclared_void": undeclared_void(row, elevation[valid], count),
    }


def _window(glaciers: gpd.GeoDataFrame, grid: Grid) -> list[slice]:
    """Rows and columns of the elevation model around the glaciers, two cells wider for the slope."""
    bounds = bounds_on(glaciers, grid)
    (x0, y0), (x1, y1) = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    pieces = []
    for edges, low, high in ((grid.y_edges, y0, y1), (grid.x_edges, x0, x1)):
        step = abs(edges[1] - edges[0])
        inside = np.flatnonzero((edges[:-1] > low - 3 * step) & (edges[:-1] < high + 3 * step))
        pieces.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) > 1 else slice(0, 2))
    return pieces


def _gradient(elevation: npt.NDArray[np.floating], cell: Integers, grid: Grid, first_row: int) -> tuple[Floats, Floats]:
    """Slope towards north and east (m per m) at cells of a window that starts at row `first_row` of the grid.

    On a projected grid along its axes, m per unit of length.

    Central differences; one-sided at edges and next to voids, NaN between two voids.
    """
    height, width = elevation.shape
    y, x = np.divmod(cell, width)
    flat = elevation.ravel()
    above, below = np.maximum(y - 1, 0), np.minimum(y + 1, height - 1)
    left, right = np.maximum(x - 1, 0), np.minimum(x + 1, width - 1)
    dy, dx = grid.y_edges[1] - grid.y_edges[0], grid.x_edges[1] - grid.x_edges[0]
    if grid.is_geographic:
        centre = grid.centres[0]
        dx = EARTH_RADIUS * np.cos(np.deg2rad(centre))[first_row + y] * np.deg2rad(dx)
        dy = EARTH_RADIUS * np.deg2rad(dy)

    def rise(after: Integers, before: Integers, stride: int) -> Floats:
        after, before = (np.where(np.isfinite(flat[k]), k, cell) for k in (after, before))
        with np.errstate(invalid="ignore"):
            return np.asarray((flat[after].astype(np.float64) - flat[before]) / ((after - before) // stride))

    north = rise(below * width + x, above * width + x, width) / dy
    east = rise(y * width + right, y * width + left, 1) / dx
    return north, east


def _means(row: Integers, area: Floats, values: Floats, count: int) -> Floats:
    """Mean of the valid values of every row, NaN if there are none."""
    valid = np.isfinite(values)
    weight = np.bincount(row[valid], area[valid], count)
    return np.asarray(np.bincount(row[valid], area[valid] * values[valid], count) / weight)


def elevation_statistics(row: Integers, area: Floats, elevation: Floats, count: int) -> dict[str, Floats]:
    """Minimum, maximum, mean, median and hypsometry of every row; NaN for rows without cells.

    Parameters
    ----------
    row : int array, (cell,)
    area, elevation : float64 arrays, (cell,)
        Any unit of area, and m.
    count : int
        Number of rows.

    Notes
    -----
    Rows do not affect each other, to the last bit.
    """
    order = np.lexsort((elevation, row))
    row, area, elevation = row[order], area[order], elevation[order]
    cells = np.bincount(row, minlength=count)
    filled = np.flatnonzero(cells)
    first = np.concatenate([[0], np.cumsum(cells[filled])])[:-1]
    rank = np.repeat(np.arange(len(filled)), cells[filled])
    out = {n: np.full((count, BANDS) if n == "hypsometry" else count, np.nan) for n in _HEIGHTS}
    if not len(filled):
        return out
    share = area / np.bincount(row, area, count)[row]
    mean = elevation[first] + np.bincount(rank, share * (elevation - elevation[first][rank]))
    above = elevation - mean[rank]
    last = np.append(first[1:], len(row)) - 1
    reached, volume = share, share * above
    for a, b in zip(first, last + 1, strict=True):
        np.cumsum(reached[a:b], out=reached[a:b])
        np.cumsum(volume[a:b], out=volume[a:b])

    def reaching(mark: float) -> Integers:
        """The cell of every row with which this share of its area is reached."""
        return np.asarray(np.minimum(first + np.add.reduceat(reached < mark, first), last))

    tenths = np.arange(1, BANDS) / BANDS
    at = np.column_stack([reaching(tenth) for tenth in tenths])
    passed = volume[at] - (reached[at] - tenths) * above[at]
    between = np.column_stack([np.zeros(len(filled)), passed, volume[last]])
    out["elevation_min"][filled] = elevation[first]
    out["elevation_max"][filled] = elevation[last]
    out["elevation_mean"][filled] = mean
    out["elevation_median"][filled] = elevation[reaching(0.5 - _HALF)]
    out["hypsometry"][filled] = mean[:, None] + np.diff(between, axis=1) * BANDS
    return out


def _as_dataset(found: dict[str, Floats], ids: npt.NDArray[np.object_]) -> xr.Dataset:
    ds = xr.Dataset(coords={"glacier": ("glacier", ids.astype(str).astype(object)), "band": np.arange(BANDS)})
    for name, (units, long_name) in _ATTRS.items():
        dims = ("glacier", "band") if name == "hypsometry" else ("glacier",)
        ds[name] = (dims, found[name], {"units": units, "long_name": long_name})
    return ds
