"""CSV tables as people and agencies write them: text cells with the number of their line, numbers on demand."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError, listing

LINE = "line"
_BLANK = ("", "nan", "na", "n/a", "null", "none")
_SEPARATORS = ",;\t"
_LINES_BEFORE_HEADER = 50


def read_table(file: Path, *, header: Collection[str] | None = None) -> pd.DataFrame:
    """Cells as text without surrounding blanks, column names in lower case, `line` the number of the line in the file.

    Parameters
    ----------
    file : Path
        Separated by commas, semicolons or tabs, whichever the header holds most of; blank lines are skipped.
    header : collection of str, optional
        The header is the first line with one of these names; default the first line.

    Raises
    ------
    InputError
        Not UTF-8, no header, a row with another number of cells, a column name twice.
    """
    lines = _text(file).splitlines(keepends=True)
    start, separator = _header(lines, header, file)
    rows = csv.reader(io.StringIO("".join(lines[start:]), newline=""), delimiter=separator, strict=True)
    try:
        records = [(start + rows.line_num, [c.strip() for c in row]) for row in rows if any(c.strip() for c in row)]
    except csv.Error as error:
        raise InputError(
            f"{file}: line {start + rows.line_num}",
            expected="a CSV table",
            found=str(error),
            remedy="correct the quotes there, or export the table again",
        ) from error
    names = [n.lower() for n in records[0][1]]
    while names and not names[-1]:
        names.pop()
    cells = [_cells(row, len(names), line, file) for line, row in records[1:]]
    _check_names(names, file)
    table = pd.DataFrame(cells, columns=pd.Index(names), dtype=object)
    return table.assign(**{LINE: [line for line, _ in records[1:]]})


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: line {error.object[: error.start].count(10) + 1}",
            expected="text in UTF-8",
            found=f"byte 0x{error.object[error.start]:02x}, as of Latin-1 or UTF-16",
            remedy="save it as UTF-8, for instance with `iconv -f latin1 -t utf8`",
        ) from error
    except OSError as error:
        raise InputError(
            f"{file}", expected="a CSV file", found=str(error), remedy="correct the path or its permissions"
        ) from error


def _header(lines: list[str], wanted: Collection[str] | None, file: Path) -> tuple[int, str]:
    for number, line in enumerate(lines[:_LINES_BEFORE_HEADER]):
        separator = max(_SEPARATORS, key=line.count)
        cells = [c.strip().strip('"').lower() for c in line.split(separator)]
        if any(cells) and (wanted is None or set(cells) & set(wanted)):
            return number, separator
    raise InputError(
        f"{file}",
        expected="a header" + (f" with one of {', '.join(wanted)} (in any case)" if wanted else ""),
        found=f"first line {lines[0].strip()[:80]!r}" if lines else "an empty file",
        remedy="give the table with the names of its columns in the first line",
    )


def _cells(row: list[str], width: int, line: int, file: Path) -> list[str]:
    if len(row) < width or any(row[width:]):
        raise InputError(
            f"{file}: line {line}",
            expected=f"{width} cells, as in the header",
            found=f"{len(row)}",
            remedy="put text that holds the separator into quotes; use a point for decimals",
        )
    return row[:width]


def _check_names(names: list[str], file: Path) -> None:
    twice = sorted({n for n in names if n and names.count(n) > 1})
    if twice:
        raise InputError(
            f"{file}: header",
            expected="every column name once (in any case)",
            found=f"more than once: {listing(twice)}",
            remedy="rename or remove the others",
        )


def column(table: pd.DataFrame, names: Collection[str]) -> pd.Series[str]:
    """The first of the named columns as text, empty cells where the table has none of them."""
    found = next((n for n in names if n in table), None)
    return table[found] if found is not None else pd.Series("", index=table.index, dtype=object)


def is_blank(cells: pd.Series[str]) -> pd.Series[bool]:
    """Whether cells hold nothing, or a word for nothing."""
    return cells.str.lower().isin(_BLANK)


def numbers(cells: pd.Series[str], lines: pd.Series[int], where: str) -> npt.NDArray[np.float64]:
    """Cells as numbers, NaN where blank.

    Raises
    ------
    InputError
        Naming the lines with text.
    """
    blank = is_blank(cells)
    values = pd.to_numeric(cells.where(~blank), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    broken = ~np.isfinite(values) & ~blank.to_numpy()
    if broken.any():
        raise InputError(
            where,
            expected="a number",
            found=f"{listing(map(repr, cells[broken]), 4)} in line(s) {listing(lines[broken])}",
            remedy="correct or empty these cells; use a point for decimals",
        )
    return values


def positions(table: pd.DataFrame, longitude: Collection[str], latitude: Collection[str], file: Path) -> pd.DataFrame:
    """Columns `longitude` in -180..180 and `latitude`, NaN in both where either is blank."""
    lines = table[LINE]
    east = numbers(column(table, longitude), lines, f"{file}: longitude")
    north = numbers(column(table, latitude), lines, f"{file}: latitude")
    outside = (np.abs(north) > 90) | (east < -180) | (east > 360)
    if outside.any():
        raise InputError(
            f"{file}: longitude, latitude",
            expected="degrees, -180..360 and -90..90",
            found=f"others in line(s) {listing(lines[outside])}",
            remedy="correct these cells, or give positions in degrees (not in metres of a projection)",
        )
    whole = np.isfinite(east) & np.isfinite(north)
    east = np.where(east > 180, east - 360, east)
    return pd.DataFrame(
        {"longitude": np.where(whole, east, np.nan), "latitude": np.where(whole, north, np.nan)}, index=table.index
    )


def site_name(text: str) -> str:
    """Identifier of a site without leading zeros, or the `.0` that spreadsheets append."""
    text = text.strip()
    stem = text.removesuffix(".0")
    return (stem.lstrip("0") or "0") if stem.isdigit() else text
