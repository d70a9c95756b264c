"""HDF-EOS5 tiles of VIIRS: VNP43MA3 holds albedo as MCD43A3 does; VNP10A1 holds none and is refused by its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.albedo.contract import Layout, Piece, Stored
from glacmb_grid.inputs.albedo.days import require_day
from glacmb_grid.inputs.albedo.eos import grid_of_metadata, tile_of
from glacmb_grid.inputs.albedo.geotiff import require_same
from glacmb_grid.inputs.albedo.layers import layer_of, product_of

NAME = "hdfeos5"
_METADATA = "HDFEOS INFORMATION/StructMetadata.0"


def recognises(path: Path, head: bytes) -> bool:
    """Whether the file is HDF5 with the groups of HDF-EOS."""
    if head[:4] != b"\x89HDF":
        return False
    try:
        with h5py.File(path) as file:
            return "HDFEOS" in file
    except OSError:
        return False


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        with h5py.File(path) as file:
            yield file
    except (OSError, KeyError) as error:
        raise InputError(
            path,
            expected="an HDF-EOS5 file that can be read",
            found=f"{error}",
            remedy="download the file again, then compare its size with the source",
        ) from error


def _fields(file: Any) -> dict[str, Any]:
    grids = file["HDFEOS/GRIDS"]
    return {str(n): d for grid in grids.values() for n, d in grid["Data Fields"].items()}


def _grid(file: Any, path: str, dtype: str) -> Layout:
    text = file[_METADATA][()]
    return grid_of_metadata(path, text.decode() if isinstance(text, bytes) else str(text), dtype)


def pieces(path: Path) -> list[Piece]:
    """The layers of a tile."""
    with _opened(str(path)) as file:
        names = list(_fields(file))
        product = str(np.asarray(file.attrs.get("ShortName", "")).astype(str)) or product_of(path.name)
        granule = str(np.asarray(file.attrs.get("LocalGranuleID", "")).astype(str))
        tile = tile_of(_grid(file, str(path), ""))
    return [Piece(str(path), require_day(path, granule), layer_of(n) or n, product, NAME, tile, n) for n in names]


def layout(piece: Piece) -> Layout:
    """Grid and type of a layer."""
    with _opened(piece.file) as file:
        return _grid(file, piece.file, str(_fields(file)[piece.where].dtype))


def read(piece: Piece, expected: Layout, rows: slice, columns: slice) -> Stored:
    """A window of a layer as stored; an InputError if the file is unreadable or not as expected."""
    with _opened(piece.file) as file:
        data = _fields(file)[piece.where]
        require_same(piece, _grid(file, piece.file, str(data.dtype)), expected)
        values = np.asarray(data[rows, columns])
        attrs = {str(k): np.asarray(v).ravel() for k, v in data.attrs.items()}
    fill = float(attrs["_FillValue"][0]) if "_FillValue" in attrs else None
    scale, offset = (float(attrs[k][0]) if k in attrs else v for k, v in (("scale_factor", 1.0), ("add_offset", 0.0)))
    return Stored(values, None, scale, offset, fill)
