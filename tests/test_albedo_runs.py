"""Whole runs of a few square glaciers whose albedo and climate tell their month, on either side of the equator."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import yaml
from rasterio.transform import Affine

from glacmb_grid.config import load_config
from glacmb_grid.stores.formats import read_zarr
from glacmb_grid.synthetic.sinusoidal import day_of_year, write_eos
from glacmb_grid.workflow.check import check
from glacmb_grid.workflow.runner import run

TILE = 1111950.5196666666
YEARS = range(2001, 2005)
EAST = 9.0


def percent(day):
    """December 2000 is 12 %, January 2001 is 23 %: 10 a year from 2000 on, and the month."""
    year, month = (int(t) for t in str(day)[:7].split("-"))
    return max(10 * (year - 2000) + month, 1)


def days(months):
    every = np.arange("1999-04", "2005-01", dtype="datetime64[M]")
    return [m.astype("datetime64[D]") + d for m in every if int(str(m)[5:]) in months for d in (4, 9, 14, 19)]


def hdf4(folder, day, latitude):
    """A tile of MOD10A1, with fewer pixels."""
    pytest.importorskip("pyhdf.SD")
    v = int((10007554.677 - 6371007.181 * np.radians(latitude)) // TILE)
    path = folder / f"MOD10A1.A{day_of_year(day)}.h18v{v:02d}.061.2020.hdf"
    top = 10007554.677 - v * TILE
    layers = {"Snow_Albedo_Daily_Tile": np.full((48, 48), percent(day), "uint8")}
    write_eos(path, layers, (0.0, top, TILE, top - TILE), "MOD10A1", "MOD_Grid_Snow_500m", {})


def world(folder, latitudes, months):
    """Two glaciers at each latitude, 0.2 degrees apart; warm in January south of the equator, in July north of it."""
    lat = np.round(np.arange(max(latitudes) + 0.4, min(latitudes) - 0.5, -0.2), 5)
    lon = np.round(EAST + 0.2 * np.arange(-2, 4), 5)
    time = np.arange("1999-01", "2005-01", dtype="datetime64[M]")
    month = time.astype(int) % 12 + 1
    warmth = -np.cos(2 * np.pi * (month - 1) / 12)
    rng = np.random.default_rng(0)
    t2m = 272 + 8 * warmth[:, None] * np.sign(lat) + rng.normal(0, 0.5, (len(time), 1))
    coords = {"time": time.astype("datetime64[ns]"), "latitude": lat, "longitude": lon}
    dims = ("time", "latitude", "longitude")
    fields = {
        "t2m": t2m[:, :, None] + 0 * lon,
        "tp": 0.002 + 0.0001 * month[:, None, None] + 0 * lat[:, None] + 0 * lon,
    }
    climate = xr.Dataset({n: (dims, v, {"units": u}) for (n, v), u in zip(fields.items(), "Km", strict=True)}, coords)
    climate.to_netcdf(folder / "climate.nc")
    z = {"z": (dims[1:], np.full((len(lat), len(lon)), 2500 * 9.80665), {"units": "m2 s-2"})}
    xr.Dataset(z, {n: coords[n] for n in dims[1:]}).to_netcdf(folder / "invariant.nc")
    places = [(EAST + 0.2 * k, y) for y in latitudes for k in (0, 1)]
    ids = [f"RGI60-00.{i:05d}" for i in range(len(places))]
    shapes = [shapely.Point(p).buffer(0.03, quad_segs=2) for p in places]
    gpd.GeoDataFrame({"RGIId": ids}, geometry=shapes, crs=4326).to_file(folder / "outlines.gpkg")
    height = int((lat[0] - lat[-1]) / 0.02)
    heights = (2800 + np.add.outer(np.arange(height) % 50, np.arange(40))).astype("int16")
    where = Affine(0.02, 0, EAST - 0.2, 0, -0.02, lat[0])
    options = {"count": 1, "height": height, "width": 40, "dtype": "int16", "crs": "EPSG:4326", "transform": where}
    with rasterio.open(folder / "dem.tif", "w", driver="GTiff", **options) as file:
        file.write(heights, 1)
    rows = [(i, y, int(rng.normal(-500, 300)), i) for i in ids for y in YEARS]
    table = pd.DataFrame(rows, columns=["WGMS_ID", "YEAR", "ANNUAL_BALANCE", "RGI_ID"])
    table["WGMS_ID"] = table["RGI_ID"].str[-5:].astype(int)
    table.to_csv(folder / "fog.csv", index=False)
    (folder / "albedo").mkdir()
    for latitude in latitudes:
        for day in days(months):
            hdf4(folder / "albedo", day, latitude)
    config = {
        "glaciers": {"path": "outlines.gpkg"},
        "climate": {"files": "climate.nc", "accumulated": "daily_mean", "invariant": "invariant.nc"},
        "elevation": {"files": "dem.tif"},
        "albedo": {"files": "albedo/*.hdf"},
        "observations": {"path": "fog.csv", "units": "mm w.e."},
        "validation": {"models": ["mean"], "schemes": ["logo"], "inner": 2},
        "product": {"model": "mean"},
        "scores": {"bootstrap": 100},
        "store": {"root": str(folder / "run")},
    }
    (folder / "region.yaml").write_text(yaml.safe_dump(config))
    return folder / "region.yaml"


def column(predictors, name):
    return predictors["predictors"].sel(predictor=name)


@pytest.mark.slow
def test_southern_tiles_from_file_to_product(tmp_path):
    config = load_config(world(tmp_path, [-33.0, -33.4], (12, 1, 2, 6)), [])
    assert "hydrological years 2000..2004" in check(config)
    run(config, say=lambda text: None)
    predictors = read_zarr(tmp_path / "run/predictors/predictors.zarr")
    lowest, mean = column(predictors, "summer_albedo_min"), column(predictors, "summer_albedo_mean")
    for year in YEARS:
        expected = [percent(np.datetime64(m)) / 100 for m in (f"{year - 1}-12", f"{year}-01", f"{year}-02")]
        np.testing.assert_allclose(lowest.sel(year=year), min(expected), rtol=1e-6)
        np.testing.assert_allclose(mean.sel(year=year), np.mean(expected), rtol=1e-6)
    with xr.open_dataset(tmp_path / "run/products/glacier_annual.nc") as product:
        assert str(product["time_bnds"].sel(year=2001).values[0])[:10] == "2000-04-01"


@pytest.mark.slow
def test_glaciers_on_both_sides_of_the_equator_in_one_run(tmp_path):
    config = load_config(world(tmp_path, [6.0, -6.0], (12, 1, 2, 6, 7, 8)), [])
    assert any("both sides of the equator" in line for line in check(config))
    run(config, say=lambda text: None)
    predictors = read_zarr(tmp_path / "run/predictors/predictors.zarr")
    assert predictors["first_month"].values.tolist() == [10, 10, 4, 4]
    warmer = column(predictors, "t2m_summer") - column(predictors, "t2m_annual")
    np.testing.assert_allclose(warmer, 7.3, atol=1)
    lowest = column(predictors, "summer_albedo_min")
    for year in YEARS:
        north, south = (percent(np.datetime64(m)) / 100 for m in (f"{year}-06", f"{year - 1}-12"))
        south = min(south, percent(np.datetime64(f"{year}-01")) / 100)
        np.testing.assert_allclose(lowest.sel(year=year), [north, north, south, south], rtol=1e-6)
    with xr.open_dataset(tmp_path / "run/products/glacier_annual.nc") as product:
        starts = product["time_bnds"].sel(year=2001).values[:, 0].astype("datetime64[D]").astype(str)
        assert starts.tolist() == ["2000-10-01", "2000-10-01", "2000-04-01", "2000-04-01"]
