"""Glacier-years as rows, and predictors chosen by patterns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, listing

Integers = npt.NDArray[np.int64]

PLACE = ("longitude", "latitude", "area")


def as_rows(predictors: xr.Dataset, glacier: Integers, year: Integers) -> xr.Dataset:
    """Chosen glacier-years as rows.

    Parameters
    ----------
    predictors : xr.Dataset
        From `build_predictors`; of a lazy one, the glaciers of the rows are read.
    glacier, year : int arrays, (row,)
        Positions along the two dimensions.

    Returns
    -------
    xr.Dataset, (row, predictor), (row, month), (row, band), (row,)
        With coordinates `row_glacier`, `row_year` and, where known, `row_longitude`, `row_latitude`, `row_area`.
    """
    predictors = predictors.drop_vars(["time_bnds", "first_month"], errors="ignore")
    if any(v.chunks for v in predictors.variables.values()):
        used, glacier = np.unique(glacier, return_inverse=True)
        predictors = predictors.isel(glacier=used).load(scheduler="synchronous")
    at = {"glacier": xr.DataArray(glacier, dims="row"), "year": xr.DataArray(year, dims="row")}
    rows = predictors.isel(at)
    names = {n: f"row_{n}" for n in ("glacier", "year", *PLACE) if n in rows.coords}
    return rows.reset_coords(list(names)).rename(names).set_coords(list(names.values()))


def unmeasured_rows(predictors: xr.Dataset, samples: xr.Dataset, most: int, seed: int = 0) -> xr.Dataset | None:
    """Glacier-years that no sample is made of, as rows; beyond `most` of them, so many drawn at random.

    Parameters
    ----------
    predictors : xr.Dataset
        From `build_predictors`.
    samples : xr.Dataset
        From `build_samples`.
    most : int
    seed : int

    Returns
    -------
    xr.Dataset, as from `as_rows`, or None where every glacier-year is measured
    """
    size = predictors.sizes["glacier"], predictors.sizes["year"]
    free = np.ones(size, bool)
    places = (("glacier", "row_glacier"), ("year", "row_year"))
    glacier, year = (pd.Index(predictors[n].values).get_indexer(samples[row].values) for n, row in places)
    known = (glacier >= 0) & (year >= 0)
    free[glacier[known], year[known]] = False
    left = np.flatnonzero(free)
    if len(left) > most:
        left = np.sort(np.random.default_rng(seed).choice(left, most, replace=False))
    glacier, year = np.unravel_index(left, size)
    return as_rows(predictors, glacier, year) if len(left) else None


def matching(names: Iterable[str], patterns: Sequence[str]) -> list[int]:
    """Positions of the names that match any of the shell-style patterns.

    Raises
    ------
    InputError
        If a pattern matches nothing.
    """
    known = [str(n) for n in names]
    for pattern in patterns:
        if not any(fnmatchcase(n, pattern) for n in known):
            raise InputError(
                f"models: predictors: {pattern!r}",
                expected="a pattern that matches some predictor",
                found="no match",
                remedy=f"choose among {listing(known, 40)}",
            )
    return [i for i, n in enumerate(known) if any(fnmatchcase(n, p) for p in patterns)]
