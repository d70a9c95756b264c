"""Overlap weights of outlines and grid cells, and zonal means of a cube."""

from __future__ import annotations

import math
from collections.abc import Callable

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import Failure, failing
from glacmb_grid.polygons import bounds_around
from glacmb_grid.sampling.apply import touched_cells, weighted_means
from glacmb_grid.sampling.grid import Curvilinear, Grid, any_grid_of, grid_of
from glacmb_grid.sampling.lattice import Lattice
from glacmb_grid.sampling.overlap import overlaps
from glacmb_grid.schemas import require_columns
from glacmb_grid.weights import Weights, from_entries

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_SINGLE_ROUNDING = 1e-6  # of coverages, which are stored in single precision
ROUNDING = 1e-9  # of a share of area: rounding error of sums of overlaps


def overlap_weights(glaciers: gpd.GeoDataFrame, grid: Grid | xr.Dataset | xr.DataArray) -> Weights:
    """Overlap area of every outline with every cell that it touches.

    Parameters
    ----------
    glaciers : GeoDataFrame
        Index of glacier ids, geometry in EPSG:4326.
    grid : Grid, xr.Dataset or xr.DataArray
        Areas are those of the ellipsoid on geographic grids, those of the map plane on projected ones.

    Returns
    -------
    Weights
        Rows are glaciers in the given order, columns are flat (y, x) cell numbers, weights m2; `total` is the area of
        the outline, so that parts outside the grid lower the coverage.

    Examples
    --------
    >>> import geopandas, shapely, xarray as xr, glacmb_grid as gg
    >>> outline = shapely.box(10.0, 46.0, 10.2, 46.05)
    >>> glaciers = geopandas.GeoDataFrame(geometry=[outline], index=["one"], crs=4326)
    >>> cells = xr.Dataset(coords={"latitude": [46.1, 46.0], "longitude": [10.0, 10.1, 10.2]})
    >>> weights = gg.overlap_weights(glaciers, cells)
    >>> weights.column.tolist(), (weights.weight / weights.total).round(2).tolist()
    ([3, 4, 5], [0.25, 0.5, 0.25])
    """
    require_columns(glaciers, ("geometry",), name="glaciers", source="`read_outlines`")
    grid = grid if isinstance(grid, Grid) else grid_of(grid)
    shapes = np.array(glaciers.geometry.array, dtype=object)
    if not grid.is_geographic:
        shapes = np.asarray(glaciers.geometry.to_crs(grid.crs).array, dtype=object)
    lattice = Lattice.of(grid.y_edges, grid.x_edges, geographic=grid.is_geographic)
    number, y, x, area, total = overlaps(shapes, lattice)
    if grid.y_edges[0] > grid.y_edges[-1]:
        y = grid.shape[0] - 1 - y
    if grid.x_edges[0] > grid.x_edges[-1]:
        x = grid.shape[1] - 1 - x
    return from_entries(
        number,
        y * grid.shape[1] + x,
        area,
        rows=glaciers.index.to_numpy(),
        total=total,
        size=grid.shape[0] * grid.shape[1],
        source=grid.digest,
    )


def without_cover(weights: Weights, least: float, *, source: str) -> list[Failure]:
    """Glaciers of which the grid covers less than `least`.

    Parameters
    ----------
    weights : Weights
        From `overlap_weights`.
    least : float
        Smallest share of the area that must lie on the grid.
    source : str
        Name of the grid, for the message.

    Raises
    ------
    InputError
        If these are all glaciers.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.bincount(weights.row, weights.weight, len(weights.rows)) / weights.total
    uncovered = ~(share >= least - ROUNDING)  # an outline without area has no share
    ids = [f"{g} ({s:.0%})" for g, s in zip(weights.rows[uncovered], share[uncovered], strict=True)]
    error = InputError(
        source,
        expected=f"cells under at least {least:.0%} of every glacier's area",
        found=f"{int(uncovered.sum())} of {len(uncovered)} glaciers below that: {listing(ids)}",
        remedy="download a larger area, or leave these glaciers out of the outlines",
    )
    reasons = [f"the {source} cover {s:.0%} of its area, at least {least:.0%} are required" for s in share[uncovered]]
    return failing(uncovered, weights.rows, "grid", reasons, error)


def bounds_on(glaciers: gpd.GeoDataFrame, grid: Grid) -> Floats:
    """Lowest x and y, highest x and y of every outline in the coordinates of the grid, (glacier, 4)."""
    if not grid.is_geographic:
        return np.asarray(glaciers.geometry.to_crs(grid.crs).bounds.to_numpy(), np.float64)
    return bounds_around(np.asarray(glaciers.geometry.array, dtype=object), float(grid.centres[1].mean()))


def sample(
    cube: xr.Dataset | xr.DataArray, weights: Weights, *, decode: Callable[[xr.Dataset], xr.Dataset] | None = None
) -> xr.Dataset:
    """Zonal means of every variable of a cube, lazily.

    Parameters
    ----------
    cube : xr.Dataset or named xr.DataArray, (time, y, x)
        In any order of the dimensions. Variables without the grid's dimensions are left out.
    weights : Weights
        Weights for this grid.
    decode : callable, optional
        Computes the variables to average from those of the cube, cell by cell. It receives only the touched cells,
        (cell, time), so that a raster of codes is never decoded completely.

    Returns
    -------
    xr.Dataset, (glacier, time)
        float32 means, NaN where no valid cell is touched, and for each variable `<name>_coverage`, the share of the
        outline's area that valid cells cover. Of a lazy cube only chunks that hold a touched cell are read, each once,
        on computation. Results do not depend on the chunks, to the last bit.

    Raises
    ------
    InputError
        If the weights belong to another grid, or it is no cube and weights that are given.

    Examples
    --------
    >>> import geopandas, shapely, pandas as pd, xarray as xr, glacmb_grid as gg
    >>> glaciers = geopandas.GeoDataFrame(geometry=[shapely.box(10.0, 46.0, 10.1, 46.05)], index=["one"], crs=4326)
    >>> where = {"latitude": [46.1, 46.0], "longitude": [10.0, 10.1, 10.2]}
    >>> july = pd.to_datetime(["2001-07-01"])
    >>> cube = xr.DataArray([[[270.0, 272.0, 274.0]] * 2], coords={"time": july, **where}, name="t2m")
    >>> gg.sample(cube, gg.overlap_weights(glaciers, cube))["t2m"].values.tolist()
    [[271.0]]
    """
    cube = _as_cube(cube, weights)
    cells = cell_series(cube, weights)
    cells = decode(cells) if decode is not None else cells
    sampled = xr.Dataset(coords={"glacier": ("glacier", weights.rows.astype(object))}, attrs=cube.attrs)
    for name, variable in cells.data_vars.items():
        mean, coverage = _means(variable, weights)
        sampled[name] = mean.assign_attrs(variable.attrs)
        sampled[f"{name}_coverage"] = coverage.assign_attrs(
            units="1", long_name=f"share of the glacier's area that valid cells of {name} cover"
        )
    return sampled


def _as_cube(cube: object, weights: object) -> xr.Dataset:
    """The cube as a Dataset; an InputError where the arguments are something else."""
    if isinstance(cube, xr.DataArray) and cube.name is not None:
        cube = cube.to_dataset()
    if isinstance(cube, xr.Dataset) and isinstance(weights, Weights):
        return cube
    unnamed = " without a name" if isinstance(cube, xr.DataArray) else ""
    raise InputError(
        "sample",
        expected="a cube (Dataset, or DataArray with a name), then its Weights",
        found=f"a {type(cube).__name__}{unnamed}, then a {type(weights).__name__}",
        remedy="sample(cube, overlap_weights(glaciers, cube))",
    )


def cell_series(cube: xr.Dataset, weights: Weights) -> xr.Dataset:
    """Series of the touched cells, (cell, time), in the order of `Weights.touched`; lazy if the cube is.

    Raises
    ------
    InputError
        If the weights belong to another grid.
    """
    grid = any_grid_of(cube)
    if weights.source != grid.digest:
        raise InputError(
            "weights",
            expected=f"weights of the cube's grid, {' x '.join(map(str, grid.shape))} cells ({grid.digest})",
            found=f"these weights belong to grid {weights.source}, {weights.size} cells",
            remedy="make them of this cube, with its extent and the order of its rows: overlap_weights(glaciers, cube)",
        )
    names = [str(n) for n, v in cube.data_vars.items() if grid.y in v.dims and grid.x in v.dims]
    return xr.Dataset({n: _cells(cube[n], weights, grid) for n in names})


def _cells(variable: xr.DataArray, weights: Weights, grid: Grid | Curvilinear) -> xr.DataArray:
    """Series of the touched cells, (cell, ...)."""
    ordered = variable.transpose(..., grid.y, grid.x)
    lead = ordered.dims[:-2]
    field = ordered.data.reshape(-1, *grid.shape)
    values = touched_cells(field, weights.touched).reshape(-1, *ordered.shape[:-2])
    coords = {n: c for n, c in ordered.coords.items() if set(c.dims) <= set(lead)}
    return xr.DataArray(values, dims=("cell", *lead), coords=coords, attrs=variable.attrs)


def _means(variable: xr.DataArray, weights: Weights) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean and coverage, (glacier, ...), of touched cells, (cell, ...)."""
    shape = variable.shape[1:]
    found = weighted_means(variable.data.reshape(variable.shape[0], math.prod(shape)), weights)
    dims = ("glacier", *variable.dims[1:])
    mean, coverage = (
        xr.DataArray(values.reshape(len(weights.rows), *shape), dims=dims, coords=variable.coords) for values in found
    )
    return mean, coverage


def without_valid(sampled: xr.Dataset, least: float, *, source: str) -> list[Failure]:
    """Glaciers of which valid cells cover less than `least` at any time.

    Parameters
    ----------
    sampled : xr.Dataset, (glacier, time)
        From `sample`.
    least : float
        Smallest share of the area.
    source : str
        Name of the sampled data, for the message.

    Raises
    ------
    InputError
        If these are all glaciers.
    """
    shares = {str(n): sampled[f"{n}_coverage"] for n in sampled.data_vars if f"{n}_coverage" in sampled}
    lowest = {n: v.min([d for d in v.dims if d != "glacier"]).values for n, v in shares.items()}
    table = np.array(list(lowest.values()))
    share, worst = table.min(axis=0), np.array(list(lowest))[table.argmin(axis=0)]
    uncovered = share < least - _SINGLE_ROUNDING
    names = [n for n, v in lowest.items() if (v < least - _SINGLE_ROUNDING).any()]
    ids = [f"{g} ({s:.0%})" for g, s in zip(sampled["glacier"].values[uncovered], share[uncovered], strict=True)]
    error = InputError(
        f"{source}: {listing(names)}",
        expected=f"valid cells over at least {least:.0%} of every glacier's area in every month",
        found=f"{int(uncovered.sum())} of {len(uncovered)} glaciers below that: {listing(ids)}",
        remedy="these cells are sea, lake or missing: give a cube with values, lower `sampling.min_coverage`, "
        "or leave these glaciers out of the outlines",
    )
    found = failing(uncovered, sampled["glacier"].values, "", [""] * int(uncovered.sum()), error)
    out = []
    for f, name, row, s in zip(found, worst[uncovered], np.flatnonzero(uncovered), share[uncovered], strict=True):
        series = shares[name].isel(glacier=row)
        when = f" in {str(series['time'].values[series.values.argmin()])[:7]}" if "time" in series.dims else ""
        reason = f"{s:.0%} of its area have values{when}, at least {least:.0%} are required"
        out.append(f._replace(variable=str(name), reason=reason))
    return out
