"""Scoring of the locked test glaciers by fits on all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.contract import Model
from glacmb_grid.learning.registry import fit_all, predict
from glacmb_grid.validation.predictions import out_of_fold


def judge_locked(
    samples: xr.Dataset,
    locked: npt.NDArray[np.bool_],
    models: Sequence[Model],
    *,
    inner: int,
    seed: int,
    constraints: xr.Dataset | None = None,
    say: Callable[[str], None],
) -> pd.DataFrame:
    """Fit on everything that is not locked, and predict the locked glaciers, PREDICTION_COLUMNS.

    `constraints` are geodetic rates to learn from; those of locked glaciers are withheld.
    """
    folds = holdout_fold(samples, locked, inner, seed)
    rows = int(folds.fit.sum())

    def told(text: str) -> None:
        say(f"{text} on {rows} rows")

    fair = {m.name for m in models if m.fair_in(samples, folds)}
    fits = fit_all(models, samples, folds, seed=seed, constraints=constraints, say=told)
    tables = [
        out_of_fold(samples, folds, predict(fit, samples, fits), model=name).assign(protocol="locked")
        for name, fit in fits.items()
        if name in fair
    ]
    return pd.concat(tables)


def holdout_fold(samples: xr.Dataset, locked: npt.NDArray[np.bool_], inner: int, seed: int) -> Folds:
    """One fold that fits on all free rows and scores the locked ones."""
    side = np.where(locked, "locked", "free").astype(object)
    sides = samples.assign_coords(fold_logo=("sample", side))
    folds = make_folds(sides, "logo", inner=inner, seed=seed)
    return folds.take(folds.score[:, locked].any(axis=1))
