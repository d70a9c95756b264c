"""CSV tables: cells as text with their line numbers, and conversion of columns to numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.files import first_bytes
from glacmb_grid.years import FIRST_YEAR, LAST_YEAR

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

LINE = "line"
MISSING: Final = [
    *("", "nan", "NaN", "NAN", "-nan", "na", "NA", "n/a", "N/A", "null", "NULL", "Null", "none", "None", "NONE", "<NA>")
]
"""Cells without a value, for readers that compare exactly; `is_blank` accepts these words in any case."""
_BLANK = ("", "nan", "na", "n/a", "null", "none")
_MISSING_CODES = (9999.0, -9999.0, 99999.0, -99999.0)
DEGREES = {"longitude": (-180.0, 360.0), "latitude": (-90.0, 90.0)}
_SEPARATORS = ",;\t"
_LINES_BEFORE_HEADER = 50


@dataclass(frozen=True)
class Column:
    """File and column, and the places and texts of chosen rows: checks that many tables share, with their errors."""

    where: str
    place: Callable[[Bools], str]
    cells: Callable[[Bools], Sequence[str]]

    def not_numbers(self, broken: Bools) -> InputError:
        """The error for cells that should be numbers."""
        cells = self.cells(broken)
        comma = any(re.fullmatch(r"[+-]?\d+,\d+", cell) for cell in cells)
        found = f"{listing(map(repr, cells), 4)} in {self.place(broken)}"
        remedy = "use a point for decimals" if comma else "correct or empty these cells"
        return InputError(self.where, expected="a number", found=found, remedy=remedy)

    def require_filled(self, blank: Bools) -> None:
        """Raise an InputError if an identifier is blank."""
        if blank.any():
            found, remedy = f"blank in {self.place(blank)}", "fill it or remove these rows"
            raise InputError(self.where, expected="an identifier in every row", found=found, remedy=remedy)

    def whole_years(self, years: Floats) -> npt.NDArray[np.int64]:
        """Years as integers; an InputError if one is missing, fractional or implausible."""
        wrong = ~np.isfinite(years) | (years % 1 != 0) | (years < FIRST_YEAR) | (years > LAST_YEAR)
        if wrong.any():
            raise InputError(
                self.where,
                expected=f"a year within {FIRST_YEAR}..{LAST_YEAR} in every row",
                found=f"{listing(map(repr, self.cells(wrong)), 4)} in {self.place(wrong)}",
                remedy="correct these cells (a hydrological year is named after the year in which it ends) or remove "
                "the rows",
            )
        return years.astype(np.int64)

    def refuse_missing_codes(self, values: Floats) -> None:
        """Raise an InputError if codes such as -9999 stand among observed values (in the unit of the file)."""
        code = np.isin(values, _MISSING_CODES)
        if code.any():
            raise InputError(
                self.where,
                expected="measured values",
                found=f"missing-value codes {listing(sorted(set(values[code].tolist())))} in {self.place(code)}",
                remedy="empty these cells or remove the rows",
            )

    def require_balances(self, metres: Floats, largest: float, units: str, setting: str) -> None:
        """Raise an InputError if balances (m w.e.) are implausibly large; `setting` is the key of their unit."""
        far = np.abs(metres) > largest
        if far.any():
            other = "mm w.e." if units == "m w.e." else "m w.e."
            raise InputError(
                self.where,
                expected=f"annual balances within +-{largest:g} m w.e. when read as {units}",
                found=f"{int(far.sum())} of {len(far)} outside, such as {_rounded(metres[far])} in {self.place(far)}",
                remedy=f"if most values are like these, declare `{setting % other}`, else correct these rows",
            )

    def require_degrees(self, degrees: Floats, low: float, high: float) -> None:
        """Raise an InputError if coordinates are out of range."""
        wrong = (degrees < low) | (degrees > high)
        if wrong.any():
            raise InputError(
                self.where,
                expected=f"degrees within {low:g}..{high:g}",
                found=f"{listing((f'{v:.4g}' for v in degrees[wrong]), 4)} in {self.place(wrong)}",
                remedy="correct these cells, or give positions in degrees (not in metres of a projection)",
            )

    def require_uncertainties(self, metres: Floats, largest: float, units: str) -> None:
        """Raise an InputError if uncertainties (m w.e.) are negative or larger than any balance."""
        wrong = (metres > largest) | (metres < 0)
        if wrong.any():
            raise InputError(
                self.where,
                expected=f"values within 0..{largest:g} m w.e. when read as {units}",
                found=f"{_rounded(metres[wrong])} in {self.place(wrong)}",
                remedy="give it in the unit of the balances, or empty these cells",
            )


def _rounded(metres: Floats) -> str:
    return f"{listing((f'{v:.4g}' for v in metres), 4)} m w.e."


def read_table(file: Path, *, header: Collection[str] | None = None) -> pd.DataFrame:
    """Cells as stripped text, with lower-case column names and a column `line`, the line number in the file.

    Parameters
    ----------
    file : Path
        Separated by commas, semicolons or tabs (the most frequent in the header). Blank lines are skipped.
    header : collection of str, optional
        The header is the first line that has one of these names, in any case. Default: the first line with text.

    Raises
    ------
    InputError
        Not UTF-8, no header, a wrong number of cells in a row, a duplicate column name.
    """
    lines = _text(file).splitlines(keepends=True)
    found = find_header(lines, header)
    if found is None:
        raise InputError(
            f"{file}",
            expected="a header" + (f" with one of {', '.join(header)} (in any case)" if header else ""),
            found=f"first line {lines[0].strip()[:80]!r}" if lines else "an empty file",
            remedy="give the table with the names of its columns in the first line",
        )
    start, separator, _ = found
    rows = csv.reader(io.StringIO("".join(lines[start:]), newline=""), delimiter=separator, strict=True)
    try:
        records = [(start + rows.line_num, [c.strip() for c in row]) for row in rows if any(c.strip() for c in row)]
    except csv.Error as error:
        raise InputError(
            f"{file}: line {start + rows.line_num}",
            expected="a CSV table",
            found=str(error),
            remedy="correct the quotes in this line, or export the table again",
        ) from error
    names = [n.lower() for n in records[0][1]]
    while names and not names[-1]:
        names.pop()
    cells = [_cells(row, len(names), line, file) for line, row in records[1:]]
    check_names(names, file)
    table = pd.DataFrame(cells, columns=pd.Index(names), dtype=object)
    return table.assign(**{LINE: [line for line, _ in records[1:]]})


def _text(file: Path) -> str:
    try:
        return first_bytes(file, -1, "a CSV file").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: line {error.object[: error.start].count(10) + 1}",
            expected="text in UTF-8",
            found=f"byte 0x{error.object[error.start]:02x}, as in Latin-1 or UTF-16",
            remedy="save it as UTF-8, for instance with `iconv -f latin1 -t utf8`",
        ) from error


def find_header(lines: Sequence[str], names: Collection[str] | None) -> tuple[int, str, list[str]] | None:
    """Number, separator and cells of the first line with text, or with one of the names in any case; None without."""
    wanted = {n.casefold() for n in names or ()}
    for number, line in enumerate(lines[:_LINES_BEFORE_HEADER]):
        separator = max(_SEPARATORS, key=line.count)
        try:
            cells = [c.strip() for c in next(csv.reader([line], delimiter=separator), [])]
        except csv.Error:
            continue
        if any(cells) and (names is None or wanted & {c.casefold() for c in cells}):
            return number, separator, cells
    return None


def _cells(row: list[str], width: int, line: int, file: Path) -> list[str]:
    if len(row) < width or any(row[width:]):
        raise InputError(
            f"{file}: line {line}",
            expected=f"{width} cells, as in the header",
            found=f"{len(row)}",
            remedy="put text that contains the separator into quotes; use a point for decimals",
        )
    return row[:width]


def check_names(names: list[str], file: Path) -> None:
    """Raise an InputError if a column name occurs more than once."""
    duplicates = sorted({n for n in names if n and names.count(n) > 1})
    if duplicates:
        raise InputError(
            f"{file}: header",
            expected="every column name once",
            found=f"more than once: {listing(duplicates)}",
            remedy="rename or remove the duplicates",
        )


def column(table: pd.DataFrame, names: Collection[str]) -> pd.Series[str]:
    """The first of the named columns as text; empty cells if the table has none of them."""
    found = next((n for n in names if n in table), None)
    return table[found] if found is not None else pd.Series("", index=table.index, dtype=object)


def is_blank(cells: pd.Series[str]) -> pd.Series[bool]:
    """Whether cells are empty or hold a word for a missing value."""
    return cells.str.lower().isin(_BLANK)


def described(cells: pd.Series[str], lines: pd.Series[int], where: str) -> Column:
    """A column of `read_table` for error messages."""
    return Column(where, lambda rows: f"line(s) {listing(lines[rows])}", lambda rows: [str(c) for c in cells[rows]])


def numbers(cells: pd.Series[str], lines: pd.Series[int], where: str) -> Floats:
    """Cells as numbers, NaN where blank; an InputError names the lines with text."""
    blank = is_blank(cells)
    values = pd.to_numeric(cells.where(~blank), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    broken = ~np.isfinite(values) & ~blank.to_numpy()
    if broken.any():
        raise described(cells, lines, where).not_numbers(broken)
    return values


def positions(table: pd.DataFrame, longitude: Collection[str], latitude: Collection[str], file: Path) -> pd.DataFrame:
    """Columns `longitude` in -180..180 and `latitude`, degrees; NaN in both where either is blank."""
    cells = {"longitude": column(table, longitude), "latitude": column(table, latitude)}
    east, north = (numbers(text, table[LINE], f"{file}: {name}") for name, text in cells.items())
    for name, values in (("longitude", east), ("latitude", north)):
        described(cells[name], table[LINE], f"{file}: {name}").require_degrees(values, *DEGREES[name])
    whole = np.isfinite(east) & np.isfinite(north)
    east = np.where(east > 180, east - 360, east)
    return pd.DataFrame(
        {"longitude": np.where(whole, east, np.nan), "latitude": np.where(whole, north, np.nan)}, index=table.index
    )


def site_name(text: str) -> str:
    """Identifier of a site without leading zeros and without the `.0` that spreadsheets append."""
    text = text.strip()
    stem = text.removesuffix(".0")
    return (stem.lstrip("0") or "0") if stem.isdigit() else text
