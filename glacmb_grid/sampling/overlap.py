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

from glacmb_grid.vocabulary import EARTH_RADIUS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]

_ECCENTRICITY = 0.0818191908426215  # WGS 84
_LONGEST_EDGE = 0.0089  # degrees, at most 1 km anywhere
_NOTHING = 2e-13  # of a polygon's area: rounding, not overlap
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
    sine = np.sin(np.deg2rad(np.asarray(latitude, np.float64)))
    squared = sine * sine
    total = np.full_like(squared, _TERMS[-1])
    for term in _TERMS[-2::-1]:
        total *= squared
        total += term
    return np.asarray(total * sine / _TERMS.sum())


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
        cyclic = geographic and bool(abs(x[-1] - x[0] - 360.0) < 1e-6)
        if geographic:
            y = np.clip(y, -90.0, 90.0)
        if cyclic:
            x = np.concatenate([x[:-1] - 360.0, x[:-1], x + 360.0])
        return cls(y, x, geographic, cyclic)

    @property
    def middle(self) -> float:
        """Longitude of the middle."""
        return float(self.x[0] + self.x[-1]) / 2

    def plane_y(self, y: Floats) -> Floats:
        """Northward coordinate in the plane where areas are true."""
        return EARTH_RADIUS * authalic_sine(y) if self.geographic else y

    @property
    def unit(self) -> float:
        """Length of one unit of x in that plane."""
        return float(EARTH_RADIUS * np.pi / 180) if self.geographic else 1.0


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

    @property
    def shell(self) -> Integers:
        """Ring numbers of the shells, (polygon,)."""
        return np.flatnonzero(np.diff(self.polygon, prepend=-1))

    @property
    def ring(self) -> Integers:
        """Ring number of every vertex."""
        return np.repeat(np.arange(len(self.polygon)), np.diff(self.start))


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
    polygons = _flat(shapes[there], there, lattice)
    local, sign, area = _measured(polygons, lattice)
    np.add.at(total, polygons.owner, area)
    outline, cell, share = _shared(polygons, local, sign, area, lattice)
    columns = len(lattice.x) - 1
    order = np.lexsort((cell // columns * columns + _home(cell % columns, lattice), outline))
    outline, cell, share = outline[order], cell[order], share[order]
    key = np.stack([outline, cell // columns, _home(cell % columns, lattice)])
    first = np.flatnonzero((np.diff(key, prepend=-1) != 0).any(axis=0))
    merged = np.add.reduceat(share, first) if len(first) else share
    return outline[first], cell[first], merged, total


def _flat(shapes: Objects, owners: Integers, lattice: Lattice) -> Polygons:
    """Rings in flat arrays; on a geographic lattice near its columns and without long edges."""
    kind, xy, offsets = shapely.to_ragged_array(shapes, include_z=False)
    ring_start, polygon_start = offsets[0].astype(np.int64), offsets[1].astype(np.int64)
    many = offsets[2].astype(np.int64) if kind == shapely.GeometryType.MULTIPOLYGON else np.arange(len(shapes) + 1)
    polygon = np.repeat(np.arange(len(polygon_start) - 1), np.diff(polygon_start))
    owner = owners[np.repeat(np.arange(len(shapes)), np.diff(many))]
    polygons = Polygons(np.array(xy, np.float64), ring_start, polygon, owner)
    if not lattice.geographic:
        return polygons
    return _short_edges(_near(_unwrapped(polygons), lattice))


def _inner(polygons: Polygons) -> npt.NDArray[np.bool_]:
    """Vertices that start an edge: all but the last of each ring."""
    inner = np.ones(len(polygons.xy), bool)
    inner[polygons.start[1:] - 1] = False
    return inner


def _unwrapped(polygons: Polygons) -> Polygons:
    """Rings that jump from one side of the antimeridian to the other, made continuous; around a pole, through it."""
    step = np.diff(polygons.xy[:, 0], append=polygons.xy[-1:, 0])
    jumps = (np.abs(step) > 180) & (np.abs(step) < 360) & _inner(polygons)
    if not jumps.any():
        return polygons
    odd = np.unique(polygons.ring[jumps])
    rings: list[Any] = np.split(polygons.xy, polygons.start[1:-1])
    for r in odd:
        rings[r] = _continuous(rings[r])
    shells = polygons.shell[polygons.polygon]
    for r in np.flatnonzero(np.isin(polygons.polygon, polygons.polygon[odd]) & (shells != np.arange(len(shells)))):
        apart = rings[shells[r]][:, 0].mean() - rings[r][:, 0].mean()
        rings[r] = rings[r] + np.array([360 * np.round(apart / 360), 0.0])
    start = np.concatenate([[0], np.cumsum([len(r) for r in rings])])
    return Polygons(np.concatenate(rings), start, polygons.polygon, polygons.owner)


def _continuous(ring: Floats) -> Floats:
    turns = np.concatenate([[0.0], np.cumsum(np.round(np.diff(ring[:, 0]) / 360))])
    out = np.column_stack([ring[:, 0] - 360 * turns, ring[:, 1]])
    if turns[-1] == 0:
        return out
    pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
    return np.concatenate([out, [[out[-1, 0], pole], [out[0, 0], pole], out[0]]])


def _near(polygons: Polygons, lattice: Lattice) -> Polygons:
    """Every polygon in the turn of longitude that lies nearest to the lattice's middle."""
    ring_low = np.minimum.reduceat(polygons.xy[:, 0], polygons.start[:-1])[polygons.shell]
    ring_high = np.maximum.reduceat(polygons.xy[:, 0], polygons.start[:-1])[polygons.shell]
    turns = np.round((lattice.middle - (ring_low + ring_high) / 2) / 360.0)
    if turns.any():
        polygons.xy[:, 0] += 360.0 * np.repeat(turns[polygons.polygon], np.diff(polygons.start))
    return polygons


def _short_edges(polygons: Polygons) -> Polygons:
    """Edges of more than 1 km cut into equal pieces, straight in longitude and latitude."""
    step = np.diff(polygons.xy, axis=0, append=polygons.xy[-1:])
    step[~_inner(polygons)] = 0.0
    squared = step[:, 0] ** 2 + step[:, 1] ** 2
    if squared.max() <= _LONGEST_EDGE**2:
        return polygons
    pieces = np.maximum(np.ceil(np.sqrt(squared) / _LONGEST_EDGE - 1e-9), 1).astype(np.int64)
    reached = np.concatenate([[0], np.cumsum(pieces)])
    source = np.repeat(np.arange(len(pieces)), pieces)
    share = (np.arange(reached[-1]) - reached[source]) / pieces[source]
    xy = polygons.xy[source] + share[:, None] * step[source]
    return Polygons(xy, reached[polygons.start], polygons.polygon, polygons.owner)


def _measured(polygons: Polygons, lattice: Lattice) -> tuple[Floats, Floats, Floats]:
    """Vertices relative to their polygon's first one in the plane of true areas; sign of each ring; polygon areas."""
    origin = polygons.start[polygons.shell][polygons.polygon]
    lengths = np.diff(polygons.start)
    first = np.repeat(origin, lengths)
    north = lattice.plane_y(polygons.xy[:, 1])
    local = np.column_stack([(polygons.xy[:, 0] - polygons.xy[first, 0]) * lattice.unit, north - north[first]])
    lean = (local[:-1, 0] + local[1:, 0]) / 2 * np.diff(local[:, 1])
    lean = np.concatenate([lean, [0.0]])
    lean[polygons.start[1:] - 1] = 0.0
    ring_area = np.add.reduceat(lean, polygons.start[:-1])
    wanted = np.full(len(ring_area), -1.0)
    wanted[polygons.shell] = 1.0
    sign = np.where(ring_area < 0, -wanted, wanted)
    return local, sign, np.add.reduceat(sign * ring_area, polygons.shell)


def _cell_of(edges: Floats, value: Floats) -> Integers:
    """Number of the cell that holds a value, -1 below and the number of cells above all of them."""
    count = len(edges) - 1
    guess = np.floor((value - edges[0]) * (count / (edges[-1] - edges[0])))
    cell = np.clip(guess, 0, count - 1).astype(np.int64)
    cell += value >= edges[cell + 1]
    cell -= value < edges[np.minimum(cell, count)]
    return np.asarray(cell)


def _shared(
    polygons: Polygons, local: Floats, sign: Floats, area: Floats, lattice: Lattice
) -> tuple[Integers, Integers, Floats]:
    """Outline, flat cell and area of every overlap."""
    low, high, highest_inside = [], [], []
    for axis, edges in ((1, lattice.y), (0, lattice.x)):
        lowest = np.minimum.reduceat(polygons.xy[:, axis], polygons.start[:-1])[polygons.shell]
        highest = np.maximum.reduceat(polygons.xy[:, axis], polygons.start[:-1])[polygons.shell]
        low.append(_cell_of(edges, lowest))
        high.append(_cell_of(edges, highest))
        ends_there = (high[-1] > low[-1]) & (highest == edges[np.clip(high[-1], 0, len(edges) - 1)])
        highest_inside.append(high[-1] - ends_there)
    rows, columns = len(lattice.y) - 1, len(lattice.x) - 1
    off = (high[0] < 0) | (low[0] >= rows) | (high[1] < 0) | (low[1] >= columns) | (area <= 0)
    whole = (low[0] == highest_inside[0]) & (low[1] == highest_inside[1]) & ~off
    out = [(polygons.owner[whole], low[0][whole] * columns + low[1][whole], area[whole])]
    cut = np.flatnonzero(~whole & ~off)
    box = _Boxes(low[0], low[1], high[0] - low[0] + 1, high[1] - low[1] + 1)
    out += [_cut(polygons, local, sign, area, lattice, box, some) for some in _groups(cut, box.height * box.width)]
    return tuple(np.concatenate([o[k] for o in out]) for k in range(3))  # type: ignore[return-value]


@dataclass(frozen=True)
class _Boxes:
    """First row, first column and size of the cells around every polygon; may reach one cell out of the lattice."""

    row: Integers
    column: Integers
    height: Integers
    width: Integers


def _groups(cut: Integers, size: Integers) -> Iterator[Integers]:
    """Polygons of which the cells fit into memory together."""
    number = np.cumsum(size[cut]) // _CELLS
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [len(cut)]])
    return (cut[a:b] for a, b in pairwise(bounds) if a < b)


def _cut(
    polygons: Polygons, local: Floats, sign: Floats, area: Floats, lattice: Lattice, box: _Boxes, some: Integers
) -> tuple[Integers, Integers, Floats]:
    """Overlaps of polygons that lie in several cells."""
    place = np.full(len(polygons.owner), -1)
    place[some] = np.arange(len(some))
    edge, number = _edges_of(polygons, place)
    segments = _at_grid_lines(polygons, local, lattice, edge)
    number = number[segments.edge]
    row, column = segments.row - box.row[some][number], segments.column - box.column[some][number]
    width, height = box.width[some], box.height[some]
    base = np.concatenate([[0], np.cumsum(width * height)])
    flat = base[number] + row * width[number] + (width[number] - 1 - column)  # from the right
    rise = (segments.y1 - segments.y0) * sign[polygons.ring[edge[segments.edge]]]
    west, east = _extent(polygons, local)
    line = _line(segments.column, lattice, polygons, edge[segments.edge], local)
    left = np.maximum(line, west[some][number])  # so that no term is longer than the polygon
    inside = np.bincount(flat, ((segments.x0 + segments.x1) / 2 - left) * rise, base[-1]).astype(np.float64)
    climb = np.bincount(flat, rise, base[-1]).astype(np.float64)
    return _filled(polygons, area, lattice, box, some, (west, east), base, inside, climb)


def _extent(polygons: Polygons, local: Floats) -> tuple[Floats, Floats]:
    """Westernmost and easternmost vertex of every polygon, relative to its first one."""
    x, begin = local[:, 0], polygons.start[:-1]
    return np.minimum.reduceat(x, begin)[polygons.shell], np.maximum.reduceat(x, begin)[polygons.shell]


def _edges_of(polygons: Polygons, place: Integers) -> tuple[Integers, Integers]:
    """First vertex of every edge of the chosen polygons, and each edge's place among these."""
    number = place[polygons.polygon][polygons.ring]
    edge = np.flatnonzero((number >= 0) & _inner(polygons))
    return edge, number[edge]


def _line(index: Integers, lattice: Lattice, polygons: Polygons, vertex: Integers, local: Floats) -> Floats:
    """Grid line in x relative to the vertex's polygon; outside the lattice the nearest one, one step on."""
    edges = lattice.x
    value = np.where(
        index < 0, -np.inf, np.where(index >= len(edges), np.inf, edges[np.clip(index, 0, len(edges) - 1)])
    )
    return np.asarray((value - polygons.xy[vertex, 0]) * lattice.unit + local[vertex, 0])


@dataclass(frozen=True)
class _Segments:
    """Pieces of edges, each in one cell."""

    edge: Integers
    row: Integers
    column: Integers
    x0: Floats
    y0: Floats
    x1: Floats
    y1: Floats


def _at_grid_lines(polygons: Polygons, local: Floats, lattice: Lattice, edge: Integers) -> _Segments:
    """Edges cut where they cross a grid line."""
    x0, y0, x1, y1 = local[edge, 0], local[edge, 1], local[edge + 1, 0], local[edge + 1, 1]
    row, row1 = _cell_of(lattice.y, polygons.xy[edge, 1]), _cell_of(lattice.y, polygons.xy[edge + 1, 1])
    column, column1 = _cell_of(lattice.x, polygons.xy[edge, 0]), _cell_of(lattice.x, polygons.xy[edge + 1, 0])
    down, across = row1 - row, column1 - column
    plain = (down == 0) & (across == 0)
    straight = np.flatnonzero(plain)
    bent = np.flatnonzero(~plain)
    whole = _Segments(straight, row[straight], column[straight], x0[straight], y0[straight], x1[straight], y1[straight])
    if not len(bent):
        return whole
    owner, along, to_row, to_column, px, py = _crossings(
        polygons, local, lattice, edge[bent], row[bent], column[bent], down[bent], across[bent]
    )
    order = np.lexsort((along, owner))
    owner, to_row, to_column, px, py = owner[order], to_row[order], to_column[order], px[order], py[order]
    count = np.bincount(owner, minlength=len(bent)) + 1  # pieces of each edge
    end = np.cumsum(count)
    first, last = end - count, end - 1
    inner = np.ones(end[-1], bool)
    inner[first] = False
    source = np.repeat(np.arange(len(bent)), count)

    def follow(beginning: npt.NDArray[Any], changes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        moved = np.zeros(end[-1], np.int64)
        moved[inner] = changes
        running = np.cumsum(moved)
        return np.asarray(beginning[source] + running - running[first][source])

    from_x, from_y = np.empty(end[-1]), np.empty(end[-1])
    from_x[inner], from_y[inner] = px, py
    from_x[first], from_y[first] = x0[bent], y0[bent]
    until_x, until_y = np.roll(from_x, -1), np.roll(from_y, -1)
    until_x[last], until_y[last] = x1[bent], y1[bent]
    cut = (bent[source], follow(row[bent], to_row), follow(column[bent], to_column), from_x, from_y, until_x, until_y)
    straight_parts = (whole.edge, whole.row, whole.column, whole.x0, whole.y0, whole.x1, whole.y1)
    return _Segments(*(np.concatenate([a, b]) for a, b in zip(straight_parts, cut, strict=True)))


def _crossings(
    polygons: Polygons,
    local: Floats,
    lattice: Lattice,
    edge: Integers,
    row: Integers,
    column: Integers,
    down: Integers,
    across: Integers,
) -> tuple[npt.NDArray[Any], ...]:
    """Edge, share of its length, step in row and column, and place of every crossing of a grid line."""
    out = []
    for axis, steps, begin, lines in ((1, down, row, lattice.y), (0, across, column, lattice.x)):
        count = np.abs(steps)
        owner = np.repeat(np.arange(len(edge)), count)
        reached = np.cumsum(count) - count
        nth = np.arange(len(owner)) - reached[owner]
        forward = np.sign(steps)[owner]
        line = np.where(forward > 0, begin[owner] + 1 + nth, begin[owner] - nth)
        vertex = edge[owner]
        if axis == 0:
            at = (lines[line] - polygons.xy[vertex, 0]) * lattice.unit + local[vertex, 0]
        else:
            at = lattice.plane_y(lines)[line] - lattice.plane_y(polygons.xy[vertex, 1]) + local[vertex, 1]
        a, b = local[vertex, axis], local[vertex + 1, axis]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(a == b, 0.5, np.clip((at - a) / (b - a), 0.0, 1.0))
        other = 1 - axis
        along = local[vertex, other] + share * (local[vertex + 1, other] - local[vertex, other])
        still = np.zeros(len(owner), np.int64)
        x, y = (at, along) if axis == 0 else (along, at)
        to_row, to_column = (forward, still) if axis == 1 else (still, forward)
        out.append((owner, share, to_row, to_column, x, y))
    return tuple(np.concatenate([a, b]) for a, b in zip(*out, strict=True))


def _filled(
    polygons: Polygons,
    area: Floats,
    lattice: Lattice,
    box: _Boxes,
    some: Integers,
    extent: tuple[Floats, Floats],
    base: Integers,
    inside: Floats,
    climb: Floats,
) -> tuple[Integers, Integers, Floats]:
    """Areas from what the segments left in every cell of the boxes."""
    width, height = box.width[some], box.height[some]
    long = np.repeat(width, height)
    running = _to_the_right(climb, long)
    number = np.repeat(np.arange(len(some)), width * height)
    where = np.arange(base[-1]) - base[number]
    row = box.row[some][number] + where // width[number]
    column = box.column[some][number] + width[number] - 1 - where % width[number]
    first = polygons.start[polygons.shell][some][number]
    west = np.maximum(_line(column, lattice, polygons, first, np.zeros_like(polygons.xy)), extent[0][some][number])
    east = np.minimum(_line(column + 1, lattice, polygons, first, np.zeros_like(polygons.xy)), extent[1][some][number])
    wide = np.maximum(east - west, 0.0)
    found = inside + wide * running
    rows, columns = len(lattice.y) - 1, len(lattice.x) - 1
    kept = (found > _NOTHING * area[some][number]) & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return polygons.owner[some][number[kept]], row[kept] * columns + column[kept], found[kept]


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
