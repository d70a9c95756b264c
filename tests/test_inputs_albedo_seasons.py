"""Seasons of albedo, from series whose every value says its month and year."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.albedo import seasons_told, summer_albedo


def daily(first="1999-01-01", last="2004-12-31", glaciers=1, step=5, **attrs):
    """Albedo of `year - 2000 + month / 100` at every fifth day, so that a mean tells what it was made from."""
    days = np.arange(first, last, np.timedelta64(step, "D"), dtype="datetime64[D]")
    year = days.astype("datetime64[Y]").astype(int) + 1970
    month = days.astype("datetime64[M]").astype(int) % 12 + 1
    value = np.tile(year - 2000 + month / 100, (glaciers, 1))
    fields = {"albedo": value, "albedo_coverage": value * 0 + 0.5, "land": value * 0, "cloud": value * 0}
    return xr.Dataset(
        {n: (("glacier", "time"), v) for n, v in fields.items()},
        coords={"glacier": [f"g{i}" for i in range(glaciers)], "time": days.astype("datetime64[ns]")},
        attrs=attrs,
    )


def value(year, month):
    return year - 2000 + month / 100


def test_a_southern_december_belongs_to_the_year_of_its_january():
    found = summer_albedo(daily(), months=[12], latitude=[-33.0])
    assert float(found["albedo_mean"].sel(year=2001).item()) == pytest.approx(value(2000, 12))
    found = summer_albedo(daily(), latitude=[-33.0])
    assert float(found["albedo_min"].sel(year=2001).item()) == pytest.approx(value(2000, 12))


@pytest.mark.parametrize(
    ("months", "first_month", "latitude", "expected"),
    [
        ([8, 9], 8, 46.0, [(2000, 8), (2000, 9)]),
        ([9], 8, 46.0, [(2000, 9)]),
        ([7], 8, 46.0, [(2001, 7)]),
        ([6, 7, 8], 10, 46.0, [(2001, 6), (2001, 7), (2001, 8)]),
        ([12, 1, 2], 10, 46.0, [(2000, 12), (2001, 1), (2001, 2)]),
        ([12, 1, 2], 1, -33.0, [(2001, 1), (2001, 2), (2001, 12)]),
        ([12, 1, 2], None, -33.0, [(2000, 12), (2001, 1), (2001, 2)]),
        ([3], None, -33.0, [(2001, 3)]),
        ([4], None, -33.0, [(2000, 4)]),
        ([11, 12], None, -9.0, [(2000, 11), (2000, 12)]),
        ([10], None, 27.0, [(2000, 10)]),
    ],
)
def test_the_season_lies_within_the_hydrological_year(months, first_month, latitude, expected):
    found = summer_albedo(daily(step=1), months=months, first_month=first_month, latitude=[latitude]).sel(year=2001)
    values = [value(y, m) for y, m in expected]
    assert float(found["albedo_min"].item()) == pytest.approx(min(values))
    length = [np.datetime64(f"{y}-{m:02d}") for y, m in expected]
    after = [m + np.timedelta64(1, "M") for m in length]
    days = [
        int((n.astype("datetime64[D]") - m.astype("datetime64[D]")).astype(int))
        for m, n in zip(length, after, strict=True)
    ]
    assert float(found["albedo_mean"].item()) == pytest.approx(np.average(values, weights=days))
    assert int(found["albedo_days"].item()) == sum(days)
    assert float(found["day_share"].item()) == 1
    assert float(found["pixel_share"].item()) == 0.5


def test_each_glacier_has_the_summer_of_its_own_hemisphere():
    ds = daily(glaciers=3, hemisphere="both")
    found = summer_albedo(ds, latitude=[46.0, -33.0, 8.0])
    assert found["glacier"].values.tolist() == ["g0", "g1", "g2"]
    north, south = (summer_albedo(daily(), latitude=[place]).squeeze("glacier", drop=True) for place in (46.0, -33.0))
    for name in ("albedo_mean", "albedo_min", "day_share"):
        for row, alone in ((0, north), (1, south), (2, north)):
            one = found[name].isel(glacier=row).dropna("year")
            np.testing.assert_array_equal(one, alone[name].dropna("year"))
    assert found["albedo_days"].dtype == "int32"


def test_the_hemisphere_is_that_of_the_rasters_if_no_latitude_is_given():
    assert float(summer_albedo(daily(hemisphere="south"))["albedo_min"].sel(year=2001).item()) == value(2000, 12)
    assert float(summer_albedo(daily(hemisphere="north"))["albedo_min"].sel(year=2001).item()) == value(2001, 6)
    with pytest.raises(InputError, match="latitude"):
        summer_albedo(daily(hemisphere="both"))


def test_what_is_told_of_seasons():
    time = daily(step=1)["time"].values
    assert seasons_told(time[730:1461], [46.0], None, None) == []
    (line,) = seasons_told(time, [-33.0], None, None)
    assert "1999 (1998-12 missing)" in line
    assert "2005 (2005-01, 2005-02 missing)" in line
    (line,) = seasons_told(time, [46.0, -33.0], [6, 7, 8], None)[:1]
    assert "no month of the summer of the glaciers in the south" in line
    assert any("not one after the other" in t for t in seasons_told(time, [46.0], [6, 7, 8], 8))


def test_a_season_without_days_is_an_error_that_names_the_months():
    june = daily("2001-06-01", "2001-06-30")
    for call in (
        lambda: summer_albedo(june, latitude=[-33.0]),
        lambda: seasons_told(june["time"].values, [-33.0], None, None),
    ):
        with pytest.raises(InputError, match="months 12, 1, 2") as raised:
            call()
        assert "months 6 only" in raised.value.found
