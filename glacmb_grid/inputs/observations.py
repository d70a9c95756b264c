"""Annual glacier-wide mass balances of the World Glacier Monitoring Service and their like.

Three layouts are told apart by their columns: the FoG "EE" table (elevation bands and glacier-wide rows in one table,
the latter marked by bounds of 9999), the newer lower-case FoG `mass_balance.csv`, and the table of annual balances with
RGI ids that regional models share. Units are stated by the caller, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.files import find_files

Units = Literal["mm w.e.", "m w.e.", "kg m-2"]
_TO_METRES: Mapping[str, float] = {"mm w.e.": 1e-3, "m w.e.": 1.0, "kg m-2": 1e-3}
_MISSING_CODES = (9999.0, -9999.0, 99999.0, -99999.0)
_LARGEST = 8.0  # m w.e., beyond anything measured glacier-wide in a year
_SMALLEST_SPREAD = 0.005  # m w.e., root mean square of a whole table; below it the unit must be wrong

_COLUMNS: dict[str, tuple[str, ...]] = {
    "year": ("year",),
    "site": ("wgms_id", "glacier_id", "id"),
    "name": ("name", "glacier_name", "short_name"),
    "mass_balance": ("annual_balance", "mass_balance"),
    "uncertainty": ("annual_balance_unc", "uncertainty"),
    "rgi_id": ("rgi_id", "rgiid"),
    "longitude": ("longitude", "lon"),
    "latitude": ("latitude", "lat"),
    "time_system": ("time_system", "time_measurement_system"),
    "lower_bound": ("lower_bound", "lower_elevation"),
    "upper_bound": ("upper_bound", "upper_elevation"),
    "remarks": ("remarks",),
}


def read_observations(path: str | Path, *, units: Units, default_uncertainty: float = 0.2) -> pd.DataFrame:
    """Annual glacier-wide balances, one row per site and year.

    Parameters
    ----------
    path : str or Path
        CSV in one of the layouts named above.
    units : {"mm w.e.", "m w.e.", "kg m-2"}
        Of the balances in the file.
    default_uncertainty : float
        1-sigma in m w.e. where the table gives none.

    Returns
    -------
    DataFrame
        Columns `site` (str), `name`, `year` (int), `mass_balance` and `uncertainty` (m w.e.),
        `uncertainty_given` (bool), `rgi_id`, `longitude`, `latitude` (blank or NaN where not given),
        `time_system`, `line` (in the file).

    Raises
    ------
    InputError or InputErrors
        Missing columns, missing-value codes among the balances, implausible values for the stated unit.
    """
    file = find_files(path, what="observations")[0]
    raw = _read_csv(file)
    table = _renamed(raw, file)
    table = _glacier_wide(table)
    if pd.to_numeric(table["mass_balance"], errors="coerce").notna().sum() == 0:
        raise InputError(
            f"{file}: mass balance",
            expected="glacier-wide annual balances",
            found="none in the table",
            remedy="check the column; of a FoG EE table only rows with bounds of 9999 are glacier-wide",
        )
    table = _numbers(table, file)
    _check_balances(table, file, units)
    factor = _TO_METRES[units]
    given = table["uncertainty"].notna() & (table["uncertainty"] > 0)
    out = table.assign(
        mass_balance=table["mass_balance"] * factor,
        uncertainty=(table["uncertainty"] * factor).where(given, default_uncertainty),
        uncertainty_given=given,
        year=table["year"].astype(int),
    )
    _check_twice(out, file)
    return out.drop(columns=["lower_bound", "upper_bound", "remarks"]).reset_index(drop=True)


def _read_csv(file: Path) -> pd.DataFrame:
    try:
        raw = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InputError(
            f"{file}",
            expected="a CSV table in UTF-8",
            found=str(error).splitlines()[0],
            remedy="export it again as CSV",
        ) from error
    return raw.assign(line=np.arange(2, len(raw) + 2))


def _renamed(raw: pd.DataFrame, file: Path) -> pd.DataFrame:
    lower = {str(c).strip().lower(): str(c) for c in raw.columns}
    table = pd.DataFrame({"line": raw["line"]})
    for ours, theirs in _COLUMNS.items():
        found = next((lower[t] for t in theirs if t in lower), None)
        table[ours] = raw[found].str.strip() if found else ""
    problems = Problems()
    for ours in ("year", "site", "mass_balance"):
        if not any(t in lower for t in _COLUMNS[ours]):
            with problems.collect():
                raise InputError(
                    f"{file}: {ours}",
                    expected=f"a column named {' or '.join(_COLUMNS[ours])} (in any case)",
                    found=f"columns {listing(raw.columns.drop('line'), 30)}",
                    remedy="rename the column, or give the FoG table of annual balances",
                )
    problems.raise_if_any()
    return table


def _glacier_wide(table: pd.DataFrame) -> pd.DataFrame:
    """Rows without bounds, or with both bounds 9999."""
    lower, upper = (pd.to_numeric(table[c], errors="coerce") for c in ("lower_bound", "upper_bound"))
    whole = (lower.isna() & upper.isna()) | ((lower == 9999) & (upper == 9999))
    return table[whole & (table["mass_balance"] != "")]


def _numbers(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    table = table.copy()
    problems = Problems()
    for column in ("year", "mass_balance", "uncertainty", "longitude", "latitude"):
        numbers = pd.to_numeric(table[column].where(table[column] != ""), errors="coerce")
        broken = numbers.isna() & (table[column] != "")
        if column == "year":
            broken |= numbers.isna() | (numbers % 1 != 0) | ~numbers.between(1800, 2200)
        if broken.any():
            with problems.collect():
                raise InputError(
                    f"{file}: {column}",
                    expected="a number" if column != "year" else "a year",
                    found=f"{listing(map(repr, table[column][broken]), 4)} in line(s) {listing(table['line'][broken])}",
                    remedy="correct or empty these cells",
                )
        table[column] = numbers.astype(float)
    blank = table["site"] == ""
    if blank.any():
        with problems.collect():
            raise InputError(
                f"{file}: site",
                expected="an identifier in every row",
                found=f"blank in line(s) {listing(table['line'][blank])}",
                remedy="fill it or remove these rows",
            )
    problems.raise_if_any()
    table["site"] = [s.lstrip("0") or "0" if s.isdigit() else s for s in table["site"]]
    return table


def _check_balances(table: pd.DataFrame, file: Path, units: Units) -> None:
    values = table["mass_balance"]
    code = values.isin(_MISSING_CODES)
    if code.any():
        raise InputError(
            f"{file}: mass balance",
            expected="measured balances",
            found=f"missing-value codes {listing(sorted(set(values[code])))} in line(s) {listing(table['line'][code])}",
            remedy="empty these cells or remove the rows",
        )
    metres = values * _TO_METRES[units]
    far = metres.abs() > _LARGEST
    if far.any():
        other = "mm w.e." if units == "m w.e." else "m w.e."
        raise InputError(
            f"{file}: mass balance",
            expected=f"values within +-{_LARGEST:g} m w.e. once read as {units}",
            found=f"{int(far.sum())} of {len(far)} beyond, such as {listing(values[far], 4)} in line(s) "
            f"{listing(table['line'][far], 4)}",
            remedy=f"if most values are like these, declare `observations: {{units: {other}}}`; else correct these rows",
        )
    spread = float(np.sqrt((metres**2).mean()))
    if len(metres) >= 5 and spread < _SMALLEST_SPREAD:
        raise InputError(
            f"{file}: mass balance",
            expected=f"a typical size above {_SMALLEST_SPREAD} m w.e. once read as {units}",
            found=f"root mean square {spread:.2g} m w.e.",
            remedy="declare `observations: {units: m w.e.}`",
        )


def _check_twice(table: pd.DataFrame, file: Path) -> None:
    twice = table.duplicated(["site", "year"], keep=False)
    if twice.any():
        pairs = [f"{s} in {y}" for s, y in table.loc[twice, ["site", "year"]].drop_duplicates().to_numpy()]
        raise InputError(
            f"{file}",
            expected="one glacier-wide balance per site and year",
            found=f"several for {listing(pairs)}",
            remedy="keep one of them",
        )
