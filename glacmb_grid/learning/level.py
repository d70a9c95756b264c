"""The level of a glacier: by how much its balances lie above or below those of all glaciers, shrunken to none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.table import Bools, Floats, Table, Texts

_PRIOR = 1.0  # observations that the mean of all glaciers counts for in the level of one


@dataclass(frozen=True)
class Levels:
    """Levels of the glaciers that were fitted on.

    Attributes
    ----------
    glaciers : str array, (glacier,), sorted
    values : float64 array, (glacier,), m w.e.
    """

    glaciers: Texts
    values: Floats

    def at(self, glacier: Texts) -> Floats:
        """Level of each of these glaciers, 0 for one that was not fitted on, m w.e."""
        if not len(self.glaciers):
            return np.zeros(len(glacier))
        place = np.searchsorted(self.glaciers, glacier).clip(max=len(self.glaciers) - 1)
        return np.asarray(np.where(self.glaciers[place] == glacier, self.values[place], 0.0))

    def state(self) -> Arrays:
        """All that `from_state` needs, as arrays."""
        return {"level_glaciers": self.glaciers, "level_values": self.values}

    @classmethod
    def from_state(cls, state: Arrays) -> Levels:
        """Levels from what `state` gave."""
        return cls(state["level_glaciers"].astype(str), state["level_values"])


def levels_of(kind: str, table: Table, seen: Bools, base: Floats | None = None) -> Levels:
    """Shrunken mean deviations from the mean of all that is seen, m w.e.; of no glacier where `kind` is `none`.

    `base` are balances of rows, (row,), that are taken off before.
    """
    mine = np.flatnonzero(seen & table.annual)
    if kind == "none" or not len(mine):
        return Levels(np.zeros(0, "<U1"), np.zeros(0))
    glaciers, index = np.unique(table.rows.glacier[table.row[mine]], return_inverse=True)
    target = table.target[mine] if base is None else table.target[mine] - base[table.row[mine]]
    deviation = target - target.mean()
    return Levels(glaciers, np.bincount(index, deviation) / (np.bincount(index) + _PRIOR))


def kinds_of_level(folds: Folds, samples: xr.Dataset) -> list[str]:
    """Whether a glacier's level can be known where it is to be predicted: not if whole glaciers are withheld."""
    glacier = samples["row_glacier"].values.astype(str)[samples["operator_row"].values]
    number = np.unique(glacier, return_inverse=True)[1]
    entries = samples["operator_sample"].values
    for fit, score in zip(folds.fit, folds.score, strict=True):
        if np.isin(number[score[entries]], number[fit[entries]]).any():
            return ["none", "glacier"]
    return ["none"]
