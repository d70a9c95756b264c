"""ZIP archives as the Climate Data Store delivers them, whatever their name; members are read from a scratch folder."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from glacmb_grid.errors import InputError, Problems
from glacmb_grid.inputs.climate.contract import Format, Opened
from glacmb_grid.inputs.files import first_bytes
from glacmb_grid.inputs.scratch import scratch_folder

_NO_DATA = (".txt", ".pdf", ".png", ".jpg", ".html", ".json", ".xml", ".md", ".csv", ".log")


def zipped(members: Sequence[Format]) -> Format:
    """The format of archives whose members are of other formats."""

    def is_zip(path: Path) -> bool:
        return path.is_file() and first_bytes(path, 4, "a readable file") == b"PK\x03\x04"

    def open_members(path: Path) -> list[Opened]:
        stamp = path.stat()
        found: list[Opened] = []
        problems = Problems()
        for name, member in _unpacked(path, stamp.st_size, stamp.st_mtime_ns):
            form = next(f for f in members if f.recognises(member))
            with problems.collect():
                try:
                    found += [replace(o, where=f"{path}: {name}") for o in form.open(member)]
                except InputError as error:
                    raise InputError(
                        error.where.replace(str(member), f"{path}: {name}"),
                        expected=error.expected, found=error.found, remedy=error.remedy,
                    ) from error  # fmt: skip
        problems.raise_if_any()
        if not found:
            raise InputError(
                f"{path}", expected="climate files in the archive", found="none", remedy="download it again"
            )
        return found

    return Format("ZIP", is_zip, open_members)


@lru_cache(maxsize=1024)
def _unpacked(path: Path, size: int, time: int) -> tuple[tuple[str, Path], ...]:
    """Names and unpacked files of the members, once for each archive as it is; a Zarr store is one member."""
    del size, time
    try:
        with zipfile.ZipFile(path) as archive:
            needed = sum(m.file_size for m in archive.infolist())
            folder = scratch_folder(needed, str(path))
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"damaged member {damaged}")
            archive.extractall(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise InputError(
            f"{path}",
            expected="a ZIP archive that can be unpacked",
            found=f"{type(error).__name__}: {error}",
            remedy="download it again, then compare its size with the source",
        ) from error
    stores = {p.parent for n in (".zgroup", "zarr.json") for p in folder.rglob(n)}
    tops = sorted(s for s in stores if not any(s != t and s.is_relative_to(t) for t in stores))
    files = (p for p in folder.rglob("*") if p.is_file() and not any(p.is_relative_to(t) for t in tops))
    data = [p for p in files if p.suffix.lower() not in _NO_DATA and "__MACOSX" not in p.parts]
    return tuple((str(p.relative_to(folder)) if p != folder else "store", p) for p in sorted([*tops, *data]))
