"""The stage that estimates how wrong the product is, by glacier and year, and how its errors are correlated."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.judging.fits import Fits, fitted_in
from glacmb_grid.judging.plan import PRODUCT_SCHEME, require_fitted
from glacmb_grid.learning.registry import predict
from glacmb_grid.settings import Scores
from glacmb_grid.stores.work import Work
from glacmb_grid.uncertainty.correlation import fit_correlation
from glacmb_grid.uncertainty.coverage import coverage
from glacmb_grid.uncertainty.every_year import LEVELS, glacier_year_uncertainty
from glacmb_grid.uncertainty.importance import predictor_weights


def estimate_uncertainty(
    work: Work,
    *,
    predictors: xr.Dataset,
    samples: xr.Dataset,
    folds: Folds,
    fits: Fits,
    predictions: pd.DataFrame,
    model: str,
    scores: Scores,
    seed: int,
) -> dict[str, Any]:
    """Expected errors, intervals and applicability of every glacier-year; coverage; correlation of errors."""
    fitted = {n: p.load() for n, p in fitted_in(fits, PRODUCT_SCHEME).items()}
    require_fitted(model, fitted)
    weights = predictor_weights(partial(predict, fitted[model], built_on=fitted), samples, folds, seed=seed)
    expected = glacier_year_uncertainty(samples, folds, predictions, predictors, weights)
    measured_coverage = coverage(predictions, LEVELS, samples, draws=scores.bootstrap, seed=seed)
    correlation = fit_correlation(predictions, samples)
    work.say(f"correlation of errors {correlation}")
    return {
        "expected": expected,
        "coverage": measured_coverage,
        "importance": weights.to_dataframe().reset_index(),
        "correlation": correlation.to_attrs(),
    }
