"""Digital elevation models: a raster or a mosaic of tiles, read lazily by windows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import pyproj
import rasterio.crs
import rioxarray  # noqa: F401 - makes `.rio`
import shapely
import xarray as xr
from xarray.core import indexing

from glacmb_grid.checking import checking_arguments
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.elevation.files import Degree, degree_of, elevation_files, named_for
from glacmb_grid.inputs.elevation.mosaic import Mosaic, Windows
from glacmb_grid.inputs.rasters import Header, UnreadableRasterError, read_header, require_crs

HeightUnits = Literal["m", "ft", "us-ft", "km", "dm", "cm"]
UNITS: dict[str, float] = {"m": 1.0, "ft": 0.3048, "us-ft": 1200 / 3937, "km": 1000.0, "dm": 0.1, "cm": 0.01}
_SPELLINGS = {
    "m": ("metre", "metres", "meter", "meters", "masl", "m asl", "m a.s.l.", "mamsl"),
    "ft": ("foot", "feet", "international foot", "international feet"),
    "us-ft": ("us survey foot", "us survey feet", "us_survey_foot", "foot_us", "us foot", "us-foot", "ftus"),
    "km": ("kilometre", "kilometres", "kilometer", "kilometers"),
    "dm": ("decimetre", "decimetres", "decimeter", "decimeters"),
    "cm": ("centimetre", "centimetres", "centimeter", "centimeters"),
}
_DAMAGED = "damaged_files"  # attribute of a model: the files that cannot be read, with reasons
_TILES = "tiles"  # attribute: names of its tiles, where these state their square degree
_NEAR = 0.01  # degrees; how far a tile may lie from the square degree that its name states


@checking_arguments
def open_elevation(paths: str | Path | Iterable[str | Path], *, units: HeightUnits | None = None) -> xr.DataArray:
    """A digital elevation model, one file or several tiles.

    Parameters
    ----------
    paths : path, pattern or several
        GeoTIFF, .hgt or other rasters that GDAL reads; folders and archives (.zip, .tar) as they were delivered, of
        which the elevations are taken and counts, masks and qualities left out. Tiles lie on one lattice and may
        overlap or leave gaps; those on both sides of the antimeridian become neighbours. Columns may get wider from
        one band of latitudes to the next, as Copernicus' do; between them is interpolated.
    units : str, optional
        Unit of the heights: m, ft, us-ft, km, dm or cm. Default: what the files state, else m.

    Returns
    -------
    xr.DataArray, (y, x), m
        float32; NaN for nodata, for heights impossible on land, and between tiles. If tiles overlap, the first valid
        value in the order of the files. Only headers are read, and a few rows of files that lie over each other; a
        selection reads its window of the tiles (`.chunk` gives a dask array). A file that cannot be read is left out
        with a note as long as others can.

    Raises
    ------
    InputError
        Unreadable files, no reference system, an unknown unit, several bands, tiles that differ in reference system,
        resolution or offset, files over the same place that hold different things.

    See Also
    --------
    tile_troubles : Which glaciers lie on tiles that are missing or damaged.
    """
    files = elevation_files(paths)
    problems = Problems()
    with ThreadPoolExecutor(4 * (os.cpu_count() or 1)) as pool:
        headers = list(pool.map(lambda f: problems.attempt(lambda: _header(f, units)), files))
    sound = [h for h in headers if h is not None]
    damaged = [p for p in problems.found if isinstance(p, UnreadableRasterError)]
    if not sound or len(damaged) < len(problems.found):
        problems.raise_if_any()
    sound = _of_heights(sound)
    mosaic = Mosaic.of(sound)
    mosaic.require_agreement()
    x, y = mosaic.centres
    lost = {Path(p.where).name: p.found for p in damaged}
    dem = xr.DataArray(
        xr.Variable(("y", "x"), indexing.LazilyIndexedArray(Windows(mosaic))),
        coords={"y": y, "x": x},
        name="elevation",
        attrs={"units": "m", _TILES: _square_degrees(sound), _DAMAGED: [f"{n}: {why}" for n, why in lost.items()]},
    )
    if lost:
        texts = [f"{name} ({reason})" for name, reason in lost.items()]
        warnings.warn(
            f"elevation model: {len(lost)} of {len(files)} file(s) cannot be read, and glaciers there will fail: "
            f"{listing(texts, 4)}; download them again",
            stacklevel=2,
        )
    with_crs: xr.DataArray = dem.rio.write_crs(sound[0].crs)
    return with_crs


def _header(file: Path, units: str | None) -> Header:
    header = read_header(file, scaled=True)
    a, b, _, d = header.transform[:4]
    if b or d or a <= 0:
        raise InputError(
            f"{file}",
            expected="rows and columns along the axes of its reference system",
            found="a rotated raster" if b or d else "columns from east to west",
            remedy="warp it first, for instance with `gdalwarp`",
        )
    require_crs(file, header.crs)
    system = pyproj.CRS.from_user_input(header.crs)
    stated = header.units
    if system.is_compound:
        plane, vertical = system.sub_crs_list[:2]
        header = replace(header, crs=rasterio.crs.CRS.from_wkt(plane.to_wkt()))
        stated = stated or vertical.axis_info[0].unit_name
    factor = UNITS[units] if units else _factor(stated, file)
    return replace(header, scale=header.scale * factor, offset=header.offset * factor)


def _factor(stated: str, file: Path) -> float:
    """Metres per unit that a file states; 1 where it states none."""
    text = " ".join(stated.lower().split())
    for unit, factor in UNITS.items():
        if text in ("", unit, *_SPELLINGS.get(unit, ())):
            return factor
    raise InputError(
        f"{file}",
        expected="elevations in metres or another unit of length",
        found=f"the unit {stated!r}",
        remedy="name a file of elevations, or declare their unit: `elevation: {units: m}` (m, ft, us-ft, km, dm or cm)",
    )


def _of_heights(headers: list[Header]) -> list[Header]:
    """The headers without those of 8-bit values: counts, masks and shadings."""
    small = [h for h in headers if h.dtype in ("uint8", "int8")]
    if len(small) == len(headers):
        raise InputError(
            f"{small[0].file}",
            expected="elevations, as 16-bit or larger numbers",
            found=f"values of type {small[0].dtype}: a mask, a count or a shaded picture",
            remedy="name the file of the elevations",
        )
    if small:
        warnings.warn(
            f"elevation model: {len(small)} file(s) of 8-bit values hold no elevations and are not read: "
            f"{listing((h.file.name for h in small), 4)}",
            stacklevel=3,
        )
    return [h for h in headers if h not in small]


def _square_degrees(headers: list[Header]) -> list[str]:
    """Names of tiles that state the square degree that they cover; none unless all do."""
    for h in headers:
        place = degree_of(h.file.name)
        size = h.shape[1] * h.transform[0], h.shape[0] * abs(h.transform[4])
        if place is None or not h.crs.is_geographic or max(abs(s - 1) for s in size) > _NEAR:
            return []
        if abs(h.west - place.longitude) > _NEAR or abs(h.north - place.latitude - 1) > _NEAR:
            return []
    return [h.file.name for h in headers]


def tile_troubles(dem: xr.DataArray, glaciers: gpd.GeoDataFrame) -> dict[str, str]:
    """Why glaciers may have no elevation: tiles of square degrees that are missing, files that cannot be read.

    Parameters
    ----------
    dem : xr.DataArray
        From `open_elevation`.
    glaciers : GeoDataFrame
        Index of glacier ids, EPSG:4326.

    Returns
    -------
    dict of str
        Reasons by glacier, of those that lie on such a tile. Empty where tiles do not state their place.
    """
    names = list(dem.attrs.get(_TILES, []))
    if not names:
        return {}
    tiles = {degree_of(n) for n in names}
    damaged = [text.partition(": ") for text in dem.attrs.get(_DAMAGED, [])]
    lost = {place: f"{name} cannot be read: {why}" for name, _, why in damaged if (place := degree_of(name))}
    bounds = np.floor(glaciers.bounds.to_numpy()).astype(int)
    reasons = {}
    for glacier, shape, (x0, y0, x1, y1) in zip(glaciers.index, glaciers.geometry, bounds, strict=True):
        squares = [(y, x) for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)]
        absent = {Degree(y, (x + 180) % 360 - 180): (y, x) for y, x in squares}
        found = [
            lost.get(place, f"the tile {named_for(names[0], place)} is missing")
            for place, (y, x) in absent.items()
            if place not in tiles and shape.intersects(shapely.box(x, y, x + 1, y + 1))
        ]
        if found:
            reasons[str(glacier)] = "; ".join(found)
    return reasons
