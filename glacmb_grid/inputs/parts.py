"""All files that an input consists of: parts of a shapefile, chunks of Zarr, sources of a virtual raster."""

from __future__ import annotations

import html
import os
import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import rasterio

from glacmb_grid.inputs.quiet import quiet
from glacmb_grid.inputs.rasters import GDAL_ERRORS

# Suffixes of files that belong together under one stem; without indices of a shapefile.
_STEMS = {
    ".shp": (".shp", ".shx", ".dbf", ".prj", ".cpg"),
    ".tab": (".tab", ".dat", ".map", ".id", ".ind"),
    ".mif": (".mif", ".mid"),
}
_SOURCE = re.compile(r"<SrcDataSource([^>]*)>([^<]*)<", re.IGNORECASE)
_JOURNALS = ("-wal", "-journal")  # of SQLite: changes not yet written to the GeoPackage
_NOT_RASTERS = (*_STEMS, ".gpkg", ".sqlite", ".geojson", ".json", ".csv", ".txt", ".parquet", ".nc", ".grib", ".grb")


def parts_of(path: Path, *, raster: bool = False) -> list[Path]:
    """The files that an input consists of, itself first.

    Parameters
    ----------
    path : Path
        A file, or a folder: all files in it.
    raster : bool
        Whether GDAL reads it as a raster; georeferencing and statistics files beside it then count as well. Sources of
        a virtual file, raster or vector, always count, also of nested ones.

    Returns
    -------
    list of Path
        Each once; missing sources of a virtual raster are included.
    """
    if path.is_dir():
        return sorted(_files_below(path))
    found = dict.fromkeys([path, *_same_stem(path), *_journals(path)])
    if raster and path.suffix.lower() not in _NOT_RASTERS:
        found |= dict.fromkeys(_raster_sources(path, set()))
    elif path.suffix.lower() == ".vrt":
        found |= dict.fromkeys(_vector_sources(path, set()))
    return list(found)


class Neighbours:
    """Names of neighbouring files; lists each folder once."""

    def __init__(self) -> None:
        self.names: dict[Path, list[str]] = {}

    def of(self, path: Path) -> list[str]:
        """Names in the folder of a file that begin with its stem; its parts change only if these do."""
        folder = path.parent
        if folder not in self.names:
            try:
                self.names[folder] = sorted(os.listdir(folder))  # noqa: PTH208 - Path.iterdir is slow for many
            except OSError:
                self.names[folder] = []
        names, first = self.names[folder], bisect_left(self.names[folder], path.stem)
        return list(takewhile(lambda n: n.startswith(path.stem), names[first:]))


def _same_stem(path: Path) -> list[Path]:
    endings = _STEMS.get(path.suffix.lower(), ())
    names = Neighbours().of(path) if endings else []
    return [path.with_name(n) for n in names if Path(n).stem == path.stem and Path(n).suffix.lower() in endings]


def _journals(path: Path) -> list[Path]:
    journals = (path.with_name(path.name + ending) for ending in _JOURNALS)
    return [p for p in journals if p.is_file()]


def _files_below(folder: Path) -> Iterator[Path]:
    """Files in a folder, following links to folders."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = {f: os.path.realpath(f"{place}/{f}") for f in folders}
        folders[:] = [f for f in folders if real[f] not in seen]
        seen.update(real.values())
        yield from (p for f in files if (p := Path(place, f)).is_file())


def _vector_sources(path: Path, known: set[Path]) -> list[Path]:
    """The sources of a virtual vector file, also of nested ones."""
    known.add(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # the reader of the file reports it
        return []
    found = []
    for options, name in _SOURCE.findall(text):
        one = _on_disk(html.unescape(name.strip()))
        if 'relativetovrt="1"' in options.lower().replace("'", '"').replace(" ", ""):
            one = path.parent / one
        if one in known or not one.exists():
            continue
        found += parts_of(one)
        if one.suffix.lower() == ".vrt":
            found += _vector_sources(one, known)
    return found


def _raster_sources(path: Path, known: set[Path]) -> list[Path]:
    """The files that GDAL lists for a raster, and for the sources of a virtual one."""
    known.add(path)
    try:
        with quiet(), rasterio.open(path) as raster:
            names, virtual = list(raster.files), raster.driver == "VRT"
    except GDAL_ERRORS:  # the reader of the file reports it
        return []
    found = [path]
    for one in (_on_disk(name) for name in names):
        if one in known:
            continue
        found.append(one)
        if virtual:
            found += _raster_sources(one, known)
    return found


def _on_disk(name: str) -> Path:
    """The file of a GDAL name, or its archive: `tiles.zip` for `/vsizip/tiles.zip/tile.tif`."""
    if not name.startswith("/vsi"):
        return Path(name)
    inside = Path(name.split("/", 2)[2].strip("{}"))
    inside = inside if inside.exists() or str(inside).startswith("/") else Path("/") / inside
    return next((p for p in (inside, *inside.parents) if p.is_file()), Path(name))
