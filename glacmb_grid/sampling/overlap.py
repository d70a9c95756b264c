"""Exact areas that polygons share with the cells of a rectilinear grid, all polygons at once.

By Green's theorem the area of a polygon inside one cell follows from the pieces of its edges in that cell and from the
height of the pieces to the right of it in the same row. So edges are cut at the grid lines, every piece adds to its
cell, and one running sum along each row fills the interior. No polygon is ever clipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import shapely

from glacmb_grid.polygons import Floats, Integers, Objects, Polygons
from glacmb_grid.progress import track
from glacmb_grid.sampling.crossings import cut_at_grid_lines
from glacmb_grid.sampling.lattice import Lattice, cell_of
from glacmb_grid.sampling.plane import Plane

_LONGEST_EDGE = 0.0089  # degrees, at most 1 km anywhere
_NEGLIGIBLE = 2e-13  # of a polygon's area: rounding, not overlap
_VERTICES, _CELLS = 200_000, 4_000_000  # of the polygons in one batch


def overlaps(shapes: Objects, lattice: Lattice) -> tuple[Integers, Integers, Integers, Floats, Floats]:
    """Area that every outline shares with every cell.

    Parameters
    ----------
    shapes : array of shapely Polygon or MultiPolygon
        In the lattice's coordinates. On a geographic lattice an edge of more than 180 degrees takes the short way
        round, a ring around a pole includes the pole, and longitudes may be offset by multiples of 360.
    lattice : Lattice

    Returns
    -------
    outline, y, x : int64 arrays, (entry,)
        Sorted by outline, then cell; y and x count from the smallest coordinate.
    area : float64 array, (entry,)
        m2 on a geographic lattice, else in the squared unit of the lattice.
    total : float64 array, (outline,)
        Whole area of each outline, inside and outside the lattice.
    """
    if not len(shapes):
        none = np.zeros(0, np.int64)
        return none, none, none, np.zeros(0), np.zeros(0)
    pieces = list(_batches(shapes))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda piece: _some_overlaps(shapes[piece], lattice), pieces)
        parts = list(track(found, "batch of outlines", len(pieces)))
    outline = np.concatenate([p[0] + piece.start for p, piece in zip(parts, pieces, strict=True)])
    cell, area, total = (np.concatenate([p[k] for p in parts]) for k in (1, 2, 3))
    columns = len(lattice.x) - 1
    return outline, cell // columns, _home(cell % columns, lattice), area, total


def _home(column: Integers, lattice: Lattice) -> Integers:
    return np.asarray(column % ((len(lattice.x) - 1) // 3)) if lattice.cyclic else column


def _batches(shapes: Objects) -> Iterator[slice]:
    """Runs of consecutive outlines whose vertices fit into the processor's cache."""
    reached = np.cumsum(shapely.get_num_coordinates(shapes))
    number = reached // _VERTICES
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [len(shapes)]])
    return (slice(int(a), int(b)) for a, b in pairwise(bounds) if a < b)


def _some_overlaps(shapes: Objects, lattice: Lattice) -> tuple[Integers, Integers, Floats, Floats]:
    total = np.zeros(len(shapes))
    present = np.flatnonzero(~(shapely.is_empty(shapes) | shapely.is_missing(shapes)))
    if not len(present):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), total
    plane = Plane.of(_flat(shapes[present], present, lattice), lattice)
    np.add.at(total, plane.polygons.owner, plane.area)
    outline, cell, share = _shared(plane)
    columns = len(lattice.x) - 1
    row, column = cell // columns, _home(cell % columns, lattice)
    order = np.lexsort((column, row, outline))
    key = np.stack([outline, row, column])[:, order]
    first = np.flatnonzero((np.diff(key, prepend=-1) != 0).any(axis=0))
    share = share[order]
    merged = np.add.reduceat(share, first) if len(first) else share
    seen = merged > _NEGLIGIBLE * total[key[0, first]]  # a hole may be offset by 360 degrees from its shell
    return key[0, first][seen], cell[order][first][seen], merged[seen], total


def _flat(shapes: Objects, owners: Integers, lattice: Lattice) -> Polygons:
    """Rings in flat arrays; on a geographic lattice in the longitudes of its columns and without long edges."""
    polygons = Polygons.of(shapes, owners)
    return _short_edges(polygons.continuous().near(lattice.middle)) if lattice.geographic else polygons


def _short_edges(polygons: Polygons) -> Polygons:
    """Cut edges longer than 1 km into equal pieces, straight in longitude and latitude."""
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
class _Boxes:
    """Boxes of cells around polygons: first row, first column and size; may reach one cell beyond the lattice.

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
        """A selection of the boxes."""
        return _Boxes(*(v[some] for v in (self.polygon, self.row, self.column, self.height, self.width)))


def _shared(plane: Plane) -> tuple[Integers, Integers, Floats]:
    """Outline, flat cell and area of every overlap."""
    polygons, lattice = plane.polygons, plane.lattice
    low, high, highest_inside = [], [], []
    bounds = polygons.bounds()
    for axis, edges in ((1, lattice.y), (0, lattice.x)):
        lowest, highest = bounds[:, axis], bounds[:, axis + 2]
        low.append(cell_of(edges, lowest))
        high.append(cell_of(edges, highest))
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
    """Runs of consecutive boxes whose cells fit into memory together."""
    number = np.cumsum(size) // _CELLS
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [len(size)]])
    return (slice(int(a), int(b)) for a, b in pairwise(bounds) if a < b)


def _cut(plane: Plane, boxes: _Boxes) -> tuple[Integers, Integers, Floats]:
    """Overlaps of polygons that span several cells."""
    edge, box = _edges_in(plane.polygons, boxes)
    pieces = cut_at_grid_lines(plane, edge)
    edge, box = edge[pieces.edge], box[pieces.edge]
    row, column = pieces.row - boxes.row[box], pieces.column - boxes.column[box]
    base = np.concatenate([[0], np.cumsum(boxes.width * boxes.height)])
    flat = base[box] + row * boxes.width[box] + (boxes.width[box] - 1 - column)  # from the right
    rise = (pieces.y1 - pieces.y0) * plane.sign[plane.polygons.ring[edge]]
    west, east = (x[boxes.polygon] for x in plane.extent)
    left = np.maximum(plane.line_x(pieces.column, edge), west[box])  # keeps every term shorter than the polygon
    inside = np.bincount(flat, ((pieces.x0 + pieces.x1) / 2 + pieces.bulge - left) * rise, base[-1]).astype(np.float64)
    climb = np.bincount(flat, rise, base[-1]).astype(np.float64)
    return _filled(plane, boxes, (west, east), inside, climb)


def _edges_in(polygons: Polygons, boxes: _Boxes) -> tuple[Integers, Integers]:
    """First vertex of every edge of the boxed polygons, and the box number of each edge."""
    place = np.full(len(polygons.owner), -1)
    place[boxes.polygon] = np.arange(len(boxes.polygon))
    box = place[polygons.polygon][polygons.ring]
    edge = np.flatnonzero((box >= 0) & polygons.starts_edge)
    return edge, box[edge]


def _filled(
    plane: Plane, boxes: _Boxes, extent: tuple[Floats, Floats], inside: Floats, climb: Floats
) -> tuple[Integers, Integers, Floats]:
    """Overlap areas from the sums that the edge pieces left in every cell of the boxes."""
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
    kept &= np.abs(found) > _NEGLIGIBLE * plane.area[polygon]
    return plane.polygons.owner[polygon[kept]], row[kept] * columns + column[kept], found[kept]


def _to_the_right(climb: Floats, length: Integers) -> Floats:
    """Exclusive running sums along each row, separately, so that one polygon's rounding never affects another."""
    begin = np.cumsum(length) - length
    order = np.argsort(-length, kind="stable")
    start, longest = begin[order], length[order]
    running = np.zeros_like(climb)
    for k in range(1, int(longest[0])):
        at = start[: np.searchsorted(-longest, -k)] + k
        running[at] = running[at - 1] + climb[at - 1]
    return running
