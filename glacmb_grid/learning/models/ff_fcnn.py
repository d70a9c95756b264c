"""FF-FCNN: a small feed-forward fully connected network, chosen and trained inside every fold."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import xarray as xr

from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.settings import FeedForward, Section


@dataclass(frozen=True)
class FeedForwardEnsemble(Model):
    """Small fully connected networks, an ensemble of members in every fold."""

    settings_type: ClassVar = FeedForward
    resumable: ClassVar[bool] = True
    stops_early: ClassVar[bool] = True
    compiles: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Monthly forcing, where networks are pre-trained on a temperature index."""
        return ("monthly_forcing",) if self.settings.simulates else ()

    def require(self) -> None:
        """Raise InputError where the table to pre-train on cannot be read."""
        if self.settings.transfer is not None:
            from glacmb_grid.inputs.own_table import samples_of

            samples_of(self.settings.transfer)

    def fit(self, task: Task) -> xr.Dataset:
        """Choose a configuration in every block and train an ensemble in every fold.

        Returns
        -------
        xr.Dataset
            `parameters` (fold, member, parameter), `loss` (fold, member, epoch, part) and `inner_loss` (fold, inner,
            epoch, part) in units of the target's variance, `best_epoch` (fold, member), `parameter_count` (fold);
            `choice`, `inner_error` (fold, candidate), `inner_prediction` (fold, sample), `selected` (fold, feature),
            `seen` (fold, sample), and `state_...`, the features and levels of every fold.

        Notes
        -----
        Loss: mean squared error of the observations, with fresh Gaussian noise on the standardised predictors in every
        epoch, plus L1 of the kernels; Adam on full batches. On the inner splits nets stop early; the ensemble is
        trained on all rows of the fold for as many epochs as the chosen configuration took there (`finish: refit`), or
        stops early itself. The rows of `score` have weight zero everywhere.
        """
        from glacmb_grid.learning.nets.ensembles import fit_ensembles  # JAX is not imported before it is needed

        return fit_ensembles(self.settings, task)

    def stored(self, rows: int, features: int) -> int:
        """About how many bytes what is learnt in one fold takes: the weights of all members, and learning curves."""
        layers = ((features, *widths, 1) for widths in self.settings.widths)
        weights = max(sum((a + 1) * b for a, b in pairwise(layer)) for layer in layers)
        return 4 * int(self.settings.members) * int(weights) + super().stored(rows, features)

    def variants(self) -> dict[str, Section]:
        """With other weightings of the observations."""
        new = [w for w in ("dynamic", "density") if self.settings.weighting != [w]]
        return {f"with {w} loss weighting": self.settings.model_copy(update={"weighting": [w]}) for w in new}

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Balance by every member, (fold, member, row), m w.e."""
        from glacmb_grid.learning.nets.predict import predict_ensembles

        del below
        return predict_ensembles(parameters, rows)
