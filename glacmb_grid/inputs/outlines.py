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
from glacmb_grid.failures import Failure, failing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.polygons import continuous
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

    See Also
    --------
    sound_outlines : Leaves the broken ones out.
    """
    glaciers, failures, errors = _read_all(path, layer, id_column, crs, merge_pieces)
    if failures:
        raise errors[0]
    return glaciers


def sound_outlines(
    path: str | Path,
    *,
    layer: str | None = None,
    id_column: str | None = None,
    crs: str | None = None,
    merge_pieces: bool = False,
) -> tuple[gpd.GeoDataFrame, list[Failure]]:
    """The outlines that can be worked on, and what is wrong with the others.

    Parameters
    ----------
    path, layer, id_column, crs, merge_pieces
        As for `read_outlines`.

    Returns
    -------
    GeoDataFrame, list of Failure
        One without an identifier is known by its row.

    Raises
    ------
    InputError
        No reference system, no identifiers, or no sound outline.
    """
    return _read_all(path, layer, id_column, crs, merge_pieces)[:2]


def _read_all(
    path: str | Path, layer: str | None, id_column: str | None, crs: str | None, merge_pieces: bool
) -> tuple[gpd.GeoDataFrame, list[Failure], list[InputError]]:
    file = find_file(path, what="glacier outlines")
    raw = _read(file, layer)
    raw = _to_geographic(raw, file, crs)
    column = _id_column(raw, file, id_column)
    ids = _ids(raw[column])
    rows = [f"row {k}" for k in range(len(raw))]
    named = {"glacier": np.where(ids == "", rows, ids), "blank": ids == "", "name": _names(raw)}
    raw = gpd.GeoDataFrame(named, geometry=_in_one_turn(np.asarray(raw.geometry.array)), crs=raw.crs)
    failures: list[Failure] = []
    errors: list[InputError] = []
    for check in (_without_id, _doubled, _shapeless, _unmendable):
        poor, variable, reason, error = check(raw, file, column)
        if poor.any():
            failures += failing(poor, raw["glacier"].to_numpy(), variable, [reason] * int(poor.sum()), error)
            errors.append(error)
            raw = raw[~poor]
    raw = raw.set_geometry(_mended(raw, file))
    if merge_pieces:  # a glacier of which a piece is missing is none
        broken = raw["glacier"].map(_whole).isin([_whole(f.glacier) for f in failures])
        failures += [Failure(g, "geometry", "another piece of it failed") for g in raw["glacier"][broken]]
        raw = raw[~broken]
    glaciers = _merged(raw) if merge_pieces else raw.set_index("glacier")
    return _with_measures(glaciers.sort_index()), failures, errors


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


def _ids(values: pd.Series) -> npt.NDArray[np.object_]:
    """Identifiers as text; empty where there is none."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return np.asarray(values.astype("string").str.strip().fillna("").astype(object))


_Found = tuple[npt.NDArray[np.bool_], str, str, InputError]


def _without_id(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    blank = raw["blank"].to_numpy(bool)
    error = InputError(
        f"{file}: {column}",
        expected="an identifier for every outline",
        found=f"{int(blank.sum())} blank, in rows {listing(np.flatnonzero(blank))}",
        remedy="give these outlines an identifier or remove them",
    )
    return blank, column, "no identifier", error


def _doubled(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    twice = raw["glacier"].duplicated(keep=False).to_numpy(bool)
    error = InputError(
        f"{file}: {column}",
        expected="every identifier once",
        found=f"more than once: {listing(raw['glacier'][twice].unique())}",
        remedy="remove the duplicates; for pieces of one glacier dissolve them, or name them <id>_d01, <id>_d02 "
        "and set `glaciers: {merge_pieces: true}`",
    )
    return twice, column, "several outlines have this identifier", error


def _shapeless(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    shapes = np.asarray(raw.geometry.array, dtype=object)
    polygon = np.isin(shapely.get_type_id(shapes), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    poor = ~polygon | shapely.is_empty(shapes)
    xy, owner = shapely.get_coordinates(shapes, return_index=True)
    poor[owner[~np.isfinite(xy).all(axis=1)]] = True
    error = InputError(
        f"{file}: geometry",
        expected="a polygon for every glacier",
        found=f"none for {listing(raw['glacier'][poor])}",
        remedy="remove these rows or restore their outlines",
    )
    return poor, "geometry", "no polygon with finite coordinates", error


def _unmendable(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    flat = np.asarray(raw.geometry.array, dtype=object)
    invalid = np.flatnonzero(~shapely.is_valid(flat))
    old = np.abs(shapely.area(flat[invalid]))
    new = shapely.area(np.array([_polygons_only(shapely.make_valid(g)) for g in flat[invalid]], dtype=object))
    bad = (np.abs(new - old) > _LARGEST_REPAIR * old) | (old == 0)
    poor = np.zeros(len(raw), bool)
    poor[invalid[bad]] = True
    error = InputError(
        f"{file}: geometry",
        expected="valid rings",
        found=f"rings that cross themselves, whose mending would change the area by more than "
        f"{_LARGEST_REPAIR:.0%}: {listing(raw['glacier'][poor])}",
        remedy="correct these outlines in a GIS",
    )
    return poor, "geometry", f"invalid rings, whose mending changes the area by more than {_LARGEST_REPAIR:.0%}", error


def _names(raw: gpd.GeoDataFrame) -> list[str]:
    for column in _NAME_COLUMNS:
        if column in raw.columns:
            return [str(v) if isinstance(v, str) else "" for v in raw[column]]
    return [""] * len(raw)


def _mended(raw: gpd.GeoDataFrame, file: Path) -> gpd.GeoSeries:
    """Polygons with valid rings."""
    shapes = np.asarray(raw.geometry.array, dtype=object)
    invalid = ~shapely.is_valid(shapes)
    if invalid.any():
        shapes = shapes.copy()
        shapes[invalid] = [_polygons_only(shapely.make_valid(g)) for g in shapes[invalid]]
        told = listing(raw["glacier"][invalid])
        warnings.warn(f"{file}: mended invalid rings of {told} (area unchanged within 1 %)", stacklevel=3)
    return gpd.GeoSeries(shapes, index=raw.index, crs=raw.crs)


def _in_one_turn(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Outlines beyond 180 degrees as negative longitudes; those across 180 in one piece, however they are drawn."""
    shapes = shapely.force_2d(shapes)
    sound = np.flatnonzero(np.isfinite(shapely.bounds(shapes)).all(axis=1))
    shapes[sound] = continuous(shapes[sound])
    beyond = shapely.bounds(shapes)[:, 0] >= 180
    shapes[beyond] = shapely.transform(shapes[beyond], lambda c: c - np.array([360.0, 0.0]))
    return shapes


def _polygons_only(geometry: shapely.Geometry) -> shapely.Geometry:
    parts = [g for g in shapely.get_parts(geometry) if g.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts)


def _whole(piece: str) -> str:
    """Identifier of the glacier that a piece belongs to."""
    return _PIECE.sub("", piece)


def _merged(raw: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    whole = raw.assign(glacier=raw["glacier"].map(_whole))
    return whole.dissolve(by="glacier", aggfunc={"name": "first"})


def _with_measures(glaciers: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    area = [_area(g) for g in glaciers.geometry]
    inside = glaciers.geometry.representative_point()
    longitude = (inside.x.to_numpy() + 180) % 360 - 180
    measured = glaciers.assign(area=area, longitude=longitude, latitude=inside.y.to_numpy())
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
