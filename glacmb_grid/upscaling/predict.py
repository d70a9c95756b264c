"""Annual balances of every glacier and year: means over the fits that may predict a glacier."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import dask.base
import dask.config
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.registry import predict as predict_with
from glacmb_grid.predictors import as_rows
from glacmb_grid.progress import counting
from glacmb_grid.schemas import PREDICTORS, SAMPLES, arranged, check
from glacmb_grid.vocabulary import MASS_BALANCE_ATTRS

Floats = npt.NDArray[np.float64]
Predict = Callable[[xr.Dataset], xr.DataArray]
BLOCK = 1000  # glaciers predicted at a time, by each thread


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


def upscale(predict: Predict | xr.Dataset, predictors: xr.Dataset, samples: xr.Dataset, folds: Folds) -> xr.Dataset:
    """Annual balance of every glacier and year: mean and variance over the allowed folds and members.

    Parameters
    ----------
    predict : callable or xr.Dataset
        Rows to (fold, member, row), m w.e.; or the parameters that `fit` gave.
    predictors : xr.Dataset
        From `build_predictors`.
    samples : xr.Dataset
        From which the folds were made.
    folds : Folds
        That were fitted.

    Returns
    -------
    xr.Dataset
        `mean` (m w.e.) and `variance` (m2), (glacier, year), float64; `nets` (glacier), the number of fits (folds times
        members) that each is the mean of.

    Raises
    ------
    InputError
        Predictors or samples that are not what their schema says.
    ValueError
        A measured glacier that no fold withholds.
    """
    predictors = arranged(predictors, PREDICTORS)
    check(samples, SAMPLES)
    if isinstance(predict, xr.Dataset):
        predict = partial(predict_with, predict)
    ids, years = predictors["glacier"].values, predictors["year"].values
    allowed = withheld(ids, samples, folds)
    mean, variance = np.empty((2, len(ids), len(years)))
    nets = np.zeros(len(ids), np.int32)

    def fill(block: npt.NDArray[np.int64]) -> None:
        rows = as_rows(predictors, np.repeat(block, len(years)), np.tile(np.arange(len(years)), len(block)))
        values = predict(rows).values
        values = values.reshape(*values.shape[:2], len(block), len(years))
        nets[block] = allowed[block].sum(axis=1) * values.shape[1]
        share = allowed[block].T / nets[block]
        mean[block] = np.einsum("fg,fmgy->gy", share, values)
        variance[block] = np.einsum("fg,fmgy->gy", share, (values - mean[block]) ** 2)
        count.advance(len(block))

    blocks = np.split(np.arange(len(ids)), range(BLOCK, len(ids), BLOCK))
    tasks = [delayed(fill)(block) for block in blocks]
    how = "synchronous" if dask.config.get("scheduler", None) == "synchronous" else "threads"  # blocks fill one array
    with counting("glacier", len(ids)) as count:
        dask.base.compute(*tasks, scheduler=how)  # type: ignore[no-untyped-call]
    dims, coords = ("glacier", "year"), {"glacier": ids, "year": years}
    attrs = {"long_name": "variance of the annual mass balance over folds and members", "units": "m2"}
    values = {"mean": (dims, mean, MASS_BALANCE_ATTRS), "variance": (dims, variance, attrs), "nets": ("glacier", nets)}
    return xr.Dataset(values, coords=coords)
