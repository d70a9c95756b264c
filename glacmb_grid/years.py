"""Hydrological-year arithmetic.

Hydrological year Y runs from the first day of its start month in Y-1 to the day before that month begins in Y
(start month 10: 1 October Y-1 .. 30 September Y; 4, for the southern hemisphere: 1 April Y-1 .. 31 March Y).
A start month of 1 makes it the calendar year Y.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NORTHERN_START, SOUTHERN_START = 10, 4
SEASONS = {"accumulation": range(7), "ablation": range(7, 12), "summer": range(8, 11), "annual": range(12)}
"""Months after the usual start of the hemisphere's year: October-April, May-September, June-August and all in the
northern, April-October, November-March, December-February and all in the southern hemisphere."""
FIRST_YEAR, LAST_YEAR = 1700, 2200  # years outside are errors of an input
Months = npt.NDArray[np.datetime64]
Integers = npt.NDArray[np.int64]


def start_month(latitude: float) -> int:
    """The usual first month of the hydrological year of a hemisphere."""
    return NORTHERN_START if latitude >= 0 else SOUTHERN_START


def first_months(latitude: npt.ArrayLike, first_month: int | None = None) -> Integers:
    """First month of the hydrological year of each glacier, (glacier,): the one given, or that of its hemisphere."""
    if first_month is not None:
        return np.full(np.shape(latitude), first_month, np.int64)
    return np.where(np.asarray(latitude) >= 0, NORTHERN_START, SOUTHERN_START).astype(np.int64)


def summer_months(latitude: float) -> tuple[int, ...]:
    """Calendar months of the summer of a hemisphere."""
    calendar = calendar_months(start_month(latitude))
    return tuple(calendar[p] for p in SEASONS["summer"])


def months_since_epoch(time: Months) -> Integers:
    """Months since January 1970 of dates, (time,)."""
    return time.astype("datetime64[M]").astype(np.int64)


def hydrological_year(time: Months, first_month: int) -> tuple[Integers, Integers]:
    """Year and position (0..11) within the hydrological year of each date.

    Parameters
    ----------
    time : datetime64 array, (time,)
    first_month : int
        1..12.

    Returns
    -------
    year, position : int arrays, (time,)
    """
    if not 1 <= first_month <= 12:
        raise ValueError(f"first month of the hydrological year must be 1..12, found {first_month}")
    since = months_since_epoch(time) - (first_month - 1)
    ends_next_year = 0 if first_month == 1 else 1
    return since // 12 + 1970 + ends_next_year, since % 12


def complete_years(time: Months, first_month: int | Integers) -> Integers:
    """Hydrological years of which all twelve months are present, sorted; with several first months, those of all."""
    complete = None
    for first in np.unique(first_month).tolist():
        year, position = hydrological_year(time, first)
        found = np.unique(np.stack([year, position]), axis=1)
        years, counts = np.unique(found[0], return_counts=True)
        own = years[counts == 12]
        complete = own if complete is None else np.intersect1d(complete, own)
    return np.asarray(complete if complete is not None else [], np.int64)


def year_bounds(years: Integers, first_month: int) -> Months:
    """First instant of each year and of the next, (year, 2) datetime64[D]."""
    ends_next_year = 0 if first_month == 1 else 1
    start = (np.asarray(years) - 1970 - ends_next_year) * 12 + first_month - 1
    return np.stack([start, start + 12], axis=-1).astype("datetime64[M]").astype("datetime64[D]")


def days_in_month(time: Months) -> Integers:
    """Number of days of the month of each date."""
    month = time.astype("datetime64[M]")
    days = (month + np.timedelta64(1, "M")).astype("datetime64[D]") - month.astype("datetime64[D]")
    return np.asarray(days.astype(np.int64))


def calendar_months(first_month: int) -> list[int]:
    """Calendar months in the order of the hydrological year."""
    return [(first_month - 1 + i) % 12 + 1 for i in range(12)]
