"""What a user left or changed in a folder of results that is about to be replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glacmb_grid.disk import MARK, Say, free_name, intact, read_json
from glacmb_grid.errors import InputError, listing
from glacmb_grid.stores.ownership import STAGE
from glacmb_grid.stores.seals import content_of, files_below, foreign, inspect


def is_stage(content: Any, stage: str) -> bool:
    """Whether this is a valid mark of a finished stage."""
    return (
        content["glacmb_grid"] == STAGE
        and content["stage"] == stage
        and isinstance(content["key"], str)
        and content["content"] == content_of(content["files"])
    )


def leftovers(folder: Path, fresh: Path) -> dict[str, str]:
    """Files to keep from a folder that is replaced: path below it -> why the file is renamed, empty if it is not.

    Files that we did not write keep their names. Files of ours that were changed are renamed, except chunks of Zarr,
    which are useless on their own. If the mark is damaged, the mark of the new folder says which files are ours.
    """
    mark, new = (read_json(p / MARK, lambda c: intact(c) and is_stage(c, str(c["stage"]))) for p in (folder, fresh))
    ours = (mark or new or {"files": {}})["files"]
    left = dict.fromkeys(foreign(folder, ours), "")
    damage, _ = inspect(folder, {n: f for n, f in ours.items() if "/c/" not in n})
    links = [n for n in damage.lost if (folder / n).is_symlink() or (folder / n).is_dir()]
    left |= dict.fromkeys((*damage.changed, *links), "changed")
    return left if mark or not (folder / MARK).exists() else left | {MARK: "damaged"}


def require_room(left: dict[str, str], final: Path, fresh: Path) -> None:
    """Refuse to continue where a file to carry over has the name of a new one."""
    ours = set(files_below(fresh))
    met = [n for n, why in left.items() if not why and ours & {n, *(p.as_posix() for p in Path(n).parents)}]
    if met:
        raise InputError(
            f"{final / met[0]}",
            expected="no file of your own with the name of a file that is to be written",
            found=f"{listing(met)}, which we did not write",
            remedy="rename or move it, and run again",
        )


def carry_over(old: Path, final: Path, say: Say) -> None:
    """Move the leftovers of a replaced folder into the new one."""
    for name, why in leftovers(old, final).items():
        target = final / name
        if why or ((target.exists() or target.is_symlink()) and not (_is_folder(target) and _is_folder(old / name))):
            target = free_name(target, why or "changed")
            say(f"{final / name} was changed since we wrote it; the changed version is kept as {target.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_folder(old / name):
            target.mkdir(parents=True, exist_ok=True)
        else:
            (old / name).rename(target)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
