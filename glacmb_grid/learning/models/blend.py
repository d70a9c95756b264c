"""A weighted mean of models. The weights are fitted on what each model predicted on the inner splits of the fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import xarray as xr
from scipy.optimize import nnls

from glacmb_grid.errors import InputError
from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.search import fold_record, prediction
from glacmb_grid.learning.table import Bools, Floats
from glacmb_grid.settings import Blend

_TOWARDS_EQUAL = 0.05  # prior: squared departure from equal weights, as a share of the rows


@dataclass(frozen=True)
class Blended(Model):
    """Weights by fold: not negative, summing to one.

    Attributes
    ----------
    parts : tuple of str
        Models that may be blended; one that could not be fitted for lack of data is left out.
    """

    parts: tuple[str, ...] = ()
    settings_type: ClassVar = Blend

    @property
    def built_on(self) -> tuple[str, ...]:
        """The models that are blended."""
        return self.parts

    def among(self, judged: Sequence[Model], named: Callable[[str], Model]) -> Model:
        """Made of the models of the settings, by default of those judged, as far as they are informative.

        Neither itself nor one that is built on it is a part.
        """
        asked = judged if self.settings.models is None else [named(n) for n in self.settings.models]
        parts = [m.name for m in asked if m.informative and self.name not in (m.name, *m.built_on)]
        return replace(self, parts=tuple(parts))

    def require(self) -> None:
        """Raise InputError where there is nothing to blend."""
        if not self.parts:
            raise InputError(
                f"models: {self.name}",
                expected="at least one other model that tells glacier-years apart",
                found="none",
                remedy="name more models in `validation.models`, or some in `models: {blend: {models: [...]}}`",
            )

    def fit(self, task: Task) -> xr.Dataset:
        """`weight` (fold, model), and the blend's own `inner_prediction` (fold, sample), m w.e."""
        self.require()
        names = [m for m in self.parts if m in task.built_on]
        inner = np.stack([task.built_on[m]["inner_prediction"].values for m in names])  # (model, fold, sample)
        target = task.samples["mass_balance"].values
        seen = task.own.fit
        weight = np.array([_weights(inner[:, f], target, seen[f]) for f in range(len(seen))])
        return (
            fold_record(task.own)
            .assign(
                weight=(("fold", "model"), weight),
                inner_prediction=(("fold", "sample"), np.einsum("fm,mfs->fs", weight, inner)),
            )
            .assign_coords(model=np.array(names, dtype=object))
        )

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Balance of rows by the blend of every fold, (fold, member, row), m w.e."""
        total: Floats = np.zeros((parameters.sizes["fold"], 1, rows.sizes["row"]))
        for i, name in enumerate(parameters["model"].values):
            share = parameters["weight"].values[:, i, None, None]
            total += share * below[str(name)].mean("member").values[:, None]
        return prediction(total, parameters)


def _weights(inner: Floats, target: Floats, seen: Bools) -> Floats:
    """Least squares of the target on the inner predictions, (model,), with a weak pull to equal weights."""
    rows = seen & np.isfinite(inner).all(axis=0)
    count = len(inner)
    if not rows.any():
        return np.full(count, 1 / count)
    errors = inner[:, rows] - target[rows]
    spread = np.sqrt((errors**2).mean())
    pull = np.sqrt(_TOWARDS_EQUAL * rows.sum() / count) * spread * (np.eye(count) - 1 / count)
    sums = 1e3 * spread * np.sqrt(rows.sum()) * np.ones((1, count))
    design = np.concatenate([errors.T, pull, sums])
    aim = np.concatenate([np.zeros(rows.sum() + count), sums[0, :1]])
    weight = nnls(design, aim)[0] if spread > 1e-12 else np.full(count, 1 / count)
    return np.asarray(weight / weight.sum())
