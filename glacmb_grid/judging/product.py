"""The stage that writes the product: the regional glacier x year dataset."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.outlines import glaciers_dataset
from glacmb_grid.judging.fits import fits_of
from glacmb_grid.judging.plan import models_of, stored_folds
from glacmb_grid.learning.registry import predict
from glacmb_grid.stages import PRODUCT_SCHEME, Context, describe_inputs
from glacmb_grid.stores.formats import read_outlines_store, read_zarr, write_product, write_table
from glacmb_grid.stores.versions import versions
from glacmb_grid.upscaling.products import build_product, residual_variance, upscale
from glacmb_grid.validation.metrics import METRICS


def make_products(context: Context) -> None:
    """Write the glacier x year dataset, and its scores if the truth is known."""
    config = context.cube
    predictors = read_zarr(context.of("predictors", "predictors.zarr"))
    samples = read_zarr(context.of("samples", "samples.zarr"))
    outlines = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    glaciers = glaciers_dataset(outlines.loc[predictors["glacier"].values])
    folds = stored_folds(context, PRODUCT_SCHEME)
    ids = predictors["glacier"].values
    measured = np.isin(ids.astype(str), samples["glacier"].values.astype(str))
    means = {}
    for model in models_of(config) if config.product.truth else [config.product.model]:
        fits = fits_of(context, [model], PRODUCT_SCHEME)
        if model not in fits:
            continue
        upscaled = upscale(partial(predict, fits[model], built_on=fits), predictors, samples, folds)
        gaps = int(upscaled["mean"].isnull().sum())
        if not gaps:  # only complete predictions are scored against the truth
            means[model] = upscaled["mean"].values
        if model == config.product.model:
            if gaps:
                raise InputError(
                    f"product: model {model}",
                    expected="a balance for every glacier and year",
                    found=f"none for {gaps} of {upscaled['mean'].size}",
                    remedy="complete its predictions, or choose another `product.model`",
                )
            table = pd.read_parquet(context.of(f"learning/{model}", "predictions.parquet"))
            residual = residual_variance(table, ids, predictors["year"].values)
            product = build_product(upscaled, residual, predictors, glaciers, measured, attrs=_provenance(context))
    nearest = read_zarr(context.of("sampled", "climate.zarr"), {})[["nearest_land", "land_distance"]]
    nearest = nearest.sel(glacier=predictors["glacier"].values).load()
    product = product.assign({n: ("glacier", v.values, v.attrs) for n, v in nearest.data_vars.items()})
    product.attrs["glaciers_failed"] = len(outlines) - product.sizes["glacier"]
    write_product(product, context.out)
    if config.product.truth is not None:
        write_table(_against_truth(config.product.truth, means, predictors, measured), context.out / "truth_scores.csv")
    context.say(f"{product.sizes['glacier']} glaciers x {product.sizes['year']} years by {config.product.model}")


def _provenance(context: Context) -> dict[str, str]:
    config = context.cube
    return {
        "title": str(config.as_written(config.product.title)),
        "institution": str(config.as_written(config.product.institution)) or "not stated",
        "source": f"glacmb_grid, model {config.product.model}, folds that leave one glacier out",
        "configuration": str(config.as_written(config.name)),
        "configuration_digest": context.key,
        "inputs": "; ".join(f"{what}: {text}" for what, text in describe_inputs(context.inputs).items()),
        "versions": "; ".join(f"{n} {v}" for n, v in versions().items()),
    }


def _against_truth(
    path: Path, means: dict[str, np.ndarray], predictors: xr.Dataset, measured: np.ndarray
) -> pd.DataFrame:
    """Scores of predictions against a known truth, for measured and unmeasured glaciers."""
    with xr.open_dataset(path) as file:
        ids = file["glacier_id"].values.astype(str)
        truth = file["mass_balance"].transpose("glacier", "year").assign_coords(glacier=ids)
        known = truth.sel(glacier=predictors["glacier"].values.astype(str), year=predictors["year"].values).values
    lines = []
    for model, mean in means.items():
        for name, rows in (("measured", measured), ("unmeasured", ~measured)):
            glacier = np.repeat(np.arange(rows.sum()), mean.shape[1]).astype(np.float64)
            observed, error = known[rows].ravel().astype(np.float64), (mean - known)[rows].ravel()
            for metric, function in METRICS.items():
                value = float(function(np.ones((1, len(error))), error, observed, glacier)[0]) if len(error) else np.nan
                lines.append((model, name, metric, value, len(error)))
    return pd.DataFrame(lines, columns=["model", "slice", "metric", "value", "n"])
