"""Out-of-fold predictions as a table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.rows import groups_of
from glacmb_grid.samples import operator_of
from glacmb_grid.schemas import PREDICTIONS, check
from glacmb_grid.validation.elsewhere import of_samples

Floats = npt.NDArray[np.float64]

PREDICTION_COLUMNS = [
    *("scheme", "protocol", "model", "sample", "glacier", "group", "region", "year"),
    *("observed", "predicted", "predicted_uncertainty", "fold"),
]


def out_of_fold(
    samples: xr.Dataset, folds: Folds, predicted: xr.DataArray | pd.DataFrame, *, model: str
) -> pd.DataFrame:
    """Predict every scored sample by the fold that withheld it.

    Parameters
    ----------
    samples : xr.Dataset
    folds : Folds
        Of one scheme. Samples that no fold scores (locked, or of unknown region) are left out.
    predicted : xr.DataArray, (fold, member, row), m w.e., or DataFrame
        From `predict` on these samples and folds; or predictions that were made elsewhere, a table with the columns
        `glacier`, `year` and `value` (m w.e.). Nobody knows here what those were calibrated on: no fold withholds
        anything from them.
    model : str

    Returns
    -------
    DataFrame
        From `tabulate`.

    Raises
    ------
    InputError
        Predictions of other dimensions; a table without a value for a sample that is scored.
    """
    if isinstance(predicted, pd.DataFrame):
        values = of_samples(samples, predicted, np.asarray(folds.score.any(axis=0), np.bool_))
        everywhere = np.broadcast_to(values, (len(folds), len(values)))
        return tabulate(samples, folds, everywhere, np.zeros(everywhere.shape), model=model)
    if not isinstance(predicted, xr.DataArray):
        raise InputError(
            "predicted",
            expected="a DataArray (fold, member, row), or a table with the columns glacier, year and value",
            found=f"a {type(predicted).__name__}",
            remedy="pass what `predict` gives",
        )
    check(predicted.to_dataset(name="predicted"), PREDICTIONS)
    operator = operator_of(samples)
    shape = (len(folds), samples.sizes["sample"])
    mean, variance = np.empty(shape), np.empty(shape)
    for fold, rows in enumerate(predicted.transpose("fold", "member", "row").values):
        members = operator.sums(rows)
        mean[fold], variance[fold] = members.mean(axis=0), members.var(axis=0)
    return tabulate(samples, folds, mean, variance, model=model)


def tabulate(samples: xr.Dataset, folds: Folds, mean: Floats, variance: Floats, *, model: str) -> pd.DataFrame:
    """Table of the predictions of the samples that the folds of one scheme withheld.

    Parameters
    ----------
    samples : xr.Dataset
    folds : Folds
    mean, variance : float arrays, (fold, sample), m w.e. and its square
        Over the members of each fold.
    model : str

    Returns
    -------
    DataFrame
        PREDICTION_COLUMNS; an unknown `group` is the glacier, an unknown `region` empty. `predicted_uncertainty` is
        sqrt(member variance + residual variance), the latter from the out-of-fold residuals of the samples that the
        fold was fitted on, never of those it withheld. (The fits behind these residuals used the glacier of the row: a
        second-order dependence that remains.)
    """
    score = folds.score
    times = score.sum(axis=0)
    if (times > 1).any() or not times.any():
        raise ValueError("every sample must be scored in exactly one fold, or in none")
    rows = np.flatnonzero(times)
    fold = score[:, rows].argmax(axis=0)
    observed = samples["mass_balance"].values.astype(np.float64)
    square = np.full(len(times), np.nan)
    square[rows] = (observed[rows] - mean[fold, rows]) ** 2
    known = [square[fit & (times > 0)] for fit in folds.fit]
    residual = np.array([s.mean() if len(s) else np.nan for s in known])
    region = samples["region"].values.astype(str) if "region" in samples.coords else np.full(len(times), "")
    table = pd.DataFrame(
        {
            "scheme": str(folds.scheme[0]),
            "protocol": "nested",
            "model": model,
            "sample": samples["sample"].values[rows].astype(str),
            "glacier": samples["glacier"].values[rows].astype(str),
            "group": groups_of(samples)[rows],
            "region": np.where(region == "nan", "", region)[rows],
            "year": samples["year"].values[rows],
            "observed": observed[rows],
            "predicted": mean[fold, rows],
            "predicted_uncertainty": np.sqrt(variance[fold, rows] + residual[fold]),
            "fold": folds.name[fold],
        }
    )
    return table[PREDICTION_COLUMNS]
