"""Forms of the temperature index with further parameters, fitted to one split at a time.

The derivatives of the balance cost little beside the balance itself: that of the expected degree days is the normal
distribution that they are computed from. So a fit takes damped Gauss-Newton steps (Levenberg-Marquardt) within bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ndtr

from glacmb_grid.learning.degree_days import (
    FURTHER,
    HIGHEST,
    LOWEST,
    PARAMETERS,
    SETTINGS,
    Floats,
    at_rows,
    filled,
    height_of,
)
from glacmb_grid.learning.table import Bools, Table
from glacmb_grid.settings import TemperatureIndex
from glacmb_grid.vocabulary import MELTING_POINT

Forcing = dict[str, Floats]
Residuals = Callable[[Floats], tuple[Floats, Floats]]  # and their derivatives

_LOWEST = np.concatenate([LOWEST, [0.2, -2.0, -1.0, -1.0]])
_HIGHEST = np.concatenate([HIGHEST, [1.0, 2.0, 2.0, 2.0]])
_BARELY = 0.2  # pulls of the second start
_FIRST = 4  # steps from every start, of which the best goes on
_MOST = 40  # steps
_DECREASE = 1e-6  # of the cost, relative, at which a search has converged
_SLAB = 2048  # rows at once


class Form:
    """A form: which parameters it fits, and their priors.

    Parameters
    ----------
    further : sequence of str
        Names out of `FURTHER`.
    settings : TemperatureIndex
    """

    def __init__(self, further: Sequence[str], settings: TemperatureIndex) -> None:
        self.fixed = {n: float(getattr(settings, n)) for n in SETTINGS}
        self.free = np.array([True] * len(PARAMETERS) + [n in further for n in FURTHER])
        self.centre = filled(np.array(settings.prior_mean), self.fixed)
        pull = settings.pull_sd
        wide = [settings.snow_to_ice_sd, settings.precipitation_gradient_sd, pull, pull]
        self.spread = np.concatenate([settings.prior_sd, wide])
        self.residual_sd = settings.residual_sd
        self.pulled = np.array([n.endswith("_pull") for n in (*PARAMETERS, *FURTHER)]) & self.free
        self.centre[self.pulled] = settings.pull_mean
        self.second = np.where(self.pulled, (_BARELY - settings.pull_mean) / self.spread, 0.0)

    def fit(self, table: Table, forcing: Forcing, seen: Bools, departure: Floats) -> Floats:
        """The parameters that fit the seen observations best, (7,); `departure` is that of all rows."""
        used = table.used_rows(seen)
        rows = {n: v[used] for n, v in forcing.items()}
        operator, target, away = table.operator[seen][:, used], table.target[seen], departure[used]
        free, centre, spread = self.free, self.centre[self.free], self.spread[self.free]

        def residuals(standard: Floats) -> tuple[Floats, Floats]:
            parameters = self.centre.copy()
            parameters[free] = centre + spread * standard
            simulated, slopes = balance_and_slopes(rows, parameters, self.fixed, away)
            error = (operator @ simulated - target) / self.residual_sd
            matrix = (operator @ slopes[:, free]) * (spread / self.residual_sd)
            return np.concatenate([error, standard]), np.concatenate([matrix, np.eye(len(standard))])

        lower, upper = ((limit[free] - centre) / spread for limit in (_LOWEST, _HIGHEST))
        starts = [np.zeros(len(centre))]
        if self.pulled.any():
            starts.append(self.second[free])
        tries = [_Search(residuals, np.clip(s, lower, upper), lower, upper) for s in starts]
        for one in tries:
            one.go_on(_FIRST if len(tries) > 1 else _MOST)
        best = min(tries, key=lambda t: t.cost)
        best.go_on(_MOST)
        out = self.centre.copy()
        out[free] = centre + spread * best.point
        return out


class _Search:
    """Levenberg-Marquardt within bounds, from a start."""

    def __init__(self, residuals: Residuals, start: Floats, lower: Floats, upper: Floats) -> None:
        self._residuals, self._lower, self._upper = residuals, lower, upper
        self.point, self._damping, self._done = start, 1e-3, False
        self._at = residuals(start)
        self.cost = 0.5 * float(self._at[0] @ self._at[0])

    def go_on(self, steps: int) -> None:
        """Take steps until none lowers the cost any more."""
        for _ in range(steps):
            if self._done:
                return
            trial = self._trial()
            at = self._residuals(trial)
            cost = 0.5 * float(at[0] @ at[0])
            if not cost < self.cost:
                self._damping *= 8
                self._done = self._damping > 1e4
                continue
            self._done = self.cost - cost < _DECREASE * (1 + cost)
            self.point, self._at, self.cost = trial, at, cost
            self._damping = max(self._damping / 8, 1e-9)

    def _trial(self) -> Floats:
        error, matrix = self._at
        slope, square = matrix.T @ error, matrix.T @ matrix
        low, high = self.point <= self._lower, self.point >= self._upper
        held = (low & (slope > 0)) | (high & (slope < 0))
        step = np.zeros_like(self.point)
        for _ in range(len(step)):  # a step may cross a bound that the slope alone does not
            free = np.flatnonzero(~held)
            damped = square[np.ix_(free, free)] + self._damping * np.diag(np.diag(square)[free])
            step[:] = 0.0
            step[free] = -np.linalg.solve(damped, slope[free])
            crossing = (low & (step < 0)) | (high & (step > 0))
            if not crossing.any():
                break
            held |= crossing
        return np.clip(self.point + step, self._lower, self._upper)


def balance_and_slopes(
    forcing: Forcing, parameters: Floats, settings: dict[str, float], departure: Floats
) -> tuple[Floats, Floats]:
    """What `balance` gives, (row,), and its derivatives by all parameters, (row, 7)."""
    count = len(forcing["temperature"])
    found = np.empty((count, 1 + len(parameters)))
    for first in range(0, count, _SLAB):
        slab = slice(first, first + _SLAB)
        part = {n: v[slab] for n, v in forcing.items()}
        found[slab] = _slopes(part, parameters, settings, departure[slab])
    return found[:, 0], found[:, 1:]


def _slopes(forcing: Forcing, parameters: Floats, settings: dict[str, float], departure: Floats) -> Floats:
    """Balance and its derivatives of a slab, (row, 8); months lead in what is (month, row, band)."""
    factor, factor_of_water, ratio = (float(parameters[i]) for i in (0, 1, 3))
    bias, water = at_rows(forcing, parameters, departure)
    height = height_of(forcing)
    warmth = (forcing["temperature"].T - MELTING_POINT + bias)[:, :, None] + settings["lapse_rate"] * height
    days, spread = forcing["days"].T[:, :, None], settings["temperature_spread"]
    positive = ndtr(warmth / spread)
    melting = days * (warmth * positive + spread * _density(warmth / spread))
    by_warmth = [np.zeros_like(melting), days * positive]  # of the snowfall, and of the degree days
    if "snowfall" in forcing:
        snow = np.broadcast_to(forcing["snowfall"].T[:, :, None], warmth.shape) * water
    else:
        rain_free = (settings["snow_threshold"] - warmth) / settings["snow_spread"]
        fallen = forcing["precipitation"].T[:, :, None] * water
        snow = fallen * ndtr(rain_free)
        by_warmth[0] = -fallen * _density(rain_free) / settings["snow_spread"]
    snow, melting, snow_by, melting_by = (_to_the_end(v) for v in (snow, melting, *by_warmth))
    since = snow - factor * ratio * melting
    month = since.argmax(axis=0)
    left = np.take_along_axis(since, month[None], 0)[0]
    any_left = left > 0

    def at_vanishing(values: Floats) -> Floats:
        return np.where(any_left, np.take_along_axis(values, month[None], 0)[0], 0.0)

    left = np.where(any_left, left, 0.0)
    share = 1 - 1 / ratio
    annual = left + (snow[0] - left) / ratio - factor * melting[0]
    melt_of_left = at_vanishing(melting)
    by_snow = share * at_vanishing(snow) + snow[0] / ratio  # by the logarithm of the precipitation factor
    by_factor = -share * ratio * melt_of_left - melting[0]
    by_bias = share * (at_vanishing(snow_by) - factor * ratio * at_vanishing(melting_by))
    by_bias += snow_by[0] / ratio - factor * melting_by[0]
    by_ratio = -share * factor * melt_of_left - (snow[0] - left) / ratio**2
    by_gradient = by_snow * height / 1000
    bands = [annual, by_factor, by_snow / factor_of_water, by_bias, by_ratio, by_gradient]
    mean = np.stack([b.mean(axis=1) for b in bands], axis=1)
    pulls = np.column_stack([-departure[:, 0] * mean[:, 3], -departure[:, 1] * by_snow.mean(axis=1)])
    return np.concatenate([mean, pulls], axis=1)


def _to_the_end(values: Floats) -> Floats:
    """Sums from each month to the year's end, in place."""
    for month in range(len(values) - 2, -1, -1):
        values[month] += values[month + 1]
    return values


def _density(scaled: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi))
