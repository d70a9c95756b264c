"""Lapse rates by month and fitted on the model's cells, against known truth and a loop over glaciers."""

from __future__ import annotations

from pathlib import Path

import dask
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError
from glacmb_grid.predictors import build_predictors
from glacmb_grid.sampling.lapse_rate import correct_temperature, fitted_lapse_rate
from glacmb_grid.sampling.zonal import overlap_weights

RATES = np.linspace(-0.0085, -0.003, 12)


def climate(lat, lon, *, rates=RATES, noise=0.0, years=3, seed=0, relief=2500.0):
    """Temperature falls with the orography by the month's rate."""
    rng = np.random.default_rng(seed)
    time = pd.date_range("2001-01-01", periods=12 * years, freq="MS")
    height = 2000 + relief * rng.random((len(lat), len(lon)))
    month = time.month.values - 1
    t2m = (
        285 + np.asarray(rates)[month][:, None, None] * height + noise * rng.standard_normal((len(time), *height.shape))
    )
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), t2m), "orography": (("latitude", "longitude"), height)},
        coords={"time": time, "latitude": lat, "longitude": lon},
    )


def boxes(*corners, size=0.05):
    shapes = [shapely.box(x, y, x + size, y + size) for x, y in corners]
    return gpd.GeoDataFrame(geometry=shapes, index=[f"G{i}" for i in range(len(shapes))], crs=4326)


LAT, LON = np.arange(47.0, 45.95, -0.1), np.arange(9.0, 10.55, 0.1)
GLACIERS = boxes((9.52, 46.5), (9.98, 46.33), (9.0, 46.0), (10.45, 46.98), (9.53, 46.51))


def fitted(ds, glaciers=GLACIERS, **options):
    return fitted_lapse_rate(ds, overlap_weights(glaciers, ds), **options)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_true_rate_of_every_month_is_found(noise):
    ds = fitted(climate(LAT, LON, noise=noise, years=10))
    assert ds["lapse_rate"].dims == ("glacier", "month")
    np.testing.assert_allclose(ds["lapse_rate"], np.tile(RATES, (5, 1)), atol=1e-9 if noise == 0 else 4e-4)
    assert not ds["lapse_rate_fallback"].any()


@pytest.mark.filterwarnings("ignore:the lapse rate could not be fitted")
@pytest.mark.parametrize("cells", [1, 2, 3])
def test_it_is_the_regression_over_the_neighbouring_cells(cells):
    ds = climate(LAT, LON, noise=2.0)
    ds["t2m"] = ds["t2m"].where(np.random.default_rng(3).random((len(LAT), len(LON))) > 0.2)
    weights = overlap_weights(GLACIERS, ds)
    found = fitted_lapse_rate(ds, weights, cells=cells)
    monthly = ds["t2m"].groupby("time.month").mean().values
    used = 0
    for g in range(len(GLACIERS)):
        y, x = np.divmod(weights.column[weights.row == g], len(LON))
        ys = slice(max(y.min() - cells, 0), y.max() + cells + 1)
        xs = slice(max(x.min() - cells, 0), x.max() + cells + 1)
        z, t = ds["orography"].values[ys, xs].ravel(), monthly[:, ys, xs].reshape(12, -1)
        ok = np.isfinite(t).all(axis=0)
        for m in range(12):
            slope = np.polyfit(z[ok], t[m, ok], 1)[0] if ok.sum() > 1 else np.nan
            sound = ok.sum() >= 6 and np.ptp(z[ok]) >= 300 and -0.0098 <= slope <= 0
            assert found["lapse_rate"].values[g, m] == pytest.approx(slope if sound else -0.0065, rel=1e-7)
            assert found["lapse_rate_fallback"].values[g, m] == (not sound)
            used += sound
    assert used > 20


@pytest.mark.parametrize(
    ("options", "keep"),
    [({"relief": 250.0}, 100), ({}, 5), ({"rates": [-0.0105] * 12}, 100), ({"rates": [0.002] * 12}, 100)],
    ids=["flat", "few cells", "too steep", "inversion"],
)
def test_what_cannot_be_fitted_falls_back_and_is_told(options, keep):
    ds = climate(LAT, LON, **options)
    number = np.arange(len(LAT) * len(LON)).reshape(len(LAT), len(LON))
    near = {int(n) for n in number[4:6, 4:8].ravel()[:keep]}
    ds["t2m"] = ds["t2m"].where(
        xr.DataArray(np.isin(number, list(near)) | (keep == 100), dims=("latitude", "longitude"))
    )
    with pytest.warns(UserWarning, match="100% of the glaciers' months"):
        found = fitted(ds, GLACIERS.iloc[:1])
    assert (found["lapse_rate"] == -0.0065).all()
    assert (found["lapse_rate_fallback"] == 1).all()


def test_months_fall_back_one_by_one():
    rates = np.where(np.arange(12) < 3, 0.004, -0.006)
    with pytest.warns(UserWarning, match="25% of the glaciers' months.*0 of 5 glaciers in no month"):
        found = fitted(climate(LAT, LON, rates=rates))
    np.testing.assert_allclose(found["lapse_rate"], np.tile(np.where(rates > 0, -0.0065, rates), (5, 1)))


def test_a_glacier_beside_the_seam_of_a_global_grid_sees_both_sides():
    lat, lon = np.arange(60.0, 40, -2.0), np.arange(0.0, 360, 5.0)
    ds = climate(lat, lon, noise=1.0)
    shape = boxes((-0.5, 50.0), size=1.0)
    here = fitted(ds, shape)["lapse_rate"].values
    middle = ds.assign_coords(longitude=(lon + 180) % 360).sortby("longitude")
    moved = fitted(middle, boxes((179.5, 50.0), size=1.0))["lapse_rate"].values
    np.testing.assert_allclose(here, moved, rtol=1e-9)


def test_only_chunks_around_the_glaciers_are_read():
    whole = climate(LAT, LON)
    read = []

    def look(block, block_info=None):
        read.append(block_info[0]["chunk-location"][1:])
        return block

    t2m = whole["t2m"].chunk({"time": -1, "latitude": 3, "longitude": 4})
    ds = whole.assign(t2m=t2m.copy(data=t2m.data.map_blocks(look, dtype=t2m.dtype, meta=np.empty((0, 0, 0)))))
    with dask.config.set(scheduler="synchronous"):
        fitted(ds, boxes((9.42, 46.96)), cells=1)
    assert sorted(read) == [(0, 0), (0, 1)]


def test_a_fit_needs_the_orography():
    with pytest.raises(InputError, match="orography"):
        fitted(climate(LAT, LON).drop_vars("orography"))


def sampled(months=24, glaciers=3):
    rng = np.random.default_rng(1)
    time = pd.date_range("2000-10-01", periods=months, freq="MS")
    return xr.Dataset(
        {
            "t2m": (("glacier", "time"), rng.normal(270, 5, (glaciers, months)).astype(np.float32)),
            "orography": ("glacier", np.array([2000.0, 2500.0, 3500.0])),
        },
        coords={"glacier": ["a", "b", "c"], "time": time},
    )


HEIGHT = xr.DataArray([3000.0, 3000.0, 3000.0], dims="glacier", coords={"glacier": ["a", "b", "c"]})


def test_twelve_rates_are_those_of_their_months():
    ds = sampled()
    out = correct_temperature(ds, HEIGHT, lapse_rate=tuple(RATES))["t2m_corrected"]
    shift = out.values.astype(float) - ds["t2m"].values
    np.testing.assert_allclose(shift[0, :3], 1000 * RATES[[9, 10, 11]], atol=2e-5)
    np.testing.assert_allclose(shift[2, 3:5], -500 * RATES[[0, 1]], atol=2e-5)
    assert out.attrs["lapse_rate"].startswith("January to December: -0.0085, ")


@pytest.mark.parametrize("chunks", [{"time": 5, "glacier": 2}, {"time": -1, "glacier": 1}])
def test_chunks_and_forms_do_not_change_a_bit(chunks):
    ds = sampled()
    one = correct_temperature(ds, HEIGHT, lapse_rate=-0.006)["t2m_corrected"].values
    twelve = correct_temperature(ds, HEIGHT, lapse_rate=(-0.006,) * 12)["t2m_corrected"].values
    each = xr.DataArray(np.full((3, 12), -0.006), dims=("glacier", "month"), coords={"glacier": ["a", "b", "c"]})
    own = correct_temperature(ds.chunk(chunks), HEIGHT, lapse_rate=each)["t2m_corrected"]
    assert dask.is_dask_collection(own)
    assert one.tobytes() == twelve.tobytes() == own.values.tobytes()


def test_rates_of_other_glaciers_are_refused():
    each = xr.DataArray(np.full((3, 12), -0.006), dims=("glacier", "month"), coords={"glacier": ["c", "b", "a"]})
    with pytest.raises(ValueError, match="glacier"):
        correct_temperature(sampled(), HEIGHT, lapse_rate=each)


def test_degree_days_follow_the_rates_of_their_months():
    ds = correct_temperature(sampled(), HEIGHT, lapse_rate=0.0).drop_vars("orography")
    terrain = xr.Dataset(
        {"hypsometry": (("glacier", "band"), np.tile(np.linspace(2500, 3500, 10), (3, 1))), "elevation_mean": HEIGHT}
    )
    glaciers = xr.Dataset(
        {n: ("glacier", np.ones(3)) for n in ("area", "longitude")} | {"latitude": ("glacier", [45.0] * 3)},
        coords={"glacier": HEIGHT["glacier"]},
    )

    def summers(rate):
        built = build_predictors(ds, terrain, glaciers, first_month=10, lapse_rate=rate)["predictors"]
        return built.sel(predictor="degree_days_summer").values

    months = xr.DataArray(RATES, dims="month", coords={"month": np.arange(1, 13)})
    steady = {m: summers(float(RATES[m - 1])) for m in (6, 7, 8)}
    summer_only = xr.where(months["month"].isin([6, 7, 8]), months, 0.0)
    np.testing.assert_array_equal(summers(months), summers(summer_only))
    alike = xr.DataArray(np.full((3, 12), RATES[5]), dims=("glacier", "month"), coords={"month": np.arange(1, 13)})
    np.testing.assert_array_equal(summers(alike), steady[6])
    low, high = np.minimum.reduce(list(steady.values())), np.maximum.reduce(list(steady.values()))
    assert ((summers(months) >= low) & (summers(months) <= high)).all()
    assert not np.array_equal(steady[6], steady[8])


@pytest.mark.parametrize(
    "value", ["[-0.006, -0.007]", "fited", "-0.5", "true", "[-6.5,-6,-6,-6,-6,-6,-6,-6,-6,-6,-6,-6]"]
)
def test_rates_that_are_none_are_refused_in_one_message(value):
    demo = Path(__file__).parents[1] / "configs" / "demo.yaml"
    with pytest.raises(InputError, match="twelve") as error:
        load_config(demo, [f"sampling.lapse_rate={value}"])
    assert "sampling.lapse_rate" in error.value.where
    assert "'fitted'" in error.value.expected
