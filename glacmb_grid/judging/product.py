"""The stage that makes the product: the regional glacier x year dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.folds.masks import Folds
from glacmb_grid.inputs.outlines import glaciers_dataset
from glacmb_grid.judging.fits import Fits, fitted_in
from glacmb_grid.judging.plan import PRODUCT_SCHEME, require_fitted
from glacmb_grid.learning.registry import predict
from glacmb_grid.products.area_change import AreaChange, area_of_years
from glacmb_grid.products.glacier import glacier_product, with_realizations
from glacmb_grid.products.metadata import describe, with_mass_units
from glacmb_grid.products.regions import one_region, rgi_regions
from glacmb_grid.settings import Product
from glacmb_grid.stores.work import Work
from glacmb_grid.uncertainty.correlation import ErrorCorrelation
from glacmb_grid.upscaling.predict import upscale
from glacmb_grid.validation.metrics import METRICS

MOST_WITH_DRAWS = 10_000
DRAWS = 100
"""Realizations by default of a product of at most MOST_WITH_DRAWS glaciers."""


def make_products(
    work: Work,
    *,
    outlines: gpd.GeoDataFrame,
    sampled: xr.Dataset,
    predictors: xr.Dataset,
    expected: xr.Dataset,
    correlation: dict[str, str],
    samples: xr.Dataset,
    folds: Folds,
    fits: Fits,
    name: str,
    model: str,
    compared: Sequence[str],
    product: Product,
    title: str,
    institution: str,
    metadata: dict[str, str],
    seed: int,
    truth: xr.Dataset | None = None,
) -> dict[str, Any]:
    """The glacier x year dataset by one model; if the truth is known, the scores of all fitted models against it."""
    ids = predictors["glacier"].values
    whole, predictors = predictors, within_years(predictors, product.years)
    asked = predictors["year"].values
    every = whole.isel(year=np.isin(whole["year"].values, asked) | years_of(whole, samples))
    glaciers = glaciers_dataset(outlines.loc[ids])
    fitted = {n: p.load() for n, p in fitted_in(fits, PRODUCT_SCHEME).items()}
    require_fitted(model, fitted)

    def balance_by(one: str) -> xr.Dataset:
        return upscale(partial(predict, fitted[one], built_on=fitted), every, samples, folds).sel(year=asked)

    balance = balance_by(model)
    require_balances(work, model, balance)
    areas, of_areas = areas_as_configured(product, glaciers, predictors["year"].values)
    made = glacier_product(balance, expected, predictors, glaciers, samples, area_of_year=areas)
    if (before := made["year"].values[made["observed_period"].values == 0]).size:
        work.say(f"note: {len(before)} years, {before[0]}..{before[-1]}, lie before the first observation; see the "
                 "variable observed_period")  # fmt: skip
    for said in (str(t) for n, t in made.attrs.items() if n.startswith("interval_")):
        work.say(f"note: prediction intervals are {said}")
    if outside := int(((made["applicable"] == 0) & made["mass_balance"].notnull()).sum()):
        work.say(f"{outside} of {made['applicable'].size} glacier-years lie outside the area of applicability; see "
                 "applicable")  # fmt: skip
    nearest = sampled[["nearest_land", "land_distance"]].sel(glacier=ids).load()
    made = made.assign({n: ("glacier", v.values, v.attrs) for n, v in nearest.data_vars.items()})
    made = with_mass_units(made, water_density=product.water_density)
    draws = (DRAWS if made.sizes["glacier"] <= MOST_WITH_DRAWS else 0) if product.draws is None else product.draws
    if draws:
        made = with_realizations(made, ErrorCorrelation.from_attrs(correlation), draws, seed)
    made.attrs |= {
        "configuration": name,
        "glaciers_failed": len(outlines) - made.sizes["glacier"],
        **of_areas,
        **correlation,
        **work.provenance,
    }
    about = {"title": title, "institution": institution or "not stated", **metadata}
    source = f"glacmb_grid, model {model}, folds that leave one glacier out"
    made = describe(made, kind="glacier", source=source, **about)
    work.say(f"{made.sizes['glacier']} glaciers x {made.sizes['year']} years by {model}")
    if truth is None:
        return {"product": made}
    means = {m: (balance if m == model else balance_by(m))["mean"].values for m in compared if m in fitted}
    complete = {m: mean for m, mean in means.items() if np.isfinite(mean).all()}
    return {"product": made, "truth_scores": _against_truth(truth, complete, predictors, made["measured"].values == 1)}


def areas_as_configured(
    product: Product, glaciers: xr.Dataset, years: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], dict[str, str]]:
    """Areas as the configuration has them change, (glacier, year), km2, and what to say of it."""
    area = glaciers["area"].values.astype(np.float64)
    if product.area_change == "fixed":
        return area_of_years(area, one_region(len(area), "all glaciers"), years)
    reference, regions = product.area_reference_year, rgi_regions(glaciers["glacier"].values.astype(str))
    if product.area_change == "rgi":
        return area_of_years(area, regions, years, AreaChange(reference=reference))
    return area_of_years(area, regions, years, AreaChange(product.area_change, reference, "given by the user"))


def require_balances(work: Work, model: str, balance: xr.Dataset) -> None:
    """Say how many glacier-years have no balance; refuse a product without any."""
    gaps = int(balance["mean"].isnull().sum())
    if gaps == balance["mean"].size:
        raise InputError(
            f"product: model {model}",
            expected="a balance for at least one glacier and year",
            found=f"none for {gaps} glacier-years",
            remedy="complete its predictions or predictors, or choose another `product.model`",
        )
    if gaps:
        work.say(f"note: {gaps} of {balance['mean'].size} glacier-years have no balance by {model}, and are NaN")


def years_of(predictors: xr.Dataset, samples: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Years from the first to the last observed one, (year,): the mean climate of a glacier is that of all of them.

    It must not depend on which years a product is asked for.
    """
    observed, years = samples["row_year"].values, predictors["year"].values
    return np.asarray((years >= observed.min()) & (years <= observed.max()))


def within_years(predictors: xr.Dataset, years: tuple[int, int] | None) -> xr.Dataset:
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
