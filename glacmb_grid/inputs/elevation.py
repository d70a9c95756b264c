"""Digital elevation models by rioxarray."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio
import rioxarray
import xarray as xr
from rioxarray.merge import merge_arrays

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.files import find_files

LOWEST, HIGHEST = -450.0, 8900.0  # m; values outside are voids of files that declare no nodata value


def open_elevation(paths: str | Path | Iterable[str | Path]) -> xr.DataArray:
    """A digital elevation model, one file or several tiles.

    Parameters
    ----------
    paths : path, pattern or several
        GeoTIFF or anything that GDAL reads, in metres.

    Returns
    -------
    xr.DataArray, (y, x), m
        float32; NaN for the declared nodata value and for heights that do not exist on land.

    Raises
    ------
    InputError
        Unreadable file, no reference system, several bands.
    """
    tiles = [_open(file) for file in find_files(paths, what="elevation model")]
    dem = tiles[0] if len(tiles) == 1 else merge_arrays(tiles, nodata=np.nan)
    dem = dem.astype("float32")
    return dem.where((dem >= LOWEST) & (dem <= HIGHEST)).rename("elevation")


def _open(file: Path) -> xr.DataArray:
    try:
        dem = rioxarray.open_rasterio(file, masked=True, chunks={})
    except (rasterio.errors.RasterioIOError, OSError, ValueError) as error:
        raise InputError(
            f"{file}",
            expected="a raster that GDAL reads",
            found=str(error).splitlines()[0],
            remedy="check the path; download the file again if it is damaged",
        ) from error
    assert isinstance(dem, xr.DataArray)
    if dem.sizes["band"] != 1:
        raise InputError(
            f"{file}",
            expected="one band of elevations",
            found=f"{dem.sizes['band']} bands",
            remedy="extract the elevation band first, for instance with `gdal_translate -b 1`",
        )
    if dem.rio.crs is None:
        raise InputError(
            f"{file}",
            expected="a coordinate reference system",
            found="none",
            remedy="write one into the file, for instance with `gdal_edit.py -a_srs EPSG:4326`",
        )
    return dem.isel(band=0, drop=True)
