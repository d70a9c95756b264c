"""Geodetic balances: mean rates over several years, from tables of rates or of elevation changes.

Its columns decide what a table holds: rates of mass (Hugonnet et al. 2021), elevation changes (Fluctuations of
Glaciers), or what the caller names. An elevation change becomes a balance by a density.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.checking import Positive, checking_arguments
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.balances.geodetic_columns import Quantity, as_water, chosen, factor, unit_of
from glacmb_grid.inputs.balances.identifiers import names_of_sites, refuse_twins
from glacmb_grid.inputs.balances.judged import Said, judge_mixture, refuse_codes
from glacmb_grid.inputs.balances.layouts import both_bounds_whole
from glacmb_grid.inputs.balances.periods import LONGEST, YEAR_DAYS, Dates, dates_of, periods_of
from glacmb_grid.inputs.balances.releases import CHANGES, open_release
from glacmb_grid.inputs.balances.statements import kept_apart
from glacmb_grid.inputs.tables import LINE, Column, described, is_blank, numbers, positions
from glacmb_grid.inputs.units import square_kilometres
from glacmb_grid.vocabulary import GeodeticUnits

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DENSITY = (850.0, 60.0)
"""Density of the volume that glaciers lose or gain and its 1-sigma, kg m-3 (Huss 2013)."""

_LONGEST = 150.0  # years
_LIMITS = (-15.0, 15.0)  # m w.e. a year; noise of small glaciers is larger than any balance
_FASTEST, _SEVERAL = 3.0, 5  # m w.e. a year: Alaska and Patagonia lose 1 at most, single glaciers 4
_LEAST_SPREAD, _FEW = 0.02, 10  # m w.e. a year, root mean square of this many rates and more
_HUSS_YEARS = 5.0  # for shorter periods one density does not do
_LARGEST_KM2 = 2e4


@checking_arguments
def read_geodetic(
    path: str | Path,
    *,
    units: GeodeticUnits | None = None,
    columns: Mapping[str, str] | None = None,
    missing: Collection[float] | None = None,
    density: tuple[float, float] = DENSITY,
    shortest: Positive = LONGEST,
) -> pd.DataFrame:
    r"""Mean rates of mass balance over several years, one row per site and period.

    Parameters
    ----------
    path : str or Path
        A table as text (CSV), or a release of Fluctuations of Glaciers with `change.csv`: its ZIP or its folder.
    units : {"m w.e.", "mm w.e.", "cm w.e.", "kg m-2", "m", "cm", "mm"}, optional
        Of the values; of a rate, per year. Not needed for `dmdtda` (m w.e.), `dhdt` and `elevation_change` (m).
    columns : mapping, optional
        Role -> the table's own name of its column. Roles: `site`, `rgi_id`, `name`, `longitude`, `latitude`, `area`,
        `source` (whose rate it is), `period` or `begin` and `end`, `uncertainty`, and one of `rate` (water equivalent
        per year), `change` (water equivalent over the period), `elevation_rate` (per year), `elevation_change` (over
        the period).
    missing : collection of float, optional
        Numbers that stand for missing values; others then are measured. Default: known codes are refused.
    density : (float, float)
        Of what elevation changes are made of, and its 1-sigma, kg m-3.
    shortest : float
        Periods below this number of years, above 0, are left out.

    Returns
    -------
    DataFrame
        Columns `site`, `rgi_id`, `name` (str), `longitude`, `latitude`, `begin`, `end` (days as text), `rate` and
        `uncertainty` (m w.e. per year, 1-sigma; NaN if not given), `area` (km2, NaN if not given), `source`, `line`.
        Several sources of one glacier and period keep a row each.

    Warns
    -----
    UserWarning
        Rows left out or given twice, the density used, several sources of one period, periods that overlap, rates
        without uncertainty.

    Raises
    ------
    InputError or InputErrors
        Missing columns, no unit, missing-value codes, rates implausible in the unit, periods that are none, one glacier
        under two spellings, two rates of one glacier and period that no source tells apart.

    Notes
    -----
    rate = change x density / 1000 kg m-3 / years; its variance is that of the change plus that of the density.

    References
    ----------
    Hugonnet et al. 2021, Nature 592, 726-731; Huss 2013, The Cryosphere 7, 877-887.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "rates.csv"
    >>> row = "RGI60-11.00897,2000-01-01_2010-01-01,-0.95,0.2"
    >>> _ = path.write_text(f"rgiid,period,dmdtda,err_dmdtda\n{row}\n")
    >>> gg.read_geodetic(path)[["rgi_id", "begin", "end", "rate", "uncertainty"]].values.tolist()
    [['RGI60-11.00897', '2000-01-01', '2010-01-01', -0.95, 0.2]]
    """
    release = open_release(path, CHANGES)
    file, raw = release.where, release.balances
    quantity, table = chosen(raw, columns or {}, file)
    unit = unit_of(quantity, units, file)
    dated = ~(is_blank(table["period"]) & is_blank(table["begin"]) & is_blank(table["end"]))
    whole = both_bounds_whole(raw, file) & ~is_blank(table["value"])
    table = table[whole & dated]
    empty, undated = int((~whole).sum()), int((whole & ~dated).sum())
    table = table.assign(**positions(table, ["longitude"], ["latitude"], file))
    notes = [f"{file}: {undated} rows without a period left out"] if undated else []
    notes += [f"{file}: {empty} rows have no {quantity.called} of the whole glacier"] if empty else []
    table, begin, end, of_periods = _long_enough(table, file, shortest)
    table, typed, told = _typed(table, quantity, unit, file, missing)
    begin, end = begin[typed], end[typed]
    _require_rows(table, file, shortest)
    years = _years(begin, end)
    rate, uncertainty, notes_on_density = _rates(table, quantity, unit, density, years, file)
    notes += of_periods + told + notes_on_density + _judge(rate, uncertainty, table, unit, file)
    out = pd.DataFrame(
        {
            **{n: table[n].reset_index(drop=True) for n in ("site", "rgi_id", "name")},
            **{n: table[n].to_numpy(np.float64) for n in ("longitude", "latitude")},
            **{n: _as_text(d) for n, d in (("begin", begin), ("end", end))},
            "rate": rate,
            "uncertainty": uncertainty,
            "area": _areas(table, file),
            "source": table["source"].where(~is_blank(table["source"]), "").to_numpy(object),
            LINE: table[LINE].to_numpy(np.int64),
        }
    )
    out, of_statements = kept_apart(out, file)
    for note in notes + of_statements:
        warnings.warn(note, stacklevel=1)
    return out


def _as_text(days: Dates) -> pd.Series[str]:
    codes, unique = pd.factorize(days.astype("datetime64[s]"))
    return pd.Series(pd.Index(unique.astype("datetime64[D]").astype(str).astype(object)).take(codes))


def _years(begin: Dates, end: Dates) -> Floats:
    """Lengths of periods, (row,), years; NaN where a date is unknown."""
    return np.asarray((end - begin) / np.timedelta64(1, "D") / YEAR_DAYS)


def _require_rows(table: pd.DataFrame, file: str, shortest: float) -> None:
    if table.empty:
        raise InputError(
            f"{file}",
            expected=f"rates of periods of at least {shortest:g} years",
            found="none in the table",
            remedy="check the columns, or `observations: {geodetic: {shortest: YEARS}}`",
        )


def _described(table: pd.DataFrame, role: str, file: str) -> Column:
    return described(table[role], table[LINE], f"{file}: {role.replace('_', ' ')}")


def _long_enough(table: pd.DataFrame, file: str, shortest: float) -> tuple[pd.DataFrame, Dates, Dates, list[str]]:
    """Rows with known periods that are no shorter; their first and last days; notes."""
    begin, end, notes = _spans(table, file)
    years = _years(begin, end)  # NaN where a date is unknown
    long = years >= shortest
    if short := int((years < shortest).sum()):
        notes = [*notes, f"{file}: {short} rates of less than {shortest:g} years left out"]
    return table[long], begin[long], end[long], notes


def _typed(
    table: pd.DataFrame, quantity: Quantity, unit: GeodeticUnits, file: str, missing: Collection[float] | None
) -> tuple[pd.DataFrame, Bools, list[str]]:
    """Values and uncertainties as numbers, sites in one spelling; which rows are kept, (row,); notes."""
    problems = Problems()
    notes: list[str] = []
    typed: dict[str, Floats] = {}
    for role, what in (("value", quantity.called), ("uncertainty", f"uncertainty of the {quantity.called}")):
        with problems.collect():
            typed[role] = numbers(table[role], table[LINE], f"{file}: {what}")
    with problems.collect():
        typed["area"] = numbers(table["area"], table[LINE], f"{file}: area")
    with problems.collect():
        _described(table, "site", file).require_filled(is_blank(table["site"]).to_numpy(bool))
    problems.raise_if_any()
    codes, sites = names_of_sites(table["site"])
    refuse_twins(sites, f"{file}: site", "write the identifier of each glacier in one way")
    described_value = described(table["value"], table[LINE], f"{file}: {quantity.called}")
    out = table.assign(**typed, site=pd.Series(sites.take(codes), index=table.index))
    if missing is not None:
        kept = ~np.isin(typed["value"], [float(m) for m in missing])
        return out[kept], kept, notes
    scale = _LONGEST if not quantity.per_year else 1.0
    said = Said(as_water(unit), "observations: {geodetic: {units: %s}}", "observations: {geodetic: {missing: [%s]}}")
    limits = (_LIMITS[0] * scale, _LIMITS[1] * scale)
    notes = refuse_codes(typed["value"], described_value, said, limits) if len(table) else []
    described(table["uncertainty"], table[LINE], f"{file}: uncertainty").refuse_missing_codes(typed["uncertainty"])
    return out, np.ones(len(out), bool), notes


def _spans(table: pd.DataFrame, file: str) -> tuple[Dates, Dates, list[str]]:
    """First and last day of every period, and notes."""
    notes: list[str] = []
    if not is_blank(table["period"]).all():
        begin, end, whole_years = periods_of(_described(table, "period", file), table["period"])
        if whole_years:
            notes = [f"{file}: periods such as {whole_years} are taken from 1 January to 1 January"]
    else:
        begin, end = (dates_of(_described(table, n, file), table[n]) for n in ("begin", "end"))
        for name in ("begin", "end"):
            _described(table, name, file).require_filled(is_blank(table[name]).to_numpy(bool))
    if vague := int((np.isnat(begin) | np.isnat(end)).sum()):
        notes.append(f"{file}: {vague} rows with a date of unknown month left out")
    years = _years(begin, end)
    wrong = (years <= 0) | (years > _LONGEST)
    if wrong.any():
        role = "end" if is_blank(table["period"]).all() else "period"
        which = [f"{begin[i]} to {end[i]}" for i in np.flatnonzero(wrong)[:4]]
        raise InputError(
            f"{file}: {role}",
            expected=f"periods that end after they begin, of at most {_LONGEST:g} years",
            found=f"{listing(which)} in {_described(table, role, file).place(wrong)}",
            remedy="correct these dates",
        )
    return begin, end, notes


def _rates(
    table: pd.DataFrame, quantity: Quantity, unit: GeodeticUnits, density: tuple[float, float], years: Floats, file: str
) -> tuple[Floats, Floats, list[str]]:
    """Rates and their uncertainties, m w.e. per year, and notes on the density."""
    per = factor(unit) / (1.0 if quantity.per_year else years)
    value, spread = (table[n].to_numpy(np.float64) * per for n in ("value", "uncertainty"))
    spread = np.where(spread == 0, np.nan, spread)
    if quantity.of_water:
        return value, spread, []
    relative, its_spread = density[0] / 1000, density[1] / 1000
    notes = [f"{file}: elevation changes are taken for mass of {density[0]:g} +- {density[1]:g} kg m-3 (Huss 2013)"]
    if short := int((years < _HUSS_YEARS).sum()):
        notes.append(f"{file}: {short} of {len(years)} periods are shorter than the 5 years that such a density is for")
    return value * relative, np.hypot(spread * relative, value * its_spread), notes


def _judge(rate: Floats, uncertainty: Floats, table: pd.DataFrame, unit: GeodeticUnits, file: str) -> list[str]:
    """Raise an InputError if rates are clearly in another unit; notes on what is odd."""
    column = described(table["value"], table[LINE], f"{file}: rate")
    key = "observations: {geodetic: {units: %s}}"
    far = (rate < _LIMITS[0]) | (rate > _LIMITS[1])
    if far.any():
        raise InputError(
            column.where,
            expected=f"rates within {_LIMITS[0]:g}..{_LIMITS[1]:g} m w.e. a year when read as {unit}",
            found=f"{int(far.sum())} of {len(far)} outside, such as {listing((f'{v:.4g}' for v in rate[far]), 4)} in "
            f"{column.place(far)}",
            remedy=f"if most values are like these, declare the true unit, `{key % 'mm w.e.'}` or mm; a change over "
            "the whole period is no rate, `observations: {geodetic: {columns: {change: COLUMN}}}`; else correct these "
            "rows",
        )
    middle = float(np.median(rate))
    if len(rate) >= _SEVERAL and abs(middle) > _FASTEST:
        raise InputError(
            column.where,
            expected=f"rates, of which the median is within {_FASTEST:g} m w.e. a year in every region",
            found=f"a median of {middle:.3g} m w.e. a year over {len(rate)} rates",
            remedy="if these are changes over the whole period, name the column so: `observations: {geodetic: "
            "{columns: {change: COLUMN}}}`; else declare the true unit",
        )
    spread = float(np.sqrt((rate**2).mean()))
    if len(rate) >= _FEW and 0 < spread < _LEAST_SPREAD:
        raise InputError(
            column.where,
            expected=f"a root mean square above {_LEAST_SPREAD:g} m w.e. a year when read as {unit}",
            found=f"{spread:.2g}",
            remedy=f"declare the true unit, `{key % 'm w.e.'}` (or m); of rates over a period, each is per year",
        )
    sizes = described(table["uncertainty"], table[LINE], f"{file}: uncertainty")
    sizes.require_uncertainties(uncertainty, _LIMITS[1], unit)
    said = Said("mm w.e.", key, "")
    notes = judge_mixture(rate, np.ones(len(rate), bool), column, said) if unit in ("mm w.e.", "kg m-2", "mm") else []
    if without := int(np.isnan(uncertainty).sum()):
        notes.append(f"{file}: {without} of {len(rate)} rates have no uncertainty; they are compared all the same")
    return notes


def _areas(table: pd.DataFrame, file: str) -> Floats:
    """Areas, km2: a table states them in km2 or in m2, which no area can be mistaken for."""
    area, _ = square_kilometres(table["area"].to_numpy(np.float64))
    wrong = (area <= 1e-4) | (area > _LARGEST_KM2)
    if wrong.any():
        column = described(table["area"], table[LINE], f"{file}: area")
        raise InputError(
            column.where,
            expected="areas of glaciers, all in km2 or all in m2",
            found=f"{listing((f'{v:.4g} km2' for v in area[wrong]), 4)} in {column.place(wrong)}",
            remedy="give them in one unit, or empty these cells",
        )
    return area
