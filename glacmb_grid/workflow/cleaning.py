"""`clean`: what a run's folder holds that its configuration no longer needs, and its removal.

Only what carries our mark, or lies in our internal folder, is ever removed. Files that a user put into a folder of
results, or changed there, stay where they are, and so does then the folder's mark, so that a later run knows it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from glacmb_grid.disk import MARK, Say, discard
from glacmb_grid.errors import InputError, listing
from glacmb_grid.report.amounts import age_in_words, size_in_words
from glacmb_grid.settings import Judged
from glacmb_grid.stores.artefacts import HOLDOUT
from glacmb_grid.stores.leftovers import leftovers
from glacmb_grid.stores.ownership import LOG, STAGE
from glacmb_grid.stores.runs import CACHE, RunStore
from glacmb_grid.workflow.currency import select, status
from glacmb_grid.workflow.presenting import presented

_LOGS = 10
"""Newest logs that are kept."""


@dataclass(frozen=True)
class Left:
    """Something that the configuration does not need.

    Attributes
    ----------
    path : Path
    why : str
    size : int
        Of what can be removed, bytes.
    age : float
        Since it was written, s.
    yours : tuple of str
        Files in it that stay: put there by a user, or changed since we wrote them.
    """

    path: Path
    why: str
    size: int
    age: float
    yours: tuple[str, ...] = ()


def left_over(config: Judged) -> list[Left]:
    """What the run's folder holds that the configuration does not need, without changing anything.

    Parameters
    ----------
    config : RunConfig or TableConfig

    Returns
    -------
    list of Left
        Results that are stale or that no stage makes any more, what was kept for such results only, remains of
        interrupted runs and fits, old logs.

    Raises
    ------
    InputError or InputErrors
        A folder that is not a run's.
    """
    store = RunStore(config.root)
    lines = status(config)
    if blocked := [f"{n} ({why})" for n, state, why in lines if state == "blocked"]:
        raise InputError(
            f"clean: {config.root}",
            expected="all inputs: without them nothing tells stale results from current ones",
            found=listing(blocked, 2),
            remedy="make them available again, or correct their paths in the configuration",
        )
    shown = presented(config, {name: state for name, state, _ in lines})
    states = {name: (state, why) for name, state, why in [*lines, *shown]}
    return [*_results(store, states), *_kept(config, store, states), *_internal(store, states)]


def clean(config: Judged, *, remove: bool = False, say: Say = print) -> list[Left]:
    """Tell what a run's folder holds that the configuration does not need, and remove it if asked to.

    Parameters
    ----------
    config : RunConfig or TableConfig
    remove : bool
    say : callable
        Takes a line.

    Returns
    -------
    list of Left
        What was found.
    """
    found = left_over(config)
    for one in found:
        name = one.path.relative_to(config.root).as_posix()
        told = f"; stays there, yours: {listing(one.yours, 3)}" if one.yours else ""
        say(f"{name:40s} {size_in_words(one.size):>8s}  {age_in_words(one.age):>12s}  {one.why}{told}")
    total = size_in_words(sum(one.size for one in found))
    if not found:
        say("nothing is stale or left over")
    elif not remove:
        say(f"{total} in all; nothing was removed: the same command with --yes removes it")
    else:
        store = RunStore(config.root, say)
        with store.locked():
            for one in left_over(config):  # again, now that no other run changes it
                _remove(store, one)
        say(f"{total} removed")
    return found


def size_and_age(store: RunStore, stage: str) -> tuple[int, float] | None:
    """Bytes of a finished stage as its mark lists them, and how long ago it was finished, s; None if it is not.

    Parameters
    ----------
    store : RunStore
    stage : str
    """
    mark, path = store.mark(stage), store.folder(stage) / MARK
    if mark is None:
        return None
    return sum(int(size) for size, *_ in mark["files"].values()), time.time() - path.stat().st_mtime


def _results(store: RunStore, states: dict[str, tuple[str, str]]) -> Iterator[Left]:
    """Folders of results that are stale, or that no stage makes any more."""
    for stage in _marked(store):
        state, reason = states.get(stage, ("", ""))
        if state in ("current", "blocked", "missing"):
            continue
        yield from _of_marked(store, stage, f"stale: {reason}" if state else "no stage of the configuration makes it")


def _of_marked(store: RunStore, stage: str, why: str) -> Iterator[Left]:
    """A folder with our mark, unless nothing in it can be removed."""
    mark, held = store.mark(stage), size_and_age(store, stage)
    assert mark is not None
    assert held is not None
    folder = store.folder(stage)
    yours = tuple(leftovers(folder, folder))
    size = sum(int(s) for n, (s, *_) in mark["files"].items() if n not in yours and (folder / n).is_file())
    if size or not yours:
        yield Left(folder, why, size, held[1], yours)


def _kept(config: Judged, store: RunStore, states: dict[str, tuple[str, str]]) -> Iterator[Left]:
    """What was made once for other results, and no current one was made with it.

    An unfinished run may have made some of it and not yet used it: then only what older results used is told.
    """
    current: set[str] = set()
    older: set[str] = set()
    for stage in _marked(store):
        mark, (state, _) = store.mark(stage) or {}, states.get(stage, ("", ""))
        if state == "current" and "inputs" in mark and "kept" not in mark:
            return  # of a version that did not note what it used
        (current if state == "current" else older).update(mark.get("kept", ()))
    unfinished = any(states[n][0] != "current" for n in select(config, None))
    for path in _entries(store.root / CACHE):
        name = f"{CACHE}/{path.name}"
        if path.is_symlink() or store.mark(name) is None or name in current:
            continue
        if name in older:
            yield from _of_marked(store, name, "only results that are stale or no longer made used it")
        elif not unfinished:
            yield from _of_marked(store, name, "no result was made with it")


def _marked(store: RunStore) -> list[str]:
    """Stages whose results lie in the run's folder, in the order of their names."""
    if not store.root.is_dir():
        return []
    apart = (store.internal.name, CACHE, HOLDOUT)
    tops = [p for p in sorted(store.root.iterdir()) if p.is_dir() and not p.is_symlink() and p.name not in apart]
    folders = [*tops, *(inner for top in tops for inner in sorted(top.iterdir()) if inner.is_dir())]
    names = [f.relative_to(store.root).as_posix() for f in folders if (f / MARK).is_file()]
    return [n for n in names if store.mark(n) is not None]


def _internal(store: RunStore, states: dict[str, tuple[str, str]]) -> Iterator[Left]:
    """Remains of interrupted runs, states of fits that nothing needs, and old logs."""
    for name, why in (("aside", "written by a run that was interrupted"), ("old", "replaced by an interrupted run")):
        yield from (_of_ours(p, why) for p in _entries(store.internal / name))
    working = {n.split("/")[-1] for n, (state, _) in states.items() if state != "current"}
    for path in _entries(store.internal / "checkpoints"):
        if not any(path.name.startswith(f"{n}-") for n in working):
            yield _of_ours(path, "the state of a fit that is finished or no longer made")
    for path in _entries(store.internal / LOG)[:-_LOGS]:
        yield _of_ours(path, f"a log older than the newest {_LOGS}")


def _of_ours(path: Path, why: str) -> Left:
    files = [p for p in (path, *path.rglob("*")) if p.is_file() and not p.is_symlink()]
    return Left(path, why, sum(p.stat().st_size for p in files), time.time() - path.stat().st_mtime)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _remove(store: RunStore, one: Left) -> None:
    """Remove what is left over; a user's files stay."""
    if one.path.is_relative_to(store.internal):
        discard(one.path, home=store.internal)
    elif one.yours:
        mark = json.loads((one.path / MARK).read_text(encoding="utf-8"))
        for name in mark["files"]:
            if name not in one.yours and not (one.path / name).is_symlink():
                (one.path / name).unlink(missing_ok=True)
                _remove_empty((one.path / name).parent, one.path)
    else:
        discard(one.path, kind=STAGE)
        _remove_empty(one.path.parent, store.root)


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove folders that have become empty, up to a folder that stays."""
    while folder != top:
        with suppress(OSError):
            folder.rmdir()
        if folder.exists():
            return
        folder = folder.parent
