"""Times that no library gives as dates of our calendar: months since a date, and the calendars of climate models."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

_SINCE = re.compile(r"\s*months?\s+since\s+(\d{1,4})-(\d{1,2})(?:-(\d{1,2}))?(?:[T\s].*)?$", re.IGNORECASE)
_SAME = 0.01  # of a month


def with_months_decoded(ds: xr.Dataset) -> xr.Dataset | None:
    """A Dataset whose `months since` coordinates, and their bounds, are dates; None if it has none that can be read.

    Parameters
    ----------
    ds : xr.Dataset
        Opened with `decode_times=False`.

    Notes
    -----
    `months since 1801-01-01` counts calendar months here: 0.5 lies in the middle of January 1801. UDUNITS means a
    twelfth of a mean year, 30.44 days, whose fractions differ from record to record: such times are not read.
    """
    found = {str(n): s for n, v in ds.variables.items() if (s := _SINCE.match(str(v.attrs.get("units", ""))))}
    dates: dict[str, tuple[Any, ...]] = {}
    for name, since in found.items():
        bounds = str(ds[name].attrs.get("bounds", ""))
        for one in (name, bounds) if bounds in ds.variables else (name,):
            decoded = _dates(ds[one].values, since)
            if decoded is None:
                return None
            kept = {k: v for k, v in ds[one].attrs.items() if k not in ("units", "calendar")}
            dates[one] = (ds[one].dims, decoded, kept)
    return (
        ds.assign({n: d for n, d in dates.items() if n in ds.data_vars}).assign_coords(
            {n: d for n, d in dates.items() if n not in ds.data_vars}
        )
        if dates
        else None
    )


def _dates(values: npt.NDArray[Any], since: re.Match[str]) -> npt.NDArray[Any] | None:
    year, month, day = int(since[1]), int(since[2]), int(since[3] or 1)
    numbers = values.astype(np.float64)
    if not 1 <= month <= 12 or not 1 <= day <= 31 or not np.isfinite(numbers).all() or not numbers.size:
        return None
    whole = np.floor(numbers + _SAME)
    part = numbers - whole
    if np.ptp(part) > _SAME:
        return None
    first = np.datetime64(f"{year:04d}-{month:02d}", "M") + whole.astype("timedelta64[M]")
    start = first.astype("datetime64[s]")
    length = (first + np.timedelta64(1, "M")).astype("datetime64[s]") - start
    fraction = (part.clip(min=0) * (length / np.timedelta64(1, "s"))).round().astype("timedelta64[s]")
    return np.asarray(start + np.timedelta64(day - 1, "D") + fraction)


def model_calendar(values: npt.NDArray[Any]) -> str:
    """The calendar of dates that are not of the standard one, else an empty text."""
    first = values.flat[0] if values.dtype == object and values.size else None
    return str(getattr(first, "calendar", ""))


def standard_dates(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Dates of the same names in the standard calendar; 30 February and the like become the last day."""
    out = np.empty(values.shape, "datetime64[s]")
    for i, date in np.ndenumerate(values):
        month = np.datetime64(f"{date.year:04d}-{date.month:02d}", "M")
        days = ((month + np.timedelta64(1, "M")).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(int)
        day = month.astype("datetime64[D]") + np.timedelta64(min(date.day, int(days)) - 1, "D")
        out[i] = day.astype("datetime64[s]") + np.timedelta64(date.hour * 3600 + date.minute * 60 + date.second, "s")
    return out


def in_standard_calendar(ds: xr.Dataset, dim: str) -> xr.Dataset:
    """A Dataset whose dates of a climate model's calendar are those of the same names in ours."""
    dated = {n: v for n, v in ds.variables.items() if model_calendar(v.values if v.dtype == object else np.empty(0))}
    new = {n: xr.Variable(v.dims, standard_dates(v.values), v.attrs, v.encoding) for n, v in dated.items()}
    coords = {n: v for n, v in new.items() if n in ds.coords}
    return ds.assign({n: v for n, v in new.items() if n not in coords}).assign_coords(coords)
