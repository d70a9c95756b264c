"""FF-FCNN: a small feed-forward fully connected network.

All folds and members pass through one compiled, vmapped function, a fixed number of nets at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax
import xarray as xr
from jax.flatten_util import ravel_pytree

from glacmb_grid.learning.baselines import dense_operator
from glacmb_grid.learning.prepare import fit_scaling, scaled
from glacmb_grid.predictors import matching
from glacmb_grid.samples import operator_of
from glacmb_grid.settings import FeedForward
from glacmb_grid.weights import Weights

Floats = npt.NDArray[np.float64]
_LANES = 2  # conveyors side by side; fixed, so that results do not depend on the machine
_SEGMENT = 20  # epochs between two looks at which nets have stopped
_BANK_BYTES = 1 << 26
Params = Any  # a flax parameter tree, every leaf with a leading axis of nets


class Network(nn.Module):
    """Fully connected layers of the given widths and one linear output."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Standardised balance, (row,), of standardised predictors, (row, predictor)."""
        for width in self.widths:
            x = nn.silu(nn.Dense(width)(x))
        return nn.Dense(1)(x)[..., 0]


class Data(NamedTuple):
    """What the nets in the slots train on; the leading axis is the slot."""

    rows: jax.Array  # (slot, row, predictor), standardised
    target: jax.Array  # (slot, sample), standardised; 0 where the net must not look
    offset: jax.Array  # (slot, sample), what the observation operator makes of the mean balance, standardised
    fit: jax.Array  # (slot, sample), weights that sum to one
    stop: jax.Array  # (slot, sample), weights that sum to one


class State(NamedTuple):
    """Where the nets in the slots stand; the leading axis of every leaf is the slot."""

    epoch: jax.Array
    params: Params
    moments: Any
    best: Params
    best_loss: jax.Array
    best_epoch: jax.Array


class Trained(NamedTuple):
    """What is kept of trained nets."""

    parameters: npt.NDArray[np.float32]  # (net, parameter)
    loss: npt.NDArray[np.float32]  # (net, epoch, part)
    best_epoch: npt.NDArray[np.int32]  # (net,)


def fit_network(samples: xr.Dataset, folds: xr.Dataset, settings: FeedForward, seed: int) -> xr.Dataset:
    """Train an ensemble in every fold.

    Parameters
    ----------
    samples : xr.Dataset
        From `build_samples`.
    folds : xr.Dataset
        From `make_folds`; member m stops early on inner split ``m mod inner``.
    settings : FeedForward
    seed : int

    Returns
    -------
    xr.Dataset
        `parameters` (fold, member, parameter) of the best epoch, `centre` and `inverse_scale` (fold, predictor),
        `target_centre` and `target_scale` (fold,) m w.e., `loss` (fold, member, epoch, part) in units of the target's
        variance, `best_epoch` (fold, member).

    Notes
    -----
    Loss: mean squared error of the observations, with fresh Gaussian noise on the standardised predictors in every
    epoch, plus L1 of the kernels; Adam on full batches. The rows of `score` have weight zero everywhere.
    """
    chosen = matching(samples["predictor"].values, settings.predictors)
    values = samples["predictors"].values[:, chosen].astype(np.float64)
    operator = dense_operator(samples)
    fit_rows = (np.einsum("fs,sr->fr", folds["fit"].values.astype(float), np.abs(operator)) > 0).astype(np.float64)
    centre, inverse = fit_scaling(values, fit_rows)
    level, spread = _target_scaling(operator, samples["mass_balance"].values, folds["fit"].values)
    nets = _Nets(samples, folds, settings, (values, centre, inverse), (level, spread))
    with ThreadPoolExecutor(_LANES) as pool:  # XLA leaves cores idle on nets as small as these
        lanes = list(
            pool.map(lambda lane: _train(nets, np.arange(lane, nets.count, _LANES), settings, seed), range(_LANES))
        )
    trained = [np.empty((nets.count, *part.shape[1:]), part.dtype) for part in lanes[0]]
    for lane, parts in enumerate(lanes):
        for whole, part in zip(trained, parts, strict=True):
            whole[lane::_LANES] = part
    stacked = Trained(*trained)
    shape = (folds.sizes["fold"], settings.members)
    return xr.Dataset(
        {
            "parameters": (("fold", "member", "parameter"), stacked.parameters.reshape(*shape, -1)),
            "loss": (("fold", "member", "epoch", "part"), stacked.loss.reshape(*shape, settings.epochs, 2)),
            "best_epoch": (("fold", "member"), stacked.best_epoch.reshape(shape)),
            "centre": (("fold", "predictor"), centre),
            "inverse_scale": (("fold", "predictor"), inverse),
            "target_centre": ("fold", level),
            "target_scale": ("fold", spread),
        },
        coords={
            "fold": folds["fold"],
            "scheme": folds["scheme"],
            "predictor": samples["predictor"].values[chosen],
            "part": ["fit", "stop"],
        },
        attrs={"widths": list(settings.widths), "parameter_count": int(stacked.parameters.shape[1])},
    )


def _target_scaling(operator: Floats, target: Floats, fit: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Mean annual balance and the scatter around it in every fold, (fold,), m w.e."""
    years = operator.sum(axis=1)
    level = np.array([(years[m] @ target[m]) / (years[m] @ years[m]) for m in fit])
    spread = np.array([np.sqrt(np.mean((target[m] - years[m] * v) ** 2)) for m, v in zip(fit, level, strict=True)])
    return level, np.where(spread > 1e-9, spread, 1.0)


class _Nets:
    """All nets of a fit, net = fold x members + member, and what each trains on."""

    def __init__(
        self,
        samples: xr.Dataset,
        folds: xr.Dataset,
        settings: FeedForward,
        predictors: tuple[Floats, Floats, Floats],
        target: tuple[Floats, Floats],
    ) -> None:
        self.values, self.centre, self.inverse = predictors
        self.level, self.spread = target
        self.folds, self.members = folds, settings.members
        self.operator = operator_of(samples)
        self.years = self.operator.sums(np.ones(samples.sizes["row"]))
        self.observed = samples["mass_balance"].values
        self.count = folds.sizes["fold"] * settings.members

    def data_of(self, net: int) -> list[npt.NDArray[np.float32]]:
        """The fields of Data for one net."""
        fold, inner = net // self.members, net % self.members % self.folds.sizes["inner"]
        fit, stop = (self.folds[n].values[fold, inner] for n in ("inner_fit", "inner_score"))
        spread = self.spread[fold]
        fields = (
            scaled(self.values, self.centre[fold], self.inverse[fold]),
            np.where(fit | stop, self.observed / spread, 0.0),
            self.years * self.level[fold] / spread,
            fit / fit.sum(),
            stop / stop.sum(),
        )
        return [f.astype(np.float32) for f in fields]


def _train(nets: _Nets, mine: npt.NDArray[np.int64], settings: FeedForward, seed: int) -> Trained:
    """Train nets on a conveyor: a fixed number of slots, each refilled when its net has stopped.

    One compiled segment serves all, and no slot waits for the slowest net of a block. What a net learns depends on its
    own number only, not on its slot.
    """
    slots = min(settings.block, max(len(mine), 1))
    shape = (settings.epochs, *nets.values.shape)
    bank = jax.random.normal(jax.random.key(seed), (_bank_size(shape), *nets.values.shape))
    run = partial(_segment, bank=bank, operator=_entries(nets.operator), hyper=_hyper(settings), **_static(settings))
    begin = partial(_start, widths=settings.widths, predictors=nets.values.shape[1])
    waiting, where = list(mine[::-1]), np.full(slots, -1)
    data = [np.zeros((slots, *f.shape), np.float32) for f in nets.data_of(0)]
    state: State | None = None
    place = {int(n): i for i, n in enumerate(mine)}
    shapes = jax.tree.leaves(jax.eval_shape(begin, _keys(seed, where)).params)
    flat_size = sum(int(np.prod(leaf.shape[1:])) for leaf in shapes)
    out = Trained(
        np.zeros((len(mine), flat_size), np.float32),
        np.full((len(mine), settings.epochs, 2), np.nan, np.float32),
        np.zeros(len(mine), np.int32),
    )
    while waiting or (where >= 0).any():
        fresh = [s for s in range(slots) if where[s] < 0][: len(waiting)]
        for slot in fresh:
            where[slot] = waiting.pop()
            for field, value in zip(data, nets.data_of(int(where[slot])), strict=True):
                field[slot] = value
        state = _refill(state, begin(_keys(seed, where)), fresh, slots)
        before = np.asarray(state.epoch)
        state, losses = run(Data(*map(jnp.asarray, data)), state)
        _keep(out, state, np.asarray(losses), before, where, place, settings)
    return out


def _refill(state: State | None, new: State, fresh: list[int], slots: int) -> State:
    """Put new nets into the free slots."""
    if state is None:
        return new
    if not fresh:
        return state
    renew = np.zeros(slots, bool)
    renew[fresh] = True
    flags = jnp.asarray(renew)
    merged: State = jax.tree.map(lambda a, b: jnp.where(_like(flags, a), a, b), new, state)
    return merged


def _keep(
    out: Trained,
    state: State,
    losses: npt.NDArray[np.float32],
    before: npt.NDArray[np.int32],
    where: npt.NDArray[np.int64],
    place: dict[int, int],
    settings: FeedForward,
) -> None:
    """Store the losses of a segment; harvest the nets that stopped and free their slots."""
    epoch, best = np.asarray(state.epoch), np.asarray(state.best_epoch)
    stopped = (epoch - best > settings.patience) | (epoch >= settings.epochs)
    flat = np.asarray(_flatten(state.best)) if (stopped & (where >= 0)).any() else None
    for slot in np.flatnonzero(where >= 0):
        row = place[int(where[slot])]
        last = min(before[slot] + len(losses), settings.epochs)
        out.loss[row, before[slot] : last] = losses[: last - before[slot], :, slot]
        if stopped[slot]:
            assert flat is not None
            out.parameters[row], out.best_epoch[row] = flat[slot], best[slot]
            where[slot] = -1


def _bank_size(shape: tuple[int, ...]) -> int:
    """Draws of noise kept: one for every epoch where they fit into memory, else as many as do."""
    return int(max(16, min(shape[0], _BANK_BYTES // (4 * shape[1] * shape[2]))))


def _keys(seed: int, nets: npt.NDArray[np.int64]) -> jax.Array:
    numbers = jnp.asarray(np.maximum(nets, 0), jnp.int32)
    return jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(numbers)


def _entries(operator: Weights) -> tuple[jax.Array, jax.Array, jax.Array] | None:
    """The observation operator for JAX; None for the identity."""
    if operator.is_identity:
        return None
    weight = jnp.asarray(operator.weight, jnp.float32)
    return jnp.asarray(operator.row), jnp.asarray(operator.column), weight


def _hyper(settings: FeedForward) -> tuple[float, float, float]:
    return settings.learning_rate, settings.input_noise, settings.l1


def _static(settings: FeedForward) -> dict[str, Any]:
    return {"widths": settings.widths, "epochs": settings.epochs, "patience": settings.patience}


@partial(jax.jit, static_argnames=("widths", "predictors"))
def _start(keys: jax.Array, widths: tuple[int, ...], predictors: int) -> State:
    network = Network(widths)
    params = jax.vmap(lambda key: network.init(key, jnp.zeros((1, predictors))))(keys)
    nets = keys.shape[0]
    zeros = jnp.zeros(nets, jnp.int32)
    return State(zeros, params, jax.vmap(optax.adam(1.0).init)(params), params, jnp.full(nets, jnp.inf), zeros)


@partial(jax.jit, static_argnames=("widths", "epochs", "patience"))
def _segment(
    data: Data,
    state: State,
    bank: jax.Array,
    operator: tuple[jax.Array, jax.Array, jax.Array] | None,
    hyper: tuple[float, float, float],
    widths: tuple[int, ...],
    epochs: int,
    patience: int,
) -> tuple[State, jax.Array]:
    """Some epochs of every slot, and the losses on fitted and stopping rows, (epoch, part, slot)."""
    network = Network(widths)
    rate, noise, l1 = hyper
    optimiser = optax.adam(rate)
    samples = data.target.shape[1]

    def observed(params: Params, rows: jax.Array, offset: jax.Array) -> jax.Array:
        balance = network.apply(params, rows)
        assert isinstance(balance, jax.Array)
        if operator is None:
            return balance + offset
        sample, row, weight = operator
        return jax.ops.segment_sum(balance[row] * weight, sample, samples) + offset

    def errors(params: Params, rows: jax.Array, offset: jax.Array, target: jax.Array, *weights: jax.Array) -> jax.Array:
        squares = (observed(params, rows, offset) - target) ** 2
        return jnp.stack([jnp.sum(weight * squares) for weight in weights])

    def loss(params: Params, rows: jax.Array, offset: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
        kernels = [v for path, v in jax.tree_util.tree_leaves_with_path(params) if path[-1].key == "kernel"]
        return errors(params, rows, offset, target, weight)[0] + l1 * sum(jnp.abs(k).sum() for k in kernels)

    gradients = jax.vmap(jax.grad(loss))
    judge = jax.vmap(errors)

    def step(state: State, _: None) -> tuple[State, jax.Array]:
        noisy = data.rows + noise * bank[state.epoch % bank.shape[0]]
        slope = gradients(state.params, noisy, data.offset, data.target, data.fit)
        update, moments = jax.vmap(optimiser.update)(slope, state.moments)
        params = optax.apply_updates(state.params, update)
        losses = judge(params, data.rows, data.offset, data.target, data.fit, data.stop).T
        going = (state.epoch - state.best_epoch <= patience) & (state.epoch < epochs)
        better = going & (losses[1] < state.best_loss)
        best = jax.tree.map(lambda new, old: jnp.where(_like(better, new), new, old), params, state.best)
        best_loss = jnp.where(better, losses[1], state.best_loss)
        best_epoch = jnp.where(better, state.epoch, state.best_epoch)
        after = State(state.epoch + 1, params, moments, best, best_loss, best_epoch)
        return after, jnp.where(going, losses, jnp.nan)

    return jax.lax.scan(step, state, None, length=_SEGMENT)


@jax.jit
def _flatten(params: Params) -> jax.Array:
    """Parameters as one row a net, (net, parameter)."""
    flat: jax.Array = jax.vmap(lambda p: ravel_pytree(p)[0])(params)
    return flat


def _like(flags: jax.Array, leaf: jax.Array) -> jax.Array:
    return flags.reshape(flags.shape + (1,) * (leaf.ndim - 1))


def predict_network(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """Balance of every member, (fold, member, row), m w.e."""
    values = rows["predictors"].sel(predictor=parameters["predictor"].values).values.astype(np.float64)
    widths = tuple(int(w) for w in np.atleast_1d(parameters.attrs["widths"]))
    apply = _forward(widths, values.shape[1])
    out = []
    for fold in range(parameters.sizes["fold"]):
        x = scaled(values, parameters["centre"].values[fold], parameters["inverse_scale"].values[fold])
        standard = np.asarray(apply(jnp.asarray(parameters["parameters"].values[fold]), jnp.asarray(x, jnp.float32)))
        centre, scale = (float(parameters[n].values[fold]) for n in ("target_centre", "target_scale"))
        out.append(centre + scale * standard.astype(np.float64))
    return xr.DataArray(
        np.array(out),
        dims=("fold", "member", "row"),
        coords={"fold": parameters["fold"], "scheme": parameters["scheme"]},
    )


@lru_cache
def _forward(widths: tuple[int, ...], predictors: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Standardised balance of all members, (member, row), from flat parameters, (member, parameter)."""
    network = Network(widths)
    _, unravel = ravel_pytree(network.init(jax.random.key(0), jnp.zeros((1, predictors))))
    return jax.jit(jax.vmap(lambda flat, x: network.apply(unravel(flat), x), in_axes=(0, None)))
