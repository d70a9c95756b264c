"""Glacier outlines from RGI 6, RGI 7 or any inventory with a column of identifiers."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import shapely.geometry.polygon
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import Failure, failing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.outlines import inventories
from glacmb_grid.inputs.outlines.checks import CHECKS, polygons_only
from glacmb_grid.inputs.outlines.vectors import read_vectors
from glacmb_grid.polygons import continuous
from glacmb_grid.schemas import require_columns
from glacmb_grid.vocabulary import GLACIER_ID_ATTRS

PIECE = re.compile(r"_d\d+$")  # ending of the identifier of a part of a glacier
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
        Shapefile, GeoPackage or another vector file that GDAL reads; or a folder with one of them.
    layer : str, optional
        Needed if the file has several.
    id_column : str, optional
        Default: the first of rgi_id, RGIId, glacier_id, GLIMS_ID, FCGI_ID, glac_id, in any case, that is filled.
    crs : str, optional
        Coordinate reference system of a file that does not state it.
    merge_pieces : bool
        Whether to merge pieces `<id>_d01`, `<id>_d02` into one glacier `<id>`.

    Returns
    -------
    GeoDataFrame
        Index `glacier` sorted; columns `name`, `area` (km2, on the ellipsoid), `longitude`, `latitude` (degrees, of a
        point inside), `geometry`; where the inventory states them, `zmin`, `zmed` and `zmax` (m, NaN if unknown)
        and `subregion`, the second-order region of the RGI (empty if unknown).

    Raises
    ------
    InputError
        No reference system, blank or duplicate identifiers, complexes of RGI 7 instead of glaciers, missing or invalid
        geometry, one outline under two identifiers; names the file and glaciers.

    See Also
    --------
    sound_outlines : Leaves invalid outlines out instead of raising.

    Examples
    --------
    >>> import geopandas, shapely, glacmb_grid as gg
    >>> from tempfile import mkdtemp
    >>> path = f"{mkdtemp()}/outlines.gpkg"
    >>> box = shapely.box(10.0, 46.0, 10.02, 46.01)
    >>> geopandas.GeoDataFrame({"rgi_id": ["RGI2000-v7.0-G-11-00001"]}, geometry=[box], crs=4326).to_file(path)
    >>> gg.read_outlines(path)["area"].round(2).to_dict()
    {'RGI2000-v7.0-G-11-00001': 1.72}
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
    inventories.require_polygons(raw, file)
    column, stated = inventories.id_column(raw, file, id_column), raw
    ids = inventories.ids(raw[column], f"{file}: {column}")
    rows = [f"row {k}" for k in range(len(raw))]
    named = {
        "glacier": np.where(ids == "", rows, ids),
        "blank": ids == "",
        "name": inventories.names(raw),
        **inventories.heights(raw),
        **inventories.subregions(raw),
    }
    raw = gpd.GeoDataFrame(named, geometry=_unbroken(np.asarray(raw.geometry.array)), crs=raw.crs)
    failures: list[Failure] = []
    errors: list[InputError] = []
    for check in CHECKS:
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
    measured = _with_measures(glaciers.sort_index())
    for hint in inventories.hints(stated, measured["area"], file):
        warnings.warn(hint, stacklevel=3)
    return measured, failures, errors


def _repaired(raw: gpd.GeoDataFrame, file: Path) -> gpd.GeoSeries:
    """Polygons with valid rings, with a warning on those that were repaired."""
    shapes = np.asarray(raw.geometry.array, dtype=object)
    invalid = ~shapely.is_valid(shapes)
    if invalid.any():
        shapes = shapes.copy()
        shapes[invalid] = [polygons_only(shapely.make_valid(g)) for g in shapes[invalid]]
        ids = listing(raw["glacier"][invalid])
        warnings.warn(f"{file}: repaired invalid rings of {ids} (area unchanged within 1 %)", stacklevel=3)
    return gpd.GeoSeries(shapes, index=raw.index, crs=raw.crs)


def _unbroken(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """2-D polygons with longitudes below 180; an outline across the antimeridian stays in one piece."""
    shapes = shapely.force_2d(shapes)
    mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    shapes[mixed] = [polygons_only(g) for g in shapes[mixed]]
    finite = np.flatnonzero(np.isfinite(shapely.bounds(shapes)).all(axis=1))
    shapes[finite] = continuous(shapes[finite])
    beyond = shapely.bounds(shapes)[:, 0] >= 180
    shapes[beyond] = shapely.transform(shapes[beyond], lambda c: c - np.array([360.0, 0.0]))
    return shapes


def _whole(piece: str) -> str:
    """Identifier of the glacier of a piece."""
    return PIECE.sub("", piece)


def _merged(raw: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    whole = raw.assign(glacier=raw["glacier"].map(_whole))
    heights = {n: how for n, how in (("zmin", "min"), ("zmed", "mean"), ("zmax", "max")) if n in raw}
    first = {n: "first" for n in ("name", "subregion") if n in raw}
    return whole.dissolve(by="glacier", aggfunc={**first, **heights})


def _with_measures(glaciers: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    area = [_area(g) for g in glaciers.geometry]
    inside = glaciers.geometry.representative_point()
    longitude = (inside.x.to_numpy() + 180) % 360 - 180
    measured = glaciers.assign(area=area, longitude=longitude, latitude=inside.y.to_numpy())
    measured.index.name = "glacier"
    stated = [n for n in (*inventories.HEIGHTS, "subregion") if n in measured]
    return measured[["name", "area", "longitude", "latitude", *stated, "geometry"]]


def _area(shape: shapely.Geometry) -> float:
    """Area on the ellipsoid, km2; rings are oriented first, as shells and holes differ by the sign of their area."""
    oriented = (shapely.geometry.polygon.orient(part) for part in shapely.get_parts(shape))
    return float(sum(_GEOD.geometry_area_perimeter(part)[0] for part in oriented)) / 1e6


def glaciers_dataset(glaciers: gpd.GeoDataFrame) -> xr.Dataset:
    """Area (km2), name, longitude and latitude (degrees) with CF attributes, (glacier,).

    Parameters
    ----------
    glaciers : GeoDataFrame
        From `read_outlines`.

    Examples
    --------
    >>> import geopandas, shapely, glacmb_grid as gg
    >>> known = {"name": ["One"], "area": [1.72], "longitude": [10.01], "latitude": [46.005]}
    >>> box = shapely.box(10.0, 46.0, 10.02, 46.01)
    >>> ds = gg.glaciers_dataset(geopandas.GeoDataFrame(known, index=["one"], geometry=[box], crs=4326))
    >>> ds["area"].values.tolist(), ds["area"].attrs["units"]
    ([1.72], 'km2')
    """
    columns = ("area", "name", "longitude", "latitude")
    require_columns(glaciers, columns, name="glaciers", source="`read_outlines`")
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
