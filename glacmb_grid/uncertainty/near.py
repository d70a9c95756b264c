"""Nearest points and points within a radius, by brute force in blocks that stay in the processor's cache."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import pdist

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_DOUBT = 2e-6  # of the squared lengths of row and point, what single precision may be wrong by
_ROUNDING = 1e-9  # of distances in double precision
_PAIRED = 5000
_CELLS = 512_000  # distances at a time: 2 MB


class Near(NamedTuple):
    """Distance to the nearest point, (row,), NaN for rows with NaN; points within a radius, (row,), 0 for such."""

    distance: Floats
    within: Integers


def nearest_points(rows: Floats, points: Floats, radius: float) -> Near:
    """Nearest of some points to every row, and how many lie within a radius.

    Candidates are found in single precision by a matrix product. Where that cannot tell, double precision decides, row
    by row: what is found of a row does not depend on the rows beside it. A point as far as the radius lies within.

    Parameters
    ----------
    rows : float64 array, (row, coordinate)
    points : float64 array, (point, coordinate)
        Centred near 0, as single precision needs it.
    radius : float
        NaN counts none.
    """
    count, size = len(rows), rows.shape[1]
    distance, within = np.full(count, np.nan), np.zeros(count, np.int64)
    if not len(points):
        return Near(distance, within)
    # |r - p|^2 - |r|^2 = -2 r.p + |p|^2, one product with a column of ones
    factors = np.concatenate([-2 * points.T, (points**2).sum(axis=1)[None]]).astype(np.float32)
    largest = (points**2).sum(axis=1).max()
    step = int(np.clip(_CELLS // len(points), 16, 4096))
    padded = np.ones((step, size + 1), np.float32)
    partial = np.empty((step, len(points)), np.float32)
    below, inside = (np.empty(partial.shape, bool) for _ in range(2))
    for start in range(0, count, step):
        block = rows[start : start + step]
        n = len(block)
        padded[:n, :size] = block
        np.matmul(padded[:n], factors, out=partial[:n])
        square = (block**2).sum(axis=1)
        doubt = _DOUBT * (square + largest)
        np.less_equal(partial[:n], _column(partial[:n].min(axis=1) + 2 * doubt), out=inside[:n])  # none of NaN
        i, j = _pairs(inside[:n])
        nearest = np.full(n, np.nan)
        np.fmin.at(nearest, i, _squares(block, points, i, j))
        distance[start : start + n] = np.sqrt(nearest)
        limit = radius**2 - square
        np.less_equal(partial[:n], _column(limit - doubt), out=inside[:n])
        counts = inside[:n].view(np.uint8).sum(axis=1, dtype=np.uint16 if len(points) < 2**16 else np.int64)
        np.less_equal(partial[:n], _column(limit + doubt), out=below[:n])
        i, j = _pairs(np.greater(below[:n], inside[:n], out=below[:n]))
        near = _squares(block, points, i, j) <= (radius * (1 + _ROUNDING)) ** 2
        within[start : start + n] = counts + np.bincount(i[near], minlength=n)
    return Near(distance, within)


def _column(limit: Floats) -> Singles:
    return limit.astype(np.float32)[:, None]


def _pairs(mask: Bools) -> tuple[Integers, Integers]:
    """Rows and columns where a mask is true."""
    i, j = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return i, j


def _squares(rows: Floats, points: Floats, i: Integers, j: Integers) -> Floats:
    """Squared distances of pairs, each by itself."""
    return np.asarray(((rows[i] - points[j]) ** 2).sum(axis=1))


def pairwise_mean(points: Floats) -> float:
    """Mean distance of two different points, of up to 5,000 of them drawn in a fixed order; NaN with fewer than two."""
    if len(points) > _PAIRED:
        points = points[np.sort(np.random.default_rng(0).choice(len(points), _PAIRED, replace=False))]
    if len(points) < 2:
        return float("nan")
    return float(pdist(points).mean())
