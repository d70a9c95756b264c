"""The hybrid: a temperature index whose parameters a small network changes, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import xarray as xr

from glacmb_grid.learning.models.networks import NetworkEnsemble
from glacmb_grid.learning.recipes import extrapolating, recipes_of
from glacmb_grid.learning.table import table_of
from glacmb_grid.settings import Hybrid, Section


@dataclass(frozen=True)
class HybridEnsemble(NetworkEnsemble):
    """The temperature index, its parameters changed by small networks, an ensemble of members in every fold.

    The index is fitted first, on what a fold or an inner split may see. From the features of a glacier-year the network
    gives factors of the degree-day factors of ice and of snow and of the precipitation, and an addition to the
    temperature; all lie within bounds, start at none and are penalised towards none. With `months` the temperature and
    the water of each month change them too, in that month. Gradients pass through the index.
    """

    settings_type: ClassVar = Hybrid
    needs: ClassVar[tuple[str, ...]] = ("monthly_forcing",)
    outputs: ClassVar[int] = 4

    def variants(self, samples: xr.Dataset) -> dict[str, Section]:
        """With a network added to the index; with or without changes by month; with far glaciers as they are."""
        free = extrapolating(self.settings, recipes_of(table_of(samples), self.settings))
        if self.settings.form == "residual":
            return free
        months = not any(self.settings.months)
        changed = {
            "with a network added to the index": {"form": "residual", "months": [False]},
            f"{'with' if months else 'without'} changes by month": {"months": [months]},
        }
        return {name: self.settings.model_copy(update=update) for name, update in changed.items()} | free
