"""Samples as arrays: glacier-years with their predictors, and the observations made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse
import xarray as xr

from glacmb_grid.samples import operator_of
from glacmb_grid.vocabulary import Meaning, meanings_of

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]

_DEFAULT_UNCERTAINTY = 0.2  # m w.e.


@dataclass(frozen=True)
class Rows:
    """Glacier-years and what is known of them.

    Attributes
    ----------
    names : str array, (predictor,)
    values : float64 array, (row, predictor)
        NaN where missing.
    glacier : str array, (row,)
    year : int array, (row,)
    position : float64 array, (row, 2)
        Longitude and latitude, degrees; NaN where unknown.
    meanings : tuple of Meaning, (predictor,)
    """

    names: Texts
    values: Floats
    glacier: Texts
    year: Integers
    position: Floats
    meanings: tuple[Meaning, ...]

    @property
    def monthly(self) -> Bools:
        """Whether a predictor is one of the twelve values of a monthly series, (predictor,)."""
        return np.array([m.calendar_month > 0 for m in self.meanings], bool)

    @property
    def derived(self) -> Bools:
        """Whether a predictor was computed from a monthly series of a user's table, (predictor,)."""
        return np.array([m.origin == "series" for m in self.meanings], bool)

    @property
    def from_table(self) -> bool:
        """Whether they come from a user's own table, which knows the climate of the measured years only."""
        return any(m.origin in ("table", "series") for m in self.meanings)

    def take(self, index: Integers | Bools) -> Rows:
        """Some of the rows."""
        return replace(
            self,
            values=self.values[index],
            glacier=self.glacier[index],
            year=self.year[index],
            position=self.position[index],
        )

    def in_order(self, names: Texts) -> Rows:
        """The same rows with these predictors, in this order.

        Raises
        ------
        ValueError
            Where a predictor is missing.
        """
        if np.array_equal(self.names, names):
            return self
        place = {n: i for i, n in enumerate(self.names.tolist())}
        lacking = [n for n in names.tolist() if n not in place]
        if lacking:
            raise ValueError(f"the rows lack the predictors {lacking[:5]}")
        index = [place[n] for n in names.tolist()]
        return replace(self, names=names, values=self.values[:, index], meanings=tuple(self.meanings[i] for i in index))


def rows_of(ds: xr.Dataset, dtype: npt.DTypeLike = np.float64) -> Rows:
    """The rows of samples, or any rows from `as_rows`; large ones may stay in single precision."""
    unknown = np.full(ds.sizes["row"], np.nan)
    place = [ds[n].values.astype(float) if n in ds else unknown for n in ("row_longitude", "row_latitude")]
    return Rows(
        ds["predictor"].values.astype(str),
        ds["predictors"].values.astype(dtype),
        ds["row_glacier"].values.astype(str),
        ds["row_year"].values.astype(np.int64),
        np.stack(place, axis=1),
        meanings_of(ds),
    )


@dataclass(frozen=True)
class Table:
    """Samples as arrays.

    Attributes
    ----------
    rows : Rows
    operator : csr matrix, (sample, row)
        The weights with which balances of rows make up each observation.
    annual : bool array, (sample,)
        Whether an observation is the balance of one glacier-year; `row` says which.
    row : int array, (sample,)
    target, uncertainty : float64 arrays, (sample,), m w.e.
    group : str array, (sample,)
    """

    rows: Rows
    operator: scipy.sparse.csr_matrix
    annual: Bools
    row: Integers
    target: Floats
    uncertainty: Floats
    group: Texts

    @property
    def years(self) -> Floats:
        """Number of years that each observation covers, (sample,)."""
        return np.asarray(self.operator.sum(axis=1)).ravel()

    def used_rows(self, seen: Bools) -> Bools:
        """Rows that the seen observations are made of, (row,)."""
        return np.asarray(abs(self.operator[seen]).sum(axis=0) > 0).ravel()

    def row_target(self, seen: Bools) -> Floats:
        """Mean of the seen annual observations of every row, NaN where there is none, (row,)."""
        mine = np.flatnonzero(seen & self.annual)
        count = np.bincount(self.row[mine], minlength=len(self.rows.year)).astype(float)
        total = np.bincount(self.row[mine], self.target[mine], minlength=len(self.rows.year))
        return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))

    def observed(self, balance: Floats, which: Bools) -> Floats:
        """What some of the observations would be, given the balance of every row, m w.e."""
        return np.asarray(self.operator[which] @ balance)


def table_of(samples: xr.Dataset) -> Table:
    """The arrays of samples."""
    weights = operator_of(samples)
    shape = (samples.sizes["sample"], samples.sizes["row"])
    operator = scipy.sparse.csr_matrix((weights.weight, (weights.row, weights.column)), shape)
    entries = np.diff(operator.indptr)
    first = operator.indices[operator.indptr[:-1].clip(max=max(operator.nnz - 1, 0))]
    annual = (entries == 1) & (np.asarray(operator.sum(axis=1)).ravel() == 1)
    known = samples["mass_balance_uncertainty"].values if "mass_balance_uncertainty" in samples else None
    group = samples.get("group", samples.get("glacier"))
    return Table(
        rows_of(samples),
        operator,
        annual,
        first.astype(np.int64),
        samples["mass_balance"].values.astype(np.float64),
        np.full(shape[0], _DEFAULT_UNCERTAINTY) if known is None else known.astype(np.float64),
        np.arange(shape[0]).astype(str) if group is None else group.values.astype(str),
    )
