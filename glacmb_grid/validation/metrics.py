"""Metrics of weighted rows; most are functions of weighted means of a few statistics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Metric = Callable[[Floats, Floats, Floats, Floats], Floats]
"""Weights (draw, row), error (row,), observed (row,), glacier number (row,) -> score (draw,)."""

TOLERANCE = 1.0
"""m w.e.; largest tolerance of `rec_auc`."""


class Statistics(NamedTuple):
    """Statistics of every row, (row,), or their weighted means, (draw,); m w.e. and its square."""

    error: Floats
    squared_error: Floats
    absolute_error: Floats
    observed: Floats
    squared_observed: Floats
    hinge: Floats
    """max(1 - |error| / tolerance, 0), no unit."""

    @classmethod
    def of_rows(cls, error: Floats, observed: Floats, tolerance: float) -> Statistics:
        """From the errors and observations of rows."""
        hinge = np.maximum(1 - np.abs(error) / tolerance, 0)
        return cls(error, error**2, np.abs(error), observed, observed**2, hinge)

    @property
    def table(self) -> Floats:
        """One column for each statistic, (row, statistic), so that one product averages all of them."""
        return np.stack(self, axis=1)

    @classmethod
    def of_table(cls, table: Floats) -> Statistics:
        """From one column for each statistic."""
        return cls(*table.T)


def _r2(means: Statistics) -> Floats:
    """1 - squared error / squared deviation of the observations from their mean."""
    variance = means.squared_observed - means.observed**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 1e-12, 1 - means.squared_error / variance, np.nan)


OF_MEANS: dict[str, Callable[[Statistics], Floats]] = {
    "rmse": lambda means: np.sqrt(means.squared_error),
    "mae": lambda means: means.absolute_error,
    "bias": lambda means: means.error,
    "r2": _r2,
    "rec_auc": lambda means: means.hinge,
}
"""Metrics that are functions of the mean statistics."""


def _simple(name: str, weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    del glacier
    table = Statistics.of_rows(error, observed, TOLERANCE).table
    return OF_MEANS[name](Statistics.of_table(weight @ table / weight.sum(axis=1, keepdims=True)))


def _rmse_glacier_mean(weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    """Mean over glaciers of the RMSE of each; a glacier drawn twice counts twice."""
    del observed
    return mean_of_glaciers(weight, np.ones(len(error)), error**2, glacier)


def mean_of_glaciers(weight: Floats, rows: Floats, squares: Floats, glacier: Floats) -> Floats:
    """`_rmse_glacier_mean` from numbers of rows and sums of squares over rows of equal weight."""
    order = np.argsort(glacier, kind="stable")
    first = np.unique(glacier[order], return_index=True)[1]
    weight = weight[:, order]
    total = np.add.reduceat(weight * rows[order], first, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.sqrt(np.add.reduceat(weight * squares[order], first, axis=1) / total)
    drawn = total / np.add.reduceat(rows[order], first)
    return np.asarray((np.where(total > 0, own, 0.0) * drawn).sum(axis=1) / drawn.sum(axis=1))


def sign_auc(weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    """Probability that a positive year is predicted above a non-positive one, ties counting half; NaN without both."""
    del glacier
    predicted = np.round(observed + error, 9)  # restores ties that subtracting and adding the observation broke
    gain, loss = observed > 0, ~(observed > 0)
    order = np.argsort(predicted[loss], kind="stable")
    lost = weight[:, loss][:, order]
    below = np.concatenate([np.zeros((len(weight), 1)), np.cumsum(lost, axis=1)], axis=1)
    ranks = [np.searchsorted(predicted[loss][order], predicted[gain], side=side) for side in ("left", "right")]
    won = (weight[:, gain] * (below[:, ranks[0]] + below[:, ranks[1]]) / 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(won / (weight[:, gain].sum(axis=1) * below[:, -1]))


METRICS: dict[str, Metric] = {
    "rmse": partial(_simple, "rmse"),
    "rmse_glacier_mean": _rmse_glacier_mean,
    "mae": partial(_simple, "mae"),
    "bias": partial(_simple, "bias"),
    "r2": partial(_simple, "r2"),
    "rec_auc": partial(_simple, "rec_auc"),
    "sign_auc": sign_auc,
}
"""rmse, mae, bias: m w.e.

rec_auc: area under the regression error characteristic (the share of rows with an error up to t, t from 0 to TOLERANCE)
divided by TOLERANCE, which is the mean of max(1 - |error| / TOLERANCE, 0); 1 is perfect.

sign_auc: area under the ROC curve of the predicted balance for the sign of the observed one.
"""
