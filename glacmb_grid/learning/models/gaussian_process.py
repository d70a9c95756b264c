"""The structured Gaussian process, of balances or of what a temperature index leaves of them.

Hyper-parameters are learnt once per block of folds, on the rows that all its folds may see; every fold conditions on
all rows that it may see. Of several kernels, a large table tries those on the inner splits which explain a part of its
rows best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Model, Predictions, Task, has_forcing
from glacmb_grid.learning.degree_day_climate import weather_of
from glacmb_grid.learning.degree_day_search import Fitted as Index
from glacmb_grid.learning.degree_day_search import IndexSearch, fits_of
from glacmb_grid.learning.degree_days import forcing_of
from glacmb_grid.learning.features import Design, Features
from glacmb_grid.learning.kernel import KERNELS, Hyper, Inputs
from glacmb_grid.learning.kriging import Posterior, Settings, learn, learn_and_weigh, posterior, terms_of
from glacmb_grid.learning.ragged import pack, unpack
from glacmb_grid.learning.recipes import extrapolating, within
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
    compiles: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Monthly forcing, where nothing but a temperature index may be the mean."""
        return ("monthly_forcing",) if self.settings.means == ["index"] else ()

    def stored(self, rows: int, features: int) -> int:
        """About how many bytes what is learnt in one fold takes: the observations that it is conditioned on."""
        repeated = 2  # about half of the features are the same in all years of a glacier, which compresses to nothing
        return 8 * rows * features // repeated + super().stored(rows, features)

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
        index = self._index(task, table)
        means = ["constant"] if index is None else self.settings.means
        words = product(range(len(recipes)), means, self.settings.kernels)
        candidates = [Candidate(r, {"kernel": k} if index is None else {"kernel": k, "mean": m}) for r, m, k in words]
        blocks, fit = range(len(folds.first)), folds.fit

        def work(block: int) -> dict[int, Fitted]:
            return self._tried(table, folds, block, recipes, candidates, seed, index)

        inner = InnerMean(len(blocks), len(candidates), len(table.target))
        with side_by_side() as pool:
            tried = list(track(pool.map(work, blocks), "block of folds", len(blocks)))
        for block, number, score, values in ((b, n, *one) for b in blocks for n, f in tried[b].items() for one in f[1]):
            inner.add(block, number, score, values)
        choice, error, predicted = inner.choose(table.target)
        tuned = Tuned(*map(folds.by_fold, (choice, error, predicted)))
        chosen = [tried[b][int(choice[b])][0] for b in folds.by_fold(np.array(blocks)).tolist()]

        def final(fold: int) -> tuple[Features, Posterior, Index]:
            one = candidates[int(tuned.choice[fold])]
            split = Split(table, fit[fold], None, recipes[one.recipe], seed, folds.select[fold])
            block, fitted, base = int(folds.by_fold(np.array(blocks))[fold]), Index.none(table), None
            if index is not None and _on_index(one):
                fitted, base = index.fitted(block, fit[fold]), index.balance(block, fit[fold], fit[fold])
            return split.features, posterior(*self._training(split, base), chosen[fold], self._limits()), fitted

        with side_by_side() as pool:
            processes = list(track(pool.map(final, range(len(fit))), "fold", len(fit)))
        record = search_record(recipes, candidates, tuned, [f for f, *_ in processes], folds)
        names = sorted({n for h in chosen for n in h.names})  # in an order that no other fold decides
        table_of_values = [[dict(zip(h.names, h.values, strict=True)).get(n, np.nan) for n in names] for h in chosen]
        record = record.assign(hyper=(("fold", "hyper_parameter"), np.array(table_of_values)))
        record = record.assign_coords(hyper_parameter=np.array(names, dtype=object))
        states = [{**f.state(), **p.state(), **i.state(), "index_value": i.value} for f, p, i in processes]
        return record.merge(pack(states)).assign_attrs(record.attrs)

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Posterior mean of the balance, (fold, member, row), m w.e."""
        del below
        new, settings = rows_of(rows), self.settings.index
        states = [unpack(parameters, fold) for fold in range(parameters.sizes["fold"])]
        forcing: dict[str, Floats] = forcing_of(rows, self.name) if any(s["index_value"].size for s in states) else {}
        weather = weather_of(forcing, new.glacier, new.year, settings.lapse_rate) if forcing else None

        def work(fold: int) -> Floats:
            state = states[fold]
            design = Features.from_state(state).design(new)
            departure = Posterior.from_state(state).mean(self._inputs(design, new))
            if weather is None or not state["index_value"].size:
                return departure
            index = Index.from_state(state["index_value"], state)
            return departure + index.balance(forcing, weather, new.glacier, settings)

        with side_by_side() as pool:
            values = np.array(list(pool.map(work, range(parameters.sizes["fold"]))))
        return prediction(values[:, None], parameters)

    def variants(self, samples: xr.Dataset) -> dict[str, Section]:
        """Without terms of position; about a constant where there may be an index; with far glaciers as they are."""
        out: dict[str, dict[str, object]] = {}
        if self.settings.position:
            out["without neighbours in space"] = {"position": False}
        if "index" in self.settings.means and has_forcing(samples):
            out["about a constant"] = {"means": ["constant"]}
        recipes = self.settings.recipes or _default_recipes(table_of(samples).rows)
        changes = {name: self.settings.model_copy(update=changed) for name, changed in out.items()}
        return changes | extrapolating(self.settings, recipes)

    def _index(self, task: Task, table: Table) -> IndexSearch | None:
        """The temperature index, if it may be the mean, fitted on all that it is wanted for."""
        if "index" not in self.settings.means or not (self.needs or has_forcing(task.samples)):
            return None
        folds = task.own
        found = IndexSearch(table, forcing_of(task.samples, self.name), self.settings.index, folds, task.folds)
        found.prepare([*fits_of(folds), *((b, _shared(folds, b)) for b in range(len(folds.first)))])
        return found

    def _tried(
        self,
        table: Table,
        folds: Folds,
        block: int,
        recipes: Sequence[Recipe],
        candidates: Sequence[Candidate],
        seed: int,
        index: IndexSearch | None,
    ) -> dict[int, Fitted]:
        """Hyper-parameters and inner predictions by the candidates that are tried in a block, by their number."""
        first, shared = folds.first[block], _shared(folds, block)

        def base_of(seen: Bools, wanted: Bools) -> dict[bool, Floats | None]:
            """What the process is a departure from: by whether that is the index."""
            return {False: None, True: None if index is None else index.balance(block, seen, wanted)}

        bases = base_of(shared, shared)
        splits = [Split(table, shared, None, r, seed, folds.selected(first, shared)) for r in recipes]
        wholes = [self._training(splits[c.recipe], bases[_on_index(c)]) for c in candidates]
        numbers = self._promising(wholes, candidates)
        hypers = {n: learn(*wholes[n], None, self._limits(candidates[n].hyper["kernel"])) for n in numbers}
        found: dict[int, list[tuple[Bools, Floats]]] = {n: [] for n in numbers}
        for inner_fit, inner_score in inner_masks(folds, first):
            bases = base_of(inner_fit, inner_fit | inner_score)
            for recipe in dict.fromkeys(candidates[n].recipe for n in numbers):
                split = Split(table, inner_fit, inner_score, recipes[recipe], seed, folds.selected(first, inner_fit))
                inputs = self._inputs(split.design, split.rows)
                for n in (n for n in numbers if candidates[n].recipe == recipe):
                    base = bases[_on_index(candidates[n])]
                    balance = posterior(*self._training(split, base), hypers[n], self._limits()).mean(inputs)
                    balance = balance if base is None else balance + base[split.used]
                    found[n].append((inner_score, split.observed(balance)))
        return {n: (hypers[n], found[n]) for n in numbers}

    def _promising(self, wholes: Sequence[tuple[Inputs, Floats]], candidates: Sequence[Candidate]) -> list[int]:
        """Numbers of the candidates to try: each kernel of other terms, in a large table those that explain it best."""
        distinct: dict[tuple[int, bool, tuple[str, ...]], int] = {}
        for number, one in enumerate(candidates):
            terms = terms_of(wholes[number][0], self._limits(one.hyper["kernel"]))
            distinct.setdefault((one.recipe, _on_index(one), terms), number)
        numbers = list(distinct.values())
        if len(self.settings.kernels) == 1 or max(len(target) for _, target in wholes) <= _LARGE:
            return numbers
        weights = []
        for n in numbers:
            limits = replace(self._limits(candidates[n].hyper["kernel"]), learn_rows=_LARGE)
            weights.append(learn_and_weigh(*wholes[n], None, limits)[1])
        ranked = [numbers[i] for i in np.argsort(weights, kind="stable")]
        best = [next((n for n in ranked if _on_index(candidates[n]) is mean), None) for mean in (False, True)]
        of_each = [n for n in best if n is not None]  # inner splits judge means better than what the mean was fitted to
        return sorted(list(dict.fromkeys([*of_each, *ranked]))[:_TRIED])

    def _limits(self, kernel: str = "usual") -> Settings:
        return Settings(terms=KERNELS[kernel], max_rows=self.settings.max_rows)

    def _training(self, split: Split, base: Floats | None) -> tuple[Inputs, Floats]:
        """Seen annual observations: their inputs and balances, less those of `base`, (row,)."""
        table = split.table
        mine = np.flatnonzero(split.seen & table.annual)
        rows = table.rows.take(table.row[mine])
        design, place = split.design, np.searchsorted(np.flatnonzero(split.used), table.row[mine])
        part = Design(design.values[place], design.names, design.weather)
        return self._inputs(part, rows), table.target[mine] - (0.0 if base is None else base[table.row[mine]])

    def _inputs(self, design: Design, rows: Rows) -> Inputs:
        position = rows.position if self.settings.position and np.isfinite(rows.position).any() else None
        return Inputs(
            design.values[:, design.weather], design.values[:, ~design.weather], rows.glacier, rows.year, position
        )


def _default_recipes(rows: Rows) -> list[Recipe]:
    """Anomalies of the seasonal predictors (of the table's, without monthly values) with climatologies, or values."""
    take = "seasonal" if rows.monthly.any() else "table"
    return [Recipe(take=take, parts=("climatology", "anomaly"), climatology_of="table"), Recipe(take=take)]


def _on_index(candidate: Candidate) -> bool:
    """Whether the process is the departure from a temperature index."""
    return candidate.hyper.get("mean") == "index"


def _shared(folds: Folds, block: int) -> Bools:
    """Observations that all folds of a block may see."""
    return np.asarray(folds.fit[folds.blocks[block]].all(axis=0))
