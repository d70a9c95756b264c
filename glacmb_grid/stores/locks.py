"""The lock that keeps two runs out of one folder; the kernel frees it when its holder dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from glacmb_grid.errors import InputError

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def holding(folder: Path, root: Path, instead: str = "choose another `store.root`") -> Iterator[str | None]:
    """Hold the lock of a run; gives who held it last, if that run did not end properly.

    Parameters
    ----------
    folder : Path
        The run's internal folder, where the file `lock` names the holder.
    root : Path
        The run's folder, for messages.
    instead : str
        What to do other than wait, for messages.

    Raises
    ------
    InputError
        If another run holds the lock, or the file system cannot lock files.
    """
    with _folder_lock(folder, root, instead), (folder / "lock").open("a+", encoding="utf-8", errors="replace") as file:
        _take(file, root, instead)
        file.seek(0)
        left = file.read()
        file.truncate(0)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}))
        file.flush()
        try:
            yield _holder(left) if left else None
        finally:
            file.truncate(0)


@contextlib.contextmanager
def _folder_lock(folder: Path, root: Path, instead: str) -> Iterator[None]:
    """Lock the folder too, if the file system can: the lock file might be deleted during a run."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with (folder / "lock").open("a+", encoding="utf-8", errors="replace") as file:
                file.seek(0)
                raise _busy(file.read(), root, instead) from None
        except OSError:  # network file systems can only lock files
            pass
        yield
    finally:
        os.close(handle)


def _busy(holder: str, root: Path, instead: str) -> InputError:
    return InputError(
        f"{root}",
        expected="no other run in this folder",
        found=f"a run by {_holder(holder)}",
        remedy=f"wait until it has finished, or {instead}",
    )


def _take(file: TextIO, root: Path, instead: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise InputError(
                f"{root}: store.root",
                expected="a file system that can lock files",
                found=f"{error.strerror}",
                remedy="choose a folder on another one, such as a local disk",
            ) from error
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        file.seek(0)
        raise _busy(file.read(), root, instead) from error


def _holder(text: str) -> str:
    try:
        held = json.loads(text)
        return f"process {held['pid']} on {held['host']} since {held['since']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "an unknown process"
