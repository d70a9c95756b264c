"""The folder of a run: nothing of the user's is lost in it, and nothing of ours can lie."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from glacmb_grid.disk import INTERNAL, MARK, discard, write_json
from glacmb_grid.errors import InputError
from glacmb_grid.stores import locks, runs, seals
from glacmb_grid.stores.formats import read_zarr, write_zarr
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.stores.seals import files_below, foreign, inspect, seal

pytestmark = pytest.mark.ends


def write(store, stage, key="k", **files):
    """A finished stage with these files."""
    with store.writing(stage, {"key": key}) as folder:
        for name, text in (files or {"a": "1"}).items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def everything(folder):
    """Path -> content of all files and links, and the empty folders."""
    found = {}
    for where, folders, names in os.walk(folder):
        here = Path(where)
        for name in [*names, *(f for f in folders if (here / f).is_symlink())]:
            path = here / name
            found[str(path.relative_to(folder))] = str(path.readlink()) if path.is_symlink() else path.read_bytes()
        if not folders and not names:
            found[str(here.relative_to(folder))] = None
    return found


@pytest.fixture
def store(tmp_path):
    """A run's folder, held, with a list of what was said."""
    said = []
    store = RunStore(tmp_path / "run", said.append)
    store.said = said
    with store.locked():
        yield store


# ---- whose folder it is ----


@pytest.mark.parametrize("there", [["albedo/tile.tif"], ["notes.txt"], [".hidden"], ["run.json"], [f"{INTERNAL}"]])
def test_a_folder_with_anything_else_in_it_is_refused(tmp_path, there):
    for name in there:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    before = everything(tmp_path)
    store = RunStore(tmp_path / "data")
    for act in (store.require_own, lambda: store.locked().__enter__()):
        with pytest.raises(InputError, match=r"store\.root") as raised:
            act()
        assert there[0].split("/")[0] in raised.value.found
        assert str(tmp_path / "data" / "run") in raised.value.remedy
    assert everything(tmp_path) == before


@pytest.mark.parametrize("there", [[], [".DS_Store"], ["lost+found/", ".gitignore"]])
def test_a_new_or_empty_folder_is_taken_and_known_again(tmp_path, there):
    root = tmp_path / "deep" / "run"
    for name in there:
        (root / name).mkdir(parents=True) if name.endswith("/") else (root.mkdir(parents=True, exist_ok=True))
        if not name.endswith("/"):
            (root / name).touch()
    for _ in range(2):
        with RunStore(root).locked():
            assert (root / INTERNAL).is_dir()
            (root / "mine.txt").write_text("put there later")
    assert (root / "mine.txt").read_text() == "put there later"


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match="is a file"):
            RunStore(root).require_own()


@pytest.mark.parametrize(
    "there", ["samples/table.csv", "learning/ridge/notes.txt", "samples", "learning", "kept/overlaps-k/mine"]
)
def test_something_of_a_users_in_the_place_of_a_stage_is_refused_and_not_touched(store, there):
    path = store.root / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    before = everything(store.root)
    stage = {"kept": "kept/overlaps-k", "learning": "learning/ridge"}.get(there.split("/")[0], "samples")
    with pytest.raises(InputError, match="results of the stage"):
        store.require_own([stage])
    with pytest.raises(InputError, match="nothing was touched"):
        write(store, stage)
    assert everything(store.root) == before


def test_links_in_the_place_of_a_stage_are_refused(store, tmp_path):
    (tmp_path / "elsewhere" / "ridge").mkdir(parents=True)
    (tmp_path / "elsewhere" / "ridge" / "mine").write_text("mine")
    (store.root / "learning").symlink_to(tmp_path / "elsewhere")
    (store.root / "samples").symlink_to(tmp_path / "elsewhere")
    (store.root / "terrain").symlink_to("nowhere")
    for stage in ("learning/ridge", "samples", "terrain"):
        with pytest.raises(InputError, match="a link"):
            write(store, stage)
    assert (tmp_path / "elsewhere" / "ridge" / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["", "aside", "old", "checkpoints", "seen", "lock", "inputs.json", "written.json"])
def test_links_in_our_own_folder_are_refused_and_what_they_lead_to_is_not_touched(tmp_path, name):
    """A user may have put them there to have another disk hold it."""
    with RunStore(tmp_path / "run").locked():
        pass
    thesis = tmp_path / "mine" / "thesis"
    (thesis / "aside" / "old").mkdir(parents=True)
    (thesis / "chapter").write_text("mine")
    before = everything(tmp_path / "mine")
    link = tmp_path / "run" / INTERNAL / name
    shutil.rmtree(link) if link.is_dir() else link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "mine")
    for attempt in (RunStore(tmp_path / "run").require_own, RunStore(tmp_path / "run").locked().__enter__):
        with pytest.raises(InputError, match="a link to"):
            attempt()
    with pytest.raises(InputError, match="without our mark"):
        discard(link / "thesis", home=tmp_path / "run" / INTERNAL)
    assert everything(tmp_path / "mine") == before


@pytest.mark.parametrize("name", ["aside", "old", "checkpoints", "seen", "lock", "inputs.json", "written.json"])
def test_a_file_for_a_folder_or_a_folder_for_a_file_is_put_aside(tmp_path, name):
    said = []
    with RunStore(tmp_path / "run").locked():
        pass
    path = tmp_path / "run" / INTERNAL / name
    if path.is_dir() or name not in ("lock", "inputs.json", "written.json"):
        shutil.rmtree(path, ignore_errors=True)
        path.write_text("mine")
    else:
        path.unlink(missing_ok=True)
        path.mkdir()
    store = RunStore(tmp_path / "run", said.append)
    store.require_own()
    with store.locked():
        write(store, "samples")
        with store.rewriting("failed.csv") as file:
            file.write_text("1")
        store.inputs.identities([])
        store.remember_inputs()
    assert any(f"{path} is damaged" in line for line in said)
    assert path.with_name(f"{name}.damaged-1").exists()


def test_the_lock_holds_though_its_file_was_removed(tmp_path):
    """As people do where they take it for one that was left behind."""
    with RunStore(tmp_path / "run").locked() as _:
        (tmp_path / "run" / INTERNAL / "lock").unlink()
        with pytest.raises(InputError, match="no other run"), RunStore(tmp_path / "run").locked():
            pass


@pytest.mark.parametrize("place", [f"{INTERNAL}/aside", "samples", "samples/below", f"{INTERNAL}/mine/below"])
def test_a_run_inside_the_results_of_another_is_refused(store, place):
    write(store, "samples")
    before = everything(store.root)
    with pytest.raises(InputError, match="outside the results of other runs"):
        RunStore(store.root / place / "run").require_own()
    assert everything(store.root) == before


def test_an_empty_folder_may_be_taken(store):
    (store.root / "samples").mkdir()
    write(store, "samples")
    assert store.mark("samples") is not None


# ---- a stage takes the place of an old one ----


def test_what_a_user_left_in_a_stage_is_carried_over(store, tmp_path):
    write(store, "samples", a="1", s__b="1")
    folder = store.root / "samples"
    (folder / "notes.txt").write_text("mine")
    (folder / "s" / "figure.png").write_bytes(b"\x89PNG")
    (folder / "later").mkdir()
    (folder / "to").symlink_to(tmp_path)
    write(store, "samples", a="2", c="2")
    assert everything(folder).keys() == {MARK, "a", "c", "notes.txt", "s/figure.png", "later", "to"}
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "a").read_text() == "2"
    assert not store.damage("samples")


def test_a_file_of_ours_that_a_user_changed_is_kept_under_another_name(store):
    write(store, "samples", **{"table.csv": "1"})
    table = store.root / "samples" / "table.csv"
    for number in (1, 2):
        table.write_text(f"my remark {number}")
        write(store, "samples", **{"table.csv": "1"})
        assert table.read_text() == "1"
        assert (store.root / "samples" / f"table.csv.changed-{number}").read_text() == f"my remark {number}"
        assert (
            f"table.csv was changed since we wrote it; the changed version is kept as table.csv.changed-{number}"
            in store.said[-1]
        )


def test_changed_chunks_of_zarr_are_not_kept_but_its_metadata_are(store):
    for step in range(2):
        with store.writing("samples", {"key": "k"}) as folder:
            write_zarr(xr.Dataset({"x": ("i", np.arange(9.0))}), folder / "s.zarr")
        if step == 0:
            (store.root / "samples" / "s.zarr" / "x" / "c" / "0").write_bytes(b"damaged")
            (store.root / "samples" / "s.zarr" / "zarr.json").write_text("{}")
    names = set(files_below(store.root / "samples"))
    assert "s.zarr/zarr.json.changed-1" in names
    assert not [n for n in names if "/c/" in n and "changed" in n]


def test_a_link_in_place_of_a_file_of_ours_stays_under_another_name(store, tmp_path):
    """A product that was moved to a larger disk; an array of a store, too."""
    for step in range(2):
        with store.writing("products", {"key": "k"}) as folder:
            write_zarr(xr.Dataset({"x": ("i", np.arange(9.0))}), folder / "p.zarr")
            (folder / "p.nc").write_text("1")
        if step == 0:
            (tmp_path / "large").mkdir()
            for name in ("p.nc", "p.zarr/x"):
                path = store.root / "products" / name
                path.rename(tmp_path / "large" / path.name)
                path.symlink_to(tmp_path / "large" / path.name)
    folder = store.root / "products"
    assert (folder / "p.nc").read_text() == "1"
    assert not (folder / "p.nc").is_symlink()
    assert (folder / "p.nc.changed-1").readlink() == tmp_path / "large" / "p.nc"
    assert (folder / "p.zarr" / "x.changed-1").readlink() == tmp_path / "large" / "x"
    assert not store.damage("products")
    assert (tmp_path / "large" / "x" / "zarr.json").exists()
    assert any("kept as x.changed-1" in line for line in store.said)


def test_a_users_file_under_the_name_of_a_new_one_stops_the_switch(store):
    write(store, "samples", a="1")
    (store.root / "samples" / "b").write_text("mine")
    (store.root / "samples" / "c").mkdir()
    (store.root / "samples" / "c" / "d").write_text("mine")
    before = everything(store.root / "samples")
    for files in ({"b": "2"}, {"c": "2"}):
        with pytest.raises(InputError, match="no file of your own with the name"):
            write(store, "samples", **files)
        assert everything(store.root / "samples") == before
    assert store.mark("samples")["key"] == "k"


def test_a_stage_whose_record_is_damaged_is_replaced_and_the_record_kept(store):
    write(store, "samples", a="1", old="1")
    folder = store.root / "samples"
    (folder / "notes.txt").write_text("mine")
    for content in (b"", b"{}", b"\xff", (folder / MARK).read_bytes()[:-20], b'{"glacmb_grid": "stage"}'):
        (folder / MARK).write_bytes(content)
        assert store.mark("samples") is None
        assert store.has_damaged_mark("samples")
        store.require_own(["samples"])
        write(store, "samples", a="2")
        assert store.mark("samples")["files"].keys() == {"a"}
        assert (folder / "notes.txt").read_text() == "mine"
    kept = sorted(p.name for p in folder.iterdir() if "damaged" in p.name)
    assert kept == [f"{MARK}.damaged-{i}" for i in range(1, 6)]
    (folder / MARK).write_bytes(b"{")
    (folder / "a").write_text("my remark")
    write(store, "samples", a="2")
    assert (folder / "a").read_text() == "2"
    assert (folder / "a.changed-2").read_text() == "my remark", "after the first one, which was of the old content"


@pytest.mark.parametrize(
    "edit", [{"inputs": None}, {"inputs": {"outlines": [["x"]]}}, {"key": "other"}, {"read": 3}, {"settings": {"a": 1}}]
)
def test_a_record_that_was_edited_counts_as_damaged(store, edit):
    """Valid JSON, even of the right form: nothing but our own writing is believed."""
    write(store, "samples")
    path = store.root / "samples" / MARK
    path.write_text(json.dumps({**json.loads(path.read_text()), **edit}))
    assert store.mark("samples") is None
    assert store.has_damaged_mark("samples")


def test_a_stage_that_fails_leaves_the_old_one_and_its_mark(store):
    write(store, "samples", a="1")
    before = everything(store.root / "samples")
    with suppress(ZeroDivisionError), store.writing("samples", {"key": "new"}) as folder:
        (folder / "a").write_text("half")
        raise ZeroDivisionError
    assert everything(store.root / "samples") == before


@pytest.mark.parametrize("call", range(1, 9))
def test_a_switch_cut_short_anywhere_loses_nothing(tmp_path, monkeypatch, call):
    """The process dies at the n-th renaming: what a user left is there afterwards, and the mark tells the truth."""
    root = tmp_path / "run"
    store = RunStore(root)
    with store.locked():
        write(store, "samples", key="old", a="1", gone="1")
    (root / "samples" / "notes.txt").write_text("mine")
    (root / "samples" / "a").write_text("changed by hand")
    rename, count = Path.rename, []

    class DiedError(BaseException):
        pass

    def dying(self, target):
        count.append(1)
        if len(count) == call:
            raise DiedError
        return rename(self, target)

    with suppress(DiedError), store.locked():
        monkeypatch.setattr(Path, "rename", dying)
        write(store, "samples", key="new", a="2")
    monkeypatch.undo()
    with store.locked():
        key = store.mark("samples")["key"]
        assert (key == "new") == (len(count) < call or call > 2)
        assert (root / "samples" / "notes.txt").read_text() == "mine"
        texts = {p.read_text() for p in (root / "samples").iterdir()}
        assert "changed by hand" in texts
        if key == "new":
            assert not store.damage("samples")
            assert (root / "samples" / "a").read_text() == "2"
        assert not list((root / INTERNAL / "aside").iterdir())
        assert not list((root / INTERNAL / "old").iterdir())


def test_a_replaced_folder_that_was_not_quite_removed_does_not_block(tmp_path):
    """Killed after its mark was gone, before the folder was."""
    store = RunStore(tmp_path / "run")
    with store.locked():
        write(store, "samples")
        (store.internal / "old" / "samples").mkdir(parents=True)
        (store.internal / "old" / "terrain").mkdir()
    with store.locked():
        assert not store.damage("samples")
        assert not (store.internal / "old" / "samples").exists()


def test_a_stage_that_is_exchanged_while_somebody_looks_is_no_error(store):
    write(store, "samples")
    (store.root / "samples").rename(store.root / "elsewhere")
    assert store.damage("samples").lost == [MARK]
    assert store.content("samples") == "?"


def test_small_files_behind_links_stay_there(store, tmp_path):
    (tmp_path / "central").mkdir()
    (store.root / "log.json").symlink_to(tmp_path / "central" / "log.json")
    for number in (1, 2):
        write_json(store.root / "log.json", [number])
        assert (store.root / "log.json").is_symlink()
        assert json.loads((tmp_path / "central" / "log.json").read_text()) == [number]


names = st.sampled_from(["a", "b", "notes.txt", "s", "s/b", "s/deep/er", "learning", "ridge", "out.zarr/c/0", ".hid"])
trees = st.dictionaries(names, st.sampled_from([b"mine", b"1", b""]), max_size=5)
stages = st.sampled_from(["samples", "learning/ridge", "learning", "kept/x-1"])


def plant(folder, tree):
    """Write a user's files; what does not fit together is left out."""
    for name, content in tree.items():
        with suppress(OSError):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


@settings(max_examples=150)
@given(
    st.tuples(trees, st.booleans()),
    st.lists(st.tuples(stages, trees, trees, st.booleans()), min_size=1, max_size=4),
)
def test_whatever_stands_in_a_folder_before_stands_there_after_or_the_run_refused(tmp_path_factory, first, steps):
    """A user's tree in the run's folder and in those of its stages, before, between and after what we write."""
    root = tmp_path_factory.mktemp("any") / "run"
    tree, made_before = first
    if made_before:
        with RunStore(root).locked():
            pass
    plant(root, tree)
    mine = {n: c for n, c in everything(root).items() if not n.startswith(INTERNAL)} if root.exists() else {}
    for stage, results, left, crashes in steps:
        with suppress(InputError, ZeroDivisionError), RunStore(root).locked():
            store = RunStore(root)
            with store.writing(stage, {"key": "k"}) as folder:
                plant(folder, results)
                if crashes:
                    raise ZeroDivisionError
        folder = root / stage
        ours = json.loads((folder / MARK).read_text())["files"] if (folder / MARK).exists() else {}
        if folder.is_dir():
            fresh = {n: c for n, c in left.items() if n not in ours and not (folder / n).exists()}
            plant(folder, fresh)
            there = everything(folder)
            mine |= {f"{stage}/{n}": c for n, c in there.items() if n in fresh and c is not None}
        now = everything(root) if root.exists() else {}
        for name, content in mine.items():
            assert content is None or now.get(name) == content, name


# ---- seals ----


def damage_of(folder, how, name="a"):
    """Damage a file in one of the ways that happen."""
    path = folder / name
    if how == "lost":
        path.unlink()
    elif how == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif how == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    elif how == "folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("how", ["lost", "flipped", "truncated", "link", "folder"])
@pytest.mark.parametrize("seen", [True, False])
def test_damage_is_found_and_named(tmp_path, how, seen):
    (tmp_path / "s").mkdir()
    for name in ("a", "s/b"):
        (tmp_path / name).write_text(name * 50)
    files, stamps = seal(tmp_path)
    assert inspect(tmp_path, files, stamps)[0] == seals.Damage()
    damage_of(tmp_path, how)
    damage, right = inspect(tmp_path, files, stamps if seen else None)
    assert [*damage.lost, *damage.changed] == ["a"]
    assert set(right) == {"s/b"}
    assert str(damage) == ("a changed" if how in ("flipped", "truncated") else "a lost")


def test_what_was_found_right_is_not_read_again_unless_it_was_touched(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("1")
    files, stamps = seal(tmp_path)
    read = []
    monkeypatch.setattr(seals, "sha256", lambda p: (read.append(p), files["a"][1])[1])
    inspect(tmp_path, files, stamps)
    assert read == []
    os.utime(tmp_path / "a")
    assert not inspect(tmp_path, files, stamps)[0]
    assert len(read) == 1


def test_a_change_that_keeps_size_and_time_is_noticed_by_the_time_of_the_entry(tmp_path):
    (tmp_path / "a").write_text("1")
    files, stamps = seal(tmp_path)
    kept = (tmp_path / "a").stat()
    (tmp_path / "a").write_text("2")
    os.utime(tmp_path / "a", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert inspect(tmp_path, files, stamps)[0].changed == ["a"]


def test_a_file_written_an_instant_ago_is_read_again_once(store):
    """A change within the tick of the clock would leave its stamp as it was."""
    write(store, "samples")
    memory = store.internal / "seen" / "samples.json"
    kept = json.loads(memory.read_text())
    name, stamp = "a", kept["files"]["a"]
    assert not seals.trusted(stamp, kept["at"])
    (store.root / "samples" / name).write_text("2")  # same size; pretend that all its times stayed the same
    kept["files"][name] = seals.stamp_of(store.root / "samples" / name)
    memory.write_text(json.dumps(kept))
    assert store.damage("samples").changed == ["a"]


def test_the_seal_is_checked_itself(store):
    write(store, "samples")
    mark = json.loads((store.root / "samples" / MARK).read_text())
    mark["files"]["a"][1] = "0" * 64
    (store.root / "samples" / MARK).write_text(json.dumps(mark))
    assert store.has_damaged_mark("samples")


def test_a_copied_run_is_whole_too(store, tmp_path):
    write(store, "samples", a="1", s__b="2")
    shutil.copytree(store.root, tmp_path / "copy")
    copy = RunStore(tmp_path / "copy")
    assert copy.mark("samples") == store.mark("samples")
    assert not copy.damage("samples")


@pytest.mark.parametrize("memory", ["seen/samples.json", "written.json", "inputs.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b'{"at": "x", "content": 1, "files": 3, "inputs": 4}',
        b'{"at": 1, "content": "", "files": {"a": null}, "inputs": {"a": [{"a": ["x", "b"]}, [], "", "", ""]}}',
    ],
)
def test_a_damaged_memory_is_put_aside_and_made_again(store, memory, content):
    write(store, "samples")
    with store.rewriting("failed.csv") as file:
        file.write_text("1")
    path = store.internal / memory
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    again = RunStore(store.root, store.said.append)
    again.holds_lock = True
    assert not again.damage("samples")
    again.inputs.identities([])
    again.remember_inputs()
    with again.rewriting("failed.csv") as file:
        file.write_text("2")
    assert path.with_name(path.name + ".damaged-1").read_bytes() == content
    assert any(f"{path} is damaged" in line for line in store.said)
    assert isinstance(json.loads(path.read_text()), dict)
    assert (store.root / "failed.csv").read_text() == "2"


def test_foreign_files_are_those_without_a_seal(tmp_path):
    for name in ("a", "s/b", "s/mine", "mine"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / MARK).touch()
    (tmp_path / "empty").mkdir()
    assert foreign(tmp_path, ["a", "s/b"]) == ["empty", "mine", "s/mine"]


# ---- zarr ----


def test_every_array_has_checksums_and_every_chunk_is_there(tmp_path):
    ds = xr.Dataset(
        {"gaps": (("i", "j"), np.full((6, 4), np.nan)), "name": ("k", np.array(list("abcdef"), dtype=object))},
        coords={"time": ("j", np.array(["2001", "2002", "2003", "2004"], "datetime64[ns]"))},
    )
    write_zarr(ds.assign(gaps=ds["gaps"].chunk({"i": 2})), tmp_path / "s.zarr")
    group = zarr.open_group(tmp_path / "s.zarr", mode="r")
    for name, array in group.arrays():
        assert type(array.compressors[-1]).__name__ == "Crc32cCodec", name
    assert len(list((tmp_path / "s.zarr" / "gaps" / "c").rglob("0"))) >= 3
    assert sum(p.is_file() for p in (tmp_path / "s.zarr" / "gaps" / "c").rglob("*")) == 3
    xr.testing.assert_identical(read_zarr(tmp_path / "s.zarr"), ds)
    write_zarr(ds, tmp_path / "s.zarr", append="i")
    assert type(zarr.open_group(tmp_path / "s.zarr", mode="r")["gaps"].compressors[-1]).__name__ == "Crc32cCodec"
    assert sum(p.is_file() for p in (tmp_path / "s.zarr" / "gaps" / "c").rglob("*")) == 6


@pytest.mark.parametrize("name", ["gaps", "name", "time"])
def test_a_flipped_bit_of_any_array_is_an_error_when_it_is_read(tmp_path, name):
    ds = xr.Dataset(
        {"gaps": ("i", np.arange(50.0)), "name": ("i", np.array(["abc"] * 50, dtype=object))},
        coords={"time": ("i", np.arange("2001-01", "2005-03", dtype="datetime64[M]").astype("datetime64[ns]"))},
    )
    write_zarr(ds, tmp_path / "s.zarr")
    chunk = tmp_path / "s.zarr" / name / "c" / "0"
    content = bytearray(chunk.read_bytes())
    for place in (0, len(content) // 2, len(content) - 1):
        flipped = bytearray(content)
        flipped[place] ^= 4
        chunk.write_bytes(bytes(flipped))
        with pytest.raises(ValueError, match=r"(?i)checksum"):
            read_zarr(tmp_path / "s.zarr")


# ---- what is kept, and files of the whole run ----


def made_of(value, calls):
    def make():
        calls.append(value)
        return xr.Dataset({"x": ("i", np.full(5, value))})

    return make


@pytest.mark.parametrize("how", ["lost", "flipped", "truncated"])
def test_what_is_kept_is_made_once_and_again_where_it_is_damaged(store, how):
    calls = []
    for _ in range(2):
        assert store.kept("overlaps", "k", made_of(1.0, calls))["x"].values[0] == 1
    assert len(calls) == 1
    damage_of(store.folder("kept/overlaps-k"), how, "data.zarr/x/c/0")
    assert store.kept("overlaps", "k", made_of(1.0, calls))["x"].values[0] == 1
    assert len(calls) == 2
    assert "kept/overlaps-k is damaged (data.zarr/x/c/0" in store.said[-1]


def test_what_is_kept_is_made_again_by_overwriting_once_a_run(store):
    calls = []
    store.kept("overlaps", "k", made_of(1.0, calls))
    again = RunStore(store.root)
    again.renewing = True
    for _ in range(3):
        again.kept("overlaps", "k", made_of(2.0, calls))
    assert calls == [1.0, 2.0]


def test_a_file_of_the_run_that_somebody_changed_is_kept_beside_the_new_one(store):
    for text in ("1", "2"):
        with store.rewriting("failed.csv") as file:
            file.write_text(text)
    assert store.said == []
    (store.root / "failed.csv").write_text("with my remarks")
    with store.rewriting("failed.csv") as file:
        file.write_text("3")
    assert (store.root / "failed.csv").read_text() == "3"
    assert (store.root / "failed.csv.changed-1").read_text() == "with my remarks"
    assert "kept as failed.csv.changed-1" in store.said[0]
    with store.rewriting("new.csv") as file:
        file.write_text("1")
    (store.root / "other.csv").write_text("there before")
    with store.rewriting("other.csv") as file:
        file.write_text("1")
    assert (store.root / "other.csv.changed-1").read_text() == "there before"


def test_the_log_is_added_to_and_a_damaged_one_put_aside(store):
    store.append_log({"n": 1})
    store.append_log({"n": 2})
    assert [r["n"] for r in json.loads((store.root / "run.json").read_text())["runs"]] == [1, 2]
    (store.root / "run.json").write_text('{"runs": 3}')
    store.append_log({"n": 3})
    assert [r["n"] for r in json.loads((store.root / "run.json").read_text())["runs"]] == [3]
    assert (store.root / "run.json.damaged-1").read_text() == '{"runs": 3}'


def test_a_damaged_lock_does_not_block(tmp_path):
    said = []
    with RunStore(tmp_path / "run").locked():
        pass
    for content in (b"\xff\x00", b"{", b'{"pid": 1}', b"[" * 100_000):
        (tmp_path / "run" / INTERNAL / "lock").write_bytes(content)
        with RunStore(tmp_path / "run", said.append).locked():
            assert "an interrupted run by an unknown process" in said[-1]


def test_whoever_may_not_write_may_still_look(store, monkeypatch):
    write(store, "samples")
    looking = RunStore(store.root)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(runs, "write_checked", refuse)
    assert not looking.damage("samples", whole=True)
    with pytest.raises(PermissionError):
        store.damage("samples", whole=True)


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.raises(InputError, match="a file system that can lock files"), RunStore(tmp_path / "run").locked():
        pass


def test_state_of_unfinished_fits_is_ours_and_goes(store):
    folder = store.checkpoints("ff_fcnn-logo-key")
    (folder / "state.npz").write_bytes(b"1")
    assert store.checkpoints("ff_fcnn-logo-key") == folder
    store.forget_checkpoints("ridge-")
    assert folder.exists(), "another fit that is not finished"
    store.forget_checkpoints("ff_fcnn-")
    assert not folder.exists()


def test_a_killed_writer_leaves_what_the_next_one_clears(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom glacmb_grid.stores.runs import RunStore\n"
        "store = RunStore(Path(sys.argv[1]))\n"
        "with store.locked(), store.writing('samples', {'key': 'k'}) as folder:\n"
        "    (folder / 'half').write_text('x')\n    os.kill(os.getpid(), 9)\n"
    )
    root = tmp_path / "run"
    assert subprocess.run([sys.executable, "-c", code, str(root)], check=False).returncode == -9
    assert (root / INTERNAL / "aside" / "samples" / "half").exists()
    said = []
    with RunStore(root, said.append).locked():
        assert not list((root / INTERNAL / "aside").iterdir())
    assert "taking over from an interrupted run" in said[0]
    assert not (root / "samples").exists()
