"""The training mean, in the same contract as all models."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.learning.nested import inner_prediction, prediction, seen_by
from glacmb_grid.samples import operator_of
from glacmb_grid.settings import Mean

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def dense_operator(samples: xr.Dataset) -> Floats:
    """The observation operator as a dense matrix, (sample, row)."""
    operator = operator_of(samples)
    matrix = np.zeros((samples.sizes["sample"], samples.sizes["row"]))
    matrix[operator.row, operator.column] = operator.weight
    return matrix


def fit_mean(samples: xr.Dataset, folds: xr.Dataset, settings: Mean, seed: int) -> xr.Dataset:
    """The constant annual balance that fits the training observations best, (fold,)."""
    del settings, seed
    years = operator_of(samples).sums(np.ones(samples.sizes["row"]))
    target = samples["mass_balance"].values

    def level(seen: Bools) -> float:
        return float((years[seen] @ target[seen]) / (years[seen] @ years[seen]))

    return xr.Dataset(
        {
            "level": ("fold", [level(m) for m in folds["fit"].values]),
            "inner_prediction": inner_prediction(folds, lambda seen: level(seen) * years),
            "seen": (("fold", "sample"), seen_by(folds)),
        },
        coords={"fold": folds["fold"], "scheme": folds["scheme"]},
    )


def predict_mean(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """The same balance everywhere, (fold, member, row), m w.e."""
    level = parameters["level"].values[:, None, None]
    return prediction(np.broadcast_to(level, (level.shape[0], 1, rows.sizes["row"])), parameters)
