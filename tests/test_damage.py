"""A finished run whose results are damaged, edited or mixed with others: made again, the same bytes; never believed."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import time
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.disk import INTERNAL, MARK, write_checked
from glacmb_grid.errors import InputError
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.stores.seals import content_of, seal
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.runner import run
from glacmb_grid.workflow.table import table

STAGES = (
    "glaciers", "cubes", "observations", "plan", "weights", "terrain", "sampled", "albedo", "predictors", "samples",
    "folds", "learning/mean", "learning/ridge", "learning/ff_fcnn",
    "learning/year_mean", "learning/year_level", "evaluation", "uncertainty",
    "products", "regional",
)  # fmt: skip
LEFT = (".changed-", ".damaged-")


def results(root):
    """Path -> content of all results, without what was kept under another name."""
    found = {}
    for stage in STAGES:
        for path in sorted((root / stage).rglob("*")):
            if path.is_file() and not any(text in path.name for text in LEFT):
                found[str(path.relative_to(root))] = path.read_bytes()
    return found


def largest(entry):
    """The file itself, or of a Zarr store its largest chunk."""
    files = [p for p in entry.rglob("*") if p.is_file()] if entry.is_dir() else [entry]
    files = [p for p in files if not any(text in p.name for text in LEFT)]
    return max(files, key=lambda p: p.stat().st_size)


def entries(folder):
    return sorted(p for p in folder.iterdir() if p.name != MARK)


def lose(entry):
    largest(entry).unlink()


def flip(entry):
    path = largest(entry)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def truncate(entry):
    path = largest(entry)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(entry):
    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def foreign(entry):
    for folder in (entry.parent, entry) if entry.is_dir() else (entry.parent,):
        (folder / "mine").mkdir(exist_ok=True)
        (folder / "mine" / "notes.txt").write_text("mine")
        (folder / ".DS_Store").write_bytes(b"\x00")


def edit(entry):
    """As somebody does who knows the format: it opens well and says something else."""
    if entry.suffix == ".zarr":
        group = zarr.open_group(entry, mode="r+")
        name, array = max(group.arrays(), key=lambda a: a[1].nbytes)
        first = tuple(0 for _ in array.shape)
        array[first] = "other" if array.dtype.kind in "TO" else ~array[first] if array.dtype.kind == "b" else 7
        assert name in xr.open_zarr(entry, chunks={}).variables
    elif entry.suffix == ".nc":
        with netCDF4.Dataset(entry, "r+") as file:
            file["mass_balance"][0, 0] = 7.0
    elif entry.suffix == ".parquet":
        changed = pd.read_parquet(entry)
        changed.iloc[:0].to_parquet(entry)
    elif entry.suffix == ".json":
        entry.write_text(json.dumps({**json.loads(entry.read_text()), "edited": True}))
    else:
        entry.write_text(entry.read_text() + "one,more,line\n")


KINDS = {"lost": lose, "flipped": flip, "emptied": empty, "truncated": truncate, "edited": edit, "foreign": foreign}


def test_these_are_all_stages(world, tmp_path):
    assert tuple(s.name for s in table(load_config(world.at(tmp_path))) if not s.on_request) == STAGES


OFTEN = ("samples", "learning/ff_fcnn", "products")
GROUPS = [STAGES[::2], STAGES[1::2]]  # damaged together, in the whole suite only


@pytest.mark.parametrize("stages", [*[(s,) for s in OFTEN], *[pytest.param(g, marks=pytest.mark.slow) for g in GROUPS]])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_between_two_runs_ends_in_the_right_result(world, tmp_path, kind, stages):
    """All results of some stages are damaged at once; nothing else is made again: its content is the same again."""
    config = load_config(world.run(tmp_path, link=True))
    before = results(config.root)
    for stage in stages:
        for entry in entries(config.root / stage):
            KINDS[kind](entry)
    said = []
    if kind == "foreign":
        assert not [(n, s, why) for n, s, why in status(config) if n in STAGES and s != "current"]
        assert run(config, say=said.append) == []
        mine = {n: c for n, c in results(config.root).items() if n not in before}
        assert {Path(n).name for n in mine} == {"notes.txt", ".DS_Store"}
        assert len(mine) >= 2 * len(stages)
        assert results(config.root) == {**before, **mine}
        for stage in stages:
            assert run(config, stage=stage, overwrite=True, say=said.append) == [stage]
        assert results(config.root) == {**before, **mine}
        return
    if kind == "lost":
        states = {name: state for name, state, _ in status(config)}
        assert {n for n in STAGES if states[n] != "current"} == set(stages)
        assert {states[n] for n in stages} == {"stale"}
    assert run(config, say=said.append) == list(stages)
    for stage in stages:
        assert any(line.startswith(f"{stage} (damaged: ") for line in said), said
    assert results(config.root) == before
    if kind == "lost":
        assert run(config, say=said.append) == []


def test_the_raw_files_of_a_synthetic_region_are_made_again_too(tmp_path):
    from glacmb_grid.stores.versions import versions

    root = tmp_path / "out"
    store = RunStore(root)
    with store.locked(), store.writing("raw", {"key": "k"}) as folder:
        for name in ("a_tp.nc", "fog/table.csv"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
    (root / "raw" / "a_tp.nc").write_text("edited")
    with store.locked(), store.writing("raw", {"key": "k"}) as folder:
        (folder / "a_tp.nc").write_text("a_tp.nc")
    assert [p.name for p in sorted((root / "raw").glob("*.nc"))] == ["a_tp.nc"], "no pattern finds what was kept"
    assert (root / "raw" / "a_tp.nc.changed-1").read_text() == "edited"
    assert versions()["xarray"] == xr.__version__


def test_a_lost_chunk_and_a_changed_title_give_the_right_product(world, tmp_path):
    """The chunk once read as missing values, which gap filling took: every cell of the product was wrong."""
    config = load_config(world.run(tmp_path, link=True))
    before = xr.load_dataset(config.root / "products" / "glacier_annual.nc")["mass_balance"].values
    predictors = config.root / "predictors" / "predictors.zarr" / "predictors" / "c"
    next(p for p in predictors.rglob("*") if p.is_file()).unlink()
    changed = load_config(tmp_path / "own.yaml", ["product.title=another"])
    assert run(changed, say=lambda _: None) == ["predictors", "products", "regional"]
    after = xr.load_dataset(config.root / "products" / "glacier_annual.nc")
    np.testing.assert_array_equal(after["mass_balance"].values, before)
    assert after.attrs["title"] == "another"


def test_a_damaged_record_of_a_stage_makes_it_again(world, tmp_path):
    config = load_config(world.run(tmp_path, link=True))
    before = results(config.root)
    mark = config.root / "samples" / MARK
    content = mark.read_bytes()
    mark.write_bytes(content[:-40])
    assert ("samples", "stale", "the record of what it was made of is damaged") in status(config)
    assert run(config, say=lambda _: None) == ["samples"]
    assert results(config.root) == before
    assert (config.root / "samples" / f"{MARK}.damaged-1").read_bytes() == content[:-40]


def test_a_lost_record_of_a_stage_is_a_clear_error_and_nothing_is_touched(world, tmp_path, capsys):
    """Without it nobody knows whose folder it is."""
    path = world.run(tmp_path, link=True)
    (tmp_path / "out" / "samples" / MARK).unlink()
    before = results(tmp_path / "out")
    for command in ("run", "check", "status"):
        assert main([command, str(path)]) == 1
        told = capsys.readouterr().err
        assert f"{tmp_path / 'out' / 'samples'}" in told
        assert "move it to another place" in told
    assert results(tmp_path / "out") == before
    shutil.rmtree(tmp_path / "out" / "samples")
    assert run(load_config(path), say=lambda _: None) == ["samples"]


def test_a_lost_or_foreign_internal_folder_is_a_clear_error(world, tmp_path, capsys):
    path = world.run(tmp_path, link=True)
    shutil.rmtree(tmp_path / "out" / INTERNAL)
    assert main(["run", str(path)]) == 1
    assert "store.root" in capsys.readouterr().err
    (tmp_path / "out" / INTERNAL).mkdir()
    assert run(load_config(path), say=lambda _: None) == []


@pytest.mark.parametrize("name", [f"{INTERNAL}/inputs.json", f"{INTERNAL}/lock", "run.json", "failed.csv"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00\x01",
        b"{",
        b'{"runs": 1, "inputs": [3]}',
        b'{"at": 1, "inputs": {"a": [{"a": "b"}, 1, 2, 3, 4]}}',
    ],
)
def test_no_damaged_small_file_blocks_a_command(world, tmp_path, name, content, capsys):
    path = world.run(tmp_path, link=True)
    (tmp_path / "out" / name).write_bytes(content)
    for command in ("status", "check"):
        assert main([command, str(path)]) == 0
    assert main(["run", str(path), "--stage", "plan", "--overwrite"]) == 0
    told = capsys.readouterr().out
    if not name.endswith("lock"):
        kept = [p for p in (tmp_path / "out" / name).parent.iterdir() if p.name.startswith(Path(name).name + ".")]
        assert [p.read_bytes() for p in kept] == [content]
        assert str(tmp_path / "out" / name) in told
        assert kept[0].name in told
    assert (tmp_path / "out" / "failed.csv").read_text() == "glacier,stage,variable,reason\n"
    assert json.loads((tmp_path / "out" / "run.json").read_text())["runs"][-1]["outcome"] == "finished"


def test_a_damaged_checkpoint_does_not_block(world, tmp_path, monkeypatch):
    """A fit that was killed leaves its state; a damaged one is put aside and the fit begins anew."""
    config = load_config(world.run(tmp_path, link=True))
    before = results(config.root)
    kept = []
    monkeypatch.setattr(RunStore, "forget_checkpoints", lambda self, _: kept.append(self.internal / "checkpoints"))
    assert run(config, stage="learning/ff_fcnn", overwrite=True, say=lambda _: None) == ["learning/ff_fcnn"]
    states = [p for p in kept[0].rglob("*") if p.is_file() and p.name != MARK]
    assert states
    for path in states:
        path.write_bytes(path.read_bytes()[:200])
    monkeypatch.undo()
    said = []
    assert run(config, stage="learning/ff_fcnn", overwrite=True, say=said.append) == ["learning/ff_fcnn"]
    assert any("damaged" in line and "training begins anew" in line for line in said)
    assert results(config.root) == before
    assert not list(kept[0].iterdir())


@pytest.mark.parametrize("kind", ["lost", "flipped", "truncated"])
def test_what_is_kept_is_read_with_its_checks_and_overwriting_makes_it_again(world, tmp_path, kind):
    config = load_config(world.run(tmp_path, link=True))
    before = results(config.root)
    stores = sorted((config.root / "kept").glob("overlaps-*/data.zarr"))
    assert len(stores) == 2, "of the climate and of the albedo"
    sound = {p: p.read_bytes() for s in stores for p in s.rglob("*") if p.is_file()}
    for store in stores:
        KINDS[kind](store)
    said = []
    changed = load_config(tmp_path / "own.yaml", ["sampling.max_land_distance_km=10"])
    assert "weights" in run(changed, stage="weights", say=said.append)
    assert any("kept/overlaps" in line and "recomputed" in line for line in said)
    run(config, say=said.append)
    assert results(config.root) == before
    for store in stores:
        KINDS[kind](store)
        if kind == "flipped":  # before it was sealed: nothing but making it again can tell
            mark = json.loads((store.parent / MARK).read_text())
            mark["files"] = seal(store.parent)[0]
            mark["content"] = content_of(mark["files"])
            del mark["check"]
            write_checked(store.parent / MARK, mark)
    assert set(run(config, overwrite=True, say=said.append)) == set(STAGES)
    now = {p: p.read_bytes() for s in stores for p in s.rglob("*") if p.is_file()}
    assert {p: c for p, c in now.items() if not any(text in p.name for text in LEFT)} == sound
    assert results(config.root) == before


def test_verifying_reads_what_was_trusted(world, tmp_path):
    """A bit that the disk lost: neither size nor times say so."""
    config = load_config(world.run(tmp_path, link=True))
    run(config, say=lambda _: None)
    store = RunStore(config.root)
    memory = store.internal / "seen" / "samples.json"
    path = config.root / "samples" / "samples.parquet"
    flip(path)
    stat = path.stat()
    kept = json.loads(memory.read_text())
    kept["files"]["samples.parquet"] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    kept["at"] += 10**11
    del kept["check"]
    write_checked(memory, kept)
    assert run(config, say=lambda _: None) == []
    assert ("samples", "stale", "damaged: samples.parquet changed") in status(config, whole=True)
    assert run(config, verify=True, say=lambda _: None) == ["samples"]


def test_damage_while_a_run_is_under_way_is_named(world, tmp_path, monkeypatch):
    """A later stage reads what was right when the run began: the checksums of Zarr tell, and the error says what."""
    from glacmb_grid.stores import artefacts

    config = load_config(world.run(tmp_path, link=True))

    def damaging(*arguments, **options):
        flip(config.root / "terrain" / "terrain.zarr")
        return sample(*arguments, **options)

    sample = artefacts.read_outlines_store
    monkeypatch.setattr(artefacts, "read_outlines_store", damaging)
    with pytest.raises(InputError, match=r"as they were written") as raised:
        run(config, stage="predictors", overwrite=True, say=lambda _: None)
    assert str(config.root / "terrain") in raised.value.where
    assert "terrain.zarr" in raised.value.found
    monkeypatch.undo()
    assert run(config, say=lambda _: None) == ["terrain"]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_kill_9_at_random_moments_reruns_to_the_same_bytes(world, tmp_path, part):
    """Five times each: whatever is left is whole or not there, and in the end all is as if nothing had happened."""
    path = world.run(tmp_path, link=True)
    root, before = tmp_path / "out", results(tmp_path / "out")
    server = multiprocessing.get_context("forkserver")  # loads the package once for all processes
    server.set_forkserver_preload(["glacmb_grid.workflow.runner", "glacmb_grid.cli", "glacmb_grid.learning.models"])

    def run_for(seconds):
        process = server.Process(target=main, args=(["run", str(path), "--overwrite"],))
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode

    started = time.monotonic()
    assert run_for(None) == 0
    whole, draw, killed = time.monotonic() - started, np.random.default_rng(part), 0
    while killed < 5:
        killed += run_for(draw.uniform(0, whole)) == -signal.SIGKILL
    store = RunStore(root)
    for stage in STAGES:
        if store.mark(stage) is not None:
            assert not store.damage(stage), stage
        else:
            assert not store.folder(stage).exists(), stage
    run(load_config(path), say=lambda _: None)
    assert results(root) == before
    assert not list((root / INTERNAL / "aside").iterdir())
