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
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.tables import LINE, column, is_blank, numbers, positions, read_table, site_name

Units = Literal["mm w.e.", "m w.e.", "kg m-2"]
_TO_METRES: Mapping[str, float] = {"mm w.e.": 1e-3, "m w.e.": 1.0, "kg m-2": 1e-3}
_MISSING_CODES = (9999.0, -9999.0, 99999.0, -99999.0)
_LARGEST = 8.0  # m w.e., beyond anything measured glacier-wide in a year
_SMALLEST_SPREAD = 0.005  # m w.e., root mean square of a whole table; below it the unit must be wrong
_WHOLE = 9999.0  # in both bounds: the whole glacier
_FIRST_YEAR, _LAST_YEAR = 1800, 2200

_COLUMNS: dict[str, tuple[str, ...]] = {
    "year": ("year",),
    "site": ("wgms_id", "glacier_id", "id"),
    "name": ("name", "glacier_name", "short_name"),
    "mass_balance": ("annual_balance", "mass_balance"),
    "uncertainty": ("annual_balance_unc", "uncertainty"),
    "rgi_id": ("rgi_id", "rgiid"),
    "time_system": ("time_system", "time_measurement_system"),
    "lower_bound": ("lower_bound", "lower_elevation"),
    "upper_bound": ("upper_bound", "upper_elevation"),
}
_LONGITUDE, _LATITUDE = ("longitude", "lon"), ("latitude", "lat")


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
    file = find_file(path, what="observations")
    table = _glacier_wide(_renamed(read_table(file), file), file)
    if table.empty:
        raise InputError(
            f"{file}: mass balance",
            expected="glacier-wide annual balances",
            found="none in the table",
            remedy="check the column; of a FoG EE table only rows with bounds of 9999 are glacier-wide",
        )
    table = _typed(table, file)
    _check_balances(table, file, units)
    _check_uncertainties(table, file, units)
    factor = _TO_METRES[units]
    given = table["uncertainty"].notna() & (table["uncertainty"] > 0)
    out = table.assign(
        mass_balance=table["mass_balance"] * factor,
        uncertainty=(table["uncertainty"] * factor).where(given, default_uncertainty),
        uncertainty_given=given,
    )
    _check_twice(out, file)
    return out.drop(columns=["lower_bound", "upper_bound"]).reset_index(drop=True)


def _renamed(raw: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Our names for the columns, blank where the table has none."""
    problems = Problems()
    for ours in ("year", "site", "mass_balance"):
        if not set(_COLUMNS[ours]) & set(raw.columns):
            with problems.collect():
                raise InputError(
                    f"{file}: {ours}",
                    expected=f"a column named {' or '.join(_COLUMNS[ours])} (in any case)",
                    found=f"columns {listing(raw.columns.drop(LINE), 30)}",
                    remedy="rename the column, or give the FoG table of annual balances",
                )
    problems.raise_if_any()
    table = pd.DataFrame({LINE: raw[LINE]} | {ours: column(raw, theirs) for ours, theirs in _COLUMNS.items()})
    return table.join(positions(raw, _LONGITUDE, _LATITUDE, file))


def _glacier_wide(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Rows with a balance and without bounds, or with both bounds 9999."""
    lower, upper = (numbers(table[c], table[LINE], f"{file}: {c}") for c in ("lower_bound", "upper_bound"))
    whole = (np.isnan(lower) & np.isnan(upper)) | ((lower == _WHOLE) & (upper == _WHOLE))
    rows: pd.DataFrame = table[whole & ~is_blank(table["mass_balance"])]
    return rows


def _typed(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Numbers as numbers, the year as an integer, the site without leading zeros."""
    problems = Problems()
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for name in ("mass_balance", "uncertainty"):
        with problems.collect():
            columns[name] = numbers(table[name], table[LINE], f"{file}: {name}")
    with problems.collect():
        columns["year"] = _years(table, file)
    blank = is_blank(table["site"])
    if blank.any():
        with problems.collect():
            raise InputError(
                f"{file}: site",
                expected="an identifier in every row",
                found=f"blank in line(s) {listing(table[LINE][blank])}",
                remedy="fill it or remove these rows",
            )
    problems.raise_if_any()
    return table.assign(**columns, site=table["site"].map(site_name))


def _years(table: pd.DataFrame, file: Path) -> npt.NDArray[np.int64]:
    years = numbers(table["year"], table[LINE], f"{file}: year")
    wrong = np.isnan(years) | (years % 1 != 0) | (years < _FIRST_YEAR) | (years > _LAST_YEAR)
    if wrong.any():
        raise InputError(
            f"{file}: year",
            expected=f"a year within {_FIRST_YEAR}..{_LAST_YEAR}",
            found=f"{listing(map(repr, table['year'][wrong]), 4)} in line(s) {listing(table[LINE][wrong])}",
            remedy="correct these cells or remove the rows",
        )
    return years.astype(np.int64)


def _check_balances(table: pd.DataFrame, file: Path, units: Units) -> None:
    values = table["mass_balance"]
    _refuse_codes(values, table[LINE], f"{file}: mass balance")
    metres = values * _TO_METRES[units]
    far = metres.abs() > _LARGEST
    if far.any():
        other = "mm w.e." if units == "m w.e." else "m w.e."
        raise InputError(
            f"{file}: mass balance",
            expected=f"values within +-{_LARGEST:g} m w.e. once read as {units}",
            found=f"{int(far.sum())} of {len(far)} beyond, such as {listing(values[far], 4)} in line(s) "
            f"{listing(table[LINE][far], 4)}",
            remedy=f"if most values are like these, declare `observations: {{units: {other}}}`, else correct the rows",
        )
    spread = float(np.sqrt((metres**2).mean()))
    if len(metres) > 1 and 0 < spread < _SMALLEST_SPREAD:
        raise InputError(
            f"{file}: mass balance",
            expected=f"a typical size above {_SMALLEST_SPREAD} m w.e. once read as {units}",
            found=f"root mean square {spread:.2g} m w.e.",
            remedy="declare `observations: {units: m w.e.}`",
        )


def _check_uncertainties(table: pd.DataFrame, file: Path, units: Units) -> None:
    values = table["uncertainty"]
    _refuse_codes(values, table[LINE], f"{file}: uncertainty")
    wrong = (values * _TO_METRES[units] > _LARGEST) | (values < 0)
    if wrong.any():
        raise InputError(
            f"{file}: uncertainty",
            expected=f"values within 0..{_LARGEST:g} m w.e. once read as {units}",
            found=f"{listing(values[wrong], 4)} in line(s) {listing(table[LINE][wrong], 4)}",
            remedy="give it in the unit of the balances, or empty these cells",
        )


def _refuse_codes(values: pd.Series[float], lines: pd.Series[int], where: str) -> None:
    code = values.isin(_MISSING_CODES)
    if code.any():
        raise InputError(
            where,
            expected="measured values",
            found=f"missing-value codes {listing(sorted(set(values[code])))} in line(s) {listing(lines[code])}",
            remedy="empty these cells or remove the rows",
        )


def _check_twice(table: pd.DataFrame, file: Path) -> None:
    twice = table.duplicated(["site", "year"], keep=False)
    if twice.any():
        rows = table[twice].sort_values(["site", "year", LINE])
        labels = rows["site"] + " in " + rows["year"].astype(str)
        pairs = [f"{label} (lines {listing(rows[LINE][labels == label])})" for label in labels.unique()[:8]]
        raise InputError(
            f"{file}",
            expected="one glacier-wide balance per site and year",
            found=f"several for {listing(pairs)}",
            remedy="keep one of them",
        )
