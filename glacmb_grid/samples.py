"""Observations joined to the predictors of their glacier-years.

An observation is a weighted sum of glacier-years, ``observed = A @ balance``. For annual balances A is the identity; a
multi-year (geodetic) observation adds a row with several entries.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.predictors import as_rows
from glacmb_grid.schemas import PREDICTORS, arranged, require_columns
from glacmb_grid.vocabulary import MASS_BALANCE_ATTRS
from glacmb_grid.weights import Weights, from_entries, identity

_KEPT = ("site", "name", "link", "time_system", "uncertainty_given")
_KEPT_IF_KNOWN = ("method", "begin", "end")


def build_samples(predictors: xr.Dataset, linked: pd.DataFrame) -> tuple[xr.Dataset, pd.DataFrame]:
    """Join annual observations to the predictors of their glacier-years.

    Parameters
    ----------
    predictors : xr.Dataset
        From `build_predictors`.
    linked : DataFrame
        `observations` of `link`.

    Returns
    -------
    samples : xr.Dataset
        Over `sample`: `mass_balance`, `mass_balance_uncertainty` (m w.e.), coordinates `glacier`, `year`, `site`,
        `link`; over `row`: the predictors and the forcing; over `entry`: the operator observation <- row.
    outside : DataFrame
        Linked observations of years without climate.

    Raises
    ------
    InputError
        If the predictors are not what their schema says, no observation is left, or one belongs to a glacier without
        predictors.
    """
    predictors = arranged(predictors, PREDICTORS)
    years = pd.Index(predictors["year"].values)
    require_columns(linked, ("glacier", "year", "mass_balance"), name="linked", source="`link(...).observations`")
    inside = linked["year"].isin(years)
    taken = linked[inside].sort_values(["glacier", "year"])
    if taken.empty:
        span = f"{years.min()}..{years.max()}"
        raise InputError(
            "observations",
            expected=f"balances of these glaciers in the hydrological years {span}",
            found=f"{len(linked)} linked to outlines, none in these years",
            remedy="check the links and the period",
        )
    glacier = pd.Index(predictors["glacier"].values).get_indexer(taken["glacier"])
    if (glacier < 0).any():
        raise InputError(
            "observations",
            expected="balances of glaciers that have predictors",
            found=f"none for {listing(taken['glacier'][glacier < 0].unique())}",
            remedy="link the observations to the outlines of this run",
        )
    rows = as_rows(predictors, glacier, years.get_indexer(taken["year"]))
    names = [f"{g}:{y}" for g, y in zip(taken["glacier"], taken["year"], strict=True)]
    samples = rows.assign(
        mass_balance=("sample", taken["mass_balance"].to_numpy(np.float64), MASS_BALANCE_ATTRS),
        mass_balance_uncertainty=("sample", taken["uncertainty"].to_numpy(np.float64), {"units": "m"}),
    ).assign_coords(
        sample=np.array(names, dtype=object),
        glacier=("sample", taken["glacier"].to_numpy().astype(object)),
        year=("sample", taken["year"].to_numpy(np.int64)),
        uncertainty_given=("sample", taken["uncertainty_given"].to_numpy(bool)),
    )
    place = {n: ("sample", rows[f"row_{n}"].values) for n in ("longitude", "latitude", "area") if f"row_{n}" in rows}
    samples = samples.assign_coords(place)
    kept = [k for k in (*_KEPT, *_KEPT_IF_KNOWN) if k in taken and k != "uncertainty_given"]
    texts = {k: ("sample", taken[k].to_numpy().astype(object)) for k in kept}
    samples = samples.assign_coords(texts)
    return with_operator(samples, identity(names)), linked[~inside].reset_index(drop=True)


def with_operator(samples: xr.Dataset, operator: Weights) -> xr.Dataset:
    """Samples with another observation operator, (sample) <- (row)."""
    assert operator.size == samples.sizes["row"], "the operator takes the rows of these samples"
    assert len(operator.rows) == samples.sizes["sample"], "and gives their observations"
    return samples.drop_dims("entry", errors="ignore").assign(
        operator_sample=("entry", operator.row),
        operator_row=("entry", operator.column),
        operator_weight=("entry", operator.weight),
    )


def operator_of(samples: xr.Dataset) -> Weights:
    """The observation operator of samples."""
    entries = (samples[f"operator_{name}"].values for name in ("sample", "row", "weight"))
    return from_entries(*entries, rows=samples["sample"].values, size=samples.sizes["row"])


def as_table(samples: xr.Dataset) -> pd.DataFrame:
    """One line per annual sample with its predictors, for export."""
    operator = operator_of(samples)
    if not operator.is_identity:
        raise ValueError(f"only annual samples make a table; {listing(operator.rows, 3)} are not all annual")
    more = [k for k in _KEPT_IF_KNOWN if k in samples.coords]
    columns = ["glacier", "year", "mass_balance", "mass_balance_uncertainty", *_KEPT, *more]
    table = pd.DataFrame({"sample": samples["sample"].values} | {c: samples[c].values for c in columns})
    for text in ("sample", "glacier", "site", "name", "link", "time_system", *more):
        table[text] = table[text].astype(str)
    values = pd.DataFrame(samples["predictors"].values, columns=[str(p) for p in samples["predictor"].values])
    return pd.concat([table, values], axis=1)
