"""Linear model with an L1 penalty, by scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.search import Hyper
from glacmb_grid.learning.table import Floats
from glacmb_grid.learning.tabular import DesignModel, Training, grid
from glacmb_grid.settings import Lasso


@dataclass(frozen=True)
class LassoRegression(DesignModel):
    """L1 on standardised features, the penalty as a share of the least that leaves none."""

    settings_type: ClassVar = Lasso

    def hypers(self) -> list[Hyper]:
        """One for each penalty."""
        return grid(penalty=self.settings.penalties)

    def fit(self, task: Task) -> xr.Dataset:
        """As all models of this kind; a weak penalty need not quite converge: the inner splits judge what came out."""
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():  # around all threads: warning filters belong to the whole process
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().fit(task)

    def learn(self, prepared: Training, hyper: Hyper) -> Arrays:
        """`coefficient` (feature,) and `constant`, m w.e."""
        from sklearn.linear_model import Lasso as Estimator

        design, mean = prepared.design, prepared.target.mean()
        largest = float(np.abs(design.T @ (prepared.target - mean)).max(initial=0.0)) / len(prepared.target)
        if largest < 1e-9:
            return {"coefficient": np.zeros(design.shape[1]), "constant": np.asarray(mean)}
        model = Estimator(alpha=hyper["penalty"] * largest, max_iter=2000, tol=1e-3).fit(design, prepared.target)
        return {"coefficient": model.coef_, "constant": np.asarray(model.intercept_)}

    def evaluate(self, learnt: Arrays, design: Floats) -> Floats:
        """Linear, (row,), m w.e."""
        return np.asarray(design @ learnt["coefficient"] + learnt["constant"])
