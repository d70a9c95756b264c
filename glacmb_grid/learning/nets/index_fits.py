"""The temperature index that networks start from, chosen and fitted on what each of them may see."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.degree_day_climate import Weather
from glacmb_grid.learning.degree_day_search import Fitted, IndexSearch, fits_of
from glacmb_grid.learning.degree_days import SETTINGS, at_rows, balance, filled, forcing_of
from glacmb_grid.learning.nets.index import CHANGES, Forcing, IndexNet, forcing_arrays
from glacmb_grid.learning.nets.module import FeedForward
from glacmb_grid.learning.table import Bools, Floats, Table, Texts
from glacmb_grid.settings import Hybrid, TemperatureIndex


class Base(NamedTuple):
    """An index as fitted, and what it makes of rows.

    Attributes
    ----------
    fitted : Fitted
    local : float64 array, (4, row)
        What differs from row to row, see `Index`.
    balance : float64 array, (row,), m w.e.
        0 where it is not wanted.
    """

    fitted: Fitted
    local: Floats
    balance: Floats


class IndexFits:
    """Fits of the index on the masks of a task: those of its folds and of their inner splits."""

    def __init__(self, settings: Hybrid, table: Table, task: Task) -> None:
        forcing, self._settings = forcing_of(task.samples, "hybrid"), settings
        self._search = IndexSearch(table, forcing, settings.index, task.own, task.folds)
        self._search.prepare(fits_of(task.own))
        self._known: dict[tuple[int, bytes, bytes], Base] = {}
        self._snowfall = "snowfall" in forcing
        self.forcing: Forcing = forcing_arrays(forcing)

    def of(self, block: int, seen: Bools, wanted: Bools) -> Base:
        """The index of a block fitted on the seen observations, and what it makes of the rows of the wanted ones.

        `block` is a place among those that the task searches in. No other row is looked at.
        """
        key = block, seen.tobytes(), wanted.tobytes()
        if key not in self._known:
            fitted, (rows, forcing, weather, glacier) = self._search.fitted(block, seen), self._search.part(wanted)
            local, found = np.zeros((4, len(rows))), np.zeros(len(rows))
            local[:, rows], found[rows] = simulated(fitted, forcing, weather, glacier, self._settings.index)
            self._known[key] = Base(fitted, local, found)
        return self._known[key]

    def layout(self, plain: FeedForward) -> IndexNet:
        """The network that nets are padded to, from that of plain ones."""
        outputs = len(CHANGES) if self._settings.form == "multipliers" else 1
        widths = tuple(max(w, outputs) for w in plain.widths)
        fixed = tuple(float(getattr(self._settings.index, n)) for n in SETTINGS)
        how: dict[str, Any] = {"form": self._settings.form, "fixed": fixed, "snowfall": self._snowfall}
        how["months"] = any(self._settings.months)
        return IndexNet(plain.predictors, widths, outputs, **how)


def simulated(
    fitted: Fitted, forcing: dict[str, Floats], weather: Weather, glacier: Texts, settings: TemperatureIndex
) -> tuple[Floats, Floats]:
    """What an index makes of rows: the `local` of `Index`, (4, row), and their balance, (row,), m w.e."""
    fixed = {n: float(getattr(settings, n)) for n in SETTINGS}
    departure = fitted.climate.departure(weather)
    parameters = filled(fitted.value, fixed)
    flat = parameters.copy()
    flat[4] = 0.0  # the gradient of precipitation acts on bands, not on rows
    bias, water = at_rows(forcing, flat, departure)
    offset, amplitude = fitted.calibration.at(glacier)
    shift = offset - amplitude * fitted.calibration.centre
    count = len(departure)
    local = np.stack([np.broadcast_to(np.ravel(a), count) for a in (bias, water, 1 + amplitude, shift)])
    plain = balance(forcing, fitted.value, fixed, departure)
    return local, fitted.calibration.balance(plain, glacier)


def factors_of(fitted: Fitted) -> Floats:
    """The `base` of `Index`: degree-day factor of ice, ratio of that of snow, gradient of precipitation, (3,)."""
    return np.asarray(fitted.value[[0, 3, 4]])
