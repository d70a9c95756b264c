"""Tiles of an elevation model on one lattice, read lazily by windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.errors
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from xarray.backends import BackendArray
from xarray.core import indexing

from glacmb_grid.errors import InputError, Problems
from glacmb_grid.inputs.rasters import Header, unreadable

LOWEST, HIGHEST = -450.0, 8900.0  # m; values outside are voids in files without a nodata value
_HIGHEST_IN_FEET = 29035.0
_MANY, _SHARE, _DISTINCT = 10, 0.01, 5  # of cells above the highest mountain: more than fills and spikes
_OFF = 0.01  # of a cell; largest offset of a tile from the lattice of the others
_SAME_STEP = 1e-6  # of a cell
_SHARED = 0.1  # of a tile: a larger overlap than that of neighbours
_LOOKED_AT = 32  # cells a side of an overlap
_APART = 150.0  # m; two models of one place agree better, whatever their date and geoid

Heights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Tile:
    """A raster on the lattice, with its first row and column counted from the north-west."""

    header: Header
    row: int
    column: int
    columns: int = 0  # of the lattice that a tile with wider columns covers; 0 for one on the lattice itself
    warp: tuple[float, ...] = ()  # its transform there

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.header.shape[0]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.columns or self.header.shape[1]

    def read(self, rows: slice, columns: slice) -> Heights:
        """Heights of a window of the tile, rows from north to south, NaN if missing."""
        upwards = self.header.transform[4] > 0
        first = self.height - rows.stop if upwards else rows.start
        window = Window(columns.start, first, columns.stop - columns.start, rows.stop - rows.start)
        try:
            with rasterio.open(self.header.file) as raster:
                stored = self._narrowed(raster, window) if self.warp else raster.read(1, window=window, masked=True)
        except (rasterio.errors.RasterioError, OSError) as error:
            raise unreadable(self.header.file, error) from error
        scale, offset = self.header.scale, self.header.offset
        if (scale, offset) != (1.0, 0.0):
            stored = stored.astype(np.float64) * scale + offset
        values: Heights = stored.astype(np.float32).filled(np.nan)
        self._refuse_feet(values)
        with np.errstate(invalid="ignore"):
            values[~((values >= LOWEST) & (values <= HIGHEST))] = np.nan
        return values[::-1] if upwards else values

    def _narrowed(self, raster: Any, window: Window) -> Any:
        """A window of a tile with wider columns, between which is interpolated."""
        shape = {"height": self.height, "width": self.width, "transform": Affine(*self.warp)}
        with WarpedVRT(raster, crs=raster.crs, resampling=Resampling.bilinear, **shape) as vrt:
            return vrt.read(1, window=window, masked=True)

    def _refuse_feet(self, values: Heights) -> None:
        """Raise an InputError where many different heights lie above the highest mountain: no fill does that."""
        above = values[(values > HIGHEST) & (values <= _HIGHEST_IN_FEET)]
        enough = len(above) >= max(_MANY, _SHARE * np.isfinite(values).sum())
        if enough and len(np.unique(above[: 100 * _DISTINCT])) >= _DISTINCT:
            raise InputError(
                f"{self.header.file}",
                expected=f"heights in metres, below {HIGHEST:g}",
                found=f"heights up to {above.max():.0f}: these look like feet",
                remedy="declare their unit, `elevation: {units: ft}` (m, ft, us-ft, km, dm or cm)",
            )


@dataclass(frozen=True)
class Mosaic:
    """Tiles on one lattice."""

    tiles: tuple[_Tile, ...]
    shape: tuple[int, int]
    west: float
    north: float
    step: tuple[float, float]

    @classmethod
    def of(cls, headers: list[Header]) -> Mosaic:
        """The tiles in place; an InputError if one does not fit the first."""
        bands = _bands(headers)
        first = bands[0][0]
        dx, dy = first.transform[0], abs(first.transform[4])
        problems = Problems()
        for band in bands:
            for other in band:
                with problems.collect():
                    _require_fit(first if band is bands[0] else replace(first, transform=band[0].transform), other)
        problems.raise_if_any()
        west = _in_one_piece(headers, np.array([h.shape[1] * h.transform[0] for h in headers]))
        north = np.array([h.north for h in headers])
        lowest = west[[h in bands[0] for h in headers]].min()
        origin = lowest - dx * np.floor((lowest - west.min()) / dx + 0.5 - _OFF)
        rows = np.rint((north.max() - north) / dy).astype(int)
        tiles = [
            _placed(h, int(r), float(w - origin) / dx, origin, dx) for h, r, w in zip(headers, rows, west, strict=True)
        ]
        shape = (max(t.row + t.height for t in tiles), max(t.column + t.width for t in tiles))
        return cls(tuple(tiles), shape, float(origin), float(north.max()), (dx, dy))

    def require_agreement(self) -> None:
        """Raise an InputError where two files lie over each other and hold different things."""
        boxes = [shapely.box(t.column, t.row, t.column + t.width, t.row + t.height) for t in self.tiles]
        first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
        problems = Problems()
        for i, j in zip(first.tolist(), second.tolist(), strict=True):
            if i < j and boxes[i].intersection(boxes[j]).area > _SHARED * min(boxes[i].area, boxes[j].area):
                with problems.collect():
                    _require_alike(self.tiles[i], self.tiles[j])
        problems.raise_if_any()

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
            r0, r1 = max(rows.start, tile.row), min(rows.stop, tile.row + tile.height)
            c0, c1 = max(columns.start, tile.column), min(columns.stop, tile.column + tile.width)
            if r0 >= r1 or c0 >= c1:
                continue
            place = out[r0 - rows.start : r1 - rows.start, c0 - columns.start : c1 - columns.start]
            missing = np.isnan(place)
            if missing.any():
                found = tile.read(slice(r0 - tile.row, r1 - tile.row), slice(c0 - tile.column, c1 - tile.column))
                np.copyto(place, found, where=missing)
        return out


def _bands(headers: list[Header]) -> list[list[Header]]:
    """Tiles by the width of their columns, the narrowest first; all in one where these are not bands of latitude.

    Towards the poles the columns of Copernicus' models get wider, by one factor for all tiles of a latitude.
    """
    if not all(h.crs.is_geographic and h.transform[4] < 0 for h in headers):
        return [headers]
    widths = np.array([h.transform[0] for h in headers])
    distinct = [widths[0]]
    for width in widths:
        if all(abs(width - d) > _SAME_STEP * d for d in distinct):
            distinct.append(width)
    bands = [[h for h in headers if abs(h.transform[0] - d) <= _SAME_STEP * d] for d in sorted(distinct)]
    step = abs(headers[0].transform[4])
    spans = [(h.north - h.shape[0] * step + step, h.north - step, k) for k, band in enumerate(bands) for h in band]
    apart = all(a[1] <= b[0] or b[1] <= a[0] for a, b in combinations(sorted(set(spans)), 2) if a[2] != b[2])
    return bands if apart else [headers]


def _placed(header: Header, row: int, column: float, origin: float, step: float) -> _Tile:
    """A tile on the lattice; one with wider columns covers those whose centres lie in it."""
    width = header.shape[1] * header.transform[0] / step
    if abs(width - header.shape[1]) < 0.5:
        return _Tile(header, row, round(column))
    first = int(np.ceil(column - 0.5 + _OFF))
    count = int(np.ceil(column + width - 0.5 - _OFF)) - first
    west = header.west + (first - column) * step
    return _Tile(header, row, first, count, (step, 0.0, west, 0.0, header.transform[4], header.transform[5]))


def _require_alike(one: _Tile, other: _Tile) -> None:
    """Compare a few rows of two tiles that lie over each other."""
    top, bottom = max(one.row, other.row), min(one.row + one.height, other.row + other.height)
    left, right = max(one.column, other.column), min(one.column + one.width, other.column + other.width)
    apart = []
    for row in np.unique(np.linspace(top, bottom - 1, _LOOKED_AT).astype(int)):
        strips = [
            t.read(slice(row - t.row, row - t.row + 1), slice(left - t.column, right - t.column)) for t in (one, other)
        ]
        apart.append(np.abs(strips[0] - strips[1]).ravel())
    both = np.concatenate(apart)
    both = both[np.isfinite(both)]
    if len(both) and np.median(both) > _APART:
        raise InputError(
            f"{other.header.file}",
            expected=f"the heights of {one.header.file.name}, which lies over the same place",
            found=f"a median difference of {np.median(both):.0f} m",
            remedy="leave out the one that holds no elevations in metres (a count, an error, a mask, another unit)",
        )


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


def _in_one_piece(headers: list[Header], width: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Western edges; for geographic tiles counted eastward from the widest gap, with the middle in -180..180."""
    west = np.array([h.west for h in headers])
    if not headers[0].crs.is_geographic or len(headers) == 1:
        return west
    turn = west % 360
    order = np.argsort(turn)
    reach = np.maximum.accumulate(turn[order] + width[order])
    gap = np.append(turn[order][1:] - reach[:-1], turn[order][0] + 360 - reach[-1])
    start = turn[order][(int(np.argmax(gap)) + 1) % len(order)]
    east = start + (turn - start) % 360
    middle = (east.min() + (east + width).max()) / 2
    moved = east - 360 * np.floor((middle + 180) / 360)
    return west if np.abs(moved - west).max() < 1e-6 else np.asarray(moved)


class Windows(BackendArray):
    """A mosaic as a backend array for lazy indexing in xarray."""

    def __init__(self, mosaic: Mosaic) -> None:
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
