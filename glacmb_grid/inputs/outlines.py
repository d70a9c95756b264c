"""Glacier outlines: RGI 6, RGI 7 or any inventory with an identifier column."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import pyproj
import pyproj.exceptions
import shapely
import shapely.geometry.polygon
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.vocabulary import GLACIER_ID_ATTRS

_ID_COLUMNS = ("rgi_id", "RGIId", "RGIID", "glacier_id")
_NAME_COLUMNS = ("glac_name", "Name", "name")
_PIECE = re.compile(r"_d\d+$")
_LARGEST_REPAIR = 0.01  # share of the area that mending rings may change
_GEOD = pyproj.Geod(ellps="WGS84")
_GDAL_ERRORS = (OSError, ValueError, RuntimeError)  # pyogrio's own are RuntimeErrors


def read_outlines(
    path: str | Path,
    *,
    layer: str | None = None,
    id_column: str | None = None,
    crs: str | None = None,
    merge_pieces: bool = False,
) -> gpd.GeoDataFrame:
    """Glacier outlines in EPSG:4326, indexed by glacier id.

    Parameters
    ----------
    path : str or Path
        Shapefile, GeoPackage or anything that GDAL reads.
    layer : str, optional
        Of a file with several layers.
    id_column : str, optional
        Default: the first of rgi_id, RGIId, RGIID, glacier_id.
    crs : str, optional
        Declared where the file carries none.
    merge_pieces : bool
        Whether pieces `<id>_d01`, `<id>_d02` become one glacier `<id>`.

    Returns
    -------
    GeoDataFrame
        Index `glacier` sorted; columns `name`, `area` (km2, on the ellipsoid), `longitude`, `latitude` (of a point
        inside, degrees), `geometry`.

    Raises
    ------
    InputError
        Naming the file and the glaciers: no reference system, blank or duplicate ids, missing or broken geometry.
    """
    file = find_file(path, what="glacier outlines")
    raw = _read(file, layer)
    raw = _to_geographic(raw, file, crs)
    column = _id_column(raw, file, id_column)
    ids = _checked_ids(raw[column], file, column)
    named = {"glacier": ids.to_numpy(), "name": _names(raw)}
    raw = gpd.GeoDataFrame(named, geometry=np.asarray(raw.geometry.array), crs=raw.crs)
    raw = raw.set_geometry(_mended(raw, file))
    glaciers = _merged(raw) if merge_pieces else raw.set_index("glacier")
    return _with_measures(glaciers.sort_index())


def _read(file: Path, layer: str | None) -> gpd.GeoDataFrame:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="pyogrio")
            layers = [str(name) for name in pyogrio.list_layers(file)[:, 0]]
            chosen = _layer(layers, layer, file)
            return gpd.read_file(file, layer=chosen)
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
            remedy="give the file that holds the polygons",
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
            found=f"{raw.crs.name}, which the file itself carries",
            remedy="remove `glaciers: {crs}`: the file knows better; or correct the file",
        )
    raw = raw.to_crs(4326)
    x0, y0, x1, y1 = raw.total_bounds
    if not (-360 <= x0 <= x1 <= 360 and -90 <= y0 <= y1 <= 90):
        raise InputError(
            f"{file}",
            expected="longitudes and latitudes in degrees",
            found=f"coordinates from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g})",
            remedy="the declared reference system is not the file's own: correct it",
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


def _id_column(raw: gpd.GeoDataFrame, file: Path, wanted: str | None) -> str:
    for name in (wanted,) if wanted else _ID_COLUMNS:
        if name in raw.columns:
            return str(name)
    raise InputError(
        f"{file}: {wanted or ' / '.join(_ID_COLUMNS)}",
        expected="a column with the glaciers' identifiers",
        found=f"columns {listing(raw.columns, 30)}",
        remedy="name it: `glaciers: {id: COLUMN}`" + ("" if len(raw.columns) > 1 else "; is the .dbf file missing?"),
    )


def _checked_ids(values: pd.Series, file: Path, column: str) -> pd.Series:
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    ids = values.astype("string").str.strip()
    blank = ids.isna() | (ids == "")
    if blank.any():
        raise InputError(
            f"{file}: {column}",
            expected="an identifier for every outline",
            found=f"{int(blank.sum())} blank, in rows {listing(np.flatnonzero(blank))}",
            remedy="give these outlines an identifier or remove them",
        )
    twice = ids[ids.duplicated(keep=False)].unique()
    if len(twice):
        raise InputError(
            f"{file}: {column}",
            expected="every identifier once",
            found=f"more than once: {listing(twice)}",
            remedy="remove the duplicates; for pieces of one glacier dissolve them, or name them <id>_d01, <id>_d02 "
            "and set `glaciers: {merge_pieces: true}`",
        )
    return ids.astype(str)


def _names(raw: gpd.GeoDataFrame) -> list[str]:
    for column in _NAME_COLUMNS:
        if column in raw.columns:
            return [str(v) if isinstance(v, str) else "" for v in raw[column]]
    return [""] * len(raw)


def _mended(raw: gpd.GeoDataFrame, file: Path) -> gpd.GeoSeries:
    """Polygons with valid rings; a mend that changes the area noticeably is an error."""
    before = raw.geometry
    empty = before.isna() | before.is_empty
    wrong_kind = ~empty & ~before.geom_type.isin(["Polygon", "MultiPolygon"])
    if (empty | wrong_kind).any():
        ids = raw["glacier"][empty | wrong_kind]
        raise InputError(
            f"{file}: geometry",
            expected="a polygon for every glacier",
            found=f"none for {listing(ids)}",
            remedy="remove these rows or restore their outlines",
        )
    flat = gpd.GeoSeries(_eastward(shapely.force_2d(np.asarray(before.array))), index=before.index, crs=before.crs)
    invalid = ~flat.is_valid
    if not invalid.any():
        return flat
    mended = flat.copy()
    mended[invalid] = [_polygons_only(shapely.make_valid(g)) for g in flat[invalid]]
    old = np.abs(shapely.area(np.asarray(flat[invalid].array)))
    change = np.abs(shapely.area(np.asarray(mended[invalid].array)) - old)
    bad = (change > _LARGEST_REPAIR * old) | (old == 0)
    ids = raw["glacier"][invalid]
    if bad.any():
        raise InputError(
            f"{file}: geometry",
            expected="valid rings",
            found=f"rings that cross themselves, whose mending would change the area by more than "
            f"{_LARGEST_REPAIR:.0%}: {listing(ids[bad])}",
            remedy="correct these outlines in a GIS",
        )
    warnings.warn(f"{file}: mended invalid rings of {listing(ids)} (area unchanged within 1 %)", stacklevel=3)
    return mended


def _eastward(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Outlines given in longitudes beyond 180 as negative ones; those across 180 stay in one piece."""
    beyond = shapely.bounds(shapes)[:, 0] >= 180
    shapes[beyond] = shapely.transform(shapes[beyond], lambda c: c - np.array([360.0, 0.0]))
    return shapes


def _polygons_only(geometry: shapely.Geometry) -> shapely.Geometry:
    parts = [g for g in shapely.get_parts(geometry) if g.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts)


def _merged(raw: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    whole = raw.assign(glacier=raw["glacier"].str.replace(_PIECE, "", regex=True))
    return whole.dissolve(by="glacier", aggfunc={"name": "first"})


def _with_measures(glaciers: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    area = [_area(g) for g in glaciers.geometry]
    inside = glaciers.geometry.representative_point()
    measured = glaciers.assign(area=area, longitude=inside.x.to_numpy(), latitude=inside.y.to_numpy())
    measured.index.name = "glacier"
    return measured[["name", "area", "longitude", "latitude", "geometry"]]


def _area(shape: shapely.Geometry) -> float:
    """On the ellipsoid in km2; rings are turned first, as the sign of their area tells shells from holes."""
    turned = (shapely.geometry.polygon.orient(part) for part in shapely.get_parts(shape))
    return float(sum(_GEOD.geometry_area_perimeter(part)[0] for part in turned)) / 1e6


def glaciers_dataset(glaciers: gpd.GeoDataFrame) -> xr.Dataset:
    """Per-glacier area (km2), longitude, latitude, name and id, with CF attributes, (glacier,)."""
    ids = glaciers.index.to_numpy().astype(str).astype(object)
    return xr.Dataset(
        {
            "area": ("glacier", glaciers["area"].to_numpy(), {"units": "km2", "long_name": "glacier area"}),
            "name": ("glacier", glaciers["name"].to_numpy().astype(str).astype(object), {"long_name": "glacier name"}),
        },
        coords={
            "glacier_id": ("glacier", ids, GLACIER_ID_ATTRS),
            "longitude": (
                "glacier",
                glaciers["longitude"].to_numpy(),
                {"units": "degrees_east", "standard_name": "longitude"},
            ),
            "latitude": (
                "glacier",
                glaciers["latitude"].to_numpy(),
                {"units": "degrees_north", "standard_name": "latitude"},
            ),
        },
    )
