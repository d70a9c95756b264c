"""The regional glacier x year product."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.predictors import BY_GLACIER, as_rows
from glacmb_grid.schemas import GLACIERS, PREDICTORS, SAMPLES, UPSCALED, check
from glacmb_grid.vocabulary import MASS_BALANCE_ATTRS
from glacmb_grid.years import year_bounds

Floats = npt.NDArray[np.float64]
Predict = Callable[[xr.Dataset], xr.DataArray]
BLOCK = 2000  # glaciers predicted at a time


def withheld(glaciers: npt.NDArray[np.object_], samples: xr.Dataset, folds: Folds) -> npt.NDArray[np.bool_]:
    """Which folds may predict each glacier, (glacier, fold).

    A measured glacier is predicted, in all years, only by folds that withheld all its rows; any other by all folds.
    """
    seen = np.zeros((len(glaciers), len(folds)), dtype=bool)
    number = {g: i for i, g in enumerate(glaciers.tolist())}
    for glacier, fit in zip(samples["glacier"].values.tolist(), folds.fit.T, strict=True):
        if glacier in number:
            seen[number[glacier]] |= fit
    if (seen.all(axis=1)).any():
        stuck = glaciers[seen.all(axis=1)].tolist()
        raise ValueError(f"no fold withholds {stuck[:5]}: products need folds that leave glaciers out")
    return ~seen


def upscale(predict: Predict, predictors: xr.Dataset, samples: xr.Dataset, folds: Folds) -> xr.Dataset:
    """Annual balance of every glacier and year: mean and variance over the allowed folds and members.

    Parameters
    ----------
    predict : callable
        Rows to (fold, member, row), m w.e.
    predictors : xr.Dataset
        From `build_predictors`.
    samples : xr.Dataset
        From which the folds were made.
    folds : Folds
        That were fitted.

    Returns
    -------
    xr.Dataset
        `mean` (m w.e.) and `variance` (m2), (glacier, year), float64.

    Raises
    ------
    InputError
        Predictors or samples that are not what their schema says.
    ValueError
        A measured glacier that no fold withholds.
    """
    check(predictors, PREDICTORS)
    check(samples, SAMPLES)
    ids, years = predictors["glacier"].values, predictors["year"].values
    allowed = withheld(ids, samples, folds)
    mean, variance = np.empty((2, len(ids), len(years)))
    for start in range(0, len(ids), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(ids)))
        rows = as_rows(predictors, np.repeat(block, len(years)), np.tile(np.arange(len(years)), len(block)))
        values = predict(rows).values
        values = values.reshape(*values.shape[:2], len(block), len(years))
        share = allowed[block].T / (allowed[block].sum(axis=1) * values.shape[1])
        mean[block] = np.einsum("fg,fmgy->gy", share, values)
        variance[block] = np.einsum("fg,fmgy->gy", share, (values - mean[block]) ** 2)
    dims, coords = ("glacier", "year"), {"glacier": ids, "year": years}
    attrs = {"long_name": "variance of the annual mass balance over folds and members", "units": "m2"}
    return xr.Dataset({"mean": (dims, mean, MASS_BALANCE_ATTRS), "variance": (dims, variance, attrs)}, coords=coords)


def residual_variance(
    predictions: pd.DataFrame, glaciers: npt.NDArray[np.object_], years: npt.NDArray[np.int64]
) -> Floats:
    """Variance of the out-of-fold residuals for each glacier-year, (glacier, year), m2.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold predictions of one model by the scheme `logo` and, optionally, `both_out`.

    Notes
    -----
    Years with observations use the residuals of `logo`, all other years those of `both_out`. The residuals of a
    measured glacier do not enter its own uncertainty.
    """
    out = np.empty((len(glaciers), len(years)))
    schemes = {str(s): t for s, t in predictions.groupby("scheme")}
    logo = schemes["logo"]
    both = schemes.get("both_out", logo)
    observed_year = np.isin(years, logo["year"].unique())
    for table, columns in ((logo, observed_year), (both, ~observed_year)):
        square = (table["observed"] - table["predicted"]) ** 2
        sums, counts = square.groupby(table["glacier"]).sum(), square.groupby(table["glacier"]).count()
        own_sum = sums.reindex(glaciers, fill_value=0.0).to_numpy(np.float64)
        own_count = counts.reindex(glaciers, fill_value=0).to_numpy(np.float64)
        level = (sums.sum() - own_sum) / (counts.sum() - own_count)
        out[:, columns] = level[:, None]
    return out


def build_product(
    upscaled: xr.Dataset,
    residual: Floats,
    predictors: xr.Dataset,
    glaciers: xr.Dataset,
    measured: npt.NDArray[np.bool_],
    observed: npt.NDArray[np.int64],
    *,
    attrs: dict[str, str],
) -> xr.Dataset:
    """The product with CF attributes.

    Parameters
    ----------
    upscaled : xr.Dataset, (glacier, year)
        From `upscale`.
    residual : float64 array, (glacier, year), m2
        From `residual_variance`.
    predictors, glaciers : xr.Dataset
        Source of the years, and of areas and positions.
    measured : bool array, (glacier,)
    observed : int array
        Years with observations.
    attrs : dict
        Global attributes: title, provenance.

    Returns
    -------
    xr.Dataset
        `mass_balance` and `mass_balance_uncertainty` (glacier, year), m; `area`, `measured` (glacier,);
        `observed_period` (year,), 0 before the first year with observations, 2 after the last. `time_bnds` and
        `time` are by glacier, (glacier, year), where glaciers have hydrological years of their own.

    Raises
    ------
    InputError
        A Dataset that is not what its schema says.
    """
    for given, schema in ((upscaled, UPSCALED), (predictors, PREDICTORS), (glaciers, GLACIERS)):
        check(given, schema)
    years = predictors["year"].values.astype(np.int32)
    dims, bounds = _bounds_of_years(predictors)
    ds = xr.Dataset(
        {
            "mass_balance": (
                ("glacier", "year"),
                upscaled["mean"].values.astype(np.float32),
                {
                    **MASS_BALANCE_ATTRS,
                    "cell_methods": "time: sum area: mean",
                    "ancillary_variables": "mass_balance_uncertainty measured observed_period",
                },
            ),
            "mass_balance_uncertainty": (
                ("glacier", "year"),
                np.sqrt(upscaled["variance"].values + residual).astype(np.float32),
                {
                    "units": "m",
                    "long_name": "one standard deviation of the annual mass balance, water equivalent",
                    "comment": "sqrt(member variance + out-of-fold residual variance)",
                },
            ),
            "area": glaciers["area"].variable,
            "time_bnds": ((*dims, "bnds"), bounds),
            "measured": (
                "glacier",
                measured.astype(np.int8),
                {
                    "long_name": "whether annual observations of the glacier were learnt from",
                    "flag_values": np.array([0, 1], np.int8),
                    "flag_meanings": "unmeasured measured",
                },
            ),
            "observed_period": (
                "year",
                (1 - (years < observed.min()) + (years > observed.max())).astype(np.int8),
                {
                    "long_name": "whether the year lies within the years that observations were learnt from",
                    "flag_values": np.array([0, 1, 2], np.int8),
                    "flag_meanings": "before_first_observation within_observations after_last_observation",
                },
            ),
        },
        coords={
            "year": (
                "year",
                years,
                {"long_name": "hydrological year, named by the calendar year in which it ends", "units": "1"},
            ),
            "time": (
                dims,
                bounds[..., 0] + (bounds[..., 1] - bounds[..., 0]) // 2,
                {"standard_name": "time", "long_name": "middle of the hydrological year", "bounds": "time_bnds"},
            ),
            "glacier_id": ("glacier", glaciers["glacier"].values, glaciers["glacier"].attrs),
            "longitude": glaciers["longitude"].variable,
            "latitude": glaciers["latitude"].variable,
        },
        attrs={"Conventions": "CF-1.11", "featureType": "timeSeries", **attrs},
    )
    return ds


def _bounds_of_years(predictors: xr.Dataset) -> tuple[tuple[str, ...], npt.NDArray[np.datetime64]]:
    """Bounds of the hydrological years and their dimensions without the last: of all glaciers, or by glacier."""
    years = predictors["year"].values.astype(np.int64)
    if predictors.attrs["first_month"] != BY_GLACIER:
        return ("year",), year_bounds(years, int(predictors.attrs["first_month"]))
    firsts, row = np.unique(predictors["first_month"].values.astype(np.int64), return_inverse=True)
    return ("glacier", "year"), np.stack([year_bounds(years, first) for first in firsts.tolist()])[row]
