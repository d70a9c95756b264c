"""What is known of the uncertainty of every glacier-year: dissimilarity, applicability, expected error, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.folds.masks import Folds
from glacmb_grid.schemas import PREDICTORS, arranged
from glacmb_grid.uncertainty.applicability import PredictorSpace, dissimilarity, predictor_space
from glacmb_grid.uncertainty.conformal import (
    KINDS,
    LEAST_SCALE,
    Calibration,
    Method,
    by_kind,
    calibrate,
    kind_of,
    positions_in,
)
from glacmb_grid.uncertainty.error_curve import ErrorCurve, fit_error_curve
from glacmb_grid.vocabulary import LEVELS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]

BLOCK = 1000
"""Glaciers at a time."""


@dataclass(frozen=True)
class ErrorCurves:
    """Curves of both kinds of residuals: of all glaciers, and of each measured one without its own.

    Attributes
    ----------
    common : tuple of ErrorCurve, (kind,)
    own : dict of str to tuple of ErrorCurve
        By measured glacier.
    """

    common: tuple[ErrorCurve, ...]
    own: dict[str, tuple[ErrorCurve, ...]]

    def of(self, glacier: str) -> tuple[ErrorCurve, ...]:
        """The curves of a glacier, by kind."""
        return self.own.get(glacier, self.common)

    def errors(self, table: pd.DataFrame, without: str = "") -> Floats:
        """Expected errors of predictions `with_dissimilarity`, (row,), m, without the residuals of a glacier.

        By default of each row without those of its own glacier.
        """
        far, kind = table["dissimilarity"].to_numpy(np.float64), (table["scheme"] == "both_out").to_numpy()
        names, number = np.unique(table["glacier"].to_numpy().astype(str), return_inverse=True)
        out = np.empty(len(table))
        for place, name in enumerate(names.tolist()):
            for k, curve in enumerate(self.of(without or name)):
                rows = (number == place) & (kind == bool(k))
                out[rows] = curve.at(far[rows])
        return out


@dataclass(frozen=True)
class Known:
    """All that the blocks need: the space, curves and calibration of one model."""

    space: PredictorSpace
    curves: ErrorCurves
    calibration: Calibration
    observed: Integers


def with_dissimilarity(
    predictions: pd.DataFrame, samples: xr.Dataset, folds: Folds, space: PredictorSpace
) -> pd.DataFrame:
    """Out-of-fold predictions with the `dissimilarity` of each from what its fold was fitted on.

    Those by `both_out` are compared with rows of other years only.

    Parameters
    ----------
    predictions : DataFrame
        From `out_of_fold`, schemes `logo` and, optionally, `both_out`.
    samples, folds
        That the space was made of.
    space : PredictorSpace
    """
    learnt = folds.fit.any(axis=0)
    names = pd.Index(samples["sample"].values[learnt].astype(str))
    out = np.full(len(predictions), np.nan)
    place = names.get_indexer(predictions["sample"].astype(str))
    for scheme in KINDS:
        rows = np.flatnonzero((predictions["scheme"] == scheme).to_numpy() & (place >= 0))
        if len(rows):
            out[rows] = space.of_training(years_out=scheme == "both_out")[place[rows]]
    return predictions.assign(dissimilarity=out)


def fit_error_curves(predictions: pd.DataFrame) -> ErrorCurves:
    """Error curves of both kinds of residuals, and those of every measured glacier without its own.

    Parameters
    ----------
    predictions : DataFrame
        From `with_dissimilarity`.
    """
    kinds = by_kind(predictions)
    tables = [kinds[k] for k in KINDS]
    glaciers = np.unique(kinds["logo"]["glacier"].to_numpy().astype(str)).tolist()
    common = tuple(_fitted(table, "") for table in tables)
    return ErrorCurves(common, {g: tuple(_fitted(t, g) for t in tables) for g in glaciers if len(glaciers) > 1})


def _fitted(table: pd.DataFrame, without: str) -> ErrorCurve:
    """The curve of a table of residuals without those of a glacier."""
    part = table[(table["glacier"] != without).to_numpy()]
    error = (part["observed"] - part["predicted"]).to_numpy(np.float64)
    return fit_error_curve(error, part["dissimilarity"].to_numpy(), part["glacier"].to_numpy())


def glacier_year_uncertainty(
    samples: xr.Dataset,
    folds: Folds,
    predictions: pd.DataFrame,
    predictors: xr.Dataset,
    weights: npt.ArrayLike | None = None,
    *,
    levels: Sequence[float] = LEVELS,
    method: Method = "hierarchical",
    follow_error: bool = False,
    block: int = BLOCK,
) -> xr.Dataset:
    """Dissimilarity, applicability, expected error and intervals of every glacier and year.

    Parameters
    ----------
    samples : xr.Dataset
        Annual samples.
    folds : Folds
        Of the scheme `logo`, that the model was fitted in.
    predictions : DataFrame
        From `out_of_fold`, of this model, by `logo` and, optionally, `both_out`.
    predictors : xr.Dataset, (glacier, year, predictor)
        From `build_predictors`, in memory or lazy.
    weights : float array, (predictor,), optional
        Importance of the predictors of the samples, from `predictor_weights`.
    levels : sequence of float
        Probabilities of the intervals.
    method : str
        Of the intervals, as in `conformal_half_widths`.
    follow_error : bool
        Whether half widths are multiples of the expected error: wider far from what was learnt, narrower near it.
    block : int
        Glaciers computed at a time.

    Returns
    -------
    xr.Dataset, (glacier, year)
        Lazy, in blocks of glaciers: `dissimilarity` (1), `training_density` (training rows within the threshold),
        `applicable` (1 where the dissimilarity is at most the threshold, 0 elsewhere), `expected_error` (m), and
        `half_width_50`, `half_width_90` (m) and so on. NaN, and 0 for the flag and the density, where predictors are
        missing. Attributes hold the threshold, and where an interval is not available its `comment` says why.

    Raises
    ------
    InputError
        Inputs that are not what their schemas say, or predictors that lack some of those of the samples.
    """
    predictors = arranged(predictors, PREDICTORS)
    origin = samples["origin"].values.astype(str)
    gaps = samples["predictor"].values[origin == "albedo"].astype(str).tolist()
    space = predictor_space(samples, folds, weights, may_lack=gaps)
    table = with_dissimilarity(predictions, samples, folds, space)
    curves = fit_error_curves(table)
    scale = partial(curves.errors, table) if follow_error else None
    calibration = calibrate(table, levels, scale=scale, method=method)
    known = Known(space, curves, calibration, calibration.observed)
    values = (
        predictors["predictors"].transpose("glacier", "year", "predictor").isel(predictor=_order(predictors, space))
    )
    glaciers, years = predictors["glacier"].values.astype(str), predictors["year"].values.astype(np.int64)
    stacked = _in_blocks(values, glaciers, years, known, block)
    return _described(stacked, predictors, known)


def _order(predictors: xr.Dataset, space: PredictorSpace) -> Integers:
    """Positions of the predictors of the space among those of the product."""
    names = pd.Index(predictors["predictor"].values.astype(str))
    place = names.get_indexer(space.predictors)
    if (place < 0).any():
        raise InputError(
            "predictors",
            expected="all predictors of the samples",
            found=f"no {listing(space.predictors[place < 0].tolist())}",
            remedy="pass the predictors that the samples were built from",
        )
    return np.asarray(place, np.int64)


def _in_blocks(values: xr.DataArray, glaciers: Texts, years: Integers, known: Known, block: int) -> da.Array:
    """Lazy (quantity, glacier, year), float32, in blocks of glaciers."""
    lazy = values.chunk({"glacier": block, "year": -1, "predictor": -1}).data
    number = xr.DataArray(np.arange(len(glaciers)), dims="glacier").chunk({"glacier": block}).data
    kind = kind_of(years, known.observed)

    def work(part: Floats, place: Integers) -> npt.NDArray[np.float32]:
        return _of_block(part, glaciers[place[:, 0, 0]], kind, known)

    shape = (3 + len(known.calibration.levels),)
    map_blocks: Any = da.map_blocks  # it publishes no type
    out: da.Array = map_blocks(
        work, lazy, number[:, None, None], dtype=np.float32, chunks=(shape, *lazy.chunks[:2]), drop_axis=2, new_axis=0,
        meta=np.empty((0, 0, 0), np.float32),
    )  # fmt: skip
    return out


def _of_block(values: Floats, glaciers: Texts, kind: Integers, known: Known) -> npt.NDArray[np.float32]:
    """Dissimilarity, density, expected error and half widths of some glaciers, (quantity, glacier, year)."""
    count, years = values.shape[:2]
    rows = values.reshape(count * years, -1)
    far, density = (a.reshape(count, years).astype(np.float64) for a in dissimilarity(known.space, rows))
    error = np.empty((count, years))
    for k, curve in enumerate(known.curves.common):
        error[:, kind == k] = curve.at(far[:, kind == k])
    measured = np.isin(glaciers, known.space.glacier) | positions_in(known.calibration.glaciers, glaciers)[1]
    for g in np.flatnonzero(measured):
        training = known.space.training_of(glaciers[g])
        far[g], density[g] = dissimilarity(known.space, values[g], training=training)
        for k, curve in enumerate(known.curves.of(glaciers[g])):
            error[g, kind == k] = curve.at(far[g, kind == k])
    half = known.calibration.of_glaciers(glaciers)[:, kind]
    if known.calibration.scaled:
        half = half * np.maximum(error, LEAST_SCALE)[:, :, None]
    half = np.where(np.isfinite(far)[:, :, None], half, np.nan)
    return np.concatenate([[far, density, error], half.transpose(2, 0, 1)]).astype(np.float32)


def _described(stacked: da.Array, predictors: xr.Dataset, known: Known) -> xr.Dataset:
    """The quantities as variables with their attributes."""
    space, calibration = known.space, known.calibration
    dims, applicable = ("glacier", "year"), stacked[0] <= np.float32(space.threshold)
    found: dict[str, tuple[tuple[str, str], da.Array, dict[str, Any]]] = {
        "dissimilarity": (
            dims,
            stacked[0],
            {
                "long_name": "distance to the nearest training row in weighted predictor space over the mean distance "
                "of training rows",
                "units": "1",
                "threshold": space.threshold,
                "references": "Meyer and Pebesma (2021), https://doi.org/10.1111/2041-210X.13650",
            },
        ),
        "training_density": (
            dims,
            stacked[1].astype(np.int32),
            {"long_name": "number of training rows within the threshold of dissimilarity", "units": "1"},
        ),
        "applicable": (
            dims,
            applicable.astype(np.int8),
            {
                "long_name": "whether the dissimilarity is at most its threshold",
                "flag_values": np.array([0, 1], np.int8),
                "flag_meanings": "outside_area_of_applicability inside_area_of_applicability",
            },
        ),
        "expected_error": (
            dims,
            stacked[2],
            {"long_name": "root mean square out-of-fold error at this dissimilarity", "units": "m"},
        ),
    }
    for number, level in enumerate(calibration.levels.tolist()):
        text = f"half width of the {100 * level:g} % interval of the annual mass balance, water equivalent"
        attrs = {"long_name": text, "units": "m", "level": level}
        note = calibration.note(level)
        found[f"half_width_{100 * level:g}"] = (dims, stacked[3 + number], attrs | ({"comment": note} if note else {}))
    return xr.Dataset(found, coords={n: predictors[n].variable for n in ("glacier", "year")})
