"""Selection of features on the fitted rows: by correlation, collinearity and rank."""

from __future__ import annotations

import hashlib

import numpy as np

from glacmb_grid.learning.table import Floats, Integers
from glacmb_grid.learning.trees import grow, importances
from glacmb_grid.settings import Recipe

_RANKING_TREES = 100
_RANKING_ROWS = 5000  # drawn for each tree, at most


def select(values: Floats, target: Floats, recipe: Recipe, seed: int) -> Integers:
    """Indices of the features that a recipe keeps, in their order.

    Dropped are features with too small a correlation with the target; of every too similar pair, the one that is less
    correlated with it; then all but the `keep` that rank highest.

    Parameters
    ----------
    values : float64 array, (row, feature)
        Standardised.
    target : float64 array, (row,)
    """
    known = np.isfinite(target)
    values, target = values[known], target[known]
    kept = np.arange(values.shape[1])
    asks = recipe.correlation > 0 or recipe.collinearity < 1 or recipe.keep is not None
    if not asks or len(target) < 3 or target.std() < 1e-12:
        return kept if recipe.keep is None or not asks else kept[: recipe.keep]
    strength = np.abs(correlations(values, target))
    if recipe.correlation > 0:
        kept = kept[strength >= recipe.correlation]
        if not len(kept):
            kept = np.array([int(strength.argmax())])
    if recipe.collinearity < 1:
        kept = _drop_collinear(values, kept, strength, recipe.collinearity)
    if recipe.keep is not None and len(kept) > recipe.keep:
        rank = _forest_rank(values[:, kept], target, seed) if recipe.ranking == "random_forest" else strength[kept]
        kept = kept[np.argsort(-rank, kind="stable")[: recipe.keep]]
    return np.sort(kept)


def correlations(values: Floats, target: Floats) -> Floats:
    """Pearson correlation of every column with the target, 0 where one of them is constant."""
    centred, centred_target = values - values.mean(axis=0), target - target.mean()
    size = np.sqrt((centred**2).sum(axis=0) * (centred_target @ centred_target))
    return np.asarray(np.divide(centred.T @ centred_target, size, out=np.zeros(values.shape[1]), where=size > 1e-12))


def _drop_collinear(values: Floats, kept: Integers, strength: Floats, largest: float) -> Integers:
    """The kept features, strongest first, without those correlated above `largest` with a stronger one."""
    order = kept[np.argsort(-strength[kept], kind="stable")]
    centred = values[:, order] - values[:, order].mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, size, out=np.zeros_like(centred), where=size > 1e-12)
    alike = np.abs(unit.T @ unit)
    taken: list[int] = []
    for i in range(len(order)):
        if not (alike[i, taken] > largest).any():
            taken.append(i)
    return np.asarray(order[taken])


_ranks: dict[str, Floats] = {}  # a cache: several models and recipes rank the same rows
_RANKS = 4096


def _forest_rank(values: Floats, target: Floats, seed: int) -> Floats:
    """Importance of each feature in a random forest, (feature,), cached."""
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes())
    digest.update(np.ascontiguousarray(target).tobytes())
    key = f"{seed}:{values.shape}:{digest.hexdigest()}"
    rank = _ranks.get(key)
    if rank is None:
        rank = _grow_and_rank(values, target, seed)
        if len(_ranks) >= _RANKS:  # may also be cleared by another thread
            _ranks.clear()
        _ranks[key] = rank
    return rank


def _grow_and_rank(values: Floats, target: Floats, seed: int) -> Floats:
    draws = min(len(target), _RANKING_ROWS)  # so that large tables stay cheap
    return importances(grow(values, target, trees=_RANKING_TREES, leaf=2, share=0.33, seed=seed, draws=draws))
