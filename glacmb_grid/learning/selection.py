"""Selection of features on the fitted rows: by correlation, collinearity and rank."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from glacmb_grid.learning.table import Floats, Integers
from glacmb_grid.learning.trees import grow, importances
from glacmb_grid.settings import Recipe

_RANKING_TREES = 100
_RANKING_ROWS = 5000  # drawn for each tree, at most
_EXHAUSTIVE_CELLS = 100_000  # rows times features, up to which every split is searched for
_DRAWN_CELLS = 250_000  # beyond which a split drawn at random looks at a smaller share of the features
_DRAWN_TREES = 30
_BLOCK = 1024  # features that are compared with each other at a time


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
    ranks = recipe.ranking == "random_forest" and recipe.keep is not None and len(kept) > recipe.keep
    if recipe.collinearity < 1 or ranks:
        key = f"{_digest(values, target)}:{recipe.correlation}:{recipe.collinearity}"
    if recipe.collinearity < 1:
        kept = _once(key, lambda: _drop_collinear(values, kept, strength, recipe.collinearity))
    if recipe.keep is not None and len(kept) > recipe.keep:
        rank = _once(f"{key}:{seed}", lambda: _forest_rank(values[:, kept], target, seed)) if ranks else strength[kept]
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
    taken = np.zeros(len(order), bool)
    for start in range(0, len(order), _BLOCK):
        block = unit[:, start : start + _BLOCK]
        barred = (np.abs(unit[:, taken].T @ block) > largest).any(axis=0)
        alike = np.abs(block.T @ block) > largest
        for i in range(len(alike)):
            if not barred[i]:
                taken[start + i] = True
                barred |= alike[i]
    return np.asarray(order[taken])


_found: dict[str, npt.NDArray[Any]] = {}  # a cache: several models and recipes select on the same rows
_MOST_FOUND = 4096


def _digest(values: Floats, target: Floats) -> str:
    """Name of these arrays by their content."""
    digest = hashlib.sha256(np.ascontiguousarray(values).data)
    digest.update(np.ascontiguousarray(target).data)
    return f"{values.shape}:{digest.hexdigest()}"


def _once(key: str, work: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """What the work gives, cached."""
    out = _found.get(key)
    if out is None:
        out = work()
        if len(_found) >= _MOST_FOUND:  # may also be cleared by another thread
            _found.clear()
        _found[key] = out
    return out


def _forest_rank(values: Floats, target: Floats, seed: int) -> Floats:
    """Importance of each feature in a random forest, (feature,); in one of splits drawn at random for a large table.

    The latter takes about as long for any number of features.
    """
    draws = min(len(target), _RANKING_ROWS)
    if values.size <= _EXHAUSTIVE_CELLS:
        return importances(grow(values, target, trees=_RANKING_TREES, leaf=2, share=0.33, seed=seed, draws=draws))
    trees = grow(
        values,
        target,
        trees=_DRAWN_TREES,
        leaf=min(max(draws // 50, 2), 20),
        share=min(1.0, _DRAWN_CELLS / values.size),
        seed=seed,
        random_splits=True,
        draws=draws,
    )
    return importances(trees)
