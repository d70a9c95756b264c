"""Vector files (shapefile, GeoPackage and others) in geographic coordinates, with errors that name the file."""

from __future__ import annotations

import glob
import struct
import warnings
from pathlib import Path

import geopandas as gpd
import pyogrio
import pyproj
import pyproj.exceptions

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.files import first_bytes

_ENDINGS = (".shp", ".gpkg", ".geojson", ".json", ".parquet", ".geoparquet", ".fgb", ".kml", ".vrt")
_USUAL = (".shp", ".gpkg")
_SHAPEFILE = b"\x00\x00\x27\x0a"
_GDAL_ERRORS = (OSError, ValueError, RuntimeError)  # those of pyogrio are RuntimeErrors


def read_vectors(file: Path, layer: str | None, crs: str | None) -> gpd.GeoDataFrame:
    """All features of a layer in EPSG:4326; `crs` is the reference system of a file that does not state it.

    Raises an InputError for an unreadable file, an unknown layer, no features, a missing or contradictory system.
    """
    return _to_geographic(_read_layer(file, layer), file, crs)


def _read_layer(file: Path, layer: str | None) -> gpd.GeoDataFrame:
    if file.is_file():
        _refuse_truncated(file)
        if first_bytes(file, 4, "a vector file") == b"PAR1":
            return _read_parquet(file)
    elif _is_plain_folder(file):
        return _read_layer(_only_file(file), layer)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="pyogrio")
            layers = [str(name) for name in pyogrio.list_layers(file)[:, 0]]
            return gpd.read_file(file, layer=_layer(layers, layer, file))
    except _GDAL_ERRORS as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{file}",
            expected="a vector file that GDAL reads",
            found=(str(error) or type(error).__name__).splitlines()[0],
            remedy="check the path; a shapefile needs its .shx, .dbf and .prj beside it",
        ) from error


def vector_in(path: Path) -> Path:
    """The one vector file of a folder; the path itself for anything else."""
    if not _is_plain_folder(path):
        return path
    inside = _vectors_in(path)
    return inside[0] if len(inside) == 1 else path


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not path.suffix  # a file geodatabase is a folder that GDAL reads


def _vectors_in(folder: Path) -> list[Path]:
    """Shapefiles and GeoPackages of a folder; without any, its other vector files."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _ENDINGS and p.is_file())
    return [p for p in files if p.suffix.lower() in _USUAL] or files


def _only_file(folder: Path) -> Path:
    """The one vector file of a folder; an InputError for another number: GDAL would take one of them unasked."""
    inside = _vectors_in(folder)
    if len(inside) == 1:
        return inside[0]
    names = [p.name for p in inside] or sorted(p.name for p in folder.iterdir())
    raise InputError(
        f"{folder}",
        expected="a vector file, or a folder with one",
        found=f"a folder with {listing(names, 12) or 'nothing'}",
        remedy=f"name the file with the outlines: {listing(inside, 3) or 'a shapefile, a GeoPackage or GeoParquet'}",
    )


def _read_parquet(file: Path) -> gpd.GeoDataFrame:
    """GeoParquet, for which the GDAL of the wheels has no driver."""
    try:
        return gpd.read_parquet(file)
    except _GDAL_ERRORS as error:
        raise InputError(
            f"{file}",
            expected="GeoParquet, with its geometry described",
            found=(str(error) or type(error).__name__).splitlines()[0],
            remedy="write it with geopandas (`to_parquet`) or GDAL, or convert it to GeoPackage",
        ) from error


def _refuse_truncated(file: Path) -> None:
    """Raise an InputError if a part of a shapefile is shorter than its header says: GDAL is silent about it."""
    if file.suffix.lower() != ".shp":
        return
    parts = {p.suffix.lower(): p for p in file.parent.glob(f"{glob.escape(file.stem)}.*") if p.is_file()}
    expected = {}
    for suffix in (".shp", ".shx"):
        head = first_bytes(parts[suffix], 100, "a shapefile") if suffix in parts else b""
        if len(head) == 100 and head.startswith(_SHAPEFILE):
            expected[parts[suffix]] = 2 * int.from_bytes(head[24:28], "big")
    if ".dbf" in parts and len(head := first_bytes(parts[".dbf"], 12, "the table of a shapefile")) == 12:
        rows, start, width = struct.unpack("<IHH", head[4:12])
        expected[parts[".dbf"]] = start + rows * width
    for part, size in expected.items():
        if part.stat().st_size < size:
            raise InputError(
                f"{part}",
                expected=f"{size} bytes, as its header says",
                found=f"{part.stat().st_size}: the file breaks off",
                remedy="copy or download the shapefile again, with all its parts",
            )


def _layer(layers: list[str], wanted: str | None, file: Path) -> str:
    if wanted is None and len(layers) == 1:
        return layers[0]
    if wanted not in layers:
        raise InputError(
            f"{file}: layer" + (f" {wanted}" if wanted else ""),
            expected=f"one of its layers: {listing(layers, 30) or 'none'}",
            found=f"{wanted!r}" if wanted else "none named",
            remedy="name the layer with the outlines: `glaciers: {layer: NAME}`",
        )
    return wanted


def _to_geographic(raw: gpd.GeoDataFrame, file: Path, declared: str | None) -> gpd.GeoDataFrame:
    if not isinstance(raw, gpd.GeoDataFrame) or raw.empty:
        raise InputError(
            f"{file}",
            expected="at least one outline",
            found="a table without geometry or without rows",
            remedy="give the file with the polygons",
        )
    if raw.crs is None:
        if declared is None:
            raise InputError(
                f"{file}",
                expected="a coordinate reference system",
                found="none (no .prj file?)",
                remedy="restore the .prj file, or declare it: `glaciers: {crs: EPSG:4326}`",
            )
        raw = raw.set_crs(_crs(declared))
    elif declared is not None and not _same_crs(raw.crs, _crs(declared)):
        raise InputError(
            f"{file}",
            expected=f"{declared}, as `glaciers: {{crs}}` declares",
            found=f"{raw.crs.name} in the file",
            remedy="remove `glaciers: {crs}`, or correct the file",
        )
    raw = raw.to_crs(4326)
    x0, y0, x1, y1 = raw.total_bounds
    if not (-360 <= x0 <= x1 <= 360 and -90 <= y0 <= y1 <= 90):
        swapped = -90 <= x0 <= x1 <= 90 and -360 <= y0 <= y1 <= 360
        raise InputError(
            f"{file}",
            expected="longitudes and latitudes in degrees",
            found=f"coordinates from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g})"
            + (": latitude stands where longitude should" if swapped else ""),
            remedy="swap x and y of the outlines (in QGIS: Swap X and Y coordinates)"
            if swapped
            else "declare the reference system that the coordinates are in",
        )
    return raw


def _crs(text: str) -> pyproj.CRS:
    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        raise InputError(
            "glaciers: crs",
            expected="a reference system such as EPSG:4326",
            found=repr(text),
            remedy="correct it",
        ) from error


def _same_crs(a: pyproj.CRS, b: pyproj.CRS) -> bool:
    code = a.to_epsg(min_confidence=20)
    return bool(a.equals(b, ignore_axis_order=True)) or (code is not None and code == b.to_epsg(min_confidence=20))
