"""Climate files of every format and layout: which month a record is, what is lost, what was never measured."""

from __future__ import annotations

import fcntl
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs import files
from glacmb_grid.inputs.climate import notes_of, open_climate
from glacmb_grid.inputs.climate.amounts import annual_amounts
from glacmb_grid.inputs.climate.plausible import check_values, implausible, quick_look
from glacmb_grid.inputs.climate.steadiness import fault_of
from glacmb_grid.inputs.files import open_dataset
from glacmb_grid.inputs.scratch import scratch_folder, sweep
from glacmb_grid.sampling.grid import grid_of

LATITUDE, LONGITUDE = np.array([46.8, 46.7, 46.6]), np.array([10.6, 10.7, 10.8, 10.9])
MONTHS = np.arange("2019-01", "2021-01", dtype="datetime64[M]")
FIRST = MONTHS.astype("datetime64[ns]")
NUMBER = np.arange(len(MONTHS))
DIMS = ("time", "latitude", "longitude")


def cube(time=FIRST, names=("t2m", "tp"), latitude=LATITUDE, longitude=LONGITUDE, **attrs):
    """Values that tell their month: t2m 270 + its number, tp 0.001 + its number / 10000 m a day."""
    shape = (len(NUMBER), len(latitude), len(longitude))
    values = {"t2m": (270.0 + NUMBER, "K"), "tp": (0.001 + NUMBER * 1e-4, "m")}
    fields = {
        n: (DIMS, np.broadcast_to(values[n][0][:, None, None], shape).copy(), {"units": values[n][1], **attrs})
        for n in names
    }
    return xr.Dataset(fields, coords={"time": time, "latitude": latitude, "longitude": longitude})


def opened(tmp_path, ds, name=None, **options):
    name = name or f"x{len(list(tmp_path.iterdir()))}.nc"
    ds.to_netcdf(tmp_path / name)
    return open_climate(tmp_path / name, accumulated="daily_mean", **options)


def months_found(found):
    """The first month, and whether values follow their months."""
    assert np.array_equal(np.diff(found["t2m"].values[:, 0, 0]), np.ones(len(NUMBER) - 1))
    return str(found["time"].values[0])[:7]


def refused(call, *texts):
    with pytest.raises((InputError, InputErrors)) as raised:
        call()
    for text in ("expected:", "found:", "remedy:", *texts):
        assert text in str(raised.value)


@pytest.mark.parametrize("turn", [-720, -360, 360, 720])
def test_longitudes_that_are_whole_turns_off_are_those_of_the_same_place(tmp_path, turn):
    found = opened(tmp_path, cube(longitude=LONGITUDE + turn))
    assert found["longitude"].values.tolist() == LONGITUDE.tolist()
    assert months_found(found) == "2019-01"


@pytest.mark.parametrize("longitude", [LONGITUDE + 5000, LONGITUDE * 1000])
def test_longitudes_that_are_no_degrees_are_refused(tmp_path, longitude):
    refused(lambda: opened(tmp_path, cube(longitude=longitude)), "projected fields")


def test_folders_of_killed_processes_are_removed_and_those_of_living_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("killed", "living", "older"):
        (tmp_path / f"glacmb_grid-{name}" / "sub").mkdir(parents=True)
    for name in ("killed", "living"):
        (tmp_path / f"glacmb_grid-{name}" / ".lock").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".lock").touch()
    with (tmp_path / "glacmb_grid-living" / ".lock").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        mine = scratch_folder(0, "x.zip")
        sweep(tmp_path)
        left = {p.name for p in tmp_path.iterdir()}
    assert mine.is_dir()
    assert left == {"glacmb_grid-living", "glacmb_grid-older", "mine", mine.parent.name}


# ---- which month a record is ----

DAY, HOUR = np.timedelta64(1, "D"), np.timedelta64(1, "h")
END = (MONTHS + np.timedelta64(1, "M")).astype("datetime64[ns]")


@pytest.mark.parametrize(
    ("time", "first", "note"),
    [
        (FIRST, "2019-01", "stamp: end"),
        (FIRST + 14 * DAY, "2019-01", ""),
        (FIRST + 6 * HOUR, "2019-01", ""),
        (FIRST + 13 * HOUR, "2019-01", "no single hour"),
        (END - DAY, "2019-01", ""),
        (END - HOUR, "2019-01", "stamp: start"),
        (FIRST - HOUR, "2018-12", "stamp: start"),
        (FIRST - 8 * HOUR, "2019-01", "stamp: within"),  # midnight of China: no record of several hours ends then
    ],
)
def test_a_stamp_is_read_as_it_lies_and_a_choice_is_told(tmp_path, time, first, note):
    found = opened(tmp_path, cube(time))
    assert months_found(found) == first
    assert len(notes_of(found)) == bool(note)
    assert note in "".join(notes_of(found))


@pytest.mark.parametrize(
    ("time", "stamp", "first"),
    [
        (END, "end", "2019-01"),
        (FIRST - HOUR, "start", "2019-01"),
        (FIRST, "start", "2019-01"),
        (END, "within", "2019-02"),
    ],
)
def test_the_configuration_decides_what_files_leave_open(tmp_path, time, stamp, first):
    found = opened(tmp_path, cube(time), stamp=stamp)
    assert months_found(found) == first
    assert not notes_of(found)


def test_bounds_decide_over_all_else_also_without_the_attribute(tmp_path):
    ds = cube(END)
    ds["time_bnds"] = (("time", "bnds"), np.stack([FIRST, END], axis=1))
    ds["time"].encoding["units"] = ds["time_bnds"].encoding["units"] = "hours since 1900-01-01"
    for name, keep in (("with", ["units"]), ("without", [])):
        ds["time_bnds"].attrs = {}
        ds.to_netcdf(tmp_path / f"{name}.nc")
        raw = xr.open_dataset(tmp_path / f"{name}.nc", decode_times=False)
        raw["time_bnds"].attrs = {k: v for k, v in raw["time_bnds"].attrs.items() if k in keep}
        raw.to_netcdf(tmp_path / f"{name}_raw.nc")
        found = open_climate(tmp_path / f"{name}_raw.nc", accumulated="daily_mean", stamp="within")
        assert months_found(found) == "2019-01"
        assert not notes_of(found)


def test_the_start_of_a_forecast_and_its_step_make_the_month(tmp_path):
    start = FIRST - 6 * HOUR
    step = np.timedelta64(12, "h").astype("timedelta64[ns]")
    both = cube(start).assign_coords(step=step, valid_time=("time", start + step))
    assert months_found(opened(tmp_path, both)) == "2019-01"
    assert months_found(opened(tmp_path, both.drop_vars("valid_time"), "step.nc")) == "2019-01"
    frt = cube(start).rename(time="forecast_reference_time").expand_dims(step=[step], axis=1)
    assert months_found(opened(tmp_path, frt, "frt.nc")) == "2019-01"
    alone = cube(start, GRIB_dataType="fc")  # made from GRIB, and its step is gone
    found = opened(tmp_path, alone, "alone.nc")
    assert months_found(found) == "2019-01"
    assert "start of a forecast" in notes_of(found)[0]


def test_a_step_of_a_month_is_the_month(tmp_path):
    ds = cube(FIRST).assign_coords(step=("time", (END - FIRST)), valid_time=("time", END))
    assert months_found(opened(tmp_path, ds)) == "2019-01"


def test_local_midnight_is_known_from_the_unit_of_time(tmp_path):
    hours = (FIRST - np.datetime64("1900-01-01")) / HOUR
    unit = {"units": "hours since 1900-01-01 00:00:00 +01:00"}  # local midnight is 23:00 UTC of the day before
    ds = cube().drop_vars("time").assign_coords(time=("time", hours, unit))
    assert months_found(opened(tmp_path, ds)) == "2019-01"


@pytest.mark.parametrize("written", [lambda m: m * 100 + 1, lambda m: m, lambda m: m.astype("f8")])
def test_dates_written_as_numbers(tmp_path, written):
    number = np.array([int(str(m).replace("-", "")) for m in MONTHS])
    ds = cube().assign_coords(time=written(number)).rename(time="date")
    found = opened(tmp_path, ds)
    assert months_found(found) == "2019-01"
    assert not notes_of(found)


@pytest.mark.parametrize(
    ("since", "number", "first", "note"),
    [
        ("months since 2018-11-01 00:00:00", NUMBER + 2.5, "2019-01", ""),  # the middle of a month, as HISTALP's sums
        ("months since 1780-01-15 00:00:00", NUMBER + 2868.0, "2019-01", ""),  # as HISTALP's temperatures
        ("Months since 2019-01", NUMBER, "2019-01", "stamp: end"),
    ],
)
def test_months_since_a_date_are_calendar_months(tmp_path, since, number, first, note):
    ds = cube().drop_vars("time").assign_coords(time=("time", number, {"units": since}))
    found = opened(tmp_path, ds)
    assert months_found(found) == first
    assert note in "".join(notes_of(found))
    assert bool(notes_of(found)) == bool(note)


def test_bounds_in_months_decide_as_other_bounds(tmp_path):
    attrs = {"units": "months since 2018-01-01", "bounds": "time_bnds"}
    ds = cube().drop_vars("time").assign_coords(time=("time", NUMBER + 13.0, attrs))  # the end of each month
    ds["time_bnds"] = (("time", "bnds"), np.stack([NUMBER + 12.0, NUMBER + 13.0], axis=1))
    found = opened(tmp_path, ds)
    assert months_found(found) == "2019-01"
    assert not notes_of(found)


def test_twelfths_of_a_mean_year_are_not_taken_for_calendar_months(tmp_path):
    days = (FIRST - np.datetime64("2018-01-01")) / DAY  # as UDUNITS counts months
    ds = cube().drop_vars("time").assign_coords(time=("time", days / 30.436875, {"units": "months since 2018-01-01"}))
    refused(lambda: opened(tmp_path, ds), "x0.nc: time", "months since 2018-01-01", "hours since 1900-01-01")


def test_histalp_as_delivered(tmp_path):
    """Names, units and times of the gridded HISTALP files; temperatures begin before the sums."""
    grid = {"lat": LATITUDE[::-1], "lon": LONGITUDE}
    shape = (len(NUMBER), len(LATITUDE), len(LONGITUDE))
    sums = np.broadcast_to(50.0 + NUMBER[:, None, None], shape)
    degrees = np.broadcast_to(NUMBER[:, None, None] - 15.0, shape)
    dims, flat = ("time", "lat", "lon"), ("lat", "lon")
    xr.Dataset(
        {"TOT_PREC": (dims, sums, {"units": "mm", "long_name": "monthly precipitation sum"})},
        coords={**grid, "time": ("time", NUMBER + 12.5, {"units": "months since 1801-01-01 00:00:00"})},
    ).to_netcdf(tmp_path / "HISTALP_precipitation.nc")
    xr.Dataset(
        {
            "T_2M": (dims, degrees, {"units": "degrees Celcius"}),  # so spelt there
            "HSURF": (flat, np.full(shape[1:], 2000.0), {"units": "m", "long_name": "surface height"}),
        },
        coords={**grid, "time": ("time", 1.0 * NUMBER, {"units": "months since 1801-01-15 00:00:00"})},
    ).to_netcdf(tmp_path / "HISTALP_temperature.nc")
    refused(lambda: open_climate(tmp_path / "*.nc", accumulated="monthly_total"), "climate: {years: [1802, 1802]}")
    found = open_climate(tmp_path / "*.nc", accumulated="monthly_total", years=(1802, 1802))
    assert [str(t)[:7] for t in found["time"].values[[0, -1]]] == ["1802-01", "1802-12"]
    np.testing.assert_allclose(found["tp"].values[:, 0, 0], (50 + NUMBER[:12]) * 1e-3, rtol=1e-6)
    np.testing.assert_allclose(found["t2m"].values[:, 0, 0], NUMBER[12:] - 15 + 273.15, rtol=1e-6)
    assert (found["orography"] == 2000).all()
    assert not notes_of(found)


@pytest.mark.parametrize(
    ("name", "attrs", "text"),
    [
        ("t2m", {"cell_methods": "time: maximum within days time: mean over days"}, "maximum"),
        ("t2m", {"long_name": "2m air temperature anomaly"}, "anomal"),
        ("tp", {"standard_name": "lwe_thickness_of_snowfall_amount"}, "snow"),
        ("tp", {"long_name": "Convective precipitation"}, "convective"),
    ],
)
def test_fields_that_say_they_are_something_else_are_refused_unless_named(tmp_path, name, attrs, text):
    ds = cube()
    ds[name].attrs.update(attrs)
    refused(lambda: opened(tmp_path, ds, "x.nc"), f"x.nc: {name}", text, f"climate: {{names: {{{name}: {name}}}}}")
    assert name in opened(tmp_path, ds, "named.nc", names={name: name})


def doubled(ds):
    return xr.concat([ds, ds.isel(time=[3])], "time")


def holed(ds):
    return ds.isel(time=[0, *range(4, 24)])


def filled(ds):
    ds["t2m"].values[2], ds["tp"].values[1] = 9.97e36, -5.0
    return ds


@pytest.mark.parametrize("damage", [doubled, holed, filled])
def test_faults_outside_the_years_that_are_taken_refuse_nothing(tmp_path, damage):
    def looked_at(name, **options):
        found = opened(tmp_path, damage(cube()), name, **options)
        check_values(found, source="climate files")
        return found

    found = looked_at("a.nc", years=(2020, 2020))
    np.testing.assert_array_equal(found["t2m"].values[:, 0, 0], 270 + NUMBER[12:])
    refused(lambda: looked_at("b.nc"), "2019" if damage is not filled else "e+36")


def test_files_and_areas_outside_the_years_that_are_taken_refuse_nothing(tmp_path):
    """One of other cells and another unit; areas that disagree in a month that is not taken."""
    before = cube(FIRST - 800 * DAY, latitude=LATITUDE + 0.05)
    before["tp"].attrs["units"] = "furlong"
    before.to_netcdf(tmp_path / "before.nc")
    west, east = cube().isel(longitude=[0, 1, 2]), cube().isel(longitude=[2, 3])
    east["t2m"].values[0] += 30
    west.to_netcdf(tmp_path / "west.nc")
    east.to_netcdf(tmp_path / "east.nc")
    found = open_climate(tmp_path / "*.nc", accumulated="daily_mean", years=(2020, 2020))
    np.testing.assert_array_equal(found["t2m"].values, np.broadcast_to((270 + NUMBER[12:])[:, None, None], (12, 3, 4)))
    refused(lambda: open_climate(tmp_path / "*.nc", accumulated="daily_mean"), "furlong")
    (tmp_path / "before.nc").unlink()
    refused(lambda: open_climate(tmp_path / "*.nc", accumulated="daily_mean"), "differ by up to 30")


def test_years_without_a_month_are_told(tmp_path):
    refused(lambda: opened(tmp_path, cube(), years=(1990, 1991)), "[1990, 1991]", "2019-01 to 2020-12")


@pytest.mark.parametrize("calendar", ["noleap", "all_leap", "360_day"])
def test_months_of_a_climate_models_calendar_are_taken_by_name(tmp_path, calendar):
    first = xr.date_range("2019-01-01", periods=25, freq="MS", calendar=calendar, use_cftime=True)
    found = opened(tmp_path, cube().assign_coords(time=first[:-1]), "first.nc", stamp="start")
    assert months_found(found) == "2019-01"
    assert f"calendar {calendar}" in "".join(notes_of(found))
    ends = cube().assign_coords(time=first[1:])  # CESM stamps the end and has bounds
    ends["time_bnds"] = (("time", "bnds"), np.stack([first[:-1], first[1:]], axis=1))
    ends["time"].attrs["bounds"] = "time_bnds"
    ends["time"].encoding["units"] = ends["time_bnds"].encoding["units"] = "days since 2000-01-01"
    assert months_found(opened(tmp_path, ends, "bounds.nc")) == "2019-01"


def test_the_thirtieth_of_february_stays_in_february(tmp_path):
    last = xr.date_range("2019-01-30", periods=24, freq="30D", calendar="360_day", use_cftime=True)
    assert months_found(opened(tmp_path, cube().assign_coords(time=last))) == "2019-01"


HISTORY = 'GRIB to CDM+CF via cfgrib with {"filter_by_keys": {"stream": ["%s"]}}'


@pytest.mark.parametrize(
    ("attrs", "history", "text"),
    [
        ({}, HISTORY % "mnth", "by hour of day"),
        ({}, HISTORY % "oper", "hourly"),
        ({"GRIB_stepType": "instant"}, "", "single instants"),
        ({"cell_methods": "time: point"}, "", "single instants"),
    ],
)
def test_records_that_are_no_monthly_means_are_refused_where_the_file_betrays_it(tmp_path, attrs, history, text):
    ds = cube(**attrs).assign_attrs(history=history)
    refused(lambda: opened(tmp_path, ds), text, "cell_methods")
    said = ds.copy()
    for field in said.data_vars.values():
        field.attrs["cell_methods"] = "time: mean"
    if "point" not in attrs.get("cell_methods", ""):
        assert months_found(opened(tmp_path, said, "said.nc")) == "2019-01"


def test_the_monthly_stream_is_not_refused_and_needs_no_note(tmp_path):
    ds = cube(GRIB_stepType="avgua").assign_attrs(history=HISTORY % "moda")
    assert notes_of(opened(tmp_path, ds)) == []


def test_an_hour_of_the_day_is_refused_in_files_of_ecmwf_and_by_the_name_of_the_file(tmp_path):
    refused(lambda: opened(tmp_path, cube(FIRST + 13 * HOUR, GRIB_dataType="an")), "13:00")
    refused(lambda: opened(tmp_path, cube(), "data_stream-mnth.nc"), "by hour of day")


# ---- GRIB ----

eccodes = pytest.importorskip("eccodes")


def message(values, name, date, hour, *, expver="0001", stream="moda", edition=1):
    """One message: ECMWF's own section names the stream; fluxes begin at 18:00 of the day before the month."""
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
    keys = {
        "centre": 98, "setLocalDefinition": 1, "localDefinitionNumber": 1, "class": "ea", "type": "an",
        "stream": stream, "expver": expver, "Ni": 4, "Nj": 3, "latitudeOfFirstGridPointInDegrees": 46.8,
        "latitudeOfLastGridPointInDegrees": 46.6, "longitudeOfFirstGridPointInDegrees": 10.6,
        "longitudeOfLastGridPointInDegrees": 10.9, "iDirectionIncrementInDegrees": 0.1,
        "jDirectionIncrementInDegrees": 0.1, "jScansPositively": 0, "dataDate": int(str(date).replace("-", "")),
        "dataTime": hour * 100, "shortName": name, "bitsPerValue": 24,
    }  # fmt: skip
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    if name == "tp":
        eccodes.codes_set(handle, "step", 12)
    eccodes.codes_set_values(handle, np.full(12, values, float))
    content = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return content


def grib(path, *, expver=lambda k: "0001", **options):
    days = FIRST.astype("datetime64[D]")
    content = [message(270.0 + k, "2t", days[k], 0, expver=expver(k), **options) for k in NUMBER]
    content += [message(0.001 + k * 1e-4, "tp", days[k] - DAY, 18, expver=expver(k), **options) for k in NUMBER]
    path.write_bytes(b"".join(content))
    return path


@pytest.mark.parametrize(("edition", "unit"), [(1, 1.0), (2, 1e-3)])  # m; kg m-2
def test_all_variables_of_a_grib_file_on_the_month_they_are_valid_in(tmp_path, edition, unit):
    path = grib(tmp_path / "era5.download", edition=edition)
    found = open_climate(path, accumulated="daily_mean")
    assert months_found(found) == "2019-01"
    assert set(found.data_vars) == {"t2m", "tp"}
    days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    np.testing.assert_allclose(found["tp"][:, 1, 1], (0.001 + NUMBER * 1e-4) * days * unit, rtol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["era5.download"], "no index is left beside the data"


def test_messages_of_these_tests_are_as_those_of_the_data_store(tmp_path):
    true = json.loads((Path(__file__).parent / "records" / "climate.json").read_text())["ERA5, GRIB"]["messages"]
    days = FIRST.astype("datetime64[D]")
    for name, day, hour in (("2t", days[0], 0), ("tp", days[0] - DAY, 18)):
        handle = eccodes.codes_new_from_message(message(1.0, name, day, hour))
        found = {k: eccodes.codes_get(handle, k) for k in true[name]}
        eccodes.codes_release(handle)
        assert {k: v for k, v in found.items() if k not in FORECASTS} == {
            k: v for k, v in true[name].items() if k not in FORECASTS
        }


FORECASTS = ("stepType", "stepRange")  # the samples of ecCodes have other kinds of time than the stream of means


def test_the_preliminary_months_of_a_grib_file_can_be_left_out(tmp_path):
    path = grib(tmp_path / "x.grib", expver=lambda k: "0005" if k > 20 else "0001")
    assert open_climate(path, accumulated="daily_mean").sizes["time"] == 24
    assert open_climate(path, accumulated="daily_mean", expver="final").sizes["time"] == 21


def test_hourly_doubled_and_truncated_grib_is_refused(tmp_path):
    hourly = grib(tmp_path / "hourly.grib", stream="oper")
    refused(lambda: open_climate(hourly, accumulated="daily_mean"), "hourly", "hourly.grib")
    path = grib(tmp_path / "x.grib")
    whole = path.read_bytes()
    path.write_bytes(whole + message(300.0, "2t", "2019-05-01", 0))
    refused(lambda: open_climate(path, accumulated="daily_mean"), "25 messages")
    path.write_bytes(whole[:-30])
    refused(lambda: open_climate(path, accumulated="daily_mean"), "x.grib")


# ---- names ----


@pytest.mark.parametrize(
    ("temperature", "precipitation"),
    [("T_2M", "TOT_PREC"), ("tas", "pr"), ("tmp", "pre"), ("temp", "prcp"), ("2m_temperature", "total_precipitation")],
)
def test_other_products_are_known_by_their_names(tmp_path, temperature, precipitation):
    found = opened(tmp_path, cube().rename(t2m=temperature, tp=precipitation))
    assert set(found.data_vars) == {"t2m", "tp"}


def test_names_can_be_given_and_the_orography_may_lie_in_any_file(tmp_path):
    ds = cube().rename(t2m="warmth", tp="rain")
    ds["h"] = (("latitude", "longitude"), np.full((3, 4), 2500.0), {"units": "m"})
    names = {"t2m": "warmth", "tp": "rain", "orography": "h"}
    found = opened(tmp_path, ds, names=names)
    np.testing.assert_allclose(found["orography"], 2500.0)
    assert months_found(found) == "2019-01"
    refused(lambda: opened(tmp_path, ds, names=names | {"tp": "snow"}), "no snow", "rain")


def test_a_variable_that_nothing_names_is_told_and_two_of_one_name_are_refused(tmp_path):
    found = opened(tmp_path, cube().rename(tp="water"))
    assert "variables not used: water" in notes_of(found)[-1]
    ds = cube().rename(t2m="tas")
    refused(lambda: opened(tmp_path, ds.assign(tmp=ds["tas"])), "tas, tmp", "names: {t2m: tas}")


def test_a_file_that_lacks_a_variable_of_its_neighbour_is_named(tmp_path):
    ds = cube()
    ds.isel(time=slice(0, 12)).to_netcdf(tmp_path / "a.nc")
    ds[["t2m"]].isel(time=slice(12, None)).to_netcdf(tmp_path / "b.nc")
    refused(lambda: open_climate(tmp_path / "*.nc", accumulated="daily_mean"), "not in", "b.nc", "12 months")


# ---- several areas ----


def test_areas_of_one_lattice_are_joined_and_others_refused(tmp_path):
    whole = cube()
    whole["t2m"] = whole["t2m"] + 10 * whole["longitude"] + whole["latitude"]
    whole.isel(longitude=slice(0, 3)).to_netcdf(tmp_path / "west.nc")
    whole.isel(longitude=slice(2, 4)).to_netcdf(tmp_path / "east.nc")
    files = [tmp_path / "west.nc", tmp_path / "east.nc"]
    found = open_climate(files, accumulated="daily_mean")
    np.testing.assert_allclose(found["t2m"], whole["t2m"].astype("f4"), rtol=1e-6)
    (whole + 1).isel(longitude=slice(2, 4)).assign_attrs(x=1).to_netcdf(tmp_path / "other.nc")
    files[1] = tmp_path / "other.nc"
    refused(lambda: open_climate(files, accumulated="daily_mean", units={"t2m": "K", "tp": "m"}), "overlap")


# ---- Zarr ----


def store(path, fill, chunks, zarr_format=3):
    ds = cube().chunk(chunks)
    encoding = {v: {"write_empty_chunks": True} for v in ("t2m", "tp")}
    ds.to_zarr(path, zarr_format=zarr_format, consolidated=False, encoding=encoding)
    for v in ("t2m", "tp") if zarr_format == 3 else ():
        meta = json.loads((path / v / "zarr.json").read_text())
        meta["fill_value"] = fill
        (path / v / "zarr.json").write_text(json.dumps(meta))
    return path


YEARS, BLOCKS = {"time": 12, "latitude": 3, "longitude": 4}, {"time": 24, "latitude": 3, "longitude": 2}


@pytest.mark.parametrize(
    ("fill", "chunks", "lost"), [(0.0, YEARS, "1/0/0"), ("NaN", YEARS, "1/0/0"), ("NaN", BLOCKS, "0/0/1")]
)
def test_a_missing_chunk_is_no_data(tmp_path, fill, chunks, lost):
    path = store(tmp_path / "x.zarr", fill, chunks)
    assert months_found(open_climate(path, accumulated="daily_mean")) == "2019-01"
    (path / "tp" / "c" / lost).unlink()
    refused(lambda: open_climate(path, accumulated="daily_mean"), "1 of 2 chunks", "x.zarr: tp")


def test_chunks_of_sea_may_be_left_out_and_chunks_of_a_version_2_store_may_not(tmp_path):
    path = store(tmp_path / "sea.zarr", "NaN", BLOCKS)
    for name in ("t2m", "tp"):
        (path / name / "c/0/0/1").unlink()
    assert np.isnan(open_climate(path, accumulated="daily_mean")["t2m"][:, :, 2:]).all()
    old = store(tmp_path / "old.zarr", None, YEARS, zarr_format=2)
    (old / "tp" / "1.0.0").unlink()
    refused(lambda: open_climate(old, accumulated="daily_mean"), "1 of 2 chunks")


def test_a_zipped_store_and_a_zipped_grib_file(tmp_path):
    store(tmp_path / "x.zarr", "NaN", YEARS)
    grib(tmp_path / "y.grib")
    for name, parts in (("a.zip", tmp_path / "x.zarr"), ("b.nc", tmp_path / "y.grib")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file in sorted(parts.rglob("*")) if parts.is_dir() else [parts]:
                archive.write(file, file.relative_to(tmp_path))
        assert months_found(open_climate(tmp_path / name, accumulated="daily_mean")) == "2019-01"


def test_a_folder_of_files_says_how_to_name_them(tmp_path):
    cube().to_netcdf(tmp_path / "x.nc")
    refused(lambda: open_climate(tmp_path, accumulated="daily_mean"), f"{tmp_path}/*.nc")


# ---- what was never measured ----


def test_a_fill_that_is_not_declared_is_found_in_one_row_of_cells(tmp_path):
    ds = cube()
    ds["t2m"][:, 1] = 194.3
    refused(lambda: quick_look(opened(tmp_path, ds), source="x.nc"), "4 of 12 cells", "194.3", "_FillValue")


def series(count=72, **changes):
    season = 270 - 12 * np.cos(2 * np.pi * np.arange(count) / 12) + np.sin(np.arange(count))
    months = np.arange("2000-01", "2100-01", dtype="datetime64[M]")[:count]
    return season, months


def test_series_that_cannot_be_true():
    warm, months = series()
    assert fault_of(warm, "t2m", months) == ""
    assert "step of +15.0 K in 2003-01" in fault_of(np.where(np.arange(72) < 36, warm, warm + 15), "t2m", months)
    block = np.where((np.arange(72) >= 24) & (np.arange(72) < 48), warm - 15, warm)
    assert "step of -15.0 K in 2002-01" in fault_of(block, "t2m", months)
    filled = np.where((np.arange(72) // 12) == 1, 194.3, warm)
    assert "same value, 194.3, in 12 months from 2001-01" in fault_of(filled, "t2m", months)
    rain = 0.1 + 0.01 * np.sin(np.arange(72))
    assert fault_of(rain, "tp", months) == ""
    assert "exactly 0 in 12 months from 2000-01" in fault_of(np.zeros(72), "tp", months)
    assert "unit or stream" in fault_of(np.where(np.arange(72) < 36, rain, rain / 30.4), "tp", months)
    assert fault_of(np.where(np.arange(72) % 12 < 11, 0, 0.02), "tp", months) == ""  # a desert


def test_one_dry_glacier_fails_and_a_dry_region_is_an_error():
    warm, months = series()
    rain = np.full((4, 72), 0.1)
    rain[2, 12:30] = 0
    sampled = xr.Dataset(
        {"tp": (("glacier", "time"), rain), "t2m": (("glacier", "time"), np.tile(warm, (4, 1)))},
        coords={"glacier": list("abcd"), "time": months.astype("datetime64[ns]")},
    )
    (failure,) = implausible(sampled, source="x.nc")
    assert failure[:2] == ("c", "tp")
    assert "exactly 0" in failure[2]
    sampled["tp"][:] = np.where(np.arange(72) < 12, 0, 0.1)
    refused(lambda: implausible(sampled, source="x.nc"), "4 of 4 glaciers", "exactly 0")


def test_negative_precipitation_is_counted_and_can_be_taken_as_none(tmp_path):
    ds = cube()
    ds["tp"][5, 0, :2] = -0.002
    texts = "2 of 288 values are negative", "2019-06", "negative_precipitation: zero"
    refused(lambda: check_values(opened(tmp_path, ds), source="x.nc"), *texts)
    found = opened(tmp_path, ds, negative_precipitation="zero")
    check_values(found, source="x.nc")
    assert float(found["tp"].min()) == 0.0


def test_the_declared_stream_is_told_beside_what_others_would_make(tmp_path):
    ds = cube()
    ds["tp"][:] = 0.003
    (line,) = annual_amounts(opened(tmp_path, ds), where="the area")
    assert (
        line == "tp: 1.1 m a year over the area with `accumulated: daily_mean` (hourly_mean 26.3, monthly_total 0.036)"
    )
    ds["tp"].attrs["units"] = "m day-1"
    assert annual_amounts(opened(tmp_path, ds), where="the area") == []  # the unit says it


def test_the_odd_latitude_is_named():
    grid = xr.Dataset(coords={"latitude": [47.0, 46.9, 46.8, 46.5, 46.4], "longitude": [10.0, 10.1]})
    refused(lambda: grid_of(grid), "46.8 is followed by 46.5")


# ---- the agencies' own files ----


@pytest.mark.real
def test_files_as_their_agency_wrote_them(real_data):
    folder = real_data / "agency_files"

    def look(name, **options):
        found = open_climate(folder / name, accumulated="daily_mean", **options)
        return set(found.data_vars), found.sizes["time"], [str(found["time"].values[i])[:7] for i in (0, -1)]

    both = {"t2m", "tp"}
    assert look("era5_monthly_t2m_tp_expver.grib") == (both, 207, ["2008-01", "2025-03"])
    assert look("era5_monthly_t2m_tp_expver.grib", expver="final") == (both, 206, ["2008-01", "2025-02"])
    assert look("era5_2024cds_stepType-av*.nc") == (both, 240, ["2005-01", "2024-12"])
    assert look("era5_2024-11cds_zip_named_nc.nc") == (both | {"d2m", "v10"}, 490, ["1984-01", "2024-10"])
    assert look("era5land_2024cds_one_month.nc") == (both, 1, ["2025-01", "2025-01"])
    old = look("era5_oldcds_expver_dimension.nc", names={"u10": "u100", "v10": "v100"})
    assert old == ({"u10", "v10"}, 22, ["2020-01", "2021-10"])
    refused(lambda: look("era5land_monthly_by_hour.zip"), "by hour of day")
    assert not list(folder.glob("*.idx"))


# ---- small chunks ----


def stored(tmp_path, chunks, **others):
    """A year of fields in chunks of these sizes, and the blocks in which they are read."""
    shape = (12, 40, 50)
    values = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    sizes = {"t2m": chunks, "tp": others.get("tp", chunks)}
    dims = others.get("dims", DIMS)
    coords = {"time": FIRST[:12], "latitude": 50 - 0.1 * np.arange(40), "longitude": 10 + 0.1 * np.arange(50)}
    ds = xr.Dataset({n: (DIMS, values + k) for k, n in enumerate(sizes)}, coords=coords).transpose(*dims)
    ds.to_netcdf(tmp_path / "x.nc", encoding={n: {"chunksizes": s, "zlib": True} for n, s in sizes.items()})
    with open_dataset(tmp_path / "x.nc") as found:
        for name in sizes:
            np.testing.assert_array_equal(found[name].values, ds[name].values)
        return found["t2m"].chunks


def test_small_chunks_are_read_several_months_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_BLOCK", 5.5 * 40 * 50 * 4)
    assert stored(tmp_path, (1, 40, 50))[0] == (5, 5, 2)
    assert stored(tmp_path, (2, 40, 50)) == ((4, 4, 4), (40,), (50,))
    assert stored(tmp_path, (3, 20, 25)) == ((12,), (20, 20), (25, 25))


def test_chunks_stay_as_they_are_where_blocks_would_split_them_or_take_more_cells(tmp_path, monkeypatch):
    assert stored(tmp_path, (1, 40, 50))[0] == (12,)
    assert stored(tmp_path, (3, 40, 50), tp=(2, 40, 50))[0] == (3, 3, 3, 3)
    assert stored(tmp_path, (4, 5, 12), dims=("latitude", "longitude", "time"))[0] == (4,) * 10
    monkeypatch.setattr(files, "_BLOCK", 1.5 * 40 * 50 * 4)
    assert stored(tmp_path, (1, 40, 50))[0] == (1,) * 12
