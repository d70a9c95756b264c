"""Months of daily and hourly fields: means, amounts, degree days, and what is refused."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from glacmb_grid.cli import main
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.climate import notes_of, open_climate
from glacmb_grid.inputs.climate.contract import Finer
from glacmb_grid.inputs.climate.ingest import ingest

LAT, LON = np.array([47.1, 47.0]), np.array([9.0, 9.1, 9.2])
DAILY = Finer("day")


def fields(time, *, lat=LAT, lon=LON, units=("K", "m"), **values):
    dims = ("valid_time", "latitude", "longitude")
    given = {n: np.broadcast_to(v, (len(time), len(lat), len(lon))).astype(np.float32) for n, v in values.items()}
    unit = dict(zip(("t2m", "tp"), units, strict=True))
    return xr.Dataset(
        {n: (dims, v, {"units": unit.get(n, "J m-2")}) for n, v in given.items()},
        coords={"valid_time": time, "latitude": lat, "longitude": lon},
    )


def written(folder, ds, name="era5.nc", **encoding):
    ds.to_netcdf(folder / name, encoding=encoding)
    return folder / name


def made(file, finer=DAILY, **options):
    return open_climate(file, **{"accumulated": "daily_mean", **options}, finer=finer)


def message(file, finer=DAILY, **options):
    with pytest.raises((InputError, InputErrors)) as error:
        made(file, finer, **options)
    return str(error.value)


def random_days(days, seed=1, **options):
    rng = np.random.default_rng(seed)
    shape = (len(days), len(options.get("lat", LAT)), len(options.get("lon", LON)))
    return fields(days, t2m=rng.normal(273, 6, shape), tp=rng.gamma(0.5, 0.01, shape), **options)


def test_two_months_known_by_hand(tmp_path):
    days = pd.date_range("2001-01-01", "2001-02-28")
    january = np.asarray(days.month == 1)
    warm = np.where(january, 0.0, np.where(np.asarray(days.day) <= 14, 3.0, -1.0))[:, None, None]
    cells = np.array([[0.0, 1.0, 2.0]] * 2)
    cube = made(
        written(tmp_path, fields(days, t2m=273.15 + warm + cells, tp=np.where(january, 1e-3, 2e-3)[:, None, None]))
    )
    assert [str(t)[:10] for t in cube["time"].values] == ["2001-01-01", "2001-02-01"]
    np.testing.assert_allclose(cube["t2m"][:, 0, 0], [273.15, 274.15], rtol=1e-7)
    np.testing.assert_allclose(cube["tp"][:, 0, 0], [0.031, 0.056], rtol=1e-6)
    np.testing.assert_allclose(cube["pdd"][:, 0], [[0, 31, 62], [14 * 3, 14 * 4, 14 * 5 + 14 * 1]], atol=1e-2)
    assert cube["pdd"].attrs["units"] == "K d"
    assert any("made of daily fields" in n for n in notes_of(cube))


def hourly(rng, hours):
    """Instants, and amounts of the hour which ends at each of them."""
    shape = (len(hours), 2, 3)
    amounts = rng.gamma(0.3, 1e-3, shape) * (rng.random(shape) < 0.5)
    return rng.normal(273, 6, shape), amounts


@pytest.mark.parametrize("accumulation", ["of_the_hour", "since_midnight"])
def test_hours_are_those_of_resample(tmp_path, accumulation):
    hours = pd.date_range("2003-12-31", "2004-03-01T00", freq="h")
    t2m, amounts = hourly(np.random.default_rng(2), hours)
    ending = xr.DataArray(amounts, dims=("time", "y", "x"), coords={"time": hours - pd.Timedelta("1h")})
    days = ending.resample(time="1D").sum()
    stored = amounts
    if accumulation == "since_midnight":
        table = pd.DataFrame(amounts.reshape(len(hours), -1))
        stored = table.groupby(ending["time"].values.astype("datetime64[D]")).cumsum().to_numpy().reshape(amounts.shape)
        assert stored[24, 0, 0] == pytest.approx(float(days[1, 0, 0]))  # 1 January 00:00: all of 31 December
    ds = fields(hours, t2m=t2m, tp=stored)
    year = made(written(tmp_path, ds), Finer("hour", accumulation), years=(2004, 2004), variables=["t2m", "tp", "pdd"])
    assert [str(t)[:7] for t in year["time"].values] == ["2004-01", "2004-02"]
    expected = days.sel(time="2004").resample(time="MS").sum().sel(time=year["time"])
    np.testing.assert_allclose(year["tp"], expected, rtol=2e-6)
    state = xr.DataArray(t2m.astype(np.float32), dims=("time", "y", "x"), coords={"time": hours}).astype(float)
    means = state.resample(time="1D").mean()
    np.testing.assert_allclose(year["t2m"], means.resample(time="MS").mean().sel(time=year["time"]), rtol=3e-7)
    melt = (means - 273.15).clip(min=0).resample(time="MS").sum().sel(time=year["time"])
    np.testing.assert_allclose(year["pdd"], melt, rtol=1e-5)
    other = "since_midnight" if accumulation == "of_the_hour" else "of_the_hour"
    assert f"use `--accumulation {accumulation}`" in message(
        tmp_path / "era5.nc", Finer("hour", other), years=(2004, 2004)
    )


def test_what_is_stored_is_the_day_before_where_it_is_said(tmp_path):
    days = pd.date_range("2001-01-01", "2001-03-01")
    value = np.arange(len(days))[:, None, None] * 1e-3
    file = written(tmp_path, fields(days, tp=value))
    until = made(file, Finer("day", "since_midnight"))
    np.testing.assert_allclose(until["tp"][:, 0, 0], [1e-3 * sum(range(1, 32)), 1e-3 * sum(range(32, 60))], rtol=1e-6)
    of_day = made(file)  # the single day of March reaches over the edge
    np.testing.assert_allclose(of_day["tp"][:, 0, 0], [1e-3 * sum(range(31)), 1e-3 * sum(range(31, 59))], rtol=1e-6)


@pytest.mark.parametrize(
    ("units", "accumulated", "factor"),
    [
        ("mm", "daily_mean", 1e-3),
        ("m", "hourly_mean", 24),
        ("kg m-2 s-1", "daily_mean", 86.4),
        ("mm day-1", "daily_mean", 1e-3),
    ],
)
def test_units_and_means_of_hours_count(tmp_path, units, accumulated, factor):
    days = pd.date_range("2001-02-01", "2001-02-28")
    file = written(tmp_path, fields(days, tp=np.arange(28.0)[:, None, None], units=("K", units)))
    np.testing.assert_allclose(made(file, accumulated=accumulated)["tp"], factor * 378, rtol=1e-6)


def test_a_missing_day_is_named_and_months_left_out_at_the_ends_only(tmp_path):
    days = pd.date_range("2001-01-03", "2001-05-20")
    file = written(tmp_path, random_days(days))
    text = message(file)
    assert "era5.nc" in text
    assert "2001-01-01" in text
    assert "--incomplete leave_out" in text
    cube = made(file, Finer("day", incomplete="leave_out"))
    assert [str(t)[:7] for t in cube["time"].values] == ["2001-02", "2001-03", "2001-04"]
    holed = written(tmp_path, random_days(days.delete(70)), "holed.nc")
    text = message(holed, Finer("day", incomplete="leave_out"))
    assert f"1 missing in 2001-03: {days[70].date()}" in text
    assert "given more than once: 2001-03" in message([file, written(tmp_path, random_days(days[70:80]), "twice.nc")])


def test_the_last_hour_of_a_year_lies_in_the_first_field_of_the_next(tmp_path):
    hours = pd.date_range("2001-01-01", "2001-02-28T23", freq="h")
    t2m, amounts = hourly(np.random.default_rng(3), hours)
    file = written(tmp_path, fields(hours, t2m=t2m, tp=amounts))
    text = message(file, Finer("hour", "of_the_hour"))
    assert "tp" in text
    assert "1 missing in 2001-02: 2001-02-28T23:00; the amount of an hour is stamped at its end" in text
    cube = made(file, Finer("hour", "of_the_hour", "leave_out"))
    assert [str(t)[:7] for t in cube["time"].values] == ["2001-01"]  # also of the temperature, which has February


def noleap(folder):
    ds = random_days(pd.date_range("2001-01-01", "2001-02-28"))
    ds = ds.convert_calendar("noleap", dim="valid_time", use_cftime=True)
    return written(folder, ds)


def every(step, **options):
    def write(folder):
        time = pd.date_range("2001-01-01", "2001-03-31", freq=step)
        return written(folder, random_days(time + pd.Timedelta(options.get("shift", "0h"))))

    return write


REFUSED = [
    (every("MS"), DAILY, {}, "leave `--from` out"),
    (every("MS"), Finer("hour", "of_the_hour"), {}, "leave `--from` out"),
    (every("h"), DAILY, {}, "`--from hourly`"),
    (every("D"), Finer("hour", "of_the_hour"), {}, "`--from daily`"),
    (every("3h"), Finer("hour", "of_the_hour"), {}, "every 3 hours"),
    (every("h", shift="30min"), Finer("hour", "of_the_hour"), {}, "full hours"),
    (every("h"), Finer("hour"), {}, "--accumulation since_midnight"),
    (every("D", shift="12h"), Finer("day", "since_midnight"), {}, "00:00 of the next day"),
    (every("D"), DAILY, {"accumulated": "monthly_total"}, "daily_mean"),
    (every("h"), Finer("hour", "of_the_hour"), {"stamp": "end"}, "leave it out"),
    (every("D"), None, {}, "--from daily`"),
    (noleap, DAILY, {}, "noleap"),
]


@pytest.mark.parametrize(("write", "finer", "options", "said"), REFUSED)
def test_what_is_not_such_fields_is_refused_with_what_to_do(tmp_path, write, finer, options, said):
    assert said in message(write(tmp_path), finer, **options)


def test_an_accumulation_of_another_step_is_refused():
    for every_, accumulation in (("day", "of_the_hour"), ("hour", "of_the_day")):
        with pytest.raises(InputError, match="since_midnight"):
            Finer(every_, accumulation)


@pytest.mark.parametrize("chunk", [1, 50])
def test_a_cube_larger_than_the_slab_is_streamed(tmp_path, chunk):
    lat, lon = np.round(48 - 0.1 * np.arange(40), 1), np.round(9 + 0.1 * np.arange(12), 1)
    days = pd.date_range("2001-01-01", "2001-12-31")
    ds = random_days(days, lat=lat, lon=lon)
    file = written(tmp_path, ds, **{n: {"chunksizes": (chunk, 40, 12)} for n in ("t2m", "tp")})
    cube = made(file)
    assert all(dask.is_dask_collection(cube[n]) for n in ("t2m", "tp", "pdd"))
    ingest(cube, tmp_path / "cube.zarr", accumulated="daily_mean", slab=1e3)
    again = open_climate(tmp_path / "cube.zarr", accumulated="daily_mean")
    xr.testing.assert_identical(again.compute(), cube.compute())
    assert again.attrs["made_of"] == "daily fields of era5.nc"
    expected = ds.rename(valid_time="time").astype(float).resample(time="MS")
    np.testing.assert_allclose(again["t2m"], expected.mean()["t2m"], rtol=2e-7)
    np.testing.assert_allclose(again["tp"], expected.sum()["tp"], rtol=2e-6)
    assert "leave `--from` out" in message(tmp_path / "cube.zarr")


@pytest.mark.filterwarnings("ignore")
def test_a_run_from_daily_fields_is_that_from_their_monthly_means(tmp_path, capsys):
    folder = tmp_path / "raw"
    assert main(["synth", str(folder), "--glaciers", "6", "--measured", "4", "--years", "2002", "2003", "--plain"]) == 0
    rng = np.random.default_rng(4)
    months = xr.merge(
        [
            xr.load_dataset(folder / f"era5_land/era5_land_monthly_{n}.nc")[[n]].drop_vars("expver")
            for n in ("t2m", "tp")
        ]
    )
    first, last = months["valid_time"].values[[0, -1]].astype("datetime64[M]")
    days = pd.date_range(str(first), (pd.Timestamp(str(last)) + pd.offsets.MonthEnd()), freq="D")
    daily = months.sel(valid_time=days.values.astype("datetime64[M]").astype("datetime64[ns]"))
    daily = daily.assign_coords(valid_time=days)
    daily["t2m"] = daily["t2m"] + xr.DataArray(rng.normal(0, 5, len(days)).astype(np.float32), dims="valid_time")
    daily["tp"] = daily["tp"] * xr.DataArray(rng.gamma(0.5, 2, len(days)).astype(np.float32), dims="valid_time")
    daily["t2m"].attrs, daily["tp"].attrs = {"units": "K"}, {"units": "m"}
    daily.to_netcdf(tmp_path / "daily.nc")
    means = daily.astype(np.float64).resample(valid_time="MS").mean(keep_attrs=True)
    means.to_netcdf(tmp_path / "means.nc")
    config = {
        "glaciers": {"path": "raw/rgi/RGI2000-v7.0-G-13_synthetic.gpkg"},
        "climate": {
            "files": "daily.nc",
            "invariant": "raw/era5_land/era5_land_invariant.nc",
            "accumulated": "daily_mean",
        },
        "elevation": {"files": "raw/dem/astgtm_synthetic_dem.tif"},
        "observations": {"path": "raw/fog/FOG_EE_MASS_BALANCE.csv", "units": "mm w.e."},
        "store": {"root": "out"},
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(config))
    store = str(tmp_path / "cube.zarr")
    assert main(["ingest", str(path), store]) == 1
    assert "--from daily`" in capsys.readouterr().err
    assert main(["ingest", str(path), store, "--accumulation", "since_midnight"]) == 1
    assert "`--from hourly` beside them" in capsys.readouterr().err
    assert main(["ingest", str(path), store, "--from", "daily"]) == 0
    assert "months made of daily fields" in capsys.readouterr().out
    ingested = ["--set", "climate.files=cube.zarr", "--set", "climate.invariant=null", "--set", "store.root=other"]
    for options in (["--set", "climate.files=means.nc"], ingested):
        assert main(["run", str(path), "--stage", "predictors", *options]) == 0
    capsys.readouterr()
    one, two = (xr.open_zarr(tmp_path / root / "predictors" / "predictors.zarr").load() for root in ("out", "other"))
    names = one["predictor"].values
    assert not any("pdd" in str(n) for n in names)
    np.testing.assert_allclose(
        two["predictors"].sel(predictor=names),
        one["predictors"],
        rtol=2e-6,
        atol=2e-6 * float(abs(one["predictors"]).max()),
    )
    values = two["predictors"]
    monthly = values.sel(predictor=[f"pdd_{m:02d}" for m in range(1, 13)])
    np.testing.assert_allclose(values.sel(predictor="pdd_annual"), monthly.sum("predictor"), rtol=1e-5)
    assert float(values.sel(predictor="pdd_07").min()) > float(values.sel(predictor="pdd_01").max())
