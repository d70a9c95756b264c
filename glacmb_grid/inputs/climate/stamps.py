"""The stream (final or preliminary) of climate records, and one record for every month."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing

Expver = Literal["prefer_final", "final"]
Months = npt.NDArray[np.datetime64]

FINAL, PRELIMINARY = 1, 5
STORE = "MONTHS.zarr"
COMMAND = f"glacmb-grid ingest CONFIG {STORE}"
"""What `check` replaces by the file of the configuration and a store beside it."""
_FEWEST_DAYS, _MOST_DAYS = 28, 31
STREAM = "stream"  # coordinate along time: FINAL or PRELIMINARY


def made_of(records: int = 0) -> str:
    """What makes months of daily or hourly fields, by the number of records in a month."""
    daily, hourly = (_FEWEST_DAYS * n <= records <= _MOST_DAYS * n for n in (1, 24))
    if not daily and not hourly:
        return f"`{COMMAND} --from daily` (or `--from hourly`) makes months of daily or hourly fields"
    kind = "daily`" if daily else "hourly --accumulation of_the_hour` (ERA5-Land: `since_midnight`)"
    return f"`{COMMAND} --from {kind} makes months of such fields, then `climate: {{files: {STORE}}}`"


def labelled(piece: xr.DataArray, months: Months, expver: Expver, where: str) -> xr.DataArray:
    """Records of one source, (time, ...) or (time, expver, ...), at the first of these months and with their stream."""
    piece = _without_dimension(piece, where) if "expver" in piece.dims else _labelled(piece, where)
    stream = piece[STREAM].values
    piece = piece.drop_vars([c for c in piece.coords if c not in piece.dims])
    piece = piece.assign_coords({"time": months.astype("datetime64[ns]"), STREAM: ("time", stream)})
    return piece.isel(time=np.flatnonzero(stream == FINAL)) if expver == "final" else piece


def _labels(values: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.int64]:
    """Streams 1 and 5 from integers, floats, text or bytes such as `0005`."""
    texts = [v.decode() if isinstance(v, bytes) else str(v) for v in np.atleast_1d(values)]
    try:
        labels = np.array([int(float(t)) for t in texts])
    except ValueError:
        labels = np.array([-1])
    if not np.isin(labels, (FINAL, PRELIMINARY)).all():
        raise InputError(
            f"{where}: expver",
            expected=f"{FINAL} (final) and {PRELIMINARY} (preliminary)",
            found=listing(sorted(set(texts))),
            remedy="remove records of other experiments",
        )
    return labels


def _labelled(piece: xr.DataArray, where: str) -> xr.DataArray:
    labels = _labels(piece["expver"].values, where) if "expver" in piece.coords else np.array([FINAL])
    return piece.assign_coords({STREAM: ("time", np.broadcast_to(labels, piece.sizes["time"]))})


def _without_dimension(piece: xr.DataArray, where: str) -> xr.DataArray:
    """One record per time without the `expver` dimension: the final one, or the preliminary one if that is empty."""
    labels = _labels(piece["expver"].values, where)
    if len(set(labels)) < len(labels):
        raise InputError(
            f"{where}: expver", expected="each stream once", found=listing(labels), remedy="download the file again"
        )
    streams = {int(v): piece.isel(expver=i, drop=True) for i, v in enumerate(labels)}
    if len(streams) == 1:
        ((label, only),) = streams.items()
        return only.assign_coords({STREAM: ("time", np.full(only.sizes["time"], label))})
    final = streams[FINAL]
    order = np.argsort(piece["time"].values, kind="stable")
    has_final = np.zeros(len(order), bool)
    has_final[order[: _finished(final, order)]] = True
    chosen = final.where(xr.DataArray(has_final, dims="time"), streams[PRELIMINARY])
    return chosen.assign_coords({STREAM: ("time", np.where(has_final, FINAL, PRELIMINARY))})


def _finished(final: xr.DataArray, order: npt.NDArray[np.int64]) -> int:
    """Number of months of the final stream, by bisection: the preliminary stream begins after it."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if bool(final.isel(time=order[middle]).notnull().any()):
            low = middle + 1
        else:
            high = middle
    return low


def one_a_month(variable: xr.DataArray, where: str) -> xr.DataArray:
    """Every month from the first to the last exactly once, sorted; the final record if a month has both.

    Raises an InputError for missing months, or several records of a month from one stream.
    """
    variable = preferred(variable, variable["time"].values.astype("datetime64[M]"), where)
    months = variable["time"].values.astype("datetime64[M]")
    values, counts = np.unique(months, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"{where}: time",
            expected="every month once",
            found=f"more than once: {listing(values[counts > 1])}",
            remedy=f"remove the duplicate files or records; {made_of(int(counts.max()))}",
        )
    gaps = np.setdiff1d(np.arange(values[0], values[-1] + np.timedelta64(1, "M")), values)
    if len(gaps):
        raise InputError(
            f"{where}: time",
            expected=f"every month from {values[0]} to {values[-1]}",
            found=f"{len(gaps)} missing: {listing(gaps)}",
            remedy="download the missing months",
        )
    variable = variable.drop_vars(STREAM)
    return variable if (np.diff(months) > np.timedelta64(0, "M")).all() else variable.sortby("time")


def at(records: xr.DataArray, positions: npt.NDArray[np.int64]) -> xr.DataArray:
    """Records at these positions; by a slice where they follow each other, so that chunks stay as they are."""
    if len(positions) and (np.diff(positions) == 1).all():
        return records.isel(time=slice(int(positions[0]), int(positions[-1]) + 1))
    return records.isel(time=positions)


def within(time: xr.DataArray, years: tuple[int, int], where: str) -> npt.NDArray[np.int64]:
    """Positions of the records of these calendar years; an InputError if there are none."""
    of = time.dt.year.values
    inside = (of >= years[0]) & (of <= years[1])
    if not inside.any():
        raise InputError(
            f"{where}: time",
            expected=f"months of `climate: {{years: [{years[0]}, {years[1]}]}}`",
            found=f"{str(time.values.min())[:7]} to {str(time.values.max())[:7]}",
            remedy="name years that the files hold",
        )
    return np.flatnonzero(inside)


def preferred(variable: xr.DataArray, times: Months, where: str) -> xr.DataArray:
    """Records without preliminary ones of times that have a final one; an InputError if there are none at all."""
    if not len(times):
        raise InputError(
            f"{where}: time",
            expected="at least one month of the final stream",
            found="only preliminary months",
            remedy="wait for the final stream, or set `climate: {expver: prefer_final}`",
        )
    final = variable[STREAM].values == FINAL
    keep = final | ~np.isin(times, times[final])
    return variable if keep.all() else variable.isel(time=np.flatnonzero(keep))
