"""Which glaciers belong to which region: those of the Randolph Glacier Inventory by identifier, or any polygons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from glacmb_grid.checking import checking_arguments
from glacmb_grid.errors import InputError, listing
from glacmb_grid.identifiers import first_order_region

Integers = npt.NDArray[np.int64]
Overlap = Literal["refuse", "keep"]

RGI_NAMES = {
    "01": "Alaska",
    "02": "Western Canada and USA",
    "03": "Arctic Canada North",
    "04": "Arctic Canada South",
    "05": "Greenland Periphery",
    "06": "Iceland",
    "07": "Svalbard and Jan Mayen",
    "08": "Scandinavia",
    "09": "Russian Arctic",
    "10": "North Asia",
    "11": "Central Europe",
    "12": "Caucasus and Middle East",
    "13": "Central Asia",
    "14": "South Asia West",
    "15": "South Asia East",
    "16": "Low Latitudes",
    "17": "Southern Andes",
    "18": "New Zealand",
    "19": "Subantarctic and Antarctic Islands",
}


@dataclass(frozen=True)
class Regions:
    """Regions and their glaciers.

    Attributes
    ----------
    ids, names : tuple of str, (region,)
    members : tuple of int array, (region,)
        Positions of the glaciers of each region, ascending.
    glaciers : int
        How many glaciers were asked for.
    attrs : dict of str
        What the regions are, and glaciers that are in none or in several.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    members: tuple[Integers, ...]
    glaciers: int
    attrs: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of regions."""
        return len(self.ids)

    @property
    def count(self) -> Integers:
        """In how many regions each glacier is, (glacier,)."""
        return np.bincount(np.concatenate([*self.members, np.empty(0, np.int64)]), minlength=self.glaciers)

    @property
    def of_glacier(self) -> npt.NDArray[np.object_]:
        """Identifier of the (first) region of each glacier, (glacier,); empty for none."""
        out = np.full(self.glaciers, "", object)
        for name, members in zip(reversed(self.ids), reversed(self.members), strict=True):
            out[members] = name
        return out


def rgi_regions(glaciers: Iterable[str], second_order: Sequence[str] | None = None) -> Regions:
    """Regions of the Randolph Glacier Inventory.

    Parameters
    ----------
    glaciers : iterable of str
        Identifiers of RGI 5, 6 or 7; others are in no region.
    second_order : sequence of str, (glacier,), optional
        Second-order region of each glacier, as the columns `O2Region` (RGI 5 and 6: 1 for 13-01) and `o2region` (RGI 7)
        have it: then the regions are of second order. Without one (empty, NaN), a glacier is in no region.

    Returns
    -------
    Regions
        `13`, Central Asia; of second order `13-01`.

    Raises
    ------
    InputError
        No identifier of RGI.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> regions = gg.rgi_regions(["RGI60-13.00001", "RGI2000-v7.0-G-14-00002", "my own glacier"])
    >>> print(*regions.ids, *regions.names, sep=", ")
    13, 14, Central Asia, South Asia West
    >>> print([m.tolist() for m in regions.members])
    [[0], [1]]
    """
    ids = [str(g) for g in glaciers]
    first = np.array([first_order_region(g) for g in ids], object)
    if not (first != "").any():
        raise InputError(
            "regions: glaciers",
            expected="identifiers of RGI 5, 6 or 7, as RGI60-13.00001 or RGI2000-v7.0-G-13-00001",
            found=listing(ids, 3) or "none",
            remedy="give the regions as polygons: regions_of_polygons",
        )
    region = first if second_order is None else _second(first, list(second_order))
    order = "first" if second_order is None else "second"
    return _made(region, f"{order}-order regions of RGI")


def one_region(number: int, name: str) -> Regions:
    """All glaciers as one region.

    Parameters
    ----------
    number : int
        Of glaciers.
    name : str
        Of the region.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> alps = gg.one_region(3, "Alps")
    >>> alps.names, alps.members[0].tolist()
    (('Alps',), [0, 1, 2])
    """
    if number < 0:
        raise InputError("one_region: number", expected="at least 0 glaciers", found=f"{number}", remedy="correct it")
    return Regions((name,), (name,), (np.arange(number),), number, {"regions": "all glaciers"})


@checking_arguments
def regions_of_polygons(
    longitude: npt.ArrayLike,
    latitude: npt.ArrayLike,
    polygons: gpd.GeoDataFrame,
    *,
    name: str,
    overlap: Overlap = "refuse",
) -> Regions:
    """Regions that are polygons; a glacier belongs to those that its point lies in.

    Parameters
    ----------
    longitude, latitude : arrays, (glacier,), degrees
        A point in each glacier.
    polygons : GeoDataFrame
        In any reference system; all rows of one name are one region.
    name : str
        Column with the names of the regions.
    overlap : "refuse" or "keep"
        Whether regions may share glaciers. A glacier on the border of two regions belongs to the first.

    Returns
    -------
    Regions
        In the order of their first rows; regions without glaciers are left out and told in `attrs`.

    Raises
    ------
    InputError
        No such column, no reference system, no glacier in any region, glaciers in several that are to be refused.

    Examples
    --------
    >>> import geopandas, shapely, glacmb_grid as gg
    >>> boxes = [shapely.box(6, 45, 9, 48), shapely.box(9, 45, 12, 48)]
    >>> halves = geopandas.GeoDataFrame({"half": ["west", "east"]}, geometry=boxes, crs=4326)
    >>> regions = gg.regions_of_polygons([7.5, 10.8, 8.1, 20.0], [46.1, 46.8, 46.5, 45.0], halves, name="half")
    >>> {name: members.tolist() for name, members in zip(regions.names, regions.members)}
    {'west': [0, 2], 'east': [1]}
    """
    x, y = np.asarray(longitude, np.float64), np.asarray(latitude, np.float64)
    layer = _geographic(polygons, name)
    labels = layer[name].astype(str).to_numpy()
    points = shapely.points((x + 180) % 360 - 180, y)
    tree, shapes = shapely.STRtree(points), layer.geometry.to_numpy()
    row, point = tree.query(shapes, predicate="intersects")
    inner = np.isin(row * len(x) + point, np.array([len(x), 1]) @ tree.query(shapes, predicate="contains"))
    ids = tuple(dict.fromkeys(labels))
    number = np.array([ids.index(v) for v in labels])[row]
    members = _without_borders(number, point, inner, len(ids), len(x))
    kept = [k for k, m in enumerate(members) if len(m)]
    without = [v for k, v in enumerate(ids) if k not in kept]
    if not kept:
        raise InputError(
            "regions: polygons",
            expected="polygons around some of the glaciers",
            found=f"none of {len(x)} glaciers in any of {listing(ids, 4)}",
            remedy="check the reference system of the polygons and the order of longitude and latitude",
        )
    names = tuple(ids[k] for k in kept)
    regions = Regions(names, names, tuple(members[k] for k in kept), len(x))
    if overlap == "refuse":
        _refuse_overlap(regions)
    return Regions(names, names, regions.members, len(x), _told(regions, f"polygons by {name}", without))


def _second(first: npt.NDArray[np.object_], given: list[object]) -> npt.NDArray[np.object_]:
    if len(given) != len(first):
        raise InputError(
            "regions: second_order",
            expected=f"one for each of {len(first)} glaciers",
            found=f"{len(given)}",
            remedy="take the column of the same outlines",
        )
    out = np.full(len(first), "", object)
    for k, (one, two) in enumerate(zip(first, given, strict=True)):
        text = "" if two is None or two != two else str(two).removesuffix(".0").strip()
        if one and text:
            out[k] = text if text.startswith(f"{one}-") else f"{one}-{text.zfill(2)}"
    return out


def _made(region: npt.NDArray[np.object_], what: str) -> Regions:
    ids = tuple(sorted(set(region) - {""}))
    members = tuple(np.flatnonzero(region == v) for v in ids)
    named = tuple(RGI_NAMES.get(v, v) for v in ids)
    regions = Regions(ids, named, members, len(region))
    return Regions(ids, named, members, len(region), _told(regions, what, []))


def _told(regions: Regions, what: str, without: list[str]) -> dict[str, str]:
    none, several = int((regions.count == 0).sum()), int((regions.count > 1).sum())
    said = {"regions": what, "glaciers_in_no_region": str(none), "glaciers_in_several_regions": str(several)}
    return said | ({"regions_without_glaciers": listing(without, 20)} if without else {})


def _geographic(polygons: gpd.GeoDataFrame, name: str) -> gpd.GeoDataFrame:
    columns = [str(c) for c in getattr(polygons, "columns", ())]
    crs = getattr(polygons, "crs", None)
    if name not in columns or crs is None or not len(polygons):
        raise InputError(
            "regions: polygons",
            expected=f"at least one polygon with the column {name!r} and a reference system",
            found=f"{len(polygons)} rows, columns {listing(columns) or 'none'}, reference system {crs}",
            remedy="name the column that holds the regions' names; polygons.set_crs(4326) declares degrees",
        )
    return polygons[polygons.geometry.notna() & ~polygons.geometry.is_empty].to_crs(4326)


def _without_borders(
    number: Integers, point: Integers, inner: npt.NDArray[np.bool_], regions: int, glaciers: int
) -> list[Integers]:
    """Members by region: a point belongs to the regions it is inside of, on borders only to the first it touches."""
    inside = np.bincount(point[inner], minlength=glaciers) > 0
    first = np.full(glaciers, regions)
    np.minimum.at(first, point, number)
    kept = np.where(inside[point], inner, number == first[point])
    return [np.unique(point[kept & (number == k)]) for k in range(regions)]


def _refuse_overlap(regions: Regions) -> None:
    several = np.flatnonzero(regions.count > 1)
    if not len(several):
        return
    shared = [n for n, m in zip(regions.ids, regions.members, strict=True) if np.isin(several, m).any()]
    raise InputError(
        "regions: polygons",
        expected="regions that share no glacier",
        found=f"{len(several)} glaciers in several of {listing(shared, 6)}",
        remedy="mend the polygons, or allow it, overlap='keep': then the sum of regions counts these glaciers twice",
    )
