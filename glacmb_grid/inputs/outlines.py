"""Glacier outlines from RGI 6, RGI 7 or any inventory with a column of identifiers."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely
import shapely.geometry.polygon
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import Failure, failing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.vectors import read_vectors
from glacmb_grid.polygons import continuous
from glacmb_grid.vocabulary import GLACIER_ID_ATTRS

_ID_COLUMNS = ("rgi_id", "RGIId", "RGIID", "glacier_id")
_NAME_COLUMNS = ("glac_name", "Name", "name")
PIECE = re.compile(r"_d\d+$")  # ending of the identifier of a part of a glacier
_LARGEST_REPAIR = 0.01  # largest relative change of area by the repair of invalid rings
_GEOD = pyproj.Geod(ellps="WGS84")


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
        Shapefile, GeoPackage or another vector file that GDAL reads.
    layer : str, optional
        Needed if the file has several.
    id_column : str, optional
        Default: the first of rgi_id, RGIId, RGIID, glacier_id.
    crs : str, optional
        Coordinate reference system of a file that does not state it.
    merge_pieces : bool
        Whether to merge pieces `<id>_d01`, `<id>_d02` into one glacier `<id>`.

    Returns
    -------
    GeoDataFrame
        Index `glacier` sorted; columns `name`, `area` (km2, on the ellipsoid), `longitude`, `latitude` (degrees, of a
        point inside), `geometry`.

    Raises
    ------
    InputError
        No reference system, blank or duplicate identifiers, missing or invalid geometry; names the file and glaciers.

    See Also
    --------
    sound_outlines : Leaves invalid outlines out instead of raising.
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
    """The valid glacier outlines and, with reasons, the others; for the parameters see `read_outlines`.

    An outline without an identifier is listed by its row.

    Raises
    ------
    InputError
        No reference system, no identifiers, or no valid outline.
    """
    return _read_all(path, layer, id_column, crs, merge_pieces)[:2]


def _read_all(
    path: str | Path, layer: str | None, id_column: str | None, crs: str | None, merge_pieces: bool
) -> tuple[gpd.GeoDataFrame, list[Failure], list[InputError]]:
    file = find_file(path, what="glacier outlines")
    raw = read_vectors(file, layer, crs)
    column = _id_column(raw, file, id_column)
    ids = _ids(raw[column])
    rows = [f"row {k}" for k in range(len(raw))]
    named = {"glacier": np.where(ids == "", rows, ids), "blank": ids == "", "name": _names(raw)}
    raw = gpd.GeoDataFrame(named, geometry=_unbroken(np.asarray(raw.geometry.array)), crs=raw.crs)
    failures: list[Failure] = []
    errors: list[InputError] = []
    for check in (_without_id, _with_duplicate_id, _without_polygon, _beyond_repair):
        invalid, variable, reason, error = check(raw, file, column)
        if invalid.any():
            failures += failing(invalid, raw["glacier"].to_numpy(), variable, [reason] * int(invalid.sum()), error)
            errors.append(error)
            raw = raw[~invalid]
    raw = raw.set_geometry(_repaired(raw, file))
    if merge_pieces:  # a glacier fails with any of its pieces
        broken = raw["glacier"].map(_whole).isin([_whole(f.glacier) for f in failures])
        failures += [Failure(g, "geometry", "another piece of it failed") for g in raw["glacier"][broken]]
        raw = raw[~broken]
    glaciers = _merged(raw) if merge_pieces else raw.set_index("glacier")
    return _with_measures(glaciers.sort_index()), failures, errors


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
    """Identifiers as text, empty if missing."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return np.asarray(values.astype("string").str.strip().fillna("").astype(object))


_Found = tuple[npt.NDArray[np.bool_], str, str, InputError]  # which are invalid, variable, reason, error


def _without_id(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    blank = raw["blank"].to_numpy(bool)
    error = InputError(
        f"{file}: {column}",
        expected="an identifier for every outline",
        found=f"{int(blank.sum())} blank, in rows {listing(np.flatnonzero(blank))}",
        remedy="give these outlines an identifier or remove them",
    )
    return blank, column, "no identifier", error


def _with_duplicate_id(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    duplicate = raw["glacier"].duplicated(keep=False).to_numpy(bool)
    error = InputError(
        f"{file}: {column}",
        expected="every identifier once",
        found=f"more than once: {listing(raw['glacier'][duplicate].unique())}",
        remedy="remove the duplicates; for pieces of one glacier dissolve them, or name them <id>_d01, <id>_d02 "
        "and set `glaciers: {merge_pieces: true}`",
    )
    return duplicate, column, "several outlines have this identifier", error


def _without_polygon(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    shapes = np.asarray(raw.geometry.array, dtype=object)
    polygon = np.isin(shapely.get_type_id(shapes), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    missing = ~polygon | shapely.is_empty(shapes)
    xy, owner = shapely.get_coordinates(shapes, return_index=True)
    missing[owner[~np.isfinite(xy).all(axis=1)]] = True
    error = InputError(
        f"{file}: geometry",
        expected="a polygon for every glacier",
        found=f"none for {listing(raw['glacier'][missing])}",
        remedy="remove these rows or restore their outlines",
    )
    return missing, "geometry", "no polygon with finite coordinates", error


def _beyond_repair(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    flat = np.asarray(raw.geometry.array, dtype=object)
    invalid = np.flatnonzero(~shapely.is_valid(flat))
    old = np.abs(shapely.area(flat[invalid]))
    new = shapely.area(np.array([_polygons_only(shapely.make_valid(g)) for g in flat[invalid]], dtype=object))
    changed = (np.abs(new - old) > _LARGEST_REPAIR * old) | (old == 0)
    broken = np.zeros(len(raw), bool)
    broken[invalid[changed]] = True
    error = InputError(
        f"{file}: geometry",
        expected="valid rings",
        found=f"self-intersecting rings whose repair would change the area by more than {_LARGEST_REPAIR:.0%}: "
        f"{listing(raw['glacier'][broken])}",
        remedy="correct these outlines in a GIS",
    )
    return broken, "geometry", f"invalid rings whose repair changes the area by more than {_LARGEST_REPAIR:.0%}", error


def _names(raw: gpd.GeoDataFrame) -> list[str]:
    for column in _NAME_COLUMNS:
        if column in raw.columns:
            return [str(v) if isinstance(v, str) else "" for v in raw[column]]
    return [""] * len(raw)


def _repaired(raw: gpd.GeoDataFrame, file: Path) -> gpd.GeoSeries:
    """Polygons with valid rings, with a warning on those that were repaired."""
    shapes = np.asarray(raw.geometry.array, dtype=object)
    invalid = ~shapely.is_valid(shapes)
    if invalid.any():
        shapes = shapes.copy()
        shapes[invalid] = [_polygons_only(shapely.make_valid(g)) for g in shapes[invalid]]
        ids = listing(raw["glacier"][invalid])
        warnings.warn(f"{file}: repaired invalid rings of {ids} (area unchanged within 1 %)", stacklevel=3)
    return gpd.GeoSeries(shapes, index=raw.index, crs=raw.crs)


def _unbroken(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """2-D outlines with longitudes below 180; an outline across the antimeridian stays in one piece."""
    shapes = shapely.force_2d(shapes)
    finite = np.flatnonzero(np.isfinite(shapely.bounds(shapes)).all(axis=1))
    shapes[finite] = continuous(shapes[finite])
    beyond = shapely.bounds(shapes)[:, 0] >= 180
    shapes[beyond] = shapely.transform(shapes[beyond], lambda c: c - np.array([360.0, 0.0]))
    return shapes


def _polygons_only(geometry: shapely.Geometry) -> shapely.Geometry:
    parts = [g for g in shapely.get_parts(geometry) if g.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts)


def _whole(piece: str) -> str:
    """Identifier of the glacier of a piece."""
    return PIECE.sub("", piece)


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
    """Area on the ellipsoid, km2; rings are oriented first, as shells and holes differ by the sign of their area."""
    oriented = (shapely.geometry.polygon.orient(part) for part in shapely.get_parts(shape))
    return float(sum(_GEOD.geometry_area_perimeter(part)[0] for part in oriented)) / 1e6


def glaciers_dataset(glaciers: gpd.GeoDataFrame) -> xr.Dataset:
    """Area (km2), name, longitude and latitude (degrees) with CF attributes, (glacier,)."""
    ids = glaciers.index.to_numpy().astype(str).astype(object)
    return xr.Dataset(
        {
            "area": ("glacier", glaciers["area"].to_numpy(), {"units": "km2", "long_name": "glacier area"}),
            "name": ("glacier", glaciers["name"].to_numpy().astype(str).astype(object), {"long_name": "glacier name"}),
        },
        coords={
            "glacier": ("glacier", ids, GLACIER_ID_ATTRS),
            **{
                name: ("glacier", glaciers[name].to_numpy(), {"units": f"degrees_{side}", "standard_name": name})
                for name, side in (("longitude", "east"), ("latitude", "north"))
            },
        },
    )
