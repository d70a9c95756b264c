"""Areas that polygons share with the cells of a rectilinear grid: exact, by the edges alone, all polygons at once.

Green's theorem gives the area of a polygon inside one cell from the pieces of its edges in that cell and the height
of those to the right of it in the same row. So edges are cut at the grid lines, every piece adds to its cell, and one
running sum along the rows fills the interior: no polygon is ever clipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from glacmb_grid.polygons import Floats, Integers, Objects, Polygons
from glacmb_grid.vocabulary import EARTH_RADIUS

_ECCENTRICITY = 0.0818191908426215  # WGS 84
_SQUARED = _ECCENTRICITY**2
_LONGEST_EDGE = 0.0089  # degrees, at most 1 km anywhere
_NOTHING = 2e-13  # of a polygon's area: rounding, not overlap
_MOST_BENT = 0.5  # only within some hundred metres of a pole is an edge more bent than that
_CLOSED = 0.01  # of a cell: how far the columns may be from closing around the globe
_VERTICES, _CELLS = 200_000, 4_000_000  # of polygons that are worked on at once
_TERMS = np.array([(1 + 1 / (2 * k + 1)) * _ECCENTRICITY ** (2 * k) for k in range(9)])


def authalic_sine(latitude: npt.ArrayLike) -> Floats:
    """Sine of the authalic latitude of WGS 84.

    Parameters
    ----------
    latitude : array_like, degrees

    Notes
    -----
    On the plane ``(R lon, R sin(beta))`` areas are those of the ellipsoid, and the cells of a latitude-longitude grid
    stay rectangles. The closed form is summed as its series in the squared eccentricity, to the last bit.

    References
    ----------
    Snyder (1987), Map Projections: A Working Manual, eq. 3-11 and 3-12.
    """
    return _authalic(np.sin(np.deg2rad(np.asarray(latitude, np.float64))))


def _authalic(sine: Floats) -> Floats:
    squared = sine * sine
    total = np.full_like(squared, _TERMS[-1])
    for term in _TERMS[-2::-1]:
        total *= squared
        total += term
    return np.asarray(total * sine / _TERMS.sum())


def _curvature(sine: Floats) -> Floats:
    """Second over first derivative of the authalic sine by the latitude in radians."""
    squared = sine * sine
    cosine = np.sqrt(np.maximum(1 - squared, 1e-30))
    return np.asarray(sine * (4 * _SQUARED * cosine / (1 - _SQUARED * squared) - 1 / cosine))


def goes_around(x_edges: Floats) -> bool:
    """Whether columns of degrees go once around the globe."""
    width = abs(float(x_edges[-1] - x_edges[0]))
    return abs(width - 360.0) <= _CLOSED * width / (len(x_edges) - 1)


@dataclass(frozen=True)
class Lattice:
    """Ascending cell edges, and whether they are degrees.

    Attributes
    ----------
    y, x : float64 arrays
        Evenly spaced edges in the outlines' own coordinates.
    geographic : bool
        Whether these are latitude and longitude; areas are then those of the ellipsoid.
    cyclic : bool
        Whether the columns go once around the globe.
    """

    y: Floats
    x: Floats
    geographic: bool
    cyclic: bool

    @classmethod
    def of(cls, y_edges: Floats, x_edges: Floats, *, geographic: bool) -> Lattice:
        """From edges in either direction; a global one is laid out three times, for outlines on its seam."""
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
        """Longitude of the middle."""
        return float(self.x[0] + self.x[-1]) / 2

    @property
    def plane_lines(self) -> Floats:
        """Its lines in y, in the plane where areas are true."""
        return EARTH_RADIUS * authalic_sine(self.y) if self.geographic else self.y

    @property
    def unit(self) -> float:
        """Length of one unit of x in that plane."""
        return float(EARTH_RADIUS * np.pi / 180) if self.geographic else 1.0


def overlaps(shapes: Objects, lattice: Lattice) -> tuple[Integers, Integers, Integers, Floats, Floats]:
    """Area that every outline shares with every cell.

    Parameters
    ----------
    shapes : array of shapely Polygon or MultiPolygon
        In the lattice's coordinates. On a geographic lattice an edge of more than 180 degrees goes the short way
        round, a ring around a pole holds it, and longitudes may be given in any turn.
    lattice : Lattice

    Returns
    -------
    outline, y, x : int64 arrays, (entry,)
        Sorted by outline, then cell; y and x count from the smallest coordinate.
    area : float64 array, (entry,)
        m2 on a geographic lattice, else the square of its unit.
    total : float64 array, (outline,)
        Whole area of each outline, in or out of the lattice.
    """
    if not len(shapes):
        none = np.zeros(0, np.int64)
        return none, none, none, np.zeros(0), np.zeros(0)
    pieces = list(_batches(shapes))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(lambda piece: _some_overlaps(shapes[piece], lattice), pieces))
    outline = np.concatenate([p[0] + piece.start for p, piece in zip(parts, pieces, strict=True)])
    cell, area, total = (np.concatenate([p[k] for p in parts]) for k in (1, 2, 3))
    columns = len(lattice.x) - 1
    return outline, cell // columns, _home(cell % columns, lattice), area, total


def _home(column: Integers, lattice: Lattice) -> Integers:
    return np.asarray(column % ((len(lattice.x) - 1) // 3)) if lattice.cyclic else column


def _batches(shapes: Objects) -> Iterator[slice]:
    """Consecutive outlines whose vertices stay in the processor's cache."""
    reached = np.cumsum(shapely.get_num_coordinates(shapes))
    number = reached // _VERTICES
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [len(shapes)]])
    return (slice(int(a), int(b)) for a, b in pairwise(bounds) if a < b)


def _some_overlaps(shapes: Objects, lattice: Lattice) -> tuple[Integers, Integers, Floats, Floats]:
    total = np.zeros(len(shapes))
    there = np.flatnonzero(~(shapely.is_empty(shapes) | shapely.is_missing(shapes)))
    if not len(there):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), total
    plane = _Plane.of(_flat(shapes[there], there, lattice), lattice)
    np.add.at(total, plane.polygons.owner, plane.area)
    outline, cell, share = _shared(plane)
    columns = len(lattice.x) - 1
    row, column = cell // columns, _home(cell % columns, lattice)
    order = np.lexsort((column, row, outline))
    key = np.stack([outline, row, column])[:, order]
    first = np.flatnonzero((np.diff(key, prepend=-1) != 0).any(axis=0))
    share = share[order]
    merged = np.add.reduceat(share, first) if len(first) else share
    seen = merged > _NOTHING * total[key[0, first]]  # a hole may lie in another turn than its shell
    return key[0, first][seen], cell[order][first][seen], merged[seen], total


def _flat(shapes: Objects, owners: Integers, lattice: Lattice) -> Polygons:
    """Rings in flat arrays; on a geographic lattice near its columns and without long edges."""
    polygons = Polygons.of(shapes, owners)
    return _short_edges(polygons.continuous().near(lattice.middle)) if lattice.geographic else polygons


def _short_edges(polygons: Polygons) -> Polygons:
    """Edges of more than 1 km cut into equal pieces, straight in longitude and latitude."""
    step = np.diff(polygons.xy, axis=0, append=polygons.xy[-1:])
    step[~polygons.starts_edge] = 0.0
    squared = step[:, 0] ** 2 + step[:, 1] ** 2
    if squared.max() <= _LONGEST_EDGE**2:
        return polygons
    pieces = np.maximum(np.ceil(np.sqrt(squared) / _LONGEST_EDGE - 1e-9), 1).astype(np.int64)
    reached = np.concatenate([[0], np.cumsum(pieces)])
    source = np.repeat(np.arange(len(pieces)), pieces)
    share = (np.arange(reached[-1]) - reached[source]) / pieces[source]
    xy = polygons.xy[source] + share[:, None] * step[source]
    return Polygons(xy, reached[polygons.start], polygons.polygon, polygons.owner)


@dataclass(frozen=True)
class _Plane:
    """Polygons in the plane of true areas.

    Attributes
    ----------
    polygons : Polygons
    lattice : Lattice
    xy : float64 array, (vertex, 2)
        Relative to the first vertex of their polygon.
    bend : float64 array, (vertex,)
        Of the edge that starts there, which is straight in longitude and latitude: here it is the parabola
        ``x = x0 + (t + bend t (1 - t)) (x1 - x0)``, ``y = y0 + t (y1 - y0)``, t from 0 to 1.
    sign : float64 array, (ring,)
    area : float64 array, (polygon,)
    """

    polygons: Polygons
    lattice: Lattice
    xy: Floats
    bend: Floats
    sign: Floats
    area: Floats

    @classmethod
    def of(cls, polygons: Polygons, lattice: Lattice) -> _Plane:
        """Polygons brought to the plane and measured there."""
        first = np.repeat(polygons.start[polygons.shell][polygons.polygon], np.diff(polygons.start))
        north, bend = polygons.xy[:, 1], np.zeros(len(polygons.xy))
        if lattice.geographic:
            sine = np.sin(np.deg2rad(north))
            curvature = _curvature(sine)
            curvature[:-1] += curvature[1:]  # twice its mean over the edge
            bend[:-1] = curvature[:-1] * np.diff(np.deg2rad(north)) / 4
            bend = np.clip(bend, -_MOST_BENT, _MOST_BENT)
            north = EARTH_RADIUS * _authalic(sine)
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
        """Grid lines in x relative to the polygons of these vertices; infinite outside the lattice."""
        edges = self.lattice.x
        value = edges[np.clip(index, 0, len(edges) - 1)]
        value = np.where(index < 0, -np.inf, np.where(index >= len(edges), np.inf, value))
        return np.asarray((value - self.polygons.xy[vertex, 0]) * self.lattice.unit + self.xy[vertex, 0])

    def line_y(self, index: Integers, vertex: Integers) -> Floats:
        """Grid lines in y relative to the polygons of these vertices."""
        north = self.polygons.xy[vertex, 1]
        north = EARTH_RADIUS * authalic_sine(north) if self.lattice.geographic else north
        return np.asarray(self.lattice.plane_lines[index] - north + self.xy[vertex, 1])


def _cell_of(edges: Floats, value: Floats) -> Integers:
    """Number of the cell that holds a value, -1 below and the number of cells above all of them."""
    count = len(edges) - 1
    guess = np.floor((value - edges[0]) * (count / (edges[-1] - edges[0])))
    cell = np.clip(guess, 0, count - 1).astype(np.int64)
    cell += value >= edges[cell + 1]
    cell -= value < edges[np.minimum(cell, count)]
    return np.asarray(cell)


@dataclass(frozen=True)
class _Boxes:
    """First row, first column and size of the cells around some polygons; may reach one cell out of the lattice.

    Attributes
    ----------
    polygon : int64 array, (box,)
    row, column, height, width : int64 arrays, (box,)
    """

    polygon: Integers
    row: Integers
    column: Integers
    height: Integers
    width: Integers

    def take(self, some: npt.NDArray[np.bool_] | slice) -> _Boxes:
        """Some of them."""
        return _Boxes(*(v[some] for v in (self.polygon, self.row, self.column, self.height, self.width)))


def _shared(plane: _Plane) -> tuple[Integers, Integers, Floats]:
    """Outline, flat cell and area of every overlap."""
    polygons, lattice = plane.polygons, plane.lattice
    low, high, highest_inside = [], [], []
    bounds = polygons.bounds()
    for axis, edges in ((1, lattice.y), (0, lattice.x)):
        lowest, highest = bounds[:, axis], bounds[:, axis + 2]
        low.append(_cell_of(edges, lowest))
        high.append(_cell_of(edges, highest))
        ends_there = (high[-1] > low[-1]) & (highest == edges[np.clip(high[-1], 0, len(edges) - 1)])
        highest_inside.append(high[-1] - ends_there)
    rows, columns = len(lattice.y) - 1, len(lattice.x) - 1
    off = (highest_inside[0] < 0) | (low[0] >= rows) | (highest_inside[1] < 0) | (low[1] >= columns)
    off |= plane.area <= 0
    whole = (low[0] == highest_inside[0]) & (low[1] == highest_inside[1]) & ~off
    out = [(polygons.owner[whole], low[0][whole] * columns + low[1][whole], plane.area[whole])]
    number = np.arange(len(polygons.owner))
    boxes = _Boxes(number, low[0], low[1], high[0] - low[0] + 1, high[1] - low[1] + 1).take(~whole & ~off)
    out += [_cut(plane, boxes.take(some)) for some in _groups(boxes.height * boxes.width)]
    return tuple(np.concatenate([o[k] for o in out]) for k in range(3))  # type: ignore[return-value]


def _groups(size: Integers) -> Iterator[slice]:
    """Consecutive boxes of which the cells fit into memory together."""
    number = np.cumsum(size) // _CELLS
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [len(size)]])
    return (slice(int(a), int(b)) for a, b in pairwise(bounds) if a < b)


def _cut(plane: _Plane, boxes: _Boxes) -> tuple[Integers, Integers, Floats]:
    """Overlaps of polygons that lie in several cells."""
    edge, box = _edges_in(plane.polygons, boxes)
    pieces = _at_grid_lines(plane, edge)
    edge, box = edge[pieces.edge], box[pieces.edge]
    row, column = pieces.row - boxes.row[box], pieces.column - boxes.column[box]
    base = np.concatenate([[0], np.cumsum(boxes.width * boxes.height)])
    flat = base[box] + row * boxes.width[box] + (boxes.width[box] - 1 - column)  # from the right
    rise = (pieces.y1 - pieces.y0) * plane.sign[plane.polygons.ring[edge]]
    west, east = (x[boxes.polygon] for x in plane.extent)
    left = np.maximum(plane.line_x(pieces.column, edge), west[box])  # so that no term is longer than the polygon
    inside = np.bincount(flat, ((pieces.x0 + pieces.x1) / 2 + pieces.bulge - left) * rise, base[-1]).astype(np.float64)
    climb = np.bincount(flat, rise, base[-1]).astype(np.float64)
    return _filled(plane, boxes, (west, east), inside, climb)


def _edges_in(polygons: Polygons, boxes: _Boxes) -> tuple[Integers, Integers]:
    """First vertex of every edge of the polygons in boxes, and which box that is."""
    place = np.full(len(polygons.owner), -1)
    place[boxes.polygon] = np.arange(len(boxes.polygon))
    box = place[polygons.polygon][polygons.ring]
    edge = np.flatnonzero((box >= 0) & polygons.starts_edge)
    return edge, box[edge]


@dataclass(frozen=True)
class _Pieces:
    """Pieces of edges, each in one cell.

    Attributes
    ----------
    edge : int64 array, (piece,)
        Place in the list of edges.
    row, column : int64 arrays, (piece,)
    x0, y0, x1, y1 : float64 arrays, (piece,)
    bulge : float64 array, (piece,)
        How far its mean x lies east of that of its ends.
    """

    edge: Integers
    row: Integers
    column: Integers
    x0: Floats
    y0: Floats
    x1: Floats
    y1: Floats
    bulge: Floats


@dataclass(frozen=True)
class _Crossings:
    """Where edges cross grid lines, (crossing,): edge, share of its way, step in row and column, and place."""

    edge: Integers
    along: Floats
    to_row: Integers
    to_column: Integers
    x: Floats
    y: Floats


def _at_grid_lines(plane: _Plane, edge: Integers) -> _Pieces:
    """Edges cut where they cross a grid line."""
    (x0, y0), (x1, y1) = plane.xy[edge].T, plane.xy[edge + 1].T
    at, lattice = plane.polygons.xy, plane.lattice
    row, column = _cell_of(lattice.y, at[edge, 1]), _cell_of(lattice.x, at[edge, 0])
    down, across = _cell_of(lattice.y, at[edge + 1, 1]) - row, _cell_of(lattice.x, at[edge + 1, 0]) - column
    bulge = plane.bend[edge] * (x1 - x0) / 6
    plain = (down == 0) & (across == 0)
    straight, bent = np.flatnonzero(plain), np.flatnonzero(~plain)
    whole: list[Any] = [straight, *(v[straight] for v in (row, column, x0, y0, x1, y1, bulge))]
    if not len(bent):
        return _Pieces(*whole)
    found = _crossings(plane, edge[bent], row[bent], column[bent], down[bent], across[bent])
    count = np.bincount(found.edge, minlength=len(bent)) + 1  # pieces of each edge
    end = np.cumsum(count)
    first, last = end - count, end - 1
    source = np.repeat(bent, count)
    later = np.ones(end[-1], bool)
    later[first] = False

    def follow(beginning: Integers, steps: Integers) -> Integers:
        moved = beginning[source]
        moved[later] = steps
        moved[first[1:]] -= np.add.reduceat(moved, first)[:-1]
        return np.asarray(np.cumsum(moved))

    def ends_of(begin: Floats, crossed: Floats, finish: Floats) -> tuple[Floats, Floats]:
        since = begin[source]
        since[later] = crossed
        until = np.roll(since, -1)
        until[last] = finish[bent]
        return since, until

    from_x, to_x = ends_of(x0, found.x, x1)
    from_y, to_y = ends_of(y0, found.y, y1)
    since, until = ends_of(np.zeros(len(edge)), found.along, np.ones(len(edge)))
    rows, columns = follow(row, found.to_row), follow(column, found.to_column)
    cut: list[Any] = [source, rows, columns, from_x, from_y, to_x, to_y, bulge[source] * (until - since) ** 2]
    return _Pieces(*(np.concatenate([a, b]) for a, b in zip(whole, cut, strict=True)))


def _crossings(
    plane: _Plane, edge: Integers, row: Integers, column: Integers, down: Integers, across: Integers
) -> _Crossings:
    """All crossings in the order in which the edges meet them."""
    out = []
    for axis, steps, begin in ((1, down, row), (0, across, column)):
        count = np.abs(steps)
        owner = np.repeat(np.arange(len(edge)), count)
        nth = np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
        forward = np.sign(steps)[owner]
        line = np.where(forward > 0, begin[owner] + 1 + nth, begin[owner] - nth)
        vertex = edge[owner]
        at = plane.line_y(line, vertex) if axis == 1 else plane.line_x(line, vertex)
        a, b, bend = plane.xy[vertex], plane.xy[vertex + 1], plane.bend[vertex]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(a[:, axis] == b[:, axis], 0.5, (at - a[:, axis]) / (b[:, axis] - a[:, axis]))
        share = np.clip(share, 0.0, 1.0)
        if axis == 0:  # where the parabola has gone this share of the way in x
            share = 2 * share / (1 + bend + np.sqrt((1 + bend) ** 2 - 4 * bend * share))
        moved = share + bend * share * (1 - share) if axis == 1 else share
        other = a[:, 1 - axis] + moved * (b[:, 1 - axis] - a[:, 1 - axis])
        still = np.zeros(len(owner), np.int64)
        out.append((owner, share, *((forward, still, other, at) if axis == 1 else (still, forward, at, other))))
    found = [np.concatenate([a, b]) for a, b in zip(*out, strict=True)]
    order = np.lexsort((found[1], found[0]))
    return _Crossings(*(v[order] for v in found))


def _filled(
    plane: _Plane, boxes: _Boxes, extent: tuple[Floats, Floats], inside: Floats, climb: Floats
) -> tuple[Integers, Integers, Floats]:
    """Areas from what the pieces left in every cell of the boxes."""
    running = _to_the_right(climb, np.repeat(boxes.width, boxes.height))
    count = boxes.width * boxes.height
    box = np.repeat(np.arange(len(count)), count)
    where = np.arange(len(box)) - (np.cumsum(count) - count)[box]
    width = boxes.width[box]
    row, column = boxes.row[box] + where // width, boxes.column[box] + width - 1 - where % width
    polygon = boxes.polygon[box]
    first = plane.polygons.start[plane.polygons.shell][polygon]
    west = np.maximum(plane.line_x(column, first), extent[0][box])
    east = np.minimum(plane.line_x(column + 1, first), extent[1][box])
    found = inside + np.maximum(east - west, 0.0) * running
    rows, columns = len(plane.lattice.y) - 1, len(plane.lattice.x) - 1
    kept = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    kept &= np.abs(found) > _NOTHING * plane.area[polygon]
    return plane.polygons.owner[polygon[kept]], row[kept] * columns + column[kept], found[kept]


def _to_the_right(climb: Floats, length: Integers) -> Floats:
    """Sums of what precedes in the same row; row by row, so that no polygon feels the rounding of another."""
    begin = np.cumsum(length) - length
    order = np.argsort(-length, kind="stable")
    start, longest = begin[order], length[order]
    running = np.zeros_like(climb)
    for k in range(1, int(longest[0])):
        at = start[: np.searchsorted(-longest, -k)] + k
        running[at] = running[at - 1] + climb[at - 1]
    return running
