"""Predictions that were made elsewhere, as a table of glacier, year and value, in the place of those of a fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.samples import operator_of
from glacmb_grid.schemas import require_columns

Floats = npt.NDArray[np.float64]


def of_samples(samples: xr.Dataset, predicted: pd.DataFrame, asked: npt.NDArray[np.bool_]) -> Floats:
    """Predictions of samples, (sample,), m w.e.; NaN where none is asked for.

    Parameters
    ----------
    samples : xr.Dataset
    predicted : DataFrame
        Columns `glacier`, `year`, `value` (m w.e.).
    asked : bool array, (sample,)
        Samples that need a prediction.

    Raises
    ------
    InputError
        A column is missing, a glacier-year occurs twice, or a sample that is asked for has no prediction.
    """
    require_columns(
        predicted, ("glacier", "year", "value"), name="predicted", source="`predict`, or a table with these,"
    )
    known = predicted.assign(glacier=predicted["glacier"].astype(str)).set_index(["glacier", "year"])["value"]
    known = known[np.isfinite(known.astype(np.float64))]
    twice = known.index[known.index.duplicated()].unique()
    if len(twice):
        raise InputError(
            "predicted",
            expected="one value for every glacier and year",
            found=f"several for {listing((f'{g} {y}' for g, y in twice), 3)}",
            remedy="keep one of them",
        )
    rows = pd.MultiIndex.from_arrays([samples["row_glacier"].values.astype(str), samples["row_year"].values])
    value = np.asarray(known.reindex(rows).to_numpy(np.float64))
    operator = operator_of(samples)
    gaps = operator.sums(np.where(np.isfinite(value), 0.0, 1.0)) > 0
    if (gaps & asked).any():
        names = samples["sample"].values[gaps & asked]
        raise InputError(
            "predicted",
            expected="a prediction for every observed glacier-year",
            found=f"none for {len(names)} of {int(asked.sum())}: {listing(names, 3)}",
            remedy="complete the predictions (glaciers are named as in the samples), or leave these observations out",
        )
    return np.where(asked, operator.sums(np.where(np.isfinite(value), value, 0.0)), np.nan)
