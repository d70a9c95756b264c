"""The stage that estimates how wrong the product is, by glacier and year, and how its errors are correlated."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.judging.fits import Fits, fitted_in
from glacmb_grid.judging.plan import PRODUCT_SCHEME, require_fitted
from glacmb_grid.settings import Intervals
from glacmb_grid.stores.work import Work
from glacmb_grid.uncertainty.correlation import ErrorCorrelation, published_correlation
from glacmb_grid.uncertainty.every_year import glacier_year_uncertainty
from glacmb_grid.uncertainty.importance import predictor_weights
from glacmb_grid.uncertainty.variograms import fit_correlation


def estimate_uncertainty(
    work: Work,
    *,
    predictors: xr.Dataset,
    samples: xr.Dataset,
    folds: Folds,
    fits: Fits,
    predictions: pd.DataFrame,
    model: str,
    intervals: Intervals,
    seed: int,
) -> dict[str, Any]:
    """Expected errors, intervals and applicability of every glacier-year, and how errors are correlated."""
    fitted = {n: p.load() for n, p in fitted_in(fits, PRODUCT_SCHEME).items()}
    require_fitted(model, fitted)
    weights = predictor_weights(fitted[model], samples, folds, built_on=fitted, seed=seed)
    expected = glacier_year_uncertainty(
        samples, folds, predictions, predictors, weights, method=intervals.method, follow_error=intervals.follow_error
    )
    correlation = _correlation(predictions, samples)
    work.say(f"errors: {correlation.reason}")
    return {
        "expected": expected,
        "importance": weights.to_dataframe().reset_index(),
        "correlation": correlation.to_attrs(),
    }


def _correlation(predictions: pd.DataFrame, samples: xr.Dataset) -> ErrorCorrelation:
    """The correlation of the errors of glaciers that were left out."""
    places = {"longitude", "latitude"}
    if not places <= set(samples.coords):
        return published_correlation("the samples have no positions, so that published values stand in")
    table = predictions[predictions["scheme"] == PRODUCT_SCHEME]
    row = pd.Index(samples["sample"].values.astype(str)).get_indexer(table["sample"])
    given = samples["mass_balance_uncertainty"].values[row] if "mass_balance_uncertainty" in samples else None
    positions = pd.DataFrame(
        {n: samples[n].values for n in sorted(places)}, index=samples["glacier"].values.astype(str)
    )
    return fit_correlation(table, positions[~positions.index.duplicated()], observed_uncertainty=given)
