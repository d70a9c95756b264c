"""Transforms fitted inside a fold: gaps, scale, constant predictors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def fit_scaling(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Centre and inverse scale of every column over weighted rows.

    Parameters
    ----------
    values : float64 array, (row, predictor)
        NaN where missing.
    weight : float64 array, (..., row)
        0 for rows that must not be looked at.

    Returns
    -------
    centre, inverse_scale : float64 arrays, (..., predictor)
        The inverse scale is 0 where a predictor is constant or unseen, which drops it.
    """
    valid = np.isfinite(values)
    filled = np.where(valid, values, 0.0)
    seen = weight @ valid
    safe = np.where(seen > 0, seen, 1.0)
    centre = (weight @ filled) / safe
    used = weight > 0
    spread = np.empty_like(centre)
    for place in np.ndindex(weight.shape[:-1]):
        rows = used[place]
        deviation = np.where(valid[rows], filled[rows] - centre[place], 0.0)
        spread[place] = np.sqrt((weight[place][rows] @ deviation**2) / safe[place])
    tiny = 1e-6 * np.maximum(np.abs(centre), 1e-6)
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=(spread > tiny) & (seen > 0))
    return centre, inverse


def scaled(values: Floats, centre: Floats, inverse_scale: Floats) -> Floats:
    """Standardised values; gaps take the training mean (zero)."""
    standard = (values - centre) * inverse_scale
    return np.where(np.isfinite(standard), standard, 0.0)
