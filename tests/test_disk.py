"""Small files whole or not at all, tables that no spreadsheet runs, and folders that only we remove."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacmb_grid.disk import (
    MARK,
    claim,
    discard,
    free_name,
    is_ours,
    no_room,
    read_csv,
    read_json,
    replacing,
    workshop,
    write_csv,
    write_json,
    write_mark,
)
from glacmb_grid.errors import InputError

# ---- small files ----


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "deep" / "a.json"
    write_json(file, {"b": 1})
    assert json.loads(file.read_text()) == {"b": 1}
    with suppress(ZeroDivisionError), replacing(file) as aside:
        aside.write_text("half of")
        raise ZeroDivisionError
    assert json.loads(file.read_text()) == {"b": 1}
    assert [p.name for p in file.parent.iterdir()] == ["a.json"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """In this order: content, name, entry of the folder; else a loss of power could leave an empty mark."""
    done, replace = [], os.replace
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda h: (done.append(str(Path(f"/proc/self/fd/{h}").readlink())), fsync(h))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(f"replace {b}"), replace(a, b))[1])
    write_json(tmp_path / "mark.json", {})
    assert len(done) == 3
    assert done[0].endswith(".part")
    assert done[1:] == [f"replace {tmp_path / 'mark.json'}", str(tmp_path)]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1]", b'{"kind": 2}', b"[" * 100_000, b"null"])
def test_a_damaged_file_is_put_aside_named_and_read_as_none(tmp_path, content):
    file, said = tmp_path / "memory.json", []

    def valid(found):
        return found["kind"] == 1

    file.write_bytes(content)
    assert read_json(file, valid) is None
    assert file.read_bytes() == content, "without a voice it is left alone"
    assert read_json(file, valid, said.append) is None
    assert not file.exists()
    assert (tmp_path / "memory.json.damaged-1").read_bytes() == content
    assert len(said) == 1
    assert f"{file} is damaged" in said[0]
    assert "memory.json.damaged-1" in said[0]
    write_json(file, {"kind": 1})
    assert read_json(file, valid, said.append) == {"kind": 1}
    assert read_json(tmp_path / "none.json", valid, said.append) is None
    assert read_json(file / "below.json", valid, said.append) is None
    assert len(said) == 1


def test_a_folder_in_the_place_of_a_small_file_is_put_aside_too(tmp_path):
    (tmp_path / "memory.json").mkdir()
    (tmp_path / "memory.json" / "notes").write_text("mine")
    assert read_json(tmp_path / "memory.json", bool, lambda _: None) is None
    assert (tmp_path / "memory.json.damaged-1" / "notes").read_text() == "mine"


def test_a_free_name_is_one_that_nothing_has(tmp_path):
    (tmp_path / "a.csv.changed-1").touch()
    (tmp_path / "a.csv.changed-2").symlink_to("nowhere")
    assert free_name(tmp_path / "a.csv", "changed") == tmp_path / "a.csv.changed-3"


def test_why_there_is_no_room(tmp_path, monkeypatch):
    assert no_room(tmp_path, OSError(28, "No space left on device")) == "No space left on device"
    assert no_room(tmp_path, ValueError("something else")) is None
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    assert no_room(tmp_path / "not" / "yet", RuntimeError("HDF error")) == (
        "No space left on device (RuntimeError: HDF error)"
    )


# ---- tables ----


def test_text_that_a_spreadsheet_would_run_is_escaped_and_comes_back(tmp_path):
    names = ["=cmd|'/c calc'!A1", "+1", "-Glacier", "@SUM(A1)", "\tx", "'=x", "plain", "a=b", "", "'quoted'"]
    table = pd.DataFrame({"name": names, "value": np.linspace(-1, 1, len(names))})
    write_csv(table, tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[1] == "'=cmd|'/c calc'!A1,-1.0", "numbers keep their sign"
    assert [line[0] for line in lines[1:6]] == ["'"] * 4 + ["'"]
    assert lines[7].startswith("plain")
    again = read_csv(tmp_path / "t.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(again, table, check_dtype=False)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=8), min_size=1))
def test_any_text_comes_back(tmp_path_factory, texts):
    file = tmp_path_factory.mktemp("csv") / "t.csv"
    write_csv(pd.DataFrame({"text": texts, "n": range(len(texts))}), file)
    assert read_csv(file, keep_default_na=False, dtype={"text": str})["text"].tolist() == texts
    with file.open(encoding="utf-8", newline="") as stream:
        cells = [row[0] for row in csv.reader(stream)][1:]
    assert not [c for c in cells if c[:1] in ("=", "+", "-", "@")]


# ---- folders ----


def test_only_folders_with_our_mark_are_removed(tmp_path):
    mine, ours = tmp_path / "mine", tmp_path / "ours"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    write_mark(ours, "stage", stage="samples")
    (ours / "a").mkdir()
    (ours / "link").symlink_to(mine)
    for place, kind in ((mine, None), (ours, "ingest")):
        with pytest.raises(InputError, match="without our mark"):
            discard(place, kind=kind)
    assert is_ours(ours, "stage")
    assert not is_ours(ours, "ingest")
    discard(ours, kind="stage")
    discard(tmp_path / "never")
    assert not ours.exists()
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_a_link_to_a_folder_of_ours_is_not_ours(tmp_path):
    write_mark(tmp_path / "ours", "stage")
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    assert not is_ours(tmp_path / "link")
    with pytest.raises(InputError):
        discard(tmp_path / "link")
    assert is_ours(tmp_path / "ours")


def test_a_damaged_mark_is_still_a_mark(tmp_path):
    write_mark(tmp_path / "ours", "stage")
    (tmp_path / "ours" / MARK).write_text("{")
    assert is_ours(tmp_path / "ours", "stage")


def test_a_workshop_is_ours_alone_and_leaves_nothing(tmp_path):
    place = tmp_path / ".partial-x"
    with workshop(place, "ingest"):
        (place / "half").write_text("")
        code = (
            "import sys\nfrom pathlib import Path\nfrom glacmb_grid.disk import workshop\n"
            "with workshop(Path(sys.argv[1]), 'ingest'):\n    pass\n"
        )
        other = subprocess.run([sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert "another process that writes there" in other.stderr
        assert (place / "half").exists()
    assert not place.exists()
    write_mark(place, "ingest")  # what a killed one left
    (place / "half").write_text("")
    with workshop(place, "ingest"):
        assert [p.name for p in place.iterdir()] == [MARK]


def test_a_workshop_in_the_place_of_a_users_folder_is_refused(tmp_path):
    (tmp_path / ".partial-x").mkdir()
    (tmp_path / ".partial-x" / "notes").write_text("mine")
    with pytest.raises(InputError, match="without our mark"), workshop(tmp_path / ".partial-x", "ingest"):
        pass
    assert (tmp_path / ".partial-x" / "notes").read_text() == "mine"
    claim(tmp_path / "empty", "ingest")
    assert is_ours(tmp_path / "empty", "ingest")
