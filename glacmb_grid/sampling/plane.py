"""Polygons in the equal-area plane; edges that are straight in longitude and latitude are parabolas there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glacmb_grid.polygons import Floats, Integers, Polygons
from glacmb_grid.sampling.lattice import ECCENTRICITY, Lattice, authalic_of_sine, authalic_sine
from glacmb_grid.vocabulary import EARTH_RADIUS

_SQUARED = ECCENTRICITY**2
_MOST_BENT = 0.5  # edges bend more than this only within a few hundred metres of a pole


@dataclass(frozen=True)
class Plane:
    """Polygons in the equal-area plane.

    Attributes
    ----------
    polygons : Polygons
    lattice : Lattice
    xy : float64 array, (vertex, 2)
        Relative to the first vertex of the polygon.
    bend : float64 array, (vertex,)
        Of the edge that starts at the vertex. It is straight in longitude and latitude, here a parabola:
        ``x = x0 + (t + bend t (1 - t)) (x1 - x0)``, ``y = y0 + t (y1 - y0)``, t from 0 to 1.
    sign : float64 array, (ring,)
        Turns the signed area of shells positive and that of holes negative.
    area : float64 array, (polygon,)
    """

    polygons: Polygons
    lattice: Lattice
    xy: Floats
    bend: Floats
    sign: Floats
    area: Floats

    @classmethod
    def of(cls, polygons: Polygons, lattice: Lattice) -> Plane:
        """Project polygons to the plane and measure their areas."""
        first = np.repeat(polygons.start[polygons.shell][polygons.polygon], np.diff(polygons.start))
        north, bend = polygons.xy[:, 1], np.zeros(len(polygons.xy))
        if lattice.geographic:
            sine = np.sin(np.deg2rad(north))
            curvature = _curvature(sine)
            curvature[:-1] += curvature[1:]  # twice its mean over the edge
            bend[:-1] = curvature[:-1] * np.diff(np.deg2rad(north)) / 4
            bend = np.clip(bend, -_MOST_BENT, _MOST_BENT)
            north = EARTH_RADIUS * authalic_of_sine(sine)
        xy = np.column_stack([(polygons.xy[:, 0] - polygons.xy[first, 0]) * lattice.unit, north - north[first]])
        step = np.diff(xy, axis=0, append=xy[-1:])
        lean = (xy[:, 0] + (0.5 + bend / 6) * step[:, 0]) * step[:, 1]
        lean[polygons.start[1:] - 1] = 0.0
        ring_area = np.add.reduceat(lean, polygons.start[:-1])
        wanted = np.full(len(ring_area), -1.0)
        wanted[polygons.shell] = 1.0
        sign = np.where(ring_area < 0, -wanted, wanted)
        return cls(polygons, lattice, xy, bend, sign, np.add.reduceat(sign * ring_area, polygons.shell))

    @property
    def extent(self) -> tuple[Floats, Floats]:
        """Westernmost and easternmost vertex of every polygon."""
        x, begin = self.xy[:, 0], self.polygons.start[self.polygons.shell]
        return np.minimum.reduceat(x, begin), np.maximum.reduceat(x, begin)

    def line_x(self, index: Integers, vertex: Integers) -> Floats:
        """X coordinate of grid lines relative to the polygons of these vertices; infinite outside the lattice."""
        edges = self.lattice.x
        value = edges[np.clip(index, 0, len(edges) - 1)]
        value = np.where(index < 0, -np.inf, np.where(index >= len(edges), np.inf, value))
        return np.asarray((value - self.polygons.xy[vertex, 0]) * self.lattice.unit + self.xy[vertex, 0])

    def line_y(self, index: Integers, vertex: Integers) -> Floats:
        """Y coordinate of grid lines relative to the polygons of these vertices."""
        north = self.polygons.xy[vertex, 1]
        north = EARTH_RADIUS * authalic_sine(north) if self.lattice.geographic else north
        return np.asarray(self.lattice.plane_lines[index] - north + self.xy[vertex, 1])


def _curvature(sine: Floats) -> Floats:
    """Ratio of the second to the first derivative of the authalic sine with respect to latitude (radians)."""
    squared = sine * sine
    cosine = np.sqrt(np.maximum(1 - squared, 1e-30))
    return np.asarray(sine * (4 * _SQUARED * cosine / (1 - _SQUARED * squared) - 1 / cosine))
