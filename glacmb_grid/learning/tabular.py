"""Models that learn from a matrix of features: one search over recipes and hyper-parameters for all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.features import Features, choose_columns, fit_features, group_means
from glacmb_grid.learning.level import Levels, YearPart, among, kinds_of_level, levels_of, shares_years
from glacmb_grid.learning.ragged import Arrays, pack, unpack
from glacmb_grid.learning.recipes import extrapolating, recipes_of
from glacmb_grid.learning.search import (
    Candidate,
    Hyper,
    InnerMean,
    Tuned,
    inner_masks,
    prediction,
    require_annual,
    search_record,
    side_by_side,
)
from glacmb_grid.learning.table import Bools, Floats, Table, rows_of, table_of
from glacmb_grid.progress import track
from glacmb_grid.settings import Recipe, Section


@dataclass(frozen=True)
class Training:
    """What a learner fits on.

    Attributes
    ----------
    design : float64 array, (sample, feature)
        Standardised features without gaps: of the observation's glacier-year, or the sum over its years.
    years : float64 array, (sample,)
        Number of years of each observation.
    target : float64 array, (sample,), m w.e.
        Less the level of the glacier, where that is part of the candidate; at year level one row is a year.
    seed : int
    varies : bool array, (feature,)
        Whether a feature varies from year to year at a glacier.
    """

    design: Floats
    years: Floats
    target: Floats
    seed: int
    varies: Bools


@dataclass(frozen=True)
class DesignModel(Model):
    """A model that learns from a matrix of features.

    Attributes
    ----------
    annual_only : bool
        Whether it learns from balances of single years only.
    has_level : bool
        Whether the level of the glacier, taken from its balances beforehand, is an alternative. One row a year is one
        where rows share years; of learners that tell glaciers apart by their level only where that can be known.
    """

    annual_only: ClassVar[bool] = True
    has_level: ClassVar[bool] = False

    def recipes(self, table: Table) -> list[Recipe]:
        """The alternatives for turning the table's predictors into features."""
        return recipes_of(table, self.settings)

    @abstractmethod
    def hypers(self) -> list[Hyper]:
        """The alternatives of the settings."""

    def kinds(self, task: Task, table: Table) -> list[str | None]:
        """What glaciers may add to the learner: alternatives of `levels_of`; None where there is no choice."""
        found = kinds_of_level(task.folds, task.samples, years=shares_years(table))
        if not self.has_level:
            found = ["none", "year"] if shares_years(table) else ["none"]
        kept = among(found, self.settings.levels)
        return [None] if kept == ["none"] and not self.has_level else [*kept]

    def variants(self, samples: xr.Dataset) -> dict[str, Section]:
        """With glaciers far from the fitted ones as they are."""
        return extrapolating(self.settings, self.recipes(table_of(samples)))

    def prepare(self, training: Training) -> Any:
        """Work that all hyper-parameters share."""
        return training

    @abstractmethod
    def learn(self, prepared: Any, hyper: Hyper) -> Arrays:
        """What `evaluate` needs, as arrays."""

    @abstractmethod
    def evaluate(self, learnt: Arrays, design: Floats) -> Floats:
        """Balance of rows from their standardised features, (row,), m w.e."""

    def fit(self, task: Task) -> xr.Dataset:
        """Choose a candidate on the inner splits of every block, and fit it in every fold.

        Returns
        -------
        xr.Dataset
            `choice` (fold), `inner_error` (fold, candidate) m w.e., `inner_prediction` (fold, sample) m w.e.,
            `selected` (fold, feature), `fitted` and `seen` (fold, sample), and `state_...`, what was learnt in every
            fold; attributes hold the search space.
        """
        samples, folds = task.samples, task.own
        table = table_of(samples)
        if self.annual_only:
            require_annual(table, folds, self.name)
        recipes = self.recipes(table)
        hypers = [h if k is None else {**h, "level": k} for k in self.kinds(task, table) for h in self.hypers()]
        candidates = [Candidate(r, h) for r, h in product(range(len(recipes)), hypers)]
        tuned = _tune(self, table, folds, recipes, candidates, task.seed)

        def work(fold: int) -> tuple[Features, Arrays]:
            chosen = candidates[int(tuned.choice[fold])]
            split = Split(table, folds.fit[fold], None, recipes[chosen.recipe], task.seed, folds.select[fold])
            levels, learnt = self.learnt_on(split, chosen.hyper, {})
            return split.features, {**split.features.state(), **levels.state(), **learnt}

        with side_by_side() as pool:
            found = list(track(pool.map(work, range(len(folds))), "fold", len(folds)))
        record = search_record(recipes, candidates, tuned, [f for f, _ in found], folds)
        return record.merge(pack([s for _, s in found])).assign_attrs({**record.attrs, "seed": task.seed})

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Balance of rows by what every fold has learnt, (fold, member, row), m w.e."""
        del below
        new = rows_of(rows)

        def work(fold: int) -> Floats:
            state = unpack(parameters, fold)
            levels = Levels.from_state(state)
            design = levels.with_trend(Features.from_state(state).design(new).values, new.year)
            return levels.balance(self.evaluate(state, design), new.glacier)

        with side_by_side() as pool:
            values = np.array(list(pool.map(work, range(parameters.sizes["fold"]))))
        return prediction(values[:, None], parameters)

    def learnt_on(self, split: Split, hyper: Hyper, prepared: dict[str, Any]) -> tuple[Levels, Arrays]:
        """Levels and what was learnt beside them; `prepared` keeps what candidates share."""
        kind = str(hyper.get("level", "none"))
        levels = levels_of(kind, split.table, split.seen)
        if kind not in prepared:
            prepared[kind] = self.prepare(split.training(levels, annual_only=self.annual_only))
        return levels, self.learn(prepared[kind], hyper)


class Split:
    """One fit: the observations to fit on and those to score, and the features learnt on the former.

    Parameters
    ----------
    table : Table
    seen : bool array, (sample,)
        To fit on; those that the recipe drops for their gaps are taken out.
    score : bool array, (sample,), optional
        To predict.
    recipe : Recipe
    seed : int
    select : bool array, (sample,)
        Observations that the features are learnt on.
    """

    def __init__(
        self, table: Table, seen: Bools, score: Bools | None, recipe: Recipe, seed: int, select: Bools
    ) -> None:
        self.table, self.score, self.seed = table, score, seed
        self.features = features_of(table, select, recipe, seed)
        self.seen = _without_gaps(table, seen, recipe)
        # No other row is looked at: the climatology of a glacier that was not fitted on is a mean of its rows.
        self.used = table.used_rows(seen if score is None else seen | score)
        self.rows = table.rows.take(self.used)
        self.design = self.features.design(self.rows)

    def training(self, levels: Levels, *, annual_only: bool) -> Training:
        """What a learner fits on."""
        if levels.of_years is not None:
            return self._by_year(levels, levels.of_years)
        mine = self.seen & self.table.annual if annual_only else self.seen
        operator = self.table.operator[mine][:, self.used]
        target = self.table.target[mine] - operator @ levels.at(self.rows.glacier)
        years = np.asarray(operator.sum(axis=1)).ravel()
        return Training(operator @ self.design.values, years, target, self.seed, self.design.weather)

    def _by_year(self, levels: Levels, part: YearPart) -> Training:
        """One row a year: the mean features of its seen annual observations, and its balance."""
        mine = np.flatnonzero(self.seen & self.table.annual)
        place = np.searchsorted(np.flatnonzero(self.used), self.table.row[mine])
        of = np.searchsorted(part.years, self.rows.year[place])
        mean = group_means(self.design.values[place], of, len(part.years))
        design = levels.with_trend(mean, part.years)
        varies = np.append(self.design.weather, np.ones(design.shape[1] - mean.shape[1], bool))
        return Training(design, np.ones(len(part.years)), part.values, self.seed, varies)

    def observed(self, balance: Floats) -> Floats:
        """What observations to score are made of these balances of `rows`, m w.e."""
        return np.asarray(self.table.operator[self.score][:, self.used] @ balance)


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


def _tune(
    model: DesignModel,
    table: Table,
    folds: Folds,
    recipes: Sequence[Recipe],
    candidates: Sequence[Candidate],
    seed: int,
) -> Tuned:
    """Try every candidate on the inner splits of every block."""
    first = folds.first
    by_recipe = {r: [i for i, c in enumerate(candidates) if c.recipe == r] for r in range(len(recipes))}
    masks = [(b, m) for b, f in enumerate(first) for m in inner_masks(folds, f)]
    jobs = [(b, r, m) for r in by_recipe for b, m in masks]  # what two recipes share is then known to the second

    def work(job: tuple[int, int, tuple[Bools, Bools]]) -> list[Floats]:
        b, recipe, (inner_fit, inner_score) = job
        select = folds.selected(first[b], inner_fit)
        split = Split(table, inner_fit, inner_score, recipes[recipe], seed, select)
        prepared: dict[str, Any] = {}
        out = []
        for number in by_recipe[recipe]:
            levels, learnt = model.learnt_on(split, candidates[number].hyper, prepared)
            learnt_of = model.evaluate(learnt, levels.with_trend(split.design.values, split.rows.year))
            out.append(split.observed(levels.balance(learnt_of, split.rows.glacier)))
        return out

    inner = InnerMean(len(first), len(candidates), len(table.target))
    with side_by_side() as pool:
        results = track(pool.map(work, jobs), "inner fit", len(jobs))
        for (b, recipe, (_, inner_score)), values in zip(jobs, results, strict=True):
            for number, one in zip(by_recipe[recipe], values, strict=True):
                inner.add(b, number, inner_score, one)
    choice, error, predicted = inner.choose(table.target)
    return Tuned(*map(folds.by_fold, (choice, error, predicted)))


def grid(**alternatives: list[Any]) -> list[Hyper]:
    """All combinations of alternatives, the last of them changing fastest."""
    return [dict(zip(alternatives, values, strict=True)) for values in product(*alternatives.values())]
