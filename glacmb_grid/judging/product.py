"""The stage that makes the product: the regional glacier x year dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.folds.masks import Folds
from glacmb_grid.inputs.outlines import glaciers_dataset
from glacmb_grid.judging.fits import Fits, fitted_in
from glacmb_grid.judging.plan import PRODUCT_SCHEME
from glacmb_grid.learning.registry import predict
from glacmb_grid.stores.work import Work
from glacmb_grid.upscaling.products import build_product, residual_variance, upscale
from glacmb_grid.validation.metrics import METRICS


def make_products(
    work: Work,
    *,
    outlines: gpd.GeoDataFrame,
    sampled: xr.Dataset,
    predictors: xr.Dataset,
    samples: xr.Dataset,
    folds: Folds,
    fits: Fits,
    predictions: pd.DataFrame,
    name: str,
    model: str,
    years: tuple[int, int] | None,
    compared: Sequence[str],
    title: str,
    institution: str,
    truth: xr.Dataset | None = None,
) -> dict[str, Any]:
    """The glacier x year dataset by one model; if the truth is known, the scores of all fitted models against it."""
    ids = predictors["glacier"].values
    predictors = _within(predictors, years)
    glaciers = glaciers_dataset(outlines.loc[ids])
    measured = np.isin(ids.astype(str), samples["glacier"].values.astype(str))
    fitted = {n: p.load() for n, p in fitted_in(fits, PRODUCT_SCHEME).items()}
    if model not in fitted:
        raise InputError(
            f"product: model {model}",
            expected="a model that could be fitted",
            found="one that lacks its data, see the messages of its stage",
            remedy="choose another `product.model`, or give the data that it needs",
        )

    def balance_by(one: str) -> xr.Dataset:
        return upscale(partial(predict, fitted[one], built_on=fitted), predictors, samples, folds)

    balance = balance_by(model)
    if gaps := int(balance["mean"].isnull().sum()):
        raise InputError(
            f"product: model {model}",
            expected="a balance for every glacier and year",
            found=f"none for {gaps} of {balance['mean'].size}",
            remedy="complete its predictions, or choose another `product.model`",
        )
    residual = residual_variance(predictions, ids, predictors["year"].values)
    attrs = {
        "title": title,
        "institution": institution or "not stated",
        "source": f"glacmb_grid, model {model}, folds that leave one glacier out",
        "configuration": name,
        **work.provenance,
    }
    observed = np.unique(samples["row_year"].values.astype(np.int64))
    product = build_product(balance, residual, predictors, glaciers, measured, observed, attrs=attrs)
    if (before := product["year"].values[product["observed_period"].values == 0]).size:
        work.say(f"note: {len(before)} years, {before[0]}..{before[-1]}, lie before the first observation; see the "
                 "variable observed_period")  # fmt: skip
    nearest = sampled[["nearest_land", "land_distance"]].sel(glacier=ids).load()
    product = product.assign({n: ("glacier", v.values, v.attrs) for n, v in nearest.data_vars.items()})
    product.attrs["glaciers_failed"] = len(outlines) - product.sizes["glacier"]
    work.say(f"{product.sizes['glacier']} glaciers x {product.sizes['year']} years by {model}")
    if truth is None:
        return {"product": product}
    means = {m: (balance if m == model else balance_by(m))["mean"].values for m in compared if m in fitted}
    complete = {m: mean for m, mean in means.items() if np.isfinite(mean).all()}
    return {"product": product, "truth_scores": _against_truth(truth, complete, predictors, measured)}


def _within(predictors: xr.Dataset, years: tuple[int, int] | None) -> xr.Dataset:
    """The predictors of the hydrological years from the first to the last of `years`."""
    if years is None:
        return predictors
    there = predictors["year"].values.astype(np.int64)
    if not set(range(years[0], years[1] + 1)) <= set(there.tolist()):
        raise years_beyond(years, there.tolist())
    return predictors.isel(year=np.flatnonzero((there >= years[0]) & (there <= years[1])))


def years_beyond(years: tuple[int, int], there: Sequence[int]) -> InputError:
    """The error for years of the product that the climate does not have."""
    return InputError(
        "product: years",
        expected=f"years within the climate's complete hydrological years {there[0]}..{there[-1]}",
        found=f"{years[0]}..{years[1]}",
        remedy="choose years that the climate covers, or leave `product.years` out for all of them",
    )


def _against_truth(
    truth: xr.Dataset, means: Mapping[str, np.ndarray], predictors: xr.Dataset, measured: np.ndarray
) -> pd.DataFrame:
    """Scores of predictions against a known truth, for measured and unmeasured glaciers."""
    ids = truth["glacier_id"].values.astype(str)
    balance = truth["mass_balance"].transpose("glacier", "year").assign_coords(glacier=ids)
    known = balance.sel(glacier=predictors["glacier"].values.astype(str), year=predictors["year"].values).values
    lines = []
    for model, mean in means.items():
        for name, rows in (("measured", measured), ("unmeasured", ~measured)):
            glacier = np.repeat(np.arange(rows.sum()), mean.shape[1]).astype(np.float64)
            observed, error = known[rows].ravel().astype(np.float64), (mean - known)[rows].ravel()
            for metric, function in METRICS.items():
                value = float(function(np.ones((1, len(error))), error, observed, glacier)[0]) if len(error) else np.nan
                lines.append((model, name, metric, value, len(error)))
    return pd.DataFrame(lines, columns=["model", "slice", "metric", "value", "n"])
