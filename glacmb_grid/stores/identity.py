"""Identity of an input: name, size, content and time of every file that is read for it.

Up to 256 MiB the whole content counts. Of larger inputs the content is sampled (both ends and evenly spaced pieces
between), and the time of change counts as well. `verify` reads everything.
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
"""Bytes up to which the whole content of an input is read."""
_EDGE, _EDGE_OF_PART = 16 * 1024 * 1024, 64 * 1024
_PIECES, _PIECE = 64, 64 * 1024


class Identity(NamedTuple):
    """One input.

    Attributes
    ----------
    name : str
        The end of its path, long enough to be unique.
    content : str
        Digest of the content, or of samples of it.
    time : str
        Digest of the times of change if the content was only sampled, else empty.
    whole : str
        Digest of the whole content if it was read, else empty.
    """

    name: str
    content: str
    time: str
    whole: str

    def differs(self, before: Identity) -> bool:
        """Whether this is another input than before.

        The whole content decides if both have it; otherwise samples of the content and the time.
        """
        if (self.name, self.content) != (before.name, before.content):
            return True
        if self.whole and before.whole:
            return self.whole != before.whole
        return self.time != before.time


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest unique ends of the paths: `t2m.nc`, or `2001/t2m.nc`."""
    names, depth = [p.name for p in paths], 1
    while (often := {n for n, c in Counter(names).items() if c > 1}) and depth < max(len(p.parts) for p in paths):
        depth += 1
        names = ["/".join(p.parts[-depth:]) if n in often else n for n, p in zip(names, paths, strict=True)]
    return names


class _Known(NamedTuple):
    """Cached identity of an input, valid while stamps and neighbours stay the same."""

    stamps: dict[str, Stamp]
    beside: list[str]
    content: str
    time: str
    whole: str


class Inputs:
    """Identities of inputs, with a cache.

    Parameters
    ----------
    memory : dict, optional
        From `memory` of an earlier process.
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
        """Identities of these inputs, in their order.

        Parameters
        ----------
        paths : sequence of Path
        raster : bool
            Whether GDAL reads them as rasters.
        fresh : bool
            Read the content even if sizes and times are unchanged.
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
        """Inputs whose content changed since `identities` last read them; times alone do not count."""
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
        """The cache, to be stored as JSON."""
        return {"at": time.time_ns(), "inputs": {p: list(k) for p, k in self.known.items()}}


def is_memory(content: Any) -> bool:
    """Whether this has the form of `Inputs.memory`."""
    return isinstance(content["at"], int) and all(len(v) == len(_Known._fields) for v in content["inputs"].values())


def _stamps(paths: Iterable[str]) -> dict[str, Stamp]:
    return {p: stamp_of(Path(p), follow=True) or [] for p in paths}


def _is_as_before(path: Path, before: _Known, around: Neighbours) -> bool:
    """Whether files, sizes, times and neighbours of an input are unchanged."""
    if path.is_dir() and before.stamps.keys() != {str(p) for p in parts_of(path)}:
        return False
    return before.stamps == _stamps(before.stamps) and before.beside == _beside(path, before.stamps, around)


def _beside(path: Path, parts: Iterable[str], around: Neighbours) -> list[str]:
    """Names next to the files of an input that begin like them; if unchanged, the input has no new part."""
    return [] if path.is_dir() else sorted({n for p in (str(path), *parts) for n in around.of(Path(p))})


def _known(path: Path, around: Neighbours, *, raster: bool, whole: bool) -> _Known:
    parts = parts_of(path, raster=raster)
    stamps = _stamps(str(p) for p in parts)
    near = _beside(path, stamps, around)
    present = [p for p in parts if stamps[str(p)]]
    large = sum(stamps[str(p)][0] for p in present) > WHOLE
    names = [str(p.relative_to(path)) if path.is_dir() else p.name for p in parts]
    content, times, everything = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for name, part in zip(names, parts, strict=True):
        stamp = stamps[str(part)]
        line = f"{name}:{stamp[0] if stamp else 'missing'}\n".encode()
        content.update(line)
        if not stamp:
            continue
        if large:
            _sample(part, stamp[0], content, len(present))
            times.update(f"{name}:{stamp[1]}\n".encode())
        if whole or not large:
            everything.update(line + sha256(part).encode())
    if not large:
        return _Known(stamps, near, everything.hexdigest()[:16], "", "")
    complete = everything.hexdigest()[:16] if whole else ""
    return _Known(stamps, near, content.hexdigest()[:16], times.hexdigest()[:16], complete)


def _sample(path: Path, size: int, mark: Any, parts: int) -> None:
    """Digest both ends of a file, and pieces between if it is large."""
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
