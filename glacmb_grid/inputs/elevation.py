"""Digital elevation models by rioxarray."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray as xr
from rioxarray.merge import merge_arrays

from glacmb_grid.errors import InputError, Problems
from glacmb_grid.inputs.files import find_files
from glacmb_grid.inputs.rasters import open_raster

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
    problems = Problems()
    tiles: list[xr.DataArray] = []
    for file in find_files(paths, what="elevation model"):
        with problems.collect():
            tiles.append(_open(file))
    problems.raise_if_any()
    dem = tiles[0] if len(tiles) == 1 else merge_arrays(tiles, nodata=np.nan)
    return dem.astype("float32").rename("elevation")


def _open(file: Path) -> xr.DataArray:
    dem = open_raster(file)
    if not dem.rio.transform().is_rectilinear:
        raise InputError(
            f"{file}",
            expected="rows and columns along the axes of its reference system",
            found="a rotated raster",
            remedy="warp it first, for instance with `gdalwarp`",
        )
    if dem.rio.crs is None:
        raise InputError(
            f"{file}",
            expected="a coordinate reference system",
            found="none",
            remedy="write one into the file, for instance with `gdal_edit.py -a_srs EPSG:4326`",
        )
    dem = dem.astype("float32")  # before tiles are merged: integers have no NaN for the gaps
    return dem.where((dem >= LOWEST) & (dem <= HIGHEST))
