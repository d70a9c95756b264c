"""The readers of albedo; each file goes to the first that recognises it by its content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.albedo import geotiff, hdf4, hdfeos5, netcdf
from glacmb_grid.inputs.albedo.contract import Layout, Piece, Stored
from glacmb_grid.inputs.files import first_bytes

_ENDINGS = (".tif", ".tiff", ".hdf", ".h5", ".nc", ".nc4")


class Reader(NamedTuple):
    """What a format gives: whether a file is its own, the layers of a file, a layer's grid, and values of a window."""

    recognises: Callable[[Path, bytes], bool]
    pieces: Callable[[Path], list[Piece]]
    layout: Callable[[Piece], Layout]
    read: Callable[[Piece, Layout, slice, slice], Stored]


READERS: Mapping[str, Reader] = MappingProxyType(
    {m.NAME: Reader(m.recognises, m.pieces, m.layout, m.read) for m in (hdf4, hdfeos5, netcdf, geotiff)}
)


def pieces_of(path: Path) -> list[Piece]:
    """The layers of a file, by the reader that recognises it."""
    if path.is_dir():
        endings = sorted({p.suffix for p in path.iterdir() if p.suffix.lower() in _ENDINGS})
        raise InputError(
            f"{path}",
            expected="albedo rasters",
            found=f"a folder with {listing(sorted(p.name for p in path.iterdir()), 4) or 'nothing'}",
            remedy=f"name its files: {listing(f'{path}/*{e}' for e in endings) or 'HDF tiles, GeoTIFF or NetCDF'}",
        )
    head = first_bytes(path, 8, "albedo rasters: a file")
    reader = next(r for r in READERS.values() if r.recognises(path, head))
    return reader.pieces(path)
