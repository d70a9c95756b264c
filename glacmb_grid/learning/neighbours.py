"""What neighbours in time and space add to a model: a Gaussian process of its inner out-of-fold residuals.

A glacier that was measured in other years, and glaciers measured in the same year, tell something of the error that
a model makes at a glacier-year. Which of it can be known depends on the scheme alone: where whole years are withheld
there is no neighbour of the same year, where whole glaciers are withheld no other year of the glacier. Positions come
in here, which is why these models have names of their own (`<model>_neighbours`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from glacmb_grid.learning.gaussian_process import Hyper, Inputs, Settings, condition, learn
from glacmb_grid.learning.nested import (
    Table,
    inner_masks,
    prediction,
    seen_by,
    split_blocks,
    table_of,
    training_record,
    training_table,
)
from glacmb_grid.learning.prepare import Bools, Floats, Integers, Rows, rows_of

ENDING = "_neighbours"
TERMS = ("constant", "glacier", "glacier_smooth", "smooth", "year", "year_position")


def fit_neighbours(parameters: xr.Dataset, samples: xr.Dataset, folds: xr.Dataset) -> xr.Dataset:
    """Learn how residuals hang together, once per block, and whether it helps, on the inner splits.

    Parameters
    ----------
    parameters : xr.Dataset
        Of the model itself, with `inner_prediction` (fold, sample) m w.e.
    samples, folds : xr.Dataset

    Returns
    -------
    xr.Dataset
        `residual` (fold, sample) m w.e. of the inner predictions, NaN elsewhere; `hyper` (fold, hyper_parameter);
        `used` (fold): whether the inner error became smaller; `inner_prediction` and `seen` (fold, sample), and the
        training table.
    """
    table = table_of(samples)
    first, block = split_blocks(folds)
    inner = parameters["inner_prediction"].values[first]
    residual = np.where(table.annual, table.target - inner, np.nan)
    found = [_block(table, folds, int(f), residual[b]) for b, f in enumerate(first)]
    names = sorted({n for hyper, _ in found for n in hyper.names})  # in an order that no other fold decides
    values = [[dict(zip(h.names, h.values, strict=True)).get(n, np.nan) for n in names] for h, _ in found]
    kriged = np.array([k for _, k in found])
    errors = [np.nanmean((residual - k) ** 2, axis=1) for k in (np.zeros_like(kriged), kriged)]
    used = errors[1] < errors[0]
    record = xr.Dataset(
        {
            "residual": (("fold", "sample"), residual[block]),
            "hyper": (("fold", "hyper_parameter"), np.array(values)[block]),
            "used": ("fold", used[block]),
            "inner_prediction": (("fold", "sample"), np.where(used[:, None], inner + kriged, inner)[block]),
        },
        coords={
            "fold": folds["fold"],
            "scheme": folds["scheme"],
            "hyper_parameter": np.array(names, dtype=object),
        },
    )
    return training_record(samples, folds).assign(seen=(("fold", "sample"), seen_by(folds))).merge(record)


def _block(table: Table, folds: xr.Dataset, fold: int, residual: Floats) -> tuple[Hyper, Floats]:
    """Hyper-parameters, and what the rest of the inner splits says of the residuals of each, (sample,)."""
    there = np.isfinite(residual)
    told = np.full(len(residual), np.nan)
    with threadpool_limits(1, "blas"):
        hyper = learn(_inputs(table.rows, table.row[there]), residual[there], None, Settings(terms=TERMS))
        for inner_fit, inner_score in inner_masks(folds, fold):
            score = inner_score & there
            if (inner_fit & there).any() and score.any():
                told[score] = _said(table, inner_fit & there, residual, hyper, table.rows.take(table.row[score]))
    return hyper, np.where(there & np.isnan(told), 0.0, told)


def _said(table: Table, known: Bools, residual: Floats, hyper: Hyper, rows: Rows) -> Floats:
    inputs = _inputs(table.rows, table.row[known])
    new = _inputs(rows, np.arange(len(rows.year)))
    return condition(inputs, residual[known], None, hyper, new, Settings(terms=TERMS))[0]


def _inputs(rows: Rows, index: Integers) -> Inputs:
    empty = np.zeros((len(index), 0))
    known = bool(np.isfinite(rows.position).any())
    position = rows.position[index] if known else None
    return Inputs(empty, empty, rows.glacier[index], rows.year[index], position)


def predict_neighbours(
    parameters: xr.Dataset, predict: Callable[[xr.Dataset], xr.DataArray], rows: xr.Dataset
) -> xr.DataArray:
    """Balance by the model and the residual that neighbours let expect, (fold, member, row), m w.e."""
    values = predict(rows).values.copy()
    table, new = training_table(parameters), rows_of(rows)
    names = [str(n) for n in parameters["hyper_parameter"].values]
    for fold in np.flatnonzero(parameters["used"].values):
        hyper = parameters["hyper"].values[fold]
        there = np.isfinite(hyper)
        known = Hyper(tuple(n for n, t in zip(names, there, strict=True) if t), hyper[there])
        residual = parameters["residual"].values[fold]
        with threadpool_limits(2, "blas"):
            values[fold] += _said(table, np.isfinite(residual), residual, known, new)
    return prediction(values, parameters)
