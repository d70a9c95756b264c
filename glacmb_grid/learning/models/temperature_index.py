"""The temperature-index model: the conventional baseline, and no straw man."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.degree_day_climate import weather_of
from glacmb_grid.learning.degree_day_search import Fitted, IndexSearch
from glacmb_grid.learning.degree_days import FURTHER, FURTHER_UNITS, PARAMETERS, UNITS, forcing_of
from glacmb_grid.learning.ragged import pack, unpack
from glacmb_grid.learning.recipes import EXTRAPOLATED
from glacmb_grid.learning.search import fold_record, prediction, side_by_side
from glacmb_grid.learning.table import table_of
from glacmb_grid.progress import track
from glacmb_grid.settings import Section, TemperatureIndex


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
        search = IndexSearch(table, forcing_of(task.samples), self.settings, folds, task.folds)
        choice, error, predicted = (folds.by_fold(v) for v in search.found)
        fits = list(zip(folds.by_fold(np.arange(len(folds.first))).tolist(), folds.fit, strict=True))
        search.prepare(fits)
        with side_by_side() as pool:
            found = list(track(pool.map(lambda one: search.fitted(*one), fits), "fold", len(fits)))
        words = [json.dumps(c.words(search.forms), sort_keys=True) for c in search.candidates]
        record = fold_record(folds).assign(
            value=(("fold", "coefficient"), np.array([f.value for f in found])),
            choice=("fold", choice),
            inner_error=(("fold", "candidate"), error),
            inner_prediction=(("fold", "sample"), predicted),
        )
        record = record.assign_coords(
            coefficient=[*PARAMETERS, *FURTHER],
            units=("coefficient", [*UNITS, *FURTHER_UNITS]),
            candidate=np.array(words, dtype=object),
        )
        return record.merge(pack([f.state() for f in found]))

    def stored(self, rows: int, features: int) -> int:
        """About how many bytes what is learnt in one fold takes: climate and calibration of glaciers."""
        return 80 * (rows // 10) + super().stored(rows, features)  # ten rows a glacier

    def variants(self, samples: xr.Dataset) -> dict[str, Section]:
        """With its three parameters alone: no further ones, no calibration; with far glaciers as they are."""
        del samples
        plain = self.settings.model_copy(update={"forms": [[]], "pooling": ["none"]})
        free = self.settings.model_copy(update={"within_reach": False})
        every = {"without pulls and calibration": plain, EXTRAPOLATED: free}
        return {name: other for name, other in every.items() if other != self.settings}

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Simulated and calibrated balance, (fold, member, row), m w.e."""
        del below
        forcing, glacier = forcing_of(rows), rows["row_glacier"].values.astype(str)
        weather = weather_of(forcing, glacier, rows["row_year"].values, self.settings.lapse_rate)
        folds = []
        for fold in range(parameters.sizes["fold"]):
            one = Fitted.from_state(parameters["value"].values[fold], unpack(parameters, fold))
            folds.append(one.balance(forcing, weather, glacier, self.settings))
        return prediction(np.array(folds)[:, None, :], parameters)
