"""Scores, their block-bootstrap intervals, and paired comparisons.

A score is a weighted mean of statistics of rows; resampling blocks only changes the weights, so that a score, its
interval and a difference of two models come from one function.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.samples import operator_of

Floats = npt.NDArray[np.float64]
Metric = Callable[[Floats, Floats, Floats, Floats], Floats]

LEAST_BLOCKS = 8
"""Fewer glaciers (or years) than this give no interval."""

SCORE_COLUMNS = ["scheme", "protocol", "model", "slice", "metric", "value", "lower", "upper", "n"]
PREDICTION_COLUMNS = [
    "scheme",
    "protocol",
    "model",
    "sample",
    "glacier",
    "year",
    "observed",
    "predicted",
    "predicted_uncertainty",
    "fold",
]


def out_of_fold(samples: xr.Dataset, folds: xr.Dataset, predicted: xr.DataArray, *, model: str) -> pd.DataFrame:
    """Predictions of every sample by the fold that withheld it.

    Parameters
    ----------
    samples, folds : xr.Dataset
        Folds of one scheme.
    predicted : xr.DataArray, (fold, member, row), m w.e.
        From `predict` on the samples, the same folds.
    model : str

    Returns
    -------
    DataFrame
        Columns PREDICTION_COLUMNS. `predicted_uncertainty` is sqrt(member variance + residual variance), the latter
        from the samples of other glaciers (`logo`), years (`loyo`) or both, never from those withheld together. (The
        fits behind those residuals have seen the row's own glacier: a second-order dependence that remains.)
    """
    operator = operator_of(samples)
    members = operator.sums(predicted.transpose("fold", "member", "row").values)
    score = folds["score"].values
    if not (score.sum(axis=0) == 1).all():
        raise ValueError("every sample must be scored in exactly one fold")
    fold = score.argmax(axis=0)
    numbers = np.arange(len(fold))
    mean, variance = members.mean(axis=1)[fold, numbers], members.var(axis=1)[fold, numbers]
    observed = samples["mass_balance"].values
    fit = folds["fit"].values[fold]  # which other samples each one's fold was allowed to see
    squares = (observed - mean) ** 2
    residual = (fit @ squares) / fit.sum(axis=1)
    table = pd.DataFrame(
        {
            "scheme": str(folds["scheme"].values[0]),
            "protocol": "nested",
            "model": model,
            "sample": samples["sample"].values.astype(str),
            "glacier": samples["glacier"].values.astype(str),
            "year": samples["year"].values,
            "observed": observed,
            "predicted": mean,
            "predicted_uncertainty": np.sqrt(variance + residual),
            "fold": folds["fold"].values.astype(str)[fold],
        }
    )
    return table[PREDICTION_COLUMNS]


# ---- metrics: (rows weights (draw, row), error (row), observed (row), glacier number (row)) -> (draw,) ----


def _mean_square(weight: Floats, error: Floats) -> Floats:
    return np.asarray(weight @ error**2 / weight.sum(axis=1))


def _rmse(weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    del observed, glacier
    return np.sqrt(_mean_square(weight, error))


def _rmse_glacier_mean(weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    """Mean over glaciers of each one's own RMSE; a glacier drawn twice counts twice."""
    del observed
    member = np.eye(int(glacier.max()) + 1)[glacier.astype(int)]
    total = weight @ member
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.sqrt((weight * error**2) @ member / total)
    drawn = total / member.sum(axis=0)
    return np.asarray((np.where(total > 0, own, 0.0) * drawn).sum(axis=1) / drawn.sum(axis=1))


def _mae(weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    del observed, glacier
    return np.asarray(weight @ np.abs(error) / weight.sum(axis=1))


def _bias(weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    del observed, glacier
    return np.asarray(weight @ error / weight.sum(axis=1))


def _r2(weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    """1 - squared error / squared deviation of the observations from their own mean."""
    del glacier
    share = weight / weight.sum(axis=1, keepdims=True)
    centre = share @ observed
    variance = share @ observed**2 - centre**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 1e-12, 1 - _mean_square(weight, error) / variance, np.nan)


METRICS: dict[str, Metric] = {
    "rmse": _rmse,
    "rmse_glacier_mean": _rmse_glacier_mean,
    "mae": _mae,
    "bias": _bias,
    "r2": _r2,
}


def block_weights(table: pd.DataFrame, scheme: str, draws: int, seed: int) -> Floats | None:
    """Row weights of a block bootstrap, (draw, row); None below LEAST_BLOCKS blocks.

    Glaciers are drawn for `logo`, years for `loyo`, both independently for `both_out` (a row's weight is the product
    of the two counts).
    """
    by = {"logo": ["glacier"], "loyo": ["year"], "both_out": ["glacier", "year"]}[scheme]
    rng = np.random.default_rng([seed, draws])
    weight = np.ones((draws, len(table)))
    for column in by:
        number, names = pd.factorize(table[column], sort=True)
        if len(names) < LEAST_BLOCKS:
            return None
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
        weight *= counts[:, number]
    return np.asarray(weight[weight.sum(axis=1) > 0])


def score(predictions: pd.DataFrame, *, draws: int = 2000, level: float = 0.9, seed: int = 1) -> pd.DataFrame:
    """Scores of every scheme, protocol and model.

    Parameters
    ----------
    predictions : DataFrame
        PREDICTION_COLUMNS.
    draws : int
        Bootstrap draws.
    level : float
        Of the central interval.
    seed : int

    Returns
    -------
    DataFrame
        SCORE_COLUMNS, slice `all`; `lower` and `upper` are NaN where there are fewer than LEAST_BLOCKS blocks.
    """
    lines = []
    for (scheme, protocol, model), table in predictions.groupby(["scheme", "protocol", "model"], sort=False):
        error, observed, glacier = _arrays(table)
        weight = block_weights(table, str(scheme), draws, seed)
        for name, metric in METRICS.items():
            value = float(metric(np.ones((1, len(table))), error, observed, glacier)[0])
            drawn = metric(weight, error, observed, glacier) if weight is not None else np.full(1, np.nan)
            lower, upper = _interval(drawn, level)
            lines.append((scheme, protocol, model, "all", name, value, lower, upper, len(table)))
    return pd.DataFrame(lines, columns=SCORE_COLUMNS)


def _arrays(table: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    observed = table["observed"].to_numpy(np.float64)
    error = table["predicted"].to_numpy(np.float64) - observed
    return error, observed, pd.factorize(table["glacier"], sort=True)[0].astype(np.float64)


def _interval(drawn: Floats, level: float) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(predictions: pd.DataFrame, *, draws: int = 2000, level: float = 0.9, seed: int = 1) -> pd.DataFrame:
    """Paired differences of RMSE between all pairs of models of a scheme.

    Returns
    -------
    DataFrame
        Columns scheme, protocol, model, baseline, metric, difference (model minus baseline, m w.e.), lower, upper, n,
        verdict: `better` or `worse` only where the interval excludes 0, `undecided` where it holds 0, `not judged`
        below LEAST_BLOCKS blocks.
    """
    lines = []
    for (scheme, protocol), group in predictions.groupby(["scheme", "protocol"], sort=False):
        models = list(dict.fromkeys(group["model"]))
        tables = {m: group[group["model"] == m].sort_values("sample").reset_index(drop=True) for m in models}
        weight = block_weights(tables[models[0]], str(scheme), draws, seed)
        pairs = [(a, b) for a in models for b in models if a != b]
        lines += [(scheme, protocol, a, b, *_difference(tables[a], tables[b], weight, level)) for a, b in pairs]
    columns = ["scheme", "protocol", "model", "baseline", "metric", "difference", "lower", "upper", "n", "verdict"]
    return pd.DataFrame(lines, columns=columns)


def _difference(
    a: pd.DataFrame, b: pd.DataFrame, weight: Floats | None, level: float
) -> tuple[str, float, float, float, int, str]:
    if not a["sample"].equals(b["sample"]):
        raise ValueError("models can only be compared on the same samples")
    ones = np.ones((1, len(a)))
    value = float((_rmse(ones, *_arrays(a)) - _rmse(ones, *_arrays(b)))[0])
    if weight is None:
        return "rmse", value, float("nan"), float("nan"), len(a), "not judged"
    lower, upper = _interval(_rmse(weight, *_arrays(a)) - _rmse(weight, *_arrays(b)), level)
    verdict = "better" if upper < 0 else "worse" if lower > 0 else "undecided"
    return "rmse", value, lower, upper, len(a), verdict
