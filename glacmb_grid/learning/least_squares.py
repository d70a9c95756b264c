"""Many small least-squares problems at once, kinks and bounds included.

Every problem has a few parameters. All share a residual function and its data, except for small arrays of their own
(weights, for example). Residuals may have kinks, such as those of a minimum or a maximum: a sum of squares can then
have its minimum on a kink, where Gauss-Newton steps zigzag for ever. The search therefore takes a few of them and goes
on with quasi-Newton (BFGS) steps, under a line search that copes with kinks. JAX evaluates residuals and derivatives,
NumPy takes the steps, which would more than double the time of compilation.

References
----------
Lewis & Overton (2013), Nonsmooth optimization via quasi-Newton methods, Math. Program. 141.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Residual = Callable[[jax.Array, Any, Any], jax.Array]

_MOST = 120  # evaluations of one search
_DECREASE = 1e-10  # expected decrease of the cost, at which a search has converged
_SHORTEST = 1e-9  # step length, relative to the quasi-Newton step, at which a line search gives up
_ARMIJO, _WOLFE = 1e-4, 0.5
_compiling = threading.Lock()  # threads that meet a function first would all compile it


def double_precision() -> AbstractContextManager[Any]:
    """A context in which JAX arrays of this thread may be float64; it affects no other thread."""
    switch = getattr(jax, "enable_x64", None)
    if switch is None:  # before JAX 0.8
        switch = getattr(jax.experimental, "enable_x64")  # noqa: B009 (newer stubs lack it)
    context: AbstractContextManager[Any] = switch(True)
    return context


class Search(NamedTuple):
    """State of the searches; every field has a leading axis of problems."""

    point: Floats  # (parameter,), within the bounds
    value: Floats  # (), the cost there: half the sum of squares
    slope: Floats  # (parameter,), its gradient
    inverse: Floats  # (parameter, parameter), estimate of the inverse of its second derivatives
    step: Floats  # (parameter,), the direction of the line search
    length: Floats  # (), fraction of the step to try next
    short: Floats  # (), largest length known to be too short
    long: Floats  # (), smallest length known to be too long
    most: Floats  # (), length at which the step meets a bound
    done: Bools  # ()


def minimise(
    residual: Residual,
    start: Floats,
    shared: Any,
    own: Floats,
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
    lower, upper : float64 array, (parameter,)
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
    zero, none = np.zeros(count), np.zeros((count, size))
    search = Search(
        np.clip(start, lower, upper), zero + np.inf, none, np.tile(np.eye(size), (count, 1, 1)), none.copy(), zero + 1,
        zero.copy(), zero + np.inf, zero + 1, np.zeros(count, bool),
    )  # fmt: skip
    with double_precision(), np.errstate(all="ignore"):
        data = jax.tree.map(jnp.asarray, shared)

        def evaluated(points: Floats, problems: Integers) -> list[Floats]:
            filled = np.resize(np.arange(len(points)), block)
            found = _evaluated(residual, points[filled], data, own[problems[filled]])
            return [np.asarray(f)[: len(points)] for f in found]

        with _compiling:
            evaluated(search.point[:1], np.zeros(1, int))
        for number in range(_MOST):
            going = np.flatnonzero(~search.done)
            if not going.size:
                break
            now: Search = jax.tree.map(itemgetter(going), search)
            trial = np.clip(now.point + now.length[:, None] * now.step, lower, upper)
            parts = [slice(i, i + block) for i in range(0, len(going), block)]
            found = [evaluated(trial[p], going[p]) for p in parts]
            value, slope, matrix = (np.concatenate(f) for f in zip(*found, strict=True))
            covariance = _inverse(matrix) if number < gauss_newton else None
            for field, new in zip(search, _moved(now, trial, value, slope, covariance, lower, upper), strict=True):
                field[going] = new
    return search.point


@partial(jax.jit, static_argnums=0)
def _evaluated(residual: Residual, points: Any, shared: Any, own: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Cost of every problem, its gradient, and its Gauss-Newton matrix, (problem, parameter, parameter)."""

    def one(point: jax.Array, own: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        def twice(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            r = residual(x, shared, own)
            return r, r

        derivatives, r = jax.jacfwd(twice, has_aux=True)(point)
        return 0.5 * (r * r).sum(), derivatives.T @ r, derivatives.T @ derivatives

    out: tuple[jax.Array, jax.Array, jax.Array] = jax.vmap(one)(points, own)
    return out


def _moved(
    search: Search,
    trial: Floats,
    value: Floats,
    slope: Floats,
    covariance: Floats | None,
    lower: Floats,
    upper: Floats,
) -> Search:
    """The searches after an evaluation: take the step, or halve or double its length (weak Wolfe conditions)."""
    descent = (search.slope * search.step).sum(axis=1)
    too_long = ~(value <= search.value + _ARMIJO * search.length * descent)
    too_short = ~too_long & ((slope * search.step).sum(axis=1) < _WOLFE * descent) & (search.length < search.most)
    short = np.where(too_short, search.length, search.short)
    long = np.where(too_long, search.length, search.long)
    length = np.where(np.isfinite(long), (short + long) / 2, np.minimum(2 * search.length, search.most))
    again = search._replace(length=length, short=short, long=long, done=length < _SHORTEST)

    inverse = covariance
    if inverse is None:
        moved, turned = trial - search.point, slope - search.slope
        curvature = (moved * turned).sum(axis=1)
        sound, scale = curvature > 1e-300, (1 / curvature)[:, None, None]
        left = np.eye(trial.shape[1]) - scale * moved[:, :, None] * turned[:, None, :]
        bfgs = left @ search.inverse @ left.swapaxes(1, 2) + scale * moved[:, :, None] * moved[:, None, :]
        inverse = np.where(sound[:, None, None], bfgs, search.inverse)
    onward = _directed(search._replace(point=trial, value=value, slope=slope, inverse=inverse), lower, upper)
    kept = too_long | too_short
    return Search(*(np.where(kept.reshape(-1, *[1] * (b.ndim - 1)), a, b) for a, b in zip(again, onward, strict=True)))


def _directed(search: Search, lower: Floats, upper: Floats) -> Search:
    """With the quasi-Newton step within the bounds; a problem without a descent is done."""
    hessian, slope, point = _inverse(search.inverse), search.slope, search.point
    low, high = point <= lower, point >= upper
    held = (low & (slope > 0)) | (high & (slope < 0))
    step = np.zeros_like(point)
    for _ in range(point.shape[1]):  # a step may cross a bound that the slope alone does not
        free = (~held).astype(float)
        reduced = hessian * free[:, :, None] * free[:, None, :] + np.eye(point.shape[1]) * (1 - free)[:, None, :]
        step = -(_inverse(reduced) @ (slope * free)[:, :, None])[:, :, 0]
        held |= (low & (step < 0)) | (high & (step > 0))
    step[held] = 0.0
    room = np.where(step > 0, upper - point, lower - point) / step
    most = np.where(step == 0, np.inf, room).min(axis=1)
    none = np.zeros_like(most)
    done = ~(-(slope * step).sum(axis=1) > _DECREASE)
    return search._replace(step=step, length=np.minimum(1, most), short=none, long=none + np.inf, most=most, done=done)


def _inverse(matrices: Floats) -> Floats:
    """Inverses of positive definite matrices, (problem, parameter, parameter), by sweeps; no finite one gives NaN."""
    for k, unit in enumerate(np.eye(matrices.shape[1])):
        others = 1 - unit
        row = others * matrices[:, k] - unit
        outer = row[:, :, None] * row[:, None, :] / matrices[:, k, k, None, None]
        matrices = others[:, None] * others * matrices - outer
    return -matrices
