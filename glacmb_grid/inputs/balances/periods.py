"""Dates of balances: how long their periods are, and to which hydrological year they belong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.tables import Column
from glacmb_grid.years import NORTHERN_START, SOUTHERN_START

Dates = npt.NDArray[np.datetime64]
Bools = npt.NDArray[np.bool_]
Periods = Literal["annual", "leave_out"]

YEAR_DAYS = 365.25
SHORTEST, LONGEST = 0.7, 1.45
"""Years of annual balances between floating dates."""
_FAR_DAYS = 45  # between the beginning of a period and of a hydrological year
_ISO = re.compile(r"(\d{4})-(\d{1,2})(?:-(\d{1,2}))?(?:[T ].*)?")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:\.0)?")
_DAY = r"\d{4}-\d{1,2}-\d{1,2}|\d{8}"
_PERIOD = re.compile(rf"({_DAY})\s*(?:_|/|to|-|\u2013)\s*({_DAY})")
_YEARS = re.compile(r"(\d{4})\s*(?:_|/|to|-|\u2013)\s*(\d{4})")
_MOST_TOLD = 4


def dates_of(column: Column, cells: pd.Series[str]) -> Dates:
    """Days of a column, (row,), NaT where blank or of an unknown month; ISO, or YYYYMMDD with 99 for what is unknown.

    Raises
    ------
    InputError
        Cells that are no such date.
    """
    codes, texts = pd.factorize(cells)
    days = [_day(str(text).strip()) for text in texts]
    broken = np.array([d is None for d in days], bool)[codes]
    if broken.any():
        raise InputError(
            column.where,
            expected="dates such as 2001-09-30 (or 20010930)",
            found=f"{listing(map(repr, column.cells(broken)), 4)} in {column.place(broken)}",
            remedy="write these dates as YYYY-MM-DD, or empty the cells" + _of_spreadsheet(column.cells(broken)),
        )
    return np.asarray(np.array(days, dtype="datetime64[D]")[codes])


def _of_spreadsheet(cells: Sequence[str]) -> str:
    """That all cells are days as spreadsheets count them, and which day the first is; empty if they are not."""
    numbers = [re.fullmatch(r"([1-9]\d{4})(\.0*)?", cell.strip()) for cell in cells]
    if not cells or not all(numbers) or numbers[0] is None:
        return ""
    day = np.datetime64("1899-12-30") + int(numbers[0][1])
    return f"; a spreadsheet's day {numbers[0][1]} is {day}: format its column as a date before it is saved as CSV"


def periods_of(column: Column, cells: pd.Series[str]) -> tuple[Dates, Dates, str]:
    """First and last day of periods such as `2000-01-01_2020-01-01`, (row,) each.

    Returns
    -------
    begin, end : datetime64[D] arrays, (row,)
    whole_years : str
        A cell such as `2000-2020`, taken from 1 January to 1 January; empty if there is none.

    Raises
    ------
    InputError
        Cells that are no such period.
    """
    codes, texts = pd.factorize(cells)
    known = [_ends(str(text).strip()) for text in texts]
    broken = np.array([pair is None for pair in known], bool)[codes]
    if broken.any():
        raise InputError(
            column.where,
            expected="periods such as 2000-01-01_2020-01-01 (or 2000-2020)",
            found=f"{listing(map(repr, column.cells(broken)), 4)} in {column.place(broken)}",
            remedy="write these periods so, or give columns of their first and last days, `begin` and `end`",
        )
    ends = [pair for pair in known if pair is not None]
    begin, end = (np.array([pair[k] for pair in ends], dtype="datetime64[D]")[codes] for k in (0, 1))
    return begin, end, next((text for text in (str(t).strip() for t in texts) if _YEARS.fullmatch(text)), "")


def _ends(text: str) -> tuple[np.datetime64, np.datetime64] | None:
    """First and last day of a period, None if it is none."""
    if match := _YEARS.fullmatch(text):
        days = [_day(f"{year}-01-01") for year in match.groups()]
    elif match := _PERIOD.fullmatch(text):
        days = [_day(day) for day in match.groups()]
    else:
        return None
    begin, end = days
    return None if begin is None or end is None or np.isnat(begin) or np.isnat(end) else (begin, end)


def _day(text: str) -> np.datetime64 | None:
    """The day that a text says, NaT for none or an unknown one, None if it is no date."""
    nothing = np.datetime64("NaT", "D")
    if text.lower() in ("", "nan", "na", "none", "null", "nat"):
        return nothing
    match = _ISO.fullmatch(text) or _COMPACT.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(part or 15) for part in match.groups())
    if month in (0, 99) or year == 9999:
        return nothing
    day = 15 if day in (0, 99) else day
    try:
        return np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "D")
    except ValueError:
        return None


def years_of(end: Dates) -> npt.NDArray[np.float64]:
    """The year in which a period ends, (row,); the first days of January belong to the year before."""
    year = (end - np.timedelta64(7, "D")).astype("datetime64[Y]").astype(np.float64) + 1970
    return np.where(np.isnat(end), np.nan, year)


def judge_periods(begin: Dates, end: Dates, year: npt.NDArray[np.int64], column: Column, periods: Periods) -> Bools:
    """Which balances are of one year; those of several years, or of a part of one, are left out or an error.

    Raises
    ------
    InputError or InputErrors
        A period that ends before it begins, of several years or of a part of one (unless `periods` is `leave_out`),
        most years other than those of the dates.
    """
    problems = Problems()
    dated = ~(np.isnat(begin) | np.isnat(end))
    length = np.where(dated, (end - begin).astype(np.float64) / YEAR_DAYS, 1.0)
    with problems.collect():
        _refuse(length <= 0, column, "periods that end after they begin", begin, end, "correct these dates")
    geodetic = (
        "; or compare the product with them, `observations: {geodetic: {path: FILE, columns: {change: COLUMN}}}` for "
        "sums over the period, `{rate: COLUMN}` for means per year"
    )
    for wrong, what, instead in (
        (length > LONGEST, "several years", geodetic),
        ((length > 0) & (length < SHORTEST), "a part of a year", ""),
    ):
        with problems.collect():
            if periods == "annual":
                remedy = (
                    f"balances of {what} are no annual ones: remove these rows, or leave them out with "
                    "`observations: {periods: leave_out}`" + instead
                )
                _refuse(wrong, column, "balances of one year", begin, end, remedy)
    problems.raise_if_any()
    annual = (length <= LONGEST) & (length >= SHORTEST)
    said = years_of(end)
    other = annual & np.isfinite(said) & (said != year)
    near = (end + np.timedelta64(31, "D")).astype("datetime64[Y]").astype(np.float64) + 1970 == year
    other &= ~near
    if other.sum() > 0.5 * np.isfinite(said).sum():
        remedy = (
            "a hydrological year is named after the year in which it ends: correct the column of years, or the dates"
        )
        _refuse(other, column, "years in which the periods end", begin, end, remedy, year)
    return annual


def _refuse(
    wrong: Bools,
    column: Column,
    expected: str,
    begin: Dates,
    end: Dates,
    remedy: str,
    year: npt.NDArray[np.int64] | None = None,
) -> None:
    if not wrong.any():
        return
    which = np.flatnonzero(wrong)[:_MOST_TOLD]
    spans = [f"{begin[i]} to {end[i]}" + (f" named {year[i]}" if year is not None else "") for i in which]
    raise InputError(
        column.where,
        expected=expected,
        found=f"{listing(spans)} in {column.place(wrong)}",
        remedy=remedy,
    )


def notes_on_periods(
    begin: Dates, end: Dates, year: npt.NDArray[np.int64], column: Column, latitude: npt.NDArray[np.float64]
) -> list[str]:
    """Notes on annual balances whose period begins far from the hydrological year, or that are named by another year.

    `latitude`, (row,), NaN if unknown, tells the hemisphere; without it both beginnings are compared.
    """
    notes = []
    dated = ~(np.isnat(begin) | np.isnat(end))
    months = np.where(np.isfinite(latitude), np.where(latitude >= 0, NORTHERN_START, SOUTHERN_START), 0)
    far = dated.copy()
    for first in (NORTHERN_START, SOUTHERN_START):
        asked = (months == first) | (months == 0)
        far &= ~asked | (_days_from(begin, first) > _FAR_DAYS)
    if far.any():
        i = int(np.flatnonzero(far)[0])
        notes.append(
            f"{column.where}: {int(far.sum())} of {len(far)} balances are of periods such as {begin[i]} to {end[i]}, "
            "and are joined to the climate of the hydrological year (October to September, in the southern hemisphere "
            f"April to March) unless `predictors: {{first_month: {int(str(begin[i])[5:7])}}}` says otherwise: "
            f"{column.place(far)}"
        )
    said = years_of(end)
    near = (end + np.timedelta64(31, "D")).astype("datetime64[Y]").astype(np.float64) + 1970 == year
    other = np.isfinite(said) & (said != year) & ~near
    if other.any():
        i = int(np.flatnonzero(other)[0])
        notes.append(
            f"{column.where}: {int(other.sum())} of {len(other)} balances end in another year than they are named by, "
            f"such as {end[i]} named {year[i]}: {column.place(other)}"
        )
    return notes


def _days_from(begin: Dates, first_month: int) -> npt.NDArray[np.float64]:
    """Days between a date and the nearest first day of a month, (row,)."""
    own = begin.astype("datetime64[Y]")
    starts = [
        (own + np.timedelta64(k, "Y")).astype("datetime64[M]") + np.timedelta64(first_month - 1, "M")
        for k in (-1, 0, 1)
    ]
    away = [np.abs((begin - s.astype("datetime64[D]")).astype(np.float64)) for s in starts]
    return np.asarray(np.where(np.isnat(begin), np.nan, np.minimum.reduce(away)))
