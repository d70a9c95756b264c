"""The month of every record: by its bounds, else the time it is valid at, else its stamp."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.calendars import in_standard_calendar, model_calendar, standard_dates
from glacmb_grid.inputs.climate.contract import Stamp
from glacmb_grid.inputs.climate.stamps import made_of
from glacmb_grid.years import FIRST_YEAR, LAST_YEAR

Times = npt.NDArray[Any]  # datetime64
Source = Literal["bounds", "valid time", "stamp"]
Period = Literal["month", "day", "hour"]

DIMENSIONS = ("time", "valid_time", "forecast_reference_time", "date", "Time", "TIME", "T", "t")
_BOUNDS = ("time_bnds", "time_bounds", "time_bnd", "valid_time_bnds", "valid_time_bounds")
_OFFSET = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:UTC|GMT)?\s*([+-])(\d{1,2}):?(\d{2})?\s*$")
_LEAVE = "leave `--from` out for monthly fields, or use the other one of `--from daily` and `--from hourly`"
_SPANS = {"month": (27, 32, ""), "day": (1, 1, _LEAVE), "hour": (0.99 / 24, 1.01 / 24, _LEAVE)}  # days
EXAMPLE = "<instant>"
_ONLY_MIDNIGHT = (13, 14, 15, 16, 17, 19, 20, 22)  # hours of the last day at which no record of several hours ends
_DAY, _HOUR = np.timedelta64(86400, "s"), np.timedelta64(3600, "s")


@dataclass(frozen=True)
class Stamped:
    """Instants that tell the months of records, and what they are.

    Attributes
    ----------
    instants : datetime64[s] array, (time,)
        An instant of the month; with `bounds` its middle.
    source : {"bounds", "valid time", "stamp"}
    calendar : str
        Of a climate model whose years have other days, such as `noleap`; else empty.
    """

    instants: Times
    source: Source
    calendar: str = ""


def along_time(ds: xr.Dataset, where: str, every: Period = "month") -> tuple[xr.Dataset, Stamped | None]:
    """A Dataset whose records lie along `time`, and what tells their periods; None where it has no records.

    Raises
    ------
    InputError
        Dates that cannot be read, or bounds that are not one period (month, day or hour).
    """
    ds = ds.set_coords([n for n in ("time", "valid_time", "step", "forecast_reference_time") if n in ds.data_vars])
    dim = next((d for d in DIMENSIONS if d in ds.dims and (d in ds.coords or d in ds.data_vars)), None)
    if dim is None:
        dates = [str(d) for d in ds.dims if d in ds.coords and np.issubdtype(ds[d].dtype, np.datetime64)]
        dim = dates[0] if dates else None
    if dim is None:
        dim = next((d for d in ("valid_time", *DIMENSIONS) if d in ds.coords and ds[d].ndim == 0), None)
        if dim is None:
            return ds, None
        if "step" in ds.dims and ds.sizes["step"] > 1:
            dim = "step"
        else:
            ds = ds.expand_dims(dim)
    if "step" in ds.dims and dim != "step":
        ds = ds.squeeze("step") if ds.sizes["step"] == 1 else _one_record_a_step(ds, dim)
    shift = _local_time(ds[dim])
    calendar = model_calendar(ds[dim].values)
    if calendar:
        ds = in_standard_calendar(ds, dim)
    stamped = _by_bounds(ds, dim, shift, where, every) or _by_validity(ds, dim, shift, where)
    if stamped is None:
        instants = _dates(ds[dim], where).astype("datetime64[s]") + shift
        written = bool(np.issubdtype(ds[dim].dtype, np.number))  # a date such as 19840101 names its month
        stamped = Stamped(instants, "valid time" if written else "stamp")
    stamped = replace(stamped, calendar=calendar)
    others = [c for c in ("time", "valid_time", "step", "forecast_reference_time") if c in ds.coords and c != dim]
    ds = ds.drop_vars(others)
    return (ds if dim == "time" else ds.rename({dim: "time"})), stamped


def _one_record_a_step(ds: xr.Dataset, dim: str) -> xr.Dataset:
    """Records of several steps along one dimension."""
    valid = (ds[dim] + ds["step"]).rename("valid_time")
    flat = ds.assign_coords(valid_time=valid).stack(record=(dim, "step"), create_index=False)
    flat = flat.drop_vars([dim, "step"]).rename(record=dim)
    return flat.assign_coords({dim: (dim, flat["valid_time"].values)}).drop_vars("valid_time")


def _local_time(time: xr.DataArray) -> np.timedelta64:
    """The offset from UTC that the unit of time names, such as `hours since 1900-01-01 00:00:00 +01:00`."""
    found = _OFFSET.search(str(time.encoding.get("units", "")))
    if not found:
        return np.timedelta64(0, "s")
    seconds = int(found[2]) * 3600 + int(found[3] or 0) * 60
    return np.timedelta64(seconds if found[1] == "+" else -seconds, "s")


def _by_bounds(ds: xr.Dataset, dim: str, shift: np.timedelta64, where: str, every: Period) -> Stamped | None:
    time = ds[dim]
    given = str(time.attrs.get("bounds", time.encoding.get("bounds", "")))
    name = next((n for n in (given, *_BOUNDS) if n in ds.variables and ds[n].shape == (ds.sizes[dim], 2)), None)
    if name is None:
        return None
    bounds = ds[name]
    if not np.issubdtype(bounds.dtype, np.datetime64):
        units = {k: time.encoding[k] for k in ("units", "calendar") if k in time.encoding}
        if "units" not in units or not np.issubdtype(bounds.dtype, np.number):
            return None
        bounds = xr.decode_cf(xr.Dataset({"b": (bounds.dims, bounds.values, units)}))["b"]
        if model_calendar(bounds.values):
            bounds = bounds.copy(data=standard_dates(bounds.values))
        if not np.issubdtype(bounds.dtype, np.datetime64):
            return None
    edges = bounds.values.astype("datetime64[s]") + shift
    days = (edges[:, 1] - edges[:, 0]) / _DAY
    shortest, longest, remedy = _SPANS[every]
    odd = ~((days >= shortest) & (days <= longest))
    if odd.any():
        raise InputError(
            f"{where}: {name}",
            expected=f"time bounds of one {every} for every record",
            found=f"{listing(f'{d:g}' for d in np.unique(days[odd]))} day(s)",
            remedy=remedy or made_of(round(30 / float(days[odd].min())) if days[odd].min() > 0 else 0),
        )
    return Stamped(edges[:, 0] + (edges[:, 1] - edges[:, 0]) // 2, "bounds")


def _by_validity(ds: xr.Dataset, dim: str, shift: np.timedelta64, where: str) -> Stamped | None:
    """By `valid_time`, or the start of the forecast and its step; a step of a month is the month itself."""
    step = ds["step"] if "step" in ds.coords and dim != "step" else None
    steps = None
    if step is not None and np.issubdtype(step.dtype, np.timedelta64):
        steps = np.broadcast_to(step.values, ds.sizes[dim]).astype("timedelta64[s]")
    if dim == "step":
        start = next((ds[n].values for n in ("time", "forecast_reference_time") if n in ds.coords), None)
        valid = ds["valid_time"].values if "valid_time" in ds.coords else None
        if valid is None and start is not None:
            valid = start + ds["step"].values
        if valid is None:
            return None
        return Stamped(np.asarray(valid).astype("datetime64[s]") + shift, "valid time")
    whole = steps is not None and bool(((steps >= 27 * _DAY) & (steps <= 32 * _DAY)).all())
    if steps is not None and whole and np.issubdtype(ds[dim].dtype, np.datetime64) and dim != "valid_time":
        return Stamped(_dates(ds[dim], where).astype("datetime64[s]") + shift + steps // 2, "bounds")
    if dim != "valid_time" and "valid_time" in ds.coords and ds["valid_time"].dims in ((dim,), ()):
        valid = np.broadcast_to(_dates(ds["valid_time"], where), ds.sizes[dim])
        return Stamped(valid.astype("datetime64[s]") + shift, "valid time")
    if steps is not None and dim in ("time", "forecast_reference_time"):
        return Stamped(_dates(ds[dim], where).astype("datetime64[s]") + steps + shift, "valid time")
    return None


def _dates(time: xr.DataArray, where: str) -> Times:
    """Dates of a coordinate; also of numbers such as 19840101 and 198401."""
    values = np.atleast_1d(time.values)
    if np.issubdtype(values.dtype, np.datetime64) and values.size and not np.isnat(values).any():
        return values
    if np.issubdtype(values.dtype, np.number) and (written := _written(values)) is not None:
        return written
    missing = int(np.isnat(values).sum()) if np.issubdtype(values.dtype, np.datetime64) else 0
    raise InputError(
        f"{where}: {time.name}",
        expected="a date of the standard calendar for every record",
        found=f"{missing} of {values.size} records without a date"
        if missing or not values.size
        else f"{values.dtype} values such as {values[0]}",
        remedy="give time a CF unit such as `hours since 1900-01-01` and a standard calendar",
    )


def _written(values: npt.NDArray[Any]) -> Times | None:
    """Dates that are written as YYYYMMDD or YYYYMM; None if the numbers are no dates."""
    if not values.size or not np.isfinite(values.astype(np.float64)).all():
        return None
    numbers = values.astype(np.int64)
    if not np.array_equal(numbers, values):
        return None
    days = numbers % 100 if numbers.min() > 10**7 else np.ones_like(numbers)
    months = numbers // 100 if numbers.min() > 10**7 else numbers
    years, month = months // 100, months % 100
    good = (years >= FIRST_YEAR) & (years <= LAST_YEAR) & (month >= 1) & (month <= 12) & (days >= 1) & (days <= 31)
    if not good.all():
        return None
    first = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1).astype("timedelta64[M]")
    dates = first.astype("datetime64[D]") + (days - 1).astype("timedelta64[D]")
    return dates if (dates.astype("datetime64[M]") == first).all() else None


def months_of(stamped: Stamped, stamp: Stamp | None, *, ecmwf: bool, where: str) -> tuple[Times, str]:
    """The month of every record, (time,) datetime64[M], and a note where the files leave a choice.

    In the note, `EXAMPLE` stands for the instant of a record, so that it is the same for all files of one kind.

    Parameters
    ----------
    stamped : Stamped
    stamp : {"start", "within", "end"}, optional
        `climate.stamp`; counts where there are no bounds.
    ecmwf : bool
        Whether the Centre's own software wrote the records: it stamps the first instant of a month.
    where : str

    Raises
    ------
    InputError
        Records that are stamped like single hours, or dates out of range.
    """
    instants, note = stamped.instants, ""
    if stamped.source != "bounds":
        if stamp is None:
            stamp, note = _choice(stamped, ecmwf, where)
        instants = instants + {"start": _DAY, "within": 0 * _DAY, "end": -_DAY}[stamp]
    months = instants.astype("datetime64[M]")
    years = months.astype("datetime64[Y]").astype(np.int64) + 1970
    if years.min() < FIRST_YEAR or years.max() > LAST_YEAR:
        raise InputError(
            f"{where}: time",
            expected=f"years within {FIRST_YEAR}..{LAST_YEAR}",
            found=f"{years.min()}..{years.max()}",
            remedy=f"correct the unit of time if it is wrong; cut longer records, `cdo selyear,{FIRST_YEAR}/2020`",
        )
    return months, note


def _choice(stamped: Stamped, ecmwf: bool, where: str) -> tuple[Stamp, str]:
    """How stamps are read that say nothing else, and the note about it."""
    days = stamped.instants.astype("datetime64[D]")
    hour = np.unique((stamped.instants - days) / _HOUR)
    on_first = (days == days.astype("datetime64[M]").astype("datetime64[D]")).all()
    tomorrow = days + np.timedelta64(1, "D")
    on_last = (tomorrow == (days.astype("datetime64[M]") + np.timedelta64(1, "M")).astype("datetime64[D]")).all()
    hours = "read as the mean of that month; make sure that it is no single hour"
    if on_last and len(hour) == 1 and hour[0] in _ONLY_MIDNIGHT:
        return "start", _note("the month that begins then (local midnight)", "within", "it ended then")
    if on_last and hour.min() >= 12:
        if ecmwf and stamped.source == "stamp":  # the start of the forecast of the first day
            return "start", f"stamped like {EXAMPLE}, the start of a forecast: read as the month that follows"
        return "within", _note("the month that ends then", "start", "it begins then (local midnight)")
    if on_first and stamped.source == "stamp" and not ecmwf and hour.max() == 0:
        return "within", _note("the month that begins then", "end", "it ended then")
    if on_first and hour.max() > 0 and not set(hour) <= {0.0, 6.0}:
        if ecmwf:
            raise single_hour(where, f"records of {listing(f'{h:g}:00' for h in hour)} on the first of the month")
        return "within", f"stamped like {EXAMPLE}: {hours}"
    if ecmwf and set(days - days.astype("datetime64[M]").astype("datetime64[D]")) == {np.timedelta64(1, "D")}:
        return "within", f"stamped like {EXAMPLE}, as the by-hour stream stamps its last hour: {hours}"
    return "within", ""


def _note(read: str, other: str, otherwise: str) -> str:
    return f"stamped like {EXAMPLE}: read as {read}; set `climate: {{stamp: {other}}}` if {otherwise}"


def single_hour(where: str, found: str) -> InputError:
    """The error for records that are no means of a month."""
    return InputError(
        where,
        expected="means (or sums) of whole months",
        found=found,
        remedy=f"download `monthly_averaged_reanalysis`; {made_of()}; if you averaged "
        "them yourself, say so in the file: "
        "`ncatted -a cell_methods,VARIABLE,o,c,'time: mean' FILE`, or give time bounds of the months",
    )


# ---- what betrays records that are no monthly means ----

_STREAM = re.compile(r"\"?stream\"?[\"':=\s\[-]+([a-z]{4})\b")
_MONTHLY = ("moda", "edmo", "wamd", "ewmo", "mofc", "msmm", "mmsf", "mmsa", "swmm")
_STREAMS = {
    "mnth": "monthly means by hour of day (stream mnth)",
    "edmm": "monthly means by hour of day (stream edmm)",
    "wamo": "monthly means by hour of day (stream wamo)",
    "oper": "hourly fields (stream oper)",
    "enda": "three-hourly fields (stream enda)",
    "wave": "hourly fields (stream wave)",
    "lwda": "hourly fields (stream lwda)",
}
_STEP_TYPES = {"instant": "single instants (stepType instant)", "accum": "sums of a forecast step (stepType accum)"}
_FREQUENCIES = ("day", "daily", "1hr", "3hr", "6hr", "hourly", "subhr", "PT1H", "P1D", "PT3H", "PT6H")


def require_monthly(ds: xr.Dataset, fields: Sequence[xr.DataArray], where: str) -> None:
    """Raise if attributes, the history or the name of the file betray records that are no means of a month."""
    methods = [str(f.attrs.get("cell_methods", "")) for f in fields]
    if any("time: point" in m for m in methods):
        raise single_hour(where, "single instants (cell_methods time: point)")
    if methods and all(re.search(r"time: (mean|sum)", m) for m in methods):
        return
    said = [str(f.attrs.get("GRIB_stream", "")) for f in fields]
    said += _streams_in(ds.attrs, where.rsplit("/", 1)[-1])
    if any(s in _MONTHLY for s in said):
        return
    for text in said:
        if text in _STREAMS:
            raise single_hour(where, _STREAMS[text])
    for field in fields:
        kind = str(field.attrs.get("GRIB_stepType", ""))
        if kind in _STEP_TYPES:
            raise single_hour(f"{where}: {field.name}", _STEP_TYPES[kind])
    frequency = str(ds.attrs.get("frequency", ds.attrs.get("time_coverage_resolution", "")))
    if frequency in _FREQUENCIES:
        raise single_hour(where, f"records of frequency {frequency!r}")


def is_ecmwf(ds: xr.Dataset, fields: Sequence[xr.DataArray]) -> bool:
    """Whether ECMWF's software wrote it, which stamps a month by its first instant."""
    attributes = [*ds.attrs, *(k for f in fields for k in f.attrs)]
    history = str(ds.attrs.get("history", ""))
    return any(str(k).startswith("GRIB_") for k in attributes) or "grib_to_netcdf" in history


def _streams_in(attrs: Mapping[Any, Any], file: str) -> list[str]:
    return _STREAM.findall(str(attrs.get("history", ""))) + _STREAM.findall(file)


def facts_of(attrs: Mapping[Any, Any], file: str) -> list[Any]:
    """What the attributes and the name of a file say about its records; the rest of them is never read."""
    grib = sorted(str(k) for k in attrs if str(k).startswith("GRIB_"))
    frequency = str(attrs.get("frequency", attrs.get("time_coverage_resolution", "")))
    return [*_streams_in(attrs, file), grib, frequency, "grib_to_netcdf" in str(attrs.get("history", ""))]
