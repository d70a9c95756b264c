"""What was chosen on inner folds, in words: the readable side of what `fit` returns."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import xarray as xr

from glacmb_grid.schemas import PARAMETERS, check


def choices(parameters: xr.Dataset) -> pd.DataFrame:
    """What a fit has chosen in every fold, and what it was fitted on.

    Parameters
    ----------
    parameters : xr.Dataset
        From `fit`.

    Returns
    -------
    DataFrame
        A line for every fold: `scheme`, `model`, `fold`; `chosen`, the candidate that was best on the inner folds, with
        its `inner_rmse` (m w.e.) and the number of `candidates`; `features` and `feature_names`; `parameters` of a
        network; `rows` that the fold was fitted on; `transfer_rows` of another table that its networks may be
        pre-trained on, and `transfer_withheld`, those that they may not. Columns that a model has nothing to say in
        are left out.

    Raises
    ------
    InputError
        Where it is not what `fit` gives.

    Examples
    --------
    >>> import numpy as np, pandas as pd, glacmb_grid as gg
    >>> from tempfile import mkdtemp
    >>> rng, path = np.random.default_rng(1), f"{mkdtemp()}/balances.csv"
    >>> table = pd.DataFrame({"id": np.repeat(list("abcde"), 8), "year": [*range(2001, 2009)] * 5})
    >>> table["warmth"] = rng.normal(0, 1, 40)
    >>> table.assign(balance=rng.normal(0, 0.2, 40) - 0.5 * table["warmth"]).to_csv(path, index=False)
    >>> samples = gg.read_samples_table(path, glacier="id", year="year", target="balance", target_units="m w.e.")
    >>> parameters = gg.fit("ridge", samples, gg.make_folds(samples, "logo"), {"penalties": [0.1, 1000.0]})
    >>> gg.choices(parameters)[["fold", "rows", "feature_names"]].iloc[0].to_dict()
    {'fold': 'a', 'rows': 32, 'feature_names': 'warmth'}
    """
    check(parameters, PARAMETERS)
    schemes = parameters["scheme"].values.tolist()
    named = [{"scheme": str(s), "model": str(parameters.attrs["model"])} for s in schemes]
    return pd.DataFrame([who | line for who, line in zip(named, lines_of(parameters), strict=True)])


def lines_of(record: xr.Dataset) -> list[dict[str, Any]]:
    """A line for every fold of what a fit returned, or of the record of it."""
    return [_line(record, fold) for fold in range(record.sizes["fold"])]


def _line(record: xr.Dataset, fold: int) -> dict[str, Any]:
    line: dict[str, Any] = {"fold": str(record["fold"].values[fold])}
    if "choice" in record:
        choice = int(record["choice"].values[fold])
        line |= {"chosen": str(record["candidate"].values[choice])}
        line |= {"inner_rmse": float(record["inner_error"].values[fold, choice])}
        line |= {"candidates": record.sizes["candidate"]}
    if "selected" in record:
        names = record["feature"].values[record["selected"].values[fold]]
        line |= {"features": len(names), "feature_names": "; ".join(map(str, names))}
    if "parameter_count" in record:
        line |= {"parameters": int(record["parameter_count"].values[fold])}
    if "pretraining_seen" in record:
        taken = record["pretraining_seen"].values[fold]
        line |= {"transfer_rows": int(taken.sum()), "transfer_withheld": int((~taken).sum())}
    if "note" in record.attrs:
        line |= {"chosen": record.attrs["note"]}
    if "weight" in record:
        weights = dict(zip(record["model"].values, record["weight"].values[fold].round(3), strict=True))
        line |= {"chosen": json.dumps({str(k): float(v) for k, v in weights.items()})}
    if "fitted" in record:
        line |= {"rows": int(record["fitted"].values[fold].sum())}
    return line
