"""Notes and warnings for the user on what a table holds and what was assumed."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import listing

Floats = npt.NDArray[np.float64]


class Notes:
    """Collects lines; warnings are collected and also issued."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Add a line."""
        self.lines.append(text)

    def warn(self, text: str) -> None:
        """Add a line and issue it as a UserWarning."""
        self.lines.append(text)
        warnings.warn(text, stacklevel=2)


def describe(
    samples: xr.Dataset, labels: Mapping[str, Any], series: Sequence[str], months: Sequence[Floats], notes: Notes
) -> None:
    """Add notes on the size of the samples, gaps, repeated rows and shared climate (of all monthly columns)."""
    size = samples.sizes["sample"]
    computed = int((samples["origin"].values == "series").sum())
    notes.lines.insert(
        0,
        f"{size} rows, {len(set(labels['glacier']))} glaciers, {len(set(labels['group']))} groups, "
        f"{len(set(labels['year'].tolist()))} years, {samples.sizes['predictor'] - computed} predictors of the table "
        f"and {computed} computed from its monthly series",
    )
    if series:
        notes.note(
            f"monthly series: {listing(series, 30)}; column numbers read as calendar months, values as months of the "
            "row's year (a table cannot say whether October to December belong to the year before)"
        )
    _note_gaps(samples, notes)
    if "region" in labels and (labels["region"] == "").any():
        count = int((labels["region"] == "").sum())
        notes.note(f"{count} rows without a region: leave_region_out neither fits nor scores them")
    given = samples["uncertainty_given"].values
    if given.any() and not given.all():
        notes.note(f"{int((~given).sum())} rows without an uncertainty use the default")
    _note_repeated_rows(samples, labels, notes)
    _warn_of_shared_climate(labels, months, notes)


def _note_gaps(samples: xr.Dataset, notes: Notes) -> None:
    own = samples["origin"].values != "series"
    values, names = samples["predictors"].values[:, own], samples["predictor"].values[own]
    if not len(names):
        return
    missing = np.isnan(values).sum(axis=0)
    if missing.any():
        cells = [f"{n} ({c})" for n, c in zip(names, missing, strict=True) if c]
        notes.note(f"{int(missing.sum())} missing predictor values, filled within each fold: {listing(cells, 12)}")
    empty = missing == len(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # columns without any value
        same = ~empty & (np.nanmin(values, axis=0) == np.nanmax(values, axis=0))
    for what, which in (("no values", empty), ("one value in all rows", same)):
        if which.any():
            notes.note(f"columns with {what}, dropped within each fold: {listing(names[which], 12)}")


def _note_repeated_rows(samples: xr.Dataset, labels: Mapping[str, Any], notes: Notes) -> None:
    keys = pd.DataFrame({"glacier": labels["glacier"], "year": labels["year"]})
    several = keys.duplicated(keep=False)
    if not several.any():
        return
    own = [samples["mass_balance"].values, *samples["predictors"].values.T]
    content = _fingerprints((v[several].astype(np.float64) for v in own), int(several.sum()))
    identical = int(keys[several].assign(content=content).duplicated().sum())
    notes.note(
        f"{int(several.sum())} rows share their glacier and year with another row; every split keeps such rows together"
        + (f"; {identical} of them are identical to another row" if identical else "")
    )


def _warn_of_shared_climate(labels: Mapping[str, Any], months: Sequence[Floats], notes: Notes) -> None:
    """Warn if different groups have the same climate in one year: `logo` would not really withhold it."""
    if not months:
        return
    size = len(labels["year"])
    filled = np.logical_or.reduce([np.isfinite(m) & (m != 0) for m in months])
    rows = {"year": labels["year"], "climate": _fingerprints(months, size), "group": labels["group"]}
    shared = pd.DataFrame(rows)[filled].groupby(["year", "climate"])["group"].transform("nunique") > 1
    if shared.any():
        notes.warn(
            f"{int(shared.sum())} of {size} rows have the same climate as another group in the same year (usually "
            "glaciers in one grid cell), so a split by group leaks it: add a column with one value per grid cell and "
            "name it, `samples: {group: COLUMN}`"
        )


def _fingerprints(columns: Iterable[Floats], size: int) -> npt.NDArray[np.uint64]:
    """One number per row, equal for rows with equal values, (row,)."""
    mixed = np.zeros(size, np.uint64)
    for values in columns:
        mixed ^= (values + 0.0).view(np.uint64)  # + 0.0 makes -0 equal to 0
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
