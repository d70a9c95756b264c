"""The main job on a small synthetic region: what it writes, reruns, survives and repeats."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from glacmb_grid.config import load_config
from glacmb_grid.disk import MARK
from glacmb_grid.errors import InputError
from glacmb_grid.stores import artefacts, formats
from glacmb_grid.stores.formats import read_outlines_store, read_zarr
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.weights import from_dataset
from glacmb_grid.workflow import cluster, cubes, sources
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.runner import run

MODELS = ("mean", "ridge", "temperature_index", "ff_fcnn")
CONFIG = {
    "synthetic": {"seed": 2, "glaciers": 12, "measured": 6, "years": [2001, 2008], "plain": True},
    "glaciers": {"path": "${store.root}/raw/rgi/RGI2000-v7.0-G-13_synthetic.gpkg"},
    "climate": {
        "files": "${store.root}/raw/era5_land/era5_land_monthly_*.nc",
        "invariant": "${store.root}/raw/era5_land/era5_land_invariant.nc",
        "accumulated": "daily_mean",
        "variables": ["t2m", "tp", "sf", "ssrd"],
    },
    "elevation": {"files": "${store.root}/raw/dem/astgtm_synthetic_dem.tif"},
    "albedo": {"files": "${store.root}/raw/albedo/*.tif"},
    "observations": {
        "path": "${store.root}/raw/fog/FOG_EE_MASS_BALANCE.csv",
        "units": "mm w.e.",
        "links": {"positions": "${store.root}/raw/fog/FOG_A_GLACIER.csv"},
    },
    "models": {
        "ff_fcnn": {
            "predictors": ["degree_days_*", "snowfall_*", "summer_albedo_*", "elevation_*"],
            "recipes": [{"within_reach": False}],
            "widths": [8, 4],
            "input_noise": 0.1,
            "members": 2,
            "epochs": 40,
            "patience": 10,
        },
        "ridge": {"predictors": ["degree_days_*", "snowfall_*"], "recipes": [{}]},
    },
    "validation": {"inner": 3, "blocks": 4, "models": list(MODELS)},
    "scores": {"bootstrap": 200},
    "product": {"truth": "${store.root}/raw/truth.nc"},
}


def quiet(_):
    """Say nothing."""


def config_in(folder, name="small", **changes):
    content = {**CONFIG, **changes, "store": {"root": str(folder / name)}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def done(shared):
    """A finished run, read-only."""
    folder = shared("synthetic-run", lambda f: run(load_config(config_in(f)), say=quiet))
    return load_config(folder / "small.yaml")


@pytest.fixture
def copy(done, tmp_path):
    """A finished run of one's own."""
    path = config_in(tmp_path)
    shutil.copytree(done.root, tmp_path / "small")
    return path


def bytes_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_product_opens_plainly_and_has_every_glacier_and_year(done):
    products = done.root / "products"
    with (
        xr.open_dataset(products / "glacier_annual.nc") as netcdf,
        xr.open_zarr(products / "glacier_annual.zarr") as zarr,
    ):
        for ds in (netcdf, zarr):
            assert dict(ds.sizes) == {"glacier": 12, "year": 8, "bnds": 2, "realization": 100}
            assert list(ds["year"].values) == list(range(2001, 2009))
            assert np.isfinite(ds["mass_balance"].values).all()
            assert (ds["mass_balance_uncertainty"].values > 0).all()
            assert ds["mass_balance"].attrs["units"] == "m"
            assert ds["glacier_id"].attrs["cf_role"] == "timeseries_id"
            assert all(str(i).startswith("RGI2000-v7.0-G-13-") for i in ds["glacier_id"].values)
            assert str(ds["time_bnds"].values[0][0])[:10] == "2000-10-01"
            assert {"area", "longitude", "latitude"} <= set(ds.variables)
        np.testing.assert_array_equal(netcdf["mass_balance"].values, zarr["mass_balance"].values)
    with netCDF4.Dataset(products / "glacier_annual.nc") as header:
        assert header.Conventions.startswith("CF-")
        assert header["glacier_id"].dtype is str


def test_the_product_equals_the_out_of_fold_predictions_where_there_are_observations(done):
    table = pd.read_csv(done.root / "evaluation" / "predictions.csv")
    logo = table[(table["scheme"] == "logo") & (table["model"] == "ff_fcnn")]
    with xr.open_dataset(done.root / "products" / "glacier_annual.nc") as ds:
        frame = ds["mass_balance"].assign_coords(glacier=ds["glacier_id"].values).to_series()
        measured = set(ds["glacier_id"].values[ds["measured"].values == 1])
    at = frame.loc[list(zip(logo["glacier"], logo["year"], strict=True))]
    np.testing.assert_allclose(at.to_numpy(), logo["predicted"], rtol=1e-5, atol=1e-6)
    assert measured == set(logo["glacier"])


@pytest.mark.parametrize("model", ["blend", "extra_trees_neighbours"])
def test_models_that_are_built_on_others_make_products_too(world, tmp_path, model):
    models = {"extra_trees": {"recipes": [{}], "trees": 5, "leaf": 2, "predictors": ["degree_days_*", "snowfall_*"]}}
    asked = ["ridge", "extra_trees", "extra_trees_neighbours", "blend"]
    path = world.at(tmp_path, models=models, validation={"models": asked}, product={"model": model}, albedo=None)
    config = load_config(path)
    run(config, say=quiet)
    table = pd.read_csv(config.root / "evaluation" / "predictions.csv").query("model == @model and scheme == 'logo'")
    with xr.open_dataset(config.root / "products" / "glacier_annual.nc") as ds:
        frame = ds["mass_balance"].assign_coords(glacier=ds["glacier_id"].values).to_series()
        assert np.isfinite(ds["mass_balance"].values).all()
    at = frame.loc[list(zip(table["glacier"], table["year"], strict=True))]
    np.testing.assert_allclose(at.to_numpy(), table["predicted"], rtol=1e-5, atol=1e-6)
    truth = pd.read_csv(config.root / "products" / "truth_scores.csv")
    assert set(truth["model"]) == {*asked, "year_mean"}  # year_level is fitted where it is judged alone


def test_tables_have_the_columns_that_other_tools_rely_on(done):
    scores = pd.read_csv(done.root / "evaluation" / "scores.csv")
    assert list(scores) == ["scheme", "protocol", "model", "slice", "metric", "value", "lower", "upper", "n"]
    assert set(scores["model"]) == {*MODELS, "year_mean", "year_level"}
    assert set(scores["scheme"]) == {"logo", "loyo", "both_out"}
    assert set(scores["metric"]) == {"rmse", "rmse_glacier_mean", "mae", "bias", "r2", "rec_auc", "sign_auc"}
    assert set(scores["slice"]) == {"all"}
    assert set(scores["protocol"]) == {"nested"}
    predictions = pd.read_csv(done.root / "evaluation" / "predictions.csv")
    assert list(predictions) == [
        "scheme", "protocol", "model", "sample", "glacier", "group", "region", "year", "observed", "predicted",
        "predicted_uncertainty", "fold",
    ]  # fmt: skip
    samples = pd.read_parquet(done.root / "samples" / "samples.parquet")
    assert len(predictions) == (3 * 4 + 2) * len(samples)
    assert {"sample", "glacier", "year", "mass_balance", "mass_balance_uncertainty", "link"} <= set(samples)
    assert set(samples["link"]) == {"position"}
    error = predictions["predicted"] - predictions["observed"]
    rmse = np.sqrt((error**2).groupby([predictions["scheme"], predictions["model"]]).mean())
    told = scores[scores["metric"] == "rmse"].set_index(["scheme", "model"])["value"]
    np.testing.assert_allclose(rmse, told.loc[rmse.index], rtol=1e-8)


def test_skill_against_the_truth_is_reported_apart_for_unmeasured_glaciers(done):
    found = pd.read_csv(done.root / "products" / "truth_scores.csv").set_index(["model", "slice", "metric"])
    with (
        xr.open_dataset(done.root / "raw" / "truth.nc") as truth,
        xr.open_dataset(done.root / "products" / "glacier_annual.nc") as product,
    ):
        assert (truth["glacier_id"].values == product["glacier_id"].values).all()
        error = product["mass_balance"].values - truth["mass_balance"].transpose("glacier", "year").values
        unmeasured = product["measured"].values == 0
    expected = np.sqrt(np.mean(error[unmeasured] ** 2))
    assert found.loc[("ff_fcnn", "unmeasured", "rmse"), "value"] == pytest.approx(expected, rel=1e-5)


def test_run_json_tells_what_ran(done):
    log = json.loads((done.root / "run.json").read_text())["runs"]
    assert log[0]["outcome"] == "finished"
    assert log[0]["stages"].keys() >= {"cubes", "sampled", "learning/ff_fcnn", "products"}
    assert log[0]["peak_memory_gb"] > 0.05
    assert log[0]["versions"]["xarray"] == xr.__version__


def test_a_second_run_does_nothing(done):
    before = (done.root / "run.json").read_bytes()
    assert run(done, say=quiet) == []
    assert (done.root / "run.json").read_bytes() == before
    states = {name: state for name, state, _ in status(done)}
    assert {states.pop(name) for name in ("audit", "study")} == {"missing"}  # only where they are asked for
    assert set(states.values()) == {"current"}


@pytest.mark.parametrize(
    ("override", "reran"),
    [
        ("scores.bootstrap=300", ["evaluation"]),
        ("product.title=another", ["products", "regional"]),
        ("models.ridge.penalties=[1.0]", ["learning/ridge", "evaluation", "products", "regional"]),
        ("validation.models=[mean, ridge, ff_fcnn]", ["evaluation", "products", "regional"]),
        ("product.grids={resolutions: [0.5]}", ["gridded"]),
        ("product.regions={fill_missing: true}", ["regional"]),
        ("product.regions=false", []),
        ("audit.permutations=1", []),
        ("study.repeats=1", []),
        ("compute.workers=1", []),
    ],
)
def test_a_changed_section_reruns_just_what_depends_on_it(copy, override, reran):
    assert run(load_config(copy, [override]), say=quiet) == reran


def test_the_years_of_a_product_are_those_asked_for_and_what_is_before_the_observations_is_flagged(copy, done):
    config = load_config(copy, ["product.years=[2002, 2003]"])
    assert run(config, say=quiet) == ["products", "regional"]
    observed = pd.read_parquet(done.root / "samples" / "samples.parquet")["year"]
    with (
        xr.open_dataset(done.root / "products" / "glacier_annual.nc") as whole,
        xr.open_dataset(config.root / "products" / "glacier_annual.nc") as part,
    ):
        assert part["year"].values.tolist() == [2002, 2003]
        np.testing.assert_allclose(part["mass_balance"], whole["mass_balance"].isel(year=[1, 2]), rtol=1e-6)
        years = whole["year"].values
        expected = 1 - (years < observed.min()).astype(int) + (years > observed.max())
        np.testing.assert_array_equal(whole["observed_period"], expected)
        np.testing.assert_array_equal(part["observed_period"], expected[1:3])
    with pytest.raises(InputError, match=r"product: years[\s\S]*1999..2003"):
        run(load_config(copy, ["product.years=[1999, 2003]"]), say=quiet)


@pytest.mark.parametrize("model", ["ridge", "temperature_index"])
def test_the_years_that_are_asked_for_do_not_change_what_is_said_of_a_year(copy, model):
    """Models that look at the mean climate of a glacier take it of the observed years, asked for or not."""
    asked = [f"product.model={model}", "models.ridge.recipes=[{parts: [climatology, anomaly]}]"]
    made = []
    for years in ([], ["product.years=[2006, 2007]"]):
        config = load_config(copy, [*asked, *years])
        run(config, say=quiet)
        made.append(read_zarr(config.root / "products" / "glacier_annual.zarr")["mass_balance"].load())
    np.testing.assert_array_equal(made[1], made[0].sel(year=[2006, 2007]))


def test_a_product_that_was_not_rerun_is_the_one_of_a_fresh_run(world, tmp_path):
    """Settings that a product does not depend on leave no mark in it."""
    rerun = load_config(world.run(tmp_path / "rerun", link=True), ["scores.bootstrap=120"])
    assert run(rerun, say=quiet) == ["evaluation"]
    fresh = load_config(world.at(tmp_path / "fresh"), ["scores.bootstrap=120"])
    run(fresh, say=quiet)
    assert bytes_of(rerun.root / "products") == bytes_of(fresh.root / "products")


def test_a_stage_that_is_not_whole_is_not_read(copy):
    config = load_config(copy)
    (config.root / "predictors" / MARK).unlink()
    store = RunStore(config.root)
    with pytest.raises(ValueError, match="stage predictors is not done"):
        artefacts.read(store, artefacts.PREDICTORS)
    assert "elevation_mean" in artefacts.read(store, artefacts.TERRAIN)


def test_status_of_a_run_that_never_was_leaves_no_trace(tmp_path):
    config = load_config(config_in(tmp_path))
    assert {state for _, state, _ in status(config)} == {"missing"}
    assert not config.root.exists()


def test_a_changed_lapse_rate_reruns_from_sampling_on_and_says_why(copy):
    lines = []
    ran = run(load_config(copy, ["sampling.lapse_rate=-0.006"]), stage="samples", say=lines.append)
    assert ran == ["sampled", "predictors", "samples"]
    assert any("sampling.lapse_rate: -0.0065 -> -0.006" in line for line in lines)


@pytest.mark.parametrize("options", [[], ["sampling.lapse_rate=fitted", "predictors.reference=[2002, 2005]"]])
def test_predictors_of_few_glaciers_at_a_time_are_the_same(copy, monkeypatch, options):
    config = load_config(copy, options)
    run(config, stage="predictors", say=quiet)
    store = config.root / "predictors" / "predictors.zarr"
    whole = read_zarr(store)
    monkeypatch.setattr(cubes, "_GLACIERS_AT_ONCE", 5)
    assert run(config, stage="predictors", overwrite=True, say=quiet) == ["predictors"]
    xr.testing.assert_identical(read_zarr(store), whole)


def test_lapse_rates_may_be_fitted(copy):
    config = load_config(copy, ["sampling.lapse_rate=fitted"])
    assert run(config, stage="predictors", say=quiet) == ["sampled", "predictors"]
    sampled = read_zarr(config.root / "sampled" / "climate.zarr")
    predictors = read_zarr(config.root / "predictors" / "predictors.zarr")
    assert sampled["lapse_rate"].dims == ("glacier", "month")
    assert sampled["t2m_corrected"].attrs["lapse_rate"].startswith("fitted")
    terrain = read_zarr(config.root / "terrain" / "terrain.zarr")
    above = (terrain["elevation_mean"] - sampled["orography"]).values[:, None]
    month = sampled["time"].dt.month.values - 1
    moved = sampled["t2m"].values + sampled["lapse_rate"].values[:, month] * above
    np.testing.assert_allclose(sampled["t2m_corrected"], moved, rtol=1e-6)
    assert "lapse_rate" not in predictors


def test_geometry_is_done_once_for_each_grid_and_inventory(copy, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr(cubes, "overlap_weights", refuse)
    changed = ["climate.variables=[t2m, tp]", "sampling.max_land_distance_km=10", "albedo.min_days=4"]
    config = load_config(copy, [*changed, "climate.annual_precipitation=[0.2, 9]"])
    assert {"weights", "sampled", "albedo"} <= set(run(config, stage="predictors", say=quiet))
    with pytest.raises(AssertionError, match="made again"):
        run(config, stage="weights", overwrite=True, say=quiet)


def test_processes_give_what_threads_give_and_are_started_once(copy, monkeypatch):
    made = []

    class Pool(cluster.ProcessPoolExecutor):
        def __init__(self, *arguments, **options):
            made.append(1)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(cluster, "ProcessPoolExecutor", Pool)
    config = load_config(copy, ["compute.scheduler=processes", "compute.workers=2"])
    before = read_zarr(config.root / "sampled" / "climate.zarr")
    assert run(config, stage="sampled", overwrite=True, say=quiet) == ["sampled"]
    xr.testing.assert_identical(read_zarr(config.root / "sampled" / "climate.zarr"), before)
    assert made == [1]


def test_a_damaged_file_is_named(world, tmp_path):
    config = load_config(world.run(tmp_path))
    (path,) = (tmp_path / "raw" / "era5_land").glob("*_tp.nc")
    with xr.open_dataset(path) as ds:
        (name,) = (n for n in ds.data_vars if ds[n].ndim == 3)
        chunked = ds.load()
    path.unlink()
    chunked.to_netcdf(path, encoding={name: {"zlib": True, "complevel": 1, "fletcher32": True}})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(range(200)) * 2
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=re.escape(f"{path}: {name}")) as raised:
        run(config, stage="sampled", say=quiet)
    assert "values that can be read" in str(raised.value)


def test_the_climate_may_be_interpolated_first(copy):
    config = load_config(copy, ["regrid.resolution=0.02"])
    assert run(config, stage="sampled", say=quiet) == ["weights", "sampled"]
    sampled = read_zarr(config.root / "sampled" / "climate.zarr")
    outlines = read_outlines_store(config.root / "glaciers" / "glaciers.parquet")
    cube = sources.climate(config).open().load()
    point = outlines.geometry.representative_point()
    at = {
        n: xr.DataArray(getattr(point, a).to_numpy(), dims="glacier")
        for n, a in (("longitude", "x"), ("latitude", "y"))
    }
    smooth, blocky = cube["t2m"].interp(at), cube["t2m"].sel(at, method="nearest")
    error = [float(abs(sampled["t2m"].values.T - f.values).mean()) for f in (smooth, blocky)]
    assert error[0] < 0.3 * error[1]
    (between,) = (from_dataset(read_zarr(p)) for p in (config.root / "kept").glob("regrid-*/data.zarr"))
    np.testing.assert_allclose(np.bincount(between.row, between.weight).max(), 1)


def test_status_names_what_is_stale(copy):
    lines = {name: (state, why) for name, state, why in status(load_config(copy, ["models.ff_fcnn.epochs=41"]))}
    assert lines["learning/ff_fcnn"] == ("stale", "setting models.ff_fcnn.epochs: 40 -> 41")
    assert lines["learning/ridge"][0] == "current"
    assert lines["products"][0] == "stale"


def test_a_changed_raw_file_of_a_synthetic_region_is_made_again(copy):
    config = load_config(copy)
    table = config.root / "raw" / "fog" / "FOG_EE_MASS_BALANCE.csv"
    before = table.read_bytes()
    table.write_bytes(before[:-200])
    assert run(config, say=quiet) == ["raw"]
    assert table.read_bytes() == before
    assert (table.parent / f"{table.name}.changed-1").read_bytes() == before[:-200]


def test_overwrite_redoes_one_stage_with_the_same_bytes(copy):
    config = load_config(copy)
    before = bytes_of(config.root / "predictors")
    assert run(config, stage="predictors", overwrite=True, say=quiet) == ["predictors"]
    assert bytes_of(config.root / "predictors") == before
    assert run(config, say=quiet) == []


def test_an_unknown_stage_is_named(done):
    with pytest.raises(InputError, match=r"expected: one of raw, glaciers"):
        run(done, stage="sampel", say=quiet)


def test_a_failing_stage_leaves_the_old_results_in_place(copy, monkeypatch):
    config = load_config(copy)
    before = bytes_of(config.root / "products")

    def broken(*_args, **_options):
        raise OSError("disk full")

    monkeypatch.setattr(formats, "write_netcdf", broken)
    with pytest.raises(OSError, match="disk full"):
        run(config, stage="products", overwrite=True, say=quiet)
    assert bytes_of(config.root / "products") == before
    monkeypatch.undo()
    assert run(config, say=quiet) == []
    assert not list(config.root.glob(".partial-*"))
    assert json.loads((config.root / "run.json").read_text())["runs"][-1]["outcome"] == "failed"


def test_another_place_and_another_day_give_the_same_bytes(done, tmp_path):
    config = load_config(config_in(tmp_path))
    run(config, say=quiet)
    assert bytes_of(config.root / "products") == bytes_of(done.root / "products")
    assert bytes_of(config.root / "evaluation") == bytes_of(done.root / "evaluation")
    for name, content in bytes_of(done.root / "products").items():
        assert str(tmp_path.parent).encode() not in content, name


@pytest.mark.cluster
@pytest.mark.slow
def test_two_worker_processes_give_the_same_product_as_threads(world, tmp_path):
    threads = load_config(world.run(tmp_path / "threads", link=True))
    config = load_config(world.at(tmp_path / "workers", compute={"scheduler": "distributed", "workers": 2}))
    run(config, say=quiet)
    assert bytes_of(config.root / "products") == bytes_of(threads.root / "products")
    assert json.loads((config.root / "run.json").read_text())["runs"][0]["workers"] == "2 local worker processes"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sampled", "learning/ff_fcnn"])
def test_a_killed_run_is_completed_by_the_next(world, tmp_path, stage):
    done, path = load_config(world.run(tmp_path / "done", link=True)), world.at(tmp_path)
    command = [sys.executable, "-u", "-m", "glacmb_grid", "run", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == stage:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "products").exists()
    lines = []
    ran = run(load_config(path), say=lines.append)
    assert "glaciers" not in ran
    assert "products" in ran
    assert any("taking over from an interrupted run by process" in line for line in lines)
    assert bytes_of(tmp_path / "out" / "products") == bytes_of(done.root / "products")


def test_one_run_per_store_and_the_lock_names_its_holder(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom glacmb_grid.stores.runs import RunStore\n"
        "with RunStore(Path(sys.argv[1]), print).locked():\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    store = RunStore(tmp_path / "store")
    with subprocess.Popen([sys.executable, "-c", code, str(store.root)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(InputError, match=f"a run by process {holder.pid} on"), store.locked():
            pass
        holder.kill()
        holder.wait()
    said = []
    store = RunStore(tmp_path / "store", said.append)
    with store.locked():
        assert f"process {holder.pid}" in said[0]
    said.clear()
    with store.locked():
        assert said == []


def test_a_switch_cut_short_is_undone(tmp_path):
    store = RunStore(tmp_path)
    for text in ("first", "second"):
        with store.writing("learning/ridge", {"key": text}) as folder:
            (folder / "file").write_text(text)
    assert store.mark("learning/ridge")["key"] == "second"
    old = tmp_path / ".glacmb_grid" / "old" / "learning%2Fridge"
    old.parent.mkdir(exist_ok=True)
    (tmp_path / "learning" / "ridge").rename(old)
    assert store.mark("learning/ridge") is None
    with store.locked():
        assert (tmp_path / "learning" / "ridge" / "file").read_text() == "second"
        assert store.mark("learning/ridge")["key"] == "second"


@pytest.mark.real
@pytest.mark.slow
def test_oetztal_from_real_files(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("GLACMB_DATA", str(real_data))
    file = Path(__file__).parents[1] / "configs" / "oetztal.yaml"
    config = load_config(file, [f"store.root={tmp_path / 'oetztal'}"])
    run(config, say=quiet)
    with xr.open_dataset(config.root / "products" / "glacier_annual.nc") as ds:
        assert (ds.sizes["glacier"], ds.sizes["year"]) == (19, 37)
        assert (ds["year"].values[0], ds["year"].values[-1]) == (1982, 2018)
        assert np.isfinite(ds["mass_balance"].values).all()
        assert np.isfinite(ds["mass_balance_uncertainty"].values).all()
        assert int(ds["measured"].sum()) == 3
        vernagt = ds["mass_balance"].values[list(ds["glacier_id"].values).index("RGI50-11.00719")]
    scores = pd.read_csv(config.root / "evaluation" / "scores.csv").set_index(["scheme", "model", "metric"])
    assert set(scores["n"]) == {111}
    for scheme, most in (("loyo", 0.29), ("logo", 0.30), ("both_out", 0.30)):
        assert 0.2 < scores.loc[(scheme, "temperature_index", "rmse"), "value"] <= most
        assert scores.loc[(scheme, "ff_fcnn", "rmse"), "value"] < scores.loc[(scheme, "mean", "rmse"), "value"]
    assert scores.xs("logo")["lower"].isna().all()  # three glaciers give no interval
    assert scores.xs("loyo")["lower"].notna().all()
    observed = pd.read_csv(config.root / "evaluation" / "predictions.csv").query("scheme == 'logo' and model == 'mean'")
    own = observed[observed["glacier"] == "RGI50-11.00719"].sort_values("year")["observed"].to_numpy()
    assert np.corrcoef(own, vernagt)[0, 1] > 0.7


@pytest.mark.slow
def test_the_demonstration_beats_the_mean_on_unmeasured_glaciers(tmp_path):
    file = Path(__file__).parents[1] / "configs" / "demo.yaml"
    few = ["validation.models=[mean, ff_fcnn]", "validation.schemes=[logo]"]  # the product is that of all
    config = load_config(file, [f"store.root={tmp_path / 'demo'}", *few])
    run(config, say=quiet)
    found = pd.read_csv(config.root / "products" / "truth_scores.csv").set_index(["model", "slice", "metric"])["value"]
    assert found["ff_fcnn", "unmeasured", "rmse"] < 0.85 * found["mean", "unmeasured", "rmse"]
    with xr.open_dataset(config.root / "products" / "glacier_annual.nc") as ds:
        assert dict(ds.sizes) == {"glacier": 60, "year": 25, "bnds": 2, "realization": 100}
        assert np.isfinite(ds["mass_balance"].values).all()
