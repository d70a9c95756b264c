"""A weighted mean of models. The weights are fitted on what each model predicted on the inner splits of the fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.optimize import nnls

from glacmb_grid.learning.nested import prediction, seen_by

Floats = npt.NDArray[np.float64]
_TOWARDS_EQUAL = 0.05  # prior: squared departure from equal weights, as a share of the rows


def fit_blend(parts: Mapping[str, xr.Dataset], samples: xr.Dataset, folds: xr.Dataset) -> xr.Dataset:
    """Weights of models by fold: not negative, summing to one.

    Parameters
    ----------
    parts : mapping of str to xr.Dataset
        Parameters of the models, with `inner_prediction` (fold, sample).
    samples, folds : xr.Dataset

    Returns
    -------
    xr.Dataset
        `weight` (fold, model).
    """
    names = list(parts)
    inner = np.stack([parts[m]["inner_prediction"].values for m in names])  # (model, fold, sample)
    target = samples["mass_balance"].values
    seen = folds["fit"].values
    weight = np.array([_weights(inner[:, f], target, seen[f]) for f in range(len(seen))])
    return xr.Dataset(
        {"weight": (("fold", "model"), weight), "seen": (("fold", "sample"), seen_by(folds))},
        coords={"fold": folds["fold"], "scheme": folds["scheme"], "model": np.array(names, dtype=object)},
    )


def _weights(inner: Floats, target: Floats, seen: npt.NDArray[np.bool_]) -> Floats:
    """Least squares of the target on the inner predictions, (model,), with a weak pull to equal weights."""
    rows = seen & np.isfinite(inner).all(axis=0)
    count = len(inner)
    if not rows.any():
        return np.full(count, 1 / count)
    errors = inner[:, rows] - target[rows]
    spread = np.sqrt((errors**2).mean())
    pull = np.sqrt(_TOWARDS_EQUAL * rows.sum() / count) * spread * (np.eye(count) - 1 / count)
    sums = 1e3 * spread * np.sqrt(rows.sum()) * np.ones((1, count))
    design = np.concatenate([errors.T, pull, sums])
    aim = np.concatenate([np.zeros(rows.sum() + count), sums[0, :1]])
    weight = nnls(design, aim)[0] if spread > 1e-12 else np.full(count, 1 / count)
    return np.asarray(weight / weight.sum())


def blended(weights: xr.Dataset, predictions: Mapping[str, pd.Series[float]], samples: xr.Dataset) -> Floats:
    """Out-of-fold predictions of every fold's blend from those of its models by sample, (fold, sample), m w.e."""
    names = samples["sample"].values.astype(str)
    table = np.stack([predictions[str(m)].reindex(names).to_numpy(np.float64) for m in weights["model"].values])
    return np.asarray(np.einsum("fm,ms->fs", weights["weight"].values, np.where(np.isfinite(table), table, 0.0)))


def predict_blend(
    weights: xr.Dataset, predict: Mapping[str, Callable[[xr.Dataset], xr.DataArray]], rows: xr.Dataset
) -> xr.DataArray:
    """Balance of rows by the blend of every fold, (fold, member, row), m w.e."""
    total: Floats = np.zeros((weights.sizes["fold"], 1, rows.sizes["row"]))
    for i, name in enumerate(weights["model"].values):
        total += weights["weight"].values[:, i, None, None] * predict[str(name)](rows).mean("member").values[:, None]
    return prediction(total, weights)
