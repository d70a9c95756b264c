"""Series of the touched cells of a cube, and their weighted means: numpy kernel and dask graph.

Each chunk is decoded once, its touched cells are copied and the chunk is released. The cells of all chunks are joined
and averaged in blocks of rows. The order of summation in a row is independent of chunks, blocks and workers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from glacmb_grid.weights import Integers, Weights

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
AnyArray = Any  # numpy or dask

_CELLS_AT_ONCE = 256e6  # bytes of touched cells in one array
_ROWS_AT_ONCE = 16e6  # bytes of one block of results
_STEPS_AT_ONCE = 128  # time steps, for rows of several cells


@dataclass(frozen=True, eq=False)
class Plan:
    """Prepared weights: on coarse grids most rows copy the series of one cell; only the others need sums.

    Attributes
    ----------
    first : int array, (row,)
        Position among the touched cells of a row's first cell; 0 for empty rows.
    weight, total : float64 arrays, (row,)
        Weight of the first cell, and of a complete source.
    several : int array, (mean,)
        Rows with several cells.
    place : int array, (mean,)
        Their positions in `inner`, whose rows are sorted by first cell for the sake of the cache.
    shared : int array, (shared,)
        Positions among the touched cells of the cells of these rows.
    inner : csr_array, (mean, shared)
        Their weights.
    """

    first: Integers
    weight: Floats
    total: Floats
    several: Integers
    place: Integers
    shared: Integers
    inner: sp.csr_array

    @classmethod
    def of(cls, weights: Weights) -> Plan:
        """Prepare weights."""
        matrix = weights.matrix
        count = np.diff(matrix.indptr)
        first, weight = np.zeros(len(count), np.int64), np.zeros(len(count))
        begin = matrix.indptr[:-1][count > 0]
        first[count > 0], weight[count > 0] = matrix.indices[begin], matrix.data[begin]
        several = np.flatnonzero(count > 1)
        order = np.argsort(first[several], kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        part = matrix[several[order]]
        shared, local = np.unique(part.indices, return_inverse=True)
        inner = sp.csr_array((part.data, local.ravel(), part.indptr), shape=(len(several), len(shared)))
        return cls(first, weight, weights.total, several, place, shared.astype(np.int64), inner)

    def mixed(self, cells: Array) -> Mixed:
        """Means of the rows with several cells, and validity of the cells; cells are (cell, step)."""
        finite = np.isfinite(cells)
        whole = np.asarray(finite.all(axis=1))
        gapless = bool(whole.all())
        steady = gapless or not finite[~whole].any()
        valid = whole[:, None] if steady else finite
        means = np.empty((len(self.several), cells.shape[1]), np.float32)
        weight = self.inner @ valid[self.shared].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            for a in range(0, cells.shape[1], _STEPS_AT_ONCE):
                piece = slice(a, a + _STEPS_AT_ONCE)
                values = cells[self.shared, piece].astype(np.float64)
                if not gapless:
                    values[~finite[self.shared, piece]] = 0
                sums, whole_weight = self.inner @ values, weight if steady else weight[:, piece]
                np.divide(sums, whole_weight, out=means[:, piece], casting="unsafe")
        return Mixed(means, weight, None if gapless else valid)

    def rows(self, cells: Array, mixed: Mixed, a: int, b: int) -> tuple[Singles, Singles]:
        """Mean and coverage of the rows a..b, (row, step)."""
        first = self.first[a:b]
        shape = (len(first), cells.shape[1])
        i, j = np.searchsorted(self.several, [a, b])
        here = self.several[i:j] - a
        weight = self.weight[a:b, None]
        if not len(cells):
            out, weight = np.full(shape, np.nan, np.float32), np.zeros((len(first), 1))
        else:
            out = cells[first].astype(np.float32, copy=False)
            if mixed.valid is not None:
                weight = weight * mixed.valid[first]
            elif len(here):
                weight = weight.copy()
            out[here] = mixed.means[self.place[i:j]]
            weight[here] = mixed.weight[self.place[i:j]]
        if not (weight > 0).all():
            np.copyto(out, np.float32("nan"), where=weight == 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (weight / self.total[a:b, None]).astype(np.float32)
        return out, np.broadcast_to(share, shape)

    def blocks(self, steps: int) -> list[tuple[int, int]]:
        """Bounds of blocks of rows whose results fit into memory for this number of steps."""
        size = max(64, int(_ROWS_AT_ONCE / (4 * max(1, steps))))
        return [(a, min(a + size, len(self.first))) for a in range(0, len(self.first), size)]


@dataclass(frozen=True, eq=False)
class Mixed:
    """Results of the cells that all blocks of rows share.

    Attributes
    ----------
    means : float32 array, (mean, step)
        Of the rows with several cells, in the order of `Plan.inner`.
    weight : float64 array, (mean, step) or (mean, 1)
        Their valid weight.
    valid : bool array, (cell, step) or (cell, 1), or None
        Whether cells are valid; None if all are.
    """

    means: Singles
    weight: Floats
    valid: npt.NDArray[np.bool_] | None


# ---- cells ----


def touched_cells(values: AnyArray, touched: Integers) -> AnyArray:
    """Series of the touched cells, (cell, step), of a field, (step, y, x).

    Parameters
    ----------
    values : numpy or dask array, (step, y, x)
        Of a dask array only chunks that hold a touched cell are read, each once.
    touched : int array, (cell,)
        Sorted flat (y, x) numbers.
    """
    if not isinstance(values, da.Array):
        flat = values.reshape(values.shape[0], math.prod(values.shape[1:]))
        series: Array = flat.T[touched]
        return series
    return _lazy_cells(values, touched)


@dataclass(frozen=True, eq=False)
class _Places:
    """Touched cells of each chunk: chunk numbers, positions within the chunk, and among all touched cells."""

    chunk: list[tuple[int, int]]
    local: list[Integers]
    position: list[Integers]

    @classmethod
    def of(cls, touched: Integers, y_chunks: Sequence[int], x_chunks: Sequence[int]) -> _Places:
        y_start, x_start = (np.concatenate([[0], np.cumsum(c)]) for c in (y_chunks, x_chunks))
        y, x = np.divmod(touched, x_start[-1])
        cy, cx = (np.searchsorted(s, v, side="right") - 1 for s, v in ((y_start, y), (x_start, x)))
        number = cy * len(x_chunks) + cx
        order = np.argsort(number, kind="stable")
        cuts = np.concatenate([[0], np.flatnonzero(np.diff(number[order])) + 1, [len(order)]]) if len(order) else [0]
        chunk, local, position = [], [], []
        for a, b in pairwise(cuts):
            here = np.sort(order[a:b])
            j, i = int(cy[here[0]]), int(cx[here[0]])
            chunk.append((j, i))
            local.append((y[here] - y_start[j]) * x_chunks[i] + x[here] - x_start[i])
            position.append(here)
        return cls(chunk, local, position)


def _pick(block: Array, local: Integers) -> Array:
    """(cell, step) of one chunk, (step, y, x)."""
    series: Array = block.reshape(block.shape[0], -1).T[local]
    return series


def _joined(places: _Places, steps: Sequence[int], dtype: np.dtype[Any], picked: list[list[Array]]) -> Array:
    """All touched cells, (cell, step), from those of every chunk."""
    out = np.empty((sum(len(p) for p in places.position), sum(steps)), dtype)
    begin = 0
    for length, row in zip(steps, picked, strict=True):
        for position, cells in zip(places.position, row, strict=True):
            out[position, begin : begin + length] = cells
        begin += length
    return out


def _lazy_cells(values: da.Array, touched: Integers) -> da.Array:
    t_chunks, y_chunks, x_chunks = values.chunks
    places = _Places.of(touched, y_chunks, x_chunks)
    token = tokenize(values.name, touched)
    each = len(touched) * values.dtype.itemsize
    groups = _groups(t_chunks, int(_CELLS_AT_ONCE // max(1, each)))
    name, plan, local, picked = (f"{what}-{token}" for what in ("cells", "places", "touched", "picked"))
    layer: dict[Any, Any] = {plan: places}
    for (j, i), numbers in zip(places.chunk, places.local, strict=True):
        layer[local, j, i] = numbers
        for t in range(len(t_chunks)):
            layer[picked, t, j, i] = (_pick, (values.name, t, j, i), (local, j, i))
    for g, group in enumerate(groups):
        blocks = [[(picked, t, j, i) for j, i in places.chunk] for t in group]
        layer[name, 0, g] = (_joined, plan, tuple(t_chunks[t] for t in group), values.dtype, blocks)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[values])  # type: ignore[list-item]
    steps = tuple(sum(t_chunks[t] for t in group) for group in groups)
    return _array(graph, name, ((len(touched),), steps), values.dtype)


def _array(graph: Any, name: str, chunks: tuple[tuple[int, ...], ...], dtype: npt.DTypeLike) -> da.Array:
    return da.Array(graph, name, chunks, dtype=dtype)  # type: ignore[no-untyped-call]


def _groups(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Groups of consecutive chunks with at most this many steps together; at least one chunk each."""
    groups: list[list[int]] = [[]]
    held = 0
    for number, length in enumerate(lengths):
        if groups[-1] and held + length > most:
            groups.append([])
            held = 0
        groups[-1].append(number)
        held += length
    return groups


# ---- rows ----


def weighted_means(cells: AnyArray, weights: Weights) -> tuple[AnyArray, AnyArray]:
    """Mean and coverage of every row, (row, step), of touched cells, (cell, step).

    Parameters
    ----------
    cells : numpy or dask array, (cell, step)
        In the order of `Weights.touched`; non-finite values are missing.
    weights : Weights

    Returns
    -------
    mean, coverage : float32 arrays, (row, step)
        Mean, NaN without valid cells, and valid weight as a share of the row's total.
    """
    plan = Plan.of(weights)
    if isinstance(cells, da.Array):
        return _lazy_means(cells, weights, plan)
    return plan.rows(cells, plan.mixed(cells), 0, len(plan.first))


def _lazy_means(cells: da.Array, weights: Weights, plan: Plan) -> tuple[da.Array, da.Array]:
    cells = cells.rechunk({0: -1})  # type: ignore[no-untyped-call]
    steps = cells.chunks[1]
    blocks = plan.blocks(max(steps, default=1))
    token = tokenize(cells.name, weights.row, weights.column, weights.weight, weights.total)
    shared, mixed, both = f"plan-{token}", f"mixed-{token}", f"sampled-{token}"
    layer: dict[Any, Any] = {shared: plan}
    for g in range(len(steps)):
        layer[mixed, g] = (Plan.mixed, shared, (cells.name, 0, g))
        for r, (a, b) in enumerate(blocks):
            layer[both, r, g] = (Plan.rows, shared, (cells.name, 0, g), (mixed, g), a, b)
    graph = HighLevelGraph.from_collections(both, layer, dependencies=[cells])  # type: ignore[list-item]
    chunks = (tuple(b - a for a, b in blocks), steps)
    found = []
    for k, name in enumerate((f"mean-{token}", f"coverage-{token}")):
        taken = {
            (name, r, g): (operator.getitem, (both, r, g), k) for r in range(len(blocks)) for g in range(len(steps))
        }
        whole = HighLevelGraph({**graph.layers, name: taken}, {**graph.dependencies, name: {both}})  # type: ignore[dict-item]
        found.append(_array(whole, name, chunks, np.float32))
    return found[0], found[1]
