"""Series that measured or modelled values cannot be: constant, stepped, without a drop for a year."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing

Values = npt.NDArray[np.floating]

ALWAYS_CHANGING = ("t2m", "d2m", "sp", "u10", "v10", "ssrd", "strd")
"""Variables whose monthly values are never the same for a year; snow can be, over glaciers."""
_YEAR = 12
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


def require_changing(cube: xr.Dataset, where: str) -> None:
    """Raise if cells hold one value all the time: a fill that is not declared, taken for data.

    Parameters
    ----------
    cube : xr.Dataset, (time, ...)
        Some months, at least three, in memory.
    """
    for name in ALWAYS_CHANGING:
        if name not in cube or cube.sizes["time"] < 3:
            continue
        values = cube[name].transpose("time", ...)
        same = ((values == values.isel(time=0)).all("time") & np.isfinite(values.isel(time=0))).values
        if same.any():
            held = np.unique(values.isel(time=0).values[same])
            raise InputError(
                f"{where}: {name}",
                expected="values that differ between months",
                found=f"{int(same.sum())} of {same.size} cells hold the same value in {cube.sizes['time']} months: "
                f"{listing(f'{v:.6g}' for v in held[:3])}, a fill that is not declared",
                remedy=f"declare the stored fill, `ncatted -a _FillValue,{name},o,s,-32767 FILE`, or download it again",
            )
