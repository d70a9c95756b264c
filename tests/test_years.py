"""Hydrological years, against dates counted one by one."""

from __future__ import annotations

import calendar
import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacmb_grid.years import (
    NORTHERN_START,
    SOUTHERN_START,
    calendar_months,
    complete_years,
    days_in_month,
    first_months,
    hydrological_year,
    months_since_epoch,
    start_month,
    summer_months,
    year_bounds,
)

FIRST_MONTHS = st.integers(1, 12)


def stamps(*texts):
    return np.array(texts, dtype="datetime64[ns]")


def months(first, last):
    """Both inclusive."""
    after = np.datetime64(last, "M") + np.timedelta64(1, "M")
    return np.arange(first, after, dtype="datetime64[M]").astype("datetime64[ns]")


@pytest.mark.parametrize(
    ("date", "first_month", "year", "position"),
    [
        ("2000-09-30T23:59:59", 10, 2000, 11),
        ("2000-10-01", 10, 2001, 0),
        ("2001-01-16T12:00", 10, 2001, 3),
        ("2001-09-15", 10, 2001, 11),
        ("2001-03-31", 4, 2001, 11),
        ("2001-04-01", 4, 2002, 0),
        ("2001-01-01", 1, 2001, 0),
        ("2001-12-31", 1, 2001, 11),
        ("2001-12-01", 12, 2002, 0),
        ("1969-12-31T23:00", 10, 1970, 2),
        ("1969-09-30", 10, 1969, 11),
        ("1950-10-01", 10, 1951, 0),
        ("1950-01-01", 1, 1950, 0),
        ("1958-03-15", 4, 1958, 11),
    ],
)
def test_year_and_position_of_a_date(date, first_month, year, position):
    found = hydrological_year(stamps(date), first_month)
    assert (int(found[0][0]), int(found[1][0])) == (year, position)


@given(st.dates(datetime.date(1700, 1, 1), datetime.date(2200, 12, 31)), FIRST_MONTHS)
def test_a_date_lies_within_the_bounds_of_its_year(date, first_month):
    year, position = hydrological_year(np.array([date], "datetime64[ns]"), first_month)
    start, end = year_bounds(year, first_month)[0]
    assert start <= np.datetime64(date) < end
    assert calendar_months(first_month)[position[0]] == date.month
    assert months_since_epoch(np.array([date], "datetime64[D]"))[0] == (date.year - 1970) * 12 + date.month - 1


@pytest.mark.parametrize("first_month", [0, 13, -1])
def test_an_impossible_first_month_is_refused(first_month):
    with pytest.raises(ValueError, match=r"1\.\.12"):
        hydrological_year(stamps("2000-01-01"), first_month)


@pytest.mark.parametrize(
    ("first_month", "expected"),
    [(10, ["1999-10-01", "2000-10-01"]), (4, ["1999-04-01", "2000-04-01"]), (1, ["2000-01-01", "2001-01-01"])],
)
def test_bounds_are_first_instants(first_month, expected):
    bounds = year_bounds(np.array([2000]), first_month)
    assert bounds.dtype == np.dtype("datetime64[D]")
    assert bounds.astype(str).tolist() == [expected]


@given(st.lists(st.integers(1900, 2100), min_size=1, max_size=5), FIRST_MONTHS)
def test_each_year_begins_where_the_one_before_ends(years, first_month):
    bounds = year_bounds(np.array(years), first_month)
    np.testing.assert_array_equal(bounds[:, 1], year_bounds(np.array(years) + 1, first_month)[:, 0])
    length = (bounds[:, 1] - bounds[:, 0]).astype(int)
    assert set(length.tolist()) <= {365, 366}


def test_only_whole_years_are_complete():
    time = months("1999-01", "2002-08")
    assert complete_years(time, 10).tolist() == [2000, 2001]
    assert complete_years(time, 4).tolist() == [2000, 2001, 2002]
    assert complete_years(time, 1).tolist() == [1999, 2000, 2001]


@given(st.integers(0, 47), FIRST_MONTHS)
def test_a_missing_month_takes_its_year_away_and_no_other(gap, first_month):
    time = months("1968-01", "1971-12")
    before = complete_years(time, first_month)
    lost = hydrological_year(time[[gap]], first_month)[0]
    after = complete_years(np.delete(time, gap), first_month)
    assert after.tolist() == [y for y in before if y != lost[0]]


def test_a_month_given_twice_does_not_replace_a_missing_one():
    time = months("1999-10", "2000-09")
    time[5] = time[6]
    assert complete_years(time, 10).size == 0


@pytest.mark.parametrize("offset", ["01T00", "15T00", "16T12", "28T23"])
def test_any_stamp_within_the_month_counts_for_it(offset):
    days, hours = int(offset[:2]) - 1, int(offset[3:])
    time = months("1969-10", "1971-09") + np.timedelta64(days, "D") + np.timedelta64(hours, "h")
    assert complete_years(time[::-1], 10).tolist() == [1970, 1971]
    year, position = hydrological_year(time, 10)
    assert year.tolist() == [1970] * 12 + [1971] * 12
    assert position.tolist() == [*range(12)] * 2


@given(st.integers(1700, 2200), st.integers(1, 12), st.integers(1, 28))
def test_days_of_a_month_are_those_of_the_calendar(year, month, day):
    stamp = stamps(f"{year}-{month:02d}-{day:02d}T12:00")
    assert days_in_month(stamp).tolist() == [calendar.monthrange(year, month)[1]]


def test_leap_februaries():
    assert days_in_month(stamps("1900-02-01", "1968-02-14", "1999-02-28", "2000-02-29")).tolist() == [28, 29, 28, 29]


def test_months_in_the_order_of_the_year():
    assert calendar_months(10) == [10, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert calendar_months(4) == [4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 2, 3]
    assert calendar_months(1) == [*range(1, 13)]


def test_the_usual_start_of_each_hemisphere():
    assert (NORTHERN_START, SOUTHERN_START) == (10, 4)
    assert [start_month(x) for x in (46.5, 0.0, -0.1, -50.0)] == [10, 10, 4, 4]


def test_first_months_by_hemisphere_or_as_given():
    assert first_months([46.5, 0.0, -0.1]).tolist() == [10, 10, 4]
    assert first_months([46.5, -33.0], 8).tolist() == [8, 8]
    assert (summer_months(46.0), summer_months(-33.0)) == ((6, 7, 8), (12, 1, 2))


def test_years_complete_in_both_hemispheres():
    time = months("1999-06", "2002-09")
    assert complete_years(time, 10).tolist() == [2000, 2001, 2002]
    assert complete_years(time, 4).tolist() == [2001, 2002]
    assert complete_years(time, np.array([10, 4, 10])).tolist() == [2001, 2002]
