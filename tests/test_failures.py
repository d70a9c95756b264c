"""Glaciers that cannot be worked on are listed with their reasons, and the rest goes on untouched."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import yaml

from glacmb_grid.cli import main
from glacmb_grid.errors import InputError
from glacmb_grid.failures import Failure, failing, read_failures, write_failures
from glacmb_grid.sampling.zonal import overlap_weights
from glacmb_grid.stores.formats import read_zarr
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


# --- a whole run


@pytest.fixture(scope="module")
def region(tmp_path_factory):
    """A small region, and the same with three glaciers that fail and one that lies at sea."""
    folder = tmp_path_factory.mktemp("regions")
    write_region(folder / "sound" / "raw", seed=2, glaciers=10, years=(2001, 2005), measured=6, plain=True)
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


@pytest.mark.filterwarnings("ignore")
def test_broken_outlines_and_impossible_values_are_listed_too_until_they_are_mended(region, tmp_path, capsys):
    folder, ids = region
    shutil.copytree(folder / "sound" / "raw", tmp_path / "raw")
    shutil.copy(folder / "sound" / "own.yaml", tmp_path / "own.yaml")
    config = str(tmp_path / "own.yaml")
    path = tmp_path / "raw" / "rgi" / "RGI2000-v7.0-G-13_synthetic.gpkg"
    sound = gpd.read_file(path)
    broken = sound.copy()
    x0, y0, x1, y1 = sound.geometry[3].bounds
    broken.loc[3, "geometry"] = shapely.Polygon([(x0, y0), (x1, y1), (x1, y0), (x0, y1)])
    broken.loc[4, "geometry"] = None
    broken.loc[5, "rgi_id"] = None
    path.unlink()
    broken.to_file(path)
    (file,) = (tmp_path / "raw" / "era5_land").glob("*_t2m.nc")
    ds = xr.load_dataset(file)
    (name,) = (n for n in ds.data_vars if ds[n].ndim == 3)
    weights = overlap_weights(sound.to_crs(4326).set_index("rgi_id"), ds)
    shared = np.bincount(weights.column, minlength=weights.size)
    cell = next(c for c in weights.column[weights.row > 5] if shared[c] <= 3)
    hot = set(weights.rows[weights.row[weights.column == cell]]) - {ids[3], ids[4], ids[5]}
    ds[name].values[(7, *np.divmod(cell, ds[name].shape[2]))] = 1e4
    file.unlink()
    ds.to_netcdf(file)

    assert main(["check", config]) == 0
    assert "outlines: a run lists 3 more in failed.csv" in capsys.readouterr().out
    assert main(["run", config, "--stage", "predictors"]) == 3
    failed = pd.read_csv(tmp_path / "out" / "failed.csv").set_index("glacier")
    stages = {ids[3]: "glaciers", ids[4]: "glaciers", "row 5": "glaciers", **dict.fromkeys(hot, "sampled")}
    assert failed["stage"].to_dict() == stages
    assert failed.loc[ids[3], "variable"] == "geometry"
    assert "plausible" in failed.loc[next(iter(hot)), "reason"]
    predictors = read_zarr(tmp_path / "out" / "predictors" / "predictors.zarr")
    assert set(predictors["glacier"].values) == set(ids) - {ids[3], ids[4], ids[5]} - hot

    path.unlink()
    sound.to_file(path)
    assert main(["run", config, "--stage", "glaciers"]) == 0, "what stale stages had listed does not count"
    assert len(pd.read_csv(tmp_path / "out" / "failed.csv")) == 0
    capsys.readouterr()
