"""All files that reading one input really reads: parts of a shapefile, chunks of Zarr, sources of a virtual raster."""

from __future__ import annotations

import os
import warnings
from bisect import bisect_left
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
_JOURNALS = ("-wal", "-journal")  # of SQLite: changes that are not yet in a GeoPackage itself
_NOT_RASTERS = (*_STEMS, ".gpkg", ".sqlite", ".geojson", ".json", ".csv", ".txt", ".parquet", ".nc", ".grib", ".grb")


def parts_of(path: Path, *, raster: bool = False) -> list[Path]:
    """The files behind an input, itself first.

    Parameters
    ----------
    path : Path
        A file, or a folder: all files in it.
    raster : bool
        Whether GDAL reads it as a raster: then also georeferencing and statistics beside it, and the sources of a
        virtual one, and of those in it.

    Returns
    -------
    list of Path
        Each once; some may not exist (a missing source of a virtual raster).
    """
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    found = dict.fromkeys([path, *_same_stem(path), *_journals(path)])
    if raster and path.suffix.lower() not in _NOT_RASTERS:
        found |= dict.fromkeys(_behind(path, set()))
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
