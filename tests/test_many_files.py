"""Many small files: each is opened once, one at a time, and holds the same months as a single file does."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import netCDF4
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import yaml
from rasterio.transform import Affine

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.climate import alike, notes_of, open_climate
from glacmb_grid.inputs.files import closing
from glacmb_grid.workflow.runner import run

LATITUDE, LONGITUDE = np.round(47.0 - 0.1 * np.arange(6), 1), np.round(10.6 + 0.1 * np.arange(8), 1)
DIMS = ("time", "latitude", "longitude")
OPENED: Counter[str] = Counter()


def _count(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        OPENED[os.fspath(arguments[0])] += 1


sys.addaudithook(_count)


def cube(months):
    time = np.arange("2001-10", "2100-01", dtype="datetime64[M]")[:months]
    rng = np.random.default_rng(1)
    season = -10 * np.cos(2 * np.pi * (time.astype(int) % 12) / 12)
    shape = (months, len(LATITUDE), len(LONGITUDE))
    t2m = 268 + season[:, None, None] + rng.normal(0, 1, shape)
    tp = np.broadcast_to(0.002 + 1e-5 * np.arange(months)[:, None, None], shape)
    return xr.Dataset(
        {"t2m": (DIMS, t2m.astype("f4"), {"units": "K"}), "tp": (DIMS, tp.astype("f4"), {"units": "m"})},
        coords={"time": time.astype("datetime64[ns]"), "latitude": LATITUDE, "longitude": LONGITUDE},
    )


def split(ds, folder, **encoding):
    """One file a month and variable; the days of each are counted from its own month."""
    folder.mkdir()
    for name in (n for n in ds.data_vars if n != "time_bnds"):
        for k in range(ds.sizes["time"]):
            month = str(ds["time"].values[k])[:7]
            part = ds[[n for n in ds.data_vars if n in (name, "time_bnds")]].isel(time=[k])
            part["time"].encoding["units"] = f"days since {month}-01"
            part.to_netcdf(folder / f"{name}_{month}.nc", **encoding)
    return folder


def taken_together(folder, **options):
    with closing():
        return open_climate(f"{folder}/*.nc", accumulated="daily_mean", **options).load()


def units_of(path):
    with netCDF4.Dataset(path) as ds:
        return ds["time"].units


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    ds = cube(24)
    ds.to_netcdf(folder / "whole.nc")
    return split(ds, folder / "months"), folder / "whole.nc"


@pytest.mark.parametrize("room", [0, 20_000, alike._HELD])  # noqa: SLF001 - how many values are kept
def test_the_months_are_those_of_a_single_file(months, monkeypatch, room):
    """Also where values are not kept, or only those of some files; handles are closed at once."""
    monkeypatch.setattr(alike, "_HELD", room)
    folder, whole = months
    assert len({units_of(p) for p in folder.iterdir()}) == 24
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    with closing():
        together = open_climate(f"{folder}/*.nc", accumulated="daily_mean")
        assert not before or len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
        one = open_climate(whole, accumulated="daily_mean")
        (note,) = notes_of(together)
        assert note.startswith(f"{folder}/t2m_2001-10.nc to tp_2003-09.nc (48 files): stamped like 2001-10-01T00:00:00")
        xr.testing.assert_identical(together.drop_attrs(deep=False).load(), one.drop_attrs(deep=False).load())


def test_files_that_are_opened_one_by_one_share_one_note_as_well(months, tmp_path, monkeypatch):
    """Each names another instant; only the first is told, with the number of files."""
    folder, _ = months
    monkeypatch.setattr(alike, "MANY", 10_000)
    (note,) = notes_of(taken_together(folder))
    assert note.startswith(f"{folder}/t2m_2001-10.nc to tp_2003-09.nc (48 files): stamped like 2001-10-01T00:00:00: ")
    assert note.count("stamped like") == 1
    assert "climate: {stamp: end}" in note


def test_files_that_leave_another_choice_have_a_note_of_their_own(months, tmp_path, monkeypatch):
    folder, _ = months
    monkeypatch.setattr(alike, "MANY", 10_000)
    for path in folder.glob("t2m*"):
        ds = xr.load_dataset(path)
        late = path.name >= "t2m_2003"
        ds = ds.assign_coords(time=ds["time"] + np.timedelta64(13 if late else 0, "h"))
        ds.to_netcdf(tmp_path / path.name)
    notes = notes_of(taken_together(tmp_path))
    assert len(notes) == 2
    assert "t2m_2001-10.nc to t2m_2002-12.nc (15 files): stamped like 2001-10-01T00:00:00: " in notes[0]
    assert "t2m_2003-01.nc to t2m_2003-09.nc (9 files): stamped like 2003-01-01T13:00:00: " in notes[1]


def test_files_that_differ_stay_apart_and_the_one_to_blame_is_named(months, tmp_path):
    folder, _ = months
    for path in folder.glob("t2m*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    odd = tmp_path / "t2m_2002-05.nc"
    ds = xr.load_dataset(odd)
    packed = {"t2m": {"dtype": "int16", "scale_factor": 0.01, "add_offset": 270.0, "_FillValue": -32767}}
    ds.to_netcdf(odd, encoding=packed)
    found = taken_together(tmp_path)["t2m"]
    np.testing.assert_allclose(found[7], ds["t2m"][0], atol=0.006)
    assert np.array_equal(found[8], xr.load_dataset(tmp_path / "t2m_2002-06.nc")["t2m"][0])
    ds.assign_coords(latitude=LATITUDE + 0.03).to_netcdf(odd)
    with pytest.raises((InputError, InputErrors), match=r"t2m_2002-05\.nc"):
        taken_together(tmp_path)
    odd.write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"t2m_2002-05\.nc\n.*\n.*web page"):
        taken_together(tmp_path)


def test_a_classic_file_that_is_cut_short_is_named(tmp_path):
    folder = split(cube(14)[["t2m"]], tmp_path / "classic", format="NETCDF3_64BIT")
    whole = taken_together(folder)
    assert np.array_equal(whole["t2m"], cube(14)["t2m"])
    cut = folder / "t2m_2002-03.nc"
    cut.write_bytes(cut.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"t2m_2002-03\.nc\n(.*\n)+.*truncated"):
        taken_together(folder)


def test_bounds_are_counted_with_their_records(tmp_path):
    """Bounds have no unit of their own, and stamps at the end of the month would be read as the next one."""
    ds = cube(13)[["t2m"]]
    begin = ds["time"].values.astype("datetime64[M]")
    edges = np.stack([begin, begin + np.timedelta64(1, "M")], axis=1).astype("datetime64[ns]")
    ds = ds.assign_coords(time=edges[:, 1]).assign(time_bnds=(("time", "nv"), edges))
    ds["time"].attrs["bounds"] = "time_bnds"
    found = taken_together(split(ds, tmp_path / "bounds"))
    assert np.array_equal(found["time"].values.astype("datetime64[M]"), begin)
    assert np.array_equal(found["t2m"], ds["t2m"])


# ---- one opening for a command ----


def region(folder, months):
    """Two square glaciers, a sloping elevation model, and a link to the monthly files."""
    squares = [shapely.box(x - 0.02, 46.78, x + 0.02, 46.82) for x in (10.8, 10.9)]
    ids = [f"RGI60-11.0000{k}" for k in (1, 2)]
    gpd.GeoDataFrame({"RGIId": ids}, geometry=squares, crs=4326).to_file(folder / "outlines.gpkg")
    heights = (2800 + np.add.outer(2.0 * np.arange(150), np.arange(250))).astype("f4")
    shape = {"height": 150, "width": 250, "count": 1, "dtype": "float32", "crs": "EPSG:4326", "nodata": -9999}
    with rasterio.open(folder / "dem.tif", "w", transform=Affine(0.002, 0, 10.6, 0, -0.002, 46.95), **shape) as file:
        file.write(heights, 1)
    z = np.full((len(LATITUDE), len(LONGITUDE)), 2500 * 9.80665)
    xr.Dataset(
        {"z": (("latitude", "longitude"), z, {"units": "m2 s-2"})},
        coords={"latitude": LATITUDE, "longitude": LONGITUDE},
    ).to_netcdf(folder / "z.nc")
    rows = [{"YEAR": y, "WGMS_ID": 100 + k, "NAME": f"G{k}", "ANNUAL_BALANCE": -500 + 90 * k * (y % 2), "RGI_ID": i}
            for k, i in enumerate(ids) for y in (2002, 2003)]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "obs.csv", index=False)
    config = {
        "glaciers": {"path": "outlines.gpkg"},
        "climate": {"files": [f"{months}/*.nc"], "invariant": "z.nc", "accumulated": "daily_mean"},
        "elevation": {"files": "dem.tif"},
        "observations": {"path": "obs.csv", "units": "mm w.e."},
        "validation": {"models": ["mean"], "schemes": ["logo"], "inner": 2},
        "product": {"model": "mean"},
        "store": {"root": "out"},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(config))
    return folder / "own.yaml"


def opened_by_the_library(monkeypatch):
    """How often the NetCDF library opens each file, by its name."""
    count: Counter[str] = Counter()

    def counting(real):
        def opener(name, *arguments, **options):
            count[Path(name).name] += 1
            return real(name, *arguments, **options)

        return opener

    monkeypatch.setattr(alike, "netCDF4", SimpleNamespace(Dataset=counting(netCDF4.Dataset)))
    monkeypatch.setattr(xr, "open_dataset", counting(xr.open_dataset))
    return count


def test_check_opens_each_file_once_and_says_how_many(months, tmp_path, monkeypatch, capsys):
    folder, _ = months
    config = region(tmp_path, folder)
    library = opened_by_the_library(monkeypatch)
    OPENED.clear()
    assert main(["check", str(config)]) == 0
    assert "48 climate files, 1 invariant file opened in" in capsys.readouterr().out
    for path in folder.iterdir():
        assert OPENED[str(path)] == 1, path
        assert library[path.name] == 1, path


def test_a_run_opens_each_file_once_for_all_its_stages(months, tmp_path, monkeypatch):
    """And reads it once more for its digest, before."""
    folder, _ = months
    config = region(tmp_path, folder)
    library = opened_by_the_library(monkeypatch)
    OPENED.clear()
    told = []
    assert "sampled" in run(load_config(config), stage="sampled", say=told.append)
    assert sum("48 climate files" in line for line in told) == 1
    for path in folder.iterdir():
        assert OPENED[str(path)] <= 2, path
        assert library[path.name] == 1, path


def test_months_since_a_date_and_other_calendars_are_read_in_many_files_too(tmp_path):
    ds = cube(14)
    for folder, units, number in (
        ("months", {"units": "months since 2001-10-01"}, np.arange(14) + 0.5),
        ("noleap", {"units": "days since 2001-10-01", "calendar": "noleap"}, np.arange(14) * 365.0 / 12 + 14),
    ):
        (tmp_path / folder).mkdir()
        for k in range(14):
            part = ds.isel(time=[k]).drop_vars("time").assign_coords(time=("time", number[[k]], units))
            part.to_netcdf(tmp_path / folder / f"{k:02d}.nc")
        found = taken_together(tmp_path / folder)
        np.testing.assert_array_equal(found["time"].values, ds["time"].values)
        np.testing.assert_allclose(found["t2m"].values, ds["t2m"].values, rtol=1e-6)


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"])
def test_values_that_are_not_kept_are_read_as_stored_in_any_format(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(alike, "_HELD", 0)
    ds = cube(14)
    (tmp_path / "months").mkdir()
    packed = {n: {"dtype": "int16", "scale_factor": 1e-2 if n == "t2m" else 1e-6, "_FillValue": -32767} for n in ds}
    for k in range(14):
        ds.isel(time=[k]).to_netcdf(tmp_path / "months" / f"{k:02d}.nc", format=kind, encoding=packed)
    found = taken_together(tmp_path / "months")
    np.testing.assert_allclose(found["t2m"].values, ds["t2m"].values, atol=6e-3)
    np.testing.assert_allclose(found["tp"].values[0] / 31, ds["tp"].values[0], atol=6e-7)
