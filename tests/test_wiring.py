"""Where stages, masks and options meet: every declared file, every scheme under every protocol, locked glaciers."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path

import geopandas as gpd
import netCDF4
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import yaml
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from glacmb_grid.cli import main
from glacmb_grid.config import _PATHS, load_config
from glacmb_grid.disk import INTERNAL, MARK
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.folds.schemes import SCHEMES, make_folds
from glacmb_grid.judging import plan as judging_plan
from glacmb_grid.settings import RunConfig, TableConfig
from glacmb_grid.stores import artefacts
from glacmb_grid.workflow import cubes
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.guards import OTHERS
from glacmb_grid.workflow.runner import run
from glacmb_grid.workflow.stages import Stage
from glacmb_grid.workflow.table import table


def quiet(_):
    """Say nothing."""


# ---- every declared file is an input of its stage ----

WIRED = {
    "elevation": {"files": "raw/dem/dem.vrt"},
    "observations": {
        "links": {"table": "raw/fog/links.csv", "versions": "raw/fog/rgi6_links.csv"},
        "geodetic": {"path": "raw/rates.csv"},
    },
    "validation": {"models": ["mean"], "schemes": ["logo", "loyo", "both_out", "domain"]},
    "product": {"model": "mean", "regions": {"path": "raw/regions.gpkg"}, "grids": {"resolutions": [0.5]}},
}


def add_what_is_not_there(folder):
    """A virtual elevation model and a link table, as users have them."""
    raw = folder / "raw"
    with rasterio.open(raw / "dem" / "astgtm_synthetic_dem.tif") as dem:
        t, void = dem.transform, "" if dem.nodata is None else f"<NoDataValue>{dem.nodata}</NoDataValue>"
        (raw / "dem" / "dem.vrt").write_text(
            f'<VRTDataset rasterXSize="{dem.width}" rasterYSize="{dem.height}"><SRS>{dem.crs.to_string()}</SRS>'
            f"<GeoTransform>{t.c},{t.a},{t.b},{t.f},{t.d},{t.e}</GeoTransform>"
            f'<VRTRasterBand dataType="Int16" band="1">{void}'
            '<SimpleSource><SourceFilename relativeToVRT="1">astgtm_synthetic_dem.tif</SourceFilename>'
            "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
        )
    table = pd.read_csv(raw / "fog" / "FOG_A_GLACIER.csv")
    (raw / "fog" / "links.csv").write_text(f"WGMS_ID,RGI_ID\n{table['WGMS_ID'][0]},RGI60-13.99999\n")
    around = gpd.GeoDataFrame({"name": ["basin"]}, geometry=[shapely.box(60, 20, 110, 60)], crs=4326)
    around.to_file(raw / "regions.gpkg")
    (raw / "rates.csv").write_text(f"wgms_id,period,dmdtda\n{table['WGMS_ID'][0]},2001-01-01_2004-01-01,-0.5\n")
    (raw / "fog" / "rgi6_links.csv").write_text("rgi7_id,rgi6_id,rgi7_area_fraction,rgi6_area_fraction\na,b,1,1\n")


@pytest.fixture(scope="module")
def wired(shared, world):
    """A finished run in which every kind of input takes part."""

    def make(folder):
        path = world.at(folder, **WIRED)
        add_what_is_not_there(folder)
        run(load_config(path), say=quiet)

    return shared("wired", make)


def append(path):
    path.write_bytes(path.read_bytes() + b"\n")


def change_pixel(path):
    with rasterio.open(path, "r+") as file:
        values = file.read(1)
        values[0, 0] += 1
        file.write(values, 1)


def change_zarr(path):
    group = zarr.open_group(path, mode="r+")
    group.attrs["changed"] = "yes"


DECLARED = {
    ("glaciers", "outlines"): ("raw/rgi/RGI2000-v7.0-G-13_synthetic.gpkg", append),
    ("cubes", "climate files"): ("raw/era5_land/era5_land_monthly_tp.nc", append),
    ("cubes", "invariant file"): ("raw/era5_land/era5_land_invariant.nc", append),
    ("weights", "climate files"): ("raw/era5_land/era5_land_monthly_tp.nc", append),
    ("weights", "invariant file"): ("raw/era5_land/era5_land_invariant.nc", append),
    ("sampled", "climate files"): ("raw/era5_land/era5_land_monthly_tp.nc", append),
    ("sampled", "invariant file"): ("raw/era5_land/era5_land_invariant.nc", append),
    ("observations", "observations"): ("raw/fog/FOG_EE_MASS_BALANCE.csv", append),
    ("observations", "link table"): ("raw/fog/links.csv", append),
    ("observations", "glacier positions"): ("raw/fog/FOG_A_GLACIER.csv", append),
    ("observations", "other version"): ("raw/fog/rgi6_links.csv", append),
    ("geodetic/links", "geodetic rates"): ("raw/rates.csv", append),
    ("geodetic/links", "link table"): ("raw/fog/links.csv", append),
    ("geodetic/links", "glacier positions"): ("raw/fog/FOG_A_GLACIER.csv", append),
    ("geodetic/links", "other version"): ("raw/fog/rgi6_links.csv", append),
    ("terrain", "elevation model"): ("raw/dem/dem.vrt", append),
    ("albedo", "albedo rasters"): ("raw/albedo/*.tif", change_pixel),
    ("products", "truth"): ("raw/truth.nc", append),
    ("regional", "regions"): ("raw/regions.gpkg", append),
}
BEHIND = {
    ("terrain", "elevation model"): ("raw/dem/astgtm_synthetic_dem.tif", change_pixel),
}


def test_these_are_all_files_that_stages_declare(wired):
    config = load_config(wired / "own.yaml")
    declared = [(s.name, what) for s in table(config) for _, what in s.files]
    assert sorted(declared) == sorted(DECLARED)


def test_every_path_of_a_configuration_is_an_input_of_a_stage(wired):
    """A path that no stage declares would be read, and its changes not noticed."""
    config = load_config(wired / "own.yaml")
    declared = {str(p) for s in table(config) for paths, _ in s.files for p in _listed(paths)}
    apart = {("store", "root"), ("samples", "path"), ("samples", "targets"), ("models", "ff_fcnn", "transfer", "path")}
    for keys in _PATHS - apart:
        value = config
        for key in keys:
            value = getattr(value, key)
        assert {str(v) for v in _listed(value)} <= declared, keys
    (read,) = (s for s in table(_table_config(wired)) if s.files)
    assert [str(p) for p, _ in read.files] == [str(wired / "table.csv")]


def _listed(value):
    return [value] if isinstance(value, str | Path) else value


def _table_config(folder):
    roles = {"path": folder / "table.csv", "glacier": "g", "year": "y", "target": "b", "target_units": "m w.e."}
    return TableConfig(name="own", samples=roles, store={"root": folder / "out"})


@pytest.mark.parametrize(("stage", "what"), [*DECLARED, *BEHIND])
def test_a_change_of_any_declared_file_makes_its_stage_stale(wired, tmp_path, stage, what):
    _is_noticed(wired, tmp_path, stage, what, *DECLARED[stage, what])


@pytest.mark.parametrize(("stage", "what"), BEHIND)
def test_a_change_behind_a_declared_file_makes_its_stage_stale(wired, tmp_path, stage, what):
    _is_noticed(wired, tmp_path, stage, what, *BEHIND[stage, what])


def _is_noticed(wired, tmp_path, stage, what, pattern, change):
    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    config = load_config(tmp_path / "own.yaml")
    path = sorted(tmp_path.glob(pattern))[-1]
    change(path)
    states = {name: (state, why) for name, state, why in status(config)}
    assert states[stage][0] == "stale"
    assert f"input {what}." in states[stage][1]
    needs = {s.name: s.needs for s in table(config)}
    on = {s.name for s in table(config) if any(w == what for _, w in s.files)}
    assert stage in on
    for name, its in needs.items():
        on |= {name} if on & set(its) else set()
    expected = {n: "stale" if n in on else "current" for n in states if n not in ("audit", "study")}
    assert {n: states[n][0] for n in expected} == expected


def test_a_changed_input_reruns_its_stage_and_a_touched_one_does_not(wired, tmp_path):
    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    config = load_config(tmp_path / "own.yaml")
    observations = tmp_path / "raw" / "fog" / "FOG_EE_MASS_BALANCE.csv"
    observations.touch()
    assert run(config, say=quiet) == []
    lines = observations.read_text().splitlines()
    observations.write_text("\n".join(lines[:-1]) + "\n")
    assert run(config, stage="samples", say=quiet) == ["observations", "samples"]


def test_overwriting_records_what_it_reads_and_what_it_changes_is_passed_on(wired, tmp_path, monkeypatch):
    """A change that identities do not show (a large file corrected in place): redone by hand, its dependants follow."""
    from glacmb_grid.stores import identity

    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    config = load_config(tmp_path / "own.yaml")
    dem = tmp_path / "raw" / "dem" / "astgtm_synthetic_dem.tif"
    stamp, digest = identity.stamp_of, identity.sha256
    with monkeypatch.context() as blind:
        blind.setattr(identity, "stamp_of", lambda p, **k: [1, 1, 1, 1] if p == dem else stamp(p, **k))
        blind.setattr(identity, "sha256", lambda p: "0" * 64 if p == dem else digest(p))
        assert run(config, stage="terrain", overwrite=True, say=quiet) == ["terrain"]
        run(config, say=quiet)  # now all of it knows the elevation model as it is seen here
        before = (tmp_path / "out" / "terrain" / MARK).read_bytes()
        with rasterio.open(dem, "r+") as file:
            file.write(file.read(1) + 100, 1)
        assert [line for line in status(config) if line[1] != "current"][:-2] == []
        said = []
        assert run(config, stage="terrain", overwrite=True, say=said.append) == ["terrain"]
        assert "terrain (asked for by --overwrite)" in said
        assert (tmp_path / "out" / "terrain" / MARK).read_bytes() != before
        states = {n: (s, why) for n, s, why in status(config)}
        assert states["sampled"] == ("stale", "stage terrain changed")
        assert {"sampled", "predictors", "samples", "folds", "products"} <= set(run(config, say=quiet))
    real = json.loads(before)["inputs"]["elevation model"]
    run(config, stage="terrain", overwrite=True, say=quiet)
    assert json.loads((tmp_path / "out" / "terrain" / MARK).read_text())["inputs"]["elevation model"] != real


@pytest.mark.parametrize("how", [{}, {"verify": True}, {"overwrite": True, "stage": "terrain"}])
def test_a_change_that_no_time_shows_is_found_where_content_is_looked_at(wired, tmp_path, monkeypatch, how):
    """As after trouble with a disk, or where times were set back."""
    from glacmb_grid.stores import identity

    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    config = load_config(tmp_path / "own.yaml")
    dem, stamp_of = tmp_path / "raw" / "dem" / "astgtm_synthetic_dem.tif", identity.stamp_of
    monkeypatch.setattr(identity, "stamp_of", lambda p, **k: [1, 1, 1, 1] if p == dem else stamp_of(p, **k))
    run(config, say=quiet)
    with rasterio.open(dem, "r+") as file:
        file.write(file.read(1) + 100, 1)
    assert run(config, say=quiet) == []
    if not how:
        states = {n: (state, why) for n, state, why in status(config, whole=True)}
        assert states["terrain"] == ("stale", "input elevation model.dem.vrt changed")
        return
    said = []
    assert run(config, say=said.append, **how)[:1] == ["terrain"]
    assert "terrain (input elevation model.dem.vrt changed)" in said


def test_verifying_compares_large_inputs_with_what_was_read_whole_before_though_the_stage_was_made_without(
    wired, tmp_path, monkeypatch
):
    from glacmb_grid.stores import identity

    for name, value in (("WHOLE", 1000), ("_EDGE", 16), ("_EDGE_OF_PART", 16), ("_PIECES", 2), ("_PIECE", 16)):
        monkeypatch.setattr(identity, name, value)
    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    config = load_config(tmp_path / "own.yaml")
    run(config, say=quiet)
    said = []
    assert run(config, verify=True, say=said.append) == []
    assert any(line.startswith("terrain: dem.vrt read as a whole for the first time") for line in said)
    assert run(config, verify=True, say=(again := []).append) == []
    assert not any("for the first time" in line for line in again)
    dem = tmp_path / "raw" / "dem" / "astgtm_synthetic_dem.tif"
    times, content = dem.stat(), bytearray(dem.read_bytes())
    content[len(content) // 5] ^= 1  # between the pieces that are looked at
    dem.write_bytes(bytes(content))
    os.utime(dem, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [s for n, s, _ in status(config) if n == "terrain"] == ["current"]
    assert [s for n, s, _ in status(config, whole=True) if n == "terrain"] == ["stale"]


def test_a_change_of_the_climate_that_only_its_time_shows_reaches_all_that_read_it(wired, tmp_path, monkeypatch):
    """Corrected between the samples of a large file: what the stage `cubes` describes is the same as before."""
    from glacmb_grid.stores import identity

    for name, value in (("WHOLE", 1000), ("_EDGE", 16), ("_EDGE_OF_PART", 16), ("_PIECES", 2), ("_PIECE", 16)):
        monkeypatch.setattr(identity, name, value)
    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    config = load_config(tmp_path / "own.yaml")
    run(config, say=quiet)
    file = next((tmp_path / "raw" / "era5_land").glob("*_tp.nc"))
    with netCDF4.Dataset(file, "r+") as climate:
        climate["tp"][:, :, :] = climate["tp"][:, :, :] * 1.5
    ran = run(config, say=quiet)
    assert {"cubes", "weights", "sampled", "predictors", "samples"} <= set(ran)


def test_several_missing_inputs_are_one_reason_and_no_obstacle_elsewhere(wired, tmp_path, capsys):
    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "own.yaml"
    missing = ["--set", "climate.files=[raw/none_a.nc, raw/none_b.nc]"]
    config = load_config(path, missing[1:])
    states = {n: (state, why) for n, state, why in status(config)}
    assert states["cubes"][0] == "blocked"
    assert "none_a.nc" in states["cubes"][1]
    assert main(["run", str(path), "--stage", "glaciers", *missing]) == 0
    capsys.readouterr()
    assert main(["check", str(path), *missing]) == 1
    told = capsys.readouterr().err
    assert "none_a.nc" in told
    assert "none_b.nc" in told


def test_a_forced_stage_with_the_same_content_leaves_the_others_current(wired, tmp_path):
    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    config = load_config(tmp_path / "own.yaml")
    assert run(config, stage="terrain", overwrite=True, say=quiet) == ["terrain"]
    assert run(config, say=quiet) == []


@pytest.mark.parametrize(
    ("stage", "module", "name", "pattern"),
    [
        ("sampled", cubes, "correct_temperature", "raw/era5_land/era5_land_monthly_tp.nc"),
        ("weights", cubes, "stand_ins", "raw/era5_land/era5_land_monthly_tp.nc"),
        ("terrain", cubes, "without_elevation", "raw/dem/astgtm_synthetic_dem.tif"),
        ("observations", artefacts, "write_table", "raw/fog/FOG_A_GLACIER.csv"),
    ],
)
def test_an_input_that_changes_while_it_is_read_gives_no_result(
    wired, tmp_path, monkeypatch, stage, module, name, pattern
):
    """As where a download still writes: also for the climate, which stages read that do not declare it."""
    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    config = load_config(tmp_path / "own.yaml")
    before = (tmp_path / "out" / stage / MARK).read_bytes()
    real = getattr(module, name)

    def meanwhile(*arguments, **options):
        append(tmp_path / pattern)
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, meanwhile)
    with pytest.raises(InputError, match="stay as they are while a stage reads them") as raised:
        run(config, stage=stage, overwrite=True, say=quiet)
    assert pattern.split("/")[-1].split(".")[0] in raised.value.found or "dem.vrt" in raised.value.found
    assert (tmp_path / "out" / stage / MARK).read_bytes() == before


def test_the_order_of_overlapping_tiles_is_part_of_the_input(wired, tmp_path):
    """Where tiles overlap the first one counts; of paths in settings only the last part does."""
    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(tmp_path / "raw" / "dem" / "astgtm_synthetic_dem.tif", tmp_path / name / "dem.tif")
    with rasterio.open(tmp_path / "two" / "dem.tif", "r+") as file:
        file.write(file.read(1) + 100, 1)
    orders = [f"elevation.files=[{a}/*.tif, {b}/*.tif]" for a, b in (("one", "two"), ("two", "one"))]
    first, second = (load_config(tmp_path / "own.yaml", [order]) for order in orders)
    assert run(first, stage="terrain", say=quiet) == ["terrain"]
    assert run(first, stage="terrain", say=quiet) == []
    states = {n: (s, why) for n, s, why in status(second)}
    assert states["terrain"] == ("stale", "input elevation model.order of the elevation model changed")


def test_the_third_of_three_files_of_one_name_counts(wired, tmp_path):
    """In folders of one name, too."""
    shutil.copytree(wired, tmp_path, dirs_exist_ok=True)
    folders = [tmp_path / side / "monthly" for side in ("a", "b", "c")]
    whole = xr.load_dataset(tmp_path / "raw" / "era5_land" / "era5_land_monthly_t2m.nc")
    time = next(d for d in whole.dims if "time" in d)
    rain = xr.load_dataset(tmp_path / "raw" / "era5_land" / "era5_land_monthly_tp.nc")
    thirds = np.array_split(np.arange(whole.sizes[time]), 3)
    for folder, part in zip(folders, thirds, strict=True):
        folder.mkdir(parents=True)
        for name, ds in (("t2m", whole), ("tp", rain)):
            ds.isel({time: part}).to_netcdf(folder / f"{name}.nc")
    files = ", ".join(str(f / "*.nc") for f in folders)
    config = load_config(tmp_path / "own.yaml", [f"climate.files=[{files}]"])
    run(config, stage="cubes", say=quiet)
    for folder in folders:
        append(folder / "tp.nc")
        states = {n: (s, why) for n, s, why in status(config)}
        assert states["cubes"][0] == "stale"
        assert f"climate files.{folder.parent.name}/monthly/tp.nc" in states["cubes"][1]
        run(config, stage="cubes", say=quiet)


# ---- no folder of a run where anything could be lost ----


@pytest.mark.parametrize("command", ["check", "run", "status", "evaluate", "score-holdout"])
def test_a_store_in_a_folder_of_the_users_is_refused_and_nothing_is_touched(world, tmp_path, capsys, command):
    """The layout of configs/hma.yaml with `store: {root: "${HMA_DATA}"}`: every tile of albedo was lost."""
    path = world.at(tmp_path, store={"root": "raw"}, validation={"holdout": 0.3})
    (tmp_path / "raw" / ".old-thesis").mkdir()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert main([command, str(path)]) == 1
    told = capsys.readouterr().err
    assert f"{tmp_path / 'raw'}: store.root" in told
    assert "albedo" in told
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert (tmp_path / "raw" / ".old-thesis").is_dir()


@pytest.mark.parametrize("root", ["", " ", "."])
def test_no_store_in_the_folder_of_the_configuration(world, tmp_path, capsys, root):
    path = world.at(tmp_path, store={"root": root})
    assert main(["run", str(path)]) == 1
    told = capsys.readouterr().err
    assert "store.root" in told
    assert sorted(p.name for p in tmp_path.iterdir()) == ["own.yaml", "raw"]


@pytest.mark.parametrize("place", ["albedo", "samples", "learning", "kept", INTERNAL, "holdout", "products"])
def test_inputs_in_the_folders_of_results_are_refused(world, tmp_path, capsys, place):
    path = world.at(tmp_path)
    (tmp_path / "out" / INTERNAL).mkdir(parents=True)  # a run's folder by now
    folder = tmp_path / "out" / place / "mine"
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / "raw" / "fog" / "FOG_EE_MASS_BALANCE.csv", folder / "balance.csv")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for command in ("check", "run"):
        options = ["--set", f"observations.path=out/{place}/mine/balance.csv"]
        assert main([command, str(path), *options]) == 1
        told = capsys.readouterr().err
        assert "balance.csv" in told or f"{tmp_path / 'out' / place}" in told
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_links_and_patterns_do_not_hide_where_an_input_lies(world, tmp_path, capsys):
    path = world.at(tmp_path)
    (tmp_path / "out" / INTERNAL).mkdir(parents=True)
    for name in ("kept", "elsewhere"):
        (tmp_path / "out" / name).mkdir()
        shutil.copy(tmp_path / "raw" / "dem" / "astgtm_synthetic_dem.tif", tmp_path / "out" / name / "dem.tif")
    (tmp_path / "link").symlink_to(tmp_path / "out" / "kept")
    for files in ("link/dem.tif", "out/*/dem.tif"):
        assert main(["check", str(path), "--set", f"elevation.files={files}"]) == 1
        assert "outside the folders that a run writes" in capsys.readouterr().err
    assert main(["check", str(path), "--set", "elevation.files=out/elsewhere/*.tif"]) == 0


def test_a_store_inside_a_store_that_is_read_is_refused(world, tmp_path, capsys):
    path = world.at(tmp_path)
    zarr.open_group(tmp_path / "cube.zarr", mode="w")
    options = ["--set", "climate.files=cube.zarr", "--set", "store.root=cube.zarr/run"]
    assert main(["run", str(path), *options]) == 1
    assert "which holds the run's folder" in capsys.readouterr().err
    assert not (tmp_path / "cube.zarr" / "run").exists()


def test_the_demonstrations_raw_files_may_lie_in_its_own_folder(tmp_path):
    config = load_config(Path(__file__).parents[1] / "configs" / "demo.yaml", [f"store.root={tmp_path / 'out'}"])
    assert {state for _, state, _ in status(config)} == {"missing"}
    assert {s.name for s in table(config)} & set(OTHERS) == set()
    assert not (tmp_path / "out").exists()


# ---- what cannot work fails early ----


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["validation.schemes=[random]"], "random folds only together"),
        (["validation.holdout=[nowhere]"], "validation.holdout"),
        (["validation.schemes=[leave_region_out]"], "samples: region"),
        (["validation.schemes=[loyo, blocks]", "validation.buffer_km=2000"], "left to fit on"),
    ],
)
def test_folds_that_cannot_be_made_fail_before_anything_is_sampled(world, tmp_path, capsys, options, told):
    path = world.at(tmp_path)
    sets = [part for option in options for part in ("--set", option)]
    for command in ("check", "run", "evaluate"):
        assert main([command, str(path), *sets]) == 1
        assert told in capsys.readouterr().err
    assert not {"weights", "terrain", "sampled"} & {p.name for p in (tmp_path / "out").iterdir()}


def test_the_plan_tells_the_folds_that_are_made_later(wired):
    plan = pd.read_csv(wired / "out" / "plan" / "folds.csv").set_index("scheme")
    for scheme, line in plan.iterrows():
        folds = xr.open_zarr(wired / "out" / "folds" / f"{scheme}.zarr")
        assert line["folds"] == folds.sizes["fold"]
        assert line["rows"] == folds.sizes["sample"]


# ---- every scheme under every protocol ----

PROTOCOLS = [
    dict(zip(("selection", "tuning", "early_stopping"), switches, strict=True))
    for switches in itertools.product([False, True], repeat=3)
]
TARGETS = pd.DataFrame({"longitude": [80.5, 84.0, 89.0], "latitude": [40.0, 41.0, 43.0]}, index=list("uvw"))
rows = st.tuples(st.integers(0, 7), st.integers(2000, 2005), st.integers(0, 9), st.sampled_from(["x", "y", "z"]))


def skeleton(table):
    glacier, year, group, region = (np.array(column) for column in zip(*table, strict=True))
    return xr.Dataset(
        coords={
            "sample": [f"g{g}:{y}:{i}" for i, (g, y) in enumerate(zip(glacier, year, strict=True))],
            "glacier": ("sample", np.array([f"g{g}" for g in glacier], dtype=object)),
            "year": ("sample", year),
            "group": ("sample", np.array([f"c{g}" for g in group], dtype=object)),
            "region": ("sample", region.astype(object)),
            "longitude": ("sample", 80.0 + glacier),
            "latitude": ("sample", 40.0 + glacier % 3),
        }
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(rows, min_size=8, max_size=40),
    st.sampled_from(PROTOCOLS),
    st.none() | st.sampled_from([0.2, 0.4]) | st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True),
    st.integers(0, 5),
)
def test_no_scheme_under_any_protocol_scores_a_glacier_that_it_fits_or_touches_what_is_locked(
    table, protocol, holdout, seed
):
    """As the stage makes them, from a configuration: groups and regions cut through glaciers."""
    samples = skeleton(table)
    ids = samples["glacier"].values.astype(str)
    holdout = [f"g{g}" for g in holdout] if isinstance(holdout, list) else holdout
    schemes = [s for s in SCHEMES if s != "logo_own_geodetic"]  # which no table can have
    config = TableConfig(
        name="any",
        seed=seed,
        samples={"path": "t.csv", "glacier": "g", "year": "y", "target": "b", "target_units": "m w.e."},
        protocol=protocol,
        validation={"schemes": schemes, "holdout": holdout, "inner": 2, "blocks": 3, "parts": 4, "buffer_km": 1},
    )
    try:
        every, locked = judging_plan.judged_folds(
            samples, judging_plan.schemes_of(config), config.validation, config.protocol, config.seed, TARGETS
        )
    except (InputError, InputErrors):
        return  # too few rows for some scheme, or an unknown glacier: told, and no folds
    assert list(every) == schemes
    named = set(holdout) if isinstance(holdout, list) else set()
    assert named <= set(ids[locked])
    assert locked.any() == (holdout is not None)
    assert not set(ids[locked]) & set(ids[~locked]), "a glacier is locked whole"
    labels = {n: samples[n].values.astype(str) for n in ("glacier", "group", "region", "year")}
    apart = {
        "logo": ["group", "glacier"],
        "loyo": ["year"],
        "both_out": ["group", "glacier", "year"],
        "blocks": ["group", "glacier"],
        "leave_region_out": ["region", "group", "glacier"],
        "random": [],
        "domain": ["group", "glacier"],
    }
    for scheme, folds in every.items():
        assert (folds.selects_apart == protocol["selection"]).all()
        assert (folds.stop.any(axis=1) == protocol["early_stopping"]).all()
        assert not (folds.score | folds.seen)[:, locked].any(), scheme
        for fit, score in zip(folds.fit, folds.score, strict=True):
            for label in apart[scheme]:
                assert not set(labels[label][fit]) & set(labels[label][score]), f"{scheme}: {label}"
        nested = make_folds(
            samples, scheme, inner=2, blocks=3, parts=4, buffer_km=1, seed=seed, locked=locked, targets=TARGETS
        )
        np.testing.assert_array_equal(folds.score, nested.score)
        if protocol["selection"]:
            assert (folds.select == ~locked).all(), "the leaky way sees all rows but the locked ones"


# ---- locked glaciers, end to end ----

RECIPES = {"recipes": [{"correlation": 0.01, "keep": 2}, {}]}


def own_table(locked_noise=None, glaciers=8, years=6):
    """Balances of a level and the weather; with `locked_noise` the locked glaciers have other values everywhere."""
    rng = np.random.default_rng(0)
    glacier, year = (a.ravel() for a in np.indices((glaciers, years)))
    level, weather = rng.normal(0, 1, glaciers)[glacier], rng.normal(0, 1, len(year))
    data = pd.DataFrame(
        {
            "glacier": [f"g{g}" for g in glacier],
            "year": 2001 + year,
            "b": 0.4 * level + 0.5 * weather + rng.normal(0, 0.1, len(year)),
            "level": level,
            "weather": weather,
            "other": rng.normal(0, 1, len(year)),
            "lat": 30 + glacier * 0.7,
            "lon": 80 + glacier * 0.9,
            "country": np.where(glacier % 2, "south", "north"),
        }
    )
    if locked_noise is not None:
        locked = data["glacier"].isin(["g2", "g5"])
        noise = np.random.default_rng(locked_noise).uniform(1, 9, (locked.sum(), 4))
        data.loc[locked, ["b", "level", "weather", "other"]] = noise
    return data


def evaluated(folder, data, protocol):
    folder.mkdir()
    data.to_csv(folder / "table.csv", index=False)
    content = {
        "samples": {
            "path": "table.csv", "glacier": "glacier", "year": "year", "target": "b", "target_units": "m w.e.",
            "latitude": "lat", "longitude": "lon", "region": "country",
        },
        "models": {
            "ridge": {**RECIPES, "penalties": [1, 10]},
            "extra_trees": {**RECIPES, "trees": 5, "leaf": 2},
            "ff_fcnn": {
                **RECIPES, "widths": [3], "members": 1, "epochs": 12, "patience": 4, "input_noise": 0.1, "l1": 0.001,
                "learning_rate": 0.02, "finish": "early_stopping",
            },
        },
        "validation": {
            "schemes": ["logo", "leave_region_out"], "inner": 2, "parts": 3, "blocks": 3,
            "models": ["mean", "ridge", "extra_trees", "extra_trees_neighbours", "ff_fcnn", "blend"],
            "holdout": ["g2", "g5"],
        },
        "protocol": protocol,
        "scores": {"bootstrap": 100},
        "store": {"root": "out"},
    }  # fmt: skip
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    config = load_config(folder / "own.yaml")
    run(config, stage="evaluation", say=quiet)
    return config


def arrays_of(folder):
    """Every array of every fit, but for the copy of the whole table that those carry which refit when they predict."""
    found = {}
    for path in sorted(folder.glob("learning/*/*.zarr")):
        ds = xr.open_zarr(path, chunks=None)
        names = [n for n in ds.variables if "sample" not in ds[n].dims and not str(n).startswith("training_")]
        found |= {f"{path.parent.name}/{path.stem}: {n}": ds[n].values for n in names}
    return found


ALONE_AND_ALL = [
    pytest.param(p, marks=[] if sum(p.values()) in (0, 3) else pytest.mark.slow)
    for p in PROTOCOLS
    if sum(p.values()) != 2
]


@pytest.mark.parametrize("protocol", ALONE_AND_ALL, ids=lambda p: "+".join(k for k, v in p.items() if v) or "nested")
def test_nothing_of_locked_glaciers_enters_any_fit_under_any_protocol(tmp_path, protocol):
    """Their balances and predictors are replaced by noise: every fit, choice and score is the same to the last bit."""
    one = evaluated(tmp_path / "one", own_table(), protocol)
    two = evaluated(tmp_path / "two", own_table(locked_noise=1), protocol)
    a, b = arrays_of(one.root), arrays_of(two.root)
    assert len(a) > 100
    assert a.keys() == b.keys()
    for name, values in a.items():
        np.testing.assert_array_equal(values, b[name], err_msg=name)
    for name in ("predictions.csv", "scores.csv", "comparisons.csv", "choices.csv"):
        assert (one.root / "evaluation" / name).read_bytes() == (two.root / "evaluation" / name).read_bytes(), name
    assert not set(pd.read_csv(one.root / "evaluation" / "predictions.csv")["glacier"]) & {"g2", "g5"}
    for scheme in ("logo", "leave_region_out"):
        folds = xr.open_zarr(one.root / "folds" / f"{scheme}.zarr", chunks=None)
        locked = np.isin([str(s)[:2] for s in folds["sample"].values], ["g2", "g5"])
        assert locked.sum() == 12
        assert not any(folds[n].values[..., locked].any() for n in folds.data_vars)
        for model in ("ridge", "extra_trees", "ff_fcnn"):
            seen = xr.open_zarr(one.root / "learning" / model / f"{scheme}.zarr", chunks=None)["seen"].values
            assert not seen[:, locked].any()


def test_what_is_locked_changes_what_is_learnt_where_it_is_not_locked(tmp_path):
    """The test above could fail: the same noise in glaciers that are not locked changes every fit."""
    one = evaluated(tmp_path / "one", own_table(), {})
    data = own_table(locked_noise=1).replace({"glacier": {"g2": "g3", "g3": "g2"}})
    two = evaluated(tmp_path / "two", data, {})
    a, b = arrays_of(one.root), arrays_of(two.root)
    changed = {n.split("/")[0] for n in a if n in b and not np.array_equal(a[n], b[n])}
    assert {"mean", "ridge", "extra_trees", "ff_fcnn"} <= changed


def test_a_stage_names_only_stages_before_it(wired):
    for config in (load_config(wired / "own.yaml"), _table_config(wired)):
        before: list[str] = []
        for stage in table(config):
            assert isinstance(stage, Stage)
            assert set(stage.needs) <= set(before), stage.name
            before.append(stage.name)
        assert isinstance(config, RunConfig | TableConfig)
