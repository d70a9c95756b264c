"""The training mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.search import fold_record, inner_prediction, prediction
from glacmb_grid.learning.table import Bools, table_of
from glacmb_grid.settings import Mean


@dataclass(frozen=True)
class TrainingMean(Model):
    """The constant annual balance that fits the training observations best."""

    settings_type: ClassVar = Mean
    informative: ClassVar[bool] = False

    def fit(self, task: Task) -> xr.Dataset:
        """`level` (fold,), m w.e."""
        table = table_of(task.samples)
        years, target = table.years, table.target

        def level(seen: Bools) -> float:
            return float((years[seen] @ target[seen]) / (years[seen] @ years[seen]))

        return fold_record(task.own).assign(
            level=("fold", [level(m) for m in task.own.fit]),
            inner_prediction=inner_prediction(task.own, lambda seen: level(seen) * years),
        )

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """The same balance everywhere, (fold, member, row), m w.e."""
        del below
        level = parameters["level"].values[:, None, None]
        return prediction(np.broadcast_to(level, (level.shape[0], 1, rows.sizes["row"])), parameters)
