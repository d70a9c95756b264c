"""Nearest points and points within a radius, by brute force in blocks that stay in the processor's cache."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import pdist

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_PAIRED = 5000
_CELLS = 512_000  # distances at a time: 2 MB


class Near(NamedTuple):
    """Distance to the nearest point, (row,), NaN for rows with NaN; points within a radius, (row,), 0 for such."""

    distance: Floats
    within: Integers


def nearest_points(rows: Floats, points: Floats, radius: float) -> Near:
    """Nearest of some points to every row, and how many lie within a radius.

    Candidates are found in single precision by a matrix product, the distance to the nearest is then computed in
    double precision.

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
    step = int(np.clip(_CELLS // len(points), 16, 4096))
    padded = np.ones((step, size + 1), np.float32)
    partial, inside = np.empty((step, len(points)), np.float32), np.empty((step, len(points)), bool)
    for start in range(0, count, step):
        block = rows[start : start + step]
        n = len(block)
        padded[:n, :size] = block
        np.matmul(padded[:n], factors, out=partial[:n])
        nearest = partial[:n].argmin(axis=1)  # the first NaN of rows with NaN
        exact = ((block - points[nearest]) ** 2).sum(axis=1)
        distance[start : start + n] = np.sqrt(exact)
        limit = (radius**2 - (block**2).sum(axis=1)).astype(np.float32)
        np.less_equal(partial[:n], limit[:, None], out=inside[:n])
        counts = inside[:n].view(np.uint8).sum(axis=1, dtype=np.uint16 if len(points) < 2**16 else np.int64)
        within[start : start + n] = counts
    return Near(distance, within)


def pairwise_mean(points: Floats) -> float:
    """Mean distance of two different points, of up to 5,000 of them drawn in a fixed order; NaN with fewer than two."""
    if len(points) > _PAIRED:
        points = points[np.sort(np.random.default_rng(0).choice(len(points), _PAIRED, replace=False))]
    if len(points) < 2:
        return float("nan")
    return float(pdist(points).mean())
