"""The folder of one run: where its results are, and how they are replaced.

The folder `.glacmb_grid` identifies a run's folder as ours, a mark file each folder of results; nothing else is ever
replaced, moved or removed. A stage writes into a temporary folder. Once complete and sealed, it takes the place of the
old folder, together with its mark, in one step. Files that a user left in the old folder are moved to the new one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import xarray as xr

from glacmb_grid.disk import (
    INTERNAL,
    MARK,
    Say,
    discard,
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
from glacmb_grid.stores.formats import read_zarr, write_zarr
from glacmb_grid.stores.identity import Inputs, is_memory
from glacmb_grid.stores.leftovers import carry_over, is_stage, leftovers, require_room
from glacmb_grid.stores.locks import holding
from glacmb_grid.stores.ownership import FOLDERS, PARTS, STAGE, require_own_root, require_place
from glacmb_grid.stores.seals import Damage, Stamp, content_of, inspect, seal, sha256, trusted

CACHE = "kept"  # folder of results that depend on their key only
_UNFINISHED = "unfinished"


class RunStore:
    """The folder of one run.

    Parameters
    ----------
    root : Path
        Created by `locked` if it does not exist.
    say : callable, optional
        Receives messages about files that were damaged, renamed or moved.
    """

    def __init__(self, root: Path, say: Say = lambda text: None) -> None:
        self.root, self.say = root, say
        self.internal = root / INTERNAL
        self.holds_lock = False
        self.renewing = False
        self._renewed: set[str] = set()
        self._inputs: Inputs | None = None

    # ---- ownership and lock ----

    def require_own(self, stages: Iterable[str] = ()) -> None:
        """Refuse a folder that is not a run's, or one in which these stages would meet files that we did not write.

        Raises
        ------
        InputError
        """
        require_own_root(self.root)
        for stage in stages:
            self._require_place(stage)

    def _require_place(self, stage: str) -> None:
        require_place(self.folder(stage), self.root, stage)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's lock, and clean up after an interrupted run.

        Raises
        ------
        InputError
            If another run works in this folder, naming it; if the folder is not a run's.
        """
        self.require_own()
        self.internal.mkdir(parents=True, exist_ok=True)
        for name in PARTS:
            path = self.internal / name
            if path.exists() and path.is_dir() != (name in FOLDERS):
                self.say(f"{path} is damaged: renamed to {put_aside(path, 'damaged').name}; a new one is written")
        with holding(self.internal, self.root) as interrupted:
            if interrupted:
                self.say(f"taking over from an interrupted run by {interrupted}")
            self.holds_lock = True
            try:
                self._sweep()
                yield
            finally:
                self.holds_lock = False

    def _own_json(self, path: Path, valid: Callable[[Any], bool]) -> Any:
        """Read a small file of ours; a damaged one is renamed, if this process may write to the folder."""
        found = None
        with self._optional():
            found = read_json(path, valid, self.say)
        return found

    @contextlib.contextmanager
    def _optional(self) -> Iterator[None]:
        """Without the lock, ignore failures to write: readers may lack the permission."""
        try:
            yield
        except OSError:
            if self.holds_lock:
                raise

    # ---- stages ----

    def folder(self, stage: str) -> Path:
        """Folder of a stage's results."""
        return self.root / stage

    def mark(self, stage: str) -> dict[str, Any] | None:
        """Record of a finished stage; None if it is unfinished or the record is damaged."""
        folder = self.folder(stage)
        found: dict[str, Any] | None = read_json(folder / MARK, lambda c: intact(c) and is_stage(c, stage))
        return found if found is not None and is_ours(folder, STAGE) else None

    def has_damaged_mark(self, stage: str) -> bool:
        """Whether a stage was finished, but its record cannot be read."""
        return is_ours(self.folder(stage)) and self.mark(stage) is None

    def damage(self, stage: str, *, whole: bool = False) -> Damage:
        """Files of a finished stage that are missing or changed.

        Parameters
        ----------
        stage : str
        whole : bool
            Read every file, even if size and times are unchanged.
        """
        mark = self.mark(stage)
        if mark is None:  # another command is replacing it
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
        """Remember which files of a stage were found intact."""
        if self.internal.is_dir():
            with self._optional():
                write_checked(self._memory(stage), {"at": time.time_ns(), "content": content, "files": stamps})

    def note_inputs(self, stage: str, inputs: dict[str, Any]) -> None:
        """Update what the record of a finished stage says about its inputs."""
        mark = self.mark(stage)
        assert mark is not None
        write_checked(self.folder(stage) / MARK, {**mark, "inputs": inputs})

    def content(self, stage: str) -> str:
        """Digest of all files of a finished stage."""
        return str((self.mark(stage) or {"content": "?"})["content"])

    @contextlib.contextmanager
    def writing(self, stage: str, mark: dict[str, Any]) -> Iterator[Path]:
        """A temporary folder to write a stage into; if the block succeeds, it is sealed and put in place.

        Raises
        ------
        InputError
            If the stage's place holds something that we did not write.
        """
        self._require_place(stage)
        aside = self.internal / "aside" / quote(stage, safe="")
        discard(aside, home=self.internal)
        write_mark(aside, _UNFINISHED)
        yield aside
        files, stamps = seal(aside)
        content = content_of(files)
        write_mark(aside, STAGE, stage=stage, files=files, content=content, **mark)
        self._switch(stage, aside)
        self._remember(stage, content, stamps)

    def _switch(self, stage: str, aside: Path) -> None:
        """Put a sealed folder in its place, in one step."""
        final, old = self.folder(stage), self.internal / "old" / quote(stage, safe="")
        self._require_place(stage)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists() and not any(final.iterdir()):
            final.rmdir()
        if final.exists():
            require_room(leftovers(final, aside), final, aside)
            old.parent.mkdir(parents=True, exist_ok=True)
            final.rename(old)
        aside.rename(final)
        sync(final.parent)
        self._dispose(old, final)

    def _dispose(self, old: Path, final: Path) -> None:
        """Move what is not ours from a replaced folder to the new one, then remove the old."""
        if old.exists():
            carry_over(old, final, self.say)
            discard(old, home=self.internal)

    def _sweep(self) -> None:
        """Remove temporary folders of interrupted runs; complete or undo an interrupted replacement."""
        for left in _entries(self.internal / "aside"):
            discard(left, home=self.internal)
        for old in _entries(self.internal / "old"):
            final = self.folder(unquote(old.name))
            if final.exists():
                self._dispose(old, final)
            else:
                final.parent.mkdir(parents=True, exist_ok=True)
                old.rename(final)

    # ---- cached Datasets and checkpoints ----

    def kept(self, what: str, key: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
        """A Dataset that depends only on its key: computed once, and again if it is damaged.

        While `renewing` it is recomputed, once a run.
        """
        name = self.name_of_kept(what, key)
        exists = self.mark(name) is not None
        damage = self.damage(name) if exists else None
        if damage:
            self.say(f"{self.folder(name)} is damaged ({damage}) and is recomputed")
        if not exists or damage or (self.renewing and name not in self._renewed):
            with self.writing(name, {"key": key}) as folder:
                write_zarr(make(), folder / "data.zarr")
        self._renewed.add(name)
        return read_zarr(self.folder(name) / "data.zarr")

    @staticmethod
    def name_of_kept(what: str, key: str) -> str:
        """Name of the folder of such a Dataset, as marks have it."""
        return f"{CACHE}/{what}-{key}"

    def checkpoints(self, name: str) -> Path:
        """Folder for the state of an unfinished fit."""
        folder = self.internal / "checkpoints" / name
        if not (folder / MARK).exists():
            write_mark(folder, _UNFINISHED)
        return folder

    def forget_checkpoints(self, beginning: str) -> None:
        """Remove the state of finished fits, those whose names begin so."""
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
        """Store the identities of inputs, if the run has a folder: asking for a status must not create one."""
        if self._inputs is not None and self.internal.is_dir():
            with self._optional():
                write_checked(self.internal / "inputs.json", self._inputs.memory())

    # ---- files of the whole run ----

    @contextlib.contextmanager
    def rewriting(self, name: str) -> Iterator[Path]:
        """A file of the run's folder to replace; a version that was changed since we wrote it is renamed."""
        path, memory = self.root / name, self.internal / "written.json"
        written = self._own_json(memory, intact) or {}
        if path.is_symlink() or path.is_dir() or (path.exists() and written.get(name) != sha256(path)):
            kept = put_aside(path, "changed").name
            self.say(f"{path} was changed since we wrote it; the changed version is kept as {kept}")
        with replacing(path) as aside:
            yield aside
        write_checked(memory, {**written, name: sha256(path)})

    def append_log(self, entry: dict[str, Any]) -> None:
        """Append an entry on a run to `run.json`, newest last."""
        log = self._own_json(self.root / "run.json", lambda c: isinstance(c["runs"], list)) or {"runs": []}
        write_json(self.root / "run.json", {**log, "runs": [*log["runs"], entry]})


def _is_seen(content: Any) -> bool:
    return intact(content) and {"at", "content", "files"} <= set(content)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
