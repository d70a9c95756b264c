"""Constraints as arrays: sums of glacier-years that nets are held to, and the predictors of these years."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.learning.features import Features
from glacmb_grid.learning.level import Levels
from glacmb_grid.learning.table import Bools, Floats, Integers, Rows, Texts, rows_of

_AT_ONCE = 20_000  # rows of which features are made at a time

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sums:
    """Changes over several years.

    Attributes
    ----------
    rows : Rows
        All glacier-years; `values` are float32.
    of_glacier : int array, (row,)
        Number of the glacier of each row.
    row : int array, (constraint, entry)
        The rows that each is a sum of.
    weight : float32 array, (constraint, entry)
        Their weights, 0 where there is no entry.
    change, uncertainty : float64 arrays, (constraint,), m w.e.
    glacier : str array, (constraint,)
    """

    rows: Rows
    of_glacier: Integers
    row: Integers
    weight: Single
    change: Floats
    uncertainty: Floats
    glacier: Texts

    def fill(self, matrix: Single, features: Features, used: Bools) -> None:
        """Write the features of the rows of these constraints into a matrix, (row, predictor); no other row is used.

        Glaciers stay whole, as the climatology of one that was not fitted on is a mean of its rows.
        """
        taken = np.zeros(len(self.rows.year), bool)
        taken[self.row[used][self.weight[used] > 0]] = True
        places = np.flatnonzero(taken)
        places = places[np.argsort(self.of_glacier[places], kind="stable")]
        starts = np.flatnonzero(np.diff(self.of_glacier[places], prepend=-1))
        cuts = starts[np.searchsorted(starts, np.arange(_AT_ONCE, len(places), _AT_ONCE)).clip(max=len(starts) - 1)]
        for block in np.split(places, np.unique(cuts)):
            rows = self.rows.take(block).in_order(features.predictors)
            values = features.design(replace(rows, values=rows.values.astype(np.float64))).values
            matrix[block, : values.shape[1]] = values

    def standardised(self, centre: float, scale: float, levels: Levels) -> tuple[Floats, Floats]:
        """Changes less those of the mean and of the level of the glacier, and 1 / their uncertainties, in `scale`."""
        years = self.weight.sum(axis=1, dtype=np.float64)
        return (self.change - years * (centre + levels.at(self.glacier))) / scale, scale / self.uncertainty


def sums_of(constraints: xr.Dataset) -> Sums:
    """The arrays of constraints."""
    names = ("constraint", "row", "weight")
    number, row, weight = (constraints[f"operator_{n}"].values for n in names)
    order = np.lexsort((row, number))
    number, row, weight = number[order], row[order], weight[order]
    count = np.bincount(number, minlength=constraints.sizes["constraint"])
    entry = np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
    shape = (len(count), int(count.max(initial=1)))
    rows, weights = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    rows[number, entry], weights[number, entry] = row, weight
    return Sums(
        rows_of(constraints, np.float32),
        np.unique(constraints["row_glacier"].values.astype(str), return_inverse=True)[1].astype(np.int64),
        rows,
        weights,
        constraints["change"].values.astype(np.float64),
        constraints["change_uncertainty"].values.astype(np.float64),
        constraints["glacier"].values.astype(str),
    )
