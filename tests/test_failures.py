"""Glaciers that cannot be worked on are listed with their reasons, and the rest goes on untouched."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
import yaml
from hypothesis import given
from hypothesis import strategies as st

from glacmb_grid.cli import main
from glacmb_grid.errors import InputError
from glacmb_grid.failures import Failure, failing, read_failures, write_failures
from glacmb_grid.sampling.grid import grid_of
from glacmb_grid.sampling.nearest import far_from_land, nearest_valid
from glacmb_grid.sampling.zonal import overlap_weights
from glacmb_grid.stores import read_zarr
from glacmb_grid.synthetic import write_region

ERROR = InputError("x", expected="a", found="b", remedy="c")


def test_some_are_listed_and_all_are_an_error():
    ids = np.array(["a", "b", "c"], dtype=object)
    found = failing(np.array([True, False, True]), ids, "t2m", ["no value", "sea"], ERROR)
    assert found == [Failure("a", "t2m", "no value"), Failure("c", "t2m", "sea")]
    assert failing(np.zeros(3, bool), ids, "t2m", [], ERROR) == []
    with pytest.raises(InputError):
        failing(np.ones(3, bool), ids, "t2m", ["", "", ""], ERROR)


def test_the_table_has_one_line_a_glacier_and_comes_back(tmp_path):
    for stage, failures in (
        ("weights", [Failure("b", "grid", "out, far"), Failure("a", "grid", "out")]),
        ("terrain", []),
    ):
        (tmp_path / stage).mkdir()
        write_failures(tmp_path / stage, stage, failures)
    (tmp_path / "sampled").mkdir()
    write_failures(tmp_path / "sampled", "sampled", [Failure("c", "tp", "sea"), Failure("c", "t2m", "sea")])
    assert (tmp_path / "terrain" / "failed.csv").read_text() == "glacier,stage,variable,reason\n"
    table = read_failures(tmp_path / s / "failed.csv" for s in ("weights", "terrain", "sampled", "never"))
    assert table.to_numpy().tolist() == [
        ["a", "weights", "grid", "out"],
        ["b", "weights", "grid", "out, far"],
        ["c", "sampled", "tp", "sea"],
    ]


# --- the nearest cells with values


def boxes(*centres, size=0.02):
    half = size / 2
    shapes = [shapely.box(x - half, y - half, x + half, y + half) for x, y in centres]
    return gpd.GeoDataFrame(geometry=shapes, index=[f"G{i}" for i in range(len(shapes))], crs=4326)


def field(lat, lon):
    return xr.Dataset(
        {"f": (("latitude", "longitude"), np.zeros((len(lat), len(lon))))}, {"latitude": lat, "longitude": lon}
    )


def found_for(glaciers, ds, valid, *, least=0.5, far=30.0):
    grid = grid_of(ds)
    weights = overlap_weights(glaciers, grid)
    return weights, *nearest_valid(weights, grid, valid, glaciers, least=least, max_distance_km=far)


def test_a_glacier_at_sea_takes_its_neighbours_by_inverse_distance():
    lat, lon = np.round(60.2 - 0.1 * np.arange(5), 1), np.round(5.0 + 0.1 * np.arange(5), 1)
    valid = np.zeros((5, 5), bool)
    valid[2, 1] = valid[2, 4] = valid[4, 4] = True
    own, weights, distance = found_for(boxes((5.2, 60.0), (5.1, 60.0)), field(lat, lon), valid, far=20.0)
    west, east = 6371 * np.deg2rad(0.1) * np.cos(np.deg2rad(60)), 6371 * np.deg2rad(0.2) * np.cos(np.deg2rad(60))
    assert distance[0] == pytest.approx(west, rel=1e-6)
    assert np.isnan(distance[1])
    mine = weights.row == 0
    assert weights.column[mine].tolist() == [11, 14]
    np.testing.assert_allclose(weights.weight[mine] / weights.total[0], [2 / 3, 1 / 3], rtol=1e-5)
    assert east == pytest.approx(2 * west)
    np.testing.assert_array_equal(weights.weight[~mine], own.weight[own.row == 1])


def test_beyond_the_distance_nothing_is_replaced_and_the_reason_says_how_far():
    lat, lon = np.round(60.2 - 0.1 * np.arange(5), 1), np.round(5.0 + 0.1 * np.arange(15), 1)
    valid = np.zeros((5, 15), bool)
    valid[2, 14] = True
    own, weights, distance = found_for(boxes((5.4, 60.0), (6.4, 60.0)), field(lat, lon), valid)
    np.testing.assert_array_equal(weights.weight, own.weight)
    (failure,) = far_from_land(weights.rows, distance, 30.0, least=0.5)
    assert failure.glacier == "G0"
    assert "56 km away" in failure.reason
    with pytest.raises(InputError, match="1 of 1 glaciers farther away: G0"):
        far_from_land(weights.rows[:1], distance[:1], 30.0, least=0.5)


def test_distance_zero_switches_it_off_and_part_of_a_glacier_is_enough():
    lat, lon = np.round(60.2 - 0.1 * np.arange(5), 1), np.round(5.0 + 0.1 * np.arange(5), 1)
    valid = np.zeros((5, 5), bool)
    valid[:, :2] = True
    glaciers = boxes((5.152, 60.0), (5.146, 60.0))  # 40 and 70 % of them over valid cells
    own, weights, distance = found_for(glaciers, field(lat, lon), valid, far=0.0)
    np.testing.assert_array_equal(weights.weight, own.weight)
    assert np.isfinite(distance).tolist() == [True, False]
    _, weights, _ = found_for(glaciers, field(lat, lon), valid)
    assert (weights.column[weights.row == 1] == own.column[own.row == 1]).all()
    assert (weights.column[weights.row == 0] % 5 < 2).all()


@given(st.integers(0, 10**6), st.sampled_from(["polar", "antimeridian", "projected"]))
def test_against_all_distances(seed, where):
    rng = np.random.default_rng(seed)
    if where == "projected":
        ds = field(5.2e6 - 9000.0 * np.arange(12), 4e5 + 9000.0 * np.arange(14))
        ds = ds.rename(latitude="y", longitude="x").rio.write_crs(32632)
        x, y = np.meshgrid(ds["x"], ds["y"])
        lon, lat = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(x, y)
    else:
        lat1, lon1 = (
            (89.5 - 0.5 * np.arange(12), -180 + 15.0 * np.arange(24))
            if where == "polar"
            else (60 - 0.1 * np.arange(12), 179.0 + 0.1 * np.arange(20))
        )
        ds = field(lat1, lon1)
        lon, lat = np.meshgrid(lon1, lat1)
    valid = rng.random(lat.shape) < 0.15
    j, i = rng.integers(1, lat.shape[0] - 1, 5), rng.integers(1, lat.shape[1] - 1, 5)
    at = (lon[j, i] + 180) % 360 - 180
    glaciers = boxes(*zip(np.clip(at, -179.9, 179.9), lat[j, i], strict=True), size=0.001)
    own, weights, distance = found_for(glaciers, ds, valid, far=25.0)
    np.testing.assert_allclose(np.bincount(weights.row, weights.weight, 5), own.total, rtol=1e-9)
    point = glaciers.geometry.representative_point()
    for g in range(5):
        a, b = np.deg2rad([point.iloc[g].y, point.iloc[g].x])
        p, q = np.deg2rad(lat), np.deg2rad(lon)
        h = np.sin((p - a) / 2) ** 2 + np.cos(a) * np.cos(p) * np.sin((q - b) / 2) ** 2
        km = np.where(valid, 2 * 6371.0 * np.arcsin(np.sqrt(h)), np.inf).ravel()
        mine = weights.column[weights.row == g]
        if valid.ravel()[own.column[own.row == g]].all():
            assert np.isnan(distance[g])
            continue
        assert distance[g] == pytest.approx(km.min(), rel=1e-6, abs=1e-6)
        if km.min() <= 25:
            nearest = np.sort(km)[:4]
            np.testing.assert_allclose(np.sort(km[mine]), nearest[nearest <= 25], rtol=1e-9)
            share = weights.weight[weights.row == g] * km[mine]
            np.testing.assert_allclose(share, share[0], rtol=1e-6)


# --- a whole run


@pytest.fixture(scope="module")
def region(tmp_path_factory):
    """A small region, and the same with three glaciers that fail and one that lies at sea."""
    folder = tmp_path_factory.mktemp("regions")
    write_region(folder / "sound" / "raw", seed=2, glaciers=10, years=(2001, 2005), measured=6)
    config = {
        "glaciers": {"path": "raw/rgi/RGI2000-v7.0-G-13_synthetic.gpkg"},
        "climate": {
            "files": "raw/era5_land/era5_land_monthly_*.nc",
            "invariant": "raw/era5_land/era5_land_invariant.nc",
            "accumulated": "daily_mean",
            "variables": ["t2m", "tp"],
        },
        "elevation": {"files": "raw/dem/astgtm_synthetic_dem.tif"},
        "observations": {
            "path": "raw/fog/FOG_EE_MASS_BALANCE.csv",
            "units": "mm w.e.",
            "links": {"positions": "raw/fog/FOG_A_GLACIER.csv"},
        },
        "validation": {"models": ["mean"], "schemes": ["logo"]},
        "product": {"model": "mean"},
        "store": {"root": "out"},
    }
    (folder / "sound" / "own.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(folder / "sound", folder / "holed")
    raw = folder / "holed" / "raw"
    path = raw / "rgi" / "RGI2000-v7.0-G-13_synthetic.gpkg"
    table = gpd.read_file(path)
    ids = table["rgi_id"].tolist()
    void = table.geometry[1]
    table.loc[0, "geometry"] = shapely.transform(table.geometry[0], lambda c: c + np.array([7.0, 0.0]))
    path.unlink()
    table.to_file(path)
    with rasterio.open(raw / "dem" / "astgtm_synthetic_dem.tif", "r+") as dem:
        values = dem.read(1)
        x0, y0, x1, y1 = gpd.GeoSeries([void], crs=table.crs).to_crs(dem.crs).total_bounds
        (r0, c0), (r1, c1) = dem.index(x0, y1), dem.index(x1, y0)
        values[r0 - 1 : r1 + 2, c0 - 1 : c1 + 2] = dem.nodata
        dem.write(values, 1)
    lake = table.to_crs(4326).geometry[2].representative_point()
    for file in raw.glob("era5_land/era5_land_monthly_*.nc"):
        with xr.open_dataset(file) as ds:
            ds = ds.load()
        lat, lon = ("latitude", "longitude") if "latitude" in ds.coords else ("lat", "lon")
        j, i = int(np.abs(ds[lat] - lake.y).argmin()), int(np.abs(ds[lon] % 360 - lake.x % 360).argmin())
        for name in ds.data_vars:
            if {lat, lon} <= set(ds[name].dims):
                ds[name][{lat: j, lon: i}] = np.nan
        file.unlink()
        ds.to_netcdf(file)
    return folder, ids


@pytest.mark.filterwarnings("ignore")
def test_three_ways_to_fail_and_the_rest_goes_on(region, capsys):
    folder, ids = region
    assert main(["run", str(folder / "sound" / "own.yaml")]) == 0
    assert (folder / "sound" / "out" / "failed.csv").read_text() == "glacier,stage,variable,reason\n"
    capsys.readouterr()
    assert main(["check", str(folder / "holed" / "own.yaml")]) == 0
    assert "leaves out 1 of 10 glaciers" in capsys.readouterr().out
    assert main(["run", str(folder / "holed" / "own.yaml")]) == 3
    out = folder / "holed" / "out"
    told = capsys.readouterr().out
    assert f"2 glacier(s) failed and are left out, with the reasons in {out / 'failed.csv'}" in told
    failed = pd.read_csv(out / "failed.csv").set_index("glacier")
    assert failed["stage"].to_dict() == {ids[0]: "weights", ids[1]: "terrain"}
    assert "0% of its area" in failed.loc[ids[0], "reason"]
    assert main(["run", str(folder / "holed" / "own.yaml")]) == 3
    assert "nothing to do" in capsys.readouterr().out

    product, whole = (
        xr.open_dataset(folder / f / "out" / "products" / "glacier_annual.nc") for f in ("holed", "sound")
    )
    assert product["glacier_id"].values.tolist() == [i for i in ids if i not in ids[:2]]
    assert product.attrs["glaciers_failed"] == 2
    assert whole.attrs["glaciers_failed"] == 0
    stand_in = product["nearest_land"].values == 1
    assert stand_in[0]
    assert (np.isfinite(product["land_distance"].values) == stand_in).all()
    assert 0 < product["land_distance"].values[0] < 30
    assert whole["nearest_land"].values.sum() == 0
    holed, sound = (read_zarr(folder / f / "out" / "predictors" / "predictors.zarr") for f in ("holed", "sound"))
    others = product["glacier_id"].values[~stand_in]
    assert len(others) > 2
    a, b = (ds["predictors"].sel(glacier=others).values for ds in (holed, sound))
    assert a.tobytes() == b.tobytes()
    unmatched = pd.read_csv(out / "samples" / "unmatched.csv")
    observed = pd.read_parquet(folder / "sound" / "out" / "samples" / "samples.parquet")
    lost = (observed["glacier"] == ids[1]).sum()  # those of the glacier that was moved lie in no outline
    assert (unmatched["reason"] == "its glacier failed, see failed.csv").sum() == lost


@pytest.mark.filterwarnings("ignore")
def test_where_the_nearest_cells_may_not_be_taken_the_glacier_fails(region, capsys):
    folder, ids = region
    config = str(folder / "holed" / "own.yaml")
    root = folder / "strict"
    options = ["--set", f"store.root={root}", "--set", "sampling.max_land_distance_km=0"]
    assert main(["run", config, "--stage", "sampled", *options]) == 3
    failed = pd.read_csv(Path(root) / "failed.csv").set_index("glacier")
    assert ids[2] in failed.index
    assert "sampling.max_land_distance_km is 0" in failed.loc[ids[2], "reason"]
    capsys.readouterr()


@pytest.mark.filterwarnings("ignore")
def test_the_others_are_those_of_a_run_without_the_failing_glaciers(region, tmp_path):
    """To the last bit, with a glacier off the cube, one on a void, one at sea and one with a gap in one month."""
    folder, ids = region
    listed, without = tmp_path / "listed", tmp_path / "without"
    shutil.copytree(folder / "holed" / "raw", listed / "raw")
    shutil.copy(folder / "holed" / "own.yaml", listed / "own.yaml")
    outlines_path = listed / "raw" / "rgi" / "RGI2000-v7.0-G-13_synthetic.gpkg"
    (file,) = (p for p in (listed / "raw" / "era5_land").glob("*_tp.nc"))
    ds = xr.load_dataset(file)
    (name,) = (n for n in ds.data_vars if ds[n].ndim == 3)
    glaciers = gpd.read_file(outlines_path).to_crs(4326)
    weights = overlap_weights(glaciers.set_index("rgi_id"), ds)
    valid = np.isfinite(ds[name].values[20].ravel()[weights.column])
    main_cell = np.flatnonzero(valid & (weights.row > 2) & (weights.weight > 0.6 * weights.total[weights.row]))[0]
    dry = ids[weights.row[main_cell]]
    j, i = np.divmod(weights.column[main_cell], ds[name].shape[2])
    ds[name].values[20, j, i] = np.nan
    file.unlink()
    ds.to_netcdf(file)
    shutil.copytree(listed, without)
    models = ["--set", "validation.models=[mean, temperature_index]", "--set", "product.model=temperature_index"]
    assert main(["run", str(listed / "own.yaml"), *models]) == 3
    failed = pd.read_csv(listed / "out" / "failed.csv").set_index("glacier")
    assert failed.loc[ids[0], "stage"] == "weights"
    assert failed.loc[ids[1], "stage"] == "terrain"
    gap = failed[failed["stage"] == "sampled"]
    assert dry in gap.index
    assert set(gap["variable"]) == {"tp"}

    path = without / "raw" / "rgi" / "RGI2000-v7.0-G-13_synthetic.gpkg"
    table = gpd.read_file(path)
    path.unlink()
    table[~table["rgi_id"].isin(failed.index)].to_file(path)
    assert main(["run", str(without / "own.yaml"), *models]) == 0
    for store in ("predictors/predictors.zarr", "samples/samples.zarr", "products/glacier_annual.zarr"):
        a, b = (read_zarr(root / "out" / store) for root in (listed, without))
        assert sorted(a.variables) == sorted(b.variables)
        for name in a.variables:
            assert a[name].dtype == b[name].dtype
            assert pickle.dumps(a[name].values.tolist()) == pickle.dumps(b[name].values.tolist()), f"{store}: {name}"
    assert a.attrs["glaciers_failed"] == len(failed)
    assert a["nearest_land"].values.any()
