"""Cells of CSV text with their line numbers: at once where rows are plain, else one by one, naming what is wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from glacmb_grid.errors import InputError

Integers = npt.NDArray[np.int64]
_BLANK_LINES = ("\n\n", "\n\r", "\r\r")
_BLOCK = 8 << 20  # bytes


@dataclass(frozen=True)
class Cells:
    """Cells of the rows below a header, as stripped text (columns 0, 1, ...), and the line of each row."""

    table: pd.DataFrame
    lines: Integers


def read_cells(lines: Sequence[str], start: int, separator: str, width: int, file: str) -> Cells:
    """Cells below the header.

    Parameters
    ----------
    lines : sequence of str
        Of the whole file, with their ends.
    start : int
        Index of the header's line, which may go on over several lines.
    separator : str
    width : int
        Number of columns.
    file : str
        For messages.

    Raises
    ------
    InputError
        A wrong number of cells in a row, a quote that is not closed; names the line.
    """
    plain = _read_at_once(lines, start + 1, separator, width)
    return _read_by_rows(lines, start, separator, width, file) if plain is None else plain


def _read_at_once(lines: Sequence[str], start: int, separator: str, width: int) -> Cells | None:
    """Cells of rows that each are one line of just as many cells; None where some are not, or odd in their quotes."""
    text = "".join(lines[start:])
    if width < 2 or not text or "\0" in text:
        return None
    if '"' in text and not _has_sound_quotes([one for one in lines[max(start - 1, 0) :] if '"' in one], separator):
        return None
    labels = [f"c{i}" for i in range(width)]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text.encode()),
            pa_csv.ReadOptions(column_names=labels, block_size=_BLOCK),
            pa_csv.ParseOptions(delimiter=separator),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(labels, pa.string()), strings_can_be_null=False),
        )
    except (pa.ArrowException, UnicodeEncodeError):
        return None
    rows = start + 1 + np.arange(len(lines) - start)
    if text[0] in "\r\n" or any(ends in text for ends in _BLANK_LINES):
        rows = rows[[bool(line.rstrip("\r\n")) for line in lines[start:]]]
    if len(rows) != table.num_rows:
        return None
    columns = [pc.utf8_trim_whitespace(c) for c in table.columns]
    empty = pc.equal(columns[0], "")
    for column in columns[1:]:
        if not pc.any(empty).as_py():
            break
        empty = pc.and_(empty, pc.equal(column, ""))
    if pc.any(empty).as_py():
        filled = pc.invert(empty)
        columns, rows = [c.filter(filled) for c in columns], rows[np.asarray(filled.to_numpy(), bool)]
    return Cells(_as_table(columns), rows)


def _as_table(columns: Sequence[pa.ChunkedArray]) -> pd.DataFrame:
    """Columns of text as pandas keeps them: in one block of memory each, where it can."""
    table: pd.DataFrame = pa.table(list(columns), names=[str(k) for k in range(len(columns))]).to_pandas()
    return table.set_axis(range(len(columns)), axis=1)


def _has_sound_quotes(quoted: Sequence[str], separator: str) -> bool:
    """Whether every quote is closed in its line, with nothing behind it."""
    if any(one.count('"') % 2 for one in quoted):
        return False
    try:
        for _ in csv.reader(quoted, delimiter=separator, strict=True):
            pass
    except csv.Error:
        return False
    return True


def _read_by_rows(lines: Sequence[str], start: int, separator: str, width: int, file: str) -> Cells:
    rows = csv.reader(io.StringIO("".join(lines[start:]), newline=""), delimiter=separator, strict=True)
    records, begun = [], start + 1
    try:
        for row in rows:
            begun = start + rows.line_num + 1
            cells = [c.strip() for c in row]
            if any(cells):
                records.append((start + rows.line_num, cells))
    except csv.Error as error:
        raise InputError(
            f"{file}: line {begun}",
            expected="a CSV table",
            found=f"{error}: a quote that is not closed, or text behind one, in {lines[begun - 1].strip()[:60]!r}",
            remedy="correct the quotes in this line, or export the table again",
        ) from error
    whole = [row if len(row) == width else _fitting(row, width, line, file) for line, row in records[1:]]
    table = _as_table([pa.chunked_array([pa.array([row[k] for row in whole], pa.string())]) for k in range(width)])
    return Cells(table, np.array([n for n, _ in records[1:]], np.int64))


def _fitting(row: list[str], width: int, line: int, file: str) -> list[str]:
    if len(row) < width or any(row[width:]):
        raise InputError(
            f"{file}: line {line}",
            expected=f"{width} cells, as in the header",
            found=f"{len(row)}",
            remedy="put text that contains the separator into quotes; use a point for decimals",
        )
    return row[:width]
