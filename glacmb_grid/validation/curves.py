"""Skill as a function of the number of training groups and of the distance to the nearest training glacier."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.rows import groups_of
from glacmb_grid.folds.schemes import join_folds, of_scheme, redo_inner
from glacmb_grid.folds.space import nearest_km, unit_vectors
from glacmb_grid.validation.scores import score

Bools = npt.NDArray[np.bool_]

EDGES_KM = (0.0, 1.0, 10.0, 30.0, 100.0, 300.0, 1000.0, np.inf)
"""Bounds of the distance classes; errors of annual balances decorrelate over 30 to 300 km."""
DISTANCE_COLUMNS = [*("scheme", "protocol", "model", "from_km", "to_km", "n", "glaciers", "rmse", "lower", "upper")]


def training_counts(samples: xr.Dataset, folds: Folds) -> list[int]:
    """Numbers of training groups for a learning curve: 2, 4, 8, ... and the smallest number in any fold."""
    group = groups_of(samples)
    most = min(len(np.unique(group[fit])) for fit in folds.fit)
    return [*(2**i for i in range(1, 20) if 2**i < most), most]


def thin_folds(
    folds: Folds, samples: xr.Dataset, *, count: int | None = None, share: float | None = None, seed: int = 1
) -> Folds:
    """Let folds fit on fewer groups and score the same rows.

    Parameters
    ----------
    folds : Folds
        Of one or several schemes.
    samples : xr.Dataset
    count : int
        Number of groups to fit on; folds with fewer keep all.
    share : float
        Alternatively, the share of the groups of each fold; at least one group is kept.
    seed : int
        Of the random order in which groups are taken. It is the same for all folds and counts, so that smaller sets of
        groups are subsets of larger ones. Groups that all folds of a tuning block fit on are taken first.

    Returns
    -------
    Folds
        With fewer rows in `fit`, and new inner splits of these rows.
    """
    if (count is None) == (share is None):
        raise ValueError("give either count or share")
    schemes = list(dict.fromkeys(folds.scheme.tolist()))
    if len(schemes) > 1:
        parts = [thin_folds(of_scheme(folds, s), samples, count=count, share=share, seed=seed) for s in schemes]
        return join_folds(parts)
    group = pd.factorize(groups_of(samples), sort=True)[0]
    place = np.random.default_rng([seed, 7]).permutation(group.max() + 1)[group]
    fit, block = folds.fit, folds.block
    thin = np.zeros_like(fit)
    for fold, mask in enumerate(fit):
        common = fit[block == block[fold]].all(axis=0)
        rank = place + np.where(np.isin(group, group[common]), 0, group.max() + 1)
        order = np.unique(rank[mask])
        least = count if count is not None else round((share or 0.0) * len(order))
        thin[fold] = mask & np.isin(rank, order[: max(1, least)])
    return redo_inner(folds, samples, thin, seed=seed)


def distance_to_training(samples: xr.Dataset, folds: Folds) -> pd.Series:
    """Distance from every scored sample to the nearest one that its fold fits on, km, indexed by sample id.

    Zero if the fold fits on other years of the same glacier; NaN without a position. The folds are of one scheme.
    """
    xyz = unit_vectors(samples, whole=False)
    known = np.isfinite(xyz).all(axis=1)
    distance = np.full(len(xyz), np.nan)
    for fit, rows in zip(folds.fit, folds.score & known, strict=True):
        if (fit & known).any():
            distance[rows] = nearest_km(xyz[rows], xyz[fit & known])
    scored = np.flatnonzero(folds.score.any(axis=0))
    return pd.Series(distance[scored], index=samples["sample"].values[scored].astype(str), name="distance_km")


def skill_by_distance(
    predictions: pd.DataFrame,
    distance: pd.Series,
    edges: Sequence[float] = EDGES_KM,
    *,
    draws: int = 2000,
    level: float = 0.9,
    seed: int = 1,
) -> pd.DataFrame:
    """RMSE in classes of distance to the nearest training glacier.

    Parameters
    ----------
    predictions : DataFrame
        Of one scheme and any number of models.
    distance : Series, km
        From `distance_to_training` with the folds of that scheme.
    edges : sequence of float, km
        Bounds of the classes; the lower bound is included.
    draws, level, seed
        As in `score`.

    Returns
    -------
    DataFrame
        DISTANCE_COLUMNS, without empty classes.
    """
    km = distance.reindex(predictions["sample"].astype(str)).to_numpy(np.float64)
    found = []
    for low, high in pairwise(edges):
        part = predictions[(km >= low) & (km < high)]
        if part.empty:
            continue
        scores = score(part, draws=draws, level=level, seed=seed)
        scores = scores[scores["metric"] == "rmse"].rename(columns={"value": "rmse"})
        counts = part.groupby(["scheme", "protocol", "model"])["glacier"].nunique().rename("glaciers")
        scores = scores.join(counts, on=["scheme", "protocol", "model"])
        found.append(scores.assign(from_km=low, to_km=high)[DISTANCE_COLUMNS])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=DISTANCE_COLUMNS)
