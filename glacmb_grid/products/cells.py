"""Cells of a latitude-longitude grid, and the share of every glacier in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import scipy.sparse as sp
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.polygons import bounds_around
from glacmb_grid.sampling.grid import Grid
from glacmb_grid.sampling.lattice import authalic_sine
from glacmb_grid.sampling.zonal import ROUNDING, overlap_weights
from glacmb_grid.vocabulary import EARTH_RADIUS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Split = Literal["outline", "centroid"]

_DIGITS = 9  # of a degree: edges that are multiples of the resolution are equal in every grid


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares of glaciers in the cells that hold any.

    Attributes
    ----------
    grid : Grid
        Latitudes from north to south, longitudes from west to east.
    cell : int64 array, (touched,)
        Flat numbers of the cells that hold glaciers, sorted.
    matrix : csr_array, (touched, glacier)
        Share of each glacier's area; columns sum to 1.
    """

    grid: Grid
    cell: Integers
    matrix: sp.csr_array


def grid_around(bounds: Floats, resolution: float) -> Grid:
    """The smallest grid around bounds whose edges are multiples of the resolution, of two cells each way at least.

    GDAL does not open grids of one row or column.

    Parameters
    ----------
    bounds : float64 array, (place, 4), degrees
        Lowest longitude and latitude, highest longitude and latitude.
    resolution : float, degrees
    """
    if not 0 < resolution <= 90:
        raise InputError(
            "resolution", expected="degrees above 0 and up to 90", found=f"{resolution}", remedy="give for instance 0.5"
        )
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    first = np.floor(np.round(low / resolution, 6)).astype(np.int64)
    last = np.maximum(np.ceil(np.round(high / resolution, 6)).astype(np.int64), first + 2)
    if last[1] * resolution > 90 and (last[1] - 1) * resolution >= high[1]:
        first[1], last[1] = first[1] - 1, last[1] - 1
    x = np.round(np.arange(first[0], last[0] + 1) * resolution, _DIGITS)
    y = np.round(np.arange(first[1], last[1] + 1) * resolution, _DIGITS)
    if x[-1] - x[0] >= 360:
        x = np.linspace(-180, 180, round(360 / resolution) + 1)
    return grid_of_edges(np.unique(np.clip(y, -90, 90)), x)


def grid_of_edges(latitude: npt.ArrayLike, longitude: npt.ArrayLike) -> Grid:
    """A grid of given edges, degrees, evenly spaced or not ascending: from north to south, from west to east."""
    y, x = (np.asarray(e, np.float64) for e in (latitude, longitude))
    for name, edges, widest in (("latitude", y, 180), ("longitude", x, 360)):
        steps = np.diff(edges) if edges.ndim == 1 else np.zeros(0)
        even = len(steps) and (np.sign(steps) == np.sign(steps[0])).all() and np.ptp(steps) <= 1e-6 * abs(steps[0])
        if not even or steps[0] == 0 or abs(edges[-1] - edges[0]) > widest + 1e-9:
            raise InputError(
                f"edges: {name}",
                expected="two or more edges of cells, evenly spaced degrees",
                found=listing(edges.ravel(), 4) or "none",
                remedy="give edges, not centres, as np.arange(27, 46.01, 0.5)",
            )
    return Grid(np.sort(y)[::-1], np.sort(x), pyproj.CRS.from_epsg(4326), "latitude", "longitude")


def shares_by_outline(outlines: gpd.GeoDataFrame, grid: Grid | float) -> Shares:
    """Shares of each glacier's area by exact overlap of its outline with the cells.

    Parameters
    ----------
    outlines : GeoDataFrame
        Geometry in EPSG:4326.
    grid : Grid or float
        A grid, or the resolution of the smallest one around the outlines, degrees.

    Raises
    ------
    InputError
        Glaciers that lie wholly or partly outside the grid.
    """
    if not isinstance(grid, Grid):
        grid = grid_around(bounds_around(np.asarray(outlines.geometry.array, dtype=object)), float(grid))
    weights = overlap_weights(outlines, grid)
    inside = np.bincount(weights.row, weights.weight, len(weights.rows))
    _require_inside(weights.rows, inside >= (1 - ROUNDING) * weights.total)
    return _shares(grid, weights.row, weights.column, weights.weight / inside[weights.row], len(weights.rows))


def shares_by_centroid(ids: npt.NDArray[Any], longitude: Floats, latitude: Floats, grid: Grid | float) -> Shares:
    """Every glacier whole in the cell that holds its position; one on an edge belongs to the north and to the east.

    Raises
    ------
    InputError
        Positions outside the grid.
    """
    if not isinstance(grid, Grid):
        turns = np.deg2rad(longitude)
        middle = np.rad2deg(np.arctan2(np.sin(turns).sum(), np.cos(turns).sum()))
        near = longitude - 360 * np.round((longitude - middle) / 360)
        beyond = 1e-5 * float(grid)  # so that no position lies on the last edge
        grid = grid_around(np.stack([near, latitude, near + beyond, latitude + beyond], axis=1), float(grid))
    west, north = float(grid.x_edges[0]), grid.y_edges[::-1]
    east = west + (longitude - west) % 360
    x = np.searchsorted(grid.x_edges, east, side="right") - 1
    y = np.searchsorted(north, latitude, side="right") - 1
    y = np.where(latitude == north[-1], len(north) - 2, y)
    _require_inside(ids, (x >= 0) & (x < grid.shape[1]) & (y >= 0) & (y < grid.shape[0]))
    number = np.arange(len(ids))
    return _shares(grid, number, (grid.shape[0] - 1 - y) * grid.shape[1] + x, np.ones(len(ids)), len(ids))


def _require_inside(ids: npt.NDArray[Any], inside: npt.NDArray[np.bool_]) -> None:
    if not inside.all():
        raise InputError(
            "grid",
            expected="all glaciers inside the edges of the grid",
            found=f"{int((~inside).sum())} of {len(inside)} not or not wholly inside: {listing(ids[~inside])}",
            remedy="give a larger grid or a resolution, or leave these glaciers out",
        )


def _shares(grid: Grid, glacier: Integers, cell: Integers, share: Floats, glaciers: int) -> Shares:
    touched, row = np.unique(cell, return_inverse=True)
    matrix = sp.csr_array((share, (row.ravel(), glacier)), shape=(len(touched), glaciers))
    return Shares(grid, touched, matrix)


def cell_areas(grid: Grid) -> Floats:
    """Areas of the cells of a row of latitudes on the ellipsoid, (latitude,), m2."""
    height = EARTH_RADIUS * np.abs(np.diff(authalic_sine(grid.y_edges)))
    width = EARTH_RADIUS * np.deg2rad(np.abs(np.diff(grid.x_edges)).mean())
    return np.asarray(height * width)


def coordinates(grid: Grid) -> dict[str, xr.Variable]:
    """`latitude`, `longitude`, their bounds and the grid mapping `crs`."""
    y, x = grid.centres
    edges = {"lat": ("latitude", grid.y_edges), "lon": ("longitude", grid.x_edges)}
    found = {
        "latitude": xr.Variable("latitude", np.round(y, _DIGITS)),
        "longitude": xr.Variable("longitude", np.round(x, _DIGITS)),
        "crs": xr.Variable((), np.int32(0), crs_attributes(grid.crs)),
    }
    for name, (dim, e) in edges.items():
        found[f"{name}_bnds"] = xr.Variable((dim, "bnds"), np.stack([e[:-1], e[1:]], axis=1))
    return found


def crs_attributes(crs: pyproj.CRS) -> dict[str, object]:
    """Attributes of a grid mapping by CF; as well-known text too, for GDAL."""
    named = ("grid_mapping_name", "longitude_of_prime_meridian", "semi_major_axis", "inverse_flattening", "crs_wkt")
    cf = crs.to_cf()
    return {"long_name": "coordinate reference system", **{n: cf[n] for n in named}}
