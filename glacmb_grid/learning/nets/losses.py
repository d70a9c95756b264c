"""The loss that training minimises: a sum of terms, each a pure function of one net's outputs on the fitted samples.

To add a term, write a function of `View` and add it to `TERMS`; JAX derives the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glacmb_grid.learning.nets.index import CHANGES
from glacmb_grid.learning.nets.module import FeedForward, applied, variables_of

_BETA = 0.5  # exponent of the variance in beta-NLL
_MEMORY = 0.9  # of the moving average of a sample's residual


class Look(NamedTuple):
    """Samples that a net fits or stops on, padded."""

    rows: Any  # (predictor, row)
    target: Any  # (sample,)
    weight: Any  # (sample,)
    operator: tuple[Any, Any, Any] | None  # (entry,): sample, row, weight; None: sample i is row i
    forcing: Any = None  # of the rows, where nets change a temperature index, and
    local: Any = None  # (4, row) what differs from row to row in it


class Pool(NamedTuple):
    """The constraints of all nets: predictors of glacier-years, and which of them each constraint is a sum of."""

    rows: Any  # (matrix, row, predictor)
    row: Any  # (constraint, entry)
    weight: Any  # (constraint, entry), 0 where there is no entry


class Rates(NamedTuple):
    """What one net makes of the constraints of the pool. Nets that train side by side have a leading axis."""

    matrix: Any
    columns: Any  # (predictor,) of the pool
    order: Any  # (constraint,) numbers of those that it may learn from, in the order in which it looks at them
    count: Any  # how many these are; numbers beyond are padding
    target: Any  # (constraint,), standardised change
    precision: Any  # (constraint,), 1 / its standardised uncertainty
    strength: Any  # lambda


class Drawn(NamedTuple):
    """The constraints that a net looks at in one epoch."""

    inputs: Any  # (predictor, constraint * entry)
    weight: Any  # (constraint, entry)
    target: Any  # (constraint,)
    precision: Any  # (constraint,)
    share: Any  # (constraint,) sums to one; 0 for padding
    strength: Any


class Slot(NamedTuple):
    """The data and settings of one net. Nets that train side by side have a leading axis."""

    fit: Look
    stop: Look | None
    keep_last: Any  # no early stopping: keep the last epoch
    depth: Any  # number of hidden layers
    noise: Any  # (predictor,)
    rate: Any
    l1: Any
    gamma: Any
    heteroscedastic: Any
    epochs: Any
    seed: Any
    rates: Rates | None = None
    index: Any = None  # the temperature index that the net changes
    frozen: Any = None  # number of first layers that stay as they are; None: no net has any


class View(NamedTuple):
    """The arguments of a term of the loss, for one net."""

    variables: Any  # of the module
    out: jax.Array  # (result, row)
    error: jax.Array  # (sample,)
    variance: jax.Array | None  # (sample,)
    weight: jax.Array  # (sample,), after the dynamic weighting
    slot: Slot
    missed: jax.Array | None = None  # (constraint,), misfit of the drawn constraints over their uncertainty
    drawn: Drawn | None = None
    changes: jax.Array | None = None  # (change, row), of a temperature index, or (change and month, row)


def observed(values: jax.Array, look: Look, power: int = 1) -> jax.Array:
    """Values of samples (sample,) from rows (row,): the observation operator, its weights raised to a power."""
    if look.operator is None:
        return values
    sample, row, weight = look.operator
    return jax.ops.segment_sum(values[row] * weight**power, sample, look.target.shape[0])


def compared(out: jax.Array, look: Look) -> tuple[jax.Array, jax.Array | None]:
    """Errors and, with two outputs, variances of samples, (sample,), from outputs (output, row)."""
    error = observed(out[0], look) - look.target
    if out.shape[0] == 1:
        return error, None
    variance = observed(jnp.exp(out[1]), look, 2)
    return error, jnp.where(look.weight > 0, variance, 1.0)  # padding has no rows and thus no variance


def judged(
    error: jax.Array, variance: jax.Array | None, weight: jax.Array, heteroscedastic: jax.Array, beta: float = 0.0
) -> jax.Array:
    """Weighted squared error, or beta-NLL (times two) of heteroscedastic nets; with beta 0 the log-likelihood."""
    loss = error**2
    if variance is not None:
        power = jax.lax.stop_gradient(variance) ** beta
        loss = jnp.where(heteroscedastic, power * (jnp.log(variance) + error**2 / variance), loss)
    return jnp.sum(weight * loss)


def misfit(view: View) -> jax.Array:
    """Loss of the fitted samples."""
    return judged(view.error, view.variance, view.weight, view.slot.heteroscedastic, _BETA)


def lasso(view: View) -> jax.Array:
    """L1 norm of the kernels; its gradient at 0 is 0, so that padding stays 0 (`jnp.abs` has gradient 1)."""
    kernels = (layer["kernel"] for layer in view.variables["params"].values())
    size = sum((jnp.sum(k * jax.lax.stop_gradient(jnp.sign(k))) for k in kernels), jnp.zeros(()))
    return jnp.asarray(view.slot.l1 * size)


def geodetic(view: View) -> jax.Array:
    """Mean square of the misfits of the drawn constraints over their uncertainties, times its strength."""
    if view.drawn is None or view.missed is None:
        return jnp.zeros(())
    return jnp.asarray(view.drawn.strength * jnp.sum(view.drawn.share * view.missed**2))


def draw(pool: Pool, rates: Rates, epoch: jax.Array, most: int) -> Drawn:
    """The next `most` constraints of a net's own order, which begins anew at its end; all of them if they are fewer."""
    count = jnp.maximum(rates.count, 1)
    number = jnp.arange(most)
    at = jnp.where(rates.count > most, (epoch * most + number) % count, number)
    taken = jnp.where(number < rates.count, rates.order[at], 0)
    rows = pool.row[taken].reshape(-1)
    inputs = pool.rows[rates.matrix, rows[None, :], rates.columns[:, None]]
    inputs = jnp.where((rates.columns >= 0)[:, None], inputs, 0.0)
    share = jnp.where(number < rates.count, 1.0 / jnp.minimum(count, most), 0.0)
    return Drawn(inputs, pool.weight[taken], rates.target[taken], rates.precision[taken], share, rates.strength)


def missed(variables: Any, module: FeedForward, drawn: Drawn, depth: Any) -> jax.Array:
    """Misfit of drawn constraints over their uncertainties, (constraint,)."""
    balance = applied(module, variables, drawn.inputs, depth)[0].reshape(drawn.weight.shape)
    return jnp.asarray((jnp.sum(balance * drawn.weight, axis=1) - drawn.target) * drawn.precision)


def restraint(view: View) -> jax.Array:
    """Mean square of the changes of the temperature index over fitted rows and months, 0 without an index."""
    if view.slot.index is None or view.changes is None:
        return jnp.zeros(())
    months = max(len(view.changes) // len(CHANGES), 1)
    size = jnp.sum(view.changes**2, axis=0) / months
    return jnp.asarray(view.slot.index.penalty * jnp.sum(view.slot.fit.forcing.share * size))


TERMS: tuple[Callable[[View], jax.Array], ...] = (misfit, lasso, geodetic, restraint)


def results(module: FeedForward, variables: Any, inputs: jax.Array, slot: Slot, look: Look) -> jax.Array:
    """What the module gives for the rows of a look, (result, row)."""
    physics = () if slot.index is None else (look.forcing, look.local, slot.index)
    return applied(module, variables, inputs, slot.depth, *physics)


def dynamic_weight(weight: jax.Array, average: jax.Array, gamma: jax.Array) -> jax.Array:
    """Weights (sample,) times ``clip((e / mean e) ** gamma, 1/4, 4)``, with sum one; unchanged if gamma is 0.

    `average` is e, a moving average of every sample's absolute residual, (sample,).
    """
    relative = jnp.maximum(average, 1e-12) / jnp.maximum(jnp.sum(weight * average), 1e-12)
    changed = weight * jnp.clip(relative**gamma, 0.25, 4.0)
    return jnp.where(gamma != 0, changed / jnp.sum(changed), weight)


def objective(
    parameters: jax.Array,
    module: FeedForward,
    slot: Slot,
    inputs: jax.Array,
    average: jax.Array,
    first: jax.Array,
    drawn: Drawn | None = None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Sum of all terms for one net, as a function of its parameters.

    Parameters
    ----------
    parameters : (parameter,)
    module : FeedForward
    slot : Slot
    inputs : (predictor, row)
        Predictors of the fitted rows with their noise.
    average : (sample,)
        Moving average of absolute residuals; (0,) without dynamic weighting.
    first : bool, ()
        Whether this is the first epoch, where the average begins.
    drawn : Drawn, optional
        The constraints of this epoch, with the noise on their predictors.

    Returns
    -------
    total : ()
    auxiliary : tuple of (), (sample,)
        The loss to record (without L1, constraints, beta and dynamic weights) and the moving average after this epoch.
    """
    variables = variables_of(module, parameters)
    out = results(module, variables, inputs, slot, slot.fit)
    error, variance = compared(out[: module.judged], slot.fit)
    weight = slot.fit.weight
    if average.shape[0]:
        size = jax.lax.stop_gradient(jnp.abs(error))
        average = jnp.where(first, size, _MEMORY * average + (1 - _MEMORY) * size)
        weight = dynamic_weight(weight, average, slot.gamma)
    off = None if drawn is None else missed(variables, module, drawn, slot.depth)
    view = View(variables, out, error, variance, weight, slot, off, drawn, out[module.judged :])
    total = sum((term(view) for term in TERMS), jnp.zeros(()))
    return total, (judged(error, variance, slot.fit.weight, slot.heteroscedastic), average)
