"""The hybrid: a temperature index whose parameters a small network changes, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from glacmb_grid.learning.contract import Model
from glacmb_grid.learning.models.ff_fcnn import FeedForwardEnsemble
from glacmb_grid.settings import Hybrid, Section


@dataclass(frozen=True)
class HybridEnsemble(FeedForwardEnsemble):
    """The temperature index, its parameters changed by small networks, an ensemble of members in every fold.

    The index is fitted first, on what a fold or an inner split may see. From the features of a glacier-year the network
    gives factors of the degree-day factors of ice and of snow and of the precipitation, and an addition to the
    temperature; all lie within bounds, start at none and are penalised towards none. Gradients pass through the index.
    """

    settings_type: ClassVar = Hybrid
    needs: ClassVar[tuple[str, ...]] = ("monthly_forcing",)

    def stored(self, rows: int, features: int) -> int:
        """About how many bytes what is learnt in one fold takes: the weights of all members, and learning curves."""
        layers = ((features, *widths, 5) for widths in self.settings.widths)
        weights = max(sum((a + 1) * b for a, b in pairwise(layer)) for layer in layers)
        return 4 * int(self.settings.members) * int(weights) + Model.stored(self, rows, features)

    def variants(self) -> dict[str, Section]:
        """With a network added to the index, which is not bounded."""
        if self.settings.form == "residual":
            return {}
        return {"with a network added to the index": self.settings.model_copy(update={"form": "residual"})}
