"""A rectilinear grid as its cell edges, geographic or projected."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import rioxarray  # noqa: F401 - gives the datasets their `rio`
import xarray as xr

from glacmb_grid.errors import InputError

Floats = npt.NDArray[np.float64]

_NAMES = (("latitude", "longitude"), ("lat", "lon"), ("y", "x"))
_WGS84 = pyproj.CRS.from_epsg(4326)
_TOLERANCE = 0.01  # of a cell: how far a centre may lie from its place on an even grid


@dataclass(frozen=True, eq=False)
class Grid:
    """Cell edges of a rectilinear grid.

    Attributes
    ----------
    y_edges, x_edges : float64 arrays, (y + 1,), (x + 1,)
        Degrees where geographic, else the unit of `crs`; monotonic, either direction.
    crs : pyproj.CRS
    y, x : str
        Names of the dimensions.
    """

    y_edges: Floats
    x_edges: Floats
    crs: pyproj.CRS
    y: str
    x: str

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells in y and x."""
        return len(self.y_edges) - 1, len(self.x_edges) - 1

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are longitude and latitude."""
        return bool(self.crs.is_geographic)

    @property
    def digest(self) -> str:
        """Identity of the grid: its edges and its reference system."""
        mark = hashlib.sha256(self.crs.to_wkt().encode())
        for edges in (self.y_edges, self.x_edges):
            mark.update((np.round(edges, 7) + 0.0).tobytes())  # adding zero makes -0.0 and 0.0 one
        return mark.hexdigest()[:16]


def grid_of(ds: xr.Dataset | xr.DataArray, *, name: str = "grid") -> Grid:
    """The grid of a Dataset, read from its coordinates.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With coordinates latitude/longitude, lat/lon or y/x; y/x take the reference system from rioxarray.
    name : str
        What to call it in errors.

    Raises
    ------
    InputError
        Where the coordinates are missing, not monotonic, irregular, or where y/x carry no reference system.
    """
    for y, x in _NAMES:
        if {y, x} <= set(ds.dims) & set(ds.coords):
            return Grid(_edges(ds, y, name), _edges(ds, x, name), _crs(ds, y, name), y, x)
    raise InputError(
        name,
        expected="dimensions latitude and longitude (or y and x) with coordinates",
        found=f"dimensions {tuple(ds.dims)}, coordinates {tuple(ds.coords)}",
        remedy="rename the horizontal dimensions; unstructured and curvilinear grids must be regridded first",
    )


def _crs(ds: xr.Dataset | xr.DataArray, y: str, name: str) -> pyproj.CRS:
    if y in ("latitude", "lat"):
        return _WGS84
    crs = ds.rio.crs
    if crs is None:
        raise InputError(
            name,
            expected="a coordinate reference system",
            found="none",
            remedy="write one into the file, for instance with `gdal_edit.py -a_srs EPSG:32632`",
        )
    return pyproj.CRS.from_user_input(crs)


def _edges(ds: xr.Dataset | xr.DataArray, dim: str, name: str) -> Floats:
    raw = ds[dim].values
    centre = np.round(raw.astype(np.float64), 5) if raw.dtype == np.float32 else raw.astype(np.float64)
    if len(centre) < 2:
        raise InputError(
            f"{name}: {dim}",
            expected="at least two cells",
            found=f"{len(centre)}",
            remedy="download a larger area: cell edges cannot be told from one centre",
        )
    step = np.diff(centre)
    typical = (centre[-1] - centre[0]) / (len(centre) - 1)
    if typical == 0 or (np.sign(step) != np.sign(typical)).any():
        raise InputError(
            f"{name}: {dim}",
            expected="strictly increasing or decreasing coordinates",
            found=f"values from {centre[0]:g} to {centre[-1]:g} that turn back",
            remedy="sort the file along this dimension",
        )
    even = centre[0] + typical * np.arange(len(centre))
    if np.abs(centre - even).max() > _TOLERANCE * abs(typical) + _precision(raw):
        raise InputError(
            f"{name}: {dim}",
            expected=f"regular spacing of about {abs(np.median(step)):g}",
            found=f"spacing between {np.abs(step).min():g} and {np.abs(step).max():g}",
            remedy="fill the missing rows or columns, or regrid to a regular grid",
        )
    return np.asarray(centre[0] + typical * (np.arange(len(centre) + 1) - 0.5))


def _precision(raw: npt.NDArray[Any]) -> float:
    """How far stored coordinates may lie from what they stand for, in their unit."""
    return 1e-5 + 2 * float(np.spacing(np.abs(raw).max())) if raw.dtype == np.float32 else 0.0
