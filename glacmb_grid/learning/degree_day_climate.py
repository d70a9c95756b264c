"""The climate of a glacier as the temperature index sees it: what its offsets from the grid may depend on.

A cell of the climate is not where its glaciers are. Glaciers of a warm cell lie high in it, and those of a dry one get
more than its precipitation, or they would not be there. So the bias of a glacier may depend on how its climate departs
from that of the fitted glaciers, which is known wherever there is forcing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glacmb_grid.learning.degree_days import Floats, height_of
from glacmb_grid.learning.features import group_means
from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.reach import reach_of
from glacmb_grid.learning.table import Bools, Integers, Texts
from glacmb_grid.vocabulary import MELTING_POINT

_WARMEST = 3  # months of a summer
_DRIEST = 1e-3  # m w.e. a year: less than that is taken for it


@dataclass(frozen=True)
class Weather:
    """Rows, and the summer temperature and precipitation of each.

    Attributes
    ----------
    glaciers : str array, (glacier,), sorted
    index : int array, (row,)
        Glacier of each row.
    year : int array, (row,)
    values : float64 array, (row, 2)
        Mean of the three warmest months at the mean height of the glacier, degrees Celsius, not below 0; logarithm of
        the precipitation (snowfall, where that is the forcing) of the year, m w.e.
    """

    glaciers: Texts
    index: Integers
    year: Integers
    values: Floats

    def take(self, rows: Bools) -> Weather:
        """Some of the rows."""
        glaciers, index = np.unique(self.index[rows], return_inverse=True)
        return Weather(self.glaciers[glaciers], index, self.year[rows], self.values[rows])

    def means(self, rows: Bools) -> Floats:
        """Means of some of the rows by glacier, NaN where it has none of them, (glacier, 2)."""
        return group_means(self.values[rows], self.index[rows], len(self.glaciers))


def weather_of(forcing: dict[str, Floats], glacier: Texts, year: Integers, lapse_rate: float) -> Weather:
    """The weather of rows from their forcing, see `balance`, and the lapse rate, K m-1."""
    moved = lapse_rate * height_of(forcing).mean(axis=1, keepdims=True)
    celsius = np.maximum(forcing["temperature"] - MELTING_POINT + moved, 0.0)
    summer = np.sort(celsius, axis=1)[:, -_WARMEST:].mean(axis=1)
    water = forcing["snowfall" if "snowfall" in forcing else "precipitation"].sum(axis=1)
    glaciers, index = np.unique(glacier, return_inverse=True)
    return Weather(glaciers, index, year, np.column_stack([summer, np.log(np.maximum(water, _DRIEST))]))


@dataclass(frozen=True)
class Climate:
    """Mean weather of the glaciers that were fitted on.

    Attributes
    ----------
    glaciers : str array, (glacier,), sorted
    values : float64 array, (glacier, 2)
        Of the fitted rows, see `Weather`.
    span : int array, (2,)
        First and last fitted year: the climate of another glacier is the mean of its years from the one to the other,
        so that years to come do not change what is said of older ones.
    reach : float64 array, (2, 2)
        Lowest and highest weather that is plausible for another glacier, see `reach_of`.
    """

    glaciers: Texts
    values: Floats
    span: Integers
    reach: Floats

    def departure(self, weather: Weather) -> Floats:
        """Climate of the glacier of each row, less the mean of the fitted glaciers, in two parts, (row, 4).

        First how far it is from the mean, at most to the end of `reach`, then what lies beyond: nothing, for a
        fitted one.
        """
        if not len(self.glaciers):
            return np.zeros((len(weather.year), 4))
        within = (weather.year >= self.span[0]) & (weather.year <= self.span[1])
        own, all_years = weather.means(within), weather.means(np.ones(len(within), bool))
        own = np.where(np.isfinite(own), own, all_years)
        at = np.searchsorted(self.glaciers, weather.glaciers).clip(max=len(self.glaciers) - 1)
        known = self.glaciers[at] == weather.glaciers
        own[known] = self.values[at[known]]
        within_reach = own.clip(*self.reach)
        parts = [within_reach - self.values.mean(axis=0), own - within_reach]
        return np.concatenate(parts, axis=1)[weather.index]

    def state(self) -> Arrays:
        """All that `from_state` needs, as arrays."""
        return {
            "climate_glaciers": self.glaciers,
            "climate_values": self.values,
            "climate_span": self.span,
            "climate_reach": self.reach,
        }

    @classmethod
    def from_state(cls, state: Arrays) -> Climate:
        """The climate from what `state` gave."""
        glaciers, *others = (state[f"climate_{n}"] for n in ("glaciers", "values", "span", "reach"))
        return cls(glaciers.astype(str), *others)


def climate_of(weather: Weather, used: Bools, *, within_reach: bool = True) -> Climate:
    """The climate of the glaciers of the used rows, from these rows alone."""
    if not used.any():
        none = np.zeros((0, 2))
        return Climate(weather.glaciers[:0], none, np.zeros(2, np.int64), reach_of(none))
    means, year = weather.means(used), weather.year[used]
    known = np.isfinite(means[:, 0])
    span = np.array([year.min(), year.max()], np.int64)
    return Climate(weather.glaciers[known], means[known], span, reach_of(means[known], within_reach))
