"""Tables that people share: one row for each glacier and year, under the usual names or under any."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.balances.layouts import COMMON, Layout, both_bounds_whole
from glacmb_grid.inputs.tables import LINE

LAYOUT = Layout("a table of annual balances", lambda _: True, COMMON, both_bounds_whole)


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
    others = {r: tuple(n for n in names if n not in taken) for r, names in COMMON.items()}
    own = others | {role: (name.strip().lower(),) for role, name in columns.items()}
    return Layout(LAYOUT.name, LAYOUT.recognises, own, both_bounds_whole)
