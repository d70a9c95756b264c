"""`init`: it finds out what a configuration has to say, says what it assumed, and what it writes passes `check`."""

from __future__ import annotations

import shutil

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from shapely.affinity import translate

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError
from glacmb_grid.report.draft import draft_text
from glacmb_grid.workflow.drafting import draft
from glacmb_grid.workflow.drafting.draft import patterns
from glacmb_grid.workflow.drafting.names import guessed_names

OUTLINES = "raw/rgi/RGI2000-v7.0-G-13_synthetic.gpkg"
GIVEN = {
    "climate": ["raw/era5_land"],
    "dem": ["raw/dem"],
    "albedo": ["raw/albedo"],
    "observations": "raw/fog/FOG_EE_MASS_BALANCE.csv",
}


def arguments(given):
    options = [f"--{k}={v}" for k, values in given.items() for v in ([values] if isinstance(values, str) else values)]
    return ["init", OUTLINES, *options, "--output", "own.yaml"]


@pytest.fixture
def raw(world, tmp_path, monkeypatch):
    """The working directory, with a copy of the raw files in it."""
    shutil.copytree(world.raw() / "raw", tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "raw"


def read_back():
    with open("own.yaml", encoding="utf-8") as file:  # noqa: PTH123 - in the working directory
        return yaml.safe_load(file)


def test_what_is_written_passes_check_and_nothing_is_replaced_unasked(raw, capsys):
    assert main(arguments(GIVEN)) == 0
    told = capsys.readouterr().out
    made = read_back()
    assert made["climate"]["accumulated"] == "daily_mean"
    assert made["climate"]["invariant"] == "raw/era5_land/era5_land_invariant.nc"
    assert made["climate"]["files"] == "raw/era5_land/era5_land_monthly_*.nc"
    assert made["observations"]["units"] == "mm w.e."
    assert list(made["observations"]["links"].values()) == ["raw/fog/FOG_A_GLACIER.csv"]
    assert made["predictors"] == {"first_month": 10}
    for line in (
        "only as daily_mean is the annual precipitation plausible",
        "glaciers: 6 outlines",
        "hydrological years begin in October; 2001 to 2004 are complete in the climate",
        "observations.units: the unit in which all balances are plausible",
    ):
        assert line in told
    assert main(["check", "own.yaml"]) == 0
    assert "glacier-years to learn from" in capsys.readouterr().out

    before = (raw.parent / "own.yaml").read_bytes()
    assert main(arguments(GIVEN)) == 1
    assert "--force" in capsys.readouterr().err
    (raw.parent / "own.yaml").write_text("mine")
    assert main(arguments(GIVEN)) == 1
    assert (raw.parent / "own.yaml").read_text() == "mine"
    assert main([*arguments(GIVEN), "--force"]) == 0
    assert (raw.parent / "own.yaml").read_bytes() == before


@pytest.mark.slow
def test_the_demonstrations_own_raw_files_pass_check(tmp_path, monkeypatch, capsys):
    """In the formats of the agencies: HDF4 tiles, ASTER tiles with counts beside them, the ZIP of a release."""
    pytest.importorskip("pyhdf")
    monkeypatch.chdir(tmp_path)
    assert main(["synth", "raw"]) == 0
    release = next((tmp_path / "raw" / "fog").glob("*.zip")).relative_to(tmp_path)
    assert main(arguments({**GIVEN, "observations": str(release)})) == 0
    made = read_back()
    assert "units" not in made["observations"], "the release says it"
    capsys.readouterr()
    assert main(["check", "own.yaml"]) == 0
    assert "60 glaciers" in capsys.readouterr().out


def test_hourly_means_are_recognised_by_the_precipitation_that_they_give(raw):
    for path in sorted((raw / "era5_land").glob("era5_land_monthly_*.nc")):
        if not path.stem.endswith(("_tp", "_t2m")):
            path.unlink()
    path = raw / "era5_land" / "era5_land_monthly_tp.nc"
    with xr.open_dataset(path) as ds:
        hourly = ds.load()
    hourly["tp"] = (hourly["tp"] / 24).assign_attrs(hourly["tp"].attrs)
    hourly.to_netcdf(path)
    assert draft(OUTLINES, climate=GIVEN["climate"]).sections["climate"]["accumulated"] == "hourly_mean"


def test_without_the_invariant_file_temperatures_are_not_corrected(raw):
    found = draft(OUTLINES, climate=["raw/era5_land/era5_land_monthly_t2m.nc", "raw/era5_land/era5_land_monthly_tp.nc"])
    assert "invariant" not in found.sections["climate"]
    assert found.sections["sampling"] == {"lapse_rate": 0}


def test_south_of_the_equator_years_begin_in_april(raw):
    table = gpd.read_file(raw.parent / OUTLINES)
    table.set_geometry([translate(g, yoff=-80) for g in table.geometry]).to_file("south.gpkg")
    found = draft("south.gpkg")
    assert found.sections["predictors"] == {"first_month": 4}
    assert "south of the equator" in found.comments["predictors.first_month"]
    assert found.open == ["climate", "elevation", "observations"]


def test_columns_reference_system_and_pieces_are_found_out(raw):
    table = gpd.read_file(raw.parent / OUTLINES)[["geometry"]].to_crs("EPSG:4326")
    table["kind"] = "glacier"
    table["number"] = [f"g{i}_d0{1 + (i == 1)}" if i < 2 else f"g{i}" for i in range(len(table))]
    table["number"] = table["number"].replace({"g1_d02": "g0_d02"})
    table.to_file("own.shp")
    (raw.parent / "own.prj").unlink()
    found = draft("own.shp")
    how = {k: v for k, v in found.sections["glaciers"].items() if k != "path"}
    assert how == {"crs": "EPSG:4326", "id": "number", "merge_pieces": True}
    assert any(line.startswith(f"glaciers: {len(table) - 1} outlines") for line in found.assumed)


def test_metres_are_recognised_by_balances_that_can_be(raw):
    path = raw / "fog" / "FOG_EE_MASS_BALANCE.csv"
    table = pd.read_csv(path)
    balances = [c for c in table.columns if "_BALANCE" in c]
    assert len(balances) == 6
    table[balances] = table[balances] / 1000
    table.to_csv(path, index=False)
    found = draft(OUTLINES, observations=str(path))
    assert found.sections["observations"]["units"] == "m w.e."


def test_what_cannot_be_read_in_any_way_is_an_error_and_nothing_is_written(raw, capsys):
    (raw / "dem" / "astgtm_synthetic_dem.tif").write_bytes(b"broken")
    assert main(arguments({"dem": ["raw/dem/*.tif"]})) == 1
    assert "astgtm_synthetic_dem.tif" in capsys.readouterr().err
    assert not (raw.parent / "own.yaml").exists()
    with pytest.raises(InputError, match=r"nothing\.shp"):
        draft("nothing.shp")


def test_what_is_missing_is_left_to_be_filled_in(raw, capsys):
    assert main(["init", OUTLINES, "--output", "own.yaml"]) == 0
    told = capsys.readouterr().out
    for section in ("climate", "elevation", "observations"):
        assert f"{section}: still to be filled in" in told
    with pytest.raises(InputError, match=r"observations\.path(.|\n)*FILL_IN"):
        load_config("own.yaml")
    capsys.readouterr()
    assert main(["check", "own.yaml"]) == 1
    said = capsys.readouterr().err
    assert "climate.files, elevation.files, observations.path" in said
    assert "what `glacmb-grid init` could not find out" in said


def own_climate(raw, folder, t2m="Tmittel", tp="Niederschlag"):
    """Temperature and precipitation under names of one's own, and the height of the cells in a file beside them."""
    (raw / folder).mkdir()
    for ours, theirs in (("t2m", t2m), ("tp", tp)):
        with xr.open_dataset(raw / "era5_land" / f"era5_land_monthly_{ours}.nc") as ds:
            one = ds[[ours]].load().rename({ours: theirs})
        attrs = {"t2m": {"units": "K"}, "tp": {"units": "kg m-2 s-1"}}[ours]
        values = one[theirs] / 86.4 if ours == "tp" else one[theirs]
        one.assign({theirs: values.drop_attrs().assign_attrs(attrs)}).to_netcdf(raw / folder / f"{theirs}.nc")
    with xr.open_dataset(raw / "era5_land" / "era5_land_invariant.nc") as ds:
        height = (ds["z"].squeeze(drop=True) / 9.80665).drop_attrs().assign_attrs(units="m")
    height.to_dataset(name="Hoehe").to_netcdf(raw / folder / "height.nc")
    return f"raw/{folder}"


def test_names_of_ones_own_are_guessed_by_units_and_said(raw, capsys):
    assert main(arguments({**GIVEN, "climate": [own_climate(raw, "own")]})) == 0
    assert "climate.names: by their units and descriptions" in capsys.readouterr().out
    climate = read_back()["climate"]
    assert climate["names"] == {"t2m": "Tmittel", "tp": "Niederschlag", "orography": "Hoehe"}
    assert climate["invariant"] == "raw/own/height.nc"
    assert "accumulated" not in climate, "a rate says it itself"
    assert main(["check", "own.yaml"]) == 0


def test_names_that_nothing_tells_are_left_to_be_filled_in(raw, capsys):
    folder = own_climate(raw, "own", t2m="t_min", tp="snow_or_rain")
    assert main(arguments({**GIVEN, "climate": [folder]})) == 0
    made = read_back()["climate"]
    assert made["names"] == {"t2m": "FILL_IN", "tp": "FILL_IN", "orography": "Hoehe"}
    assert "snow_or_rain (kg m-2 s-1), t_min (K)" in (raw.parent / "own.yaml").read_text()
    assert main(["check", "own.yaml"]) == 1
    assert "climate.names.t2m, climate.names.tp" in capsys.readouterr().err


@pytest.mark.parametrize(("kelvin", "expected"), [("t2m", {}), ("d2m", {"t2m": "warm air"}), ("dew point", {})])
def test_a_dew_point_is_no_temperature_of_the_air(tmp_path, kelvin, expected):
    """Nothing is guessed where a known name is there, nor from a unit alone."""
    grid = ("time", "lat", "lon"), np.zeros((3, 2, 2))
    names = [kelvin, *(["warm air"] if kelvin == "d2m" else [])]
    xr.Dataset({n: (*grid, {"units": "K"}) for n in names}).to_netcdf(tmp_path / "a.nc")
    assert guessed_names([tmp_path / "a.nc"])[0] == expected


def test_sites_that_have_the_names_of_outlines_are_linked_by_hand(raw, capsys):
    outlines = gpd.read_file(raw.parent / OUTLINES)
    names = [f"North {'ABCDEFGH'[k]}horn" for k in range(len(outlines))]
    outlines.assign(glac_name=names).to_file(raw.parent / OUTLINES)
    rows = [f"{n};{y};{-100 - 10 * y % 7}" for n in names[:3] for y in (2001, 2002, 2003)]
    (raw / "own.csv").write_text("\n".join(["Glacier;Year;Ba (mm w.e.)", *rows]))
    assert main(arguments({**GIVEN, "observations": "raw/own.csv"})) == 0
    assert "9 balances of 3 sites, 9 find an outline" in capsys.readouterr().out
    observations = read_back()["observations"]
    assert "units" not in observations, "the heading says it"
    expected = dict(zip(names[:3], outlines["rgi_id"], strict=False))
    assert observations["links"]["mapping"] == expected
    assert main(["check", "own.yaml"]) == 0


def test_patterns_name_just_what_is_taken(tmp_path):
    for name in ("a_1.nc", "a_2.nc", "b_1.nc", "b_2.nc", "note.txt"):
        (tmp_path / name).touch()
    every = sorted(tmp_path.glob("*.nc"))
    assert patterns([str(tmp_path)], every[:2], every) == [str(tmp_path / "a_*.nc")]
    assert patterns([str(tmp_path)], every[:3], every) == [str(p) for p in every[:3]]
    assert patterns([str(tmp_path / "*.nc")], every, every) == [str(tmp_path / "*.nc")]
    (tmp_path / "a_3.nc").touch()
    assert patterns([str(tmp_path)], every[:2], every) == [str(p) for p in every[:2]]


def test_the_text_is_yaml_whatever_the_names_hold(tmp_path):
    sections = {
        "glaciers": {"path": str(tmp_path / "a: b #c.shp"), "id": "yes"},
        "climate": {"files": [str(tmp_path / "it's.nc"), "s3://a/b.zarr", "/elsewhere/far/away.nc"]},
        "product": {"years": [2000, 2024]},
    }
    text = draft_text(sections, {"glaciers.id": "a comment", "climate": "another " * 20}, tmp_path)
    expected = {
        "glaciers": {"path": "a: b #c.shp", "id": "yes"},
        "climate": {"files": ["it's.nc", "s3://a/b.zarr", "/elsewhere/far/away.nc"]},
        "product": {"years": [2000, 2024]},
    }
    assert yaml.safe_load(text) == expected
    assert max(map(len, text.splitlines())) < 200
    assert np.count_nonzero([line.strip().startswith("# another") for line in text.splitlines()]) == 1
