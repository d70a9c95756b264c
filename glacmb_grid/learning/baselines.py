"""The training mean and ridge regression, in the same contract as the network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.learning.prepare import fit_scaling, scaled
from glacmb_grid.predictors import matching
from glacmb_grid.samples import operator_of
from glacmb_grid.settings import Mean, Ridge

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
    years = dense_operator(samples).sum(axis=1)
    target = samples["mass_balance"].values
    level = [float((years[m] @ target[m]) / (years[m] @ years[m])) for m in folds["fit"].values]
    return xr.Dataset({"level": ("fold", level)}, coords={"fold": folds["fold"], "scheme": folds["scheme"]})


def predict_mean(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """The same balance everywhere, (fold, member, row), m w.e."""
    level = parameters["level"].values[:, None, None]
    return _prediction(np.broadcast_to(level, (level.shape[0], 1, rows.sizes["row"])), parameters)


def fit_ridge(samples: xr.Dataset, folds: xr.Dataset, settings: Ridge, seed: int) -> xr.Dataset:
    """Ridge regression; scaling and penalty chosen inside every fold.

    Returns
    -------
    xr.Dataset
        `centre`, `inverse_scale`, `coefficient` (fold, predictor), `intercept`, `penalty` (fold), m w.e.
    """
    del seed
    chosen = matching(samples["predictor"].values, settings.predictors)
    values = samples["predictors"].values[:, chosen].astype(np.float64)
    operator, target = dense_operator(samples), samples["mass_balance"].values
    fits = []
    for fold in range(folds.sizes["fold"]):
        inner = zip(folds["inner_fit"].values[fold], folds["inner_score"].values[fold], strict=True)
        penalty = _best_penalty(values, operator, target, list(inner), settings.penalties)
        fits.append((*_ridge(values, operator, target, folds["fit"].values[fold], penalty), penalty))
    names = ("centre", "inverse_scale", "coefficient", "intercept", "penalty")
    columns = dict(zip(names, map(np.array, zip(*fits, strict=True)), strict=True))
    return xr.Dataset(
        {n: (("fold", "predictor")[: v.ndim], v) for n, v in columns.items()},
        coords={"fold": folds["fold"], "scheme": folds["scheme"], "predictor": samples["predictor"].values[chosen]},
    )


def _best_penalty(
    values: Floats, operator: Floats, target: Floats, inner: list[tuple[Bools, Bools]], penalties: list[float]
) -> float:
    def error(penalty: float) -> float:
        total = 0.0
        for fit, score in inner:
            centre, inverse, coefficient, intercept = _ridge(values, operator, target, fit, penalty)
            balance = scaled(values, centre, inverse) @ coefficient + intercept
            total += float(((operator[score] @ balance - target[score]) ** 2).mean())
        return total

    return min(penalties, key=error)


def _ridge(
    values: Floats, operator: Floats, target: Floats, fit: Bools, penalty: float
) -> tuple[Floats, Floats, Floats, float]:
    """Solve ``min |A (X c + k) - y|^2 + penalty |c|^2`` over the fitted observations in its dual form."""
    seen = operator[fit]
    centre, inverse = fit_scaling(values, (np.abs(seen).sum(axis=0) > 0).astype(np.float64))
    design = seen @ scaled(values, centre, inverse)
    level = seen.sum(axis=1)
    gram = design @ design.T + penalty * np.eye(len(design))
    solved = np.linalg.solve(gram, np.column_stack([target[fit], level]))
    intercept = float((level @ solved[:, 0]) / (level @ solved[:, 1]))
    coefficient = design.T @ (solved[:, 0] - intercept * solved[:, 1])
    return centre, inverse, coefficient, intercept


def predict_ridge(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """Linear balance, (fold, member, row), m w.e."""
    values = rows["predictors"].sel(predictor=parameters["predictor"].values).values.astype(np.float64)
    folds = [
        scaled(values, centre, inverse) @ coefficient + intercept
        for centre, inverse, coefficient, intercept in zip(
            parameters["centre"].values,
            parameters["inverse_scale"].values,
            parameters["coefficient"].values,
            parameters["intercept"].values,
            strict=True,
        )
    ]
    return _prediction(np.array(folds)[:, None, :], parameters)


def _prediction(values: Floats, parameters: xr.Dataset) -> xr.DataArray:
    return xr.DataArray(
        values, dims=("fold", "member", "row"), coords={"fold": parameters["fold"], "scheme": parameters["scheme"]}
    )
