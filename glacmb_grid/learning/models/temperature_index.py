"""The temperature-index model: the conventional baseline, and no straw man."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.degree_day_climate import Climate, weather_of
from glacmb_grid.learning.degree_day_levels import Calibration, calibrated, unchanged
from glacmb_grid.learning.degree_day_splits import Splits
from glacmb_grid.learning.degree_days import FURTHER, FURTHER_UNITS, PARAMETERS, SETTINGS, UNITS, balance, forcing_of
from glacmb_grid.learning.features import LEAST_GLACIERS
from glacmb_grid.learning.ragged import pack, unpack
from glacmb_grid.learning.search import Hyper, InnerMean, fold_record, inner_masks, prediction, side_by_side
from glacmb_grid.learning.table import Bools, Floats, Integers, Table, table_of
from glacmb_grid.progress import track
from glacmb_grid.settings import TemperatureIndex

Spread = tuple[float, float]


@dataclass(frozen=True)
class Candidate:
    """A form, by its number, and what is calibrated: `none`, `all` glaciers alike, or each `glacier`."""

    form: int
    pooling: str
    spread: Spread | None

    def words(self, forms: Sequence[Sequence[str]]) -> Hyper:
        """What is said of it in the record."""
        told: Hyper = {"further": list(forms[self.form]), "pooling": self.pooling}
        return told | ({"glacier_sd": list(self.spread)} if self.spread else {})


@dataclass(frozen=True)
class DegreeDays(Model):
    """Degree-day melt and solid precipitation over the hypsometry.

    The degree-day factor of ice, the precipitation factor and the temperature bias are fitted on the training rows
    under weak priors. Alternatives, chosen between on inner splits: which further parameters are fitted (`forms`), and
    whether offset and amplitude of the simulated balance are calibrated, alike for all glaciers or for each of them
    (`pooling`).
    """

    settings_type: ClassVar = TemperatureIndex
    needs: ClassVar[tuple[str, ...]] = ("monthly_forcing",)
    compiles: ClassVar[bool] = True

    def fit(self, task: Task) -> xr.Dataset:
        """Choose a form and a calibration on the inner splits of every block, and fit them in every fold.

        Returns
        -------
        xr.Dataset
            `value` (fold, coefficient), the parameters of all glaciers; `choice` (fold), `inner_error` (fold,
            candidate) m w.e., `inner_prediction` (fold, sample) m w.e.; `state_...`, climate and calibration.
        """
        table, folds = table_of(task.samples), task.own
        forms = forms_of(self.settings, table, task.folds)
        splits = Splits(table, forcing_of(task.samples), self.settings, forms)
        candidates = self._candidates(len(forms))
        choice, error, predicted = (folds.by_fold(v) for v in self._search(table, folds, splits, candidates))
        chosen = [candidates[c] for c in choice.tolist()]
        for number in range(len(forms)):
            splits.prepare(number, [m for m, c in zip(folds.fit, chosen, strict=True) if c.form == number])

        def final(fold: int) -> tuple[Floats, Climate, Calibration]:
            seen, one = folds.fit[fold], chosen[fold]
            climate, value = splits.fitted(one.form, seen)
            simulated = splits.simulated(one.form, seen, seen)
            return value, climate, self._calibrated(one, simulated, table, seen)

        with side_by_side() as pool:
            found = list(track(pool.map(final, range(len(folds))), "fold", len(folds)))
        words = [json.dumps(c.words(forms), sort_keys=True) for c in candidates]
        record = fold_record(folds).assign(
            value=(("fold", "coefficient"), np.array([value for value, _, _ in found])),
            choice=("fold", choice),
            inner_error=(("fold", "candidate"), error),
            inner_prediction=(("fold", "sample"), predicted),
        )
        record = record.assign_coords(
            coefficient=[*PARAMETERS, *FURTHER],
            units=("coefficient", [*UNITS, *FURTHER_UNITS]),
            candidate=np.array(words, dtype=object),
        )
        return record.merge(pack([{**climate.state(), **own.state()} for _, climate, own in found]))

    def _search(
        self, table: Table, folds: Folds, splits: Splits, candidates: Sequence[Candidate]
    ) -> tuple[Integers, Floats, Floats]:
        """Choice, errors and predictions on the inner splits of every block, see `InnerMean.choose`."""
        masks = [(b, *m) for b, fold in enumerate(folds.first) for m in inner_masks(folds, fold)]
        forms = sorted({c.form for c in candidates})
        for form in forms:
            splits.prepare(form, [seen for _, seen, _ in masks])

        def tried(job: tuple[int, tuple[int, Bools, Bools]]) -> list[tuple[int, Floats]]:
            form, (_, seen, score) = job
            simulated = splits.simulated(form, seen, seen | score)
            out = []
            for number, one in enumerate(candidates):
                if one.form == form:
                    own = self._calibrated(one, simulated, table, seen)
                    out.append((number, table.observed(own.balance(simulated, table.rows.glacier), score)))
            return out

        found = InnerMean(len(folds.first), len(candidates), len(table.target))
        jobs = list(product(forms, masks))
        with side_by_side() as pool:
            results = track(pool.map(tried, jobs), "inner fit", len(jobs))
            for (_, (block, _, score)), balances in zip(jobs, results, strict=True):
                for number, values in balances:
                    found.add(block, number, score, values)
        return found.choose(table.target)

    def _calibrated(self, one: Candidate, simulated: Floats, table: Table, seen: Bools) -> Calibration:
        if one.pooling == "none":
            return unchanged()
        return calibrated(simulated, table, seen, self.settings.residual_sd, one.spread)

    def _candidates(self, forms: int) -> list[Candidate]:
        settings, found = self.settings, []
        for form, pooling in product(range(forms), settings.pooling):
            spreads = settings.glacier_sd if pooling == "glacier" else [None]
            found += [Candidate(form, pooling, s) for s in spreads]
        return found

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Simulated and calibrated balance, (fold, member, row), m w.e."""
        del below
        settings = self.settings
        fixed = {n: float(getattr(settings, n)) for n in SETTINGS}
        forcing, glacier = forcing_of(rows), rows["row_glacier"].values.astype(str)
        weather = weather_of(forcing, glacier, rows["row_year"].values, settings.lapse_rate)

        def of_fold(fold: int) -> Floats:
            state = unpack(parameters, fold)
            departure = Climate.from_state(state).departure(weather)
            simulated = balance(forcing, parameters["value"].values[fold], fixed, departure)
            return Calibration.from_state(state).balance(simulated, glacier)

        folds = [of_fold(fold) for fold in range(parameters.sizes["fold"])]
        return prediction(np.array(folds)[:, None, :], parameters)


def forms_of(settings: TemperatureIndex, table: Table, folds: Folds) -> list[tuple[str, ...]]:
    """The further parameters of every form that these folds can tell anything of.

    Pulls are learnt from how glaciers differ: where a fit has few glaciers they would only be its names for them.
    """
    glacier = np.unique(table.rows.glacier, return_inverse=True)[1]
    masks = [*folds.fit, *(m for f in folds.first for m in folds.inner_fit[f])]
    fewest = min((len(np.unique(glacier[table.row[m]])) for m in masks if m.any()), default=0)
    pulls = fewest >= LEAST_GLACIERS
    kept = [tuple(n for n in form if pulls or not n.endswith("_pull")) for form in settings.forms]
    return list(dict.fromkeys(kept))
