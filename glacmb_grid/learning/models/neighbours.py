"""What neighbours in time and space add to a model: a Gaussian process of its inner out-of-fold residuals.

A glacier that was measured in other years, and glaciers measured in the same year, tell something of the error that
a model makes at a glacier-year. Which of it can be known depends on the scheme alone: where whole years are withheld
there is no neighbour of the same year, where whole glaciers are withheld no other year of the glacier. Positions come
in here, which is why these models have names of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from glacmb_grid.errors import InputError
from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.kernel import Hyper, Inputs
from glacmb_grid.learning.kriging import Posterior, Settings, learn, posterior
from glacmb_grid.learning.ragged import pack, unpack
from glacmb_grid.learning.search import fold_record, inner_masks, prediction
from glacmb_grid.learning.table import Bools, Floats, Rows, Table, rows_of, table_of
from glacmb_grid.progress import track
from glacmb_grid.settings import Neighbours

TERMS = ("constant", "glacier", "glacier_smooth", "smooth", "year", "year_position")
_SETTINGS = Settings(terms=TERMS)


@dataclass(frozen=True)
class WithNeighbours(Model):
    """Another model, plus what its residuals at neighbours let expect.

    Attributes
    ----------
    base : str
        Name of the other model.
    """

    base: str
    settings_type: ClassVar = Neighbours

    @property
    def built_on(self) -> tuple[str, ...]:
        """The other model."""
        return (self.base,)

    def among(self, judged: Sequence[Model], named: Callable[[str], Model]) -> Model:
        """The same model.

        Raises
        ------
        InputError
            Where the other model is not one that others are built on.
        """
        del judged
        if not named(self.base).informative:
            raise InputError(
                f"models: {self.name}",
                expected="the name of a model that tells glacier-years apart and is fitted here, with _neighbours "
                "after it",
                found=f"{self.base}, which is not",
                remedy="take another model, such as ridge_neighbours; gaussian_process knows neighbours by itself",
            )
        return self

    def fit(self, task: Task) -> xr.Dataset:
        """Learn how residuals hang together, once per block, and whether it helps, on the inner splits.

        Returns
        -------
        xr.Dataset
            `residual` (fold, sample) m w.e. of the inner predictions, NaN elsewhere; `hyper` (fold, hyper_parameter);
            `used` (fold): whether the inner error became smaller; `inner_prediction` and `seen` (fold, sample), and
            `state_...`, the process conditioned on the residuals.
        """
        table, folds = table_of(task.samples), task.own
        first = folds.first
        inner = task.built_on[self.base]["inner_prediction"].values[first]
        residual = np.where(table.annual, table.target - inner, np.nan)
        found = [_hyper(table, residual[b]) for b in range(len(first))]
        blocks = track(enumerate(first), "block of folds", len(first))
        kriged = np.array([_inner(table, folds, f, residual[b], found[b]) for b, f in blocks])
        errors = [np.nanmean((residual - k) ** 2, axis=1) for k in (np.zeros_like(kriged), kriged)]
        used = errors[1] < errors[0]
        names = sorted({n for h in found for n in h.names})  # in an order that no other fold decides
        values = [[dict(zip(h.names, h.values, strict=True)).get(n, np.nan) for n in names] for h in found]
        processes = [_conditioned(table, np.isfinite(r), r, h).state() for r, h in zip(residual, found, strict=True)]
        record = fold_record(folds).assign(
            residual=(("fold", "sample"), folds.by_fold(residual)),
            hyper=(("fold", "hyper_parameter"), folds.by_fold(np.array(values))),
            used=("fold", folds.by_fold(used)),
            inner_prediction=(("fold", "sample"), folds.by_fold(np.where(used[:, None], inner + kriged, inner))),
        )
        record = record.assign_coords(hyper_parameter=np.array(names, dtype=object))
        return record.merge(pack([processes[b] for b in folds.by_fold(np.arange(len(first)))]))

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Balance by the other model and the residual that neighbours let expect, (fold, member, row), m w.e."""
        values, new = below[self.base].values.copy(), rows_of(rows)
        inputs = _inputs(new)
        for fold in np.flatnonzero(parameters["used"].values):
            with threadpool_limits(2, "blas"):
                values[fold] += Posterior.from_state(unpack(parameters, int(fold))).mean(inputs)
        return prediction(values, parameters)


def _hyper(table: Table, residual: Floats) -> Hyper:
    known = np.isfinite(residual)
    with threadpool_limits(1, "blas"):
        return learn(_inputs(table.rows.take(table.row[known])), residual[known], None, _SETTINGS)


def _inner(table: Table, folds: Folds, fold: int, residual: Floats, hyper: Hyper) -> Floats:
    """What the rest of the inner splits says of the residuals of each, (sample,)."""
    known = np.isfinite(residual)
    found = np.full(len(residual), np.nan)
    with threadpool_limits(1, "blas"):
        for inner_fit, inner_score in inner_masks(folds, fold):
            score = inner_score & known
            if (inner_fit & known).any() and score.any():
                process = _conditioned(table, inner_fit & known, residual, hyper)
                found[score] = process.mean(_inputs(table.rows.take(table.row[score])))
    return np.where(known & np.isnan(found), 0.0, found)


def _conditioned(table: Table, known: Bools, residual: Floats, hyper: Hyper) -> Posterior:
    return posterior(_inputs(table.rows.take(table.row[known])), residual[known], hyper, _SETTINGS)


def _inputs(rows: Rows) -> Inputs:
    empty = np.zeros((len(rows.year), 0))
    position = rows.position if np.isfinite(rows.position).any() else None
    return Inputs(empty, empty, rows.glacier, rows.year, position)
