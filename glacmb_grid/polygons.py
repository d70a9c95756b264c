"""Outlines as flat arrays of rings that are continuous across the antimeridian."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Polygons:
    """Closed rings of many polygons in flat arrays.

    Attributes
    ----------
    xy : float64 array, (vertex, 2)
    start : int64 array, (ring + 1,)
        First vertex of every ring.
    polygon : int64 array, (ring,)
        Which polygon a ring belongs to; the first of each is its shell.
    owner : int64 array, (polygon,)
        Which outline a polygon belongs to.
    """

    xy: Floats
    start: Integers
    polygon: Integers
    owner: Integers

    @classmethod
    def of(cls, shapes: Objects, owners: Integers) -> Polygons:
        """From Polygons and MultiPolygons of shapely, none of them empty.

        Raises
        ------
        ValueError
            Where coordinates are not finite.
        """
        kind, xy, offsets = shapely.to_ragged_array(shapes, include_z=False)
        ring_start, polygon_start = offsets[0].astype(np.int64), offsets[1].astype(np.int64)
        many = offsets[2].astype(np.int64) if kind == shapely.GeometryType.MULTIPOLYGON else np.arange(len(shapes) + 1)
        polygon = np.repeat(np.arange(len(polygon_start) - 1), np.diff(polygon_start))
        owner = owners[np.repeat(np.arange(len(shapes)), np.diff(many))]
        if not np.isfinite(xy).all():
            raise ValueError("outlines must have finite coordinates")
        return cls(np.array(xy, np.float64), ring_start, polygon, owner)

    @property
    def shell(self) -> Integers:
        """Ring numbers of the shells, (polygon,)."""
        return np.flatnonzero(np.diff(self.polygon, prepend=-1))

    @property
    def ring(self) -> Integers:
        """Ring number of every vertex."""
        return np.repeat(np.arange(len(self.polygon)), np.diff(self.start))

    @property
    def starts_edge(self) -> npt.NDArray[np.bool_]:
        """Vertices that start an edge: all but the last of each ring."""
        inner = np.ones(len(self.xy), bool)
        inner[self.start[1:] - 1] = False
        return inner

    def bounds(self) -> Floats:
        """Lowest x and y, highest x and y of every polygon, (polygon, 4)."""
        begin = self.start[:-1][self.shell]
        return np.column_stack([np.minimum.reduceat(self.xy, begin), np.maximum.reduceat(self.xy, begin)])

    def near(self, longitude: float) -> Polygons:
        """Shift every polygon by multiples of 360 degrees to be nearest to a longitude."""
        bounds = self.bounds()
        turns = np.round((longitude - (bounds[:, 0] + bounds[:, 2]) / 2) / 360.0)
        if not turns.any():
            return self
        shift = 360.0 * np.repeat(turns[self.polygon], np.diff(self.start))
        return replace(self, xy=self.xy + np.column_stack([shift, np.zeros_like(shift)]))

    def continuous(self) -> Polygons:
        """Make rings continuous that jump across the antimeridian; rings around a pole pass through the pole."""
        step = np.diff(self.xy[:, 0], append=self.xy[-1:, 0])
        jumps = (np.abs(step) > 180) & (np.abs(step) < 360) & self.starts_edge
        if not jumps.any():
            return self
        odd = np.unique(self.ring[jumps])
        rings: list[Any] = np.split(self.xy, self.start[1:-1])
        for r in odd:
            rings[r] = _continuous_ring(rings[r])
        shells = self.shell[self.polygon]
        holes = np.isin(self.polygon, self.polygon[odd]) & (shells != np.arange(len(shells)))
        for r in np.flatnonzero(holes):
            apart = rings[shells[r]][:, 0].mean() - rings[r][:, 0].mean()
            rings[r] = rings[r] + np.array([360 * np.round(apart / 360), 0.0])
        start = np.concatenate([[0], np.cumsum([len(r) for r in rings])])
        return replace(self, xy=np.concatenate(rings), start=start)


def _continuous_ring(ring: Floats) -> Floats:
    turns = np.concatenate([[0.0], np.cumsum(np.round(np.diff(ring[:, 0]) / 360))])
    out = np.column_stack([ring[:, 0] - 360 * turns, ring[:, 1]])
    if turns[-1] == 0:
        return out
    pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
    return np.concatenate([out, [[out[-1, 0], pole], [out[0, 0], pole], out[0]]])


def continuous(shapes: Objects) -> Objects:
    """Make outlines continuous across the antimeridian; most are returned unchanged.

    Parameters
    ----------
    shapes : array of shapely Polygon or MultiPolygon
        Longitude and latitude; edges of more than 180 degrees take the short way round.

    Returns
    -------
    array of shapely Polygon or MultiPolygon
        Outlines across 180 degrees extend beyond it; outlines around a pole get two edges along a meridian.
    """
    wide = np.flatnonzero(np.diff(shapely.bounds(shapes)[:, [0, 2]], axis=1)[:, 0] > 180)
    out = shapes.copy()
    for k in wide:
        polygons = Polygons.of(shapes[[k]], np.zeros(1, np.int64)).continuous()
        rings = np.split(polygons.xy, polygons.start[1:-1])
        parts = [
            shapely.Polygon(rings[here[0]], [rings[r] for r in here[1:]])
            for here in (np.flatnonzero(polygons.polygon == p) for p in range(len(polygons.owner)))
        ]
        out[k] = shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0]
    return out


def bounds_around(shapes: Objects, longitude: float | None = None) -> Floats:
    """Bounds of outlines whose polygons are shifted by multiples of 360 degrees to be nearest to a longitude.

    Parameters
    ----------
    shapes : array of shapely Polygon or MultiPolygon
        Drawn in any way across the antimeridian; none may be empty.
    longitude : float, optional
        Degrees; default the mean direction of the outlines.

    Returns
    -------
    float64 array, (outline, 4)
        Lowest x and y, highest x and y.
    """
    polygons = Polygons.of(shapes, np.arange(len(shapes))).continuous()
    if longitude is None:
        turns = np.deg2rad(polygons.xy[polygons.start[:-1], 0])
        longitude = float(np.rad2deg(np.arctan2(np.sin(turns).sum(), np.cos(turns).sum())))
    bounds = polygons.near(longitude).bounds()
    first = np.flatnonzero(np.diff(polygons.owner, prepend=-1))
    low, high = (f.reduceat(bounds[:, k], first) for f, k in ((np.minimum, slice(0, 2)), (np.maximum, slice(2, 4))))
    return np.concatenate([low, high], axis=1)
