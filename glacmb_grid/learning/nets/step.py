"""One epoch of one net, and the compiled function: several epochs of all nets that train side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from glacmb_grid.learning.nets.losses import Drawn, Pool, Slot, compared, draw, judged, objective, results
from glacmb_grid.learning.nets.module import FeedForward, layers_of, variables_of

SEGMENT = 10  # epochs between two checks for stopped nets
_OPTIMISER = optax.scale_by_adam()


class State(NamedTuple):
    """The state of a net in training. Nets that train side by side have a leading axis."""

    parameters: jax.Array
    optimiser: optax.OptState
    best: jax.Array
    best_loss: jax.Array
    best_epoch: jax.Array
    epoch: jax.Array
    average: jax.Array  # (sample,), of absolute residuals; (0,) unless the shape is dynamic


@partial(jax.jit, static_argnames="samples")
def begun(parameters: jax.Array, samples: int) -> State:
    """States before the first epoch, from parameters (slot, parameter); `samples` is the length of the average."""

    def one(flat: jax.Array) -> State:
        zero = jnp.zeros((), jnp.int32)
        return State(flat, _OPTIMISER.init(flat), flat, jnp.float32(jnp.inf), zero, zero, jnp.zeros(samples))

    states: State = jax.vmap(one)(parameters)
    return states


@jax.jit
def replaced(state: State, new: State, where: jax.Array) -> State:
    """The states `new` in the slots of the mask `where`, (slot,), else `state`."""
    merged: State = jax.tree.map(lambda a, b: jnp.where(where.reshape(-1, *[1] * (b.ndim - 1)), a, b), new, state)
    return merged


def learning_rate(slot: Slot, epoch: jax.Array) -> jax.Array:
    """Learning rate of an epoch: put a decay or a schedule here."""
    del epoch
    return jnp.asarray(slot.rate)


def noise(bank: jax.Array, slot: Slot, epoch: jax.Array, shape: tuple[int, ...], other: int = 0) -> jax.Array:
    """Noise (predictor, row): windows of the bank at places hashed from seed, epoch and predictor, and from `other`."""
    predictors, rows = shape
    place = (epoch.astype(jnp.uint32) * jnp.uint32(0x85EBCA6B) + slot.seed)[None]
    place = place ^ jnp.uint32(other) if other else place
    place = place ^ (jnp.arange(predictors, dtype=jnp.uint32) * jnp.uint32(0xC2B2AE35))
    for factor in (0x7FEB352D, 0x846CA68B):
        place = (place ^ (place >> 16)) * jnp.uint32(factor)
    place = ((place ^ (place >> 16)) % jnp.uint32(bank.shape[0] - rows)).astype(jnp.int32)
    drawn = jax.vmap(lambda start: jax.lax.dynamic_slice(bank, (start,), (rows,)))(place)
    return jnp.asarray(slot.noise)[:, None] * drawn


def constraints_of(slot: Slot, epoch: jax.Array, bank: jax.Array, pool: Pool | None, most: int) -> Drawn | None:
    """The constraints of an epoch with noise on their predictors; None without any."""
    if slot.rates is None or pool is None:
        return None
    drawn = draw(pool, slot.rates, epoch, most)
    return drawn._replace(inputs=drawn.inputs + noise(bank, slot, epoch, drawn.inputs.shape, other=0x9E3779B9))


def epoch_of(
    slot: Slot,
    state: State,
    bank: jax.Array,
    patience: int,
    module: FeedForward,
    pool: Pool | None = None,
    most: int = 0,
) -> tuple[State, tuple[jax.Array, jax.Array]]:
    """One epoch of one net: its state afterwards, and the losses on fitted and stopping samples."""
    inputs = slot.fit.rows + noise(bank, slot, state.epoch, slot.fit.rows.shape)
    drawn = constraints_of(slot, state.epoch, bank, pool, most)
    gradient, (fitted, average) = jax.grad(objective, has_aux=True)(
        state.parameters, module, slot, inputs, state.average, state.epoch == 0, drawn
    )
    update, optimiser = _OPTIMISER.update(gradient, state.optimiser)
    parameters = state.parameters - learning_rate(slot, state.epoch) * update
    if slot.frozen is not None:
        parameters = jnp.where(layers_of(module) < slot.frozen, state.parameters, parameters)
    running = (state.epoch - state.best_epoch <= patience) & (state.epoch < slot.epochs)
    stop_record, better = jnp.full_like(fitted, jnp.nan), running
    if slot.stop is not None:
        out = results(module, variables_of(module, parameters), slot.stop.rows, slot, slot.stop)
        stop_loss = judged(*compared(out[: module.judged], slot.stop), slot.stop.weight, slot.heteroscedastic)
        better = running & ((stop_loss < state.best_loss) | slot.keep_last)
        stop_record = jnp.where(slot.keep_last, jnp.nan, stop_loss)
    after = State(
        parameters,
        optimiser,
        jnp.where(better, parameters, state.best),
        jnp.where(better, stop_record, state.best_loss),
        jnp.where(better, state.epoch, state.best_epoch),
        state.epoch + 1,
        average,
    )
    return after, (jnp.where(running, fitted, jnp.nan), jnp.where(running, stop_record, jnp.nan))


@partial(jax.jit, static_argnames=("module", "most"))
def segment(
    slots: Slot,
    state: State,
    bank: jax.Array,
    patience: int,
    module: FeedForward,
    pool: Pool | None = None,
    most: int = 0,
) -> tuple[State, tuple[jax.Array, jax.Array]]:
    """SEGMENT epochs of every net: the states, and losses on fitted and stopping samples, (epoch, slot) each.

    In every epoch a net looks at `most` constraints of the pool, which all nets share.
    """
    nets: Callable[..., Any] = jax.vmap(lambda slot, state: epoch_of(slot, state, bank, patience, module, pool, most))
    return jax.lax.scan(lambda state, _: nets(slots, state), state, length=SEGMENT)
