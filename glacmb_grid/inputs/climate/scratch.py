"""Folders of this process, away from the user's data: removed when it ends."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from glacmb_grid.errors import InputError


def scratch_folder(needed: int, where: str) -> Path:
    """A new folder with room for some bytes; an InputError if there is none."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free:
        raise InputError(
            where,
            expected=f"{needed / 1e9:.3g} GB of free space in {tempfile.gettempdir()} to unpack it",
            found=f"{free / 1e9:.3g} GB",
            remedy="unpack it yourself and name the files, or set TMPDIR to a larger disk",
        )
    folder = Path(tempfile.mkdtemp(prefix="glacmb_grid-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
