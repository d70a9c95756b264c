"""Whether a run's folder, and the places of results in it, are ours to write to."""

from __future__ import annotations

from pathlib import Path

from glacmb_grid.disk import INTERNAL, inside_ours, is_ours
from glacmb_grid.errors import InputError, listing

STAGE = "stage"
"""Kind of the mark of a folder of results."""
LOG = "log"
"""Folder of the logs of runs, beside our marks and memories."""
FOLDERS = ("aside", "old", "checkpoints", "seen", LOG)
PARTS = (*FOLDERS, "lock", "inputs.json", "written.json")

_HARMLESS = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory", ".gitkeep", ".gitignore", "lost+found")


def require_own_root(root: Path) -> None:
    """Refuse a folder that is neither new, nor empty, nor a run's.

    Raises
    ------
    InputError
    """
    internal = root / INTERNAL
    _require_folder(root)
    if (around := inside_ours(root)) is not None:
        raise InputError(
            f"{root}: store.root",
            expected="a place outside the results of other runs",
            found=f"{around}, which is replaced as a whole",
            remedy="choose another place",
        )
    for path in (internal, *(internal / name for name in PARTS)):
        if path.is_symlink():
            raise InputError(
                f"{path}",
                expected="a folder or file that only glacmb_grid uses",
                found=f"a link to {path.readlink()}",
                remedy="replace the link by the folder or file itself; the target of the link was not touched",
            )
    if root.is_dir() and not internal.is_dir():
        others = sorted(p.name for p in root.iterdir() if p.name not in _HARMLESS)
        if others:
            raise InputError(
                f"{root}: store.root",
                expected="a folder of its own for the run: one that is new or empty, or holds an earlier run",
                found=f"{listing(others)}, and no folder `{INTERNAL}`, which every run has",
                remedy=f"choose a new folder, for instance `store: {{root: {root / 'run'}}}`",
            )


def require_place(folder: Path, root: Path, stage: str) -> None:
    """Refuse a stage's place that holds something that we did not write.

    Raises
    ------
    InputError
    """
    for above in (p for p in (folder, *folder.parents) if p.is_relative_to(root) and p != root):
        if above.is_symlink() or (above.exists() and not above.is_dir()):
            raise _occupied(above, stage, "a link" if above.is_symlink() else "a file")
    if folder.is_dir() and any(folder.iterdir()) and not is_ours(folder, STAGE):
        names = listing(sorted(p.name for p in folder.iterdir()), 4)
        raise _occupied(folder, stage, f"a folder that we did not write, with {names}")


def _require_folder(root: Path) -> None:
    blocked = next((p for p in (root, *root.parents) if p.exists() or p.is_symlink()), root)
    if blocked.exists() and not blocked.is_dir():
        raise InputError(
            f"{root}: store.root", expected="a folder", found=f"{blocked} is a file", remedy="choose another place"
        )


def _occupied(place: Path, stage: str, found: str) -> InputError:
    return InputError(
        f"{place}",
        expected=f"nothing, or results of the stage {stage} that an earlier run wrote",
        found=found,
        remedy="move it to another place, or choose another `store.root`; nothing was touched",
    )
