"""Folders of this process, away from the user's data: removed when it ends, or by the next one if it was killed."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from glacmb_grid.errors import InputError

_PREFIX, _LOCK = "glacmb_grid-", ".lock"


def scratch_folder(needed: int, where: str) -> Path:
    """A new folder with room for some bytes; an InputError if there is none."""
    home = _home(tempfile.gettempdir(), os.getpid())
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free:
        raise InputError(
            where,
            expected=f"{needed / 1e9:.3g} GB of free space in {tempfile.gettempdir()} to unpack it",
            found=f"{free / 1e9:.3g} GB",
            remedy="unpack it yourself and name the files, or set TMPDIR to a larger disk",
        )
    return Path(tempfile.mkdtemp(dir=home))


@lru_cache(maxsize=8)
def _home(place: str, process: int) -> Path:
    """The folder of this process, which holds its lock as long as it lives; those of killed ones are removed."""
    del process
    sweep(Path(place))
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    lock = os.open(home / "locking", os.O_CREAT | os.O_RDWR)
    with suppress(OSError):  # where locks do not work the folder is never swept
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (home / "locking").rename(home / _LOCK)  # only now can it be swept
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


def sweep(place: Path) -> None:
    """Remove the folders of processes that were killed: those whose lock nobody holds."""
    for lock in place.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), lock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
