"""Choosing inside a fold: every candidate is tried on the inner splits, and only the rows of the fold are looked at.

Folds of one block share their inner splits, which lie inside what all of them may see, so that the search is done once
per block. All that a model has to give is a function that fits on some rows and predicts others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
import xarray as xr
from threadpoolctl import threadpool_limits

from glacmb_grid.errors import InputError
from glacmb_grid.learning.prepare import (
    Bools,
    Design,
    Features,
    Floats,
    Integers,
    Rows,
    Texts,
    choose_columns,
    fit_features,
    rows_of,
)
from glacmb_grid.predictors import matching
from glacmb_grid.samples import operator_of
from glacmb_grid.settings import Learner, Recipe

Hyper = dict[str, Any]
Fit = Callable[["Task"], Callable[[Hyper], Floats]]
_MANY = 60  # predictors, beyond which selections of them are tried
_KEEP = (27, 9)
_ENOUGH_GLACIERS = 8


@dataclass(frozen=True)
class Table:
    """Samples as arrays.

    Attributes
    ----------
    rows : Rows
    operator : csr matrix, (sample, row)
        What makes observations of balances.
    annual : bool array, (sample,)
        Whether an observation is the balance of one glacier-year; `row` says of which.
    row : int array, (sample,)
    target, uncertainty : float64 arrays, (sample,), m w.e.
    group : str array, (sample,)
    """

    rows: Rows
    operator: scipy.sparse.csr_matrix
    annual: Bools
    row: Integers
    target: Floats
    uncertainty: Floats
    group: Texts

    def used_rows(self, seen: Bools) -> Bools:
        """Rows that the seen observations touch, (row,)."""
        return np.asarray(abs(self.operator[seen]).sum(axis=0) > 0).ravel()

    def row_target(self, seen: Bools) -> Floats:
        """Mean of the seen annual observations of every row, NaN where there is none, (row,)."""
        mine = np.flatnonzero(seen & self.annual)
        count = np.bincount(self.row[mine], minlength=len(self.rows.year)).astype(float)
        total = np.bincount(self.row[mine], self.target[mine], minlength=len(self.rows.year))
        return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def table_of(samples: xr.Dataset) -> Table:
    """The arrays of samples."""
    weights = operator_of(samples)
    shape = (samples.sizes["sample"], samples.sizes["row"])
    operator = scipy.sparse.csr_matrix((weights.weight, (weights.row, weights.column)), shape)
    entries = np.diff(operator.indptr)
    first = operator.indices[operator.indptr[:-1].clip(max=max(operator.nnz - 1, 0))]
    annual = (entries == 1) & (np.asarray(operator.sum(axis=1)).ravel() == 1)
    known = samples["mass_balance_uncertainty"].values if "mass_balance_uncertainty" in samples else None
    group = samples.get("group", samples.get("glacier"))
    return Table(
        rows_of(samples),
        operator,
        annual,
        first.astype(np.int64),
        samples["mass_balance"].values.astype(np.float64),
        np.full(shape[0], 0.2) if known is None else known.astype(np.float64),
        np.arange(shape[0]).astype(str) if group is None else group.values.astype(str),
    )


@dataclass(frozen=True)
class Task:
    """One fit.

    Attributes
    ----------
    table : Table
    seen : bool array, (sample,)
        The observations to fit on.
    new : int array
        Rows to predict.
    design : Design
        Features of the rows of the table, learnt on what is seen.
    rows : Rows
        The rows of the design: those of the table, and after them any others that are to be predicted.
    seed : int
    """

    table: Table
    seen: Bools
    new: Integers
    design: Design
    rows: Rows
    seed: int

    @property
    def annual(self) -> Integers:
        """The seen annual observations, without those that the recipe drops for their gaps."""
        return np.flatnonzero(self.seen & self.table.annual)


@dataclass(frozen=True)
class Candidate:
    """One way to make features and one set of hyper-parameters."""

    recipe: int
    hyper: Hyper


def split_blocks(folds: xr.Dataset) -> tuple[Integers, Integers]:
    """The first fold of every block, and the block of every fold, both counted from 0."""
    block = folds["block"].values if "block" in folds.coords else np.arange(folds.sizes["fold"])
    _, first, index = np.unique(block, return_index=True, return_inverse=True)
    return first.astype(np.int64), index.astype(np.int64)


def inner_masks(folds: xr.Dataset, fold: int) -> Iterator[tuple[Bools, Bools]]:
    """Masks of the inner splits of a fold; splits that are there twice are given once."""
    told: set[bytes] = set()
    for fit, score in zip(folds["inner_fit"].values[fold], folds["inner_score"].values[fold], strict=True):
        key = np.packbits(np.concatenate([fit, score])).tobytes()
        if key not in told:
            told.add(key)
            yield fit, score


def workers() -> int:
    """Threads to fit on."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def side_by_side() -> Iterator[ThreadPoolExecutor]:
    """Threads for fits side by side, each of which then keeps to one core."""
    with threadpool_limits(1), ThreadPoolExecutor(workers()) as pool:
        yield pool


@dataclass(frozen=True)
class Tuned:
    """What the search found.

    Attributes
    ----------
    choice : int array, (fold,)
    error : float64 array, (fold, candidate)
        Root mean square error over the inner splits, m w.e.
    prediction : float64 array, (fold, sample)
        By the chosen candidate on the inner splits, NaN elsewhere, m w.e.
    """

    choice: Integers
    error: Floats
    prediction: Floats


def tune(
    table: Table, folds: xr.Dataset, recipes: Sequence[Recipe], candidates: Sequence[Candidate], fit: Fit, seed: int
) -> Tuned:
    """Try every candidate on the inner splits of every block.

    Parameters
    ----------
    table : Table
    folds : xr.Dataset
        `inner_fit`, `inner_score` (fold, inner, sample) and, for blocks of folds, `block` (fold).
    recipes : sequence of Recipe
    candidates : sequence of Candidate
    fit : callable
        A Task gives a function from hyper-parameters to the balance of the task's new rows.
    seed : int

    Returns
    -------
    Tuned
    """
    first, block = split_blocks(folds)
    leaked = folds["select"].values if "select" in folds else None  # only an audit gives it
    mine = {r: [i for i, c in enumerate(candidates) if c.recipe == r] for r in _used(candidates)}
    jobs = [(b, r, masks) for b, f in enumerate(first) for masks in inner_masks(folds, int(f)) for r in mine]

    def work(job: tuple[int, int, tuple[Bools, Bools]]) -> Floats:
        b, recipe, (inner_fit, inner_score) = job
        select = None if leaked is None else leaked[first[b]]
        predict = fit(task_of(table, inner_fit, recipes[recipe], seed, select, inner_fit | inner_score))
        return np.array([observed(table, predict(candidates[i].hyper), inner_score) for i in mine[recipe]])

    shape = (len(first), len(candidates), len(table.target))
    total, count = np.zeros(shape), np.zeros((len(first), len(table.target)))
    with side_by_side() as pool:
        for (b, recipe, (_, inner_score)), values in zip(jobs, pool.map(work, jobs), strict=True):
            place = np.ix_(np.array([b]), np.array(mine[recipe]), np.flatnonzero(inner_score))
            total[place] += values[None]
            if recipe == candidates[0].recipe:
                count[b, inner_score] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count[:, None]
    square = (mean - table.target) ** 2
    error = np.sqrt(np.nanmean(square, axis=2))
    choice = error.argmin(axis=1)
    return Tuned(choice[block], error[block], mean[np.arange(len(first)), choice][block])


def inner_prediction(folds: xr.Dataset, fit: Callable[[Bools], Floats]) -> xr.DataArray:
    """Predictions on the inner splits by a model without alternatives, (fold, sample), m w.e., NaN elsewhere.

    `fit` takes the observations to fit on and gives what it makes of all observations.
    """
    first, block = split_blocks(folds)
    shape = (len(first), folds.sizes["sample"])
    total, count = np.zeros(shape), np.zeros(shape)
    for b, fold in enumerate(first):
        for inner_fit, inner_score in inner_masks(folds, int(fold)):
            total[b, inner_score] += fit(inner_fit)[inner_score]
            count[b, inner_score] += 1
    with np.errstate(invalid="ignore"):
        return xr.DataArray((total / count)[block], dims=("fold", "sample"))


def _used(candidates: Sequence[Candidate]) -> list[int]:
    return list(dict.fromkeys(c.recipe for c in candidates))


def task_of(
    table: Table, seen: Bools, recipe: Recipe, seed: int, select: Bools | None = None, told: Bools | None = None
) -> Task:
    """A fit on the seen observations that predicts the rows of the told ones, by default all rows of the table.

    `select` are the observations that the features are learnt on, by default those seen: an audit gives others.
    """
    features = features_of(table, seen if select is None else select, recipe, seed)
    rows, design = table.rows, design_of(table, features, told)
    return Task(table, _without_gaps(table, seen, recipe), np.arange(len(rows.year)), design, rows, seed)


def design_of(table: Table, features: Features, told: Bools | None = None) -> Design:
    """Features of the rows of the table that the told observations touch; no other is looked at, theirs are zero.

    The climatology of a glacier that was not fitted on is a mean of its rows, which must not reach beyond a fold.
    """
    if told is None:
        return features.design(table.rows)
    here = table.used_rows(told)
    design = features.design(table.rows.take(here))
    values = np.zeros((len(here), len(design.names)))
    values[here] = design.values
    return replace(design, values=values)


def features_of(table: Table, seen: Bools, recipe: Recipe, seed: int) -> Features:
    """Features learnt on the seen observations."""
    return fit_features(table.rows, table.used_rows(seen), table.row_target(seen), recipe, seed)


def _without_gaps(table: Table, seen: Bools, recipe: Recipe) -> Bools:
    if recipe.gaps != "drop":
        return seen
    taken, _ = choose_columns(table.rows, recipe)
    whole = np.isfinite(table.rows.values[:, taken]).all(axis=1)
    kept = seen & (abs(table.operator) @ (~whole).astype(float) == 0)
    return kept if kept.any() else seen


def observed(table: Table, balance: Floats, which: Bools) -> Floats:
    """What the operator makes of the balance of all rows, for some observations, m w.e."""
    return np.asarray(table.operator[which] @ balance)


def default_recipes(table: Table, settings: Learner) -> list[Recipe]:
    """Alternatives that suit the table: from the names and number of predictors and whether there are gaps.

    The table's own predictors; where there are monthly values their seasonal aggregates; in a user's table, with
    glaciers enough to learn their differences from, the glacier's means and the deviations from them (a run from cubes
    can have these of a fixed reference period among its predictors); with many predictors a selection of them; with
    gaps the ways to fill them.
    """
    if settings.recipes is not None:
        return settings.recipes
    rows = table.rows
    taken = "seasonal" if rows.monthly.any() else "table"
    plain = Recipe(take="table")
    parts = Recipe(take=taken)
    if rows.from_table and len(np.unique(rows.glacier)) >= _ENOUGH_GLACIERS:
        parts = Recipe(take=taken, parts=("value", "climatology", "anomaly"), climatology_of="table")
    out = [plain] if parts == plain else [plain, parts]
    allowed = np.isin(np.arange(len(rows.names)), matching(rows.names, settings.predictors))
    if (allowed & ~rows.derived).sum() > _MANY:
        out += [r.model_copy(update={"collinearity": 0.9, "keep": k}) for r in list(out) for k in _KEEP]
    if not np.isfinite(rows.values[:, allowed]).all():
        out += [parts.model_copy(update={"gaps": g}) for g in ("climatology", "regress", "indicator", "drop")]
    return out


def permitted(table: Table, settings: Learner, recipes: Sequence[Recipe]) -> list[Recipe]:
    """Recipes within the predictors that a model may take at all."""
    if settings.predictors == ["*"]:
        return list(recipes)
    allowed = matching(table.rows.names, settings.predictors)
    barred = [str(n) for i, n in enumerate(table.rows.names) if i not in set(allowed)]
    return [r.model_copy(update={"exclude": [*r.exclude, *barred]}) for r in recipes]


def fit_tabular(
    name: str, samples: xr.Dataset, folds: xr.Dataset, settings: Learner, fit: Fit, hypers: Sequence[Hyper], seed: int
) -> xr.Dataset:
    """Search and record: what `predict_tabular` needs to fit the chosen candidate of every fold.

    Parameters
    ----------
    name : str
        Of the model.
    samples, folds : xr.Dataset
    settings : Learner
    fit : callable
        See `tune`.
    hypers : sequence of dict
        Alternatives, tried with every recipe.
    seed : int

    Returns
    -------
    xr.Dataset
        `choice` (fold), `inner_error` (fold, candidate) m w.e., `inner_prediction` (fold, sample) m w.e.,
        `selected` (fold, feature), `fitted` and `seen` (fold, sample) and the training table; attributes hold the
        search space.
    """
    table = table_of(samples)
    recipes = permitted(table, settings, default_recipes(table, settings))
    candidates = [Candidate(r, h) for r in range(len(recipes)) for h in hypers]
    if name != "ridge":  # which learns from sums of years too
        require_annual(table, folds, name)
    tuned = tune(table, folds, recipes, candidates, fit, seed)
    kept = [
        features_of(table, seen, recipes[candidates[c].recipe], seed)
        for seen, c in zip(selection_masks(folds), tuned.choice, strict=True)
    ]
    found = search_record(recipes, candidates, tuned, kept, folds)
    return training_record(samples, folds).merge(found).assign_attrs(found.attrs)


def selection_masks(folds: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Observations on which features are learnt, (fold, sample): those fitted on, unless an audit leaks others."""
    return np.asarray((folds["select"] if "select" in folds else folds["fit"]).values)


def require_annual(table: Table, folds: xr.Dataset, name: str) -> None:
    """Raise where a fold has no annual observation, which is all that trees and kernels can learn from."""
    lacking = ~(folds["fit"].values & table.annual).any(axis=1)
    if lacking.any():
        raise InputError(
            f"models: {name}",
            expected="annual observations to fit on in every fold",
            found=f"none in the fold {folds['fold'].values[lacking][0]}",
            remedy=f"give annual balances, or take {name} out of `validation.models`",
        )


def training_record(samples: xr.Dataset, folds: xr.Dataset) -> xr.Dataset:
    """The training table and who saw what of it: models that fit when they predict carry it."""
    table = samples.drop_dims("month", errors="ignore").drop_dims("band", errors="ignore")
    kept = [
        "predictors",
        "mass_balance",
        "mass_balance_uncertainty",
        "operator_sample",
        "operator_row",
        "operator_weight",
    ]
    labels = ["row_glacier", "row_year", "row_longitude", "row_latitude", "predictor", "monthly", "derived"]
    data = {f"training_{n}": (tuple(_renamed(d) for d in table[n].dims), table[n].values) for n in kept if n in table}
    data |= {
        f"training_{n}": (tuple(_renamed(d) for d in table[n].dims), table[n].values) for n in labels if n in table
    }
    seen = {"fitted": (("fold", "sample"), folds["fit"].values), "seen": (("fold", "sample"), seen_by(folds))}
    if "select" in folds:
        seen["select"] = (("fold", "sample"), folds["select"].values)
    group = table["group"] if "group" in table.coords else table["glacier"] if "glacier" in table.coords else None
    if group is not None:
        data["training_group"] = (("sample",), group.values)
    return xr.Dataset({**data, **seen}, coords={"fold": folds["fold"], "scheme": folds["scheme"]})


def seen_by(folds: xr.Dataset) -> Bools:
    """Observations that anything in a fold looks at, its search and what an audit leaks included, (fold, sample)."""
    searched = (folds["inner_fit"].values | folds["inner_score"].values).any(axis=1)
    first, block = split_blocks(folds)
    seen = folds["fit"].values | searched[first][block]
    for extra in ("select", "stop"):
        if extra in folds:
            seen = seen | folds[extra].values
    return np.asarray(seen)


def _renamed(dim: Any) -> str:
    return str(dim) if dim == "sample" else f"training_{dim}"


def training_table(parameters: xr.Dataset) -> Table:
    """The training table that parameters carry."""
    names = {n: str(n).removeprefix("training_") for n in parameters.variables if str(n).startswith("training_")}
    kept = parameters[list(names)].drop_vars(["fold", "scheme"], errors="ignore")
    dims = {d: str(d).removeprefix("training_") for d in kept.dims if str(d).startswith("training_") and d not in names}
    samples = kept.rename({**names, **dims})
    coords = ("row_glacier", "row_year", "row_longitude", "row_latitude", "monthly", "derived", "group")
    return table_of(samples.set_coords([n for n in coords if n in samples]))


def search_record(
    recipes: Sequence[Recipe],
    candidates: Sequence[Candidate],
    tuned: Tuned,
    kept: Sequence[Features],
    folds: xr.Dataset,
) -> xr.Dataset:
    """What was searched, what was chosen, and which features were kept, by fold."""
    names = list(dict.fromkeys(n for f in kept for n in f.names[f.kept].tolist()))
    number = {n: i for i, n in enumerate(names)}
    selected = np.zeros((len(kept), len(names)), bool)
    centre, inverse = np.full((2, *selected.shape), np.nan)
    for fold, features in enumerate(kept):
        place = [number[n] for n in features.names[features.kept].tolist()]
        selected[fold, place] = True
        centre[fold, place] = features.centre[features.kept]
        inverse[fold, place] = features.inverse_scale[features.kept]
    told = [json.dumps({"recipe": c.recipe, **c.hyper}, sort_keys=True) for c in candidates]
    return xr.Dataset(
        {
            "choice": ("fold", tuned.choice),
            "inner_error": (("fold", "candidate"), tuned.error),
            "inner_prediction": (("fold", "sample"), tuned.prediction),
            "selected": (("fold", "feature"), selected),
            "centre": (("fold", "feature"), centre),
            "inverse_scale": (("fold", "feature"), inverse),
        },
        coords={
            "fold": folds["fold"],
            "scheme": folds["scheme"],
            "candidate": np.array(told, dtype=object),
            "feature": np.array(names, dtype=object),
        },
        attrs={"recipes": json.dumps([r.model_dump(mode="json") for r in recipes])},
    )


def predict_tabular(parameters: xr.Dataset, rows: xr.Dataset, fit: Fit, seed: int) -> xr.DataArray:
    """Fit the chosen candidate of every fold on what the fold saw and predict rows, (fold, member, row), m w.e."""
    table, new = training_table(parameters), rows_of(rows)
    recipes = [Recipe.model_validate(r) for r in json.loads(parameters.attrs["recipes"])]
    candidates = [json.loads(str(c)) for c in parameters["candidate"].values]
    seen = parameters["fitted"].values
    select = (parameters["select"] if "select" in parameters else parameters["fitted"]).values
    new = in_order(new, table.rows.names)
    joined = _joined(table.rows, new)
    start = len(table.rows.year)

    def work(fold: int) -> Floats:
        hyper = dict(candidates[int(parameters["choice"].values[fold])])
        recipe = recipes[hyper.pop("recipe")]
        features = features_of(table, select[fold], recipe, seed)
        own, other = features.design(table.rows), features.design(new)
        design = Design(np.concatenate([own.values, other.values]), own.names, own.weather)
        ours = _without_gaps(table, seen[fold], recipe)
        task = Task(table, ours, np.arange(start, len(joined.year)), design, joined, seed)
        return fit(task)(hyper)

    with side_by_side() as pool:
        values = np.array(list(pool.map(work, range(parameters.sizes["fold"]))))
    return prediction(values[:, None], parameters)


def in_order(rows: Rows, names: Texts) -> Rows:
    """Rows with the predictors of the training table in its order."""
    if np.array_equal(rows.names, names):
        return rows
    place = {n: i for i, n in enumerate(rows.names.tolist())}
    lacking = [n for n in names.tolist() if n not in place]
    if lacking:
        raise ValueError(f"the rows lack the predictors {lacking[:5]}")
    index = np.array([place[n] for n in names.tolist()])
    return Rows(
        names, rows.values[:, index], rows.glacier, rows.year, rows.position, rows.monthly[index], rows.derived[index]
    )


def _joined(a: Rows, b: Rows) -> Rows:
    return Rows(
        a.names,
        np.zeros((len(a.year) + len(b.year), 0)),
        np.concatenate([a.glacier, b.glacier]),
        np.concatenate([a.year, b.year]),
        np.concatenate([a.position, b.position]),
        a.monthly,
        a.derived,
    )


def prediction(values: Floats, parameters: xr.Dataset) -> xr.DataArray:
    """Balances with the folds they come from, (fold, member, row), m w.e."""
    return xr.DataArray(
        values, dims=("fold", "member", "row"), coords={"fold": parameters["fold"], "scheme": parameters["scheme"]}
    )
