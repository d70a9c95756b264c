"""A user's own table of glacier-years as samples: observed balances with the predictors that stand beside them.

Whatever is computed here (seasonal means, degree days, snowfall) is computed row by row and fits nothing, so that it
cannot carry anything from one row to another.
"""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.observations import Units
from glacmb_grid.inputs.tables import LINE, is_blank, read_table
from glacmb_grid.physics import positive_temperature, snow_fraction
from glacmb_grid.vocabulary import MASS_BALANCE_ATTRS, MELTING_POINT
from glacmb_grid.years import NORTHERN_START, SOUTHERN_START, calendar_months, days_in_month

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]

SEASONS: Final = {"accumulation": range(7), "ablation": range(7, 12), "summer": range(8, 11), "annual": range(12)}
"""Months after the start of the hemisphere's hydrological year, as those of `predictors`."""

_TO_METRES: Final[Mapping[str, float]] = {"mm w.e.": 1e-3, "m w.e.": 1.0, "kg m-2": 1e-3}
_FIRST_YEAR, _LAST_YEAR = 1800, 2200
_LARGEST, _SMALLEST = 10.0, 0.02  # m w.e., size of an annual balance
_TARGET_CODES = (9999.0, -9999.0, 99999.0, -99999.0)
_SPREAD, _SNOW_THRESHOLD, _SNOW_SPREAD = 4.0, 1.0, 2.0
_LINES_BEFORE_HEADER = 50
_SAMPLED_LINES = 200
_HEAD = 1 << 20  # bytes
_NOTHING: Final = [
    *("", "nan", "NaN", "NAN", "-nan", "na", "NA", "n/a", "N/A", "null", "NULL", "Null", "none", "None", "NONE", "<NA>")
]
_BOOLS: Final = {"true": 1.0, "false": 0.0}
_FOREIGN: Final = (
    (b"PK\x03\x04", "a spreadsheet or ZIP archive", "save it as CSV or Parquet"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet", "save it as CSV or Parquet"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first: gunzip"),
    (b"\x89HDF", "an HDF5 (NetCDF) file", "save it as CSV or Parquet"),
)
_POSITIONS = ("lat", "latitude", "lon", "long", "lng", "longitude")
_NUMBERS_OF_THINGS = re.compile(
    r"(.*_)?(id|ids|fold|folds)(_.*)?|(rgi|wgms|glacier|object|f)id|index|row|number|no|cell|group|cluster|block|site|"
    r"station|stake|wgms|rgi|unnamed\b.*",
    re.IGNORECASE,
)
_BALANCE = re.compile(
    r"balance|bilanz|(^|[^a-z0-9])(smb|ela|aar|b_?a|b_?w|b_?s|b_?n|mb|mwe|bilan|dmdt|dmdtda|dhdt)([^a-z]|$)",
    re.IGNORECASE,
)
_OTHER_BALANCE = re.compile(r"energy|radiation|heat|water.?(vapou?r|balance)|imbalance", re.IGNORECASE)
_COPY = 1 - 1e-5  # |r| beyond which a column is the target itself
_ROWS_TO_JUDGE, _ROWS_TO_LOOK = 8, 500
_MONTH_NAMES: Final = {
    name: number
    for number, names in enumerate(
        (
            ("jan", "january"),
            ("feb", "february"),
            ("mar", "march"),
            ("apr", "april"),
            ("may",),
            ("jun", "june"),
            ("jul", "july"),
            ("aug", "august"),
            ("sep", "sept", "september"),
            ("oct", "october"),
            ("nov", "november"),
            ("dec", "december"),
        ),
        1,
    )
    for name in names
}
_NAMED = "|".join(sorted(_MONTH_NAMES, key=len, reverse=True))
_FORMS: Final = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?P<stem>.+?)[_\-. ]?(?P<month>{_NAMED})",
        rf"(?P<month>{_NAMED})[_\-. ]?(?P<stem>.+)",
        r"(?P<stem>.+?)[_\-. ](?:month|mon|m)[_\-. ]?(?P<month>\d+)",
        r"(?P<stem>.*[^\d_\-. ])[_\-. ]?(?P<month>\d+)",
        r"(?P<stem>.*\d)[_\-. ](?P<month>\d+)",
        r"(?:month|mon|m)?(?P<month>\d+)[_\-. ](?P<stem>.+)",
        rf"(?P<stem>.+?)[_\-. ](?:month|mon|m)?(?P<month>\d+|{_NAMED})(?P<tail>[_\-. ].+)",
    )
)
_ROLES: Final = ("temperature", "snowfall", "precipitation")
_LOOKS: Final[Mapping[str, tuple[re.Pattern[str], re.Pattern[str]]]] = {
    "temperature": (
        re.compile(r"(^|[^a-z0-9])(t2m|temp|tas|tmean|tavg|tair|tmp|2t(?![a-z])|(ta|tm|t2|t)(?![a-z0-9]))|airtemp"),
        re.compile(
            r"dew|soil|snow|ice|skin|lake|sea|sst|max|min|anom|bright|spread|std|range|gradient|lapse|degree.?day"
        ),
    ),
    "snowfall": (
        re.compile(r"snow_?fall|solid_?prec|(^|[^a-z0-9])sf(?![a-z0-9])"),
        re.compile(r"fraction|ratio|days|melt|anom|max|min|std"),
    ),
    "precipitation": (
        re.compile(r"precip|(^|[^a-z0-9])(prec|prcp|ppt|tp|pr|p)(?![a-z0-9])"),
        re.compile(r"snow|solid|liquid|conv|type|days|intens|fraction|ratio|anom|max|min|std"),
    ),
}
_FIRST_CHOICE: Final = ("t2m", "temperature", "tas", "tmean", "tair", "snowfall", "sf", "precipitation", "tp", "pr")
_ANNUAL_WATER = (0.05, 10.0)  # m w.e., believable annual amounts
_DAYS_OF_YEAR = 365.25
_CANDIDATES: Final = ("m day-1", "m month-1", "mm day-1", "mm month-1")
_LENGTHS: Final = {"m": 1.0, "mm": 1e-3, "cm": 1e-2, "kg m-2": 1e-3}
_SPANS: Final = {"day-1": 1.0, "s-1": 86400.0, "hour-1": 24.0}
_CLIPPED_SHARE = 0.05
_NOISE = 1e-3  # negative amounts up to this share of the largest come of the packing of files


def read_samples_table(
    path: str | Path,
    *,
    glacier: str,
    year: str,
    target: str,
    target_units: Units,
    uncertainty: str | None = None,
    group: str | None = None,
    region: str | None = None,
    latitude: str | None = None,
    longitude: str | None = None,
    folds: Mapping[str, str | None] | None = None,
    predictors: Literal["all"] | Sequence[str] = "all",
    exclude: Sequence[str] = (),
    where: Mapping[str, object] | None = None,
    name: str | None = None,
    area: str | None = None,
    time_system: str | None = None,
    coordinates: bool = False,
    default_uncertainty: float = 0.2,
    monthly: Mapping[str, Mapping[str, str | None]] | None = None,
    temperature_spread: float = _SPREAD,
) -> xr.Dataset:
    """Samples from a table with one row per observation.

    Parameters
    ----------
    path : str or Path
        CSV (commas, semicolons or tabs; UTF-8 with or without a mark; lines before the header are passed over) or
        Parquet.
    glacier, year, target : str
        Columns of the glacier's identifier, the year and the observed annual balance. All columns are found whatever
        the case of their names.
    target_units : {"mm w.e.", "m w.e.", "kg m-2"}
        Of target and uncertainty.
    uncertainty : str, optional
        Column of the 1-sigma uncertainty.
    group : str, optional
        Column of what `logo` leaves out; default the glacier, also where the cell is blank.
    region, latitude, longitude, name, area, time_system : str, optional
        Columns that become coordinates; a blank region is an unknown one.
    folds : mapping, optional
        `logo` and `loyo`: columns with the user's own folds.
    predictors : "all" or sequence of str
        Names and shell-style patterns of columns, in any case. `all` takes every column with numbers that has no role,
        is no position and numbers no thing. What is computed from a monthly series goes with its twelve columns.
    exclude : sequence of str
        Names and patterns of what is no predictor.
    where : mapping, optional
        Column -> value or values: only such rows are read.
    coordinates : bool
        Whether latitude and longitude are predictors.
    default_uncertainty : float
        1-sigma in m w.e. where the table gives none.
    monthly : mapping, optional
        Name -> `columns` (pattern of twelve columns) and `units`; a series named `temperature`, `snowfall` or
        `precipitation` has that meaning. Default: series and units are recognised.
    temperature_spread : float
        Scatter of temperature within a month, K, for degree days.

    Returns
    -------
    xr.Dataset
        Over `sample`: `mass_balance`, `mass_balance_uncertainty` (m w.e.), coordinates `glacier`, `year`, `group`,
        `uncertainty_given` and those named above, `fold_logo`, `fold_loyo`. Over `row` (the same rows): `predictors`
        (row, predictor) float32, NaN where missing; coordinates `row_glacier`, `row_year`, `row_longitude`,
        `row_latitude`; over `predictor`: `derived` (computed here), `source` ("table", or the series that it was
        computed from), `monthly` (one of a series' twelve columns). Where there are monthly temperature (K) and
        snowfall or else precipitation (m w.e. a month) also these and `days`, (row, month), in the order of the
        hydrological year; `temperature` has the attribute `clipped` (1 where frozen months are 0 degrees Celsius).
        The operator is the identity. `attrs["notes"]`: lines on what was found and assumed.

    Warns
    -----
    UserWarning
        On rows and columns left out, units that were guessed, and climate shared between groups.

    Raises
    ------
    InputError or InputErrors
        Missing columns, blank identifiers, text among numbers, infinite values, an implausible size of the target, a
        predictor that is the target or is named like one.
    """
    told = _Told()
    roles = {
        "glacier": glacier,
        "year": year,
        "target": target,
        "uncertainty": uncertainty,
        "group": group,
        "region": region,
        "latitude": latitude,
        "longitude": longitude,
        "fold_logo": (folds or {}).get("logo"),
        "fold_loyo": (folds or {}).get("loyo"),
        "name": name,
        "area": area,
        "time_system": time_system,
    }
    file = find_file(path, what="samples")
    given = {r: c for r, c in roles.items() if c is not None}
    table = _open(file, [*given.values(), *(where or {})], glacier)
    at, chosen = _columns_of_roles(table, given, where or {})
    table = _measured(_where(table, chosen, where or {}), at, target_units, told)
    labels, values = _labels(table, at), _values(table, at, target_units)
    kept = _Kept(table, at, chosen, predictors, exclude, coordinates, told)
    series = _series(kept, monthly or {}, told)
    numbers = kept.numbers({c for s in series for c in s.columns})
    north = _northern(values.get("latitude"), len(table), bool(series), told)
    days = _days(labels["year"], north)
    forcing = _forcing(series, numbers, days, north, str(file), told)
    derived = _derived(series, numbers, forcing, days, north, temperature_spread)
    derived = kept.not_there(derived)
    taken = kept.with_derived(derived, series)
    _refuse_leaks(kept, taken, numbers, derived, values["target"], predictors, told)
    samples = _assemble(taken, numbers, derived, series, labels, values, default_uncertainty)
    samples = _with_forcing(samples, forcing, days, north)
    _tell_contents(samples, labels, series, numbers, told)
    samples.attrs["notes"] = "\n".join(told.notes)
    return samples


@dataclass
class _Told:
    """What the user should know: notes are kept, warnings are also raised."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.notes.append(text)
        warnings.warn(text, stacklevel=2)


# ---- the file ----


@dataclass(frozen=True)
class _Table:
    """Columns of a file, and which of its rows they are."""

    file: Path
    columns: dict[str, Any]  # name -> pyarrow.ChunkedArray
    rows: Integers
    lines: Callable[[], Integers] | None  # line number of every row of the file; None where rows have none

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, mask: Bools) -> _Table:
        if mask.all():
            return self
        chosen = pa.array(mask)
        columns = {n: c.filter(chosen) for n, c in self.columns.items()}
        return replace(self, columns=columns, rows=self.rows[mask])

    def place(self, mask: Bools) -> str:
        """Lines (or rows) of the file, for messages."""
        rows = self.rows[mask]
        if self.lines is None:
            return f"row(s) {listing(rows + 1)}"
        return f"line(s) {listing(self.lines()[rows])}"

    def is_text(self, name: str) -> bool:
        kind = self.columns[name].type
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def texts(self, name: str) -> Texts:
        """Cells as text without surrounding blanks, empty where nothing, (row,)."""
        column = self.columns[name]
        if not self.is_text(name):
            if pa.types.is_floating(column.type):
                whole = ["" if v is None or v != v else f"{v:.15g}" for v in column.to_pylist()]
                return np.array(whole, dtype=object)
            return np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=object)
        cells = pd.Series(["" if v is None else v.strip() for v in column.to_pylist()], dtype=object)
        return np.asarray(cells.where(~is_blank(cells), "").to_numpy(), dtype=object)

    def floats(self, name: str) -> tuple[Floats, Bools]:
        """Cells as numbers, and where they are neither numbers nor nothing, (row,)."""
        column = self.columns[name]
        if not self.is_text(name):
            try:
                numbers: Floats = np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), np.float64)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # dates and such
                return np.full(len(self), np.nan), ~pc.is_null(column).to_numpy()
            return numbers, np.zeros(len(self), bool)
        cells = pd.Series(self.texts(name))
        low = cells.str.lower()
        if low.isin([*_BOOLS, ""]).all():
            return np.asarray(low.map(_BOOLS), np.float64), np.zeros(len(self), bool)
        there = (cells != "").to_numpy()
        plain = np.asarray(pd.to_numeric(cells.where(there), errors="coerce"), np.float64)
        return plain, np.asarray(np.isnan(plain) & there, bool)


def _open(file: Path, wanted: Sequence[str], glacier: str) -> _Table:
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise InputError(
            f"{file}", expected="a CSV or Parquet file", found=str(error), remedy="correct the path or its permissions"
        ) from error
    for magic, kind, remedy in _FOREIGN:
        if head.startswith(magic):
            raise InputError(f"{file}", expected="a CSV or Parquet file", found=kind, remedy=remedy)
    table = _open_parquet(file) if head.startswith(b"PAR1") else _open_csv(file, head, wanted, glacier)
    if not len(table):
        raise InputError(f"{file}", expected="rows", found="only a header", remedy="give a table with observations")
    return table


def _open_parquet(file: Path) -> _Table:
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
    return _Table(file, plain, np.arange(read.num_rows), None)


def _open_csv(file: Path, head: bytes, wanted: Sequence[str], glacier: str) -> _Table:
    """Numbers as numbers at once; where that fails the cells one by one, with the line of what is wrong."""
    whole = len(head) < _HEAD
    sampled = head.decode("utf-8-sig", errors="replace").splitlines(keepends=True)
    sampled = sampled if whole or len(sampled) == 1 else sampled[:-1]
    start, separator, names = _header(sampled, glacier)
    _check_names(names, file)
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
    ids = {w.casefold() for w in wanted}
    kinds = {
        label: pa.string() if name.casefold() in ids or not _all_numbers(some) else pa.float64()
        for label, name, some in zip(labels, names, cells, strict=False)
    }
    for types in (kinds, dict.fromkeys(labels, pa.string())):
        try:
            read = pa_csv.read_csv(
                file,
                pa_csv.ReadOptions(skip_rows=start + 1, column_names=labels, block_size=8 << 20),
                pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
                pa_csv.ConvertOptions(column_types=types, null_values=_NOTHING, strings_can_be_null=True),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError):
            continue
        columns = _named(names, [read[label] for label in labels])
        table = _Table(file, columns, np.arange(read.num_rows), _LineNumbers(file, start, separator))
        return table.only(~_empty_rows(table))
    return _open_slowly(file, names, glacier)


def _has_open_quote(file: Path) -> bool:
    """Whether a quote is never closed, so that a lenient reader takes all that follows for one cell."""
    with file.open("rb") as stream:
        return bool(sum(part.count(b'"') for part in iter(lambda: stream.read(_HEAD), b"")) % 2)


def _all_numbers(cells: Iterable[str]) -> bool:
    there = [c for c in (cell.strip() for cell in cells) if c not in _NOTHING]
    return bool(np.isfinite(pd.to_numeric(pd.Series(there, dtype=object), errors="coerce")).all())


def _open_slowly(file: Path, names: list[str], glacier: str) -> _Table:
    """Through the reader that names the line of whatever breaks the table."""
    known = {n.casefold() for n in names}
    cells = read_table(file, header={glacier.lower()} if glacier.casefold() in known else None)
    lines = cells[LINE].to_numpy(np.int64)
    width = cells.shape[1] - 1
    there = [pa.chunked_array([pa.array(cells.iloc[:, i].to_numpy(), pa.string())]) for i in range(width)]
    return _Table(file, _named(names[:width], there), np.arange(len(cells)), lambda: lines)


def _named(names: list[str], columns: list[Any]) -> dict[str, Any]:
    """Columns by name; a column without one (row numbers, as a rule) is called so, an empty one is dropped."""
    there = zip(names, columns, strict=True)
    return {n or f"unnamed {i}": c for i, (n, c) in enumerate(there, 1) if n or c.null_count < len(c)}


def _header(lines: list[str], glacier: str) -> tuple[int, str, list[str]]:
    """Number of the header line (the first with the glacier's column, or the first), the separator and the names."""
    first: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(lines[:_LINES_BEFORE_HEADER]):
        separator = max(",;\t", key=line.count)
        names = [n.strip() for n in next(csv.reader([line], delimiter=separator), [])]
        if glacier.casefold() in {n.casefold() for n in names}:
            return number, separator, names
        if first is None and any(names):
            first = number, separator, names
    return first or (0, ",", [])


def _check_names(names: list[str], file: Path) -> None:
    twice = sorted({n for n in names if n and names.count(n) > 1})
    if twice:
        raise InputError(
            f"{file}: header",
            expected="every column name once",
            found=f"more than once: {listing(twice)}",
            remedy="rename or remove the others",
        )


@dataclass(frozen=True)
class _LineNumbers:
    """Line number of every row of a CSV file, looked up only when a message needs them."""

    file: Path
    start: int
    separator: str

    def __call__(self) -> Integers:
        with self.file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(itertools.islice(stream, self.start + 1, None), delimiter=self.separator)
            return np.array([self.start + 1 + rows.line_num for row in rows if row], dtype=np.int64)


def _empty_rows(table: _Table) -> Bools:
    """Rows without anything in any cell, as spreadsheets append them."""
    empty = np.ones(len(table), bool)
    for name, column in table.columns.items():
        nothing = (table.texts(name) == "") if table.is_text(name) else pc.is_null(column).to_numpy()
        empty &= nothing
        if not empty.any():
            break
    return empty


# ---- columns by their role ----


def _find(table: _Table, wanted: str, said: str) -> str:
    if wanted in table.columns:
        return wanted
    alike = [n for n in table.columns if n.casefold() == wanted.strip().casefold()]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise InputError(
            f"{table.file}: {wanted}",
            expected="one column of this name",
            found=f"{listing(map(repr, alike))}, which differ in case only",
            remedy=f"write `samples: {{{said}}}` as in the table",
        )
    near = difflib.get_close_matches(wanted.casefold(), [n.casefold() for n in table.columns], 1, 0.6)
    hint = next((n for n in table.columns if near and n.casefold() == near[0]), None)
    raise InputError(
        f"{table.file}: {wanted}",
        expected=f"a column of this name (in any case), as `samples: {{{said}}}` says",
        found=f"columns {listing(table.columns, 20)}",
        remedy=f"did you mean {hint!r}?" if hint else f"correct `samples: {{{said}}}` or the header",
    )


def _columns_of_roles(
    table: _Table, given: Mapping[str, str], where: Mapping[str, object]
) -> tuple[dict[str, str], dict[str, str]]:
    """Role -> column, and column of `where` as written there -> column."""
    problems = Problems()
    at, chosen = {}, {}
    for role, wanted in given.items():
        with problems.collect():
            fold = role.removeprefix("fold_")
            said = f"{role}: {wanted}" if fold == role else f"folds: {{{fold}: {wanted}}}"
            at[role] = _find(table, wanted, said)
    for wanted in where:
        with problems.collect():
            chosen[wanted] = _find(table, wanted, f"where: {{{wanted}: ...}}")
    problems.raise_if_any()
    return at, chosen


def _where(table: _Table, chosen: Mapping[str, str], where: Mapping[str, object]) -> _Table:
    for wanted, column in chosen.items():
        value = where[wanted]
        values = list(value) if isinstance(value, (list, tuple, set)) else [value]
        cells = table.texts(column)
        kept = np.isin([_plain(c) for c in cells], [_plain(str(v)) for v in values])
        if not kept.any():
            raise InputError(
                f"{table.file}: {column}",
                expected=f"rows with {listing(map(str, values))}, as `samples: {{where: ...}}` says",
                found=f"only {listing(map(repr, dict.fromkeys(cells.tolist())), 12)}",
                remedy="correct the value under `where`",
            )
        table = table.only(kept)
    return table


def _plain(text: str) -> str:
    """`1`, `1.0` and `01` are one value, and so are `True` and `TRUE`."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text.casefold()


def _measured(table: _Table, at: Mapping[str, str], units: str, told: _Told) -> _Table:
    """Rows with a target."""
    column = at["target"]
    values, broken = table.floats(column)
    if broken.any():
        raise _text_in(table, column, broken)
    blank = np.isnan(values)
    if blank.all():
        raise InputError(
            f"{table.file}: {column}",
            expected=f"observed balances in {units}",
            found=f"only blank cells in {len(blank)} rows",
            remedy="name the column of the balances with `samples: {target: ...}`",
        )
    if blank.any():
        told.warn(
            f"{table.file}: left out {int(blank.sum())} of {len(blank)} rows whose {column} is blank, "
            f"in {table.place(blank)}"
        )
    return table.only(~blank)


def _text_in(table: _Table, column: str, broken: Bools) -> InputError:
    cells = table.texts(column)[broken]
    comma = any(re.fullmatch(r"[+-]?\d+,\d+", c) for c in cells)
    return InputError(
        f"{table.file}: {column}",
        expected="a number",
        found=f"{listing(map(repr, cells), 4)} in {table.place(broken)}",
        remedy="use a point for decimals" if comma else "correct or empty these cells",
    )


def _labels(table: _Table, at: Mapping[str, str]) -> dict[str, Any]:
    """Texts by role, and the year, (row,)."""
    problems = Problems()
    labels: dict[str, Any] = {}
    with problems.collect():
        ids = np.array([_identifier(t) for t in table.texts(at["glacier"])], dtype=object)
        blank = np.asarray(ids == "")
        if blank.any():
            raise InputError(
                f"{table.file}: {at['glacier']}",
                expected="an identifier of the glacier in every row",
                found=f"blank in {table.place(blank)}",
                remedy="fill it or remove these rows",
            )
        labels["glacier"] = ids
    with problems.collect():
        labels["year"] = _years(table, at["year"])
    problems.raise_if_any()
    for role in ("group", "fold_logo", "fold_loyo"):
        if role in at:
            labels[role] = np.array([_identifier(t) for t in table.texts(at[role])], dtype=object)
    for role in ("region", "name", "time_system"):
        if role in at:
            labels[role] = table.texts(at[role])
    if "group" not in labels:
        labels["group"] = labels["glacier"].copy()
    labels["group"] = np.where(labels["group"] == "", labels["glacier"], labels["group"])
    return labels


def _identifier(text: str) -> str:
    """Without the `.0` that spreadsheets append to numbers; leading zeros stay."""
    stem = text.removesuffix(".0")
    return stem if stem.isdigit() else text


def _years(table: _Table, column: str) -> Integers:
    years, broken = table.floats(column)
    wrong = broken | ~np.isfinite(years) | (years % 1 != 0) | (years < _FIRST_YEAR) | (years > _LAST_YEAR)
    if wrong.any():
        raise InputError(
            f"{table.file}: {column}",
            expected=f"a year within {_FIRST_YEAR}..{_LAST_YEAR} in every row",
            found=f"{listing(map(repr, table.texts(column)[wrong]), 4)} in {table.place(wrong)}",
            remedy="correct these cells (a hydrological year is named by the year in which it ends) or remove the rows",
        )
    return years.astype(np.int64)


def _values(table: _Table, at: Mapping[str, str], units: Units) -> dict[str, Floats]:
    """Numbers by role, target and uncertainty in m w.e., (row,)."""
    problems = Problems()
    values: dict[str, Floats] = {}
    for role in ("target", "uncertainty", "latitude", "longitude", "area"):
        if role not in at:
            continue
        with problems.collect():
            numbers, broken = table.floats(at[role])
            broken |= np.isinf(numbers)
            if broken.any():
                raise _text_in(table, at[role], broken)
            values[role] = numbers * (_TO_METRES[units] if role in ("target", "uncertainty") else 1.0)
    problems.raise_if_any()
    for check in (_check_target, _check_uncertainty, _check_positions):
        with problems.collect():
            check(table, at, values, units)
    problems.raise_if_any()
    if "longitude" in values:
        values["longitude"] = np.where(values["longitude"] > 180, values["longitude"] - 360, values["longitude"])
    return values


def _check_target(table: _Table, at: Mapping[str, str], values: Mapping[str, Floats], units: Units) -> None:
    metres, where = values["target"], f"{table.file}: {at['target']}"
    code = np.isin(metres / _TO_METRES[units], _TARGET_CODES)
    if code.any():
        raise InputError(
            where,
            expected="measured values",
            found=f"missing-value codes in {table.place(code)}",
            remedy="empty these cells or remove the rows",
        )
    far = np.abs(metres) > _LARGEST
    others = [u for u in ("mm w.e.", "m w.e.") if _TO_METRES[u] != _TO_METRES[units]]
    if far.any():
        raise InputError(
            where,
            expected=f"annual balances within +-{_LARGEST:g} m w.e. once read as {units}",
            found=f"{int(far.sum())} of {len(far)} beyond, such as {listing(_short(metres[far]), 3)} m w.e. "
            f"in {table.place(far)}",
            remedy=f"if most values are like these, declare `samples: {{target_units: {others[0]}}}`, else correct "
            "these rows",
        )
    largest = float(np.abs(metres).max())
    if 0 < largest < _SMALLEST:
        raise InputError(
            where,
            expected=f"annual balances of which some are beyond +-{_SMALLEST:g} m w.e. once read as {units}",
            found=f"none beyond {largest:.2g} m w.e.",
            remedy=f"declare `samples: {{target_units: {others[0]}}}`",
        )


def _short(values: Floats) -> Iterator[str]:
    return (f"{v:.4g}" for v in values)


def _check_uncertainty(table: _Table, at: Mapping[str, str], values: Mapping[str, Floats], units: Units) -> None:
    if "uncertainty" not in values:
        return
    metres = values["uncertainty"]
    wrong = (metres > _LARGEST) | (metres < 0)
    if wrong.any():
        raise InputError(
            f"{table.file}: {at['uncertainty']}",
            expected=f"values within 0..{_LARGEST:g} m w.e. once read as {units}",
            found=f"{listing(_short(metres[wrong]), 4)} m w.e. in {table.place(wrong)}",
            remedy="give it in the unit of the target, or empty these cells",
        )


def _check_positions(table: _Table, at: Mapping[str, str], values: Mapping[str, Floats], units: Units) -> None:
    for role, low, high in (("latitude", -90.0, 90.0), ("longitude", -180.0, 360.0)):
        if role in values:
            wrong = (values[role] < low) | (values[role] > high)
            if wrong.any():
                raise InputError(
                    f"{table.file}: {at[role]}",
                    expected=f"degrees within {low:g}..{high:g}",
                    found=f"{listing(_short(values[role][wrong]), 4)} in {table.place(wrong)}",
                    remedy="correct these cells, or give positions in degrees (not in metres of a projection)",
                )


# ---- predictors and monthly series ----


def _matches(name: str, pattern: str) -> bool:
    name, pattern = name.casefold(), pattern.casefold()
    return name == pattern or fnmatchcase(name, pattern)


class _Kept:
    """Which columns are predictors, and their numbers."""

    def __init__(
        self,
        table: _Table,
        at: Mapping[str, str],
        chosen: Mapping[str, str],
        predictors: Literal["all"] | Sequence[str],
        exclude: Sequence[str],
        coordinates: bool,
        told: _Told,
    ) -> None:
        self.table, self.told, self.exclude = table, told, list(exclude)
        self.patterns = ["*"] if predictors == "all" else list(predictors)
        self.every = "*" in self.patterns
        self.roles = {c: r for r, c in at.items() if r != "area"} | dict.fromkeys(chosen.values(), "where")
        self.roles |= {at[r]: r for r in ("glacier", "year", "target")}
        free = [n for n in table.columns if n not in self.roles and not self._is_excluded(n)]
        self.floats = {n: table.floats(n) for n in free if table.is_text(n) or not _is_number(table.columns[n])}
        texts = [n for n, (v, broken) in self.floats.items() if broken.sum() > np.isfinite(v).sum()]
        self.numeric = [n for n in free if n not in texts]
        self.table_names = self._selected(texts)
        if coordinates:
            self.table_names += [at[r] for r in ("longitude", "latitude") if r in at and at[r] not in self.table_names]

    def _is_excluded(self, name: str) -> bool:
        return any(_matches(name, p) for p in self.exclude)

    def _selected(self, texts: list[str]) -> list[str]:
        apart = self._apart() if self.every else []
        if self.every and texts:
            self.told.warn(f"{self.table.file}: columns with text are no predictors: {listing(texts, 20)}")
        taken = [n for n in self.numeric if n not in apart and any(_matches(n, p) for p in self.patterns)]
        for pattern in self.patterns:
            exact = next((n for n in self.table.columns if n.casefold() == pattern.casefold()), None)
            if exact in texts:
                values, broken = self.floats[exact]
                del values
                raise _text_in(self.table, exact, broken)
            role = self.roles.get(exact) if exact is not None else None
            if exact is None or role is None or self._is_excluded(exact):
                continue
            if role not in ("latitude", "longitude", "year"):
                raise InputError(
                    f"{self.table.file}: {exact}",
                    expected="predictors that are known where nothing was measured",
                    found=f"the column of `samples: {{{role}: ...}}` among `samples: {{predictors: ...}}`",
                    remedy="take it out of `samples: {predictors: ...}`",
                )
            taken.append(exact)
        return taken

    def _apart(self) -> list[str]:
        """Columns that `all` leaves out although they hold numbers."""
        named = [p.casefold() for p in self.patterns if p != "*"]
        there = [n for n in self.numeric if n.casefold() not in named]
        positions = [n for n in there if n.casefold() in _POSITIONS]
        things = [n for n in there if _NUMBERS_OF_THINGS.fullmatch(n)]
        for what, names in (("positions", positions), ("numbers of things", things)):
            if names:
                self.told.warn(
                    f"{self.table.file}: {listing(names)} not taken as predictors, being {what} by name; to use them "
                    "add their names to `samples: {predictors: ['*', ...]}`, to be rid of this line to `exclude`"
                )
        return positions + things

    def numbers(self, more: Iterable[str]) -> dict[str, Floats]:
        """Values of the predictors and of more columns, NaN where missing."""
        problems = Problems()
        numbers: dict[str, Floats] = {}
        coded: dict[str, int] = {}
        for name in dict.fromkeys([*self.table_names, *more]):
            values, broken = self.floats[name] if name in self.floats else self.table.floats(name)
            with problems.collect():
                if broken.any():
                    raise _text_in(self.table, name, broken)
                infinite = np.isinf(values)
                if infinite.any():
                    raise InputError(
                        f"{self.table.file}: {name}",
                        expected="finite numbers",
                        found=f"infinite in {self.table.place(infinite)}",
                        remedy="empty these cells: a missing predictor is filled inside each fold",
                    )
            numbers[name] = _without_codes(values)
            count = int(np.isnan(numbers[name]).sum() - np.isnan(values).sum())
            if count:
                coded[name] = count
            self.table.columns[name] = None  # the numbers are all that is needed from here on
        problems.raise_if_any()
        self.floats.clear()
        if coded:
            cells = [f"{n} ({c})" for n, c in coded.items()]
            self.told.note(f"missing-value codes such as -9999 taken as missing in {listing(cells, 12)}")
        return numbers

    def not_there(self, derived: Mapping[str, _Derived]) -> dict[str, _Derived]:
        """What was computed, but for names that the table has itself."""
        names = {n.casefold() for n in self.table.columns}
        own = [n for n in derived if n.casefold() in names]
        if own:
            self.told.note(f"{listing(own)} taken from the table, not computed")
        return {n: d for n, d in derived.items() if n not in own}

    def with_derived(self, derived: Mapping[str, _Derived], series: Sequence[_Series]) -> list[str]:
        """Predictors of the table, and what was computed from series taken whole (or is named itself)."""
        table = set(self.table_names)
        whole = {s.stem for s in series if set(s.columns) <= table}
        taken = [
            n
            for n, d in derived.items()
            if not self._is_excluded(n)
            and (set(d.stems) <= whole or any(_matches(n, p) for p in self.patterns if p != "*"))
        ]
        there = [*self.table.columns, *derived]
        for key, patterns in (("predictors", self.patterns), ("exclude", self.exclude)):
            for pattern in patterns:
                if not any(_matches(n, pattern) for n in there):
                    near = difflib.get_close_matches(pattern.casefold(), [n.casefold() for n in there], 1, 0.6)
                    raise InputError(
                        f"samples: {key}: {pattern!r}",
                        expected=f"a name or pattern of columns of {self.table.file}",
                        found="no match",
                        remedy=f"did you mean {near[0]!r}?" if near else f"choose among {listing(there, 40)}",
                    )
        if not self.table_names and not taken:
            raise InputError(
                f"{self.table.file}: predictors",
                expected="at least one column of numbers",
                found=f"none that `samples: {{predictors: ...}}` takes among {listing(self.table.columns, 20)}",
                remedy="correct `samples: {predictors: ..., exclude: ...}`",
            )
        return [*self.table_names, *taken]


def _is_number(column: Any) -> bool:
    kind = column.type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _without_codes(values: Floats) -> Floats:
    """NaN in place of codes for missing values: extremes of a column, far from everything else in it."""
    values = np.where(np.abs(values) >= 1e19, np.nan, values)
    for extreme, codes in ((np.fmin, (-99999.0, -32768.0, -9999.0, -999.0)), (np.fmax, (99999.0, 32767.0, 9999.0))):
        for code in codes:
            if extreme.reduce(values) == code:
                others = np.where(values == code, np.nan, values)
                if not abs(extreme.reduce(others)) * np.sign(code) * np.sign(extreme.reduce(others)) > abs(code) / 2:
                    values = others
    return values


@dataclass(frozen=True)
class _Series:
    """Twelve columns from January to December."""

    stem: str
    columns: tuple[str, ...]
    role: str | None = None
    units: str | None = None


@dataclass(frozen=True)
class _Derived:
    values: Floats
    stems: tuple[str, ...]


def _series(kept: _Kept, declared: Mapping[str, Mapping[str, str | None]], told: _Told) -> list[_Series]:
    """Declared and recognised monthly series; at most one of each role."""
    pool = list(kept.numeric)
    first: list[_Series] = []
    for name, said in declared.items():
        one = _declared(kept, pool, name, said, told)
        first.append(one)
        pool = [n for n in pool if n not in one.columns]
    found = _recognised(pool)
    roles = {s.role for s in first if s.role}
    for role in _ROLES:
        if role in roles:
            continue
        look, other = _LOOKS[role]
        alike = [s for s in first + found if s.role is None and _is_like(s.stem, look, other)]
        if alike:
            best = min(alike, key=lambda s: (s not in first, _rank(s.stem)))
            first = [replace(s, role=role) if s is best else s for s in first]
            found = [replace(s, role=role) if s is best else s for s in found]
            if len(alike) > 1:
                stems = listing(s.stem for s in alike if s is not best)
                told.note(
                    f"{best.stem} taken as the monthly {role}, not {stems}; `samples: {{monthly: ...}}` can say so"
                )
    return first + found


def _is_like(stem: str, look: re.Pattern[str], other: re.Pattern[str]) -> bool:
    return bool(look.search(stem.casefold())) and not other.search(stem.casefold())


def _rank(stem: str) -> int:
    return _FIRST_CHOICE.index(stem.casefold()) if stem.casefold() in _FIRST_CHOICE else len(_FIRST_CHOICE)


def _recognised(pool: Sequence[str]) -> list[_Series]:
    """Names that differ by the twelve months only, in the order of the table."""
    found: list[_Series] = []
    left = list(pool)
    for form in _FORMS:
        groups: dict[str, dict[str, list[int]]] = {}
        for name in left:
            match = form.fullmatch(name)
            if match:
                groups.setdefault(_stem(match).casefold(), {}).setdefault(name, []).append(_month(match["month"]))
        for months in groups.values():
            if sorted(m for ms in months.values() for m in ms) == list(range(1, 13)):
                columns = tuple(sorted(months, key=lambda n: months[n][0]))
                first = form.fullmatch(columns[0])
                assert first is not None
                found.append(_Series(_stem(first), columns))
                left = [n for n in left if n not in months]
    return sorted(found, key=lambda s: pool.index(s.columns[0]))


def _stem(match: re.Match[str]) -> str:
    return match["stem"] + (match.groupdict().get("tail") or "")


def _month(text: str) -> int:
    return int(text) if text.isdigit() else _MONTH_NAMES[text.casefold()]


def _declared(kept: _Kept, pool: Sequence[str], name: str, said: Mapping[str, str | None], told: _Told) -> _Series:
    pattern, units = said.get("columns"), said.get("units")
    role = name.casefold() if name.casefold() in _ROLES else None
    if pattern is None:
        alike = [s for s in _recognised(pool) if s.stem.casefold() == name.casefold()]
        columns = alike[0].columns if alike else ()
    else:
        columns = tuple(n for n in pool if _matches(n, pattern))
    if len(columns) != 12:
        raise InputError(
            f"samples: monthly: {name}",
            expected=f"twelve columns of numbers in {kept.table.file}",
            found=f"{len(columns)} that match {pattern or name!r}" + (f": {listing(columns, 14)}" if columns else ""),
            remedy="correct the pattern under `columns`, such as `t2m_??`; excluded columns do not count",
        )
    known = _recognised(columns)
    if len(known) == 1:
        return _Series(name, known[0].columns, role, units)
    told.note(f"the twelve columns of {name} taken as January to December in the order of the table")
    return _Series(name, columns, role, units)


def _northern(latitude: Floats | None, size: int, needed: bool, told: _Told) -> Bools:
    """Whether the months of a row follow the northern year, (row,)."""
    known = latitude is not None and bool(np.isfinite(latitude).any())
    if latitude is None or not known:
        if needed:
            told.note("no latitude given: seasons are those of the northern hemisphere")
        return np.ones(size, bool)
    return np.asarray(np.where(np.isfinite(latitude), latitude, np.nanmean(latitude)) >= 0)


def _in_order(calendar: Floats, north: Bools) -> Floats:
    """January to December -> order of the hydrological year, (row, month)."""
    orders = [np.array(calendar_months(first)) - 1 for first in (SOUTHERN_START, NORTHERN_START)]
    return np.take_along_axis(calendar, np.array(orders)[north.astype(int)], axis=1)


def _days(year: Integers, north: Bools) -> Floats:
    january = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]")
    calendar = days_in_month(january[:, None] + np.arange(12).astype("timedelta64[M]"))
    return _in_order(calendar.astype(np.float64), north)


@dataclass(frozen=True)
class _Forcing:
    """Monthly temperature (K) and water (m w.e. a month), (row, month), in the order of the hydrological year."""

    temperature: Floats | None = None
    clipped: bool = False
    water: dict[str, Floats] = field(default_factory=dict)  # snowfall, precipitation
    stems: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


def _forcing(
    series: Sequence[_Series], numbers: Mapping[str, Floats], days: Floats, north: Bools, where: str, told: _Told
) -> _Forcing:
    roles = {s.role: s for s in series if s.role}
    forcing = _Forcing(stems={r: s.stem for r, s in roles.items() if r})
    values = {r: _in_order(np.stack([numbers[c] for c in s.columns], axis=1), north) for r, s in roles.items() if r}
    if "temperature" in roles:
        kelvin, unit = _in_kelvin(values["temperature"], roles["temperature"], where, told)
        if kelvin is not None:
            clipped = _is_clipped(kelvin)
            if clipped:
                told.note(
                    f"{roles['temperature'].stem} is clipped at the melting point: a frozen month tells no more than "
                    "that, and degree days are max(T, 0) x days"
                )
            forcing = replace(forcing, temperature=kelvin, clipped=clipped)
            forcing.units["temperature"] = unit
    for role in ("snowfall", "precipitation"):
        if role in roles:
            amount, unit = _in_metres(values[role], roles[role], days, where, told)
            if amount is not None:
                forcing.water[role], forcing.units[role] = amount, unit
    return forcing


def _in_kelvin(values: Floats, series: _Series, where: str, told: _Told) -> tuple[Floats | None, str]:
    if np.isnan(values).all():
        return None, ""
    median = float(np.nanmedian(values))
    unit = series.units or ("K" if median > 150 else "degC")
    kelvin = unit.strip().casefold() in ("k", "kelvin")
    if not kelvin and unit.strip().casefold() not in ("degc", "c", "°c", "celsius", "deg_c", "degrees celsius"):
        raise InputError(
            f"samples: monthly: {series.stem}: units", expected="K or degC", found=repr(unit), remedy="correct the unit"
        )
    celsius = values - MELTING_POINT if kelvin else values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a month without any value
        usual = np.nanmean(celsius, axis=0)
    low, high = float(np.nanmin(celsius)), float(np.nanmax(celsius))
    if low < -90 or high > 60:
        what = f"{low:.4g}..{high:.4g} degrees Celsius once read as {unit}"
    elif not _is_clipped(celsius + MELTING_POINT) and np.nanmax(np.abs(usual)) < 0.5:
        what = "monthly means all near 0, as of anomalies or standardised values"
    else:
        return celsius + MELTING_POINT, unit
    if series.units:
        raise InputError(
            f"{where}: {series.stem}",
            expected="monthly temperatures within -90..60 degrees Celsius that differ between the months",
            found=what,
            remedy=f"correct `samples: {{monthly: {{{series.stem}: {{units: ...}}}}}}`",
        )
    told.warn(f"{where}: {series.stem} not taken as a temperature ({what}): no degree days, no temperature index")
    return None, ""


def _is_clipped(kelvin: Floats) -> bool:
    frozen = np.abs(kelvin - MELTING_POINT) < 1e-3
    return bool(frozen.mean() >= _CLIPPED_SHARE and np.nanmin(kelvin) > MELTING_POINT - 1e-3)


def _in_metres(values: Floats, series: _Series, days: Floats, where: str, told: _Told) -> tuple[Floats | None, str]:
    """Amounts in m w.e. a month, (row, month); the unit declared, or the one that gives a believable year."""
    low, high = _ANNUAL_WATER
    units = [series.units] if series.units else list(_CANDIDATES)
    factors = {u: _per_month(u, days, series.stem) for u in units}
    year = {u: _typical_year(values * f) for u, f in factors.items()}
    believable = [u for u in units if low <= year[u] <= high]
    negative = bool(np.nanmin(values, initial=0) < -_NOISE * np.nanmax(np.abs(values), initial=0))
    values = np.maximum(values, 0)
    if series.units and (negative or not low / 10 <= year[series.units] <= 2 * high):
        raise InputError(
            f"{where}: {series.stem}",
            expected=f"amounts of {low:g}..{high:g} m w.e. a year, none negative",
            found="negative amounts" if negative else f"{year[series.units]:.3g} m w.e. once read as {series.units}",
            remedy=f"correct `samples: {{monthly: {{{series.stem}: {{units: ...}}}}}}`",
        )
    if series.units:
        return values * factors[series.units], series.units
    if negative or not believable:
        why = "it has negative values" if negative else "no usual unit makes a believable year of it"
        told.warn(f"{where}: {series.stem} not taken as {series.role} ({why}): the temperature index does not use it")
        return None, ""
    unit = min(believable, key=lambda u: abs(np.log(year[u])))
    others = [f"{u} ({year[u]:.2g})" for u in believable if u != unit]
    told.warn(
        f"{where}: {series.stem} read as {unit}, {year[unit]:.2g} m w.e. in the median year"
        + (f"; possible as well: {listing(others)}" if others else "")
        + f"; declare it by `samples: {{monthly: {{{series.stem}: {{columns: ..., units: {unit}}}}}}}`"
    )
    return values * factors[unit], unit


def _typical_year(amounts: Floats) -> float:
    totals = amounts.sum(axis=1)
    return float(np.nanmedian(totals)) if np.isfinite(totals).any() else float("nan")


def _per_month(unit: str, days: Floats, stem: str) -> Floats:
    """Factor to m w.e. a month, (row, month)."""
    plain = re.sub(r"/\s*([a-z]+)(\d*)", lambda m: f" {m[1]}-{m[2] or 1}", unit.casefold().replace("**", ""))
    words = plain.replace("^", "").replace("w.e.", "").replace("of water equivalent", "").split()
    words = [{"d-1": "day-1", "h-1": "hour-1", "mon-1": "month-1", "kg": "kg", "mm": "mm"}.get(w, w) for w in words]
    length, span = " ".join(words[:-1]), words[-1] if words else ""
    if length not in _LENGTHS or span not in (*_SPANS, "month-1"):
        raise InputError(
            f"samples: monthly: {stem}: units",
            expected=f"one of {listing(_CANDIDATES)}, kg m-2 s-1, or K, degC for a temperature",
            found=repr(unit),
            remedy="write the length and the span, such as `mm month-1`",
        )
    return _LENGTHS[length] * (days * _SPANS[span] if span in _SPANS else np.ones_like(days))


def _derived(
    series: Sequence[_Series],
    numbers: Mapping[str, Floats],
    forcing: _Forcing,
    days: Floats,
    north: Bools,
    spread: float,
) -> dict[str, _Derived]:
    """Seasonal means of every series, degree days (K d) and, where no snowfall is given, snowfall (m w.e.)."""
    derived: dict[str, _Derived] = {}
    for one in series:
        values = _in_order(np.stack([numbers[c] for c in one.columns], axis=1), north)
        for season, months in SEASONS.items():
            derived[f"{one.stem}_{season}"] = _Derived(values[:, list(months)].mean(axis=1), (one.stem,))
    if forcing.temperature is None:
        return derived
    celsius = forcing.temperature - MELTING_POINT
    warmth = np.maximum(celsius, 0) if forcing.clipped else positive_temperature(celsius, spread)
    parts: dict[str, tuple[Floats, tuple[str, ...]]] = {"degree_days": (warmth * days, (forcing.stems["temperature"],))}
    if "precipitation" in forcing.water and "snowfall" not in forcing.stems:
        share = snow_fraction(celsius, _SNOW_THRESHOLD, _SNOW_SPREAD)
        if forcing.clipped:
            share = np.where(celsius <= 0, 1.0, share)
        both = (forcing.stems["precipitation"], forcing.stems["temperature"])
        parts["snowfall"] = (forcing.water["precipitation"] * share, both)
    for name, (amount, stems) in parts.items():
        for season, months in SEASONS.items():
            derived.setdefault(f"{name}_{season}", _Derived(amount[:, list(months)].sum(axis=1), stems))
    return derived


# ---- what must not be a predictor ----


def _refuse_leaks(
    kept: _Kept,
    taken: Sequence[str],
    numbers: Mapping[str, Floats],
    derived: Mapping[str, _Derived],
    target: Floats,
    predictors: Literal["all"] | Sequence[str],
    told: _Told,
) -> None:
    file = kept.table.file
    columns = {n: numbers[n] if n in numbers else derived[n].values for n in taken}
    copies = [n for n, v in columns.items() if _is_copy(v, target)]
    if copies:
        raise InputError(
            f"{file}: {listing(copies)}",
            expected="predictors that are known where nothing was measured",
            found="the target itself, scaled or shifted",
            remedy=f"add {listing(copies)} to `samples: {{exclude: [...]}}`",
        )
    meant = [] if predictors == "all" else [p for p in predictors if _names_balance(p)]
    balances = [n for n in columns if _names_balance(n)]
    unasked = [n for n in balances if not any(_matches(n, p) for p in meant)]
    if unasked:
        raise InputError(
            f"{file}: {listing(unasked)}",
            expected="predictors that are known where nothing was measured",
            found="columns named like a mass balance",
            remedy="add them to `samples: {exclude: [...]}`, or, where they are no measurement of the same year, name "
            "them in `samples: {predictors: ['*', ...]}`",
        )
    if balances:
        told.warn(f"{file}: {listing(balances)} named like a mass balance, and taken as predictors since you name them")


def _names_balance(name: str) -> bool:
    return bool(_BALANCE.search(name)) and not _OTHER_BALANCE.search(name)


def _is_copy(values: Floats, target: Floats) -> bool:
    there = np.isfinite(values)
    count = int(there.sum())
    x, y = values[there], target[there]
    if count < 2 or not np.ptp(y):
        return False
    if count < _ROWS_TO_JUDGE:
        return any(np.allclose(x * factor, y, rtol=1e-6, atol=1e-12) for factor in (1, 1e-3, 1e3))
    return _is_affine(x[:_ROWS_TO_LOOK], y[:_ROWS_TO_LOOK]) and _is_affine(x, y)


def _is_affine(x: Floats, y: Floats) -> bool:
    """Whether each is a scaled and shifted copy of the other, but for rounding."""
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return size > 0 and abs(float(x @ y)) > _COPY * size


# ---- samples ----


def _assemble(
    taken: Sequence[str],
    numbers: Mapping[str, Floats],
    derived: Mapping[str, _Derived],
    series: Sequence[_Series],
    labels: Mapping[str, Any],
    values: Mapping[str, Floats],
    default_uncertainty: float,
) -> xr.Dataset:
    matrix = np.empty((len(labels["year"]), len(taken)), np.float32)
    for i, name in enumerate(taken):
        matrix[:, i] = numbers[name] if name in numbers else derived[name].values
    computed = np.array([n not in numbers for n in taken], dtype=bool)
    sources = ["+".join(derived[n].stems) if n not in numbers else "table" for n in taken]
    monthly = {c for s in series for c in s.columns}
    uncertainty = values.get("uncertainty", np.full(len(matrix), np.nan))
    given = uncertainty > 0
    names = pd.Series([f"{g}:{y}" for g, y in zip(labels["glacier"], labels["year"], strict=True)], dtype=object)
    again = names.groupby(names).cumcount().to_numpy()
    names = names.where(again == 0, names + "#" + (again + 1).astype(str))
    numbered = np.arange(len(matrix))
    samples = xr.Dataset(
        {
            "predictors": (("row", "predictor"), matrix),
            "mass_balance": ("sample", values["target"], MASS_BALANCE_ATTRS),
            "mass_balance_uncertainty": ("sample", np.where(given, uncertainty, default_uncertainty), {"units": "m"}),
            "operator_sample": ("entry", numbered),
            "operator_row": ("entry", numbered.copy()),
            "operator_weight": ("entry", np.ones(len(matrix))),
        },
        coords={
            "sample": names.to_numpy().astype(object),
            "predictor": np.array(taken, dtype=object),
            "derived": ("predictor", computed),
            "source": ("predictor", np.array(sources, dtype=object)),
            "monthly": ("predictor", np.array([n in monthly for n in taken], dtype=bool)),
            "uncertainty_given": ("sample", given),
            "row_glacier": ("row", labels["glacier"]),
            "row_year": ("row", labels["year"]),
        },
    )
    samples = samples.assign_coords({r: ("sample", v) for r, v in labels.items()})
    for role in ("longitude", "latitude"):
        if role in values:
            attrs = {"units": f"degrees_{'east' if role == 'longitude' else 'north'}"}
            samples = samples.assign_coords(
                {role: ("sample", values[role], attrs), f"row_{role}": ("row", values[role].copy(), attrs)}
            )
    return samples.assign_coords(area=("sample", values["area"])) if "area" in values else samples


def _with_forcing(samples: xr.Dataset, forcing: _Forcing, days: Floats, north: Bools) -> xr.Dataset:
    if forcing.temperature is None or not forcing.water:
        return samples
    first = NORTHERN_START if north.all() else SOUTHERN_START
    month = calendar_months(first) if north.all() or not north.any() else list(range(1, 13))
    what = "calendar month" if month[0] != 1 else "number within the hydrological year of the row's hemisphere"
    over = ("row", "month")
    told = {r: {"source": forcing.stems[r], "source_units": u} for r, u in forcing.units.items()}
    clipped = {"units": "K", "clipped": int(forcing.clipped)}
    samples = samples.assign(temperature=(over, forcing.temperature, clipped | told["temperature"]), days=(over, days))
    for role, amount in forcing.water.items():
        samples[role] = (
            over,
            amount,
            {"units": "m", "long_name": f"{role} of the month, water equivalent"} | told[role],
        )
    return samples.assign_coords(month=("month", month, {"long_name": what}))


def _tell_contents(
    samples: xr.Dataset,
    labels: Mapping[str, Any],
    series: Sequence[_Series],
    numbers: Mapping[str, Floats],
    told: _Told,
) -> None:
    size = samples.sizes["sample"]
    computed = int(samples["derived"].values.sum())
    told.notes.insert(
        0,
        f"{size} rows, {len(set(labels['glacier']))} glaciers, {len(set(labels['group']))} groups, "
        f"{len(set(labels['year'].tolist()))} years, {samples.sizes['predictor'] - computed} predictors of the table "
        f"and {computed} computed from its monthly series",
    )
    if series:
        told.note(
            f"monthly series: {listing((s.stem for s in series), 30)}; numbers of columns taken as calendar months, "
            "and their values as those of the row's year (whether October to December are those before, a table "
            "cannot tell)"
        )
    _tell_gaps(samples, told)
    if "region" in labels and (labels["region"] == "").any():
        count = int((labels["region"] == "").sum())
        told.note(f"{count} rows without a region: leave_region_out neither fits nor scores them")
    if (~samples["uncertainty_given"].values).any() and samples["uncertainty_given"].values.any():
        told.note(f"{int((~samples['uncertainty_given'].values).sum())} rows without an uncertainty take the default")
    _tell_twice(samples, labels, told)
    _tell_shared_climate(labels, series, numbers, told)


def _tell_gaps(samples: xr.Dataset, told: _Told) -> None:
    values = samples["predictors"].values[:, ~samples["derived"].values]
    names = samples["predictor"].values[~samples["derived"].values]
    missing = np.isnan(values).sum(axis=0)
    if missing.any():
        cells = [f"{n} ({c})" for n, c in zip(names, missing, strict=True) if c]
        told.note(f"{int(missing.sum())} missing values of predictors, filled inside each fold: {listing(cells, 12)}")
    if missing.all() and len(missing) == 0:
        return
    empty = missing == len(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # columns without any value
        same = ~empty & (np.nanmin(values, axis=0) == np.nanmax(values, axis=0))
    for what, which in (("no value at all", empty), ("one value in all rows", same)):
        if which.any():
            told.note(f"columns with {what}, dropped inside each fold: {listing(names[which], 12)}")


def _tell_twice(samples: xr.Dataset, labels: Mapping[str, Any], told: _Told) -> None:
    keys = pd.DataFrame({"glacier": labels["glacier"], "year": labels["year"]})
    several = keys.duplicated(keep=False)
    if not several.any():
        return
    own = [samples["mass_balance"].values, *samples["predictors"].values.T]
    content = _fingerprints((v[several].astype(np.float64) for v in own), int(several.sum()))
    twice = int(keys[several].assign(content=content).duplicated().sum())
    told.note(
        f"{int(several.sum())} rows share their glacier and year with another and stay on its side of every split"
        + (f"; {twice} of them repeat another row wholly" if twice else "")
    )


def _tell_shared_climate(
    labels: Mapping[str, Any], series: Sequence[_Series], numbers: Mapping[str, Floats], told: _Told
) -> None:
    """Rows of one year and several groups with the same weather: `logo` would show a group what it withholds."""
    if not series:
        return
    size = len(labels["year"])
    months = [numbers[c] for s in series for c in s.columns]
    there = np.logical_or.reduce([np.isfinite(m) & (m != 0) for m in months])
    climate = _fingerprints(months, size)
    rows = pd.DataFrame({"year": labels["year"], "climate": climate, "group": labels["group"]})[there]
    shared = rows.groupby(["year", "climate"])["group"].transform("nunique") > 1
    if shared.any():
        told.warn(
            f"{int(shared.sum())} of {size} rows have the very climate of another group in the same year (one "
            "grid cell, as a rule), so that a split by group lets it through: give glaciers of one cell one value in a "
            "column and name it, `samples: {group: COLUMN}`"
        )


def _fingerprints(columns: Iterable[Floats], size: int) -> npt.NDArray[np.uint64]:
    """One number for every row, the same where the columns hold the same values, (row,)."""
    mixed = np.zeros(size, np.uint64)
    for values in columns:
        mixed ^= (values + 0.0).view(np.uint64)  # -0 and 0 are one value
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
