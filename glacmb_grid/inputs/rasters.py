"""Opening one-band rasters, with errors that name the broken file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
import rasterio.errors
import rioxarray
import xarray as xr
from rasterio.windows import Window

from glacmb_grid.errors import InputError

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
    """

    file: Path
    shape: tuple[int, int]
    transform: tuple[float, ...]
    crs: Any

    @property
    def west(self) -> float:
        """Smallest x."""
        return self.transform[2]

    @property
    def north(self) -> float:
        """Largest y."""
        return max(self.transform[5], self.transform[5] + self.shape[0] * self.transform[4])


def read_header(file: Path) -> Header:
    """The header; an InputError for an unreadable or truncated file, several bands or scaled values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(file) as raster:
                if raster.count:  # the last pixel tells whether the file is truncated
                    raster.read(1, window=Window(raster.width - 1, raster.height - 1, 1, 1))
                header = Header(file, raster.shape, tuple(raster.transform[:6]), raster.crs)
                bands, scales, offsets = raster.count, raster.scales, raster.offsets
        except GDAL_ERRORS as error:
            raise unreadable(file, error) from error
    if bands != 1:
        raise InputError(
            f"{file}",
            expected="one band",
            found=f"{bands} bands",
            remedy="extract the right band first, for instance with `gdal_translate -b 1`",
        )
    if (scales[0], offsets[0]) != (1.0, 0.0):
        raise InputError(
            f"{file}",
            expected="values without scale and offset",
            found=f"a scale of {scales[0]} and an offset of {offsets[0]}",
            remedy="apply them first, for instance with `gdal_translate -unscale`",
        )
    return header


def require_crs(file: Path, crs: Any) -> None:
    """Raise an InputError if a raster has no coordinate reference system."""
    if crs is None:
        remedy = "write one into the file, for instance with `gdal_edit.py -a_srs EPSG:4326`"
        raise InputError(f"{file}", expected="a coordinate reference system", found="none", remedy=remedy)


def open_raster(file: Path) -> xr.DataArray:
    """The only band of a raster as stored, lazily, (y, x); raises as `read_header` does."""
    read_header(file)
    try:
        raster = rioxarray.open_rasterio(file, chunks={})
    except GDAL_ERRORS as error:
        raise unreadable(file, error) from error
    assert isinstance(raster, xr.DataArray)
    return raster.isel(band=0, drop=True)


def unreadable(file: Path | str, error: BaseException) -> InputError:
    """The error for a raster that GDAL cannot read."""
    error = error.__cause__ or error  # rasterio's own text has no reason
    return InputError(
        f"{file}",
        expected="a raster that GDAL reads",
        found=(str(error) or type(error).__name__).splitlines()[0],
        remedy="check the path; download the file again if it is damaged",
    )
