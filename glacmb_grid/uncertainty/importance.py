"""Weights of predictors: by how much a fitted model changes its mind when the values of another glacier are put in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.checking import Limits, checking_arguments
from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Model
from glacmb_grid.learning.registry import predict
from glacmb_grid.samples import operator_of
from glacmb_grid.schemas import SAMPLES, check

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]

ROWS, FOLDS = 150, 8
"""Rows, of whole glaciers, and folds that are looked at."""
_LEAST = 1e-9  # m; smaller changes are rounding errors


@checking_arguments
def predictor_weights(
    parameters: xr.Dataset,
    samples: xr.Dataset,
    folds: Folds,
    built_on: Mapping[str, xr.Dataset] | None = None,
    *,
    model: Model | None = None,
    rows: Annotated[int, Limits(least=1)] = ROWS,
    most_folds: Annotated[int, Limits(least=1)] = FOLDS,
    seed: int = 1,
) -> xr.DataArray:
    """Importance of every predictor in a fitted model, for `predictor_space`.

    Predictors of one stem (the months of a variable) are exchanged together: a glacier takes the values of rows of
    another glacier. The importance of the stem is the root mean square of what that changes in the predictions, over
    the rows that each fold was fitted on; no observation is used. Its predictors share it alike.

    Parameters
    ----------
    parameters : xr.Dataset
        From `fit` on these samples and folds, of any model.
    samples : xr.Dataset
        Annual samples.
    folds : Folds
    built_on, model
        As in `predict`.
    rows, most_folds : int
        About as many rows, of whole glaciers, and at most as many folds are looked at.
    seed : int

    Returns
    -------
    xr.DataArray, (predictor,), m
        All 1, and an attribute `comment` says so, where no prediction depends on the predictors.
    """
    check(samples, SAMPLES)
    if not operator_of(samples).is_identity:
        raise ValueError("weights are made with annual samples")
    rng = np.random.default_rng(seed)
    which = np.unique(np.linspace(0, len(folds) - 1, min(most_folds, len(folds))).round().astype(np.int64))
    fit, below = folds.fit[which], {n: p.isel(fold=which) for n, p in (built_on or {}).items()}
    learnt = np.flatnonzero(fit.any(axis=0))
    glacier = samples["row_glacier"].values.astype(str)
    taken = _whole_glaciers(glacier, learnt, rows, rng)
    other = _rows_of_others(glacier, taken, learnt, rng)
    stems, number = np.unique(samples["stem"].values.astype(str), return_inverse=True)
    copied = _exchanged(samples, taken, other, number, len(stems))
    values = predict(parameters.isel(fold=which), copied, below, model=model).transpose("fold", "member", "row").values
    means = values.mean(axis=1).reshape(len(which), len(stems) + 1, len(taken))
    change = (means[:, 1:] - means[:, :1]) ** 2
    seen = fit[:, None, taken] & np.isfinite(change)
    squares = np.where(seen, change, 0.0).sum(axis=(0, 2)) / np.maximum(seen.sum(axis=(0, 2)), 1)
    varies = _varying(samples["predictors"].values[learnt])
    share = np.bincount(number[varies], minlength=len(stems))
    weight = np.where(varies, np.sqrt(squares / np.maximum(share, 1))[number], 0.0)
    attrs = {"long_name": "importance of the predictor: root mean square change of the prediction", "units": "m"}
    if not weight.max(initial=0.0) > _LEAST:
        weight = np.ones(len(weight))
        attrs["comment"] = "no prediction depends on the predictors: all have the same weight"
    return xr.DataArray(weight, {"predictor": samples["predictor"].values}, ("predictor",), "weight", attrs)


def _varying(values: Floats) -> Bools:
    """Whether a predictor has different values, (predictor,)."""
    known = np.isfinite(values)
    low, high = np.where(known, values, np.inf).min(axis=0), np.where(known, values, -np.inf).max(axis=0)
    return np.asarray(high > low)


def _whole_glaciers(glacier: Texts, learnt: Integers, rows: int, rng: np.random.Generator) -> Integers:
    """Rows of glaciers drawn at random until there are enough, (row,), in ascending order."""
    names, number, count = np.unique(glacier[learnt], return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    needed = int(np.searchsorted(np.cumsum(count[order]), rows)) + 1
    return learnt[np.isin(number, order[:needed])]


def _rows_of_others(glacier: Texts, taken: Integers, learnt: Integers, rng: np.random.Generator) -> Integers:
    """For every row taken, a row of another glacier, the same other for all rows of one; of its own if there is one."""
    names = np.unique(glacier[learnt])
    out = taken.copy()
    for name in np.unique(glacier[taken]):
        mine = np.flatnonzero(glacier[taken] == name)
        others = names[names != name]
        if len(others):
            pool = learnt[glacier[learnt] == rng.choice(others)]
            out[mine] = rng.choice(pool, len(mine), replace=len(pool) < len(mine))
    return out


def _exchanged(samples: xr.Dataset, taken: Integers, other: Integers, stem: Integers, stems: int) -> xr.Dataset:
    """The rows as those of glaciers that nobody measured; then, for each stem, with its columns from other rows."""
    copies = stems + 1
    names = [n for n, v in samples.variables.items() if not {"sample", "entry"} & set(v.dims)]
    rows = samples.drop_dims("entry")[names].isel(row=np.tile(taken, copies))
    values = rows["predictors"].values.reshape(copies, len(taken), -1).copy()
    donors = samples["predictors"].values[other]
    for number in range(stems):
        values[number + 1][:, stem == number] = donors[:, stem == number]
    unknown = [f"{g} {c}" for c in range(copies) for g in samples["row_glacier"].values[taken]]
    out = rows.assign(predictors=(rows["predictors"].dims, values.reshape(len(unknown), -1)))
    return out.assign_coords(row_glacier=("row", np.array(unknown, dtype=object)))
