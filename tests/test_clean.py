"""`clean` and `status`: what is left over in a run's folder, its sizes and ages; never a file of a user."""

from __future__ import annotations

import os
import time

import pytest
import xarray as xr
import yaml

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.disk import INTERNAL, MARK, write_checked
from glacmb_grid.report.amounts import age_in_words, size_in_words
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.workflow.cleaning import clean, left_over, size_and_age
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.runner import run


def quiet(_):
    """Say nothing."""


def files_of(root):
    found = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {n: c for n, c in found.items() if not n.startswith((f"{INTERNAL}/seen", f"{INTERNAL}/inputs.json"))}


def changed(path, **changes):
    content = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        content[key] = {**content.get(key, {}), **value}
    path.write_text(yaml.safe_dump(content))
    return load_config(path)


def names_of(config):
    return {one.path.relative_to(config.root).as_posix() for one in left_over(config)}


def test_a_finished_run_has_nothing_left_over(world, tmp_path, capsys):
    path = world.run(tmp_path)
    before = files_of(tmp_path / "out")
    assert main(["clean", str(path), "--yes"]) == 0
    assert capsys.readouterr().out == "nothing is stale or left over\n0 B removed\n".splitlines(keepends=True)[0]
    assert files_of(tmp_path / "out") == before


def test_without_its_inputs_nothing_is_called_stale(world, tmp_path, capsys):
    """A disk that is not mounted must not cost the fits and products that were made from it."""
    path = world.run(tmp_path)
    before = files_of(tmp_path / "out")
    (tmp_path / "raw").rename(tmp_path / "away")
    assert main(["clean", str(path), "--yes"]) == 1
    told = capsys.readouterr().err
    assert "all inputs" in told
    assert "make them available again" in told
    assert files_of(tmp_path / "out") == before


def test_what_is_stale_or_no_longer_made_is_listed_and_removed_only_when_asked_to(world, tmp_path, capsys):
    path = world.run(tmp_path)
    config = changed(path, validation={"models": ["mean", "ff_fcnn"]}, scores={"bootstrap": 120})
    root = config.root
    before = files_of(root)
    assert main(["clean", str(path)]) == 0
    told = capsys.readouterr().out
    assert "learning/ridge" in told
    assert "no stage of the configuration makes it" in told
    assert "stale: setting" in told
    assert "nothing was removed" in told
    assert files_of(root) == before
    stale = {n for n, state, _ in status(config) if state == "stale"}
    assert names_of(config) == {"learning/ridge", *stale}
    assert main(["clean", str(path), "--yes"]) == 0
    assert not (root / "learning" / "ridge").exists()
    assert (root / "learning" / "mean").is_dir()
    assert all(not (root / n).exists() for n in stale)
    assert names_of(config) == set()
    run(config, say=quiet)
    assert {s for n, s, _ in status(config) if n not in ("audit", "study")} == {"current"}


def kept(config):
    return {f"kept/{p.name}" for p in (config.root / "kept").iterdir()} if (config.root / "kept").exists() else set()


def test_what_is_kept_for_results_that_are_no_longer_made_is_left_over(world, tmp_path):
    """Overlap areas of the climate and of the albedo rasters; those of a grid that nothing uses any more."""
    config = load_config(world.run(tmp_path))
    of_climate, of_albedo = (RunStore(config.root).mark(n)["kept"] for n in ("weights", "albedo"))
    assert kept(config) == {*of_climate, *of_albedo}
    assert len(kept(config)) == 2
    assert names_of(config) == set()

    path = tmp_path / "own.yaml"
    content = yaml.safe_load(path.read_text())
    del content["albedo"]
    path.write_text(yaml.safe_dump(content))
    config = load_config(path)
    assert {"albedo", *of_albedo} <= names_of(config)
    assert not set(of_climate) & names_of(config), "weights are current"
    note = config.root / of_albedo[0] / "note.txt"
    note.write_text("mine")
    clean(config, remove=True, say=quiet)
    assert [p.name for p in note.parent.iterdir() if p.name != MARK] == ["note.txt"]
    assert not set(of_albedo) & names_of(config), "what stays there is not ours"
    assert set(of_climate) <= kept(config)


def test_what_an_unfinished_run_has_kept_stays_until_it_is_finished(world, tmp_path):
    config = load_config(world.run(tmp_path))
    store = RunStore(config.root)
    store.kept("overlaps", "0123", lambda: xr.Dataset({"weight": ("row", [1.0])}))
    assert names_of(config) == {"kept/overlaps-0123"}
    other = changed(tmp_path / "own.yaml", scores={"bootstrap": 120})
    assert "evaluation" in names_of(other)
    assert not {n for n in names_of(other) if n.startswith("kept/")}
    (config.root / "kept" / "mine").mkdir()
    clean(load_config(tmp_path / "own.yaml", ["scores.bootstrap=100"]), remove=True, say=quiet)
    assert not (config.root / "kept" / "overlaps-0123").exists()
    assert (config.root / "kept" / "mine").is_dir()


def test_stale_weights_take_what_they_used_along_and_a_run_makes_it_again(world, tmp_path):
    config = changed(world.run(tmp_path), sampling={"min_coverage": 0.97})
    used = set(RunStore(config.root).mark("weights")["kept"])
    assert {"weights", *used} <= names_of(config)
    clean(config, remove=True, say=quiet)
    assert not used & kept(config)
    run(config, stage="weights", say=quiet)
    assert used <= kept(config)
    assert not used & names_of(config)


def test_results_that_do_not_say_what_they_used_keep_it(world, tmp_path):
    config = load_config(world.run(tmp_path))
    mark = RunStore(config.root).mark("weights")
    del mark["kept"]
    write_checked(config.root / "weights" / MARK, mark)
    assert names_of(config) == set()


def test_files_of_a_user_stay_and_the_folder_stays_known(world, tmp_path):
    config = changed(world.run(tmp_path), validation={"models": ["mean", "ff_fcnn"]})
    folder = config.root / "learning" / "ridge"
    (folder / "notes.txt").write_text("mine")
    (folder / "predictions.parquet").write_bytes(b"changed by me")
    (config.root / "my plots").mkdir()
    (config.root / "my plots" / "a.png").write_text("mine")
    (found,) = [one for one in left_over(config) if one.path == folder]
    assert set(found.yours) == {"notes.txt", "predictions.parquet"}
    clean(config, remove=True, say=quiet)
    assert sorted(p.name for p in folder.iterdir()) == sorted([MARK, "notes.txt", "predictions.parquet"])
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "predictions.parquet").read_bytes() == b"changed by me"
    assert (config.root / "my plots" / "a.png").read_text() == "mine"
    assert folder not in {one.path for one in left_over(config)}
    config = changed(tmp_path / "own.yaml", validation={"models": ["mean", "ridge", "ff_fcnn"]})
    run(config, say=quiet)
    assert (folder / "notes.txt").read_text() == "mine"


def test_remains_of_interrupted_runs_and_old_logs_are_left_over(world, tmp_path):
    config = load_config(world.run(tmp_path))
    internal = config.root / INTERNAL
    (internal / "aside" / "weights").mkdir(parents=True)
    (internal / "aside" / "weights" / "half").write_text("half")
    store = RunStore(config.root)
    for name in ("ridge-logo-0123", "gone-logo-4567"):
        (store.checkpoints(name) / "state").write_text("state")
    logs = internal / "log"
    for day in range(10, 25):
        (logs / f"2020-01-{day}T00-00-00Z.txt").write_text("old")
    kept = sorted(p.name for p in logs.iterdir())[-10:]
    assert {f"{INTERNAL}/aside/weights", f"{INTERNAL}/checkpoints/gone-logo-4567"} <= names_of(config)
    clean(config, remove=True, say=quiet)
    assert not (internal / "aside" / "weights").exists()
    assert sorted(p.name for p in logs.iterdir()) == kept
    assert not list((internal / "checkpoints").iterdir())


def test_the_state_of_a_fit_that_is_still_to_be_made_stays(world, tmp_path):
    config = changed(world.run(tmp_path), models={"ridge": {"penalties": [2.0]}})
    store = RunStore(config.root)
    (store.checkpoints("ridge-logo-0123") / "state").write_text("state")
    clean(config, remove=True, say=quiet)
    assert (config.root / INTERNAL / "checkpoints" / "ridge-logo-0123" / "state").exists()


def test_evidence_on_locked_glaciers_and_a_folder_that_is_no_runs_stay(world, tmp_path, capsys):
    config = load_config(world.run(tmp_path))
    for name in ("holdout-locked.json", "holdout-looks.json"):
        (config.root / name).write_text("{}")
    assert names_of(config) == set()
    path = world.at(tmp_path / "second")
    (tmp_path / "second" / "out").mkdir()
    (tmp_path / "second" / "out" / "thesis.txt").write_text("mine")
    assert main(["clean", str(path), "--yes"]) == 1
    assert "thesis.txt" in capsys.readouterr().err
    assert (tmp_path / "second" / "out" / "thesis.txt").read_text() == "mine"


def test_status_says_how_large_and_how_old_results_are(world, tmp_path, capsys):
    path = world.run(tmp_path)
    root = tmp_path / "out"
    store = RunStore(root)
    size, age = size_and_age(store, "weights")
    assert size == sum(p.stat().st_size for p in (root / "weights").rglob("*") if p.is_file() and p.name != MARK)
    assert 0 <= age < 3600
    assert size_and_age(store, "audit") is None
    past = time.time() - 3.5 * 86400
    os.utime(root / "weights" / MARK, (past, past))
    assert main(["status", str(path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert f"{size_in_words(size)}   3 days ago" in lines["weights"]
    assert lines["audit"].split() == ["audit", "missing"]


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0 B"), (999, "999 B"), (999.6, "1.00 kB"), (1234567, "1.23 MB"), (45.6e9, "45.6 GB"), (999.6e3, "1.00 MB")],
)
def test_sizes_have_three_digits(size, told):
    assert size_in_words(size) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-5, "0 s ago"), (12, "12 s ago"), (300, "5 min ago"), (30 * 3600, "30 h ago"), (3.5 * 86400, "3 days ago")],
)
def test_ages_in_words(seconds, told):
    assert age_in_words(seconds) == told
