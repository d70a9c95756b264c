"""CSV tables: cells as text with their line numbers, and conversion of columns to numbers."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.cells import read_cells
from glacmb_grid.inputs.decimals import with_points
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
_MISSING_CODES = (9999.0, -9999.0, 99999.0, -99999.0, -999.0)
DEGREES = {"longitude": (-180.0, 360.0), "latitude": (-90.0, 90.0)}
_SEPARATORS = ",;\t"
_LINES_BEFORE_HEADER, _LINES_BELOW = 50, 10
_SAYS_SEPARATOR = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # the first line of some exports of spreadsheets
_SMALL_UNITS, _LEAST_SIGMA = ("mm w.e.", "kg m-2", "mm"), 2e-3  # m w.e.; no balance is known so well
_MINUS = "^[\u2212\u2013](?=[0-9.])"
_SEASON = re.compile(r"(1[89]|20)\d\d\s*[/-]\s*(\d\d|(1[89]|20)\d\d)")
_WORDS = re.compile(r"[A-Za-z_][A-Za-z_ ./%0-9-]*")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[, '\u2019\u00a0\u202f\u2009]\d{3})+(?:\.\d*)?|[+-]?\d{1,3}(?:\.\d{3})+,\d*")
_OWN_LINE = "line (column of the table)"  # what a user's column `line` is called, so as not to be taken for LINE
_NOT_TEXT: Final = (
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet (.xls)", "save it as CSV (UTF-8)"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first: gunzip"),
    (b"\x89HDF", "an HDF5 (NetCDF) file", "save it as CSV"),
    (b"%PDF", "a PDF document", "give the table as CSV"),
)


@dataclass(frozen=True)
class Column:
    """File and column, and the places and texts of chosen rows: checks that many tables share, with their errors."""

    where: str
    place: Callable[[Bools], str]
    cells: Callable[[Bools], Sequence[str]]

    def not_numbers(self, broken: Bools) -> InputError:
        """The error for cells that should be numbers."""
        cells = self.cells(broken)
        found = f"{listing(map(repr, cells), 4)} in {self.place(broken)}"
        remedy = "correct or empty these cells"
        if any(_GROUPED.fullmatch(cell) for cell in cells):
            remedy = "write thousands without a separator, 1234.5 (if the comma is a decimal one, use a point)"
        elif any(re.fullmatch(r"[+-]?\d+,\d+", cell) for cell in cells):
            remedy = "use a point for decimals"
        elif any(_SEASON.fullmatch(cell) for cell in cells):
            remedy = "write a hydrological year as the year in which it ends: 2019 for 2018/19"
        elif any(_WORDS.fullmatch(cell) for cell in cells):
            remedy += "; remove rows that repeat the header, state units or are no data"
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
        """Raise an InputError if codes such as -9999 stand among uncertainties (in the unit of the file)."""
        code = np.isin(values, _MISSING_CODES)
        if code.any():
            raise InputError(
                self.where,
                expected="measured values",
                found=f"missing-value codes {listing(sorted(set(values[code].tolist())))} in {self.place(code)}",
                remedy="empty these cells or remove the rows",
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
        given = metres[metres > 0]
        if units in _SMALL_UNITS and len(given) and given.max() < _LEAST_SIGMA:
            raise InputError(
                self.where,
                expected=f"uncertainties of {_LEAST_SIGMA * 1e3:g} mm w.e. and more in some rows, read as {units}",
                found=f"none beyond {given.max() * 1e3:.3g} mm w.e.: as if in m w.e.",
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
        Not text, no header, a wrong number of cells in a row, a duplicate column name.
    """
    return table_of_text(decoded(first_bytes(file, -1, "a CSV file"), f"{file}"), f"{file}", header=header)


def table_of_text(text: str, file: str, *, header: Collection[str] | None = None) -> pd.DataFrame:
    """What `read_table` gives, from text that was read already; `file` is its name for messages."""
    lines = text.splitlines(keepends=True)
    found = find_header(lines, header)
    if found is None:
        raise InputError(
            f"{file}",
            expected="a header" + (f" with one of {', '.join(header)} (in any case)" if header else ""),
            found=f"first line {lines[0].strip()[:80]!r}" if lines else "an empty file",
            remedy="give the table with the names of its columns in the first line",
        )
    start, separator, first = found
    first = first if '"' not in lines[start] else _header_row(lines, start, separator) or first
    names = [_OWN_LINE if n.lower() == LINE else n.lower() for n in first]
    while names and not names[-1]:
        names.pop()
    cells = read_cells(lines, start, separator, len(names), file)
    check_names(names, file)
    table = cells.table.set_axis(pd.Index(names, dtype=object), axis=1)
    if separator != "," or '"' in text:
        table = _with_decimal_points(table, file)
    return table.assign(**{LINE: cells.lines})


def _header_row(lines: Sequence[str], start: int, separator: str) -> list[str] | None:
    """Cells of a header with quotes, which may go on over several lines; None where a quote is not closed."""
    try:
        return [c.strip() for c in next(csv.reader(lines[start : start + _LINES_BEFORE_HEADER], delimiter=separator))]
    except (csv.Error, StopIteration):
        return None


def _with_decimal_points(table: pd.DataFrame, file: str) -> pd.DataFrame:
    """The table with decimal commas as points; tells which points were taken for thousands separators."""
    changed, thousands = with_points(table)
    if thousands:
        warnings.warn(
            f"{file}: commas are decimal, so that points in {listing(thousands)} separate thousands (1.234 is 1234)",
            stacklevel=2,
        )
    return table.assign(**changed)


def decoded(raw: bytes, file: str) -> str:
    """Text in UTF-8, in UTF-16 with its mark, or else in Windows-1252 (Latin-1); an InputError if it is none."""
    kinds = [(kind, remedy) for magic, kind, remedy in _NOT_TEXT if raw.startswith(magic)]
    if raw.startswith(b"PK\x03\x04"):
        sheet = b"[Content_Types].xml" in raw[:4096] or b"xl/" in raw[:65536]
        kinds.append(
            ("a spreadsheet (.xlsx)", "save it as CSV (UTF-8)")
            if sheet
            else ("a ZIP archive or spreadsheet", "unpack it first: unzip")
        )
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    if not kinds and text[:1000].count("\0") > len(text[:1000]) / 4:
        kinds.append(("text in UTF-16 or UTF-32 without its mark", "save it as CSV (UTF-8)"))
    for kind, remedy in kinds:
        raise InputError(file, expected="a table as text (CSV)", found=kind, remedy=remedy)
    return text


def find_header(lines: Sequence[str], names: Collection[str] | None) -> tuple[int, str, list[str]] | None:
    """Number, separator and cells of the first line with text, or with one of the names in any case; None without."""
    wanted = {n.casefold() for n in names or ()}
    for number, line in enumerate(lines[:_LINES_BEFORE_HEADER]):
        if _SAYS_SEPARATOR.fullmatch(line.strip()):
            continue
        separator = _separator(lines, number)
        if line.startswith("#") and not _fits(lines, number, separator)[0]:  # a remark above the header
            continue
        try:
            cells = [c.strip() for c in next(csv.reader([line], delimiter=separator), [])]
        except csv.Error:
            continue
        if any(cells) and (names is None or wanted & {c.casefold() for c in cells}):
            return number, separator, cells
    return None


def _separator(lines: Sequence[str], header: int) -> str:
    """The separator that occurs as often in the next lines as in the header; of several, the most frequent there."""
    return max(_SEPARATORS, key=lambda separator: _fits(lines, header, separator))


def _fits(lines: Sequence[str], header: int, separator: str) -> tuple[bool, int]:
    """Whether a separator occurs as often in most of the next lines as in the header, and how often there."""
    below = [one for one in lines[header + 1 : header + 1 + _LINES_BELOW] if one.strip()]
    count = lines[header].count(separator)
    same = sum(one.count(separator) == count for one in below)
    return count > 0 and 2 * same > len(below), count


def check_names(names: list[str], file: str | Path) -> None:
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
    return table[found] if found is not None else pd.Series("", index=table.index, dtype="str")


def is_blank(cells: pd.Series[str]) -> pd.Series[bool]:
    """Whether cells are empty or hold a word for a missing value."""
    return cells.str.lower().isin(_BLANK)


def described(cells: pd.Series[str], lines: pd.Series[int], where: str) -> Column:
    """A column of `read_table` for error messages."""
    return Column(where, lambda rows: f"line(s) {listing(lines[rows])}", lambda rows: [str(c) for c in cells[rows]])


def numbers(cells: pd.Series[str], lines: pd.Series[int], where: str) -> Floats:
    """Cells as numbers, NaN where blank; an InputError names the lines with text."""
    if (plain := _plain_numbers(cells)) is not None:
        return plain
    blank = is_blank(cells)
    signed = cells.str.replace(_MINUS, "-", regex=True)  # of text processors
    values = pd.to_numeric(signed.where(~blank), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    broken = ~np.isfinite(values) & ~blank.to_numpy()
    if broken.any():
        raise described(cells, lines, where).not_numbers(broken)
    return values


def _plain_numbers(cells: pd.Series[str]) -> Floats | None:
    """Cells as numbers, NaN where blank, if all are plain decimal numbers; else None."""
    text = pa.array(cells, pa.large_string(), from_pandas=True)
    blank = pc.is_in(text, pa.array(MISSING, pa.large_string()))
    try:
        values = pc.cast(pc.if_else(blank, None, text), pa.float64())
    except pa.ArrowInvalid:
        return None
    if not pc.all(pc.is_finite(values)).as_py() and len(values) > values.null_count:
        return None
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def positions(
    table: pd.DataFrame, longitude: Collection[str], latitude: Collection[str], file: str | Path
) -> pd.DataFrame:
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
