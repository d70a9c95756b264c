"""What a glacier adds to a learner: its level, and at year level its amplitude too.

The level says by how much the balances of a glacier lie above or below those of all glaciers. At *year level* the
learner sees one row a year, the mean balance of the glaciers against their mean weather and a slow trend; a glacier
follows that mean with its own level and amplitude: ``b[g, t] = level[g] + centre + amplitude[g] (y[t] - centre)``.
Where many rows share few years it is the years that count: rows of one year are no independent evidence of its weather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.table import Bools, Floats, Integers, Table, Texts

LEAST_YEARS = 8
"""Years with annual observations from which on a learner may work at year level."""
LEAST_SHARED = 3.0
"""Annual observations a year from which on it may."""
_PRIOR = 1.0  # observations that the mean of all glaciers counts for in the level of one
_PRIOR_AMPLITUDE = 8.0  # observations that an amplitude of 1 counts for in that of one
_ROUNDS = 30  # of the alternating least squares


@dataclass(frozen=True)
class YearPart:
    """The years of a fit at year level.

    Attributes
    ----------
    years : int array, (year,), sorted
    values : float64 array, (year,), m w.e.
        Balance of each year, freed of which glaciers were measured in it.
    """

    years: Integers
    values: Floats


@dataclass(frozen=True)
class Levels:
    """Levels of the glaciers that were fitted on.

    Attributes
    ----------
    glaciers : str array, (glacier,), sorted
    values : float64 array, (glacier,), m w.e.
    amplitudes : float64 array, (glacier,)
    centre : float, m w.e.
        Balance about which the amplitudes stretch.
    span : float64 array, (2,) or (0,)
        First and last fitted year, between which the trend runs; empty unless the learner works at year level.
    of_years : YearPart, optional
        What the learner is to fit, at year level.
    """

    glaciers: Texts
    values: Floats
    amplitudes: Floats
    centre: float = 0.0
    span: Floats = field(default_factory=lambda: np.zeros(0))
    of_years: YearPart | None = None

    @property
    def trended(self) -> bool:
        """Whether the slow trend is a feature."""
        return len(self.span) > 0

    def at(self, glacier: Texts) -> Floats:
        """Level of each of these glaciers, 0 for one that was not fitted on, m w.e."""
        return self._own(glacier, self.values, 0.0)

    def balance(self, learnt: Floats, glacier: Texts) -> Floats:
        """Balance of rows from what the learner says of them, (..., row), m w.e."""
        if not self.trended:
            return np.asarray(learnt + self.at(glacier))
        stretched = self._own(glacier, self.amplitudes, 1.0) * (learnt - self.centre)
        return np.asarray(self.centre + stretched + self.at(glacier))

    def with_trend(self, design: Floats, year: Integers) -> Floats:
        """The features of rows and, at year level, the slow trend, constant beyond the fitted years."""
        if not self.trended:
            return design
        first, last = self.span
        middle, spread = (first + last) / 2, max((last - first) / np.sqrt(12), 1.0)
        trend = (np.clip(year, first, last) - middle) / spread
        return np.column_stack([design, trend])

    def _own(self, glacier: Texts, values: Floats, otherwise: float) -> Floats:
        if not len(self.glaciers):
            return np.full(len(glacier), otherwise)
        place = np.searchsorted(self.glaciers, glacier).clip(max=len(self.glaciers) - 1)
        return np.asarray(np.where(self.glaciers[place] == glacier, values[place], otherwise))

    def state(self) -> Arrays:
        """All that `from_state` needs, as arrays."""
        return {
            "level_glaciers": self.glaciers,
            "level_values": self.values,
            "level_amplitudes": self.amplitudes,
            "level_centre": np.asarray(self.centre),
            "level_span": self.span,
        }

    @classmethod
    def from_state(cls, state: Arrays) -> Levels:
        """Levels from what `state` gave; what they were learnt from is not in it."""
        values, amplitudes, span = (state[f"level_{n}"] for n in ("values", "amplitudes", "span"))
        return cls(state["level_glaciers"].astype(str), values, amplitudes, float(state["level_centre"]), span)


def levels_of(kind: str, table: Table, seen: Bools, base: Floats | None = None) -> Levels:
    """What glaciers add: nothing (`none`), their level (`glacier`), or the learner works at year level (`year`).

    Levels are mean deviations, shrunken to none, amplitudes are shrunken to one. `base` are balances of rows, (row,),
    that are taken off before.
    """
    mine = np.flatnonzero(seen & table.annual)
    if kind == "none" or not len(mine):
        return Levels(np.zeros(0, "<U1"), np.zeros(0), np.zeros(0))
    glaciers, index = np.unique(table.rows.glacier[table.row[mine]], return_inverse=True)
    target = table.target[mine] if base is None else table.target[mine] - base[table.row[mine]]
    if kind == "year":
        return _at_year_level(glaciers, index, table.rows.year[table.row[mine]], target)
    values = np.bincount(index, target - target.mean()) / (np.bincount(index) + _PRIOR)
    return Levels(glaciers, values, np.ones(len(glaciers)))


def _at_year_level(glaciers: Texts, index: Integers, year: Integers, target: Floats) -> Levels:
    """Level and amplitude of every glacier and balance of every year, by alternating least squares."""
    years, of = np.unique(year, return_inverse=True)
    level, amplitude = np.zeros(len(glaciers)), np.ones(len(glaciers))
    count = np.bincount(index)
    for _ in range(_ROUNDS):
        free, stretch = target - level[index], amplitude[index]
        centre = float(np.mean(np.bincount(of, free) / np.bincount(of)))
        balance = centre + np.bincount(of, stretch * (free - centre)) / np.bincount(of, stretch**2)
        departure = (balance - centre)[of]
        level = np.bincount(index, target - centre - stretch * departure) / (count + _PRIOR)
        prior = _PRIOR_AMPLITUDE * float(np.mean((balance - centre) ** 2))
        own = np.bincount(index, departure * (target - centre - level[index])) + prior
        amplitude = own / np.maximum(np.bincount(index, departure**2) + prior, 1e-12)
        amplitude = np.where(np.isfinite(amplitude) & (prior > 0), amplitude, 1.0).clip(0.2, 5.0)
    span = years[[0, -1]].astype(np.float64)
    return Levels(glaciers, level, amplitude, centre, span, YearPart(years, balance))


def kinds_of_level(folds: Folds, samples: xr.Dataset, *, years: bool = False) -> list[str]:
    """Whether a glacier's level can be known where it is to be predicted: not if whole glaciers are withheld.

    Then one row a year is an alternative too, if `years`.
    """
    glacier = samples["row_glacier"].values.astype(str)[samples["operator_row"].values]
    number = np.unique(glacier, return_inverse=True)[1]
    entries = samples["operator_sample"].values
    for fit, score in zip(folds.fit, folds.score, strict=True):
        if np.isin(number[score[entries]], number[fit[entries]]).any():
            return ["none", "glacier", *(["year"] if years else [])]
    return ["none"]


def among(kinds: Sequence[str], asked: Sequence[str] | None) -> list[str]:
    """The kinds that are asked for, `none` where they have none in common; without a wish all."""
    return [k for k in kinds if asked is None or k in asked] or ["none"]


def shares_years(table: Table) -> bool:
    """Whether many annual observations share few years, so that a learner may work at year level."""
    years = np.unique(table.rows.year[table.row[table.annual]])
    return len(years) >= LEAST_YEARS and int(table.annual.sum()) >= LEAST_SHARED * len(years)
