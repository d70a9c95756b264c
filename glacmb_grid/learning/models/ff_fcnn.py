"""FF-FCNN: a small feed-forward fully connected network, chosen and trained inside every fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import xarray as xr

from glacmb_grid.learning.contract import has_forcing
from glacmb_grid.learning.models.networks import NetworkEnsemble
from glacmb_grid.learning.recipes import extrapolating, recipes_of
from glacmb_grid.learning.table import table_of
from glacmb_grid.settings import FeedForward, Section


@dataclass(frozen=True)
class FeedForwardEnsemble(NetworkEnsemble):
    """Small fully connected networks, an ensemble of members in every fold."""

    settings_type: ClassVar = FeedForward
    learns_rates: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Monthly forcing, where networks are pre-trained on a temperature index."""
        return ("monthly_forcing",) if self.settings.simulates else ()

    def require(self) -> None:
        """Raise InputError where the table to pre-train on cannot be read."""
        if self.settings.transfer is not None:
            from glacmb_grid.inputs.own_table import samples_of

            samples_of(self.settings.transfer)

    def variants(self, samples: xr.Dataset) -> dict[str, Section]:
        """With other weightings, pre-trained on a temperature index, and with far glaciers as they are."""
        new = [w for w in ("dynamic", "density") if self.settings.weighting != [w]]
        out = {f"with {w} loss weighting": self.settings.model_copy(update={"weighting": [w]}) for w in new}
        if self.settings.pretrain == ["none"] and has_forcing(samples):
            out["pre-trained on a temperature index"] = self.settings.model_copy(update={"pretrain": ["simulation"]})
        return out | extrapolating(self.settings, recipes_of(table_of(samples), self.settings))
