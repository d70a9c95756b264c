"""What each file of a run's folder is said to be: in the folder, and in the README; and the log of a run."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path

import pytest

from glacmb_grid.config import load_config
from glacmb_grid.disk import MARK
from glacmb_grid.stores.artefacts import Artefact, leaves
from glacmb_grid.stores.contents import CONTENTS, README, patterns, readme
from glacmb_grid.workflow.runner import run
from glacmb_grid.workflow.table import table

ROOT = Path(__file__).parents[1]


def covers(path, pattern):
    """Whether a path is one that a pattern names, or lies below it."""
    return any(fnmatch.fnmatchcase(p, pattern) for p in [path, *map(str, Path(path).parents)])


def test_every_line_of_the_table_in_the_readme_is_one_of_ours_in_the_same_words():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.search(r"\| file \| content \|\n\|---\|---\|\n((?:\|.*\|\n)+)", text)[1].splitlines()
    cells = [tuple(c.strip().replace("`", "") for c in row.strip("|").split(" | ")) for row in rows]
    assert len(cells) > 20
    assert [c for c in cells if c not in CONTENTS] == []


@pytest.mark.parametrize("name", ["demo", "oetztal", "hma_table"])
def test_every_result_of_every_stage_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GLACMB_DATA", str(tmp_path))
    config = load_config(ROOT / "configs" / f"{name}.yaml", [f"store.root={tmp_path / 'out'}"])
    known = [p for names, _ in CONTENTS for p in patterns(names)]
    made = [a for s in table(config) for _, a in leaves(dict(s.writes)) if isinstance(a, Artefact)]
    paths = {f"{a.stage}/{a.file}".rstrip("/") for a in made if a.kind != "failures"}
    assert len(paths) > 10
    assert [p for p in sorted(paths) if not any(covers(p, one) for one in known)] == []


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("a/b.nc, .zarr", ["a/b.nc", "a/b.zarr"]),
        ("a/b_<degrees>.nc, .zarr", ["a/b_*.nc", "a/b_*.zarr"]),
        ("a/<model>/<scheme>.zarr", ["a/*/*.zarr"]),
        ("a/b.csv, c.json", ["a/b.csv", "a/c.json"]),
        ("a/, b/", ["a", "b"]),
        ("a/b.zarr, c/d.zarr", ["a/b.zarr", "c/d.zarr"]),
    ],
)
def test_names_stand_for_these_paths(names, found):
    assert list(patterns(names)) == found


def test_a_run_describes_its_folder_and_keeps_a_log(world, tmp_path):
    path = world.run(tmp_path)
    root = tmp_path / "out"
    text = (root / README).read_text(encoding="utf-8")
    known = [(names, list(patterns(names))) for names, _ in CONTENTS]
    files = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.name != MARK]
    shown = [ones for names, ones in known if f"\n{names}\n" in text]
    alone = [f for f in files if not f.endswith("failed.csv") and not any(covers(f, o) for ones in shown for o in ones)]
    assert alone == []
    assert "\naudit/, study/\n" not in text
    assert "gridded" not in text

    last = json.loads((root / "run.json").read_text())["runs"][-1]
    lines = (root / last["log"]).read_text(encoding="utf-8").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  ", line) for line in lines)
    said = [line.split("  ", 1)[1] for line in lines]
    assert [s for s in last["stages"] if s not in said] == []
    assert any(line.strip().startswith("done in") for line in said)

    logs = sorted((root / last["log"]).parent.iterdir())
    run(load_config(path), say=lambda _: None)
    assert sorted((root / last["log"]).parent.iterdir()) == logs, "a run that does nothing leaves no log"

    (root / README).write_text("mine")
    run(load_config(path), stage="plan", overwrite=True, say=lambda _: None)
    assert (root / README).read_text(encoding="utf-8") == text == readme(root)
    assert (root / f"{README}.changed-1").read_text() == "mine"


def test_a_run_that_fails_has_its_traceback_in_the_log(world, tmp_path):
    path = world.run(tmp_path)
    config = load_config(path)
    (tmp_path / "raw" / "dem" / "astgtm_synthetic_dem.tif").write_bytes(b"broken")
    with pytest.raises(ValueError, match="astgtm_synthetic_dem"):
        run(config, say=lambda _: None)
    last = json.loads((config.root / "run.json").read_text())["runs"][-1]
    assert last["outcome"] == "failed"
    told = (config.root / last["log"]).read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in told
    assert "in run" in told
    assert "remedy:   check the path" in told
