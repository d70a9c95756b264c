"""What an input is: every file that reading it really reads, each with its name, size, content and time.

Files up to 256 MiB are known by their content. Of larger files, and of folders that hold more, the content is sampled
(both ends, and pieces evenly between), and the time of change counts as well. `verify` reads everything.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from glacmb_grid.inputs.parts import Neighbours, parts_of
from glacmb_grid.stores.seals import Stamp, sha256, stamp_of, trusted

WHOLE = 256 * 1024 * 1024
"""Bytes up to which an input is known by its whole content."""
_EDGE, _EDGE_OF_PART = 16 * 1024 * 1024, 64 * 1024
_PIECES, _PIECE = 64, 64 * 1024


class Identity(NamedTuple):
    """One input.

    Attributes
    ----------
    name : str
        As much of its path as tells it from the others.
    content : str
        Digest of the content, or of samples of it.
    time : str
        Digest of the times of change where the content was only sampled, else empty.
    whole : str
        Digest of the whole content where that was read, else empty.
    """

    name: str
    content: str
    time: str
    whole: str

    def differs(self, before: Identity) -> bool:
        """Whether this is another input than before.

        Where both were read as a whole, that decides; the time counts only where the content was sampled.
        """
        if (self.name, self.content) != (before.name, before.content):
            return True
        if self.whole and before.whole:
            return self.whole != before.whole
        return self.time != before.time


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart: `t2m.nc`, or `2001/t2m.nc`."""
    names, depth = [p.name for p in paths], 1
    while (often := {n for n, c in Counter(names).items() if c > 1}) and depth < max(len(p.parts) for p in paths):
        depth += 1
        names = ["/".join(p.parts[-depth:]) if n in often else n for n, p in zip(names, paths, strict=True)]
    return names


class _Known(NamedTuple):
    """What is remembered of an input: as long as these stamps and neighbours are the same, so is the rest."""

    stamps: dict[str, Stamp]
    beside: list[str]
    content: str
    time: str
    whole: str


class Inputs:
    """Identities of inputs.

    Parameters
    ----------
    memory : dict, optional
        From `memory`: what an earlier process knew.
    """

    def __init__(self, memory: Mapping[str, Any] | None = None) -> None:
        self.known: dict[str, _Known] = {}
        self.read: dict[Path, tuple[_Known, bool]] = {}
        kept = memory or {"inputs": {}}
        for path, value in kept["inputs"].items():
            known = _Known(*value)
            if all(trusted(stamp, kept["at"]) for stamp in known.stamps.values()):
                self.known[path] = known

    def identities(
        self, paths: Sequence[Path], *, raster: bool = False, fresh: bool = False, whole: bool = False
    ) -> list[Identity]:
        """What these inputs are, in their order.

        Parameters
        ----------
        paths : sequence of Path
        raster : bool
            Whether GDAL reads them as rasters.
        fresh : bool
            Look at the content also of what seems the same as before.
        whole : bool
            Read all of the content.
        """
        around = Neighbours()

        def one(path: Path) -> _Known:
            before = self.known.get(str(path))
            if before and not (fresh or whole) and _is_as_before(path, before, around):
                return before
            return _known(path, around, raster=raster, whole=whole)

        with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
            found = list(pool.map(one, paths))
        self.known |= {str(p): k for p, k in zip(paths, found, strict=True)}
        self.read |= {p: (k, raster) for p, k in zip(paths, found, strict=True)}
        return [Identity(n, k.content, k.time, k.whole) for n, k in zip(names_of(paths), found, strict=True)]

    def changed_since(self, paths: Iterable[Path]) -> list[Path]:
        """Those of these inputs that are not what they were when last asked for; other times alone are no change."""
        around, changed = Neighbours(), []
        for path in paths:
            before, raster = self.read.get(path, (None, False))
            if before is None or _is_as_before(path, before, around):
                continue
            now = _known(path, around, raster=raster, whole=bool(before.whole))
            if Identity("", *now[2:]).differs(Identity("", *before[2:])):
                changed.append(path)
        return changed

    def memory(self) -> dict[str, Any]:
        """What is known, to be kept as JSON."""
        return {"at": time.time_ns(), "inputs": {p: list(k) for p, k in self.known.items()}}


def is_memory(content: Any) -> bool:
    """Whether this is of the kind that `Inputs.memory` gives."""
    return isinstance(content["at"], int) and all(len(v) == len(_Known._fields) for v in content["inputs"].values())


def _stamps(paths: Iterable[str]) -> dict[str, Stamp]:
    return {p: stamp_of(Path(p), follow=True) or [] for p in paths}


def _is_as_before(path: Path, before: _Known, around: Neighbours) -> bool:
    """Whether the same files, with the same sizes and times, lie behind an input and beside them."""
    if path.is_dir() and before.stamps.keys() != {str(p) for p in parts_of(path)}:
        return False
    return before.stamps == _stamps(before.stamps) and before.beside == _beside(path, before.stamps, around)


def _beside(path: Path, parts: Iterable[str], around: Neighbours) -> list[str]:
    """Names beside the files of an input that begin as they do: where none came or went, none came into it."""
    return [] if path.is_dir() else sorted({n for p in (str(path), *parts) for n in around.of(Path(p))})


def _known(path: Path, around: Neighbours, *, raster: bool, whole: bool) -> _Known:
    parts = parts_of(path, raster=raster)
    stamps = _stamps(str(p) for p in parts)
    near = _beside(path, stamps, around)
    there = [p for p in parts if stamps[str(p)]]
    large = sum(stamps[str(p)][0] for p in there) > WHOLE
    names = [str(p.relative_to(path)) if path.is_dir() else p.name for p in parts]
    content, times, everything = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for name, part in zip(names, parts, strict=True):
        stamp = stamps[str(part)]
        told = f"{name}:{stamp[0] if stamp else 'missing'}\n".encode()
        content.update(told)
        if not stamp:
            continue
        if large:
            _sample(part, stamp[0], content, len(there))
            times.update(f"{name}:{stamp[1]}\n".encode())
        if whole or not large:
            everything.update(told + sha256(part).encode())
    if not large:
        return _Known(stamps, near, everything.hexdigest()[:16], "", "")
    told_whole = everything.hexdigest()[:16] if whole else ""
    return _Known(stamps, near, content.hexdigest()[:16], times.hexdigest()[:16], told_whole)


def _sample(path: Path, size: int, mark: Any, parts: int) -> None:
    """Both ends of a file, and of a large one pieces between."""
    edge = _EDGE if parts == 1 else _EDGE_OF_PART
    with path.open("rb", buffering=0) as stream:
        if size <= 2 * edge:
            mark.update(stream.read())
            return
        mark.update(stream.read(edge))
        if size > 2 * _EDGE:
            step = (size - 2 * edge) / _PIECES
            for number in range(_PIECES):
                stream.seek(edge + int(step * (number + 0.5)))
                mark.update(stream.read(_PIECE))
        stream.seek(-edge, os.SEEK_END)
        mark.update(stream.read(edge))
