"""Polygon edges cut where they cross grid lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from glacmb_grid.polygons import Floats, Integers
from glacmb_grid.sampling.lattice import cell_of
from glacmb_grid.sampling.plane import Plane


@dataclass(frozen=True)
class Pieces:
    """Pieces of edges, each in one cell.

    Attributes
    ----------
    edge : int64 array, (piece,)
        Position in the list of edges.
    row, column : int64 arrays, (piece,)
    x0, y0, x1, y1 : float64 arrays, (piece,)
    bulge : float64 array, (piece,)
        Mean x of the piece minus the mean x of its two ends.
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
    """Where edges cross grid lines, (crossing,): edge, fraction of its length, step in row and column, position."""

    edge: Integers
    along: Floats
    to_row: Integers
    to_column: Integers
    x: Floats
    y: Floats


def cut_at_grid_lines(plane: Plane, edge: Integers) -> Pieces:
    """Cut edges, given by their first vertices, wherever they cross a grid line."""
    (x0, y0), (x1, y1) = plane.xy[edge].T, plane.xy[edge + 1].T
    at, lattice = plane.polygons.xy, plane.lattice
    row, column = cell_of(lattice.y, at[edge, 1]), cell_of(lattice.x, at[edge, 0])
    down, across = cell_of(lattice.y, at[edge + 1, 1]) - row, cell_of(lattice.x, at[edge + 1, 0]) - column
    bulge = plane.bend[edge] * (x1 - x0) / 6
    plain = (down == 0) & (across == 0)
    straight, bent = np.flatnonzero(plain), np.flatnonzero(~plain)
    whole: list[Any] = [straight, *(v[straight] for v in (row, column, x0, y0, x1, y1, bulge))]
    if not len(bent):
        return Pieces(*whole)
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
    return Pieces(*(np.concatenate([a, b]) for a, b in zip(whole, cut, strict=True)))


def _crossings(
    plane: Plane, edge: Integers, row: Integers, column: Integers, down: Integers, across: Integers
) -> _Crossings:
    """All crossings, in order along each edge."""
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
        if axis == 0:  # the t at which the parabola reaches this fraction in x
            share = 2 * share / (1 + bend + np.sqrt((1 + bend) ** 2 - 4 * bend * share))
        moved = share + bend * share * (1 - share) if axis == 1 else share
        other = a[:, 1 - axis] + moved * (b[:, 1 - axis] - a[:, 1 - axis])
        still = np.zeros(len(owner), np.int64)
        out.append((owner, share, *((forward, still, other, at) if axis == 1 else (still, forward, at, other))))
    found = [np.concatenate([a, b]) for a, b in zip(*out, strict=True)]
    order = np.lexsort((found[1], found[0]))
    return _Crossings(*(v[order] for v in found))
