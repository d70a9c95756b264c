"""Daily MOD10A1 snow-albedo rasters from NASA AppEEARS, one file per day."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.errors
import rioxarray  # noqa: F401 - makes `.rio`
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.albedo.seasons import seasons_told, summer_albedo
from glacmb_grid.inputs.files import find_files
from glacmb_grid.inputs.rasters import open_raster, require_crs, unreadable

__all__ = ["decode_albedo", "open_albedo", "open_codes", "seasons_told", "summer_albedo"]

_DAY = re.compile(r"doy(\d{4})(\d{3})")
LAND, CLOUD = 125, 150
HIGHEST = 100  # percent; larger values are codes (101 no decision, 111 night, 125 land, 137 water, 150 cloud, ...)


def open_albedo(files: str | Path | Iterable[str | Path]) -> xr.Dataset:
    """A lazy daily cube of snow albedo.

    Parameters
    ----------
    files : paths or patterns
        Rasters of `Snow_Albedo_Daily_Tile` (MOD10A1 v6.1) on one grid, with ``doyYYYYDDD`` in their names.

    Returns
    -------
    xr.Dataset, (time, y, x)
        From `decode_albedo`.

    Raises
    ------
    InputError
        A name without a date, several files of one day, differing grids, unreadable rasters.
    """
    return decode_albedo(open_codes(files))


def decode_albedo(codes: xr.Dataset) -> xr.Dataset:
    """Albedo, land and cloud from stored codes.

    Parameters
    ----------
    codes : xr.Dataset
        `code`, 0..255, of any dimensions.

    Returns
    -------
    xr.Dataset
        `albedo` (0..1, NaN for other codes), `land` and `cloud` (1 for their codes, else 0).

    Notes
    -----
    Code 125 (land) can be bare ice or debris. Without it summer albedo is too high, so its share is kept.
    """
    code = codes["code"]
    return codes.drop_vars("code").assign(
        albedo=(code.astype("float32") / 100.0).where(code <= HIGHEST),
        land=(code == LAND).astype("float32"),
        cloud=(code == CLOUD).astype("float32"),
    )


def open_codes(files: str | Path | Iterable[str | Path]) -> xr.Dataset:
    """The lazy daily rasters as stored: `code`, uint8, (time, y, x); see `open_albedo`."""
    paths = find_files(files, what="albedo rasters")
    days = [_day(p) for p in paths]
    order = np.argsort(days)
    paths, days = [paths[i] for i in order], [days[i] for i in order]
    repeated = [str(p) for p, a, b in zip(paths[1:], days, days[1:], strict=False) if a == b]
    if repeated:
        raise InputError(
            f"{repeated[0]}",
            expected="one raster per day",
            found=f"{len(repeated)} day(s) with several",
            remedy="narrow the pattern to one product and one layer",
        )
    template = _template(paths[0])
    layout = _Layout.of(paths[0])
    ds = xr.Dataset(
        {"code": (("time", "y", "x"), _stack([str(p) for p in paths], layout))},
        coords={"time": np.array(days, dtype="datetime64[ns]"), "y": template["y"], "x": template["x"]},
    )
    with_crs: xr.Dataset = ds.rio.write_crs(template.rio.crs)
    return with_crs


@dataclass(frozen=True)
class _Layout:
    """Shape, georeference and type, the same in all rasters of a series."""

    shape: tuple[int, int]
    transform: tuple[float, ...]
    crs: str
    dtype: str

    @classmethod
    def of(cls, file: Path | str) -> _Layout:
        """The layout of one raster."""
        try:
            with rasterio.open(file) as raster:
                return cls.opened(raster)
        except (rasterio.errors.RasterioError, OSError) as error:
            raise unreadable(file, error) from error

    @classmethod
    def opened(cls, raster: rasterio.DatasetReader) -> _Layout:
        """The layout of an open raster."""
        steps = tuple(round(v, 9) for v in raster.transform[:6])
        return cls(raster.shape, steps, str(raster.crs), " ".join(raster.dtypes))

    def __str__(self) -> str:
        height, width = self.shape
        return f"{height} x {width} pixels of {self.dtype} from ({self.transform[2]:g}, {self.transform[5]:g})"


def _stack(paths: list[str], layout: _Layout) -> da.Array:
    """All rasters as one lazy array, (time, y, x)."""

    def read(block_id: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
        return _read(paths[block_id[0]], layout)

    chunks = ((1,) * len(paths), (layout.shape[0],), (layout.shape[1],))
    empty = np.empty((0, 0, 0), np.uint8)
    stacked: da.Array = da.map_blocks(read, chunks=chunks, dtype=np.uint8, meta=empty)  # type: ignore[no-untyped-call]
    return stacked


def _day(path: Path) -> np.datetime64:
    found = _DAY.search(path.name)
    if not found:
        raise InputError(
            f"{path}",
            expected="a file name with doyYYYYDDD",
            found=path.name,
            remedy="keep the names that AppEEARS gives, or narrow the pattern",
        )
    year, day = int(found.group(1)), int(found.group(2))
    date = np.datetime64(f"{year:04d}-01-01") + np.timedelta64(day - 1, "D")
    if date.astype("datetime64[Y]") != np.datetime64(f"{year:04d}"):
        raise InputError(
            f"{path}",
            expected="a day of the year within 001..366",
            found=f"doy{found.group(1)}{found.group(2)}",
            remedy="correct the file name",
        )
    return date


def _template(path: Path) -> xr.DataArray:
    raster = open_raster(path)
    if raster.dtype != np.uint8:
        raise InputError(
            f"{path}",
            expected="the stored codes 0..255 (uint8)",
            found=f"{raster.dtype}",
            remedy="give the raster as delivered, not a scaled copy",
        )
    require_crs(path, raster.rio.crs)
    return raster


def _read(path: str, layout: _Layout) -> npt.NDArray[np.uint8]:
    try:
        with rasterio.open(path) as raster:
            found = _Layout.opened(raster)
            values: npt.NDArray[np.uint8] | None = raster.read(1)[None] if found == layout else None
    except (rasterio.errors.RasterioError, OSError) as error:
        raise unreadable(path, error) from error
    if values is None:
        raise InputError(
            path,
            expected=f"{layout}, as in the first raster",
            found=f"{found}" + ("" if found.crs == layout.crs else f" in {found.crs}"),
            remedy="download one area and one product for all days",
        )
    return values
