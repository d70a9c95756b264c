"""Random fields of exponential correlation at given points: exact for few points, by nearest neighbours for many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

EXACT_UP_TO = 2000  # points
NEIGHBOURS = 30
ANCHORS = 20  # points, far from one another, that all others are drawn given as well
_JITTER = 1e-7  # of the variance, so that points at one place have a factor
_SOLVED = 2000  # points whose weights are solved at a time


class Field(Protocol):
    """Something that draws."""

    def draw(self, random: np.random.Generator, draws: int) -> Singles:
        """Independent fields of variance 1, (draw, point)."""


@dataclass(frozen=True)
class Common:
    """One value for all points: the limit of a long range."""

    points: int

    def draw(self, random: np.random.Generator, draws: int) -> Singles:
        """Independent fields of variance 1, (draw, point)."""
        values = random.standard_normal((draws, 1), np.float32)
        return np.broadcast_to(values, (draws, self.points)).copy()


@dataclass(frozen=True)
class Dense:
    """A lower Cholesky factor of the correlation, (point, point)."""

    factor: Singles

    def draw(self, random: np.random.Generator, draws: int) -> Singles:
        """Independent fields of variance 1, (draw, point)."""
        noise = random.standard_normal((draws, len(self.factor)), np.float32)
        return np.asarray(noise @ self.factor.T)


@dataclass(frozen=True)
class Neighbours:
    """Points in the order of drawing, each given the nearest of those before it.

    Attributes
    ----------
    order : int array, (point,)
        Point of each place in the order.
    levels : tuple of (start, end, csr_array)
        Places whose neighbours all lie before `start`, and the weights of these, (end - start, start).
    deviation : float32 array, (point,)
        By place: one standard deviation given the neighbours.
    """

    order: Integers
    levels: tuple[tuple[int, int, scipy.sparse.csr_array], ...]
    deviation: Singles

    def draw(self, random: np.random.Generator, draws: int) -> Singles:
        """Independent fields of variance 1, (draw, point)."""
        noise = random.standard_normal((draws, len(self.order)), np.float32)
        values = np.ascontiguousarray(noise[:, self.order].T)
        values *= self.deviation[:, None]
        for start, end, weights in self.levels:
            values[start:end] += weights @ values[:start]
        out = np.empty_like(noise)
        out[:, self.order] = values.T
        return out


def field_of(points: Floats, range_km: float, *, exact_up_to: int = EXACT_UP_TO) -> Field:
    """A field of correlation exp(-distance / range) at points, (point, 3), km."""
    if np.isinf(range_km):
        return Common(len(points))
    return dense(points, range_km) if len(points) <= exact_up_to else neighbours(points, range_km)


def dense(points: Floats, range_km: float) -> Dense:
    """Exact, for few points."""
    correlation = _correlation(points, points, range_km)
    np.fill_diagonal(correlation, 1 + _JITTER)
    return Dense(scipy.linalg.cholesky(correlation, lower=True).astype(np.float32))


def neighbours(points: Floats, range_km: float, number: int = NEIGHBOURS) -> Neighbours:
    """Approximate, for many points: each given so many nearest points of those before it in a random order.

    The order begins with points far from one another, and all others are drawn given these as well: without them,
    clusters of points would be nearly independent of one another.
    """
    random = np.random.Generator(np.random.Philox(len(points)))
    first = _far_apart(points, ANCHORS)
    order = np.concatenate([first, random.permutation(np.setdiff1d(np.arange(len(points)), first))])
    nearest = _nearest_before(points[order], number)
    anchors = np.tile(np.arange(len(first)), (len(points), 1))
    late = np.arange(len(points))[:, None] >= len(first)
    beside = np.concatenate([np.where(late, anchors, -1), np.where(late & (nearest < len(first)), -1, nearest)], axis=1)
    level = _levels(beside)
    by_level = np.argsort(level, kind="stable")
    place = np.empty(len(points), np.int64)
    place[by_level] = np.arange(len(points))
    beside = np.where(beside[by_level] >= 0, place[beside[by_level]], -1)
    order = order[by_level]
    weights, deviation = _weights(points[order], beside, range_km)
    starts = np.flatnonzero(np.diff(level[by_level], prepend=-1)).tolist()
    levels = tuple(_rows(beside, weights, a, b) for a, b in zip(starts, [*starts[1:], len(order)], strict=True) if a)
    return Neighbours(order, levels, deviation)


def _rows(beside: Integers, weights: Floats, start: int, end: int) -> tuple[int, int, scipy.sparse.csr_array]:
    known = beside[start:end] >= 0
    pointer = np.concatenate([[0], np.cumsum(known.sum(axis=1))])
    entries = weights[start:end][known].astype(np.float32), beside[start:end][known], pointer
    return start, end, scipy.sparse.csr_array(entries, shape=(end - start, start))


def _far_apart(points: Floats, number: int) -> Integers:
    """Points, each the farthest from those before it."""
    chosen = [int(np.argmax(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(number, len(points)) and distance.max() > 0:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


def _nearest_before(points: Floats, number: int) -> Integers:
    """The nearest points with a lower index, (point, number), -1 where there are fewer."""
    out = np.full((len(points), number), -1, np.int64)
    start, end = 1, min(4 * number, len(points))
    while start < len(points):
        tree = cKDTree(points[:end])
        found = tree.query(points[start:end], end if start == 1 else min(3 * number, end))[1].reshape(end - start, -1)
        before = found < np.arange(start, end)[:, None]
        rank = np.cumsum(before, axis=1)
        row, column = np.nonzero(before & (rank <= number))
        out[start + row, rank[row, column] - 1] = found[row, column]
        start, end = end, min(2 * end, len(points))
    return out


def _levels(beside: Integers) -> Integers:
    """Rounds of drawing: of each point the round after the last of its neighbours."""
    level = np.zeros(len(beside), np.int64)
    padded = np.append(level, -1)
    changed = True
    while changed:
        padded[:-1] = level
        following = padded[beside].max(axis=1) + 1
        changed = bool((following != level).any())
        level = following
    return level


def _weights(points: Floats, beside: Integers, range_km: float) -> tuple[Floats, Singles]:
    """Weights of the neighbours, (point, neighbour), and the deviation given them, (point,)."""
    weights, variance = np.zeros(beside.shape), np.empty(len(points))
    for start in range(0, len(points), _SOLVED):
        rows = slice(start, start + _SOLVED)
        known = beside[rows] >= 0
        theirs = points[beside[rows]]
        among = np.exp(-np.linalg.norm(theirs[:, :, None] - theirs[:, None, :], axis=-1) / range_km)
        both = known[:, :, None] & known[:, None, :]
        among = np.where(both, among, 0) + np.eye(beside.shape[1]) * np.where(known, _JITTER, 1)[:, :, None]
        to = np.where(known, np.exp(-np.linalg.norm(theirs - points[rows][:, None], axis=-1) / range_km), 0)
        weights[rows] = np.linalg.solve(among, to[:, :, None])[:, :, 0]
        variance[rows] = 1 - (weights[rows] * to).sum(axis=1)
    return weights, np.sqrt(np.maximum(variance, 0)).astype(np.float32)


def _correlation(a: Floats, b: Floats, range_km: float) -> Floats:
    return np.asarray(np.exp(-np.linalg.norm(a[:, None] - b[None], axis=-1) / range_km))
