"""`plan`: what a run will do, foreseen from headers, held against what it did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.workflow import forecast
from glacmb_grid.workflow.cleaning import size_and_age
from glacmb_grid.workflow.forecast import Facts, facts_of, folds_of
from glacmb_grid.workflow.planning import plan_lines, plan_run
from glacmb_grid.workflow.table import table

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"


def written_by(config):
    store = RunStore(config.root)
    return {s.name: held[0] for s in table(config) if (held := size_and_age(store, s.name)) is not None}


def require_near(config, factor):
    """Sums of what is foreseen and of what was written, without the raw files, agree within a factor."""
    planned, _ = plan_run(config)
    wrote = written_by(config)
    names = [one.name for one in planned if one.name != "raw"]
    assert set(names) <= set(wrote)
    foreseen = sum(one.writes for one in planned if one.name != "raw")
    assert 1 / factor < foreseen / sum(wrote[n] for n in names) < factor
    return planned, wrote


@pytest.mark.slow
def test_the_bytes_of_the_demonstration_are_foreseen_within_a_factor_of_two(shared, tmp_path):
    pytest.importorskip("pyhdf")

    def make(folder):  # in a process of its own, whose memory is that of the run
        command = [sys.executable, "-m", "glacmb_grid", "run", str(DEMO), "--set", f"store.root={folder / 'out'}"]
        subprocess.run([*command, "--set", "report=false"], check=True, stdout=subprocess.DEVNULL)

    done = shared("demo-for-plan", make)
    before, _ = plan_run(load_config(DEMO, [f"store.root={tmp_path / 'none'}"]))
    config = load_config(DEMO, [f"store.root={done / 'out'}"])
    planned, wrote = require_near(config, 2)
    total = sum(one.writes for one in before)
    assert 0.5 < total / sum(wrote.values()) < 2, "also before the raw files are there"
    for one in planned:
        if one.writes > 1e5:
            assert 0.4 < one.writes / wrote[one.name] < 2.5, one.name
    peak = json.loads((done / "out" / "run.json").read_text())["runs"][-1]["peak_memory_gb"] * 1e9
    assert 0.4 < max(one.memory for one in planned) / peak < 2.5
    assert {one.state for one in planned} == {"current"}


def test_a_small_run_is_foreseen(world, tmp_path, capsys):
    path = world.run(tmp_path, link=True)
    config = load_config(path)
    require_near(config, 2)
    facts = facts_of(config)
    assert (facts.glaciers, facts.fields, facts.years, facts.groups) == (6, 2, 4, 4)
    assert main(["plan", str(path)]) == 0
    told = capsys.readouterr().out
    assert f"{facts.rows} balances of 4 glaciers" in told
    assert "0 of " in told
    assert main(["plan", str(path), "--set", "models.ridge.penalties=[5.0]"]) == 0
    told = capsys.readouterr().out
    assert "learning/ridge               stale" in told


def test_nothing_is_written_and_no_value_of_the_climate_is_read(world, tmp_path, monkeypatch):
    path = world.at(tmp_path)
    monkeypatch.setattr("glacmb_grid.inputs.climate.plausible.quick_look", None)
    planned, _ = plan_run(load_config(path))
    assert not (tmp_path / "out").exists()
    assert {one.state for one in planned} >= {"missing"}
    reads = {one.name: one.reads for one in planned}
    dem = (tmp_path / "raw" / "dem" / "astgtm_synthetic_dem.tif").stat().st_size
    assert dem <= reads["terrain"] < dem + 1e5


def test_an_input_that_is_missing_is_an_error_of_its_own(world, tmp_path, capsys):
    path = world.at(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["elevation"]["files"] = "nothing.tif"
    path.write_text(yaml.safe_dump(content))
    assert main(["plan", str(path)]) == 0
    assert "inputs are not on the disk" in capsys.readouterr().out
    content["glaciers"]["path"] = "nothing.shp"
    path.write_text(yaml.safe_dump(content))
    assert main(["plan", str(path)]) == 1
    assert "nothing.shp" in capsys.readouterr().err


def test_more_draws_take_more_room_and_memory(world, tmp_path):
    path = world.at(tmp_path)
    few, many = ({one.name: one for one in plan_run(load_config(path, [f"product.draws={n}"]))[0]} for n in (0, 10_000))
    added = 10_000 * 6 * 4 * 4
    assert many["products"].writes - few["products"].writes == pytest.approx(added)
    assert many["products"].memory > few["products"].memory
    assert many["weights"] == few["weights"]


@pytest.mark.parametrize(
    ("rows", "groups", "years", "told"),
    [
        (157, 15, 25, {"logo": 15, "loyo": 25, "both_out": 157}),
        (970, 67, 60, {"logo": 40, "loyo": 40, "both_out": 970}),
        (5, 1, 5, {"logo": 1, "loyo": 5, "both_out": 5}),
    ],
)
def test_folds_are_counted(rows, groups, years, told, tmp_path):
    config = load_config(DEMO, [f"store.root={tmp_path}"])
    assert folds_of(config, Facts(rows=rows, groups=groups, years_observed=years)) == told


def test_a_table_is_planned_too(tmp_path, monkeypatch, capsys):
    table_of = tmp_path / "own.csv"
    random = np.random.default_rng(1).normal(size=(8, 6, 3)).round(3)
    rows = [f"g{g},{2000 + y},{','.join(map(str, random[g, y]))}" for g in range(8) for y in range(6)]
    table_of.write_text("glacier,year,balance,a,b\n" + "\n".join(rows) + "\n")
    samples = {"path": "own.csv", "glacier": "glacier", "year": "year", "target": "balance", "target_units": "m w.e."}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"samples": samples, "validation": {"models": ["mean", "ridge"]}}))
    monkeypatch.chdir(tmp_path)
    planned, assumed = plan_run(load_config(path))
    assert [one.name for one in planned] == [
        "samples", "folds", "learning/mean", "learning/ridge", "learning/year_mean", "learning/year_level",
        "evaluation",
    ]  # fmt: skip
    assert assumed == ()
    tasks = {one.name: one.tasks for one in planned}
    assert tasks["learning/ridge"].endswith("in 3 schemes")
    assert tasks["learning/year_mean"] == "8 folds in 1 schemes"
    assert tasks["learning/year_level"] == "6 folds in 1 schemes"
    lines = list(plan_lines(planned, assumed))
    assert lines[0].split()[0] == "stage"
    assert "7 of 7 stages to run" in lines[-1]
    assert forecast.facts_of(load_config(path)).rows == 48
