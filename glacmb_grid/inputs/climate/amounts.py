"""What a declared stream makes of accumulated variables, beside what another one would have made."""

from __future__ import annotations

import numpy as np
import xarray as xr

from glacmb_grid.years import days_in_month

_TOLD = ("tp", "sf", "smlt", "ssrd", "strd")
_HOURS = 24


def annual_amounts(cube: xr.Dataset, *, where: str) -> list[str]:
    """A line for each accumulated variable whose unit does not say what it is a sum over.

    Parameters
    ----------
    cube : xr.Dataset, (time, ...)
        Amounts per month, with the attribute `stream` of `open_climate`; whole years count.
    where : str
        What the mean is taken over.
    """
    months = len(cube["time"]) // 12 * 12
    lines = []
    for name in _TOLD if months else ():
        stream = cube[name].attrs.get("stream") if name in cube else None
        if stream is None:
            continue
        monthly = cube[name].isel(time=slice(0, months))
        places = [d for d in monthly.dims if d != "time"]
        series = monthly.where(np.isfinite(monthly)).mean(places, dtype=np.float64).values
        days = days_in_month(monthly["time"].values)
        factors = {"daily_mean": days, "hourly_mean": days * _HOURS, "monthly_total": np.ones_like(days)}
        raw = series / factors[stream]
        yearly = {s: float(np.nansum(raw * f)) / (months // 12) for s, f in factors.items()}
        instead = ", ".join(f"{s} {v:.3g}" for s, v in yearly.items() if s != stream)
        unit = cube[name].attrs.get("units", "")
        lines.append(
            f"{name}: {yearly[stream]:.3g} {unit} a year over {where} with `accumulated: {stream}` ({instead})"
        )
    return lines
