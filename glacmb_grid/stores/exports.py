"""Files in a folder of exports: complete or not at all, and never over a file that is not ours as we wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glacmb_grid.disk import MARK, claim, intact, read_json, replacing, write_mark
from glacmb_grid.errors import InputError
from glacmb_grid.stores.seals import sha256

KIND = "exports"


@contextmanager
def exporting(folder: Path, name: str) -> Iterator[Path]:
    """A temporary file; if the block succeeds, it takes the place of `name` in a folder of exports.

    Parameters
    ----------
    folder : Path
        New, empty, or one that holds exports; its mark remembers what each file of ours was.
    name : str

    Raises
    ------
    InputError
        A folder with other files and without our mark, or a file of this name that we did not write or that was changed
        since.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    claim(_made(folder), KIND)
    known = _known(folder)
    path = folder / name
    if path.is_symlink() or (path.exists() and not (path.is_file() and sha256(path) in known.get(name, []))):
        raise InputError(
            f"{path}",
            expected="nothing, or the file as an earlier export wrote it",
            found="a file that we did not write, or that was changed since",
            remedy="move it away, or export to another folder: --folder",
        )
    with replacing(path) as aside:
        yield aside
        mine = sha256(aside)
        before = [sha256(path)] if path.exists() else []
        write_mark(folder, KIND, files={**known, name: sorted({*before, mine})})  # either may be there after a fall
    write_mark(folder, KIND, files={**known, name: [mine]})


def _made(folder: Path) -> Path:
    if not (folder.exists() or folder.is_symlink()):
        folder.mkdir()
    return folder


def _known(folder: Path) -> dict[str, list[str]]:
    """Checksums of the files of ours in a folder, by name; none where the mark is damaged."""
    mark: dict[str, Any] | None = read_json(folder / MARK, intact)
    return dict((mark or {}).get("files", {}))
