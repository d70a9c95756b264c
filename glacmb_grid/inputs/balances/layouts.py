"""What every layout of a table of balances says of itself, and the words of its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from glacmb_grid.inputs.tables import column, numbers

WHOLE_GLACIER = 9999.0
"""In both elevation bounds of rows of FoG that are glacier-wide."""

Columns = Mapping[str, tuple[str, ...]]

COMMON: Columns = {
    "year": ("year",),
    "site": ("wgms_id", "glacier_id", "id"),
    "name": ("name", "glacier_name", "short_name"),
    "mass_balance": ("annual_balance", "mass_balance"),
    "uncertainty": ("annual_balance_unc", "uncertainty"),
    "rgi_id": ("rgi_id", "rgiid"),
    "time_system": ("time_system", "time_measurement_system"),
    "method": ("method", "balance_method"),
    "begin": ("begin_date", "begin_period"),
    "end": ("end_date", "end_period"),
    "longitude": ("longitude", "lon"),
    "latitude": ("latitude", "lat"),
}
"""Columns by role, in lower case; of several names the first that the table has."""


@dataclass(frozen=True)
class Layout:
    """One layout of tables of balances.

    Attributes
    ----------
    name : str
        For messages.
    recognises : callable
        Whether a table with these (lower-case) columns has it.
    columns : mapping
        Role -> names of its column.
    whole : callable
        From a table of text (with `line`) and its name: which rows are of the whole glacier.
    """

    name: str
    recognises: Callable[[set[str]], bool]
    columns: Columns
    whole: Callable[[pd.DataFrame, str], pd.Series[bool]]


def both_bounds_whole(raw: pd.DataFrame, file: str) -> pd.Series[bool]:
    """Rows with no elevation bounds, or with both 9999."""
    low, high = (
        pd.Series(numbers(column(raw, names), raw["line"], f"{file}: {names[0]}"), index=raw.index)
        for names in (("lower_bound", "lower_elevation"), ("upper_bound", "upper_elevation"))
    )
    return (low.isna() & high.isna()) | ((low == WHOLE_GLACIER) & (high == WHOLE_GLACIER))
