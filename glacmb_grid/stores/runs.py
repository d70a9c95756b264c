"""The folder of one run: the only room that knows where its results lie.

A run's folder is ours by the folder `.glacmb_grid` in it, and each folder of results by the mark in it; nothing else is
ever replaced, moved or removed. A stage writes into a folder aside; when that is whole and sealed it takes the place of
the old one together with its mark, in one step. What a user left in the old folder is carried over into the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, unquote

import xarray as xr

from glacmb_grid.disk import (
    INTERNAL,
    MARK,
    Say,
    discard,
    free_name,
    inside_ours,
    intact,
    is_ours,
    put_aside,
    read_json,
    replacing,
    sync,
    write_checked,
    write_json,
    write_mark,
)
from glacmb_grid.errors import InputError, listing
from glacmb_grid.stores.formats import read_zarr, write_zarr
from glacmb_grid.stores.identity import Inputs, is_memory
from glacmb_grid.stores.seals import (
    Damage,
    Stamp,
    content_of,
    files_below,
    foreign,
    inspect,
    seal,
    sha256,
    trusted,
)

_STAGE, _UNFINISHED = "stage", "unfinished"
_FOLDERS = ("aside", "old", "checkpoints", "seen")
_PARTS = (*_FOLDERS, "lock", "inputs.json", "written.json")
_HARMLESS = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory", ".gitkeep", ".gitignore", "lost+found")
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_LIBRARIES = (
    "glacmb-grid",
    "numpy",
    "scipy",
    "pandas",
    "xarray",
    "dask",
    "zarr",
    "netCDF4",
    "rasterio",
    "rioxarray",
    "shapely",
    "geopandas",
    "jax",
    "flax",
    "scikit-learn",
    "optax",
)


@cache
def versions() -> dict[str, str]:
    """Versions of this package and of the libraries that shape its results."""
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


class RunStore:
    """The folder of one run.

    Parameters
    ----------
    root : Path
        Made by `locked` where it does not exist.
    say : callable, optional
        Takes a line on what was found damaged or carried over.
    """

    def __init__(self, root: Path, say: Say = lambda text: None) -> None:
        self.root, self.say = root, say
        self.internal = root / INTERNAL
        self.holds_lock = False
        self.renewing = False
        self._renewed: set[str] = set()
        self._inputs: Inputs | None = None

    # ---- whose folder it is ----

    def require_own(self, stages: Iterable[str] = ()) -> None:
        """Refuse a folder that is not a run's, and places of these stages where something of somebody else lies.

        Raises
        ------
        InputError
        """
        _require_folder(self.root)
        if (around := inside_ours(self.root)) is not None:
            raise InputError(
                f"{self.root}: store.root",
                expected="a place outside the results of other runs",
                found=f"{around}, which we replace",
                remedy="name another place",
            )
        for path in (self.internal, *(self.internal / name for name in _PARTS)):
            if path.is_symlink():
                raise InputError(
                    f"{path}",
                    expected="a folder or file that is ours alone",
                    found=f"a link to {path.readlink()}",
                    remedy="put the folder or file itself there; what the link leads to was not touched",
                )
        if self.root.is_dir() and not self.internal.is_dir():
            others = sorted(p.name for p in self.root.iterdir() if p.name not in _HARMLESS)
            if others:
                raise InputError(
                    f"{self.root}: store.root",
                    expected="a folder of its own for the run: one that is new or empty, or holds an earlier run",
                    found=f"{listing(others)}, and no folder `{INTERNAL}`, by which a run is known",
                    remedy=f"name a new folder, for instance `store: {{root: {self.root / 'run'}}}`",
                )
        for stage in stages:
            self._require_place(stage)

    def _require_place(self, stage: str) -> None:
        folder = self.folder(stage)
        for above in (p for p in (folder, *folder.parents) if p.is_relative_to(self.root) and p != self.root):
            if above.is_symlink() or (above.exists() and not above.is_dir()):
                raise _occupied(above, stage, "a link" if above.is_symlink() else "a file")
        if folder.is_dir() and any(folder.iterdir()) and not is_ours(folder, _STAGE):
            there = listing(sorted(p.name for p in folder.iterdir()), 4)
            raise _occupied(folder, stage, f"a folder that we did not make, with {there}")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's lock; the kernel frees it when its holder dies, so a stale one is taken over.

        Raises
        ------
        InputError
            Naming the holder where another run works in this folder; where the folder is not a run's.
        """
        self.require_own()
        self.internal.mkdir(parents=True, exist_ok=True)
        for name in _PARTS:
            path = self.internal / name
            if path.exists() and path.is_dir() != (name in _FOLDERS):
                self.say(f"{path} is damaged: put aside as {put_aside(path, 'damaged').name}, made again")
        with _folder_lock(self.internal, self.root), self._lock_file() as file:
            _take(file, self.root)
            file.seek(0)
            left = file.read()
            if left:
                self.say(f"taking over from an interrupted run by {_holder(left)}")
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}))
            file.flush()
            self.holds_lock = True
            try:
                self._sweep()
                yield
            finally:
                self.holds_lock = False
                file.truncate(0)

    def _lock_file(self) -> TextIO:
        return (self.internal / "lock").open("a+", encoding="utf-8", errors="replace")

    def _own_json(self, path: Path, valid: Callable[[Any], bool]) -> Any:
        """A small file of ours; a damaged one is put aside, unless whoever only looks may not write there."""
        found = None
        with self._optional():
            found = read_json(path, valid, self.say)
        return found

    @contextlib.contextmanager
    def _optional(self) -> Iterator[None]:
        """Whoever only looks at a run may not be allowed to write there."""
        try:
            yield
        except OSError:
            if self.holds_lock:
                raise

    # ---- stages ----

    def folder(self, stage: str) -> Path:
        """Where a stage's results lie."""
        return self.root / stage

    def mark(self, stage: str) -> dict[str, Any] | None:
        """What is recorded of a finished stage; None where it is not finished, or where the record is damaged."""
        folder = self.folder(stage)
        found: dict[str, Any] | None = read_json(folder / MARK, lambda c: intact(c) and _is_stage(c, stage))
        return found if found is not None and is_ours(folder, _STAGE) else None

    def has_damaged_mark(self, stage: str) -> bool:
        """Whether a stage was finished, but the record of it cannot be read."""
        return is_ours(self.folder(stage)) and self.mark(stage) is None

    def damage(self, stage: str, *, whole: bool = False) -> Damage:
        """What of a finished stage is not as it was written.

        Parameters
        ----------
        stage : str
        whole : bool
            Read every file, also those whose size and times are the same as before.
        """
        mark = self.mark(stage)
        if mark is None:  # gone since it was looked at: another command exchanges it
            return Damage(lost=[MARK])
        kept = None if whole else self._own_json(self._memory(stage), _is_seen)
        seen: dict[str, Stamp] = {}
        if kept is not None and kept["content"] == mark["content"]:
            seen = {n: s for n, s in kept["files"].items() if trusted(s, kept["at"])}
        damage, right = inspect(self.folder(stage), mark["files"], seen)
        if right != seen or not right:
            self._remember(stage, mark["content"], right)
        return damage

    def _memory(self, stage: str) -> Path:
        return self.internal / "seen" / f"{quote(stage, safe='')}.json"

    def _remember(self, stage: str, content: str, stamps: dict[str, Stamp]) -> None:
        """Which files of a stage were found right."""
        if self.internal.is_dir():
            with self._optional():
                write_checked(self._memory(stage), {"at": time.time_ns(), "content": content, "files": stamps})

    def note_inputs(self, stage: str, inputs: dict[str, Any]) -> None:
        """Record of a finished stage what is known now of the inputs that it was made of."""
        mark = self.mark(stage)
        assert mark is not None
        write_checked(self.folder(stage) / MARK, {**mark, "inputs": inputs})

    def content(self, stage: str) -> str:
        """Digest of all files of a finished stage."""
        return str((self.mark(stage) or {"content": "?"})["content"])

    @contextlib.contextmanager
    def writing(self, stage: str, mark: dict[str, Any]) -> Iterator[Path]:
        """A folder to write a stage into; sealed, it takes the stage's place when the block ends well.

        Raises
        ------
        InputError
            Where something of somebody else lies in the stage's place.
        """
        self._require_place(stage)
        aside = self.internal / "aside" / quote(stage, safe="")
        discard(aside, home=self.internal)
        write_mark(aside, _UNFINISHED)
        yield aside
        files, stamps = seal(aside)
        content = content_of(files)
        write_mark(aside, _STAGE, stage=stage, files=files, content=content, **mark)
        self._switch(stage, aside)
        self._remember(stage, content, stamps)

    def _switch(self, stage: str, aside: Path) -> None:
        """Put what was written in its place, with its mark, in one step."""
        final, old = self.folder(stage), self.internal / "old" / quote(stage, safe="")
        self._require_place(stage)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists() and not any(final.iterdir()):
            final.rmdir()
        if final.exists():
            _require_room(_left(final, aside), final, aside)
            old.parent.mkdir(parents=True, exist_ok=True)
            final.rename(old)
        aside.rename(final)
        sync(final.parent)
        self._dispose(old, final)

    def _dispose(self, old: Path, final: Path) -> None:
        """Carry over what is not ours from a folder that was replaced, then remove it."""
        if not old.exists():
            return
        for name, why in _left(old, final).items():
            target = final / name
            if why or (
                (target.exists() or target.is_symlink()) and not (_is_folder(target) and _is_folder(old / name))
            ):
                target = free_name(target, why or "changed")
                self.say(f"{final / name} is not as it was written: kept as {target.name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            if _is_folder(old / name):
                target.mkdir(parents=True, exist_ok=True)
            else:
                (old / name).rename(target)
        discard(old, home=self.internal)

    def _sweep(self) -> None:
        """Remove what interrupted runs left aside; put back a store whose switch was cut short."""
        for left in _entries(self.internal / "aside"):
            discard(left, home=self.internal)
        for old in _entries(self.internal / "old"):
            final = self.folder(unquote(old.name))
            if final.exists():
                self._dispose(old, final)
            else:
                final.parent.mkdir(parents=True, exist_ok=True)
                old.rename(final)

    # ---- what is kept whatever the stages do ----

    def kept(self, what: str, key: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
        """A Dataset that depends on nothing but what its key was made of: made once, and again where it is damaged.

        While `renewing` it is made again, once a run.
        """
        name = f"kept/{what}-{key}"
        there = self.mark(name) is not None
        damage = self.damage(name) if there else None
        if damage:
            self.say(f"{self.folder(name)} is damaged ({damage}): made again")
        if not there or damage or (self.renewing and name not in self._renewed):
            with self.writing(name, {"key": key}) as folder:
                write_zarr(make(), folder / "data.zarr")
        self._renewed.add(name)
        return read_zarr(self.folder(name) / "data.zarr")

    def checkpoints(self, name: str) -> Path:
        """Folder for the state of an unfinished fit."""
        folder = self.internal / "checkpoints" / name
        if not (folder / MARK).exists():
            write_mark(folder, _UNFINISHED)
        return folder

    def forget_checkpoints(self, beginning: str) -> None:
        """Remove the state of fits that are finished now, by the beginning of their names."""
        for folder in _entries(self.internal / "checkpoints"):
            if folder.name.startswith(beginning):
                discard(folder, home=self.internal)

    # ---- inputs ----

    @property
    def inputs(self) -> Inputs:
        """Identities of inputs."""
        if self._inputs is None:
            self._inputs = Inputs(self._own_json(self.internal / "inputs.json", lambda c: intact(c) and is_memory(c)))
        return self._inputs

    def remember_inputs(self) -> None:
        """Keep the identities of inputs; asking for the status of a run that never was leaves no trace."""
        if self._inputs is not None and self.internal.is_dir():
            with self._optional():
                write_checked(self.internal / "inputs.json", self._inputs.memory())

    # ---- files of the whole run ----

    @contextlib.contextmanager
    def rewriting(self, name: str) -> Iterator[Path]:
        """A file of the run's folder to write anew; what somebody else changed in the old one is kept beside it."""
        path, memory = self.root / name, self.internal / "written.json"
        written = self._own_json(memory, intact) or {}
        if path.is_symlink() or path.is_dir() or (path.exists() and written.get(name) != sha256(path)):
            self.say(f"{path} is not as it was written: kept as {put_aside(path, 'changed').name}")
        with replacing(path) as aside:
            yield aside
        write_checked(memory, {**written, name: sha256(path)})

    def append_log(self, entry: dict[str, Any]) -> None:
        """Add what a run did to `run.json`, newest last."""
        log = self._own_json(self.root / "run.json", lambda c: isinstance(c["runs"], list)) or {"runs": []}
        write_json(self.root / "run.json", {**log, "runs": [*log["runs"], entry]})


def _is_stage(content: Any, stage: str) -> bool:
    return (
        content["glacmb_grid"] == _STAGE
        and content["stage"] == stage
        and isinstance(content["key"], str)
        and content["content"] == content_of(content["files"])
    )


def _is_seen(content: Any) -> bool:
    return intact(content) and {"at", "content", "files"} <= set(content)


def _left(folder: Path, fresh: Path) -> dict[str, str]:
    """What of a folder that is replaced stays, below it, and why it takes another name, empty where it keeps its own.

    What is not ours stays as it is. Files of ours that somebody changed stay under another name, but for chunks of
    Zarr, which are of no use without their siblings. Where the mark is damaged, it is what is new that tells what is
    ours and unchanged.
    """
    mark, new = (read_json(p / MARK, lambda c: intact(c) and _is_stage(c, str(c["stage"]))) for p in (folder, fresh))
    ours = (mark or new or {"files": {}})["files"]
    left = dict.fromkeys(foreign(folder, ours), "")
    damage, _ = inspect(folder, {n: f for n, f in ours.items() if "/c/" not in n})
    links = [n for n in damage.lost if (folder / n).is_symlink() or (folder / n).is_dir()]
    left |= dict.fromkeys((*damage.changed, *links), "changed")
    return left if mark or not (folder / MARK).exists() else left | {MARK: "damaged"}


def _require_room(left: dict[str, str], final: Path, fresh: Path) -> None:
    """What is carried over must not meet a new file of ours."""
    ours = set(files_below(fresh))
    met = [n for n, why in left.items() if not why and ours & {n, *(p.as_posix() for p in Path(n).parents)}]
    if met:
        raise InputError(
            f"{final / met[0]}",
            expected="no file of your own under the name of one that is to be written",
            found=f"{listing(met)}, which we did not write",
            remedy="give it another name or place, and run again",
        )


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _require_folder(root: Path) -> None:
    blocked = next((p for p in (root, *root.parents) if p.exists() or p.is_symlink()), root)
    if blocked.exists() and not blocked.is_dir():
        raise InputError(
            f"{root}: store.root",
            expected="a folder",
            found=f"{blocked} is a file",
            remedy="name another place",
        )


def _occupied(place: Path, stage: str, found: str) -> InputError:
    return InputError(
        f"{place}",
        expected=f"the place of the results of the stage {stage}: nothing, or what an earlier run wrote",
        found=found,
        remedy="move it to another place, or give the run another `store.root`; nothing was touched",
    )


@contextlib.contextmanager
def _folder_lock(folder: Path, root: Path) -> Iterator[None]:
    """Lock the folder itself too, where its file system can: the file in it might be removed while a run works."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with (folder / "lock").open("a+", encoding="utf-8", errors="replace") as file:
                file.seek(0)
                raise _busy(file.read(), root) from None
        except OSError:  # network file systems lock files only
            pass
        yield
    finally:
        os.close(handle)


def _busy(holder: str, root: Path) -> InputError:
    return InputError(
        f"{root}",
        expected="no other run in this folder",
        found=f"a run by {_holder(holder)}",
        remedy="wait for it, or give this run another `store.root`",
    )


def _take(file: Any, root: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise InputError(
                f"{root}: store.root",
                expected="a file system that can lock files",
                found=f"{error.strerror}",
                remedy="name a folder on another one, such as a local disk",
            ) from error
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        file.seek(0)
        raise _busy(file.read(), root) from error


def _holder(text: str) -> str:
    try:
        held = json.loads(text)
        return f"process {held['pid']} on {held['host']} since {held['since']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "an unknown process"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
