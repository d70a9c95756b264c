"""Outlines that cannot be used: which they are, and why."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from glacmb_grid.errors import InputError, listing

_COMPLEX = re.compile(r"^RGI\d*-v[\d.]+-C-")
_SAME, _OVERLAP = 0.8, 0.1  # shares of area: the same outline twice, more than a common border
_LARGEST_REPAIR = 0.01  # largest relative change of area by the repair of invalid rings

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


def _complexes(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    found = raw["glacier"].str.match(_COMPLEX).to_numpy(bool)
    error = InputError(
        f"{file}: {column}",
        expected="outlines of single glaciers",
        found=f"glacier complexes of RGI 7: {listing(raw['glacier'][found])}",
        remedy="download the product G (glaciers) of RGI 7, RGI2000-v7.0-G-..., instead of C (complexes)",
    )
    return found, column, "a glacier complex of RGI 7 (C), not a glacier (G)", error


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
    new = shapely.area(np.array([polygons_only(shapely.make_valid(g)) for g in flat[invalid]], dtype=object))
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


def _twice(raw: gpd.GeoDataFrame, file: Path, column: str) -> _Found:
    """Outlines that others repeat; tells of such as overlap in part."""
    twice = np.zeros(len(raw), bool)
    same, some = [], []
    for i, j, share, alike in _overlapping(np.asarray(raw.geometry.array, dtype=object)):
        pair = f"{raw['glacier'].iloc[i]} and {raw['glacier'].iloc[j]}"
        if alike > _SAME:
            same.append(pair)
            twice[[i, j]] = True
        elif share > _OVERLAP:
            some.append(f"{pair} ({share:.0%} of the smaller)")
    if some:
        warnings.warn(
            f"{file}: {len(some)} pair(s) of outlines lie over each other, so that their ice counts twice: "
            f"{listing(some, 4)}",
            stacklevel=4,
        )
    error = InputError(
        f"{file}: geometry",
        expected="every outline once",
        found=f"the same outline under two identifiers: {listing(same, 6)}",
        remedy="remove one of each pair; keep one date of outlines of several dates",
    )
    return twice, "geometry", "the same outline stands there under another identifier", error


def _overlapping(shapes: npt.NDArray[np.object_]) -> list[tuple[int, int, float, float]]:
    """Pairs of polygons that lie over each other.

    Parameters
    ----------
    shapes : array of shapely polygons
        Valid or not, none empty.

    Returns
    -------
    list of (int, int, float, float)
        Two numbers, the first smaller, and the shares of the common area in the smaller polygon and in both together.
        Pairs that share less than half of the smaller one may be missing.
    """
    if len(shapes) < 2:
        return []
    tree = shapely.STRtree(shapes)
    sound = np.where(shapely.is_valid(shapes), shapes, shapely.buffer(shapes, 0))
    inside, holder = tree.query(shapely.point_on_surface(sound), predicate="intersects")
    bounds = shapely.bounds(shapes)
    near, other = tree.query(shapely.points((bounds[:, :2] + bounds[:, 2:]) / 2))
    size = bounds[:, 2:] - bounds[:, :2]
    alike = (np.abs(size[near] - size[other]) <= 0.1 * size[near]).all(axis=1)
    pairs = {(min(a, b), max(a, b)) for a, b in zip(inside.tolist(), holder.tolist(), strict=True)}
    pairs |= {(min(a, b), max(a, b)) for a, b in zip(near[alike].tolist(), other[alike].tolist(), strict=True)}
    out = []
    for i, j in sorted(pairs):
        if i != j and (common := shapely.area(shapely.intersection(sound[i], sound[j]))) > 0:
            one, two = shapely.area(sound[i]), shapely.area(sound[j])
            out.append((i, j, float(common / min(one, two)), float(common / (one + two - common))))
    return out


def polygons_only(geometry: shapely.Geometry) -> shapely.Geometry:
    """The polygons of a geometry, as one."""
    parts = [g for g in shapely.get_parts(geometry) if g.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts)


CHECKS = (_without_id, _complexes, _with_duplicate_id, _without_polygon, _beyond_repair, _twice)
"""In the order in which they are made: each looks at the outlines that passed those before."""
