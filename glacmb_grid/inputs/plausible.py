"""Whether the values of a climate cube can be what their unit and the declared stream say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.vocabulary import VARIABLES, Variable
from glacmb_grid.years import days_in_month

Floats = npt.NDArray[np.float64]

_ANNUAL_PRECIPITATION = (0.1, 15.0)  # m per year, mean of the domain
_LARGEST_ANOMALY = 20.0  # K
_YEARS_TO_COMPARE = 5
_ANNUAL_SUNSHINE = (1.2e9, 1.2e10)  # J m-2 per year (40 to 380 W m-2)


def check_values(cube: xr.Dataset, *, source: str, annual_precipitation: tuple[float, float] | None = None) -> None:
    """Raise where values of (part of) a canonical cube cannot be what their unit says.

    Parameters
    ----------
    cube : xr.Dataset, (time, latitude, longitude)
        From `open_climate`; computed here, so give a few months for a quick look. Annual totals are judged from a
        year on.
    source : str
        Where the data came from, for the message.
    annual_precipitation : (float, float), optional
        Believable domain means, m per year.

    Raises
    ------
    InputErrors or InputError
        Temperature in degrees Celsius under the name of kelvin, precipitation in millimetres under the name of
        metres, sums per hour declared as sums per day, months without any value, and their like.
    """
    problems = Problems()
    annual = {"tp": (annual_precipitation or _ANNUAL_PRECIPITATION, "m"), "ssrd": (_ANNUAL_SUNSHINE, "J m-2")}
    for name in (str(n) for n in cube.data_vars if n in VARIABLES):
        with problems.collect():
            where = f"{source}: {name}"
            values = cube[name].values.astype(np.float64)
            _check_present(values, cube["time"].values, where)
            _check_range(values, cube["time"].values, VARIABLES[name], where)
            if name == "t2m":
                _check_steady(values, cube["time"].values, where)
            if name in annual:
                _check_annual(values, *annual[name], where)
    problems.raise_if_any()


def _check_present(values: Floats, time: npt.NDArray[np.datetime64], where: str) -> None:
    empty = ~np.isfinite(values).any(axis=(1, 2))
    if empty.all():
        raise InputError(
            where,
            expected="some valid values",
            found="only missing values",
            remedy="download the file again; check that the area holds land",
        )
    if empty.any():
        raise InputError(
            where,
            expected="some valid values in every month",
            found=f"{int(empty.sum())} month(s) without any: {listing(time[empty].astype('datetime64[M]'))}",
            remedy="download these months again, or leave the variable out of `climate.variables`",
        )


def _check_range(values: Floats, time: npt.NDArray[np.datetime64], known: Variable, where: str) -> None:
    accumulated = known.kind == "accumulated"
    if accumulated:
        values = values / days_in_month(time)[:, None, None]
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low < known.low or high > known.high:
        per = " per day" if accumulated else ""
        raise InputError(
            where,
            expected=f"monthly values{per} within {known.low:g}..{known.high:g} {known.units}",
            found=f"{low:.4g}..{high:.4g} after conversion; {_likely(known, low, high)}",
            remedy=f"declare the true unit, `climate: {{units: {{{known.name}: UNIT}}}}`, and check "
            "`climate.accumulated`",
        )


def _likely(known: Variable, low: float, high: float) -> str:
    if known.units == "K" and low > -100 and high < 70:
        return "these look like degrees Celsius"
    if known.units == "m" and known.kind == "accumulated" and high > known.high:
        return "these look like mm (kg m-2), or the stream is not what `climate.accumulated` declares"
    return "the unit attribute and the values disagree"


def _check_steady(values: Floats, time: npt.NDArray[np.datetime64], where: str) -> None:
    """No month of a region is tens of kelvin away from the same month of other years."""
    month = time.astype("datetime64[M]").astype(np.int64) % 12
    if len(month) < _YEARS_TO_COMPARE * 12:
        return
    level = np.nanmean(values, axis=(1, 2))
    usual = np.array([np.median(level[month == m]) for m in range(12)])[month]
    odd = np.abs(level - usual) > _LARGEST_ANOMALY
    if odd.any():
        raise InputError(
            where,
            expected=f"every month within {_LARGEST_ANOMALY:g} K of the same month of other years, in the mean",
            found=f"{listing(time[odd].astype('datetime64[M]'))}: up to {np.abs(level - usual).max():.1f} K away",
            remedy="download these months again: they are damaged or hold another variable or unit",
        )


def _check_annual(values: Floats, bounds: tuple[float, float], unit: str, where: str) -> None:
    whole = len(values) // 12 * 12
    if not whole:
        return
    per_year = float(np.nanmean(values[:whole])) * 12
    if not bounds[0] <= per_year <= bounds[1]:
        raise InputError(
            where,
            expected=f"a domain mean of {bounds[0]:g}..{bounds[1]:g} {unit} per year",
            found=f"{per_year:.3g} {unit} per year",
            remedy="check `climate.accumulated` (daily_mean, hourly_mean or monthly_total) and the unit; "
            "for an extreme region set `climate.annual_precipitation`",
        )
