"""Edges of a rectilinear grid, and the equal-area plane of WGS 84 in which its areas are measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glacmb_grid.polygons import Floats, Integers
from glacmb_grid.vocabulary import EARTH_RADIUS

ECCENTRICITY = 0.0818191908426215
"""First eccentricity of WGS 84."""
_CLOSED = 0.01  # of a cell: columns that close around the globe up to this gap count as closed
_TERMS = np.array([(1 + 1 / (2 * k + 1)) * ECCENTRICITY ** (2 * k) for k in range(9)])


def authalic_sine(latitude: npt.ArrayLike) -> Floats:
    """Sine of the authalic latitude of WGS 84.

    Parameters
    ----------
    latitude : array_like, degrees

    Notes
    -----
    On the plane ``(R lon, R sin(beta))`` areas equal those on the ellipsoid, and the cells of a latitude-longitude grid
    stay rectangles. Evaluated as a series in the squared eccentricity, exact to rounding.

    References
    ----------
    Snyder (1987), Map Projections: A Working Manual, eq. 3-11 and 3-12.
    """
    return authalic_of_sine(np.sin(np.deg2rad(np.asarray(latitude, np.float64))))


def authalic_of_sine(sine: Floats) -> Floats:
    """`authalic_sine` from the sine of the geodetic latitude."""
    squared = sine * sine
    total = np.full_like(squared, _TERMS[-1])
    for term in _TERMS[-2::-1]:
        total *= squared
        total += term
    return np.asarray(total * sine / _TERMS.sum())


def goes_around(x_edges: Floats) -> bool:
    """Whether columns in degrees span the whole globe."""
    width = abs(float(x_edges[-1] - x_edges[0]))
    return abs(width - 360.0) <= _CLOSED * width / (len(x_edges) - 1)


@dataclass(frozen=True)
class Lattice:
    """Cell edges in ascending order.

    Attributes
    ----------
    y, x : float64 arrays
        Evenly spaced edges in the coordinates of the outlines.
    geographic : bool
        Whether these are latitude and longitude; areas are then measured on the ellipsoid.
    cyclic : bool
        Whether the columns span the whole globe.
    """

    y: Floats
    x: Floats
    geographic: bool
    cyclic: bool

    @classmethod
    def of(cls, y_edges: Floats, x_edges: Floats, *, geographic: bool) -> Lattice:
        """From edges in either direction. A global lattice is repeated three times, for outlines across its seam."""
        y, x = np.sort(y_edges), np.sort(x_edges)
        cyclic = geographic and goes_around(x)
        if geographic:
            y = np.clip(y, -90.0, 90.0)
        if cyclic:
            x[-1] = x[0] + 360.0
            x = np.concatenate([x[:-1] - 360.0, x[:-1], x + 360.0])
        return cls(y, x, geographic, cyclic)

    @property
    def middle(self) -> float:
        """Longitude of the centre."""
        return float(self.x[0] + self.x[-1]) / 2

    @property
    def plane_lines(self) -> Floats:
        """The y edges in the equal-area plane, m if geographic."""
        return EARTH_RADIUS * authalic_sine(self.y) if self.geographic else self.y

    @property
    def unit(self) -> float:
        """Length of one unit of x in the equal-area plane."""
        return float(EARTH_RADIUS * np.pi / 180) if self.geographic else 1.0


def cell_of(edges: Floats, value: Floats) -> Integers:
    """Index of the cell that holds a value; -1 below the first cell, the number of cells above the last."""
    count = len(edges) - 1
    guess = np.floor((value - edges[0]) * (count / (edges[-1] - edges[0])))
    cell = np.clip(guess, 0, count - 1).astype(np.int64)
    cell += value >= edges[cell + 1]
    cell -= value < edges[np.minimum(cell, count)]
    return np.asarray(cell)
