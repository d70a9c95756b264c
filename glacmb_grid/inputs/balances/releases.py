"""Where tables of balances lie: a CSV file, a release of Fluctuations of Glaciers as its ZIP or its folder."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.balances import fog_new, fog_old
from glacmb_grid.inputs.files import find_file, first_bytes
from glacmb_grid.inputs.tables import decoded, table_of_text
from glacmb_grid.inputs.units import BalanceUnits

BALANCES = (r"(^|/)mass_balance\.csv$", r"-EE-[^/]*\.csv$", r"-EE\.csv$")
CHANGES = (r"(^|/)change\.csv$", r"-D-[^/]*\.csv$", r"-D\.csv$")
"""Names of the tables of annual balances and of changes between surveys in a release."""
_CALLED: dict[tuple[str, ...], str] = {BALANCES: "mass_balance.csv or a table EE", CHANGES: "change.csv or a table D"}
_OVERVIEWS = (r"(^|/)mass_balance_overview\.csv$", r"-E-[^/]*\.csv$", r"-E\.csv$")
_GLACIERS = (r"(^|/)glacier\.csv$", r"-A-[^/]*\.csv$", r"-A\.csv$")
_PACKAGES = (r"(^|/)datapackage\.json$",)


@dataclass(frozen=True)
class Release:
    """A table of balances (or of changes), and what lies beside it in a release.

    Attributes
    ----------
    where : str
        File and member, for messages.
    balances : DataFrame
        Cells as text, as of `read_table`.
    units : str or None
        Of annual balances, by its `datapackage.json`.
    glaciers : DataFrame or None
        Its table of glaciers, as text.
    """

    where: str
    balances: pd.DataFrame
    units: BalanceUnits | None = None
    glaciers: pd.DataFrame | None = None


def open_release(path: str | Path, table: tuple[str, ...] = BALANCES) -> Release:
    """Read a table, or the one of a release (its ZIP as downloaded, or the folder): `BALANCES` or `CHANGES`.

    Raises
    ------
    InputError
        No such file, a damaged archive, none of its files a table of balances.
    """
    file = Path(path)
    if not file.is_dir():
        file = find_file(path, what="observations")
    if is_release(file):
        with _members(file) as (names, read):
            return _release(file, names, table, read)
    alone = _table(first_bytes(file, -1, "a CSV file"), f"{file}")
    return Release(f"{file}", alone, _units_beside(file) if table == BALANCES else None)


def glaciers_of(path: str | Path) -> pd.DataFrame | None:
    """The table of glaciers of a release (its ZIP or folder), as text; None where it has none."""
    with _members(Path(path)) as (names, read):
        found = _first(names, _GLACIERS)
        return None if found is None else _table(read(found), f"{path}: {found}")


@contextmanager
def _members(file: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Names of the files of a release, and what reads one."""
    if file.is_dir():
        names = [p.relative_to(file).as_posix() for p in sorted(file.rglob("*")) if p.is_file()]
        yield names, lambda name: (file / name).read_bytes()
        return
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive.namelist(), archive.read
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"{file}", expected="a ZIP archive that can be read", found=str(error), remedy="download it again"
        ) from error


def _table(raw: bytes, where: str) -> pd.DataFrame:
    return table_of_text(decoded(raw, where), where)


def is_release(path: str | Path) -> bool:
    """Whether a path is a folder or a ZIP archive, by its content."""
    file = Path(path)
    if not file.is_file():
        return file.is_dir()
    return first_bytes(file, 4, "a CSV file") == b"PK\x03\x04" and not _is_spreadsheet(file)


def _is_spreadsheet(file: Path) -> bool:
    return b"[Content_Types].xml" in first_bytes(file, 4096, "a CSV file")


def package_beside(path: str | Path) -> Path | None:
    """The `datapackage.json` in the folder of a table or the one above, if there is one."""
    file = Path(path)
    folders = () if file.is_dir() else (file.parent, file.parent.parent)
    return next((p for f in folders if (p := f / "datapackage.json").is_file()), None)


def _units_beside(file: Path) -> BalanceUnits | None:
    package = package_beside(file)
    return fog_new.units_in(first_bytes(package, -1, "JSON"), file.name, f"{package}") if package else None


def _first(names: Iterable[str], patterns: Iterable[str]) -> str | None:
    usable = sorted((n for n in names if "__MACOSX" not in n), key=lambda n: (n.count("/"), n))
    return next((n for p in patterns for n in usable if re.search(p, n, re.IGNORECASE)), None)


def _release(file: Path, names: list[str], wanted: tuple[str, ...], read: Callable[[str], bytes]) -> Release:
    member = _first(names, wanted)
    if member is None:
        tables = [n for n in names if n.lower().endswith(".csv")]
        if len(tables) != 1 or file.is_dir():
            named = file / tables[0] if tables and file.is_dir() else "FILE"
            raise InputError(
                f"{file}",
                expected=f"a release of Fluctuations of Glaciers, with {_CALLED[wanted]}",
                found=listing(names, 12) or "nothing",
                remedy=("name" if file.is_dir() else "unpack it, and name") + f" the table itself, `path: {named}`",
            )
        member = tables[0]

    def table(name: str) -> pd.DataFrame:
        return _table(read(name), f"{file}: {name}")

    balances, found = table(member), _first(names, _GLACIERS)
    glaciers = table(found) if found is not None else None
    if wanted != BALANCES:
        return Release(f"{file}: {member}", balances, glaciers=glaciers)
    overview = _first(names, _OVERVIEWS)
    if overview is not None and fog_old.LAYOUT.recognises(set(balances.columns)):
        balances = fog_old.with_overview(balances, table(overview))
    package = _first(names, _PACKAGES)
    base = member.rsplit("/", 1)[-1]
    units = fog_new.units_in(read(package), base, f"{file}: {package}") if package is not None else None
    return Release(f"{file}: {member}", balances, units, glaciers)
