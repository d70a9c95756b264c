"""Opening one-band rasters, with errors that name the broken file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
import rasterio.errors
import rioxarray
import xarray as xr
from rasterio.windows import Window

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.quiet import quiet

GDAL_ERRORS = (rasterio.errors.RasterioError, OSError, ValueError, RuntimeError)


@dataclass(frozen=True)
class Header:
    """Header of a one-band raster.

    Attributes
    ----------
    file : Path
    shape : (int, int)
        Rows and columns.
    transform : tuple of six floats
        Affine coefficients from column and row to x and y.
    crs : rasterio.crs.CRS or None
    scale, offset : float
        value = stored x scale + offset, from the band or, as AppEEARS writes them, from the file's tags.
    units : str
        Empty where the file states none.
    dtype : str
    """

    file: Path
    shape: tuple[int, int]
    transform: tuple[float, ...]
    crs: Any
    scale: float = 1.0
    offset: float = 0.0
    units: str = ""
    dtype: str = ""

    @property
    def west(self) -> float:
        """Smallest x."""
        return self.transform[2]

    @property
    def north(self) -> float:
        """Largest y."""
        return max(self.transform[5], self.transform[5] + self.shape[0] * self.transform[4])


class UnreadableRasterError(InputError):
    """GDAL cannot read a raster: the file is damaged, or is none."""


def read_header(file: Path, *, scaled: bool = False) -> Header:
    """The header; an InputError for an unreadable or truncated file, several bands or, unless `scaled`, a scale."""
    try:
        with quiet(), rasterio.open(file) as raster:
            if raster.count:  # the last pixel tells whether the file is truncated
                raster.read(1, window=Window(raster.width - 1, raster.height - 1, 1, 1))
            bands, scales, offsets = raster.count, raster.scales, raster.offsets
            if bands:
                header = _header(file, raster)
    except GDAL_ERRORS as error:
        raise unreadable(file, error) from error
    if bands != 1:
        raise InputError(
            f"{file}",
            expected="one band",
            found=f"{bands} bands",
            remedy="extract the right band first, for instance with `gdal_translate -b 1`",
        )
    if not scaled and (scales[0], offsets[0]) != (1.0, 0.0):
        raise InputError(
            f"{file}",
            expected="values without scale and offset",
            found=f"a scale of {scales[0]} and an offset of {offsets[0]}",
            remedy="apply them first, for instance with `gdal_translate -unscale`",
        )
    return header


def _header(file: Path, raster: Any) -> Header:
    scale, offset = raster.scales[0], raster.offsets[0]
    tags = {k.lower(): v for k, v in {**raster.tags(), **raster.tags(1)}.items()}
    if (scale, offset) == (1.0, 0.0):
        with suppress(ValueError):
            scale, offset = float(tags.get("scale_factor", 1.0)), float(tags.get("add_offset", 0.0))
    units = raster.units[0] or tags.get("units", "")
    return Header(file, raster.shape, tuple(raster.transform[:6]), raster.crs, scale, offset, units, raster.dtypes[0])


def require_crs(file: Path, crs: Any) -> None:
    """Raise an InputError unless a raster's reference system is projected, or in degrees from Greenwich."""
    if crs is None:
        remedy = "write one into the file, for instance with `gdal_edit.py -a_srs EPSG:4326`"
        raise InputError(f"{file}", expected="a coordinate reference system", found="none", remedy=remedy)
    system = pyproj.CRS.from_user_input(crs)
    if system.is_compound:
        system = system.sub_crs_list[0]
    remedy = "warp it first: `gdalwarp -t_srs EPSG:4326`"
    if not (system.is_geographic or system.is_projected):
        remedy = "write the true one into the file, for instance with `gdal_edit.py -a_srs EPSG:32632`"
        raise InputError(
            f"{file}", expected="a geographic or projected reference system", found=system.name, remedy=remedy
        )
    if not system.is_geographic:
        return
    found = []
    if system.is_derived:
        found.append("a rotated pole")
    if abs(system.axis_info[0].unit_conversion_factor - np.pi / 180) > 1e-12:
        found.append(f"coordinates in {system.axis_info[0].unit_name}")
    if system.prime_meridian is not None and system.prime_meridian.longitude:
        found.append(f"longitudes from {system.prime_meridian.name}")
    if found:
        where = f"{', '.join(found)} ({system.name})"
        raise InputError(
            f"{file}", expected="longitude and latitude in degrees from Greenwich", found=where, remedy=remedy
        )


def open_raster(file: Path) -> xr.DataArray:
    """The only band of a raster as stored, lazily, (y, x); raises as `read_header` does."""
    read_header(file)
    try:
        raster = rioxarray.open_rasterio(file, chunks={})
    except GDAL_ERRORS as error:
        raise unreadable(file, error) from error
    assert isinstance(raster, xr.DataArray)
    return raster.isel(band=0, drop=True)


def unreadable(file: Path | str, error: BaseException) -> UnreadableRasterError:
    """The error for a raster that GDAL cannot read."""
    error = error.__cause__ or error  # rasterio's own text has no reason
    return UnreadableRasterError(
        f"{file}",
        expected="a raster that GDAL reads",
        found=(str(error) or type(error).__name__).splitlines()[0],
        remedy="check the path; download the file again if it is damaged",
    )
