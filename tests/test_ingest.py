"""An ingested cube: the same values, its layout, and that it is whole or not there."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
import zarr

from glacmb_grid.cli import main
from glacmb_grid.errors import InputError
from glacmb_grid.inputs.climate import open_climate
from glacmb_grid.inputs.climate.ingest import ingest, is_ingested

LAT, LON = np.round(47.0 - 0.1 * np.arange(31), 1), np.round(9.0 + 0.1 * np.arange(45), 1)


def raw(folder, months=26, name="era5.nc"):
    rng = np.random.default_rng(3)
    time = pd.date_range("2001-01-01", periods=months, freq="MS")
    shape = (months, len(LAT), len(LON))
    t2m = rng.normal(270, 5, shape).astype(np.float32)
    t2m[:, 4:7, 2:5] = np.nan
    ds = xr.Dataset(
        {
            "t2m": (("time", "latitude", "longitude"), t2m, {"units": "K"}),
            "tp": (("time", "latitude", "longitude"), rng.uniform(0, 0.01, shape).astype(np.float32), {"units": "m"}),
        },
        coords={"time": time, "latitude": LAT, "longitude": LON},
    )
    ds.to_netcdf(folder / name, encoding={n: {"chunksizes": (1, len(LAT), len(LON)), "zlib": True} for n in ds})
    height = xr.Dataset(
        {"z": (("latitude", "longitude"), 9.80665 * rng.uniform(1000, 4000, shape[1:]), {"units": "m2 s-2"})},
        coords={"latitude": LAT, "longitude": LON},
    )
    height.to_netcdf(folder / "invariant.nc")
    return folder / name, folder / "invariant.nc"


@pytest.mark.parametrize("slab", [1e4, 2e9])
def test_the_store_holds_the_same_cube_and_opens_as_one(tmp_path, slab):
    file, invariant = raw(tmp_path)
    cube = open_climate(file, accumulated="daily_mean", invariant=invariant)
    ingest(cube, tmp_path / "cube.zarr", accumulated="daily_mean", slab=slab)
    again = open_climate(tmp_path / "cube.zarr", accumulated="daily_mean")
    xr.testing.assert_identical(again.compute(), cube.compute())
    assert dask.is_dask_collection(again["t2m"])
    some = open_climate(tmp_path / "cube.zarr", accumulated="daily_mean", variables=["tp"])
    assert set(some.data_vars) == {"tp", "orography"}


def test_the_layout_is_for_series_sharded_compressed_and_checksummed(tmp_path):
    file, _ = raw(tmp_path, months=900)
    ingest(open_climate(file, accumulated="daily_mean"), tmp_path / "cube.zarr", accumulated="daily_mean")
    array = zarr.open_group(tmp_path / "cube.zarr", mode="r")["t2m"]
    assert array.metadata.zarr_format == 3
    assert array.chunks == (900, 23, 23)
    assert array.shards == (900, 46, 46)
    names = [type(c).__name__ for c in array.compressors]
    assert names == ["BloscCodec", "Crc32cCodec"]


@pytest.mark.parametrize("name", ["t2m", "orography", "latitude", "time"])
def test_a_flipped_byte_is_noticed_anywhere(tmp_path, name):
    file, invariant = raw(tmp_path)
    store = tmp_path / "cube.zarr"
    cube = open_climate(file, accumulated="daily_mean", invariant=invariant)
    ingest(cube, store, accumulated="daily_mean")
    chunk = max((p for p in (store / name / "c").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(chunk.read_bytes())
    content[len(content) // 3] ^= 1
    chunk.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"(?i)checksum"):
        open_climate(store, accumulated="daily_mean")["t2m"].load()


def test_a_lost_file_of_the_store_is_noticed_though_it_could_be_sea(tmp_path):
    file, _ = raw(tmp_path, months=900)
    sea = xr.load_dataset(file)
    sea["tp"][:, :23] = np.nan  # a whole row of chunks
    sea.to_netcdf(tmp_path / "sea.nc")
    store = tmp_path / "cube.zarr"
    ingest(open_climate(tmp_path / "sea.nc", accumulated="daily_mean"), store, accumulated="daily_mean")
    assert np.isnan(open_climate(store, accumulated="daily_mean")["tp"][:, :23]).all()
    next(p for p in sorted((store / "t2m" / "c").rglob("*")) if p.is_file()).unlink()
    assert open_climate(store, accumulated="daily_mean", variables=["tp"]).sizes["time"] == 900
    with pytest.raises(InputError, match=r"cube\.zarr: t2m"):
        open_climate(store, accumulated="daily_mean")


def test_a_store_is_given_alone_and_takes_its_invariant_fields_from_a_file(tmp_path):
    file, invariant = raw(tmp_path)
    cube = open_climate(file, accumulated="daily_mean")
    for name in ("one.zarr", "two.zarr"):
        ingest(cube, tmp_path / name, accumulated="daily_mean")
    with pytest.raises(InputError, match="alone"):
        open_climate([tmp_path / "one.zarr", tmp_path / "two.zarr"], accumulated="daily_mean")
    with pytest.raises(InputError, match="alone"):
        open_climate([file, tmp_path / "two.zarr"], accumulated="daily_mean")
    assert "orography" not in open_climate(tmp_path / "one.zarr", accumulated="daily_mean")
    with_height = open_climate(tmp_path / "one.zarr", accumulated="daily_mean", invariant=invariant)
    expected = open_climate(file, accumulated="daily_mean", invariant=invariant)
    xr.testing.assert_identical(with_height.compute(), expected.compute())
    with pytest.raises(InputError, match="final"):
        open_climate(tmp_path / "one.zarr", accumulated="daily_mean", expver="final")
    with pytest.raises(InputError, match="units"):
        open_climate(tmp_path / "one.zarr", accumulated="daily_mean", units={"tp": "mm"})


def test_a_store_of_rates_was_made_without_a_word_about_sums_and_bears_any(tmp_path):
    file, _ = raw(tmp_path)
    with xr.open_dataset(file) as ds:
        rates = ds.assign(tp=ds["tp"].assign_attrs(units="mm day-1"))
        rates.to_netcdf(tmp_path / "rates.nc")
    cube = open_climate(tmp_path / "rates.nc")
    ingest(cube, tmp_path / "rates.zarr", accumulated=None)
    ingest(open_climate(file, accumulated="daily_mean"), tmp_path / "amounts.zarr", accumulated="daily_mean")
    for said in (None, "monthly_total"):
        again = open_climate(tmp_path / "rates.zarr", accumulated=said)
        xr.testing.assert_equal(again.compute(), cube.compute())
    assert open_climate(tmp_path / "amounts.zarr")["tp"].attrs["stream"] == "daily_mean"
    with pytest.raises(InputError, match="accumulated"):
        open_climate(tmp_path / "amounts.zarr", accumulated="monthly_total")


def test_the_names_and_stamp_that_it_was_made_with_are_kept_and_no_others_taken(tmp_path):
    file, _ = raw(tmp_path)
    theirs = {"t2m": "T_AIR"}
    with xr.open_dataset(file) as ds:
        ds.rename(t2m="T_AIR").to_netcdf(tmp_path / "other.nc")
    cube = open_climate(tmp_path / "other.nc", accumulated="daily_mean", names=theirs, stamp="end")
    store = tmp_path / "cube.zarr"
    ingest(cube, store, accumulated="daily_mean", names={**theirs, "orography": "hgt"}, stamp="end")
    for options in ({}, {"names": theirs, "stamp": "end"}, {"names": {**theirs, "orography": "z"}}):
        again = open_climate(store, accumulated="daily_mean", **options)
        assert again["time"].values[0] == np.datetime64("2000-12-01")
        assert not set(again.attrs) & {"names", "stamp"}
    for options in ({"stamp": "start"}, {"names": {"t2m": "T_SOIL"}}, {"names": {"tp": "RAIN"}}):
        with pytest.raises(InputError, match=r"ingest again"):
            open_climate(store, accumulated="daily_mean", **options)


def test_an_interrupted_ingest_leaves_nothing_behind_that_counts(tmp_path):
    file, _ = raw(tmp_path)
    cube = open_climate(file, accumulated="daily_mean")

    def broken(block):
        raise RuntimeError("disk full")

    bad = cube.assign(
        tp=cube["tp"].copy(data=cube["tp"].data.map_blocks(broken, dtype=np.float32, meta=np.empty((0, 0, 0))))
    )
    with pytest.raises(RuntimeError, match="disk full"):
        ingest(bad, tmp_path / "cube.zarr", accumulated="daily_mean")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["era5.nc", "invariant.nc"]
    ingest(cube, tmp_path / "cube.zarr", accumulated="daily_mean")
    assert is_ingested(tmp_path / "cube.zarr")
    with pytest.raises(InputError, match="name another path"):
        ingest(cube, tmp_path / "cube.zarr", accumulated="daily_mean")


def test_another_declaration_or_a_missing_variable_is_refused(tmp_path):
    file, _ = raw(tmp_path)
    ingest(open_climate(file, accumulated="daily_mean"), tmp_path / "cube.zarr", accumulated="daily_mean")
    with pytest.raises(InputError, match="hourly_mean") as error:
        open_climate(tmp_path / "cube.zarr", accumulated="hourly_mean")
    assert "cube.zarr" in error.value.where
    with pytest.raises(InputError, match="ssrd"):
        open_climate(tmp_path / "cube.zarr", accumulated="daily_mean", variables=["ssrd"])
    assert not is_ingested(tmp_path / "era5.nc")
    assert not is_ingested(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_a_run_from_the_ingested_store_gives_the_same_samples(tmp_path, capsys):
    folder = tmp_path / "raw"
    assert main(["synth", str(folder), "--glaciers", "6", "--measured", "4", "--years", "2001", "2004", "--plain"]) == 0
    config = {
        "glaciers": {"path": "raw/rgi/RGI2000-v7.0-G-13_synthetic.gpkg"},
        "climate": {
            "files": "raw/era5_land/era5_land_monthly_*.nc",
            "invariant": "raw/era5_land/era5_land_invariant.nc",
            "accumulated": "daily_mean",
            "variables": ["t2m", "tp"],
        },
        "elevation": {"files": "raw/dem/astgtm_synthetic_dem.tif"},
        "observations": {"path": "raw/fog/FOG_EE_MASS_BALANCE.csv", "units": "mm w.e."},
        "store": {"root": "out"},
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["ingest", str(path), str(tmp_path / "cube.zarr")]) == 0
    assert "name it in the configuration" in capsys.readouterr().out
    ingested = ["--set", "climate.files=cube.zarr", "--set", "climate.invariant=null", "--set", "store.root=other"]
    for options in ([], ingested):
        assert main(["check", str(path), *options]) in (0, 1)
        assert main(["run", str(path), "--stage", "predictors", *options]) == 0
    capsys.readouterr()
    one, two = (xr.open_zarr(tmp_path / root / "sampled" / "climate.zarr").load() for root in ("out", "other"))
    xr.testing.assert_identical(one, two)
    assert main(["ingest", str(path), str(tmp_path / "cube.zarr")]) == 1
