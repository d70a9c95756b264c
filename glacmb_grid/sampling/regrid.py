"""Weights from one rectilinear grid to another, which compose with those of zonal sampling.

On rectilinear grids both methods are products of a matrix for the rows and one for the columns. Regridding libraries
such as xarray-regrid do not return this product, and use areas on a sphere. Here areas are those of the ellipsoid, as
for outlines, so that a composed operator conserves mass. Weights of curvilinear sources come from ESMF.
"""

from __future__ import annotations

import math
from typing import Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import scipy.sparse as sp
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.polygons import bounds_around
from glacmb_grid.sampling.apply import touched_cells, weighted_means
from glacmb_grid.sampling.grid import Curvilinear, Grid, any_grid_of
from glacmb_grid.sampling.lattice import authalic_sine, goes_around
from glacmb_grid.vocabulary import EARTH_RADIUS
from glacmb_grid.weights import Weights, from_entries

Floats = npt.NDArray[np.float64]
Method = Literal["conservative", "bilinear"]
EsmfMethod = Literal["conservative", "conservative_normed", "bilinear", "nearest_s2d", "nearest_d2s"]
ESMF_METHODS = ("conservative", "conservative_normed", "bilinear", "nearest_s2d", "nearest_d2s")
_NEARLY = 1e-9  # of a cell
_ROUNDING = 1e-12  # of a weight


def regrid_weights(source: Grid, target: Grid, method: Method = "conservative") -> Weights:
    """Weights that regrid fields from one grid to another.

    Parameters
    ----------
    source, target : Grid
        In the same reference system, or both geographic; longitudes may differ by multiples of 360.
    method : {"conservative", "bilinear"}
        Area-weighted mean of the cells under each target cell, or linear interpolation between cell centres.

    Returns
    -------
    Weights
        Rows are flat target cells, columns flat source cells. Conservative weights are areas (m2 on geographic grids)
        and `total` is the area of the target cell, so that parts outside the source lower the coverage. Bilinear
        weights sum to one inside the range of the source's centres; elsewhere there are none.

    Raises
    ------
    InputError
        If the reference systems differ.
    """
    if source.is_geographic != target.is_geographic or (not source.is_geographic and source.crs != target.crs):
        raise InputError(
            "regrid",
            expected=f"a target grid in the source's reference system ({source.crs.name})",
            found=target.crs.name,
            remedy="give the target in that system, or warp the source first, for instance with `gdalwarp`",
        )
    part = _shared if method == "conservative" else _between
    rows = part(*(_heights(g) if method == "conservative" else g.y_edges for g in (target, source)), turn=0.0)
    columns = part(target.x_edges, source.x_edges, turn=360.0 if source.is_geographic else 0.0)
    if method == "conservative" and source.is_geographic:
        columns = columns * (EARTH_RADIUS * np.pi / 180)
    product = sp.kron(rows, columns, format="coo")
    return from_entries(
        product.row,
        product.col,
        product.data,
        rows=np.arange(product.shape[0]),
        total=_areas(target) if method == "conservative" else np.ones(product.shape[0]),
        size=product.shape[1],
        source=source.digest,
    )


def grid_around(glaciers: gpd.GeoDataFrame, source: Grid | Curvilinear, resolution: float) -> Grid:
    """A latitude-longitude grid that covers outlines with a margin of one cell; its edges are multiples of the step.

    Parameters
    ----------
    glaciers : GeoDataFrame
        EPSG:4326; with outlines on both sides of the antimeridian the grid crosses it.
    source : Grid or Curvilinear
        Grid of the fields to regrid.
    resolution : float
        Degrees.

    Raises
    ------
    InputError
        If the source is projected.
    """
    if isinstance(source, Grid) and not source.is_geographic:
        raise InputError(
            "regrid",
            expected="a climate on latitude and longitude",
            found=source.crs.name,
            remedy="leave `regrid:` out",
        )
    bounds = bounds_around(np.asarray(glaciers.geometry.array, dtype=object))
    (x0, y0), (x1, y1) = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)

    def edges(low: float, high: float) -> Floats:
        first, last = np.floor(low / resolution) - 1, np.ceil(high / resolution) + 1
        return np.asarray(np.arange(first, last + 1) * resolution)

    y = edges(max(y0, -90 + resolution), min(y1, 90 - resolution))
    return Grid(y[::-1], edges(x0, x1), pyproj.CRS.from_epsg(4326), "latitude", "longitude")


def _heights(grid: Grid) -> Floats:
    """Edges of the rows in the equal-area plane."""
    return EARTH_RADIUS * authalic_sine(np.clip(grid.y_edges, -90, 90)) if grid.is_geographic else grid.y_edges


def _areas(grid: Grid) -> Floats:
    unit = EARTH_RADIUS * np.pi / 180 if grid.is_geographic else 1.0
    return np.abs(np.outer(np.diff(_heights(grid)), np.diff(grid.x_edges) * unit)).ravel()


def _turns(turn: float, target: Floats, source: Floats) -> Floats:
    """Multiples of 360 degrees by which the source may be offset from the target."""
    if turn == 0:
        return np.zeros(1)
    middle = np.round((target.mean() - source.mean()) / turn)
    return np.asarray(turn * (middle + np.array([-1, 0, 1])))


def _shared(target: Floats, source: Floats, *, turn: float) -> sp.csr_array:
    """Lengths that intervals share, (target, source); edges in either direction."""
    shape = (len(target) - 1, len(source) - 1)
    total = sp.csr_array(shape)
    for shift in _turns(turn, target, source):
        moved = source + shift
        marks = np.unique(np.concatenate([target, moved]))
        middle, length = (marks[:-1] + marks[1:]) / 2, np.diff(marks)
        row, column = _interval(target, middle), _interval(moved, middle)
        in_both = (row >= 0) & (column >= 0) & (length > _NEARLY * abs(source[1] - source[0]))
        total = total + sp.csr_array((length[in_both], (row[in_both], column[in_both])), shape=shape)
    return total


def _interval(edges: Floats, value: Floats) -> npt.NDArray[np.int64]:
    """Number of the interval that holds a value, -1 outside."""
    if edges[0] > edges[-1]:
        return _interval(-edges, -value)
    number = np.searchsorted(edges, value, side="right") - 1
    return np.where((number >= 0) & (number < len(edges) - 1), number, -1)


def _between(target: Floats, source: Floats, *, turn: float) -> sp.csr_array:
    """Linear interpolation from centre to centre, (target, source); nothing outside the outermost centres."""
    centre = (target[:-1] + target[1:]) / 2
    known = (source[:-1] + source[1:]) / 2
    count, step = len(known), abs(source[1] - source[0])
    number = np.arange(count)
    if known[0] > known[-1]:
        known, number = known[::-1], number[::-1]
    if turn and goes_around(source):
        known, number = np.append(known, known[0] + turn), np.append(number, number[0])
    total = sp.csr_array((len(centre), count))
    done = np.zeros(len(centre), bool)
    for shift in _turns(turn, target, source):
        at = (centre - shift - known[0]) / step
        at = np.where(np.abs(at - np.round(at)) < _NEARLY, np.round(at), at)
        here = np.flatnonzero((at >= 0) & (at <= len(known) - 1) & ~done)
        done[here] = True
        low = np.minimum(np.floor(at[here]).astype(np.int64), len(known) - 2)
        share = at[here] - low
        entries = (np.concatenate([1 - share, share]), (np.tile(here, 2), number[np.concatenate([low, low + 1])]))
        total = total + sp.csr_array(entries, shape=total.shape)
    total.eliminate_zeros()
    return total


def xesmf_weights(source: Grid | Curvilinear, target: Grid, method: EsmfMethod = "conservative") -> Weights:
    """Weights from ESMF through xESMF, also for curvilinear sources.

    Parameters
    ----------
    source : Grid or Curvilinear
        Geographic. If the method needs corners that a curvilinear grid lacks, they are inferred from its centres.
    target : Grid
        Geographic.
    method : {"conservative", "conservative_normed", "bilinear", "nearest_s2d", "nearest_d2s"}
        ESMF's; `patch` is not supported, because negative weights do not allow means over valid cells.
        `nearest_d2s` assigns source cells beyond the target to the cells on its rim.

    Returns
    -------
    Weights
        Rows are flat target cells, columns flat source cells, weights shares without unit. The sum of a row is its
        covered share of a `total` of one for `conservative`, the number of source cells for `nearest_d2s`, and one
        elsewhere. Unmapped cells have no weights.

    Raises
    ------
    InputError
        If xESMF is missing, the method is not supported, or a grid is not geographic.
    """
    if method not in ESMF_METHODS:
        raise InputError(
            "regrid: method",
            expected=f"one of {', '.join(ESMF_METHODS)}",
            found=method,
            remedy="take `bilinear` in place of `patch`, whose weights may be negative",
        )
    if any(isinstance(g, Grid) and not g.is_geographic for g in (source, target)):
        raise InputError(
            "regrid",
            expected="geographic grids",
            found="a projected one",
            remedy="give its cells as 2-D latitude and longitude, or warp it first, for instance with `gdalwarp`",
        )
    try:
        import xesmf
    except ImportError as error:
        raise no_xesmf(str(error)) from error
    bounded = method.startswith("conservative")
    given = _esmf_grid(source, bounded=bounded)
    wanted = _esmf_grid(target, bounded=bounded)
    around = isinstance(source, Grid) and source.is_cyclic
    regridder = xesmf.Regridder(given, wanted, method, periodic=around and not bounded, unmapped_to_nan=False)
    entries = regridder.weights.data.tocsr().tocoo()
    kept = np.abs(entries.data) > _ROUNDING
    rows = math.prod(target.shape)
    total = np.ones(rows)
    if method == "nearest_d2s":
        total = np.maximum(total, np.bincount(entries.row[kept], entries.data[kept], rows))
    return from_entries(
        entries.row[kept],
        entries.col[kept],
        entries.data[kept],
        rows=np.arange(rows),
        total=total,
        size=math.prod(source.shape),
        source=source.digest,
    )


def no_xesmf(found: str) -> InputError:
    """Error for a missing xESMF."""
    return InputError(
        "regrid: xesmf",
        expected="xESMF and the ESMF library",
        found=found,
        remedy="install them from conda-forge: `conda env create -f environment.yml`",
    )


def _esmf_grid(grid: Grid | Curvilinear, *, bounded: bool) -> xr.Dataset:
    """Centres, and corners if bounded, with the names that xESMF expects."""
    if isinstance(grid, Grid):
        y, x = grid.centres
        latitude, longitude = np.meshgrid(y, x, indexing="ij")
        north, east = np.meshgrid(np.clip(grid.y_edges, -90, 90), grid.x_edges, indexing="ij")
    else:
        latitude, longitude = grid.latitude, grid.longitude
        north, east = grid.corners or _inferred_corners(latitude, longitude)
    ds = xr.Dataset(coords={"lat": (("y", "x"), latitude), "lon": (("y", "x"), longitude)})
    return ds.assign_coords(lat_b=(("y_b", "x_b"), north), lon_b=(("y_b", "x_b"), east)) if bounded else ds


def _inferred_corners(latitude: Floats, longitude: Floats) -> tuple[Floats, Floats]:
    """Corners as means of four centres, (y + 1, x + 1), on the sphere; extrapolated linearly at the rim."""
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    centre = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    for axis in (1, 2):
        inner = np.moveaxis(centre, axis, 0)
        first, last = 2 * inner[0] - inner[1], 2 * inner[-1] - inner[-2]
        wide = np.concatenate([first[None], inner, last[None]])
        centre = np.moveaxis((wide[:-1] + wide[1:]) / 2, 0, axis)
    x, y, z = centre
    return np.rad2deg(np.arctan2(z, np.hypot(x, y))), np.rad2deg(np.arctan2(y, x))


def regrid(field: xr.Dataset, weights: Weights, target: Grid) -> xr.Dataset:
    """Fields on another grid, lazily.

    Parameters
    ----------
    field : xr.Dataset, (..., y, x)
        On the source grid of the weights; variables without its dimensions are left out.
    weights : Weights
        From `regrid_weights` or `xesmf_weights`.
    target : Grid
        The grid of the weights' rows.

    Returns
    -------
    xr.Dataset, (..., y, x)
        float32 means over the valid cells, NaN without any.

    Raises
    ------
    ValueError
        If the weights belong to other grids.
    """
    grid = any_grid_of(field)
    if weights.source != grid.digest:
        raise ValueError(f"these weights belong to grid {weights.source}, the fields' grid is {grid.digest}")
    if len(weights.rows) != math.prod(target.shape):
        raise ValueError(f"these weights have {len(weights.rows)} rows, the target {math.prod(target.shape)} cells")
    y, x = target.centres
    out = xr.Dataset(coords={target.y: y, target.x: x}, attrs=field.attrs)
    for name, variable in field.data_vars.items():
        if grid.y in variable.dims and grid.x in variable.dims:
            out[name] = _regridded(variable.transpose(..., grid.y, grid.x), weights, target)
    return out


def _regridded(field: xr.DataArray, weights: Weights, target: Grid) -> xr.DataArray:
    lead, times = field.dims[:-2], math.prod(field.shape[:-2])
    cells = touched_cells(field.data.reshape(times, *field.shape[-2:]), weights.touched)
    mean, _ = weighted_means(cells, weights)
    coords = {n: c for n, c in field.coords.items() if set(c.dims) <= set(lead)}
    values = mean.T.reshape(*field.shape[:-2], *target.shape)
    return xr.DataArray(values, dims=(*lead, target.y, target.x), coords=coords, attrs=field.attrs)
