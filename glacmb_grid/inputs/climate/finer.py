"""Months of daily or hourly fields: means of states, amounts of what accumulates, and positive degree days."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.climate.contract import Finer, Reading
from glacmb_grid.inputs.climate.months import Stamped, Times
from glacmb_grid.inputs.climate.stamps import STREAM, at, preferred
from glacmb_grid.vocabulary import MELTING_POINT, PDD, VARIABLES

_DAY, _HOUR, _SECOND = np.timedelta64(1, "D"), np.timedelta64(1, "h"), np.timedelta64(1, "s")
_MONTH = np.timedelta64(27, "D")  # the least step between monthly records
_HOURS = 24
_STAMPED = {
    "since_midnight": "; the amount of a day is stamped at 00:00 of the next",
    "of_the_hour": "; the amount of an hour is stamped at its end",
}
_NEVER_NEGATIVE = ("tp", "sf", "smlt", "ssr", "ssrd", "strd")
_DAYS, _CELLS = 6, 50  # that are looked at, in time and in each direction
_FALL = 1e-3  # of the largest value: what packing may change


def starts_of(stamped: Stamped, name: str, reading: Reading, where: str) -> Times:
    """The beginning of the day or hour that each record is of, (time,) datetime64[s].

    Raises
    ------
    InputError
        Another calendar; stamps within an hour; several records a day of daily fields; hourly amounts of a kind that
        was not said.
    """
    finer = reading.finer
    assert finer is not None
    if stamped.calendar:
        raise InputError(
            f"{where}: time",
            expected=f"{finer.adjective} records of the standard calendar",
            found=f"the calendar {stamped.calendar}",
            remedy="average them to months in their own calendar; months of such a calendar are read",
        )
    instants = stamped.instants.astype("datetime64[s]")
    summed = VARIABLES[name].kind == "accumulated"
    if finer.every == "day":
        return _days_of(instants, stamped, summed and finer.accumulation == "since_midnight", reading, where)
    on_hour = instants.astype("datetime64[h]").astype("datetime64[s]")
    if stamped.source == "bounds":
        return on_hour
    if (on_hour != instants).any():
        raise InputError(
            f"{where}: time",
            expected="records of full hours",
            found=f"one of {instants[on_hour != instants][0]}",
            remedy="average them to full hours, or to days and use `--from daily`",
        )
    if summed and finer.accumulation is None:
        raise InputError(
            f"{where}: {name}",
            expected="what its hourly values are amounts of",
            found="no `--accumulation`",
            remedy="add `--accumulation of_the_hour` (ERA5: the hour before the stamp) or "
            "`--accumulation since_midnight` (ERA5-Land: all since 00 UTC)",
        )
    return np.asarray(instants - _HOUR) if summed else on_hour


def _days_of(instants: Times, stamped: Stamped, of_day_before: bool, reading: Reading, where: str) -> Times:
    days = instants.astype("datetime64[D]")
    if len(np.unique(days)) < len(np.unique(instants)):
        raise InputError(
            f"{where}: time",
            expected="one record a day",
            found=f"{len(np.unique(instants))} records on {len(np.unique(days))} days",
            remedy="use `--from hourly` for hourly fields",
        )
    if of_day_before and stamped.source != "bounds":
        if (days != instants).any():
            raise InputError(
                f"{where}: time",
                expected="amounts since midnight stamped at 00:00 of the next day",
                found=f"one of {instants[days != instants][0]}",
                remedy="leave `--accumulation` out if each value is that of the day of its stamp",
            )
        days = days - _DAY
    elif reading.stamp == "end" and stamped.source != "bounds":
        days = (instants - _SECOND).astype("datetime64[D]")
    return days.astype("datetime64[s]")


def whole_months(records: xr.DataArray, name: str, finer: Finer, where: str) -> xr.DataArray:
    """Records of all days or hours of whole months, each once, sorted; amounts since midnight become those of days.

    A record that belongs to the month before the first or after the last, as that of 00:00, is left out.

    Raises
    ------
    InputError
        Records of another step, given twice or missing; amounts that are not of the kind that was said.
    """
    records = preferred(records, records["time"].values.astype("datetime64[s]"), where)
    time = records["time"].values.astype("datetime64[s]")
    order = np.argsort(time, kind="stable")
    records, time = at(records, order), time[order]
    hourly = finer.every == "hour"
    _require_step(time, hourly, where)
    if hourly and VARIABLES[name].kind == "accumulated":
        _require_as_declared(records, name, finer, where)
        if finer.accumulation == "since_midnight":
            last = np.flatnonzero((time - time.astype("datetime64[D]")) // _HOUR == _HOURS - 1)
            time = time[last].astype("datetime64[D]").astype("datetime64[s]")
            records, hourly = at(records, last), False
            if not len(last):
                raise InputError(
                    f"{where}: time",
                    expected="records of 00:00, each of the day before",
                    found="none",
                    remedy="download the hour 00:00 too",
                )
            records = records.assign_coords(time=time.astype("datetime64[ns]"))
    kept = _of_whole_months(time, _HOUR if hourly else _DAY, finer, f"{where}: time")
    return at(records, kept).drop_vars(STREAM, errors="ignore")


def _require_step(time: Times, hourly: bool, where: str) -> None:
    """Raise if records are monthly, or daily or of several hours where they should be hourly."""
    steps = np.diff(np.unique(time))
    if not len(steps) or steps.min() <= (_HOUR if hourly else _DAY):
        return
    least = steps.min()
    of = {True: "use `--from daily` for daily fields", False: "average them to days first and use `--from daily`"}
    raise InputError(
        f"{where}: time",
        expected=f"{'hourly' if hourly else 'daily'} records",
        found="monthly records" if least >= _MONTH else f"records every {least / _HOUR:g} hours",
        remedy="leave `--from` out for monthly fields" if least >= _MONTH else of[bool(least == _DAY)],
    )


def _of_whole_months(time: Times, step: np.timedelta64, finer: Finer, where: str) -> npt.NDArray[np.int64]:
    """Positions of the records of whole months; time is sorted."""
    values, counts = np.unique(time, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            where,
            expected=f"every {_word(step)} once",
            found=f"{int((counts > 1).sum())} given more than once: {_listed(values[counts > 1], step)}",
            remedy="remove the duplicate files or records",
        )
    first, last = _within_edges(values, step)
    missing = np.setdiff1d(_every(first, last, step), values)
    while len(missing) and finer.incomplete == "leave_out":
        of = _numbers(missing)
        if first not in of and last not in of:
            break
        first, last = (first + 1, last) if first in of else (first, last - 1)
        missing = np.setdiff1d(_every(first, last, step), values)
    if first > last:
        raise InputError(
            where,
            expected=f"at least one month with every {_word(step)}",
            found=f"{len(values)} records, {values[0]} to {values[-1]}",
            remedy="download whole months",
        )
    if len(missing):
        stamped = _STAMPED.get(finer.accumulation or "", "")
        raise InputError(
            where,
            expected=f"every {_word(step)} of {str(_start(first))[:7]} to {str(_start(last))[:7]}",
            found=f"{len(missing)} missing in {listing(np.unique(missing.astype('datetime64[M]')))}: "
            f"{_listed(missing, step)}{stamped}",
            remedy="download them; `--incomplete leave_out` leaves out such months at the beginning and the end",
        )
    return np.flatnonzero((time >= _start(first)) & (time < _start(last + 1)))


def _within_edges(values: Times, step: np.timedelta64) -> tuple[int, int]:
    """First and last month, counted from 1970, without those of which the record holds the nearest edge only."""
    month = _numbers(values)
    first, last = int(month[0]), int(month[-1])
    if first < last and month[1] > first and values[0] + step == _start(first + 1):
        first += 1
    if first < last and month[-2] < last and values[-1] == _start(last):
        last -= 1
    return first, last


def _numbers(times: Times) -> npt.NDArray[np.int64]:
    return times.astype("datetime64[M]").astype(np.int64)


def _start(month: int) -> np.datetime64:
    return np.datetime64(month, "M").astype("datetime64[s]")  # type: ignore[no-any-return]


def _every(first: int, last: int, step: np.timedelta64) -> Times:
    return np.arange(_start(first), _start(last + 1), step.astype("timedelta64[s]"))


def _word(step: np.timedelta64) -> str:
    return "day" if step == _DAY else "hour"


def _listed(times: Times, step: np.timedelta64) -> str:
    return listing(times.astype("datetime64[D]" if step == _DAY else "datetime64[m]"), 5)


def _require_as_declared(records: xr.DataArray, name: str, finer: Finer, where: str) -> None:
    """Raise if amounts since midnight fall within a day, or those of an hour never do; a few days and cells."""
    if name not in _NEVER_NEGATIVE:
        return
    day = records["time"].values.astype("datetime64[D]")
    days, begin, counts = np.unique(day, return_index=True, return_counts=True)
    whole = np.flatnonzero(counts == _HOURS)
    chosen = whole[np.unique(np.linspace(0, len(whole) - 1, _DAYS).astype(int))] if len(whole) else whole
    thin = {d: slice(None, None, -(-records.sizes[d] // _CELLS)) for d in records.dims if d != "time"}
    rises = 0
    for one in chosen:
        block = records.isel(thin | {"time": slice(begin[one], begin[one] + _HOURS)}).values
        steps = np.diff(block, axis=0)
        allowed = _FALL * np.nanmax(np.abs(block), initial=0.0)
        if (steps < -allowed).any():
            if finer.accumulation == "since_midnight":
                raise InputError(
                    f"{where}: {name}",
                    expected="amounts since midnight, which never fall within a day",
                    found=f"they fall on {days[one]}",
                    remedy="use `--accumulation of_the_hour`",
                )
            return
        rises += bool((steps > allowed).any())
    if finer.accumulation == "of_the_hour" and rises > 1:
        raise InputError(
            f"{where}: {name}",
            expected="amounts of single hours, which rise and fall",
            found=f"amounts that only rise, on each of {len(chosen)} days from {days[chosen[0]]}",
            remedy="use `--accumulation since_midnight`",
        )


def monthly(records: xr.DataArray, name: str) -> dict[str, xr.DataArray]:
    """Means over the days of each month, (time, ...) at its first; of `t2m` also the positive degree days, `pdd`.

    Parameters
    ----------
    records : xr.DataArray, (time, ...)
        Every day or hour of whole months, sorted; accumulated variables as if each were the mean of its month.
    name : str

    Notes
    -----
    pdd = sum over the days of max(T - 273.15 K, 0), K d, where T is the mean of a day (of its 24 hours).
    """
    time = records["time"].values.astype("datetime64[s]")
    per_day = _HOURS if len(time) > 1 and time[1] - time[0] == _HOUR else 1
    data = records.chunk().data if records.chunks is None else records.data
    if per_day > 1:
        hours = data.rechunk({0: per_day})
        days = (1,) * (len(time) // per_day)
        data = hours.map_blocks(_mean, dtype=np.float32, chunks=(days, *hours.chunks[1:]))
    months, counts = np.unique(time[::per_day].astype("datetime64[M]"), return_counts=True)
    data = data.rechunk({0: tuple(counts.tolist())})
    shape = ((1,) * len(months), *data.chunks[1:])
    coords = {n: c for n, c in records.coords.items() if "time" not in c.dims}
    coords["time"] = ("time", months.astype("datetime64[ns]"))
    made = {name: (_mean, dict(records.attrs))}
    if name == "t2m":
        known = VARIABLES[PDD]
        about = {"units": known.units, "long_name": f"{known.long_name}, amount per month", "origin": known.origin}
        made[PDD] = (_degree_days, about | {"cell_methods": "time: sum", "comment": "of daily means above 0 degC"})
    return {
        n: xr.DataArray(
            data.map_blocks(act, dtype=np.float32, chunks=shape), dims=records.dims, coords=coords, name=n, attrs=attrs
        )
        for n, (act, attrs) in made.items()
    }


def _mean(block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(block.mean(axis=0, keepdims=True, dtype=np.float64), np.float32)


def _degree_days(block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    above = np.maximum(block.astype(np.float64) - MELTING_POINT, 0)
    return np.asarray(above.sum(axis=0, keepdims=True), np.float32)
