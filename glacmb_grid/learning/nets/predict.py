"""Predictions of trained nets."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from glacmb_grid.learning.nets.module import FeedForward, applied, variables_of
from glacmb_grid.learning.nets.problem import Bools, Floats, Integers, rounded


def forward(
    layout: FeedForward,
    parameters: Floats,
    columns: Bools,
    widths: Integers,
    rows: Floats,
    matrix: Integers | None = None,
) -> tuple[Floats, Floats]:
    """Standardised balance of rows by trained nets.

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

    Returns
    -------
    mean : float32 array, (net, row)
    variance : float32 array, (net, row)
        Of the balance of a single row; (net, 0) if the layout has no such output.
    """
    count = rows.shape[1]
    filled = np.zeros((rows.shape[0], rows.shape[2], rounded(count)), np.float32)
    filled[..., :count] = np.moveaxis(rows, 1, 2)
    order = np.argsort(~columns, axis=1, kind="stable")[:, : layout.predictors]
    order = np.pad(order, ((0, 0), (0, layout.predictors - order.shape[1])))
    used = np.arange(layout.predictors) < columns.sum(axis=1)[:, None]
    matrix = np.zeros(len(parameters), np.int64) if matrix is None else matrix
    nets = (parameters, order, used, np.count_nonzero(widths, axis=1), matrix)
    out = np.asarray(_forward(jax.tree.map(jnp.asarray, nets), jnp.asarray(filled), layout))[..., :count]
    return out[:, 0], np.exp(out[:, 1]) if layout.outputs > 1 else out[:, 0, :0]


@partial(jax.jit, static_argnames="module")
def _forward(nets: tuple[jax.Array, ...], rows: jax.Array, module: FeedForward) -> jax.Array:
    """Outputs of every net, (net, output, row)."""

    def one(net: tuple[jax.Array, ...]) -> jax.Array:
        parameters, order, used, depth, matrix = net
        inputs = jnp.where(used[:, None], rows[matrix][order], 0.0)
        return applied(module, variables_of(module, parameters), inputs, depth)

    out: jax.Array = jax.lax.map(one, nets)
    return out
