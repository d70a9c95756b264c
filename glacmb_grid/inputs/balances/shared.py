"""Tables that people share: one row for each glacier and year, under the usual names or under any.

A heading may state the unit behind the name, as spreadsheets do: `Ba (mm w.e.)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pandas as pd

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.balances.fog_new import unit_spelled
from glacmb_grid.inputs.balances.layouts import COMMON, Layout, both_bounds_whole
from glacmb_grid.inputs.tables import LINE
from glacmb_grid.inputs.units import BalanceUnits

LAYOUT = Layout("a table of annual balances", lambda _: True, COMMON, both_bounds_whole)
_SPREADSHEETS = {
    "site": ("glacier", "site", "rgi_id", "rgiid"),
    "year": ("hydrological_year", "balance_year"),
    "mass_balance": ("annual_mass_balance", "ba", "b_a", "mb"),
    "uncertainty": ("sigma",),
}
"""More names of columns, which count where a table has none of the usual ones of that role."""
_HEADING = re.compile(r"(?P<name>.*?)\s*[(\[](?P<unit>[^()\[\]]+)[)\]]")


def recognised(columns: Iterable[str]) -> Layout:
    """The layout of a table with these (lower-case) columns, under the usual names or those of spreadsheets."""
    plain = [(_plain(c), c) for c in columns]
    own = {
        r: (*names, *(c for n in (*names, *_SPREADSHEETS.get(r, ())) for p, c in plain if p == n))
        for r, names in COMMON.items()
    }
    return Layout(LAYOUT.name, LAYOUT.recognises, own, both_bounds_whole)


def unit_of(column: str) -> BalanceUnits | None:
    """The unit that the heading of a column states behind its name, as in `Ba (mm w.e.)`; None if it states none."""
    found = _HEADING.fullmatch(column)
    return unit_spelled(found["unit"]) if found else None


def _plain(column: str) -> str:
    """A heading without its unit, with underscores for blanks."""
    found = _HEADING.fullmatch(column)
    return re.sub(r"[\s_]+", "_", (found["name"] if found else column).strip())


def named(columns: Mapping[str, str], raw: pd.DataFrame, file: str) -> Layout:
    """The layout of a table with the user's own names of columns, by role.

    Raises
    ------
    InputError or InputErrors
        Roles that do not exist, columns that the table lacks.
    """
    problems = Problems()
    for role, name in columns.items():
        with problems.collect():
            if role not in COMMON:
                raise InputError(
                    "observations: columns",
                    expected=f"roles among {', '.join(COMMON)}",
                    found=repr(role),
                    remedy="correct the role: `observations: {columns: {site: ..., year: ..., mass_balance: ...}}`",
                )
            if name.strip().lower() not in raw.columns:
                raise InputError(
                    f"{file}: {name}",
                    expected="a column of this name (in any case), from "
                    f"`observations: {{columns: {{{role}: {name}}}}}`",
                    found=f"columns {listing(raw.columns.drop(LINE), 30)}",
                    remedy="correct the name",
                )
    problems.raise_if_any()
    taken = {name.strip().lower() for name in columns.values()}
    others = {
        r: tuple(n for n in names if n not in taken) for r, names in recognised(raw.columns.drop(LINE)).columns.items()
    }
    own = others | {role: (name.strip().lower(),) for role, name in columns.items()}
    return Layout(LAYOUT.name, LAYOUT.recognises, own, both_bounds_whole)
