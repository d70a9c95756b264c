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

from glacmb_grid.learning.degree_day_climate import weather_of
from glacmb_grid.learning.degree_day_search import Fitted
from glacmb_grid.learning.degree_days import forcing_of
from glacmb_grid.learning.features import Features
from glacmb_grid.learning.level import Levels
from glacmb_grid.learning.nets.index import Forcing, Index, IndexNet, forcing_arrays, index_arrays
from glacmb_grid.learning.nets.index_fits import factors_of, simulated
from glacmb_grid.learning.nets.module import FeedForward, applied, variables_of
from glacmb_grid.learning.nets.problem import Bools, Floats, Integers, padded, rounded
from glacmb_grid.learning.ragged import Arrays, unpack
from glacmb_grid.learning.search import prediction
from glacmb_grid.learning.table import rows_of
from glacmb_grid.settings import Hybrid


def predict_ensembles(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """Balance by every member, (fold, member, row), m w.e."""
    new, layout, members = rows_of(rows), layout_of(parameters), parameters.sizes["member"]
    physics = _Physics(parameters, rows, layout) if isinstance(layout, IndexNet) else None
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
        given = {} if physics is None else physics.of(fold, state, scale)
        trained = parameters["parameters"].values[fold]
        standard = forward(layout, trained, columns, widths, matrix, **given)[:, 0]
        out[fold] = balance(standard, centre, scale, levels, new.glacier)
    return prediction(out, parameters)


def chosen(parameters: xr.Dataset, fold: int) -> dict[str, Any]:
    """Hyper-parameters that a fold has chosen."""
    words = parameters["candidate"].values[int(parameters["choice"].values[fold])]
    return dict(json.loads(str(words)))


class _Physics:
    """The temperature index that networks change, and its forcing."""

    def __init__(self, parameters: xr.Dataset, rows: xr.Dataset, layout: IndexNet) -> None:
        self._months = layout.months
        self._parameters, self._settings = parameters, Hybrid.model_validate_json(parameters.attrs["settings"]).index
        self._forcing = forcing_of(rows, "hybrid")
        self._arrays, self._glacier = forcing_arrays(self._forcing), rows["row_glacier"].values.astype(str)
        year, lapse_rate = rows["row_year"].values, self._settings.lapse_rate
        self._weather = weather_of(self._forcing, self._glacier, year, lapse_rate)

    def of(self, fold: int, state: Arrays, scale: float) -> dict[str, Any]:
        """What `forward` needs for the members of a fold."""
        fitted = Fitted.from_state(self._parameters["index"].values[fold], state)
        local, _ = simulated(fitted, self._forcing, self._weather, self._glacier, self._settings)
        hyper = chosen(self._parameters, fold)
        one = [factors_of(fitted), hyper["bounds"], scale, 0.0]
        one += [hyper["months"]] if self._months else []
        index = index_arrays(*([value] * self._parameters.sizes["member"] for value in one))
        return {"forcing": self._arrays, "local": local[None].astype(np.float32), "index": index}


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
    local: Floats | None = None,
    index: Index | None = None,
    base: Integers | None = None,
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
        Of the rows,
    local : float32 array, (base, 4, row), optional
        what differs from row to row in an index, and
    index : Index, optional
        that of every net, where nets change a temperature index.
    base : int array, (net,), optional
        Which `local` a net uses; by default the first.

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
    base = np.zeros(len(parameters), np.int64) if base is None else base
    nets = (parameters, order, used, np.count_nonzero(widths, axis=1), matrix, index, base)
    if forcing is not None and local is not None:
        forcing = Forcing(*(padded(a, (*a.shape[:-1], filled.shape[2])) for a in forcing))
        local = padded(local, (*local.shape[:-1], filled.shape[2]))
    arrays = jax.tree.map(jnp.asarray, (nets, filled, (forcing, local)))
    return np.asarray(_forward(*arrays, layout))[..., :count]


@partial(jax.jit, static_argnames="module")
def _forward(nets: tuple[Any, ...], rows: jax.Array, weather: tuple[Any, Any], module: FeedForward) -> jax.Array:
    """Results of every net, (net, result, row)."""

    def one(net: tuple[Any, ...]) -> jax.Array:
        parameters, order, used, depth, matrix, index, base = net
        inputs = jnp.where(used[:, None], rows[matrix][order], 0.0)
        physics = () if index is None else (weather[0], weather[1][base], index)
        return applied(module, variables_of(module, parameters), inputs, depth, *physics)

    out: jax.Array = jax.lax.map(one, nets)
    return out
