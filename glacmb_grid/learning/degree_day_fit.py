"""Fits of the temperature-index model on many splits of the same table at once.

All splits share the solid precipitation and the degree days, which depend on the temperature bias alone. Within cells
of the bias they are approximated by polynomials, so that no search evaluates an exponential. Balances on a lattice of
parameters are computed once for all splits, and every search starts from the best point of that lattice. The cost has
several minima close to each other, where the month changes in which the snow is gone; a search ends in one of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from glacmb_grid.learning.degree_days import HIGHEST, LOWEST, SETTINGS, balance_of, snow_left, sums_of
from glacmb_grid.learning.least_squares import minimise
from glacmb_grid.learning.search import workers
from glacmb_grid.learning.table import Table
from glacmb_grid.settings import TemperatureIndex

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Forcing = dict[str, Floats]

_CELL = 0.75  # half the width of a cell of the bias, in units of the smallest smoothing spread, K
NODES = 9  # per cell: the polynomials then have a relative error of 1e-7
_MOVES = 64  # how often a split may move to another cell
_RATIOS = 48  # of the two factors, on the lattice
_BYTES = 1 << 23  # memory for the splits evaluated at once


def fit_splits(table: Table, forcing: Forcing, seen: Bools, settings: TemperatureIndex) -> Floats:
    """Fit the parameters of many splits, (split, 3), each to the observations of its mask.

    Parameters
    ----------
    table : Table
    forcing : dict
        See `balance`.
    seen : bool array, (split, sample)
    settings : TemperatureIndex
    """
    fit = Fit(table, forcing, seen, settings)
    return fit.search(fit.lattice())


class Fit:
    """The data and settings that all splits share, and the search."""

    def __init__(self, table: Table, forcing: Forcing, seen: Bools, settings: TemperatureIndex) -> None:
        self.rows, self.operator, self.target, self.seen = forcing, table.operator, table.target, seen
        self.fixed = {n: float(getattr(settings, n)) for n in SETTINGS}
        self.centre, self.spread = np.array(settings.prior_mean), np.array(settings.prior_sd)
        self.residual_sd = settings.residual_sd
        self.smear = min(self.fixed[n] for n in ["temperature_spread"] + ["snow_spread"] * ("snowfall" not in forcing))
        self.block = 1 << int(np.clip(np.log2(_BYTES / (8 * 12 * max(self.rows["hypsometry"].size, 1))), 0, 3))

    def search(self, start: Floats) -> Floats:
        """The parameters of all splits, (split, 3), from a start for each."""
        centre, spread = self.centre, self.spread
        lower, upper = (LOWEST - centre) / spread, (HIGHEST - centre) / spread
        width = _CELL * self.smear / spread[2]  # from the middle of a cell to its edge
        point = np.clip((start - centre) / spread, lower, upper)
        moving = np.ones(len(point), bool)

        def search_cell(splits: Integers) -> None:
            middle = float(np.rint(point[splits[0], 2] / width)) * width
            low, high = lower.copy(), upper.copy()
            low[2], high[2] = max(lower[2], middle - width), min(upper[2], middle + width)
            point[splits] = self.within(point[splits], splits, self.shared(middle, width), low, high)
            bias = point[splits, 2]
            moving[splits] = (bias <= low[2]) & (low[2] > lower[2]) | (bias >= high[2]) & (high[2] < upper[2])

        with ThreadPoolExecutor(workers()) as pool:
            for _ in range(_MOVES):
                cell = np.rint(point[:, 2] / width)
                cells = [np.flatnonzero(moving & (cell == c)) for c in np.unique(cell[moving])]
                if not cells:
                    break
                list(pool.map(search_cell, sorted(cells, key=len, reverse=True)))
        return np.asarray(centre + spread * point)

    def within(self, start: Floats, splits: Integers, shared: dict[str, Any], lower: Floats, upper: Floats) -> Floats:
        """Search within a cell; standardised parameters, (split, 3)."""
        own = self.seen[splits] / self.residual_sd
        return minimise(residuals, start, shared, own, lower, upper, self.block)

    def shared(self, middle: float, width: float) -> dict[str, Any]:
        """The data of a cell for `residuals`; `middle` and `width` in units of the prior's spread."""
        angle = np.pi * (np.arange(NODES) + 0.5) / NODES
        biases = self.centre[2] + self.spread[2] * (middle + width * np.cos(angle))
        sums = np.array([sums_of(self.rows, float(b), self.fixed) for b in biases])
        to = np.cos(np.outer(np.arange(NODES), angle)) * np.where(np.arange(NODES) == 0, 1, 2)[:, None] / NODES
        sums = np.tensordot(to, sums, 1).swapaxes(0, 1)  # (2, node, month, row, band)
        flat = sums.reshape(2 * NODES, sums.shape[2], -1)
        month = np.moveaxis(flat, 0, -1).reshape(-1, 2 * NODES)
        operator = self.operator.tocoo()
        return {
            "sums": flat, "month": np.concatenate([month, np.zeros((flat.shape[2], 2 * NODES))]),
            "year": sums[:, :, 0].mean(axis=-1), "middle": middle, "width": width, "centre": self.centre,
            "spread": self.spread, "ratio": self.fixed["snow_to_ice"], "sample": operator.row, "row": operator.col,
            "weight": operator.data, "target": self.target,
        }  # fmt: skip

    def lattice(self) -> Floats:
        """The best point of a lattice over the whole range of the parameters, for every split, (split, 3).

        For a given bias and ratio of the two factors the balance is proportional to the precipitation factor, whose
        best value is then known; the balances of the lattice serve all splits.
        """
        (f0, p0, b0), (sf, sp, sb), sd = self.centre, self.spread, self.residual_sd
        weight, every = self.seen.astype(np.float64), np.arange(len(self.seen))
        snow_to_ice = self.fixed["snow_to_ice"]
        ratios = np.geomspace(LOWEST[0] / HIGHEST[1], HIGHEST[0] / LOWEST[1], _RATIOS)
        least, most = np.maximum(LOWEST[1], LOWEST[0] / ratios), np.minimum(HIGHEST[1], HIGHEST[0] / ratios)
        steps = int(np.clip(np.ceil((HIGHEST[2] - LOWEST[2]) / (0.5 * self.smear)), 16, 64))
        best, point = np.full(len(every), np.inf), np.zeros((len(every), 3))
        for bias in np.linspace(LOWEST[2], HIGHEST[2], steps + 1):
            sums = sums_of(self.rows, float(bias), self.fixed)
            left = [snow_left(sums, r, 1.0, snow_to_ice) for r in ratios]
            unit = [balance_of(sums[:, 0], v, r, 1.0, snow_to_ice) for v, r in zip(left, ratios, strict=True)]
            observed = self.operator @ np.array(unit).mean(axis=-1).T
            sums = np.stack([observed**2, observed * self.target[:, None]], axis=-1).reshape(len(observed), -1)
            # One split at a time: the last bit of a product of matrices depends on the number of rows.
            square, product = np.moveaxis(np.array([w @ sums for w in weight]).reshape(len(weight), -1, 2), -1, 0)
            square = square / sd**2 + 1 / sp**2 + (ratios / sf) ** 2
            product = product / sd**2 + p0 / sp**2 + ratios * f0 / sf**2
            p = np.clip(product / square, least, most)
            cost = 0.5 * square * p**2 - product * p + 0.5 * ((bias - b0) / sb) ** 2
            k = cost.argmin(axis=1)
            better = cost[every, k] < best
            found = np.stack([ratios[k] * p[every, k], p[every, k], np.full(len(every), bias)], axis=1)
            best, point = np.where(better, cost[every, k], best), np.where(better[:, None], found, point)
        return point


def residuals(standard: jax.Array, shared: dict[str, jax.Array], weight: jax.Array) -> jax.Array:
    """Residuals of observations and of the prior, from standardised parameters, for `minimise`."""
    factor, precipitation_factor, _ = shared["centre"] + shared["spread"] * standard
    x = (standard[2] - shared["middle"]) / shared["width"]
    terms = [jnp.ones_like(x), x]
    for _ in range(NODES - 2):
        terms.append(2 * x * terms[-1] - terms[-2])
    basis, ratio = jnp.stack(terms), shared["ratio"]
    factors = jnp.concatenate([precipitation_factor * basis, -factor * ratio * basis])

    # The derivative of a maximum is that of its largest argument, so only that one is differentiated.
    since = jnp.tensordot(jax.lax.stop_gradient(factors), shared["sums"], 1)  # (month, row and band)
    largest, month = jnp.zeros(since.shape[1]), jnp.full(since.shape[1], since.shape[0])
    for m in range(since.shape[0]):
        month = jnp.where(since[m] > largest, m, month)
        largest = jnp.maximum(largest, since[m])
    chosen = shared["month"][month * since.shape[1] + jnp.arange(since.shape[1])]
    left = chosen.reshape(shared["year"].shape[-1], -1, chosen.shape[-1]).mean(axis=1) @ factors

    annual = balance_of(jnp.tensordot(basis, shared["year"], (0, 1)), left, factor, precipitation_factor, ratio)
    seen = jax.ops.segment_sum(shared["weight"] * annual[shared["row"]], shared["sample"], len(shared["target"]))
    return jnp.concatenate([weight * (seen - shared["target"]), standard])
