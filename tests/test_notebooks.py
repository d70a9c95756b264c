"""The notebooks run, agree with their readable sources, and hold no outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NAMES = sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))


def cells_of(name, ending):
    book = jupytext.read(ROOT / "notebooks" / f"{name}{ending}")
    return [(c.cell_type, c.source) for c in book.cells]


def test_there_are_three_each_with_a_source():
    assert [n[0] for n in NAMES] == ["1", "2", "3"]
    assert sorted(p.stem for p in (ROOT / "notebooks").glob("*.py")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_agrees_with_its_source(name):
    assert cells_of(name, ".ipynb") == cells_of(name, ".py"), "run: jupytext --sync notebooks/*.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_holds_no_outputs_and_is_valid(name):
    book = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    nbformat.validate(book)
    code = [c for c in book["cells"] if c["cell_type"] == "code"]
    assert code
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in code)


def executed(name, folder, monkeypatch):
    """The notebook after all cells ran in a folder of their own, with the package of this checkout."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.delenv("MPLBACKEND", raising=False)  # figures are shown in the notebook
    monkeypatch.setenv("TMPDIR", str(folder))
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    return NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()


def outputs_of(book, kind):
    return [o for c in book.cells if c.cell_type == "code" for o in c.outputs if o.output_type == kind]


def text_of(book):
    shown = [o.data.get("text/plain", "") for o in outputs_of(book, "execute_result")]
    return "\n".join([*shown, *(o.text for o in outputs_of(book, "stream") if o.name == "stdout")])


def require_quiet(book):
    """No cell warns, but for a worker process that a busy machine was slow to end."""
    lines = "".join(o.text for o in outputs_of(book, "stream") if o.name == "stderr").splitlines()
    assert [line for line in lines if "distributed.nanny" not in line] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("1_sample_your_region", ["<Weights: 24 rows", "m above the cells", "degree_days"]),
        ("2_judge_a_model", ["<Folds: 12 of logo", "better", "analogue", "random", "hierarchical"]),
        ("3_explore_a_product", ["of the realizations", "as if independent", "nobody measured"]),
    ],
)
def test_a_notebook_runs_on_a_region_that_it_makes_up(name, says, tmp_path, monkeypatch):
    monkeypatch.delenv("GLACMB_DATA", raising=False)
    book = executed(name, tmp_path, monkeypatch)
    require_quiet(book)
    assert [s for s in says if s not in text_of(book)] == []
    assert sum("image/png" in o.data or "text/html" in o.data for o in outputs_of(book, "display_data")) >= 1


@pytest.mark.slow
@pytest.mark.real
def test_a_model_is_judged_on_a_real_table(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("GLACMB_DATA", str(real_data))
    book = executed("2_judge_a_model", tmp_path, monkeypatch)
    assert "<Folds: 13 of logo" in text_of(book)
    assert "128 samples" in text_of(book)
