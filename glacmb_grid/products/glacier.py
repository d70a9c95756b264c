"""The glacier x year product: balances with the parts of their uncertainty, intervals and applicability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.spatial import cKDTree

from glacmb_grid.errors import InputError
from glacmb_grid.predictors import BY_GLACIER
from glacmb_grid.schemas import EXPECTED, GLACIERS, PREDICTORS, PRODUCT, SAMPLES, UPSCALED, check
from glacmb_grid.sphere import arc_km, unit_vectors
from glacmb_grid.uncertainty.correlation import ErrorCorrelation
from glacmb_grid.uncertainty.draws import draw_errors
from glacmb_grid.vocabulary import PERCENTS
from glacmb_grid.years import year_bounds

Floats = npt.NDArray[np.float64]
LARGEST_DRAW = 32.7
"""m w.e.; a 16-bit number holds no more millimetres."""
NO_ALBEDO, OBSERVED_ALBEDO, FILLED_ALBEDO = 0, 1, 2
PARTS = ("observation", "model", "member")


def decompose(expected_error: Floats, member_variance: Floats, observation: float) -> dict[str, Floats]:
    """Split the expected error of a glacier-year into independent parts, one standard deviation each, m w.e.

    Parameters
    ----------
    expected_error : float array
        Root of the expected squared difference from an observation, as measured out of fold, m w.e.
    member_variance : float array
        Variance over the fits that the mean is of, m2.
    observation : float
        Root mean square of the stated standard deviations of the observations that were judged with, m w.e.

    Returns
    -------
    dict of str to float array
        `total`, `observation`, `model` and `member`; the square of the total is the sum of the squares of the parts.

    Notes
    -----
    What is measured out of fold already holds the disagreement of the members and the error of the observations. The
    total is therefore the expected error, and the model's part what the other two leave of it; only where these are
    larger together does the total exceed it: ``total2 = max(expected2, observation2 + member2)``, where the part of the
    observations is at most the expected error.
    """
    squared = expected_error**2
    measured = np.minimum(observation**2, squared)
    model = np.maximum(squared - measured - member_variance, 0.0)
    return {
        "total": np.sqrt(measured + model + member_variance),
        "observation": np.sqrt(measured),
        "model": np.sqrt(model),
        "member": np.sqrt(member_variance),
    }


def error_of_balance(product: xr.Dataset) -> Floats:
    """Standard deviation of the product's error against the true balance, (glacier, year), m w.e.

    It is the total without the part of the observations, whose own errors are no errors of the product; the total
    itself where the product lacks the parts. What is below 0 gives NaN.
    """
    parts = [f"mass_balance_uncertainty_{n}" for n in ("model", "member")]
    names = parts if all(n in product for n in parts) else ["mass_balance_uncertainty"]
    each = [product[n].transpose("glacier", "year").values.astype(np.float64) for n in names]
    return np.asarray(np.sqrt(np.sum([np.where(v >= 0, v, np.nan) ** 2 for v in each], axis=0)))


def glacier_product(
    upscaled: xr.Dataset,
    expected: xr.Dataset,
    predictors: xr.Dataset,
    glaciers: xr.Dataset,
    samples: xr.Dataset,
    *,
    area_of_year: Floats | None = None,
) -> xr.Dataset:
    """The glacier x year product; `describe` gives it attributes.

    Parameters
    ----------
    upscaled : xr.Dataset, (glacier, year)
        From `upscale`.
    expected : xr.Dataset, (glacier, year)
        From `glacier_year_uncertainty`, of all of these years at least.
    predictors, glaciers : xr.Dataset
        From `build_predictors` and `glaciers_dataset`.
    samples : xr.Dataset
        What was learnt from: which glaciers and years are measured, and how well.
    area_of_year : float array, (glacier, year), optional
        km2, from `area_of_years`; by default the area of the inventory in all years.

    Returns
    -------
    xr.Dataset
        As described in docs/product.md. A glacier-year without a balance is NaN in all that depends on it.

    Raises
    ------
    InputError
        A Dataset that is not what its schema says.
    """
    check(samples, SAMPLES)
    said = {f"interval_{n}": str(expected[f"half_width_{n}"].attrs.get("comment", "")) for n in PERCENTS}
    threshold = expected["dissimilarity"].attrs.get("threshold")
    made = assemble(
        upscaled,
        expected.sel(year=predictors["year"].values).load(),
        predictors,
        glaciers.sel(glacier=predictors["glacier"].values),
        observation=observation_error(samples),
        measured=np.isin(predictors["glacier"].values.astype(str), samples["glacier"].values.astype(str)),
        observed=np.unique(samples["row_year"].values.astype(np.int64)),
        area_of_year=area_of_year,
    )
    made.attrs = {n: text for n, text in said.items() if text.startswith("not available")}
    for name, text in made.attrs.items():
        for end in (f"mass_balance_{side}_{name.removeprefix('interval_')}" for side in ("lower", "upper")):
            made[end].attrs["comment"] = text
    return made if threshold is None else made.assign_attrs(dissimilarity_threshold=float(threshold))


def observation_error(samples: xr.Dataset) -> float:
    """Root mean square of the stated errors of the observations, each glacier counting once, m w.e.; 0 if unknown."""
    if "mass_balance_uncertainty" not in samples:
        return 0.0
    square = pd.Series(samples["mass_balance_uncertainty"].values.astype(np.float64) ** 2)
    return float(np.nan_to_num(square.groupby(samples["glacier"].values.astype(str)).mean().mean()) ** 0.5)


def assemble(
    upscaled: xr.Dataset,
    expected: xr.Dataset,
    predictors: xr.Dataset,
    glaciers: xr.Dataset,
    *,
    observation: float,
    measured: npt.NDArray[np.bool_],
    observed: npt.NDArray[np.int64],
    area_of_year: Floats | None = None,
) -> xr.Dataset:
    """The values of the product, from what `glacier_product` reads off the samples.

    Parameters
    ----------
    upscaled, expected, predictors, glaciers, area_of_year
        As there.
    observation : float
        See `decompose`, m w.e.
    measured : bool array, (glacier,)
        Whether observations of the glacier were learnt from: its values are then predicted by fits without it.
    observed : int array
        Years with observations.
    """
    for given, schema in ((upscaled, UPSCALED), (expected, EXPECTED), (predictors, PREDICTORS), (glaciers, GLACIERS)):
        check(given, schema)
    years = predictors["year"].values.astype(np.int32)
    mean = upscaled["mean"].values
    known = np.isfinite(mean)
    parts = decompose(expected["expected_error"].values, upscaled["variance"].values, observation)
    by_year = {"mass_balance": mean}
    by_year |= {"mass_balance_uncertainty": parts["total"]}
    by_year |= {f"mass_balance_uncertainty_{n}": parts[n] for n in PARTS}
    for level in PERCENTS:
        half = expected[f"half_width_{level}"].values
        by_year |= {f"mass_balance_lower_{level}": mean - half, f"mass_balance_upper_{level}": mean + half}
    by_year |= {n: expected[n].values for n in ("expected_error", "dissimilarity")}
    area = glaciers["area"].values.astype(np.float64)
    by_area = np.repeat(area[:, None], len(years), axis=1) if area_of_year is None else area_of_year
    dims, bounds = _bounds_of_years(predictors)
    both = ("glacier", "year")
    return xr.Dataset(
        {
            **{n: (both, np.where(known, v, np.nan).astype(np.float32)) for n, v in by_year.items()},
            "training_density": (both, expected["training_density"].values.astype(np.int32)),
            "applicable": (both, (expected["applicable"].values.astype(bool) & known).astype(np.int8)),
            "albedo_kind": (both, _kind_of_albedo(predictors)),
            "area": ("glacier", area),
            "area_of_year": (both, by_area.astype(np.float64)),
            "nets": ("glacier", upscaled["nets"].values.astype(np.int32)),
            "measured": ("glacier", measured.astype(np.int8)),
            "nearest_measured_km": ("glacier", _nearest_measured(glaciers, measured).astype(np.float32)),
            "observed_period": ("year", (1 - (years < observed.min()) + (years > observed.max())).astype(np.int8)),
            "time_bnds": ((*dims, "bnds"), bounds),
        },
        coords={
            "year": ("year", years),
            "time": (dims, bounds[..., 0] + (bounds[..., 1] - bounds[..., 0]) // 2),
            "glacier_id": ("glacier", glaciers["glacier"].values),
            "longitude": ("glacier", glaciers["longitude"].values),
            "latitude": ("glacier", glaciers["latitude"].values),
        },
    )


def with_realizations(product: xr.Dataset, correlation: ErrorCorrelation, draws: int, seed: int) -> xr.Dataset:
    """The product with `mass_balance_realizations` (realization, glacier, year), m w.e.: joint draws of the truth.

    Their errors are correlated in space and time, so that a sum over any glaciers and years of each realization gives
    the spread of that sum. The realizations of a year are the same however many later years the product has.

    Parameters
    ----------
    product : xr.Dataset
        From `glacier_product`.
    correlation : ErrorCorrelation
        From `fit_correlation`.
    draws : int
        Number of realizations.
    seed : int
    """
    check(product, PRODUCT)
    errors = draw_errors(
        correlation,
        error_of_balance(product),
        np.stack([product["longitude"].values, product["latitude"].values], axis=1),
        product["year"].values.astype(np.int64),
        draws=draws,
        seed=seed,
    )
    values = product["mass_balance"].values + np.asarray(errors, np.float32)
    if (largest := float(np.nanmax(np.abs(values), initial=0.0))) > LARGEST_DRAW:
        raise InputError(
            "product: mass_balance_realizations",
            expected=f"balances within {LARGEST_DRAW:g} m w.e., as whole millimetres are stored",
            found=f"{largest:.4g}",
            remedy="look at the predictions of the model far from its training rows; `product: {draws: 0}` makes none",
        )
    out = product.drop_dims("realization", errors="ignore")
    out = out.assign(mass_balance_realizations=(("realization", "glacier", "year"), values))
    return out.assign_coords(realization=np.arange(1, draws + 1, dtype=np.int32))


def _nearest_measured(glaciers: xr.Dataset, measured: npt.NDArray[np.bool_]) -> Floats:
    """Great-circle distance to the nearest measured glacier, of a measured one to the nearest other, (glacier,), km."""
    place = unit_vectors(glaciers["longitude"].values, glaciers["latitude"].values)
    if not measured.any():
        return np.full(len(place), np.nan)
    chord = cKDTree(place[measured]).query(place, k=2)[0]
    nearest = np.where(measured, chord[:, 1], chord[:, 0])
    return np.where(np.isfinite(nearest), arc_km(nearest), np.nan)


def _kind_of_albedo(predictors: xr.Dataset) -> npt.NDArray[np.int8]:
    """Which albedo each glacier-year was predicted with, (glacier, year)."""
    shape = predictors.sizes["glacier"], predictors.sizes["year"]
    mine = np.flatnonzero((predictors["origin"].values == "albedo") & (predictors["part"].values == "value"))
    if not len(mine):
        return np.full(shape, NO_ALBEDO, np.int8)
    gaps = np.isnan(predictors["predictors"].isel(predictor=mine[0]).values)
    return np.where(gaps, FILLED_ALBEDO, OBSERVED_ALBEDO).astype(np.int8)


def _bounds_of_years(predictors: xr.Dataset) -> tuple[tuple[str, ...], npt.NDArray[np.datetime64]]:
    """Bounds of the hydrological years and their dimensions without the last: of all glaciers, or by glacier."""
    years = predictors["year"].values.astype(np.int64)
    if predictors.attrs["first_month"] != BY_GLACIER:
        return ("year",), year_bounds(years, int(predictors.attrs["first_month"]))
    firsts, row = np.unique(predictors["first_month"].values.astype(np.int64), return_inverse=True)
    return ("glacier", "year"), np.stack([year_bounds(years, first) for first in firsts.tolist()])[row]
