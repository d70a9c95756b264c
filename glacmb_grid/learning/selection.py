"""Which features a recipe keeps, judged on the fitted rows: correlation, collinearity, rank."""

from __future__ import annotations

import hashlib

import numpy as np

from glacmb_grid.learning.table import Floats, Integers
from glacmb_grid.learning.trees import grow, importances
from glacmb_grid.settings import Recipe

_RANKING_TREES = 100
_RANKING_ROWS = 5000  # that a tree draws at most


def select(values: Floats, target: Floats, recipe: Recipe, seed: int) -> Integers:
    """Positions of the features that a recipe keeps, in their order.

    First those with too small a correlation with the target go, then of every too similar pair the one that says less
    of the target, then all but the `keep` that rank highest.

    Parameters
    ----------
    values : float64 array, (row, feature)
        Standardised.
    target : float64 array, (row,)
    """
    there = np.isfinite(target)
    values, target = values[there], target[there]
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
        kept = _unlike(values, kept, strength, recipe.collinearity)
    if recipe.keep is not None and len(kept) > recipe.keep:
        rank = _forest_rank(values[:, kept], target, seed) if recipe.ranking == "random_forest" else strength[kept]
        kept = kept[np.argsort(-rank, kind="stable")[: recipe.keep]]
    return np.sort(kept)


def correlations(values: Floats, target: Floats) -> Floats:
    """Pearson correlation of every column with the target, 0 where one of them is constant."""
    centred, aim = values - values.mean(axis=0), target - target.mean()
    size = np.sqrt((centred**2).sum(axis=0) * (aim @ aim))
    return np.asarray(np.divide(centred.T @ aim, size, out=np.zeros(values.shape[1]), where=size > 1e-12))


def _unlike(values: Floats, kept: Integers, strength: Floats, largest: float) -> Integers:
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


_ranks: dict[str, Floats] = {}  # several models and recipes rank the same rows
_RANKS = 4096


def _forest_rank(values: Floats, target: Floats, seed: int) -> Floats:
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes())
    digest.update(np.ascontiguousarray(target).tobytes())
    key = f"{seed}:{values.shape}:{digest.hexdigest()}"
    rank = _ranks.get(key)
    if rank is None:
        rank = _grown_rank(values, target, seed)
        if len(_ranks) >= _RANKS:  # another thread may clear it too
            _ranks.clear()
        _ranks[key] = rank
    return rank


def _grown_rank(values: Floats, target: Floats, seed: int) -> Floats:
    draws = min(len(target), _RANKING_ROWS)  # so that large tables stay cheap
    return importances(grow(values, target, trees=_RANKING_TREES, leaf=2, share=0.33, seed=seed, draws=draws))
