"""Series that measured or modelled values cannot be: constant, stepped, without a drop for a year."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.vocabulary import VARIABLES
from glacmb_grid.years import days_in_month

Values = npt.NDArray[np.floating]
Cells = npt.NDArray[np.int64]

ALWAYS_CHANGING = ("t2m", "d2m", "sp", "u10", "v10", "ssrd", "strd")
"""Variables whose monthly values are never the same for a year; snow can be, over glaciers."""
_YEAR, _FEWEST = 12, 3  # months
_ROUNDING = 1e-6
_SUSPECTS = 50  # cells
_STEP = 8.0  # K, between the means of a year and of the year before it
_RATIO = 12.0  # of the precipitation of a year and of the year before it, where one of them is not small
_SMALL = 0.3  # m a year


def fault_of(series: Values, name: str, months: npt.NDArray[np.datetime64]) -> str:
    """What is wrong with a series of monthly values, (time,); empty if nothing is."""
    if len(series) < _YEAR or not np.isfinite(series).all():
        return ""
    if name in ALWAYS_CHANGING and (start := _run(np.diff(series) == 0, _YEAR - 1)) is not None:
        return (
            f"the same value, {series[start]:.6g}, in {_YEAR} months from {months[start]}: a fill that is not declared"
        )
    if name == "tp" and (start := _run(series == 0, _YEAR)) is not None:
        return f"exactly 0 in {_YEAR} months from {months[start]}: missing values, no drought"
    if len(series) < 2 * _YEAR:
        return ""
    total = np.convolve(series, np.ones(_YEAR), "valid")
    before, after = total[:-_YEAR], total[_YEAR:]
    if name in ("t2m", "d2m"):
        jump = (after - before) / _YEAR
        worst = int(np.argmax(np.abs(jump)))
        if abs(jump[worst]) > _STEP:
            return f"a step of {jump[worst]:+.1f} K in {months[worst + _YEAR]}: of another unit, place or product"
    if name == "tp":
        low, high = np.minimum(before, after), np.maximum(before, after)
        odd = (high > _SMALL) & (high > _RATIO * np.maximum(low, 0))
        if odd.any():
            first = int(np.argmax(np.where(odd, high / np.maximum(low, 1e-9), 0)))
            amounts = f"{before[first]:.3g} m in the year before {months[first + _YEAR]}, {after[first]:.3g} m after it"
            return f"{amounts}: of another unit or stream"
    return ""


def _run(hit: npt.NDArray[np.bool_], length: int) -> int | None:
    """Where the first run of at least this many hits begins."""
    if length > len(hit):
        return None
    full = np.convolve(hit.astype(np.int64), np.ones(length, np.int64), "valid") == length
    return int(np.argmax(full)) if full.any() else None


def held(series: Values, name: str, months: npt.NDArray[np.datetime64]) -> npt.NDArray[np.bool_]:
    """Which cells have one value in all months, as a month or per day, (cell,).

    Parameters
    ----------
    series : array, (time, cell)
        Some months; below three nothing is said.
    name : str
        A radiation of 0 is that of the polar night, and does not count.
    months : datetime64 array, (time,)
    """
    if len(series) < _FEWEST:
        return np.zeros(series.shape[1], bool)
    first = series[0]
    found = np.isfinite(first) & (series == first).all(axis=0)
    if VARIABLES[name].kind == "accumulated":
        daily = series / days_in_month(months)[:, None]
        found |= np.isfinite(first) & (np.abs(daily - daily[0]) <= _ROUNDING * np.abs(daily[0])).all(axis=0)
    return np.asarray(found & (first != 0) if name == "ssrd" else found)


def require_changing(few: xr.DataArray, where: str, whole: Callable[[Cells], xr.DataArray] | None = None) -> None:
    """Raise if cells hold one value all the time: a fill that is not declared, or what a lost chunk is read as.

    Parameters
    ----------
    few : xr.DataArray, (time, cell)
        Some months of a variable, in memory.
    where : str
        File and variable.
    whole : callable, optional
        Positions of cells -> all their months, (time, cell). Precipitation can be the same in a few months, so that all
        months of a few cells are looked at.
    """
    name = str(few.name)
    found = held(few.values, name, few["time"].values)
    count, of = few.sizes["time"], found.size
    if name not in ALWAYS_CHANGING:
        suspects = np.flatnonzero(found)[:: max(1, int(found.sum()) // _SUSPECTS)]
        if whole is None or not len(suspects):
            return
        every = whole(suspects).transpose("time", ...).compute()
        count, of = every.sizes["time"], len(suspects)
        if count < _YEAR:
            return
        found[:] = False
        found[suspects] = held(every.values, name, every["time"].values)
    if found.any():
        values = np.unique(few.values[0][found])
        raise InputError(
            where,
            expected="values that differ between months",
            found=f"{int(found.sum())} of {of} cells hold the same value in {count} months: "
            f"{listing(f'{v:.6g}' for v in values[:3])}, a fill that is not declared, or lost chunks",
            remedy=f"declare the stored fill (NetCDF: `ncatted -a _FillValue,{name},o,s,-32767 FILE`; Zarr: the "
            "attribute `_FillValue` of the array), or download it again",
        )
