"""Seals of finished folders, which show whether any file is missing or changed.

A seal lists every file with its size and SHA-256. `inspect` compares a folder with its seal. A file that was found
intact is not read again while its size, times and inode stay the same.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glacmb_grid.disk import MARK, sync

_PIECE = 1 << 22
_INSTANT = 2_000_000_000  # ns; the coarsest clock of a file system

Files = dict[str, list[Any]]
"""Path below the folder -> size in bytes, SHA-256."""
Stamp = list[int]
"""Size, time of change of the content, time of change of the entry, inode."""


@dataclass
class Damage:
    """Differences between a folder and its seal.

    Attributes
    ----------
    lost, changed : list of str
        Files that are missing, and files with other content; paths below the folder.
    """

    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.changed)

    def __str__(self) -> str:
        parts = [f"{_few(files)} {what}" for files, what in ((self.lost, "lost"), (self.changed, "changed")) if files]
        return " and ".join(parts)


def _few(files: list[str]) -> str:
    return files[0] if len(files) == 1 else f"{len(files)} files ({files[0]}, ...)"


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while piece := stream.read(_PIECE):
            found.update(piece)
    return found.hexdigest()


def files_below(folder: Path) -> list[str]:
    """All files and links below a folder except its mark, sorted."""
    return sorted(name for name, kind in _below(str(folder)) if kind != "empty" and name != MARK)


def _below(folder: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Files, links and empty folders below a folder: name and kind."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield name, "file"
                continue
            inside = list(_below(entry.path, f"{name}/"))
            yield from inside or [(name, "empty")]


def seal(folder: Path) -> tuple[Files, dict[str, Stamp]]:
    """Flush all files of a folder to disk; give its seal and the stamps of the files."""
    names = files_below(folder)
    stamps = {n: s for n in names if (s := stamp_of(folder / n)) is not None}

    def one(name: str) -> list[Any]:
        path = folder / name
        sync(path)
        return [path.stat().st_size, sha256(path)]

    with ThreadPoolExecutor(_threads()) as pool:
        return dict(zip(names, pool.map(one, names), strict=True)), stamps


def content_of(files: Files) -> str:
    """One digest of all files."""
    lines = "\n".join(f"{size} {digest} {name}" for name, (size, digest) in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def inspect(folder: Path, files: Files, seen: Mapping[str, Stamp] | None = None) -> tuple[Damage, dict[str, Stamp]]:
    """Compare a folder with its seal.

    Parameters
    ----------
    folder : Path
    files : dict
        From `seal`.
    seen : mapping, optional
        Stamps of files that were found intact before; without it every file is read.

    Returns
    -------
    damage : Damage
    seen : dict
        Stamps of the intact files.
    """
    damage = Damage()
    right: dict[str, Stamp] = {}
    stamps = {name: stamp_of(folder / name) for name in files}
    doubtful = []
    for name, stamp in stamps.items():
        if stamp is None:
            damage.lost.append(name)
        elif stamp[0] != files[name][0]:
            damage.changed.append(name)
        elif seen is not None and seen.get(name) == stamp:
            right[name] = stamp
        else:
            doubtful.append(name)
    with ThreadPoolExecutor(_threads()) as pool:
        for name, same in zip(doubtful, pool.map(lambda n: _is_same(folder / n, files[n][1]), doubtful), strict=True):
            stamp = stamps[name]
            if same and stamp is not None:
                right[name] = stamp
            else:
                damage.changed.append(name)
    damage.changed.sort()
    return damage, right


def _is_same(path: Path, digest: str) -> bool:
    try:
        return sha256(path) == digest
    except OSError:  # a block of the disk that cannot be read
        return False


def stamp_of(path: Path, *, follow: bool = False) -> Stamp | None:
    """Size, times and inode of a regular file (links only with `follow`); None for anything else."""
    try:
        found = path.stat() if follow else path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def trusted(stamp: Stamp, at: int) -> bool:
    """Whether a stamp was old enough when recorded: a change at the same instant would not have altered it."""
    return max(stamp[1:3], default=at) < at - _INSTANT


def foreign(folder: Path, files: Iterable[str]) -> list[str]:
    """Files, links and empty folders in a folder other than those named."""
    ours = {*files, MARK}
    return sorted(name for name, _ in _below(str(folder)) if name not in ours)


def _threads() -> int:
    return min(8, 2 * (os.cpu_count() or 1))
