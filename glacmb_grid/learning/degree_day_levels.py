"""What calibrates a temperature index: offset and amplitude of all glaciers, and those of a glacier drawn to them.

``b = s + c + u[g] + (k - 1 + v[g]) (s - s0)``, with the simulated balance ``s``, its mean ``s0`` over the fitted
observations, the offset ``c`` and amplitude ``k`` of all glaciers, and the level ``u`` and amplitude ``v`` that glacier
``g`` adds. All have normal priors, so that the best values solve a linear system; a glacier that was not fitted on has
``u = v = 0``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.table import Bools, Floats, Integers, Table, Texts

_OFFSET_SD, _AMPLITUDE_SD = 1.0, 0.5  # of all glaciers: m w.e., 1


@dataclass(frozen=True)
class Calibration:
    """Offset and amplitude of all glaciers and of every fitted one.

    Attributes
    ----------
    centre : float, m w.e.
        Balance about which amplitudes stretch.
    everywhere : float64 array, (2,)
        Offset, m w.e., and what is added to an amplitude of 1.
    glaciers : str array, (glacier,), sorted
    own : float64 array, (glacier, 2)
        What a glacier adds to both.
    """

    centre: float
    everywhere: Floats
    glaciers: Texts
    own: Floats

    def balance(self, simulated: Floats, glacier: Texts) -> Floats:
        """Calibrated balance of rows, (row,), m w.e."""
        offset, amplitude = self.at(glacier)
        return np.asarray(simulated + offset + amplitude * (simulated - self.centre))

    def at(self, glacier: Texts) -> tuple[Any, Any]:
        """Offset, m w.e., and what is added to an amplitude of 1, of rows, (row,); numbers where all share them."""
        offset, amplitude = self.everywhere
        if not len(self.glaciers):
            return offset, amplitude
        at = np.searchsorted(self.glaciers, glacier).clip(max=len(self.glaciers) - 1)
        added = np.where((self.glaciers[at] == glacier)[:, None], self.own[at], 0.0)
        return offset + added[:, 0], amplitude + added[:, 1]

    def state(self) -> Arrays:
        """All that `from_state` needs, as arrays."""
        return {
            "calibration_centre": np.asarray(self.centre),
            "calibration_everywhere": self.everywhere,
            "calibration_glaciers": self.glaciers,
            "calibration_own": self.own,
        }

    @classmethod
    def from_state(cls, state: Arrays) -> Calibration:
        """The calibration from what `state` gave."""
        centre, everywhere, glaciers, own = (
            state[f"calibration_{n}"] for n in ("centre", "everywhere", "glaciers", "own")
        )
        return cls(float(centre), everywhere, glaciers.astype(str), own)


def unchanged() -> Calibration:
    """A calibration that changes nothing."""
    return Calibration(0.0, np.zeros(2), np.zeros(0, "<U1"), np.zeros((0, 2)))


def calibrated(
    simulated: Floats, table: Table, seen: Bools, residual_sd: float, spread: tuple[float, float] | None
) -> Calibration:
    """Fit the calibration to the seen observations.

    Parameters
    ----------
    simulated : float64 array, (row,), m w.e.
    table : Table
    seen : bool array, (sample,)
    residual_sd : float, m w.e.
    spread : tuple of float, optional
        Standard deviations of level (m w.e.) and amplitude between glaciers; without, all share offset and amplitude.
    """
    mine = np.flatnonzero(seen)
    if not len(mine):
        return unchanged()
    operator = table.operator[mine]
    observed, years = operator @ simulated, table.years[mine]
    centre = float(observed.sum() / years.sum()) if years.sum() else 0.0
    basis = np.column_stack([years, observed - centre * years]) / residual_sd
    error = (table.target[mine] - observed) / residual_sd
    glaciers, index = np.unique(table.rows.glacier[table.row[mine]], return_inverse=True)
    square = _sums(basis[:, :, None] * basis[:, None, :], index, len(glaciers))
    product = _sums(basis * error[:, None], index, len(glaciers))
    everywhere = np.diag([_OFFSET_SD**-2.0, _AMPLITUDE_SD**-2.0])
    if spread is None:
        common = np.linalg.solve(everywhere + square.sum(axis=0), product.sum(axis=0))
        return Calibration(centre, common, glaciers[:0], np.zeros((0, 2)))
    within = np.linalg.inv(square + np.diag(np.array(spread) ** -2.0))
    explained = square @ within  # what a glacier's own values take up is no evidence of those of all
    left = square - explained @ square
    aim = product - (explained @ product[:, :, None])[:, :, 0]
    common = np.linalg.solve(everywhere + left.sum(axis=0), aim.sum(axis=0))
    own = (within @ (product - square @ common)[:, :, None])[:, :, 0]
    return Calibration(centre, common, glaciers, own)


def _sums(values: Floats, index: Integers, count: int) -> Floats:
    """Sums over the observations of each glacier, (glacier, ...)."""
    flat = values.reshape(len(values), -1)
    sums = [np.bincount(index, column, count) for column in flat.T]
    return np.stack(sums, axis=1).reshape(count, *values.shape[1:]).astype(np.float64)
