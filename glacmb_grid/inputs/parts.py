"""All files that reading one input really reads: parts of a shapefile, chunks of Zarr, sources of a virtual raster."""

from __future__ import annotations

import html
import os
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import rasterio
import rasterio.errors

from glacmb_grid.inputs.rasters import GDAL_ERRORS

# Endings of what belongs together under one stem; of a shapefile those that hold data, not an index of them.
_STEMS = {
    ".shp": (".shp", ".shx", ".dbf", ".prj", ".cpg"),
    ".tab": (".tab", ".dat", ".map", ".id", ".ind"),
    ".mif": (".mif", ".mid"),
}
_SOURCE = re.compile(r"<SrcDataSource([^>]*)>([^<]*)<", re.IGNORECASE)
_JOURNALS = ("-wal", "-journal")  # of SQLite: changes that are not yet in a GeoPackage itself
_NOT_RASTERS = (*_STEMS, ".gpkg", ".sqlite", ".geojson", ".json", ".csv", ".txt", ".parquet", ".nc", ".grib", ".grb")


def parts_of(path: Path, *, raster: bool = False) -> list[Path]:
    """The files behind an input, itself first.

    Parameters
    ----------
    path : Path
        A file, or a folder: all files in it.
    raster : bool
        Whether GDAL reads it as a raster: then also georeferencing and statistics beside it. The sources of a virtual
        file, raster or vector, count in any depth.

    Returns
    -------
    list of Path
        Each once; some may not exist (a missing source of a virtual raster).
    """
    if path.is_dir():
        return sorted(_files_below(path))
    found = dict.fromkeys([path, *_same_stem(path), *_journals(path)])
    if raster and path.suffix.lower() not in _NOT_RASTERS:
        found |= dict.fromkeys(_behind(path, set()))
    elif path.suffix.lower() == ".vrt":
        found |= dict.fromkeys(_behind_vectors(path, set()))
    return list(found)


class Neighbours:
    """Names beside files, each folder listed once."""

    def __init__(self) -> None:
        self.names: dict[Path, list[str]] = {}

    def of(self, path: Path) -> list[str]:
        """Names in the folder of a file that begin with its stem: where none came or went, its parts are the same."""
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
    there = Neighbours().of(path) if endings else []
    return [path.with_name(n) for n in there if Path(n).stem == path.stem and Path(n).suffix.lower() in endings]


def _journals(path: Path) -> list[Path]:
    there = (path.with_name(path.name + ending) for ending in _JOURNALS)
    return [p for p in there if p.is_file()]


def _files_below(folder: Path) -> Iterator[Path]:
    """Files in a folder, also those behind links to folders."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = {f: os.path.realpath(f"{place}/{f}") for f in folders}
        folders[:] = [f for f in folders if real[f] not in seen]
        seen.update(real.values())
        yield from (p for f in files if (p := Path(place, f)).is_file())


def _behind_vectors(path: Path, known: set[Path]) -> list[Path]:
    """The sources that a virtual vector file names, and those behind them."""
    known.add(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # whoever reads it says what is wrong
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
            found += _behind_vectors(one, known)
    return found


def _behind(path: Path, known: set[Path]) -> list[Path]:
    """What GDAL says that it reads for a raster, and for the rasters behind it."""
    known.add(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with rasterio.open(path) as raster:
                names, virtual = list(raster.files), raster.driver == "VRT"
        except GDAL_ERRORS:  # whoever reads it says what is wrong
            return []
    found = [path]
    for one in (_on_disk(name) for name in names):
        if one in known:
            continue
        found.append(one)
        if virtual:
            found += _behind(one, known)
    return found


def _on_disk(name: str) -> Path:
    """The file behind a name of GDAL, which may lie in an archive: `/vsizip/tiles.zip/tile.tif`."""
    if not name.startswith("/vsi"):
        return Path(name)
    inside = Path(name.split("/", 2)[2].strip("{}"))
    inside = inside if inside.exists() or str(inside).startswith("/") else Path("/") / inside
    return next((p for p in (inside, *inside.parents) if p.is_file()), Path(name))
