"""Vector files (shapefile, GeoPackage and others) in geographic coordinates, with errors that name the file."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas as gpd
import pyogrio
import pyproj
import pyproj.exceptions

from glacmb_grid.errors import InputError, listing

_GDAL_ERRORS = (OSError, ValueError, RuntimeError)  # those of pyogrio are RuntimeErrors


def read_vectors(file: Path, layer: str | None, crs: str | None) -> gpd.GeoDataFrame:
    """All features of a layer in EPSG:4326; `crs` is the reference system of a file that does not state it.

    Raises an InputError for an unreadable file, an unknown layer, no features, a missing or contradictory system.
    """
    return _to_geographic(_read_layer(file, layer), file, crs)


def _read_layer(file: Path, layer: str | None) -> gpd.GeoDataFrame:
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
        raise InputError(
            f"{file}",
            expected="longitudes and latitudes in degrees",
            found=f"coordinates from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g})",
            remedy="declare the reference system that the coordinates are in",
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
