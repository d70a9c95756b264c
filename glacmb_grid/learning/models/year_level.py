"""One row a year: a ridge regression of the mean balance of the glaciers on their mean weather and a slow trend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.level import shares_years
from glacmb_grid.learning.models.ridge import RidgeRegression
from glacmb_grid.learning.rivals import RestsOn
from glacmb_grid.learning.table import Table, table_of
from glacmb_grid.settings import Learner, Recipe, YearLevel


@dataclass(frozen=True)
class RidgeOfYears(RidgeRegression):
    """Level and amplitude of the glacier on top of a ridge regression with one row a year.

    It is the rival of every model where whole years are withheld: there it is the number of years that counts.
    """

    settings_type: ClassVar[type[Learner]] = YearLevel
    annual_only: ClassVar[bool] = True
    informative: ClassVar[bool] = False
    rests_on: ClassVar[RestsOn | None] = RestsOn(glacier=True, year=False)

    def recipes(self, table: Table) -> list[Recipe]:
        """Those of the settings, or the alternatives that select nothing: a penalty suits so few rows better."""
        every = super().recipes(table)
        return every if self.settings.recipes else [r for r in every if r.keep is None]

    def kinds(self, task: Task, table: Table) -> list[str | None]:
        """Only one row a year."""
        del task, table
        return ["year"]

    def fair_in(self, samples: xr.Dataset, folds: Folds) -> bool:
        """Whether rows share years, and most of what is scored is of a fitted glacier in a year withheld from all."""
        return shares_years(table_of(samples)) and super().fair_in(samples, folds)
