"""NetCDF as AppEEARS delivers it: layers as variables, (time, lat, lon) or (time, ydim, xdim)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.albedo.contract import Layout, Piece, Stored
from glacmb_grid.inputs.albedo.geotiff import require_same
from glacmb_grid.inputs.albedo.layers import is_albedo, layer_of, product_of
from glacmb_grid.inputs.quiet import quiet

NAME = "netcdf"
_Y, _X = ("lat", "latitude", "ydim", "y"), ("lon", "longitude", "xdim", "x")


def recognises(path: Path, head: bytes) -> bool:
    """Whether the file is NetCDF, classic or on HDF5."""
    del path
    return head[:3] == b"CDF" or head[:4] == b"\x89HDF"


_ONE_AT_A_TIME = threading.Lock()  # the NetCDF library crashes where two threads open files


@contextmanager
def _opened(path: str) -> Iterator[xr.Dataset]:
    try:
        with (
            _ONE_AT_A_TIME,
            quiet(),
            xr.open_dataset(path, mask_and_scale=False, decode_times=False, cache=False) as ds,
        ):
            yield ds
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(
            path,
            expected="a NetCDF file that can be read",
            found=f"{type(error).__name__}: {error}".splitlines()[0],
            remedy="download the file again, then compare its size with the source",
        ) from error


def _axis(ds: xr.Dataset, names: tuple[str, ...]) -> str:
    return next((str(d) for d in ds.dims if str(d).lower() in names), "")


def _days(path: str, time: xr.DataArray) -> npt.NDArray[np.datetime64]:
    """Days of the series; the calendar `julian` that AppEEARS writes counts the same days from 2000 on."""
    attrs = {k: v for k, v in time.attrs.items() if k in ("units", "calendar")}
    if attrs.get("calendar") == "julian":
        attrs["calendar"] = "standard"
    plain = xr.Dataset(coords={"time": ("time", time.values, attrs)})
    try:
        return np.asarray(xr.decode_cf(plain)["time"].values.astype("datetime64[D]"))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path}: time",
            expected="days with a CF unit such as `days since 2000-01-01`",
            found=f"{attrs or 'no unit'}",
            remedy="give the file as AppEEARS delivers it",
        ) from error


def pieces(path: Path) -> list[Piece]:
    """The layers and days of a file."""
    with _opened(str(path)) as ds:
        y, x = _axis(ds, _Y), _axis(ds, _X)
        fields = [str(n) for n, v in ds.data_vars.items() if y and {y, x, "time"} == set(map(str, v.dims))]
        if not fields:
            raise InputError(
                f"{path}",
                expected="layers over time and two horizontal dimensions",
                found=", ".join(f"{n} {v.dims}" for n, v in ds.data_vars.items()) or "no variables",
                remedy="give the file as AppEEARS delivers it",
            )
        days = _days(str(path), ds["time"])
        text = " ".join([path.name, *(str(ds.attrs.get(k, "")) for k in ("title", "product", "source"))])
        layers = {n: layer_of(n) or layer_of(str(ds[n].attrs.get("long_name", ""))) or n for n in fields}
    if len(fields) == 1 and not is_albedo(layers[fields[0]]) and not layer_of(layers[fields[0]]):
        layers = {fields[0]: layer_of(path.name)}
    product = product_of(text)
    return [Piece(str(path), day, layers[n], product, NAME, where=(n, i)) for n in fields for i, day in enumerate(days)]


def layout(piece: Piece) -> Layout:
    """Georeference of a layer, from its coordinates."""
    with _opened(piece.file) as ds:
        return _layout(ds, piece)


def _layout(ds: xr.Dataset, piece: Piece) -> Layout:
    variable = ds[piece.where[0]]
    edges = []
    for names in (_Y, _X):
        centre = ds[_axis(ds, names)].values.astype(np.float64)
        if len(centre) < 2:
            raise InputError(
                piece.file,
                expected="at least two rows and columns",
                found=f"{len(centre)}",
                remedy="download a larger area",
            )
        step = (centre[-1] - centre[0]) / (len(centre) - 1)
        edges.append((len(centre), step, centre[0] - step / 2))
    (rows, dy, top), (columns, dx, left) = edges
    return Layout((rows, columns), (dx, 0.0, left, 0.0, dy, top), _crs(ds, variable, piece), str(variable.dtype))


def _crs(ds: xr.Dataset, variable: xr.DataArray, piece: Piece) -> str:
    """Reference system from the grid mapping; longitude and latitude need none."""
    if _axis(ds, _Y).lower() in ("lat", "latitude"):
        return "EPSG:4326"
    name = variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping", "crs"))
    attrs: dict[str, Any] = dict(ds[name].attrs) if name in ds.variables else {}
    for key in ("crs_wkt", "spatial_ref"):
        if attrs.get(key):
            return str(attrs[key])
    try:
        return str(pyproj.CRS.from_cf(attrs).to_wkt())
    except (pyproj.exceptions.CRSError, KeyError, TypeError) as error:
        raise InputError(
            f"{piece.file}: {name}",
            expected="a grid mapping that names the reference system",
            found=f"{attrs or 'none'}",
            remedy="order the file in geographic projection, or as GeoTIFF",
        ) from error


def read(piece: Piece, expected: Layout, rows: slice, columns: slice) -> Stored:
    """A window of a layer as stored; an InputError if the file is unreadable or not as expected."""
    name, position = piece.where
    with _opened(piece.file) as ds:
        require_same(piece, _layout(ds, piece), expected)
        y, x = _axis(ds, _Y), _axis(ds, _X)
        variable = ds[name].isel(time=position).transpose(y, x)[rows, columns]
        values, attrs = variable.values, {**variable.encoding, **variable.attrs}
    missing = np.zeros(values.shape, bool)
    for key in ("_FillValue", "missing_value"):
        if attrs.get(key) is not None:
            missing |= values == attrs[key]
    scale, offset = float(attrs.get("scale_factor", 1.0)), float(attrs.get("add_offset", 0.0))
    return Stored(values, missing, scale, offset, attrs.get("_FillValue"))
