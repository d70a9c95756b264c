"""The structured Gaussian process in the common contract.

Hyper-parameters are learnt once per block of folds, on the rows that all its folds may see; every fold conditions on
all rows that it may see.
"""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.learning.gaussian_process import Hyper, Inputs, Settings, condition, learn
from glacmb_grid.learning.nested import (
    Candidate,
    Table,
    Tuned,
    design_of,
    features_of,
    in_order,
    inner_masks,
    permitted,
    prediction,
    require_annual,
    search_record,
    selection_masks,
    side_by_side,
    split_blocks,
    table_of,
    training_record,
    training_table,
)
from glacmb_grid.learning.prepare import Bools, Design, Floats, Rows, rows_of
from glacmb_grid.settings import GaussianProcess, Recipe


def default_recipes(rows: Rows) -> list[Recipe]:
    """Anomalies of the seasonal predictors (of the table's, without monthly values), climatologies of the table's."""
    take = "seasonal" if rows.monthly.any() else "table"
    return [Recipe(take=take, parts=("climatology", "anomaly"), climatology_of="table")]


def fit_gaussian_process(samples: xr.Dataset, folds: xr.Dataset, settings: GaussianProcess, seed: int) -> xr.Dataset:
    """Learn hyper-parameters and choose a recipe in every block.

    Returns
    -------
    xr.Dataset
        `hyper` (fold, hyper_parameter): amplitudes and noise in m w.e., lengths in standard deviations, km and years;
        `choice`, `inner_error`, `inner_prediction`, `selected`, `seen` and the training table.
    """
    table = table_of(samples)
    require_annual(table, folds, "gaussian_process")
    recipes = permitted(table, settings, settings.recipes or default_recipes(table.rows))
    first, block = split_blocks(folds)
    selection = selection_masks(folds)
    jobs = [(b, r) for b in range(len(first)) for r in range(len(recipes))]

    def work(job: tuple[int, int]) -> tuple[Hyper, Floats]:
        b, r = job
        shared = folds["fit"].values[block == b].all(axis=0)
        select = selection[first[b]] if "select" in folds else None
        hyper = learn(*_training(table, shared, recipes[r], settings, seed, select), _terms(settings))
        total, count = np.zeros((2, len(table.target)))
        for inner_fit, inner_score in inner_masks(folds, int(first[b])):
            told = _condition(table, inner_fit, inner_score, recipes[r], settings, seed, hyper, select)
            total[inner_score] += told[inner_score]
            count[inner_score] += 1
        with np.errstate(invalid="ignore"):
            return hyper, total / count

    with side_by_side() as pool:
        found = list(pool.map(work, jobs))
    inner = np.array([p for _, p in found]).reshape(len(first), len(recipes), -1)
    error = np.sqrt(np.nanmean((inner - table.target) ** 2, axis=2))
    choice = error.argmin(axis=1)
    tuned = Tuned(choice[block], error[block], inner[np.arange(len(first)), choice][block])
    learnt = [found[b * len(recipes) + c][0] for b, c in enumerate(choice)]
    names = sorted({n for h in learnt for n in h.names})  # in an order that no other fold decides
    values = np.array([[dict(zip(h.names, h.values, strict=True)).get(n, np.nan) for n in names] for h in learnt])
    kept = [features_of(table, s, recipes[c], seed) for s, c in zip(selection, tuned.choice, strict=True)]
    record = search_record(recipes, [Candidate(r, {}) for r in range(len(recipes))], tuned, kept, folds)
    record = record.assign(hyper=(("fold", "hyper_parameter"), values[block]))
    record = record.assign_coords(hyper_parameter=np.array(names, dtype=object))
    attrs = {**record.attrs, "settings": settings.model_dump_json(), "seed": seed}
    return training_record(samples, folds).merge(record).assign_attrs(attrs)


def predict_gaussian_process(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """Posterior mean of the balance, (fold, member, row), m w.e."""
    table = training_table(parameters)
    new = in_order(rows_of(rows), table.rows.names)
    settings = GaussianProcess.model_validate_json(parameters.attrs["settings"])
    recipes = [Recipe.model_validate(r) for r in json.loads(parameters.attrs["recipes"])]
    seen, seed = parameters["fitted"].values, int(parameters.attrs["seed"])
    select = parameters["select"].values if "select" in parameters else seen
    names = [str(n) for n in parameters["hyper_parameter"].values]

    def work(fold: int) -> Floats:
        recipe = recipes[int(parameters["choice"].values[fold])]
        values = parameters["hyper"].values[fold]
        there = np.isfinite(values)
        hyper = Hyper(tuple(n for n, t in zip(names, there, strict=True) if t), values[there])
        features = features_of(table, select[fold], recipe, seed)
        inputs, target, sigma = _training(table, seen[fold], recipe, settings, seed, select[fold])
        others = _inputs(features.design(new), new, settings)
        return condition(inputs, target, sigma, hyper, others, _terms(settings))[0]

    with side_by_side() as pool:
        values = np.array(list(pool.map(work, range(parameters.sizes["fold"]))))
    return prediction(values[:, None], parameters)


def _terms(settings: GaussianProcess) -> Settings:
    return Settings(max_rows=settings.max_rows)


def _training(
    table: Table, seen: Bools, recipe: Recipe, settings: GaussianProcess, seed: int, select: Bools | None = None
) -> tuple[Inputs, Floats, Floats | None]:
    features = features_of(table, seen if select is None else select, recipe, seed)
    mine = np.flatnonzero(seen & table.annual)
    rows = table.rows.take(table.row[mine])
    design = features.design(table.rows)
    part = Design(design.values[table.row[mine]], design.names, design.weather)
    return _inputs(part, rows, settings), table.target[mine], None


def _inputs(design: Design, rows: Rows, settings: GaussianProcess) -> Inputs:
    position = rows.position if settings.position and np.isfinite(rows.position).any() else None
    return Inputs(
        design.values[:, design.weather], design.values[:, ~design.weather], rows.glacier, rows.year, position
    )


def _condition(
    table: Table,
    seen: Bools,
    new: Bools,
    recipe: Recipe,
    settings: GaussianProcess,
    seed: int,
    hyper: Hyper,
    select: npt.NDArray[np.bool_] | None,
) -> Floats:
    """What the posterior of the balance makes of new observations, (sample,)."""
    features = features_of(table, seen if select is None else select, recipe, seed)
    inputs, target, sigma = _training(table, seen, recipe, settings, seed, select)
    everything = _inputs(design_of(table, features, seen | new), table.rows, settings)
    return np.asarray(table.operator @ condition(inputs, target, sigma, hyper, everything, _terms(settings))[0])
