"""The structured Gaussian process.

Hyper-parameters are learnt once per block of folds, on the rows that all its folds may see; every fold conditions on
all rows that it may see. Of several kernels, a large table tries those on the inner splits which explain a part of its
rows best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.features import Design, Features
from glacmb_grid.learning.kernel import KERNELS, Hyper, Inputs
from glacmb_grid.learning.kriging import Posterior, Settings, learn, learn_and_weigh, posterior, terms_of
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
from glacmb_grid.learning.table import Bools, Floats, Rows, Table, rows_of, table_of
from glacmb_grid.learning.tabular import Split
from glacmb_grid.progress import track
from glacmb_grid.settings import GaussianProcess, Recipe, Section

Fitted = tuple[Hyper, list[tuple[Bools, Floats]]]
"""Hyper-parameters, and of every inner split the observations that it scores and what it predicts of them."""

_LARGE = 400  # rows, beyond which kernels are weighed on so many of them before they are tried
_TRIED = 2  # of the kernels so weighed


@dataclass(frozen=True)
class StructuredProcess(Model):
    """A Gaussian process whose kernel knows weather, static predictors, glacier, year and position."""

    settings_type: ClassVar = GaussianProcess

    def stored(self, rows: int, features: int) -> int:
        """About how many bytes what is learnt in one fold takes: the observations that it is conditioned on."""
        return 8 * rows * features + super().stored(rows, features)

    def fit(self, task: Task) -> xr.Dataset:
        """Learn hyper-parameters, choose recipe and kernel in every block, and condition on what every fold may see.

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
        candidates = [Candidate(r, {"kernel": k}) for r in range(len(recipes)) for k in self.settings.kernels]
        blocks, fit = range(len(folds.first)), folds.fit

        def work(block: int) -> dict[int, Fitted]:
            return self._tried(table, folds, block, recipes, candidates, seed)

        inner = InnerMean(len(blocks), len(candidates), len(table.target))
        with side_by_side() as pool:
            tried = list(track(pool.map(work, blocks), "block of folds", len(blocks)))
        for block, number, score, values in ((b, n, *one) for b in blocks for n, f in tried[b].items() for one in f[1]):
            inner.add(block, number, score, values)
        choice, error, predicted = inner.choose(table.target)
        tuned = Tuned(*map(folds.by_fold, (choice, error, predicted)))
        chosen = [tried[b][int(choice[b])][0] for b in folds.by_fold(np.array(blocks)).tolist()]

        def final(fold: int) -> tuple[Features, Posterior]:
            recipe = recipes[candidates[int(tuned.choice[fold])].recipe]
            split = Split(table, fit[fold], None, recipe, seed, folds.select[fold])
            return split.features, posterior(*self._training(split), chosen[fold], self._limits())

        with side_by_side() as pool:
            processes = list(track(pool.map(final, range(len(fit))), "fold", len(fit)))
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

    def _tried(
        self,
        table: Table,
        folds: Folds,
        block: int,
        recipes: Sequence[Recipe],
        candidates: Sequence[Candidate],
        seed: int,
    ) -> dict[int, Fitted]:
        """Hyper-parameters and inner predictions by the candidates that are tried in a block, by their number."""
        first, shared = folds.first[block], np.asarray(folds.fit[folds.blocks[block]].all(axis=0))
        wholes = [self._training(Split(table, shared, None, r, seed, folds.selected(first, shared))) for r in recipes]
        numbers = self._promising(wholes, candidates)
        hypers = {}
        for n in numbers:
            recipe, kernel = candidates[n].recipe, candidates[n].hyper["kernel"]
            hypers[n] = learn(*wholes[recipe], None, self._limits(kernel))
        found: dict[int, list[tuple[Bools, Floats]]] = {n: [] for n in numbers}
        for inner_fit, inner_score in inner_masks(folds, first):
            for recipe in dict.fromkeys(candidates[n].recipe for n in numbers):
                split = Split(table, inner_fit, inner_score, recipes[recipe], seed, folds.selected(first, inner_fit))
                training, inputs = self._training(split), self._inputs(split.design, split.rows)
                for n in numbers:
                    if candidates[n].recipe == recipe:
                        balance = posterior(*training, hypers[n], self._limits()).mean(inputs)
                        found[n].append((inner_score, split.observed(balance)))
        return {n: (hypers[n], found[n]) for n in numbers}

    def _promising(self, wholes: Sequence[tuple[Inputs, Floats]], candidates: Sequence[Candidate]) -> list[int]:
        """Numbers of the candidates to try: each kernel of other terms, in a large table those that explain it best."""
        distinct: dict[tuple[int, tuple[str, ...]], int] = {}
        for number, one in enumerate(candidates):
            terms = terms_of(wholes[one.recipe][0], self._limits(one.hyper["kernel"]))
            distinct.setdefault((one.recipe, terms), number)
        numbers = list(distinct.values())
        if len(self.settings.kernels) == 1 or max(len(target) for _, target in wholes) <= _LARGE:
            return numbers
        weights = []
        for n in numbers:
            limits = replace(self._limits(candidates[n].hyper["kernel"]), learn_rows=_LARGE)
            weights.append(learn_and_weigh(*wholes[candidates[n].recipe], None, limits)[1])
        return sorted(numbers[i] for i in np.argsort(weights, kind="stable")[:_TRIED])

    def _limits(self, kernel: str = "usual") -> Settings:
        return Settings(terms=KERNELS[kernel], max_rows=self.settings.max_rows)

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
    """Anomalies of the seasonal predictors (of the table's, without monthly values) with climatologies, or values."""
    take = "seasonal" if rows.monthly.any() else "table"
    return [Recipe(take=take, parts=("climatology", "anomaly"), climatology_of="table"), Recipe(take=take)]
