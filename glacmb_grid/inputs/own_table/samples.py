"""Assembling the samples Dataset from the checked columns of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.inputs.own_table.forcing import Derived, Forcing
from glacmb_grid.inputs.own_table.monthly import Series
from glacmb_grid.inputs.own_table.table import Bools, Floats
from glacmb_grid.vocabulary import MASS_BALANCE_ATTRS, VARIABLES, Meaning, meaning_coordinates
from glacmb_grid.years import NORTHERN_START, SEASONS, SOUTHERN_START, calendar_months

_PERIODS = ("", *(f"{m:02d}" for m in range(1, 13)), *(str(m) for m in range(1, 10)), *SEASONS)
_STEMS = {
    "_".join(filter(None, (stem, period, part))): stem
    for stem in (*VARIABLES, "degree_days", "snowfall")
    for period in _PERIODS
    for part in ("", "climatology", "anomaly")
    if period or part
}
"""The quantity of columns that are named as the package names its own predictors, such as `sd_03`."""


def meanings_of_columns(
    taken: Iterable[str], at: Mapping[str, str], series: Iterable[Series], derived: Mapping[str, Derived]
) -> list[Meaning]:
    """What the chosen predictors are: columns of the table, by role and series, and computed ones.

    The stem of a column is the quantity that the package itself would name so, or its series, or else the column alone.
    """
    known = {c: Meaning(s.stem, "table", calendar_month=m) for s in series for m, c in enumerate(s.columns, 1)}
    known |= {at[r]: Meaning(r, "position", part="value") for r in ("longitude", "latitude") if r in at}
    out = []
    for name in taken:
        if name in derived:
            out.append(derived[name].meaning)
        else:
            meaning = known.get(name, Meaning(name, "table"))
            out.append(replace(meaning, stem=_STEMS.get(name, meaning.stem)))
    return out


def assemble(
    taken: Sequence[str],
    meanings: Sequence[Meaning],
    numbers: Mapping[str, Floats],
    derived: Mapping[str, Derived],
    labels: Mapping[str, Any],
    values: Mapping[str, Floats],
    default_uncertainty: float,
) -> xr.Dataset:
    """Samples as `read_samples_table` gives them, still without the forcing."""
    matrix = np.empty((len(labels["year"]), len(taken)), np.float32)
    for i, name in enumerate(taken):
        matrix[:, i] = numbers[name] if name in numbers else derived[name].values
    sources = ["+".join(derived[n].series) if n in derived else "table" for n in taken]
    uncertainty = values.get("uncertainty", np.full(len(matrix), np.nan))
    given = uncertainty > 0
    names = pd.Series([f"{g}:{y}" for g, y in zip(labels["glacier"], labels["year"], strict=True)], dtype=object)
    repeat = names.groupby(names).cumcount().to_numpy()
    names = names.where(repeat == 0, names + "#" + (repeat + 1).astype(str))
    numbered = np.arange(len(matrix))
    samples = xr.Dataset(
        {
            "predictors": (("row", "predictor"), matrix),
            "mass_balance": ("sample", values["target"], MASS_BALANCE_ATTRS),
            "mass_balance_uncertainty": ("sample", np.where(given, uncertainty, default_uncertainty), {"units": "m"}),
            "operator_sample": ("entry", numbered),
            "operator_row": ("entry", numbered.copy()),
            "operator_weight": ("entry", np.ones(len(matrix))),
        },
        coords={
            "sample": names.to_numpy().astype(object),
            "predictor": np.array(taken, dtype=object),
            **meaning_coordinates(meanings),
            "source": ("predictor", np.array(sources, dtype=object)),
            "uncertainty_given": ("sample", given),
            "row_glacier": ("row", labels["glacier"]),
            "row_year": ("row", labels["year"]),
        },
    )
    samples = samples.assign_coords({r: ("sample", v) for r, v in labels.items()})
    samples = samples.assign_coords({r: ("row", v) for r, v in values.items() if r.startswith("given_")})
    for role, units in (("longitude", "degrees_east"), ("latitude", "degrees_north")):
        if role in values:
            samples = samples.assign_coords(
                {
                    role: ("sample", values[role], {"units": units}),
                    f"row_{role}": ("row", values[role].copy(), {"units": units}),
                }
            )
    return samples.assign_coords(area=("sample", values["area"])) if "area" in values else samples


def at_elevations(samples: xr.Dataset, values: Mapping[str, Floats], labels: Mapping[str, Any]) -> xr.Dataset:
    """Samples with the elevation of every row for the temperature index, (row, band) m, and that of its climate, (row).

    Without a column of the latter, it is the median elevation of the glacier's rows; a constant is part of what the
    temperature index fits.
    """
    if "elevation" not in values:
        return samples
    height = values["elevation"]
    middle = pd.Series(height).groupby(labels["glacier"]).transform("median").to_numpy(np.float64)
    units = {"units": "m"}
    return samples.assign(
        hypsometry=(("row", "band"), height[:, None], units),
        orography=("row", values.get("orography", middle), units),
    )


def with_forcing(samples: xr.Dataset, forcing: Forcing, days: Floats, north: Bools) -> xr.Dataset:
    """Samples with monthly temperature, water and days, (row, month), if there are both temperature and water."""
    if forcing.temperature is None or not forcing.water:
        return samples
    first = NORTHERN_START if north.all() else SOUTHERN_START
    month = calendar_months(first) if north.all() or not north.any() else list(range(1, 13))
    what = "calendar month" if month[0] != 1 else "number within the hydrological year of the row's hemisphere"
    over = ("row", "month")
    source = {r: {"source": forcing.stems[r], "source_units": u} for r, u in forcing.units.items()}
    attrs: dict[str, object] = {"units": "K", "clipped": int(forcing.clipped)} | source["temperature"]
    samples = samples.assign(temperature=(over, forcing.temperature, attrs), days=(over, days))
    for role, amount in forcing.water.items():
        attrs = {"units": "m", "long_name": f"{role} of the month, water equivalent", **source[role]}
        samples[role] = (over, amount, attrs)
    return samples.assign_coords(month=("month", month, {"long_name": what}))
