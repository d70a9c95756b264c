"""Annual glacier-wide mass balances: from releases of Fluctuations of Glaciers (WGMS) and from tables of any names.

Its columns decide which layout a table has; `releases` finds it in a ZIP or a folder. The unit is what the caller or a
release's `datapackage.json` says; it is never guessed.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.checking import Positive, checking_arguments
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.balances import fog_new, fog_old, shared
from glacmb_grid.inputs.balances.identifiers import names_of_sites, refuse_twins
from glacmb_grid.inputs.balances.judged import Said, judge_units, refuse_codes
from glacmb_grid.inputs.balances.layouts import COMMON, Layout
from glacmb_grid.inputs.balances.periods import Dates, Periods, dates_of, judge_periods, notes_on_periods, years_of
from glacmb_grid.inputs.balances.releases import Release, open_release
from glacmb_grid.inputs.balances.seasonal import balance_columns, judge_seasons, refuse_season
from glacmb_grid.inputs.tables import LINE, Column, column, described, is_blank, numbers, positions, site_name
from glacmb_grid.inputs.units import TO_METRES, BalanceUnits

__all__ = ["read_observations"]

_LIMITS = (-8.0, 8.0)  # m w.e., no glacier-wide annual balance has been larger
_PLACE = ("longitude", "latitude")
_COLUMN = "observations: {columns: {mass_balance: %s}}"
_LAYOUTS = (fog_old.LAYOUT, fog_new.LAYOUT)


@checking_arguments
def read_observations(
    path: str | Path,
    *,
    units: BalanceUnits | None = None,
    default_uncertainty: Positive = 0.2,
    columns: Mapping[str, str] | None = None,
    missing: Collection[float] | None = None,
    periods: Periods = "annual",
) -> pd.DataFrame:
    r"""Annual glacier-wide balances, one row per site and year.

    Parameters
    ----------
    path : str or Path
        A table as text (CSV), or a release of Fluctuations of Glaciers: its ZIP as downloaded or its folder.
    units : {"mm w.e.", "m w.e.", "kg m-2", "cm w.e."}, optional
        Unit of the balances. Needed unless a `datapackage.json` of the release says it, or the heading of the column,
        as in `Ba (mm w.e.)`.
    default_uncertainty : float
        1-sigma, m w.e., for rows without an uncertainty; above 0.
    columns : mapping, optional
        Role -> the table's own name of its column. Roles: `site`, `year`, `mass_balance`, `uncertainty`, `name`,
        `rgi_id`, `longitude`, `latitude`, `time_system`, `method`, `begin`, `end`.
    missing : collection of float, optional
        Numbers that stand for missing balances; others then are balances. Default: known codes are refused.
    periods : {"annual", "leave_out"}
        Balances whose dates span several years, or a part of one, are an error or left out.

    Returns
    -------
    DataFrame
        Columns `site` (str), `name`, `year` (int), `mass_balance` and `uncertainty` (m w.e.), `uncertainty_given`
        (bool), `rgi_id`, `longitude`, `latitude` (blank or NaN if not given), `time_system`, `method`, `begin`, `end`
        (days as text, blank if not given), `line` (line number in the file).

    Warns
    -----
    UserWarning
        Balances of calendar years, of glaciers that may be in another unit, and the like.

    Raises
    ------
    InputError or InputErrors
        Missing columns, no unit or one that a `datapackage.json` or the heading contradicts, missing-value codes among
        the balances, values implausible in the stated unit (of the table, of a glacier, of some rows), periods of
        several years, one glacier under two identifiers.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "balances.csv"
    >>> _ = path.write_text("name;year;balance\nHintereisferner;2003;-1814\nHintereisferner;2004;-667\n")
    >>> observed = gg.read_observations(path, units="mm w.e.", columns={"site": "name", "mass_balance": "balance"})
    >>> observed[["site", "year", "mass_balance"]].values.tolist()
    [['Hintereisferner', 2003, -1.814], ['Hintereisferner', 2004, -0.667]]
    """
    release = open_release(path)
    raw, file = release.balances, release.where
    layout = shared.named(columns, raw, file) if columns else _layout(raw.columns.drop(LINE))
    problems = Problems()
    unit = problems.attempt(lambda: _unit(release, units, layout))
    renamed = problems.attempt(lambda: _renamed(raw, layout, file))
    problems.raise_if_any()
    assert unit is not None
    assert renamed is not None
    table = renamed
    chosen = next(n for n in layout.columns["mass_balance"] if n in raw)
    refuse_season(chosen, raw.columns.drop(LINE), f"{file}: {chosen}", _COLUMN)
    codes = None if missing is None else [float(m) for m in missing]
    table, begin, end = _typed(table[layout.whole(raw, file)], file, codes)
    years = table["year"].to_numpy(np.int64)
    annual = judge_periods(begin, end, years, _described(table, "end", file), periods)
    table, begin, end = table[annual], begin[annual], end[annual]
    notes = [f"{file}: left out {int((~annual).sum())} balances that are not of one year"] if not annual.all() else []
    _require_rows(table, file)
    notes += _judge(table, file, unit, default_codes=codes is None)
    notes += _judge_seasons(table, raw, chosen, file, unit)
    table = _with_positions(table, release)
    latitude = table["latitude"].to_numpy(np.float64)
    years = table["year"].to_numpy(np.int64)
    notes += notes_on_periods(begin, end, years, _described(table, "end", file), latitude)
    for note in notes:
        warnings.warn(note, stacklevel=1)
    factor = TO_METRES[unit]
    given = table["uncertainty"].notna() & (table["uncertainty"] > 0)
    out = table.assign(
        mass_balance=table["mass_balance"] * factor,
        uncertainty=(table["uncertainty"] * factor).where(given, default_uncertainty),
        uncertainty_given=given,
        begin=_as_text(begin),
        end=_as_text(end),
    )
    _refuse_duplicates(out, file)
    return out.reset_index(drop=True)


def _unit(release: Release, units: BalanceUnits | None, layout: Layout) -> BalanceUnits:
    """The declared unit, or that of the release or the heading; an InputError if there is none, or if they differ."""
    said, by = release.units, "the release's datapackage.json"
    heading = next((n for n in layout.columns["mass_balance"] if n in release.balances), "")
    if said is None:
        said, by = shared.unit_of(heading), f"the heading {heading!r}"
    same = {"kg m-2": "mm w.e."}
    if units is None and said is None:
        raise InputError(
            f"{release.where}: units",
            expected="the unit of the balances",
            found="none declared, and neither a datapackage.json nor the heading of the column says it",
            remedy="declare `observations: {units: mm w.e.}` (in Python `units=`), or m w.e., cm w.e., kg m-2; "
            "Fluctuations of Glaciers (FoG) has mm w.e. to 2024, m w.e. since",
        )
    if units is not None and said is not None and same.get(units, units) != same.get(said, said):
        raise InputError(
            f"{release.where}: units",
            expected=f"{said}, as {by} says",
            found=f"`observations: {{units: {units}}}`",
            remedy=f"declare `observations: {{units: {said}}}`, or leave it out",
        )
    found = units or said
    assert found is not None
    return found


def _layout(columns: Iterable[str]) -> Layout:
    names = set(columns)
    return next((one for one in _LAYOUTS if one.recognises(names)), None) or shared.recognised(columns)


def _renamed(raw: pd.DataFrame, layout: Layout, file: str) -> pd.DataFrame:
    """The columns under the names of their roles, with blank cells for columns that the table lacks."""
    absent = [
        role
        for role in ("site", "year", "mass_balance")
        if not set(layout.columns[role]) & set(raw.columns)
        and not (role == "year" and set(layout.columns["end"]) & set(raw.columns))
    ]
    if absent:
        usual = (f"{' or '.join(COMMON[role])} ({role})" for role in absent)
        named = ", ".join(f"{role}: COLUMN" for role in absent)
        raise InputError(
            f"{file}: {', '.join(absent)}",
            expected=f"columns named {'; '.join(usual)}, in any case",
            found=f"columns {listing(raw.columns.drop(LINE), 30)}",
            remedy=f"say which they are, in any case: `observations: {{columns: {{{named}}}}}`",
        )
    roles = {role: column(raw, names) for role, names in layout.columns.items() if role not in _PLACE}
    east, north = (layout.columns[p] for p in _PLACE)
    return pd.DataFrame({LINE: raw[LINE]} | roles).join(positions(raw, east, north, file))


def _require_rows(table: pd.DataFrame, file: str) -> None:
    if table.empty:
        raise InputError(
            f"{file}: mass balance",
            expected="glacier-wide annual balances",
            found="none in the table",
            remedy="check the column; in a FoG EE table only rows with both bounds 9999 are glacier-wide",
        )


def _described(table: pd.DataFrame, name: str, file: str) -> Column:
    text = "balance_text" if name == "mass_balance" and "balance_text" in table else name
    return described(table[text], table[LINE], f"{file}: {name.replace('_', ' ')}")


def _typed(table: pd.DataFrame, file: str, codes: list[float] | None) -> tuple[pd.DataFrame, Dates, Dates]:
    """Rows with a balance: balances, uncertainties and years as numbers, sites in one spelling; begin and end."""
    problems = Problems()
    table = table[~is_blank(table["mass_balance"])]
    _require_rows(table, file)
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for name in ("mass_balance", "uncertainty"):
        with problems.collect():
            columns[name] = numbers(table[name], table[LINE], f"{file}: {name}")
    begin, end = (_dates(table, name, file, problems) for name in ("begin", "end"))
    with problems.collect():
        years = numbers(table["year"], table[LINE], f"{file}: year")
        columns["year"] = _described(table, "year", file).whole_years(np.where(np.isnan(years), years_of(end), years))
    with problems.collect():
        _described(table, "site", file).require_filled(is_blank(table["site"]).to_numpy(bool))
    problems.raise_if_any()
    which, names = names_of_sites(table["site"])
    sites = pd.Series(names.take(which), index=table.index)
    refuse_twins(sites, f"{file}: site", "write the identifier of each glacier in one way")
    typed = table.assign(balance_text=table["mass_balance"]).assign(**columns, site=sites)
    if codes is None:
        return typed, begin, end
    kept = ~np.isin(typed["mass_balance"].to_numpy(np.float64), codes)
    _require_rows(typed[kept], file)
    return typed[kept], begin[kept], end[kept]


def _dates(table: pd.DataFrame, name: str, file: str, problems: Problems) -> Dates:
    found = problems.attempt(lambda: dates_of(_described(table, name, file), table[name]))
    return np.full(len(table), "NaT", "datetime64[D]") if found is None else found


def _judge(table: pd.DataFrame, file: str, unit: BalanceUnits, *, default_codes: bool) -> list[str]:
    """Check balances and uncertainties; what is only odd is returned as notes."""
    balances, said = _described(table, "mass_balance", file), _said(unit)
    values, factor = table["mass_balance"].to_numpy(np.float64), TO_METRES[unit]
    notes = refuse_codes(values, balances, said, _LIMITS) if default_codes else []
    notes += judge_units(values * factor, table["site"].to_numpy(str), balances, said, _LIMITS)
    uncertainties = _described(table, "uncertainty", file)
    spreads = table["uncertainty"].to_numpy(np.float64)
    uncertainties.refuse_missing_codes(spreads)
    uncertainties.require_uncertainties(spreads * factor, _LIMITS[1], unit)
    return notes


def _judge_seasons(table: pd.DataFrame, raw: pd.DataFrame, chosen: str, file: str, unit: BalanceUnits) -> list[str]:
    names = balance_columns(raw.columns.drop(LINE), chosen)
    cells = {n: pd.to_numeric(raw.loc[table.index, n], errors="coerce").to_numpy(np.float64) for n in names}
    others = {n: values * TO_METRES[unit] for n, values in cells.items() if np.isfinite(values).any()}
    metres = table["mass_balance"].to_numpy(np.float64) * TO_METRES[unit]
    return judge_seasons(metres, table["site"], _described(table, "mass_balance", file), others, _COLUMN)


def _said(unit: BalanceUnits) -> Said:
    return Said(unit, "observations: {units: %s}", "observations: {missing: [%s]}")


def _with_positions(table: pd.DataFrame, release: Release) -> pd.DataFrame:
    """Positions of sites by the release's own table of glaciers, where the balances have none."""
    table = table.drop(columns="balance_text")
    if release.glaciers is None:
        return table
    own = release.glaciers
    sites = column(own, ("wgms_id", "id", "glacier_id")).map(site_name)
    where = positions(own, ("longitude",), ("latitude",), f"{release.where}: glaciers").set_index(sites)
    where = where[~where.index.duplicated()]
    blank = table["longitude"].isna()
    found = where.reindex(table["site"]).set_index(table.index)
    return table.assign(**{p: table[p].where(~blank, found[p]) for p in _PLACE})


def _as_text(days: npt.NDArray[np.datetime64]) -> npt.NDArray[np.object_]:
    return np.where(np.isnat(days), "", days.astype(str)).astype(object)


def _refuse_duplicates(table: pd.DataFrame, file: str) -> None:
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
