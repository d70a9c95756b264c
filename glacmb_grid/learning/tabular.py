"""Models that learn from a table of predictors: linear with L2 or L1, and trees. scikit-learn where it has them.

Each gives `fit(task) -> (hyper-parameters -> balance of the task's new rows)`; the search around it is in `nested`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr

from glacmb_grid.learning.nested import Fit, Hyper, Table, Task, fit_tabular, predict_tabular
from glacmb_grid.learning.prepare import Bools, Floats, Texts
from glacmb_grid.learning.trees import Forest, grow
from glacmb_grid.settings import ExtraTrees, GradientBoosting, Lasso, Learner, RandomForest, Ridge

_TREE_ROWS = 5000  # rows that one tree draws at most
_LEVEL_PRIOR = 1.0  # observations that the mean of all glaciers counts for in the level of one


def ridge(task: Task) -> Callable[[Hyper], Floats]:
    """``min |A (X c + k) - y|^2 + penalty |c|^2``, A the observation operator."""
    operator, target = task.table.operator[task.seen], task.table.target[task.seen]
    values = task.design.values
    design = operator @ values[: operator.shape[1]]
    years = np.asarray(operator.sum(axis=1)).ravel()
    share = years / (years @ years)
    along = share @ design
    free, aim = design - years[:, None] * along, target - years * (share @ target)
    gram, cross = free.T @ free, free.T @ aim

    def predict(hyper: Hyper) -> Floats:
        coefficient = np.linalg.solve(gram + hyper["penalty"] * np.eye(len(gram)), cross)
        return np.asarray(values[task.new] @ coefficient + share @ target - along @ coefficient)

    return predict


def lasso(task: Task) -> Callable[[Hyper], Floats]:
    """L1 on standardised features, the penalty as a share of the least that leaves none."""
    from sklearn.linear_model import Lasso as Estimator

    design, target = _training(task)
    centred = target - target.mean()
    largest = float(np.abs(design.T @ centred).max(initial=0.0)) / len(target)

    def predict(hyper: Hyper) -> Floats:
        if largest < 1e-9:
            return np.full(len(task.new), target.mean())
        model = Estimator(alpha=hyper["penalty"] * largest, max_iter=2000, tol=1e-3)
        return np.asarray(model.fit(design, target).predict(task.design.values[task.new]))

    return predict


def random_forest(task: Task) -> Callable[[Hyper], Floats]:
    """Bagged trees."""
    return _trees(task, lambda hyper, design, target, new: _forest(hyper, task.seed, design, target).predict(new))


def extra_trees(task: Task) -> Callable[[Hyper], Floats]:
    """Trees with random splits."""

    def fitted(hyper: Hyper, design: Floats, target: Floats, new: Floats) -> Floats:
        return _forest(hyper, task.seed, design, target, random_splits=True).predict(new)

    return _trees(task, fitted)


def _forest(hyper: Hyper, seed: int, design: Floats, target: Floats, *, random_splits: bool = False) -> Forest:
    rows = len(target)
    return grow(
        design,
        target,
        trees=hyper["trees"],
        leaf=hyper["leaf"],
        share=hyper["share"],
        seed=seed,
        random_splits=random_splits,
        draws=min(rows, _TREE_ROWS) if not random_splits or rows > _TREE_ROWS else None,
    )


def gradient_boosting(task: Task) -> Callable[[Hyper], Floats]:
    """Boosted trees on histograms."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    def fitted(hyper: Hyper, design: Floats, target: Floats, new: Floats) -> Floats:
        model = HistGradientBoostingRegressor(
            max_iter=hyper["rounds"],
            max_leaf_nodes=hyper["leaves"],
            learning_rate=hyper["learning_rate"],
            min_samples_leaf=max(2, min(20, len(target) // 20)),
            early_stopping=False,
            random_state=task.seed,
        )
        return np.asarray(model.fit(design, target).predict(new))

    return _trees(task, fitted)


def _trees(task: Task, fit: Callable[[Hyper, Floats, Floats, Floats], Floats]) -> Callable[[Hyper], Floats]:
    """Trees on the balance itself, or on its deviation from the shrunken level of the glacier."""
    design, target = _training(task)
    new = task.design.values[task.new]

    def predict(hyper: Hyper) -> Floats:
        if design.shape[1] == 0 or len(target) < 2:
            return np.full(len(task.new), target.mean())
        level = np.zeros(len(task.rows.year))
        if hyper.get("level") == "glacier":
            level = level_of(task.table, task.seen, task.rows.glacier)
        fitted, added = level[task.table.row[task.annual]], level[task.new]
        return np.asarray(fit(hyper, design, target - fitted, new) + added)

    return predict


def _training(task: Task) -> tuple[Floats, Floats]:
    mine = task.annual
    return task.design.values[task.table.row[mine]], task.table.target[mine]


def level_of(table: Table, seen: Bools, glacier: Texts) -> Floats:
    """Shrunken mean deviation of glaciers from the mean of all that is seen; 0 for a glacier that is not, m w.e."""
    mine = np.flatnonzero(seen & table.annual)
    names, index = np.unique(table.rows.glacier[table.row[mine]], return_inverse=True)
    if not len(names):
        return np.zeros(len(glacier))
    deviation = table.target[mine] - table.target[mine].mean()
    level = np.bincount(index, deviation) / (np.bincount(index) + _LEVEL_PRIOR)
    at = np.searchsorted(names, glacier).clip(max=len(names) - 1)
    return np.asarray(np.where(names[at] == glacier, level[at], 0.0))


def levels_of(folds: xr.Dataset, samples: xr.Dataset) -> list[str]:
    """Whether a glacier's level can be known where it is to be predicted: not if whole glaciers are withheld."""
    glacier = samples["row_glacier"].values.astype(str)[samples["operator_row"].values]
    number = np.unique(glacier, return_inverse=True)[1]
    known = False
    for fold in range(folds.sizes["fold"]):
        fit, score = folds["fit"].values[fold], folds["score"].values[fold]
        entries = samples["operator_sample"].values
        known |= bool(np.isin(number[score[entries]], number[fit[entries]]).any())
        if known:
            return ["none", "glacier"]
    return ["none"]


def _grid(**alternatives: list[Any]) -> list[Hyper]:
    out: list[Hyper] = [{}]
    for name, values in alternatives.items():
        out = [{**o, name: v} for o in out for v in values]
    return out


def _ridge_grid(settings: Ridge) -> list[Hyper]:
    return _grid(penalty=settings.penalties)


def _lasso_grid(settings: Lasso) -> list[Hyper]:
    return _grid(penalty=settings.penalties)


def _forest_grid(settings: RandomForest) -> list[Hyper]:
    return _grid(leaf=settings.leaf, share=settings.share, trees=[settings.trees])


def _boosting_grid(settings: GradientBoosting) -> list[Hyper]:
    return _grid(rounds=settings.rounds, leaves=settings.leaves, learning_rate=[settings.learning_rate])


TABULAR: dict[str, tuple[Fit, Callable[[Any], list[Hyper]], type[Learner], bool]] = {
    "ridge": (ridge, _ridge_grid, Ridge, False),
    "lasso": (lasso, _lasso_grid, Lasso, False),
    "random_forest": (random_forest, _forest_grid, RandomForest, True),
    "extra_trees": (extra_trees, _forest_grid, ExtraTrees, True),
    "gradient_boosting": (gradient_boosting, _boosting_grid, GradientBoosting, True),
}
"""Fit, alternatives of the settings, settings, and whether the glacier's level is an alternative."""


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning that a weak penalty has not quite converged: the inner splits judge what came out.

    Held around all threads, since warning filters belong to the whole process.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def fitter(name: str) -> Callable[[xr.Dataset, xr.Dataset, Any, int], xr.Dataset]:
    """The `fit` of a model in the common contract."""
    fit, grid, _, has_level = TABULAR[name]

    def run(samples: xr.Dataset, folds: xr.Dataset, settings: Any, seed: int) -> xr.Dataset:
        hypers = grid(settings)
        if has_level:
            hypers = [{**h, "level": level} for level in levels_of(folds, samples) for h in hypers]
        with _quiet():
            parameters = fit_tabular(name, samples, folds, settings, fit, hypers, seed)
        return parameters.assign_attrs(seed=seed)

    return run


def predictor(name: str) -> Callable[[xr.Dataset, xr.Dataset], xr.DataArray]:
    """The `predict` of a model in the common contract."""
    fit = TABULAR[name][0]

    def run(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
        with _quiet():
            return predict_tabular(parameters, rows, fit, int(parameters.attrs["seed"]))

    return run
