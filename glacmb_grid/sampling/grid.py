"""Grids: rectilinear ones by cell edges, curvilinear ones by cell centres."""

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
from glacmb_grid.sampling.lattice import goes_around

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
        Degrees if geographic, else the unit of `crs`; monotonic in either direction.
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
    def is_cyclic(self) -> bool:
        """Whether the columns span the whole globe."""
        return self.is_geographic and goes_around(self.x_edges)

    @property
    def centres(self) -> tuple[Floats, Floats]:
        """Coordinates of the cells' centres, (y,) and (x,)."""
        return (self.y_edges[:-1] + self.y_edges[1:]) / 2, (self.x_edges[:-1] + self.x_edges[1:]) / 2

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
        Name of the grid in errors.

    Raises
    ------
    InputError
        Where the coordinates are missing, not monotonic, irregular, or where y/x carry no reference system.
    """
    for y, x in _NAMES:
        if {y, x} <= set(ds.dims) & set(ds.coords):
            crs = _crs(ds, y, name)
            x_edges = _edges(ds, x, name)
            if crs.is_geographic and goes_around(x_edges):  # centres rounded to five digits leave a gap
                x_edges = x_edges[0] + np.linspace(0, np.copysign(360, x_edges[-1] - x_edges[0]), len(x_edges))
            return Grid(_edges(ds, y, name), x_edges, crs, y, x)
    raise InputError(
        name,
        expected="dimensions latitude and longitude (or y and x) with coordinates",
        found=f"dimensions {tuple(ds.dims)}, coordinates {tuple(ds.coords)}",
        remedy="rename the horizontal dimensions; regrid unstructured grids first, and curvilinear ones with xESMF",
    )


@dataclass(frozen=True, eq=False)
class Curvilinear:
    """Cell centres of a curvilinear grid, and its corners where they are known.

    Attributes
    ----------
    latitude, longitude : float64 arrays, (y, x)
        Degrees.
    corners : pair of float64 arrays, (y + 1, x + 1), optional
        Latitude and longitude of the cells' corners, degrees.
    y, x : str
        Names of the dimensions.
    """

    latitude: Floats
    longitude: Floats
    corners: tuple[Floats, Floats] | None
    y: str
    x: str

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells in y and x."""
        return self.latitude.shape[0], self.latitude.shape[1]

    @property
    def digest(self) -> str:
        """Identity of the grid: its centres and corners."""
        mark = hashlib.sha256(b"curvilinear")
        for values in (self.latitude, self.longitude, *(self.corners or ())):
            mark.update(repr(values.shape).encode())
            mark.update((np.round(values, 7) + 0.0).tobytes())
        return mark.hexdigest()[:16]


def curvilinear_of(ds: xr.Dataset | xr.DataArray, *, name: str = "grid") -> Curvilinear:
    """The curvilinear grid of a Dataset, read from its coordinates.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With 2-D latitude and longitude (or lat and lon), degrees; corners, (y + 1, x + 1), as latitude_b and
        longitude_b (or lat_b and lon_b).
    name : str
        Name of the grid in errors.

    Raises
    ------
    InputError
        Where the coordinates are missing, not two-dimensional, not on the same dimensions or not finite.
    """
    for lat, lon in (("latitude", "longitude"), ("lat", "lon")):
        if lat in ds.coords and lon in ds.coords and ds[lat].ndim == 2 and ds[lat].dims == ds[lon].dims:
            latitude, longitude = (ds[n].values.astype(np.float64) for n in (lat, lon))
            if not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
                raise InputError(
                    f"{name}: {lat}, {lon}",
                    expected="finite coordinates of every cell",
                    found="missing values",
                    remedy="cut the file to the cells that have coordinates",
                )
            names = f"{lat}_b", f"{lon}_b"
            given = all(n in ds.coords for n in names)
            corners = tuple(ds[n].values.astype(np.float64) for n in names) if given else None
            shape = tuple(n + 1 for n in latitude.shape)
            if corners is not None and any(c.shape != shape for c in corners):
                raise InputError(
                    f"{name}: {names[0]}, {names[1]}",
                    expected=f"corners of shape {shape}",
                    found=f"shapes {corners[0].shape} and {corners[1].shape}",
                    remedy="give one corner more than cells along each dimension, or leave the corners out",
                )
            y, x = (str(d) for d in ds[lat].dims)
            return Curvilinear(latitude, longitude, (corners[0], corners[1]) if corners else None, y, x)
    raise InputError(
        name,
        expected="latitude and longitude of two dimensions each",
        found=f"coordinates {', '.join(f'{n} {c.dims}' for n, c in ds.coords.items()) or 'none'}",
        remedy="assign them as coordinates on the fields' two horizontal dimensions",
    )


def any_grid_of(ds: xr.Dataset | xr.DataArray, *, name: str = "grid") -> Grid | Curvilinear:
    """The grid of a Dataset, curvilinear where its latitude has two dimensions."""
    curved = any(n in ds.coords and ds[n].ndim == 2 for n in ("latitude", "lat"))
    return curvilinear_of(ds, name=name) if curved else grid_of(ds, name=name)


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
            remedy="download a larger area: one centre does not define cell edges",
        )
    step = np.diff(centre)
    typical = (centre[-1] - centre[0]) / (len(centre) - 1)
    if typical == 0 or (np.sign(step) != np.sign(typical)).any():
        raise InputError(
            f"{name}: {dim}",
            expected="strictly increasing or decreasing coordinates",
            found=f"values from {centre[0]:g} to {centre[-1]:g} in mixed order",
            remedy="sort the file along this dimension",
        )
    even = centre[0] + typical * np.arange(len(centre))
    if np.abs(centre - even).max() > _TOLERANCE * abs(typical) + _precision(raw):
        raise InputError(
            f"{name}: {dim}",
            expected=f"regular spacing of about {abs(np.median(step)):g}",
            found=f"spacing between {np.abs(step).min():g} and {np.abs(step).max():g}; {_oddest(centre)}",
            remedy="fill the missing rows or columns, or regrid to a regular grid",
        )
    return np.asarray(centre[0] + typical * (np.arange(len(centre) + 1) - 0.5))


def _oddest(centre: npt.NDArray[Any]) -> str:
    """The coordinates between which the spacing is most unlike the usual one."""
    step = np.diff(centre)
    worst = int(np.argmax(np.abs(step - np.median(step))))
    return f"{centre[worst]:g} is followed by {centre[worst + 1]:g}"


def _precision(raw: npt.NDArray[Any]) -> float:
    """Precision of stored coordinates, in their unit."""
    return 1e-5 + 2 * float(np.spacing(np.abs(raw).max())) if raw.dtype == np.float32 else 0.0
