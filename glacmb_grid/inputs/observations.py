"""Annual glacier-wide mass balances from tables of the World Glacier Monitoring Service (WGMS) and similar ones.

The columns decide which of three layouts a table has: the table "EE" of Fluctuations of Glaciers (FoG; elevation bands
and glacier-wide rows together, the latter with both bounds 9999), the newer FoG `mass_balance.csv` in lower case, or a
table of annual balances with RGI ids. The caller states the units; they are never guessed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.tables import (
    LINE,
    Column,
    column,
    described,
    is_blank,
    numbers,
    positions,
    read_table,
    site_name,
)
from glacmb_grid.inputs.units import TO_METRES, BalanceUnits

_LARGEST = 8.0  # m w.e., no glacier-wide annual balance has been larger
_SMALLEST_SPREAD = 0.005  # m w.e., root mean square of a table; below it the unit must be wrong
_WHOLE_GLACIER = 9999.0  # in both elevation bounds

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


def read_observations(path: str | Path, *, units: BalanceUnits, default_uncertainty: float = 0.2) -> pd.DataFrame:
    """Annual glacier-wide balances, one row per site and year.

    Parameters
    ----------
    path : str or Path
        CSV in one of the layouts above.
    units : {"mm w.e.", "m w.e.", "kg m-2"}
        Unit of the balances in the file.
    default_uncertainty : float
        1-sigma, m w.e., for rows without an uncertainty.

    Returns
    -------
    DataFrame
        Columns `site` (str), `name`, `year` (int), `mass_balance` and `uncertainty` (m w.e.),
        `uncertainty_given` (bool), `rgi_id`, `longitude`, `latitude` (blank or NaN if not given),
        `time_system`, `line` (line number in the file).

    Raises
    ------
    InputError or InputErrors
        Missing columns, missing-value codes among the balances, values implausible in the stated unit.
    """
    file = find_file(path, what="observations")
    table = _glacier_wide(_renamed(read_table(file), file), file)
    if table.empty:
        raise InputError(
            f"{file}: mass balance",
            expected="glacier-wide annual balances",
            found="none in the table",
            remedy="check the column; in a FoG EE table only rows with both bounds 9999 are glacier-wide",
        )
    table = _typed(table, file)
    _check_balances(table, file, units)
    _check_uncertainties(table, file, units)
    factor = TO_METRES[units]
    given = table["uncertainty"].notna() & (table["uncertainty"] > 0)
    out = table.assign(
        mass_balance=table["mass_balance"] * factor,
        uncertainty=(table["uncertainty"] * factor).where(given, default_uncertainty),
        uncertainty_given=given,
    )
    _refuse_duplicates(out, file)
    return out.drop(columns=["lower_bound", "upper_bound"]).reset_index(drop=True)


def _renamed(raw: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The columns under the names of `_COLUMNS`, with blank cells for columns that the table lacks."""
    problems = Problems()
    for name in ("year", "site", "mass_balance"):
        if not set(_COLUMNS[name]) & set(raw.columns):
            with problems.collect():
                raise InputError(
                    f"{file}: {name}",
                    expected=f"a column named {' or '.join(_COLUMNS[name])} (in any case)",
                    found=f"columns {listing(raw.columns.drop(LINE), 30)}",
                    remedy="rename the column, or give the FoG table of annual balances",
                )
    problems.raise_if_any()
    table = pd.DataFrame({LINE: raw[LINE]} | {name: column(raw, names) for name, names in _COLUMNS.items()})
    return table.join(positions(raw, _LONGITUDE, _LATITUDE, file))


def _glacier_wide(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Rows with a balance and either no elevation bounds or both bounds 9999."""
    lower, upper = (numbers(table[c], table[LINE], f"{file}: {c}") for c in ("lower_bound", "upper_bound"))
    whole = (np.isnan(lower) & np.isnan(upper)) | ((lower == _WHOLE_GLACIER) & (upper == _WHOLE_GLACIER))
    rows: pd.DataFrame = table[whole & ~is_blank(table["mass_balance"])]
    return rows


def _described(table: pd.DataFrame, name: str, file: Path) -> Column:
    return described(table[name], table[LINE], f"{file}: {name.replace('_', ' ')}")


def _typed(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Balances, uncertainties and years as numbers, sites without leading zeros."""
    problems = Problems()
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for name in ("mass_balance", "uncertainty"):
        with problems.collect():
            columns[name] = numbers(table[name], table[LINE], f"{file}: {name}")
    with problems.collect():
        years = numbers(table["year"], table[LINE], f"{file}: year")
        columns["year"] = _described(table, "year", file).whole_years(years)
    with problems.collect():
        _described(table, "site", file).require_filled(is_blank(table["site"]).to_numpy(bool))
    problems.raise_if_any()
    return table.assign(**columns, site=table["site"].map(site_name))


def _check_balances(table: pd.DataFrame, file: Path, units: BalanceUnits) -> None:
    balances = _described(table, "mass_balance", file)
    values = table["mass_balance"].to_numpy(np.float64)
    balances.refuse_missing_codes(values)
    metres = values * TO_METRES[units]
    balances.require_balances(metres, _LARGEST, units, "observations: {units: %s}")
    spread = float(np.sqrt((metres**2).mean()))
    if len(metres) > 1 and 0 < spread < _SMALLEST_SPREAD:
        raise InputError(
            balances.where,
            expected=f"a root mean square above {_SMALLEST_SPREAD} m w.e. when read as {units}",
            found=f"{spread:.2g} m w.e.",
            remedy="declare `observations: {units: m w.e.}`",
        )


def _check_uncertainties(table: pd.DataFrame, file: Path, units: BalanceUnits) -> None:
    uncertainties = _described(table, "uncertainty", file)
    values = table["uncertainty"].to_numpy(np.float64)
    uncertainties.refuse_missing_codes(values)
    uncertainties.require_uncertainties(values * TO_METRES[units], _LARGEST, units)


def _refuse_duplicates(table: pd.DataFrame, file: Path) -> None:
    repeated = table.duplicated(["site", "year"], keep=False)
    if repeated.any():
        rows = table[repeated].sort_values(["site", "year", LINE])
        labels = rows["site"] + " in " + rows["year"].astype(str)
        duplicates = [f"{label} (lines {listing(rows[LINE][labels == label])})" for label in labels.unique()[:8]]
        raise InputError(
            f"{file}",
            expected="one glacier-wide balance per site and year",
            found=f"several for {listing(duplicates)}",
            remedy="keep one of them",
        )
