"""Precipitation that is there as two summands only: CESM's PRECC and PRECL, ERA5's cp and lsp, or any by name."""

from __future__ import annotations

import cftime
import numpy as np
import pytest
import xarray as xr

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.climate import notes_of, open_climate
from glacmb_grid.inputs.climate.contract import Finer
from glacmb_grid.inputs.climate.ingest import ingest

LATITUDE, LONGITUDE = np.array([46.8, 46.7, 46.6]), np.array([10.6, 10.7, 10.8, 10.9])
MONTHS = np.arange("2018-10", "2021-01", dtype="datetime64[M]")
DAYS = ((MONTHS + np.timedelta64(1, "M")).astype("M8[D]") - MONTHS.astype("M8[D]")).astype(int)
DIMS = ("time", "latitude", "longitude")
NUMBER = np.arange(len(MONTHS))


def cube(fields, time=None):
    """Fields that tell their month, of {name: (value, growth a month, units)}."""
    shape = (len(NUMBER), len(LATITUDE), len(LONGITUDE))
    data = {
        n: (DIMS, np.broadcast_to((value + growth * NUMBER)[:, None, None], shape).copy(), {"units": units})
        for n, (value, growth, units) in fields.items()
    }
    time = MONTHS.astype("M8[ns]") if time is None else time
    return xr.Dataset(data, coords={"time": time, "latitude": LATITUDE, "longitude": LONGITUDE})


AIR = {"t2m": (265.0, 0.3, "K")}
CESM = {"PRECC": (1e-8, 1e-10, "m/s"), "PRECL": (3e-8, 2e-10, "m/s")}
ERA5 = {"cp": (0.001, 1e-5, "m"), "lsp": (0.002, 2e-5, "m")}


def opened(folder, *datasets, **options):
    for old in folder.glob("*.nc"):
        old.unlink()
    for number, ds in enumerate(datasets):
        ds.to_netcdf(folder / f"{number}.nc")
    return open_climate(f"{folder}/*.nc", **{"accumulated": "daily_mean", **options})


def refused(call, *texts):
    with pytest.raises((InputError, InputErrors)) as raised:
        call()
    for text in ("expected:", "found:", "remedy:", *texts):
        assert text in str(raised.value)


def test_rates_of_a_file_each_are_added_to_amounts_of_the_month(tmp_path):
    """As CESM delivers its series: a variable a file, no leap days, stamped at the end, with bounds of its own."""
    stamps = [
        cftime.datetime(int(str(m)[:4]), int(str(m)[5:]), 1, calendar="noleap") for m in MONTHS + np.timedelta64(1, "M")
    ]
    found = opened(tmp_path, *(cube({n: v}, stamps) for n, v in {**AIR, **CESM}.items()), stamp="end")
    rate = 1e-8 + 3e-8 + 3e-10 * NUMBER
    np.testing.assert_allclose(found["tp"].values[:, 0, 0], rate * 86400 * DAYS, rtol=1e-6)
    assert "tp is the sum of PRECC and PRECL" in "\n".join(notes_of(found))
    assert "stream" not in found["tp"].attrs


def test_amounts_of_era5_are_added_where_there_is_no_total_and_left_out_where_there_is_one(tmp_path):
    (tmp_path / "a").mkdir()
    found = opened(tmp_path / "a", cube(AIR | ERA5))
    np.testing.assert_allclose(found["tp"].values[:, 0, 0], (0.003 + 3e-5 * NUMBER) * DAYS, rtol=1e-6)
    assert found["tp"].attrs["stream"] == "daily_mean"
    (tmp_path / "b").mkdir()
    found = opened(tmp_path / "b", cube(AIR | ERA5), cube({"tp": (0.005, 0.0, "m")}))
    np.testing.assert_allclose(found["tp"].values[:, 0, 0], 0.005 * DAYS, rtol=1e-6)
    assert "variables not used: cp, lsp" in "\n".join(notes_of(found))


def test_a_list_of_names_is_a_sum_of_any_variables_even_beside_a_total(tmp_path):
    fields = {"rain": (20.0, 0.1, "mm month-1"), "snow": (0.001, 0.0, "m day-1"), "tp": (1.0, 0.0, "m")}
    found = opened(tmp_path, cube(AIR | fields), names={"tp": ["rain", "snow"]})
    np.testing.assert_allclose(found["tp"].values[:, 0, 0], 0.02 + 1e-4 * NUMBER + 0.001 * DAYS, rtol=1e-6)
    assert "tp is the sum of rain and snow" in "\n".join(notes_of(found))


def test_a_gap_in_one_summand_is_a_gap_in_the_sum(tmp_path):
    ds = cube(AIR | CESM)
    ds["PRECL"].values[4, 1, 2] = np.nan
    found = np.isnan(opened(tmp_path, ds)["tp"].values)
    assert found.sum() == 1
    assert found[4, 1, 2]


def test_a_missing_summand_is_an_error_unless_precipitation_is_not_wanted(tmp_path):
    half = cube(AIR | {"PRECC": CESM["PRECC"]})
    refused(lambda: opened(tmp_path, half), "PRECC", "no PRECL", "climate: {variables: [t2m, ...]}")
    assert list(opened(tmp_path, half, variables=["t2m"]).data_vars) == ["t2m"]
    refused(lambda: opened(tmp_path, half, names={"tp": ["PRECC", "PRECL"]}), "climate: names: tp", "no PRECL")


def test_each_summand_has_its_own_months_cells_and_unit(tmp_path):
    whole, convective, rest = (cube({n: f}) for n, f in {**AIR, **CESM}.items())
    refused(lambda: opened(tmp_path, whole, convective, rest.isel(time=slice(1, None))), "2.nc: PRECL: time", "PRECC")
    refused(lambda: opened(tmp_path, whole, convective, rest.isel(time=[0, *range(2, 27)])), "2.nc", "2018-11")
    refused(lambda: opened(tmp_path, whole, convective, rest.isel(longitude=[0, 1, 2])), "2.nc: PRECL", "longitude")
    rest["PRECL"].attrs["units"] = "furlong"
    refused(lambda: opened(tmp_path, whole, convective, rest), "2.nc: PRECL", "'furlong'")


def test_only_amounts_can_be_sums(tmp_path):
    refused(lambda: opened(tmp_path, cube(AIR | CESM), names={"t2m": ["a", "b"]}), "climate: names: t2m", "amounts")


def test_days_are_added_before_their_months_are_made(tmp_path):
    time = np.arange("2019-01-01", "2019-03-01", dtype="M8[D]").astype("M8[ns]")
    ones = np.ones((len(time), 3, 4))
    fields = {"t2m": (DIMS, 270 * ones, {"units": "K"}), "cp": (DIMS, 0.001 * ones, {"units": "m"})}
    fields["lsp"] = (DIMS, 0.002 * ones, {"units": "m"})
    ds = xr.Dataset(fields, coords={"time": time, "latitude": LATITUDE, "longitude": LONGITUDE})
    found = opened(tmp_path, ds, finer=Finer("day"))
    np.testing.assert_allclose(found["tp"].values[:, 0, 0], [0.093, 0.084], rtol=1e-6)


def test_an_ingested_store_knows_its_summands(tmp_path):
    names = {"tp": ["rain", "snow"]}
    fields = {"rain": (0.001, 0.0, "m"), "snow": (0.002, 0.0, "m")}
    found = opened(tmp_path, cube(AIR | fields), names=names)
    ingest(found, tmp_path / "s.zarr", accumulated="daily_mean", names=names)
    for again in (names, None):
        store = open_climate(tmp_path / "s.zarr", accumulated="daily_mean", names=again)
        np.testing.assert_array_equal(store["tp"].values, found["tp"].values)
    other = {"tp": ["rain", "hail"]}
    refused(lambda: open_climate(tmp_path / "s.zarr", accumulated="daily_mean", names=other), "rain", "hail")
