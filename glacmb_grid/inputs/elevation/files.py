"""Which files of a delivery hold elevations: folders, archives, and the counts and masks that lie beside the tiles."""

from __future__ import annotations

import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.files import find_files

_RASTERS = (".tif", ".tiff", ".hgt", ".dt0", ".dt1", ".dt2", ".img", ".bil", ".flt")
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz")
_BESIDE_ENDINGS = (".num", ".swb", ".swbd")
_BESIDE_FOLDERS = ("auxfiles", "preview", "info")
# What producers put beside their elevations: ASTGTM and NASADEM (num, swb), Copernicus and TanDEM-X (edm, flm, hem,
# wbm, acm, amp, cov, com, lsm, wam, ql), AW3D30 (msk, stk), ArcticDEM and REMA (matchtag, count, mad, mindate, maxdate)
_BESIDE = re.compile(
    r"[_.](num|numnc|swb|swbd|edm|flm|hem|wbm|acm|amp|cov|com|lsm|wam|ql|msk|mask|stk|hai|qai|matchtag|count|mad|"
    r"mindate|maxdate|hillshade|browse|slope|aspect|err|error|water)"
    r"(_\d+m)?(_v\d[\d.]*)?(_doy\d+)?(_aid\d+)?(_\d+)?(_\d+)?$",
    re.IGNORECASE,
)
_APPEEARS_BESIDE = re.compile(r"_(num|swb|swbd|slope|aspect)_doy\d+", re.IGNORECASE)
_PLACE = re.compile(r"(?<![A-Za-z])([NS])(\d{1,3})(_00)?(_?)([EW])(\d{3})(_00)?(?![0-9])", re.IGNORECASE)


class Degree(NamedTuple):
    """The south-western corner of a tile of one degree, from its name."""

    latitude: int
    longitude: int


def elevation_files(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """The rasters of elevations among files, folders and archives, as GDAL names them, each once.

    Counts, masks, qualities and previews that producers deliver beside their tiles are left out, with a note.

    Raises
    ------
    InputError
        No such file; a folder, an archive or a pattern without any elevations; an archive that cannot be read.
    """
    given = find_files(paths, what="elevation model")
    found: dict[Path, None] = {}
    left_out: list[str] = []
    for path in given:
        inside = _inside(path)
        heights = [p for p in inside if not _is_beside(p, path)]
        left_out += [p.name for p in inside if _is_beside(p, path)]
        if not inside or (not heights and len(given) == 1):
            raise InputError(
                f"{path}",
                expected="rasters of elevations (GeoTIFF, .hgt)",
                found=f"counts, masks or qualities only: {listing(left_out)}" if inside else "none",
                remedy="name the elevations themselves, for instance `elevation: {files: 'folder/**/*_dem.tif'}`",
            )
        found.update(dict.fromkeys(heights))
    if not found:
        raise InputError(
            f"{listing(given, 3)}",
            expected="rasters of elevations",
            found=f"counts, masks or qualities, as their names say: {listing(left_out)}",
            remedy="name the elevations themselves, such as *_dem.tif or *_DEM.tif",
        )
    if left_out:
        warnings.warn(
            f"elevation model: {len(left_out)} file(s) beside the elevations hold counts, masks or qualities and are "
            f"not read: {listing(left_out, 4)}",
            stacklevel=2,
        )
    return list(found)


def _inside(path: Path) -> list[Path]:
    """A file itself; the rasters in a folder or an archive."""
    if path.is_dir():
        below = sorted(p for p in path.rglob("*") if p.is_file())
        return [q for p in below for q in _inside(p) if _is_raster(q)]
    if path.name.lower().endswith(_ARCHIVES):
        return [p for p in _members(path) if _is_raster(p)]
    return [path]


def _is_raster(path: Path) -> bool:
    return path.suffix.lower() in (*_RASTERS, *_BESIDE_ENDINGS) and not path.name.startswith((".", "._"))


def _members(archive: Path) -> list[Path]:
    """What an archive holds, as GDAL names it."""
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as file:
                names = file.namelist()
            driver = "vsizip"
        else:
            with tarfile.open(archive) as tar:
                names = tar.getnames()
            driver = "vsitar"
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{archive}",
            expected="an archive with rasters of elevations",
            found=f"{error}",
            remedy="download it again, or unpack it and name the rasters",
        ) from error
    return [Path(f"/{driver}/{{{archive.absolute()}}}/{n}") for n in sorted(names) if not n.endswith("/")]


def _is_beside(path: Path, given: Path) -> bool:
    """Whether a name says that a raster is no elevation but something that is delivered beside it."""
    if path.suffix.lower() in _BESIDE_ENDINGS or _BESIDE.search(path.stem) or _APPEEARS_BESIDE.search(path.name):
        return True
    folders = path.parts[len(given.parts) :] if path.is_relative_to(given) else path.parts[-2:-1]
    return any(f.lower() in _BESIDE_FOLDERS for f in (*folders, path.parent.name))


def degree_of(name: str) -> Degree | None:
    """The square degree that a tile's name states (N46E010, N46_00_E010_00), if it states one."""
    if (found := _PLACE.search(name)) is None:
        return None
    north, east = found[1].upper() == "N", found[5].upper() == "E"
    latitude, longitude = int(found[2]), int(found[6])
    if latitude > 90 or longitude > 180:
        return None
    return Degree(latitude if north else -latitude, longitude if east else -longitude)


def named_for(name: str, place: Degree) -> str:
    """The name of a tile like `name` for another square degree."""
    found = _PLACE.search(name)
    if found is None:
        return name
    south, west = (
        "nNsS"[2 * (place.latitude < 0) + found[1].isupper()],
        "eEwW"[2 * (place.longitude < 0) + found[5].isupper()],
    )
    latitude, longitude = f"{abs(place.latitude):0{len(found[2])}d}", f"{abs(place.longitude):03d}"
    new = f"{south}{latitude}{found[3] or ''}{found[4]}{west}{longitude}{found[7] or ''}"
    return name[: found.start()] + new + name[found.end() :]
