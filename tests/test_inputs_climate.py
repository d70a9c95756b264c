"""Climate files in the agencies' own layouts, written with netCDF4 and xarray; answers known by hand."""

from __future__ import annotations

import gzip
import struct
import warnings
import zipfile

import netCDF4
import numpy as np
import pandas as pd
import pytest
import scipy.io
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.climate import open_climate
from glacmb_grid.inputs.climate.plausible import check_values
from glacmb_grid.inputs.files import find_file, find_files, open_dataset
from glacmb_grid.years import complete_years

LATITUDE = np.array([46.8, 46.7, 46.6])
LONGITUDE = np.array([10.6, 10.7, 10.8, 10.9])
MONTH, DAY = np.timedelta64(1, "M"), np.timedelta64(1, "D")
DAYS_2019_2020 = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def months(start="2019-01", count=24):
    first = np.datetime64(start, "M")
    return np.arange(first, first + np.timedelta64(count, "M"))


def field(values=270.0, time=None, latitude=LATITUDE, longitude=LONGITUDE, units="K", name="t2m", **more):
    """One variable as the old CDS wrote it: (time, latitude, longitude), latitude descending."""
    time = months() if time is None else np.asarray(time)
    shape = (len(time), len(latitude), len(longitude))
    attrs = {} if units is None else {"units": units}
    return xr.DataArray(
        np.broadcast_to(np.asarray(values, np.float64), shape).copy(),
        dims=("time", "latitude", "longitude"),
        coords={"time": time.astype("datetime64[ns]"), "latitude": latitude, "longitude": longitude},
        name=name,
        attrs=attrs,
    ).assign_coords(more)


def gradient(time=None, latitude=LATITUDE, longitude=LONGITUDE):
    """Values that tell their own place and month: 200 + latitude + longitude (0..360) / 10 + month number / 1000."""
    time = months() if time is None else time
    month = np.arange(len(time))[:, None, None] / 1000
    return 200 + latitude[None, :, None] + (longitude % 360)[None, None, :] / 10 + month


def save(tmp_path, *fields, name="era5_land.nc", **options):
    path = tmp_path / name
    xr.merge(fields, combine_attrs="override").to_netcdf(path, **options)
    return path


def precipitation(tmp_path, value, units, name="tp.nc", variable="tp", **more):
    return save(tmp_path, field(value, units=units, name=variable, **more), name=name)


def message(raised) -> str:
    text = str(raised.value)
    for part in ("expected:", "found:", "remedy:"):
        assert part in text
    return text


# --- units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "value", "stream", "expected"),
    [
        ("m", 0.002, "daily_mean", [0.002 * d for d in DAYS_2019_2020]),
        ("m", 0.0001, "hourly_mean", [0.0024 * d for d in DAYS_2019_2020]),
        ("m", 0.06, "monthly_total", [0.06] * 24),
        ("mm", 2.0, "daily_mean", [0.002 * d for d in DAYS_2019_2020]),
        ("kg m-2", 60.0, "monthly_total", [0.06] * 24),
        ("kg m**-2", 60.0, "monthly_total", [0.06] * 24),
        # rates say themselves what they are, whatever the stream declares
        ("kg m-2 s-1", 2 / 86400, "daily_mean", [0.002 * d for d in DAYS_2019_2020]),
        ("kg m**-2 s**-1", 2 / 86400, "monthly_total", [0.002 * d for d in DAYS_2019_2020]),
        ("kg/m2/s", 2 / 86400, "hourly_mean", [0.002 * d for d in DAYS_2019_2020]),
        ("mm day-1", 2.0, "monthly_total", [0.002 * d for d in DAYS_2019_2020]),
        ("mm/day", 2.0, "hourly_mean", [0.002 * d for d in DAYS_2019_2020]),
        ("m d-1", 0.002, "daily_mean", [0.002 * d for d in DAYS_2019_2020]),
        ("mm month-1", 60.0, "daily_mean", [0.06] * 24),
    ],
)
def test_precipitation_becomes_metres_per_month(tmp_path, unit, value, stream, expected):
    cube = open_climate(precipitation(tmp_path, value, unit), accumulated=stream)
    np.testing.assert_allclose(cube["tp"][:, 1, 2], expected, rtol=1e-6)
    assert cube["tp"].attrs["units"] == "m"
    assert cube["tp"].attrs["cell_methods"] == "time: sum"


@pytest.mark.parametrize(
    ("variable", "unit", "value", "expected"),
    [
        ("t2m", "K", 271.5, 271.5),
        ("t2m", "degC", -1.65, 271.5),
        ("d2m", "celsius", -1.65, 271.5),
        ("sp", "hPa", 700.0, 70000.0),
        ("snowc", "1", 0.25, 25.0),
        ("asn", "%", 80.0, 0.8),
        ("sd", "kg m-2", 250.0, 0.25),
        ("sde", "cm", 250.0, 2.5),
    ],
)
def test_instantaneous_variables_keep_their_mean(tmp_path, variable, unit, value, expected):
    path = precipitation(tmp_path, value, unit, variable=variable)
    cube = open_climate(path, accumulated="daily_mean")
    np.testing.assert_allclose(cube[variable], expected, rtol=1e-6)
    assert cube[variable].attrs["cell_methods"] == "time: mean"


def test_radiation_in_watts_becomes_energy_per_month(tmp_path):
    path = precipitation(tmp_path, 150.0, "W m-2", variable="ssrd")
    cube = open_climate(path, accumulated="monthly_total")
    np.testing.assert_allclose(cube["ssrd"][:, 0, 0], np.array(DAYS_2019_2020) * 150 * 86400, rtol=1e-6)


@pytest.mark.parametrize(
    ("variable", "unit"),
    [("t2m", "furlong"), ("t2m", None), ("sd", "kg m-2 s-1"), ("sd", "m s-1"), ("sde", "kg m-2"), ("tp", "K")],
)
def test_a_unit_that_the_variable_cannot_have_is_an_error(tmp_path, variable, unit):
    path = precipitation(tmp_path, 1.0, unit, variable=variable)
    with pytest.raises(InputError) as raised:
        open_climate(path, accumulated="daily_mean")
    text = message(raised)
    assert str(path) in text
    assert f"{{units: {{{variable}:" in text
    assert (repr(unit) if unit else "no `units` attribute") in text


def test_a_declared_unit_replaces_the_attribute(tmp_path):
    path = precipitation(tmp_path, 2.0, "m")
    cube = open_climate(path, accumulated="daily_mean", units={"tp": "mm"})
    np.testing.assert_allclose(cube["tp"][1, 0, 0], 0.056, rtol=1e-6)
    with pytest.raises(InputError, match="tpp"):
        open_climate(path, accumulated="daily_mean", units={"tpp": "mm"})


def test_files_in_different_units_are_each_converted_by_their_own(tmp_path):
    precipitation(tmp_path, 0.002, "m", name="a.nc", time=months(count=12))
    precipitation(tmp_path, 2 / 86400, "kg m-2 s-1", name="b.nc", time=months("2020-01", 12))
    for order in (["a.nc", "b.nc"], ["b.nc", "a.nc"]):
        cube = open_climate([tmp_path / name for name in order], accumulated="daily_mean")
        np.testing.assert_allclose(cube["tp"][:, 0, 0], 0.002 * np.array(DAYS_2019_2020), rtol=1e-6)


# --- values that contradict their unit or the declared stream --------------------------------------------------------


@pytest.mark.parametrize("unit", ["kg m-2 s-1", "mm/month", "W m-2"])
def test_a_rate_needs_no_word_about_its_sums(tmp_path, unit):
    variable = "ssrd" if unit == "W m-2" else "tp"
    path = precipitation(tmp_path, 1e-5, unit, variable=variable)
    xr.testing.assert_identical(open_climate(path), open_climate(path, accumulated="hourly_mean"))


def test_amounts_need_a_word_about_their_sums_once_for_all(tmp_path):
    rain = precipitation(tmp_path, 0.002, "m")
    sun = precipitation(tmp_path, 1e7, "J m-2", name="ssrd.nc", variable="ssrd")
    with pytest.raises(InputError, match=r"climate\.accumulated") as raised:
        open_climate([rain, sun])
    assert "climate: {accumulated: daily_mean}" in message(raised)
    assert "open_climate(accumulated='daily_mean')" in str(raised.value)


def refused(path, stream="daily_mean", **options) -> str:
    cube = open_climate(path, accumulated=stream)
    with pytest.raises((InputError, InputErrors)) as raised:
        check_values(cube, source=str(path), **options)
    return message(raised)


def test_celsius_under_the_name_of_kelvin(tmp_path):
    text = refused(save(tmp_path, field(-5.0)))
    assert "degrees Celsius" in text
    assert "t2m" in text
    assert "era5_land.nc" in text


def test_millimetres_under_the_name_of_metres(tmp_path):
    assert "mm" in refused(precipitation(tmp_path, 2.0, "m"))


@pytest.mark.parametrize(
    ("variable", "unit", "a_day", "declared"),
    [
        ("tp", "m", 0.003, "hourly_mean"),
        ("tp", "m", 0.0009, "monthly_total"),
        ("ssrd", "J m-2", 1.3e7, "hourly_mean"),
        ("ssrd", "J m-2", 1.3e7, "monthly_total"),
    ],
)
def test_the_wrong_stream_gives_an_unbelievable_year(tmp_path, variable, unit, a_day, declared):
    path = precipitation(tmp_path, a_day, unit, variable=variable)
    check_values(open_climate(path, accumulated="daily_mean"), source="")
    assert "climate.accumulated" in refused(path, declared)


def test_bounds_of_precipitation_can_be_narrowed(tmp_path):
    path = precipitation(tmp_path, 0.003, "m")
    assert "1.1 m per year" in refused(path, annual_precipitation=(0.1, 1.0))


@pytest.mark.filterwarnings("error")
def test_only_missing_values(tmp_path):
    assert "only missing values" in refused(precipitation(tmp_path, np.nan, "m"))


def test_a_month_of_missing_values_is_named(tmp_path):
    values = np.full((24, 3, 4), 270.0)
    values[7] = np.nan
    values[8, 0, 0] = np.nan  # a sea cell is no gap
    text = refused(save(tmp_path, field(values)))
    assert "1 month(s) without values: 2019-08" in text


def test_all_problems_of_values_come_at_once(tmp_path):
    path = save(tmp_path, field(-5.0), field(2.0, units="m", name="tp"))
    cube = open_climate(path, accumulated="daily_mean")
    with pytest.raises(InputErrors) as raised:
        check_values(cube, source="x")
    assert len(raised.value.problems) == 2


# --- the grid --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([10.6, 10.7, 10.8], [10.6, 10.7, 10.8]),
        ([349.8, 349.9, 350.0], [-10.2, -10.1, -10.0]),
        ([359.8, 359.9, 0.0, 0.1], [-0.2, -0.1, 0.0, 0.1]),
        ([0.0, 0.1, 359.8, 359.9], [-0.2, -0.1, 0.0, 0.1]),
        ([179.8, 179.9, 180.0, 180.1], [179.8, 179.9, 180.0, 180.1]),
        ([179.8, 179.9, -180.0, -179.9], [179.8, 179.9, 180.0, 180.1]),
        ([-180.0, -179.9, 179.8, 179.9], [179.8, 179.9, 180.0, 180.1]),
        ([10.8, 10.7, 10.6], [10.6, 10.7, 10.8]),
        ([350.0], [-10.0]),
    ],
)
def test_longitudes_of_any_convention(tmp_path, stored, expected):
    stored = np.array(stored)
    path = save(tmp_path, field(gradient(longitude=stored), longitude=stored))
    cube = open_climate(path, accumulated="daily_mean")
    np.testing.assert_allclose(cube["longitude"], expected, atol=1e-9)
    np.testing.assert_allclose(cube["t2m"], gradient(longitude=np.array(expected)), rtol=1e-6)


def test_a_global_field_from_0_to_360(tmp_path):
    stored = np.arange(0, 360, 2.5)
    path = save(tmp_path, field(gradient(longitude=stored), longitude=stored))
    cube = open_climate(path, accumulated="daily_mean")
    np.testing.assert_allclose(cube["longitude"], np.arange(-180, 180, 2.5))
    np.testing.assert_allclose(cube["t2m"].sel(longitude=-10)[0, 0], 200 + 46.8 + 35.0, rtol=1e-6)


def test_latitude_in_either_direction(tmp_path):
    up = LATITUDE[::-1]
    cube = open_climate(save(tmp_path, field(gradient(latitude=up), latitude=up)), accumulated="daily_mean")
    np.testing.assert_allclose(cube["latitude"], LATITUDE)
    np.testing.assert_allclose(cube["t2m"], gradient(), rtol=1e-6)


def test_other_names_of_the_coordinates(tmp_path):
    renamed = field(gradient()).rename(latitude="lat", longitude="lon", time="valid_time")
    cube = open_climate(save(tmp_path, renamed), accumulated="daily_mean")
    np.testing.assert_allclose(cube["t2m"], gradient(), rtol=1e-6)


def test_the_order_of_dimensions_does_not_matter(tmp_path):
    path = save(tmp_path, field(gradient()).transpose("longitude", "time", "latitude"))
    np.testing.assert_allclose(open_climate(path, accumulated="daily_mean")["t2m"], gradient(), rtol=1e-6)


@pytest.mark.parametrize(
    ("latitude", "longitude", "found"),
    [
        (np.array([5.2e6, 5.1e6, 5.0e6]), np.array([6.0e5, 6.1e5, 6.2e5, 6.3e5]), "5.2e"),
        (LATITUDE, np.array([0.0, 120.0, 240.0, 360.0]), "repeated meridian"),
        (np.array([46.8, np.nan, 46.6]), LONGITUDE, "nan"),
    ],
)
def test_coordinates_that_are_no_grid_of_degrees(tmp_path, latitude, longitude, found):
    path = save(tmp_path, field(latitude=latitude, longitude=longitude))
    with pytest.raises(InputError) as raised:
        open_climate(path, accumulated="daily_mean")
    assert found in message(raised)


def test_a_single_cell_opens_without_a_warning(tmp_path):
    path = save(tmp_path, field(latitude=LATITUDE[:1], longitude=LONGITUDE[:1]))
    assert dict(open_climate(path, accumulated="daily_mean").sizes) == {
        "time": 24,
        "latitude": 1,
        "longitude": 1,
        "bnds": 2,
    }


def test_members_of_an_ensemble_are_refused_but_a_lone_number_is_not(tmp_path):
    one = save(tmp_path, field(gradient()).expand_dims("number", 1), name="one.nc")
    np.testing.assert_allclose(open_climate(one, accumulated="daily_mean")["t2m"], gradient(), rtol=1e-6)
    two = save(tmp_path, xr.concat([field(), field()], "number"), name="two.nc")
    with pytest.raises(InputError, match="number: 2"):
        open_climate(two, accumulated="daily_mean")


# --- months ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", ["14D", "27D", "6h"])
def test_stamps_anywhere_within_the_month(tmp_path, offset):
    time = pd.DatetimeIndex(months().astype("datetime64[ns]")) + pd.Timedelta(offset)
    cube = open_climate(save(tmp_path, field(gradient(), time=time.values)), accumulated="daily_mean")
    np.testing.assert_array_equal(cube["time"].values.astype("datetime64[M]"), months())
    np.testing.assert_allclose(cube["t2m"], gradient(), rtol=1e-6)


def test_stamps_at_the_end_of_months(tmp_path):
    last_days = (months() + MONTH).astype("datetime64[D]") - DAY
    cube = open_climate(save(tmp_path, field(gradient(), time=last_days)), accumulated="daily_mean")
    np.testing.assert_array_equal(cube["time"].values.astype("datetime64[M]"), months())


def with_bounds(tmp_path, stamps, edges):
    ds = field(gradient(), time=stamps).to_dataset()
    ds["time_bnds"] = (("time", "bnds"), edges.astype("datetime64[ns]"))
    ds["time"].attrs["bounds"] = "time_bnds"
    ds["time"].encoding["units"] = "hours since 1900-01-01"
    ds.to_netcdf(tmp_path / "x.nc")
    return tmp_path / "x.nc"


def test_time_bounds_decide_where_the_stamp_is_the_end_of_the_interval(tmp_path):
    edges = np.stack([months(), months() + MONTH], axis=-1)  # January is stamped 1 February
    cube = open_climate(with_bounds(tmp_path, edges[:, 1], edges), accumulated="daily_mean")
    np.testing.assert_array_equal(cube["time"].values.astype("datetime64[M]"), months())
    assert cube["t2m"][1, 0, 0] == pytest.approx(gradient()[1, 0, 0])


def test_time_bounds_of_a_day_are_no_month(tmp_path):
    days = months().astype("datetime64[D]")
    path = with_bounds(tmp_path, days, np.stack([days, days + DAY], axis=-1))
    with pytest.raises(InputError, match="one month for every record"):
        open_climate(path, accumulated="daily_mean")


def test_a_missing_month_is_named(tmp_path):
    with pytest.raises(InputError, match="1 missing: 2019-06") as raised:
        open_climate(save(tmp_path, field(time=np.delete(months(), 5))), accumulated="daily_mean")
    assert "era5_land.nc" in message(raised)


def test_a_month_given_twice_is_named(tmp_path):
    save(tmp_path, field(time=months(count=12)), name="a.nc")
    save(tmp_path, field(time=months("2019-12", 13)), name="b.nc")
    with pytest.raises(InputError, match="more than once: 2019-12") as raised:
        open_climate(tmp_path / "*.nc", accumulated="daily_mean")
    assert "a.nc" in message(raised)


def test_daily_data_are_refused(tmp_path):
    days = np.arange(np.datetime64("2019-01-01"), np.datetime64("2019-03-01"))
    with pytest.raises(InputError, match=r"ingest .* --from daily"):
        open_climate(save(tmp_path, field(time=days)), accumulated="daily_mean")


def test_years_in_any_order(tmp_path):
    save(tmp_path, field(gradient()[:12], time=months(count=12)), name="late.nc")
    save(tmp_path, field(gradient()[12:], time=months("2020-01", 12)), name="early.nc")
    cube = open_climate(tmp_path / "*.nc", accumulated="daily_mean")
    np.testing.assert_allclose(cube["t2m"], gradient(), rtol=1e-6)


@pytest.mark.parametrize(
    "attrs", [{}, {"units": "months since the start"}, {"units": "nonsense"}, {"units": "days since 0001-01-01"}]
)
def test_time_that_cannot_be_read(tmp_path, attrs):
    ds = field().to_dataset().drop_vars("time").assign_coords(time=("time", np.arange(24), attrs))
    ds.to_netcdf(tmp_path / "x.nc")
    with pytest.raises(InputError) as raised:
        open_climate(tmp_path / "x.nc", accumulated="daily_mean")
    text = message(raised)
    assert "time" in text
    assert "download" not in text


def test_a_single_month_without_a_dimension_of_time(tmp_path):
    cube = open_climate(save(tmp_path, field(time=months(count=1)).isel(time=0)), accumulated="daily_mean")
    assert cube.sizes["time"] == 1


def test_an_incomplete_last_year_is_left_out(tmp_path):
    cube = open_climate(save(tmp_path, field(time=months("2018-10", 27))), accumulated="daily_mean")
    assert list(complete_years(cube["time"].values, 10)) == [2019, 2020]


# --- the final and the preliminary stream ----------------------------------------------------------------------------


def with_expver(tmp_path, both, labels=(1, 5)):
    """`expver` as a dimension, as the old CDS gave the last months."""
    da = xr.DataArray(
        both,
        dims=("time", "expver", "latitude", "longitude"),
        coords={"time": months().astype("M8[ns]"), "expver": list(labels), "latitude": LATITUDE},
        attrs={"units": "K"},
        name="t2m",
    )
    return save(tmp_path, da.assign_coords(longitude=LONGITUDE))


def old_expver(tmp_path, labels):
    """The last two months are preliminary, each stream NaN where the other one is."""
    final, early = np.full((24, 3, 4), 271.0), np.full((24, 3, 4), np.nan)
    final[22:], early[22:] = np.nan, 265.0
    return with_expver(tmp_path, np.stack([final, early][:: 1 if labels == (1, 5) else -1], axis=1), labels)


@pytest.mark.parametrize("labels", [(1, 5), (5, 1)])
def test_the_dimension_expver_is_chosen_from(tmp_path, labels):
    path = old_expver(tmp_path, labels)
    cube = open_climate(path, accumulated="daily_mean")
    np.testing.assert_array_equal(cube["t2m"][:, 0, 0], [271.0] * 22 + [265.0] * 2)
    assert open_climate(path, accumulated="daily_mean", expver="final").sizes["time"] == 22


def test_where_both_streams_have_a_month_the_final_one_is_taken_whole(tmp_path):
    both = np.full((24, 2, 3, 4), 271.0)
    both[:, 1] = 265.0
    both[5, 0, 0, 0] = np.nan  # a sea cell of the final stream is not filled from the other
    cube = open_climate(with_expver(tmp_path, both), accumulated="daily_mean")
    assert np.isnan(cube["t2m"][5, 0, 0])
    np.testing.assert_array_equal(cube["t2m"][5].values.ravel()[1:], 271.0)


def new_cds(tmp_path, name="data_0.nc", time=None, value=271.0, expver="0001"):
    """`valid_time`, scalar `number`, `expver` as text along time."""
    time = months() if time is None else time
    labels = np.broadcast_to(np.asarray(expver, dtype="U4"), len(time))
    da = field(value, time=time, number=0, expver=("time", labels)).rename(time="valid_time")
    return save(tmp_path, da, name=name)


def test_the_new_layout_of_the_climate_data_store(tmp_path):
    labels = ["0001"] * 22 + ["0005"] * 2
    path = new_cds(tmp_path, value=gradient(), expver=labels)
    cube = open_climate(path, accumulated="daily_mean")
    np.testing.assert_allclose(cube["t2m"], gradient(), rtol=1e-6)
    assert set(cube.coords) == {"time", "latitude", "longitude", "time_bnds"}
    assert open_climate(path, accumulated="daily_mean", expver="final").sizes["time"] == 22


@pytest.mark.parametrize("order", [("a.nc", "b.nc"), ("b.nc", "a.nc")])
def test_a_month_from_both_streams_is_never_averaged(tmp_path, order):
    new_cds(tmp_path, order[0], time=months(count=24), value=271.0)
    new_cds(tmp_path, order[1], time=months("2020-11", 3), value=265.0, expver="0005")
    cube = open_climate(tmp_path / "*.nc", accumulated="daily_mean")
    np.testing.assert_array_equal(cube["t2m"][:, 0, 0], [271.0] * 24 + [265.0])


def test_files_with_and_without_expver_go_together(tmp_path):
    save(tmp_path, field(271.0), name="old.nc")
    new_cds(tmp_path, "new.nc", time=months("2020-12", 2), value=265.0, expver="0005")
    cube = open_climate(tmp_path / "*.nc", accumulated="daily_mean")
    np.testing.assert_array_equal(cube["t2m"][:, 0, 0], [271.0] * 24 + [265.0])


def test_records_of_other_experiments_are_refused(tmp_path):
    with pytest.raises(InputError, match="hz8r"):
        open_climate(new_cds(tmp_path, expver="hz8r"), accumulated="daily_mean")


# --- several files ---------------------------------------------------------------------------------------------------


def test_one_file_for_each_variable_and_year(tmp_path):
    for year in (2019, 2020):
        time = months(f"{year}-01", 12)
        save(tmp_path, field(time=time), name=f"t2m_{year}.nc")
        precipitation(tmp_path, 0.002, "m", name=f"tp_{year}.nc", time=time)
    cube = open_climate([tmp_path / "t2m_*.nc", tmp_path / "tp_*.nc"], accumulated="daily_mean")
    assert set(cube.data_vars) == {"t2m", "tp"}
    assert cube.sizes["time"] == 24
    np.testing.assert_allclose(cube["tp"][:, 2, 3], 0.002 * np.array(DAYS_2019_2020), rtol=1e-6)


def test_a_missing_variable_is_named(tmp_path):
    path = save(tmp_path, field())
    with pytest.raises(InputError, match="tp, sf") as raised:
        open_climate(path, accumulated="daily_mean", variables=["t2m", "tp", "sf"])
    assert "only t2m" in message(raised)
    with pytest.raises(InputError, match="t2mm"):
        open_climate(path, accumulated="daily_mean", variables=["t2mm"])


def test_variables_that_nobody_asked_for_are_left_out(tmp_path):
    path = save(tmp_path, field(), field(0.002, units="m", name="tp"), field(1.0, units="1", name="other"))
    assert set(open_climate(path, accumulated="daily_mean", variables=["tp"]).data_vars) == {"tp"}


def test_grib_short_names_in_attributes(tmp_path):
    da = field(name="air_temperature").assign_attrs(GRIB_shortName="2t")
    assert "t2m" in open_climate(save(tmp_path, da), accumulated="daily_mean")


def test_differing_grids_and_periods_are_refused(tmp_path):
    save(tmp_path, field(), name="t2m.nc")
    grid = precipitation(tmp_path, 0.002, "m", name="grid.nc", longitude=LONGITUDE + 0.1)
    with pytest.raises(InputError, match=r"10\.7\.\.11") as raised:
        open_climate([tmp_path / "t2m.nc", grid], accumulated="daily_mean")
    assert "grid.nc" in message(raised)
    period = precipitation(tmp_path, 0.002, "m", name="period.nc", time=months(count=12))
    with pytest.raises(InputError, match="12 months"):
        open_climate([tmp_path / "t2m.nc", period], accumulated="daily_mean")


def test_all_broken_files_are_named_at_once(tmp_path):
    save(tmp_path, field(), name="good.nc")
    (tmp_path / "bad1.nc").write_text("no data")
    (tmp_path / "bad2.nc").write_text("")
    with pytest.raises(InputErrors) as raised:
        open_climate(tmp_path / "*.nc", accumulated="daily_mean")
    assert "bad1.nc" in str(raised.value)
    assert "bad2.nc" in str(raised.value)


def test_a_file_without_known_variables(tmp_path):
    with pytest.raises(InputError, match="other"):
        open_climate(save(tmp_path, field(name="other")), accumulated="daily_mean")


# --- the invariant file ----------------------------------------------------------------------------------------------


def invariant(tmp_path, height=2500.0, latitude=LATITUDE, longitude=LONGITUDE, units="m**2 s**-2", factor=9.80665):
    z = field(height * factor, time=months(count=1), latitude=latitude, longitude=longitude, units=units, name="z")
    lsm = field(1.0, time=months(count=1), latitude=latitude, longitude=longitude, units="(0 - 1)", name="lsm")
    return save(tmp_path, z, lsm, name="invariant.nc")


def test_geopotential_becomes_height(tmp_path):
    cube = open_climate(save(tmp_path, field()), accumulated="daily_mean", invariant=invariant(tmp_path))
    np.testing.assert_allclose(cube["orography"], 2500.0, rtol=1e-6)
    np.testing.assert_array_equal(cube["land_mask"], 1.0)
    assert cube["orography"].dims == ("latitude", "longitude")


def test_the_cells_of_a_larger_invariant_file_are_found(tmp_path):
    latitude, longitude = np.linspace(40, 50, 101), np.arange(3580, 3710) / 10 % 360
    height = np.add.outer(latitude * 10, longitude)
    path = invariant(tmp_path, height[None], latitude, longitude)
    cube = open_climate(save(tmp_path, field()), accumulated="daily_mean", invariant=path)
    np.testing.assert_allclose(cube["orography"], np.add.outer(LATITUDE * 10, LONGITUDE), rtol=1e-6)


def test_heights_in_metres_are_taken_as_they_are(tmp_path):
    path = invariant(tmp_path, units="m", factor=1.0)
    cube = open_climate(save(tmp_path, field()), accumulated="daily_mean", invariant=path)
    np.testing.assert_allclose(cube["orography"], 2500.0)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"units": "K"}, "unit 'K'"),
        ({"units": "m"}, "2.452e"),
        ({"longitude": LONGITUDE + 1}, "11.6"),
        ({"height": np.nan}, "only missing"),
    ],
)
def test_an_unbelievable_invariant_file(tmp_path, options, found):
    with pytest.raises(InputError) as raised:
        open_climate(save(tmp_path, field()), accumulated="daily_mean", invariant=invariant(tmp_path, **options))
    text = message(raised)
    assert found in text
    assert "invariant.nc" in text


def test_an_invariant_file_without_geopotential(tmp_path):
    path = save(tmp_path, field())
    with pytest.raises(InputError, match="geopotential"):
        open_climate(path, accumulated="daily_mean", invariant=path)


# --- broken files ----------------------------------------------------------------------------------------------------


def classic(path, form, record, kinds=("f4",), odd=3):
    """A classic file of several variables, with and without a record dimension."""
    with netCDF4.Dataset(path, "w", format=form) as ds:
        ds.title = "x" * odd
        ds.createDimension("time", None if record else 5)
        ds.createDimension("x", odd)
        for i, kind in enumerate(kinds):
            v = ds.createVariable(f"v{i}", kind, ("time", "x") if i % 2 == 0 else ("time",))
            v.units = "K"
            v[:] = np.ones((5, odd) if i % 2 == 0 else 5)
        scalar = ds.createVariable("crs", "i4", ())
        scalar[...] = 1


FORMS = ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_truncated_classic_files_are_refused_and_whole_ones_are_not(tmp_path, form, record):
    for kinds in [("f4",), ("i1",), ("i2",), ("f8", "i1"), ("i2", "i2", "f4"), ("i1", "f8", "i2", "f4")]:
        for odd in (1, 2, 3, 4, 7):
            path = tmp_path / "x.nc"
            classic(path, form, record, kinds, odd)
            with open_dataset(path) as ds:
                np.testing.assert_array_equal(ds["v0"].values, 1)
            whole = path.read_bytes()
            for kept in (len(whole) - 8, len(whole) // 2, 60, 5):
                path.write_bytes(whole[:kept])
                with pytest.raises(InputError) as raised:
                    open_dataset(path)
                assert "x.nc" in message(raised)


@given(
    version=st.sampled_from([1, 2]),
    record=st.booleans(),
    kinds=st.lists(st.sampled_from(["f4", "f8", "i2", "i1", "i4"]), min_size=1, max_size=4),
    size=st.integers(1, 9),
    records=st.integers(1, 4),
)
def test_whole_files_of_scipy_are_accepted(tmp_path_factory, version, record, kinds, size, records):
    path = tmp_path_factory.mktemp("scipy") / "x.nc"
    with scipy.io.netcdf_file(path, "w", version=version) as ds:
        ds.createDimension("time", None if record else records)
        ds.createDimension("x", size)
        for i, kind in enumerate(kinds):
            v = ds.createVariable(f"v{i}", np.dtype(kind), ("time", "x"))
            v[:records] = np.ones((records, size))
    with open_dataset(path) as ds:
        for i in range(len(kinds)):
            np.testing.assert_array_equal(ds[f"v{i}"], np.ones((records, size)))


def test_a_classic_header_of_nonsense(tmp_path):
    path = tmp_path / "x.nc"
    for body in (b"\xff" * 200, struct.pack(">iiii", 0, 10, 1, -5) + b"\x7f" * 100, b"\x00" * 7):
        for version in (1, 2, 5):
            path.write_bytes(b"CDF" + bytes([version]) + body)
            with pytest.raises(InputError):
                open_dataset(path)


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.05])
def test_truncated_hdf5_files_are_refused(tmp_path, kept):
    path = save(tmp_path, field(np.random.default_rng(1).normal(270, 5, (24, 3, 4))))
    whole = path.read_bytes()
    assert whole[1:4] == b"HDF"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError) as raised:
        open_climate(path, accumulated="daily_mean")
    assert "era5_land.nc" in message(raised)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty"),
        (b"time,t2m\n2019,270\n", "x.nc"),
        (b"<!DOCTYPE html><p>Please log in", "web page"),
        (gzip.compress(b"CDF\x01", mtime=0), "gunzip"),
        (b"GRIB" + bytes(100), "x.nc"),
    ],
)
def test_other_files_under_the_name_of_netcdf(tmp_path, content, found):
    path = tmp_path / "x.nc"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        open_climate(path, accumulated="daily_mean")
    assert found in message(raised)


def test_a_zip_archive_under_any_name_with_several_members(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    path = tmp_path / "data.nc"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(save(inner, field(gradient()), name="a.nc"), "data_stream-moda_stepType-avgua.nc")
        archive.write(precipitation(inner, 0.002, "m"), "data_stream-moda_stepType-avgad.nc")
        archive.writestr("readme.txt", "nothing")
    cube = open_climate(path, accumulated="daily_mean")
    np.testing.assert_allclose(cube["t2m"], gradient(), rtol=1e-6)
    np.testing.assert_allclose(cube["tp"][:, 0, 0], 0.002 * np.array(DAYS_2019_2020), rtol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.nc", "inner"], "nothing is unpacked beside the data"


def test_a_damaged_zip_archive_and_a_damaged_member(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.write(save(tmp_path, field(), name="inner.nc"), "inner.nc")
        archive.writestr("other.nc", "no data")
    with pytest.raises(InputError, match=r"data\.zip: other\.nc"):
        open_climate(path, accumulated="daily_mean")
    whole = path.read_bytes()
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:])
    with pytest.raises(InputError, match=r"inner\.nc") as raised:
        open_climate(path, accumulated="daily_mean")
    assert "download it again" in message(raised)


def test_a_zarr_folder(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        field(gradient()).to_dataset().to_zarr(tmp_path / "x.zarr", consolidated=False)
    cube = open_climate(tmp_path / "x.zarr", accumulated="daily_mean")
    np.testing.assert_allclose(cube["t2m"], gradient(), rtol=1e-6)


def test_a_folder_that_is_no_zarr(tmp_path):
    for name, content in (("empty", None), ("other", "zarr.json")):
        folder = tmp_path / name
        folder.mkdir()
        if content:
            (folder / content).write_text("{broken")
        with pytest.raises(InputError, match="Zarr") as raised:
            open_climate(folder, accumulated="daily_mean")
        assert name in message(raised)


def test_paths_that_find_nothing_say_what_is_there(tmp_path):
    save(tmp_path, field(), name="t2m.nc")
    for wrong in ("tp.nc", "*.grib", "deeper/down/x.nc"):
        with pytest.raises(InputError, match=r"t2m\.nc"):
            find_files(tmp_path / wrong, what="climate files")
    with pytest.raises(InputError):
        find_files([], what="climate files")


def test_a_pattern_for_one_file_must_not_find_two(tmp_path):
    for name in ("a.nc", "b.nc"):
        (tmp_path / name).touch()
    assert find_file(tmp_path / "a*", what="invariant file") == tmp_path / "a.nc"
    with pytest.raises(InputError, match=r"a\.nc, b\.nc"):
        find_file(tmp_path / "*.nc", what="invariant file")


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_real_cube_of_the_oetztal_alps(real_data):
    folder = real_data / "oetztal"
    cube = open_climate(
        sorted(folder.glob("sel_era5_land_monthly_*.nc")),
        accumulated="daily_mean",
        invariant=folder / "sel_era5_land_invariant.nc",
    )
    assert dict(cube["t2m"].sizes) == {"time": 456, "latitude": 6, "longitude": 7}
    assert float(cube["orography"].min()) > 1000
    assert float(cube["orography"].max()) < 3500
    assert 0.8 < float(cube["tp"].mean()) * 12 < 2.5
    assert list(complete_years(cube["time"].values, 10)) == list(range(1982, 2019))
    check_values(cube, source="Oetztal")
    for stream in ("hourly_mean", "monthly_total"):
        wrong = open_climate(folder / "sel_era5_land_monthly_prcp_1981-2018.nc", accumulated=stream)
        with pytest.raises(InputError, match=r"climate\.accumulated"):
            check_values(wrong, source="Oetztal")


# --- how it is read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NETCDF4", "NETCDF3_64BIT"])
def test_a_variable_stored_in_one_piece_is_read_some_months_at_a_time(tmp_path, monkeypatch, layout):
    path = save(tmp_path, field(gradient()), format=layout)
    whole = open_climate(path, accumulated="daily_mean")
    assert whole["t2m"].chunksizes["time"] == (24,)
    monkeypatch.setattr("glacmb_grid.inputs.files._LARGEST_READ", 5 * 3 * 4 * 8)  # five months of the 3 x 4 cells
    parts = open_climate(path, accumulated="daily_mean")
    assert parts["t2m"].chunksizes["time"] == (5, 5, 5, 5, 4)
    xr.testing.assert_identical(parts.compute(), whole.compute())


@pytest.mark.parametrize("west", [-180.0, 0.0, -90.0])
@pytest.mark.parametrize("ascending", [False, True])
def test_reversed_and_turned_grids_are_read_in_the_chunks_of_the_file(tmp_path, ascending, west):
    latitude = np.arange(-60.0, 65.0, 5.0)[:: 1 if ascending else -1]
    longitude = west + 5.0 * np.arange(72)
    values = field(gradient(latitude=latitude, longitude=longitude), latitude=latitude, longitude=longitude)
    stored = save(tmp_path, values, encoding={"t2m": {"chunksizes": (24, 10, 12)}})
    cube = open_climate(stored, accumulated="daily_mean")
    expected = values.assign_coords(longitude=(longitude + 180) % 360 - 180).sortby("longitude")
    np.testing.assert_array_equal(cube["t2m"], expected.sortby("latitude", ascending=False).astype(np.float32))
    assert cube["t2m"].chunksizes["latitude"] == ((5, 10, 10) if ascending else (10, 10, 5))
    assert sum(cube["t2m"].chunksizes["longitude"]) == 72
    assert len(cube["t2m"].chunksizes["longitude"]) <= 7, "at most one chunk is read in two parts"


def test_of_a_dimension_expver_few_months_are_looked_at(tmp_path, monkeypatch):
    looked = []
    plain = xr.DataArray.notnull
    monkeypatch.setattr(xr.DataArray, "notnull", lambda self, **k: (looked.append(self.size), plain(self, **k))[1])
    cube = open_climate(old_expver(tmp_path, (1, 5)), accumulated="daily_mean")
    np.testing.assert_array_equal(cube["t2m"][:, 0, 0], [271.0] * 22 + [265.0] * 2)
    assert len(looked) <= 5
    assert set(looked) == {12}, "one month of 3 x 4 cells each"
