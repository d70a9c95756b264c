"""Horizontal coordinates of climate files, in one order and range."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError

Floats = npt.NDArray[np.float64]

GRID = ("latitude", "longitude")
_SAME = 1e-4  # degrees
_MOST_TURNS = 2  # by which longitudes are off; beyond, they are no degrees
_COORDINATES = {"valid_time": "time", "lat": "latitude", "lon": "longitude", "y": "latitude", "x": "longitude"}


def with_usual_names(ds: xr.Dataset) -> xr.Dataset:
    """Coordinates with known other names renamed to time, latitude and longitude."""
    renames: dict[str, str] = {}
    for old, new in _COORDINATES.items():
        taken = new in ds.variables or new in ds.dims or new in renames.values()
        if not taken and (old in ds.dims or old in ds.coords):
            renames[old] = new
    return ds.rename(renames)


def in_order(field: xr.DataArray, where: str) -> xr.DataArray:
    """Latitude descending, longitude ascending in -180..180; a window across the antimeridian stays in one piece.

    Raises an InputError for coordinates that are not degrees, or that occur more than once.
    """
    longitude: Floats = np.asarray(field["longitude"].values, np.float64).round(5)
    latitude: Floats = np.asarray(field["latitude"].values, np.float64).round(5)
    longitude = _turned_back(longitude)
    if not field["latitude"].size * field["longitude"].size:
        raise InputError(where, expected="at least one cell", found="none", remedy="download a larger area")
    _require_degrees(latitude, longitude, where, "regrid projected fields to latitude and longitude first")
    wrapped = _around_one_meridian(longitude)
    if len(np.unique(wrapped)) < len(wrapped) or len(np.unique(latitude)) < len(latitude):
        raise InputError(
            where,
            expected="every latitude and longitude once",
            found=f"a repeated meridian or parallel, longitudes {longitude.min():g}..{longitude.max():g}",
            remedy="remove the repeated column or row (0 and 360 are one meridian)",
        )
    field = field.assign_coords(longitude=("longitude", wrapped), latitude=("latitude", latitude))
    return _in(_in(field, "longitude", np.argsort(wrapped)), "latitude", np.argsort(-latitude))


def _turned_back(longitude: Floats) -> Floats:
    """Longitudes of a field that lies one or two whole turns off, such as 370..380, in the usual range."""
    if not longitude.size or np.ptp(longitude) > 360 or (longitude.min() >= -180 and longitude.max() <= 360):
        return longitude
    turns = np.floor(((longitude.min() + longitude.max()) / 2 + 180) / 360)
    return longitude - 360 * turns if abs(turns) <= _MOST_TURNS else longitude


def _require_degrees(latitude: Floats, longitude: Floats, where: str, remedy: str) -> None:
    if not (np.abs(latitude) <= 90.001).all() or not ((longitude >= -180.001) & (longitude <= 360.001)).all():
        expected = "latitudes in -90..90, longitudes in -180..180 or 0..360, for every cell"
        north, east = (f"{values.min():g}..{values.max():g}" for values in (latitude, longitude))
        raise InputError(where, expected=expected, found=f"latitudes {north}, longitudes {east}", remedy=remedy)


def _in(field: xr.DataArray, dim: str, order: npt.NDArray[np.int64]) -> xr.DataArray:
    """A field with its cells reordered, by slices if possible, which keep the stored chunks."""
    numbers = np.arange(len(order))
    for one, step in ((field, 1), (field.isel({dim: slice(None, None, -1)}), -1)):
        first = int(np.flatnonzero(numbers[::step] == order[0])[0])
        if np.array_equal(np.roll(numbers[::step], -first), order):
            parts = [one.isel({dim: slice(first, None)}), one.isel({dim: slice(0, first)})]
            options = {"coords": "minimal", "compat": "override", "join": "exact", "combine_attrs": "override"}
            return xr.concat(parts, dim, **options) if first else one  # type: ignore[call-overload]
    return field.isel({dim: order})


def _around_one_meridian(longitude: Floats) -> Floats:
    """Longitudes without a jump: counted eastward from the widest gap, with their middle within -180..180."""
    turn = np.round(longitude % 360, 5) % 360
    ordered = np.unique(turn)
    gaps = np.diff(np.append(ordered, ordered[0] + 360))
    widest = int(np.argmax(gaps))
    is_global = len(ordered) > 1 and gaps[widest] < 1.5 * float(np.median(gaps))
    start = 180.0 if is_global else ordered[(widest + 1) % len(ordered)]
    east = start + (turn - start) % 360
    middle = (east.min() + east.max()) / 2
    return np.asarray(np.round(east - 360 * np.floor((middle + 180) / 360), 5))


def is_curvilinear(field: xr.Dataset | xr.DataArray) -> bool:
    """Whether latitude and longitude have two dimensions."""
    return all(n in field.coords and field[n].ndim == 2 for n in ("latitude", "longitude"))


def plane_of(field: xr.Dataset | xr.DataArray) -> tuple[str, str]:
    """Names of the horizontal dimensions: latitude and longitude, or y and x on a curvilinear grid."""
    return ("y", "x") if is_curvilinear(field) else ("latitude", "longitude")


def with_plane_named(field: xr.DataArray, where: str) -> xr.DataArray:
    """A curvilinear field whose horizontal dimensions are named y and x and have no coordinates of their own.

    Raises an InputError if its coordinates are not degrees, or lie on different dimensions.
    """
    latitude, longitude = field["latitude"], field["longitude"]
    if latitude.dims != longitude.dims or not set(latitude.dims) <= set(field.dims):
        raise InputError(
            where,
            expected="latitude and longitude on the two horizontal dimensions of the field",
            found=f"latitude {latitude.dims}, longitude {longitude.dims}, field {field.dims}",
            remedy="assign them as coordinates of the fields",
        )
    remedy = "give degrees; cut the file to cells that have coordinates"
    _require_degrees(latitude.values, longitude.values, where, remedy)
    plane = dict(zip(latitude.dims, ("y", "x"), strict=True))
    return field.drop_vars([d for d in latitude.dims if d in field.coords]).rename(plane)


def require_same_grid(a: xr.DataArray, b: xr.DataArray, where_a: str, where_b: str) -> None:
    """Raise an InputError if two fields lie on different cells."""
    for dim in ("latitude", "longitude"):
        one, other = a[dim].values, b[dim].values
        if one.shape != other.shape or np.abs(one - other).max() > _SAME:
            raise InputError(
                f"{where_b}: {dim}",
                expected=f"the grid of {where_a}: {_shape(one)} values, {one.flat[0]:g}..{one.flat[-1]:g}",
                found=f"{_shape(other)} values, {other.flat[0]:g}..{other.flat[-1]:g}",
                remedy="download all variables for the same area, or regrid",
            )


def _shape(values: npt.NDArray[np.floating]) -> str:
    return " x ".join(map(str, values.shape))


def cells_of(field: xr.DataArray, template: xr.DataArray, where: str) -> xr.DataArray:
    """The cells of `template` from a field on the same or (unless curvilinear) a larger grid, with its coordinates."""
    if is_curvilinear(template):
        require_same_grid(template, field, "the climate files", where)
        return field.assign_coords(latitude=template["latitude"], longitude=template["longitude"])
    places = {}
    for dim in ("latitude", "longitude"):
        wanted = template.get_index(dim)
        found = field.sortby(dim).get_index(dim).get_indexer(wanted, method="nearest", tolerance=_SAME)
        if (found < 0).any():
            require_same_grid(template, field, "the climate files", where)
        places[dim] = found
    ordered = field.sortby(["latitude", "longitude"]).isel(places)
    return ordered.assign_coords(latitude=template["latitude"], longitude=template["longitude"])
