"""Files and folders that we write next to a user's: complete or not at all, and never over anything that is not ours.

A folder is ours if it holds our mark, a file `.glacmb_grid.json` that names its kind. Only `discard` removes folders,
and only folders with a mark.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

import pandas as pd

from glacmb_grid.errors import InputError

INTERNAL = ".glacmb_grid"
MARK = ".glacmb_grid.json"
_KIND, _CHECK = "glacmb_grid", "check"
_FORMULA = re.compile(r"'*[=+\-@\t\r]")

_OF_CONTENT = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)

Say = Callable[[str], None]

_IS_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(path: str | Path) -> bool:
    """Whether this is a URL such as `https://host/store.zarr`, `s3://bucket/store.zarr` or `memory://store`."""
    return _IS_URL.match(str(path)) is not None


# ---- small files ----


def write_json(path: Path, content: Any) -> None:
    """Write JSON completely or not at all, even if the power fails."""
    text = json.dumps(content, indent=1, sort_keys=True, default=str) + "\n"
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_checked(path: Path, content: dict[str, Any]) -> None:
    """Write JSON together with its digest, for `intact`."""
    plain = json.loads(json.dumps(content, default=str))
    write_json(path, {**plain, _CHECK: _digest(plain)})


def intact(content: Any) -> bool:
    """Whether content of `write_checked` is unchanged; removes the digest from it."""
    return isinstance(content, dict) and bool(content.pop(_CHECK, None) == _digest(content))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file next to `path`; if the block succeeds, it is flushed to disk and replaces `path`."""
    path = path.resolve() if path.is_symlink() else path  # logs may be kept elsewhere
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse it for folders
        if path.is_file():
            raise
    finally:
        os.close(handle)


def read_json(path: Path, valid: Callable[[Any], bool], say: Say | None = None) -> Any:
    """Content of a small file of ours; None if it is missing or damaged.

    Parameters
    ----------
    path : Path
    valid : callable
        Whether the content has the form that we write.
    say : callable, optional
        If given, a damaged file is renamed and reported through this; otherwise it is left alone.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if valid(content):
            return content
        damage = "unexpected content"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (*_OF_CONTENT, IsADirectoryError) as error:
        damage = (f"{error}".splitlines() or [""])[0] or type(error).__name__
    if say is not None:
        say(f"{path} is damaged ({damage}): renamed to {put_aside(path, 'damaged').name}; a new one is written")
    return None


def put_aside(path: Path, why: str) -> Path:
    """Rename `path` to the first free name, `<name>.<why>-1` and so on."""
    free = free_name(path, why)
    path.rename(free)
    return free


def free_name(path: Path, why: str) -> Path:
    """The first free name `<name>.<why>-<number>` next to `path`."""
    number = 1
    while (free := path.with_name(f"{path.name}.{why}-{number}")).exists() or free.is_symlink():
        number += 1
    return free


_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_LEAST_ROOM = 1 << 20  # bytes


def no_room(folder: Path, error: BaseException) -> str | None:
    """Why a folder cannot be written, if that caused an error; libraries often hide it. Else None."""
    number = getattr(error, "errno", None)
    if number in _OF_WRITING:
        return os.strerror(number)
    existing = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if shutil.disk_usage(existing).free < _LEAST_ROOM:
        return f"{os.strerror(errno.ENOSPC)} ({type(error).__name__}: {error})"
    return None


# ---- tables ----


def write_csv(table: pd.DataFrame, path: Path | TextIO, **options: Any) -> None:
    """Write a table as CSV; text that a spreadsheet would read as a formula is prefixed with an apostrophe."""
    texts = {c: table[c].map(_escaped) for c in table.columns if not pd.api.types.is_numeric_dtype(table[c].dtype)}
    table.assign(**texts).to_csv(path, index=False, **options)


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read a table that `write_csv` wrote."""
    table: pd.DataFrame = pd.read_csv(path, **options)
    texts = {c: table[c].map(_unescaped) for c in table.columns if not pd.api.types.is_numeric_dtype(table[c].dtype)}
    return table.assign(**texts)


def _escaped(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _unescaped(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value.startswith("'") and _FORMULA.match(value) else value


# ---- folders ----


def write_mark(folder: Path, kind: str, **more: Any) -> None:
    """Mark a folder as ours, of this kind."""
    write_checked(folder / MARK, {_KIND: kind, **more})


def is_ours(folder: Path, kind: str | None = None) -> bool:
    """Whether a folder holds our mark (of this kind, if given); a damaged mark counts as any kind."""
    path = folder / MARK
    if folder.is_symlink() or not folder.is_dir() or not path.is_file():
        return False
    found = read_json(path, lambda c: isinstance(c, dict) and _KIND in c)
    return found is None or kind is None or found[_KIND] == kind


def inside_ours(path: Path) -> Path | None:
    """The folder of ours that contains a path, which need not exist; None if there is none."""
    real = path.resolve()
    return next((p for p in real.parents if p.name == INTERNAL or is_ours(p)), None)


def _not_ours(folder: Path) -> InputError:
    return InputError(
        f"{folder}",
        expected="nothing, or a folder that we wrote",
        found="a folder (or file) without our mark",
        remedy="move it away, or remove it yourself if it is not needed",
    )


def discard(folder: Path, *, kind: str | None = None, home: Path | None = None) -> None:
    """Remove a folder with our mark (of this kind), or one inside `home`, where everything is ours.

    Raises
    ------
    InputError
        If we did not write it; then nothing is touched.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    at_home = home is not None and not home.is_symlink() and folder.parent.resolve().is_relative_to(home.resolve())
    if not is_ours(folder, kind) and not at_home:
        raise _not_ours(folder)
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
        return
    for entry in sorted(folder.iterdir(), key=lambda p: p.name == MARK):  # a partly removed folder stays ours
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    folder.rmdir()


@contextmanager
def workshop(folder: Path, kind: str) -> Iterator[None]:
    """A working folder for one process, removed with its content when the block ends.

    Raises
    ------
    InputError
        If we did not write the existing folder, or another process works in it.
    """
    claim(folder, kind)
    with (folder / MARK).open("a", encoding="utf-8") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise InputError(
                f"{folder}",
                expected="no other process in this folder",
                found="another process that writes there",
                remedy="wait until it has finished, or choose another place",
            ) from error
        for left in [p for p in folder.iterdir() if p.name != MARK]:
            discard(left, home=folder)
        try:
            yield
        finally:
            discard(folder, kind=kind)


def claim(folder: Path, kind: str) -> None:
    """Mark a folder that is new or empty as ours, or accept one with the mark.

    Raises
    ------
    InputError
        If the folder holds files that we did not write.
    """
    if is_ours(folder, kind):
        return
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise _not_ours(folder)
    write_mark(folder, kind)
