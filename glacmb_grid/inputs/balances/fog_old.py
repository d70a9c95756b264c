"""Fluctuations of Glaciers up to 2024: upper case, elevation bands and glacier-wide rows (both bounds 9999), mm w.e.

To 2022 the table is `WGMS-FoG-YYYY-MM-EE-*.csv`, in 2023 and 2024 `mass_balance.csv`; dates and time systems are in a
table of their own (`-E-`, `mass_balance_overview.csv`), one row for each glacier and year.
"""

from __future__ import annotations

import pandas as pd

from glacmb_grid.inputs.balances.layouts import COMMON, Layout, both_bounds_whole
from glacmb_grid.inputs.tables import site_name

_OVERVIEW = ("time_system", "begin_period", "end_period")

LAYOUT = Layout(
    "Fluctuations of Glaciers to 2024",
    lambda names: {"wgms_id", "annual_balance", "lower_bound"} <= names,
    COMMON,
    both_bounds_whole,
)


def with_overview(raw: pd.DataFrame, overview: pd.DataFrame) -> pd.DataFrame:
    """The table of balances with time systems and dates of the table E, by glacier and year."""
    keys = {"wgms_id", "year"}
    if not keys <= set(overview.columns):
        return raw
    known = [n for n in _OVERVIEW if n in overview.columns and n not in raw.columns]
    right = overview[["wgms_id", "year", *known]].assign(wgms_id=overview["wgms_id"].map(site_name))
    right = right.drop_duplicates(["wgms_id", "year"])
    left = raw.assign(site_key=raw["wgms_id"].map(site_name))
    joined = left.merge(right.rename(columns={"wgms_id": "site_key"}), on=["site_key", "year"], how="left")
    return joined.drop(columns="site_key").fillna(dict.fromkeys(known, ""))
