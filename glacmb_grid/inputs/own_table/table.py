"""A user's CSV or Parquet file: columns as text or numbers, and rows with their place in the file."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.files import first_bytes
from glacmb_grid.inputs.tables import LINE, MISSING, Column, check_names, decoded, find_header, is_blank, read_table

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]

_BOOLS: Final = {"true": 1.0, "false": 0.0}
_SAMPLED_LINES = 200
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Table:
    """Some or all rows of a file, with their positions in it; `lines` gives the line number of every row of a CSV."""

    file: Path
    columns: dict[str, Any]  # name -> pyarrow.ChunkedArray
    rows: Integers
    lines: Callable[[], Integers] | None

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, mask: Bools) -> Table:
        """The rows of a mask."""
        if mask.all():
            return self
        chosen = pa.array(mask)
        columns = {n: c.filter(chosen) for n, c in self.columns.items()}
        return replace(self, columns=columns, rows=self.rows[mask])

    def place(self, mask: Bools) -> str:
        """Line numbers of some rows (of Parquet: row numbers), for messages."""
        rows = self.rows[mask]
        if self.lines is None:
            return f"row(s) {listing(rows + 1)}"
        return f"line(s) {listing(self.lines()[rows])}"

    def column(self, name: str) -> Column:
        """A column, for error messages."""
        return Column(f"{self.file}: {name}", self.place, lambda mask: list(self.texts(name)[mask]))

    def is_text(self, name: str) -> bool:
        """Whether a column is stored as text."""
        kind = self.columns[name].type
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def is_number(self, name: str) -> bool:
        """Whether a column is stored as numbers."""
        kind = self.columns[name].type
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))

    def texts(self, name: str) -> Texts:
        """Cells as stripped text, empty if missing, (row,)."""
        column = self.columns[name]
        if not self.is_text(name):
            if pa.types.is_floating(column.type):
                whole = ["" if v is None or v != v else f"{v:.15g}" for v in column.to_pylist()]
                return np.array(whole, dtype=object)
            return np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=object)
        cells = pd.Series(["" if v is None else v.strip() for v in column.to_pylist()], dtype=object)
        return np.asarray(cells.where(~is_blank(cells), "").to_numpy(), dtype=object)

    def floats(self, name: str) -> tuple[Floats, Bools]:
        """Cells as numbers (NaN if missing or no number), and which cells are neither empty nor numbers, (row,)."""
        column = self.columns[name]
        if not self.is_text(name):
            try:
                numbers: Floats = np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), np.float64)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # dates and the like
                return np.full(len(self), np.nan), ~pc.is_null(column).to_numpy()
            return numbers, np.zeros(len(self), bool)
        cells = pd.Series(self.texts(name))
        low = cells.str.lower()
        if low.isin([*_BOOLS, ""]).all():
            return np.asarray(low.map(_BOOLS), np.float64), np.zeros(len(self), bool)
        filled = (cells != "").to_numpy()
        plain = np.asarray(pd.to_numeric(cells.where(filled), errors="coerce"), np.float64)
        return plain, np.asarray(np.isnan(plain) & filled, bool)

    def empty_rows(self) -> Bools:
        """Rows without a value in any column, as spreadsheets append them, (row,)."""
        empty = np.ones(len(self), bool)
        for name, column in self.columns.items():
            empty &= (self.texts(name) == "") if self.is_text(name) else pc.is_null(column).to_numpy()
            if not empty.any():
                break
        return empty


def open_table(file: Path, as_text: Sequence[str], glacier: str) -> Table:
    """The whole CSV or Parquet file; an InputError if it is neither, broken or empty.

    The CSV columns `as_text` stay text, so that identifiers keep leading zeros; the column `glacier` marks the header.
    """
    head = first_bytes(file, _HEAD_BYTES, "a CSV or Parquet file")
    table = _open_parquet(file) if head.startswith(b"PAR1") else _open_csv(file, head, as_text, glacier)
    if not len(table):
        raise InputError(f"{file}", expected="rows", found="only a header", remedy="give a table with observations")
    return table


def _open_parquet(file: Path) -> Table:
    try:
        read = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{file}",
            expected="a readable Parquet file",
            found=str(error).splitlines()[0],
            remedy="write or copy the file again",
        ) from error
    columns = {n: c for n, c in zip(read.column_names, read.columns, strict=True) if not n.startswith("__index_level")}
    plain = {n: c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for n, c in columns.items()}
    return Table(file, plain, np.arange(read.num_rows), None)


def _open_csv(file: Path, head: bytes, as_text: Sequence[str], glacier: str) -> Table:
    """Read with pyarrow, columns of numbers as numbers; fall back to `read_table`, whose errors name the line."""
    text = decoded(head, f"{file}")  # an error for spreadsheets and archives
    whole = len(head) < _HEAD_BYTES
    if not _is_utf8(file):
        _, _, names = find_header(text.splitlines(keepends=True), [glacier]) or (0, ",", [])
        return _open_slowly(file, names, glacier)
    sampled = head.decode("utf-8-sig", errors="replace").splitlines(keepends=True)
    sampled = sampled if whole or len(sampled) == 1 else sampled[:-1]
    start, separator, names = find_header(sampled, [glacier]) or find_header(sampled, None) or (0, ",", [])
    check_names(names, file)
    if not names or "\ufffd" in "".join(names) or _has_open_quote(file):
        return _open_slowly(file, names, glacier)
    rows = csv.reader(
        io.StringIO("".join(sampled[start + 1 : start + 1 + _SAMPLED_LINES]), newline=""), delimiter=separator
    )
    try:
        cells = list(itertools.zip_longest(*rows, fillvalue="")) or [()] * len(names)
    except csv.Error:
        return _open_slowly(file, names, glacier)
    labels = [f"c{i}" for i in range(len(names))]
    texts = {name.casefold() for name in as_text}
    kinds = {
        label: pa.string() if name.casefold() in texts or not _all_numbers(some) else pa.float64()
        for label, name, some in zip(labels, names, cells, strict=False)
    }
    try:
        read = pa_csv.read_csv(
            file,
            pa_csv.ReadOptions(skip_rows=start + 1, column_names=labels, block_size=8 << 20),
            pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            pa_csv.ConvertOptions(column_types=kinds, null_values=MISSING, strings_can_be_null=True),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError):
        return _open_slowly(file, names, glacier)
    if any(_has_comma(read[label]) for label in labels):
        return _open_slowly(file, names, glacier)
    columns = _by_name(names, [read[label] for label in labels])
    table = Table(file, columns, np.arange(read.num_rows), _LineNumbers(file, start, separator))
    return table.only(~table.empty_rows())


def _has_comma(column: Any) -> bool:
    """Whether a column of text has numbers with a comma, which may be decimal."""
    if not pa.types.is_string(column.type):
        return False
    return bool(pc.any(pc.match_substring_regex(column, r"^\s*[+-]?[\d.]*,\d+")).as_py())


def _is_utf8(file: Path) -> bool:
    """Whether a file is text in UTF-8, read part by part."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as stream:
        try:
            for part in iter(lambda: stream.read(_HEAD_BYTES), b""):
                decoder.decode(part)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _has_open_quote(file: Path) -> bool:
    """Whether a quote is never closed; pyarrow would read all that follows as one cell."""
    with file.open("rb") as stream:
        return bool(sum(part.count(b'"') for part in iter(lambda: stream.read(_HEAD_BYTES), b"")) % 2)


def _all_numbers(cells: Iterable[str]) -> bool:
    filled = [c for c in (cell.strip() for cell in cells) if c not in MISSING]
    return bool(np.isfinite(pd.to_numeric(pd.Series(filled, dtype=object), errors="coerce")).all())


def _open_slowly(file: Path, names: list[str], glacier: str) -> Table:
    known = {n.casefold() for n in names}
    cells = read_table(file, header=[glacier.lower()] if glacier.casefold() in known else None)
    lines = cells[LINE].to_numpy(np.int64)
    width = cells.shape[1] - 1
    columns = [pa.chunked_array([pa.array(cells.iloc[:, i].to_numpy(), pa.string())]) for i in range(width)]
    return Table(file, _by_name(names[:width], columns), np.arange(len(cells)), lambda: lines)


def _by_name(names: list[str], columns: list[Any]) -> dict[str, Any]:
    """Columns by name; one without a name (often row numbers) becomes `unnamed 1`, or is dropped if it is empty."""
    numbered = enumerate(zip(names, columns, strict=True), 1)
    return {n or f"unnamed {i}": c for i, (n, c) in numbered if n or c.null_count < len(c)}


@dataclass(frozen=True)
class _LineNumbers:
    """Line number of every row of a CSV file, computed only if a message needs it."""

    file: Path
    start: int
    separator: str

    def __call__(self) -> Integers:
        with self.file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(itertools.islice(stream, self.start + 1, None), delimiter=self.separator)
            return np.array([self.start + 1 + rows.line_num for row in rows if row], dtype=np.int64)
