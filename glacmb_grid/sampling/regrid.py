"""Weights from one rectilinear grid to another: the same operator as zonal sampling, and composable with it.

On rectilinear grids both methods are products of a matrix for the rows and one for the columns. Libraries that regrid
(xarray-regrid, say) apply such matrices one after the other but do not hand out the product, and take cells as those
of a sphere: here areas are those of the ellipsoid, as they are for outlines, so that a composed operator keeps mass.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from glacmb_grid.errors import InputError
from glacmb_grid.sampling.grid import Grid
from glacmb_grid.sampling.overlap import authalic_sine
from glacmb_grid.vocabulary import EARTH_RADIUS
from glacmb_grid.weights import Weights, from_entries

Floats = npt.NDArray[np.float64]
Method = Literal["conservative", "bilinear"]
_NEARLY = 1e-9  # of a cell


def regrid_weights(source: Grid, target: Grid, method: Method = "conservative") -> Weights:
    """Weights that take fields from one grid to another.

    Parameters
    ----------
    source, target : Grid
        In the same reference system, or both geographic; longitudes may differ by whole turns.
    method : {"conservative", "bilinear"}
        Area-weighted mean of the cells under each target cell, or linear interpolation between cell centres.

    Returns
    -------
    Weights
        Rows are flat target cells, columns flat source cells. Conservative weights are areas (m2 on geographic grids)
        and `total` the area of the target cell, so that what lies outside the source lowers the coverage; bilinear
        weights sum to one where the target's centre lies among the source's centres, and there are none elsewhere.

    Raises
    ------
    InputError
        Where the reference systems differ.
    """
    if source.is_geographic != target.is_geographic or (not source.is_geographic and source.crs != target.crs):
        raise InputError(
            "regrid",
            expected=f"a target grid in the source's reference system ({source.crs.name})",
            found=target.crs.name,
            remedy="give the target in that system, or warp the source first, for instance with `gdalwarp`",
        )
    part = _shared if method == "conservative" else _between
    rows = part(*(_heights(g) if method == "conservative" else g.y_edges for g in (target, source)), turn=0.0)
    columns = part(target.x_edges, source.x_edges, turn=360.0 if source.is_geographic else 0.0)
    if method == "conservative" and source.is_geographic:
        columns = columns * (EARTH_RADIUS * np.pi / 180)
    product = sp.kron(rows, columns, format="coo")
    return from_entries(
        product.row,
        product.col,
        product.data,
        rows=np.arange(product.shape[0]),
        total=_areas(target) if method == "conservative" else np.ones(product.shape[0]),
        size=product.shape[1],
        source=source.digest,
    )


def _heights(grid: Grid) -> Floats:
    """Edges of the rows in the plane of true areas."""
    return EARTH_RADIUS * authalic_sine(np.clip(grid.y_edges, -90, 90)) if grid.is_geographic else grid.y_edges


def _areas(grid: Grid) -> Floats:
    unit = EARTH_RADIUS * np.pi / 180 if grid.is_geographic else 1.0
    return np.abs(np.outer(np.diff(_heights(grid)), np.diff(grid.x_edges) * unit)).ravel()


def _turns(turn: float, target: Floats, source: Floats) -> Floats:
    """Whole turns by which the source may lie beside the target."""
    if turn == 0:
        return np.zeros(1)
    middle = np.round((target.mean() - source.mean()) / turn)
    return np.asarray(turn * (middle + np.array([-1, 0, 1])))


def _shared(target: Floats, source: Floats, *, turn: float) -> sp.csr_array:
    """Lengths that intervals share, (target, source); edges in either direction."""
    shape = (len(target) - 1, len(source) - 1)
    total = sp.csr_array(shape)
    for shift in _turns(turn, target, source):
        moved = source + shift
        marks = np.unique(np.concatenate([target, moved]))
        middle, length = (marks[:-1] + marks[1:]) / 2, np.diff(marks)
        row, column = _interval(target, middle), _interval(moved, middle)
        in_both = (row >= 0) & (column >= 0) & (length > _NEARLY * abs(source[1] - source[0]))
        total = total + sp.csr_array((length[in_both], (row[in_both], column[in_both])), shape=shape)
    return total


def _interval(edges: Floats, value: Floats) -> npt.NDArray[np.int64]:
    """Number of the interval that holds a value, -1 outside."""
    if edges[0] > edges[-1]:
        return _interval(-edges, -value)
    number = np.searchsorted(edges, value, side="right") - 1
    return np.where((number >= 0) & (number < len(edges) - 1), number, -1)


def _between(target: Floats, source: Floats, *, turn: float) -> sp.csr_array:
    """Linear interpolation from centre to centre, (target, source); nothing outside the outermost centres."""
    centre = (target[:-1] + target[1:]) / 2
    known = (source[:-1] + source[1:]) / 2
    count, step = len(known), abs(source[1] - source[0])
    number = np.arange(count)
    if known[0] > known[-1]:
        known, number = known[::-1], number[::-1]
    if turn and abs(abs(source[-1] - source[0]) - turn) < _NEARLY * turn:  # around the globe
        known, number = np.append(known, known[0] + turn), np.append(number, number[0])
    total = sp.csr_array((len(centre), count))
    done = np.zeros(len(centre), bool)
    for shift in _turns(turn, target, source):
        at = (centre - shift - known[0]) / step
        at = np.where(np.abs(at - np.round(at)) < _NEARLY, np.round(at), at)
        here = np.flatnonzero((at >= 0) & (at <= len(known) - 1) & ~done)
        done[here] = True
        low = np.minimum(np.floor(at[here]).astype(np.int64), len(known) - 2)
        share = at[here] - low
        entries = (np.concatenate([1 - share, share]), (np.tile(here, 2), number[np.concatenate([low, low + 1])]))
        total = total + sp.csr_array(entries, shape=total.shape)
    total.eliminate_zeros()
    return total
