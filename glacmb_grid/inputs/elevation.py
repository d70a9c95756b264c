"""Digital elevation models: a raster or a mosaic of tiles, read lazily by windows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.errors
import rioxarray  # noqa: F401 - makes `.rio`
import xarray as xr
from rasterio.windows import Window
from xarray.backends import BackendArray
from xarray.core import indexing

from glacmb_grid.errors import InputError, Problems
from glacmb_grid.inputs.files import find_files
from glacmb_grid.inputs.rasters import Header, read_header, require_crs, unreadable

LOWEST, HIGHEST = -450.0, 8900.0  # m; values outside are voids in files without a nodata value
_OFF = 0.01  # of a cell; largest offset of a tile from the lattice of the others
_SAME_STEP = 1e-6  # of a cell

Heights = npt.NDArray[np.float32]


def open_elevation(paths: str | Path | Iterable[str | Path]) -> xr.DataArray:
    """A digital elevation model, one file or several tiles.

    Parameters
    ----------
    paths : path, pattern or several
        GeoTIFF or other rasters that GDAL reads, in metres. Tiles lie on one lattice and may overlap or leave gaps;
        those on both sides of the antimeridian become neighbours.

    Returns
    -------
    xr.DataArray, (y, x), m
        float32; NaN for nodata, for heights impossible on land, and between tiles. If tiles overlap, the first valid
        value in the order of the files. Only headers are read; a selection reads its window of the tiles (`.chunk`
        gives a dask array).

    Raises
    ------
    InputError
        Unreadable file, no reference system, several bands, tiles that differ in reference system, resolution or
        offset.
    """
    files = find_files(paths, what="elevation model")
    problems = Problems()
    with ThreadPoolExecutor(4 * (os.cpu_count() or 1)) as pool:
        headers = list(pool.map(lambda f: problems.attempt(lambda: _header(f)), files))
    problems.raise_if_any()
    mosaic = _Mosaic.of([h for h in headers if h is not None])
    x, y = mosaic.centres
    dem = xr.DataArray(
        xr.Variable(("y", "x"), indexing.LazilyIndexedArray(_Windows(mosaic))),
        coords={"y": y, "x": x},
        name="elevation",
    )
    with_crs: xr.DataArray = dem.rio.write_crs(headers[0].crs)  # type: ignore[union-attr]
    return with_crs


def _header(file: Path) -> Header:
    header = read_header(file)
    a, b, _, d = header.transform[:4]
    if b or d or a <= 0:
        raise InputError(
            f"{file}",
            expected="rows and columns along the axes of its reference system",
            found="a rotated raster" if b or d else "columns from east to west",
            remedy="warp it first, for instance with `gdalwarp`",
        )
    require_crs(file, header.crs)
    return header


@dataclass(frozen=True)
class _Tile:
    """A raster on the lattice, with its first row and column counted from the north-west."""

    header: Header
    row: int
    column: int

    def read(self, rows: slice, columns: slice) -> Heights:
        """Heights of a window of the tile, rows from north to south, NaN if missing."""
        height = self.header.shape[0]
        upwards = self.header.transform[4] > 0
        first = height - rows.stop if upwards else rows.start
        window = Window(columns.start, first, columns.stop - columns.start, rows.stop - rows.start)
        try:
            with rasterio.open(self.header.file) as raster:
                stored = raster.read(1, window=window, masked=True)
        except (rasterio.errors.RasterioError, OSError) as error:
            raise unreadable(self.header.file, error) from error
        values: Heights = stored.astype(np.float32).filled(np.nan)
        with np.errstate(invalid="ignore"):
            values[~((values >= LOWEST) & (values <= HIGHEST))] = np.nan
        return values[::-1] if upwards else values


@dataclass(frozen=True)
class _Mosaic:
    """Tiles on one lattice."""

    tiles: tuple[_Tile, ...]
    shape: tuple[int, int]
    west: float
    north: float
    step: tuple[float, float]

    @classmethod
    def of(cls, headers: list[Header]) -> _Mosaic:
        """The tiles in place; an InputError if one does not fit the first."""
        first = headers[0]
        dx, dy = first.transform[0], abs(first.transform[4])
        problems = Problems()
        for other in headers[1:]:
            with problems.collect():
                _require_fit(first, other)
        problems.raise_if_any()
        west = _in_one_piece(headers, dx)
        north = np.array([h.north for h in headers])
        columns = np.rint((west - west.min()) / dx).astype(int)
        rows = np.rint((north.max() - north) / dy).astype(int)
        tiles = tuple(_Tile(h, int(r), int(c)) for h, r, c in zip(headers, rows, columns, strict=True))
        shape = (max(t.row + t.header.shape[0] for t in tiles), max(t.column + t.header.shape[1] for t in tiles))
        return cls(tiles, shape, float(west.min()), float(north.max()), (dx, dy))

    @property
    def centres(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Coordinates of the cell centres, x ascending, y descending."""
        x = self.west + self.step[0] * (np.arange(self.shape[1]) + 0.5)
        y = self.north - self.step[1] * (np.arange(self.shape[0]) + 0.5)
        return np.asarray(x, np.float64), np.asarray(y, np.float64)

    def read(self, rows: slice, columns: slice) -> Heights:
        """Heights of a window from the tiles that overlap it."""
        out = np.full((rows.stop - rows.start, columns.stop - columns.start), np.nan, np.float32)
        for tile in self.tiles:
            height, width = tile.header.shape
            r0, r1 = max(rows.start, tile.row), min(rows.stop, tile.row + height)
            c0, c1 = max(columns.start, tile.column), min(columns.stop, tile.column + width)
            if r0 >= r1 or c0 >= c1:
                continue
            place = out[r0 - rows.start : r1 - rows.start, c0 - columns.start : c1 - columns.start]
            missing = np.isnan(place)
            if missing.any():
                found = tile.read(slice(r0 - tile.row, r1 - tile.row), slice(c0 - tile.column, c1 - tile.column))
                np.copyto(place, found, where=missing)
        return out


def _require_fit(first: Header, other: Header) -> None:
    def refuse(expected: str, found: str, remedy: str) -> InputError:
        return InputError(f"{other.file}", expected=f"{expected}, as in {first.file}", found=found, remedy=remedy)

    if other.crs != first.crs:
        raise refuse(f"{first.crs}", f"{other.crs}", f"warp it first: `gdalwarp -t_srs {first.crs}`")
    step, steps = ((first.transform[0], abs(first.transform[4])), (other.transform[0], abs(other.transform[4])))
    if any(abs(a - b) > _SAME_STEP * a for a, b in zip(step, steps, strict=True)):
        raise refuse(
            f"cells of {step[0]:.9g} x {step[1]:.9g}",
            f"{steps[0]:.9g} x {steps[1]:.9g}",
            f"bring all tiles to one resolution: `gdalbuildvrt -tr {step[0]:.9g} {step[1]:.9g} dem.vrt TILES` and name "
            "dem.vrt, or `gdalwarp -tr`",
        )
    off = [abs(v - round(v)) for v in ((other.west - first.west) / step[0], (other.north - first.north) / step[1])]
    if max(off) > _OFF:
        raise refuse(
            "cells on the same lattice",
            f"an offset of {off[0]:.2g} cells in x and {off[1]:.2g} in y",
            "warp it first: `gdalwarp -tap -tr`",
        )


def _in_one_piece(headers: list[Header], step: float) -> npt.NDArray[np.float64]:
    """Western edges; for geographic tiles counted eastward from the widest gap, with the middle in -180..180."""
    west = np.array([h.west for h in headers])
    if not headers[0].crs.is_geographic or len(headers) == 1:
        return west
    turn = west % 360
    width = np.array([h.shape[1] for h in headers]) * step
    order = np.argsort(turn)
    reach = np.maximum.accumulate(turn[order] + width[order])
    gap = np.append(turn[order][1:] - reach[:-1], turn[order][0] + 360 - reach[-1])
    start = turn[order][(int(np.argmax(gap)) + 1) % len(order)]
    east = start + (turn - start) % 360
    middle = (east.min() + (east + width).max()) / 2
    moved = east - 360 * np.floor((middle + 180) / 360)
    return west if np.abs(moved - west).max() < 1e-6 else np.asarray(moved)


class _Windows(BackendArray):
    """A mosaic as a backend array for lazy indexing in xarray."""

    def __init__(self, mosaic: _Mosaic) -> None:
        self.mosaic = mosaic
        self.shape = mosaic.shape
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Values of a selection."""
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._window)

    def _window(self, key: tuple[Any, ...]) -> Any:
        """A selection (integer or slice of each dimension), read as the smallest window around it."""
        spans, picks = [], []
        for k, n in zip(key, self.shape, strict=True):
            chosen = range(n)[k] if isinstance(k, slice) else range(int(k) % n, int(k) % n + 1)
            low, high = (min(chosen), max(chosen) + 1) if len(chosen) else (0, 0)
            spans.append(slice(low, high))
            picks.append([c - low for c in chosen] if isinstance(k, slice) and chosen.step != 1 else slice(None))
        values = self.mosaic.read(*spans)[picks[0]][:, picks[1]]
        return values[tuple(slice(None) if isinstance(k, slice) else 0 for k in key)]
