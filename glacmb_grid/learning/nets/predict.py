"""Predictions of trained nets."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.learning.degree_days import forcing_of
from glacmb_grid.learning.features import Features
from glacmb_grid.learning.level import Levels
from glacmb_grid.learning.nets.index import Forcing, Index, IndexNet, forcing_arrays, index_arrays
from glacmb_grid.learning.nets.module import FeedForward, applied, variables_of
from glacmb_grid.learning.nets.problem import Bools, Floats, Integers, padded, rounded
from glacmb_grid.learning.ragged import unpack
from glacmb_grid.learning.search import prediction
from glacmb_grid.learning.table import rows_of


def predict_ensembles(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """Balance by every member, (fold, member, row), m w.e."""
    new, layout, members = rows_of(rows), layout_of(parameters), parameters.sizes["member"]
    forcing = forcing_arrays(forcing_of(rows, "hybrid")) if isinstance(layout, IndexNet) else None
    out = np.empty((parameters.sizes["fold"], members, len(new.year)))
    for fold in range(len(out)):
        state = unpack(parameters, fold)
        levels = Levels.from_state(state)
        values = levels.with_trend(Features.from_state(state).design(new).values, new.year)
        matrix = np.zeros((1, len(new.year), layout.predictors), np.float32)
        matrix[0, :, : values.shape[1]] = values
        columns = np.tile(np.arange(layout.predictors) < max(values.shape[1], 1), (members, 1))
        widths = np.tile(chosen(parameters, fold)["widths"], (members, 1))
        centre, scale = (float(parameters[n].values[fold]) for n in ("target_centre", "target_scale"))
        index = None if forcing is None else _index_of(parameters, fold, scale, members)
        trained = parameters["parameters"].values[fold]
        standard = forward(layout, trained, columns, widths, matrix, None, forcing, index)[:, 0]
        out[fold] = balance(standard, centre, scale, levels, new.glacier)
    return prediction(out, parameters)


def chosen(parameters: xr.Dataset, fold: int) -> dict[str, Any]:
    """Hyper-parameters that a fold has chosen."""
    words = parameters["candidate"].values[int(parameters["choice"].values[fold])]
    return dict(json.loads(str(words)))


def _index_of(parameters: xr.Dataset, fold: int, scale: float, members: int) -> Index:
    """The temperature index that the members of a fold change."""
    base, bounds = parameters["index"].values[fold], chosen(parameters, fold)["bounds"]
    return index_arrays([base] * members, [bounds] * members, [scale] * members, [0.0] * members)


def layout_of(parameters: xr.Dataset) -> FeedForward:
    """The network that all nets are padded to."""
    layout = json.loads(parameters.attrs["layout"])
    layout |= {n: tuple(layout[n]) for n in ("widths", "fixed") if n in layout}
    return (IndexNet if "form" in layout else FeedForward)(**layout)


def balance(standard: Floats, centre: float, scale: float, levels: Levels, glacier: npt.NDArray[np.str_]) -> Any:
    """Balance of rows from standardised ones, (..., row), m w.e."""
    return levels.balance(centre + scale * standard.astype(np.float64), glacier)


def forward(
    layout: FeedForward,
    parameters: Floats,
    columns: Bools,
    widths: Integers,
    rows: Floats,
    matrix: Integers | None = None,
    forcing: Forcing | None = None,
    index: Index | None = None,
) -> Floats:
    """Results of rows by trained nets: the standardised balance and, with a second output, the log of its variance.

    Parameters
    ----------
    layout : FeedForward
        The network that the nets are padded to.
    parameters : float32 array, (net, parameter)
    columns : bool array, (net, predictor)
    widths : int array, (net, layer)
    rows : float32 array, (matrix, row, predictor)
        Standardised; NaN in a used column yields NaN.
    matrix : int array, (net,), optional
        Which matrix a net uses; by default the first.
    forcing : Forcing, optional
        Of the rows, and
    index : Index, optional
        of every net, where nets change a temperature index.

    Returns
    -------
    float32 array, (net, result, row)
    """
    count = rows.shape[1]
    filled = np.zeros((rows.shape[0], rows.shape[2], rounded(count)), np.float32)
    filled[..., :count] = np.moveaxis(rows, 1, 2)
    order = np.argsort(~columns, axis=1, kind="stable")[:, : layout.predictors]
    order = np.pad(order, ((0, 0), (0, layout.predictors - order.shape[1])))
    used = np.arange(layout.predictors) < columns.sum(axis=1)[:, None]
    matrix = np.zeros(len(parameters), np.int64) if matrix is None else matrix
    nets = (parameters, order, used, np.count_nonzero(widths, axis=1), matrix, index)
    if forcing is not None:
        forcing = Forcing(*(padded(a, (*a.shape[:-1], filled.shape[2])) for a in forcing))
    arrays = jax.tree.map(jnp.asarray, (nets, filled, forcing))
    return np.asarray(_forward(*arrays, layout))[..., :count]


@partial(jax.jit, static_argnames="module")
def _forward(nets: tuple[Any, ...], rows: jax.Array, forcing: Forcing | None, module: FeedForward) -> jax.Array:
    """Results of every net, (net, result, row)."""

    def one(net: tuple[Any, ...]) -> jax.Array:
        parameters, order, used, depth, matrix, index = net
        inputs = jnp.where(used[:, None], rows[matrix][order], 0.0)
        physics = () if index is None else (forcing, index)
        return applied(module, variables_of(module, parameters), inputs, depth, *physics)

    out: jax.Array = jax.lax.map(one, nets)
    return out
