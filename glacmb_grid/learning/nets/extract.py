"""Export of a trained net as a Flax module without padding, for use outside this package."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.learning.features import Features
from glacmb_grid.learning.nets.index import IndexNet
from glacmb_grid.learning.nets.module import FeedForward, variables_of
from glacmb_grid.learning.nets.predict import chosen, layout_of
from glacmb_grid.learning.ragged import unpack
from glacmb_grid.schemas import PARAMETERS, check


def network(parameters: xr.Dataset, *, fold: Any, member: int) -> tuple[FeedForward, dict[str, Any]]:
    """One member of the ensemble of a fold, without padding.

    Parameters
    ----------
    parameters : xr.Dataset
        Of the model `ff_fcnn`.
    fold : label
        Of the coordinate `fold`.
    member : int
        Number of the member.

    Returns
    -------
    module : FeedForward
    variables : dict
        ``module.apply(variables, x)`` with x (predictor, row) gives the standardised balance in its first output,
        (output, row); m w.e. after multiplication by `target_scale` and addition of `target_centre` (and of the level
        of the glacier, if the candidate has one).

    Raises
    ------
    ValueError, IndexError
        If there is no such fold or member.
    InputError
        Parameters that are not what their schema says, or of a model whose networks change a temperature index: they
        give no balance by themselves.

    Notes
    -----
    The predictors are the features that `selected` marks for the fold, in the order of the coordinate `feature`,
    standardised: ``(feature - centre) * inverse_scale``.
    """
    check(parameters, PARAMETERS)
    folds = parameters["fold"].values.tolist()
    if fold not in folds:
        raise ValueError(f"fold: {fold!r} is none of {listing(folds)}")
    number = folds.index(fold)
    hyper, padded = chosen(parameters, number), layout_of(parameters)
    if isinstance(padded, IndexNet):
        raise InputError(
            "parameters",
            expected="those of a model whose networks give balances, ff_fcnn",
            found=f"those of {parameters.attrs['model']}, whose networks change a temperature index",
            remedy="take `glacmb_grid.predict`, which has both",
        )
    features = Features.from_state(unpack(parameters, number))
    trained = features.names[features.kept].tolist()  # in the order of the net's inputs
    names = parameters["feature"].values[parameters["selected"].values[number]].tolist()
    columns = np.array([trained.index(name) for name in names] or [0])
    module = FeedForward(len(columns), tuple(hyper["widths"]), 2 if hyper.get("heteroscedastic") else 1)
    layers = variables_of(padded, jnp.asarray(parameters["parameters"].values[number, member]))["params"]
    out, taken = {}, columns
    for layer, units in enumerate((*module.widths, module.outputs)):
        kernel, bias = (layers[f"layer_{layer}"][name] for name in ("kernel", "bias"))
        out[f"layer_{layer}"] = {"kernel": kernel[:units, taken], "bias": bias[:units]}
        taken = np.arange(units)
    return module, {"params": out}
