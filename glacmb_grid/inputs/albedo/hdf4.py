"""HDF4-EOS tiles of MODIS as the agency delivers them, all layers in a file, through pyhdf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.albedo.contract import Layout, Piece, Stored
from glacmb_grid.inputs.albedo.days import require_day
from glacmb_grid.inputs.albedo.eos import grid_of_metadata, tile_of
from glacmb_grid.inputs.albedo.geotiff import require_same
from glacmb_grid.inputs.albedo.layers import layer_of, product_of

NAME = "hdf4"
_MAGIC = b"\x0e\x03\x13\x01"
_ONE_AT_A_TIME = Lock()  # the HDF4 library knows no threads
_TYPES = {20: "int8", 21: "uint8", 22: "int16", 23: "uint16", 24: "int32", 5: "float32", 6: "float64"}


def recognises(path: Path, head: bytes) -> bool:
    """Whether the file is HDF4."""
    del path
    return head[:4] == _MAGIC


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        from pyhdf.error import HDF4Error
        from pyhdf.SD import SD
    except ImportError as error:
        raise InputError(
            path,
            expected="the package pyhdf, which reads HDF4",
            found=str(error),
            remedy='install it: `pip install "glacmb-grid[modis]"`, or `pip install pyhdf`',
        ) from error
    with _ONE_AT_A_TIME:
        file = None
        try:
            file = SD(path)
            yield file
        except HDF4Error as error:
            raise InputError(
                path,
                expected="an HDF4 file that can be read",
                found=f"{error}",
                remedy="download the file again, then compare its size with the source",
            ) from error
        finally:
            if file is not None:
                file.end()


def _metadata(file: Any, name: str) -> str:
    """Metadata that is spread over attributes `name.0`, `name.1`, ...; pyhdf reads them letter by letter."""
    attributes = [file.attr(n) for n in range(file.info()[1])]
    named = {a.info()[0]: a for a in attributes}
    return "".join(str(named[k].get()) for k in sorted(named) if re.fullmatch(rf"{name}\.\d+", k))


def _grid(path: str) -> Layout:
    """The grid of a file, which is read once."""
    try:
        about = Path(path).stat()
    except OSError:
        return _grid_of(path, 0, 0)
    return _grid_of(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _grid_of(path: str, size: int, changed: int) -> Layout:
    del size, changed
    with _opened(path) as file:
        return grid_of_metadata(path, _metadata(file, "StructMetadata"), "")


def _core(text: str, key: str) -> str:
    found = re.search(rf'OBJECT\s*=\s*{key}\b.*?VALUE\s*=\s*"([^"]*)"', text, re.S)
    return found[1] if found else ""


def pieces(path: Path) -> list[Piece]:
    """The layers of a tile; product and day from its metadata, or else its name."""
    with _opened(str(path)) as file:
        names, core = list(file.datasets()), _metadata(file, "CoreMetadata")
    granule = _core(core, "LOCALGRANULEID")
    product = _core(core, "SHORTNAME") or product_of(granule) or product_of(path.name)
    # The name tells the day of the product; the metadata of MCD43A3 the first of the 16 days that it is made from.
    day, tile = require_day(path, granule), tile_of(_grid(str(path)))
    return [Piece(str(path), day, layer_of(n) or n, product, NAME, tile, n) for n in names]


def layout(piece: Piece) -> Layout:
    """Grid and type of a layer."""
    grid = _grid(piece.file)
    with _opened(piece.file) as file:
        return _layout(file, piece, grid)


def _layout(file: Any, piece: Piece, grid: Layout) -> Layout:
    sets = file.datasets()
    if piece.where not in sets:
        raise InputError(
            f"{piece.file}: {piece.where}", expected="this layer", found=listing(sets), remedy="download the file again"
        )
    return replace(grid, dtype=_TYPES.get(sets[piece.where][2], f"type {sets[piece.where][2]}"))


def read(piece: Piece, expected: Layout, rows: slice, columns: slice) -> Stored:
    """A window of a layer as stored; an InputError if the file is unreadable or not as expected."""
    grid = _grid(piece.file)
    with _opened(piece.file) as file:
        require_same(piece, _layout(file, piece, grid), expected)
        data = file.select(piece.where)
        attributes = data.attributes()
        start, count = (rows.start, columns.start), (rows.stop - rows.start, columns.stop - columns.start)
        values = np.asarray(data.get(start=start, count=count))
        data.endaccess()
    fill = attributes.get("_FillValue")
    scale, offset = float(attributes.get("scale_factor", 1.0)), float(attributes.get("add_offset", 0.0))
    return Stored(values, None, scale, offset, fill)
