"""The sparse, non-negative operator behind zonal means (glacier <- cell) and observations (sample <- glacier-year)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Weights:
    """Sparse weights of the columns of a source in rows.

    Attributes
    ----------
    row, column : int64 arrays, (entry,)
        Row number and column number (flat index into the source) of every weight, sorted by row.
    weight : float64 array, (entry,)
        Non-negative; for zonal sampling the overlap area, m2. Entries of the same row and column are summed.
    rows : str array, (row,)
        Name of each row, for instance a glacier id.
    total : float64 array, (row,)
        Weight of a row whose source is complete (the area of the outline, m2).
    size : int
        Length of the source's flat index.
    source : str
        Digest of the source (the grid), so that weights are never applied to another one.
    """

    row: Integers
    column: Integers
    weight: Floats
    rows: npt.NDArray[np.str_]
    total: Floats
    size: int
    source: str = ""

    def __post_init__(self) -> None:
        assert self.row.shape == self.column.shape == self.weight.shape, "entries must have equal lengths"
        assert len(self.rows) == len(self.total), "one total for each row"
        if (self.weight < 0).any():
            raise ValueError("weights must not be negative")
        if not np.isfinite(self.weight).all():
            raise ValueError("weights must be finite")
        if (self.row < 0).any() or (self.row >= len(self.rows)).any():
            raise ValueError(f"row numbers must lie in 0..{len(self.rows) - 1}")
        if (self.column < 0).any() or (self.column >= self.size).any():
            raise ValueError(f"column numbers must lie in 0..{self.size - 1}")

    def __repr__(self) -> str:
        share = np.bincount(self.row, self.weight, len(self.rows))[self.total > 0] / self.total[self.total > 0]
        coverage = f"{share.min():.0%} to {share.max():.0%}" if len(share) else "none"
        shape = f"{len(self.rows)} rows x {self.size} columns"
        return f"<Weights: {shape}, {len(self.row)} entries, coverage of rows {coverage}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"

    @cached_property
    def touched(self) -> Integers:
        """Sorted flat indices of the source that occur in any entry, (touched,)."""
        return np.unique(self.column)

    @cached_property
    def matrix(self) -> sp.csr_array:
        """The weights as a matrix, (row, touched)."""
        local = np.searchsorted(self.touched, self.column)
        shape = (len(self.rows), len(self.touched))
        return sp.csr_array((self.weight, (self.row, local)), shape=shape)

    def take(self, rows: npt.NDArray[np.bool_]) -> Weights:
        """Select the marked rows."""
        number = np.cumsum(rows) - 1
        kept = rows[self.row]
        entries = number[self.row[kept]], self.column[kept], self.weight[kept]
        return Weights(*entries, self.rows[rows], self.total[rows], self.size, self.source)

    @property
    def is_identity(self) -> bool:
        """Whether every row is the column of the same number, with weight 1."""
        n = len(self.rows)
        numbers = np.arange(n)
        return (
            self.size == n
            and len(self.row) == n
            and np.array_equal(self.row, numbers)
            and np.array_equal(self.column, numbers)
            and bool((self.weight == 1).all())
        )

    def sums(self, values: npt.NDArray[np.floating]) -> Floats:
        """Weighted sums of values that are not missing (not finite), (..., size) -> (..., row).

        A first sum gives a rough mean; the sum of the deviations from it corrects the rounding. So a constant is
        reproduced however many columns a row has.
        """
        leading, touched = values.shape[:-1], self.touched
        flat = np.ascontiguousarray(values[..., touched].reshape(math.prod(leading), len(touched)).T, np.float64)
        valid = np.isfinite(flat)
        gapless = flat if valid.all() else np.where(valid, flat, 0.0)
        weight = self.matrix @ valid.astype(np.float64)
        rough = np.divide(self.matrix @ gapless, weight, out=np.zeros_like(weight), where=weight > 0)
        cell, begin = self.matrix.indices, self.matrix.indptr
        row = np.repeat(np.arange(len(self.rows)), np.diff(begin))
        each = np.where(valid[cell], gapless[cell] - rough[row], 0.0) * self.matrix.data[:, None]
        collect = sp.csr_array((np.ones(len(cell)), np.arange(len(cell)), begin), (len(rough), len(cell)))
        return np.asarray((rough * weight + collect @ each).T.reshape(*leading, len(self.rows)))

    def compose(self, inner: Weights) -> Weights:
        """Apply the means (not the sums) of `inner` first, then this operator.

        Weight that a row of `inner` lacks lowers the coverage here too. Exact if the source of `inner` has no gaps.
        """
        assert self.size == len(inner.rows), "rows of the inner operator are the columns of the outer one"
        outer = sp.csr_array((self.weight, (self.row, self.column)), shape=(len(self.rows), self.size))
        inward = sp.csr_array((inner.weight, (inner.row, inner.column)), shape=(self.size, inner.size))
        scale = sp.diags_array(np.divide(1.0, inner.total, out=np.zeros_like(inner.total), where=inner.total > 0))
        product = (outer @ (scale @ inward)).tocoo()
        entries = product.row, product.col, product.data
        return from_entries(*entries, rows=self.rows, total=self.total, size=inner.size, source=inner.source)

    def to_dataset(self) -> xr.Dataset:
        """As a Dataset with dimensions `entry` and `row`."""
        return xr.Dataset(
            {
                "row_number": ("entry", self.row),
                "column_number": ("entry", self.column),
                "weight": (
                    "entry",
                    self.weight,
                    {"long_name": "weight of the column in the row; m2 for overlap areas"},
                ),
                "total": ("row", self.total, {"long_name": "weight of a row of which nothing is missing, same unit"}),
            },
            coords={"row": self.rows.astype(object)},
            attrs={"size": int(self.size), "source": self.source},
        )


def from_entries(
    row: npt.ArrayLike,
    column: npt.ArrayLike,
    weight: npt.ArrayLike,
    *,
    rows: npt.ArrayLike,
    size: int,
    total: npt.ArrayLike | None = None,
    source: str = "",
) -> Weights:
    """Weights from unsorted entries; `total` defaults to the sum of each row's weights."""
    r, c = np.asarray(row, np.int64), np.asarray(column, np.int64)
    w = np.asarray(weight, np.float64)
    order = np.lexsort((c, r))
    names = np.asarray(rows).astype(str)
    whole = np.asarray(np.bincount(r, w, len(names))[: len(names)] if total is None else total, np.float64)
    return Weights(r[order], c[order], w[order], names, whole, int(size), source)


def identity(rows: npt.ArrayLike) -> Weights:
    """The operator of annual observations: every row is the column of the same number, with weight 1."""
    names = np.asarray(rows).astype(str)
    numbers = np.arange(len(names))
    return from_entries(numbers, numbers, np.ones(len(names)), rows=names, size=len(names))


def from_dataset(ds: xr.Dataset) -> Weights:
    """Inverse of `Weights.to_dataset`."""
    entries = (ds[name].values for name in ("row_number", "column_number", "weight"))
    rows, total = ds["row"].values, ds["total"].values
    return from_entries(*entries, rows=rows, total=total, size=int(ds.attrs["size"]), source=str(ds.attrs["source"]))
