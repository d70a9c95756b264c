"""The temperature-index model: the conventional baseline, and no straw man."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.degree_days import PARAMETERS, SETTINGS, UNITS, balance, forcing_of
from glacmb_grid.learning.search import fold_record, inner_masks, inner_prediction, prediction
from glacmb_grid.learning.table import Bools, Floats, table_of
from glacmb_grid.settings import TemperatureIndex


@dataclass(frozen=True)
class DegreeDays(Model):
    """Degree-day melt and solid precipitation over the hypsometry.

    Three parameters are fitted on the training rows under weak priors: the degree-day factor of ice, the precipitation
    factor and the temperature bias.
    """

    settings_type: ClassVar = TemperatureIndex
    needs: ClassVar[tuple[str, ...]] = ("monthly_forcing",)
    compiles: ClassVar[bool] = True

    def fit(self, task: Task) -> xr.Dataset:
        """Fit the parameters of all folds and inner splits at once by penalised least squares.

        Returns
        -------
        xr.Dataset
            `value` (fold, coefficient).
        """
        from glacmb_grid.learning.degree_day_fit import fit_splits  # JAX is not imported before it is needed

        table, forcing, folds = table_of(task.samples), forcing_of(task.samples), task.own
        inner = [seen for fold in folds.first for seen, _ in inner_masks(folds, fold)]
        masks = {m.tobytes(): m for m in [*folds.fit, *inner]}
        fitted = fit_splits(table, forcing, np.array(list(masks.values())), self.settings)
        value = dict(zip(masks, fitted, strict=True))

        def simulated(seen: Bools) -> Floats:
            return np.asarray(table.operator @ balance(forcing, value[seen.tobytes()], self._fixed))

        found = fold_record(folds).assign(
            value=(("fold", "coefficient"), np.array([value[m.tobytes()] for m in folds.fit])),
            inner_prediction=inner_prediction(folds, simulated),
        )
        return found.assign_coords(coefficient=list(PARAMETERS), units=("coefficient", list(UNITS)))

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Simulated balance, (fold, member, row), m w.e."""
        del below
        forcing = forcing_of(rows)
        folds = [balance(forcing, value, self._fixed) for value in parameters["value"].values]
        return prediction(np.array(folds)[:, None, :], parameters)

    @property
    def _fixed(self) -> dict[str, float]:
        return {n: float(getattr(self.settings, n)) for n in SETTINGS}
