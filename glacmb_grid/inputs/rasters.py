"""Opening one-band rasters with errors that say which file is broken."""

from __future__ import annotations

import warnings
from pathlib import Path

import rasterio
import rasterio.errors
import rioxarray
import xarray as xr
from rasterio.windows import Window

from glacmb_grid.errors import InputError

_GDAL_ERRORS = (rasterio.errors.RasterioError, OSError, ValueError, RuntimeError)


def open_raster(file: Path, *, masked: bool = True) -> xr.DataArray:
    """The only band of a raster, lazily, (y, x).

    Parameters
    ----------
    file : Path
    masked : bool
        Whether the declared nodata value becomes NaN.

    Raises
    ------
    InputError
        Unreadable or truncated file, several bands, scaled values.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            _read_last_corner(file)
            raster = rioxarray.open_rasterio(file, masked=masked, chunks={})
        except _GDAL_ERRORS as error:
            raise unreadable(file, error) from error
    assert isinstance(raster, xr.DataArray)
    if raster.sizes["band"] != 1:
        raise InputError(
            f"{file}",
            expected="one band",
            found=f"{raster.sizes['band']} bands",
            remedy="extract the right band first, for instance with `gdal_translate -b 1`",
        )
    if raster.attrs.get("scale_factor", 1.0) != 1.0 or raster.attrs.get("add_offset", 0.0) != 0.0:
        raise InputError(
            f"{file}",
            expected="values as they are",
            found=f"a scale of {raster.attrs['scale_factor']} and an offset of {raster.attrs['add_offset']}",
            remedy="apply them first, for instance with `gdal_translate -unscale`",
        )
    return raster.isel(band=0, drop=True)


def _read_last_corner(file: Path) -> None:
    """Read the last pixel: a truncated raster opens well and fails in the middle of a run."""
    with rasterio.open(file) as raster:
        if raster.count:
            raster.read(1, window=Window(raster.width - 1, raster.height - 1, 1, 1))


def unreadable(file: Path | str, error: Exception) -> InputError:
    """What to say of a raster that GDAL cannot read."""
    return InputError(
        f"{file}",
        expected="a raster that GDAL reads",
        found=(str(error) or type(error).__name__).splitlines()[0],
        remedy="check the path; download the file again if it is damaged",
    )
