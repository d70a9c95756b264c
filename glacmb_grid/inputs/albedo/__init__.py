"""Daily albedo from MODIS and VIIRS: one reader per format, one coding of all products, statistics of seasons."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from glacmb_grid.checking import checking_arguments
from glacmb_grid.inputs.albedo.codes import Quality, decode_albedo
from glacmb_grid.inputs.albedo.seasons import seasons_told, summer_albedo
from glacmb_grid.inputs.albedo.series import open_codes

__all__ = ["decode_albedo", "open_albedo", "open_codes", "seasons_told", "summer_albedo"]


@checking_arguments
def open_albedo(
    files: str | Path | Iterable[str | Path], *, layer: str | None = None, quality: Quality = "usable"
) -> xr.Dataset:
    """A lazy daily cube of albedo.

    Parameters
    ----------
    files : paths or patterns
        MOD10A1, MYD10A1 (`Snow_Albedo_Daily_Tile`), MCD43A3 or VNP43MA3, as HDF tiles, as GeoTIFF or NetCDF of
        AppEEARS, or as exported by Earth Engine; recognised by content. Tiles of one grid lie side by side; where two
        platforms saw a day, Aqua fills what Terra did not see. A quality layer in the same files or folder is used.
    layer : str, optional
        Name of the albedo layer where there are several; of MCD43A3 by default `Albedo_BSA_shortwave`.
    quality : {"usable", "best"}
        What the quality layer must say: of MOD10A1 0 to 2 (best, good, ok) or 0; of MCD43A3 0 and 1 (full and
        magnitude inversions) or 0.

    Returns
    -------
    xr.Dataset, (time, y, x)
        From `decode_albedo`.

    Raises
    ------
    InputError
        A name without a date, several files of one day, layers that are no albedo, differing grids, unreadable files.
    """
    return decode_albedo(open_codes(files, layer=layer, quality=quality))
