"""From the axes of a projection to true east and north: its convergence, scale and unit of length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyproj

from glacmb_grid.sampling.grid import Grid

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NODES = 32  # cells between the places where the projection is evaluated; between them it is linear
_REACH = 8  # cells on each side of such a place
_WGS84 = pyproj.Geod(ellps="WGS84")


def jacobian(grid: Grid, row: Integers, column: Integers) -> Floats:
    """True metres per unit of the axes of a projected grid, at the centres of cells.

    Parameters
    ----------
    grid : Grid
        Projected, in any unit of length.
    row, column : int arrays, (cell,)
        Cells of the grid.

    Returns
    -------
    float64 array, (cell, 2, 2)
        `[[east by x, east by y], [north by x, north by y]]` on the ellipsoid; its determinant is the true area of a
        unit square.
    """
    if not len(row):
        return np.empty((0, 2, 2))
    r, r_nodes, r_share = _between(row)
    c, c_nodes, c_share = _between(column)
    at = _at_nodes(grid, r_nodes, c_nodes)
    south, east = r_share[:, None, None], c_share[:, None, None]
    upper = at[r, c] * (1 - east) + at[r, c + 1] * east
    lower = at[r + 1, c] * (1 - east) + at[r + 1, c + 1] * east
    return np.asarray(upper * (1 - south) + lower * south)


def _between(cell: Integers) -> tuple[Integers, Integers, Floats]:
    """For every cell the number of the node before it, the nodes, and the cell's share of the way to the next.

    Nodes are multiples of `_NODES`, so that no cell's value depends on the others.
    """
    number, beyond = np.divmod(cell, _NODES)
    first = int(number.min())
    return number - first, _NODES * np.arange(first, int(number.max()) + 2), beyond / _NODES


def _at_nodes(grid: Grid, rows: Integers, columns: Integers) -> Floats:
    """The jacobian at nodes, (row, column, 2, 2), by central differences."""
    dy, dx = grid.y_edges[1] - grid.y_edges[0], grid.x_edges[1] - grid.x_edges[0]
    y, x = np.meshgrid(grid.y_edges[0] + (rows + 0.5) * dy, grid.x_edges[0] + (columns + 0.5) * dx, indexing="ij")
    back = pyproj.Transformer.from_crs(grid.crs, 4326, always_xy=True)
    _, latitude = back.transform(x, y)
    sine = np.sin(np.deg2rad(latitude))
    bend = np.sqrt(1 - _WGS84.es * sine**2)
    around = np.deg2rad(_WGS84.a / bend * np.cos(np.deg2rad(latitude)))  # m per degree
    along = np.deg2rad(_WGS84.a * (1 - _WGS84.es) / bend**3)
    out = np.empty((*y.shape, 2, 2))
    for axis, (step_x, step_y) in enumerate(((_REACH * dx, 0.0), (0.0, _REACH * dy))):
        ends = [back.transform(x + side * step_x, y + side * step_y) for side in (-1, 1)]
        turn, rise = ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]
        distance = 2 * (step_x + step_y)
        out[..., 0, axis] = around * ((turn + 180) % 360 - 180) / distance
        out[..., 1, axis] = along * rise / distance
    return out


def turned(by_y: Floats, by_x: Floats, axes: Floats) -> tuple[Floats, Floats, Floats]:
    """A gradient along the axes of a projection as one towards true north and east, and the true area of a unit square.

    Parameters
    ----------
    by_y, by_x : float64 arrays, (cell,)
        Change for each unit of length along the axes.
    axes : float64 array, (cell, 2, 2)
        From `jacobian`.

    Returns
    -------
    three float64 arrays, (cell,)
        Change for each true metre towards north and east; m2.
    """
    (east_by_x, east_by_y), (north_by_x, north_by_y) = np.moveaxis(axes, 0, 2)
    area = east_by_x * north_by_y - east_by_y * north_by_x
    north = (by_y * east_by_x - by_x * east_by_y) / area
    east = (by_x * north_by_y - by_y * north_by_x) / area
    return north, east, np.abs(area)
