"""Which columns of a table of geodetic balances are what, and in which unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.tables import LINE, column, is_blank
from glacmb_grid.inputs.units import TO_METRES
from glacmb_grid.vocabulary import BalanceUnits, GeodeticUnits

_LENGTHS: dict[GeodeticUnits, float] = {"mm": 1e-3, "cm": 1e-2, "m": 1.0}
_WATER: dict[GeodeticUnits, float] = {u: TO_METRES[u] for u in TO_METRES}


@dataclass(frozen=True)
class Quantity:
    """What a column of values holds.

    Attributes
    ----------
    role : str
        Its role in `columns`.
    called : str
        For messages.
    of_water : bool
        Water equivalent, else an elevation.
    per_year : bool
        A mean rate, else the change over the period.
    column, uncertainty : str
        Names of the column and of that of its uncertainty, in lower case.
    units : str or None
        Of a column of this name, as it is documented; None where editions differ.
    """

    role: str
    called: str
    of_water: bool
    per_year: bool
    column: str = ""
    uncertainty: str = ""
    units: GeodeticUnits | None = None


_QUANTITIES = (  # of several columns in a table the first is taken
    Quantity("rate", "rate", True, True, "dmdtda", "err_dmdtda", "m w.e."),
    Quantity("change", "change", True, False),
    Quantity("elevation_rate", "elevation rate", False, True, "dhdt", "err_dhdt", "m"),
    Quantity("elevation_change", "elevation change", False, False, "elevation_change", "elevation_change_unc", "m"),
    Quantity("elevation_change", "elevation change", False, False, "thickness_chg", "thickness_chg_unc"),
)
_VALUES = tuple(dict.fromkeys(q.role for q in _QUANTITIES))
_COMMON: Mapping[str, tuple[str, ...]] = {
    "site": ("glacier_id", "wgms_id", "rgiid", "rgi_id"),
    "rgi_id": ("rgiid", "rgi_id"),
    "name": ("glacier_name", "name", "short_name"),
    "period": ("period",),
    "begin": ("begin_date", "reference_date", "begin_period"),
    "end": ("end_date", "survey_date", "end_period"),
    "area": ("area",),
    "longitude": ("longitude", "lon", "cenlon"),
    "latitude": ("latitude", "lat", "cenlat"),
    "source": ("source", "investigators", "authors", "author", "references", "reference"),
}
_ROLES = (*_COMMON, "uncertainty", *_VALUES)


def factor(unit: GeodeticUnits) -> float:
    """From a unit to metres."""
    return (_LENGTHS | _WATER)[unit]


def as_water(unit: GeodeticUnits) -> BalanceUnits:
    """The unit of water equivalent of the same size."""
    return next(u for u, size in TO_METRES.items() if size == factor(unit))


def chosen(raw: pd.DataFrame, columns: Mapping[str, str], file: str) -> tuple[Quantity, pd.DataFrame]:
    """What the table's values are, and its columns under their roles (text, blank where it has none).

    Parameters
    ----------
    raw : DataFrame
        From `read_table`.
    columns : mapping
        Role -> the user's name of its column.
    file : str

    Raises
    ------
    InputError or InputErrors
        Unknown roles or columns, none or several columns of values, no identifier, no period.
    """
    own = {role: name.strip().lower() for role, name in columns.items()}
    problems = Problems()
    for role, name in own.items():
        with problems.collect():
            _require_known(role, name, raw, file)
    problems.raise_if_any()
    quantity = _quantity(raw, own, file)
    names = {role: (own[role],) if role in own else known for role, known in _COMMON.items()}
    if "site" not in own and "rgi_id" in own:
        names["site"] = (*_COMMON["site"], own["rgi_id"])
    table = pd.DataFrame({LINE: raw[LINE]} | {role: column(raw, some) for role, some in names.items()})
    for role, missing in (
        ("site", not set(names["site"]) & set(raw.columns)),
        ("period", is_blank(table["period"]).all() and (is_blank(table["begin"]) & is_blank(table["end"])).all()),
    ):
        if missing and len(raw):
            with problems.collect():
                raise _missing(role, names, raw, file)
    problems.raise_if_any()
    return quantity, table.assign(
        value=column(raw, [quantity.column]), uncertainty=column(raw, [own.get("uncertainty", quantity.uncertainty)])
    )


def unit_of(quantity: Quantity, declared: GeodeticUnits | None, file: str) -> GeodeticUnits:
    """The declared unit, or the documented one; an InputError without, or for one of another kind."""
    preferred = quantity.units or ("m w.e." if quantity.of_water else "m")
    fitting = list(_WATER if quantity.of_water else _LENGTHS)
    found = declared or quantity.units
    if found not in fitting:
        per = " per year" if quantity.per_year else ""
        raise InputError(
            f"{file}: {quantity.column}: units",
            expected=f"the unit of this {quantity.called}: one of {', '.join(fitting)}{per}",
            found=f"`observations: {{geodetic: {{units: {declared}}}}}`" if declared else "none declared",
            remedy=f"declare `observations: {{geodetic: {{units: {preferred}}}}}` (in Python `units=`), or give the "
            f"column its true role among {', '.join(_VALUES)}",
        )
    return found


def _require_known(role: str, name: str, raw: pd.DataFrame, file: str) -> None:
    if role not in _ROLES:
        raise InputError(
            "observations: geodetic: columns",
            expected=f"roles among {', '.join(_ROLES)}",
            found=repr(role),
            remedy="correct the role: `observations: {geodetic: {columns: {site: ..., period: ..., rate: ...}}}`",
        )
    if name not in raw.columns:
        raise InputError(
            f"{file}: {name}",
            expected=f"a column of this name (in any case), from `columns: {{{role}: {name}}}`",
            found=f"columns {listing(raw.columns.drop(LINE), 30)}",
            remedy="correct the name",
        )


def _quantity(raw: pd.DataFrame, own: Mapping[str, str], file: str) -> Quantity:
    given = [role for role in _VALUES if role in own]
    if len(given) > 1:
        raise InputError(
            "observations: geodetic: columns",
            expected=f"one of {', '.join(_VALUES)}",
            found=listing(given),
            remedy="keep the one that is to be compared",
        )
    if given:
        of_role = [q for q in _QUANTITIES if q.role == given[0]]
        known = next((q for q in of_role if q.column == own[given[0]]), None)
        return known or replace(of_role[0], column=own[given[0]], uncertainty="", units=None)
    known = next((q for q in _QUANTITIES if q.column in raw.columns), None)
    if known is None:
        remedy = "name the column by what it holds, `observations: {geodetic: {columns: {rate: COLUMN}}}`: "
        if {"time", "dh"} <= set(raw.columns):
            remedy = "this is a table of cumulative changes: give that of rates (..._rates.csv), or "
        raise InputError(
            f"{file}",
            expected=f"a column of geodetic values: {', '.join(q.column for q in _QUANTITIES if q.column)}",
            found=f"columns {listing(raw.columns.drop(LINE), 30)}",
            remedy=remedy + f"one of {', '.join(_VALUES)}",
        )
    return known


def _missing(role: str, names: Mapping[str, tuple[str, ...]], raw: pd.DataFrame, file: str) -> InputError:
    wanted = listing(names[role])
    if role == "period":
        wanted += f", or one of {listing(names['begin'])} and one of {listing(names['end'])}"
    return InputError(
        f"{file}: {role}",
        expected=f"a filled column named {wanted} (in any case)",
        found=f"columns {listing(raw.columns.drop(LINE), 30)}",
        remedy=f"name it, `observations: {{geodetic: {{columns: {{{role}: COLUMN}}}}}}`",
    )
