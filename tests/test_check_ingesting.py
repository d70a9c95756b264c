"""Where `check` proposes `glacmb-grid ingest`: chunks that are read for a few cells."""

from __future__ import annotations

import dask.array as da
import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
import yaml

from glacmb_grid.config import load_config
from glacmb_grid.workflow.check.ingesting import describe_reading

PLACES = [(10.8, 46.8), (10.9, 46.8), (77.0, 35.0), (-70.0, -33.0)]
HALF_A_DEGREE = (900, 361, 720)


@pytest.fixture
def config(tmp_path):
    sections = {
        "glaciers": {"path": "o.gpkg"},
        "climate": {"files": "all of it/era5.nc", "accumulated": "daily_mean"},
        "elevation": {"files": "dem.tif"},
        "observations": {"path": "fog.csv", "units": "mm w.e."},
    }
    (tmp_path / "all of it").mkdir()
    (tmp_path / "all of it" / "era5.nc").touch()
    (tmp_path / "the world.yaml").write_text(yaml.safe_dump({"name": "world", **sections}))
    return load_config(tmp_path / "the world.yaml")


def world(chunks, shape=HALF_A_DEGREE, names=("t2m", "tp", "ssrd")):
    """A lazy cube; nothing of it is ever made."""
    field = da.zeros(shape, chunks=chunks, dtype="float32")
    axes = {"latitude": np.linspace(90, -90, shape[1]), "longitude": np.linspace(0, 359.5, shape[2])}
    time = np.arange(shape[0]).astype("datetime64[M]").astype("datetime64[ns]")
    return xr.Dataset(dict.fromkeys(names, (("time", "latitude", "longitude"), field)), coords={"time": time, **axes})


def glaciers(places):
    longitude, latitude = zip(*places, strict=True)
    return gpd.GeoDataFrame(
        {"longitude": longitude, "latitude": latitude}, geometry=gpd.points_from_xy(longitude, latitude)
    )


def test_fields_of_the_world_for_a_few_glaciers_come_with_the_command(config, tmp_path):
    """900 months x 361 x 720 cells x 3 variables of 4 bytes."""
    (line,) = describe_reading(config, world((1, 361, 720)), glaciers(PLACES))
    store = 3 * 23 * 23 * 900 * 3 * 4 / 1e9  # the chunks of three places, squares of 23 cells
    assert f"note: ingest: the chunks that hold glaciers are 2.81 GB, in a store of `ingest` {store:.2g} GB" in line
    assert f"`glacmb-grid ingest '{tmp_path}/the world.yaml' '{tmp_path}/the world_climate.zarr'`" in line
    assert f"climate: {{files: {tmp_path}/the world_climate.zarr}}" in line


@pytest.mark.parametrize(
    ("chunks", "shape"),
    [
        ((900, 23, 23), HALF_A_DEGREE),  # as a store of `ingest` has them
        ((120, 46, 46), HALF_A_DEGREE),  # little more than that
        ((1, 36, 72), (900, 36, 72)),  # too small to matter
    ],
)
def test_chunks_that_hold_little_else_are_not_told(config, chunks, shape):
    assert describe_reading(config, world(chunks, shape), glaciers(PLACES)) == []


def test_glaciers_off_the_grid_do_not_count(config):
    cube = world((1, 361, 720)).isel(latitude=slice(0, 180))
    assert describe_reading(config, cube, glaciers([(-70.0, -33.0)])) == []
