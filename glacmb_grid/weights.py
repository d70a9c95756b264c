"""The one operator: a sparse, non-negative weighted mean.

`apply` returns a numerator ``W @ where(m, f, 0)`` and a denominator ``W @ m``, with `m` the validity of `f`. Dividing
comes last, so that sums, means and the partial results of blocks are the same object. Zonal sampling
(glacier <- cell), multi-year observations (observation <- glacier-year) and regional sums (region <- glacier) differ
only in where W comes from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partial:
    """A weighted sum and the weight that went into it; two partial results add.

    Attributes
    ----------
    numerator, denominator : float64 arrays, (..., row)
    """

    numerator: Floats
    denominator: Floats

    def __add__(self, other: Partial) -> Partial:
        return Partial(self.numerator + other.numerator, self.denominator + other.denominator)

    @property
    def mean(self) -> Floats:
        """Weighted mean, (..., row); NaN where nothing valid was seen."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.denominator > 0, self.numerator / self.denominator, np.nan)


@dataclass(frozen=True, eq=False)
class Weights:
    """Sparse weights from the touched columns of a source to rows.

    Attributes
    ----------
    row, column : int64 arrays, (entry,)
        Row number and column number (flat index into the source) of every weight, sorted by row.
    weight : float64 array, (entry,)
        Non-negative; for zonal sampling the overlap area, m2. Entries of the same row and column add.
    rows : str array, (row,)
        What each row is (a glacier id, say).
    total : float64 array, (row,)
        The weight that a row would have were its source whole (the area of the outline, m2).
    size : int
        Length of the source's flat index.
    source : str
        Digest of the source (the grid), so that a store is never applied to another one.
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

    @cached_property
    def touched(self) -> Integers:
        """Flat indices of the source that carry any weight, sorted, (touched,)."""
        return np.unique(self.column)

    @cached_property
    def matrix(self) -> sp.csr_array:
        """The weights as a matrix, (row, touched)."""
        local = np.searchsorted(self.touched, self.column)
        shape = (len(self.rows), len(self.touched))
        return sp.csr_array((self.weight, (self.row, local)), shape=shape)

    def take(self, rows: npt.NDArray[np.bool_]) -> Weights:
        """Only the rows that are marked, in their order."""
        number = np.cumsum(rows) - 1
        kept = rows[self.row]
        return Weights(
            number[self.row[kept]],
            self.column[kept],
            self.weight[kept],
            self.rows[rows],
            self.total[rows],
            self.size,
            self.source,
        )

    @property
    def is_identity(self) -> bool:
        """Whether every row simply takes the column of the same number."""
        n = len(self.rows)
        numbers = np.arange(n)
        return (
            self.size == n
            and len(self.row) == n
            and np.array_equal(self.row, numbers)
            and np.array_equal(self.column, numbers)
            and bool((self.weight == 1).all())
        )

    def apply(self, values: npt.NDArray[np.floating]) -> Partial:
        """Weighted sums of values at the touched columns.

        Parameters
        ----------
        values : float array, (..., touched)
            Anything not finite counts as missing.

        Returns
        -------
        Partial
            Arrays of (..., row).
        """
        leading = values.shape[:-1]
        flat = np.ascontiguousarray(values.reshape(math.prod(leading), values.shape[-1]).T, np.float64)
        valid = np.isfinite(flat)
        gapless = flat if valid.all() else np.where(valid, flat, 0.0)
        denominator = self.matrix @ valid.astype(np.float64)
        rough = np.divide(self.matrix @ gapless, denominator, out=np.zeros_like(denominator), where=denominator > 0)
        numerator = rough * denominator + self._beyond(rough, gapless, valid)
        shape = (*leading, len(self.rows))
        return Partial(numerator.T.reshape(shape), denominator.T.reshape(shape))

    def _beyond(self, rough: Floats, values: Floats, valid: npt.NDArray[np.bool_]) -> Floats:
        """Weighted sums of what values have beyond their row's rough mean, (row, step).

        They take the rounding of long sums out: a constant comes out as it went in, however many columns a row has.
        """
        cell = self.matrix.indices
        row = np.repeat(np.arange(len(self.rows)), np.diff(self.matrix.indptr))
        each = np.where(valid[cell], values[cell] - rough[row], 0.0) * self.matrix.data[:, None]
        collect = sp.csr_array((np.ones(len(cell)), np.arange(len(cell)), self.matrix.indptr), (len(rough), len(cell)))
        return np.asarray(collect @ each)

    def sums(self, values: npt.NDArray[np.floating]) -> Floats:
        """Weighted sums of a full, gapless source, (..., size) -> (..., row)."""
        return self.apply(values[..., self.touched]).numerator

    def compose(self, inner: Weights) -> Weights:
        """The operator that applies `inner` first (its means, not its sums) and this one after it.

        What a row of `inner` lacks of its total is lacking here too, and lowers the coverage. Exact where the source
        of `inner` has no gaps.
        """
        assert self.size == len(inner.rows), "rows of the inner operator are the columns of the outer one"
        outer = sp.csr_array((self.weight, (self.row, self.column)), shape=(len(self.rows), self.size))
        inward = sp.csr_array((inner.weight, (inner.row, inner.column)), shape=(self.size, inner.size))
        scale = sp.diags_array(np.divide(1.0, inner.total, out=np.zeros_like(inner.total), where=inner.total > 0))
        product = (outer @ (scale @ inward)).tocoo()
        return from_entries(
            product.row,
            product.col,
            product.data,
            rows=self.rows,
            total=self.total,
            size=inner.size,
            source=inner.source,
        )

    def to_dataset(self) -> xr.Dataset:
        """The weights as a Dataset with dimensions `entry` and `row`."""
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
    """Every row takes the column of the same number, once: the operator of an annual observation."""
    names = np.asarray(rows).astype(str)
    numbers = np.arange(len(names))
    return from_entries(numbers, numbers, np.ones(len(names)), rows=names, size=len(names))


def from_dataset(ds: xr.Dataset) -> Weights:
    """Weights from what `Weights.to_dataset` made."""
    return from_entries(
        ds["row_number"].values,
        ds["column_number"].values,
        ds["weight"].values,
        rows=ds["row"].values,
        total=ds["total"].values,
        size=int(ds.attrs["size"]),
        source=str(ds.attrs["source"]),
    )
