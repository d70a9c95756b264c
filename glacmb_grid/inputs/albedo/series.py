"""Pieces put together: tiles on one grid, platforms merged, days in order, read when they are used."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import dask.array as da
import numpy as np
import numpy.typing as npt
import pyproj
import rioxarray  # noqa: F401 - makes `.rio`
import xarray as xr

from glacmb_grid.errors import InputError, Problems
from glacmb_grid.inputs.albedo.codes import TELLS_CLOUDS, Quality, best_of, to_codes, without_poor
from glacmb_grid.inputs.albedo.contract import MISSING, Codes, Layout, Piece
from glacmb_grid.inputs.albedo.layers import choose, is_snow
from glacmb_grid.inputs.albedo.registry import READERS, pieces_of
from glacmb_grid.inputs.albedo.seasons import HEMISPHERE
from glacmb_grid.inputs.files import find_files

_OFF = 0.01  # of a pixel: how far a tile may lie from the lattice of the others
_SECOND = ("MYD", "VJ1", "VJ2")  # platforms that fill what the first one did not see


class _Part(NamedTuple):
    """A window of a piece, and of its quality layer."""

    piece: Piece
    layout: Layout
    quality: Piece | None
    quality_layout: Layout | None
    rows: slice
    columns: slice


class _Mosaic(NamedTuple):
    """Tiles on one lattice: position of each, and lines where any begins or ends."""

    place: dict[str, tuple[int, int]]
    y_edges: list[int]
    x_edges: list[int]
    origin: tuple[float, float]


def open_codes(
    files: str | Path | Iterable[str | Path], *, layer: str | None = None, quality: Quality = "usable"
) -> xr.Dataset:
    """The lazy daily rasters as codes: `code`, int16 as `contract.Codes`, (time, y, x); see `open_albedo`."""
    paths = find_files(files, what="albedo rasters")
    problems = Problems()
    found = [problems.attempt(partial(pieces_of, p)) for p in paths]
    problems.raise_if_any()
    chosen = choose([one for several in found for one in several or ()], layer)
    pieces = _with_tiles(sorted(chosen.albedo, key=lambda p: (p.day, _rank(p), p.tile, p.file)))
    _require_once(pieces)
    layouts = _layouts(pieces)
    mosaic = _mosaic(layouts, pieces)
    first = layouts[pieces[0].tile]
    days = np.unique([p.day for p in pieces])
    x0, y0 = mosaic.origin
    dx, dy = first.transform[0], first.transform[4]
    code = _stack(pieces, chosen.quality, layouts, mosaic, days, quality)
    attrs = {"layer": chosen.layer, TELLS_CLOUDS: int(is_snow(chosen.layer))}
    ds = xr.Dataset(
        {"code": (("time", "y", "x"), code, attrs)},
        coords={
            "time": days.astype("datetime64[ns]"),
            "y": dy * (np.arange(code.shape[1]) + 0.5) + y0,
            "x": dx * (np.arange(code.shape[2]) + 0.5) + x0,
        },
    )
    with_crs: xr.Dataset = ds.rio.write_crs(first.crs)
    return with_crs.assign_attrs({HEMISPHERE: _hemisphere(with_crs, first.crs)})


def _rank(piece: Piece) -> int:
    return int(piece.product.startswith(_SECOND))


def _key(piece: Piece) -> tuple[np.datetime64, int, str]:
    return piece.day, _rank(piece), piece.tile


def _with_tiles(pieces: Sequence[Piece]) -> list[Piece]:
    """Pieces whose `tile` tells apart rasters of one day that lie side by side."""
    counts = Counter(_key(p) for p in pieces)
    if max(counts.values()) == 1 or any(p.tile for p in pieces):
        return list(pieces)
    out = []
    for one in pieces:
        grid = READERS[one.reader].layout(one)
        place = f"{grid.shape} {[round(v, 6) for v in grid.transform]}"
        out.append(Piece(one.file, one.day, one.layer, one.product, one.reader, place, one.where))
    return out


def _require_once(pieces: Sequence[Piece]) -> None:
    """Raise if a day has several rasters of one platform in one place."""
    known: dict[tuple[np.datetime64, int, str], Piece] = {}
    repeated = [one for one in pieces if known.setdefault(_key(one), one) is not one]
    if repeated:
        other = known[_key(repeated[0])]
        raise InputError(
            repeated[0].file,
            expected="one raster per day",
            found=f"{len({p.day for p in repeated})} day(s) with several, this one beside {Path(other.file).name}",
            remedy="narrow the pattern to one product and one layer",
        )


def _layouts(pieces: Sequence[Piece]) -> dict[str, Layout]:
    """The grid of every tile, from the first file of each; the others are compared when they are read."""
    firsts: dict[str, Piece] = {}
    for one in pieces:
        firsts.setdefault(one.tile, one)
    problems = Problems()
    found = {t: problems.attempt(partial(READERS[p.reader].layout, p)) for t, p in firsts.items()}
    problems.raise_if_any()
    return {t: grid for t, grid in found.items() if grid is not None}


def _mosaic(layouts: dict[str, Layout], pieces: Sequence[Piece]) -> _Mosaic:
    """Tiles in their places; an InputError where one is rotated, off the lattice, or lies over another."""
    first = layouts[pieces[0].tile]
    file = {p.tile: p.file for p in reversed(pieces)}
    dx, dy = first.transform[0], first.transform[4]
    for tile, one in layouts.items():
        if one.transform[1] or one.transform[3]:
            raise InputError(
                file[tile],
                expected="rows and columns along the axes of its reference system",
                found="a rotated raster",
                remedy="warp it first, for instance with `gdalwarp`",
            )
        same = one.crs == first.crs and one.dtype == first.dtype
        steps = (one.transform[0] / dx - 1, one.transform[4] / dy - 1)
        off = [(one.transform[k] - first.transform[k]) / d for k, d in ((2, dx), (5, dy))]
        if not same or max(map(abs, steps)) > 1e-6 or max(abs(v - round(v)) for v in off) > _OFF:
            raise InputError(
                file[tile],
                expected=f"tiles on one grid: {first} in {first.crs}, as in {Path(pieces[0].file).name}",
                found=f"{one} in {one.crs}",
                remedy="download one area and one product for all days",
            )
    x0 = min((v.transform[2] for v in layouts.values()), key=lambda v: v / dx)
    y0 = min((v.transform[5] for v in layouts.values()), key=lambda v: v / dy)
    place = {t: (round((v.transform[5] - y0) / dy), round((v.transform[2] - x0) / dx)) for t, v in layouts.items()}
    spans = [(place[t], v.shape, t) for t, v in layouts.items()]
    for i, ((r, c), (h, w), tile) in enumerate(spans):
        for (r2, c2), (h2, w2), _ in spans[:i]:
            if r < r2 + h2 and r2 < r + h and c < c2 + w2 and c2 < c + w:
                raise InputError(
                    file[tile],
                    expected="one raster per day, or tiles side by side",
                    found="rasters of several areas that overlap",
                    remedy="download one area and one product for all days",
                )
    y_edges = sorted({e for (r, _), (h, _), _ in spans for e in (r, r + h)})
    x_edges = sorted({e for (_, c), (_, w), _ in spans for e in (c, c + w)})
    return _Mosaic(place, y_edges, x_edges, (x0, y0))


def _stack(
    pieces: Sequence[Piece],
    qualities: Sequence[Piece],
    layouts: dict[str, Layout],
    mosaic: _Mosaic,
    days: npt.NDArray[np.datetime64],
    least: Quality,
) -> da.Array:
    """All days as one lazy array, (time, y, x); a day, and a tile, in a chunk."""
    number = {d: i for i, d in enumerate(days.tolist())}
    beside = {_key(q): q for q in _with_tiles(qualities)} if qualities else {}
    of_quality = _layouts(list(beside.values())) if beside else {}
    bare = sum(_key(p) not in beside for p in pieces)
    if bare and (beside or not is_snow(pieces[0].layer)):
        warnings.warn(f"albedo: {bare} of {len(pieces)} rasters have no quality layer and are used whole", stacklevel=3)
    plan: dict[tuple[int, int, int], list[_Part]] = {}
    for one in pieces:
        row, column = mosaic.place[one.tile]
        grid, quality = layouts[one.tile], beside.get(_key(one))
        ys = [i for i, e in enumerate(mosaic.y_edges[:-1]) if row <= e < row + grid.shape[0]]
        xs = [i for i, e in enumerate(mosaic.x_edges[:-1]) if column <= e < column + grid.shape[1]]
        for i in ys:
            for j in xs:
                rows = slice(mosaic.y_edges[i] - row, mosaic.y_edges[i + 1] - row)
                columns = slice(mosaic.x_edges[j] - column, mosaic.x_edges[j + 1] - column)
                part = _Part(one, grid, quality, of_quality.get(quality.tile) if quality else None, rows, columns)
                plan.setdefault((number[one.day.item()], i, j), []).append(part)
    sizes = [tuple(np.diff(edges).tolist()) for edges in (mosaic.y_edges, mosaic.x_edges)]

    def read(block_id: tuple[int, int, int]) -> Codes:
        parts = plan.get(block_id, [])
        if not parts:
            return np.full((1, sizes[0][block_id[1]], sizes[1][block_id[2]]), MISSING, np.int16)
        return best_of([_read(part, least) for part in parts])[None]

    chunks = ((1,) * len(days), *sizes)
    empty = np.empty((0, 0, 0), np.int16)
    stacked: da.Array = da.map_blocks(read, chunks=chunks, dtype=np.int16, meta=empty)  # type: ignore[no-untyped-call]
    return stacked


def _read(part: _Part, least: Quality) -> Codes:
    one = part.piece
    stored = READERS[one.reader].read(one, part.layout, part.rows, part.columns)
    codes = to_codes(stored, one.layer, one.file)
    if part.quality is not None and part.quality_layout is not None:
        q = part.quality
        told = READERS[q.reader].read(q, part.quality_layout, part.rows, part.columns)
        codes = without_poor(codes, told, one.layer, least)
    return codes


def _hemisphere(ds: xr.Dataset, crs: str) -> str:
    """Where the rasters lie: north, south or on both sides of the equator."""
    y, x = (np.linspace(ds[n].values[0], ds[n].values[-1], 9) for n in ("y", "x"))
    to_degrees = pyproj.Transformer.from_crs(pyproj.CRS.from_user_input(crs), 4326, always_xy=True)
    latitude = to_degrees.transform(*np.meshgrid(x, y))[1]
    latitude = latitude[np.isfinite(latitude)]
    if not latitude.size or (latitude >= 0).all():
        return "north"
    return "south" if (latitude < 0).all() else "both"
