"""The temperature-index model: monthly degree-day melt and solid precipitation on bands of the hypsometry.

The bands have equal areas, and the snowpack melts before the ice beneath it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.physics import positive_temperature, snow_fraction
from glacmb_grid.vocabulary import MELTING_POINT

Floats = npt.NDArray[np.float64]

PARAMETERS = ("degree_day_factor", "precipitation_factor", "temperature_bias")
UNITS = ("m K-1 d-1", "1", "K")
LOWEST = np.array([1e-4, 0.05, -8.0])
HIGHEST = np.array([0.05, 10.0, 8.0])
FURTHER = ("snow_to_ice", "precipitation_gradient", "temperature_pull", "precipitation_pull")
"""Parameters that a form may fit beside those of `PARAMETERS`."""
FURTHER_UNITS = ("1", "km-1", "1", "1")
_NO_MELT = 200.0  # K, replaces values clipped at the melting point, which were colder by an unknown amount
_SLAB = 2048  # rows simulated at once
SETTINGS = ("lapse_rate", "temperature_spread", "snow_threshold", "snow_spread", "snow_to_ice")


def balance(
    forcing: dict[str, Floats], parameters: Floats, settings: dict[str, float], departure: Floats | None = None
) -> Floats:
    """Annual glacier-wide balance of each row, (row,), m w.e.

    Parameters
    ----------
    forcing : dict
        `temperature` (row, month) K and `precipitation` (row, month) m w.e. at the height `orography` (row,) m; `days`
        (row, month); `hypsometry` (row, band) m, bands of equal area.
    parameters : float64 array, (3,) or (7,)
        Degree-day factor of ice (m w.e. K-1 d-1), precipitation factor, temperature bias (K); then those of `FURTHER`.
    settings : dict
        `lapse_rate` (K m-1), `temperature_spread` (K), `snow_threshold` (degrees Celsius), `snow_spread` (K),
        `snow_to_ice` (ratio of the degree-day factors, where it is none of the parameters).
    departure : float64 array, (row, 4), optional
        Of the climate of each row's glacier from that of the fitted ones, see `Climate.departure`: the pulls act on
        what is within their reach, and what lies beyond is taken off.

    Notes
    -----
    ``b = sum_m [p_f P_m s(T_m) - M_m]``; each month's potential melt first takes the snow of the year, at `snow_to_ice`
    times the factor of ice, then ice.

    References
    ----------
    Hock (2003), Temperature index melt modelling in mountain areas, J. Hydrol. 282.
    """
    parameters, count = filled(parameters, settings), len(forcing["temperature"])
    factor, ratio = float(parameters[0]), float(parameters[3])
    out = np.empty(count)
    for first in range(0, count, _SLAB):
        slab = slice(first, first + _SLAB)
        part = {n: v[slab] for n, v in forcing.items()}
        bias, water = at_rows(part, parameters, None if departure is None else departure[slab])
        sums = sums_of(part, bias, settings)
        left = snow_left(sums, factor, water, ratio)
        out[slab] = balance_of(sums[:, 0], left, factor, water, ratio).mean(axis=1)
    return out


def filled(parameters: Floats, settings: dict[str, float]) -> Floats:
    """All parameters, (7,): those of `FURTHER` that are not given take the values at which they change nothing."""
    neutral = np.array([settings["snow_to_ice"], 0.0, 0.0, 0.0])
    return np.concatenate([parameters, neutral[len(parameters) - len(PARAMETERS) :]])


def at_rows(forcing: dict[str, Floats], parameters: Floats, departure: Floats | None) -> tuple[Any, Any]:
    """Temperature bias (row,), K, and precipitation factor (row, band) of rows; numbers where all rows share them."""
    _, precipitation_factor, bias, _, gradient, temperature_pull, precipitation_pull = (float(v) for v in parameters)
    water: Any = precipitation_factor
    if gradient:
        water = water * np.exp(gradient * height_of(forcing) / 1000)
    if departure is None:
        return bias, water
    away = departure[:, :2] * [temperature_pull, precipitation_pull] + departure[:, 2:]
    return (bias - away[:, 0], water * np.exp(-away[:, 1:])) if away.any() else (bias, water)


def height_of(forcing: dict[str, Floats]) -> Floats:
    """Height of the bands above the height that the forcing belongs to, (row, band), m."""
    return np.asarray(forcing["hypsometry"] - forcing["orography"][:, None])


def sums_of(forcing: dict[str, Floats], bias: float | Floats, settings: dict[str, float]) -> Floats:
    """Solid precipitation (m w.e.) and degree days (K d) from each month to the year's end, (2, month, row, band).

    `forcing` and `settings` are those of `balance`, and `bias` is added to the temperature, K, one for all rows or
    (row,).
    """
    height = height_of(forcing)
    celsius = forcing["temperature"].T - MELTING_POINT + bias
    warmth = celsius[:, :, None] + settings["lapse_rate"] * height
    out = np.empty((2, *warmth.shape))
    np.multiply(positive_temperature(warmth, settings["temperature_spread"]), forcing["days"].T[:, :, None], out=out[1])
    if "snowfall" in forcing:
        out[0] = forcing["snowfall"].T[:, :, None]
    else:
        solid = snow_fraction(warmth, settings["snow_threshold"], settings["snow_spread"])
        np.multiply(solid, forcing["precipitation"].T[:, :, None], out=out[0])
    for month in range(out.shape[1] - 2, -1, -1):
        out[:, month] += out[:, month + 1]
    return out


def snow_left(sums: Floats, factor: float, precipitation_factor: float | Floats, ratio: float) -> Floats:
    """Snow left at the end of the year, (row, band), m w.e.

    It is snowfall minus potential melt since the snowpack last vanished: the largest such difference over all months,
    at least 0.
    """
    left = np.zeros(sums.shape[2:])
    for snow, degree_days in zip(*sums, strict=True):
        np.maximum(left, precipitation_factor * snow - factor * ratio * degree_days, out=left)
    return left


def balance_of(year: Any, left: Any, factor: Any, precipitation_factor: Any, ratio: Any) -> Any:
    """Balance from the sums of the year and the snow left at its end, m w.e.; for arrays of NumPy and of JAX.

    Melt that the snow does not use up melts ice; `ratio` is that of the degree-day factors of snow and ice.
    """
    snow, degree_days = year[0], year[1]
    return left + (precipitation_factor * snow - left) / ratio - factor * degree_days


def forcing_of(rows: xr.Dataset, model: str = "temperature_index") -> dict[str, Floats]:
    """The forcing of rows as arrays, see `balance`; `model` is named in errors.

    Raises
    ------
    InputError
        If temperature or precipitation is missing or has gaps.
    """
    water = next((n for n in ("snowfall", "precipitation") if n in rows), None)
    if water is None or "temperature" not in rows or "days" not in rows:
        raise InputError(
            f"models: {model}",
            expected="monthly temperature with precipitation or snowfall",
            found="none of them" if water is None and "temperature" not in rows else "only one of the two",
            remedy="add t2m and tp to the climate (or twelve monthly columns of each to the table), or take "
            f"{model} out of `validation.models`",
        )
    forcing = {n: rows[n].values.astype(np.float64) for n in ("temperature", water, "days")}
    gaps = {n: int((~np.isfinite(v)).any(axis=-1).sum()) for n, v in forcing.items()}
    if any(gaps.values()):
        raise InputError(
            f"models: {model}",
            expected="monthly values without gaps",
            found=", ".join(f"gaps of {n} in {c} rows" for n, c in gaps.items() if c),
            remedy=f"fill or remove these rows, or take {model} out of `validation.models`",
        )
    if rows["temperature"].attrs.get("clipped"):
        frozen = forcing["temperature"] <= MELTING_POINT
        forcing["temperature"] = np.where(frozen, _NO_MELT, forcing["temperature"])
    count = len(forcing["temperature"])
    for name, shape in (("orography", (count,)), ("hypsometry", (count, 1))):
        forcing[name] = rows[name].values.astype(np.float64) if name in rows else np.zeros(shape)
    return forcing
