"""What we write beside a user's files: whole or not at all, never over anything that is not ours.

A folder is ours where it carries our mark, a file `.glacmb_grid.json` that says of what kind it is. Only `discard`
removes folders, and only such ones.
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
from typing import Any
from uuid import uuid4

import pandas as pd

from glacmb_grid.errors import InputError

INTERNAL = ".glacmb_grid"
MARK = ".glacmb_grid.json"
_KIND, _CHECK = "glacmb_grid", "check"
_FORMULA = re.compile(r"'*[=+\-@\t\r]")

_OF_CONTENT = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)

Say = Callable[[str], None]


# ---- small files ----


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all, also through a loss of power."""
    text = json.dumps(content, indent=1, sort_keys=True, default=str) + "\n"
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_checked(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with a digest of its own, for `intact`."""
    plain = json.loads(json.dumps(content, default=str))
    write_json(path, {**plain, _CHECK: _digest(plain)})


def intact(content: Any) -> bool:
    """Whether what `write_checked` wrote is as it was written; the digest is taken out."""
    return isinstance(content, dict) and bool(content.pop(_CHECK, None) == _digest(content))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write beside `path`; it takes its place when the block ends well, and is on the disk then."""
    path = path.resolve() if path.is_symlink() else path  # evidence may be kept elsewhere
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
    """Have the system write a file, or the entries of a folder, to the disk now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse it for folders
        if path.is_file():
            raise
    finally:
        os.close(handle)


def read_json(path: Path, valid: Callable[[Any], bool], say: Say | None = None) -> Any:
    """What a small file of ours holds; None where there is none, or where it is damaged.

    Parameters
    ----------
    path : Path
    valid : callable
        Whether the content is of the kind that we write.
    say : callable, optional
        A damaged file is put aside and told through this; without it the file is left alone.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if valid(content):
            return content
        damage = "not what we write there"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (*_OF_CONTENT, IsADirectoryError) as error:
        damage = (f"{error}".splitlines() or [""])[0] or type(error).__name__
    if say is not None:
        say(f"{path} is damaged ({damage}): put aside as {put_aside(path, 'damaged').name}, made again")
    return None


def put_aside(path: Path, why: str) -> Path:
    """Rename what lies at `path` to the first free name, `<name>.<why>-1` and so on."""
    free = free_name(path, why)
    path.rename(free)
    return free


def free_name(path: Path, why: str) -> Path:
    """The first name `<name>.<why>-<number>` beside `path` that nothing has."""
    number = 1
    while (free := path.with_name(f"{path.name}.{why}-{number}")).exists() or free.is_symlink():
        number += 1
    return free


_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_LEAST_ROOM = 1 << 20  # bytes


def no_room(folder: Path, error: BaseException) -> str | None:
    """Why a folder cannot be written, where that is behind an error: libraries often do not say it themselves."""
    number = getattr(error, "errno", None)
    if number in _OF_WRITING:
        return os.strerror(number)
    there = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if shutil.disk_usage(there).free < _LEAST_ROOM:
        return f"{os.strerror(errno.ENOSPC)} ({type(error).__name__}: {error})"
    return None


# ---- tables ----


def write_csv(table: pd.DataFrame, path: Path, **options: Any) -> None:
    """Write a table as CSV; text that a spreadsheet would take for a formula gets an apostrophe before it."""
    texts = {c: table[c].map(_escaped) for c in table.columns if not pd.api.types.is_numeric_dtype(table[c].dtype)}
    table.assign(**texts).to_csv(path, index=False, **options)


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read a table of `write_csv`."""
    table: pd.DataFrame = pd.read_csv(path, **options)
    texts = {c: table[c].map(_unescaped) for c in table.columns if not pd.api.types.is_numeric_dtype(table[c].dtype)}
    return table.assign(**texts)


def _escaped(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _unescaped(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value.startswith("'") and _FORMULA.match(value) else value


# ---- folders ----


def write_mark(folder: Path, kind: str, **more: Any) -> None:
    """Say of a folder that it is ours, of this kind."""
    write_checked(folder / MARK, {_KIND: kind, **more})


def is_ours(folder: Path, kind: str | None = None) -> bool:
    """Whether a folder carries our mark, of this kind where one is named; a damaged mark is one of any kind."""
    path = folder / MARK
    if folder.is_symlink() or not folder.is_dir() or not path.is_file():
        return False
    found = read_json(path, lambda c: isinstance(c, dict) and _KIND in c)
    return found is None or kind is None or found[_KIND] == kind


def inside_ours(path: Path) -> Path | None:
    """The folder of ours in which a place lies (whether or not there is anything yet); None where in none."""
    real = path.resolve()
    return next((p for p in real.parents if p.name == INTERNAL or is_ours(p)), None)


def _not_ours(folder: Path) -> InputError:
    return InputError(
        f"{folder}",
        expected="nothing, or a folder that we made",
        found="a folder (or file) without our mark",
        remedy="move it away, or remove it yourself if it is not needed",
    )


def discard(folder: Path, *, kind: str | None = None, home: Path | None = None) -> None:
    """Remove a folder of ours: one with our mark (of this kind), or one in `home`, a folder that is all ours.

    Raises
    ------
    InputError
        Where it is somebody else's: then nothing is touched.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    at_home = home is not None and not home.is_symlink() and folder.parent.resolve().is_relative_to(home.resolve())
    if not is_ours(folder, kind) and not at_home:
        raise _not_ours(folder)
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
        return
    for entry in sorted(folder.iterdir(), key=lambda p: p.name == MARK):  # the mark last: what is left stays ours
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    folder.rmdir()


@contextmanager
def workshop(folder: Path, kind: str) -> Iterator[None]:
    """A folder to work in, ours alone while the block runs, removed with what is left in it.

    Raises
    ------
    InputError
        Where there is such a folder of somebody else, or of somebody who still works in it.
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
                expected="nobody at work on the same",
                found="another process that writes there",
                remedy="wait for it, or name another place",
            ) from error
        for left in [p for p in folder.iterdir() if p.name != MARK]:
            discard(left, home=folder)
        try:
            yield
        finally:
            discard(folder, kind=kind)


def claim(folder: Path, kind: str) -> None:
    """Take a folder that is new or empty, or has the mark already.

    Raises
    ------
    InputError
        Where it is somebody else's.
    """
    if is_ours(folder, kind):
        return
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise _not_ours(folder)
    write_mark(folder, kind)
