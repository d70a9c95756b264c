"""Many small least-squares problems at once, kinks and bounds included.

Every problem has a few parameters. All share a residual function and its data, except for small arrays of their own
(weights, for example). Residuals may have kinks, such as those of a minimum or a maximum: a sum of squares can then
have its minimum on a kink, where Gauss-Newton steps zigzag for ever. The search therefore takes a few of them and goes
on with quasi-Newton (BFGS) steps, under a line search that copes with kinks.

References
----------
Lewis & Overton (2013), Nonsmooth optimization via quasi-Newton methods, Math. Program. 141.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from glacmb_grid.learning.search import workers

Floats = npt.NDArray[np.float64]
Residual = Callable[[jax.Array, Any, Any], jax.Array]

_SEGMENT = 8  # evaluations between two checks for finished problems
_MOST = 120  # evaluations of one search
_DECREASE = 1e-10  # expected decrease of the cost, at which a search has converged
_SHORTEST = 1e-9  # step length, relative to the quasi-Newton step, at which a line search gives up
_ARMIJO, _WOLFE = 1e-4, 0.5


def double_precision() -> AbstractContextManager[Any]:
    """A context in which JAX arrays of this thread may be float64; it affects no other thread."""
    switch = getattr(jax, "enable_x64", None)
    if switch is None:  # before JAX 0.8
        switch = getattr(jax.experimental, "enable_x64")  # noqa: B009 (newer stubs lack it)
    context: AbstractContextManager[Any] = switch(True)
    return context


class Search(NamedTuple):
    """State of the searches; every field has a leading axis of problems."""

    point: Any  # (parameter,), within the bounds
    value: Any  # (), the cost there: half the sum of squares
    slope: Any  # (parameter,), its gradient
    inverse: Any  # (parameter, parameter), estimate of the inverse of its second derivatives
    step: Any  # (parameter,), the direction of the line search
    length: Any  # (), fraction of the step to try next
    short: Any  # (), largest length known to be too short
    long: Any  # (), smallest length known to be too long
    most: Any  # (), length at which the step meets a bound
    count: Any  # (), remaining evaluations
    gauss_newton: Any  # (), how many of these use the Gauss-Newton matrix
    done: Any  # (), bool


def _direction(search: Search, lower: jax.Array, upper: jax.Array) -> Search:
    """The quasi-Newton step within the bounds; a problem without a descent is done."""
    hessian = jnp.linalg.inv(search.inverse)
    slope, point = search.slope, search.point
    low, high = point <= lower, point >= upper
    held = (low & (slope > 0)) | (high & (slope < 0))
    step = jnp.zeros_like(point)
    for _ in range(point.shape[0]):  # a step may cross a bound that the slope alone does not
        free = (~held).astype(point.dtype)
        reduced = hessian * free[:, None] * free + jnp.diag(1 - free)
        step = -jnp.linalg.solve(reduced, slope * free)
        held |= (low & (step < 0)) | (high & (step > 0))
    step = jnp.where(held, 0.0, step)
    room = jnp.where(step > 0, upper - point, lower - point) / jnp.where(step == 0, 1.0, step)
    most = jnp.where(step == 0, jnp.inf, room).min()
    zero = jnp.zeros_like(most)
    done = search.done | ~(-(slope * step).sum() > _DECREASE)
    return search._replace(
        step=step, length=jnp.minimum(1.0, most), short=zero, long=zero + jnp.inf, most=most, done=done
    )


def _with_derivatives(residual: Residual, point: jax.Array, shared: Any, own: Any) -> tuple[jax.Array, jax.Array]:
    """Residuals, (residual,), and their derivatives, (residual, parameter)."""

    def twice(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        r = residual(x, shared, own)
        return r, r

    derivatives, r = jax.jacfwd(twice, has_aux=True)(point)
    return r, derivatives


def _try(residual: Residual, search: Search, shared: Any, own: Any, lower: jax.Array, upper: jax.Array) -> Search:
    """Evaluate one problem once: take the step, or halve or double its length (weak Wolfe conditions)."""
    point = jnp.clip(search.point + search.length * search.step, lower, upper)
    r, derivatives = _with_derivatives(residual, point, shared, own)
    value, slope = 0.5 * (r * r).sum(), derivatives.T @ r
    descent = (search.slope * search.step).sum()
    too_long = ~(value <= search.value + _ARMIJO * search.length * descent)
    too_short = ~too_long & ((slope * search.step).sum() < _WOLFE * descent) & (search.length < search.most)
    taken = ~(too_long | too_short)
    short = jnp.where(too_short, search.length, search.short)
    long = jnp.where(too_long, search.length, search.long)
    length = jnp.where(jnp.isfinite(long), (short + long) / 2, jnp.minimum(2 * search.length, search.most))
    again = search._replace(length=length, short=short, long=long, done=search.done | (length < _SHORTEST))

    moved, turned = point - search.point, slope - search.slope
    curvature = (moved * turned).sum()
    sound = curvature > 1e-300
    scale = 1 / jnp.where(sound, curvature, 1.0)
    left = jnp.eye(len(point)) - scale * jnp.outer(moved, turned)
    covariance = jnp.linalg.inv(derivatives.T @ derivatives)
    inverse = left @ search.inverse @ left.T + scale * jnp.outer(moved, moved)
    inverse = jnp.where(sound, inverse, search.inverse)
    inverse = jnp.where(search.gauss_newton > 0, covariance, inverse)
    onward = _direction(search._replace(point=point, value=value, slope=slope, inverse=inverse), lower, upper)
    new: Search = jax.tree.map(partial(jnp.where, taken), onward, again)
    count = search.count - 1
    new = new._replace(count=count, gauss_newton=search.gauss_newton - 1, done=new.done | (count <= 0))
    kept: Search = jax.tree.map(partial(jnp.where, search.done), search, new)
    return kept


@partial(jax.jit, static_argnums=0)
def _advance(residual: Residual, search: Search, shared: Any, own: Any, lower: jax.Array, upper: jax.Array) -> Search:
    """Evaluate all problems up to `_SEGMENT` times."""
    one = jax.vmap(partial(_try, residual), in_axes=(0, None, 0, 0, 0))

    def more(state: tuple[jax.Array, Search]) -> jax.Array:
        going: jax.Array = (state[0] < _SEGMENT) & ~state[1].done.all()
        return going

    def step(state: tuple[jax.Array, Search]) -> tuple[jax.Array, Search]:
        return state[0] + 1, one(state[1], shared, own, lower, upper)

    end: Search = jax.lax.while_loop(more, step, (jnp.zeros((), int), search))[1]
    return end


def minimise(
    residual: Residual,
    start: Floats,
    shared: Any,
    own: Any,
    lower: Floats,
    upper: Floats,
    block: int,
    gauss_newton: int = 6,
) -> Floats:
    """Minimise half the sum of squared residuals of many problems, each within its bounds, in double precision.

    Parameters
    ----------
    residual : callable
        ``(parameters (parameter,), shared, own) -> residuals``, written in JAX, continuous and with derivatives almost
        everywhere; with at least as many independent residuals as parameters (priors are). The same object compiles
        once.
    start : float64 array, (problem, parameter)
    shared : tree of arrays
        Data of all problems.
    own : float64 array, (problem, ...)
        Data of each problem.
    lower, upper : float64 array, (problem, parameter)
        Bounds, which a minimum may lie on.
    block : int
        Number of problems evaluated at once: memory grows with it, results do not depend on it.
    gauss_newton : int
        Number of evaluations with Gauss-Newton steps; quasi-Newton steps follow.

    Returns
    -------
    float64 array, (problem, parameter)
        A local minimum near the start.
    """
    count, size = start.shape
    zero = np.zeros(count)
    search = Search(
        np.clip(start, lower, upper), zero + np.inf, np.zeros((count, size)), np.tile(np.eye(size), (count, 1, 1)),
        np.zeros((count, size)), zero + 1, zero.copy(), zero + np.inf, zero + 1,
        np.full(count, _MOST), np.full(count, gauss_newton), np.zeros(count, bool),
    )  # fmt: skip

    with double_precision():  # compile here, or every thread would
        filled = np.zeros(block, int)
        part = jax.tree.map(lambda a: a[filled], search._replace(done=~search.done))
        _advance(residual, part, shared, own[filled], lower[filled], upper[filled])

    def work(problems: npt.NDArray[np.int64]) -> None:
        with double_precision():
            data = jax.tree.map(jnp.asarray, shared)
            while (unfinished := problems[~search.done[problems]][:block]).size:
                filled = np.resize(unfinished, block)
                part = jax.tree.map(itemgetter(filled), search)
                part = part._replace(done=part.done | (np.arange(block) >= len(unfinished)))
                after = _advance(residual, part, data, own[filled], lower[filled], upper[filled])
                for field, new in zip(search, after, strict=True):
                    field[unfinished] = np.asarray(new)[: len(unfinished)]

    with ThreadPoolExecutor(workers()) as pool:
        list(pool.map(work, np.array_split(np.arange(count), min(workers(), -(-count // block)))))
    return np.asarray(search.point)
