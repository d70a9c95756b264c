"""What the models share that are ensembles of small networks, chosen and trained inside every fold."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import xarray as xr

from glacmb_grid.learning.contract import Model, Predictions, Task


@dataclass(frozen=True)
class NetworkEnsemble(Model):
    """Small fully connected networks, an ensemble of members in every fold.

    Attributes
    ----------
    outputs : int
        Most outputs that a network has.
    """

    resumable: ClassVar[bool] = True
    stops_early: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    outputs: ClassVar[int] = 1

    def fit(self, task: Task) -> xr.Dataset:
        """Choose a configuration in every block and train an ensemble in every fold.

        Returns
        -------
        xr.Dataset
            `parameters` (fold, member, parameter), `loss` (fold, member, epoch, part) and `inner_loss` (fold, inner,
            epoch, part) in units of the target's variance, `best_epoch` (fold, member), `parameter_count` (fold);
            `choice`, `inner_error` (fold, candidate), `inner_prediction` (fold, sample), `selected` (fold, feature),
            `seen` (fold, sample), and `state_...`, the features and levels of every fold; with constraints
            `rates_fitted` (fold, constraint), those that the nets of a fold were held to.

        Notes
        -----
        Loss: mean squared error of the observations, with fresh Gaussian noise on the standardised predictors in every
        epoch, plus L1 of the kernels; Adam on full batches. On the inner splits nets stop early; the ensemble is
        trained on all rows of the fold for as many epochs as the chosen configuration took there (`finish: refit`), or
        stops early itself. The rows of `score` have weight zero everywhere. Constraints add the mean square of their
        misfits over their uncertainties, times `geodetic_weight`; every epoch looks at the next of them that have about
        5,000 glacier-years together. Nets never stop early on them.
        """
        from glacmb_grid.learning.nets.ensembles import fit_ensembles  # JAX is not imported before it is needed

        return fit_ensembles(self.settings, task)

    def stored(self, rows: int, features: int) -> int:
        """About how many bytes what is learnt in one fold takes: the weights of all members, and learning curves."""
        layers = ((features, *widths, self.outputs) for widths in self.settings.widths)
        weights = max(sum((a + 1) * b for a, b in pairwise(layer)) for layer in layers)
        return 4 * int(self.settings.members) * int(weights) + super().stored(rows, features)

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Balance by every member, (fold, member, row), m w.e."""
        from glacmb_grid.learning.nets.predict import predict_ensembles

        del below
        return predict_ensembles(parameters, rows)
