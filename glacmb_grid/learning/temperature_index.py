"""The temperature-index model: the conventional baseline, and no straw man.

Monthly degree-day melt and solid precipitation on equal-area bands of the glacier's own hypsometry, with a snowpack
that melts before the ice beneath it. Three parameters are fitted on the training rows under weak priors: the
degree-day factor of ice, the precipitation factor and the temperature bias.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import least_squares

from glacmb_grid.errors import InputError
from glacmb_grid.learning.baselines import dense_operator
from glacmb_grid.physics import positive_temperature, snow_fraction
from glacmb_grid.settings import TemperatureIndex
from glacmb_grid.vocabulary import MELTING_POINT

Floats = npt.NDArray[np.float64]

PARAMETERS = ("degree_day_factor", "precipitation_factor", "temperature_bias")
_UNITS = ("m K-1 d-1", "1", "K")
_LOWEST = np.array([1e-4, 0.05, -8.0])
_HIGHEST = np.array([0.05, 10.0, 8.0])
_FORCING = ("temperature", "precipitation", "days", "orography", "hypsometry")
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
    snowfall = (
        precipitation_factor
        * forcing["precipitation"][:, None, :]
        * snow_fraction(warmth, settings["snow_threshold"], settings["snow_spread"])
    )
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
    missing = [n for n in _FORCING if n not in rows]
    if missing:
        raise InputError(
            "models: temperature_index",
            expected="monthly temperature (t2m), precipitation (tp) and a hypsometry",
            found=f"no {', '.join(missing)}",
            remedy="add t2m and tp to the climate, or take temperature_index out of `models.compare`",
        )
    return {n: rows[n].values.astype(np.float64) for n in _FORCING}


def fit_temperature_index(samples: xr.Dataset, folds: xr.Dataset, settings: TemperatureIndex, seed: int) -> xr.Dataset:
    """Fit the three parameters in every fold by penalised least squares.

    Returns
    -------
    xr.Dataset
        `value` (fold, coefficient); the fixed settings are attributes.
    """
    del seed
    forcing, operator, target = forcing_of(samples), dense_operator(samples), samples["mass_balance"].values
    fixed = {n: float(getattr(settings, n)) for n in _SETTINGS}
    values = []
    for mask in folds["fit"].values:
        seen = operator[mask]
        used = np.flatnonzero(np.abs(seen).sum(axis=0) > 0)
        part = {n: v[used] for n, v in forcing.items()}
        values.append(_fit_one(part, seen[:, used], target[mask], settings, fixed))
    return xr.Dataset(
        {"value": (("fold", "coefficient"), np.array(values))},
        coords={
            "fold": folds["fold"],
            "scheme": folds["scheme"],
            "coefficient": list(PARAMETERS),
            "units": ("coefficient", list(_UNITS)),
        },
        attrs=fixed,
    )


def _fit_one(
    forcing: dict[str, Floats], operator: Floats, target: Floats, settings: TemperatureIndex, fixed: dict[str, float]
) -> Floats:
    centre, spread = np.array(settings.prior_mean), np.array(settings.prior_sd)

    def residuals(standard: Floats) -> Floats:
        simulated = operator @ balance(forcing, centre + spread * standard, fixed)
        return np.concatenate([(simulated - target) / settings.residual_sd, standard])

    bounds = ((_LOWEST - centre) / spread, (_HIGHEST - centre) / spread)
    solution = least_squares(residuals, np.zeros(3), bounds=bounds, x_scale=1.0)
    return np.asarray(centre + spread * solution.x)


def predict_temperature_index(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """Simulated balance, (fold, member, row), m w.e."""
    forcing = forcing_of(rows)
    fixed = {n: float(parameters.attrs[n]) for n in _SETTINGS}
    folds = [balance(forcing, value, fixed) for value in parameters["value"].values]
    return xr.DataArray(
        np.array(folds)[:, None, :],
        dims=("fold", "member", "row"),
        coords={"fold": parameters["fold"], "scheme": parameters["scheme"]},
    )
