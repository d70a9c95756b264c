"""The temperature-index model: the conventional baseline, and no straw man.

Monthly degree-day melt and solid precipitation on equal-area bands of the glacier's own hypsometry, with a snowpack
that melts before the ice beneath it. Three parameters are fitted on the training rows under weak priors: the
degree-day factor of ice, the precipitation factor and the temperature bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import least_squares

from glacmb_grid.errors import InputError
from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.search import fold_record, inner_prediction, prediction, side_by_side
from glacmb_grid.learning.table import table_of
from glacmb_grid.physics import positive_temperature, snow_fraction
from glacmb_grid.settings import TemperatureIndex
from glacmb_grid.vocabulary import MELTING_POINT

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PARAMETERS = ("degree_day_factor", "precipitation_factor", "temperature_bias")
_UNITS = ("m K-1 d-1", "1", "K")
_LOWEST = np.array([1e-4, 0.05, -8.0])
_HIGHEST = np.array([0.05, 10.0, 8.0])
_NO_MELT = 200.0  # K, where a series that is clipped at the melting point only says that it was colder
_SETTINGS = ("lapse_rate", "temperature_spread", "snow_threshold", "snow_spread", "snow_to_ice")


def balance(forcing: dict[str, Floats], parameters: Floats, settings: dict[str, float]) -> Floats:
    """Annual glacier-wide balance of each row, (row,), m w.e.

    Parameters
    ----------
    forcing : dict
        `temperature` (row, month) K and `precipitation` (row, month) m w.e. at the height `orography` (row,) m; `days`
        (row, month); `hypsometry` (row, band) m, bands of equal area.
    parameters : float64 array, (3,)
        Degree-day factor of ice (m w.e. K-1 d-1), precipitation factor, temperature bias (K).
    settings : dict
        `lapse_rate` (K m-1), `temperature_spread` (K), `snow_threshold` (degrees Celsius), `snow_spread` (K),
        `snow_to_ice` (ratio of the degree-day factors).

    Notes
    -----
    ``b = sum_m [p_f P_m s(T_m) - M_m]``; each month's potential melt first takes the snow of the year, at `snow_to_ice`
    times the factor of ice, then ice.

    References
    ----------
    Hock (2003), Temperature index melt modelling in mountain areas, J. Hydrol. 282.
    """
    factor, precipitation_factor, bias = parameters
    ratio = settings["snow_to_ice"]
    height = forcing["hypsometry"] - forcing["orography"][:, None]
    warmth = forcing["temperature"][:, None, :] - MELTING_POINT + bias + settings["lapse_rate"] * height[:, :, None]
    degree_days = positive_temperature(warmth, settings["temperature_spread"]) * forcing["days"][:, None, :]
    if "snowfall" in forcing:
        solid = forcing["snowfall"][:, None, :]
    else:
        solid = forcing["precipitation"][:, None, :] * snow_fraction(
            warmth, settings["snow_threshold"], settings["snow_spread"]
        )
    snowfall = precipitation_factor * np.broadcast_to(solid, warmth.shape)
    pack = np.zeros(height.shape)
    total = np.zeros(height.shape)
    for month in range(warmth.shape[2]):
        pack = pack + snowfall[:, :, month]
        potential = factor * ratio * degree_days[:, :, month]
        snowmelt = np.minimum(pack, potential)
        pack = pack - snowmelt
        total += snowfall[:, :, month] - snowmelt - (potential - snowmelt) / ratio
    return np.asarray(total.mean(axis=1))


def forcing_of(rows: xr.Dataset) -> dict[str, Floats]:
    """The forcing of rows as arrays.

    Raises
    ------
    InputError
        Where temperature or precipitation are not among the variables.
    """
    water = next((n for n in ("snowfall", "precipitation") if n in rows), None)
    if water is None or "temperature" not in rows or "days" not in rows:
        raise InputError(
            "models: temperature_index",
            expected="monthly temperature with precipitation or snowfall",
            found="none of them" if water is None and "temperature" not in rows else "only one of the two",
            remedy="add t2m and tp to the climate (or twelve monthly columns of each to the table), or take "
            "temperature_index out of `validation.models`",
        )
    forcing = {n: rows[n].values.astype(np.float64) for n in ("temperature", water, "days")}
    gaps = {n: int((~np.isfinite(v)).any(axis=-1).sum()) for n, v in forcing.items()}
    if any(gaps.values()):
        raise InputError(
            "models: temperature_index",
            expected="monthly values without gaps",
            found=", ".join(f"gaps of {n} in {c} rows" for n, c in gaps.items() if c),
            remedy="fill or remove these rows, or take temperature_index out of `validation.models`",
        )
    if rows["temperature"].attrs.get("clipped"):
        frozen = forcing["temperature"] <= MELTING_POINT
        forcing["temperature"] = np.where(frozen, _NO_MELT, forcing["temperature"])
    count = len(forcing["temperature"])
    for name, shape in (("orography", (count,)), ("hypsometry", (count, 1))):
        forcing[name] = rows[name].values.astype(np.float64) if name in rows else np.zeros(shape)
    return forcing


@dataclass(frozen=True)
class DegreeDays(Model):
    """Degree-day melt and solid precipitation over the hypsometry, with three fitted parameters."""

    settings_type: ClassVar = TemperatureIndex
    needs: ClassVar[tuple[str, ...]] = ("monthly_forcing",)

    def fit(self, task: Task) -> xr.Dataset:
        """Fit the three parameters in every fold by penalised least squares: `value` (fold, coefficient)."""
        table, forcing, folds = table_of(task.samples), forcing_of(task.samples), task.folds

        def value(seen: Bools) -> Floats:
            used = table.used_rows(seen)
            part = {n: v[used] for n, v in forcing.items()}
            return _fit_one(part, table.operator[seen][:, used], table.target[seen], self.settings, self._fixed)

        def inner(seen: Bools) -> Floats:
            return np.asarray(table.operator @ balance(forcing, value(seen), self._fixed))

        with side_by_side() as pool:
            values = list(pool.map(value, folds["fit"].values))
        found = fold_record(folds).assign(
            value=(("fold", "coefficient"), np.array(values)), inner_prediction=inner_prediction(folds, inner)
        )
        return found.assign_coords(coefficient=list(PARAMETERS), units=("coefficient", list(_UNITS)))

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Simulated balance, (fold, member, row), m w.e."""
        del below
        forcing = forcing_of(rows)
        folds = [balance(forcing, value, self._fixed) for value in parameters["value"].values]
        return prediction(np.array(folds)[:, None, :], parameters)

    @property
    def _fixed(self) -> dict[str, float]:
        return {n: float(getattr(self.settings, n)) for n in _SETTINGS}


def _fit_one(
    forcing: dict[str, Floats], operator: Any, target: Floats, settings: TemperatureIndex, fixed: dict[str, float]
) -> Floats:
    centre, spread = np.array(settings.prior_mean), np.array(settings.prior_sd)

    def residuals(standard: Floats) -> Floats:
        simulated = operator @ balance(forcing, centre + spread * standard, fixed)
        return np.concatenate([(simulated - target) / settings.residual_sd, standard])

    bounds = ((_LOWEST - centre) / spread, (_HIGHEST - centre) / spread)
    solution = least_squares(residuals, np.zeros(3), bounds=bounds, x_scale=1.0)
    return np.asarray(centre + spread * solution.x)
