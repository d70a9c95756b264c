"""Departures from a normal that no attribute names: refused where nothing else can look so, told where it can."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.climate import open_climate
from glacmb_grid.inputs.climate.plausible import doubts_of, quick_look

YEARS = 12
TIME = np.arange("1990-01", "2002-01", dtype="datetime64[M]")
MONTH = np.arange(len(TIME)) % 12
SHAPE = (len(TIME), 6, 7)
DIMS = ("time", "latitude", "longitude")


def noise(scatter, common=0.8, seed=3):
    """Departures that most cells of an area share, month by month independent."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(SHAPE[0], 1, 1)) * np.sqrt(common)
    return scatter * (shared + rng.normal(size=SHAPE) * np.sqrt(1 - common))


def cycle(spread):
    """A yearly cycle of this range."""
    return -0.5 * spread * np.cos(2 * np.pi * (MONTH - 0.5) / 12)[:, None, None]


def heights(spread, middle=5000.0):
    """Heights of the cells, m."""
    return middle + spread * np.linspace(-1, 1, SHAPE[1] * SHAPE[2]).reshape(SHAPE[1:])


def written(tmp_path, latitude, orography=None, **fields):
    """A file of fields, each (values, unit)."""
    grid = {"latitude": latitude + 0.1 * np.arange(SHAPE[1])[::-1], "longitude": 10 + 0.1 * np.arange(SHAPE[2])}
    ds = xr.Dataset(
        {n: (DIMS, np.broadcast_to(v, SHAPE), {"units": u}) for n, (v, u) in fields.items()},
        coords={"time": TIME.astype("datetime64[ns]"), **grid},
    )
    if orography is not None:
        ds["orog"] = (DIMS[1:], orography, {"units": "m"})
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}fields.nc"
    ds.to_netcdf(path)
    return path


def looked_at(path, accumulated="monthly_total", **options):
    cube = open_climate(path, accumulated=accumulated, **options)
    return doubts_of(quick_look(cube, source="climate files"))


def refused(call, *texts):
    with pytest.raises((InputError, InputErrors)) as raised:
        call()
    for text in ("expected:", "found:", "remedy:", *texts):
        assert text in str(raised.value)


@pytest.mark.parametrize("unit", ["degC", "K"])
@pytest.mark.parametrize(("scatter", "level"), [(0.8, 0.0), (1.5, 0.9), (3.0, -0.5)])
@pytest.mark.parametrize("latitude", [-46.0, 70.0])
def test_anomalies_beyond_the_tropics_are_refused(tmp_path, unit, scatter, level, latitude):
    path = written(tmp_path, latitude, t2m=(level + noise(scatter), unit))
    refused(lambda: looked_at(path), "fields.nc: t2m", "no yearly cycle", "anomalies", "normals")


def test_anomalies_whose_normal_lies_far_back_are_refused(tmp_path):
    """Warmer winters than summers, and a trend."""
    trend = 0.05 * np.arange(SHAPE[0])[:, None, None] / 12
    path = written(tmp_path, 65.0, t2m=(1.0 + trend + cycle(-1.5) + noise(1.8), "degC"))
    refused(lambda: looked_at(path), "anomalies")


@pytest.mark.parametrize(
    ("latitude", "level", "spread", "scatter"),
    [
        (-53.0, 1.5, 4.0, 0.8),  # Heard Island
        (-49.0, 0.0, 5.5, 0.9),  # Kerguelen, higher up
        (64.0, 0.0, 10.0, 1.5),  # Iceland
        (46.0, -1.0, 16.0, 1.6),  # the Alps at 2400 m
        (78.0, -2.0, 20.0, 3.0),  # Svalbard
        (-3.0, 0.0, 2.5, 0.5),  # Kilimanjaro's height
        (-9.0, 0.5, 3.0, 0.6),  # Cordillera Blanca
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_small_yearly_cycles_about_zero_are_temperatures(tmp_path, latitude, level, spread, scatter, seed):
    path = written(tmp_path, latitude, t2m=(level + cycle(spread) + noise(scatter, seed=seed), "degC"))
    assert looked_at(path) == []


def test_on_the_equator_heights_decide_or_it_is_told(tmp_path):
    """Without any cycle, temperatures follow the heights of the cells, anomalies do not."""
    hills = heights(500.0)
    warm = -6.5e-3 * (hills - 5000) + noise(0.4)
    (line,) = looked_at(written(tmp_path, -0.5, hills, t2m=(np.clip(warm, -2.9, 2.9), "degC")))
    assert "fields.nc: t2m" in line
    assert "near the equator" in line
    refused(lambda: looked_at(written(tmp_path, -0.5, hills, t2m=(noise(0.4), "degC"))), "anomalies")
    refused(lambda: looked_at(written(tmp_path, -0.5, t2m=(noise(0.4), "degC"))), "anomalies")  # 42 cells all alike


def test_few_years_are_told(tmp_path):
    path = written(tmp_path, 46.0, t2m=(noise(1.0), "degC"))
    with xr.open_dataset(path) as ds:
        ds.isel(time=slice(0, 24)).to_netcdf(tmp_path / "two.nc")
    (line,) = looked_at(tmp_path / "two.nc")
    assert "two.nc: t2m" in line
    assert "no anomalies" in line


@pytest.mark.parametrize("taken", ["refuse", "zero"])
@pytest.mark.parametrize(("unit", "scatter"), [("mm", 30.0), ("mm/day", 1.0), ("kg m-2 s-1", 1e-5)])
def test_precipitation_that_is_half_negative_is_refused_whatever_is_done_with_negatives(tmp_path, unit, scatter, taken):
    path = written(tmp_path, 46.0, tp=(noise(scatter), unit))
    refused(lambda: looked_at(path, negative_precipitation=taken), "fields.nc: tp", "anomalies", "normals")


def test_a_few_negative_amounts_are_no_anomalies(tmp_path):
    rain = 60 + noise(10.0)
    rain[::7, 0] = -10.0
    path = written(tmp_path, 46.0, tp=(rain, "mm"))
    refused(lambda: looked_at(path), "negative_precipitation: zero")
    assert looked_at(path, negative_precipitation="zero") == []


def test_percent_of_normal_under_the_name_of_millimetres(tmp_path):
    percent = 100 * np.exp(noise(0.35) - 0.35**2 / 2)
    refused(lambda: looked_at(written(tmp_path, 46.0, tp=(percent, "mm"))), "fields.nc: tp", "percent of normal")


@pytest.mark.parametrize("kind", ["mountains", "season", "plain"])
def test_about_a_hundred_millimetres_a_month_are_rain(tmp_path, kind):
    rain = 100 * np.exp(noise(0.35) - 0.35**2 / 2)
    if kind == "mountains":
        rain = rain * heights(0.3, 1.0)
    elif kind == "season":
        rain = rain + cycle(60.0)
    else:
        rain = rain * 1.2
    assert looked_at(written(tmp_path, 46.0, tp=(np.maximum(rain, 1), "mm"))) == []
