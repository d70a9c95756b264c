"""From a cube to the series of its touched cells, and from these to weighted means: the kernel and its dask graph.

A chunk is decoded once, its touched cells are copied out and the chunk is dropped; the cells of all chunks are put
together, and blocks of rows are made of them. Every row is summed in one fixed order, whatever the chunks, the blocks
and the workers are.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
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
Singles = npt.NDArray[np.float32]
AnyArray = Any  # numpy or dask

_CELLS_AT_ONCE = 256e6  # bytes of touched cells that are put together
_ROWS_AT_ONCE = 16e6  # bytes of a block of results


@dataclass(frozen=True, eq=False)
class Rows:
    """Weights of consecutive rows, ready to be applied.

    Attributes
    ----------
    cells : int array, (used,)
        Positions among the touched cells of those that these rows use.
    matrix : csr_array, (row, used)
    first : int array, (row,)
        Position of the first cell among the used ones; 0 where there is none.
    several : int array
        Rows of more than one cell; the others copy theirs.
    shared : int array
        Positions among the used cells of those under such rows.
    inner : csr_array, (several, shared)
    total : float array, (row,)
    """

    cells: Integers
    matrix: sp.csr_array
    first: Integers
    several: Integers
    shared: Integers
    inner: sp.csr_array
    total: npt.NDArray[np.float64]

    @classmethod
    def of(cls, weights: Weights, a: int, b: int) -> Rows:
        """Rows a..b of the weights."""
        cells, matrix = _compact(weights.matrix[a:b])
        count = np.diff(matrix.indptr)
        first = np.zeros(b - a, np.int64)
        first[count > 0] = matrix.indices[matrix.indptr[:-1][count > 0]]
        several = np.flatnonzero(count > 1)
        shared, inner = _compact(matrix[several])
        return cls(cells, matrix, first, several, shared, inner, weights.total[a:b])

    def means(self, touched: Array) -> tuple[Singles, Singles]:
        """Mean and coverage of every row, (row, step), from the touched cells, (cell, step)."""
        shape = (len(self.total), touched.shape[1])
        if not len(self.cells) or not shape[1]:
            return np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
        used = touched[self.cells]
        finite: npt.NDArray[np.bool_] = np.isfinite(used)
        whole = np.asarray(finite.all(axis=1))
        gapless = bool(whole.all())
        steady = gapless or not finite[~whole].any()
        if not gapless:
            used[~finite] = 0
        weight = self.matrix @ (whole[:, None] if steady else finite).astype(np.float64)
        out = np.empty(shape, np.float32)
        np.take(used.astype(np.float32, copy=False), self.first, axis=0, out=out, mode="clip")
        with np.errstate(invalid="ignore", divide="ignore"):
            if len(self.several):
                out[self.several] = (self.inner @ used[self.shared].astype(np.float64)) / weight[self.several]
            share = (weight / self.total[:, None]).astype(np.float32)
        if not (weight > 0).all():
            np.copyto(out, np.float32("nan"), where=weight == 0)
        return out, np.broadcast_to(share, shape)


def _compact(matrix: sp.csr_array) -> tuple[Integers, sp.csr_array]:
    """The columns that carry entries, and the matrix on these."""
    columns, local = np.unique(matrix.indices, return_inverse=True)
    shape = (matrix.shape[0], len(columns))
    return columns.astype(np.int64), sp.csr_array((matrix.data, local.ravel(), matrix.indptr), shape=shape)


def blocks_of(weights: Weights, steps: int) -> list[Rows]:
    """Rows of the weights in blocks of a size that suits series of so many steps."""
    count = len(weights.rows)
    size = max(64, int(_ROWS_AT_ONCE / (4 * max(1, steps))))
    return [Rows.of(weights, a, min(a + size, count)) for a in range(0, count, size)]


# ---- cells ----


def touched_cells(values: AnyArray, touched: Integers) -> AnyArray:
    """Series of the touched cells, (cell, step), of a field, (step, y, x).

    Parameters
    ----------
    values : numpy or dask array, (step, y, x)
        Of a dask array only chunks that hold a touched cell will ever be read, each once.
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
    """Which touched cells lie in which chunk of the plane."""

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


def _together(places: _Places, steps: Sequence[int], dtype: np.dtype[Any], picked: list[list[Array]]) -> Array:
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
    local = dict(zip(places.chunk, places.local, strict=True))
    none = np.zeros(0, np.int64)
    index = {
        (f"touched-{token}", j, i): local.get((j, i), none) for j in range(len(y_chunks)) for i in range(len(x_chunks))
    }
    indices = _array(index, f"touched-{token}", (y_chunks, x_chunks), np.int64)
    picked = da.blockwise(  # type: ignore[no-untyped-call]
        _pick,
        "tyx",
        values,
        "tyx",
        indices,
        "yx",
        align_arrays=False,
        dtype=values.dtype,
        meta=np.empty((0, 0, 0), values.dtype),
    )
    each = len(touched) * values.dtype.itemsize
    groups = _groups(t_chunks, int(_CELLS_AT_ONCE // max(1, each)))
    name, plan = f"cells-{token}", f"places-{token}"
    layer: dict[Any, Any] = {plan: places}
    for g, group in enumerate(groups):
        blocks = [[(picked.name, t, j, i) for j, i in places.chunk] for t in group]
        layer[name, 0, g] = (_together, plan, tuple(t_chunks[t] for t in group), values.dtype, blocks)
    graph = _graph(name, layer, picked)
    steps = tuple(sum(t_chunks[t] for t in group) for group in groups)
    return _array(graph, name, ((len(touched),), steps), values.dtype)


def _array(graph: Any, name: str, chunks: tuple[tuple[int, ...], ...], dtype: npt.DTypeLike) -> da.Array:
    return da.Array(graph, name, chunks, dtype=dtype)  # type: ignore[no-untyped-call]


def _graph(name: str, layer: Mapping[Any, Any], above: Any) -> HighLevelGraph:
    return HighLevelGraph.from_collections(name, layer, dependencies=[above])


def _groups(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Consecutive chunks that together have at most so many steps; at least one each."""
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
        In the order of `Weights.touched`; what is not finite counts as missing.
    weights : Weights

    Returns
    -------
    mean, coverage : float32 arrays, (row, step)
        NaN where nothing valid is touched; valid weight as a share of the row's total.
    """
    if isinstance(cells, da.Array):
        return _lazy_means(cells, weights)
    parts = [rows.means(cells) for rows in blocks_of(weights, cells.shape[1])]
    if len(parts) == 1:
        return parts[0]
    empty = np.empty((0, cells.shape[1]), np.float32)
    return np.concatenate([empty, *(p[0] for p in parts)]), np.concatenate([empty, *(p[1] for p in parts)])


def _lazy_means(cells: da.Array, weights: Weights) -> tuple[da.Array, da.Array]:
    cells = cells.rechunk({0: -1})  # type: ignore[no-untyped-call]
    steps = cells.chunks[1]
    blocks = blocks_of(weights, max(steps, default=1))
    token = tokenize(cells.name, weights.row, weights.column, weights.weight, weights.total)
    layer: dict[Any, Any] = {f"rows-{token}-{r}": rows for r, rows in enumerate(blocks)}
    both, names = f"sampled-{token}", (f"mean-{token}", f"coverage-{token}")
    for r in range(len(blocks)):
        for g in range(len(steps)):
            layer[both, r, g] = (Rows.means, f"rows-{token}-{r}", (cells.name, 0, g))
    base = _graph(both, layer, cells)
    chunks = (tuple(len(rows.total) for rows in blocks), steps)
    found = []
    for k, name in enumerate(names):
        taken: Mapping[Any, Any] = {
            (name, r, g): (operator.getitem, (both, r, g), k) for r in range(len(blocks)) for g in range(len(steps))
        }
        graph = HighLevelGraph(
            {**base.layers, name: taken},
            {**base.dependencies, name: {both}},
        )
        found.append(_array(graph, name, chunks, np.float32))
    return found[0], found[1]
