"""Climate on curvilinear grids: read as it lies, refused without ESMF, sampled through its weights with it."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import yaml

from glacmb_grid.cli import main
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.climate import open_climate
from glacmb_grid.inputs.climate.ingest import ingest
from glacmb_grid.stores.formats import read_zarr

ANGLE = np.deg2rad(20)


def turned(ny=24, nx=30, step=0.1):
    """Cells of a grid that is turned by 20 degrees."""
    v, u = np.meshgrid(step * (np.arange(ny) - ny / 2), step * (np.arange(nx) - nx / 2), indexing="ij")
    return 46.5 + u * np.sin(ANGLE) + v * np.cos(ANGLE), 10.5 + u * np.cos(ANGLE) - v * np.sin(ANGLE)


def written(folder, names=("rlat", "rlon"), months=24):
    """A field that is linear in latitude and longitude, as a regional model writes it."""
    lat, lon = turned()
    season = 8 * np.sin(2 * np.pi * (np.arange(months) - 3) / 12)
    t2m = 260 + (lat - 46) * -4 + (lon - 10) * 2 + season[:, None, None]
    time = pd.date_range("2001-01-01", periods=months, freq="MS")
    dims = ("time", *names)
    ds = xr.Dataset(
        {
            "t2m": (dims, t2m.astype(np.float32), {"units": "K"}),
            "tp": (dims, np.full(t2m.shape, 0.003, np.float32), {"units": "m"}),
        },
        coords={"time": time, "lat": (names, lat), "lon": (names, lon), names[0]: np.arange(lat.shape[0]) * 0.1},
    )
    ds.to_netcdf(folder / "wrf.nc")
    heights = {"z": (names, 9.80665 * (1500 + 300 * (lat - 46)), {"units": "m2 s-2"})}
    xr.Dataset(heights, coords={"lat": (names, lat), "lon": (names, lon)}).to_netcdf(folder / "invariant.nc")
    return folder / "wrf.nc", folder / "invariant.nc"


@pytest.mark.parametrize("names", [("rlat", "rlon"), ("y", "x"), ("south_north", "west_east")])
def test_it_is_read_as_it_lies(tmp_path, names):
    file, invariant = written(tmp_path, names)
    cube = open_climate(file, accumulated="daily_mean", invariant=invariant)
    lat, lon = turned()
    assert cube["t2m"].dims == ("time", "y", "x")
    np.testing.assert_allclose(cube["latitude"], lat)
    np.testing.assert_allclose(cube["longitude"], lon)
    np.testing.assert_allclose(cube["orography"], 1500 + 300 * (lat - 46), rtol=1e-6)
    np.testing.assert_allclose(cube["tp"].isel(time=1), 0.003 * 28, rtol=1e-6)
    with pytest.raises(InputError, match="curvilinear"):
        ingest(cube, tmp_path / "store.zarr", accumulated="daily_mean")


def test_files_on_other_cells_are_refused(tmp_path):
    file, _ = written(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = written(tmp_path / "other")
    with xr.open_dataset(other) as ds:
        moved = ds.load().assign_coords(lat=ds["lat"] + 0.05)
    moved["time"] = moved["time"] + np.timedelta64(731, "D")
    other.unlink()
    moved.to_netcdf(other)
    with pytest.raises(InputErrors, match="24 x 30 values"):
        open_climate([file, other], accumulated="daily_mean")


def test_coordinates_that_are_no_degrees_are_refused(tmp_path):
    file, _ = written(tmp_path)
    with xr.open_dataset(file) as ds:
        radians = ds.load().assign_coords(lon=ds["lon"] * 1e4)
    radians.to_netcdf(tmp_path / "bad.nc")
    with pytest.raises(InputError, match="for every cell") as error:
        open_climate(tmp_path / "bad.nc", accumulated="daily_mean")
    assert "bad.nc" in error.value.where


@pytest.fixture
def region(tmp_path):
    """A small region on a turned grid."""
    written(tmp_path)
    corners = [(10.3, 46.4), (10.62, 46.55), (10.2, 46.7)]
    shapes = [shapely.box(x, y, x + 0.03, y + 0.02) for x, y in corners]
    table = gpd.GeoDataFrame({"rgi_id": ["a", "b", "c"]}, geometry=shapes, crs=4326)
    table.to_file(tmp_path / "outlines.gpkg")
    heights = (2500 + np.add.outer(np.arange(100), np.arange(100))).astype(np.int16)
    options = {"driver": "GTiff", "height": 100, "width": 100, "count": 1, "dtype": "int16", "crs": "EPSG:4326"}
    with rasterio.open(
        tmp_path / "dem.tif", "w", transform=rasterio.Affine(0.01, 0, 10, 0, -0.01, 47), **options
    ) as file:
        file.write(heights, 1)
    (tmp_path / "fog.csv").write_text("WGMS_ID,YEAR,ANNUAL_BALANCE,RGI_ID\n1,2002,-500,a\n2,2002,-300,b\n")
    config = {
        "glaciers": {"path": "outlines.gpkg"},
        "climate": {"files": "wrf.nc", "invariant": "invariant.nc", "accumulated": "daily_mean"},
        "sampling": {"lapse_rate": 0},
        "elevation": {"files": "dem.tif"},
        "observations": {"path": "fog.csv", "units": "mm w.e."},
        "store": {"root": "out"},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


@pytest.mark.parametrize("command", [["check"], ["run", "--stage", "sampled"]])
@pytest.mark.parametrize("options", [[], ["--set", "regrid={method: bilinear, resolution: 0.05}"]])
def test_without_esmf_the_remedy_is_named(region, capsys, command, options):
    assert main([command[0], str(region / "own.yaml"), *command[1:], *options]) == 1
    told = capsys.readouterr().err
    assert "curvilinear" in told
    assert "engine: xesmf" in told


@pytest.mark.esmf
@pytest.mark.parametrize("method", ["bilinear", "conservative"])
def test_a_run_samples_it_through_the_weights_of_esmf(region, method):
    pytest.importorskip("xesmf", reason="xesmf comes from conda-forge only")
    option = f"regrid={{engine: xesmf, method: {method}, resolution: 0.02}}"
    assert main(["check", str(region / "own.yaml"), "--set", option]) in (0, 1)
    assert main(["run", str(region / "own.yaml"), "--stage", "sampled", "--set", option]) == 0
    sampled = read_zarr(region / "out" / "sampled" / "climate.zarr")
    middle = np.array([[10.315, 46.41], [10.635, 46.56], [10.215, 46.71]])
    season = 8 * np.sin(2 * np.pi * (np.arange(24) - 3) / 12)
    expected = (260 + (middle[:, 1] - 46) * -4 + (middle[:, 0] - 10) * 2)[:, None] + season
    np.testing.assert_allclose(sampled["t2m"], expected, atol=0.01 if method == "bilinear" else 0.3)
    assert (sampled["t2m_coverage"] > 0.999).all()
