"""The structured Gaussian process.

Hyper-parameters are learnt once per block of folds, on the rows that all its folds may see; every fold conditions on
all rows that it may see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.features import Design, Features
from glacmb_grid.learning.kernel import Hyper, Inputs
from glacmb_grid.learning.kriging import Posterior, Settings, learn, posterior
from glacmb_grid.learning.ragged import pack, unpack
from glacmb_grid.learning.recipes import within
from glacmb_grid.learning.search import (
    Candidate,
    InnerMean,
    Tuned,
    inner_masks,
    prediction,
    require_annual,
    search_record,
    side_by_side,
)
from glacmb_grid.learning.table import Bools, Floats, Rows, rows_of, table_of
from glacmb_grid.learning.tabular import Split
from glacmb_grid.progress import track
from glacmb_grid.settings import GaussianProcess, Recipe, Section


@dataclass(frozen=True)
class StructuredProcess(Model):
    """A Gaussian process whose kernel knows weather, static predictors, glacier, year and position."""

    settings_type: ClassVar = GaussianProcess

    def stored(self, rows: int, features: int) -> int:
        """About how many bytes what is learnt in one fold takes: the observations that it is conditioned on."""
        return 8 * rows * features + super().stored(rows, features)

    def fit(self, task: Task) -> xr.Dataset:
        """Learn hyper-parameters and choose a recipe in every block, and condition on what every fold may see.

        Returns
        -------
        xr.Dataset
            `hyper` (fold, hyper_parameter): amplitudes and noise in m w.e., lengths in standard deviations, km and
            years; `choice`, `inner_error`, `inner_prediction`, `selected`, `seen`, and `state_...`, the conditioned
            process of every fold.
        """
        folds, seed = task.own, task.seed
        table = table_of(task.samples)
        require_annual(table, folds, self.name)
        recipes = within(table, self.settings, self.settings.recipes or _default_recipes(table.rows))
        blocks, fit = folds.blocks, folds.fit
        jobs = [(b, r) for b in range(len(blocks)) for r in range(len(recipes))]

        def work(job: tuple[int, int]) -> tuple[Hyper, list[tuple[Bools, Floats]]]:
            b, r = job
            first, shared = folds.first[b], np.asarray(fit[blocks[b]].all(axis=0))
            whole = Split(table, shared, None, recipes[r], seed, folds.selected(first, shared))
            hyper = learn(*self._training(whole), None, self._limits)
            found = []
            for inner_fit, inner_score in inner_masks(folds, first):
                split = Split(table, inner_fit, inner_score, recipes[r], seed, folds.selected(first, inner_fit))
                process = posterior(*self._training(split), hyper, self._limits)
                balance = process.mean(self._inputs(split.design, split.rows))
                found.append((inner_score, split.observed(balance)))
            return hyper, found

        inner = InnerMean(len(blocks), len(recipes), len(table.target))
        learnt: dict[tuple[int, int], Hyper] = {}
        with side_by_side() as pool:
            results = track(pool.map(work, jobs), "inner fit", len(jobs))
            for (b, r), (hyper, found) in zip(jobs, results, strict=True):
                learnt[b, r] = hyper
                for score, values in found:
                    inner.add(b, r, score, values)
        choice, error, predicted = inner.choose(table.target)
        tuned = Tuned(*map(folds.by_fold, (choice, error, predicted)))
        chosen = [learnt[b, int(choice[b])] for b in folds.by_fold(np.arange(len(blocks))).tolist()]

        def final(fold: int) -> tuple[Features, Posterior]:
            recipe = recipes[int(tuned.choice[fold])]
            split = Split(table, fit[fold], None, recipe, seed, folds.select[fold])
            return split.features, posterior(*self._training(split), chosen[fold], self._limits)

        with side_by_side() as pool:
            processes = list(track(pool.map(final, range(len(fit))), "fold", len(fit)))
        candidates = [Candidate(r, {}) for r in range(len(recipes))]
        record = search_record(recipes, candidates, tuned, [f for f, _ in processes], folds)
        names = sorted({n for h in chosen for n in h.names})  # in an order that no other fold decides
        table_of_values = [[dict(zip(h.names, h.values, strict=True)).get(n, np.nan) for n in names] for h in chosen]
        record = record.assign(hyper=(("fold", "hyper_parameter"), np.array(table_of_values)))
        record = record.assign_coords(hyper_parameter=np.array(names, dtype=object))
        return record.merge(pack([{**f.state(), **p.state()} for f, p in processes])).assign_attrs(record.attrs)

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Posterior mean of the balance, (fold, member, row), m w.e."""
        del below
        new = rows_of(rows)

        def work(fold: int) -> Floats:
            state = unpack(parameters, fold)
            design = Features.from_state(state).design(new)
            return Posterior.from_state(state).mean(self._inputs(design, new))

        with side_by_side() as pool:
            values = np.array(list(pool.map(work, range(parameters.sizes["fold"]))))
        return prediction(values[:, None], parameters)

    def variants(self) -> dict[str, Section]:
        """Without the terms of position."""
        bare = self.settings.model_copy(update={"position": False})
        return {"without neighbours in space": bare} if self.settings.position else {}

    @property
    def _limits(self) -> Settings:
        return Settings(max_rows=self.settings.max_rows)

    def _training(self, split: Split) -> tuple[Inputs, Floats]:
        """Seen annual observations: their inputs and balances."""
        table = split.table
        mine = np.flatnonzero(split.seen & table.annual)
        rows = table.rows.take(table.row[mine])
        design, place = split.design, np.searchsorted(np.flatnonzero(split.used), table.row[mine])
        part = Design(design.values[place], design.names, design.weather)
        return self._inputs(part, rows), table.target[mine]

    def _inputs(self, design: Design, rows: Rows) -> Inputs:
        position = rows.position if self.settings.position and np.isfinite(rows.position).any() else None
        return Inputs(
            design.values[:, design.weather], design.values[:, ~design.weather], rows.glacier, rows.year, position
        )


def _default_recipes(rows: Rows) -> list[Recipe]:
    """Anomalies of the seasonal predictors (of the table's, without monthly values), climatologies of the table's."""
    take = "seasonal" if rows.monthly.any() else "table"
    return [Recipe(take=take, parts=("climatology", "anomaly"), climatology_of="table")]
