"""Regional series of others: of the Glacier Mass Balance Intercomparison Exercise (GlaMBIE), and plain tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs import tables
from glacmb_grid.inputs.files import find_files

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]

COLUMNS = ("region", "begin", "end", "change", "uncertainty", "unit", "area", "file")
_DAY = "datetime64[D]"
_UNITS = {"gt": "Gt", "mwe": "m w.e.", "m w.e.": "m w.e.", "m we": "m w.e."}
_GLAMBIE_REGIONS = (
    "alaska",
    "western_canada_us",
    "arctic_canada_north",
    "arctic_canada_south",
    "greenland_periphery",
    "iceland",
    "svalbard",
    "scandinavia",
    "russian_arctic",
    "north_asia",
    "central_europe",
    "caucasus_middle_east",
    "central_asia",
    "south_asia_west",
    "south_asia_east",
    "low_latitudes",
    "southern_andes",
    "new_zealand",
    "antarctic_and_subantarctic",
)
_NUMBER = re.compile(r"^(?:RGI[567]\d-)?(\d{1,2})(?:_\w+)?$")
_NEAR_A_MONTH = 0.05  # months


def read_series(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    r"""Regional changes over periods, for `compare_series`.

    Parameters
    ----------
    paths : str, Path or a list of them
        CSV files; patterns such as `glambie/*.csv` too. Results of GlaMBIE (`start_dates`, `end_dates` in decimal
        years, `combined_gt`, `combined_mwe`), its layout for submissions (`region_id`, `start_date`, `end_date`,
        `glacier_change_observed`, `unit`), or plain tables: `region`, `begin`, `end` (2000-10-01; `end` is the first
        day after the period), `change`, `unit` (m w.e. or Gt) and, optionally, `uncertainty` and `area` (km2).

    Returns
    -------
    DataFrame
        `COLUMNS`: `region` (`13`, or as the table has it), `begin`, `end` (days, `end` not in the period), `change` and
        `uncertainty` in its `unit`, "m w.e." or "Gt"; `area` (km2, NaN if unknown); `file`, its name.

    Raises
    ------
    InputError
        No such file, none of these layouts, cells that are no numbers or dates, periods that end before they begin.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "sums.csv"
    >>> _ = path.write_text("region,begin,end,change,unit\n11,2000-10-01,2001-10-01,-0.5,m w.e.\n")
    >>> gg.read_series(path)[["region", "change", "unit"]].values.tolist()
    [['11', -0.5, 'm w.e.']]
    """
    parts = [_read(path) for path in find_files(paths, what="regional series")]
    return pd.concat(parts, ignore_index=True)[[*COLUMNS]]


def _read(file: Path) -> pd.DataFrame:
    table = tables.read_table(file)
    layouts: dict[Callable[[pd.DataFrame, Path], pd.DataFrame], tuple[str, ...]] = {
        _results: ("start_dates", "end_dates"),
        _submission: ("region_id", "start_date", "end_date", "glacier_change_observed", "unit"),
        _plain: ("region", "begin", "end", "change", "unit"),
    }
    for read, columns in layouts.items():
        if set(columns) <= set(table.columns):
            found = read(table, file)
            break
    else:
        raise InputError(
            f"{file}",
            expected="; or ".join(", ".join(columns) for columns in layouts.values()),
            found=f"columns {listing((n for n in table.columns if n != tables.LINE), 12)}",
            remedy="take a result file of GlaMBIE, or name the columns region, begin, end, change and unit",
        )
    if backwards := int((~(found["end"] > found["begin"])).sum()):
        raise InputError(
            f"{file}: end",
            expected="periods that end after they begin",
            found=f"{backwards} that do not",
            remedy="correct these dates; `end` is the first day after the period",
        )
    return found.assign(file=file.name)


def _results(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Both units of a result file of GlaMBIE, one after the other."""
    begin, end = (_of_decimal_years(_filled(table, n, file)) for n in ("start_dates", "end_dates"))
    units = [u for u in ("gt", "mwe") if f"combined_{u}" in table]
    if not units:
        raise InputError(
            f"{file}",
            expected="the columns combined_gt or combined_mwe",
            found=f"columns {listing((n for n in table.columns if n != tables.LINE), 12)}",
            remedy="take the file of the combined estimates",
        )
    number = _NUMBER.match(file.stem)
    names = table["region"] if "region" in table else pd.Series(file.stem, index=table.index)
    region = [number[1].zfill(2)] * len(table) if number else [region_code(n) for n in names]
    parts = [
        pd.DataFrame(
            {
                "region": region,
                "begin": begin,
                "end": end,
                "change": _numbers(table, f"combined_{u}", file),
                "uncertainty": _numbers(table, f"combined_{u}_errors", file),
                "unit": _UNITS[u],
                "area": _numbers(table, "glacier_area", file),
            }
        )
        for u in units
    ]
    return pd.concat(parts).dropna(subset="change")


def _submission(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    renamed = table.rename(
        columns={
            "region_id": "region",
            "start_date": "begin",
            "end_date": "end",
            "glacier_change_observed": "change",
            "glacier_change_uncertainty": "uncertainty",
            "glacier_area_reference_start": "area",
        }
    )
    return _plain(renamed, file, day_first=True)


def _plain(table: pd.DataFrame, file: Path, *, day_first: bool = False) -> pd.DataFrame:
    unit = table["unit"].str.casefold().map(_UNITS)
    if unit.isna().any():
        raise InputError(
            f"{file}: unit",
            expected="m w.e. (mwe) or Gt",
            found=listing(sorted(set(table["unit"][unit.isna()])), 4),
            remedy="convert the changes",
        )
    columns = {
        "region": table["region"].str.strip(),
        "begin": _dates(table, "begin", file, day_first),
        "end": _dates(table, "end", file, day_first),
        "change": _numbers(table, "change", file),
        "uncertainty": _numbers(table, "uncertainty", file),
        "unit": unit,
        "area": _numbers(table, "area", file),
    }
    return pd.DataFrame(columns).dropna(subset="change")


def region_code(name: str) -> str:
    """Number of a region of the RGI, `13` for 13, RGI60-13, 13_central_asia, central_asia; other names as they are."""
    text = str(name).strip()
    if number := _NUMBER.match(text):
        return number[1].zfill(2)
    plain = re.sub(r"\W+", "_", text.casefold())
    return f"{_GLAMBIE_REGIONS.index(plain) + 1:02d}" if plain in _GLAMBIE_REGIONS else text


def _numbers(table: pd.DataFrame, name: str, file: Path) -> Floats:
    if name not in table:
        return np.full(len(table), np.nan)
    return tables.numbers(table[name], table[tables.LINE], f"{file}: {name}")


def _filled(table: pd.DataFrame, name: str, file: Path) -> Floats:
    values = _numbers(table, name, file)
    if not np.isfinite(values).all():
        raise InputError(
            f"{file}: {name}",
            expected="a decimal year in every row",
            found=f"{int((~np.isfinite(values)).sum())} blank",
            remedy="fill or remove these rows",
        )
    return values


def _dates(table: pd.DataFrame, name: str, file: Path, day_first: bool) -> Days:
    iso = pd.to_datetime(table[name], format="%Y-%m-%d", errors="coerce")
    days = iso.fillna(pd.to_datetime(table[name], format="%d/%m/%Y", errors="coerce")) if day_first else iso
    if days.isna().any():
        raise InputError(
            f"{file}: {name}",
            expected="dates such as " + ("01/10/2000 (day, month, year)" if day_first else "2000-10-01"),
            found=listing(map(repr, table[name][days.isna()]), 4),
            remedy="correct these cells",
        )
    return days.to_numpy().astype(_DAY)


def _of_decimal_years(years: Floats) -> Days:
    """Days of decimal years; 1999.75 is the first of October."""
    whole = np.floor(years)
    january = (whole - 1970).astype("datetime64[Y]")
    after = january + np.timedelta64(1, "Y")
    length = (after.astype(_DAY) - january.astype(_DAY)).astype(np.float64)
    days = january.astype(_DAY) + np.rint((years - whole) * length).astype("timedelta64[D]")
    months = (years - whole) * 12
    first = january.astype("datetime64[M]") + np.rint(months).astype("timedelta64[M]")
    return np.asarray(np.where(np.abs(months - np.rint(months)) < _NEAR_A_MONTH, first.astype(_DAY), days))
